//! Writers and readers at work on a proxy, and the history that they write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use larder::clock::Clock;
use serde_json::json;

use crate::check::{History, Purge, Read, User};
use crate::shop::{self, KEYS, SECRET, Shop, TOKEN};
use crate::support::events::signed;
use crate::support::{Answer, Client};

/// A way to purge a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A write of the page's own URL through the proxy.
    Write,
    /// The field of the answer to a write elsewhere.
    Field,
    /// The same, softly.
    Soft,
    /// `PURGE` on the clients' listener.
    Verb,
    /// A signed event.
    Webhook,
    /// A tag, on the admin listener.
    Tag,
    /// A pattern, on the admin listener.
    Pattern,
}

/// All of them.
pub(crate) const WAYS: [Way; 7] =
    [Way::Write, Way::Field, Way::Soft, Way::Verb, Way::Webhook, Way::Tag, Way::Pattern];

/// A proxy, as those who use it know it.
pub(crate) struct Target {
    pub(crate) url: String,
    /// The admin listener, where there is one.
    pub(crate) admin: Option<String>,
    /// The clock by which events are signed.
    pub(crate) clock: Clock,
}

const WRITERS: usize = 3;
const READERS: usize = 12;

struct Run {
    shop: Shop,
    target: Target,
    tick: AtomicU64,
    /// Reads that are still to be made.
    left: AtomicUsize,
}

/// At least `reads` reads, and purges all the while; the number of purges by each way comes along.
pub(crate) async fn run(shop: Shop, target: Target, reads: usize) -> (History, Vec<(Way, usize)>) {
    let left = AtomicUsize::new(reads);
    let run = Arc::new(Run { shop, target, tick: AtomicU64::new(0), left });
    let readers: Vec<_> = (0..READERS).map(|n| tokio::spawn(Arc::clone(&run).read_on(n))).collect();
    let writers: Vec<_> = (1..=WRITERS).map(|n| tokio::spawn(Arc::clone(&run).write_on(n))).collect();
    let mut history = History::default();
    for reader in readers {
        history.reads.extend(reader.await.unwrap());
    }
    let mut ways: Vec<_> = WAYS.iter().map(|way| (*way, 0)).collect();
    for writer in writers {
        let (purges, reads) = writer.await.unwrap();
        history.reads.extend(reads);
        for (way, purge) in purges {
            ways.iter_mut().filter(|(known, _)| *known == way).for_each(|(_, n)| *n += 1);
            history.purges.push(purge);
        }
    }
    (history, ways)
}

impl Run {
    fn tick(&self) -> u64 {
        self.tick.fetch_add(1, Ordering::SeqCst)
    }

    fn take_one(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
    }

    /// Reads pages until there were enough. Some of the readers are the writers themselves.
    async fn read_on(self: Arc<Self>, number: usize) -> Vec<Read> {
        let client = if number.is_multiple_of(4) { Client::http2() } else { Client::keep_alive() };
        let by = number % (WRITERS + 1);
        let mut dice = Dice::new(number as u64);
        let mut reads = Vec::new();
        while self.take_one() {
            reads.push(self.read(&client, by, dice.below(KEYS)).await);
        }
        reads
    }

    async fn read(&self, client: &Client, by: User, key: usize) -> Read {
        let started = self.tick();
        let call = client.get(self.at(&shop::path(key))).header("x-tenant", shop::tenant(key));
        let call = if by == 0 { call } else { call.header("x-user", format!("user{by}")) };
        let answer = call.send().await;
        let ended = self.tick();
        let version = version(&answer, key);
        Read { key, by, started, ended, version, hit: answer.x_cache() == "HIT" }
    }

    /// Changes and purges pages, by all ways in turn, while anybody reads, and reads each as soon as it is purged.
    async fn write_on(self: Arc<Self>, by: User) -> (Vec<(Way, Purge)>, Vec<Read>) {
        let client = Client::keep_alive();
        let mut dice = Dice::new(1_000 + by as u64);
        let (mut purges, mut reads) = (Vec::new(), Vec::new());
        for round in by.. {
            if self.left.load(Ordering::SeqCst) == 0 {
                break;
            }
            let key = dice.below(KEYS);
            let way = WAYS[round % WAYS.len()];
            let is_possible = match way {
                Way::Soft => shop::has_window(key),
                Way::Tag | Way::Pattern => self.target.admin.is_some(),
                _ => true,
            };
            if is_possible {
                let version = self.purge(&client, by, key, way, round).await;
                let only = (way == Way::Soft).then_some(by);
                purges.push((way, Purge { key, version, acknowledged: self.tick(), only }));
                reads.push(self.read(&client, by, key).await);
            }
            self.shop.origin.forget();
        }
        (purges, reads)
    }

    /// Changes a page and purges it. When this returns, the purge is acknowledged; it gives the new version.
    async fn purge(&self, client: &Client, by: User, key: usize, way: Way, round: usize) -> u64 {
        let (path, tenant) = (shop::path(key), shop::tenant(key));
        let prefix = match way {
            Way::Write => "",
            Way::Field => "/hard",
            Way::Soft => "/soft",
            _ => {
                let version = self.shop.change(key);
                self.ask(client, key, way, format!("{by}-{round}")).await;
                return version;
            }
        };
        let call = client.post(self.at(&format!("{prefix}{path}"))).header("x-tenant", tenant);
        let answer = call.header("x-user", format!("user{by}")).send().await;
        version(&answer, key)
    }

    /// Asks for the purge of a page that was changed behind the proxy's back.
    async fn ask(&self, client: &Client, key: usize, way: Way, id: String) {
        let (path, tenant, tag) = (shop::path(key), shop::tenant(key), shop::tag(key));
        let bearer = format!("Bearer {TOKEN}");
        let asked = match way {
            Way::Verb => client.method("PURGE", self.at(&path)).header("x-tenant", &tenant),
            Way::Tag => self.on_admin(client, json!({ "tags": [tag], "tenant": tenant })),
            Way::Pattern => self.on_admin(client, json!({ "patterns": [format!("tenant:{tenant}:{tag}")] })),
            _ => {
                let body = json!({ "tenant": tenant, "tags": [tag] }).to_string();
                let at = self.target.clock.now().wall.as_secs();
                signed(client.post(self.at("/.larder/webhooks/app")), SECRET.as_bytes(), &id, at, &body)
            }
        };
        let asked = if way == Way::Webhook { asked } else { asked.header("authorization", bearer) };
        let answer = asked.send().await;
        assert_eq!(answer.status, 200, "{way:?}: {}", answer.text());
        assert!(answer.json()["seq"].is_u64(), "{way:?}: {}", answer.text());
    }

    fn on_admin(&self, client: &Client, body: serde_json::Value) -> crate::support::client::Call {
        let admin = self.target.admin.as_ref().expect("an admin listener");
        client.post(admin).json(body.to_string())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.target.url)
    }
}

/// The version in an answer, which must be of this page.
fn version(answer: &Answer, key: usize) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (whose, version) = answer.text().split_once(' ').expect("a key and a version");
    assert_eq!(whose, key.to_string(), "the answer is of another page or tenant");
    version.parse().unwrap()
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
