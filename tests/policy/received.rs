//! What a response gets when it is received, and what a 304 updates.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use larder::http::Body;

use super::support::{World, reply};

const CONFIG: &str = "
tiers: { origin: {}, steady: { ttl: 10s, stale_if_error: 1h } }
routes:
  - { name: steady, path: /steady, tier: steady, share: public }
  - { name: rest, path: '/{*rest}', tier: origin, share: public }
";

/// The first moment of the world's clock, and one of two minutes later.
const BEGIN: &str = "Fri, 15 Jan 2027 08:00:00 GMT";
const LATER: &str = "Fri, 15 Jan 2027 08:02:00 GMT";

#[tokio::test]
async fn rfc9110_6_6_1_a_response_without_a_date_gets_the_moment_of_its_receipt() {
    let world = World::new(CONFIG, async |_| reply(200, &[("cache-control", "max-age=600")], "page"));
    assert_eq!(world.get("/a", &[]).await.header("date"), Some(BEGIN));
    world.clock.advance(Duration::from_secs(120));
    let hit = world.get("/a", &[]).await;
    assert_eq!((hit.x_cache(), hit.header("date"), hit.header("age")), ("HIT", Some(BEGIN), Some("120")));
    // Where there is no `Last-Modified`, a condition is compared with it (RFC 9111 section 4.3.2). The same second is not
    // enough: there may have been a purge and another answer within it.
    for (date, status) in [("Fri, 15 Jan 2027 08:00:01 GMT", 304), (BEGIN, 200)] {
        assert_eq!(world.get("/a", &[("if-modified-since", date)]).await.status, status);
    }
}

#[tokio::test]
async fn rfc9111_3_2_a_304_updates_all_but_what_describes_the_content() {
    let world = World::new(CONFIG, async |request: Request<Body>| {
        let common = [("etag", "\"1\""), ("cache-control", "max-age=60")];
        let (status, more) = if request.headers().contains_key("if-none-match") {
            (
                304,
                [
                    ("content-type", "text/b"),
                    ("content-md5", "b"),
                    ("content-range", "bytes 0-1/2"),
                    ("x-a", "b"),
                ],
            )
        } else {
            (200, [("content-type", "text/a"), ("content-md5", "a"), ("x-b", "a"), ("x-a", "a")])
        };
        reply(status, &[&common[..], &more].concat(), if status == 200 { "page" } else { "" })
    });
    world.get("/a", &[]).await;
    world.clock.advance(Duration::from_secs(120));
    assert_eq!(world.get("/a", &[]).await.x_cache(), "REVALIDATED");
    let hit = world.get("/a", &[]).await;
    let field = |name| hit.header(name);
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "page"));
    assert_eq!((field("content-type"), field("content-md5")), (Some("text/b"), Some("a")));
    assert_eq!((field("x-a"), field("x-b"), field("content-range")), (Some("b"), Some("a"), None));
    assert_eq!(field("date"), Some(LATER));
}

#[tokio::test]
async fn rfc9110_14_4_a_content_range_in_a_whole_answer_does_not_forbid_storing() {
    const FIELDS: [(&str, &str); 2] = [("cache-control", "max-age=60"), ("content-range", "bytes 0-3/4")];
    let world = World::new(CONFIG, async |_| reply(200, &FIELDS, "page"));
    world.get("/a", &[]).await;
    assert_eq!(world.get("/a", &[]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn rfc9111_5_2_2_3_must_understand_has_a_reason_of_its_own() {
    for (status, word) in [(200, "HIT"), (599, "BYPASS")] {
        const CC: [(&str, &str); 1] = [("cache-control", "max-age=60, no-store, must-understand")];
        let world = World::new(CONFIG, move |_| async move { reply(status, &CC, "page") });
        world.get("/a", &[]).await;
        let second = world.get("/a", &[]).await;
        assert_eq!(second.x_cache(), word);
        if word == "BYPASS" {
            assert!(
                world.get("/b", &[]).await.header("cache-status").unwrap().contains("detail=must-understand")
            );
        }
    }
}

#[tokio::test]
async fn rfc8246_2_a_reload_of_what_is_immutable_is_answered_while_it_is_fresh() {
    const FIELDS: [(&str, &str); 2] = [("cache-control", "max-age=60, immutable"), ("etag", "\"1\"")];
    let world = World::new(CONFIG, async |_| reply(200, &FIELDS, "page"));
    world.get("/a", &[]).await;
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.get("/a", &[("cache-control", "max-age=0")]).await.x_cache(), "HIT");
    assert_ne!(world.get("/a", &[("cache-control", "no-cache")]).await.x_cache(), "HIT");
    world.clock.advance(Duration::from_secs(60));
    assert_ne!(world.get("/a", &[("cache-control", "max-age=0")]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn rfc5861_4_a_request_bounds_how_stale_an_answer_may_stand_in() {
    let cc = [("cache-control", "max-age=10, stale-if-error=100")];
    let first = AtomicBool::new(true);
    let world = World::new(CONFIG, move |_| {
        let status = if first.swap(false, Ordering::SeqCst) { 200 } else { 503 };
        async move { reply(status, if status == 200 { &cc } else { &[] }, "page") }
    });
    world.get("/a", &[]).await;
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.get("/a", &[("cache-control", "stale-if-error=5")]).await.status, 503);
    assert_eq!(world.get("/a", &[]).await.x_cache(), "STALE");
    world.clock.advance(Duration::from_secs(100));
    assert_eq!(world.get("/a", &[]).await.status, 503);
    assert_eq!(world.get("/a", &[("cache-control", "stale-if-error=500")]).await.x_cache(), "STALE");
}
