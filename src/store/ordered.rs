//! Eviction in a strict order: least recently used, least frequently used, or first to expire.
//!
//! Each shard holds its entries twice: by key, and by rank in a sorted set whose first element goes first. Reading an
//! entry of a recency or frequency order moves it, so a read takes the shard's lock: an operator who asks for a strict
//! order pays for it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Seen;
use crate::clock::Now;
use crate::config::Eviction;
use crate::key::{CacheKey, PreparedState};
use crate::stored::Entry;

/// What goes first: the smallest. The second number tells entries of the same rank apart and, within a rank, is the order of use.
type Rank = (u64, u64);

struct Slot {
    entry: Entry,
    weight: u64,
    rank: Rank,
}

#[derive(Default)]
struct Inner {
    slots: HashMap<CacheKey, Slot, PreparedState>,
    by_rank: BTreeSet<(Rank, KeyByHash)>,
    weight: u64,
    tick: u64,
}

/// A key in the sorted set. Ranks are unique, so keys are never compared with one another.
#[derive(Clone, PartialEq, Eq)]
struct KeyByHash(CacheKey);

impl PartialOrd for KeyByHash {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyByHash {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.hash64().cmp(&other.0.hash64())
    }
}

/// How many entries a visit takes out under one lock.
const CHUNK: usize = 32;

/// A store with a strict order of eviction. It is one shard: the order holds for the whole store.
pub(super) struct OrderedStore {
    inner: Mutex<Inner>,
    order: Eviction,
    capacity: u64,
}

impl OrderedStore {
    pub(super) fn new(order: Eviction, capacity: u64) -> Self {
        Self { inner: Mutex::default(), order, capacity }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing below panics between two steps that belong together, save for want of memory.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &CacheKey, _now: Now) -> Option<Entry> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let slot = inner.slots.get_mut(key)?;
        inner.tick += 1;
        let used = match self.order {
            Eviction::Lfu => (slot.rank.0 + 1, inner.tick),
            Eviction::Time => slot.rank,
            Eviction::Lru | Eviction::ScanResistant => (0, inner.tick),
        };
        if used != slot.rank {
            inner.by_rank.remove(&(slot.rank, KeyByHash(key.clone())));
            inner.by_rank.insert((used, KeyByHash(key.clone())));
            slot.rank = used;
        }
        Some(slot.entry.clone())
    }

    pub(super) fn put(&self, key: CacheKey, entry: Entry, weight: u64, _now: Now) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        inner.tick += 1;
        // A new answer to a popular question stays popular.
        let uses = inner.forget(&key).map_or(1, |old| old.rank.0);
        let rank = match self.order {
            Eviction::Lfu => (uses, inner.tick),
            Eviction::Time => (expires(&entry), inner.tick),
            Eviction::Lru | Eviction::ScanResistant => (0, inner.tick),
        };
        inner.make_room(self.capacity.saturating_sub(weight));
        inner.weight += weight;
        inner.by_rank.insert((rank, KeyByHash(key.clone())));
        inner.slots.insert(key, Slot { entry, weight, rank });
    }

    pub(super) fn remove(&self, key: &CacheKey) {
        let _ = self.lock().forget(key);
    }

    pub(super) fn clear(&self) {
        let old = std::mem::take(&mut *self.lock());
        drop(old);
    }

    /// In the order of rank. An entry that is used meanwhile moves on, and is seen later, perhaps once more.
    pub(super) fn visit(&self, see: &mut dyn FnMut(&CacheKey, &Entry) -> Seen) -> bool {
        let mut last = None;
        // With much use an entry may be seen again and again: more than twice as many as there are is no pass.
        let mut left = self.size().0.saturating_mul(2).saturating_add(CHUNK as u64);
        loop {
            let chunk = self.lock().after(last.as_ref());
            let Some((_, rank)) = chunk.last() else { return true };
            last = Some(rank.clone());
            for (entry, (_, KeyByHash(key))) in &chunk {
                match see(key, entry) {
                    Seen::Keep => {}
                    Seen::Remove => self.lock().forget_same(key, entry),
                    Seen::Stop => return false,
                }
            }
            left = left.saturating_sub(chunk.len() as u64);
            if left == 0 {
                return false;
            }
        }
    }

    pub(super) fn size(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.slots.len() as u64, inner.weight)
    }
}

impl Inner {
    /// The entries after a rank, as many as are taken at a time.
    fn after(&self, last: Option<&(Rank, KeyByHash)>) -> Vec<(Entry, (Rank, KeyByHash))> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let ranks = self.by_rank.range((from, Bound::Unbounded)).take(CHUNK);
        ranks.filter_map(|at| Some((self.slots.get(&at.1.0)?.entry.clone(), at.clone()))).collect()
    }

    fn forget_same(&mut self, key: &CacheKey, entry: &Entry) {
        if self.slots.get(key).is_some_and(|slot| slot.entry.is_same(entry)) {
            let _ = self.forget(key);
        }
    }

    fn forget(&mut self, key: &CacheKey) -> Option<Slot> {
        let slot = self.slots.remove(key)?;
        self.by_rank.remove(&(slot.rank, KeyByHash(key.clone())));
        self.weight -= slot.weight;
        Some(slot)
    }

    fn make_room(&mut self, room: u64) {
        while self.weight > room {
            let Some((_, first)) = self.by_rank.pop_first() else { break };
            if let Some(slot) = self.slots.remove(&first.0) {
                self.weight -= slot.weight;
            }
        }
    }
}

/// When an entry is of no more use, in milliseconds of the monotonic clock.
fn expires(entry: &Entry) -> u64 {
    let end = entry.useless_after();
    end.map_or(u64::MAX, |end| u64::try_from(end.as_millis()).unwrap_or(u64::MAX))
}
