//! `Cache-Control` (RFC 9111 section 5.2), read the way the RFC asks: unknown directives are ignored, of a doubled
//! one the strictest value counts, an unreadable age counts as zero, a too large one as the largest.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

use crate::http::fields::members;

/// The directives of a request or a response that Larder acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheControl {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, with or without field names: with names it is taken as without (RFC 9111 section 5.2.2.4 allows it).
    pub no_cache: bool,
    /// `private`, likewise (section 5.2.2.7).
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
    /// `max-age`.
    pub max_age: Option<Duration>,
    /// `s-maxage`.
    pub s_maxage: Option<Duration>,
    /// `max-stale`; without a value it is the largest.
    pub max_stale: Option<Duration>,
    /// `min-fresh`.
    pub min_fresh: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861 section 3).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861 section 4).
    pub stale_if_error: Option<Duration>,
}

/// The largest delta-seconds (RFC 9111 section 1.2.2).
const MAX_DELTA: u64 = 1 << 31;

impl CacheControl {
    /// Reads all `Cache-Control` lines of `headers`.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            directives.add(line.as_bytes());
        }
        directives
    }

    /// Reads a request's directives; without `Cache-Control`, `Pragma: no-cache` counts (RFC 9111 section 5.4).
    pub fn of_request(headers: &HeaderMap) -> Self {
        let mut directives = Self::of(headers);
        if !headers.contains_key(CACHE_CONTROL) {
            directives.no_cache = headers
                .get_all(PRAGMA)
                .iter()
                .any(|line| line.as_bytes().to_ascii_lowercase().windows(8).any(|w| w == b"no-cache"));
        }
        directives
    }

    fn add(&mut self, line: &[u8]) {
        for member in members(line) {
            let (name, value) = match memchr::memchr(b'=', member) {
                Some(at) => (&member[..at], Some(&member[at + 1..])),
                None => (member, None),
            };
            self.directive(name.trim_ascii(), value.map(<[u8]>::trim_ascii));
        }
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
            shortest(&mut self.max_stale, value.map_or(Duration::from_secs(MAX_DELTA), |v| seconds(Some(v))));
        } else if is("stale-while-revalidate") {
            shortest(&mut self.stale_while_revalidate, seconds(value));
        } else if is("stale-if-error") {
            shortest(&mut self.stale_if_error, seconds(value));
        }
    }
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

    fn read(line: &str) -> CacheControl {
        let mut directives = CacheControl::default();
        directives.add(line.as_bytes());
        directives
    }

    #[test]
    fn directives_are_read_in_any_case_and_with_any_spacing() {
        let cc = read(" Max-Age=60 , PRIVATE,no-cache=\"a, b\" ,, must-revalidate");
        assert_eq!(cc.max_age, Some(Duration::from_secs(60)));
        assert!(cc.private && cc.no_cache && cc.must_revalidate && !cc.no_store);
    }

    #[test]
    fn an_unreadable_age_is_zero_and_a_huge_one_the_largest() {
        for bad in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=x"] {
            assert_eq!(read(bad).max_age, Some(Duration::ZERO), "{bad}");
        }
        let huge = read("max-age=99999999999999999999999");
        assert_eq!(huge.max_age, Some(Duration::from_secs(MAX_DELTA)));
    }

    #[test]
    fn of_a_doubled_directive_the_strictest_counts() {
        assert_eq!(read("max-age=60, max-age=5").max_age, Some(Duration::from_secs(5)));
        assert_eq!(read("min-fresh=6, min-fresh=50").min_fresh, Some(Duration::from_secs(50)));
    }

    #[test]
    fn a_directive_inside_a_quoted_string_is_text() {
        assert!(!read("x=\"no-store, private\"").no_store);
        assert!(read("x=\"a\\\", b\", no-store").no_store);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(line: Vec<u8>) {
            let mut directives = CacheControl::default();
            directives.add(&line);
        }
    }
}
