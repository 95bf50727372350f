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
    let target = data.strip_prefix(b"GET ").or_else(|| data.strip_prefix(b"HEAD "))?;
    let behind = skip(target, not_of_targets);
    if target.first() != Some(&b'/') || target.len() - behind.len() > bounds.uri {
        return None;
    }
    let fields = behind.strip_prefix(b" HTTP/1.1\r\n")?;
    let (mut rest, mut count, mut hosts) = (fields, 0, 0);
    let rest = loop {
        if let Some(behind) = rest.strip_prefix(b"\r\n") {
            break behind;
        }
        let behind = skip(rest, not_of_names);
        hosts += u8::from(is_host(rest, rest.len() - behind.len())?);
        rest = skip_value(behind.strip_prefix(b":")?)?;
        count += 1;
        if count > bounds.header_count {
            return None;
        }
    };
    // With all its separators it is longer than what the limit counts.
    let within = fields.len() - rest.len() <= bounds.header_bytes;
    (hosts == 1 && within).then_some(data.len() - rest.len())
}

/// Whether a field is `Host`, by the length of its name and the line from there on. Nothing, if the name is empty or may
/// be one that frames the message: the first byte and the length tell.
fn is_host(line: &[u8], length: usize) -> Option<bool> {
    match (length, line.first()? | 0x20) {
        (4, b'h') => Some(u32::from_le_bytes(*line.first_chunk()?) | 0x2020_2020 == u32::from_le_bytes(*b"host")),
        (0, _) | (7, b'u') | (14, b'c') | (17, b't') => None,
        _ => Some(false),
    }
}

/// What follows a value and the end of its line.
fn skip_value(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = skip(rest, not_of_values);
        match rest.strip_prefix(b"\r\n") {
            Some(behind) => return Some(behind),
            None => rest = rest.strip_prefix(b"\t")?,
        }
    }
}

/// From the first marked byte on; nothing, if there is none.
#[inline(always)]
fn skip(mut rest: &[u8], marks: impl Fn(u64) -> u64) -> &[u8] {
    let first = |marked: u64| marked.trailing_zeros() as usize / 8;
    while let Some((eight, behind)) = rest.split_first_chunk() {
        let marked = marks(u64::from_le_bytes(*eight));
        if marked != 0 {
            return rest.get(first(marked)..).unwrap_or_default();
        }
        rest = behind;
    }
    let few = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    rest.get(first(marks(few))..).unwrap_or_default()
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
