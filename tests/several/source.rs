//! D6: which level a stored answer came from. Whoever brings it from Redis says so; from memory it is a hit in memory.

use crate::nodes::{Cluster, HOST, YAML, hits};
use crate::support::redis::Redis;
use crate::support::{Answer, Client, Gate, Origin, Reply, wait};

async fn ask(nodes: &Cluster, node: usize, path: &str, fields: &[(&str, &str)]) -> Answer {
    let call = Client::new().get(nodes.url(node, path)).header("host", HOST).header("x-tenant", "t0");
    fields.iter().fold(call, |call, (name, value)| call.header(name, *value)).send().await
}

/// The last word of `Cache-Status`, as each of some requests in a row gets it.
async fn details(nodes: &Cluster, node: usize, path: &str, times: usize) -> Vec<String> {
    let mut details = Vec::new();
    for _ in 0..times {
        let answer = ask(nodes, node, path, &[]).await;
        assert!(answer.cache_status().starts_with("Larder; hit; "), "{}", answer.cache_status());
        details.push(detail(&answer));
    }
    details
}

fn detail(answer: &Answer) -> String {
    answer.cache_status().rsplit("detail=").next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_whoever_brings_an_answer_from_redis_says_so_and_the_next_says_memory() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let mut nodes = Cluster::start(YAML, &origin, &redis).await;
    hits(&nodes.url(0, "/pages/1"), "t0").await;
    assert_eq!(details(&nodes, 0, "/pages/1", 3).await, ["fresh_memory"; 3]);
    for node in 1..nodes.count() {
        // More of them within the second than a head takes to be kept, and the one from Redis has the same response.
        let said = details(&nodes, node, "/pages/1", 5).await;
        let memory = "fresh_memory";
        assert_eq!(said, ["fresh_redis", memory, memory, memory, memory], "node {node}");
        nodes.larders[node].log("/pages/1 HIT fresh redis").await;
        nodes.larders[node].log("/pages/1 HIT fresh memory").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_without_memory_every_hit_says_redis() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let yaml = YAML.replace("memory: 64MiB", "memory: off");
    let nodes = Cluster::start(&yaml, &origin, &redis).await;
    hits(&nodes.url(0, "/pages/1"), "t0").await;
    for node in 0..nodes.count() {
        assert_eq!(details(&nodes, node, "/pages/1", 4).await, ["fresh_redis"; 4], "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_whoever_waited_for_another_node_has_it_from_redis() {
    let redis = Redis::start();
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        let (held, cold) = (held.clone(), request.uri().path() == "/pages/cold");
        async move {
            if cold {
                held.pass().await;
            }
            Reply::ok("a page")
        }
    });
    let nodes = Cluster::start(YAML, &origin, &redis).await;
    let waiting: Vec<_> = (0..nodes.count())
        .map(|node| {
            let call = Client::new().get(nodes.url(node, "/pages/cold")).header("host", HOST);
            tokio::spawn(call.header("x-tenant", "t0").send())
        })
        .collect();
    gate.arrived(1).await;
    gate.open();
    let mut said = Vec::new();
    for one in waiting {
        said.push(detail(&one.await.unwrap()));
    }
    said.sort();
    assert_eq!(said, ["absent", "fresh_redis", "fresh_redis"]);
    for node in 0..nodes.count() {
        assert_eq!(details(&nodes, node, "/pages/cold", 2).await, ["fresh_memory"; 2], "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_what_is_stale_says_redis_too() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let yaml = YAML
        .replace("usual: { ttl: 1h }", "usual: { stale_if_error: 1h }")
        .replace("window: { ttl: 1h, stale_while_revalidate: 1h }", "window: { stale_while_revalidate: 1h }");
    let nodes = Cluster::start(&yaml, &origin, &redis).await;
    for path in ["/pages/1", "/window/1"] {
        origin.answer_with(async |_| Reply::ok("a page").header("cache-control", "max-age=1"));
        hits(&nodes.url(0, path), "t0").await;
        origin.answer_with(async |_| Reply::status(503));
        wait::until_async("it is stale", async || {
            (ask(&nodes, 0, path, &[]).await.x_cache() == "STALE").then_some(())
        })
        .await;
    }
    // Node 2 is asked first with a request that takes what is stale.
    let tolerant = ask(&nodes, 2, "/pages/1", &[("cache-control", "max-stale=3600")]).await;
    assert_eq!(detail(&tolerant), "max-stale_redis");
    for (path, said) in [("/window/1", "stale-while-revalidate_redis"), ("/pages/1", "stale-if-error_redis")]
    {
        let answer = ask(&nodes, 1, path, &[]).await;
        assert_eq!((answer.x_cache(), detail(&answer).as_str()), ("STALE", said));
    }
}
