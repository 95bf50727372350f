//! C15: the example configurations run, with the Redis that their comments ask for.

use std::collections::BTreeMap;

use larder::config::Config;
use larder::config::read::ReadContext;
use serde_json::json;

use crate::support::redis::Redis;
use crate::support::tokens::{JWT_SECRET, bearer};
use crate::support::{Answer, Client, Larder, Origin, Reply, wait};

/// The operator's token, and the password of Redis, in whose file it stands.
const SECRET: &str = "a-long-password-of-the-tests-for-everything";

/// An example, and what it needs.
struct Example {
    file: &'static str,
    /// The addresses of Redis that the file names, with the policy that its comments ask for.
    servers: &'static [(&'static str, &'static str)],
    /// What says that these are trusted, and where it goes: behind these words.
    trust: &'static [(&'static str, &'static str)],
    /// The stores in Redis: database, what their entries begin with, and a page of each.
    pages: &'static [(u8, &'static str, &'static str)],
}

const EXAMPLES: [Example; 4] = [
    Example { file: "development", servers: &[], trust: &[], pages: &[(0, "", "/api/things")] },
    Example {
        file: "production-redis",
        servers: &[
            ("rediss://log.redis.internal:6379", "noeviction"),
            ("rediss://cache.redis.internal:6379", "allkeys-lfu"),
        ],
        trust: &[
            ("prefix: shop, username: larder,", " tls: { ca: 0.pem },"),
            ("      username: larder\n", "      tls: { ca: 1.pem }\n"),
        ],
        pages: &[
            (0, "shop:1:acme:dashboard:", "/api/dashboard/sales"),
            (0, "shop:1:acme:tasks:", "/api/tasks/mine"),
            (0, "shop:1:_:static:", "/static/site.css"),
        ],
    },
    Example {
        file: "high-performance",
        servers: &[("redis://127.0.0.1:6379", "volatile-lfu")],
        trust: &[],
        pages: &[
            (1, "pages:1:_:pages:", "/about"),
            (1, "pages:1:_:assets:", "/static/site.css"),
            (2, "exports:1:_:exports:", "/exports/all.csv"),
        ],
    },
    Example {
        file: "e-jewellery-redis",
        servers: &[("redis://127.0.0.1:6379", "volatile-lru")],
        trust: &[],
        pages: &[
            (0, "jewelry_shop:1:acme:report:", "/reports/sales/"),
            (1, "jewelry_shop_query:1:acme:daily-stats:", "/dashboard/stats/daily/"),
            (2, "jewelry_shop_template:1:acme:sidebar:", "/fragments/sidebar/"),
            (3, "jewelry_shop_api:1:acme:customer:", "/api/me/orders"),
            (3, "jewelry_shop_api:1:_:gold-rate:", "/api/gold-rate/"),
        ],
    },
];

fn text(file: &str) -> String {
    std::fs::read_to_string(format!("config/examples/{file}.yaml")).unwrap()
}

/// The application of all of them.
fn origin() -> Origin {
    Origin::start(|request| {
        let path = request.uri().path().to_owned();
        let reply = match &*path {
            "/accounts/whoami/" => {
                Reply::ok("").header("x-tenant", "acme").header("x-user", "ann").header("x-role", "clerk")
            }
            _ if path.starts_with("/static/") => {
                Reply::ok(path).header("cache-control", "public, max-age=600")
            }
            _ => Reply::ok(path),
        };
        async move { reply }
    })
}

/// The shipped user, beside one of the tests' own, for all prefixes of the examples.
fn users() -> String {
    let shipped = std::fs::read_to_string("docker/redis-acl.conf").unwrap();
    let user = shipped.lines().find(|line| line.starts_with("user larder ")).unwrap();
    let user = user.replace("change-me-to-a-long-password", SECRET).replace("~larder:1:*", "~shop:1:*");
    format!("user default on nopass ~* &* +@all\n{user}\n")
}

fn server(url: &str, policy: &str) -> Redis {
    let setup = Redis::with().file(&users()).option("maxmemory", "64mb").option("maxmemory-policy", policy);
    if url.starts_with("rediss") { setup.tls().start() } else { setup.start() }
}

/// The value of a variable.
fn value(name: &str) -> String {
    match name {
        "JWT_SECRET" => JWT_SECRET.to_owned(),
        "LARDER_ADMIN_TOKEN" | "REDIS_PASSWORD" => SECRET.to_owned(),
        other => format!("{SECRET} {other}"),
    }
}

/// Every variable that a file reads.
fn variables(yaml: &str) -> BTreeMap<String, String> {
    let names = yaml.split("{ env: ").skip(1).filter_map(|rest| rest.split_once(' '));
    names.map(|(name, _)| (name.to_owned(), value(name))).collect()
}

