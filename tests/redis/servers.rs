//! TLS, users, Sentinel, Cluster.

use larder::store::redis::{Links, Script};

use super::support::redis::{Certificates, Cluster, Redis, Sentinels};
use super::support::wait;
use super::*;

#[tokio::test]
async fn tls_speaks_only_with_a_server_whose_certificate_is_trusted() {
    let redis = Redis::with().tls().start();
    let folder = redis.file("");
    std::fs::write(folder.join("other.pem"), Certificates::new().ca).unwrap();
    let node = |words: &str| store(&place_in(&format!("{words}, timeout: 20s, retries: 0"), &folder));
    let right = node(&format!("url: \"{}\", tls: {{ ca: ca.pem }}", redis.url()));
    let at = name(&right, "/a");
    put(&right, &at, "a").await;
    assert_eq!(body(&right, &at).await.as_deref(), Some("a"));
    // Another authority; the system's authorities; the right one, and a name that is not the server's.
    for words in [
        format!("url: \"{}\", tls: {{ ca: other.pem }}", redis.url()),
        format!("url: \"{}\"", redis.url()),
        format!("url: \"rediss://127.0.0.2:{}\", tls: {{ ca: ca.pem }}", redis.port()),
    ] {
        let wrong = node(&words);
        let error = wrong.get(&at, 100).await.unwrap_err();
        assert_eq!(error.kind, SharedErrorKind::Io, "{words}: {error}");
    }
    // And no word without TLS.
    assert!(node(&format!("url: \"redis://127.0.0.1:{}\"", redis.port())).get(&at, 100).await.is_err());
}

/// The shipped file, with another password, and a default user that may do nothing.
fn users() -> String {
    let shipped = std::fs::read_to_string("docker/redis-acl.conf").unwrap();
    let user = shipped.lines().find(|line| line.starts_with("user ")).unwrap();
    let password = PASSWORD.replace(' ', "-");
    format!(
        "user default on nopass ~* &* +@all\n{}\n",
        user.replace("change-me-to-a-long-password", &password)
    )
}

#[tokio::test]
async fn the_shipped_user_may_do_all_that_larder_does_and_touch_nothing_else() {
    let redis = Redis::with().acl(&users()).start();
    let text = format!("url: \"{}\", username: larder, password: {{ env: P }}, timeout: 20s", redis.url());
    let with = |words: &str| {
        let mut place = place(words);
        place.password = larder::config::Password::new(&PASSWORD.replace(' ', "-"));
        place
    };
    let store = store(&with(&text));
    let at = name(&store, "/a");
    let ticket = put(&store, &at, "a").await;
    assert_eq!(body(&store, &at).await.as_deref(), Some("a"));
    lead(&store, &at, busting("b")).await;
    assert!(store.renew(&at, "b", Duration::from_secs(1)).await.unwrap());
    assert!(store.release(&at, "b", "own").await.unwrap());
    assert!(store.remove(&at, ticket).await.unwrap());
    assert!(store.time().await.is_ok());
    assert_eq!(store.clear().await.unwrap(), 1);
    // What the log does.
    let links = Links::new(&with(&text), RedisIo::start().unwrap()).unwrap();
    let long = Duration::from_secs(20);
    let link = links.open("larder:1:{purge}:state", long).await.unwrap();
    let keys: Vec<String> = ["state", "records", "nodes", "ids", "idtimes"]
        .map(|part| format!("larder:1:{{purge}}:{part}"))
        .to_vec();
    let script = Arc::new(Script::new(
        "redis.call('TIME') redis.call('INFO', 'replication') redis.call('INFO', 'server')
         redis.call('HSET', KEYS[1], 'seq', 1) redis.call('HGET', KEYS[1], 'seq') redis.call('HGETALL', KEYS[3])
         redis.call('XADD', KEYS[2], '1-0', 'r', 'x') redis.call('XRANGE', KEYS[2], '-', '+') redis.call('XLEN', KEYS[2])
         redis.call('XTRIM', KEYS[2], 'MINID', '1-0') redis.call('HDEL', KEYS[3], 'n') redis.call('ZADD', KEYS[5], 1, 'x')
         redis.call('ZRANGEBYSCORE', KEYS[5], 0, 1) redis.call('ZREM', KEYS[5], 'x') redis.call('PEXPIRE', KEYS[4], 1)
         return redis.call('EXISTS', KEYS[2])",
    ));
    assert_eq!(link.script(&script, &keys, &[], long).await.unwrap().int().unwrap(), 1);
    assert_eq!(link.xread_block(&keys[1], "0-0", 10, long).await.unwrap().len(), 1);
    assert_eq!(link.wait(1, Duration::from_millis(10)).await.unwrap(), 0);
    // The application's keys.
    redis.cli(&["SET", "session:1", "theirs"]);
    for foreign in ["session:1", "larder_api:1:a", "larder:2:a", "larder"] {
        assert_eq!(kind(store.get(foreign, 100)).await, SharedErrorKind::Denied, "{foreign}");
        assert!(store.remove(foreign, NO_TICKET).await.is_err(), "{foreign}");
    }
    let thief = Arc::new(Script::new("return redis.call('GETRANGE', 'session:1', 0, 9)"));
    assert!(link.script(&thief, &[], &[], long).await.is_err());
    let flush = Arc::new(Script::new("return redis.call('FLUSHALL')"));
    assert!(link.script(&flush, &[], &[], long).await.is_err());
    assert_eq!(redis.cli(&["GET", "session:1"]), "theirs");
    // Another password.
    let wrong = super::store(&place(&text));
    assert_eq!(kind(wrong.get(&at, 100)).await, SharedErrorKind::Auth);
}

