//! The fence as it is called, by real threads at once: purges, looks, fills and sweeps over one cache. What the schedules
//! show step by step must hold for the steps taken together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use larder::cache::{Attach, Cache, Lookup, Want};
use larder::clock::Clock;
use larder::config::{Capacity, Eviction, Store};
use larder::key::{CacheKey, KeyParts, Owner};
use larder::policy::{Freshness, Validity};
use larder::purge::{Coverage, Selector, Where};
use larder::stored::{Selectors, StoredResponse};

const WRITES: u64 = 20_000;

struct World {
    cache: Cache,
    key: CacheKey,
    version: AtomicU64,
    acknowledged: AtomicU64,
    over: AtomicBool,
}

impl World {
    fn new() -> Self {
        let config = Store {
            name: "s".into(),
            capacity: Capacity::Entries(64),
            max_object: 1_000,
            eviction: Eviction::ScanResistant,
            memory_ttl: None,
            redis: None,
        };
        let (route, method, path, query, selecting) = ("r", "GET", "/page", None, &[][..]);
        let owner = &Owner::Public;
        let parts =
            KeyParts { https: false, authority: "shop", owner, route, method, path, query, selecting };
        Self {
            cache: Cache::new(&[Arc::new(config)], Clock::system()),
            key: CacheKey::new(&parts).unwrap(),
            version: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    fn selectors(&self) -> Selectors {
        let coverage = Coverage {
            owner: &Owner::Public,
            authority: "shop",
            target: "/page",
            route: "r",
            store: 0,
            key: &self.key,
        };
        coverage.selectors(vec!["page".into()])
    }

    /// Every fourth purge covers the page, the others push it off the path of one comparison.
    fn write(&self) {
        for n in 0..WRITES {
            let tag = if n % 4 == 0 { "page".to_owned() } else { format!("t{n}") };
            let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(self.cache.purge(&[Selector::Tag(tag.as_str().into())], &Where::All).receipt().is_some());
            if n % 4 == 0 {
                self.acknowledged.store(version, Ordering::SeqCst);
            }
        }
        self.over.store(true, Ordering::SeqCst);
    }

    fn sweep(&self) {
        while !self.over.load(Ordering::SeqCst) {
            self.cache.sweep(self.cache.clock().now());
        }
    }

    /// How often the stored page was served, and how often it was fetched.
    fn read(&self) -> (u64, u64) {
        let (mut hits, mut fills) = (0, 0);
        while !self.over.load(Ordering::SeqCst) {
            let must = self.acknowledged.load(Ordering::SeqCst);
            let (lookup, _) = self.cache.lookup(0, &self.key, &HeaderMap::new(), self.cache.clock().now());
            if let Lookup::Found(stored, Validity::Valid) = lookup {
                let version: u64 = std::str::from_utf8(&stored.body).unwrap().parse().unwrap();
                assert!(version >= must, "version {version} after {must} was acknowledged");
                hits += 1;
            } else {
                fills += 1;
                self.fill();
            }
        }
        (hits, fills)
    }

    fn fill(&self) {
        let Attach::Lead(mut leader) = self.cache.attach(&self.key, None, Want::Any) else { return };
        let begun = self.cache.begin(&mut leader, self.selectors().stripe);
        let body = Bytes::from(self.version.load(Ordering::SeqCst).to_string());
        let freshness = Freshness::until_purged();
        let (headers, selectors) = (HeaderMap::new(), self.selectors());
        let (at, ticket) = (begun.at, begun.ticket);
        let new = StoredResponse::new(StatusCode::OK, &headers, body, freshness, at, ticket, selectors, 0);
        self.cache.commit(&mut leader, 0, &self.key, Arc::new(new), None).unwrap();
    }
}

#[test]
fn threads_at_once_never_see_what_was_purged_and_the_table_stays_small() {
    let world = World::new();
    let read = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| world.read())).collect();
        scope.spawn(|| world.sweep());
        world.write();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    let (hits, fills) = read.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{hits} hits, {fills} fills");
    assert!(hits > 0 && fills > 0, "{hits} hits and {fills} fills say nothing");
    world.cache.sweep(world.cache.clock().now());
    assert_eq!(world.cache.fence().rows(), 0);
    assert_eq!(world.cache.fence().floor(), WRITES);
}
