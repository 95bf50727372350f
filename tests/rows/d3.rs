//! D3 (and F3): `bust_cache` gets a fresh answer and refills the entry, at a price that no client can drive up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::raw;
use crate::support::tokens::{JWT_SECRET, bearer};
use crate::support::{Answer, Client, Gate, InProcess, Larder, Origin, Reply, wait};
use bytes::Bytes;
use http::Request;
use serde_json::json;
use tokio::io::AsyncWriteExt;

const NOON: u64 = 1_780_000_000;

const YAML: &str = "
origins: { app: { url: '{origin}' } }
identity:
  jwt: { algorithms: [HS256], secret: { env: JWT_SECRET } }
  tenant: [{ jwt: tenant_id }]
  role: [{ jwt: role }]
tiers: { usual: { ttl: 1h } }
routes:
  - { name: usual, path: '/usual/{*rest}', tier: usual, share: tenant }
  - { name: forward, path: '/forward/{*rest}', tier: usual, share: tenant, bust: { forward: true, per_key: 1000/1s } }
  - { name: many, path: '/many/{*rest}', tier: usual, share: public, bust: { allow: anyone, per_key: 10000/1s } }
  - { name: staff, path: '/staff/{*rest}', tier: usual, share: tenant, bust: { allow: { roles: [staff] } } }
  - { name: none, path: '/none/{*rest}', tier: usual, share: public, bust: false }
  - { name: public, path: '/public/{*rest}', tier: usual, share: public }
  - { name: named, path: '/named/{*rest}', tier: usual, share: public, bust: { allow: anyone, param: fresh } }
";

/// Each answer has a number of its own.
fn counting() -> Origin {
    let number = AtomicUsize::new(0);
    Origin::start(move |_| std::future::ready(Reply::ok(number.fetch_add(1, Ordering::SeqCst).to_string())))
}

/// An origin whose answers wait, each at the gate that its number has.
fn gated(gates: Vec<Gate>) -> Origin {
    let number = Arc::new(AtomicUsize::new(0));
    Origin::start(move |request: Request<Bytes>| {
        let gated = request.uri().path().starts_with("/many/");
        let number = if gated { number.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
        let gate = gates.get(number).cloned();
        async move {
            if let Some(gate) = gate {
                gate.pass().await;
            }
            Reply::ok(number.to_string())
        }
    })
}

async fn in_process(origin: &Origin) -> InProcess {
    let yaml = YAML.replace("{origin}", "http://127.0.0.1:1");
    InProcess::start_with(&yaml, origin, NOON, &[("JWT_SECRET", JWT_SECRET)]).await
}

fn ann() -> String {
    bearer(json!({ "tenant_id": "acme", "role": "clerk" }))
}

async fn ask(larder: &InProcess, path: &str) -> Answer {
    larder.ask(path, &[("authorization", &ann())]).await
}

#[tokio::test]
async fn d3_a_bust_is_answered_fresh_and_refills_the_entry_for_everybody() {
    let origin = counting();
    let larder = in_process(&origin).await;
    assert_eq!(ask(&larder, "/usual/page?a=1").await.x_cache(), "MISS");
    for value in ["false", "0", "no", "", "FALSE", "off"] {
        let answer = ask(&larder, &format!("/usual/page?bust_cache={value}&a=1")).await;
        assert_eq!((answer.x_cache(), answer.text()), ("HIT", "0"), "{value}");
    }
    let busted = ask(&larder, "/usual/page?a=1&bust_cache=true").await;
    assert_eq!((busted.x_cache(), busted.text()), ("REFRESH", "1"));
    let status = busted.cache_status();
    assert!(status.contains("fwd=request") && status.contains("detail=bust"), "{status}");
    let hit = ask(&larder, "/usual/page?a=1").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "1"), "the entry of the page without the parameter");
    assert!(origin.requests().iter().all(|request| request.target == "/usual/page?a=1"));
}

#[tokio::test]
async fn d3_a_bust_is_forwarded_where_the_application_has_a_cache_of_its_own() {
    let origin = counting();
    let larder = in_process(&origin).await;
    ask(&larder, "/forward/page?b=2&a=1").await;
    assert_eq!(ask(&larder, "/forward/page?bust_cache=true&b=2&a=1").await.x_cache(), "REFRESH");
    let targets: Vec<_> = origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/forward/page?a=1&b=2", "/forward/page?a=1&b=2&bust_cache=true"]);
    assert_eq!(ask(&larder, "/forward/page?a=1&b=2").await.text(), "1");
    assert_eq!(ask(&larder, "/forward/other?bust_cache=true").await.x_cache(), "REFRESH");
    assert_eq!(origin.last("/forward/other").target, "/forward/other?bust_cache=true");
}

