//! Entries in Redis: they outlive a node, each store keeps to its own, and nothing else in Redis is touched.

use std::time::Duration;

use crate::nodes::{Cluster, HOST, YAML, hits, purge};
use crate::support::redis::Redis;
use crate::support::{Answer, Client, Origin, Reply, wait};

async fn ask(url: &str) -> Answer {
    let answer = Client::new().get(url).header("host", HOST).header("x-tenant", "t0").send().await;
    assert_eq!(answer.status, 200);
    answer
}

async fn read(url: &str) -> (String, String) {
    let answer = ask(url).await;
    (answer.x_cache().to_owned(), answer.text().to_owned())
}

/// For how many seconds an answer is fresh yet, as it says.
fn fresh(answer: &Answer) -> u64 {
    let said = answer.cache_status();
    let (_, rest) = said.split_once("ttl=").unwrap_or_else(|| panic!("{said}"));
    rest.split(';').next().unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_what_one_node_stored_all_have_for_five_minutes_also_after_they_start_anew() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let yaml = &YAML.replace("usual: { ttl: 1h }", "usual: { ttl: 5m }");
    let mut nodes = Cluster::start(yaml, &origin, &redis).await;
    hits(&nodes.url(0, "/pages/1"), "t0").await;
    let asked = origin.count("/pages/1");
    for node in 1..nodes.count() {
        assert_eq!(read(&nodes.url(node, "/pages/1")).await, ("HIT".into(), "a page".into()));
    }
    let mut left = 300;
    for node in 0..nodes.count() {
        // However a node ends.
        if node == 0 {
            nodes.larders[0].process().signal("KILL");
        }
        nodes.restart(node, yaml, &origin, &redis).await;
    }
    for node in 0..nodes.count() {
        nodes.current(node).await;
        let answer = ask(&nodes.url(node, "/pages/1")).await;
        assert_eq!(answer.x_cache(), "HIT");
        // The five minutes go on where they were.
        assert!(fresh(&answer) <= left && fresh(&answer) + answer.age().unwrap() <= 300, "node {node}");
        assert!(fresh(&answer) > 200, "node {node}: {}", answer.cache_status());
        left = fresh(&answer);
    }
    assert_eq!(origin.count("/pages/1"), asked);
    for key in redis.keys(0).iter().filter(|key| key.contains(":pages:") && !key.ends_with(":fill")) {
        let told: u64 = redis.cli(&["TTL", key]).parse().unwrap();
        assert!((200..=300).contains(&told), "{key}: {told} s");
    }
    // A purge before the start of a node binds it too.
    assert_eq!(purge(&nodes.url(0, "/pages/1")).await.status, 200);
    nodes.restart(1, yaml, &origin, &redis).await;
    nodes.current(1).await;
    assert_eq!(read(&nodes.url(1, "/pages/1")).await.0, "MISS");
}

/// Four stores beside an application's own keys, as the jewelry shops have them.
const FOUR: &str = "
admin:
  listen: 127.0.0.1:{port}
  tokens: [{ name: ops, role: admin, secret: { env: LARDER_ADMIN_TOKEN } }]
origins: { app: { url: '{origin}' } }
purge: { bound: 500ms, log: { redis: { url: {log}, prefix: jewelry_shop_log, username: larder, password: { env: HOOK } } } }
stores:
  default: { redis: { url: '{redis}/0', prefix: jewelry_shop, connections: 50, username: larder, password: { env: HOOK }, ttl: 5m } }
  query: { redis: { url: '{redis}/1', prefix: jewelry_shop_query, connections: 50, username: larder, password: { env: HOOK }, ttl: 15m } }
  template: { redis: { url: '{redis}/2', prefix: jewelry_shop_template, connections: 50, username: larder, password: { env: HOOK }, ttl: 10m } }
  api: { redis: { url: '{redis}/3', prefix: jewelry_shop_api, connections: 50, username: larder, password: { env: HOOK }, ttl: 3m } }
tiers:
  default: { ttl: 1d, store: default }
  query: { ttl: 1d, store: query }
  template: { ttl: 1d, store: template }
  api: { ttl: 1d, store: api }
