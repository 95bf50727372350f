//! C10: a pattern that is purged by the clock.

use crate::support::{Client, Larder, Origin, Reply, wait};

const YAML: &str = "
origins: { app: { url: '{origin}' } }
tiers: { usual: { ttl: 1h } }
routes:
  - { name: reports, path: '/reports/{*rest}', tier: usual, share: public, tags: ['report:data'] }
  - { name: rest, path: '/{*rest}', tier: usual, share: public }
timed_purges:
  - { every: 300ms, patterns: [report] }
";

#[tokio::test]
async fn c10_a_pattern_is_purged_again_and_again_by_the_clock_and_nothing_else_is() {
    let origin = Origin::constant(|| Reply::ok("answer"));
    let larder = Larder::with(YAML).origin(&origin).start().await;
    let client = Client::new();
    let get = async |path: &str| client.get(larder.url(path)).send().await.x_cache().to_owned();
    get("/other").await;
    for _ in 0..2 {
        get("/reports/1").await;
        wait::until_async("the report is computed anew", async || {
            (get("/reports/1").await == "MISS").then_some(())
        })
        .await;
    }
    assert_eq!(get("/other").await, "HIT");
    assert_eq!(origin.count("/other"), 1);
}
