//! A bench: nodes, their traffic, and what came out of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::check::check;
use crate::nodes::{HOST, NODES, YAML, start};
use crate::shop::{self, Shop};
use crate::support::{Client, Larder, wait};
use crate::traffic::{SPARE, World};

/// One bench at a time: they would take each other's processor, and so each other's time.
static ONE: Mutex<()> = Mutex::const_new(());

/// Nodes at work.
pub(crate) struct Bench {
    pub(crate) world: Arc<World>,
    pub(crate) larders: Vec<Larder>,
    /// The log and the level of each node, as the configuration says them.
    places: Vec<[String; 2]>,
    tasks: Vec<JoinHandle<()>>,
    _one: MutexGuard<'static, ()>,
}

/// How many reads a history makes at least.
fn reads() -> usize {
    std::env::var("LARDER_HISTORY").map_or(600, |number| number.parse().expect("LARDER_HISTORY is a number"))
}

impl Bench {
    /// Nodes over this place in Redis.
    pub(crate) async fn over(place: &str) -> Self {
        Self::over_each(&[(); NODES].map(|()| [place.to_owned(), place.to_owned()])).await
    }

    /// Nodes, each with a way of its own to the log and to the level.
    pub(crate) async fn over_each(places: &[[String; 2]; NODES]) -> Self {
        let one = ONE.lock().await;
        let shop = Shop::open();
        let mut larders = Vec::new();
        for [log, level] in places {
            larders.push(start(YAML, &shop.origin, log, level).await);
        }
        let world = World::new(shop, larders.iter().map(|larder| larder.url("")).collect());
        let tasks = world.begin();
        let bench = Self { world, larders, places: places.to_vec(), tasks, _one: one };
        bench.recovered().await;
        bench.goes_on().await;
        bench
    }

    /// The traffic goes on for a third of the reads.
    pub(crate) async fn goes_on(&self) {
        let before = self.world.reads();
        wait::until("the traffic goes on", || self.world.reads() >= before + reads() / 3).await;
    }

    /// Returns once each of these nodes has answered with this reason (again).
    pub(crate) async fn each_says(&self, nodes: &[usize], reason: &str) {
        let before: Vec<_> = nodes.iter().map(|node| self.world.answered(*node, reason)).collect();
        let more =
            || nodes.iter().zip(&before).all(|(node, before)| self.world.answered(*node, reason) > *before);
        wait::until(&format!("the nodes {nodes:?} say {reason}"), more).await;
    }

    /// Returns once so many more purges had this outcome.
    pub(crate) async fn purges(&self, how: &'static str, n: usize) {
        let before = self.world.purged(how);
        wait::until(&format!("{n} more purges are {how}"), || self.world.purged(how) >= before + n).await;
    }

    /// Returns once every node acknowledges purges and serves what is stored.
    pub(crate) async fn recovered(&self) {
        self.work(&[0, 1, 2]).await;
    }

    /// The same of some nodes.
    pub(crate) async fn work(&self, nodes: &[usize]) {
        let client = Client::keep_alive();
        let tenant = shop::tenant(SPARE);
        for node in nodes {
            let url = self.world.url(*node, &shop::path(SPARE));
            wait::until_async(&format!("node {node} works"), async || {
                let bearer = format!("Bearer {}", shop::TOKEN);
                let purge = client
                    .method("PURGE", &url)
                    .header("authorization", bearer)
                    .header("host", HOST)
                    .header("x-tenant", &tenant);
                let purged = purge.try_send().await.ok()?.status == 200;
                let mut hit = false;
                for _ in 0..2 {
                    let read = client
                        .get(&url)
                        .header("host", HOST)
                        .header("x-tenant", &tenant)
                        .try_send()
                        .await
                        .ok()?;
                    hit = read.x_cache() == "HIT";
                }
                (purged && hit).then_some(())
            })
            .await;
        }
    }

