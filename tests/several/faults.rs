//! What becomes of Redis itself.

use crate::nodes::place;
use crate::report::Bench;
use crate::support::redis::Redis;

const ALL: [usize; 3] = [0, 1, 2];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_all_is_well_no_node_shows_what_was_purged_through_another() {
    let redis = Redis::start();
    let bench = Bench::over(&place(&redis.url())).await;
    bench.goes_on().await;
    bench.end("all is well").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stands_still_and_goes_on() {
    let mut redis = Redis::start();
    let bench = Bench::over(&place(&redis.url())).await;
    redis.pause();
    bench.each_says(&ALL, "log-away").await;
    bench.purges("refused", 2).await;
    bench.purges("pending", 2).await;
    redis.resume();
    bench.recovered().await;
    bench.end("SIGSTOP and SIGCONT of Redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_starts_again_empty() {
    let mut redis = Redis::start();
    let bench = Bench::over(&place(&redis.url())).await;
    redis.kill();
    bench.each_says(&ALL, "log-away").await;
    redis.restart();
    bench.recovered().await;
    // At once: nobody is told by time that it was another life of the server.
    redis.restart();
    bench.recovered().await;
    bench.end("kill -9 of Redis, restarted empty").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_redis_is_flushed() {
    let redis = Redis::start();
    let bench = Bench::over(&place(&redis.url())).await;
    for _ in 0..3 {
        assert_eq!(redis.cli(&["FLUSHALL"]), "OK");
        bench.purges("in force", 3).await;
    }
    bench.recovered().await;
    bench.end("FLUSHALL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_lets_its_clients_wait() {
    let redis = Redis::start();
    let bench = Bench::over(&place(&redis.url())).await;
    assert_eq!(redis.cli(&["CLIENT", "PAUSE", "1500"]), "OK");
    bench.each_says(&ALL, "log-away").await;
    bench.recovered().await;
    assert_eq!(redis.cli(&["CLIENT", "PAUSE", "1500", "WRITE"]), "OK");
    bench.each_says(&ALL, "log-away").await;
    bench.recovered().await;
    bench.end("CLIENT PAUSE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_redis_is_full() {
    let redis = Redis::with().option("maxmemory-policy", "noeviction").start();
    let bench = Bench::over(&place(&redis.url())).await;
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    bench.purges("refused", 2).await;
    bench.purges("pending", 2).await;
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    bench.recovered().await;
    bench.end("maxmemory reached").await;
}
