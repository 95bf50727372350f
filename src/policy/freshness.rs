//! Freshness lifetime and age (RFC 9111 section 4.2).

use std::time::Duration;

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::date;
use super::governing::Governing;
use crate::clock::Now;

/// A freshness lifetime, as a tier gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// The response's own fields decide (RFC 9111 section 4.2).
    Origin,
    /// This long, whatever the response says.
    Fixed(Duration),
    /// Until it is purged (`ttl: 0`).
    UntilPurged,
}

/// When a stored response is fresh, and what may be done with it afterwards. Times are the clock's monotonic ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When the response was received.
    pub received: Duration,
    /// Its age then: corrected_initial_age (RFC 9111 section 4.2.3).
    pub initial_age: Duration,
    /// The freshness lifetime; `None`: until purged.
    pub lifetime: Option<Duration>,
    /// The moment at which it ends whatever its lifetime: local midnight, where the route asks for it.
    pub ends: Option<Duration>,
    /// How long after its end it is served while a new one is fetched.
    pub stale_while_revalidate: Duration,
    /// How long after its end it is served when the origin fails.
    pub stale_if_error: Duration,
    /// Whether it must be validated once stale, and never be served stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`).
    pub must_revalidate: bool,
    /// Whether it must be validated before every use (`no-cache`).
    pub no_cache: bool,
    /// Whether it does not change while it is fresh, so that a reload need not ask (`immutable`, RFC 8246).
    pub immutable: bool,
}

impl Freshness {
    /// That of a response which is fresh until it is purged, received at the clock's beginning.
    pub fn until_purged() -> Self {
        Self {
            received: Duration::ZERO,
            initial_age: Duration::ZERO,
            lifetime: None,
            ends: None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            must_revalidate: false,
            no_cache: false,
            immutable: false,
        }
    }

    /// Its age at `now` (RFC 9111 section 4.2.3).
    pub fn age(&self, now: Now) -> Duration {
        self.initial_age + now.mono.saturating_sub(self.received)
    }

    /// How long it is still fresh; zero once it is stale. `None`: until purged.
    pub fn remaining(&self, now: Now) -> Option<Duration> {
        let by_lifetime = self.lifetime.map(|lifetime| lifetime.saturating_sub(self.age(now)));
        let by_end = self.ends.map(|end| end.saturating_sub(now.mono));
        match (by_lifetime, by_end) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// How long it has been stale, or `None` while it is fresh.
    pub fn staleness(&self, now: Now) -> Option<Duration> {
        let by_lifetime = self.lifetime.and_then(|lifetime| self.age(now).checked_sub(lifetime));
        let by_end = self.ends.and_then(|end| now.mono.checked_sub(end));
        by_lifetime.max(by_end)
    }

    /// The monotonic moment after which it can be of no use, for an eviction by time. `None`: never.
    pub fn useless_after(&self) -> Option<Duration> {
        let by_lifetime = self.lifetime.map(|l| self.received + l.saturating_sub(self.initial_age));
        let end = match (by_lifetime, self.ends) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        end.map(|end| end + self.stale_while_revalidate.max(self.stale_if_error))
    }
}

/// The freshness lifetime that a response gives itself in a shared cache: `s-maxage`, `max-age`, `Expires` less `Date`
/// (RFC 9111 section 4.2.1), else, where `heuristic` allows it, a tenth of the time since it was last modified (section 4.2.2), at most a day.
pub fn origin_lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    governing: &Governing,
    now: Now,
    heuristic: bool,
) -> Option<Duration> {
    let cc = &governing.directives;
    if let Some(explicit) = cc.s_maxage.or(cc.max_age) {
        return Some(explicit);
    }
    let date = date::of(headers, &DATE, now).unwrap_or(now.wall);
    if governing.expires && headers.contains_key(EXPIRES) {
        // An invalid date, or several, means: expired already (RFC 9111 section 5.3).
        let expires = date::of(headers, &EXPIRES, now).unwrap_or_default();
        return Some(expires.saturating_sub(date));
    }
    if !heuristic || !(heuristically_cacheable(status) || cc.public) {
        return None;
    }
    let modified = date::of(headers, &LAST_MODIFIED, now)?;
    Some((date.saturating_sub(modified) / 10).min(Duration::from_secs(86_400)))
}

