//! The first level: entries in this process, within a maximum of bytes (overhead included) or of entries.
//!
//! The scan-resistant default is quick_cache; the three strict orders are in `ordered`.

use std::time::Duration;

use quick_cache::sync::Cache as QuickCache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::ordered::OrderedStore;
use super::{Backend, Seen, Stats, StoreError};
use crate::clock::Now;
use crate::config::{Capacity, Eviction, Store as StoreConfig};
use crate::key::{CacheKey, PreparedState};
use crate::stored::Entry;

/// A store in memory.
pub struct MemoryStore {
    kept: Kept,
    weigh: Weigh,
    max_object: u64,
    /// The longest that a response is used.
    ttl: Option<Duration>,
}

enum Kept {
    Scan(Box<QuickCache<CacheKey, Entry, Weigh, PreparedState, Forget>>),
    Ordered(OrderedStore),
}

/// What an entry takes of the store's own tables: in the default store a place in the slab and one in its map, which grow by
/// doubling; with a strict order one in a map by key and one in a tree by rank.
const PLACE: u64 = 72;
const PLACE_ORDERED: u64 = 200;

/// The share of an entry's bytes that the allocator keeps free between entries while they come and go: measured
/// (docs/performance.md, "Memory").
const BETWEEN: u64 = 8;

#[derive(Clone)]
struct Weigh {
    capacity: Capacity,
    place: u64,
}

impl Weigh {
    fn of(&self, key: &CacheKey, entry: &Entry) -> u64 {
        match self.capacity {
            Capacity::Bytes(_) => {
                let bytes = entry.weight(key.len()) + self.place;
                bytes + bytes / BETWEEN
            }
            Capacity::Entries(_) => 1,
        }
    }
}

impl Weighter<CacheKey, Entry> for Weigh {
    fn weight(&self, key: &CacheKey, entry: &Entry) -> u64 {
        self.of(key, entry)
    }
}

/// Evicted entries are dropped after the shard's lock is released.
#[derive(Clone)]
struct Forget;

impl Lifecycle<CacheKey, Entry> for Forget {
    type RequestState = Option<(CacheKey, Entry)>;

    fn on_evict(&self, state: &mut Self::RequestState, key: CacheKey, entry: Entry) {
        *state = Some((key, entry));
    }
}

/// What an ordinary response is taken to weigh when the number of entries is estimated.
const USUAL_WEIGHT: u64 = 4 * 1024;

impl MemoryStore {
    /// A store as configured.
    pub fn new(config: &StoreConfig) -> Self {
        let place = if config.eviction == Eviction::ScanResistant { PLACE } else { PLACE_ORDERED };
        let weigh = Weigh { capacity: config.capacity, place };
        let kept = match config.eviction {
            Eviction::ScanResistant => Kept::Scan(Box::new(scan_resistant(config, weigh.clone()))),
            order => Kept::Ordered(OrderedStore::new(order, capacity(config.capacity))),
        };
        Self { kept, weigh, max_object: config.max_object, ttl: config.memory_ttl }
    }

    /// The largest body that it takes.
    pub fn max_object(&self) -> u64 {
        self.max_object
    }
}

fn capacity(capacity: Capacity) -> u64 {
    match capacity {
        Capacity::Bytes(n) | Capacity::Entries(n) => n,
    }
}

fn scan_resistant(
    config: &StoreConfig,
    weigh: Weigh,
) -> QuickCache<CacheKey, Entry, Weigh, PreparedState, Forget> {
    let total = capacity(config.capacity);
    let (entries, largest) = match config.capacity {
        Capacity::Bytes(bytes) => (bytes / USUAL_WEIGHT, config.max_object.max(1)),
        Capacity::Entries(n) => (n, 1),
    };
    // The weight is split by shard, and an entry must fit into one with room to spare. A small store has one shard.
    let by_size = match config.capacity {
        Capacity::Bytes(_) => total / largest.saturating_mul(2).max(1),
        Capacity::Entries(n) => n / 256,
    };
    let shards = by_size.clamp(1, 64).next_power_of_two();
    let options = OptionsBuilder::new()
        .estimated_items_capacity(usize::try_from(entries.clamp(16, 1 << 22)).unwrap_or(16))
        .weight_capacity(total)
        .shards(usize::try_from(shards).unwrap_or(1))
        .build();
    match options {
        Ok(options) => QuickCache::with_options(options, weigh, PreparedState::default(), Forget),
        // Both required options are set above.
        Err(_) => QuickCache::with(16, total, weigh, PreparedState::default(), Forget),
    }
}

impl Backend for MemoryStore {
    fn get(&self, key: &CacheKey, now: Now) -> Option<Entry> {
        let entry = match &self.kept {
            Kept::Scan(cache) => cache.get(key),
            Kept::Ordered(store) => store.get(key, now),
        };
        match (self.ttl, &entry) {
            (Some(ttl), Some(Entry::Response(response)))
                if now.mono >= response.came().saturating_add(ttl) =>
            {
                None
            }
            _ => entry,
        }
    }

    fn put(&self, key: CacheKey, entry: Entry, now: Now) -> Result<(), StoreError> {
        let weight = self.weigh.of(&key, &entry);
        if weight > capacity(self.weigh.capacity) {
            return Err(StoreError::TooLarge);
        }
        match &self.kept {
            Kept::Scan(cache) => cache.insert(key, entry),
            Kept::Ordered(store) => store.put(key, entry, weight, now),
        }
        Ok(())
    }

    fn remove(&self, key: &CacheKey) {
        match &self.kept {
            Kept::Scan(cache) => drop(cache.remove(key)),
            Kept::Ordered(store) => store.remove(key),
        }
    }

    fn clear(&self) {
        match &self.kept {
            Kept::Scan(cache) => cache.clear(),
            Kept::Ordered(store) => store.clear(),
        }
    }

    fn visit(&self, see: &mut dyn FnMut(&CacheKey, &Entry) -> Seen) -> bool {
        match &self.kept {
            Kept::Scan(cache) => {
                // The iterator locks a shard for one entry at a time, and an entry keeps its place for as long as it stays.
                for (key, entry) in cache.iter() {
                    match see(&key, &entry) {
                        Seen::Keep => {}
                        Seen::Remove => drop(cache.remove_if(&key, |present| present.is_same(&entry))),
                        Seen::Stop => return false,
                    }
                }
                true
            }
            Kept::Ordered(store) => store.visit(see),
        }
    }

    fn stats(&self) -> Stats {
        let (entries, bytes) = match &self.kept {
            Kept::Scan(cache) => (cache.len() as u64, cache.weight()),
            Kept::Ordered(store) => store.size(),
        };
        Stats { entries, bytes, capacity: capacity(self.weigh.capacity) }
    }
}
