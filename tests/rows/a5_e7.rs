//! A5 and E7: a cache that cannot be used never fails the page, and an origin that fails does so with clear words.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::origin::never;
use crate::support::tokens::{JWT_SECRET, bearer};
use crate::support::{Client, InProcess, Larder, Origin, Reply};
use serde_json::json;

const NOON: u64 = 1_780_000_000;

#[tokio::test]
async fn a5_an_answer_that_no_store_takes_reaches_every_reader_whole() {
    let origin = Origin::start(async |request: http::Request<bytes::Bytes>| match request.uri().path() {
        "/announced" => Reply::status(200).long(3 << 20),
        _ => Reply::status(200).long(3 << 20).chunked(),
    });
    let larder = Larder::with(
        "
origins: { app: { url: '{origin}' } }
stores:
  default: { memory: 16MiB, max_object: 1MiB }
  tiny: { memory: { entries: 1 }, max_object: 1KiB }
tiers: { usual: { ttl: 5m }, tiny: { ttl: 5m, store: tiny } }
routes:
  - { name: tiny, path: '/tiny', tier: tiny, share: public }
  - { name: all, path: '/{*rest}', tier: usual, share: public }
",
    )
    .origin(&origin)
    .start()
    .await;
    let client = Client::keep_alive();
    for path in ["/announced", "/chunked", "/tiny"] {
        for turn in 1..=3 {
            let answer = client.get(larder.url(path)).send().await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 3 << 20), "{path}, turn {turn}");
            assert_ne!(answer.x_cache(), "HIT", "{path}");
            assert_eq!(origin.count(path), turn, "{path}: nothing was stored");
        }
    }
}

#[tokio::test]
async fn e7_a_store_without_room_for_an_entry_passes_the_page_on() {
    let origin = Origin::constant(|| Reply::ok("a page").header("x-long", "y".repeat(6000)));
    let larder = Larder::with(
        "
origins: { app: { url: '{origin}' } }
stores: { default: { memory: 4KiB } }
tiers: { usual: { ttl: 5m } }
routes: [{ name: all, path: '/{*rest}', tier: usual, share: public }]
",
    )
    .origin(&origin)
    .start()
    .await;
    for turn in 1..=3 {
        let answer = Client::new().get(larder.url("/page")).send().await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "a page"));
        assert_eq!(origin.count("/page"), turn);
    }
}

#[tokio::test]
async fn a5_a_request_whose_identity_cannot_be_had_gets_the_live_answer() {
    let origin = Origin::start(async |request: http::Request<bytes::Bytes>| {
        let who = request.headers().get("authorization").map_or("nobody", |v| v.to_str().unwrap());
        Reply::ok(format!("for {who}"))
    });
    let larder = Larder::with(
        "
origins: { app: { url: '{origin}' } }
identity:
  jwt: { algorithms: [HS256], secret: { env: JWT_SECRET } }
  tenant: [{ jwt: tenant_id }]
  user: [{ jwt: sub }]
tiers: { usual: { ttl: 5m } }
routes: [{ name: all, path: '/{*rest}', tier: usual, share: tenant }]
",
    )
    .origin(&origin)
    .env("JWT_SECRET", JWT_SECRET)
    .start()
    .await;
    let expired = bearer(json!({ "tenant_id": "acme", "exp": 1_000_000_000 }));
    let forged = format!("{}x", bearer(json!({ "tenant_id": "acme" })));
    let no_tenant = bearer(json!({ "sub": "ann" }));
    let odd = bearer(json!({ "tenant_id": ["acme", "bolt"] }));
    let client = Client::keep_alive();
    for (credential, reason) in [
        (Some(expired.as_str()), "invalid-token"),
        (Some(forged.as_str()), "invalid-token"),
        (Some("Bearer nonsense"), "invalid-token"),
        (Some(no_tenant.as_str()), "no-identity"),
        (Some(odd.as_str()), "no-identity"),
        (None, "no-identity"),
    ] {
        for _ in 0..2 {
            let before = origin.total();
            let call = client.get(larder.url("/page"));
            let call = credential.iter().fold(call, |call, value| call.header("authorization", value));
            let answer = call.send().await;
            assert_eq!(answer.text(), format!("for {}", credential.unwrap_or("nobody")));
            assert_eq!(answer.x_cache(), "BYPASS", "{credential:?}");
            assert!(answer.cache_status().contains(reason), "{credential:?}: {}", answer.cache_status());
            assert_eq!(origin.total(), before + 1, "never stored, never read");
        }
    }
    let good = bearer(json!({ "tenant_id": "acme" }));
    assert_eq!(client.get(larder.url("/page")).header("authorization", &good).send().await.x_cache(), "MISS");
    assert_eq!(client.get(larder.url("/page")).header("authorization", &good).send().await.x_cache(), "HIT");
}

