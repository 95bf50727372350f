//! What every memory store must do, and what tells the orders of eviction apart.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{Backend, MemoryStore, Seen, StoreError};
use crate::clock::{Clock, Now};
use crate::config::{Capacity, Eviction, Store};
use crate::key::{CacheKey, KeyParts, Owner};
use crate::policy::Freshness;
use crate::stored::{Entry, Selectors, StoredResponse};

fn now() -> Now {
    Clock::manual(Duration::from_secs(1_700_000_000)).now()
}

fn store(capacity: Capacity, eviction: Eviction) -> MemoryStore {
    MemoryStore::new(&Store {
        name: "s".into(),
        capacity,
        max_object: 64 * 1024,
        eviction,
        memory_ttl: None,
        redis: None,
    })
}

fn key(n: usize) -> CacheKey {
    let path = format!("/{n}");
    CacheKey::new(&KeyParts {
        https: false,
        authority: "a",
        owner: &Owner::Public,
        route: "r",
        method: "GET",
        path: &path,
        query: None,
        selecting: &[],
    })
    .unwrap()
}

fn entry(size: usize, lifetime: u64) -> Entry {
    let freshness = Freshness { lifetime: Some(Duration::from_secs(lifetime)), ..Freshness::until_purged() };
    let body = Bytes::from(vec![0; size]);
    Entry::Response(Arc::new(StoredResponse::new(
        StatusCode::OK,
        &HeaderMap::new(),
        body,
        freshness,
        0,
        0,
        Selectors::default(),
        0,
    )))
}

fn has(store: &MemoryStore, n: usize) -> bool {
    store.get(&key(n), now()).is_some()
}

const ORDERS: [Eviction; 4] = [Eviction::ScanResistant, Eviction::Lru, Eviction::Lfu, Eviction::Time];

#[test]
fn c8_a_response_is_used_from_memory_for_as_long_as_the_store_says_from_when_it_came() {
    for eviction in [Eviction::ScanResistant, Eviction::Lru] {
        let config = Store {
            name: "s".into(),
            capacity: Capacity::Entries(200),
            max_object: 64 * 1024,
            eviction,
            memory_ttl: Some(Duration::from_secs(60)),
            redis: None,
        };
        let store = MemoryStore::new(&config);
        let clock = Clock::manual(Duration::from_secs(1_700_000_000));
        let begin = clock.now().mono;
        let Entry::Response(response) = entry(10, 3_600) else { unreachable!() };
        let mut response = Arc::into_inner(response).unwrap();
        // Received long ago, by another node.
        response.set_came(begin);
        store.put(key(1), Entry::Response(Arc::new(response)), clock.now()).unwrap();
        clock.advance(Duration::from_millis(59_999));
        assert!(store.get(&key(1), clock.now()).is_some());
        clock.advance(Duration::from_millis(1));
        assert!(store.get(&key(1), clock.now()).is_none());
    }
}

#[test]
fn c1_a_store_never_holds_more_bytes_than_configured() {
    for order in ORDERS {
        let store = store(Capacity::Bytes(1 << 20), order);
        for n in 0..2_000 {
            store.put(key(n), entry(1_000 + n % 7 * 300, 60), now()).unwrap();
            assert!(store.stats().bytes <= 1 << 20, "{order:?}");
        }
        assert!(store.stats().entries > 100, "{order:?}: {:?}", store.stats());
    }
}

#[test]
fn c1_a_store_never_holds_more_entries_than_configured() {
    for order in ORDERS {
        let store = store(Capacity::Entries(50), order);
        for n in 0..500 {
            store.put(key(n), entry(10, 60), now()).unwrap();
        }
        let entries = store.stats().entries;
        assert!((25..=50).contains(&entries), "{order:?}: {entries}");
    }
}

#[test]
fn c1_least_recently_used_goes_first() {
    let store = store(Capacity::Entries(3), Eviction::Lru);
    for n in 0..3 {
        store.put(key(n), entry(1, 60), now()).unwrap();
    }
    assert!(has(&store, 0));
    store.put(key(3), entry(1, 60), now()).unwrap();
    assert!(has(&store, 0) && !has(&store, 1) && has(&store, 2) && has(&store, 3));
}

#[test]
fn c1_least_frequently_used_goes_first() {
    let store = store(Capacity::Entries(3), Eviction::Lfu);
    for n in 0..3 {
        store.put(key(n), entry(1, 60), now()).unwrap();
    }
    for n in [0, 0, 0, 2, 2, 1] {
        assert!(has(&store, n));
    }
    store.put(key(3), entry(1, 60), now()).unwrap();
    assert!(has(&store, 0) && !has(&store, 1) && has(&store, 2) && has(&store, 3));
}

