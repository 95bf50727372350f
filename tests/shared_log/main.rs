//! The real follower, sequencer and fence of several nodes over a server of the log that fails in every way, with time
//! that is paused: many seeded runs of the same simulation. A reader that gets less than an acknowledged purge promised
//! is a failure, and each rule that is left out leads to one. So is an event that takes effect twice.
//!
//! Time is paused and moves on where everybody waits: whoever sleeps here takes no time.
//!
//! `LARDER_SIMULATIONS` sets another number of runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by a panic

mod acknowledged;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::clock::Clock;
use larder::config::Wait;
use larder::key::{CacheKey, KeyParts, Owner};
use larder::policy::Validity;
use larder::purge::shared::{Followed, Members, Server, Terms, Times, open};
use larder::purge::{
    Coverage, Fence, Handling, Limits, Mark, Once, Purge, Recorded, Selector, Where, random_id,
};
use larder::stored::{Position, Selectors};
use server::{Shared, Way, Without, empty};
use tokio::time::sleep;

const TAGS: usize = 3;
const NODES: usize = 3;
const BOUND: Duration = Duration::from_millis(400);
const TIMES: Times = Times { bound: BOUND, pause: Duration::from_millis(5) };

/// A response: which version of the tagged thing it shows, and from when it is.
#[derive(Debug, Clone, Copy)]
struct Shown {
    version: u64,
    begun_at: Position,
}

struct Node {
    name: String,
    fence: Arc<Fence>,
    members: Members,
    memory: Mutex<BTreeMap<usize, Shown>>,
}

#[derive(Default)]
struct World {
    /// The origin's versions of each thing.
    versions: Mutex<[u64; TAGS]>,
    /// What is promised to everybody.
    promised: Mutex<[u64; TAGS]>,
    /// The shared level.
    level: Mutex<BTreeMap<usize, (u64, Mark)>>,
    broken: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<&'static str, usize>>,
}

impl World {
    fn change(&self, tag: usize) -> u64 {
        let mut versions = self.versions.lock().unwrap();
        versions[tag] += 1;
        versions[tag]
    }

    fn promise(&self, what: &'static str, tag: usize, version: u64) {
        self.count(what);
        let mut promised = self.promised.lock().unwrap();
        promised[tag] = promised[tag].max(version);
    }

    /// No event has two records.
    fn only_once(&self, shared: &Shared) {
        let mut found = BTreeSet::new();
        for event in shared.ids().filter_map(|id| Some(id.split_once('#')?.0)) {
            if !found.insert(event) {
                self.broken.lock().unwrap().push(format!("{event} took effect twice"));
            }
        }
    }

    fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }
}

fn selectors(tag: usize) -> Selectors {
    let path = format!("/{tag}");
    let key = CacheKey::new(&KeyParts {
        https: false,
        authority: "a",
        owner: &Owner::Public,
        route: "r",
        method: "GET",
        path: &path,
        query: None,
        selecting: &[],
    })
    .unwrap();
    Coverage { owner: &Owner::Public, authority: "a", target: &path, route: "r", store: 0, key: &key }
        .selectors(vec![format!("t{tag}").into()])
}

impl Node {
    fn is_valid(&self, tag: usize, from: Position, clock: &Clock) -> bool {
        self.fence.is_proven(clock.now())
            && self.fence.check(&selectors(tag), from, None).0 == Validity::Valid
    }

    /// Reads one thing, as a request would: from memory, from the shared level, from the origin.
    async fn read(&self, tag: usize, world: &World, clock: &Clock, slow: u64) {
        let promised = world.promised.lock().unwrap()[tag];
        let kept = self.memory.lock().unwrap().get(&tag).copied();
        let shared = world.level.lock().unwrap().get(&tag).copied();
        let brought =
            shared.and_then(|(version, mark)| Some(Shown { version, begun_at: self.fence.position(mark)? }));
        for (found, level) in [(kept, "memory"), (brought, "shared level")] {
            let Some(found) = found.filter(|found| self.is_valid(tag, found.begun_at, clock)) else {
                continue;
            };
            world.count(level);
            if found.version < promised {
                let what =
                    format!("{} served {found:?} of {tag} from {level}, {promised} was promised", self.name);
                world.broken.lock().unwrap().push(what);
            }
            self.memory.lock().unwrap().insert(tag, found);
            return;
        }
        world.count("origin");
        let begun_at = self.fence.current(selectors(tag).stripe);
        sleep(Duration::from_millis(slow / 2)).await;
        let version = world.versions.lock().unwrap()[tag];
        sleep(Duration::from_millis(slow)).await;
        self.memory.lock().unwrap().insert(tag, Shown { version, begun_at });
        if let Some(mark) = self.fence.mark(begun_at) {
            world.level.lock().unwrap().insert(tag, (version, mark));
        }
    }

