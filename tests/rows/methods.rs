//! Methods and conditions (RFC 9110 sections 9 and 13, RFC 9111 section 4.3): HEAD that updates what is stored, conditions
//! on an answer that is still coming, and those that only the origin evaluates.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request};
use larder::cache::Cache;
use larder::purge::{Purge, Receipt, Selector, Where};

use crate::support::client::Answer;
use crate::support::raw::RawOrigin;
use crate::support::{Client, Gate, InProcess, Larder, Origin, Reply, Steps};

const YAML: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
tiers: { own: {}, timed: { ttl: 5s } }
routes:
  - { name: timed, path: '/timed/{*rest}', tier: timed, share: public }
  - { name: all, path: '/{*rest}', tier: own, share: public }
";
const NOON: u64 = 1_780_000_000;

/// A proxy, and the handle of its cache.
pub(crate) async fn with_cache(yaml: &str, origin: &Origin) -> (InProcess, Cache) {
    let slot = Arc::new(Mutex::new(None));
    let kept = slot.clone();
    let larder = InProcess::start_over(yaml, origin, NOON, &[], move |stores, clock| {
        let cache = Cache::new(stores, clock);
        *kept.lock().unwrap() = Some(cache.clone());
        cache
    })
    .await;
    let cache = slot.lock().unwrap().take().unwrap();
    (larder, cache)
}

pub(crate) fn purge_tag(cache: &Cache, name: &str) -> Receipt {
    cache.purge(&[Selector::Tag(name.into())], &Where::All).receipt().cloned().unwrap()
}

async fn head(larder: &InProcess, path: &str) -> Answer {
    Client::new().method("HEAD", larder.url(path)).send().await
}

fn is_head<B>(request: &Request<B>) -> bool {
    request.method() == Method::HEAD
}

const PAGE: &str = "a page";

fn page() -> Reply {
    Reply::ok(PAGE).header("cache-control", "max-age=5").header("etag", "\"1\"").header("x-rev", "1")
}

