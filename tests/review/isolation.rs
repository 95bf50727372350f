//! Isolation: no byte produced for one reaches another.

use http::Request;
use larder::http::Body;

use super::support::{World, reply};

const PUBLIC: &str = "
tiers: { short: { ttl: 10s }, origin: {} }
routes:
  - { name: page, path: /page, tier: short, share: public }
  - { name: merged, path: /merged, tier: short, share: public, override: [Set-Cookie] }
  - { name: rfc, path: /rfc, tier: origin, share: public }
";

/// Answers a validator with 304 and a cookie of its own.
fn login_on_304(request: &Request<Body>) -> http::Response<Body> {
    if request.headers().contains_key("if-none-match") {
        reply(304, &[("etag", "\"1\""), ("set-cookie", "session=of-the-first")], "")
    } else {
        reply(200, &[("etag", "\"1\""), ("cache-control", "max-age=10")], "page")
    }
}

#[tokio::test]
async fn a_cookie_that_comes_with_a_304_reaches_nobody_but_the_one_who_led() {
    for path in ["/page", "/merged", "/rfc"] {
        let world = World::new(PUBLIC, async |request| login_on_304(&request));
        world.get(path, &[]).await;
        world.clock.advance(std::time::Duration::from_secs(60));
        let both = tokio::join!(world.get(path, &[]), world.get(path, &[]), world.get(path, &[]));
        let cookies = [&both.0, &both.1, &both.2].iter().filter(|got| got.header("set-cookie").is_some()).count();
        let stored = world.get(path, &[]).await;
        assert!(cookies <= 1, "{path}: {cookies} clients got the cookie of one");
        assert_ne!((stored.x_cache(), stored.header("set-cookie").is_some()), ("HIT", true), "{path}");
        assert_eq!((both.0.text(), both.1.text(), both.2.text()), ("page", "page", "page"), "{path}");
    }
}
