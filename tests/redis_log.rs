//! The purge log in real Redis servers: each step of it, and what becomes of it when a server is emptied, replaced or loses
//! records.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by a panic

mod support;

use std::time::Duration;

use larder::config::read::ReadContext;
use larder::config::{Config, RedisLog as LogConfig};
use larder::purge::shared::redis::{RECORD, RedisLog};
use larder::purge::shared::{
    Appended, Away, Cursor, Heard, Lease, Line, Remembered, Server, Standing, Taken,
};
use larder::purge::{Compared, Once};
use larder::store::redis::RedisIo;
use larder::stored::seal::{SealKey, Texts};
use support::redis::{Cluster, Redis, Sentinels};
use support::wait;

const LEASE: Duration = Duration::from_secs(60);
const LONG: &str = "timeout: 20s";

fn config(redis: &str, more: &str, timeout: &str) -> LogConfig {
    let yaml = format!(
        "origins: {{ app: {{ url: \"http://127.0.0.1:9\" }} }}\nroutes: [{{ name: all, path: \"/{{*rest}}\" }}]\n\
         purge: {{ log: {{ redis: {{ {redis}, {timeout} }}{more} }} }}\n"
    );
    let context =
        ReadContext::of("test.yaml".as_ref()).with_env(|_| Some("a-long-password-of-larder".to_owned()));
    let read = Config::from_yaml(&yaml, &context).unwrap_or_else(|errors| panic!("{errors:#?}"));
    (**read.purging.log.as_ref().unwrap()).clone()
}

fn log(redis: &str, more: &str) -> RedisLog {
    made(redis, more, LONG, &[])
}

fn log_within(redis: &str, more: &str, timeout: &str) -> RedisLog {
    made(redis, more, timeout, &[])
}

fn encrypted(redis: &str, secrets: &[&str]) -> RedisLog {
    made(redis, "", LONG, secrets)
}

fn made(redis: &str, more: &str, timeout: &str, secrets: &[&str]) -> RedisLog {
    let keys = secrets.iter().map(|secret| SealKey::new(secret.repeat(32).as_bytes()).unwrap()).collect();
    let texts = Texts::new(RECORD, keys).unwrap();
    RedisLog::new(&config(redis, more, timeout), texts, RedisIo::start().unwrap()).unwrap()
}

fn at(redis: &Redis) -> String {
    format!("url: \"{}\"", redis.url())
}

fn cursor(seq: u64, id: &str) -> Cursor {
    Cursor { seq, id: id.to_owned() }
}

/// What a node reads from here on.
async fn read(log: &RedisLog, standing: &Standing, seq: u64, id: &str) -> Heard {
    log.read("n1", standing.incarnation, &cursor(seq, id), LEASE).await.unwrap()
}

fn lines(heard: Heard) -> Vec<Line> {
    let Heard::Lines { lines, .. } = heard else { panic!("{heard:?}") };
    lines
}

fn names(heard: Heard) -> Vec<(u64, String)> {
    lines(heard).into_iter().map(|line| (line.seq, line.id)).collect()
}

async fn fill(log: &RedisLog, from: u64, to: u64) {
    for n in from..=to {
        assert_eq!(log.append(&format!("r{n}"), b"a purge").await.unwrap().first, n);
    }
}

#[tokio::test]
async fn records_are_numbered_without_a_gap_and_read_from_any_of_them_on() {
    let redis = Redis::start();
    let log = log(&at(&redis), "");
    let begun = log.start("n1", None, 0, LEASE).await.unwrap();
    assert_eq!((begun.standing.seq, begun.standing.floor, begun.floor), (0, 0, Cursor::default()));
    assert_eq!(names(read(&log, &begun.standing, 0, "").await), []);
    fill(&log, 1, 3).await;
    let all = lines(read(&log, &begun.standing, 0, "").await);
    assert_eq!(all[0], Line { seq: 1, id: "r1".into(), time: all[0].time, purge: b"a purge".to_vec() });
    assert!(all[0].time >= begun.standing.now && all[2].time >= all[0].time);
    assert_eq!(names(read(&log, &begun.standing, 2, "r2").await), [(3, "r3".to_owned())]);
    let (standing, leases) = log.leases().await.unwrap();
    assert_eq!((standing.seq, leases.len(), leases[0].cursor), (3, 1, 2), "what was read before is applied");
    assert!(leases[0].until > standing.now + 50_000);
    // Only what is still as it was seen is forgotten.
    let seen = leases[0].clone();
    read(&log, &begun.standing, 3, "r3").await;
    log.forget(&seen).await.unwrap();
    let renewed = log.leases().await.unwrap().1;
    assert_eq!((renewed.len(), renewed[0].cursor), (1, 3));
    log.start("n2", None, 0, LEASE).await.unwrap();
    log.forget(&renewed[0]).await.unwrap();
    let others = |leases: Vec<Lease>| leases.into_iter().map(|lease| lease.node).collect::<Vec<_>>();
    assert_eq!(others(log.leases().await.unwrap().1), ["n2"]);
    log.leave("n2").await.unwrap();
    assert_eq!(log.leases().await.unwrap().1, []);
}

