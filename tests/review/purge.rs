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
