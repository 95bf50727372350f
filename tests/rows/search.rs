//! F2: `No-Vary-Search`: one answer for several queries, as far as the application says, and never past a purge of either URL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Answer, Gate, InProcess, Origin, Reply};
use bytes::Bytes;
use http::Request;
use larder::cache::Cache;
use larder::purge::{Selector, Where};

const NOON: u64 = 1_780_000_000;

const YAML: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
identity:
  trusted_proxies: [127.0.0.1/32]
  tenant: [{ header: X-Tenant }, { query: shop }]
stores: { default: { memory: 8MiB } }
tiers: { usual: { ttl: 1h }, own: {} }
routes:
  - { name: tenants, path: '/t/{*rest}', tier: usual, share: tenant }
  - { name: own, path: '/own/{*rest}', tier: own, share: public }
  - { name: usual, path: '/{*rest}', tier: usual, share: public }
";

/// An origin that answers with the number of the answer, under the rule that `rule` makes of the request's path.
fn numbered(rule: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> Origin {
    let number = AtomicUsize::new(0);
    Origin::start(move |request: Request<Bytes>| {
        let number = number.fetch_add(1, Ordering::SeqCst);
        let reply = Reply::ok(number.to_string()).header("cache-control", "max-age=600");
        std::future::ready(reply.header("no-vary-search", rule(request.uri().path())))
    })
}

/// An origin that answers with the query, to every query in the same way by its own word; `a=1` waits at the gate.
fn gated() -> (Origin, Gate) {
    let gate = Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |request: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            if query == "a=1" {
                gate.pass().await;
            }
            Reply::ok(query).header("cache-control", "max-age=600").header("no-vary-search", "params")
        }
    });
    (origin, gate)
}

async fn larder(origin: &Origin) -> InProcess {
    InProcess::start(YAML, origin, NOON).await
}

/// Larder, and its cache.
async fn with_cache(yaml: &str, origin: &Origin) -> (InProcess, Cache) {
    let mut handle = None;
    let over = |stores: &[Arc<larder::config::Store>], clock| {
        let cache = Cache::new(stores, clock);
        handle = Some(cache.clone());
        cache
    };
    let larder = InProcess::start_over(yaml, origin, NOON, &[], over).await;
    (larder, handle.unwrap())
}

fn told(answer: &Answer) -> (&str, &str) {
    (answer.x_cache(), answer.text())
}

#[tokio::test]
async fn f2_an_answer_is_found_for_every_query_that_its_rule_does_not_tell_apart() {
    let origin = numbered(|path| match path.rsplit_once('/').unwrap().1 {
        "order" => "key-order",
        "params" => "params=(\"utm\" \"x y\")",
        "except" => "params, except=(\"id\")",
        "none" => "params",
        _ => "params=(broken)",
    });
    let larder = larder(&origin).await;
    for tier in ["", "/own"] {
        for (first, same, other) in [
            ("/order?a=1&b=2", "/order?b=%32&a=1", "/order?a=2&b=1"),
            ("/params?a=1&utm=2", "/params?x+y=5&a=1", "/params?a=2"),
            ("/except?id=1&b=2", "/except?id=1&b=3&c", "/except?id=2&b=2"),
            ("/none?a=1", "/none", "/none/?a=1"),
        ] {
            let [first, same, other] = [first, same, other].map(|path| format!("{tier}{path}"));
            let filled = larder.ask(&first, &[]).await;
            assert_eq!(filled.x_cache(), "MISS", "{first}");
            let found = larder.ask(&same, &[]).await;
            assert_eq!(told(&found), ("HIT", filled.text()), "{same}: {}", found.cache_status());
            assert_eq!(larder.ask(&other, &[]).await.x_cache(), "MISS", "{other}");
        }
        let broken = [format!("{tier}/broken?a"), format!("{tier}/broken?b")];
        assert_eq!(larder.ask(&broken[0], &[]).await.x_cache(), "MISS");
        assert_eq!(larder.ask(&broken[1], &[]).await.x_cache(), "MISS", "as if there were no rule");
    }
}

#[tokio::test]
async fn f2_an_answer_to_the_exact_query_comes_first_and_a_stale_one_for_another_is_not_used() {
    let origin = numbered(|_| "params");
    let larder = larder(&origin).await;
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("MISS", "0"));
    // Who wants a fresh answer gets one, and it is the one that the others find.
    let fresh = [("cache-control", "no-cache")];
    assert_eq!(larder.ask("/own/p?a=2", &fresh).await.text(), "1");
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("HIT", "0"));
    assert_eq!(told(&larder.ask("/own/p?a=3", &[]).await), ("HIT", "1"));
    larder.advance(Duration::from_secs(601));
    assert_eq!(told(&larder.ask("/own/p?a=3", &[]).await), ("MISS", "2"));
    assert_eq!(told(&larder.ask("/own/p?a=4", &[]).await), ("HIT", "2"));
}