#[tokio::test]
async fn another_record_at_the_cursor_is_noticed_and_the_log_is_renounced() {
    let redis = Redis::start();
    let log = log(&at(&redis), "");
    let begun = log.start("n1", None, 0, LEASE).await.unwrap();
    fill(&log, 1, 2).await;
    assert_eq!(read(&log, &begun.standing, 2, "another").await, Heard::Diverged);
    assert_eq!(read(&log, &begun.standing, 7, "r7").await, Heard::Diverged, "a record that was lost");
    log.renounce(begun.standing.incarnation).await.unwrap();
    assert_eq!(read(&log, &begun.standing, 2, "r2").await, Heard::Anew);
    let other = log.start("n1", Some(begun.standing.incarnation), 2, LEASE).await.unwrap();
    assert_ne!(other.standing.incarnation, begun.standing.incarnation);
    assert_eq!(log.leases().await.unwrap().1[0].cursor, 0, "of another log it has applied nothing");
    // Who heard of it late does not renounce it once more.
    log.renounce(begun.standing.incarnation).await.unwrap();
    assert_eq!(log.leases().await.unwrap().0.incarnation, other.standing.incarnation);
}

#[tokio::test]
async fn trimming_stops_at_what_a_node_with_a_lease_has_not_applied() {
    let redis = Redis::start();
    let log = log(&at(&redis), ", keep: 100");
    let begun = log.start("n1", None, 0, LEASE).await.unwrap();
    fill(&log, 1, 150).await;
    let heard = read(&log, &begun.standing, 0, "").await;
    assert_eq!(lines(heard).len(), 64, "nothing is trimmed, and not all is read at once");
    assert_eq!(names(read(&log, &begun.standing, 149, "r149").await), [(150, "r150".to_owned())]);
    fill(&log, 151, 151).await;
    let (standing, _) = log.leases().await.unwrap();
    assert_eq!((standing.seq, standing.floor), (151, 51));
    // Who comes from before the floor begins anew, at the floor.
    assert_eq!(read(&log, &standing, 50, "r50").await, Heard::Anew);
    let begun = log.start("n2", None, 0, LEASE).await.unwrap();
    assert_eq!(begun.floor, cursor(51, "r51"));
    assert_eq!(names(read(&log, &standing, 51, "r51").await)[0], (52, "r52".to_owned()));
    assert_eq!(read(&log, &standing, 51, "another").await, Heard::Diverged);
}

