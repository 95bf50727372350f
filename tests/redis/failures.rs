//! What is left when a server stands still, dies, comes back empty, is full, or refuses.

use larder::store::redis::{Link, Links, Script};

use super::support::wait;
use super::*;

/// A deadline that a test waits for. The machine is shared: what a thread needs to get its turn is not Redis'.
const SHORT: Duration = Duration::from_millis(50);
const SLACK: Duration = Duration::from_secs(2);

fn hasty(redis: &Redis) -> RedisStore {
    store(&place(&format!("{}, timeout: 50ms, retries: 3, failures: 5", words(redis))))
}

/// How long it took.
async fn timed<T>(reply: larder::store::Reply<T>) -> (Result<T, larder::store::SharedError>, Duration) {
    let clock = Clock::system();
    let before = clock.now().mono;
    (reply.await, clock.now().mono - before)
}

/// Waits until the level answers again.
async fn recovered(store: &RedisStore, at: &str) {
    wait::until_async("Redis is used again", async || store.get(at, 1 << 20).await.ok()).await;
    wait::until("the breaker is closed", || store.health().breaker == "closed").await;
}

#[tokio::test]
async fn a_server_that_stands_still_costs_a_deadline_then_nothing_and_is_used_again_by_itself() {
    let mut redis = server();
    let store = hasty(&redis);
    let at = name(&store, "/a");
    wait::until_async("a first answer", async || store.get(&at, 100).await.ok()).await;
    redis.pause();
    for n in 0..5 {
        let (result, took) = timed(store.get(&at, 100)).await;
        assert_eq!(result.unwrap_err().kind, SharedErrorKind::Timeout, "operation {n}");
        assert!(took >= SHORT && took < SHORT + SLACK, "operation {n}: {took:?}");
    }
    assert_eq!(store.health().breaker, "open");
    assert_eq!(kind(store.get(&at, 100)).await, SharedErrorKind::Open);
    assert_eq!(kind(store.begin(&at, claim("t"))).await, SharedErrorKind::Open);
    // Now and then one operation tries, and finds it still standing.
    wait::until_async("a trial", async || {
        let error = store.get(&at, 100).await.unwrap_err().kind;
        (error == SharedErrorKind::Timeout).then_some(())
    })
    .await;
    assert_eq!(kind(store.get(&at, 100)).await, SharedErrorKind::Open);
    redis.resume();
    recovered(&store, &at).await;
}

#[tokio::test]
async fn who_only_looks_sees_that_a_server_is_back() {
    let mut redis = server();
    let store = hasty(&redis);
    let at = name(&store, "/a");
    wait::until_async("a first answer", async || store.get(&at, 100).await.ok()).await;
    redis.kill();
    wait::until_async("the breaker opens", async || {
        (kind(store.get(&at, 100)).await == SharedErrorKind::Open).then_some(())
    })
    .await;
    assert_eq!(store.health().breaker, "open");
    redis.restart();
    wait::until("the breaker is closed", || store.health().breaker == "closed").await;
}

#[tokio::test]
async fn a_server_that_was_killed_and_comes_back_empty_is_used_again_by_itself() {
    let mut redis = server();
    let store = hasty(&redis);
    let at = name(&store, "/a");
    wait::until_async("an entry", async || {
        let Begin::Lead { ticket, .. } = store.begin(&at, busting("t")).await.ok()? else { return None };
        store.commit(&at, offer(ticket, "a", "t")).await.ok()
    })
    .await;
    redis.kill();
    let mut kinds = Vec::new();
    for _ in 0..6 {
        kinds.push(kind(store.get(&at, 100)).await);
    }
    assert_eq!(kinds.pop(), Some(SharedErrorKind::Open), "{kinds:?}");
    assert!(
        kinds.iter().all(|kind| matches!(kind, SharedErrorKind::Io | SharedErrorKind::Timeout)),
        "{kinds:?}"
    );
    redis.restart();
    recovered(&store, &at).await;
    // Empty: the scripts are gone too.
    wait::until_async("a lead", async || store.begin(&at, claim("t")).await.ok()).await;
}

#[tokio::test]
async fn an_operation_is_tried_again_when_its_connection_was_cut() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    put(&store, &at, "a").await;
    for _ in 0..8 {
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert_eq!(body(&store, &at).await.as_deref(), Some("a"));
    }
    let health = store.health();
    assert!(health.retries <= 10 && health.failures == 0, "{health:?}");
}

/// A way to a server on which the first replies to `command` are lost, each with its connection. Returns its port.
fn losing(redis: &Redis, command: &'static str, replies: usize) -> u16 {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (own, port) = (listener.local_addr().unwrap().port(), redis.port());
    let left = Arc::new(std::sync::Mutex::new(replies));
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let left = Arc::clone(&left);
            std::thread::spawn(move || -> std::io::Result<()> {
                let (mut server, mut bytes) = (TcpStream::connect(("127.0.0.1", port))?, [0; 10_000]);
                // One question at a time, and its answer.
                while let count @ 1.. = client.read(&mut bytes)? {
                    let hit = String::from_utf8_lossy(&bytes[..count]).contains(command);
                    server.write_all(&bytes[..count])?;
                    let count = server.read(&mut bytes)?;
                    let mut left = left.lock().unwrap();
                    if hit && *left > 0 {
                        *left -= 1;
                        return Ok(());
                    }
                    client.write_all(&bytes[..count])?;
                }
                Ok(())
            });
        }
    });
    own
}

