//! Readers and writers at work on all nodes at once, and the history that they write.
//!
//! Who asks, in the history, is the node that was asked: `by` is its number, from 1. So a purge that binds only the node that
//! was written through is one that binds only those who ask there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::clock::Clock;
use tokio::task::JoinHandle;

use crate::check::{History, Purge, Read};
use crate::nodes::{HOST, NODES};
use crate::shop::{self, KEYS, Shop, TOKEN};
use crate::support::{Answer, Client, wait};

const READERS: usize = 3;
/// The page that shows that a node works again: nobody else reads or changes it.
pub(crate) const SPARE: usize = KEYS - 1;
/// The pages that are read and changed: few, so that much happens to each.
const BUSY: usize = 9;
/// How long readers and writers think.
const READING: Duration = Duration::from_millis(2);
const WRITING: Duration = Duration::from_millis(5);

/// A purge that was refused, or is not in the log yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    pub(crate) key: usize,
    pub(crate) version: u64,
    pub(crate) answered: u64,
}

/// What was written down.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) history: History,
    pub(crate) open: Vec<Open>,
    /// Answers to reads by the node, `X-Cache` and reason.
    pub(crate) answers: BTreeMap<(usize, String), usize>,
    /// Purges by what became of them.
    pub(crate) purges: BTreeMap<&'static str, usize>,
    pub(crate) failed: Vec<String>,
    /// The longest that a read took, and that a purge took that was acknowledged.
    pub(crate) slowest_read: Duration,
    pub(crate) slowest_purge: Duration,
}

/// A node as the clients know it.
struct At {
    url: Mutex<String>,
    /// Even: it runs. Odd: it does not.
    life: AtomicUsize,
}

/// All of it.
pub(crate) struct World {
    pub(crate) shop: Shop,
    nodes: Vec<At>,
    clock: Clock,
    last: AtomicU64,
    stop: AtomicBool,
    reads: AtomicUsize,
    log: Mutex<Log>,
    /// Purges that were refused, with the id to ask again with.
    refused: Mutex<Vec<(usize, u64, String)>>,
}

/// A purge's outcome.
enum Said {
    InForce,
    Pending,
    /// With the id to ask again with.
    Refused(String),
    /// The node was not there.
    Nothing,
}

