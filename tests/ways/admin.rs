//! E4, C9, C10, D7: purges by every selector, inspection, and tokens of one tenant, on the admin listener and by command.

use super::{ACME, EYE, OPS, Setting, with};

fn tagged(path: &str, tag: &str) -> String {
    with(path, &[("Cache-Tag", tag)])
}

#[tokio::test]
async fn e4_by_pattern_by_tenant_and_by_tenant_and_prefix() {
    let setting = Setting::new().await;
    let (list, one) = (tagged("/t/page", "inventory:list"), tagged("/t/page", "inventory:branch:7"));
    let staff = tagged("/t/page", "staff:list");
    let all = [list.as_str(), &one, &staff];
    for (body, acme, bolt) in [
        (r#"{"patterns": ["inventory:*"]}"#, [false, false, true], [false, false, true]),
        (r#"{"tenant": "acme"}"#, [false, false, false], [true, true, true]),
        (r#"{"patterns": ["tenant:acme:*"]}"#, [false, false, false], [true, true, true]),
        (r#"{"tenant": "acme", "patterns": ["inventory:*"]}"#, [false, false, true], [true, true, true]),
        (r#"{"patterns": ["tenant:acme:inventory:branch"]}"#, [true, false, true], [true, true, true]),
        (r#"{"everything": true}"#, [false, false, false], [false, false, false]),
    ] {
        setting.warm(&all, &["acme", "bolt"]).await;
        let done = setting.purge(OPS, body).await;
        assert_eq!(done.status, 200, "{}", done.text());
        for ((target, acme), bolt) in all.iter().zip(acme).zip(bolt) {
            assert_eq!(setting.is_kept(target, "acme").await, acme, "{body}: {target} of acme");
            assert_eq!(setting.is_kept(target, "bolt").await, bolt, "{body}: {target} of bolt");
        }
    }
}

#[tokio::test]
async fn c9_one_backend_a_pattern_or_everything_is_cleared_by_command() {
    let setting = Setting::new().await;
    let (partner, kept) = (tagged("/t/page", "res.partner:7"), tagged("/forever/page", "res.partner:8"));
    let all = [partner.as_str(), &kept, "/t/other"];
    for (args, expected) in [
        (&["--store", "other"][..], [true, false, true]),
        (&["--pattern", "res.partner:*"], [false, false, true]),
        (&["--tag", "res.partner:7", "--route", "forever"], [false, false, true]),
        (&["--tenant", "bolt"], [true, true, true]),
        (&["--tenant", "acme"], [false, false, false]),
        (&["--everything"], [false, false, false]),
    ] {
        setting.warm(&all, &["acme"]).await;
        let (done, text) = setting.command("purge", args).await;
        assert!(done && text.contains("\"seq\""), "{text}");
        for (target, expected) in all.iter().zip(expected) {
            assert_eq!(setting.is_kept(target, "acme").await, expected, "{args:?}: {target}");
        }
    }
    for args in [&["--store", "none"][..], &["--route", "none"], &[], &["--token", "none", "--everything"]] {
        let (done, text) = setting.command("purge", args).await;
        assert!(!done && !text.trim().is_empty(), "{args:?}: {text}");
    }
}

#[tokio::test]
async fn c10_purge_by_pattern_says_first_what_it_would_cover() {
    let setting = Setting::new().await;
    let page = tagged("/t/page", "res.partner:is_company=True:7");
    setting.warm(&[&page, "/t/other"], &["acme", "bolt"]).await;
    let body = r#"{"patterns": ["res.partner:is_company=True:*"], "dry_run": true}"#;
    let tried = setting.purge(OPS, body).await.json();
    assert_eq!((&tried["dry_run"], &tried["count"]), (&true.into(), &2.into()), "{tried}");
    assert!(tried["keys"][0]["tags"].as_array().unwrap().contains(&"res.partner:is_company=True:7".into()));
    assert!(setting.is_kept(&page, "acme").await, "a dry run purges nothing");
    let (done, text) =
        setting.command("purge", &["--dry-run", "--tenant", "acme", "--pattern", "res.partner"]).await;
    assert!(done && text.contains("\"count\":1"), "{text}");
    let done = setting.purge(OPS, &body.replace("true", "false")).await.json();
    assert!(
        done["covered"] == "not counted" && done["purged"]["patterns"][0] == "res.partner:is_company=True:*"
    );
    assert!(!setting.is_kept(&page, "acme").await && setting.is_kept("/t/other", "acme").await);
}

#[tokio::test]
async fn d7_keys_are_listed_by_pattern_with_a_count_and_their_remaining_time() {
    let setting = Setting::new().await;
    let page = tagged("/t/page", "dashboard:metrics");
    setting.warm(&[&page, "/t/other", "/forever/page"], &["acme", "bolt"]).await;
    let count = async |query: &str| {
        let answer = setting.keys(EYE, query).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(
            answer["keys"].as_array().unwrap().len(),
            answer["count"].as_u64().unwrap().min(100) as usize
        );
        answer["count"].as_u64().unwrap()
    };
    for (query, expected) in [
        ("", 6),
        ("pattern=dashboard", 2),
        ("pattern=dashboard:*&tenant=acme", 1),
        ("tag=all-of-t", 4),
        ("tag=dashboard", 0),
        ("tenant=bolt", 3),
        ("tenant=bolt&route=forever", 1),
        ("store=other", 2),
        ("match=tenant:acme*route:tenants*", 2),
        ("pattern=tenant:acme:*", 3),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let few = setting.keys(EYE, "limit=2").await.json();
    assert_eq!((&few["count"], few["keys"].as_array().unwrap().len()), (&6.into(), 2));
    let one = setting.keys(EYE, "pattern=dashboard&tenant=acme").await.json()["keys"][0].clone();
    let left = one["remaining"].as_u64().unwrap();
    assert!(left > 3_500 && left <= 3_600 && one["age"].as_u64().unwrap() < 60, "{one}");
    assert_eq!(
        (&one["state"], &one["store"], &one["status"]),
        (&"fresh".into(), &"default".into(), &200.into())
    );
    assert!(
        one["owner"]["tenant"] == "acme" && one["tags"][0] == "all-of-t" && one["size"].as_u64().unwrap() > 0
    );
    let forever = setting.keys(EYE, "route=forever").await.json();
    assert!(forever["keys"][0]["remaining"].is_null(), "until purged");
    let (done, text) = setting.command("keys", &["--pattern", "dashboard", "--tenant", "acme"]).await;
    assert!(
        done && text.contains("tenant:acme route:tenants") && text.contains("1 stored, 1 shown"),
        "{text}"
    );
    for wrong in ["limit=x", "limit=100000", "tags=a", "route=nowhere"] {
        assert_eq!(setting.keys(EYE, wrong).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn d7_a_key_is_purged_by_the_name_that_is_shown_and_then_is_not_there() {
    let setting = Setting::new().await;
    setting.warm(&["/t/page", "/t/other"], &["acme", "bolt"]).await;
    let url = setting.larder.url("/t/page");
    let shown = setting.keys(OPS, &format!("tenant=acme&url={url}")).await.json();
    assert_eq!(shown["count"], 1, "{shown}");
    let name = shown["keys"][0]["name"].as_str().unwrap();
    assert_eq!(setting.keys(OPS, &format!("key={name}")).await.json()["count"], 1);
    let (done, text) = setting.command("purge", &["--key", name]).await;
    assert!(done, "{text}");
    assert_eq!(setting.keys(OPS, &format!("key={name}")).await.json()["count"], 0);
    assert!(!setting.is_kept("/t/page", "acme").await);
    for (target, tenant) in [("/t/page", "bolt"), ("/t/other", "acme")] {
        assert!(setting.is_kept(target, tenant).await, "{target} {tenant}");
    }
    let unknown = setting.purge(OPS, r#"{"keys": ["0000000000000000"]}"#).await.json();
    assert_eq!((&unknown["not_stored"][0], &unknown["covered"]), (&"0000000000000000".into(), &0.into()));
}

#[tokio::test]
async fn e4_a_token_of_one_tenant_sees_and_purges_that_tenants_only() {
    let setting = Setting::new().await;
    let (page, public) = (tagged("/t/page", "stock"), tagged("/p/page", "stock"));
    setting.warm(&[&page, &public], &["acme", "bolt"]).await;
    let seen = setting.keys(ACME, "tag=stock").await.json();
    assert_eq!(seen["count"], 1, "{seen}");
    assert_eq!(seen["keys"][0]["owner"]["tenant"], "acme");
    let tried = setting.purge(ACME, r#"{"everything": true, "dry_run": true}"#).await.json();
    assert!(tried["count"] == 1 && !tried.to_string().contains("bolt"), "{tried}");
    for refused in [
        setting.keys(ACME, "tenant=bolt").await,
        setting.purge(ACME, r#"{"tenant": "bolt"}"#).await,
        setting.purge(ACME, r#"{"patterns": ["tenant:bolt:*"]}"#).await,
        setting.purge(EYE, r#"{"tags": ["stock"]}"#).await,
    ] {
        assert_eq!(refused.status, 403, "{}", refused.text());
    }
    let name = setting.keys(OPS, "tenant=bolt").await.json()["keys"][0]["name"].as_str().unwrap().to_owned();
    for body in [r#"{"tags": ["stock"]}"#, r#"{"everything": true}"#, r#"{"routes": ["tenants"]}"#] {
        setting.warm(&[&page], &["acme"]).await;
        assert_eq!(setting.purge(ACME, body).await.status, 200);
        setting.purge(ACME, &format!("{{\"keys\": [\"{name}\"]}}")).await;
        assert!(!setting.is_kept(&page, "acme").await, "{body}");
        assert!(setting.is_kept(&page, "bolt").await && setting.is_kept(&public, "bolt").await, "{body}");
    }
    for token in ["", "a token that nobody knows"] {
        assert_eq!(setting.keys(token, "").await.status, 401);
    }
}

#[tokio::test]
async fn e4_a_soft_purge_on_the_admin_listener_leaves_stale_answers() {
    let setting = Setting::new().await;
    setting.warm(&["/window/page"], &["acme"]).await;
    let (done, text) = setting.command("purge", &["--soft", "--route", "window"]).await;
    assert!(done && text.contains("\"mode\":\"soft\""), "{text}");
    let shown = setting.keys(OPS, "route=window").await.json();
    assert_eq!(shown["keys"][0]["state"], "purged softly", "{shown}");
    assert_eq!(setting.get("/window/page", "acme").await.x_cache(), "STALE");
}