#[tokio::test]
async fn e7_a_stale_answer_stands_in_for_an_origin_that_fails_and_not_for_longer_than_configured() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let mut origin = Origin::start(move |request: http::Request<bytes::Bytes>| {
        let fails = fails.load(Ordering::SeqCst);
        let path = request.uri().path().to_owned();
        async move {
            match path.as_str() {
                _ if !fails => Reply::ok("good"),
                "/cut" => Reply::cut(),
                "/missing" => Reply::status(404).body("gone"),
                status => Reply::status(status[1..].parse().unwrap()).body("failed"),
            }
        }
    });
    let larder = InProcess::start(
        "
origins: { app: { url: 'http://127.0.0.1:1' } }
tiers: { usual: { ttl: 5m, stale_if_error: 1h } }
routes: [{ name: all, path: '/{*rest}', tier: usual, share: public }]
",
        &origin,
        NOON,
    )
    .await;
    let failures = ["/500", "/502", "/503", "/504", "/cut"];
    for path in failures.iter().chain(&["/missing"]) {
        assert_eq!(larder.ask(path, &[]).await.x_cache(), "MISS");
    }
    failing.store(true, Ordering::SeqCst);
    assert_eq!(larder.ask("/500", &[]).await.x_cache(), "HIT");
    larder.advance(Duration::from_secs(301));
    for path in failures {
        let answer = larder.ask(path, &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text(), answer.x_cache()),
            (200, "good", "STALE"),
            "{path}"
        );
        assert!(answer.cache_status().contains("stale-if-error"), "{path}: {}", answer.cache_status());
        assert!(answer.age().unwrap() >= 301);
    }
    let missing = larder.ask("/missing", &[]).await;
    assert_eq!((missing.status.as_u16(), missing.text()), (404, "gone"), "a 404 is an answer, not a failure");
    origin.stop();
    assert_eq!(larder.ask("/500", &[]).await.x_cache(), "STALE", "the origin is down");
    larder.advance(Duration::from_secs(3600));
    for path in failures {
        assert_eq!(larder.ask(path, &[]).await.status, 502, "{path}: an hour is over");
    }
    origin.restart();
    assert_eq!(larder.ask("/503", &[]).await.status, 503, "the origin's own words");
    failing.store(false, Ordering::SeqCst);
    for path in failures {
        assert_eq!(larder.ask(path, &[]).await.text(), "good", "{path}: it is well again, and asked at once");
    }
}

#[tokio::test]
async fn e7_an_origin_that_is_down_or_slow_is_told_clearly() {
    let mut origin = Origin::start(
        async |request: http::Request<bytes::Bytes>| {
            if request.uri().path() == "/cut" { Reply::cut() } else { never().await }
        },
    );
    let larder = Larder::with(
        "
origins: { app: { url: '{origin}', timeout: 300ms } }
tiers: { usual: { ttl: 5m } }
routes:
  - { name: cached, path: '/cached', tier: usual, share: public }
  - { name: all, path: '/{*rest}' }
",
    )
    .origin(&origin)
    .start()
    .await;
    let check = async |path: &str, status: u16, name: &str| {
        let answer = Client::new().get(larder.url(path)).send().await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        let text = answer.text();
        assert!(text.starts_with(&format!("{status} {name}\n")), "{path}: {text}");
        assert!(text.contains("the application behind Larder did not answer"), "{path}: {text}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.cache_status().contains("origin-failed"), "{}", answer.cache_status());
    };
    check("/slow", 504, "origin_timeout").await;
    check("/cached", 504, "origin_timeout").await;
    check("/cut", 502, "origin_broken").await;
    origin.stop();
    check("/down", 502, "connect_failed").await;
    check("/cached", 502, "connect_failed").await;
}
