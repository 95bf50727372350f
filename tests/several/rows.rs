//! Rows of the requirements as far as they speak of Redis, each shown as a whole, by the built binary over real servers.

use std::time::Duration;

use serde_json::Value;

use crate::nodes::{Cluster, HOST, YAML, hits, place, purge, start};
use crate::shop::TOKEN;
use crate::support::redis::Redis;
use crate::support::{Answer, Client, Larder, Origin, Reply, wait};

async fn read(url: &str, tenant: &str) -> Answer {
    let answer = Client::new().get(url).header("host", HOST).header("x-tenant", tenant).send().await;
    assert_eq!(answer.status, 200, "{url}: {}", answer.text());
    answer
}

async fn stat(larder: &Larder) -> Value {
    let call = Client::new().get(larder.admin_url("/stat"));
    call.header("authorization", format!("Bearer {TOKEN}")).send().await.json()
}

/// A store's figures.
async fn store(larder: &Larder, name: &str) -> Value {
    let stores = stat(larder).await["stores"].as_array().unwrap().clone();
    stores.into_iter().find(|store| store["name"] == name).unwrap()
}

/// The entries below a prefix, without the leases of fills.
fn entries(redis: &Redis, database: u8, begin: &str) -> Vec<String> {
    let mut keys = redis.keys(database);
    keys.retain(|key| key.starts_with(begin) && !key.ends_with(":fill") && !key.contains("{purge}"));
    keys
}

