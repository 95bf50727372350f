//! A node of several that cannot prove that it knows every purge (invariants 3 and 6): what becomes of requests, and of
//! purges that cannot be logged. The log is in the test's hands; that in Redis has tests of its own.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use larder::cache::Cache;
use larder::purge::{
    Fence, Handling, Limits, Nodes, Once, Purge, Receipt, Recorded, Recording, SharedLog, Underway, Unlogged,
};
use tokio::sync::oneshot;

use crate::support::events::signed;
use crate::support::wait::until;
use crate::support::{Gate, InProcess, Origin, Reply};

const NOON: u64 = 1_789_000_000;
const YAML: &str = r#"
origins: { app: { url: "http://127.0.0.1:9" } }
tiers: { kept: { ttl: 1h, stale_if_error: 1h } }
routes:
  - { name: trusting, path: "/serve", tier: kept, share: public, on_partition: serve }
  - { name: passing, path: "/bypass", tier: kept, share: public, on_partition: bypass }
  - { name: pages, path: "/{*rest}", tier: kept, share: public }
webhooks: [{ name: shop, secret: { env: TOKEN } }]
admin: { listen: "127.0.0.1:0", tokens: [{ name: ops, role: admin, secret: { env: TOKEN } }] }
"#;
const TOKEN: &str = "a token of at least sixteen bytes";

/// Takes what the log says.
type Answer = Box<dyn FnOnce(Result<Receipt, Unlogged>) + Send>;

/// A log that answers when the test wants.
#[derive(Default)]
struct Held(Mutex<Vec<(String, Handling, Answer)>>);

impl Held {
    fn hold(&self, id: &str, handling: Handling, answer: Answer) {
        self.0.lock().unwrap().push((id.to_owned(), handling, answer));
    }
}

impl SharedLog for Held {
    fn append(&self, id: String, _: Purge, handling: Handling) -> Underway {
        let (answer, result) = oneshot::channel();
        self.hold(&id, handling, Box::new(|said| answer.send(said).unwrap()));
        Underway::awaited(id, result)
    }

    fn append_once(&self, purges: Vec<(String, Purge)>, _: Once) -> Recording {
        let (answer, result) = oneshot::channel();
        let recorded = |receipt| Recorded::Now(Some(receipt));
        let answer = Box::new(move |said: Result<_, _>| answer.send(said.map(recorded)).unwrap());
        self.hold(&purges.last().unwrap().0, Handling::Report, answer);
        result
    }
}

impl Held {
    async fn asked(&self) {
        until("a purge is handed over", || !self.0.lock().unwrap().is_empty()).await;
    }

    /// Acknowledges all: one node has applied them, one is gone.
    fn acknowledge_all(&self) {
        for (id, _, answer) in std::mem::take(&mut *self.0.lock().unwrap()) {
            let nodes = Some(Nodes { applied: vec!["here-1".into()], gone: vec!["there-2".into()] });
            answer(Ok(Receipt { id, seq: 7, time: Duration::from_secs(NOON), nodes }));
        }
    }

    fn refuse_all(&self) -> Vec<(String, Handling)> {
        let held = std::mem::take(&mut *self.0.lock().unwrap());
        let refuse = |(id, handling, answer): (String, Handling, Answer)| {
            let why = "the log is away".to_owned();
            answer(Err(Unlogged { id: id.clone(), why }));
            (id, handling)
        };
        held.into_iter().map(refuse).collect()
    }
}

async fn start(origin: &Origin) -> (InProcess, Cache, Arc<Held>) {
    let log = Arc::new(Held::default());
    let kept = OnceLock::new();
    let over = |stores: &[_], clock| {
        let fence = Fence::over_shared(log.clone(), Limits::default());
        fence.enter([1; 16], 0);
        let cache = Cache::with_fence(stores, fence, clock);
        kept.get_or_init(|| cache).clone()
    };
    let larder = InProcess::start_over(YAML, origin, NOON, &[("TOKEN", TOKEN)], over).await;
    (larder, kept.into_inner().unwrap(), log)
}

fn counting() -> Origin {
    Origin::start(async |request: Request<Bytes>| {
        if request.headers().contains_key("if-none-match") {
            return Reply::status(304).header("etag", "\"e\"");
        }
        Reply::ok("page").header("etag", "\"e\"")
    })
}

async fn x_cache(larder: &InProcess, path: &str) -> String {
    larder.ask(path, &[]).await.x_cache().to_owned()
}

#[tokio::test]
async fn without_proof_nothing_stored_is_served_and_every_page_is_answered() {
    let origin = counting();
    let (larder, cache, _) = start(&origin).await;
    cache.fence().prove(Duration::from_secs(2));
    assert_eq!(x_cache(&larder, "/page").await, "MISS");
    assert_eq!(x_cache(&larder, "/page").await, "HIT");
    larder.advance(Duration::from_secs(2));
    let answer = larder.ask("/page", &[]).await;
    assert_eq!((answer.x_cache(), answer.text()), ("MISS", "page"));
    assert!(answer.cache_status().contains("detail=log-away"), "{}", answer.cache_status());
    assert_eq!(origin.last("/page").header("if-none-match"), None, "a whole answer is asked for");
    // What came meanwhile began when nobody knew better, and is good once the log was read.
    cache.fence().prove(Duration::from_secs(10));
    assert_eq!(x_cache(&larder, "/page").await, "HIT");
}

