//! What a store keeps: responses, and what leads to them.

mod frame;
mod packed;
mod response;
pub mod seal;
mod selectors;
mod size;
mod wall;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::key::CacheKey;
use crate::policy::SearchRule;
use size::{taken, taken_by_arc};

pub use response::{Position, StoredResponse};
pub use selectors::{Covered, Selectors};
pub use wall::WallMap;

/// What is kept under a key.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A response.
    Response(Arc<StoredResponse>),
    /// The responses are one key further, told apart by these request fields (RFC 9111 section 4.1).
    Variants(Arc<Variants>),
    /// The rules by which responses to other queries of this URL are found (`No-Vary-Search`).
    Searches(Arc<Searches>),
    /// Where a response lies that answers all queries that fold to one.
    Searched(Arc<Searched>),
}

/// The variants of one key.
#[derive(Debug, PartialEq, Eq)]
pub struct Variants {
    /// The fields that tell them apart: in lower case, sorted.
    pub fields: Vec<HeaderName>,
    /// Those that were stored, the last one last. What was evicted since is still among them.
    pub members: Vec<Member>,
    /// When the last of them is of no more use, on the monotonic clock; `None`: never.
    pub until: Option<Duration>,
}

/// The rules of one URL, whatever its query.
#[derive(Debug)]
pub struct Searches {
    /// The newest first.
    pub rules: Vec<SearchRule>,
    /// When the last response is of no more use, on the monotonic clock; `None`: never.
    pub until: Option<Duration>,
}

/// Where a response lies that was stored for another query.
#[derive(Debug)]
pub struct Searched {
    /// Its own key.
    pub key: CacheKey,
    /// The order of its fill.
    pub ticket: u64,
    /// When it is of no more use, on the monotonic clock; `None`: never.
    pub until: Option<Duration>,
}

/// The later of two ends, of which `None` is the end of time, and which the second may not have.
pub fn later(one: Option<Duration>, other: Option<Option<Duration>>) -> Option<Duration> {
    match other {
        None => one,
        Some(other) => one.zip(other).map(|(a, b)| a.max(b)),
    }
}

/// A variant that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The key under which it lies.
    pub place: CacheKey,
    /// The order of its fill.
    pub ticket: u64,
    /// Its one language, in lower case, where the response names one.
    pub language: Option<Box<[u8]>>,
}

impl Member {
    /// What it takes in memory, in bytes.
    pub fn weight(&self) -> u64 {
        let language = self.language.as_ref().map_or(0, |language| taken(language.len()));
        taken(size_of::<Self>()) + taken_by_arc(self.place.len()) + language
    }
}

impl Entry {
    /// Whether it is the very same, not only an equal one.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Response(a), Self::Response(b)) => Arc::ptr_eq(a, b),
            (Self::Variants(a), Self::Variants(b)) => Arc::ptr_eq(a, b),
            (Self::Searches(a), Self::Searches(b)) => Arc::ptr_eq(a, b),
            (Self::Searched(a), Self::Searched(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// What it takes in memory, its key (so many bytes long) included, as the allocator has it. What the store itself takes
    /// for an entry is the store's to add.
    pub fn weight(&self, key: usize) -> u64 {
        let own = taken_by_arc(key);
        match self {
            Self::Response(response) => response.weight(key),
            Self::Variants(variants) => {
                let members: u64 = variants.members.iter().map(Member::weight).sum();
                own + taken_by_arc(size_of::<Variants>()) + taken(size_of_val(&*variants.fields)) + members
            }
            Self::Searches(searches) => {
                let rules: u64 = searches.rules.iter().map(|rule| taken(rule.weight())).sum();
                own + taken_by_arc(size_of::<Searches>()) + rules
            }
            Self::Searched(searched) => {
                own + taken_by_arc(size_of::<Searched>()) + taken_by_arc(searched.key.len())
            }
        }
    }

    /// When it is of no more use, on the monotonic clock; `None`: never.
    pub fn useless_after(&self) -> Option<Duration> {
        match self {
            Self::Response(response) => response.freshness().useless_after(),
            Self::Variants(variants) => variants.until,
            Self::Searches(searches) => searches.until,
            Self::Searched(searched) => searched.until,
        }
    }
}
