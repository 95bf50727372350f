//! What an entry that came from Redis may cost in memory, whatever it says of itself, as the allocator counts it.
//!
//! There is one test only, so that nothing else allocates meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail
#![allow(unsafe_code)] // an allocator can be counted in no other way

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use larder::clock::Now;
use larder::key::{CacheKey, KeyParts, Owner};
use larder::policy::Freshness;
use larder::stored::seal::{Compress, Seal, SealKey};
use larder::stored::wire::{Decoded, MAX_FIELDS, Place, Portable, Undecodable, decode, encode};
use larder::stored::{Selectors, StoredResponse, WallMap};

/// What is in use, and the most that was since it was last set to that.
static USED: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size() as u64;
        PEAK.fetch_max(USED.fetch_add(size, Ordering::Relaxed) + size, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;
/// Tables of fields, tags and digests.
const LITTLE: u64 = MIB as u64;

fn key() -> CacheKey {
    CacheKey::new(&KeyParts {
        https: false,
        authority: "a",
        owner: &Owner::Public,
        route: "r",
        method: "GET",
        path: "/",
        query: None,
        selecting: &[],
    })
    .unwrap()
}

fn map() -> WallMap {
    WallMap::new(Duration::ZERO, Duration::ZERO, Duration::ZERO)
}

fn entry(seal: &Seal, fields: usize, body: usize) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    for number in 0..fields {
        headers.append("x", http::HeaderValue::from(number));
    }
    let (status, fresh) = (StatusCode::OK, Freshness::until_purged());
    let body = Bytes::from(vec![0; body]);
    let response = StoredResponse::new(status, &headers, body, fresh, 0, 0, Selectors::default(), 0);
    let place = Place { incarnation: [0; 16], seq: 0, since: 0, ticket: 0 };
    encode(Portable::Response(&response), &key(), &place, &map(), seal).unwrap()
}

/// Any payload behind a frame that fits it.
fn framed(kind: u8, flags: u8, payload: &[u8], raw: usize) -> Vec<u8> {
    let mut entry = [b"LRD1", &[kind, flags, 0, 0][..], b"0000000000000001", &[0; 24]].concat();
    entry.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    entry.extend_from_slice(&(raw as u32).to_be_bytes());
    entry.extend_from_slice(&[0; 8]);
    entry.extend_from_slice(payload);
    let sum = crc32fast::hash(&entry).to_be_bytes();
    entry[56..60].copy_from_slice(&sum);
    entry
}

/// What decoding takes at most, and what comes of it.
fn cost(entry: &[u8], seal: &Seal) -> (u64, Result<Decoded, Undecodable>) {
    let (key, now) = (key(), Now { mono: Duration::from_secs(9), wall: Duration::ZERO });
    let before = USED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let decoded = decode(entry, &key, now, &map(), seal).map(|(_, decoded)| decoded);
    (PEAK.load(Ordering::Relaxed) - before, decoded)
}

#[test]
fn no_entry_costs_more_than_twice_the_largest_payload() {
    let keys = || vec![SealKey::new(&[7; 32]).unwrap()];
    let compress = Some(Compress::default());
    let seals = [(None, Vec::new()), (compress, Vec::new()), (None, keys()), (compress, keys())]
        .map(|(compress, keys)| Seal::new(4 * MIB, compress, keys).unwrap());
    for seal in &seals {
        for (fields, body) in [(0, 4 * MIB - 300), (MAX_FIELDS, 0), (MAX_FIELDS, 3 * MIB)] {
            let (cost, decoded) = cost(&entry(seal, fields, body), seal);
            assert!(decoded.is_ok(), "{decoded:?}");
            assert!(cost <= 8 * MIB as u64 + LITTLE, "{fields} fields, {body} bytes: {cost}");
        }
    }
    // What says of itself what is not so.
    let seal = Seal::new(64 << 10, None, Vec::new()).unwrap();
    let digest = key().sha256();
    let bomb = zstd::bulk::compress(&vec![0; 64 * MIB], 1).unwrap();
    let claims = [65_535_u16, 4_096, 256]
        .map(|count| [&digest[..], &[0; 67], &count.to_be_bytes(), &[0xff; 200]].concat());
    let variants = [&digest[..], &[0; 17], &[0xff; 400]].concat();
    let mut hostile = vec![
        framed(0, 1, &bomb, 64 * MIB),
        framed(0, 1, &bomb, 64 << 10),
        framed(0, 1, &bomb, u32::MAX as usize),
        framed(0, 0, &bomb, u32::MAX as usize),
        framed(1, 0, &variants, variants.len()),
    ];
    hostile.extend(claims.iter().map(|payload| framed(0, 0, payload, payload.len())));
    for (n, entry) in hostile.iter().enumerate() {
        let (cost, decoded) = cost(entry, &seal);
        assert!(decoded.is_err());
        assert!(cost <= 128 << 10, "{n}: {cost}");
    }
}
