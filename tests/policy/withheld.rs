//! `no-cache="…"` and `private="…"` (RFC 9111 sections 5.2.2.4 and 5.2.2.7): the named fields reach only the client whose
//! own request was made.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use larder::http::Body;
use tokio::sync::Semaphore;

use super::support::{Got, World, reply};

const CONFIG: &str = "
identity:
  ask: { path: /whoami, user: X-User, cookies: [session] }
  user: [{ ask: user }]
tiers: { origin: {}, short: { ttl: 10m } }
routes:
  - { name: short, path: /short, tier: short, share: public }
  - { name: own, path: /own, tier: origin, share: user }
  - { name: rest, path: '/{*rest}', tier: origin, share: public }
";

const CC: &str = "max-age=60, no-cache=\"Set-Cookie\", private=\"x-secret, Age\"";
const NAMED: [(&str, &str); 5] = [
    ("cache-control", CC),
    ("set-cookie", "session=1"),
    ("set-cookie", "b=2"),
    ("x-secret", "s"),
    ("x-open", "o"),
];

async fn named(request: Request<Body>) -> http::Response<Body> {
    if request.uri().path() == "/whoami" {
        return reply(204, &[("x-user", "ann")], "");
    }
    reply(200, &NAMED, "page")
}

/// The cookies, the secret field and the open one, as a client got them.
fn shown(got: &Got) -> (usize, Option<&str>, Option<&str>) {
    (got.headers.get_all("set-cookie").iter().count(), got.header("x-secret"), got.header("x-open"))
}

const ALL: (usize, Option<&str>, Option<&str>) = (2, Some("s"), Some("o"));
const OPEN: (usize, Option<&str>, Option<&str>) = (0, None, Some("o"));

#[tokio::test]
async fn rfc9111_5_2_2_4_named_fields_reach_who_led_and_are_not_stored() {
    for path in ["/a", "/short"] {
        let world = World::new(CONFIG, named);
        let led = world.get(path, &[]).await;
        assert_eq!((led.x_cache(), shown(&led)), ("MISS", ALL), "{path}");
        let hit = world.get(path, &[]).await;
        assert_eq!((hit.x_cache(), shown(&hit), hit.text()), ("HIT", OPEN, "page"), "{path}");
        assert_eq!(hit.header("cache-control"), Some(CC));
        assert_eq!(world.asked(), 1);
    }
}

#[tokio::test]
async fn named_fields_never_reach_those_who_wait_for_the_same_answer() {
    for path in ["/a", "/short"] {
        let gate = Arc::new(Semaphore::new(0));
        let world = World::new(CONFIG, {
            let gate = gate.clone();
            move |request| {
                let gate = gate.clone();
                async move {
                    gate.acquire().await.unwrap().forget();
                    named(request).await
                }
            }
        });
        let get = || world.get(path, &[]);
        let (a, b, c, ()) = tokio::join!(get(), get(), get(), async {
            super::support::settle().await;
            gate.add_permits(9);
        });
        let mut seen = [shown(&a), shown(&b), shown(&c)];
        seen.sort();
        assert_eq!(seen, [OPEN, OPEN, ALL], "{path}");
        assert_eq!(world.asked(), 1);
    }
}

#[tokio::test]
async fn rfc9111_5_2_2_7_a_named_field_that_speaks_of_the_client_is_withheld_like_any_other() {
    const OF_CLIENT: [&str; 3] = ["x-forwarded-user", "x-real-ip", "forwarded"];
    let world = World::new(CONFIG, async |_| {
        let mut fields =
            vec![("cache-control", "max-age=60, private=\"X-Forwarded-User, X-Real-IP, Forwarded\"")];
        fields.extend(OF_CLIENT.map(|name| (name, "ann")));
        reply(200, &fields, "page")
    });
    let shown = |got: &Got| OF_CLIENT.map(|name| got.header(name).is_some());
    assert_eq!(shown(&world.get("/a", &[]).await), [true; 3]);
    let hit = world.get("/a", &[]).await;
    assert_eq!((hit.x_cache(), shown(&hit)), ("HIT", [false; 3]));
}

#[tokio::test]
async fn a_cookie_that_an_anonymous_fill_got_never_takes_the_place_of_a_clients_session() {
    let world = World::new(CONFIG, named);
    // The fill for everybody says nothing of the client's cookie.
    let led = world.get("/short", &[("cookie", "theme=dark")]).await;
    assert_eq!((led.x_cache(), shown(&led)), ("MISS", OPEN));
    assert!(world.seen()[0].header("cookie").is_none());
    assert_eq!(world.get("/short", &[]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_cookie_that_reaches_a_client_ends_the_generation_of_its_credential() {
    let world = World::new(CONFIG, named);
    let session = [("cookie", "session=0")];
    let asked = |world: &World| world.seen().iter().filter(|seen| seen.target == "/whoami").count();
    let led = world.get("/own", &session).await;
    assert_eq!((shown(&led), asked(&world)), (ALL, 1));
    // Who that session is now is asked again.
    world.get("/own", &session).await;
    assert_eq!(asked(&world), 2);
}

#[tokio::test]
async fn rfc9111_4_3_4_fields_that_a_304_brings_and_names_reach_who_led_and_are_not_stored() {
    let world = World::new(CONFIG, async |request: Request<Body>| {
        let first =
            [("etag", "\"1\""), ("cache-control", "max-age=60"), ("x-secret", "old"), ("x-open", "o")];
        if request.headers().contains_key("if-none-match") {
            return reply(304, &[&[("etag", "\"1\"")][..], &NAMED].concat(), "");
        }
        reply(200, &first, "page")
    });
    world.get("/a", &[]).await;
    world.clock.advance(Duration::from_secs(61));
    let led = world.get("/a", &[]).await;
    assert_eq!((led.x_cache(), shown(&led)), ("REVALIDATED", ALL));
    let hit = world.get("/a", &[]).await;
    assert_eq!((hit.x_cache(), shown(&hit)), ("HIT", OPEN));
}

#[tokio::test]
async fn a_list_that_is_none_is_taken_as_the_whole() {
    for (directive, path, word) in [
        ("private=\"x-secret", "/a", "BYPASS"),
        ("private=x-secret", "/a", "BYPASS"),
        ("private=\"vary\"", "/a", "BYPASS"),
        ("no-cache=x-secret", "/short", "BYPASS"),
        ("no-cache=\"\"", "/short", "BYPASS"),
        ("no-cache=x-secret", "/a", "MISS"),
    ] {
        let cc = format!("max-age=60, {directive}");
        let world = World::new(CONFIG, move |_: Request<Body>| {
            let cc = cc.clone();
            async move {
                reply(200, &[("cache-control", cc.as_str()), ("x-secret", "s"), ("x-open", "o")], "page")
            }
        });
        let first = world.get(path, &[]).await;
        assert_eq!((first.x_cache(), first.header("x-secret")), (word, Some("s")), "{directive}");
        world.clock.advance(Duration::from_secs(1));
        assert_ne!(world.get(path, &[]).await.x_cache(), "HIT", "{directive}");
    }
}
