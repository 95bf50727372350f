//! The query of a target: split at `&` into raw pairs; names are compared as an application would read them.
//!
//! `tenant%5Fid=b` is `tenant_id=b` to every application, so a name is compared decoded, and what goes on keeps its bytes.

use std::borrow::Cow;

use super::cookies::Found;

/// One parameter, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// Its name, encoded.
    pub name: &'a str,
    /// Its value, encoded; empty where there is no `=`.
    pub value: &'a str,
    /// Both, as they came.
    pub raw: &'a str,
}

/// All parameters, in order. Empty ones (`a&&b`) are left out.
pub fn pairs(query: &str) -> impl Iterator<Item = Pair<'_>> {
    let mut rest = Some(query);
    let parts = std::iter::from_fn(move || {
        let (raw, behind) = match cut(rest?, b'&') {
            Some((raw, behind)) => (raw, Some(behind)),
            None => (rest?, None),
        };
        rest = behind;
        Some(raw)
    });
    parts.filter(|raw| !raw.is_empty()).map(|raw| {
        let (name, value) = cut(raw, b'=').unwrap_or((raw, ""));
        Pair { name, value, raw }
    })
}

/// What is before and behind the first of this ASCII byte. (`split_once` costs several times as much on short texts.)
fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let found = memchr::memchr(at, text.as_bytes())?;
    Some((text.get(..found)?, text.get(found + 1..)?))
}

/// The encoded value of the parameter of this (decoded) name.
pub fn find<'a>(query: &'a str, name: &str) -> Found<&'a str> {
    Found::among(pairs(query).filter(|pair| is_named(pair.name, name)).map(|pair| pair.value))
}

/// Whether an encoded name stands for this decoded one.
pub fn is_named(encoded: &str, name: &str) -> bool {
    if !encoded.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return encoded == name;
    }
    Decode { rest: encoded.as_bytes(), plus: true }.eq(name.bytes())
}

/// The query without the parameters of which `drop` says so (it is given the encoded name). `None`: nothing is dropped.
pub fn without(query: &str, mut drop: impl FnMut(&str) -> bool) -> Option<String> {
    if !pairs(query).any(|pair| drop(pair.name)) {
        return None;
    }
    let mut kept = String::with_capacity(query.len());
    for pair in pairs(query).filter(|pair| !drop(pair.name)) {
        if !kept.is_empty() {
            kept.push('&');
        }
        kept.push_str(pair.raw);
    }
    Some(kept)
}

/// A value as an application reads it (`+` is a space); `None` where it is not UTF-8. A `%` that begins no escape
/// stands for itself.
pub fn decode(encoded: &str) -> Option<Cow<'_, str>> {
    decoded(encoded, true)
}

/// A name or a value as the form encoding has it: what is not UTF-8 becomes U+FFFD.
pub fn decode_lossy(encoded: &str) -> Cow<'_, str> {
    if !encoded.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return Cow::Borrowed(encoded);
    }
    let bytes: Vec<u8> = Decode { rest: encoded.as_bytes(), plus: true }.collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// A segment of a path as an application reads it (`+` stands for itself); `None` where it is not UTF-8.
pub fn decode_path(encoded: &str) -> Option<Cow<'_, str>> {
    decoded(encoded, false)
}

fn decoded(encoded: &str, plus: bool) -> Option<Cow<'_, str>> {
    if !encoded.bytes().any(|b| b == b'%' || (plus && b == b'+')) {
        return Some(Cow::Borrowed(encoded));
    }
    let bytes: Vec<u8> = Decode { rest: encoded.as_bytes(), plus }.collect();
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

struct Decode<'a> {
    rest: &'a [u8],
    plus: bool,
}

impl Iterator for Decode<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.rest = rest;
            return Some(high << 4 | low);
        }
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(if first == b'+' && self.plus { b' ' } else { first })
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_parameter_is_found_in_every_spelling_of_its_name() {
        assert_eq!(find("a=1&tenant%5Fid=b&c", "tenant_id"), Found::Once("b"));
        assert_eq!(find("tenant_id=a&tenant%5fid=b", "tenant_id"), Found::Several);
        assert_eq!(find("my+name=x", "my name"), Found::Once("x"));
        assert_eq!(find("c", "c"), Found::Once(""));
        assert_eq!(find("", "c"), Found::Absent);
        assert_eq!(find("%zz=1", "%zz"), Found::Once("1"));
    }

    #[test]
    fn dropping_a_parameter_leaves_the_bytes_of_the_others() {
        let drop = |name: &str| is_named(name, "t");
        assert_eq!(without("a=%41&t=1&b=+&%74=2", drop).as_deref(), Some("a=%41&b=+"));
        assert_eq!(without("t", drop).as_deref(), Some(""));
        assert_eq!(without("a&&b", drop), None);
    }

    #[test]
    fn a_value_is_decoded_once() {
        assert_eq!(decode("a%2541+b").as_deref(), Some("a%41 b"));
        assert_eq!(decode_path("a+b%20c").as_deref(), Some("a+b c"));
        assert_eq!(decode("100%").as_deref(), Some("100%"));
        assert_eq!(decode("%ff"), None);
    }

    proptest! {
        #[test]
        fn any_query_is_split_without_a_panic(query in "\\PC{0,60}", name in "[a-z%+=&]{0,3}") {
            for pair in pairs(&query) {
                let _ = decode(pair.value);
                prop_assert!(!pair.raw.is_empty());
            }
            if let Some(left) = without(&query, |n| is_named(n, &name)) {
                prop_assert_eq!(find(&left, &name), Found::Absent);
            }
        }

        #[test]
        fn a_name_is_compared_as_it_is_decoded(encoded in "[a-b%+0-9_]{0,8}") {
            if let Some(name) = decode(&encoded) {
                prop_assert!(is_named(&encoded, &name));
            }
        }
    }
}