/// How often something was read of an entry.
fn gets(redis: &Redis) -> u64 {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_getrange:calls=")).unwrap_or("0,");
    line.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a8_memory_and_redis_together_are_one_cache_of_several_servers() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let nodes = Cluster::start(YAML, &origin, &redis).await;
    hits(&nodes.url(0, "/pages/1"), "t0").await;
    for round in 1..=3 {
        let asked = origin.count("/pages/1");
        for node in 0..nodes.count() {
            // What one has, the next one has from Redis, once; then each from its own memory.
            let brought = read(&nodes.url(node, "/pages/1"), "t0").await;
            assert_eq!((brought.x_cache(), brought.text()), ("HIT", "a page"), "node {node}");
            let before = gets(&redis);
            for _ in 0..5 {
                assert_eq!(read(&nodes.url(node, "/pages/1"), "t0").await.x_cache(), "HIT");
            }
            assert_eq!(gets(&redis), before, "node {node} has it in memory");
        }
        assert_eq!(origin.count("/pages/1"), asked);
        // A purge that one takes binds all, in both levels.
        assert_eq!(purge(&nodes.url(round % nodes.count(), "/pages/1")).await.status, 200);
        let anew = read(&nodes.url((round + 1) % nodes.count(), "/pages/1"), "t0").await;
        assert_eq!(anew.x_cache(), "MISS");
        hits(&nodes.url(round % nodes.count(), "/pages/1"), "t0").await;
        assert_eq!(origin.count("/pages/1"), asked + 1, "one fetch for all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b9_with_encryption_nothing_of_a_page_or_of_who_read_it_can_be_read_in_redis() {
    const WORDS: [&str; 8] = [
        "secret-of-the-path",
        "secret-of-the-query",
        "secret-of-the-body",
        "secret-of-a-field",
        "secret-of-a-tag",
        "secret-of-a-request",
        "secret-name-of-a-user",
        HOST,
    ];
    // What stands there without it: the test would see it.
    const PLAIN: [&str; 4] = [WORDS[0], WORDS[2], WORDS[3], WORDS[4]];
    let route = "routes:\n  - { name: own, path: '/own/{page}', tier: usual, share: user, vary_on: [{ header: X-View }], tags: ['own:{page}'] }\n";
    let base = YAML.replace("routes:\n", route);
    let origin = Origin::constant(|| {
        let page = Reply::ok(format!("{} ", WORDS[2]).repeat(1_000));
        page.header("x-field", WORDS[3]).header("cache-tag", WORDS[4]).header("vary", "accept-language")
    });
    for (words, sealed) in [
        ("encrypt: { keys: [{ env: HOOK }] }, compress: off", true),
        ("encrypt: { keys: [{ env: HOOK }] }", true),
        ("compress: off", false),
    ] {
        let log = Redis::start();
        let redis = Redis::with().option("rdbcompression", "no").start();
        let yaml = base.replace("{level}", &format!("{{ url: {{level}}, {words} }}"));
        let larder = start(&yaml, &origin, &place(&log.url()), &place(&redis.url())).await;
        for path in ["pages", "own"] {
            let url = larder.url(&format!("/{path}/{}?q={}", WORDS[0], WORDS[1]));
            let ask = || {
                let call = Client::new().get(&url).header("host", HOST).header("x-tenant", "acme");
                call.header("x-user", WORDS[6]).header("x-view", WORDS[5]).header("accept-language", "de")
            };
            wait::until_async("it is stored", async || (ask().send().await.x_cache() == "HIT").then_some(()))
                .await;
            let begin = format!("larder:1:acme:{path}:");
            wait::until("it is in Redis", || !entries(&redis, 0, &begin).is_empty()).await;
        }
        // Of names tenant and route can be read, and the rest is a digest.
        for key in redis.keys(0) {
            let rest = key.strip_prefix("larder:1:acme:").unwrap_or_else(|| panic!("{key}"));
            let rest = rest.strip_prefix("pages:{").or_else(|| rest.strip_prefix("own:{"));
            let digest = rest.and_then(|rest| rest.split_once('}')).unwrap_or_else(|| panic!("{key}"));
            assert!(digest.0.len() == 32 && digest.0.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
            assert!(matches!(digest.1, "" | ":fill"), "{key}");
        }
        assert_eq!(redis.cli(&["SAVE"]), "OK");
        let everything = std::fs::read(redis.file("dump.rdb")).unwrap();
        let found = |word: &&str| everything.windows(word.len()).any(|at| at == word.as_bytes());
        let seen: Vec<&str> = WORDS.into_iter().filter(|word| found(word)).collect();
        match sealed {
            true => assert!(seen.is_empty(), "{words}: {seen:?}"),
            false => assert!(PLAIN.iter().all(|word| seen.contains(word)), "{seen:?}"),
        }
        assert!(found(&"acme") && found(&"own"), "names are readable");
        // Reading told the log nothing of it.
        let told = log.cli(&["--scan"]);
        assert_eq!(told, "larder:1:{purge}:state");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_url_database_namespace_encoding_and_the_number_of_connections_are_those_of_the_file() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("x".repeat(20_000)));
    let level = format!(
        "{{ url: '{}/3', prefix: shop_api, connections: 3, compress: {{ above: 1KiB }} }}",
        redis.url()
    );
    let larder = start(YAML, &origin, &place(&redis.url()), &level).await;
    let ask = |n: usize| {
        let url = larder.url(&format!("/pages/{n}"));
        tokio::spawn(async move { read(&url, "t0").await })
    };
    for one in (0..60).map(ask).collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().body.len(), 20_000);
    }
    wait::until("all are there", || entries(&redis, 3, "shop_api:1:t0:pages:{").len() == 60).await;
    assert!(redis.keys(3).iter().all(|key| key.starts_with("shop_api:1:")), "{:?}", redis.keys(3));
    assert!(redis.keys(0).iter().all(|key| key.starts_with("larder:1:{purge}:")), "{:?}", redis.keys(0));
    for key in entries(&redis, 3, "shop_api:1:") {
        let length: usize = redis.cli(&["-n", "3", "STRLEN", &key]).parse().unwrap();
        assert!(length < 2_000, "compressed: {length} bytes");
        assert_eq!(redis.cli(&["-n", "3", "GETRANGE", &key, "0", "3"]), "LRD1");
    }
    let clients = redis.cli(&["CLIENT", "LIST"]);
    let own = |line: &&str| line.contains(" name=larder ") && line.contains(" db=3 ");
    assert_eq!(clients.lines().filter(own).count(), 3, "{clients}");
    assert_eq!(store(&larder, "default").await["redis"]["connections"], 3);
}

/// Stores of each kind beside each other, in two servers.
const KINDS: &str = "
stores:
  fast: { memory: 16MiB }
  far: { memory: off, redis: {log} }
  both: { memory: 16MiB, redis: { url: {level}, prefix: both } }
tiers:
  fast: { ttl: 1h, store: fast }
  far: { ttl: 1h, store: far }
  both: { ttl: 1h, store: both }
routes:
  - { name: fast, path: '/fast/{x}', tier: fast, share: public }
  - { name: far, path: '/far/{x}', tier: far, share: public }
  - { name: both, path: '/both/{x}', tier: both, share: public }
  - { name: rest, path: '/{*rest}' }
webhooks:";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c3_memory_redis_and_both_stand_side_by_side_each_for_its_own_routes() {
    let (log, mut level) = (Redis::start(), Redis::start());
    let origin = Origin::constant(|| Reply::ok("a page"));
    let (head, rest) = YAML.split_once("stores:").unwrap();
    let yaml = format!("{head}{KINDS}{}", rest.split_once("webhooks:").unwrap().1);
    let larder = start(&yaml, &origin, &place(&log.url()), &place(&level.url())).await;
    let names = ["fast", "far", "both"];
    let x_cache =
        async |name: &str| read(&larder.url(&format!("/{name}/1")), "t0").await.x_cache().to_owned();
    for name in names {
        hits(&larder.url(&format!("/{name}/1")), "t0").await;
    }
    wait::until("it is in both levels", || entries(&level, 0, "both:1:_:both:{").len() == 1).await;
    assert_eq!((entries(&log, 0, "larder:1:_:far:{").len(), entries(&log, 0, "").len()), (1, 1));
    assert_eq!(entries(&level, 0, "").len(), 1);
    for (name, in_memory, in_redis) in [("fast", 1, false), ("far", 0, true), ("both", 1, true)] {
        let told = store(&larder, name).await;
        assert_eq!(
            (&told["entries"], told["redis"].is_object()),
            (&in_memory.into(), in_redis),
            "{name}: {told}"
        );
    }
    // Each answer of the one without memory comes from Redis; the other two have it nearer.
    for (name, each) in [("fast", 0), ("far", 1), ("both", 0)] {
        let before = gets(&log) + gets(&level);
        for _ in 0..4 {
            assert_eq!(x_cache(name).await, "HIT", "{name}");
        }
        assert_eq!(gets(&log) + gets(&level), before + 4 * each, "{name}");
    }
    level.kill();
    for name in names {
        assert_eq!(x_cache(name).await, "HIT", "{name}");
    }
    // One store is cleared, and the others stay.
    let call = Client::new().post(larder.admin_url("/purge")).json(r#"{ "stores": ["far"] }"#);
    let done = call.header("authorization", format!("Bearer {TOKEN}")).send().await;
    assert_eq!(done.status, 200, "{}", done.text());
    for (name, expected) in [("fast", "HIT"), ("far", "MISS"), ("both", "HIT")] {
        assert_eq!(x_cache(name).await, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d7_keys_in_redis_are_found_by_tenant_and_route_counted_and_tell_their_time() {
    let mut redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let nodes = Cluster::start(YAML, &origin, &redis).await;
    for (n, (tenant, path)) in [
        ("acme", "/pages/1"),
        ("acme", "/pages/2"),
        ("acme", "/pages/3"),
        ("acme", "/window/1"),
        ("bolt", "/pages/1"),
        ("bolt", "/window/9"),
        ("a:b*", "/pages/1"),
    ]
    .into_iter()
    .enumerate()
    {
        hits(&nodes.url(n % nodes.count(), path), tenant).await;
    }
    // As docs/clustering.md tells operators to.
    let scan = |pattern: &str| {
        let found = redis.cli(&["--scan", "--pattern", pattern]);
        let mut keys: Vec<String> =
            found.lines().filter(|key| !key.ends_with(":fill")).map(str::to_owned).collect();
        keys.sort();
        keys
    };
    // With the one that each node was asked for when it began.
    wait::until("all are there", || scan("larder:1:*:{*").len() == 8).await;
    for (pattern, count) in [
        ("larder:1:acme:*", 4),
        ("larder:1:bolt:*", 2),
        ("larder:1:a%3Ab%2A:*", 1),
        ("larder:1:*:window:*", 2),
        ("larder:1:acme:pages:*", 3),
        ("larder:1:nobody:*", 0),
        ("other:1:*", 0),
    ] {
        assert_eq!(scan(pattern).len(), count, "{pattern}: {:?}", scan(pattern));
    }
    // What Redis says is left is what Larder says; of the other route, with the time that it may be served stale.
    let left = |key: &str| redis.cli(&["PTTL", key]).parse::<i64>().unwrap();
    let said = read(&nodes.url(2, "/pages/1"), "bolt").await.cache_status();
    let said: i64 = said.split("ttl=").nth(1).unwrap().split(';').next().unwrap().trim().parse().unwrap();
    let told = left(&scan("larder:1:bolt:pages:*")[0]);
    assert!((told / 1_000 - said).abs() <= 2 && told <= 3_600_000, "{told} ms, {said} s");
    let window = left(&scan("larder:1:bolt:window:*")[0]);
    assert!((7_100_000..=7_200_000).contains(&window), "{window}");
    let check = async |node: usize| store(&nodes.larders[node], "default").await["redis"].clone();
    let well = check(0).await;
    assert!(well["breaker"] == "closed" && well["connections"].as_u64() >= Some(1), "{well}");
    redis.kill();
    wait::until_async("it is seen that Redis is away", async || {
        read(&nodes.url(0, "/pages/another"), "acme").await;
        let told = check(0).await;
        (told["breaker"] != "closed" && told["last_error"].is_string()).then_some(())
    })
    .await;
}

/// What may become of a server, and how it is mended: commands of its operator.
type Fault = (&'static str, &'static [&'static str], &'static [&'static str]);
const EACH: &str = "for _, key in ipairs(redis.call('KEYS', '*')) do ";
const FAULTS: [Fault; 6] = [
    ("is full", &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
    ("is a replica", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
    (
        "refuses commands",
        &["ACL", "SETUSER", "default", "-getrange", "-eval", "-evalsha"],
        &["ACL", "SETUSER", "default", "+@all"],
    ),
    ("has garbage", &["EVAL", "GARBAGE", "0"], &["FLUSHALL"]),
    ("has lists", &["EVAL", "LISTS", "0"], &["FLUSHALL"]),
    ("is empty", &["FLUSHALL"], &["PING"]),
];

fn operate(redis: &Redis, args: &[&str]) {
    let garbage = format!("{EACH} redis.call('SET', key, 'LRD1garbage') end");
    let lists = format!("{EACH} redis.call('DEL', key) redis.call('RPUSH', key, 'a') end");
    let args = args.iter().map(|arg| match *arg {
        "GARBAGE" => garbage.as_str(),
        "LISTS" => &lists,
        arg => arg,
    });
    let said = redis.cli(&args.collect::<Vec<_>>());
    assert!(!said.contains("ERR"), "{said}");
}

/// Pages that are stored, and pages that are not: all come.
async fn pages_come(larder: &Larder, round: &mut usize, what: &str) {
    for n in 0..12 {
        *round += 1;
        for path in [format!("/pages/{}", n % 4), format!("/pages/new-{round}")] {
            let answer = read(&larder.url(&path), "t0").await;
            assert_eq!(answer.text(), path, "{what}");
            assert!(answer.took < Duration::from_secs(5), "{what}: {:?}", answer.took);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e7_whatever_becomes_of_the_redis_of_a_level_or_of_the_log_no_page_fails() {
    let origin = Origin::start(|request| {
        let body = request.uri().path().to_owned();
        async move { Reply::ok(body) }
    });
    let (mut log, mut level) = (Redis::start(), Redis::start());
    // Nothing nearer than Redis, so that each page asks it.
    let yaml = YAML.replace("memory: 64MiB", "memory: off");
    let larder = start(&yaml, &origin, &place(&log.url()), &place(&level.url())).await;
    let mut round = 0;
    hits(&larder.url("/pages/0"), "t0").await;
    for (which, redis) in [("level", &mut level), ("log", &mut log)] {
        for (name, breaks, mends) in FAULTS {
            operate(redis, breaks);
            pages_come(&larder, &mut round, &format!("the {which} {name}")).await;
            operate(redis, mends);
            hits(&larder.url(&format!("/pages/{}", round % 4)), "t0").await;
        }
        for kill in [false, true] {
            if kill {
                redis.kill()
            } else {
                redis.pause()
            }
            wait::until_async("it is seen", async || {
                pages_come(&larder, &mut round, &format!("the {which} is gone for good: {kill}")).await;
                let told = stat(&larder).await;
                let level = told["stores"][0]["redis"]["breaker"] != "closed";
                let log = told["purge_log"]["connected"] == false && told["purge_log"]["proven"] == false;
                (if which == "level" { level } else { log }).then_some(())
            })
            .await;
            if kill {
                redis.restart()
            } else {
                redis.resume()
            }
            hits(&larder.url("/pages/1"), "t0").await;
        }
    }
}
