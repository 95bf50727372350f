//! The sweeper: the memory of purged responses, and the rows of purges that nothing has to fear any longer.
//!
//! Invariant: the floor follows the oldest response or running fill. First every stripe's `current` is raised to the last
//! purge in force, so that whatever begins later begins there or above; then the running fills are looked at, then all that
//! is kept. What a running fill stores meanwhile began no earlier than the fill. A response that is found valid holds from
//! then on for the position at which it was found so: one pass moves the floor up to where it began, however old the responses are.
//! Whoever still holds a copy of something that is kept no longer loses nothing but the copy: below the floor it counts as purged.

use std::time::Duration;

use super::Cache;
use crate::clock::Now;
use crate::policy::Validity;
use crate::store::Seen;
use crate::stored::{Entry, Position, StoredResponse};

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Entries looked at.
    pub seen: u64,
    /// Responses removed.
    pub freed: u64,
    /// The floor after it.
    pub floor: Position,
}

/// How long a softly purged response is kept after its stale windows, for its validator.
const KEPT: Duration = Duration::from_secs(600);

impl Cache {
    /// Sweeps: frees the memory of purged responses, and the rows of purges that nothing has to fear any longer. It looks at
    /// everything that is kept, so it belongs on a thread of its own; it holds nobody up for longer than one entry takes.
    pub fn sweep(&self, now: Now) -> Swept {
        let fence = self.fence();
        let mut swept = Swept { floor: fence.floor(), ..Swept::default() };
        let begun = fence.begin_sweep();
        if begun == swept.floor {
            // No purge since the floor was raised.
            return swept;
        }
        let mut oldest = self.oldest_fill().map_or(begun, |fill| fill.min(begun));
        let mut all = true;
        for store in &self.0.stores {
            all &= store.visit(&mut |_, entry| {
                swept.seen += 1;
                let Entry::Response(response) = entry else { return Seen::Keep };
                if self.is_useless(response, now) {
                    swept.freed += 1;
                    return Seen::Remove;
                }
                oldest = oldest.min(response.valid_at());
                Seen::Keep
            });
        }
        if all {
            fence.end_sweep(oldest);
        }
        swept.floor = fence.floor();
        swept
    }

    /// Whether a purge makes it useless.
    fn is_useless(&self, response: &StoredResponse, now: Now) -> bool {
        let freshness = response.freshness();
        let windows = freshness.stale_while_revalidate.max(freshness.stale_if_error);
        match self.check(response) {
            Validity::Valid => false,
            Validity::StaleSince(since) => now.mono > since.saturating_add(windows).saturating_add(KEPT),
            Validity::Purged => true,
        }
    }
}
