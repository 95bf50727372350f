//! The quick look at a head: does it hold anything that hyper would accept and read in a way of its own?
//!
//! Keeps: of an ordinary `GET` or `HEAD` without a body it says where it ends; of everything else it says nothing, and
//! the strict reader decides. What it says yes to is either good in the strict reader's eyes, or hyper refuses it:
//! that is where control bytes in fields and names that are no tokens are looked for, once.

use memchr::memchr;

/// What a head may be at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) uri: usize,
    pub(super) header_bytes: usize,
    pub(super) header_count: usize,
}

/// `host`, as one number.
const HOST: u32 = u32::from_le_bytes(*b"host");

/// The length of the head that `data` begins with, if all of it is there and nothing about it is out of the ordinary.
pub(super) fn ordinary_head(data: &[u8], bounds: &Bounds) -> Option<usize> {
    let target = data.strip_prefix(b"GET ").or_else(|| data.strip_prefix(b"HEAD "))?;
    let behind = behind_target(target)?;
    if target.len() - behind.len() > bounds.uri {
        return None;
    }
    let fields = behind.strip_prefix(b" HTTP/1.1\r\n")?;
    let (mut rest, mut count, mut hosts) = (fields, 0, 0);
    let rest = loop {
        if let Some(behind) = rest.strip_prefix(b"\r\n") {
            break behind;
        }
        let (line, behind) = rest.split_at_checked(memchr(b'\n', rest)?)?;
        if line.last() != Some(&b'\r') {
            return None;
        }
        hosts += hosts_of(rest)?;
        count += 1;
        rest = behind.get(1..)?;
    };
    // With all its separators it is longer than what the limit counts.
    let within = count <= bounds.header_count && fields.len() - rest.len() <= bounds.header_bytes;
    (hosts == 1 && within).then_some(data.len() - rest.len())
}

/// One, if the line that begins here is a `Host`. Nothing, if it may be a field that frames the message, or is folded:
/// first byte and length of the name tell.
#[inline]
fn hosts_of(line: &[u8]) -> Option<usize> {
    let first = *line.first()?;
    let named = |length: usize| line.get(length) == Some(&b':');
    match first | 0x20 {
        b'h' if named(4) => Some(usize::from(u32::from_le_bytes(*line.first_chunk()?) | 0x2020_2020 == HOST)),
        b'c' if named(14) => None,
        b't' if named(17) => None,
        b'u' if named(7) => None,
        _ if first <= b' ' => None,
        _ => Some(0),
    }
}

/// What follows a target in origin form of visible ASCII without a fragment.
#[inline]
fn behind_target(target: &[u8]) -> Option<&[u8]> {
    let mut rest = target;
    if rest.first() != Some(&b'/') {
        return None;
    }
    // The version follows, so that the last eight bytes hold a space.
    while let Some((eight, behind)) = rest.split_first_chunk() {
        match unfit(u64::from_le_bytes(*eight)) {
            0 => rest = behind,
            marked => return rest.get(marked.trailing_zeros() as usize / 8..),
        }
    }
    None
}

/// Eight bytes at once: the highest bit of each byte of the result says that it is no visible ASCII, or the mark of a
/// fragment. The sums cannot carry from one byte into the next, as the highest bit of each was taken away.
fn unfit(word: u64) -> u64 {
    let each = |byte: u8| u64::from_le_bytes([byte; 8]);
    let low = word & each(0x7f);
    let visible = low + each(0x80 - 0x21);
    let delete = low + each(0x80 - 0x7f);
    let fragment = each(0x80) - (low ^ each(b'#'));
    (!visible | delete | fragment | word) & each(0x80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { uri: 100, header_bytes: 200, header_count: 5 };

    fn quick(head: &str) -> Option<usize> {
        ordinary_head(head.as_bytes(), &BOUNDS)
    }

    #[test]
    fn an_ordinary_head_is_known_wherever_it_ends() {
        for length in 0..40 {
            let (target, value) = ("a".repeat(length), "\tb\u{e9}".repeat(length));
            let head = format!("GET /{target} HTTP/1.1\r\nHOST:a\r\nX-1: {value}\r\n\r\n");
            assert_eq!(quick(&head), Some(head.len()), "{head}");
            assert_eq!(quick(&format!("{head}GET")), Some(head.len()), "{head}");
            for cut in 0..head.len() {
                assert_eq!(ordinary_head(&head.as_bytes()[..cut], &BOUNDS), None, "{head}");
            }
        }
        assert!(quick("HEAD /?a=b HTTP/1.1\r\nHost: a\r\nHose: a\r\nCookie: a\r\n\r\n").is_some());
    }

    #[test]
    fn what_the_strict_reader_has_to_see_is_left_to_it() {
        let heads = [
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nCONTENT-length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nupgrade: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: x\r\n y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: x\r\n\ty\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\nX: x\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
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

    #[test]
    fn no_number_of_hosts_passes_for_one() {
        let bounds = Bounds { uri: 100, header_bytes: 10_000, header_count: 1000 };
        let head = |hosts: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "Host: a\r\n".repeat(hosts));
        let known = |hosts: &usize| ordinary_head(head(*hosts).as_bytes(), &bounds).is_some();
        assert_eq!((0..600).filter(known).collect::<Vec<_>>(), [1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn each_byte_of_a_target_is_judged_alone(bytes in any::<[u8; 8]>()) {
            let slowly = bytes.map(|b| if b.is_ascii_graphic() && b != b'#' { 0 } else { 0x80 });
            prop_assert_eq!(unfit(u64::from_le_bytes(bytes)), u64::from_le_bytes(slowly));
        }
    }
}
