//! A stored response, packed: beside its content it takes two allocations.
//!
//! Invariant: nothing in it is a piece of a larger buffer. Values that came off a connection are pieces of its read buffer:
//! a clone of one would keep the whole buffer, many times what the entry is said to weigh.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::packed::{self, Field};
use super::selectors::{Covered, Selectors};
use super::size::{taken, taken_by_arc};
use crate::policy::Freshness;
use crate::policy::surrogate::FOR_SURROGATES;

/// A place in the purge log. Positions of one process only are compared here.
pub type Position = u64;

/// A complete response of an origin.
#[derive(Debug)]
pub struct StoredResponse {
    /// The whole content.
    pub body: Bytes,
    /// The moment of storing, when it is fresh, which purges cover it, and the fields.
    packed: Box<[u8]>,
    /// `current` as it was before the origin was contacted.
    pub begun_at: Position,
    /// The same for the oldest of its content, below `begun_at` where that was confirmed or combined since. The purges of its
    /// own URL were looked at on the way from here to there; those of others were not.
    pub since: Position,
    /// The order of the fills of one key.
    pub ticket: u64,
    /// The position at which the fence last found it valid; never below `begun_at`. No purge up to there covers it, so that
    /// it is judged from there on: as if its fill had begun there.
    valid_at: AtomicU64,
    id: u64,
    /// Where the selectors end in what is packed, and the fields begin.
    fields_at: u32,
    /// The status.
    pub status: StatusCode,
    stripe: u8,
    /// What is there of its freshness.
    freshness: u8,
}