impl World {
    pub(crate) fn new(shop: Shop, urls: Vec<String>) -> Arc<Self> {
        let nodes = urls.into_iter().map(|url| At { url: Mutex::new(url), life: AtomicUsize::new(0) });
        Arc::new(Self {
            shop,
            nodes: nodes.collect(),
            clock: Clock::system(),
            last: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            log: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// Readers and writers begin.
    pub(crate) fn begin(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let mut tasks = Vec::new();
        for node in 0..NODES {
            for reader in 0..READERS {
                tasks.push(tokio::spawn(self.clone().read_on(node, reader)));
            }
            tasks.push(tokio::spawn(self.clone().write_on(node)));
        }
        tasks
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// A moment, in nanoseconds; each is later than those before.
    pub(crate) fn tick(&self) -> u64 {
        let now = u64::try_from(self.clock.now().mono.as_nanos()).unwrap();
        let next = |last: u64| Some(now.max(last + 1));
        self.last
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next)
            .map(|last| now.max(last + 1))
            .unwrap()
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    pub(crate) fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    pub(crate) fn url(&self, node: usize, path: &str) -> String {
        format!("{}{path}", self.nodes[node].url.lock().unwrap())
    }

    /// A node goes, or comes back, with another address.
    pub(crate) fn gone(&self, node: usize) {
        self.nodes[node].life.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn back(&self, node: usize, url: String) {
        *self.nodes[node].url.lock().unwrap() = url;
        self.nodes[node].life.fetch_add(1, Ordering::SeqCst);
    }

    fn life(&self, node: usize) -> usize {
        self.nodes[node].life.load(Ordering::SeqCst)
    }

    /// How many answers of a node gave this reason.
    pub(crate) fn answered(&self, node: usize, reason: &str) -> usize {
        let log = self.log();
        log.answers
            .iter()
            .filter(|((at, what), _)| *at == node && what.contains(reason))
            .map(|(_, n)| n)
            .sum()
    }

    pub(crate) fn purged(&self, how: &'static str) -> usize {
        self.log().purges.get(how).copied().unwrap_or_default()
    }

    async fn read_on(self: Arc<Self>, node: usize, reader: usize) {
        let client = Client::keep_alive();
        let mut dice = Dice::new((node * READERS + reader) as u64);
        while !self.stop.load(Ordering::SeqCst) {
            wait::latency(READING).await;
            if self.life(node).is_multiple_of(2) {
                self.read(&client, node, dice.below(BUSY)).await;
            }
        }
    }

    /// Reads a page; what came is in the history, whatever it is.
    pub(crate) async fn read(&self, client: &Client, node: usize, key: usize) -> Option<u64> {
        let (life, url) = (self.life(node), self.url(node, &shop::path(key)));
        let started = self.tick();
        let answer =
            client.get(url).header("host", HOST).header("x-tenant", shop::tenant(key)).try_send().await;
        let ended = self.tick();
        let mut log = self.log();
        let version = answer.as_ref().ok().and_then(|answer| version(answer, key));
        let Some(version) = version else {
            // Of a node that was killed meanwhile nothing is asked.
            if self.life(node) == life && life.is_multiple_of(2) {
                let what = answer.map(|answer| format!("{} {}", answer.status, answer.text()));
                log.failed.push(format!("node {node}, page {key}: {what:?}"));
            }
            return None;
        };
        let answer = answer.unwrap();
        let reason = reason(&answer);
        *log.answers.entry((node, format!("{} {reason}", answer.x_cache()))).or_default() += 1;
        log.slowest_read = log.slowest_read.max(answer.took);
        let hit = answer.x_cache() == "HIT";
        log.history.reads.push(Read { key, by: node + 1, started, ended, version, hit });
        drop(log);
        self.reads.fetch_add(1, Ordering::SeqCst);
        Some(version)
    }

    async fn write_on(self: Arc<Self>, node: usize) {
        let client = Client::keep_alive();
        let mut dice = Dice::new(1_000 + node as u64);
        let mut round = node;
        while !self.stop.load(Ordering::SeqCst) {
            wait::latency(WRITING).await;
            if !self.life(node).is_multiple_of(2) {
                continue;
            }
            round += 1;
            // Every now and then whoever was refused asks again, at any node.
            let again = round.is_multiple_of(4).then(|| self.refused.lock().unwrap().pop()).flatten();
            let key = match again {
                Some(refused) => self.again(&client, node, refused).await,
                None => self.write(&client, node, dice.below(BUSY), round).await,
            };
            self.read(&client, node, key).await;
            self.shop.origin.forget();
        }
    }

    /// Changes a page, and has it purged by one of the ways.
    async fn write(&self, client: &Client, node: usize, key: usize, way: usize) -> usize {
        let (path, tenant, life) = (shop::path(key), shop::tenant(key), self.life(node));
        if way.is_multiple_of(3) {
            let version = self.shop.change(key);
            let said = self.verb(client, node, key, None).await;
            self.noted(node, life, key, version, said);
            return key;
        }
        let prefix = if way % 3 == 1 { "" } else { "/hard" };
        let call = client
            .post(self.url(node, &format!("{prefix}{path}")))
            .header("host", HOST)
            .header("x-tenant", tenant);
        match call.try_send().await {
            Ok(answer) if version(&answer, key).is_some() => {
                let pending = answer.cache_status().contains("purge-pending");
                let said = if pending { Said::Pending } else { Said::InForce };
                self.noted(node, life, key, version(&answer, key).unwrap(), said);
                let mut log = self.log();
                log.slowest_purge = log.slowest_purge.max(answer.took);
            }
            other => {
                let what = other.map(|answer| format!("{} {}", answer.status, answer.text()));
                if self.life(node) == life {
                    self.log().failed.push(format!("node {node}, a write of page {key}: {what:?}"));
                }
            }
        }
        key
    }

    async fn again(&self, client: &Client, node: usize, refused: (usize, u64, String)) -> usize {
        let (key, version, id) = refused;
        let life = self.life(node);
        let said = self.verb(client, node, key, Some(&id)).await;
        // Also where the node went: somebody asks until it is in force.
        if matches!(said, Said::Nothing) {
            self.refused.lock().unwrap().push((key, version, id));
        } else {
            self.noted(node, life, key, version, said);
        }
        key
    }

    /// A `PURGE` of a page.
    async fn verb(&self, client: &Client, node: usize, key: usize, id: Option<&str>) -> Said {
        let call = client.method("PURGE", self.url(node, &shop::path(key)));
        let call = call
            .header("host", HOST)
            .header("x-tenant", shop::tenant(key))
            .header("authorization", format!("Bearer {TOKEN}"));
        let call = if let Some(id) = id { call.header("idempotency-key", id) } else { call };
        let Ok(answer) = call.try_send().await else { return Said::Nothing };
        let mut log = self.log();
        match answer.status.as_u16() {
            200 => {
                log.slowest_purge = log.slowest_purge.max(answer.took);
                Said::InForce
            }
            503 => {
                let (_, id) = answer.text().split_once("Idempotency-Key: ").expect("an id to ask again with");
                Said::Refused(
                    id.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect(),
                )
            }
            _ => {
                log.failed.push(format!("node {node}, PURGE: {} {}", answer.status, answer.text()));
                Said::Nothing
            }
        }
    }

    fn noted(&self, node: usize, life: usize, key: usize, version: u64, said: Said) {
        let at = self.tick();
        let mut log = self.log();
        let open = Open { key, version, answered: at };
        let (word, only) = match said {
            Said::InForce => ("in force", Some(None)),
            Said::Pending => {
                log.open.push(open);
                // Of the one that may be killed before it handed the purge over nothing is promised, and it promises nothing.
                ("pending", (self.life(node) == life).then_some(Some(node + 1)))
            }
            Said::Refused(id) => {
                log.open.push(open);
                self.refused.lock().unwrap().push((key, version, id));
                ("refused", None)
            }
            Said::Nothing => {
                self.refused.lock().unwrap().push((key, version, larder::purge::random_id()));
                ("unanswered", None)
            }
        };
        *log.purges.entry(word).or_default() += 1;
        if let Some(only) = only {
            log.history.purges.push(Purge { key, version, acknowledged: at, only });
        }
    }

    /// Asks again for every purge that was refused, until all are in force.
    pub(crate) async fn settle(&self) {
        let client = Client::keep_alive();
        wait::until_async("every purge that was refused is in force", async || {
            let next = self.refused.lock().unwrap().pop();
            let Some(refused) = next else { return Some(()) };
            self.again(&client, 0, refused).await;
            self.refused.lock().unwrap().is_empty().then_some(())
        })
        .await;
    }
}

/// The version in an answer; `None` where it is not this page, as it should be.
fn version(answer: &Answer, key: usize) -> Option<u64> {
    let (whose, version) = answer.text().split_once(' ')?;
    (answer.status == 200 && whose == key.to_string()).then(|| version.parse().ok())?
}

/// The reason in `Cache-Status`.
fn reason(answer: &Answer) -> String {
    let status = answer.cache_status();
    let detail = status.split_once("detail=").map_or("", |(_, rest)| rest);
    detail.split([';', ',']).next().unwrap_or_default().to_owned()
}

/// Numbers that look thrown, the same in every run.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}
