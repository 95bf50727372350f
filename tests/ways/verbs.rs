//! F4, C10: the verbs of the clients' listeners, in the dialects that applications and their plugins speak.

use super::{ACME, EYE, OPS, Setting, with};
use crate::support::Answer;

async fn verb(setting: &Setting, verb: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let call = setting.client.method(verb, setting.larder.url(target));
    let call = call.header("authorization", format!("Bearer {OPS}")).body(body.to_owned());
    fields.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await
}

fn tagged(tag: &str) -> String {
    with("/t/page", &[("Cache-Tag", tag)])
}

#[tokio::test]
async fn f4_fields_and_bodies_of_purge_take_the_place_of_the_url() {
    let setting = Setting::new().await;
    let (page, deep) = (tagged("stock"), tagged("stock:7"));
    let all = [page.as_str(), &deep, "/t/url"];
    let json = "{\"surrogate_keys\": [\"stock\"]}";
    for (name, fields, body, kept) in [
        ("PURGE", &[("xkey-purge", "other stock")][..], "", [false, true, true]),
        ("PURGE", &[("xkey-purge", "stock,stock:7")], "", [false, false, true]),
        ("PURGE", &[("Surrogate-Key", "stock none")], "", [false, true, true]),
        ("PURGE", &[("Cache-Tag", "stock:7")], "", [true, false, true]),
        (
            "PURGE",
            &[("X-Magento-Tags-Pattern", "((^|,)none(,|$))|((^|,)stock(,|$))")],
            "",
            [false, true, true],
        ),
        ("PURGE", &[("X-Magento-Tags-Pattern", ".*")], "", [false, false, false]),
        ("PURGE", &[("content-type", "application/json")], json, [false, true, true]),
        ("PURGE", &[], "{\"patterns\": [\"stock\"], \"tenant\": \"acme\"}", [false, false, true]),
        ("BAN", &[("xkey-purge", "stock")], "", [false, false, true]),
        ("BAN", &[("Surrogate-Key", "*:7")], "", [true, false, true]),
        ("BAN", &[], "", [true, true, false]),
    ] {
        setting.warm(&all, &["acme"]).await;
        let done = verb(&setting, name, "/t/url", fields, body).await;
        assert_eq!(done.status, 200, "{}", done.text());
        assert!(done.json()["seq"].as_u64().unwrap() > 0, "{}", done.text());
        for (target, kept) in all.iter().zip(kept) {
            assert_eq!(setting.is_kept(target, "acme").await, kept, "{name} {fields:?} {body}: {target}");
        }
    }
}

#[tokio::test]
async fn f4_soft_purges_by_verb_leave_stale_answers() {
    let setting = Setting::new().await;
    let page = with("/window/page", &[("xkey", "stock")]);
    for (target, field) in
        [(page.as_str(), ("Fastly-Soft-Purge", "1")), ("/nothing", ("xkey-softpurge", "stock"))]
    {
        setting.purge(OPS, "{\"everything\": true}").await;
        setting.warm(&[&page], &["acme"]).await;
        let done = verb(&setting, "PURGE", target, &[field], "").await;
        assert_eq!(done.json()["mode"], "soft", "{}", done.text());
        assert_eq!(setting.get(&page, "acme").await.x_cache(), "STALE", "{field:?}");
    }
}

#[tokio::test]
async fn f4_a_verb_with_a_tenant_acts_on_that_tenant_and_the_public_entries() {
    let setting = Setting::new().await;
    let (page, public) = (tagged("stock"), with("/p/page", &[("xkey", "stock")]));
    setting.warm(&[&page, &public], &["acme", "bolt"]).await;
    let fields = [("x-tenant", "acme"), ("xkey-purge", "stock")];
    verb(&setting, "PURGE", "/", &fields, "").await;
    assert!(!setting.is_kept(&page, "acme").await && !setting.is_kept(&public, "bolt").await);
    assert!(setting.is_kept(&page, "bolt").await);
    setting.warm(&[&page, &public], &["acme", "bolt"]).await;
    verb(&setting, "PURGE", "/*", &[("x-tenant", "acme")], "").await;
    assert!(!setting.is_kept(&page, "acme").await, "everything of the tenant");
    assert!(setting.is_kept(&page, "bolt").await && setting.is_kept(&public, "bolt").await);
    let both = verb(&setting, "PURGE", "/", &[("x-tenant", "acme")], "{\"tenant\": \"bolt\"}").await;
    assert_eq!(both.status, 400, "{}", both.text());
}