#[tokio::test]
async fn f2_a_rule_that_the_application_took_back_counts_no_longer() {
    let open = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let rule = open.clone();
    let origin = numbered(move |_| if rule.load(Ordering::SeqCst) { "params" } else { "key-order=?0" });
    let larder = larder(&origin).await;
    assert_eq!(larder.ask("/own/p?a=1", &[]).await.x_cache(), "MISS");
    assert_eq!(larder.ask("/own/p?a=2", &[]).await.x_cache(), "HIT");
    open.store(false, Ordering::SeqCst);
    larder.advance(Duration::from_secs(1));
    assert_eq!(larder.ask("/own/p?a=1", &[("cache-control", "no-cache")]).await.text(), "1");
    assert_eq!(told(&larder.ask("/own/p?a=2", &[]).await), ("MISS", "2"));
}

#[tokio::test]
async fn f2_only_the_newest_four_rules_of_a_url_are_looked_for() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let rule = format!("params=(\"r{}\" \"x\")", request.uri().query().unwrap_or_default());
        Reply::ok("").header("no-vary-search", rule)
    });
    let larder = larder(&origin).await;
    for n in 0..6 {
        assert_eq!(larder.ask(&format!("/p?{n}"), &[]).await.x_cache(), "MISS");
    }
    for (n, word) in [(5, "HIT"), (2, "HIT"), (1, "MISS")] {
        assert_eq!(larder.ask(&format!("/p?{n}&x=1"), &[]).await.x_cache(), word, "{n}");
    }
}

#[tokio::test]
async fn f2_a_purge_of_either_url_covers_what_is_found_for_it() {
    let origin = numbered(|_| "params");
    let larder = larder(&origin).await;
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("MISS", "0"));
    assert_eq!(told(&larder.ask("/own/p?a=2", &[]).await), ("HIT", "0"));
    // Of the URL that is asked for, which was never stored.
    assert!(larder.post("/own/p?a=2").send().await.status.is_success());
    assert_eq!(told(&larder.ask("/own/p?a=3", &[]).await), ("HIT", "0"));
    assert_eq!(told(&larder.ask("/own/p?a=2", &[]).await), ("MISS", "2"));
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("HIT", "0"), "that URL was not purged");
    // Of the URL under which it is stored.
    assert_eq!(told(&larder.ask("/own/p?a=4", &[]).await), ("HIT", "2"));
    assert!(larder.post("/own/p?a=2").send().await.status.is_success());
    assert_eq!(told(&larder.ask("/own/p?a=4", &[]).await), ("MISS", "4"));
}

#[tokio::test]
async fn f2_a_purge_of_the_url_that_is_asked_for_covers_a_fill_of_another_that_was_under_way() {
    let (origin, gate) = gated();
    let larder = larder(&origin).await;
    let filling = tokio::spawn(larder.get("/own/p?a=1").send());
    gate.arrived(1).await;
    assert!(larder.post("/own/p?a=2").send().await.status.is_success());
    gate.open();
    assert_eq!(filling.await.unwrap().text(), "a=1");
    // It began before the purge, and its own URL was not purged.
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("HIT", "a=1"));
    assert_eq!(told(&larder.ask("/own/p?a=3", &[]).await), ("HIT", "a=1"));
    assert_eq!(told(&larder.ask("/own/p?a=2", &[]).await), ("MISS", "a=2"));
}

#[tokio::test]
async fn f2_a_purge_still_covers_what_is_asked_for_when_its_row_was_swept_away() {
    let origin = numbered(|_| "params");
    let (larder, cache) = with_cache(YAML, &origin).await;
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("MISS", "0"));
    assert!(larder.post("/own/p?a=2").send().await.status.is_success());
    assert!(cache.sweep(cache.clock().now()).floor > 0);
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("HIT", "0"));
    assert_eq!(told(&larder.ask("/own/p?a=2", &[]).await), ("MISS", "2"));
    // What was filled since is found for all.
    assert_eq!(told(&larder.ask("/own/p?a=3", &[]).await), ("HIT", "2"));
}

#[tokio::test]
async fn f2_an_older_answer_does_not_take_the_place_of_a_newer_one_for_other_queries() {
    let (origin, gate) = gated();
    let larder = larder(&origin).await;
    let older = tokio::spawn(larder.get("/own/p?a=1").send());
    gate.arrived(1).await;
    assert_eq!(told(&larder.ask("/own/p?a=2", &[]).await), ("MISS", "a=2"));
    gate.open();
    older.await.unwrap();
    assert_eq!(told(&larder.ask("/own/p?a=3", &[]).await), ("HIT", "a=2"));
}

