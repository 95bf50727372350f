//! Where responses are kept. A backend keeps entries under keys within its limits; whether an entry may be used is
//! not its business (the fence and the policy decide), so losing an entry at any time is allowed.

mod memory;
mod ordered;
pub mod redis;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::clock::Now;
use crate::key::CacheKey;
use crate::stored::Entry;

pub use memory::MemoryStore;
pub use shared::{
    Begin, Claim, Committed, Health, NO_TICKET, Offer, Reply, Shared, SharedError, SharedErrorKind, TICKET_AT,
};

/// Why an entry was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// It is larger than the store takes.
    TooLarge,
    /// The backend failed; the text is for the log.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the entry is larger than the store takes"),
            Self::Failed(why) => write!(f, "the store failed: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Figures of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Entries kept.
    pub entries: u64,
    /// What they take in bytes, overhead included.
    pub bytes: u64,
    /// The configured maximum, in bytes or entries.
    pub capacity: u64,
}

/// What becomes of an entry that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It stays.
    Keep,
    /// It goes, unless another has taken its place meanwhile.
    Remove,
    /// It stays, and no more are shown.
    Stop,
}

/// A place for entries. Larder brings [`MemoryStore`]; a program that uses the library may bring its own (C1).
///
/// All methods are called on the request path: they must not block. An error of `put` costs the entry, never the page.
pub trait Backend: Send + Sync + 'static {
    /// The entry under `key`.
    fn get(&self, key: &CacheKey, now: Now) -> Option<Entry>;

    /// Keeps `entry` under `key`, in the place of what was there.
    ///
    /// # Errors
    /// Where the entry cannot be kept. What was there before may be gone too.
    fn put(&self, key: CacheKey, entry: Entry, now: Now) -> Result<(), StoreError>;

    /// Forgets the entry under `key`.
    fn remove(&self, key: &CacheKey);

    /// Forgets everything.
    fn clear(&self);

    /// Shows every entry to `see`, which says whether it stays. Nobody is held up by it for longer than one entry takes.
    /// Entries that are put meanwhile may be left out. Returns whether every other entry was seen; a backend that cannot
    /// go through its entries need not: the table of purges is then freed by its limit only.
    fn visit(&self, see: &mut dyn FnMut(&CacheKey, &Entry) -> Seen) -> bool {
        let _ = see;
        false
    }

    /// Figures for the operator.
    fn stats(&self) -> Stats;
}
