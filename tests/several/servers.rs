//! Redis with replicas and Sentinels, and Redis Cluster.

use crate::report::Bench;
use crate::support::redis::{Cluster, Redis, Sentinels};

const ALL: [usize; 3] = [0, 1, 2];

fn by_sentinels(sentinels: &Sentinels) -> String {
    let nodes = sentinels.nodes().join(", ");
    format!("{{ sentinel: {{ nodes: [{nodes}], service: {} }} }}", Sentinels::SERVICE)
}

/// Nodes to whose log one of two replicas is enough: the loss of a server costs nothing.
async fn one_is_enough(sentinels: &Sentinels) -> Bench {
    let level = by_sentinels(sentinels);
    let places = [format!("{level}, replicas: 1"), level];
    Bench::over_each(&[places.clone(), places.clone(), places]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_primary_takes_over() {
    let sentinels = Sentinels::start(2, Redis::with);
    let bench = Bench::over(&by_sentinels(&sentinels)).await;
    sentinels.fail_over();
    bench.recovered().await;
    bench.end("a failover").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_everything_takes_over() {
    let mut sentinels = Sentinels::start(2, Redis::with);
    let bench = one_is_enough(&sentinels).await;
    // Nothing reaches the replicas any more. What the primary says from now on, nobody confirms.
    let first = sentinels.primary_port();
    for server in sentinels.servers().iter_mut().filter(|server| server.port() != first) {
        server.pause();
    }
    bench.each_says(&ALL, "log-away").await;
    bench.purges("refused", 2).await;
    sentinels.primary().kill();
    for server in sentinels.servers().iter_mut().filter(|server| server.port() != first) {
        server.resume();
    }
    bench.recovered().await;
    assert_ne!(sentinels.primary_port(), first);
    bench.end("a failover that lost what nobody confirmed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_that_lost_purges_that_were_acknowledged() {
    let mut sentinels = Sentinels::start(2, Redis::with);
    let bench = one_is_enough(&sentinels).await;
    let first = sentinels.primary_port();
    // One of the two replicas confirms; the other one misses all of it, and takes over.
    let mut replicas: Vec<u16> = sentinels.servers().iter().map(|server| server.port()).collect();
    replicas.retain(|port| *port != first);
    sentinels.with_port(replicas[1]).pause();
    bench.purges("in force", 6).await;
    sentinels.with_port(replicas[0]).kill();
    sentinels.with_port(first).kill();
    sentinels.with_port(replicas[1]).resume();
    // The one that is left is the primary, whether or not the Sentinels see to it in time.
    bench.each_says(&ALL, "log-away").await;
    sentinels.with_port(replicas[0]).restart();
    bench.recovered().await;
    assert_eq!(sentinels.primary_port(), replicas[1]);
    bench.end("a failover that lost acknowledged purges").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_of_a_cluster_move_while_everybody_reads_and_writes() {
    const LOG: &str = "larder:1:{purge}:state";
    let cluster = Cluster::start(Redis::with);
    let bench = Bench::over(&format!("{{ cluster: [{}] }}", cluster.urls().join(", "))).await;
    // The log's slot, and those of some entries.
    let mut names: Vec<String> = cluster.nodes().iter().flat_map(|node| node.keys(0)).collect();
    names.retain(|name| !name.contains("{purge}") && !name.ends_with(":fill"));
    for name in names.iter().take(3).map(String::as_str).chain([LOG]) {
        let moved = cluster.begin_move(name);
        bench.goes_on().await;
        cluster.finish_move(name, moved);
        bench.recovered().await;
    }
    bench.end("slots of a Cluster move").await;
}
