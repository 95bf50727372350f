//! TLS, users, Sentinel, Cluster.

use larder::config;
use larder::purge::shared::redis::RedisLog;
use larder::purge::shared::{Cursor, Heard, Server, Taken};
use larder::purge::{Compared, Once};
use larder::store::redis::{Links, Script};
use larder::stored::seal::Texts;

use super::support::redis::{Certificates, Cluster, Sentinels};
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

/// Runs every script of the purge log, on each of its ways.
async fn the_log_at_work(redis: &Redis, place: &config::Redis) {
    let config = config::RedisLog { redis: place.clone(), replicas: None, keep: 1, encrypt: Vec::new() };
    let log = RedisLog::new(&config, Texts::default(), RedisIo::start().unwrap()).unwrap();
    let (lease, none) = (Duration::from_secs(20), Cursor::default());
    let started = log.start("node", None, 0, lease).await.unwrap();
    for n in 1..=3 {
        assert_eq!(log.append("id", b"purge").await.unwrap().first, n);
    }
    let read = log.read("node", started.standing.incarnation, &none, lease).await.unwrap();
    let Heard::Lines { lines, .. } = read else { panic!("{read:?}") };
    assert_eq!(lines.len(), 3, "nothing is trimmed that a node has not read");
    assert_eq!(log.leases().await.unwrap().1.len(), 1);
    log.leave("node").await.unwrap();
    assert_eq!(log.append("id", b"purge").await.unwrap().standing.floor, 3, "it is trimmed");
    log.news(0, lease).await.unwrap();
    redis.cli(&["DEL", "larder:1:{purge}:records"]);
    let floor = Cursor { seq: 3, id: "id".to_owned() };
    let lost = log.read("node", started.standing.incarnation, &floor, lease).await.unwrap();
    assert_eq!(lost, Heard::Anew, "what is lost is given up");
    log.renounce(started.standing.incarnation).await.unwrap();
    let counter = Compared { name: "hook:acme".into(), was: String::new(), becomes: "1".into() };
    let (body, said) = ("digest".into(), "told".into());
    let once = Once { name: "event".into(), body, said, remembered: lease, counter: Some(counter) };
    let taken = log.append_once(&[("id".into(), b"purge".to_vec())], &once).await.unwrap();
    assert!(matches!(taken, Taken::Placed(_)), "{taken:?}");
    let again = log.append_once(&[], &once).await.unwrap();
    assert!(matches!(again, Taken::Before(_)), "{again:?}");
}

#[tokio::test]
async fn the_shipped_user_may_do_all_that_larder_does_and_touch_nothing_else() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    let ticket = put(&store, &at, "a").await;
    assert_eq!(body(&store, &at).await.as_deref(), Some("a"));
    lead(&store, &at, busting("b")).await;
    assert!(store.renew(&at, "b", Duration::from_secs(1)).await.unwrap());
    assert!(store.release(&at, "b", "own").await.unwrap());
    assert!(store.remove(&at, ticket).await.unwrap());
    assert!(store.time().await.is_ok());
    assert_eq!(store.clear().await.unwrap(), 1);
    // What the log does, every script of it.
    the_log_at_work(&redis, &place(&words(&redis))).await;
    let links = Links::new(&place(&words(&redis)), RedisIo::start().unwrap()).unwrap();
    let long = Duration::from_secs(20);
    let link = links.open("larder:1:{purge}:state", long).await.unwrap();
    let keys: Vec<String> = ["state", "records"].map(|part| format!("larder:1:{{purge}}:{part}")).to_vec();
    let add = Arc::new(Script::new("return redis.call('XADD', KEYS[2], '9-0', 'r', 'x')"));
    link.script(&add, &keys, &[], long).await.unwrap();
    assert_eq!(link.xread_block(&keys[1], "8-0", 10, long).await.unwrap().len(), 1);
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
    let mut wrong = place(&words(&redis));
    wrong.password = larder::config::Password::new("another");
    assert_eq!(kind(super::store(&wrong).get(&at, 100)).await, SharedErrorKind::Auth);
}

#[tokio::test]
async fn a_password_of_the_default_user_is_sent_and_a_missing_one_is_an_error() {
    let redis = Redis::with().password(PASSWORD).start();
    let right = node(&format!("url: \"{}\", password: {{ env: P }}", redis.url()));
    let at = name(&right, "/a");
    put(&right, &at, "a").await;
    let none = node(&format!("url: \"{}\"", redis.url()));
    assert_eq!(kind(none.get(&at, 100)).await, SharedErrorKind::Auth);
}

