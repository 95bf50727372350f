//! Isolation: no byte produced for one reaches another.

use std::sync::{Arc, Mutex};

use http::Request;
use larder::http::Body;

use super::support::{World, get, reply, settle, token};

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
        let cookies =
            [&both.0, &both.1, &both.2].iter().filter(|got| got.header("set-cookie").is_some()).count();
        let stored = world.get(path, &[]).await;
        assert!(cookies <= 1, "{path}: {cookies} clients got the cookie of one");
        assert_ne!((stored.x_cache(), stored.header("set-cookie").is_some()), ("HIT", true), "{path}");
        assert_eq!((both.0.text(), both.1.text(), both.2.text()), ("page", "page", "page"), "{path}");
    }
}

const ENTITLED: &str = "
identity:
  jwt: { algorithms: [HS256], secret: { env: JWT_SECRET } }
  tenant: [{ query: tenant_id, entitled: { jwt: tenant_ids } }, { jwt: tenant_id }]
tiers: { short: { ttl: 10m } }
routes:
  - { name: named, path: /named, tier: short, share: tenant, key: \"{query.test}\" }
  - { name: all, path: /all, tier: short, share: tenant }
";

/// An application that serves its default tenant unless the query names another.
async fn tenant_of_query(request: Request<Body>) -> http::Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let bees = query.split('&').any(|pair| pair == "tenant_id=bee");
    reply(200, &[], if bees { "for bee" } else { "for ant" })
}

#[tokio::test]
async fn d8_the_parameter_that_became_the_tenant_reaches_the_application_whatever_the_route_keeps_of_the_query()
 {
    let of_both = token(&serde_json::json!({ "tenant_id": "ant", "tenant_ids": ["ant", "bee"] }));
    let of_bee = token(&serde_json::json!({ "tenant_id": "bee", "tenant_ids": ["bee"] }));
    for path in ["/named", "/all"] {
        let world = World::new(ENTITLED, tenant_of_query);
        let target = format!("{path}?tenant_id=bee&test=1");
        let first = world.get(&target, &[("authorization", &of_both)]).await;
        assert_eq!(first.text(), "for bee", "{path}");
        let hit = world.get(&target, &[("authorization", &of_bee)]).await;
        assert_eq!((hit.text(), hit.x_cache()), ("for bee", "HIT"), "{path}");
        let asked = world.seen().remove(0).target;
        assert_eq!(asked.matches("tenant_id=bee").count(), 1, "{asked}");
    }
}

const OWN_KEY: &str = "
tiers: { short: { ttl: 10m } }
routes: [{ name: item, path: /item, tier: short, share: public, key: \"item:{query.id}\" }]
";

#[tokio::test]
async fn a_parameter_that_comes_twice_fills_no_entry_of_a_route_with_its_own_key_but_its_own() {
    // Many applications take the last of several.
    let world = World::new(OWN_KEY, async |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        reply(200, &[], if query.ends_with("id=evil") { "evil" } else { "good" })
    });
    assert_eq!(world.get("/item?id=1&id=evil", &[]).await.text(), "evil");
    assert_eq!(world.get("/item?id=1", &[]).await.text(), "good");
    assert_eq!(world.get("/item?id=1&unkeyed=2", &[]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn who_waits_for_a_fill_that_found_another_variant_stored_gets_their_own() {
    let world = World::new(PUBLIC, async |request: Request<Body>| {
        let of = request.headers().get("x-who").map_or(&b""[..], |value| value.as_bytes()).to_owned();
        let fields = [("vary", "x-who"), ("cache-control", "max-age=600")];
        reply(200, &fields, if of == b"ant" { "for ant" } else { "for bee" })
    });
    // Both look before anything is stored, and go on after both variants are.
    let ant = world.send(get("/rfc", &[("x-who", "ant")]));
    let bee = world.send(get("/rfc", &[("x-who", "bee")]));
    world.get("/rfc", &[("x-who", "ant")]).await;
    world.get("/rfc", &[("x-who", "bee")]).await;
    let (ant, bee) = tokio::join!(ant, bee);
    assert_eq!((ant.text(), bee.text()), ("for ant", "for bee"));
}

const ASKED: &str = "
identity:
  ask: { origin: app, path: /whoami, tenant: X-Tenant, remember: 30s }
  tenant: [{ ask: tenant }]
tiers: { short: { ttl: 10s } }
routes:
  - { name: dash, path: /dash, origin: app, tier: short, share: tenant, override: [\"Vary: Cookie\"] }
  - { name: rest, path: '/{*rest}', origin: app }
";

#[tokio::test]
async fn an_answer_to_a_credential_that_became_somebody_else_meanwhile_is_not_shared() {
    let (gate, owner) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(Mutex::new("ant")));
    let (held, whose) = (gate.clone(), owner.clone());
    let world = World::new(ASKED, move |request: Request<Body>| {
        let (gate, whose) = (held.clone(), whose.clone());
        async move {
            let first = request.headers()["cookie"] == "s=1";
            let now = || if first { *whose.lock().unwrap() } else { "ant" };
            match request.uri().path() {
                "/whoami" => reply(200, &[("x-tenant", now())], ""),
                "/login" => {
                    *whose.lock().unwrap() = "bee";
                    reply(200, &[], "")
                }
                _ => {
                    gate.acquire().await.unwrap().forget();
                    reply(200, &[], if now() == "ant" { "of ant" } else { "of bee" })
                }
            }
        }
    });
    let first = tokio::spawn(world.send(get("/dash", &[("cookie", "s=1")])));
    settle().await;
    let second = tokio::spawn(world.send(get("/dash", &[("cookie", "s=2")])));
    settle().await;
    let mut login = get("/login", &[("cookie", "s=1")]);
    *login.method_mut() = http::Method::POST;
    world.send(login).await;
    gate.add_permits(10);
    assert_eq!(second.await.unwrap().text(), "of ant");
    assert_eq!(first.await.unwrap().text(), "of bee");
    assert_eq!(world.get("/dash", &[("cookie", "s=2")]).await.text(), "of ant");
    assert_eq!(world.get("/dash", &[("cookie", "s=2")]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_304_that_speaks_of_another_response_never_refreshes_the_stored_one() {
    let world = World::new(PUBLIC, async |request: Request<Body>| {
        let first = !request.headers().contains_key("if-none-match");
        let asked_before = request.headers().contains_key("x-again");
        if first && !asked_before {
            reply(200, &[("etag", "\"1\""), ("cache-control", "max-age=10")], "old")
        } else {
            reply(304, &[("etag", "\"2\"")], "")
        }
    });
    world.get("/rfc", &[]).await;
    world.clock.advance(std::time::Duration::from_secs(60));
    let got = world.get("/rfc", &[("x-again", "1")]).await;
    assert_ne!((got.status.as_u16(), got.body.as_deref()), (200, Ok("old")), "{got:?}");
    world.clock.advance(std::time::Duration::from_secs(60));
    assert_ne!(world.get("/rfc", &[("x-again", "1")]).await.x_cache(), "HIT");
}
