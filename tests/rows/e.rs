//! E2, E3, E10: one key for the same question, one computation for a missing key, one public entry whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::tokens::{JWT_SECRET, bearer};
use crate::support::{Client, Gate, Larder, Origin, Reply, Steps, wait};
use bytes::Bytes;
use http::Request;
use serde_json::json;

const YAML: &str = "
origins: { app: { url: '{origin}', connections: 2000 } }
identity:
  jwt: { algorithms: [HS256], secret: { env: JWT_SECRET } }
  tenant: [{ jwt: tenant_id }]
stores: { small: { memory: 16MiB, max_object: 1MiB } }
tiers: { gold: { ttl: 5m }, usual: { ttl: 1h }, small: { ttl: 1h, store: small } }
routes:
  - { name: gold, path: /gold-rate, tier: gold, share: public }
  - { name: tenants, path: '/t/{*rest}', tier: usual, share: tenant }
  - { name: small, path: '/small/{*rest}', tier: small, share: public }
  - { name: all, path: '/{*rest}', tier: usual, share: public }
";

async fn larder(origin: &Origin) -> Arc<Larder> {
    Arc::new(Larder::with(YAML).origin(origin).env("JWT_SECRET", JWT_SECRET).start().await)
}

/// An origin that waits at the gate before it answers with `reply`.
fn behind(gate: &Gate, reply: impl Fn(&Request<Bytes>) -> Reply + Send + Sync + 'static) -> Origin {
    let (gate, reply) = (gate.clone(), Arc::new(reply));
    Origin::start(move |request: Request<Bytes>| {
        let (gate, reply) = (gate.clone(), reply.clone());
        async move {
            gate.pass().await;
            reply(&request)
        }
    })
}

