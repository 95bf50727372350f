//! The figures of purging in `docs/performance.md`, one argument each: `scripts/bench-purge` runs all of them.
//!
//! `acknowledge`: how long a tag purge takes until it is acknowledged, by the number of responses under the tag.
//! `hits`: how long a hit takes while another thread purges. `memory`: what the table of purges takes.
//! Each stops by itself. Every time includes one reading of the clock.

#![allow(clippy::unwrap_used, clippy::panic)] // a tool that fails loudly

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use larder::cache::{Attach, Cache, Lookup, Want};
use larder::clock::Clock;
use larder::config::{Capacity, Eviction, Store};
use larder::http::Body;
use larder::identity::{Kind, Tenant};
use larder::key::{CacheKey, KeyParts, Owner};
use larder::layer::CacheLayer;
use larder::policy::{Freshness, Validity};
use larder::purge::{Coverage, Selector, Where};
use larder::stored::StoredResponse;
use tower::{Layer, ServiceExt};

/// The purges that are timed in one round.
const TIMED: usize = 1_000;
/// Distinct purged tags of `memory`.
const TAGS: usize = 1_000_000;
/// The time of one round of `hits`.
const ROUND: Duration = Duration::from_millis(400);
/// The rounds of each kind of `hits`.
const ROUNDS: usize = 31;
/// How many responses the hits of `hits` go to.
const HOT: u64 = 1_000;

fn cache(entries: u64) -> Cache {
    let store = Store {
        name: "s".into(),
        capacity: Capacity::Entries(entries),
        max_object: 100_000,
        eviction: Eviction::ScanResistant,
        memory_ttl: None,
        redis: None,
    };
    Cache::new(&[Arc::new(store)], Clock::system())
}

fn owner(tenant: &str) -> Owner {
    Owner::Tenant(Tenant { name: tenant.into(), kind: Kind::Verified, scope: false })
}

/// Stores a small response of the tenant `acme` under its own tag and the tag `all`, by the steps of a fill.
fn store(cache: &Cache, n: u64) -> CacheKey {
    let (owner, target) = (owner("acme"), format!("/product/{n}"));
    let (authority, route) = ("shop.example", "product");
    let (https, method, path, query, selecting) = (true, "GET", &*target, None, &[][..]);
    let parts = KeyParts { https, authority, owner: &owner, route, method, path, query, selecting };
    let key = CacheKey::new(&parts).unwrap();
    let coverage = Coverage { owner: &owner, authority, target: &target, route, store: 0, key: &key };
    let selectors = coverage.selectors(vec!["all".into(), format!("product:{n}").into()]);
    let Attach::Lead(mut leader) = cache.attach(&key, None, Want::Any) else { panic!("a fill runs") };
    let begun = cache.begin(&mut leader, selectors.stripe);
    let freshness = Freshness { received: cache.clock().now().mono, ..Freshness::until_purged() };
    let (status, fields, body) = (StatusCode::OK, HeaderMap::new(), Bytes::from(format!("product {n}")));
    let new = StoredResponse::new(status, &fields, body, freshness, begun.at, begun.ticket, selectors, 0);
    cache.commit(&mut leader, 0, &key, Arc::new(new), None).unwrap();
    key
}

fn is_valid(cache: &Cache, key: &CacheKey) -> bool {
    let (lookup, _) = cache.lookup(0, key, &HeaderMap::new(), cache.clock().now());
    matches!(lookup, Lookup::Found(_, Validity::Valid))
}

fn purge(cache: &Cache, tag: &str, tenant: &str) {
    assert!(cache.purge(&[Selector::Tag(tag.into())], &Where::Tenant(tenant.into())).receipt().is_some());
}

