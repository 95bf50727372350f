//! `Cache-Control` (RFC 9111 section 5.2), read the way the RFC asks: unknown directives are ignored, of a doubled
//! one the strictest value counts, an unreadable age counts as zero, a too large one as the largest.

use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

use super::field_names::field_names;
use crate::http::fields::{is_closed, list, members};

/// The directives of a request or a response that Larder acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheControl {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache` of the whole. In a response, one that names fields is not among the directives but in the list beside
    /// them (RFC 9111 section 5.2.2.4).
    pub no_cache: bool,
    /// `private`, likewise (section 5.2.2.7).
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand` (section 5.2.2.3).
    pub must_understand: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
    /// `max-age`.
    pub max_age: Option<Duration>,
    /// `s-maxage`.
    pub s_maxage: Option<Duration>,
    /// `max-stale`; without a value any staleness.
    pub max_stale: Option<Duration>,
    /// `min-fresh`.
    pub min_fresh: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861 section 3).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861 section 4), of a request too.
    pub stale_if_error: Option<Duration>,
}

/// The largest delta-seconds (RFC 9111 section 1.2.2).
pub(super) const MAX_DELTA: u64 = 1 << 31;

impl CacheControl {
    /// Reads a request's directives; without `Cache-Control`, `Pragma: no-cache` counts (RFC 9111 section 5.4).
    pub fn of_request(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            pairs(line.as_bytes()).for_each(|(name, value)| directives.directive(name, value));
        }
        if !headers.contains_key(CACHE_CONTROL) {
            directives.no_cache =
                list(headers, PRAGMA).any(|member| member.eq_ignore_ascii_case(b"no-cache"));
        }
        directives
    }

    /// Reads a response's directives, and the fields that `no-cache` and `private` name.
    pub fn of_response(headers: &HeaderMap) -> (Self, Vec<HeaderName>) {
        let (mut directives, mut named) = (Self::default(), Vec::new());
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, value) in pairs(line.as_bytes()) {
                match value.filter(|_| may_name_fields(name)).and_then(quoted).and_then(field_names) {
                    Some(more) => named.extend(more),
                    None => directives.directive(name, value),
                }
            }
        }
        (directives, named)
    }

    fn directive(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("immutable") {
            self.immutable = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            shortest(&mut self.max_age, seconds(value));
        } else if is("s-maxage") {
            shortest(&mut self.s_maxage, seconds(value));
        } else if is("min-fresh") {
            // The strictest is the longest.
            self.min_fresh = self.min_fresh.max(Some(seconds(value)));
        } else if is("max-stale") {
            shortest(&mut self.max_stale, value.map_or(Duration::MAX, |v| seconds(Some(v))));
        } else if is("stale-while-revalidate") {
            shortest(&mut self.stale_while_revalidate, seconds(value));
        } else if is("stale-if-error") {
            shortest(&mut self.stale_if_error, seconds(value));
        }
    }
}

/// The directives of a line: each name with its value, where it has one. A quote that has no end is none: it must not hide
/// what stands behind it.
fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let whole = members(line).flat_map(|member| {
        let closed = is_closed(member);
        member.split(move |byte| *byte == b',' && !closed).map(<[u8]>::trim_ascii)
    });
    whole.map(|member| match memchr::memchr(b'=', member) {
        Some(at) => (member[..at].trim_ascii(), Some(member[at + 1..].trim_ascii())),
        None => (member, None),
    })
}

/// Whether a directive may be bounded to some fields.
pub(super) fn may_name_fields(directive: &[u8]) -> bool {
    [&b"no-cache"[..], b"private"].iter().any(|name| directive.eq_ignore_ascii_case(name))
}

/// What stands within quotes. A token, or a quote that is not closed, is no list of fields.
fn quoted(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

fn shortest(slot: &mut Option<Duration>, value: Duration) {
    *slot = Some(slot.map_or(value, |old| old.min(value)));
}

/// A delta-seconds; what cannot be read is zero (RFC 9111 section 4.2.1: treat as stale), what is too large the largest.
fn seconds(value: Option<&[u8]>) -> Duration {
    let value = value.unwrap_or_default();
    let digits = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Duration::ZERO;
    }
    let number = digits.iter().fold(0_u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0')));
    Duration::from_secs(number.min(MAX_DELTA))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn response(line: &str) -> (CacheControl, Vec<HeaderName>) {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        CacheControl::of_response(&headers)
    }

    fn read(line: &str) -> CacheControl {
        response(line).0
    }

    #[test]
    fn rfc9111_5_2_directives_are_read_in_any_case_and_with_any_spacing() {
        let cc = read(" Max-Age=60 , PRIVATE,no-cache ,, must-revalidate, Immutable, must-understand");
        assert_eq!(cc.max_age, Some(Duration::from_secs(60)));
        assert!(cc.private && cc.no_cache && cc.must_revalidate && !cc.no_store);
        assert!(cc.immutable && cc.must_understand);
    }

    #[test]
    fn rfc9111_1_2_2_an_unreadable_age_is_zero_and_a_huge_one_the_largest() {
        for bad in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=x"] {
            assert_eq!(read(bad).max_age, Some(Duration::ZERO), "{bad}");
        }
        let huge = read("max-age=99999999999999999999999");
        assert_eq!(huge.max_age, Some(Duration::from_secs(MAX_DELTA)));
    }

    #[test]
    fn rfc9111_4_2_1_of_a_doubled_directive_the_strictest_counts() {
        assert_eq!(read("max-age=60, max-age=5").max_age, Some(Duration::from_secs(5)));
        assert_eq!(read("min-fresh=6, min-fresh=50").min_fresh, Some(Duration::from_secs(50)));
    }

    #[test]
    fn rfc9110_5_6_4_a_directive_inside_a_quoted_string_is_text() {
        assert!(!read("x=\"no-store, private\"").no_store);
        assert!(read("x=\"a\\\", b\", no-store").no_store);
        assert!(read("x=\"a, no-store").no_store, "a quote without its end hides nothing");
    }

    #[test]
    fn rfc9111_5_2_2_4_no_cache_and_private_may_name_fields() {
        let (cc, named) = response("no-cache=\"Set-Cookie, x-a\", PRIVATE=\"X-B\", max-age=60");
        assert_eq!(named, ["set-cookie", "x-a", "x-b"]);
        assert!(!cc.no_cache && !cc.private);
        // The whole wins over a part.
        let (cc, named) = response("private=\"x-a\", private");
        assert!(cc.private && named == ["x-a"]);
    }

    #[test]
    fn rfc9111_5_2_2_7_what_is_no_list_of_fields_bounds_nothing() {
        for bad in [
            "no-cache=a",
            "no-cache=\"\"",
            "no-cache=\" , \"",
            "no-cache=",
            "no-cache=\"a b\"",
            "no-cache=\"a",
        ] {
            let (cc, named) = response(bad);
            assert!(cc.no_cache && named.is_empty(), "{bad}");
        }
        // Without these nobody could tell what the rest is, or for how long it holds.
        for needed in ["Vary", "cache-control", "x-a, Content-Encoding"] {
            assert!(response(&format!("private=\"{needed}\"")).0.private, "{needed}");
        }
    }

    #[test]
    fn rfc9111_5_2_1_4_a_requests_no_cache_is_that_of_the_whole_and_pragma_stands_in_for_it() {
        let ask = |fields: &[(&'static str, &'static str)]| {
            let fields =
                fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
            CacheControl::of_request(&fields.collect()).no_cache
        };
        assert!(ask(&[("cache-control", "no-cache=\"a\"")]));
        assert!(ask(&[("pragma", "x, No-Cache")]) && !ask(&[("pragma", "x-no-cache")]));
        assert!(!ask(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]), "section 5.4");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(line: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let headers: HeaderMap = [(CACHE_CONTROL, value.clone()), (PRAGMA, value)].into_iter().collect();
                let _ = (CacheControl::of_request(&headers), CacheControl::of_response(&headers));
            }
        }
    }
}
