//! A stored response: the head, the body, and what decides about its use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::key::CacheKey;
use crate::policy::surrogate::FOR_SURROGATES;
use crate::policy::{Freshness, SearchRule};

/// A place in the purge log. Positions of one process only are compared here.
pub type Position = u64;

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
    pub fn weight(&self) -> usize {
        self.place.len() + self.language.as_ref().map_or(0, |language| language.len()) + 64
    }
}

/// Which purges cover a stored response, as digests (see `purge::Coverage`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selectors {
    /// The stripe of `current` that tells of every purge that may cover it.
    pub stripe: u8,
    /// The exact selectors that cover it.
    pub exact: Box<[u64]>,
    /// Its tags, for patterns and for people.
    pub tags: Box<[Arc<str>]>,
    /// The digests of the scopes that cover it, for patterns.
    pub scopes: Box<[u64]>,
}

/// A complete response of an origin.
#[derive(Debug)]
pub struct StoredResponse {
    /// No other one of this process has it.
    id: u64,
    /// The status.
    pub status: StatusCode,
    /// The fields, without connection-specific ones and without what Larder sets itself.
    pub fields: Box<[(HeaderName, HeaderValue)]>,
    /// What the origin said to surrogates alone: no client gets it, and a 304 that does not repeat it leaves it in force.
    pub aside: Box<[(HeaderName, HeaderValue)]>,
    /// The whole content.
    pub body: Bytes,
    /// When it is fresh.
    pub freshness: Freshness,
    /// `current` as it was before the origin was contacted.
    pub begun_at: Position,
    /// The same for the oldest of its content, below `begun_at` where that was confirmed or combined since. The purges of its
    /// own URL were looked at on the way from here to there; those of others were not.
    pub since: Position,
    /// The order of the fills of one key.
    pub ticket: u64,
    /// Which purges cover it.
    pub selectors: Selectors,
    /// The position at which the fence last found it valid; never below `begun_at`. No purge up to there covers it, so that
    /// it is judged from there on: as if its fill had begun there.
    valid_at: AtomicU64,
    /// The moment of storing, in milliseconds since the Unix epoch, for people.
    pub stored_wall_ms: u64,
}

/// A guess at what an entry costs besides its bytes: the allocations of key, fields and bookkeeping.
const OVERHEAD: u64 = 384;
/// The same per field.
const FIELD_OVERHEAD: u64 = 88;

impl StoredResponse {
    /// A response that came out of a fill.
    #[allow(clippy::too_many_arguments)] // one call, in the fill; a builder would only rename the fields
    pub fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
        freshness: Freshness,
        begun_at: Position,
        ticket: u64,
        selectors: Selectors,
        wall_ms: u64,
    ) -> Self {
        let (fields, aside) = packed(headers);
        static MADE: AtomicU64 = AtomicU64::new(0);
        Self {
            id: MADE.fetch_add(1, Ordering::Relaxed),
            status,
            fields,
            aside,
            body,
            freshness,
            begun_at,
            since: begun_at,
            ticket,
            selectors,
            valid_at: AtomicU64::new(begun_at),
            stored_wall_ms: wall_ms,
        }
    }

    /// Its number, which no other stored response of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The first value of a field.
    pub fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// All values of a field.
    pub fn field_all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| v)
    }

    /// The fields as a map, with room for what Larder adds.
    pub fn header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.fields.len() + 6);
        for (name, value) in &self.fields {
            map.append(name.clone(), value.clone());
        }
        map
    }

    /// All fields, for an update by a 304: those that clients get, and what was said to surrogates alone.
    pub fn all_fields(&self) -> HeaderMap {
        let mut map = self.header_map();
        for (name, value) in &self.aside {
            map.append(name.clone(), value.clone());
        }
        map
    }

    /// What it takes in memory, overhead included, in bytes; `key` is the length of its key.
    pub fn weight(&self, key: usize) -> u64 {
        let all = || self.fields.iter().chain(&self.aside);
        let fields: usize = all().map(|(n, v)| n.as_str().len() + v.len()).sum();
        let tags: usize = self.selectors.tags.iter().map(|t| t.len() + 16).sum();
        let numbers = (self.selectors.exact.len() + self.selectors.scopes.len()) * 8;
        let bytes = (self.body.len() + key + fields + tags + numbers) as u64;
        bytes + OVERHEAD + FIELD_OVERHEAD * all().count() as u64
    }

    /// Whether a part is older than this whole response beside it, or the other way round, and not known to be of the same
    /// representation: what came later shows that it is over.
    pub fn outdates(&self, older: &Self) -> bool {
        let [etag, modified] = [ETAG, LAST_MODIFIED].map(|name| (self.field(&name), older.field(&name)));
        let named = etag.0.is_some() || modified.0.is_some();
        self.ticket > older.ticket && !(named && etag.0 == etag.1 && modified.0 == modified.1)
    }

    /// The position at which the fence last found it valid, from which it is judged.
    pub fn valid_at(&self) -> Position {
        self.valid_at.load(Ordering::Acquire)
    }

    /// Remembers that the fence found it valid at `position`: neither purged nor stale.
    pub fn remember_valid(&self, position: Position) {
        self.valid_at.fetch_max(position, Ordering::AcqRel);
    }
}