/// The value below which this share of them lies.
fn share(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn median<T: Copy + PartialOrd>(values: impl IntoIterator<Item = T>) -> T {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

// ---- Acknowledgement.

fn acknowledge() {
    println!("| responses under the tag | p50 | p99 | longest of all |\n|---|---|---|---|");
    for n in [1_000, 100_000, 1_000_000] {
        let cache = cache(n * 2);
        let keys: Vec<CacheKey> = (0..n).map(|n| store(&cache, n)).collect();
        assert!(keys.iter().all(|key| is_valid(&cache, key)), "not all are stored");
        let rounds: Vec<_> = (0..7).map(|_| timed_purges(&cache)).collect();
        assert!(!keys.iter().any(|key| is_valid(&cache, key)), "something outlived its purge");
        let of = |percent| micros(median(rounds.iter().map(|round| share(round, percent))));
        let longest = micros(*rounds.iter().flatten().max().unwrap());
        println!("| {n} | {:.1} µs | {:.1} µs | {longest:.0} µs |", of(50), of(99));
    }
}

fn timed_purges(cache: &Cache) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..TIMED).map(|_| time(cache, || purge(cache, "all", "acme"))).collect();
    times.sort();
    times
}

fn time<T>(cache: &Cache, what: impl FnOnce() -> T) -> Duration {
    let begun = cache.clock().now().mono;
    std::hint::black_box(what());
    cache.clock().now().mono - begun
}

// ---- Hits.

/// What another thread does a thousand times a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Beside {
    Nothing,
    /// It wakes up and does nothing: what the thread costs without its purges.
    Waking,
    PurgingAnother,
    PurgingTheSame,
}

const BESIDE: [Beside; 4] = [Beside::Nothing, Beside::Waking, Beside::PurgingAnother, Beside::PurgingTheSame];

impl Beside {
    fn told(self) -> &'static str {
        match self {
            Self::Nothing => "no other thread",
            Self::Waking => "a thread that wakes up and purges nothing",
            Self::PurgingAnother => "a thread that purges tags of another tenant",
            Self::PurgingTheSame => "a thread that purges tags of the same tenant",
        }
    }

    /// Does it until the round is over, and tells how often a second.
    fn act(self, cache: &Cache, over: &AtomicBool, next: &AtomicU64) -> f64 {
        let (begun, mut done) = (cache.clock().now().mono, 0_u32);
        let taken = || cache.clock().now().mono - begun;
        while self != Self::Nothing && !over.load(Ordering::SeqCst) {
            std::thread::sleep((Duration::from_millis(1) * done).saturating_sub(taken()));
            let tag = format!("other:{}", next.fetch_add(1, Ordering::SeqCst));
            match self {
                Self::Nothing | Self::Waking => {}
                Self::PurgingAnother => purge(cache, &tag, "globex"),
                Self::PurgingTheSame => purge(cache, &tag, "acme"),
            }
            done += 1;
        }
        f64::from(done) / taken().as_secs_f64()
    }
}

fn hits() {
    let in_store = cache(HOT * 2);
    let keys: Vec<CacheKey> = (0..HOT).map(|n| store(&in_store, n)).collect();
    let fields = HeaderMap::new();
    table_of_hits("`Cache::lookup`", &in_store, |n| {
        let (lookup, _) = in_store.lookup(0, &keys[n], &fields, in_store.clock().now());
        assert!(matches!(lookup, Lookup::Found(_, Validity::Valid)));
    });
    hits_through_the_layer();
}

const CONFIG: &str = "
listen: 127.0.0.1:3000
origins: { app: { url: 'http://127.0.0.1:3000' } }
identity: { tenant: [{ host: '{tenant}.example.com' }] }
tiers: { t: { ttl: 1h } }
routes:
  - { name: product, path: '/product/{n}', tier: t, share: tenant, tags: ['product:{n}'] }
";

fn hits_through_the_layer() {
    let layer = CacheLayer::from_yaml(CONFIG).unwrap();
    let application = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Body::from("x".repeat(1024))))
    });
    let service = layer.layer(application);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let paths: Vec<String> = (0..HOT).map(|n| format!("/product/{n}")).collect();
    let ask = |n: usize| {
        let request = Request::get(&paths[n]).header("host", "acme.example.com").body(Body::empty()).unwrap();
        runtime.block_on(async {
            let response = service.clone().oneshot(request).await.unwrap();
            let hit = response.headers().get("x-cache").is_some_and(|told| told == "HIT");
            (hit, response.into_body().collect().await.is_ok())
        })
    };
    (0..paths.len()).for_each(|n| assert!(ask(n).1));
    table_of_hits("a whole hit of 1 KiB through `CacheLayer`", layer.cache(), |n| {
        assert_eq!(ask(n), (true, true), "not a hit");
    });
}