#[tokio::test]
async fn after_a_failover_the_new_primary_is_written_to() {
    let mut sentinels = Sentinels::start(1, || Redis::with().file(&users()));
    let nodes: Vec<String> = sentinels.nodes().iter().map(|node| format!("\"{node}\"")).collect();
    let words =
        format!("sentinel: {{ nodes: [{}], service: {} }}, {USER}", nodes.join(", "), Sentinels::SERVICE);
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

/// Answers as a Sentinel that is behind: the primary is whoever listens on `port`.
fn sentinel_behind(port: u16) -> u16 {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut bytes = [0; 1_000];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let port = port.to_string();
                    let answer = match String::from_utf8_lossy(&bytes[..count]).contains("SENTINEL") {
                        true => format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()),
                        false => "+OK\r\n".to_owned(),
                    };
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    own
}

#[tokio::test]
async fn a_replica_that_a_sentinel_still_takes_for_the_primary_is_not_read() {
    let replica = Redis::with().file(&users()).option("replicaof", "127.0.0.1 1").start();
    let sentinel = sentinel_behind(replica.port());
    let store = node(&format!(
        "sentinel: {{ nodes: \"127.0.0.1:{sentinel}\", service: larder }}, {USER}, retries: 0"
    ));
    let error = store.get(&name(&store, "/a"), 100).await.unwrap_err();
    assert_eq!(error.kind, SharedErrorKind::ReadOnly, "{error}");
    // The same server alone is read: it is Sentinel that promises more.
    assert_eq!(body(&plain(&replica), &name(&store, "/a")).await, None);
}

#[tokio::test]
async fn a_service_that_no_sentinel_knows_is_an_error_that_says_so() {
    let sentinels = Sentinels::start(0, Redis::with);
    let words = format!("sentinel: {{ nodes: \"{}\", service: nobody }}", sentinels.nodes()[0]);
    let store = node(&words);
    let error = store.get(&name(&store, "/a"), 100).await.unwrap_err();
    assert!(error.text.contains("nobody"), "{error}");
}

#[tokio::test]
async fn in_a_cluster_every_node_is_spoken_to_with_tls() {
    let certificates = Certificates::new();
    let cluster = Cluster::start(|| Redis::with().file(&users()).tls_with(certificates.clone()));
    let folder = cluster.nodes()[0].file("");
    std::fs::write(folder.join("other.pem"), Certificates::new().ca).unwrap();
    let urls: Vec<String> = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect();
    assert!(urls.iter().all(|url| url.contains("rediss://")));
    let words =
        |ca: &str| format!("cluster: [{}], {USER}, tls: {{ ca: {ca} }}, timeout: 20s", urls.join(", "));
    let right = place_in(&words("ca.pem"), &folder);
    let store = super::store(&right);
    let mut owners = std::collections::BTreeSet::new();
    for n in 0..30 {
        let at = name(&store, &format!("/{n}"));
        put(&store, &at, "a").await;
        assert_eq!(body(&store, &at).await.as_deref(), Some("a"));
        owners.insert(cluster.owner(&at));
    }
    assert_eq!(owners.len(), 3, "all nodes had a part");
    let config = config::RedisLog { redis: right, replicas: None, keep: 1, encrypt: Vec::new() };
    let log = RedisLog::new(&config, Texts::default(), RedisIo::start().unwrap()).unwrap();
    log.start("node", None, 0, Duration::from_secs(20)).await.unwrap();
    assert_eq!(log.append("id", b"purge").await.unwrap().first, 1);
    let wrong = super::store(&place_in(&words("other.pem"), &folder));
    assert_eq!(wrong.get(&name(&wrong, "/0"), 100).await.unwrap_err().kind, SharedErrorKind::Io);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_slots_may_move_while_entries_are_written_and_read() {
    let cluster = Cluster::start(|| Redis::with().file(&users()));
    let urls: Vec<String> = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect();
    let words = format!("cluster: [{}], {USER}", urls.join(", "));
    let store = node(&words);
    let at = name(&store, "/moving");
    for n in 0..30 {
        put(&store, &name(&store, &format!("/{n}")), "a").await;
    }
    put(&store, &at, "0").await;
    let moving = cluster.begin_move(&at);
    // Half moved: what is there is found, and what is not there is made at the new owner.
    assert_eq!(body(&store, &at).await.as_deref(), Some("0"));
    assert_eq!(store.get(&format!("{at}:fill"), 100).await.unwrap(), None, "asked of the new owner");
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