#[tokio::test]
async fn d3_who_may_not_bust_gets_the_ordinary_answer_and_the_reason() {
    let origin = counting();
    let larder = in_process(&origin).await;
    let staff = bearer(json!({ "tenant_id": "acme", "role": "staff" }));
    for path in ["/staff/page", "/public/page", "/none/page"] {
        ask(&larder, path).await;
    }
    for (path, credential) in [("/staff/page", Some(ann())), ("/public/page", None)] {
        let call = larder.get(&format!("{path}?bust_cache=true"));
        let call = credential.iter().fold(call, |call, value| call.header("authorization", value));
        let answer = call.send().await;
        assert_eq!(answer.x_cache(), "HIT", "{path}");
        assert!(answer.cache_status().contains("bust-denied"), "{path}: {}", answer.cache_status());
    }
    let allowed = larder.ask("/staff/page?bust_cache=1", &[("authorization", &staff)]).await;
    assert_eq!(allowed.x_cache(), "REFRESH");
    let none = ask(&larder, "/none/page?bust_cache=true").await;
    assert_eq!(none.x_cache(), "MISS", "where nobody busts, the parameter is the application's");
    assert_eq!(origin.last("/none/page").target, "/none/page?bust_cache=true");
    larder.ask("/named/page", &[]).await;
    assert_eq!(larder.ask("/named/page?fresh=1", &[]).await.x_cache(), "REFRESH");
}

#[tokio::test]
async fn d3_beyond_its_budget_a_bust_gets_the_ordinary_answer_until_the_time_is_over() {
    let origin = counting();
    let larder = in_process(&origin).await;
    for _ in 0..3 {
        let bust = "?bust_cache=true";
        assert_eq!(ask(&larder, &format!("/usual/page{bust}")).await.x_cache(), "REFRESH");
        for _ in 0..3 {
            let denied = ask(&larder, &format!("/usual/page{bust}")).await;
            assert_eq!(denied.x_cache(), "HIT");
            assert!(denied.cache_status().contains("bust-budget"), "{}", denied.cache_status());
        }
        larder.advance(Duration::from_secs(5));
    }
    assert_eq!(origin.total(), 3);
    assert_eq!(
        ask(&larder, "/usual/a?bust_cache=true").await.x_cache(),
        "REFRESH",
        "each key has its own budget"
    );
    assert_eq!(ask(&larder, "/usual/b?bust_cache=true").await.x_cache(), "REFRESH");
}

#[tokio::test]
async fn d3_a_bust_never_joins_an_earlier_fill_and_is_not_overwritten_by_it() {
    let (slow, quick) = (Gate::closed(), Gate::closed());
    let origin = gated(vec![slow.clone(), quick.clone()]);
    let larder = in_process(&origin).await;
    let early = tokio::spawn(larder.get("/many/page").send());
    slow.arrived(1).await;
    let bust = tokio::spawn(larder.get("/many/page?bust_cache=true").send());
    quick.arrived(1).await;
    quick.open();
    let busted = bust.await.unwrap();
    assert_eq!((busted.x_cache(), busted.text()), ("REFRESH", "1"));
    assert_eq!(larder.ask("/many/page", &[]).await.text(), "1");
    slow.open();
    assert_eq!(early.await.unwrap().text(), "0", "whoever asked before may have what was computed then");
    let after = larder.ask("/many/page", &[]).await;
    assert_eq!((after.x_cache(), after.text()), ("HIT", "1"), "the older fill did not overwrite the newer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_a_thousand_busts_at_once_make_few_origin_requests() {
    let gate = Gate::closed();
    let origin = gated(vec![gate.clone()]);
    let larder = Larder::with(YAML).origin(&origin).env("JWT_SECRET", JWT_SECRET).start().await;
    let client = Client::keep_alive();
    let authority = larder.authority();
    let request =
        format!("GET /many/page?bust_cache=true HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    let mut busts = Vec::new();
    for _ in 0..1_000 {
        let mut bust = raw::connect(larder.addr()).await;
        bust.write_all(request.as_bytes()).await.unwrap();
        busts.push(bust);
    }
    // They came before these did: when these are answered, all but a few are waiting.
    for _ in 0..3 {
        Client::new().get(larder.url("/named/page")).send().await;
    }
    gate.arrived(1).await;
    gate.open();
    for bust in &mut busts {
        let answer = raw::read_until(bust, |_| false).await;
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        assert!(answer.starts_with("http/1.1 200 ") && answer.contains("x-cache: refresh"), "{answer}");
    }
    // One, and one for all that came meanwhile; a machine under load may add some.
    assert!(
        origin.count("/many/page") <= 50,
        "{} origin requests for 1,000 busts",
        origin.count("/many/page")
    );
    let last = client.get(larder.url("/many/page")).send().await;
    assert_eq!((last.x_cache(), last.text()), ("HIT", (origin.count("/many/page") - 1).to_string().as_str()));
}

#[tokio::test]
async fn d3_all_busts_that_come_during_one_share_the_next() {
    let (first, second) = (Gate::closed(), Gate::closed());
    let origin = gated(vec![first.clone(), second.clone()]);
    let larder = in_process(&origin).await;
    let bust = || tokio::spawn(larder.get("/many/page?bust_cache=true").send());
    let one = bust();
    first.arrived(1).await;
    let others: Vec<_> = (0..50).map(|_| bust()).collect();
    // A plain request on another connection comes back: so did the busts before it come in, or they begin later still.
    larder.ask("/named/page", &[]).await;
    first.open();
    assert_eq!(one.await.unwrap().text(), "0");
    second.arrived(1).await;
    second.open();
    for other in others {
        let answer = other.await.unwrap();
        assert_ne!(answer.text(), "0", "it came after the first had begun");
        assert_eq!(answer.x_cache(), "REFRESH");
    }
    wait::until("all is quiet", || origin.in_flight() == 0).await;
    assert!(origin.count("/many/page") <= 10, "{}", origin.count("/many/page"));
}
