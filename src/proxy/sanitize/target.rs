//! The path and query of a request: bytes that servers read in more than one way are refused (RFC 9112 section 3.2).
//!
//! Keeps: the path routes, keys and goes on as it came, so it must not hold anything that an application could
//! decode into another path: no dot segment in any spelling, no encoded slash, no backslash, no NUL.

use super::Bytes;

/// Bytes that stand for themselves wherever in a path they are.
const PLAIN: Bytes = Bytes::graphic().without(b"\\%.");
const GRAPHIC: Bytes = Bytes::graphic();

/// Checks a path. The error is a sentence for the client.
pub(super) fn check_path(path: &[u8]) -> Result<(), &'static str> {
    if path.iter().all(|&byte| PLAIN.has(byte)) {
        return Ok(());
    }
    let mut suspicious = false;
    let mut previous = 0;
    for &byte in path {
        match byte {
            0x21..=0x7e => {}
            _ => return Err("the path has bytes that must be percent-encoded"),
        }
        if byte == b'\\' {
            return Err("the path has a backslash");
        }
        suspicious |= byte == b'%' || (byte == b'.' && previous == b'/');
        previous = byte;
    }
    if suspicious { path.split(|&b| b == b'/').try_for_each(check_segment) } else { Ok(()) }
}

/// Checks a query: its escapes are the application's business, its bytes are not.
pub(super) fn check_query(query: &[u8]) -> Result<(), &'static str> {
    if query.iter().all(|&byte| GRAPHIC.has(byte)) {
        return Ok(());
    }
    Err("the query has bytes that must be percent-encoded")
}

/// Decodes a segment once, as an application would, and looks for what would change the path.
fn check_segment(segment: &[u8]) -> Result<(), &'static str> {
    let (mut dots, mut only_dots, mut name_ended) = (0, true, false);
    let mut bytes = segment.iter();
    while let Some(&byte) = bytes.next() {
        let decoded = match byte {
            b'%' => hex(bytes.next(), bytes.next()).ok_or("the path has a malformed percent escape")?,
            byte => byte,
        };
        match decoded {
            0 => return Err("the path has an encoded NUL"),
            b'/' if byte == b'%' => return Err("the path has an encoded slash"),
            b'\\' => return Err("the path has a backslash"),
            b';' => name_ended = true, // `..;x` is `..` to servers that know path parameters
            b'.' if !name_ended => dots += 1,
            _ if !name_ended => only_dots = false,
            _ => {}
        }
    }
    if only_dots && (dots == 1 || dots == 2) {
        return Err("the path has a dot segment");
    }
    Ok(())
}

fn hex(high: Option<&u8>, low: Option<&u8>) -> Option<u8> {
    let digit = |b: Option<&u8>| char::from(*b?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_paths_pass() {
        for path in [
            "/",
            "/a/b.html",
            "/.well-known/x",
            "/a//b",
            "/..a",
            "/...",
            "/a%20b",
            "/%C3%A9",
            "/a;b=c",
            "*",
            "/%252e%252e/",
            "/~u/(x)!$&'+,=:@",
            "/a.",
            "/a..b/",
        ] {
            assert_eq!(check_path(path.as_bytes()), Ok(()), "{path}");
        }
    }

    #[test]
    fn whatever_has_a_second_reading_is_refused() {
        for path in [
            "/a/../b",
            "/a/..",
            "/./a",
            "/a/.",
            "/%2e%2e/a",
            "/%2E/a",
            "/.%2e/",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00b",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%+1",
            "/..;x/a",
            "/%2e%2e%3bx/",
            "/é",
            "/a b",
            "/a\x7f",
            "/.;a",
        ] {
            assert!(check_path(path.as_bytes()).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_path_decodes_to_the_same_segments(path in "(/[a%25ef.0;c2\\\\]{0,5}){1,4}") {
            if check_path(path.as_bytes()).is_ok() {
                for segment in path.split('/') {
                    let decoded = segment
                        .replace("%2e", ".").replace("%2E", ".").replace("%3b", ";").replace("%3B", ";");
                    let name = decoded.split(';').next().unwrap();
                    prop_assert!(name != "." && name != "..", "{}", path);
                    prop_assert!(!segment.to_lowercase().contains("%2f"), "{}", path);
                }
            }
        }
    }
}