#[tokio::test]
async fn f4_what_names_nothing_or_is_not_understood_is_refused_and_purges_nothing() {
    let setting = Setting::new().await;
    let page = tagged("stock");
    setting.warm(&[&page], &["acme"]).await;
    for (fields, body) in [
        (&[("xkey-purge", " , ")][..], ""),
        (&[("X-Magento-Tags-Pattern", "stock.*")], ""),
        (&[], "[\"stock\"]"),
        (&[], "{\"surrogate_keys\": []}"),
        (&[], "{\"tag\": [\"stock\"]}"),
        (&[], "{\"tenant\": \"acme\", \"tags\": []}"),
        (&[], "{\"routes\": [\"nowhere\"]}"),
    ] {
        let refused = verb(&setting, "PURGE", &page, fields, body).await;
        assert_eq!(refused.status, 400, "{fields:?} {body}: {}", refused.text());
        assert!(setting.is_kept(&page, "acme").await, "{fields:?} {body}");
    }
}

#[tokio::test]
async fn f4_refusals_and_purges_go_to_the_audit_log() {
    let mut setting = Setting::new().await;
    for (token, status) in [(None, 401), (Some("a token that nobody knows"), 401), (Some(EYE), 403)] {
        for name in ["PURGE", "BAN"] {
            let call =
                setting.client.method(name, setting.larder.url("/t/page")).header("xkey-purge", "stock");
            let call = token
                .iter()
                .fold(call, |call, token| call.header("authorization", format!("Bearer {token}")));
            assert_eq!(call.send().await.status, status, "{name} {token:?}");
        }
    }
    let call = setting.client.method("BAN", setting.larder.url("/")).header("xkey-purge", "stock");
    let call = call.header("x-tenant", "acme").header("authorization", format!("Bearer {ACME}"));
    let done = call.send().await.json();
    let refused = setting.larder.log("status=401").await;
    assert!(refused.contains("larder::audit") && refused.contains("127.0.0.1"), "{refused}");
    let looker = setting.larder.log("status=403").await;
    assert!(looker.contains("/t/page"), "{looker}");
    let purged = setting.larder.log(done["id"].as_str().unwrap()).await;
    for word in
        ["larder::audit", "acme", "patterns stock", "127.0.0.1", "BAN", &format!("seq={}", done["seq"])]
    {
        assert!(purged.contains(word), "{word}: {purged}");
    }
    let all = setting.larder.logs().join("\n");
    assert!(
        !all.contains("nobody knows") && !all.contains(ACME) && !all.contains(OPS),
        "no token in the log"
    );
}

#[tokio::test]
async fn a_verb_that_names_nothing_readable_or_both_modes_is_refused_and_purges_nothing() {
    let setting = Setting::new().await;
    let page = tagged("stock");
    setting.warm(&[&page, "/t/url"], &["acme"]).await;
    for (fields, body) in [
        (&[("Cache-Groups", "unquoted")][..], ""),
        (&[("Surrogate-Key", "")], ""),
        (&[("Cache-Tag", ",")], ""),
        (&[("xkey-purge", "stock"), ("xkey-softpurge", "other")], ""),
        (&[("xkey-softpurge", "other")], "{\"tags\": [\"stock\"]}"),
    ] {
        let refused = verb(&setting, "PURGE", "/t/url", fields, body).await;
        assert_eq!(refused.status, 400, "{fields:?}: {}", refused.text());
        assert!(
            setting.is_kept(&page, "acme").await && setting.is_kept("/t/url", "acme").await,
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn a_url_that_no_request_can_have_is_refused_and_one_in_another_spelling_is_purged() {
    let setting = Setting::new().await;
    let host = setting.larder.url("").replace("http://", "");
    for path in ["/t/gr\u{f6}\u{df}e", "/t/%2e%2e/a", "/t/a%2fb"] {
        let body = format!("{{\"urls\": [\"http://{host}{path}\"]}}");
        let refused = setting.purge(OPS, &body).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text());
    }
    let refused = setting.purge(OPS, "{\"urls\": [\"http://shop.example:0443/t/a\"]}").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    setting.warm(&["/t/url"], &["acme"]).await;
    let body = format!("{{\"urls\": [\"HTTP://{host}/t/url\"]}}");
    assert_eq!(setting.purge(OPS, &body).await.status, 200);
    assert!(!setting.is_kept("/t/url", "acme").await);
}