#[tokio::test]
async fn what_was_done_and_not_answered_is_asked_again_with_the_same_outcome() {
    let redis = server();
    let direct = plain(&redis);
    // The scripts are known from here on.
    put(&direct, &name(&direct, "/warm"), "a").await;
    for lost in 1..=4 {
        let at = name(&direct, &format!("/{lost}"));
        let through = |command| {
            let port = losing(&redis, command, lost);
            node(&format!("url: \"redis://127.0.0.1:{port}\", {USER}, connections: 1, retries: 3"))
        };
        let store = through("EVALSHA");
        let begun = store.begin(&at, claim("one")).await;
        assert_eq!(store.health().retries, lost.min(3) as u64);
        if lost > 3 {
            assert_eq!(begun.unwrap_err().kind, SharedErrorKind::Io);
            continue;
        }
        let Begin::Lead { ticket, .. } = begun.unwrap() else { panic!() };
        assert_eq!(lead(&direct, &at, claim("one")).await, ticket, "all were one");
        let store = through("EVALSHA");
        assert_eq!(store.commit(&at, offer(ticket, "a", "one")).await.unwrap(), Committed::Kept);
        assert_eq!(body(&through("GETRANGE"), &at).await.as_deref(), Some("a"));
    }
}

#[tokio::test]
async fn c2_five_failures_open_the_breaker_and_an_operation_is_tried_three_times_more_unless_the_file_says_otherwise()
 {
    let nowhere = store(&place(&format!("url: \"redis://127.0.0.1:{}\"", support::redis::free_port())));
    let at = name(&nowhere, "/a");
    for n in 0..5 {
        assert_eq!((nowhere.health().breaker, nowhere.health().failures), ("closed", n));
        assert_ne!(kind(nowhere.get(&at, 100)).await, SharedErrorKind::Open);
    }
    assert_eq!((nowhere.health().breaker, nowhere.health().failures), ("open", 5));
    assert_eq!(kind(nowhere.get(&at, 100)).await, SharedErrorKind::Open);
    let redis = server();
    for (lost, comes) in [(3, true), (4, false)] {
        let port = losing(&redis, "GETRANGE", lost);
        let store = node(&format!("url: \"redis://127.0.0.1:{port}\", {USER}, connections: 1"));
        assert_eq!((store.get(&at, 100).await.is_ok(), store.health().retries), (comes, 3), "{lost} lost");
    }
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_is_read_all_the_same() {
    let redis = Redis::with().file(&users()).option("maxmemory-policy", "noeviction").start();
    let store = plain(&redis);
    let at = name(&store, "/a");
    let ticket = put(&store, &at, "a").await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..8 {
        assert_eq!(kind(store.commit(&at, offer(ticket + 1, "b", "t"))).await, SharedErrorKind::Full);
        assert_eq!(body(&store, &at).await.as_deref(), Some("a"));
    }
    assert_eq!(store.health().breaker, "closed");
}

#[tokio::test]
async fn nobody_waits_long_where_nobody_listens() {
    let port = support::redis::free_port();
    let store = store(&place(&format!("url: \"redis://127.0.0.1:{port}\", failures: 3")));
    let at = name(&store, "/a");
    for _ in 0..3 {
        let (result, took) = timed(store.get(&at, 100)).await;
        assert!(matches!(result.unwrap_err().kind, SharedErrorKind::Io | SharedErrorKind::Timeout));
        assert!(took < SHORT + SLACK, "{took:?}");
    }
    let health = store.health();
    assert_eq!((health.breaker, health.connections, health.failures), ("open", 0, 3));
    assert!(health.last_error.is_some());
}

const LONG: Duration = Duration::from_secs(20);

async fn link(redis: &Redis) -> Link {
    Links::new(&place(&words(redis)), RedisIo::start().unwrap())
        .unwrap()
        .open("larder:1:{purge}:state", LONG)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_link_runs_scripts_reads_streams_and_breaks_for_good() {
    let mut redis = server();
    let link = link(&redis).await;
    let stream = "larder:1:{purge}:records";
    let add = Arc::new(Script::new("return redis.call('XADD', KEYS[1], ARGV[1], 'r', ARGV[2])"));
    let args = |id: &'static str| [Bytes::from_static(id.as_bytes()), Bytes::from_static(b"record")];
    for id in ["1-0", "2-0"] {
        let reply = link.script(&add, &[stream.to_owned()], &args(id), LONG).await.unwrap();
        assert_eq!(reply.text().unwrap(), id);
    }
    let records = link.xread_block(stream, "1-0", 10, LONG).await.unwrap();
    assert_eq!((records.len(), &*records[0].id), (1, "2-0"));
    assert_eq!(records[0].fields, [(Bytes::from_static(b"r"), Bytes::from_static(b"record"))]);
    assert!(link.xread_block(stream, "2-0", 10, Duration::from_millis(20)).await.unwrap().is_empty());
    // No replica: the number says so, and the link stays.
    assert_eq!(link.wait(1, Duration::from_millis(20)).await.unwrap(), 0);
    // An error that Redis says breaks nothing.
    let error = link.script(&add, &[stream.to_owned()], &args("1-0"), LONG).await.unwrap_err();
    assert_eq!(error.kind, SharedErrorKind::Refused);
    assert!(!link.is_broken());
    redis.pause();
    let error = link.script(&add, &[stream.to_owned()], &args("3-0"), SHORT).await.unwrap_err();
    assert_eq!(error.kind, SharedErrorKind::Timeout);
    redis.resume();
    // Whatever was written over it: nobody may take a number of another connection for its own.
    assert!(link.is_broken());
    assert_eq!(link.wait(0, SHORT).await.unwrap_err().kind, SharedErrorKind::Io);
}