#[tokio::test]
async fn numbers_that_no_log_comes_to_are_not_followed() {
    let redis = Redis::start();
    let log = log(&at(&redis), "");
    log.start("n1", None, 0, LEASE).await.unwrap();
    for field in ["seq", "floor"] {
        for number in ["9007199254740992", "9223372036854774784", "1e300", "-5"] {
            redis.cli(&["HSET", "larder:1:{purge}:state", field, number]);
            assert!(log.start("n1", None, 0, LEASE).await.is_err(), "{field} {number}");
        }
        redis.cli(&["HSET", "larder:1:{purge}:state", field, "0"]);
        log.start("n1", None, 0, LEASE).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_begins_again_below_the_floor_has_not_applied_what_is_between() {
    let redis = Redis::start();
    let log = log(&at(&redis), ", keep: 100");
    let known = log.start("n1", None, 0, Duration::from_millis(1)).await.unwrap().standing.incarnation;
    fill(&log, 1, 150).await;
    let again = log.start("n1", Some(known), 0, LEASE).await.unwrap();
    assert_eq!((again.standing.incarnation, again.floor.seq), (known, 50));
    assert_eq!(log.leases().await.unwrap().1[0].cursor, 0, "it does not know of the floor yet");
}

#[tokio::test]
async fn records_that_are_gone_are_given_up_by_everybody_and_reading_goes_on() {
    let redis = Redis::start();
    let log = log(&at(&redis), "");
    let begun = log.start("n1", None, 0, LEASE).await.unwrap();
    fill(&log, 1, 5).await;
    redis.cli(&["DEL", "larder:1:{purge}:records"]);
    assert_eq!(read(&log, &begun.standing, 3, "r3").await, Heard::Anew);
    let again = log.start("n1", Some(begun.standing.incarnation), 3, LEASE).await.unwrap();
    assert_eq!((again.standing.incarnation, again.floor), (begun.standing.incarnation, cursor(5, "")));
    assert_eq!(names(read(&log, &again.standing, 5, "").await), []);
    fill(&log, 6, 6).await;
    assert_eq!(names(read(&log, &again.standing, 5, "").await), [(6, "r6".to_owned())]);
}

#[tokio::test]
async fn a_flush_and_a_restart_each_make_another_incarnation() {
    let mut redis = Redis::start();
    let log = log(&at(&redis), "");
    let first = log.start("n1", None, 0, LEASE).await.unwrap().standing;
    fill(&log, 1, 2).await;
    redis.cli(&["FLUSHALL"]);
    assert_eq!(read(&log, &first, 2, "r2").await, Heard::Anew);
    let flushed = log.start("n1", Some(first.incarnation), 2, LEASE).await.unwrap().standing;
    assert_ne!(flushed.incarnation, first.incarnation);
    assert_eq!((flushed.seq, flushed.floor), (0, 0));
    redis.kill();
    assert!(log.append("lost", b"a purge").await.is_err());
    redis.restart();
    let restarted = begin(&log).await;
    assert!(![first.incarnation, flushed.incarnation].contains(&restarted.incarnation));
    assert_eq!(log.append("r1", b"a purge").await.unwrap().first, 1);
}

/// A node that begins, once the server is there.
async fn begin(log: &RedisLog) -> Standing {
    let started = async || log.start("n1", None, 0, LEASE).await.ok();
    wait::until_async("the log is there", started).await.standing
}

#[tokio::test]
async fn a_restart_with_everything_it_had_makes_another_incarnation_too() {
    let mut redis = Redis::with().option("save", "3600 1").start();
    let log = log(&at(&redis), "");
    let first = log.start("n1", None, 0, LEASE).await.unwrap().standing;
    fill(&log, 1, 2).await;
    redis.cli(&["SAVE"]);
    redis.kill();
    redis.restart();
    let again = begin(&log).await;
    assert_ne!(again.incarnation, first.incarnation, "what was confirmed after the last snapshot is lost");
    assert_eq!(again.seq, 2);
}

#[tokio::test]
async fn where_replicas_exist_nothing_counts_that_none_of_them_confirmed() {
    let sentinels = Sentinels::start(1, Redis::with);
    let nodes = sentinels.nodes();
    let place = format!("sentinel: {{ nodes: [{}], service: larder }}", quoted(&nodes));
    let log = log(&place.replace("service: larder", &format!("service: {}", Sentinels::SERVICE)), "");
    let first = log.start("n1", None, 0, LEASE).await.unwrap().standing;
    assert_eq!(log.append("r1", b"a purge").await.unwrap().first, 1);
    let Heard::Lines { confirmed: true, .. } = read(&log, &first, 0, "").await else {
        panic!("not confirmed")
    };
    placed(log.append_once(&purges(&["r2"]), &event("e1", "", "1")).await.unwrap());
    let old = sentinels.primary_port();
    sentinels.fail_over();
    let again = wait::until_async("the new primary is there", async || {
        let started = log.start("n1", None, 0, LEASE).await.ok()?;
        (sentinels.primary_port() != old && started.standing.incarnation != first.incarnation)
            .then_some(started)
    })
    .await;
    assert_eq!(again.standing.seq, 2, "what was confirmed is there");
    let Taken::Before(known) = log.append_once(&purges(&["r3"]), &event("e1", "", "1")).await.unwrap() else {
        panic!("what was confirmed is forgotten")
    };
    assert_eq!((known.standing.seq, known.standing.incarnation), (2, again.standing.incarnation));
}

/// An event, whose counter is thought to be `was`.
fn event(name: &str, was: &str, becomes: &str) -> Once {
    let counter = Compared { name: "shop:acme".into(), was: was.into(), becomes: becomes.into() };
    Once {
        name: name.into(),
        body: "a digest".into(),
        said: "{}".into(),
        remembered: LEASE,
        counter: (!becomes.is_empty()).then_some(counter),
    }
}

fn purges(ids: &[&str]) -> Vec<(String, Vec<u8>)> {
    ids.iter().map(|id| ((*id).to_owned(), b"a purge".to_vec())).collect()
}

/// The first and the last number that the purges got.
fn placed(taken: Taken) -> (u64, u64) {
    let Taken::Placed(Appended { standing, first }) = taken else { panic!("{taken:?}") };
    (first, standing.seq)
}

#[tokio::test]
async fn an_event_its_purges_and_its_counter_go_in_one_step() {
    let redis = Redis::start();
    let log = log(&at(&redis), "");
    let begun = log.start("n1", None, 0, LEASE).await.unwrap();
    let three = purges(&["a", "b", "c"]);
    assert_eq!(placed(log.append_once(&three, &event("e1", "", "7")).await.unwrap()), (1, 3));
    let all = names(read(&log, &begun.standing, 0, "").await);
    assert_eq!(all, [(1, "a".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())]);
    // Another purge comes in between; what is remembered is of then.
    fill(&log, 4, 4).await;
    for counter in ["", "7", "nonsense"] {
        let Taken::Before(known) =
            log.append_once(&purges(&["x"]), &event("e1", counter, "9")).await.unwrap()
        else {
            panic!("taken twice")
        };
        let Remembered { standing, id, body, said } = known;
        assert_eq!((standing.seq, id.as_str(), body.as_str(), said.as_str()), (3, "c", "a digest", "{}"));
    }
    // Where the counter is another nothing happens, and nothing is remembered.
    for counter in ["", "6"] {
        let taken = log.append_once(&purges(&["x"]), &event("e2", counter, "8")).await.unwrap();
        assert_eq!(taken, Taken::Counted("7".into()));
    }
    assert_eq!(log.leases().await.unwrap().0.seq, 4);
    assert_eq!(
        placed(log.append_once(&[], &event("e2", "7", "8")).await.unwrap()),
        (5, 4),
        "nothing to purge"
    );
    assert_eq!(placed(log.append_once(&purges(&["d"]), &event("e3", "", "")).await.unwrap()), (5, 5));
    let Taken::Before(known) = log.append_once(&[], &event("e2", "", "")).await.unwrap() else { panic!() };
    assert_eq!((known.id.as_str(), known.standing.seq), ("", 4));
    assert_eq!(redis.cli(&["HGETALL", "larder:1:{purge}:counters"]), "shop:acme\n8");
}

#[tokio::test]
async fn b9_with_a_key_nothing_is_in_clear_and_what_no_key_fits_says_nothing() {
    let redis = Redis::start();
    let place = at(&redis);
    let (first, both, second) =
        (encrypted(&place, &["a"]), encrypted(&place, &["b", "a"]), encrypted(&place, &["b"]));
    let begun = first.start("n1", None, 0, LEASE).await.unwrap();
    let purge = vec![("r1".to_owned(), b"of alice@example.org".to_vec())];
    let once = Once { said: "told of alice".into(), ..event("e1", "", "1") };
    placed(first.append_once(&purge, &once).await.unwrap());
    assert_eq!(both.append("r2", b"of bob@example.org").await.unwrap().first, 2);
    let shows = |word| {
        let find = "local all = '' for _, k in ipairs(redis.call('KEYS', '*')) do all = all .. redis.call('DUMP', k) end \
                    return tostring(all:find(ARGV[1], 1, true) ~= nil)";
        redis.cli(&["EVAL", find, "0", word]) == "true"
    };
    assert!(["alice", "bob", "told", "example.org"].iter().all(|word| !shows(word)));
    // By rotation each reads what it has a key for; the rest says nothing, which the fence takes for everything.
    let said = async |log: &RedisLog| {
        log.start("n1", None, 0, LEASE).await.unwrap();
        let read = lines(read(log, &begun.standing, 0, "").await);
        read.iter().map(|line| String::from_utf8(line.purge.clone()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(said(&both).await, ["of alice@example.org", "of bob@example.org"]);
    assert_eq!(said(&first).await, ["of alice@example.org", ""]);
    assert_eq!(said(&second).await, ["", "of bob@example.org"]);
    for (log, told) in [(&both, "told of alice"), (&second, "")] {
        let Taken::Before(known) = log.append_once(&purge, &once).await.unwrap() else {
            panic!("taken twice")
        };
        assert_eq!((known.id.as_str(), known.said.as_str()), ("r1", told));
    }
    // Nor does what was never encrypted, or belongs to another record.
    let plain = log(&place, "");
    assert_eq!(plain.append("r3", b"of nobody").await.unwrap().first, 3);
    assert!(shows("nobody"), "what is in clear is found");
    let moved = "local r = redis.call('XRANGE', KEYS[1], '1-0', '1-0')[1][2] redis.call('XADD', KEYS[1], '4-0', 'id', 'r4', 'time', \
                 r[4], 'purge', r[6]) redis.call('HSET', KEYS[2], 'seq', '4')";
    redis.cli(&["EVAL", moved, "2", "larder:1:{purge}:records", "larder:1:{purge}:state"]);
    assert_eq!(said(&both).await, ["of alice@example.org", "of bob@example.org", "", ""]);
}

#[tokio::test]
async fn an_event_that_no_replica_confirmed_is_not_acknowledged_to_who_sends_it_again_at_another_node() {
    let primary = Redis::start();
    let at_primary = at(&primary);
    let mut replica = Redis::with().option("replicaof", format!("127.0.0.1 {}", primary.port())).start();
    wait::until("the replica follows", || primary.cli(&["INFO", "replication"]).contains("state=online"))
        .await;
    let sure = log(&at_primary, "");
    placed(sure.append_once(&purges(&["r1"]), &event("e1", "", "")).await.unwrap());
    replica.pause();
    let again = || log_within(&at_primary, "", "timeout: 300ms");
    for node in [again(), again()] {
        let Err(Away(why)) = node.append_once(&purges(&["r2"]), &event("e2", "", "")).await else {
            panic!("acknowledged")
        };
        assert!(why.contains("replicas"), "{why}");
    }
    replica.resume();
    let Taken::Before(known) = sure.append_once(&purges(&["r2"]), &event("e2", "", "")).await.unwrap() else {
        panic!("it took effect twice")
    };
    assert_eq!((known.standing.seq, known.id.as_str()), (2, "r2"));
}

#[tokio::test]
async fn counters_are_bounded() {
    let redis = Redis::start();
    let log = log(&at(&redis), "");
    let full = "for n = 1, 65536 do redis.call('HSET', KEYS[1], n, '1') end";
    redis.cli(&["EVAL", full, "1", "larder:1:{purge}:counters"]);
    redis.cli(&["HSET", "larder:1:{purge}:counters", "shop:acme", "1"]);
    placed(log.append_once(&[], &event("e1", "1", "2")).await.unwrap());
    let fields = || redis.cli(&["HLEN", "larder:1:{purge}:counters"]);
    assert_eq!(fields(), "65537", "one that is known goes on");
    redis.cli(&["HDEL", "larder:1:{purge}:counters", "shop:acme"]);
    placed(log.append_once(&[], &event("e2", "", "1")).await.unwrap());
    assert_eq!(fields(), "1");
}

fn quoted(nodes: &[String]) -> String {
    nodes.iter().map(|node| format!("\"{node}\"")).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn in_a_cluster_the_whole_log_lies_in_one_slot() {
    let cluster = Cluster::start(Redis::with);
    let log = log(&format!("cluster: [{}]", quoted(&cluster.urls())), "");
    let first = log.start("n1", None, 0, LEASE).await.unwrap().standing;
    fill(&log, 1, 3).await;
    assert_eq!(names(read(&log, &first, 1, "r1").await).len(), 2);
    assert_eq!(placed(log.append_once(&purges(&["r4"]), &event("e1", "", "1")).await.unwrap()), (4, 4));
}

#[tokio::test]
async fn a_purge_that_is_too_large_for_the_log_is_refused() {
    let redis = Redis::start();
    let log = log(&at(&redis), "");
    log.start("n1", None, 0, LEASE).await.unwrap();
    let Err(Away(why)) = log.append("huge", &vec![b'x'; 5 << 20]).await else { panic!("taken") };
    assert!(why.contains("name fewer things"), "{why}");
    assert_eq!(log.leases().await.unwrap().0.seq, 0);
}
