//! The format as it is written down in docs/entry-format.md, and what errors say.

use super::*;

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