/// What is kept beside a body that was served: who shares it.
const SHARED_BODY: usize = 24;
/// The moment of storing, and when it came to this node.
const MOMENTS: usize = 16;

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
        static IDS: AtomicU64 = AtomicU64::new(0);
        let mut packed = Vec::with_capacity(1024);
        packed.extend_from_slice(&wall_ms.to_le_bytes());
        packed.extend_from_slice(&millis(freshness.received).to_le_bytes());
        let flags = packed::put_freshness(&mut packed, &freshness);
        let covered = selectors.covered();
        packed.extend_from_slice(covered.packed);
        // Tags are far fewer than would fill 4 GiB.
        let fields_at = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        packed::put_fields(&mut packed, headers);
        Self {
            body,
            packed: packed.as_slice().into(),
            begun_at,
            since: begun_at,
            ticket,
            valid_at: AtomicU64::new(begun_at),
            id: IDS.fetch_add(1, Ordering::Relaxed),
            fields_at,
            status,
            stripe: covered.stripe,
            freshness: flags,
        }
    }

    /// A number that no other stored response of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When it is fresh.
    pub fn freshness(&self) -> Freshness {
        packed::freshness(self.packed.get(MOMENTS..).unwrap_or_default(), self.freshness)
    }

    /// The moment of storing, in milliseconds since the Unix epoch, for people.
    pub fn stored_wall_ms(&self) -> u64 {
        self.packed.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// When it came to this node, from the origin or from another level, on the monotonic clock, to the millisecond.
    pub fn came(&self) -> Duration {
        let came = self.packed.get(8..).and_then(<[u8]>::first_chunk);
        Duration::from_millis(came.map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// It came later than it was received: from another level.
    pub fn set_came(&mut self, at: Duration) {
        if let Some(came) = self.packed.get_mut(8..).and_then(<[u8]>::first_chunk_mut) {
            *came = millis(at).to_le_bytes();
        }
    }

    /// Which purges cover it.
    pub fn selectors(&self) -> Covered<'_> {
        let from = MOMENTS + packed::freshness_size(self.freshness);
        let packed = self.packed.get(from..self.fields_at as usize).unwrap_or_default();
        Covered { stripe: self.stripe, packed }
    }

    /// The stripe of `current` that tells of every purge that may cover it.
    pub fn stripe(&self) -> u8 {
        self.stripe
    }

    /// Its tags.
    pub fn tags(&self) -> Vec<Arc<str>> {
        self.selectors().tags().map(Into::into).collect()
    }

    /// All fields that are kept.
    fn fields(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        packed::fields(self.packed.get(self.fields_at as usize..).unwrap_or_default())
    }

    /// The first value of a field.
    pub fn field(&self, name: &HeaderName) -> Option<HeaderValue> {
        self.field_all(name).next()
    }

    /// All values of a field.
    pub fn field_all(&self, name: &HeaderName) -> impl Iterator<Item = HeaderValue> {
        // No client gets what was said to surrogates.
        self.fields().filter(move |field| field.is(name) && !is_aside(field)).map(|field| field.value())
    }

    /// The fields as a map, with room for what Larder adds: without connection-specific ones and without what Larder sets
    /// itself or was said to surrogates alone.
    pub fn header_map(&self) -> HeaderMap {
        packed::map(self.fields().filter(|field| !is_aside(field)), self.packed.len())
    }

    /// All fields, for an update by a 304: those that clients get, and what was said to surrogates alone; a 304 that does not
    /// repeat that leaves it in force.
    pub fn all_fields(&self) -> HeaderMap {
        packed::map(self.fields(), self.packed.len())
    }

    /// What it takes in memory, its key (so many bytes long) included, as the allocator has it.
    pub fn weight(&self, key: usize) -> u64 {
        let body = if self.body.is_empty() { 0 } else { taken(self.body.len()) + taken(SHARED_BODY) };
        taken_by_arc(size_of::<Self>()) + taken(self.packed.len()) + body + taken_by_arc(key)
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

fn is_aside(field: &Field<'_>) -> bool {
    FOR_SURROGATES.iter().any(|name| field.is(name))
}

fn millis(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(headers: &HeaderMap, body: Bytes) -> StoredResponse {
        let selectors = Selectors::new(3, Some(1), &[3, 4], &["a", "b:c"]);
        StoredResponse::new(StatusCode::OK, headers, body, Freshness::until_purged(), 5, 0, selectors, 1_234)
    }

    #[test]
    fn a_stored_head_does_not_keep_the_buffer_that_it_was_read_from() {
        let buffer = Bytes::from(vec![b'x'; 8192]);
        let mut headers = HeaderMap::new();
        for (name, range) in [("etag", 0..3), ("surrogate-control", 3..6), ("x-a", 10..90), ("x-b", 0..0)] {
            headers.append(name, HeaderValue::from_maybe_shared(buffer.slice(range)).unwrap());
        }
        let stored = stored(&headers, Bytes::new());
        assert_eq!(stored.all_fields(), headers);
        headers.remove("surrogate-control");
        assert_eq!(stored.header_map(), headers, "what is for surrogates is kept aside");
        assert_eq!(stored.field(&FOR_SURROGATES[0]), None);
        drop(headers);
        assert!(buffer.is_unique(), "8 KiB are kept for 86 bytes");
    }

    #[test]
    fn what_is_packed_is_told_apart() {
        let mut headers = HeaderMap::new();
        headers.append(ETAG, HeaderValue::from_static("\"e\""));
        let one = stored(&headers, Bytes::from_static(b"x"));
        assert_eq!(one.field(&ETAG).unwrap(), "\"e\"");
        assert_eq!(one.freshness(), Freshness::until_purged());
        assert_eq!((one.stored_wall_ms(), one.stripe(), one.valid_at()), (1_234, 3, 5));
        assert_eq!(one.selectors(), Selectors::new(3, Some(1), &[3, 4], &["a", "b:c"]).covered());
        assert_eq!(one.tags(), ["a", "b:c"].map(Arc::<str>::from));
        assert_ne!(one.id(), stored(&headers, Bytes::new()).id());
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<StoredResponse>() <= 96, "{}", size_of::<StoredResponse>());
    }
}
