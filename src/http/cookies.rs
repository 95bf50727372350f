//! Cookies of a request (RFC 6265 section 4.2.1), as bytes: nothing is decoded, nothing is unquoted.
//!
//! HTTP/2 may split the list over several fields (RFC 9113 section 8.2.3): they count as one list. Space around names
//! and values is not part of them, because applications trim it. Names are case-sensitive.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// How often something that may come once came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<T> {
    /// Not at all.
    Absent,
    /// Once.
    Once(T),
    /// More than once: which of them the application takes cannot be known.
    Several,
}

impl<T> Found<T> {
    /// What an iterator that yields every occurrence says.
    pub fn among(mut all: impl Iterator<Item = T>) -> Self {
        match (all.next(), all.next()) {
            (None, _) => Self::Absent,
            (Some(one), None) => Self::Once(one),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

/// One cookie of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// Its name; empty where there is no `=`.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Both, as they came.
    pub raw: &'a [u8],
}

/// All cookies of a request, in order.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = Pair<'_>> {
    headers.get_all(COOKIE).iter().flat_map(|field| split(field.as_bytes()))
}

/// The value of the cookie of this name.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<&'a [u8]> {
    Found::among(pairs(headers).filter(|pair| pair.name == name.as_bytes()).map(|pair| pair.value))
}

/// Keeps the cookies of which `keep` says so, in their order and bytes. Fields that stay whole are not touched.
pub fn retain(headers: &mut HeaderMap, mut keep: impl FnMut(&[u8]) -> bool) {
    if pairs(headers).all(|pair| keep(pair.name)) {
        return;
    }
    let mut kept = Vec::new();
    for pair in pairs(headers).filter(|pair| keep(pair.name)) {
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(pair.raw);
    }
    headers.remove(COOKIE);
    // Pieces of a valid value are valid; were they not, no cookie would go on.
    if let Ok(value) = HeaderValue::from_bytes(&kept)
        && !kept.is_empty()
    {
        headers.insert(COOKIE, value);
    }
}

fn split(list: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    list.split(|&b| b == b';').map(<[u8]>::trim_ascii).filter(|raw| !raw.is_empty()).map(|raw| {
        let (name, value) = match memchr::memchr(b'=', raw) {
            Some(at) => (raw[..at].trim_ascii_end(), raw[at + 1..].trim_ascii_start()),
            None => (&raw[..0], raw),
        };
        Pair { name, value, raw }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(fields: &[&[u8]]) -> HeaderMap {
        fields.iter().map(|f| (COOKIE, HeaderValue::from_bytes(f).unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_exact_name_wherever_the_list_is_split() {
        let headers = headers(&[b"a=1;b = 2 ", b"sid=\"q\"; c=x=y; flag"]);
        assert_eq!(find(&headers, "b"), Found::Once(&b"2"[..]));
        assert_eq!(find(&headers, "sid"), Found::Once(&b"\"q\""[..]));
        assert_eq!(find(&headers, "c"), Found::Once(&b"x=y"[..]));
        assert_eq!(find(&headers, "SID"), Found::Absent);
        assert_eq!(find(&headers, "flag"), Found::Absent);
        assert_eq!(find(&headers, ""), Found::Once(&b"flag"[..]));
    }

    #[test]
    fn a_cookie_named_twice_is_ambiguous_even_when_both_agree() {
        assert_eq!(find(&headers(&[b"t=a; t=a"]), "t"), Found::Several);
        assert_eq!(find(&headers(&[b"t=a", b" t =b"]), "t"), Found::Several);
    }

    #[test]
    fn what_stays_keeps_its_bytes_and_an_empty_list_is_no_field() {
        let mut list = headers(&[b"a=1; t=x;b=\"2\"", b"t=y"]);
        retain(&mut list, |name| name != b"t");
        assert_eq!(list.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=\"2\""]);
        retain(&mut list, |_| false);
        assert!(list.is_empty());
    }

    #[test]
    fn a_list_that_stays_whole_is_not_rewritten() {
        let mut list = headers(&[b"a=1;;b=2", b"c=3"]);
        let before = list.clone();
        retain(&mut list, |_| true);
        assert_eq!(list, before);
    }

    proptest! {
        #[test]
        fn any_bytes_split_without_a_panic_and_what_is_dropped_is_gone(
            fields in proptest::collection::vec("[ -~]{0,40}", 0..4),
            name in "[a-c]?",
        ) {
            let mut list: HeaderMap =
                fields.iter().map(|f| (COOKIE, HeaderValue::from_str(f).unwrap())).collect();
            let others: Vec<Vec<u8>> =
                pairs(&list).filter(|p| p.name != name.as_bytes()).map(|p| p.raw.to_vec()).collect();
            retain(&mut list, |n| n != name.as_bytes());
            prop_assert_eq!(find(&list, &name), Found::Absent);
            prop_assert_eq!(pairs(&list).map(|p| p.raw.to_vec()).collect::<Vec<_>>(), others);
        }
    }
}