impl Example {
    async fn start(&self, servers: &[Redis], origin: &Origin) -> Larder {
        let mut yaml = text(self.file).replace("http://127.0.0.1:8000", &origin.url());
        for (own, port) in [("0.0.0.0:8080", 0), ("127.0.0.1:8080", 0), ("127.0.0.1:8081", 0)] {
            yaml = yaml.replace(own, &format!("127.0.0.1:{port}"));
        }
        for ((url, _), redis) in self.servers.iter().zip(servers) {
            assert!(yaml.contains(url), "{}: {url}", self.file);
            yaml = yaml.replace(url, &redis.url());
        }
        for (words, more) in self.trust {
            assert_eq!(yaml.matches(words).count(), 1, "{}: {words}", self.file);
            yaml = yaml.replace(words, &format!("{words}{more}"));
        }
        // Nobody's machine is so slow in production.
        yaml = yaml.replace("timeout: 50ms", "timeout: 1s").replace("timeout: 20ms", "timeout: 1s");
        let mut setup = Larder::with(&yaml);
        for (name, value) in variables(&yaml) {
            setup = setup.env(&name, &value);
        }
        for (n, (redis, (url, _))) in servers.iter().zip(self.servers).enumerate() {
            if url.starts_with("rediss") {
                setup = setup.file(&format!("{n}.pem"), redis.certificates().ca.clone());
            }
        }
        setup.start().await
    }
}

async fn ask(larder: &Larder, method: &str, path: &str) -> Answer {
    let call = Client::new().method(method, larder.url(path)).header("host", "acme.localhost");
    let call = call.header("authorization", bearer(json!({ "tenant_id": "acme", "sub": "ann" })));
    let answer = call.header("cookie", "sessionid=the-session-of-ann").send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer
}

/// Everything is purged, and says so.
async fn purged(larder: &Larder, example: &Example) {
    if !text(example.file).contains("\nadmin:") {
        // Nothing but writes purges there.
        for (_, _, page) in example.pages {
            ask(larder, "POST", page).await;
        }
        return;
    }
    let call = Client::new().post(larder.admin_url("/purge")).json(r#"{ "everything": true }"#);
    let done = call.header("authorization", format!("Bearer {SECRET}")).send().await;
    assert_eq!(done.status, 200, "{}: {}", example.file, done.text());
    let nodes = &done.json()["nodes"];
    assert_eq!((nodes["applied"].as_array().unwrap().len(), nodes["gone"].as_array().unwrap().len()), (1, 0));
}

async fn runs(example: &Example) {
    let servers: Vec<Redis> = example.servers.iter().map(|(url, policy)| server(url, policy)).collect();
    let origin = origin();
    let larder = example.start(&servers, &origin).await;
    let file = example.file;
    if !servers.is_empty() {
        wait::until_async(&format!("{file} is well"), async || {
            let ready = Client::new().get(larder.admin_url("/health/ready")).send().await;
            (ready.status == 200 && ready.json()["status"] == "ok").then_some(())
        })
        .await;
    }
    for round in ["at first", "after a purge"] {
        for (database, begin, page) in example.pages {
            let asked = origin.count(page);
            for expected in ["MISS", "HIT"] {
                let answer = ask(&larder, "GET", page).await;
                assert_eq!((answer.x_cache(), answer.text()), (expected, *page), "{file}: {page} {round}");
            }
            assert_eq!(origin.count(page), asked + 1, "{file}: {page} {round}");
            let Some(redis) = servers.last() else { continue };
            let stored =
                || redis.keys(*database).iter().any(|key| key.starts_with(begin) && !key.ends_with(":fill"));
            wait::until(&format!("{file}: {page} is in Redis {round}"), stored).await;
        }
        purged(&larder, example).await;
    }
    if !servers.is_empty() {
        let ready = Client::new().get(larder.admin_url("/health/ready")).send().await;
        assert_eq!(ready.json()["status"], "ok", "{file}: {}", ready.text());
        // Whoever watches over it has a token where the file gives one.
        let viewer = "LARDER_VIEWER_TOKEN";
        let token = if text(file).contains(viewer) { value(viewer) } else { SECRET.to_owned() };
        let call = Client::new().get(larder.admin_url("/stat"));
        let told = call.header("authorization", format!("Bearer {token}")).send().await.json();
        assert_eq!((&told["status"], &told["purge_log"]["where"]), (&"ok".into(), &"redis".into()), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c15_the_examples_of_development_production_and_high_performance_run_and_all_others_with_redis() {
    // Each file with Redis is in the table, with a page of each of its stores there.
    for entry in std::fs::read_dir("config/examples").unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap();
        let yaml = text(file);
        if !yaml.contains("redis:") {
            continue;
        }
        let example = EXAMPLES.iter().find(|example| example.file == file);
        let example = example.unwrap_or_else(|| panic!("{file} is in no test"));
        let known = variables(&yaml);
        let context = ReadContext::of(&path).with_env(move |name| known.get(name).cloned());
        let config = Config::from_yaml(&yaml, &context).unwrap_or_else(|errors| panic!("{file}: {errors:?}"));
        for level in config.stores.iter().filter_map(|store| store.redis.as_ref()) {
            let begin = format!("{}:1:", level.redis.prefix);
            let is_shown =
                |page: &&(u8, &str, &str)| page.0 == level.redis.database && page.1.starts_with(&begin);
            assert!(example.pages.iter().any(|page| is_shown(&page)), "{file}: {begin}");
        }
    }
    for example in &EXAMPLES {
        runs(example).await;
    }
}