#[tokio::test]
async fn e2_the_same_parameters_in_any_order_are_one_key_and_repeated_names_keep_theirs() {
    let origin = Origin::start(async |request: Request<Bytes>| Reply::ok(request.uri().to_string()));
    let larder = larder(&origin).await;
    let client = Client::keep_alive();
    for (first, same, other) in [
        (
            "/p?a=1&b=2&c=3",
            &["/p?c=3&b=2&a=1", "/p?b=2&a=1&c=3"][..],
            &["/p?a=1&b=2", "/p?a=2&b=1&c=3", "/p"][..],
        ),
        ("/q?x=1&x=2&a=0", &["/q?a=0&x=1&x=2", "/q?x=1&a=0&x=2"], &["/q?x=2&x=1&a=0"]),
        ("/r?%61=1&b=2", &["/r?b=2&%61=1"], &["/r?b=2&A=1"]),
    ] {
        let miss = client.get(larder.url(first)).send().await;
        assert_eq!(miss.x_cache(), "MISS", "{first}");
        for path in same {
            let hit = client.get(larder.url(path)).send().await;
            assert_eq!((hit.x_cache(), hit.text()), ("HIT", miss.text()), "{path}");
        }
        for path in other {
            assert_eq!(client.get(larder.url(path)).send().await.x_cache(), "MISS", "{path}");
        }
    }
    let sorted = |path: &str| origin.requests_to(path)[0].target.clone();
    assert_eq!((sorted("/p"), sorted("/q")), ("/p?a=1&b=2&c=3".to_owned(), "/q?a=0&x=1&x=2".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_a_thousand_requests_for_one_cold_key_make_one_origin_request() {
    let gate = Gate::closed();
    let origin = behind(&gate, |_| Reply::ok("computed once"));
    let larder = larder(&origin).await;
    let client = Client::keep_alive();
    let asking: Vec<_> = (0..1_000).map(|_| tokio::spawn(client.get(larder.url("/cold")).send())).collect();
    gate.arrived(1).await;
    gate.open();
    let mut words = std::collections::BTreeMap::<String, usize>::new();
    for task in asking {
        let answer = task.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "computed once"));
        *words.entry(answer.x_cache().to_owned()).or_default() += 1;
    }
    assert_eq!(origin.total(), 1, "{words:?}");
    assert!(words["MISS"] >= 1 && words.values().sum::<usize>() == 1_000, "{words:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_a_thousand_requests_of_ten_tenants_make_ten_origin_requests() {
    let gate = Gate::closed();
    let origin = behind(&gate, |request| Reply::ok(request.headers()["authorization"].as_bytes().to_vec()));
    let larder = larder(&origin).await;
    let client = Client::keep_alive();
    let tokens: Vec<_> = (0..10).map(|n| bearer(json!({ "tenant_id": format!("t{n}") }))).collect();
    let asking: Vec<_> = (0..1_000)
        .map(|n| {
            let token = tokens[n % 10].clone();
            let call = client.get(larder.url("/t/cold")).header("authorization", &token);
            tokio::spawn(async move { (token, call.send().await) })
        })
        .collect();
    gate.arrived(10).await;
    gate.open();
    for task in asking {
        let (token, answer) = task.await.unwrap();
        assert_eq!(answer.text(), token);
    }
    assert_eq!(origin.total(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_a_thousand_requests_for_an_uncacheable_answer_do_not_queue() {
    let (first, others) = (Gate::closed(), Gate::closed());
    let (one, rest, number) = (first.clone(), others.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |_| {
        let gate = if number.fetch_add(1, Ordering::SeqCst) == 0 { one.clone() } else { rest.clone() };
        async move {
            gate.pass().await;
            Reply::ok("yours alone").header("cache-control", "no-store")
        }
    });
    let larder = larder(&origin).await;
    let client = Client::keep_alive();
    let asking: Vec<_> =
        (0..1_000).map(|_| tokio::spawn(client.get(larder.url("/private")).send())).collect();
    first.arrived(1).await;
    first.open();
    // The first answer's head tells that it may not be shared: all others are at the origin at the same time.
    others.arrived(999).await;
    assert_eq!(origin.in_flight(), 999);
    others.open();
    for task in asking {
        let answer = task.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text(), answer.x_cache()), (200, "yours alone", "BYPASS"));
    }
    assert_eq!(origin.total(), 1_000);
    // It is remembered: the next hundred do not even wait for a head.
    let gate = Gate::closed();
    let held = gate.clone();
    origin.answer_with(move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Reply::ok("yours alone").header("cache-control", "no-store")
        }
    });
    let asking: Vec<_> = (0..100).map(|_| tokio::spawn(client.get(larder.url("/private")).send())).collect();
    gate.arrived(100).await;
    gate.open();
    for task in asking {
        assert_eq!(task.await.unwrap().x_cache(), "BYPASS");
    }
}

#[tokio::test]
async fn e3_a_failed_computation_fails_those_who_waited_and_the_next_is_tried_at_once() {
    let gate = Gate::closed();
    let origin = behind(&gate, |_| Reply::cut());
    let larder = larder(&origin).await;
    let client = Client::keep_alive();
    let asking: Vec<_> = (0..50).map(|_| tokio::spawn(client.get(larder.url("/cold")).send())).collect();
    gate.arrived(1).await;
    gate.open();
    for task in asking {
        assert_eq!(task.await.unwrap().status, 502);
    }
    assert!(origin.total() < 50, "{}", origin.total());
    origin.answer_with(async |_| Reply::ok("well again"));
    assert_eq!(client.get(larder.url("/cold")).send().await.text(), "well again");
}

#[tokio::test]
async fn e3_a_fill_is_completed_and_stored_though_its_leader_leaves() {
    let steps = Steps::new();
    let script = steps.clone();
    let origin = Origin::constant(move || Reply::status(200).steps(&script));
    let larder = larder(&origin).await;
    steps.data("first");
    let mut leader = Client::new().get(larder.url("/long")).stream().await;
    assert_eq!(leader.at_least(5).await, b"first");
    drop(leader);
    steps.data(" second").end();
    wait::until_async("the answer is stored", async || {
        let answer = Client::new().get(larder.url("/long")).send().await;
        assert_eq!(answer.text(), "first second");
        (answer.x_cache() == "HIT").then_some(())
    })
    .await;
    assert_eq!(origin.total(), 1);
}

#[tokio::test]
async fn e3_two_readers_of_an_object_too_large_to_store_share_one_origin_request() {
    const PIECE: usize = 512 << 10;
    const PIECES: usize = 16;
    let steps = Steps::new();
    let script = steps.clone();
    let origin = Origin::constant(move || Reply::status(200).steps(&script));
    let larder = larder(&origin).await;
    steps.data(vec![0; PIECE]);
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut reader = Client::new().get(larder.url("/small/huge")).stream().await;
        assert_eq!(reader.x_cache(), "MISS");
        assert_eq!(reader.at_least(PIECE).await.len(), PIECE);
        readers.push(reader);
    }
    // Twice the window, many times the largest object: neither is far behind the other.
    for piece in 1..PIECES {
        steps.data(vec![u8::try_from(piece).unwrap(); PIECE]);
        for reader in &mut readers {
            let bytes = reader.at_least(PIECE).await;
            assert!(bytes.len() == PIECE && bytes.iter().all(|byte| usize::from(*byte) == piece), "{piece}");
        }
    }
    steps.end();
    for reader in &mut readers {
        assert_eq!(reader.rest().await.unwrap(), b"");
    }
    assert_eq!(origin.total(), 1);
    let again = Client::new().get(larder.url("/small/huge")).send().await;
    assert_eq!((again.body.len(), origin.total()), (PIECE * PIECES, 2), "it was not stored");
}

#[tokio::test]
async fn e10_one_public_entry_serves_everybody_though_requests_carry_credentials() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let known =
            request.headers().contains_key("authorization") || request.headers().contains_key("cookie");
        Reply::json(format!("{{\"rate\": 6250, \"known\": {known}}}"))
    });
    let larder = larder(&origin).await;
    let client = Client::keep_alive();
    let mut answers = Vec::new();
    for n in 0..6 {
        let call = client.get(larder.url("/gold-rate"));
        let call = match n % 3 {
            0 => call.header("authorization", bearer(json!({ "tenant_id": format!("t{n}") }))),
            1 => call.header("cookie", format!("sessionid={n}; csrftoken=x")),
            _ => call,
        };
        answers.push(call.send().await);
    }
    assert_eq!(
        answers.iter().map(|a| a.x_cache()).collect::<Vec<_>>(),
        ["MISS", "HIT", "HIT", "HIT", "HIT", "HIT"]
    );
    assert!(answers.iter().all(|answer| answer.text() == "{\"rate\": 6250, \"known\": false}"));
    let seen = origin.last("/gold-rate");
    assert_eq!((origin.total(), seen.header("authorization"), seen.header("cookie")), (1, None, None));
}