/// Fields as they are kept.
type Fields = Box<[(HeaderName, HeaderValue)]>;

/// The fields, and those for surrogates, with their values in one run of bytes of their own. The values that came off a
/// connection are pieces of its read buffer: a clone of one would keep the whole buffer, many times what the entry is said
/// to weigh.
fn packed(headers: &HeaderMap) -> (Fields, Fields) {
    let mut all = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    headers.values().for_each(|value| all.extend_from_slice(value.as_bytes()));
    let mut all = all.freeze();
    let fields = headers.iter().map(|(name, value)| {
        let own = HeaderValue::from_maybe_shared(all.split_to(value.len()));
        // The bytes of a valid value are valid.
        (name.clone(), own.unwrap_or_else(|_| HeaderValue::from_static("")))
    });
    let (aside, fields): (Vec<_>, Vec<_>) = fields.partition(|(name, _)| FOR_SURROGATES.contains(name));
    (fields.into(), aside.into())
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

    /// What it takes in memory, in bytes; `key` is the length of its key.
    pub fn weight(&self, key: usize) -> u64 {
        match self {
            Self::Response(response) => response.weight(key),
            Self::Variants(variants) => {
                let members: usize = variants.members.iter().map(Member::weight).sum();
                (256 + key + 40 * variants.fields.len() + members) as u64
            }
            Self::Searches(searches) => {
                let rules: usize = searches.rules.iter().map(SearchRule::weight).sum();
                (256 + key + rules) as u64
            }
            Self::Searched(searched) => (256 + key + searched.key.len()) as u64,
        }
    }

    /// When it is of no more use, on the monotonic clock; `None`: never.
    pub fn useless_after(&self) -> Option<Duration> {
        match self {
            Self::Response(response) => response.freshness.useless_after(),
            Self::Variants(variants) => variants.until,
            Self::Searches(searches) => searches.until,
            Self::Searched(searched) => searched.until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_head_does_not_keep_the_buffer_that_it_was_read_from() {
        let buffer = Bytes::from(vec![b'x'; 8192]);
        let mut headers = HeaderMap::new();
        for (name, range) in [("etag", 0..3), ("surrogate-control", 3..6), ("x-a", 10..90), ("x-b", 0..0)] {
            headers.append(name, HeaderValue::from_maybe_shared(buffer.slice(range)).unwrap());
        }
        let freshness = Freshness::until_purged();
        let (status, body) = (StatusCode::OK, Bytes::new());
        let stored = StoredResponse::new(status, &headers, body, freshness, 0, 0, Selectors::default(), 0);
        assert_eq!(stored.all_fields(), headers);
        headers.remove("surrogate-control");
        assert_eq!(stored.header_map(), headers, "what is for surrogates is kept aside");
        drop(headers);
        assert!(buffer.is_unique(), "8 KiB are kept for 86 bytes");
    }
}
