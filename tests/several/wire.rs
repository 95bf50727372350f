//! What becomes of the way between one node and Redis, and of a node.

use std::time::Duration;

use crate::between::{Between, Wire};
use crate::nodes::{Cluster, HOST, YAML, hits, place, purge};
use crate::report::Bench;
use crate::support::origin::never;
use crate::support::redis::Redis;
use crate::support::{Answer, Client, Origin, Reply, wait};

/// A lease with the bound of these tests, and what a busy machine may add.
const LEASE: Duration = Duration::from_millis(725);
const SLACK: Duration = Duration::from_millis(1_500);

/// Nodes of which the first has a wire of its own.
async fn wired(redis: &Redis) -> (Between, Bench) {
    let wire = Between::to(redis.port()).await;
    let (own, straight) = (place(&wire.url()), place(&redis.url()));
    let others = [straight.clone(), straight];
    let bench = Bench::over_each(&[[own.clone(), own], others.clone(), others]).await;
    (wire, bench)
}

async fn broken(wire: &Between, bench: &Bench, how: Wire) {
    wire.set(how);
    // Pages come, everywhere, whatever the first node knows; and the other two go on purging.
    wait::until(&format!("{how:?} happens"), || how == Wire::Cut || wire.did() > 5).await;
    bench.purges("in force", 4).await;
    bench.goes_on().await;
    wire.set(Wire::Pass);
    bench.recovered().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_of_one_node_delays() {
    let redis = Redis::start();
    let (wire, bench) = wired(&redis).await;
    for millis in [5, 30, 120] {
        broken(&wire, &bench, Wire::Delay(Duration::from_millis(millis))).await;
    }
    bench.end("a wire that delays").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_of_one_node_swallows_everything_and_gives_it_back_late() {
    let redis = Redis::start();
    let (wire, bench) = wired(&redis).await;
    wire.set(Wire::Hole);
    bench.each_says(&[0], "log-away").await;
    broken(&wire, &bench, Wire::Hole).await;
    bench.end("a wire that is a black hole").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_of_one_node_is_cut() {
    let redis = Redis::start();
    let (wire, bench) = wired(&redis).await;
    // For a moment, within the bound; then for longer.
    wire.set(Wire::Cut);
    wire.set(Wire::Pass);
    bench.recovered().await;
    wire.set(Wire::Cut);
    bench.each_says(&[0], "log-away").await;
    broken(&wire, &bench, Wire::Cut).await;
    bench.end("a wire that is cut").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_of_one_node_halves_messages() {
    let redis = Redis::start();
    let (wire, bench) = wired(&redis).await;
    broken(&wire, &bench, Wire::Split).await;
    broken(&wire, &bench, Wire::Half).await;
    bench.end("a wire that halves messages").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_of_one_node_loses_replies_to_what_was_done() {
    let redis = Redis::start();
    let (wire, bench) = wired(&redis).await;
    for _ in 0..3 {
        broken(&wire, &bench, Wire::LoseReplies).await;
    }
    bench.end("a wire that loses replies").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed_and_purges_wait_for_its_lease_at_most() {
    let redis = Redis::start();
    let mut bench = Bench::over(&place(&redis.url())).await;
    bench.kill(1).await;
    bench.work(&[0, 2]).await;
    bench.purges("in force", 4).await;
    bench.restart(1).await;
    bench.recovered().await;
    let figures = bench.end("kill -9 of a node").await;
    assert!(figures.slowest_purge < LEASE + SLACK, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_stopped_is_waited_for_by_nobody() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let mut nodes = Cluster::start(YAML, &origin, &redis).await;
    let nodes_of = |receipt: &Answer, which| receipt.json()["nodes"][which].as_array().unwrap().len();
    // The first one may wait until the incarnation is known for a lease.
    let first = purge(&nodes.url(0, "/pages/1")).await;
    assert_eq!((nodes_of(&first, "applied"), nodes_of(&first, "gone")), (3, 0));
    for (stopped, left) in [(1, 2), (2, 1)] {
        assert!(nodes.larders[stopped].stop().await.success());
        let done = purge(&nodes.url(0, "/pages/1")).await;
        assert_eq!((nodes_of(&done, "applied"), nodes_of(&done, "gone")), (left, 0), "{}", done.text());
        assert!(done.took < LEASE, "{:?}", done.took);
    }
    assert_eq!(redis.cli(&["HLEN", "larder:1:{purge}:state"]), "7", "its own fields, and one lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_a_stop_cuts_off_purges_at_all_nodes() {
    let redis = Redis::start();
    let origin = Origin::start(async |request| match request.method() == "POST" {
        true => never().await,
        false => Reply::ok("a page"),
    });
    let yaml = format!("limits: {{ drain: 100ms }}\n{YAML}");
    let mut nodes = Cluster::start(&yaml, &origin, &redis).await;
    for (stopped, gone) in [(1, false), (2, true)] {
        let path = format!("/pages/{stopped}");
        hits(&nodes.url(0, &path), "t0").await;
        let asked = origin.count(&path);
        let write =
            Client::new().post(nodes.url(stopped, &path)).header("host", HOST).header("x-tenant", "t0");
        let writer = tokio::spawn(write.body("changed").try_send());
        origin.asked(&path, asked + 1).await;
        if gone {
            // Its client left before: the write goes on by itself.
            writer.abort();
        }
        assert!(nodes.larders[stopped].stop().await.success());
        hits(&nodes.url(0, &path), "t0").await;
        assert_eq!(origin.count(&path), asked + 2, "what was written may be changed: it is asked for again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stands_still_for_longer_than_its_lease_and_shows_nothing_old_when_it_goes_on() {
    let redis = Redis::start();
    let mut bench = Bench::over(&place(&redis.url())).await;
    for _ in 0..3 {
        bench.larders[1].process().signal("STOP");
        // Its lease ran out when others' purges are in force again.
        bench.purges("in force", 20).await;
        bench.larders[1].process().signal("CONT");
        bench.goes_on().await;
    }
    bench.recovered().await;
    let figures = bench.end("SIGSTOP of a node").await;
    assert!(figures.slowest_purge < LEASE * 2 + SLACK, "{figures:?}");
}
