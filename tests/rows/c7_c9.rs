//! C7: caching by conditions on the request and on the answer. C9: what authorised clients choose per request.

use std::time::Duration;

use crate::support::{Answer, InProcess, Origin, Reply};
use bytes::Bytes;
use http::Request;

const NOON: u64 = 1_780_000_000;
const SECOND: Duration = Duration::from_secs(1);

const CONDITIONS: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
identity:
  trusted_proxies: [127.0.0.1/32]
  role: [{ header: X-Role }]
tiers:
  usual: { ttl: 5m }
  records:
    ttl: 5m
    when:
      - { header: X-Volatile, store: false }
      - { header: { name: X-Class, value: slow }, ttl: 2h }
      - { status: [404, 410], ttl: 30s }
      - { content_type: 'image/*', ttl: 1d }
      - { records: { at: /result/records, min: 500 }, ttl: 1h }
      - { records: { at: /result/records, max: 0 }, store: false }
      - { min_size: 64KiB, ttl: 3h }
routes:
  - { name: conditional, path: /conditional, tier: usual, share: public, only_if: { role: [employee, manager], query: { view: [list, table] }, header: [X-Requested-With] } }
  - { name: all, path: '/{*rest}', tier: records, share: public }
";

fn records(n: usize) -> String {
    format!("{{\"result\": {{\"records\": [{}]}}}}", vec!["1"; n].join(","))
}

/// Answers by the path: what the tier's exceptions look at.
fn varied() -> Origin {
    Origin::start(async |request: Request<Bytes>| match request.uri().path() {
        "/volatile" => Reply::ok("x").header("x-volatile", "yes").header("x-class", "slow"),
        "/slow" => Reply::ok("x").header("x-class", "slow"),
        "/class" => Reply::ok("x").header("x-class", "other"),
        "/404" => Reply::status(404).body("not here"),
        "/410" => Reply::status(410).body("gone"),
        "/403" => Reply::status(403).body("no"),
        "/500" => Reply::status(500).body("failed"),
        "/image" => Reply::ok("png").header("content-type", "image/png"),
        "/records" => Reply::json(records(500)),
        "/records-chunked" => Reply::json(records(700)).chunked(),
        "/few" => Reply::json(records(499)),
        "/none" => Reply::json(records(0)),
        "/not-json" => Reply::json("{"),
        "/large" => Reply::ok(vec![b'x'; 64 << 10]),
        "/large-chunked" => Reply::ok(vec![b'x'; 65 << 10]).chunked(),
        _ => Reply::ok("x"),
    })
}

#[tokio::test]
async fn c7_the_answers_status_size_type_fields_and_records_decide_how_long_it_is_kept() {
    let origin = varied();
    let larder = InProcess::start(CONDITIONS, &origin, NOON).await;
    for (path, seconds) in [
        ("/volatile", 0),
        ("/slow", 7_200),
        ("/class", 300),
        ("/404", 30),
        ("/410", 30),
        ("/403", 0),
        ("/500", 0),
        ("/image", 86_400),
        ("/records", 3_600),
        ("/records-chunked", 3_600),
        ("/few", 300),
        ("/none", 0),
        ("/not-json", 300),
        ("/large", 10_800),
        ("/large-chunked", 10_800),
        ("/plain", 300),
    ] {
        let first = larder.ask(path, &[]).await;
        assert_ne!(first.x_cache(), "HIT", "{path}");
        if seconds == 0 {
            larder.ask(path, &[]).await;
            assert_eq!(origin.count(path), 2, "{path} is not stored");
            continue;
        }
        larder.advance(seconds * SECOND - SECOND);
        let hit = larder.ask(path, &[]).await;
        assert_eq!((hit.x_cache(), hit.status), ("HIT", first.status), "{path}: {}", hit.cache_status());
        assert_eq!(hit.body, first.body, "{path}");
        larder.advance(SECOND);
        assert_eq!(larder.ask(path, &[]).await.x_cache(), "MISS", "{path} after {seconds} s");
    }
}

#[tokio::test]
async fn c7_a_request_that_does_not_fit_the_routes_conditions_passes() {
    let origin = varied();
    let larder = InProcess::start(CONDITIONS, &origin, NOON).await;
    let ask = async |query: &str, role: Option<&str>, with: bool| {
        let call = larder.get(&format!("/conditional{query}"));
        let call = role.iter().fold(call, |call, role| call.header("x-role", role));
        let call = if with { call.header("x-requested-with", "XMLHttpRequest") } else { call };
        call.send().await
    };
    assert_eq!(ask("?view=list", Some("manager"), true).await.x_cache(), "MISS");
    assert_eq!(
        ask("?view=list", Some("employee"), true).await.x_cache(),
        "HIT",
        "the role is no part of the key"
    );
    assert_eq!(ask("?view=table", Some("employee"), true).await.x_cache(), "MISS");
    for (query, role, with) in [
        ("?view=list", Some("customer"), true),
        ("?view=list", None, true),
        ("?view=form", Some("manager"), true),
        ("?view=list&view=form", Some("manager"), true),
        ("", Some("manager"), true),
        ("?view=list", Some("manager"), false),
    ] {
        let answer = ask(query, role, with).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{query} {role:?} {with}");
        assert!(answer.cache_status().contains("only-if"), "{}", answer.cache_status());
    }
}

