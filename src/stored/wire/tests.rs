//! Entries there and back, on clocks that differ; and everything that may have become of them on the way.

use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
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

// ---- There and back.

fn fields() -> impl Strategy<Value = Vec<(HeaderName, Vec<u8>)>> {
    let name = prop_oneof![
        Just(HeaderName::from_static("set-cookie")),
        Just(HeaderName::from_static("surrogate-control")),
        Just(HeaderName::from_static("date")),
        "[a-z][a-z0-9!#$%&'*+.^_`|~-]{0,30}".prop_map(|name| HeaderName::try_from(name).unwrap()),
    ];
    let bytes = prop_oneof![Just(b'\t'), 32..127_u8, 128..=255_u8];
    prop::collection::vec((name, prop::collection::vec(bytes, 0..60)), 0..12)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let noise = |length: usize, seed: u64| {
        let mut random = Random(seed);
        (0..length).map(|_| random.next() as u8).collect()
    };
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (0..=KIB * KIB, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
        1 => (0..64 * KIB, any::<u64>()).prop_map(move |(length, seed)| noise(length, seed)),
    ]
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), any::<u32>().prop_map(|n| Duration::from_nanos(u64::from(n) * 1_009))]
}

/// Times that a response may have, the moments in true time.
fn freshness() -> impl Strategy<Value = Freshness> {
    let ends = prop::array::uniform2(prop::option::of(span()));
    (prop::array::uniform4(span()), ends, 0..8_u8).prop_map(|(times, ends, bits)| Freshness {
        received: times[0],
        initial_age: times[1],
        lifetime: ends[0],
        ends: ends[1],
        stale_while_revalidate: times[2],
        stale_if_error: times[3],
        must_revalidate: bits & 1 != 0,
        no_cache: bits & 2 != 0,
        immutable: bits & 4 != 0,
    })
}

