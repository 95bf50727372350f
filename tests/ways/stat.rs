//! `GET /stat`, `larder stat` and `GET /health/ready`: how Larder is, with a log of its own and with one in Redis.

use serde_json::Value;

use super::support::redis::Redis;
use super::support::wait::until_async;
use super::support::{Client, Larder, Origin, Reply};
use super::{ACME, EYE, OPS, Setting};

async fn at(larder: &Larder, path: &str, token: &str) -> super::Answer {
    let call = Client::new().get(larder.admin_url(path));
    call.header("authorization", format!("Bearer {token}")).send().await
}

async fn stat(larder: &Larder) -> Value {
    at(larder, "/stat", OPS).await.json()
}

#[tokio::test]
async fn the_figures_are_for_tokens_that_are_bound_to_no_tenant() {
    let setting = Setting::new().await;
    setting.warm(&["/t/page", "/forever/page"], &["acme", "bolt"]).await;
    assert_eq!(setting.purge(OPS, r#"{"tags": ["nothing"]}"#).await.status, 200);
    for (token, status) in [(OPS, 200), (EYE, 200), (ACME, 403), ("another", 401)] {
        assert_eq!(at(&setting.larder, "/stat", token).await.status, status, "{token}");
    }
    let told = stat(&setting.larder).await;
    assert_eq!((&told["status"], &told["purge_log"]["where"]), (&"ok".into(), &"memory".into()), "{told}");
    let other = &told["stores"][1];
    assert_eq!(
        (&other["name"], &other["entries"], &other["capacity_in"]),
        (&"other".into(), &2.into(), &"bytes".into())
    );
    assert!(
        other["bytes"].as_u64().unwrap() > 0 && other["capacity"] == 16 << 20 && other["redis"].is_null(),
        "{told}"
    );
    assert_eq!((&told["fence"]["rows"], &told["fills_in_flight"]), (&1.into(), &0.into()), "{told}");
    let (done, text) = setting.command("stat", &[]).await;
    assert!(
        done && text.starts_with("status: ok\nstore default: ") && text.contains("purge log: where=memory"),
        "{text}"
    );
    let (done, text) = setting.command("stat", &["--json"]).await;
    assert!(done && serde_json::from_str::<Value>(&text).unwrap()["stores"].is_array(), "{text}");
    let (done, text) = setting.command("stat", &["--token", "acme"]).await;
    assert!(!done && text.contains("for one tenant"), "{text}");
}

const YAML: &str = "
admin: { listen: '127.0.0.1:{port}', tokens: [{ name: ops, role: admin, secret: { env: LARDER_ADMIN_TOKEN } }] }
origins: { app: { url: '{origin}' } }
purge: { log: { redis: { url: '{redis}', username: larder, password: { env: P }, timeout: 1s } }, bound: 2s }
stores: { default: { redis: { url: '{redis}', username: larder, password: { env: P }, timeout: 1s, failures: 1 } } }
tiers: { usual: { ttl: 1h } }
routes: [{ name: all, path: '/{*rest}', tier: usual, share: public }]
";
const PASSWORD: &str = "a-long-password-of-the-tests";

/// The shipped user, with another password.
fn users() -> String {
    let shipped = std::fs::read_to_string("docker/redis-acl.conf").unwrap();
    let user = shipped.lines().find(|line| line.starts_with("user ")).unwrap();
    format!(
        "user default on nopass ~* &* +@all\n{}\n",
        user.replace("change-me-to-a-long-password", PASSWORD)
    )
}

#[tokio::test]
async fn what_is_amiss_with_redis_is_told_and_the_node_stays_ready() {
    let mut redis = Redis::with().file(&users()).start();
    redis.cli(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let setup = Larder::with(YAML).origin(&origin).put("port", port).put("redis", redis.url());
    let mut larder = setup.env("LARDER_ADMIN_TOKEN", OPS).env("P", PASSWORD).start().await;
    let ready = async |larder: &Larder| {
        let answer = Client::new().get(larder.admin_url("/health/ready")).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    larder.log("`maxmemory-policy`").await;
    until_async("the log is proven", async || {
        stat(&larder).await["purge_log"]["proven"].as_bool().filter(|is| *is)
    })
    .await;
    let told = ready(&larder).await;
    assert_eq!(told["status"], "degraded");
    assert!(
        told["degraded"].as_array().unwrap().len() == 1 && told.to_string().contains("may evict it"),
        "{told}"
    );
    let purged =
        Client::new().method("PURGE", larder.url("/page")).header("authorization", format!("Bearer {OPS}"));
    let receipt = purged.send().await.json();
    assert_eq!(receipt["nodes"]["applied"].as_array().map(Vec::len), Some(1), "{receipt}");
    for expected in ["MISS", "HIT"] {
        assert_eq!(Client::new().get(larder.url("/page")).send().await.x_cache(), expected);
    }
    let told = stat(&larder).await;
    let (log, level) = (&told["purge_log"], &told["stores"][0]["redis"]);
    assert_eq!((&log["applied"], &log["last"], &log["lag"]), (&1.into(), &1.into(), &0.into()), "{told}");
    assert_eq!(
        (&log["connected"], &log["may_evict"], &log["wait"]),
        (&true.into(), &true.into(), &"all".into())
    );
    assert!(
        level["breaker"] == "closed" && level["operations"].as_u64().unwrap() > 1 && level["failures"] == 0,
        "{told}"
    );
    let nodes = log["nodes"].as_array().unwrap();
    assert!(nodes.len() == 1 && nodes[0]["node"] == log["node"] && nodes[0]["lag"] == 0, "{told}");
    assert!(nodes[0]["lease"].as_f64().is_some_and(|left| left > 0.0 && left < 2.7), "{told}");
    assert_eq!(receipt["nodes"]["applied"][0], log["node"]);

    redis.kill();
    let told = until_async("it is seen that Redis is away", async || {
        // Pages are answered, and ask the level.
        assert_eq!(Client::new().get(larder.url("/another")).send().await.text(), "a page");
        let told = ready(&larder).await;
        let all = ["may evict it", "cannot be reached", "cannot prove", "store `default`"];
        all.iter().all(|part| told.to_string().contains(part)).then_some(told)
    });
    let told = told.await;
    assert_eq!(told["status"], "degraded");
    assert!(!told.to_string().contains(&redis.port().to_string()), "no address without a token: {told}");
    let told = stat(&larder).await;
    assert!(
        told["purge_log"]["nodes"].is_null()
            && told["purge_log"]["connected"] == false
            && told["stores"][0]["redis"]["last_error"].is_string(),
        "{told}"
    );

    // Restarted, it has its own defaults again.
    redis.restart();
    larder.log("does not evict it any more").await;
    let mut number = 0;
    until_async("all is well", async || {
        // The level is what it was until something is asked of it again.
        number += 1;
        Client::new().get(larder.url(&format!("/new/{number}"))).send().await;
        (ready(&larder).await["status"] == "ok").then_some(())
    })
    .await;
}