const CHOICES: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
identity:
  trusted_proxies: [127.0.0.1/32]
  role: [{ header: X-Role }]
tiers: { usual: { ttl: 1h, stale_while_revalidate: 1h } }
choices: { roles: [client] }
routes:
  - { name: closed, path: /closed, tier: usual, share: public, choices: nobody }
  - { name: open, path: /open, tier: usual, share: public, choices: anyone }
  - { name: all, path: '/{*rest}', tier: usual, share: public }
";

/// Each answer has a number of its own.
fn counting() -> Origin {
    let number = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |_| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::future::ready(Reply::ok(number.to_string()))
    })
}

async fn choose(larder: &InProcess, path: &str, choice: &str) -> Answer {
    let role = if path == "/open" { "anybody" } else { "client" };
    larder.ask(path, &[("x-role", role), ("x-larder-cache", choice)]).await
}

#[tokio::test]
async fn c9_bypass_neither_reads_nor_stores() {
    let (origin, path) = (counting(), "/page");
    let larder = InProcess::start(CHOICES, &origin, NOON).await;
    for turn in 0..2 {
        let answer = choose(&larder, path, "bypass").await;
        assert_eq!((answer.x_cache(), answer.text()), ("BYPASS", turn.to_string().as_str()));
        assert!(answer.cache_status().contains("client-bypass"), "{}", answer.cache_status());
    }
    assert_eq!(larder.ask(path, &[]).await.text(), "2", "nothing was stored");
    assert_eq!(choose(&larder, path, "bypass").await.text(), "3");
    let hit = larder.ask(path, &[]).await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "2"), "and nothing replaced");
    assert_eq!(origin.last(path).header("x-larder-cache"), None, "the choice is Larder's own business");
}

#[tokio::test]
async fn c9_refresh_asks_the_origin_and_fills_for_everybody() {
    let (origin, path) = (counting(), "/page");
    let larder = InProcess::start(CHOICES, &origin, NOON).await;
    assert_eq!(larder.ask(path, &[]).await.text(), "0");
    let answer = choose(&larder, path, "refresh").await;
    assert_eq!((answer.x_cache(), answer.text()), ("REFRESH", "1"));
    assert!(answer.cache_status().contains("client-refresh"), "{}", answer.cache_status());
    let hit = larder.ask(path, &[]).await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "1"));
}

#[tokio::test]
async fn c9_a_bounded_timeout_bounds_the_age_that_is_read_and_the_time_that_is_stored() {
    let (origin, path) = (counting(), "/page");
    let larder = InProcess::start(CHOICES, &origin, NOON).await;
    assert_eq!(larder.ask(path, &[]).await.text(), "0");
    larder.advance(30 * SECOND);
    assert_eq!(choose(&larder, path, "ttl=30s").await.x_cache(), "HIT");
    larder.advance(SECOND);
    assert_eq!(choose(&larder, path, "ttl=2m").await.x_cache(), "HIT");
    let bounded = choose(&larder, path, "ttl=30s").await;
    assert_eq!((bounded.x_cache(), bounded.text()), ("MISS", "1"));
    assert!(bounded.cache_status().contains("client-ttl"), "{}", bounded.cache_status());
    let hit = larder.ask(path, &[]).await;
    assert!(hit.cache_status().contains("ttl=30;"), "a shorter life, never a longer: {}", hit.cache_status());
    larder.advance(31 * SECOND);
    assert_eq!(larder.ask(path, &[]).await.x_cache(), "STALE");
    let longer = choose(&larder, "/longer", "ttl=12h").await;
    assert_eq!(longer.x_cache(), "MISS");
    larder.advance(2 * 3_600 * SECOND);
    assert_eq!(larder.ask("/longer", &[]).await.x_cache(), "MISS", "the tier's hour and its window are over");
}

#[tokio::test]
async fn c9_who_may_not_choose_gets_the_ordinary_answer_and_the_reason() {
    let origin = counting();
    let larder = InProcess::start(CHOICES, &origin, NOON).await;
    for path in ["/page", "/closed", "/open"] {
        larder.ask(path, &[]).await;
    }
    for choice in ["bypass", "refresh", "ttl=1s", "key"] {
        larder.advance(2 * SECOND);
        let closed = choose(&larder, "/closed", choice).await;
        let other_role = larder.ask("/page", &[("x-role", "other"), ("x-larder-cache", choice)]).await;
        let nobody = larder.ask("/page", &[("x-larder-cache", choice)]).await;
        for answer in [closed, other_role, nobody] {
            assert_eq!(answer.x_cache(), "HIT", "{choice}");
            assert!(answer.cache_status().contains("choice-denied"), "{choice}: {}", answer.cache_status());
            assert!(!answer.cache_status().contains("key="), "{}", answer.cache_status());
        }
    }
    assert_eq!(choose(&larder, "/open", "refresh").await.x_cache(), "REFRESH");
    for nonsense in
        ["", "nonsense", "ttl=", "ttl=0s", "ttl=-1s", "ttl=9999999999999999999s", "ttl=1x", "bypass!"]
    {
        let answer = choose(&larder, "/page", nonsense).await;
        assert_eq!(answer.x_cache(), "HIT", "{nonsense}: {}", answer.cache_status());
    }
}