#[tokio::test]
async fn a_password_of_the_default_user_is_sent_and_a_missing_one_is_an_error() {
    let redis = Redis::with().password(PASSWORD).start();
    let right = node(&format!("url: \"{}\", password: {{ env: P }}", redis.url()));
    let at = name(&right, "/a");
    put(&right, &at, "a").await;
    assert_eq!(kind(plain(&redis).get(&at, 100)).await, SharedErrorKind::Auth);
}

#[tokio::test]
async fn after_a_failover_the_new_primary_is_written_to() {
    let mut sentinels = Sentinels::start(1);
    let nodes: Vec<String> = sentinels.nodes().iter().map(|node| format!("\"{node}\"")).collect();
    let words = format!("sentinel: {{ nodes: [{}], service: {} }}", nodes.join(", "), Sentinels::SERVICE);
    let store = node(&words);
    let at = name(&store, "/a");
    put(&store, &at, "before").await;
    // What a failover must not lose here has reached the replica.
    let link = Links::new(&place(&words), RedisIo::start().unwrap()).unwrap();
    let link = link.open(&at, Duration::from_secs(20)).await.unwrap();
    wait::until_async("the replica has it", async || {
        (link.wait(1, Duration::from_secs(5)).await.unwrap() == 1).then_some(())
    })
    .await;
    let old = sentinels.primary_port();
    sentinels.fail_over();
    assert_ne!(sentinels.primary_port(), old);
    let ticket =
        wait::until_async("the new primary leads", async || match store.begin(&at, busting("after")).await {
            Ok(Begin::Lead { ticket, .. }) => Some(ticket),
            _ => None,
        })
        .await;
    wait::until_async("the new primary keeps", async || {
        store.commit(&at, offer(ticket, "after", "after")).await.ok()
    })
    .await;
    let kept = sentinels.primary().cli(&["GET", &at]);
    assert!(kept.ends_with("after"), "{kept}");
    assert_eq!(body(&store, &at).await.as_deref(), Some("after"));
}

#[tokio::test]
async fn a_service_that_no_sentinel_knows_is_an_error_that_says_so() {
    let sentinels = Sentinels::start(0);
    let words = format!("sentinel: {{ nodes: \"{}\", service: nobody }}", sentinels.nodes()[0]);
    let store = node(&words);
    let error = store.get(&name(&store, "/a"), 100).await.unwrap_err();
    assert!(error.text.contains("nobody"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_slots_may_move_while_entries_are_written_and_read() {
    let cluster = Cluster::start();
    let urls: Vec<String> = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect();
    let words = format!("cluster: [{}]", urls.join(", "));
    let store = node(&words);
    let at = name(&store, "/moving");
    for n in 0..30 {
        put(&store, &name(&store, &format!("/{n}")), "a").await;
    }
    put(&store, &at, "0").await;
    let moving = cluster.begin_move(&at);
    // Half moved: what is there is found, and what is not there is made at the new owner.
    assert_eq!(body(&store, &at).await.as_deref(), Some("0"));
    let traffic = async {
        for n in 1..=20 {
            let text = n.to_string();
            let token = format!("moving {n}");
            let ticket =
                wait::until_async("a lead", async || match store.begin(&at, busting(&token)).await {
                    Ok(Begin::Lead { ticket, .. }) => Some(ticket),
                    _ => None,
                })
                .await;
            wait::until_async("kept", async || store.commit(&at, offer(ticket, &text, &token)).await.ok())
                .await;
            let read = wait::until_async("read", async || store.get(&at, 1_000).await.ok()).await;
            assert!(read.unwrap().ends_with(text.as_bytes()));
        }
    };
    let finish = async {
        tokio::task::yield_now().await;
        tokio::task::block_in_place(|| cluster.finish_move(&at, moving));
    };
    tokio::join!(traffic, finish);
    assert_eq!(cluster.owner(&at), moving.1);
    assert_eq!(body(&store, &at).await.as_deref(), Some("20"));
    // A link goes to the node that has the key, and breaks when the slot moves away.
    let links = Links::new(&place(&words), RedisIo::start().unwrap()).unwrap();
    let long = Duration::from_secs(20);
    let link = links.open(&at, long).await.unwrap();
    let get = Arc::new(Script::new("return redis.call('GETRANGE', KEYS[1], 24, 99)"));
    let keys = [at.clone()];
    assert_eq!(link.script(&get, &keys, &[], long).await.unwrap().text().unwrap(), "20");
    let back = cluster.begin_move(&at);
    cluster.finish_move(&at, back);
    assert_eq!(link.script(&get, &keys, &[], long).await.unwrap_err().kind, SharedErrorKind::Moved);
    assert!(link.is_broken());
    let link = wait::until_async("a link to the new owner", async || links.open(&at, long).await.ok()).await;
    assert_eq!(link.script(&get, &keys, &[], long).await.unwrap().text().unwrap(), "20");
    // Clearing reaches every node, and leaves an application's keys.
    for node in cluster.nodes() {
        for n in 0..20 {
            node.cli(&["SET", &format!("session:{n}"), "theirs"]);
        }
    }
    assert_eq!(store.clear().await.unwrap(), 31);
    let left: Vec<String> = cluster.nodes().iter().flat_map(|node| node.keys(0)).collect();
    assert_eq!(left.len(), 20, "{left:?}");
    assert!(left.iter().all(|key| key.starts_with("session:")));
}