    /// Kills a node as `kill -9` does.
    pub(crate) async fn kill(&mut self, node: usize) {
        self.world.gone(node);
        self.larders[node].process().signal("KILL");
        self.larders[node].process().ended().await;
    }

    /// Starts it again, as another process.
    pub(crate) async fn restart(&mut self, node: usize) {
        let [log, level] = &self.places[node];
        self.larders[node] = start(YAML, &self.world.shop.origin, log, level).await;
        self.world.back(node, self.larders[node].url(""));
    }

    /// Ends the traffic, and judges all of it.
    pub(crate) async fn end(mut self, what: &str) -> Figures {
        self.goes_on().await;
        self.world.stop();
        for task in self.tasks.drain(..) {
            wait::within("a reader or writer ends", task).await.unwrap();
        }
        self.world.settle().await;
        self.all_is_new().await;
        let figures = Figures::of(&self.world);
        println!("{what}: {figures:?}");
        let log = self.world.log();
        assert!(
            log.failed.is_empty(),
            "{what}: {} failed: {:#?}",
            log.failed.len(),
            &log.failed[..log.failed.len().min(5)]
        );
        let stale = check(&log.history);
        let first: Vec<_> = stale.iter().take(5).collect();
        assert!(
            stale.is_empty(),
            "{what}: {} of {} reads are stale: {first:#?}",
            stale.len(),
            log.history.reads.len()
        );
        // A cache that stores nothing is never stale.
        let hits = log.history.reads.iter().filter(|read| read.hit).count();
        assert!(hits > log.history.reads.len() / 20, "{what}: {hits} hits");
        figures
    }

    /// Every node shows every page as it is: whatever waited for the log is in it.
    async fn all_is_new(&self) {
        let client = Client::keep_alive();
        for key in 0..SPARE {
            let now = self.world.shop.version(key);
            for node in 0..NODES {
                wait::until_async(&format!("node {node} shows page {key} as it is"), async || {
                    (self.world.read(&client, node, key).await == Some(now)).then_some(())
                })
                .await;
            }
        }
    }
}

/// What came out.
#[derive(Debug)]
#[allow(dead_code)] // they are for those who read the output
pub(crate) struct Figures {
    reads: usize,
    answers: BTreeMap<String, usize>,
    purges: BTreeMap<&'static str, usize>,
    /// The latest start of a read that showed less than an acknowledged purge, after its acknowledgement. None is allowed.
    stale_after_acknowledgement: Duration,
    /// The latest end of a read that had begun before the acknowledgement, and showed less.
    shown_until: Duration,
    /// The latest start of a read that showed less than a write or a purge that was not acknowledged, after its answer.
    stale_after_answer: Duration,
    slowest_read: Duration,
    pub(crate) slowest_purge: Duration,
}

impl Figures {
    fn of(world: &World) -> Self {
        let log = world.log();
        let mut answers: BTreeMap<String, usize> = BTreeMap::new();
        log.answers.iter().for_each(|((_, what), n)| *answers.entry(what.clone()).or_default() += n);
        let (mut started, mut ended, mut open) = (0, 0, 0);
        for purge in log.history.purges.iter().filter(|purge| purge.only.is_none()) {
            for read in log.history.reads.iter().filter(|r| r.key == purge.key && r.version < purge.version) {
                started = started.max(read.started.saturating_sub(purge.acknowledged));
                ended = ended.max(read.ended.saturating_sub(purge.acknowledged));
            }
        }
        for purge in &log.open {
            for read in log.history.reads.iter().filter(|r| r.key == purge.key && r.version < purge.version) {
                open = open.max(read.started.saturating_sub(purge.answered));
            }
        }
        Self {
            reads: log.history.reads.len(),
            answers,
            purges: log.purges.clone(),
            stale_after_acknowledgement: Duration::from_nanos(started),
            shown_until: Duration::from_nanos(ended),
            stale_after_answer: Duration::from_nanos(open),
            slowest_read: log.slowest_read,
            slowest_purge: log.slowest_purge,
        }
    }
}