routes:
  - { name: default, path: '/default/{x}', tier: default, share: public }
  - { name: query, path: '/query/{x}', tier: query, share: public }
  - { name: template, path: '/template/{x}', tier: template, share: public }
  - { name: api, path: '/api/{x}', tier: api, share: public }
  - { name: rest, path: '/{*rest}' }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_four_stores_have_their_own_databases_prefixes_and_times_and_leave_sessions_alone() {
    const STORES: [(&str, u8, &str, u64); 4] = [
        ("default", 0, "jewelry_shop:1:", 300),
        ("query", 1, "jewelry_shop_query:1:", 900),
        ("template", 2, "jewelry_shop_template:1:", 600),
        ("api", 3, "jewelry_shop_api:1:", 180),
    ];
    let redis = Redis::start();
    let sessions =
        ["django.contrib.sessions.cache:abc", "jewelry_shop", "jewelry_shop:2:other", "jewelry_shop:session"];
    for name in sessions {
        assert_eq!(redis.cli(&["SET", name, "kept"]), "OK");
    }
    shipped_user(&redis);
    let origin = Origin::constant(|| Reply::ok("a page"));
    let nodes = Cluster::start(&FOUR.replace("{redis}", &redis.url()), &origin, &redis).await;
    for (name, database, prefix, ttl) in STORES {
        hits(&nodes.url(0, &format!("/{name}/1")), "t0").await;
        assert_eq!(read(&nodes.url(1, &format!("/{name}/1"))).await.0, "HIT");
        let database = database.to_string();
        let keys = redis.cli(&["-n", &database, "--scan", "--pattern", &format!("{prefix}_:{name}:*")]);
        let entry =
            keys.lines().find(|key| !key.ends_with(":fill")).unwrap_or_else(|| panic!("{name}: {keys}"));
        let left: u64 = redis.cli(&["-n", &database, "TTL", entry]).parse().unwrap();
        assert!((ttl - 30..=ttl).contains(&left), "{name}: {left} s");
    }
    // Fifty connections each, and no more however much is asked at once.
    for (name, ..) in STORES {
        let ask = |n: usize| {
            let url = nodes.url(0, &format!("/{name}/at-once-{n}"));
            tokio::spawn(async move { read(&url).await })
        };
        for one in (0..80).map(ask).collect::<Vec<_>>() {
            one.await.unwrap();
        }
    }
    let call = Client::new().get(nodes.larders[0].admin_url("/stat"));
    let told = call.header("authorization", format!("Bearer {}", crate::shop::TOKEN)).send().await.json();
    let stores = told["stores"].as_array().unwrap();
    assert!(stores.len() == 4 && stores.iter().all(|store| store["redis"]["connections"] == 50), "{told}");
    let everything =
        Client::new().post(nodes.larders[2].admin_url("/purge")).json(r#"{ "everything": true }"#);
    let everything =
        everything.header("authorization", format!("Bearer {}", crate::shop::TOKEN)).send().await;
    assert_eq!(everything.status, 200, "{}", everything.text());
    for (name, database, prefix, _) in STORES {
        assert_eq!(read(&nodes.url(0, &format!("/{name}/1"))).await.0, "MISS");
        // In the background all that was there goes; what was just read is new.
        let count = || {
            redis
                .keys(database)
                .iter()
                .filter(|key| key.starts_with(prefix) && !key.ends_with(":fill"))
                .count()
        };
        wait::until("the entries of before are gone", || count() <= 1).await;
    }
    for name in sessions {
        assert_eq!(redis.cli(&["GET", name]), "kept", "{name}");
    }
    // Nothing else was tried either: Redis would have refused it, and remembers what it refused.
    assert_eq!(redis.cli(&["ACL", "LOG"]), "");
}

/// The shipped user, who may touch what lies below the prefixes only.
fn shipped_user(redis: &Redis) {
    let shipped = std::fs::read_to_string("docker/redis-acl.conf").unwrap();
    let line = shipped.lines().find(|line| line.starts_with("user larder ")).unwrap();
    let password = format!(">{}", crate::shop::SECRET);
    let mut args = vec!["ACL", "SETUSER", "larder", "on", &password];
    for word in line.split(' ').skip(4) {
        match word {
            "~larder:1:*" => args.extend([
                "~jewelry_shop:1:*",
                "~jewelry_shop_query:1:*",
                "~jewelry_shop_template:1:*",
                "~jewelry_shop_api:1:*",
                "~jewelry_shop_log:1:*",
            ]),
            word => args.push(word),
        }
    }
    assert_eq!(redis.cli(&args), "OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c8_what_leaves_a_small_memory_is_still_in_redis() {
    let redis = Redis::start();
    let origin = Origin::start(|request| {
        let body = request.uri().path().to_owned();
        async move { Reply::ok(body) }
    });
    let yaml = YAML
        .replace("memory: 64MiB", "memory: { entries: 200 }, memory_ttl: 60s")
        .replace("{level}", "{ url: {level}, ttl: 3600s }")
        .replace("usual: { ttl: 1h }", "usual: { ttl: 1d }");
    let nodes = Cluster::start(&yaml, &origin, &redis).await;
    for page in 0..300 {
        hits(&nodes.url(0, &format!("/pages/{page}")), "t0").await;
    }
    let asked = origin.total();
    let call = Client::new().get(nodes.larders[0].admin_url("/stat"));
    let told = call.header("authorization", format!("Bearer {}", crate::shop::TOKEN)).send().await.json();
    let memory = &told["stores"][0];
    assert!(memory["capacity"] == 200 && memory["entries"].as_u64().unwrap() <= 200, "{told}");
    let kept = redis.cli(&["--scan", "--pattern", "larder:1:t0:pages:*"]);
    let kept: Vec<&str> = kept.lines().filter(|key| !key.ends_with(":fill")).collect();
    assert!(kept.len() >= 300, "{}", kept.len());
    for key in kept.iter().step_by(50) {
        let left: u64 = redis.cli(&["TTL", key]).parse().unwrap();
        assert!((3_500..=3_600).contains(&left), "{left} s");
    }
    for page in 0..300 {
        let path = format!("/pages/{page}");
        assert_eq!(read(&nodes.url(0, &path)).await, ("HIT".into(), path));
    }
    assert_eq!(origin.total(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c8_what_was_in_memory_for_its_time_is_brought_from_redis_again() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let yaml = YAML.replace("memory: 64MiB", "memory: 64MiB, memory_ttl: 300ms");
    let nodes = Cluster::start(&yaml, &origin, &redis).await;
    hits(&nodes.url(0, "/pages/1"), "t0").await;
    let asked = origin.count("/pages/1");
    let gets = || {
        let stats = redis.cli(&["INFO", "commandstats"]);
        let line =
            stats.lines().find_map(|line| line.strip_prefix("cmdstat_getrange:calls=")).unwrap_or("0,");
        line.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let (begin, mut reads) = (gets(), 0);
    // Each time that memory may not use it any more, it comes from there.
    for brought in 1..=4 {
        wait::until_async("it was brought", async || {
            assert_eq!(read(&nodes.url(0, "/pages/1")).await.0, "HIT");
            reads += usize::from(brought > 1);
            (gets() >= begin + brought).then_some(())
        })
        .await;
    }
    // In between memory has it, however long ago the origin gave it.
    assert!(reads >= 9, "{reads} reads");
    assert_eq!(origin.count("/pages/1"), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_pages_come_from_memory_while_redis_is_away_and_it_is_used_again_by_itself() {
    let mut redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    // A log of its own: then memory alone serves, for as long as it takes.
    let yaml = YAML.replace("purge: { bound: 500ms, log: { redis: {log} } }", "");
    let nodes = Cluster::start(&yaml, &origin, &redis).await;
    hits(&nodes.url(0, "/pages/1"), "t0").await;
    redis.kill();
    for page in 1..40 {
        let (_, text) = read(&nodes.url(0, &format!("/pages/{page}"))).await;
        assert_eq!(text, "a page");
    }
    for page in 1..40 {
        assert_eq!(read(&nodes.url(0, &format!("/pages/{page}"))).await.0, "HIT");
    }
    // While the breaker is open nobody waits for Redis.
    let answer = Client::new()
        .get(nodes.url(0, "/pages/100"))
        .header("host", HOST)
        .header("x-tenant", "t0")
        .send()
        .await;
    assert!(answer.took < Duration::from_millis(1_000), "{:?}", answer.took);
    redis.restart();
    wait::until_async("entries get into Redis again", async || {
        let page = origin.total() + 1_000;
        read(&nodes.url(0, &format!("/pages/{page}"))).await;
        redis.keys(0).iter().any(|key| key.contains(":pages:") && !key.ends_with(":fill")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_what_one_node_learns_not_to_share_any_more_no_node_serves_again() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let yaml = YAML.replace("usual: { ttl: 1h }", "usual: { stale_if_error: 1h }");
    let nodes = Cluster::start(&yaml, &origin, &redis).await;
    for (method, path) in [("HEAD", "/pages/1"), ("GET", "/pages/2")] {
        origin.answer_with(async |_| page());
        let ask = |node, method| {
            Client::new().method(method, nodes.url(node, path)).header("host", HOST).header("x-tenant", "t0")
        };
        wait::until_async("it is stored", async || {
            (ask(0, "GET").send().await.x_cache() == "HIT").then_some(())
        })
        .await;
        // The second has a copy of its own, the third would have it from Redis.
        assert_eq!(ask(1, "GET").send().await.x_cache(), "HIT");
        origin.answer_with(async |request| match request.headers().contains_key("if-none-match") {
            false => page(),
            // To HEAD, what it asked about is not there any more; to GET, it is one person's now.
            true if request.method() == "HEAD" => Reply::status(404),
            true => Reply::status(304).header("etag", "\"1\"").header("cache-control", "private"),
        });
        let (gone, private) = ("detail=head-changed", "detail=private");
        wait::until_async("it is stale, and the origin asked", async || {
            let said = ask(0, method).send().await;
            [gone, private].iter().any(|word| said.cache_status().ends_with(word)).then_some(())
        })
        .await;
        origin.answer_with(async |_| Reply::status(503));
        for node in 0..nodes.count() {
            wait::until_async("the others know of it", async || {
                let answer = ask(node, "GET").send().await;
                (answer.x_cache() != "STALE" && answer.status == 503).then_some(())
            })
            .await;
            assert_eq!(origin.last(path).header("if-none-match"), None, "{method} at {node}");
        }
    }
}

fn page() -> Reply {
    Reply::ok("a page").header("etag", "\"1\"").header("cache-control", "max-age=1")
}