proptest! {
    #[test]
    fn a_response_comes_back_as_it_went_out(
        fields in fields(), body in body(), tags in prop::collection::vec("\\PC{0,20}", 0..5), which in 0..4_usize,
    ) {
        let given = stored(&fields, &tags, body, Freshness::until_purged());
        let seal = &seals()[which];
        let entry = put(&given, &key("/a"), seal);
        let (place, decoded) = get(&entry, &key("/a"), seal).unwrap();
        let received = response_of(decoded);
        prop_assert_eq!(place, PLACE);
        prop_assert_eq!(received.status, given.status);
        prop_assert_eq!(received.headers, given.all_fields());
        prop_assert_eq!(received.body, given.body.clone());
        prop_assert_eq!(received.tags, given.tags());
        prop_assert_eq!(received.stored_wall_ms, 77);
        prop_assert_eq!(received.freshness.lifetime, None);
    }

    /// True time runs from 0; the writer's clock is ahead of it, and the reader's may have begun later.
    #[test]
    fn on_any_clocks_a_response_is_not_younger_and_does_not_end_later(
        given in freshness(), ahead in span(), begun in span(), wall in span(), trips in any::<[(u16, u16); 2]>(),
        after in span(), later in prop::collection::vec(span(), 1..4),
    ) {
        let trips = trips.map(|(to, back)| [to, back].map(|n| Duration::from_nanos(u64::from(n) * 1_009)));
        let asked = begun + given.received;
        let map = |node: usize, clock: &dyn Fn(Duration) -> Duration| {
            let [to, back] = trips[node];
            let said = Duration::from_micros(u64::try_from((asked + to + wall).as_micros()).unwrap());
            WallMap::new(clock(asked), clock(asked + to + back), said)
        };
        let (writer, reader) = (|at: Duration| at + ahead, |at: Duration| at - begun);
        let written = Freshness { received: writer(given.received), ends: given.ends.map(writer), ..given };
        let response = stored(&[], &[], Vec::new(), written);
        let seal = seal(None, &[]);
        let entry = encode(Portable::Response(&response), &key("/a"), &PLACE, &map(0, &writer), &seal).unwrap();
        let now = asked + after + trips[1][0] + trips[1][1];
        let read = match decode(&entry, &key("/a"), at(reader(now)), &map(1, &reader), &seal) {
            Ok((_, decoded)) => response_of(decoded).freshness,
            Err(error) => {
                prop_assert_eq!(error, Undecodable::Over);
                let error = trips[0][1] + trips[1][0] + Duration::from_millis(2);
                prop_assert!(given.ends.unwrap() < begun + error, "it was refused though it is of use");
                return Ok(());
            }
        };
        for moment in later.iter().scan(now, |at, by| { *at += *by; Some(*at) }).chain([now]) {
            let (theirs, ours) = (at(writer(moment)), at(reader(moment)));
            prop_assert!(read.age(ours) >= written.age(theirs));
            let error = trips[0][1] + trips[1][0] + Duration::from_millis(3);
            prop_assert!(read.age(ours) <= written.age(theirs) + error, "it became far older than it is");
            prop_assert!(read.remaining(ours).unwrap_or(Duration::MAX) <= written.remaining(theirs).unwrap_or(Duration::MAX));
            prop_assert!(read.staleness(ours) >= written.staleness(theirs));
        }
        prop_assert!(read.stale_while_revalidate <= given.stale_while_revalidate);
        prop_assert!(read.stale_if_error <= given.stale_if_error);
        prop_assert_eq!(read.lifetime.is_some(), given.lifetime.is_some());
        prop_assert_eq!(read.ends.is_some(), given.ends.is_some());
        let flags = |f: Freshness| (f.must_revalidate, f.no_cache, f.immutable);
        prop_assert_eq!(flags(read), flags(given));
    }

    #[test]
    fn no_times_make_it_panic(
        times in any::<[Duration; 4]>(), ends in any::<[Option<Duration>; 2]>(), map in any::<[Duration; 3]>(), now in any::<Duration>(),
    ) {
        let freshness = Freshness {
            received: times[0],
            initial_age: times[1],
            lifetime: ends[0],
            ends: ends[1],
            stale_while_revalidate: times[2],
            stale_if_error: times[3],
            ..Freshness::until_purged()
        };
        let response = stored(&[], &[], Vec::new(), freshness);
        let (map, seal) = (WallMap::new(map[0], map[1], map[2]), seal(None, &[]));
        let entry = encode(Portable::Response(&response), &key("/a"), &PLACE, &map, &seal).unwrap();
        if let Ok((_, decoded)) = decode(&entry, &key("/a"), at(now), &map, &seal) {
            let freshness = response_of(decoded).freshness;
            prop_assert!(freshness.received <= now);
            freshness.useless_after();
        }
    }
}

#[test]
fn until_purged_stays_until_purged_and_a_lifetime_of_nothing_stays_one() {
    for lifetime in [None, Some(Duration::ZERO)] {
        let given = stored(&[], &[], Vec::new(), Freshness { lifetime, ..Freshness::until_purged() });
        let read =
            response_of(get(&put(&given, &key("/a"), &seals()[0]), &key("/a"), &seals()[0]).unwrap().1);
        assert_eq!(read.freshness.lifetime, lifetime);
        assert_eq!(read.freshness.staleness(at(LATER)).is_some(), lifetime.is_some());
    }
}

#[test]
fn what_was_received_later_than_now_is_refused_and_a_drift_makes_nothing_younger() {
    let entry = put(&small(), &key("/a"), &seals()[0]);
    let at_ms = |ms: u64| {
        let now = at(Duration::from_millis(ms));
        decode(&entry, &key("/a"), now, &same_clocks(), &seals()[0]).map(|(_, decoded)| response_of(decoded))
    };
    // It was received at 1.5 seconds.
    assert_eq!(at_ms(400).unwrap_err(), Undecodable::Future);
    assert_eq!(at_ms(600).unwrap().freshness.received, Duration::from_millis(600));
    assert_eq!(at_ms(1_500).unwrap().freshness.received, Duration::from_micros(1_499_999));
}