/// What a round gave: p50 and p99 in microseconds, and what the other thread did a second.
type Round = (f64, f64, f64);

/// Rounds of every kind in turn, so that a busy minute of the machine meets all of them.
fn table_of_hits(what: &str, cache: &Cache, mut hit: impl FnMut(usize)) {
    let mut seen: HashMap<Beside, Vec<Round>> = HashMap::new();
    let next = AtomicU64::new(0);
    for _ in 0..ROUNDS {
        for beside in BESIDE {
            seen.entry(beside).or_default().push(round_of_hits(cache, beside, &next, &mut hit));
        }
    }
    println!("| {what}, beside | done a second | p50 | p99 | p99 to that of the same turn without |");
    println!("|---|---|---|---|---|");
    for beside in BESIDE {
        let (these, without) = (&seen[&beside], &seen[&Beside::Nothing]);
        let of = |field: fn(&Round) -> f64| median(these.iter().map(field));
        let (p50, p99, done) = (of(|round| round.0), of(|round| round.1), of(|round| round.2));
        let ratio = median(these.iter().zip(without).map(|(this, without)| this.1 / without.1));
        println!("| {} | {done:.0} | {p50:.2} µs | {p99:.2} µs | {ratio:.2} |", beside.told());
    }
    println!();
}

fn round_of_hits(cache: &Cache, beside: Beside, next: &AtomicU64, hit: &mut impl FnMut(usize)) -> Round {
    let over = AtomicBool::new(false);
    let mut times = Vec::with_capacity(4 << 20);
    let done = std::thread::scope(|scope| {
        let other = scope.spawn(|| beside.act(cache, &over, next));
        let (begun, mut n) = (cache.clock().now().mono, 0);
        while cache.clock().now().mono - begun < ROUND {
            for _ in 0..100 {
                n = (n + 1) % HOT as usize;
                times.push(time(cache, || hit(n)));
            }
        }
        over.store(true, Ordering::SeqCst);
        other.join().unwrap()
    });
    times.sort_unstable();
    (micros(share(&times, 50)), micros(share(&times, 99)), done)
}

// ---- Memory.

fn memory() {
    println!("| table | rows | resident | more than before | p99, longest |\n|---|---|---|---|---|");
    memory_of("for everybody (one row each)", &|cache, tag| {
        assert!(cache.purge(&[Selector::Tag(tag.into())], &Where::All).receipt().is_some());
    });
    memory_of("for a tenant (three rows each)", &|cache, tag| purge(cache, tag, "acme"));
}

fn memory_of(whose: &str, purge: &dyn Fn(&Cache, &str)) {
    let cache = cache(20_000);
    let keys: Vec<CacheKey> = (0..10_000).map(|n| store(&cache, n)).collect();
    let mut times = vec![Duration::MAX; TAGS];
    let before = resident();
    for (n, taken) in times.iter_mut().enumerate() {
        *taken = time(&cache, || purge(&cache, &format!("gone:{n}")));
    }
    let tell = |when: &str, told: &str| {
        let (rows, now) = (cache.fence().rows(), resident());
        println!("| {when} | {rows} | {now:.1} MiB | {:.1} MiB | {told} |", now - before);
    };
    times.sort_unstable();
    let (p99, longest) = (micros(share(&times, 99)), micros(times[TAGS - 1]) / 1e3);
    tell(&format!("{TAGS} distinct tags purged {whose}"), &format!("{p99:.1} µs, {longest:.1} ms"));
    let valid = keys.iter().filter(|key| is_valid(&cache, key)).count();
    let sweep = micros(time(&cache, || cache.sweep(cache.clock().now()))) / 1e3;
    tell(
        &format!("after the sweeper ({valid} of {} responses still valid)", keys.len()),
        &format!("{sweep:.1} ms"),
    );
}

/// The resident memory of this process, in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("acknowledge") => acknowledge(),
        Some("hits") => hits(),
        Some("memory") => memory(),
        _ => panic!("acknowledge, hits or memory"),
    }
}