#[test]
fn c1_by_time_the_first_to_expire_goes_first_however_popular() {
    let store = store(Capacity::Entries(3), Eviction::Time);
    for (n, lifetime) in [(0, 300), (1, 10), (2, 200)] {
        store.put(key(n), entry(1, lifetime), now()).unwrap();
    }
    for _ in 0..10 {
        assert!(has(&store, 1));
    }
    store.put(key(3), entry(1, 100), now()).unwrap();
    assert!(has(&store, 0) && !has(&store, 1) && has(&store, 2) && has(&store, 3));
}

#[test]
fn a_scan_does_not_empty_the_default_store() {
    let store = store(Capacity::Entries(1_000), Eviction::ScanResistant);
    for n in 0..100 {
        store.put(key(n), entry(1, 60), now()).unwrap();
    }
    for _ in 0..3 {
        for n in 0..100 {
            has(&store, n);
        }
    }
    for n in 1_000..11_000 {
        store.put(key(n), entry(1, 60), now()).unwrap();
    }
    let kept = (0..100).filter(|&n| has(&store, n)).count();
    assert!(kept >= 80, "{kept} of 100 popular entries outlived the scan");
}

#[test]
fn an_entry_larger_than_the_store_is_refused_and_nothing_else_goes() {
    for order in ORDERS {
        let store = store(Capacity::Bytes(10_000), order);
        store.put(key(0), entry(100, 60), now()).unwrap();
        assert_eq!(store.put(key(1), entry(20_000, 60), now()), Err(StoreError::TooLarge));
        assert!(has(&store, 0), "{order:?}");
    }
}

#[test]
fn replacing_removing_and_clearing_keep_the_figures_right() {
    for order in ORDERS {
        let store = store(Capacity::Bytes(100_000), order);
        store.put(key(0), entry(5_000, 60), now()).unwrap();
        store.put(key(0), entry(100, 60), now()).unwrap();
        store.put(key(1), entry(100, 60), now()).unwrap();
        assert_eq!(store.stats().entries, 2, "{order:?}");
        assert!(store.stats().bytes < 2_000, "{order:?}");
        store.remove(&key(0));
        assert_eq!(store.stats().entries, 1);
        store.clear();
        assert_eq!((store.stats().entries, store.stats().bytes), (0, 0), "{order:?}");
    }
}

#[test]
fn a_visit_sees_every_entry_and_removes_what_it_is_told_to() {
    for order in ORDERS {
        let store = store(Capacity::Entries(1_000), order);
        for n in 0..200 {
            store.put(key(n), entry(10, 60), now()).unwrap();
        }
        let mut seen = std::collections::HashSet::new();
        let all = store.visit(&mut |at, _| {
            // Use moves entries of some orders about.
            assert!(has(&store, 7) || seen.contains(key(7).as_bytes()));
            seen.insert(at.as_bytes().to_vec());
            if *at == key(7) { Seen::Remove } else { Seen::Keep }
        });
        assert!(all && seen.len() == 200, "{order:?}: {} seen", seen.len());
        assert!(!has(&store, 7) && has(&store, 8), "{order:?}");
        assert_eq!(store.stats().entries, 199);
        let mut count = 0;
        let all = store.visit(&mut |_, _| {
            count += 1;
            Seen::Stop
        });
        assert!(!all && count == 1, "{order:?}: stopped after {count}");
    }
}

#[test]
fn a_visit_removes_no_entry_that_took_the_place_of_the_one_it_saw() {
    for order in ORDERS {
        let store = store(Capacity::Entries(10), order);
        store.put(key(0), entry(1, 60), now()).unwrap();
        store.visit(&mut |_, _| {
            store.put(key(0), entry(2, 60), now()).unwrap();
            Seen::Remove
        });
        let Some(Entry::Response(kept)) = store.get(&key(0), now()) else { continue };
        assert_eq!(kept.body.len(), 2, "{order:?}");
    }
}

#[test]
fn a_store_without_memory_keeps_nothing() {
    for order in ORDERS {
        let store = store(Capacity::Bytes(0), order);
        assert_eq!(store.put(key(0), entry(0, 60), now()), Err(StoreError::TooLarge));
        assert!(!has(&store, 0) && store.stats() == super::Stats::default(), "{order:?}");
    }
}
