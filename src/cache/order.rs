//! The order of the commits under one key and its variants: an older fill never overwrites a newer one.
//!
//! It lives for as long as any fill of the key is alive, so whatever a newer fill committed while an older one was under
//! way is known when the older one commits, also where the entry was evicted meanwhile. It is bounded: when too many
//! places are remembered, all are forgotten and fills older than the newest of them are not stored.

use std::collections::HashMap;

use crate::key::{CacheKey, PreparedState};

/// How many places are remembered at most.
const PLACES: usize = 256;

/// The newest tickets that were committed.
#[derive(Default)]
pub(super) struct Order {
    /// Per place: the key itself, or a variant's.
    placed: HashMap<CacheKey, u64, PreparedState>,
    /// The newest commit of any variant: it says that there are variants.
    varied: u64,
    /// The newest of the places that were forgotten.
    forgotten: u64,
}

impl Order {
    /// Whether a fill with this ticket may be stored at `place`, below `key`; `varies` says whether it is a variant. If so,
    /// that is remembered.
    pub(super) fn admits(&mut self, ticket: u64, key: &CacheKey, place: &CacheKey, varies: bool) -> bool {
        // A response without variants would hide newer ones, and a variant a newer response without any.
        let structure = if varies { self.newest(key) } else { self.varied };
        if ticket < self.forgotten || ticket < structure || ticket < self.newest(place) {
            return false;
        }
        if varies {
            self.varied = self.varied.max(ticket);
        }
        if self.placed.len() >= PLACES {
            self.forgotten = self.placed.drain().map(|(_, ticket)| ticket).fold(self.forgotten, u64::max);
        }
        self.placed.insert(place.clone(), ticket);
        true
    }

    fn newest(&self, place: &CacheKey) -> u64 {
        self.placed.get(place).copied().unwrap_or_default()
    }
}
