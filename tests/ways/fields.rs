//! F4: purges by fields of the application's answers, within the tenant of who asked, and before they hear the answer.

use super::{Setting, with};

fn tagged(path: &str, tag: &str) -> String {
    with(path, &[("Cache-Tag", tag)])
}

#[tokio::test]
async fn f4_a_write_purges_by_every_field_within_its_tenant_and_the_public_entries() {
    let setting = Setting::new().await;
    let (page, public) = (tagged("/t/page", "stock"), tagged("/p/page", "stock"));
    let other = tagged("/t/page", "staff");
    for (name, value) in [
        ("X-Larder-Purge", "tag stock"),
        ("X-Larder-Purge", "pattern sto*, pattern never"),
        ("X-LiteSpeed-Purge", "tag=stock"),
        ("X-LiteSpeed-Purge", "public, stock"),
        ("Cache-Group-Invalidation", "\"none\", \"stock\";x"),
    ] {
        setting.warm(&[&page, &other], &["acme", "bolt"]).await;
        setting.warm(&[&public], &["acme"]).await;
        let answer = setting.write("/change", "acme", &[(name, value)]).await;
        assert_eq!(answer.status, 200);
        assert!(!setting.is_kept(&page, "acme").await, "{name}: {value}");
        assert!(!setting.is_kept(&public, "bolt").await, "{name}: {value}");
        assert!(
            setting.is_kept(&page, "bolt").await && setting.is_kept(&other, "acme").await,
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn f4_x_larder_purge_takes_urls_routes_stores_and_everything() {
    let setting = Setting::new().await;
    let all = ["/t/page", "/t/other", "/forever/page"];
    for (value, kept) in [
        ("url /t/page", [false, true, true]),
        ("url http://HOST/t/page", [false, true, true]),
        ("url t/other", [true, false, true]),
        ("route tenants", [false, false, true]),
        ("store other", [true, true, false]),
        ("store other, url /t/page", [false, true, false]),
        ("everything", [false, false, false]),
        ("pattern tenant:acme:*", [false, false, false]),
    ] {
        setting.warm(&all, &["acme", "bolt"]).await;
        let value = value.replace("HOST", setting.larder.authority());
        setting.write("/change", "acme", &[("X-Larder-Purge", &value)]).await;
        for (target, kept) in all.iter().zip(kept) {
            assert_eq!(setting.is_kept(target, "acme").await, kept, "{value}: {target}");
            assert!(setting.is_kept(target, "bolt").await, "{value}: {target}");
        }
    }
}

#[tokio::test]
async fn f4_a_field_that_is_not_understood_purges_nothing_and_is_logged() {
    let mut setting = Setting::new().await;
    let page = tagged("/t/page", "stock");
    setting.warm(&[&page], &["acme", "bolt"]).await;
    for (name, value) in [
        ("X-Larder-Purge", "tag stock, tags stock"),
        ("X-Larder-Purge", "tag stock, route nowhere"),
        ("X-Larder-Purge", "pattern tenant:bolt:*"),
        ("X-LiteSpeed-Purge", "tag=stock, tag="),
        ("Cache-Group-Invalidation", "stock"),
    ] {
        setting.write("/change", "acme", &[(name, value)]).await;
        assert!(setting.is_kept(&page, "acme").await && setting.is_kept(&page, "bolt").await, "{value}");
    }
    for why in ["`tags stock`", "`nowhere`", "another tenant", "without a name", "not a list of strings"] {
        setting.larder.log(why).await;
    }
}

#[tokio::test]
async fn f4_litespeed_private_is_what_belongs_to_the_user() {
    let setting = Setting::new().await;
    let of = async |user: &str| {
        let call = setting.client.get(setting.larder.url("/u/cart")).header("x-tenant", "acme");
        call.header("x-user", user).send().await
    };
    for user in ["ann", "bob", "ann", "bob"] {
        of(user).await;
    }
    setting.write("/change", "acme", &[("X-LiteSpeed-Purge", "private, *")]).await;
    assert_eq!((of("ann").await.x_cache(), of("bob").await.x_cache()), ("MISS", "HIT"));
}

#[tokio::test]
async fn f4_soft_directives_leave_stale_answers_for_others_and_fresh_ones_for_the_writer() {
    let setting = Setting::new().await;
    let page = tagged("/window/page", "stock");
    let get = async |user: &str| {
        let call = setting.client.get(setting.larder.url(&page)).header("x-tenant", "acme");
        call.header("x-user", user).send().await
    };
    let before = get("ann").await;
    setting.write("/change", "acme", &[("X-Larder-Purge", "soft tag stock")]).await;
    let own = get("ann").await;
    assert_ne!((own.x_cache(), own.text()), ("STALE", before.text()), "the writer reads fresh");
    get("bob").await;
    setting.write("/change", "acme", &[("X-LiteSpeed-Purge", "public, stale, tag=stock")]).await;
    assert_eq!(get("bob").await.x_cache(), "STALE");
}

#[tokio::test]
async fn f4_answers_to_reads_purge_only_where_the_route_lets_them() {
    let setting = Setting::new().await;
    let page = tagged("/t/page", "stock");
    let purging = [("X-Larder-Purge", "tag stock"), ("Cache-Group-Invalidation", "\"stock\"")];
    setting.warm(&[&page], &["acme", "bolt"]).await;
    for path in ["/elsewhere", "/t/reader", "/p/reader"] {
        setting.get(&with(path, &purging), "acme").await;
        assert!(setting.is_kept(&page, "acme").await, "{path}");
    }
    for path in ["/any/reader", "/any-pass/reader"] {
        // RFC 9875 section 3: on a safe method the field is ignored, also here.
        setting.get(&with(path, &purging[1..]), "acme").await;
        assert!(setting.is_kept(&page, "acme").await, "{path}");
        setting.get(&with(path, &purging), "acme").await;
        assert!(!setting.is_kept(&page, "acme").await, "{path}");
        assert!(setting.is_kept(&page, "bolt").await, "{path}");
        setting.warm(&[&page], &["acme"]).await;
    }
}

#[tokio::test]
async fn f4_a_cache_group_belongs_to_its_host() {
    let setting = Setting::new().await;
    let page = tagged("/p/page", "stock");
    let on = async |host: &str| {
        let call = setting.client.get(setting.larder.url(&page)).header("host", host);
        call.send().await.x_cache().to_owned()
    };
    for host in ["a.example", "b.example", "a.example", "b.example"] {
        on(host).await;
    }
    let target = with("/change", &[("Cache-Group-Invalidation", "\"stock\"")]);
    setting.client.post(setting.larder.url(&target)).header("host", "a.example").send().await;
    assert_eq!((on("a.example").await.as_str(), on("b.example").await.as_str()), ("MISS", "HIT"));
}

#[tokio::test]
async fn f4_rfc9111_4_4_a_write_purges_location_and_content_location_of_its_origin() {
    let setting = Setting::new().await;
    let all = ["/t/items/7", "/t/items", "/t/away"];
    setting.warm(&all, &["acme", "bolt"]).await;
    let away = ("Location", "http://elsewhere.example/t/away");
    setting.write("/change", "acme", &[away]).await;
    assert!(setting.is_kept("/t/away", "acme").await);
    let failed = with("/change", &[("Location", "/t/items/7")]) + "&s=422";
    setting.client.post(setting.larder.url(&failed)).header("x-tenant", "acme").send().await;
    assert!(setting.is_kept("/t/items/7", "acme").await, "nothing was written");
    let fields = [("Location", "/t/items/7"), ("Content-Location", "t/items")];
    setting.write("/change", "acme", &fields).await;
    assert!(!setting.is_kept("/t/items/7", "acme").await && !setting.is_kept("/t/items", "acme").await);
    assert!(setting.is_kept("/t/items/7", "bolt").await && setting.is_kept("/t/away", "acme").await);
}