    /// Changes one thing, and purges it.
    async fn write(&self, tag: usize, handling: Handling, world: &World, clock: &Clock) {
        let version = world.change(tag);
        let purge = Purge::hard(vec![Selector::Tag(format!("t{tag}").into())], Where::All);
        let underway = self.fence.hand_over(random_id(), purge, handling, clock.now());
        if handling == Handling::Insist {
            let kept = self.memory.lock().unwrap().get(&tag).copied();
            if kept.is_some_and(|kept| kept.version < version && self.is_valid(tag, kept.begun_at, clock)) {
                world.broken.lock().unwrap().push(format!("{} reads what it overwrote", self.name));
            }
        }
        match underway.acknowledged().await {
            Ok(_) => world.promise("acknowledged", tag, version),
            Err(_) => world.count("not acknowledged"),
        }
    }
}

/// One thing is changed, and its sender says so to one node after the other until one acknowledges it.
async fn send(tag: usize, name: String, nodes: Vec<Arc<Node>>, world: &World) {
    let version = world.change(tag);
    let purge = Purge::hard(vec![Selector::Tag(format!("t{tag}").into())], Where::All);
    for (attempt, node) in nodes.into_iter().enumerate() {
        let id = format!("{name}#{attempt}");
        let once = Once {
            name: name.clone(),
            body: name.clone(),
            said: name.clone(),
            remembered: Duration::from_secs(600),
            counter: None,
        };
        let recording = node.fence.hand_over_once(vec![(id.clone(), purge.clone())], once).unwrap();
        match recording.await.unwrap() {
            Ok(Recorded::Now(receipt)) => assert_eq!(receipt.unwrap().id, id),
            Ok(Recorded::Before { receipt, said, .. }) => {
                world.count("an event sent again");
                let by = receipt.unwrap().id;
                assert!(by.starts_with(&name) && by != id && said == name, "{by}");
            }
            Ok(Recorded::Counted(count)) => panic!("nobody counts: {count}"),
            Err(_) => continue,
        }
        return world.promise("an event", tag, version);
    }
    world.count("an event not acknowledged");
}

/// A node that begins.
fn node(name: String, shared: &Arc<Mutex<Shared>>, clock: &Clock) -> Node {
    let way = Way { node: name.clone(), shared: shared.clone(), clock: clock.clone() };
    let terms =
        Terms { node: name.clone(), stores: Arc::new(["default".to_owned()]), times: TIMES, wait: Wait::All };
    let Followed { fence, members, .. } = open(Arc::new(way), terms, Limits::default(), clock.clone());
    Node { name, fence, members, memory: Mutex::default() }
}

/// A run: what was broken, and how often what happened.
async fn run(seed: u64, without: Without) -> (Vec<String>, BTreeMap<&'static str, usize>) {
    let clock = Clock::manual(Duration::from_secs(1_000_000));
    let ticking = clock.clone();
    let ticker = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(1)).await;
            ticking.advance(Duration::from_millis(1));
        }
    });
    let shared = Arc::new(Mutex::new(empty(seed, without)));
    shared.lock().unwrap().lossy = seed % 3 * 4;
    let kept = Arc::new(World::default());
    let node = |name: String| Arc::new(node(name, &shared, &clock));
    let mut nodes: Vec<Arc<Node>> = (0..NODES).map(|n| node(format!("n{n}"))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for step in 0..600 {
        let dice = |below: u64| shared.lock().unwrap().random(below);
        let tag = usize::try_from(dice(TAGS as u64)).unwrap();
        let place = usize::try_from(dice(NODES as u64)).unwrap();
        if dice(150) == 0 {
            // Another process takes its place, with a memory that is empty. The one before is asked by nobody any more, unless
            // it goes: then it is asked while it does.
            let other = node(format!("n{place}.{step}"));
            let before = std::mem::replace(&mut nodes[place], other);
            if dice(2) == 0 {
                let (world, clock) = (kept.clone(), clock.clone());
                tasks.spawn(async move {
                    let reading = async {
                        loop {
                            before.read(tag, &world, &clock, 3).await;
                            sleep(Duration::from_millis(1)).await;
                        }
                    };
                    tokio::select! {
                        () = before.members.leave() => world.count("a node that left"),
                        () = reading => {}
                    }
                    // Nobody waits for it any more, and its last proof would hold for a while yet.
                    for _ in 0..BOUND.as_millis() / 4 {
                        before.read(tag, &world, &clock, 3).await;
                        sleep(Duration::from_millis(4)).await;
                    }
                });
            }
        }
        let node = nodes[place].clone();
        let (what, slow, pause) = (dice(100), dice(60), dice(8));
        let (world, clock) = (kept.clone(), clock.clone());
        match what {
            0..=79 => drop(tasks.spawn(async move { node.read(tag, &world, &clock, slow).await })),
            80..=84 => {
                let others = nodes.iter().cycle().skip(place).take(2 * NODES).cloned().collect();
                let name = format!("event {step}");
                tasks.spawn(async move { send(tag, name, others, &world).await });
            }
            85..=93 => {
                let handling = if slow % 2 == 0 { Handling::Insist } else { Handling::Report };
                tasks.spawn(async move { node.write(tag, handling, &world, &clock).await });
            }
            _ => trouble(&mut shared.lock().unwrap(), &node.name, slow % 7, step),
        }
        kept.only_once(&shared.lock().unwrap());
        sleep(Duration::from_millis(pause)).await;
    }
    {
        let mut shared = shared.lock().unwrap();
        (shared.down, shared.lossy) = (false, 0);
        shared.cut.clear();
    }
    // Everybody gets current again, and all that waited gets its place.
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let settled =
        || nodes.iter().all(|node| node.fence.is_proven(clock.now()) && node.fence.provisional() == 0);
    for _ in 0..200 {
        sleep(BOUND / 4).await;
        if settled() {
            break;
        }
    }
    for node in &nodes {
        if !node.fence.is_proven(clock.now()) {
            kept.broken.lock().unwrap().push(format!("{} is not current again", node.name));
        }
    }
    for node in &nodes {
        if node.fence.provisional() > 0 {
            kept.broken.lock().unwrap().push(format!("purges of {} still wait for the log", node.name));
        }
    }
    ticker.abort();
    let counts = kept.counts.lock().unwrap().clone();
    let broken = kept.broken.lock().unwrap().clone();
    (broken, counts)
}

