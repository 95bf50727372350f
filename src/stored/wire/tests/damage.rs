//! What may have become of an entry on its way, by accident or by somebody's will.

use proptest::prelude::*;

use super::there_and_back::fields;
use super::*;

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
fn a_payload_that_is_not_quite_one_is_refused() {
    let seal = seal(None, &[]);
    let raw = put(&small(), &key("/a"), &seal)[FRAME..].to_vec();
    let refused = |raw: &[u8]| {
        let entry = framed(Kind::Response, false, raw, raw.len());
        get(&entry, &key("/a"), &seal).unwrap_err()
    };
    // The frame of these tests begins at position 5.
    let valid = [&raw[..32], &5_u64.to_be_bytes(), &raw[40..]].concat();
    assert!(get(&framed(Kind::Response, false, &valid, valid.len()), &key("/a"), &seal).is_ok());
    let with = |at: usize, bytes: &[u8]| {
        let mut raw = valid.clone();
        raw[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&raw)
    };
    assert_eq!(with(32, &6_u64.to_be_bytes()), Undecodable::Malformed("a position"));
    for status in [0_u16, 99, 100, 101, 199, 1000] {
        assert_eq!(with(40, &status.to_be_bytes()), Undecodable::Malformed("a status"));
    }
    assert_eq!(with(42, &[32]), Undecodable::Malformed("a flag"));
    assert_eq!(with(99, &257_u16.to_be_bytes()), Undecodable::Malformed("a tag"));
    assert_eq!(with(103, b"\xff"), Undecodable::Malformed("a tag"));
    let name = valid.windows(4).position(|window| window == b"etag").unwrap();
    assert_eq!(with(name, b"E"), Undecodable::Malformed("the name of a field"));
    assert_eq!(with(name + 8, b"\n"), Undecodable::Malformed("a field"));
    assert_eq!(refused(&[&valid[..], &[0]].concat()), Undecodable::Malformed("more than there should be"));
    // What is compressed is shorter than what it was.
    let packed = zstd::bulk::compress(b"abc", 1).unwrap();
    assert_eq!(
        get(&framed(Kind::Response, true, &packed, 3), &key("/a"), &seal).unwrap_err(),
        Undecodable::Length
    );
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