/// Whether a status may get a guessed lifetime (RFC 9110 section 15.1).
pub fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// corrected_initial_age (RFC 9111 section 4.2.3): the larger of the apparent age and `Age` plus the response delay.
pub fn initial_age(headers: &HeaderMap, requested: Now, received: Now) -> Duration {
    let apparent = date::of(headers, &DATE, received).map_or(Duration::ZERO, |d| {
        // An HTTP date has no fractions: the comparison is made in whole seconds.
        Duration::from_secs(received.unix_seconds()).saturating_sub(d)
    });
    let delay = received.mono.saturating_sub(requested.mono);
    let age = headers.get(AGE).and_then(|v| v.to_str().ok()).and_then(|v| {
        // Of a list the first member counts, and rubbish counts as nothing (RFC 9111 section 5.1).
        let first = v.split(',').next()?.trim();
        let number = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
        number.then(|| first.parse::<u64>().unwrap_or(1 << 31))
    });
    match age {
        Some(age) => apparent.max(Duration::from_secs(age.min(1 << 31)) + delay),
        None => apparent.max(delay),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn now(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall: Duration::from_secs(1_700_000_000 + seconds) }
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn lifetime(fields: &[(&'static str, &str)]) -> Option<u64> {
        let map = headers(fields);
        let governing = Governing::of(&map, &[], now(0));
        origin_lifetime(StatusCode::OK, &map, &governing, now(0), true).map(|d| d.as_secs())
    }

    #[test]
    fn rfc9111_4_2_1_the_shared_lifetime_wins_over_the_general_one_and_over_expires() {
        let expires = ("expires", "Tue, 14 Nov 2023 23:13:20 GMT");
        assert_eq!(lifetime(&[("cache-control", "max-age=5, s-maxage=9"), expires]), Some(9));
        assert_eq!(lifetime(&[("cache-control", "max-age=5"), expires]), Some(5));
        assert_eq!(lifetime(&[expires]), Some(3_600));
    }

    #[test]
    fn rfc9111_5_3_an_invalid_expires_means_expired() {
        assert_eq!(lifetime(&[("expires", "0")]), Some(0));
        assert_eq!(lifetime(&[("expires", "Tue, 14 Nov 2023 23:13:20 GMT"), ("expires", "x")]), Some(0));
    }

    #[test]
    fn rfc9111_4_2_2_a_tenth_of_the_time_since_modification_is_guessed() {
        let fields =
            [("date", "Tue, 14 Nov 2023 22:13:20 GMT"), ("last-modified", "Tue, 14 Nov 2023 22:03:20 GMT")];
        assert_eq!(lifetime(&fields), Some(60));
        assert_eq!(lifetime(&[]), None);
    }

    #[test]
    fn rfc9111_4_2_3_the_age_counts_what_the_origin_says_and_the_delay() {
        let map = headers(&[("age", "30"), ("date", "Tue, 14 Nov 2023 22:13:20 GMT")]);
        assert_eq!(initial_age(&map, now(0), now(4)), Duration::from_secs(34));
        let map = headers(&[("date", "Tue, 14 Nov 2023 22:12:20 GMT")]);
        assert_eq!(initial_age(&map, now(0), now(0)), Duration::from_secs(60));
    }

    #[test]
    fn rfc9111_5_1_of_a_list_of_ages_the_first_counts_and_rubbish_counts_as_nothing() {
        let age = |lines: &[&str]| {
            let fields: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
            initial_age(&headers(&fields), now(0), now(0)).as_secs()
        };
        assert_eq!((age(&["7200, 0"]), age(&["0", "7200"]), age(&["7200", "0"])), (7_200, 0, 7_200));
        assert_eq!(age(&["99999999999999999999999"]), 1 << 31);
        for rubbish in ["", "abc", "-7200", "7200.0", "\"7200\"", "7200;a=b"] {
            assert_eq!(age(&[rubbish]), 0, "{rubbish}");
        }
    }

    #[test]
    fn rfc9110_15_1_every_heuristically_cacheable_status_may_be_guessed_and_others_where_they_are_public() {
        let public =
            headers(&[("cache-control", "public"), ("last-modified", "Tue, 14 Nov 2023 22:03:20 GMT")]);
        let plain = headers(&[("last-modified", "Tue, 14 Nov 2023 22:03:20 GMT")]);
        let guess = |status: u16, map: &HeaderMap| {
            let status = StatusCode::from_u16(status).unwrap();
            origin_lifetime(status, map, &Governing::of(map, &[], now(0)), now(0), true).is_some()
        };
        for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert!(guess(status, &plain), "{status}");
        }
        for status in [201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599] {
            assert!(!guess(status, &plain) && guess(status, &public), "{status}");
        }
    }

    #[test]
    fn a_response_that_ends_at_midnight_is_stale_then_whatever_its_lifetime() {
        let freshness = Freshness {
            lifetime: Some(Duration::from_secs(900)),
            ends: Some(Duration::from_secs(60)),
            ..Freshness::until_purged()
        };
        assert_eq!(freshness.remaining(now(10)), Some(Duration::from_secs(50)));
        assert_eq!(freshness.staleness(now(59)), None);
        assert_eq!(freshness.staleness(now(60)), Some(Duration::ZERO));
    }
}
