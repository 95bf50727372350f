//! Entries as bytes that leave the process, and back (docs/entry-format.md). Pure: no I/O and no clock.
//!
//! Invariants: no bytes make the decoder panic or allocate more than its [`Seal`] allows and as much again for what it reads
//! into. What comes back is for the cache key that it went out for, is not younger than it was, and does not end later. Whether
//! it may still be used is for the fence to say: the position at which its fill began comes back with it.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::frame::{Frame, Kind, TICKETS};
use super::seal::{ENTROPY, Seal};
use super::{StoredResponse, Variants, WallMap};
use crate::clock::Now;
use crate::key::CacheKey;
use crate::policy::Freshness;

use reader::Reader;
use writer::Writer;

pub use super::frame::Undecodable;

/// The most lines of fields that an entry has.
pub const MAX_FIELDS: usize = 4096;

/// What leaves the process.
#[derive(Debug, Clone, Copy)]
pub enum Portable<'a> {
    /// A response.
    Response(&'a StoredResponse),
    /// What leads to the variants of a response.
    Variants(&'a Variants),
}

/// What came from elsewhere.
#[derive(Debug)]
pub enum Decoded {
    /// A response.
    Response(Box<Received>),
    /// What leads to the variants of a response.
    Variants(Variants),
}

/// A response that came from elsewhere. Positions and digests are for the process to give it.
#[derive(Debug)]
pub struct Received {
    /// The status.
    pub status: StatusCode,
    /// All fields, also what was said to surrogates alone.
    pub headers: HeaderMap,
    /// The whole content.
    pub body: Bytes,
    /// When it is fresh, on the monotonic clock of this process.
    pub freshness: Freshness,
    /// Its tags.
    pub tags: Vec<Arc<str>>,
    /// The moment of storing, in milliseconds since the Unix epoch, for people.
    pub stored_wall_ms: u64,
}

/// Where an entry stands in the shared log, and among the fills of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whose positions these are: those of different incarnations never match.
    pub incarnation: [u8; 16],
    /// The position that was current before the origin was contacted.
    pub seq: u64,
    /// The same for the oldest of the content; not above `seq`.
    pub since: u64,
    /// The order of the fills of one key, below 2^53.
    pub ticket: u64,
}

/// Why an entry cannot leave the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unencodable {
    /// It is larger than the store takes.
    TooLarge,
    /// The format has no room for this.
    Unfit(&'static str),
    /// It could not be encrypted.
    NotSealed,
}

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the entry is larger than the store takes"),
            Self::Unfit(what) => write!(f, "the entry has {what}"),
            Self::NotSealed => f.write_str("the entry could not be encrypted"),
        }
    }
}

impl std::error::Error for Unencodable {}

/// The bytes of an entry under `key`. Where it is encrypted, the random bytes for that are the system's.
///
/// # Errors
/// Where it is too large, or nothing that a decoder would take.
pub fn encode(
    entry: Portable<'_>,
    key: &CacheKey,
    place: &Place,
    map: &WallMap,
    seal: &Seal,
) -> Result<Vec<u8>, Unencodable> {
    let mut entropy = [0; ENTROPY];
    if seal.encrypts() {
        getrandom::fill(&mut entropy).map_err(|_| Unencodable::NotSealed)?;
    }
    encode_with(entry, key, place, map, seal, &entropy)
}

fn encode_with(
    entry: Portable<'_>,
    key: &CacheKey,
    place: &Place,
    map: &WallMap,
    seal: &Seal,
    entropy: &[u8; ENTROPY],
) -> Result<Vec<u8>, Unencodable> {
    if place.ticket >= TICKETS || place.since > place.seq {
        return Err(Unencodable::Unfit("a ticket or a position out of order"));
    }
    let mut out = Writer::new(key, place.since);
    let kind = match entry {
        Portable::Response(response) => {
            if response.body.len() > seal.max_raw() {
                return Err(Unencodable::TooLarge);
            }
            out.response(response, map)?;
            Kind::Response
        }
        Portable::Variants(variants) => {
            out.variants(variants, key, map)?;
            Kind::Variants
        }
    };
    if out.0.len() > seal.max_raw() {
        return Err(Unencodable::TooLarge);
    }
    let Place { incarnation, seq, ticket, .. } = *place;
    // How it is sealed, and the lengths, are for the seal to fill in.
    let frame = Frame { kind, compressed: false, key: None, ticket, incarnation, seq, payload: 0, raw: 0 };
    seal.close(frame, &out.0, key, entropy).map_err(|_| Unencodable::NotSealed)
}

/// The entry that these bytes are, where they are one for `key`.
///
/// # Errors
/// Where they are not, or where it is of no use any more. Neither says anything about the server that they came from.
pub fn decode(
    bytes: &[u8],
    key: &CacheKey,
    now: Now,
    map: &WallMap,
    seal: &Seal,
) -> Result<(Place, Decoded), Undecodable> {
    let (frame, raw) = seal.open(bytes, key)?;
    let mut reader = Reader(&raw);
    if reader.chunk::<32>()? != key.sha256() {
        return Err(Undecodable::OtherKey);
    }
    let since = reader.number()?;
    if since > frame.seq {
        return Err(Undecodable::Malformed("a position"));
    }
    let decoded = match frame.kind {
        Kind::Response => Decoded::Response(Box::new(reader.response(now, map)?)),
        Kind::Variants => Decoded::Variants(reader.variants(key, map)?),
    };
    if !reader.0.is_empty() {
        return Err(Undecodable::Malformed("more than there should be"));
    }
    let Frame { incarnation, seq, ticket, .. } = frame;
    Ok((Place { incarnation, seq, since, ticket }, decoded))
}

/// What a response's freshness has, in one byte.
mod bit {
    pub(super) const MUST_REVALIDATE: u8 = 1;
    pub(super) const NO_CACHE: u8 = 2;
    pub(super) const IMMUTABLE: u8 = 4;
    pub(super) const LIFETIME: u8 = 8;
    pub(super) const ENDS: u8 = 16;
}