#[tokio::test]
async fn f2_no_rule_leads_to_another_tenant_or_variant() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let field = |name: &str| request.headers().get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
        Reply::ok(format!("{} {}", field("x-tenant"), field("x-view")))
            .header("cache-control", "max-age=600")
            .header("vary", "X-View")
            .header("no-vary-search", "params")
    });
    let larder = larder(&origin).await;
    let tenant = async |path: &str, name: &str| {
        let answer = larder.ask(path, &[("x-tenant", name)]).await;
        answer.x_cache().to_owned()
    };
    assert_eq!(tenant("/t/p?a=1", "acme").await, "MISS");
    assert_eq!(tenant("/t/p?a=2", "acme").await, "HIT");
    assert_eq!(tenant("/t/p?a=2", "bolt").await, "MISS");
    // A tenant that the query names is not folded away with it.
    assert_eq!(larder.ask("/t/p?shop=one&a=1", &[]).await.x_cache(), "MISS");
    assert_eq!(larder.ask("/t/p?shop=two&a=1", &[]).await.x_cache(), "MISS");
    assert_eq!(larder.ask("/t/p?shop=one&a=2", &[]).await.x_cache(), "HIT");
    let view = async |path: &str, view: &str| {
        let answer = larder.ask(path, &[("x-view", view)]).await;
        (answer.x_cache().to_owned(), answer.text().to_owned())
    };
    assert_eq!(view("/own/p?a=1", "list").await, ("MISS".to_owned(), " list".to_owned()));
    assert_eq!(view("/own/p?a=2", "table").await, ("MISS".to_owned(), " table".to_owned()));
    assert_eq!(view("/own/p?a=3", "table").await, ("HIT".to_owned(), " table".to_owned()));
}

#[tokio::test]
async fn f2_what_is_known_of_rules_counts_towards_the_size_of_the_store() {
    for eviction in ["scan_resistant", "time"] {
        let origin = numbered(|_| "params, except=(\"id\")");
        let yaml = YAML.replace("memory: 8MiB", &format!("memory: 256KiB, eviction: {eviction}"));
        let mut handle = None;
        let over = |stores: &[Arc<larder::config::Store>], clock| {
            let cache = Cache::new(stores, clock);
            handle = Some(cache.clone());
            cache
        };
        let larder = InProcess::start_over(&yaml, &origin, NOON, &[], over).await;
        let cache = handle.unwrap();
        for n in 0..600 {
            larder.ask(&format!("/p{}?id={n}", n % 7), &[]).await;
        }
        let stats = cache.stats()[0];
        assert!(stats.bytes <= stats.capacity, "{stats:?}");
        assert_eq!(larder.ask("/p4?id=599&x", &[]).await.x_cache(), "HIT", "{eviction}: the last is there");
    }
}

#[tokio::test]
async fn rfc9111_4_3_2_what_is_found_for_another_query_answers_no_precondition_that_it_does_not_meet() {
    let origin = Origin::start(|request: Request<Bytes>| {
        let status = if request.headers().contains_key("if-match") { 412 } else { 200 };
        let reply = Reply::status(status).header("etag", "\"1\"").header("cache-control", "max-age=600");
        std::future::ready(reply.header("no-vary-search", "params"))
    });
    let larder = larder(&origin).await;
    assert_eq!(larder.ask("/own/page?a", &[]).await.x_cache(), "MISS");
    let met = larder.ask("/own/page?b", &[("if-match", "\"1\"")]).await;
    assert_eq!((met.status.as_u16(), met.x_cache()), (200, "HIT"));
    let failed = larder.ask("/own/page?b", &[("if-match", "\"2\"")]).await;
    assert_eq!((failed.status.as_u16(), failed.x_cache()), (412, "BYPASS"));
}

#[tokio::test]
async fn f2_a_purge_of_a_tag_that_the_route_gives_to_what_is_asked_for_covers_what_is_found_for_it() {
    let yaml = YAML.replace(
        "  - { name: own,",
        "  - { name: tagged, path: '/tagged/{*rest}', tier: usual, share: public, tags: ['item:{query.a}'] }\n  - { name: own,",
    );
    let origin = numbered(|_| "params");
    let (larder, cache) = with_cache(&yaml, &origin).await;
    assert_eq!(told(&larder.ask("/tagged/p?a=1", &[]).await), ("MISS", "0"));
    assert_eq!(told(&larder.ask("/tagged/p?a=2", &[]).await), ("HIT", "0"));
    assert!(cache.purge(&[Selector::Tag("item:2".into())], &Where::All).receipt().is_some());
    assert_eq!(told(&larder.ask("/tagged/p?a=3", &[]).await), ("HIT", "0"));
    assert_eq!(told(&larder.ask("/tagged/p?a=2", &[]).await), ("MISS", "1"));
}
