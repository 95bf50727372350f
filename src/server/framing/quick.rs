//! The quick look at a head: it knows the ordinary `GET` or `HEAD` without a body, eight bytes at a time.
//!
//! Keeps: it says yes only where the strict reader would; of everything else it says nothing, and the strict reader
//! decides. So it refuses nothing, and no refusal depends on it.

/// What a head may be at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) uri: usize,
    pub(super) header_bytes: usize,
    pub(super) header_count: usize,
}

/// The length of the head that `data` begins with, if all of it is there and nothing about it is out of the ordinary.
pub(super) fn ordinary_head(data: &[u8], bounds: Bounds) -> Option<usize> {
    let target = match data {
        [b'G', b'E', b'T', b' ', b'/', ..] => 4,
        [b'H', b'E', b'A', b'D', b' ', b'/', ..] => 5,
        _ => return None,
    };
    let mut at = find(data, target, not_of_targets);
    if at - target > bounds.uri || !begins(data, at, b" HTTP/1.1\r\n") {
        return None;
    }
    at += 11;
    let first = at;
    let (mut fields, mut hosts) = (0, 0);
    while !begins(data, at, b"\r\n") {
        let colon = find(data, at, not_of_names);
        hosts += u8::from(is_host(data.get(at..colon)?)?);
        at = end_of_value(data, colon)?;
        fields += 1;
        if fields > bounds.header_count {
            return None;
        }
    }
    // With all its separators it is longer than what the limit counts.
    (hosts == 1 && at - first <= bounds.header_bytes).then_some(at + 2)
}

/// Whether a field is `Host`. Nothing, if it is empty or may frame the message: names are told by length and first byte.
fn is_host(name: &[u8]) -> Option<bool> {
    let first = name.first()? | 0x20;
    match (name.len(), first) {
        (4, b'h') => Some(name.eq_ignore_ascii_case(b"host")),
        (7, b'u') | (14, b'c') | (17, b't') => None,
        _ => Some(false),
    }
}

/// Where the line behind this value begins.
fn end_of_value(data: &[u8], colon: usize) -> Option<usize> {
    if data.get(colon) != Some(&b':') {
        return None;
    }
    let mut at = colon;
    loop {
        at = find(data, at + 1, not_of_values);
        match data.get(at)? {
            b'\t' => {}
            b'\r' if data.get(at + 1) == Some(&b'\n') => return Some(at + 2),
            _ => return None,
        }
    }
}

fn begins(data: &[u8], at: usize, with: &[u8]) -> bool {
    data.get(at..at + with.len()) == Some(with)
}

/// The first byte from `at` on that is marked, or the end. All marks mark NUL.
#[inline]
fn find(data: &[u8], mut at: usize, marks: fn(u64) -> u64) -> usize {
    loop {
        let marked = marks(word(data, at));
        if marked != 0 {
            return (at + marked.trailing_zeros() as usize / 8).min(data.len());
        }
        at += 8;
    }
}

/// Eight bytes, the first one lowest; what lies behind the end is NUL.
#[inline]
fn word(data: &[u8], at: usize) -> u64 {
    let rest = data.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

// Eight bytes are looked at in one number: in each, the highest bit of the result is the mark. The sums cannot carry
// from one byte into the next, as the highest bit of each byte is taken away before.

const HIGH: u64 = each(0x80);

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Marks bytes without the highest bit that are `from` or above.
const fn at_least(low: u64, from: u8) -> u64 {
    low + each(0x80 - from)
}

/// Marks bytes without the highest bit that are this one.
const fn is(low: u64, byte: u8) -> u64 {
    HIGH - (low ^ each(byte))
}

/// Control bytes, tabs among them. Bytes above ASCII are none.
fn not_of_values(word: u64) -> u64 {
    let low = word & !HIGH;
    (!at_least(low, 0x20) | at_least(low, 0x7f)) & !word & HIGH
}

/// Whatever is not visible ASCII, and the mark of a fragment.
fn not_of_targets(word: u64) -> u64 {
    let low = word & !HIGH;
    (!at_least(low, 0x21) | at_least(low, 0x7f) | is(low, b'#') | word) & HIGH
}

/// Whatever is no letter, digit or hyphen: other names are rare, and left to the strict reader.
fn not_of_names(word: u64) -> u64 {
    let low = word & !HIGH;
    let folded = low | each(0x20);
    let letter = at_least(folded, b'a') & !at_least(folded, b'z' + 1);
    let digit = at_least(low, b'0') & !at_least(low, b'9' + 1);
    (!(letter | digit | is(low, b'-')) | word) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { uri: 100, header_bytes: 200, header_count: 5 };

    fn quick(head: &str) -> Option<usize> {
        ordinary_head(head.as_bytes(), BOUNDS)
    }

    #[test]
    fn an_ordinary_head_is_known_wherever_it_ends() {
        for target in 0..20 {
            for value in 0..20 {
                let (target, value) = ("a".repeat(target), "\tb\u{e9}".repeat(value));
                let head = format!("GET /{target} HTTP/1.1\r\nHOST:a\r\nX-1: {value}\r\n\r\n");
                assert_eq!(quick(&head), Some(head.len()), "{head}");
                assert_eq!(quick(&format!("{head}GET")), Some(head.len()), "{head}");
                assert_eq!(quick(&head[..head.len() - 1]), None, "{head}");
            }
        }
        assert!(quick("HEAD /?a=b HTTP/1.1\r\nHost: a\r\nHose: a\r\n\r\n").is_some());
    }

    #[test]
    fn what_the_strict_reader_has_to_see_is_left_to_it() {
        let heads = [
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nCONTENT-length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nupgrade: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX : x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: x\r\n y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rX: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n",
        ];
        for head in heads {
            assert_eq!(quick(head), None, "{head}");
        }
        assert_eq!(quick(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100))), None);
        assert_eq!(quick(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(200))), None);
    }

    /// The marks, byte by byte.
    fn slowly(word: u64, marked: impl Fn(u8) -> bool) -> u64 {
        u64::from_le_bytes(word.to_le_bytes().map(|byte| if marked(byte) { 0x80 } else { 0 }))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn marks_are_those_of_each_byte_alone(word in any::<u64>()) {
            prop_assert_eq!(not_of_values(word), slowly(word, |b| b < 0x20 || b == 0x7f));
            prop_assert_eq!(not_of_targets(word), slowly(word, |b| !b.is_ascii_graphic() || b == b'#'));
            prop_assert_eq!(not_of_names(word), slowly(word, |b| !b.is_ascii_alphanumeric() && b != b'-'));
        }
    }
}
