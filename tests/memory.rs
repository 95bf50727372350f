//! What a stored response costs, as the allocator counts it; and that the store says so.
//!
//! The allocator of this test binary counts what is in use, in the sizes in which an allocator hands blocks out. There is one
//! test only, so that nothing else allocates meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail
#![allow(unsafe_code)] // an allocator can be counted in no other way

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use larder::cache::{Attach, Cache, Lookup, Want};
use larder::clock::Clock;
use larder::config::{Capacity, Eviction, Store};
use larder::key::{CacheKey, KeyParts, Owner};
use larder::policy::Freshness;
use larder::purge::Coverage;
use larder::stored::StoredResponse;

/// What is in use, in bytes: as they were asked for, and as an allocator with four sizes for each doubling hands them out.
static ASKED: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);

struct Counting;

fn taken(size: usize) -> u64 {
    let step = if size <= 128 { 16 } else { 1 << ((size - 1).ilog2() - 2) };
    size.next_multiple_of(step) as u64
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        TAKEN.fetch_add(taken(layout.size()), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ASKED.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        TAKEN.fetch_sub(taken(layout.size()), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const COUNT: usize = 26_000;
/// Larger than all of them, and with as many shards for each entry as a store of a million.
const CAPACITY: u64 = 64 << 20;

fn cache(eviction: Eviction) -> Cache {
    let capacity = Capacity::Bytes(CAPACITY);
    let store =
        Store { name: "s".into(), capacity, max_object: 2 << 20, eviction, memory_ttl: None, redis: None };
    Cache::new(&[Arc::new(store)], Clock::manual(Duration::from_secs(1_700_000_000)))
}

fn fields(number: usize) -> HeaderMap {
    let id = format!("{:016x}", number as u64 * 0x9e37_79b9_7f4a);
    let etag = format!("\"{id}\"");
    let fields = [
        ("content-type", "application/json"),
        ("cache-control", "public, max-age=3600"),
        ("etag", &etag),
        ("last-modified", "Fri, 20 Nov 2026 10:00:00 GMT"),
        ("x-request-id", &id),
        ("date", "Sat, 21 Nov 2026 05:00:00 GMT"),
    ];
    fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
}

/// Stores a response as a fill does.
fn store(cache: &Cache, number: usize) -> CacheKey {
    let (path, query) = (format!("/api/v1/products/{}", 100_000 + number), "lang=de");
    let (authority, owner, route) = ("shop.example:8080", &Owner::Public, "all");
    let key = CacheKey::new(&KeyParts {
        https: false,
        authority,
        owner,
        route,
        method: "GET",
        path: &path,
        query: Some(query),
        selecting: &[],
    })
    .unwrap();
    let target = format!("{path}?{query}");
    let coverage = Coverage { owner, authority, target: &target, route, store: 0, key: &key };
    let Attach::Lead(mut leader) = cache.attach(&key, None, Want::Any) else { panic!("a fill runs") };
    let begun = cache.begin(&mut leader, coverage.stripe());
    let lifetime = Some(Duration::from_secs(3600));
    let freshness = Freshness { lifetime, ..Freshness::until_purged() };
    let body = Bytes::from(vec![b'x'; 1024]);
    let selectors = coverage.selectors(Vec::new());
    let (at, ticket) = (begun.at, begun.ticket);
    let stored =
        StoredResponse::new(StatusCode::OK, &fields(number), body, freshness, at, ticket, selectors, 0);
    cache.commit(&mut leader, 0, &key, Arc::new(stored), None).unwrap();
    key
}

fn body_of(cache: &Cache, key: &CacheKey) -> Option<Bytes> {
    match cache.lookup(0, key, &HeaderMap::new(), cache.clock().now()).0 {
        Lookup::Found(response, _) => Some(response.body.clone()),
        _ => None,
    }
}

/// What each entry costs as asked for and as taken, and what the store says of it.
fn cost(eviction: Eviction) -> [u64; 3] {
    let cache = cache(eviction);
    // What is made once is made.
    drop(body_of(&cache, &store(&cache, COUNT)));
    let (asked, taken) = (ASKED.load(Ordering::Relaxed), TAKEN.load(Ordering::Relaxed));
    let weight = cache.stats()[0].bytes;
    for number in 0..COUNT {
        // A hit on each: a body that was served is shared.
        let key = store(&cache, number);
        assert_eq!(body_of(&cache, &key).unwrap().len(), 1024);
    }
    let stats = cache.stats()[0];
    assert_eq!(stats.entries, COUNT as u64 + 1, "the store is large enough");
    let used = [ASKED.load(Ordering::Relaxed) - asked, TAKEN.load(Ordering::Relaxed) - taken];
    [used[0], used[1], stats.bytes - weight].map(|bytes| bytes / COUNT as u64)
}

#[test]
fn a_stored_response_of_1_kib_takes_at_most_half_as_much_again_and_the_store_says_so() {
    for (eviction, most) in [(Eviction::ScanResistant, 1536), (Eviction::Lru, 1700)] {
        let [asked, taken, weight] = cost(eviction);
        println!("{eviction:?}: {asked} bytes asked for, {taken} taken, {weight} accounted for");
        assert!(taken <= most, "{eviction:?}: a stored response takes {taken} bytes");
        let ratio = weight as f64 / taken as f64;
        // With an eighth for what lies free between entries that come and go.
        assert!((1.08..=1.18).contains(&ratio), "{eviction:?}: {weight} accounted for, {taken} taken");
    }
}
