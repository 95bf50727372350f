//! C1, C3, C4, C5, C7: how much is kept, where, for how long, under which key, and on which conditions.

use std::time::Duration;

use crate::support::{InProcess, Origin, Reply};
use bytes::Bytes;
use http::Request;

const NOON: u64 = 1_780_000_000;
const SECOND: Duration = Duration::from_secs(1);

/// A proxy with one store and one public tier of an hour.
fn one_store(store: &str) -> String {
    format!(
        "
origins: {{ app: {{ url: 'http://127.0.0.1:1' }} }}
stores: {{ default: {store} }}
tiers: {{ usual: {{ ttl: 1h }}, short: {{ ttl: 1m }} }}
routes:
  - {{ name: short, path: '/short/{{*rest}}', tier: short, share: public }}
  - {{ name: all, path: '/{{*rest}}', tier: usual, share: public }}
"
    )
}

fn echo() -> Origin {
    Origin::start(async |request: Request<Bytes>| Reply::ok(request.uri().to_string()))
}

async fn x_cache(larder: &InProcess, path: &str) -> String {
    larder.ask(path, &[]).await.x_cache().to_owned()
}

async fn fill(larder: &InProcess, paths: &[&str]) {
    for path in paths {
        assert_eq!(x_cache(larder, path).await, "MISS", "{path}");
    }
}

/// How many of `0..n` are kept. The origin is stopped for that: looking changes nothing.
async fn kept(larder: &InProcess, origin: &mut Origin, n: usize) -> usize {
    origin.stop();
    let mut kept = 0;
    for number in 0..n {
        let answer = larder.ask(&format!("/{number}"), &[]).await;
        assert!(answer.x_cache() == "HIT" || answer.status == 502);
        kept += usize::from(answer.x_cache() == "HIT");
    }
    kept
}

#[tokio::test]
async fn c1_a_store_keeps_as_many_entries_or_bytes_as_it_is_told() {
    for eviction in ["scan_resistant", "lru", "lfu", "time"] {
        for (memory, fewest, most) in [("{ entries: 20 }", 15, 20), ("200KiB", 10, 20)] {
            let mut origin = Origin::constant(|| Reply::ok(vec![b'x'; 10_000]));
            let store = format!("{{ memory: {memory}, eviction: {eviction} }}");
            let larder = InProcess::start(&one_store(&store), &origin, NOON).await;
            for n in 0..100 {
                assert_eq!(larder.ask(&format!("/{n}"), &[]).await.body.len(), 10_000);
            }
            let kept = kept(&larder, &mut origin, 100).await;
            assert!((fewest..=most).contains(&kept), "{eviction}, {memory}: {kept} kept");
        }
    }
}

#[tokio::test]
async fn c1_what_goes_first_is_what_the_strategy_says() {
    // a and b are asked again, a last; then d comes and one of four has to go.
    for (eviction, gone) in [("lru", "/c"), ("lfu", "/c"), ("time", "/short/b")] {
        let origin = echo();
        let store = format!("{{ memory: {{ entries: 3 }}, eviction: {eviction} }}");
        let larder = InProcess::start(&one_store(&store), &origin, NOON).await;
        fill(&larder, &["/a", "/short/b", "/c"]).await;
        for path in ["/short/b", "/a", "/a"] {
            assert_eq!(x_cache(&larder, path).await, "HIT");
        }
        fill(&larder, &["/d"]).await;
        for path in ["/a", "/short/b", "/c"].iter().filter(|path| **path != gone) {
            assert_eq!(x_cache(&larder, path).await, "HIT", "{eviction}: {path}");
        }
        assert_eq!(x_cache(&larder, gone).await, "MISS", "{eviction}");
    }
}

#[tokio::test]
async fn c1_a_scan_does_not_empty_the_default_store() {
    let origin = echo();
    let larder = InProcess::start(&one_store("{ memory: { entries: 100 } }"), &origin, NOON).await;
    for _ in 0..3 {
        for n in 0..20 {
            larder.ask(&format!("/popular/{n}"), &[]).await;
        }
    }
    for n in 0..1_000 {
        larder.ask(&format!("/scan/{n}"), &[]).await;
    }
    let mut kept = 0;
    for n in 0..20 {
        kept += usize::from(x_cache(&larder, &format!("/popular/{n}")).await == "HIT");
    }
    assert!(kept >= 15, "{kept} of 20 survived");
}

#[tokio::test]
async fn c3_each_route_has_the_store_of_its_tier_and_one_does_not_push_out_the_other() {
    let origin = echo();
    let larder = InProcess::start(
        "
origins: { app: { url: 'http://127.0.0.1:1' } }
stores:
  default: { memory: { entries: 4 }, eviction: lru }
  query: { memory: 1MiB, eviction: lru }
  api: { memory: { entries: 50 }, eviction: lfu }
tiers: { usual: { ttl: 1h }, query: { ttl: 1h, store: query }, api: { ttl: 1h, store: api } }
routes:
  - { name: query, path: '/query/{*rest}', tier: query, share: public }
  - { name: api, path: '/api/{*rest}', tier: api, share: public }
  - { name: all, path: '/{*rest}', tier: usual, share: public }
",
        &origin,
        NOON,
    )
    .await;
    fill(&larder, &["/query/1", "/api/1", "/1"]).await;
    for n in 10..100 {
        larder.ask(&format!("/{n}"), &[]).await;
    }
    assert_eq!([x_cache(&larder, "/query/1").await, x_cache(&larder, "/api/1").await], ["HIT", "HIT"]);
    assert_eq!(x_cache(&larder, "/1").await, "MISS", "its own store was full");
}

