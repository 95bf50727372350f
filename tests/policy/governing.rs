//! Targeted fields (RFC 9213), `Surrogate-Control` and `X-Accel-Expires`.

use std::time::Duration;

use http::Request;
use larder::http::Body;

use super::support::{Got, World, get, reply, within};

const CONFIG: &str = "
tiers: { origin: {}, short: { ttl: 10m } }
routes:
  - { name: pass, path: /pass }
  - { name: short, path: /short, tier: short, share: public }
  - { name: rest, path: '/{*rest}', tier: origin, share: public }
";

/// A world whose application answers with these fields.
fn world(config: &str, fields: &'static [(&'static str, &'static str)]) -> World {
    World::new(config, async move |_: Request<Body>| reply(200, fields, "page"))
}

/// How long the answer is fresh; `None`: it is not stored.
async fn lifetime(config: &str, path: &str, fields: &'static [(&'static str, &'static str)]) -> Option<u64> {
    let world = world(config, fields);
    assert_ne!(world.get(path, &[]).await.x_cache(), "HIT");
    let hit = world.get(path, &[]).await;
    (hit.x_cache() == "HIT").then(|| ttl(&hit))
}

fn ttl(got: &Got) -> u64 {
    let status = got.header("cache-status").unwrap();
    let ttl = status.split("; ").find_map(|part| part.strip_prefix("ttl=")).unwrap();
    ttl.parse().unwrap()
}

#[tokio::test]
async fn rfc9213_2_2_the_first_valid_targeted_field_governs_and_goes_on_to_the_client() {
    const OWN: (&str, &str) = ("larder-cache-control", "max-age=20");
    const CDN: (&str, &str) = ("cdn-cache-control", "max-age=40");
    const CC: (&str, &str) = ("cache-control", "max-age=60");
    assert_eq!(lifetime(CONFIG, "/a", &[CC, CDN, OWN]).await, Some(20));
    assert_eq!(lifetime(CONFIG, "/a", &[CC, CDN]).await, Some(40));
    assert_eq!(lifetime(CONFIG, "/a", &[CC, ("cdn-cache-control", "max-age=\"40\"")]).await, Some(60));
    assert_eq!(
        lifetime(CONFIG, "/a", &[("cache-control", "no-store"), ("expires", "0"), CDN]).await,
        Some(40)
    );
    assert_eq!(lifetime(CONFIG, "/a", &[CC, ("cdn-cache-control", "no-store")]).await, None);
    // On a tier with a ttl, as far as it forbids storing.
    assert_eq!(lifetime(CONFIG, "/short", &[("cache-control", "private"), CDN]).await, Some(600));
    assert_eq!(lifetime(CONFIG, "/short", &[CC, ("cdn-cache-control", "private")]).await, None);

    let world = world(CONFIG, &[CC, CDN, OWN]);
    for _ in 0..2 {
        let got = world.get("/a", &[]).await;
        assert_eq!(
            (got.header(CDN.0), got.header(OWN.0), got.header(CC.0)),
            (Some(CDN.1), Some(OWN.1), Some(CC.1))
        );
    }
}

#[tokio::test]
async fn the_targeted_fields_are_those_of_the_configuration() {
    const FIELDS: &[(&str, &str)] =
        &[("cache-control", "max-age=60"), ("cdn-cache-control", "max-age=40"), ("my-cc", "max-age=20")];
    let none = format!("target_fields: []\n{CONFIG}");
    assert_eq!(lifetime(&none, "/a", FIELDS).await, Some(60));
    let own = format!("target_fields: [My-CC, CDN-Cache-Control]\n{CONFIG}");
    assert_eq!(lifetime(&own, "/a", FIELDS).await, Some(20));
}

