//! What the tests of entries share: keys, seals, small entries and clocks.

mod damage;
mod page;
mod there_and_back;

use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use http::{HeaderName, HeaderValue};
use std::time::Duration;

use super::*;
use crate::key::KeyParts;
use crate::stored::frame::{self, FRAME};
use crate::stored::seal::{Compress, SealKey};
use crate::stored::{Member, Selectors};

const KIB: usize = 1024;
const ONE: &[u8; 32] = b"the first secret of these tests.";
const TWO: &[u8; 32] = b"another secret, for a rotation..";
const ENTROPY_OF_TESTS: [u8; ENTROPY] = *b"salt of 16 bytesnonce of 12b";
const PLACE: Place = Place { incarnation: *b"an incarnation.\0", seq: 1_234, since: 1_230, ticket: 1 << 50 };

fn key(path: &str) -> CacheKey {
    CacheKey::new(&KeyParts { path, ..KeyParts::PLAIN }).unwrap()
}

fn seal(compress: Option<usize>, secrets: &[&[u8]]) -> Seal {
    let keys = secrets.iter().map(|secret| SealKey::new(secret).unwrap()).collect();
    Seal::new(2 * KIB * KIB, compress.map(|above| Compress { above, level: 1 }), keys).unwrap()
}

/// One of each sort.
fn seals() -> [Seal; 4] {
    [seal(None, &[]), seal(Some(0), &[]), seal(None, &[ONE]), seal(Some(0), &[ONE, TWO])]
}

fn at(mono: Duration) -> Now {
    Now { mono, wall: Duration::ZERO }
}

/// A map between clocks that are one and the same, but for the steps in which the server's is told.
fn same_clocks() -> WallMap {
    WallMap::new(Duration::ZERO, Duration::ZERO, Duration::ZERO)
}

const LATER: Duration = Duration::from_secs(1_000);

fn put(response: &StoredResponse, key: &CacheKey, seal: &Seal) -> Vec<u8> {
    let entry = Portable::Response(response);
    encode_with(entry, key, &PLACE, &same_clocks(), seal, &ENTROPY_OF_TESTS).unwrap()
}

fn get(bytes: &[u8], key: &CacheKey, seal: &Seal) -> Result<(Place, Decoded), Undecodable> {
    decode(bytes, key, at(LATER), &same_clocks(), seal)
}

fn response_of(decoded: Decoded) -> Received {
    match decoded {
        Decoded::Response(response) => *response,
        Decoded::Variants(_) => panic!("variants"),
    }
}

fn stored(
    fields: &[(HeaderName, Vec<u8>)],
    tags: &[String],
    body: Vec<u8>,
    fresh: Freshness,
) -> StoredResponse {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    let selectors = Selectors::new(1, Some(2), &[3], tags);
    StoredResponse::new(StatusCode::OK, &headers, body.into(), fresh, 9, 8, selectors, 77)
}

fn small() -> StoredResponse {
    let freshness = Freshness {
        received: Duration::from_millis(1_500),
        lifetime: Some(Duration::from_secs(60)),
        ..Freshness::until_purged()
    };
    let fields =
        [("content-type", "text/plain"), ("etag", "\"1\""), ("set-cookie", "a=b"), ("set-cookie", "c=d")];
    let fields = fields.map(|(name, value)| (HeaderName::from_static(name), value.into()));
    let body = b"Hello! Hello! Hello! Hello! Hello! Hello! Hello! Hello! Hello! Hello! Hello! Hello!";
    stored(&fields, &["pages".to_owned(), "pages:a".to_owned()], body.to_vec(), freshness)
}

fn language(value: &str) -> Member {
    let selecting = [(ACCEPT, None), (ACCEPT_LANGUAGE, Some(value.into()))];
    let language = (!value.is_empty()).then(|| value.as_bytes().into());
    Member { place: key("/a").variant(&selecting).unwrap(), ticket: value.len() as u64, language }
}

fn variants() -> Variants {
    let members = ["de", "", "en-GB"].map(language).into();
    Variants { fields: vec![ACCEPT, ACCEPT_LANGUAGE], members, until: Some(Duration::from_secs(2_000)) }
}

fn put_variants(variants: &Variants, seal: &Seal) -> Result<Vec<u8>, Unencodable> {
    encode(Portable::Variants(variants), &key("/a"), &PLACE, &same_clocks(), seal)
}

/// With the right checksum, for what is behind it.
fn with_checksum(mut entry: Vec<u8>) -> Vec<u8> {
    if let Some(place) = entry.get_mut(56..60) {
        place.fill(0);
        let sum = crc32fast::hash(&entry).to_be_bytes();
        entry[56..60].copy_from_slice(&sum);
    }
    entry
}

/// An entry of this payload, which nobody has to have encoded.
fn framed(kind: Kind, compressed: bool, payload: &[u8], raw: usize) -> Vec<u8> {
    let (payload_length, raw) = (payload.len() as u32, raw as u32);
    let frame = Frame {
        kind,
        compressed,
        key: None,
        ticket: 1,
        incarnation: [0; 16],
        seq: 5,
        payload: payload_length,
        raw,
    };
    let mut entry = [&[0; FRAME], payload].concat();
    frame::finish(frame, &mut entry);
    entry
}

/// Numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A change somewhere: a bit, a byte, a number, a piece gone, a piece doubled.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        match self.below(6) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (at % 8)),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.0 as u8),
            2 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + self.below(8)).min(bytes.len()))),
            _ => {
                let piece = bytes[at..(at + self.below(16)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}
