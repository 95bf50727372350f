//! Remembers for a short time which keys had an answer that could not be stored: their requests do not wait for one another.

use std::time::Duration;

use quick_cache::UnitWeighter;
use quick_cache::sync::Cache as QuickCache;

use crate::clock::Now;
use crate::key::{CacheKey, PreparedState};

/// How long it is remembered. Then one request finds out anew, while the others wait for its head.
pub(super) const REMEMBERED: Duration = Duration::from_secs(10);

/// How many keys are remembered at most.
const KEYS: usize = 65_536;

/// The memory: key, and the monotonic moment at which it ends.
pub(super) struct Uncacheable(QuickCache<CacheKey, Duration, UnitWeighter, PreparedState>);

impl Default for Uncacheable {
    fn default() -> Self {
        Self(QuickCache::with(
            KEYS,
            KEYS as u64,
            UnitWeighter,
            PreparedState::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        ))
    }
}

impl Uncacheable {
    pub(super) fn holds(&self, key: &CacheKey, now: Now) -> bool {
        self.0.get(key).is_some_and(|until| now.mono < until)
    }

    pub(super) fn remember(&self, key: &CacheKey, now: Now) {
        self.0.insert(key.clone(), now.mono + REMEMBERED);
    }
}
