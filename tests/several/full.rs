//! A Redis in which log and entries lie together, and that is full: what operators see before, while and after.

use serde_json::Value;

use crate::nodes::{HOST, YAML, hits, place, purge, start};
use crate::shop::TOKEN;
use crate::support::redis::Redis;
use crate::support::{Answer, Client, Larder, Origin, Reply, wait};

const SAYS: &str = "may fill its memory";

fn server(memory: &str, policy: &str) -> Redis {
    Redis::with().option("maxmemory", memory).option("maxmemory-policy", policy).start()
}

async fn ready(larder: &Larder) -> Value {
    let answer = Client::new().get(larder.admin_url("/health/ready")).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Returns once `/health/ready` says it, or that all is well where it is nothing.
async fn says(larder: &Larder, what: &str) {
    wait::until_async(&format!("it says {what:?}"), async || {
        let told = ready(larder).await;
        let well = told["status"] == "ok";
        (if what.is_empty() { well } else { !well && told.to_string().contains(what) }).then_some(())
    })
    .await;
}

async fn read(larder: &Larder, page: usize) -> Answer {
    let call = Client::new().get(larder.url(&format!("/pages/{page}"))).header("host", HOST);
    let answer = call.header("x-tenant", "t0").send().await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, LENGTH), "page {page}");
    answer
}

const LENGTH: usize = 200_000;

/// A configuration whose entries are as long as they are.
fn yaml() -> String {
    let yaml = YAML.replace("{level}", "{ url: {level}, compress: off, timeout: 1s }");
    yaml.replace("memory: 64MiB", "memory: off")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_entries_may_stop_the_log_is_said_before_they_do_and_no_more_once_something_makes_room() {
    let redis = server("8mb", "noeviction");
    let origin = Origin::constant(|| Reply::ok("x".repeat(LENGTH)));
    let place = place(&redis.url());
    let mut larder = start(&yaml(), &origin, &place, &place).await;
    larder.log(SAYS).await;
    says(&larder, SAYS).await;
    hits(&larder.url("/pages/0"), "t0").await;
    assert_eq!(purge(&larder.url("/pages/0")).await.status, 200, "nothing is wrong yet");
    let call =
        Client::new().get(larder.admin_url("/stat")).header("authorization", format!("Bearer {TOKEN}"));
    let told = call.send().await.json();
    assert_eq!(
        (&told["purge_log"]["may_fill"], &told["purge_log"]["may_evict"]),
        (&true.into(), &false.into())
    );
    for page in 1..=20 {
        read(&larder, page).await;
    }
    // Full, and clearly so: buffers of clients come and go. Pages come, and nothing stored is served.
    redis.cli(&["CONFIG", "SET", "maxmemory", "2mb"]);
    let mut page = 20;
    wait::until_async("nothing stored is served", async || {
        page += 1;
        read(&larder, page).await.cache_status().contains("log-away").then_some(())
    })
    .await;
    says(&larder, "cannot be reached").await;
    says(&larder, SAYS).await;
    assert_eq!(purge(&larder.url("/pages/0")).await.status, 503);
    // A node that starts now cannot even begin.
    let late = start(&yaml(), &origin, &place, &place).await;
    says(&late, SAYS).await;
    // What the operator is told to do is enough, and nothing has to be started anew.
    redis.cli(&["CONFIG", "SET", "maxmemory", "6mb", "maxmemory-policy", "volatile-lru"]);
    for node in [&mut larder, &mut { late }] {
        node.log("makes room for it again").await;
        says(node, "").await;
    }
    hits(&larder.url("/pages/0"), "t0").await;
    for page in 1_000..1_060 {
        let said = read(&larder, page).await.cache_status();
        assert!(!said.contains("log-away"), "{said}");
    }
    let stats = redis.cli(&["INFO", "stats"]);
    let evicted = stats.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap();
    assert!(evicted.trim().parse::<u64>().unwrap() > 20, "{evicted}");
    assert_eq!(redis.cli(&["EXISTS", "larder:1:{purge}:state", "larder:1:{purge}:records"]), "2");
    assert_eq!(purge(&larder.url("/pages/0")).await.status, 200);
    says(&larder, "").await;
    // And what is changed for the worse is seen as well.
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    says(&larder, SAYS).await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    says(&larder, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_entries_may_stop_the_log_depends_on_where_and_for_how_long_they_are_kept() {
    let forever = &yaml().replace("usual: { ttl: 1h }", "usual: { ttl: 0 }");
    let ends = &forever.replace("compress: off,", "compress: off, ttl: 1h,");
    let exception =
        &yaml().replace("usual: { ttl: 1h }", "usual: { ttl: 1h, when: [{ min_size: 1KiB, ttl: 0 }] }");
    let origin = Origin::constant(|| Reply::ok("x".repeat(LENGTH)));
    let elsewhere = Redis::start();
    for (yaml, policy, together, expected) in [
        (&yaml(), "noeviction", true, SAYS),
        (&yaml(), "noeviction", false, ""),
        (&yaml(), "volatile-ttl", true, ""),
        (forever, "volatile-ttl", true, SAYS),
        (forever, "volatile-ttl", false, ""),
        (ends, "volatile-ttl", true, ""),
        (exception, "volatile-lfu", true, SAYS),
    ] {
        let redis = server("64mb", policy);
        let level = place(&if together { format!("{}/3", redis.url()) } else { elsewhere.url() });
        let larder = start(yaml, &origin, &place(&redis.url()), &level).await;
        hits(&larder.url("/pages/0"), "t0").await;
        says(&larder, expected).await;
    }
}