#[tokio::test]
async fn edge_architecture_2_2_what_is_said_to_surrogates_governs_and_reaches_no_client() {
    const SURROGATE: (&str, &str) =
        ("surrogate-control", "max-age=30;larder, max-age=5, content=\"ESI/1.0\"");
    const CC: (&str, &str) = ("cache-control", "no-store");
    assert_eq!(lifetime(CONFIG, "/a", &[CC, SURROGATE, ("x-accel-expires", "7")]).await, Some(30));
    assert_eq!(lifetime(CONFIG, "/a", &[CC, ("x-accel-expires", "7")]).await, Some(7));
    assert_eq!(lifetime(CONFIG, "/a", &[CC, ("surrogate-control", "max-age=30;other")]).await, None);
    assert_eq!(lifetime(CONFIG, "/a", &[SURROGATE, ("cdn-cache-control", "max-age=9")]).await, Some(9));
    assert_eq!(lifetime(CONFIG, "/short", &[("surrogate-control", "no-store")]).await, None);
    assert_eq!(lifetime(CONFIG, "/short", &[("x-accel-expires", "0")]).await, None);

    for fields in [
        &[CC, SURROGATE, ("x-accel-expires", "7")],
        &[CC, ("surrogate-control", "no-store"), ("x-accel-expires", "0")],
    ] {
        let world = world(CONFIG, fields);
        for path in ["/a", "/a", "/short", "/pass"] {
            let got = world.get(path, &[]).await;
            assert_eq!(
                (got.header("surrogate-control"), got.header("x-accel-expires")),
                (None, None),
                "{path}"
            );
            assert_eq!(got.header("cache-control"), Some("no-store"));
        }
        let post = Request::post("/pass").header("host", "shop.example").body(Body::empty()).unwrap();
        assert_eq!(within(world.send(post)).await.header("surrogate-control"), None);
    }
}

#[tokio::test]
async fn rfc9111_3_2_a_304_that_does_not_repeat_what_was_said_to_surrogates_leaves_it_in_force() {
    let world = World::new(CONFIG, async |request: Request<Body>| {
        if request.headers().contains_key("if-none-match") {
            return reply(304, &[("etag", "\"1\""), ("cache-control", "no-store")], "");
        }
        reply(
            200,
            &[("etag", "\"1\""), ("cache-control", "no-store"), ("surrogate-control", "max-age=30")],
            "page",
        )
    });
    world.get("/a", &[]).await;
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(world.get("/a", &[]).await.x_cache(), "REVALIDATED");
    let hit = world.get("/a", &[]).await;
    assert_eq!((hit.x_cache(), ttl(&hit), hit.header("surrogate-control")), ("HIT", 30, None));
}

#[tokio::test]
async fn edge_architecture_2_1_fills_say_that_a_surrogate_asks_and_strangers_cannot() {
    let trusting = format!("identity: {{ trusted_proxies: [192.0.2.7/32] }}\n{CONFIG}");
    for (config, path, expected) in [
        (CONFIG, "/a", "larder=\"Surrogate/1.0\""),
        (CONFIG, "/short", "larder=\"Surrogate/1.0\""),
        (CONFIG, "/pass", ""),
        (trusting.as_str(), "/a", "edge=\"Surrogate/1.0\", larder=\"Surrogate/1.0\""),
        (trusting.as_str(), "/short", "larder=\"Surrogate/1.0\""),
        (trusting.as_str(), "/pass", "edge=\"Surrogate/1.0\""),
    ] {
        let world = world(config, &[("cache-control", "max-age=60"), ("vary", "surrogate-capability")]);
        let fields = [("surrogate-capability", "edge=\"Surrogate/1.0\"")];
        world.get(path, &fields).await;
        let seen = world.seen();
        let said: Vec<_> =
            seen[0].headers.get_all("surrogate-capability").iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(said.join(", "), expected, "{path}");
        // What Larder says of itself tells no variants apart.
        if path == "/a" {
            assert_eq!(world.get(path, &fields).await.x_cache(), "HIT");
        }
    }
    let odd = world(CONFIG, &[]);
    within(odd.send(get("/pass", &[("surrogate_capability", "x")]))).await;
    assert!(!odd.seen()[0].headers.contains_key("surrogate_capability"));
}