#[test]
fn variants_come_back_with_their_members_in_order() {
    for seal in seals() {
        for until in [None, Some(Duration::from_secs(2_000))] {
            let given = Variants { until, ..variants() };
            let entry = put_variants(&given, &seal).unwrap();
            let (place, Decoded::Variants(read)) = get(&entry, &key("/a"), &seal).unwrap() else {
                panic!("a response")
            };
            assert_eq!((place, &read.fields, &read.members), (PLACE, &given.fields, &given.members));
            assert_eq!(read.until, until.map(|until| until - Duration::from_micros(1)));
        }
    }
    let map = WallMap::new(Duration::ZERO, Duration::ZERO, Duration::from_secs(3_000));
    let entry = put_variants(&variants(), &seals()[0]).unwrap();
    let over = decode(&entry, &key("/a"), at(LATER), &map, &seals()[0]);
    assert_eq!(over.unwrap_err(), Undecodable::Over);
}

#[test]
fn variants_of_another_key_neither_go_out_nor_come_in() {
    let elsewhere = Member { place: key("/b").variant(&[]).unwrap(), ..language("de") };
    let given = Variants { members: vec![elsewhere], ..variants() };
    assert!(matches!(put_variants(&given, &seals()[0]), Err(Unencodable::Unfit(_))));
    // A payload for one key whose members are those of another.
    let raw = put_variants(&variants(), &seals()[0]).unwrap()[FRAME..].to_vec();
    let raw = [&key("/b").sha256(), &raw[32..]].concat();
    let entry = framed(Kind::Variants, false, &[&raw[..32], &[0; 8], &raw[40..]].concat(), raw.len());
    assert_eq!(get(&entry, &key("/b"), &seals()[0]).unwrap_err(), Undecodable::Malformed("a variant"));
}

#[test]
fn what_a_decoder_would_not_take_does_not_go_out() {
    let refused = |response: &StoredResponse, place: &Place| {
        encode(Portable::Response(response), &key("/a"), place, &same_clocks(), &seals()[1]).unwrap_err()
    };
    let of = |fields: &[_], tags: &[_], length: usize| {
        stored(fields, tags, vec![0; length], Freshness::until_purged())
    };
    assert_eq!(refused(&of(&[], &[], 2 * KIB * KIB - 50), &PLACE), Unencodable::TooLarge);
    assert_eq!(refused(&of(&[], &[], 2 * KIB * KIB + 1), &PLACE), Unencodable::TooLarge);
    let unfit = |response: &StoredResponse, place: &Place| {
        assert!(matches!(refused(response, place), Unencodable::Unfit(_)));
    };
    unfit(&small(), &Place { ticket: 1 << 53, ..PLACE });
    unfit(&small(), &Place { since: PLACE.seq + 1, ..PLACE });
    unfit(&of(&[], &["x".repeat(MAX_TAG + 1)], 0), &PLACE);
    unfit(&of(&[], &vec!["x".to_owned(); 257], 0), &PLACE);
    unfit(&of(&vec![(ACCEPT, Vec::new()); MAX_FIELDS + 1], &[], 0), &PLACE);
    let most = of(&vec![(ACCEPT, Vec::new()); MAX_FIELDS], &vec!["x".repeat(MAX_TAG); 256], 0);
    let read = response_of(get(&put(&most, &key("/a"), &seals()[1]), &key("/a"), &seals()[1]).unwrap().1);
    assert_eq!((read.headers.len(), read.tags.len()), (MAX_FIELDS, 256));
}

const MAX_TAG: usize = crate::tag::MAX_TAG_BYTES;

