//! One fill for all nodes, and what must not wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::clock::Clock;

use crate::nodes::{Cluster, HOST, YAML, hits, place, start};
use crate::support::redis::Redis;
use crate::support::{Answer, Client, Gate, Larder, Origin, Reply, Steps, wait};

/// How long the origin takes.
const ORIGIN: Duration = Duration::from_millis(300);
/// The lease of a fill.
const LEASE: Duration = Duration::from_millis(500);
/// What two slow cores may add.
const SLACK: Duration = Duration::from_millis(2_500);

fn slow(reply: impl Fn() -> Reply + Send + Sync + Clone + 'static) -> Origin {
    Origin::start(move |_| {
        let reply = reply.clone();
        async move {
            wait::latency(ORIGIN).await;
            reply()
        }
    })
}

/// So many clients at once, spread over the nodes; all answers, and how long all of it took.
async fn crowd(nodes: &Cluster, clients: usize, path: &str) -> (Vec<Answer>, Duration) {
    let client = Client::keep_alive();
    let clock = Clock::system();
    let begin = clock.now().mono;
    let ask = |n: usize| {
        let call = client.get(nodes.url(n % nodes.count(), path)).header("host", HOST);
        tokio::spawn(async move { call.header("x-tenant", "t0").send().await })
    };
    let asked: Vec<_> = (0..clients).map(ask).collect();
    let mut answers = Vec::new();
    for one in asked {
        answers.push(one.await.unwrap());
    }
    (answers, clock.now().mono - begin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_clients_on_three_nodes_ask_the_origin_once_for_a_cold_key() {
    let redis = Redis::start();
    let origin = slow(|| Reply::ok("a page"));
    let nodes = Cluster::start(YAML, &origin, &redis).await;
    let (answers, took) = crowd(&nodes, 300, "/pages/cold").await;
    println!("300 clients, 3 nodes, one cold key: {} requests, {took:?}", origin.count("/pages/cold"));
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "a page"));
    assert_eq!(origin.count("/pages/cold"), 1);
    assert!(took < ORIGIN + SLACK, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_ask_themselves_when_the_node_that_fills_is_killed() {
    let redis = Redis::start();
    let gate = Gate::closed();
    let (asked, held) = (Arc::new(AtomicUsize::new(0)), gate.clone());
    let origin = Origin::start(move |request| {
        let is_first = request.uri().path() == "/pages/cold" && asked.fetch_add(1, Ordering::SeqCst) == 0;
        let held = held.clone();
        async move {
            if is_first {
                // Until the node that asked is no more.
                held.pass().await;
            }
            Reply::ok("a page")
        }
    });
    let mut nodes = Cluster::start(YAML, &origin, &redis).await;
    let call = Client::new().get(nodes.url(0, "/pages/cold")).header("host", HOST).header("x-tenant", "t0");
    let lost = tokio::spawn(call.try_send());
    gate.arrived(1).await;
    let clock = Clock::system();
    nodes.larders[0].process().signal("KILL");
    let begin = clock.now().mono;
    let mut others = Vec::new();
    for n in 0..40 {
        let call = Client::new().get(nodes.url(1 + n % 2, "/pages/cold")).header("host", HOST);
        others.push(tokio::spawn(call.header("x-tenant", "t0").send()));
    }
    for other in others {
        assert_eq!(other.await.unwrap().text(), "a page");
    }
    let took = clock.now().mono - begin;
    println!("the node that filled was killed: {} requests, {took:?}", origin.count("/pages/cold"));
    assert!(lost.await.unwrap().is_err());
    assert_eq!(origin.count("/pages/cold"), 2);
    assert!(took < LEASE + SLACK, "{took:?}");
    gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_an_answer_that_another_node_may_not_share() {
    let redis = Redis::start();
    let origin = slow(|| Reply::ok("mine").header("cache-control", "private"));
    let nodes = Cluster::start(&YAML.replace("usual: { ttl: 1h }", "usual: {}"), &origin, &redis).await;
    let (answers, took) = crowd(&nodes, 30, "/pages/own").await;
    println!("30 clients, 3 nodes, private: {} requests, {took:?}", origin.count("/pages/own"));
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(origin.count("/pages/own"), 30);
    // The first one's, then everybody's at once; one look at the lease between.
    assert!(took < ORIGIN * 3 + SLACK, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_the_end_of_a_long_answer_at_another_node() {
    let redis = Redis::start();
    // The first one's stands still in its middle until the second one's is whole.
    let steps = Steps::default();
    let (asked, slowly) = (AtomicUsize::new(0), steps.clone());
    let origin = Origin::start(move |request| {
        let is_first = request.uri().path() == "/pages/long" && asked.fetch_add(1, Ordering::SeqCst) == 0;
        let reply = Reply::ok("").long(2 << 20);
        std::future::ready(if is_first { reply.steps(&slowly) } else { reply })
    });
    steps.data(vec![b'x'; 1 << 20]);
    let nodes = Cluster::start(YAML, &origin, &redis).await;
    let call = Client::new().get(nodes.url(0, "/pages/long")).header("host", HOST).header("x-tenant", "t0");
    let mut first = call.stream().await;
    first.at_least(1).await;
    let call = Client::new().get(nodes.url(1, "/pages/long")).header("host", HOST).header("x-tenant", "t0");
    let second = call.send().await;
    println!("a long answer at another node: {:?}", second.took);
    assert_eq!(second.body.len(), 2 << 20);
    assert!(second.took < SLACK, "{:?}", second.took);
    steps.end();
    first.rest().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_could_not_use_what_another_brings_does_not_wait_for_it() {
    let (mut log, level) = (Redis::start(), Redis::start());
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        let held = held.clone();
        async move {
            if request.uri().path() == "/pages/held" {
                held.pass().await;
            }
            Reply::ok("a page")
        }
    });
    let (at_log, at_level) = (place(&log.url()), place(&level.url()));
    let nodes =
        [start(YAML, &origin, &at_log, &at_level).await, start(YAML, &origin, &at_log, &at_level).await];
    for node in &nodes {
        hits(&node.url("/pages/warm"), "t0").await;
    }
    log.kill();
    let ask = |node: &Larder, path: &str| {
        Client::new().get(node.url(path)).header("host", HOST).header("x-tenant", "t0")
    };
    for node in &nodes {
        wait::until_async("the log is away", async || {
            let said = ask(node, "/pages/warm").send().await;
            said.cache_status().contains("log-away").then_some(())
        })
        .await;
    }
    let asked: Vec<_> = nodes.iter().map(|node| tokio::spawn(ask(node, "/pages/held").send())).collect();
    gate.arrived(2).await;
    gate.open();
    for one in asked {
        assert_eq!(one.await.unwrap().text(), "a page");
    }
}