fn trouble(shared: &mut Shared, node: &str, what: u64, step: u64) {
    match what {
        0 => shared.down = !shared.down,
        1 => drop(shared.cut.insert(node.to_owned())),
        2 | 3 => {
            shared.cut.clear();
            shared.down = false;
        }
        4 if step % 5 == 1 => shared.ahead += 700,
        4 if step.is_multiple_of(5) => shared.flush(),
        5 => shared.copy_to_replica(),
        6 if step.is_multiple_of(3) => shared.fail_over(),
        _ => {}
    }
}

fn simulate(seed: u64, without: Without) -> (Vec<String>, BTreeMap<&'static str, usize>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(seed, without))
}

fn runs() -> u64 {
    std::env::var("LARDER_SIMULATIONS").map_or(60, |text| text.parse().unwrap())
}

#[test]
fn whatever_becomes_of_the_log_nobody_reads_less_than_was_promised() {
    let mut counts = BTreeMap::new();
    for seed in 0..runs() {
        let (broken, counted) = simulate(seed, Without::Nothing);
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
        counted.into_iter().for_each(|(what, times)| *counts.entry(what).or_insert(0) += times);
    }
    println!("{} runs: {counts:?}", runs());
    // What never happens shows nothing.
    for what in [
        "memory",
        "shared level",
        "origin",
        "acknowledged",
        "not acknowledged",
        "an event",
        "an event sent again",
    ] {
        assert!(counts.get(what).is_some_and(|times| *times > 100), "{what}: {counts:?}");
    }
    assert!(counts.get("a node that left").is_some_and(|times| *times > 50), "{counts:?}");
}

#[test]
fn a_rule_that_the_server_leaves_out_is_missed() {
    for (without, what) in [
        (Without::RecordId, "was promised"),
        (Without::Incarnation, "was promised"),
        (Without::Events, "took effect twice"),
    ] {
        let found =
            (0..400).find(|seed| simulate(*seed, without).0.iter().any(|broken| broken.contains(what)));
        println!("{without:?}: seed {found:?}");
        assert!(found.is_some(), "nothing broke without {without:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_began_just_before_a_purge_is_waited_for() {
    let clock = Clock::manual(Duration::from_secs(1_000_000));
    let shared = Arc::new(Mutex::new(empty(1, Without::Nothing)));
    let own = node("n0".to_owned(), &shared, &clock);
    while !own.fence.is_proven(clock.now()) {
        sleep(Duration::from_millis(1)).await;
    }
    clock.advance(TIMES.lease());
    let purge = || {
        let purge = Purge::hard(vec![Selector::Everything], Where::All);
        own.fence.hand_over(random_id(), purge, Handling::Report, clock.now()).acknowledged()
    };
    assert_eq!(purge().await.unwrap().nodes.unwrap().applied, ["n0"]);
    // Within the same moment, so that the look at the leases of the purge before is as young as can be.
    let other = Way { node: "n1".to_owned(), shared: shared.clone(), clock: clock.clone() };
    other.start("n1", None, 0, TIMES.lease()).await.unwrap();
    purge().await.unwrap_err();
    // Its lease runs out.
    clock.advance(TIMES.lease() + Duration::from_millis(1));
    let nodes = purge().await.unwrap().nodes.unwrap();
    assert_eq!((nodes.applied, nodes.gone), (vec!["n0".to_owned()], vec!["n1".to_owned()]));
    // An hour later it is forgotten, once a purge noticed.
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(purge().await.unwrap().nodes.unwrap().gone, ["n1"]);
    assert_eq!(purge().await.unwrap().nodes.unwrap().gone.len(), 0);
}