#[test]
fn an_encrypted_entry_shows_nothing_and_is_another_each_time() {
    let seal = seal(None, &[ONE]);
    let entry = || encode(Portable::Response(&small()), &key("/a"), &PLACE, &same_clocks(), &seal).unwrap();
    let (one, two) = (entry(), entry());
    assert_ne!(one[FRAME..], two[FRAME..]);
    for text in ["Hello", "pages", "text/plain"] {
        assert!(!one.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
    assert!(get(&one, &key("/a"), &seal).is_ok() && get(&two, &key("/a"), &seal).is_ok());
}

// ---- What may have become of it.

#[test]
fn the_entry_of_another_key_is_refused() {
    for seal in seals() {
        let entry = put(&small(), &key("/a"), &seal);
        let refused = get(&entry, &key("/b"), &seal).unwrap_err();
        let expected = if seal.encrypts() { Undecodable::NotAuthentic } else { Undecodable::OtherKey };
        assert_eq!(refused, expected);
    }
}

#[test]
fn a_key_is_rotated_by_adding_the_new_one_first() {
    let old = put(&small(), &key("/a"), &seal(None, &[ONE]));
    let both = seal(None, &[TWO, ONE]);
    assert!(get(&old, &key("/a"), &both).is_ok());
    let new = put(&small(), &key("/a"), &both);
    let after = seal(None, &[TWO]);
    assert!(get(&new, &key("/a"), &after).is_ok());
    let id = SealKey::new(ONE).unwrap().id();
    assert_eq!(get(&old, &key("/a"), &after).unwrap_err(), Undecodable::UnknownKey(id));
    assert_eq!(get(&old, &key("/a"), &seal(None, &[])).unwrap_err(), Undecodable::UnknownKey(id));
    let plain = put(&small(), &key("/a"), &seal(None, &[]));
    assert_eq!(get(&plain, &key("/a"), &after).unwrap_err(), Undecodable::NotEncrypted);
    // Under the id of another key it is no entry of that.
    let mut other = old;
    other[6..8].copy_from_slice(&SealKey::new(TWO).unwrap().id().to_be_bytes());
    assert_eq!(get(&with_checksum(other), &key("/a"), &both).unwrap_err(), Undecodable::NotAuthentic);
}

#[test]
fn whoever_has_no_key_cannot_change_anything_in_an_encrypted_entry() {
    let seal = seal(Some(0), &[ONE]);
    for entry in [put(&small(), &key("/a"), &seal), put_variants(&variants(), &seal).unwrap()] {
        for at in (0..entry.len()).filter(|at| !(56..60).contains(at)) {
            for bit in 0..8 {
                let mut changed = entry.clone();
                changed[at] ^= 1 << bit;
                assert!(get(&with_checksum(changed), &key("/a"), &seal).is_err(), "byte {at}, bit {bit}");
            }
        }
        // Ticket, incarnation and seq of a valid frame, which scripts in Redis read.
        for (from, to) in [(8, 24), (24, 40), (40, 48)] {
            let mut replayed = entry.clone();
            replayed[from..to].fill(b'0');
            assert_eq!(
                get(&with_checksum(replayed), &key("/a"), &seal).unwrap_err(),
                Undecodable::NotAuthentic
            );
        }
    }
}

#[test]
fn no_flipped_bit_is_taken_for_the_entry() {
    for seal in seals() {
        let entry = put(&small(), &key("/a"), &seal);
        for bit in 0..entry.len() * 8 {
            let mut flipped = entry.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(get(&flipped, &key("/a"), &seal).is_err(), "bit {bit}");
        }
        for length in 0..entry.len() {
            assert!(get(&entry[..length], &key("/a"), &seal).is_err(), "cut to {length}");
            assert!(
                get(&with_checksum(entry[..length].to_vec()), &key("/a"), &seal).is_err(),
                "cut to {length}"
            );
        }
        assert!(get(&[&entry[..], &[0]].concat(), &key("/a"), &seal).is_err());
    }
}

#[test]
fn what_this_version_does_not_know_it_refuses() {
    let seal = seal(None, &[]);
    let entry = put(&small(), &key("/a"), &seal);
    let with = |at: usize, byte: u8| {
        let mut changed = entry.clone();
        changed[at] = byte;
        get(&with_checksum(changed), &key("/a"), &seal).unwrap_err()
    };
    assert_eq!(with(0, b'l'), Undecodable::NotAnEntry);
    assert_eq!(with(3, b'2'), Undecodable::Version(b'2'));
    assert_eq!(with(4, 2), Undecodable::Unknown);
    assert_eq!(with(5, 4), Undecodable::Unknown);
    assert_eq!(with(7, 1), Undecodable::Unknown, "the id of a key of what is not encrypted");
    assert_eq!(with(8, b'+'), Undecodable::Unknown);
    assert_eq!(with(9, b'f'), Undecodable::Unknown, "a ticket of more than 53 bits");
    assert_eq!(with(10, b'A'), Undecodable::Unknown, "a digit in upper case");
    assert_eq!(with(60, 1), Undecodable::Unknown);
    assert_eq!(with(63, 1), Undecodable::Unknown);
    assert_eq!(with(51, 0), Undecodable::Length);
    assert_eq!(with(55, 0), Undecodable::Length);
    assert_eq!(with(FRAME + 101, b'x'), Undecodable::Malformed("a length"));
    assert_eq!(get(&[], &key("/a"), &seal).unwrap_err(), Undecodable::NotAnEntry);
    // The kind of the frame is that of the payload.
    assert!(matches!(with(4, 1), Undecodable::Malformed(_)));
}

#[test]
fn no_length_is_believed_beyond_what_the_store_takes() {
    let small = Seal::new(64 * KIB, None, Vec::new()).unwrap();
    let bomb = |raw: usize| zstd::bulk::compress(&vec![0; raw], 1).unwrap();
    let refused = |entry: &[u8]| get(entry, &key("/a"), &small).unwrap_err();
    let packed = bomb(64 * KIB * KIB);
    assert!(packed.len() < 64 * KIB);
    assert_eq!(refused(&framed(Kind::Response, true, &packed, 64 * KIB * KIB)), Undecodable::TooLarge);
    assert_eq!(refused(&framed(Kind::Response, true, &packed, 64 * KIB)), Undecodable::Compression);
    assert_eq!(refused(&framed(Kind::Response, true, &packed, u32::MAX as usize)), Undecodable::TooLarge);
    assert_eq!(refused(&framed(Kind::Response, false, &packed, 64 * KIB)), Undecodable::Length);
    let short = bomb(32 * KIB);
    assert_eq!(refused(&framed(Kind::Response, true, &short, 64 * KIB)), Undecodable::Compression);
    assert_eq!(refused(&framed(Kind::Response, true, &short, 32 * KIB)), Undecodable::OtherKey);
    let two = [bomb(48 * KIB), bomb(48 * KIB)].concat();
    assert_eq!(
        refused(&framed(Kind::Response, true, &two, 64 * KIB)),
        Undecodable::Compression,
        "two frames"
    );
    // Every length within the payload, as large as it can be said.
    let raw = put(&self::small(), &key("/a"), &small)[FRAME..].to_vec();
    for at in 32..raw.len() - 4 {
        let huge = [&raw[..at], &[0xff; 4], &raw[at + 4..]].concat();
        let _ = get(&framed(Kind::Response, false, &huge, raw.len()), &key("/a"), &small);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), which in 0..4_usize) {
        prop_assert!(get(&bytes, &key("/a"), &seals()[which]).is_err());
        // Behind a frame and a checksum that are right, and behind the digest of the key.
        for kind in [Kind::Response, Kind::Variants] {
            for payload in [bytes.clone(), [&key("/a").sha256()[..], &[0; 8], &bytes].concat()] {
                for compressed in [false, true] {
                    let raw = if compressed { payload.len() * 3 } else { payload.len() };
                    let _ = get(&framed(kind, compressed, &payload, raw), &key("/a"), &seals()[which]);
                }
                let packed = zstd::bulk::compress(&payload, 1).unwrap();
                let _ = get(&framed(kind, true, &packed, payload.len()), &key("/a"), &seals()[0]);
            }
        }
    }

    #[test]
    fn flipped_bits_are_never_another_response(
        fields in fields(), body in prop::collection::vec(any::<u8>(), 0..300), which in 0..4_usize,
        flips in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let seal = &seals()[which];
        let entry = put(&stored(&fields, &[], body, Freshness::until_purged()), &key("/a"), seal);
        let mut flipped = entry.clone();
        for flip in flips {
            let bit = flip.index(entry.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assert!(flipped == entry || get(&flipped, &key("/a"), seal).is_err());
    }
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

/// A third as they come, a third with a checksum that is right, a third behind a frame that is right as well.
#[test]
fn a_hundred_thousand_mutations_do_no_harm() {
    let (key, seals) = (key("/a"), seals());
    let entries: Vec<Vec<u8>> = (seals.iter())
        .flat_map(|seal| [put(&small(), &key, seal), put_variants(&variants(), seal).unwrap()])
        .collect();
    let mut random = Random(6);
    let mut taken = 0;
    for n in 0..100_000 {
        let which = random.below(entries.len());
        let (entry, seal) = (&entries[which], &seals[which / 2]);
        let mut changed = entry.clone();
        (0..=random.below(3)).for_each(|_| random.mutate(&mut changed));
        if n % 3 == 2 && changed.len() > FRAME {
            let length = (changed.len() - FRAME) as u32;
            changed[48..52].copy_from_slice(&length.to_be_bytes());
            if entry[5] & 1 == 0 {
                let around = if seal.encrypts() { 44 } else { 0 };
                changed[52..56].copy_from_slice(&length.saturating_sub(around).to_be_bytes());
            }
        }
        let changed = if n % 3 == 0 { changed } else { with_checksum(changed) };
        if changed == *entry {
            continue;
        }
        let read = get(&changed, &key, seal);
        assert!(read.is_err() || (n % 3 != 0 && !seal.encrypts()), "mutation {n} was taken");
        taken += u32::from(read.is_ok());
    }
    // A checksum is no signature: who can write to Redis can write what is not encrypted. So the decoder was reached.
    assert!(taken > 1_000, "only {taken} came through to the payload");
}

// ---- What is written down.

/// As `docs/entry-format.md` shows bytes.
fn dump(bytes: &[u8]) -> String {
    let line = |(at, line): (usize, &[u8])| {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if (33..127).contains(byte) { char::from(*byte) } else { '.' };
        let text: String = line.iter().map(shown).collect();
        format!("{:04x}  {:<47}  {text}\n", at * 16, hex.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

fn example() -> (CacheKey, StoredResponse) {
    let parts = KeyParts {
        https: true,
        authority: "shop.example",
        route: "pages",
        path: "/hello",
        ..KeyParts::PLAIN
    };
    let freshness = Freshness {
        received: Duration::from_millis(250),
        initial_age: Duration::from_millis(40),
        lifetime: Some(Duration::from_secs(900)),
        stale_while_revalidate: Duration::from_secs(60),
        ..Freshness::until_purged()
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    let selectors = Selectors::new(1, None, &[], &["pages"]);
    let (status, body, wall) = (StatusCode::OK, Bytes::from_static(b"Hello!\n"), 1_795_250_000_251);
    let response = StoredResponse::new(status, &headers, body, freshness, 0, 0, selectors, wall);
    (CacheKey::new(&parts).unwrap(), response)
}

/// The format is what other processes have written. Where this fails, the format was changed: it needs another version, and the
/// page a description of it.
#[test]
fn the_format_is_the_one_that_is_written_down() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/entry-format.md")).unwrap();
    let (key, response) = example();
    let begun = Duration::from_secs(1_795_250_000);
    let map = WallMap::new(Duration::ZERO, Duration::ZERO, begun);
    let place = Place { incarnation: [0xab; 16], seq: 7, since: 6, ticket: 0x0006_60c9_8c21_d000 };
    assert!(page.contains(&key.shared_name("larder")), "{}", key.shared_name("larder"));
    for seal in [seal(None, &[]), seal(None, &[ONE])] {
        let entry =
            encode_with(Portable::Response(&response), &key, &place, &map, &seal, &ENTROPY_OF_TESTS).unwrap();
        assert!(page.contains(&dump(&entry)), "docs/entry-format.md does not show\n{}", dump(&entry));
        let (read, decoded) = decode(&entry, &key, at(LATER), &map, &seal).unwrap();
        assert_eq!((read, &response_of(decoded).body), (place, &response.body));
    }
}

#[test]
fn errors_say_nothing_of_what_was_stored() {
    let all = [
        Undecodable::NotAnEntry,
        Undecodable::Version(0),
        Undecodable::Unknown,
        Undecodable::Length,
        Undecodable::TooLarge,
        Undecodable::Checksum,
        Undecodable::NotEncrypted,
        Undecodable::UnknownKey(7),
        Undecodable::NotAuthentic,
        Undecodable::Compression,
        Undecodable::OtherKey,
        Undecodable::Malformed("a tag"),
        Undecodable::Future,
        Undecodable::Over,
    ];
    let said: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), all.len());
    assert!(said.contains("an entry of version \\u{0}"), "no control characters in a log: {said:?}");
}
