//! Entries there and back, on clocks that differ.

use proptest::prelude::*;

use super::*;
use crate::tag::MAX_TAG_BYTES;

pub(super) fn fields() -> impl Strategy<Value = Vec<(HeaderName, Vec<u8>)>> {
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
fn an_age_is_rounded_up_and_all_else_down() {
    let time = Duration::from_nanos(1_999_999);
    let given = Freshness {
        received: Duration::from_secs(2) + time,
        initial_age: Duration::from_nanos(1_000_001),
        lifetime: Some(time),
        ends: Some(Duration::from_secs(3) + time),
        stale_while_revalidate: time,
        stale_if_error: time,
        ..Freshness::until_purged()
    };
    let entry = put(&stored(&[], &[], Vec::new(), given), &key("/a"), &seals()[0]);
    let read = response_of(get(&entry, &key("/a"), &seals()[0]).unwrap().1).freshness;
    let down = |time: Duration| Duration::from_millis(time.as_millis() as u64) - Duration::from_micros(1);
    let rounded = Freshness {
        received: down(given.received),
        initial_age: Duration::from_millis(2),
        lifetime: Some(Duration::from_millis(1)),
        ends: given.ends.map(down),
        stale_while_revalidate: Duration::from_millis(1),
        stale_if_error: Duration::from_millis(1),
        ..given
    };
    assert_eq!(read, rounded);
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
    unfit(&of(&[], &["x".repeat(MAX_TAG_BYTES + 1)], 0), &PLACE);
    unfit(&of(&[], &vec!["x".to_owned(); 257], 0), &PLACE);
    unfit(&of(&vec![(ACCEPT, Vec::new()); MAX_FIELDS + 1], &[], 0), &PLACE);
    let most = of(&vec![(ACCEPT, Vec::new()); MAX_FIELDS], &vec!["x".repeat(MAX_TAG_BYTES); 256], 0);
    let read = response_of(get(&put(&most, &key("/a"), &seals()[1]), &key("/a"), &seals()[1]).unwrap().1);
    assert_eq!((read.headers.len(), read.tags.len()), (MAX_FIELDS, 256));
}

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