#[tokio::test]
async fn c4_each_route_has_its_own_timeout_and_zero_is_until_purged_and_some_never_cache() {
    let origin = echo();
    let larder = InProcess::start(
        "
origins: { app: { url: 'http://127.0.0.1:1' } }
tiers: { short: { ttl: 60s }, long: { ttl: 30d }, forever: { ttl: 0 } }
routes:
  - { name: short, path: /short, tier: short, share: public }
  - { name: long, path: /long, tier: long, share: public }
  - { name: forever, path: /forever, tier: forever, share: public }
  - { name: never, path: '/{*rest}' }
",
        &origin,
        NOON,
    )
    .await;
    fill(&larder, &["/short", "/long", "/forever"]).await;
    assert_eq!(x_cache(&larder, "/never").await, "BYPASS");
    let day = 86_400 * SECOND;
    for (wait, short, long) in [
        (59 * SECOND, "HIT", "HIT"),
        (SECOND, "MISS", "HIT"),
        (29 * day, "MISS", "HIT"),
        (day, "MISS", "MISS"),
        (3_650 * day, "MISS", "MISS"),
    ] {
        larder.advance(wait);
        let got = [x_cache(&larder, "/short").await, x_cache(&larder, "/long").await];
        assert_eq!(got, [short, long], "after {wait:?} more");
        let forever = larder.ask("/forever", &[]).await;
        assert_eq!(forever.x_cache(), "HIT");
        assert!(!forever.cache_status().contains("ttl="), "{}", forever.cache_status());
        assert_eq!(x_cache(&larder, "/never").await, "BYPASS");
    }
    crate::support::Client::new().post(larder.url("/forever")).send().await;
    assert_eq!(x_cache(&larder, "/forever").await, "MISS", "until purged");
}

#[tokio::test]
async fn c5_the_key_is_made_of_everything_that_selects_the_answer() {
    let origin = echo();
    let larder = InProcess::start(
        "
origins: { app: { url: 'http://127.0.0.1:1' } }
tiers: { usual: { ttl: 1h } }
routes:
  - { name: only, path: /only, tier: usual, share: public, query: { only: [model, domain, limit, offset] } }
  - { name: ignore, path: /ignore, tier: usual, share: public, query: { ignore: [session, 'x_*'] } }
  - { name: key, path: '/rpc/{db}/{*rest}', tier: usual, share: public, key: '{query.model}:{query.fields}' }
  - { name: all, path: '/{*rest}', tier: usual, share: public }
",
        &origin,
        NOON,
    )
    .await;
    // Each group: the first fills; then HIT for those that select the same, MISS for those that do not.
    for (first, same, other) in [
        (
            "/records?model=res.partner&domain=%5B%5D&fields=name&order=id&limit=10&offset=0",
            &["/records?offset=0&limit=10&order=id&fields=name&domain=%5B%5D&model=res.partner&utm_source=x"]
                [..],
            &[
                "/records?model=res.users&domain=%5B%5D&fields=name&order=id&limit=10&offset=0",
                "/records?model=res.partner&domain=%5B%5D&fields=name&order=id&limit=20&offset=0",
                "/records?model=res.partner&domain=%5B%5D&fields=name&order=id&limit=10&offset=10",
                "/records?model=res.partner&domain=%5B%5D&fields=name&order=name&limit=10&offset=0",
                "/records?model=res.partner&domain=%5B%5D&fields=email&order=id&limit=10&offset=0",
                "/records?model=res.partner&domain=%5B1%5D&fields=name&order=id&limit=10&offset=0",
            ][..],
        ),
        (
            "/only?model=a&page=1",
            &["/only?model=a&page=2", "/only?model=a"],
            &["/only?model=b", "/only?model=a&limit=1"],
        ),
        (
            "/ignore?a=1&session=2",
            &["/ignore?a=1", "/ignore?session=3&a=1&x_trace=9"],
            &["/ignore?a=2", "/ignore"],
        ),
        (
            "/rpc/db/search?model=a&fields=b&z=1",
            &["/rpc/db/other?fields=b&model=a", "/rpc/elsewhere/search?model=a&fields=b"],
            &[
                "/rpc/db/search?model=a&fields=c",
                "/rpc/db/search?model=a:b",
                "/rpc/db/search?model=&fields=a:b",
            ],
        ),
    ] {
        assert_eq!(x_cache(&larder, first).await, "MISS", "{first}");
        let wanted = larder.ask(first, &[]).await;
        for path in same {
            let answer = larder.ask(path, &[]).await;
            assert_eq!((answer.x_cache(), answer.text()), ("HIT", wanted.text()), "{path}");
        }
        for path in other {
            assert_eq!(x_cache(&larder, path).await, "MISS", "{path}");
        }
    }
    // What is not in the key did not reach the application.
    assert!(origin.requests_to("/only").iter().all(|request| !request.target.contains("page")));
    assert!(origin.requests_to("/ignore").iter().all(|request| !request.target.contains("session")));
    assert!(origin.requests().iter().all(|request| !request.target.contains("utm_")));
    assert_eq!(origin.requests_to("/rpc/db/search")[0].target, "/rpc/db/search?fields=b&model=a");
}