#[tokio::test]
async fn without_proof_nothing_stale_stands_in_for_a_failure() {
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_broken = broken.clone();
    let origin = Origin::start(move |_: Request<Bytes>| {
        let broken = is_broken.load(std::sync::atomic::Ordering::SeqCst);
        async move { if broken { Reply::status(503) } else { Reply::ok("page") } }
    });
    let (larder, cache, _) = start(&origin).await;
    cache.fence().prove(Duration::from_secs(7_000));
    assert_eq!(x_cache(&larder, "/page").await, "MISS");
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    larder.advance(Duration::from_secs(4_000));
    assert_eq!(x_cache(&larder, "/page").await, "STALE");
    larder.advance(Duration::from_secs(3_000));
    assert_eq!(larder.ask("/page", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn without_proof_only_a_fill_that_begins_after_the_request_answers_it() {
    let gate = Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |_: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            gate.pass().await;
            Reply::ok("page")
        }
    });
    let (larder, cache, _) = start(&origin).await;
    let ask = || tokio::spawn(larder.get("/page").send());
    let first = ask();
    gate.arrived(1).await;
    // The first began before this one came.
    let other = ask();
    until("the other has a fill of its own", || cache.fills_in_flight() == 2).await;
    gate.open();
    assert_eq!(first.await.unwrap().text(), "page");
    assert_eq!(other.await.unwrap().text(), "page");
    assert_eq!(origin.count("/page"), 2);
}

#[tokio::test]
async fn a_route_may_serve_or_pass_while_nobody_knows_better() {
    let origin = counting();
    let (larder, cache, _) = start(&origin).await;
    cache.fence().prove(Duration::from_secs(2));
    for path in ["/serve", "/bypass"] {
        assert_eq!(x_cache(&larder, path).await, "MISS");
        assert_eq!(x_cache(&larder, path).await, "HIT");
    }
    larder.advance(Duration::from_secs(2));
    assert_eq!(x_cache(&larder, "/serve").await, "HIT");
    assert_eq!(x_cache(&larder, "/bypass").await, "BYPASS");
    assert!(larder.ask("/bypass", &[]).await.cache_status().contains("log-away"));
}

#[tokio::test]
async fn a_write_that_cannot_be_logged_succeeds_is_obeyed_here_and_says_that_it_is_pending() {
    let origin = counting();
    let (larder, cache, log) = start(&origin).await;
    cache.fence().prove(Duration::from_secs(100));
    assert_eq!(x_cache(&larder, "/page").await, "MISS");
    let writing = tokio::spawn(larder.post("/page").send());
    log.asked().await;
    // Before the writer hears of it.
    assert_eq!(x_cache(&larder, "/page").await, "MISS");
    assert_eq!(log.refuse_all().len(), 1);
    let answer = writing.await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.cache_status().contains("purge-pending"), "{}", answer.cache_status());
    assert_eq!(x_cache(&larder, "/page").await, "MISS");
}

#[tokio::test]
async fn a_purge_that_cannot_be_logged_is_503_with_an_id_to_ask_again_with() {
    let origin = counting();
    let (larder, cache, log) = start(&origin).await;
    cache.fence().prove(Duration::from_secs(100));
    let ask = |id: Option<&str>| {
        let call = larder.method("PURGE", "/page").header("authorization", format!("Bearer {TOKEN}"));
        match id {
            None => call,
            Some(id) => call.header("idempotency-key", id),
        }
    };
    let asking = tokio::spawn(ask(None).send());
    log.asked().await;
    let (id, handling) = log.refuse_all().remove(0);
    assert_eq!(handling, Handling::Report);
    let answer = asking.await.unwrap();
    assert_eq!(
        (answer.status, answer.header("retry-after").unwrap_or_default()),
        (StatusCode::SERVICE_UNAVAILABLE, "1")
    );
    assert!(answer.text().contains(&format!("Idempotency-Key: {id}")), "{}", answer.text());
    let asking = tokio::spawn(ask(Some(&id)).send());
    log.asked().await;
    assert_eq!(log.refuse_all()[0].0, id);
    asking.await.unwrap();
}

#[tokio::test]
async fn a_receipt_names_the_nodes_that_obey_and_those_that_are_gone() {
    let origin = counting();
    let (larder, _, log) = start(&origin).await;
    let purge = larder.method("PURGE", "/page").header("authorization", format!("Bearer {TOKEN}"));
    let event = signed(
        larder.post("/.larder/webhooks/shop"),
        TOKEN.as_bytes(),
        "event-1",
        NOON,
        r#"{"tenant": "acme", "tags": ["stock"]}"#,
    );
    for call in [purge, event] {
        let asking = tokio::spawn(call.send());
        log.asked().await;
        log.acknowledge_all();
        let receipt: serde_json::Value = asking.await.unwrap().json();
        let nodes = serde_json::json!({ "applied": ["here-1"], "gone": ["there-2"] });
        assert_eq!((&receipt["nodes"], &receipt["seq"]), (&nodes, &7.into()), "{receipt}");
    }
}
