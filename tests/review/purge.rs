//! Purging: what was acknowledged holds for every spelling of a URL.

use http::Method;
use larder::purge::{Selector, Where};

use super::support::{World, get, reply};

const CONFIG: &str = "
tiers: { origin: {}, short: { ttl: 10m } }
routes:
  - { name: rfc, path: /rfc, tier: origin, share: public, bust: { allow: anyone }, query: { ignore: [utm_source] } }
  - { name: page, path: /page, tier: short, share: public, bust: { allow: anyone } }
";

#[tokio::test]
async fn parameters_that_do_not_select_make_no_other_url_of_it_for_busts_and_purges() {
    for path in ["/rfc", "/page"] {
        let world = World::new(CONFIG, async |_| reply(200, &[("cache-control", "max-age=600")], "x"));
        world.get(path, &[]).await;
        assert_eq!(world.get(&format!("{path}?utm_source=a"), &[]).await.x_cache(), "HIT", "{path}");
        assert_eq!(world.get(&format!("{path}?bust_cache=1"), &[]).await.x_cache(), "REFRESH");
        assert_eq!(world.seen().last().unwrap().target, path);
        let url = Selector::Url { authority: "shop.example".into(), target: path.into() };
        assert!(world.proxy.shared().cache().purge(&[url], &Where::All).receipt().is_some());
        assert_eq!(world.get(&format!("{path}?utm_source=a"), &[]).await.x_cache(), "MISS");
        let mut write = get(path, &[]);
        *write.method_mut() = Method::POST;
        world.send(write).await;
        assert_eq!(world.get(path, &[]).await.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn a_purge_of_a_url_covers_what_is_found_for_it_under_a_key_of_the_routes_own() {
    let routes = "
tiers: { short: { ttl: 10m } }
routes: [{ name: item, path: \"/item/{id}/{slug}\", tier: short, share: public, key: \"{id}\" }]
";
    let world = World::new(routes, async |_| reply(200, &[], "x"));
    world.get("/item/1/foo", &[]).await;
    assert_eq!(world.get("/item/1/bar", &[]).await.x_cache(), "HIT", "one key");
    let shared = world.proxy.shared().clone();
    for purged in ["/item/1/foo", "/item/1/bar", "/item/1/b%61r"] {
        let url = shared.url_selector("shop.example", "shop.example", purged, None).unwrap();
        assert!(shared.cache().purge(&[url], &Where::All).receipt().is_some());
        assert_eq!(world.get(purged, &[]).await.x_cache(), "MISS", "{purged}");
    }
    // So does a write.
    let mut write = get("/item/1/another", &[]);
    *write.method_mut() = Method::POST;
    world.send(write).await;
    world.get("/item/2/foo", &[]).await;
    assert_eq!(world.get("/item/1/another", &[]).await.x_cache(), "MISS");
    // What has another key stays.
    let url = shared.url_selector("shop.example", "shop.example", "/item/1/foo", None).unwrap();
    assert!(shared.cache().purge(&[url], &Where::All).receipt().is_some());
    assert_eq!(world.get("/item/2/bar", &[]).await.x_cache(), "HIT");
}