/// An origin whose page is good for five seconds, and which answers HEAD with `reply`.
fn answering_head(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Origin {
    Origin::start(move |request| std::future::ready(if is_head(&request) { reply() } else { page() }))
}

const STALE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn rfc9111_4_3_5_a_head_goes_on_as_one_where_a_stale_response_is_stored_and_updates_it() {
    let origin = answering_head(|| {
        let fields = Reply::status(200).header("content-length", "6").header("x-rev", "2");
        fields.header("cache-control", "max-age=100").header("content-type", "text/other")
    });
    let larder = InProcess::start(YAML, &origin, NOON).await;
    // Nothing stored: a GET brings what can be.
    assert_eq!(head(&larder, "/page").await.x_cache(), "MISS");
    assert_eq!(origin.last("/page").method, "GET");
    assert_eq!(head(&larder, "/page").await.x_cache(), "HIT");
    larder.advance(STALE);
    let updated = head(&larder, "/page").await;
    assert_eq!((updated.x_cache(), updated.header("x-rev")), ("REVALIDATED", Some("2")));
    let status = updated.cache_status();
    assert!(
        status.contains("fwd=stale; fwd-status=200") && status.ends_with("detail=head-updated"),
        "{status}"
    );
    let asked = origin.last("/page");
    assert_eq!((asked.method.as_str(), asked.header("if-none-match")), ("HEAD", Some("\"1\"")));
    larder.advance(Duration::from_secs(90));
    let hit = larder.ask("/page", &[]).await;
    assert_eq!((hit.x_cache(), hit.text(), hit.header("x-rev")), ("HIT", PAGE, Some("2")));
    assert_eq!((hit.header("etag"), hit.header("content-type")), (Some("\"1\""), Some("text/other")));
    assert_eq!(origin.total(), 2);
}

#[tokio::test]
async fn rfc9111_4_3_5_a_304_to_head_confirms_and_a_tier_with_a_ttl_asks_with_get() {
    let origin = answering_head(|| Reply::status(304).header("etag", "\"1\""));
    let larder = InProcess::start(YAML, &origin, NOON).await;
    larder.ask("/page", &[]).await;
    larder.ask("/timed/page", &[]).await;
    larder.advance(STALE);
    let confirmed = head(&larder, "/page").await;
    assert_eq!((confirmed.status.as_u16(), confirmed.x_cache()), (200, "REVALIDATED"));
    assert!(confirmed.cache_status().ends_with("detail=validated"), "{}", confirmed.cache_status());
    assert_eq!(larder.ask("/page", &[]).await.x_cache(), "HIT");
    head(&larder, "/timed/page").await;
    assert!(origin.requests_to("/timed/page").iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn rfc9111_4_3_5_what_a_head_contradicts_is_not_used_any_more() {
    for (status, field, detail, stays) in [
        (200, ("etag", "\"2\""), "head-changed", false),
        (200, ("content-length", "7"), "head-changed", false),
        (404, ("x-a", "b"), "head-changed", false),
        (410, ("x-a", "b"), "head-changed", false),
        (403, ("x-a", "b"), "head-answer", true),
        (200, ("cache-control", "no-store"), "no-store", true),
    ] {
        let origin = answering_head(move || Reply::status(status).header(field.0, field.1));
        let yaml = YAML.replace("own: {}", "own: { stale_if_error: 1h }");
        let larder = InProcess::start(&yaml, &origin, NOON).await;
        larder.ask("/page", &[]).await;
        larder.advance(STALE);
        let answer = head(&larder, "/page").await;
        assert_eq!(answer.status, status, "{detail}");
        assert!(answer.cache_status().ends_with(&format!("detail={detail}")), "{}", answer.cache_status());
        // Neither a stale window nor its validator: or the response is as it was.
        origin.answer_with(async |_| Reply::status(503));
        let next = larder.ask("/page", &[]).await;
        assert_eq!(next.x_cache() == "STALE", stays, "{detail}: {}", next.cache_status());
        assert_eq!(origin.last("/page").header("if-none-match").is_some(), stays, "{detail}");
    }
}

#[tokio::test]
async fn a_head_that_fails_leaves_the_stale_response_to_stand_in() {
    let origin = answering_head(|| Reply::status(503));
    let yaml = YAML.replace("own: {}", "own: { stale_if_error: 1h }");
    let larder = InProcess::start(&yaml, &origin, NOON).await;
    larder.ask("/page", &[]).await;
    larder.advance(STALE);
    let stale = head(&larder, "/page").await;
    assert_eq!((stale.status.as_u16(), stale.x_cache()), (200, "STALE"));
}

/// An origin whose HEAD waits for the gate, then says what a HEAD says of the page, with the tags in `tags`.
fn gated_head(gate: &Gate, tags: &'static str) -> Origin {
    let gate = gate.clone();
    let page_number = AtomicUsize::new(0);
    Origin::start(move |request| {
        let (gate, number) = (gate.clone(), page_number.load(Ordering::SeqCst));
        if !is_head(&request) {
            page_number.fetch_add(1, Ordering::SeqCst);
        }
        async move {
            if is_head(&request) {
                gate.pass().await;
                return Reply::status(200).header("cache-control", "max-age=100").header("cache-tag", tags);
            }
            Reply::ok(format!("page {number}")).header("cache-control", "max-age=5").header("cache-tag", "a")
        }
    })
}

#[tokio::test]
async fn a_purge_during_or_before_a_head_covers_what_it_updates_whatever_tags_it_names() {
    for tags in ["a", "b", ""] {
        let gate = Gate::closed();
        let origin = gated_head(&gate, tags);
        let (larder, cache) = with_cache(YAML, &origin).await;
        larder.ask("/page", &[]).await;
        larder.advance(STALE);
        let (answer, ()) = tokio::join!(head(&larder, "/page"), async {
            gate.arrived(1).await;
            purge_tag(&cache, "a");
            gate.open();
        });
        // The HEAD waited for an update that a purge made void, and was then answered from a new page.
        assert_eq!(answer.x_cache(), "MISS", "{tags}: {}", answer.cache_status());
        assert_eq!(larder.ask("/page", &[]).await.text(), "page 1", "{tags}");
    }
}

#[tokio::test]
async fn a_head_never_raises_the_position_that_a_response_holds_for() {
    let gate = Gate::closed();
    let origin = gated_head(&gate, "b");
    let (larder, cache) = with_cache(YAML, &origin).await;
    larder.ask("/page", &[]).await;
    larder.advance(STALE);
    // The page does not have the tag yet: this covers nothing. When it has it, it covers what began before.
    purge_tag(&cache, "b");
    gate.open();
    assert_eq!(head(&larder, "/page").await.x_cache(), "MISS");
    assert_eq!(larder.ask("/page", &[]).await.text(), "page 1");
    // What an update names covers from then on, and so does what it had.
    for tag in ["a", "b"] {
        larder.ask("/page", &[]).await;
        larder.advance(STALE);
        let before = larder.ask("/other", &[]).await.text().to_owned();
        larder.advance(STALE);
        assert_eq!(head(&larder, "/other").await.x_cache(), "REVALIDATED");
        assert_eq!(larder.ask("/other", &[]).await.text(), before);
        purge_tag(&cache, tag);
        assert_ne!(larder.ask("/other", &[]).await.text(), before, "{tag}");
        larder.advance(STALE);
        assert!(cache.purge(&[Selector::Everything], &Where::All).receipt().is_some());
    }
}

#[tokio::test]
async fn what_a_get_brings_during_a_head_is_never_replaced_by_the_update() {
    let gate = Gate::closed();
    let origin = gated_head(&gate, "a");
    let (larder, _) = with_cache(YAML, &origin).await;
    larder.ask("/page", &[]).await;
    larder.advance(STALE);
    let (_, ()) = tokio::join!(head(&larder, "/page"), async {
        gate.arrived(1).await;
        // It waits for no HEAD, and the HEAD's ticket is older than its own.
        assert_eq!(larder.ask("/page", &[]).await.text(), "page 1");
        gate.open();
    });
    let next = larder.ask("/page", &[]).await;
    assert_eq!(
        (next.x_cache(), next.text(), next.header("cache-control")),
        ("HIT", "page 1", Some("max-age=5"))
    );
}

#[tokio::test]
async fn what_an_older_get_brings_during_a_head_is_never_replaced_by_the_update() {
    let (gate, slow) = (Gate::closed(), Gate::closed());
    let (heads, gets, count) = (gate.clone(), slow.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |request| {
        let (heads, gets) = (heads.clone(), gets.clone());
        let number = if is_head(&request) { 0 } else { count.fetch_add(1, Ordering::SeqCst) };
        async move {
            if is_head(&request) {
                heads.pass().await;
                return Reply::status(200).header("cache-control", "max-age=100");
            }
            if number > 0 {
                gets.pass().await;
            }
            Reply::ok(format!("page {number}")).header("cache-control", "max-age=5")
        }
    });
    let larder = InProcess::start(YAML, &origin, NOON).await;
    larder.ask("/page", &[]).await;
    larder.advance(STALE);
    let (older, ..) = tokio::join!(
        larder.ask("/page", &[]),
        async {
            slow.arrived(1).await;
            head(&larder, "/page").await
        },
        async {
            gate.arrived(1).await;
            slow.open();
            crate::support::wait::until_async("the older GET is stored", async || {
                (larder.ask("/page", &[]).await.text() == "page 1").then_some(())
            })
            .await;
            gate.open();
        }
    );
    assert_eq!(older.text(), "page 1");
    let next = larder.ask("/page", &[]).await;
    assert_eq!((next.x_cache(), next.text()), ("HIT", "page 1"));
}

#[tokio::test]
async fn a_head_updates_a_response_that_is_older_than_all_purges_that_are_remembered() {
    let gate = Gate::closed();
    gate.open();
    let origin = gated_head(&gate, "a");
    let (larder, cache) = with_cache(YAML, &origin).await;
    larder.ask("/page", &[]).await;
    purge_tag(&cache, "something-else");
    let swept = cache.sweep(cache.clock().now());
    assert_eq!((swept.floor, swept.freed), (1, 0));
    larder.advance(STALE);
    assert_eq!(head(&larder, "/page").await.x_cache(), "REVALIDATED");
    let hit = larder.ask("/page", &[]).await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "page 0"));
}

#[tokio::test]
async fn what_a_head_says_does_not_keep_a_get_from_being_stored() {
    let origin = answering_head(|| Reply::status(404));
    let larder = InProcess::start(YAML, &origin, NOON).await;
    larder.ask("/page", &[]).await;
    larder.advance(STALE);
    assert_eq!(head(&larder, "/page").await.status, 404);
    assert_eq!(larder.ask("/page", &[]).await.x_cache(), "MISS");
    assert_eq!(larder.ask("/page", &[]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_softly_purged_response_is_not_confirmed_by_a_head() {
    let origin = answering_head(|| Reply::status(200).header("cache-control", "max-age=100"));
    let (larder, cache) = with_cache(YAML, &origin).await;
    larder.ask("/page", &[]).await;
    assert!(cache.purge_with(&Purge::soft(vec![Selector::Everything], Where::All, None)).receipt().is_some());
    head(&larder, "/page").await;
    assert_eq!(origin.last("/page").method, "GET");
}

#[tokio::test]
async fn a_soft_purge_during_a_head_makes_its_update_void_and_a_get_is_asked() {
    let gate = Gate::closed();
    let script = gate.clone();
    let origin = Origin::start(move |request| {
        let gate = script.clone();
        async move {
            if is_head(&request) {
                gate.pass().await;
                return Reply::status(304).header("etag", "\"1\"");
            }
            page()
        }
    });
    let (larder, cache) = with_cache(YAML, &origin).await;
    larder.ask("/page", &[]).await;
    larder.advance(STALE);
    let (answer, ()) = tokio::join!(head(&larder, "/page"), async {
        gate.arrived(1).await;
        assert!(
            cache.purge_with(&Purge::soft(vec![Selector::Everything], Where::All, None)).receipt().is_some()
        );
        gate.open();
    });
    let methods: Vec<_> = origin.requests().iter().map(|request| request.method.clone()).collect();
    assert_eq!((answer.x_cache(), methods), ("MISS", vec![Method::GET, Method::HEAD, Method::GET]));
    assert_eq!(
        origin.last("/page").header("if-none-match"),
        Some("\"1\""),
        "a strong validator may confirm it"
    );
}

// ---- Conditions.

#[tokio::test]
async fn rfc9110_13_2_2_a_condition_is_answered_from_the_head_of_an_answer_that_is_still_coming() {
    let steps = Steps::new();
    let script = steps.clone();
    let origin = Origin::constant(move || {
        let reply = Reply::status(200).header("cache-control", "max-age=60").header("etag", "\"1\"");
        reply.header("last-modified", "Tue, 14 Nov 2023 22:03:20 GMT").steps(&script)
    });
    let larder = InProcess::start(YAML, &origin, NOON).await;
    steps.data("half");
    let unchanged = larder.ask("/page", &[("if-none-match", "\"1\"")]).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.text(), unchanged.x_cache()), (304, "", "MISS"));
    assert_eq!(unchanged.header("etag"), Some("\"1\""));
    // Whoever joins is asked the same; who has something else gets the content.
    let since = [("if-modified-since", "Tue, 14 Nov 2023 22:03:20 GMT")];
    assert_eq!(larder.ask("/page", &since).await.status, 304);
    let mut other = larder.get("/page").header("if-none-match", "\"2\"").stream().await;
    assert_eq!(other.status, 200);
    steps.data(" and half").end();
    assert_eq!(other.rest().await.unwrap(), b"half and half");
    // The fill went on, and its answer is stored.
    let hit = larder.ask("/page", &[]).await;
    assert_eq!((hit.x_cache(), hit.text(), origin.total()), ("HIT", "half and half", 1));
    assert_eq!(larder.ask("/page", &[("if-none-match", "\"1\"")]).await.status, 304);
}

#[tokio::test]
async fn rfc9110_13_2_2_only_a_200_is_made_a_304() {
    let origin = Origin::constant(|| {
        Reply::status(404).header("cache-control", "max-age=60").header("etag", "\"1\"").body("none")
    });
    let larder = InProcess::start(YAML, &origin, NOON).await;
    for word in ["MISS", "HIT"] {
        let answer = larder.ask("/page", &[("if-none-match", "\"1\"")]).await;
        assert_eq!((answer.status.as_u16(), answer.x_cache()), (404, word));
    }
}

#[tokio::test]
async fn rfc9111_4_3_2_if_match_is_the_origins_unless_what_is_fresh_meets_it() {
    const DATE: &str = "Tue, 14 Nov 2023 22:03:20 GMT";
    let origin = Origin::start(|request: Request<_>| {
        let failed = request.headers().get("if-match").is_some_and(|tag| tag == "\"2\"");
        let status = if failed { 412 } else { 200 };
        let reply = Reply::status(status).body(PAGE).header("cache-control", "max-age=5");
        std::future::ready(reply.header("etag", "\"1\"").header("last-modified", DATE))
    });
    let larder = InProcess::start(YAML, &origin, NOON).await;
    let passed = |answer: &Answer| answer.cache_status().ends_with("detail=precondition");
    // Nothing is stored, and nothing is stored by it.
    for _ in 0..2 {
        let missed = larder.ask("/page", &[("if-match", "\"1\"")]).await;
        assert!(passed(&missed) && missed.status == 200, "{}", missed.cache_status());
    }
    assert_eq!(origin.last("/page").header("if-match"), Some("\"1\""));
    assert_eq!(larder.ask("/page", &[]).await.x_cache(), "MISS");
    for met in [("if-match", "\"0\", \"1\""), ("if-match", "*"), ("if-unmodified-since", DATE)] {
        let hit = larder.ask("/page", &[met]).await;
        assert_eq!((hit.x_cache(), hit.text()), ("HIT", PAGE), "{met:?}");
    }
    let both = larder.ask("/page", &[("if-match", "\"1\""), ("if-none-match", "\"1\"")]).await;
    assert_eq!((both.status.as_u16(), both.x_cache()), (304, "HIT"));
    let failed = larder.ask("/page", &[("if-match", "\"2\"")]).await;
    assert!(passed(&failed) && failed.status == 412, "{}", failed.cache_status());
    for field in [("if-match", "W/\"1\""), ("if-unmodified-since", "Tue, 14 Nov 2023 22:03:19 GMT")] {
        assert!(passed(&larder.ask("/page", &[field]).await), "{field:?}");
    }
    let only = [("if-match", "\"2\""), ("cache-control", "only-if-cached")];
    assert_eq!(larder.ask("/page", &only).await.status, 504);
    // What is stale meets nothing.
    larder.advance(STALE);
    assert!(passed(&larder.ask("/page", &[("if-match", "\"1\"")]).await));
    // And none of them touched what is stored.
    assert_eq!(larder.ask("/page", &[]).await.x_cache(), "MISS");
}

// ---- What a 304 says against storing.

#[tokio::test]
async fn rfc9111_4_3_4_what_a_304_forbids_is_not_served_any_more() {
    const FRESH: Duration = Duration::from_secs(1);
    let origin = Origin::start(|request: Request<_>| {
        let reply = if request.headers().contains_key("if-none-match") {
            Reply::status(304).header("cache-control", "private")
        } else {
            Reply::ok(PAGE).header("cache-control", "max-age=5, stale-while-revalidate=600")
        };
        std::future::ready(reply.header("etag", "\"1\""))
    });
    for (method, wait) in [("GET", FRESH), ("GET", STALE), ("HEAD", FRESH), ("HEAD", STALE)] {
        let larder = InProcess::start(YAML, &origin, NOON).await;
        assert_eq!(larder.ask("/page", &[]).await.x_cache(), "MISS");
        larder.advance(wait);
        let reload = Client::new().method(method, larder.url("/page")).header("cache-control", "no-cache");
        let own = reload.send().await;
        assert_eq!((own.status.as_u16(), own.x_cache()), (200, "BYPASS"), "{method} {wait:?}");
        let other = larder.ask("/page", &[]).await;
        assert!(!["HIT", "STALE"].contains(&other.x_cache()), "{method} {wait:?}: {}", other.cache_status());
    }
}

#[tokio::test]
async fn a_304_that_may_not_be_shared_for_its_request_alone_leaves_the_stored_response() {
    let origin = Origin::start(|request: Request<_>| {
        let confirmed = request.headers().contains_key("if-none-match");
        let reply = if confirmed { Reply::status(304).header("set-cookie", "a=b") } else { Reply::ok(PAGE) };
        std::future::ready(reply.header("cache-control", "max-age=5").header("etag", "\"1\""))
    });
    let larder = InProcess::start(YAML, &origin, NOON).await;
    assert_eq!(larder.ask("/page", &[]).await.x_cache(), "MISS");
    larder.advance(Duration::from_secs(1));
    for own in [("x-a", "b"), ("authorization", "Basic YTpi")] {
        let answer = larder.ask("/page", &[own, ("cache-control", "no-cache")]).await;
        assert_eq!((answer.x_cache(), answer.text()), ("BYPASS", PAGE), "{own:?}");
        assert_eq!(larder.ask("/page", &[]).await.x_cache(), "HIT", "{own:?}");
    }
}

// ---- Answers that end with their connection.

#[tokio::test]
async fn an_answer_that_only_the_close_ends_is_stored_where_the_origin_is_believed() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
    const OWN: &str = "
origins: { app: { url: '{origin}', unsafe_read_to_close: {believe} } }
tiers: { own: {} }
routes: [{ name: all, path: '/{*rest}', tier: own, share: public }]
";
    for (rest, status, word) in
        [("\r\nhello", 200, "BYPASS"), ("Transfer-Encoding: other\r\n\r\nhello", 502, "MISS")]
    {
        for believe in [true, false] {
            let origin = RawOrigin::constant(format!("{HEAD}{rest}")).await;
            let setup = Larder::with(OWN).put("origin", origin.url()).put("believe", believe);
            let larder = setup.start().await;
            let ask = async || Client::new().get(larder.url("/page")).send().await;
            let (first, second) = (ask().await, ask().await);
            if believe {
                assert_eq!(
                    (first.text(), second.text(), second.x_cache()),
                    ("hello", "hello", "HIT"),
                    "{rest}"
                );
                assert_eq!(second.header("transfer-encoding"), None);
            } else {
                assert_eq!((second.status.as_u16(), second.x_cache()), (status, word), "{rest}");
            }
        }
    }
    // Two readings are refused all the same, and what ends in chunks is.
    for rest in [
        "Transfer-Encoding: other, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: a\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let origin = RawOrigin::constant(format!("{HEAD}{rest}")).await;
        let larder = Larder::with(OWN).put("origin", origin.url()).put("believe", true).start().await;
        assert_eq!(Client::new().get(larder.url("/page")).send().await.status, 502, "{rest}");
    }
}
