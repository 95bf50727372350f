//! What a request gets: one pure function of (request, stored response, fence, now).

use std::time::Duration;

use super::cache_control::CacheControl;
use super::freshness::Freshness;
use super::reason::Reason;
use crate::clock::Now;

/// What the purge fence says of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// No purge since its fill began.
    Valid,
    /// Softly purged: stale since this moment of the monotonic clock, within its stale windows. Validated only with a
    /// strong validator.
    StaleSince(Duration),
    /// Purged: it is not served, and not validated either.
    Purged,
}

impl Validity {
    /// What two purges say together.
    pub fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Purged, _) | (_, Self::Purged) => Self::Purged,
            (Self::StaleSince(a), Self::StaleSince(b)) => Self::StaleSince(a.min(b)),
            (Self::Valid, verdict) | (verdict, Self::Valid) => verdict,
        }
    }

    /// How long a response has been stale, or `None` while it is fresh: by its age, or by a soft purge.
    fn staleness(self, stored: &Freshness, now: Now) -> Option<Duration> {
        let by_purge = match self {
            Self::StaleSince(since) => Some(now.mono.saturating_sub(since)),
            Self::Valid | Self::Purged => None,
        };
        stored.staleness(now).max(by_purge)
    }
}

/// What happens with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The stored response is served.
    Serve,
    /// The stored response is served though stale; `refresh` says whether a new one is fetched meanwhile.
    ServeStale {
        /// Whether a fetch starts in the background.
        refresh: bool,
    },
    /// A fetch that may send the validator of the stored response. The response may stand in if the origin fails.
    Revalidate,
    /// A fetch of a whole response.
    Fetch,
    /// Neither read nor stored: the request goes to the origin as it is.
    Pass,
    /// Nothing stored fits, and the request accepts nothing else (504, RFC 9111 section 5.2.1.7).
    Unsatisfiable,
}

/// What of the request matters besides its key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes {
    /// Its directives; all unset on tiers with a `ttl`, which answer to nobody but the configuration.
    pub directives: CacheControl,
    /// A fresh answer was asked for, and granted, for this reason.
    pub refresh: Option<Reason>,
    /// The oldest answer that an authorised client accepts.
    pub max_age: Option<Duration>,
}

/// Decides. `stored` is the response under the request's key and what the fence says of it.
pub fn decide(wishes: &Wishes, stored: Option<(&Freshness, Validity)>, now: Now) -> (Decision, Reason) {
    if let Some(reason) = wishes.refresh {
        return (Decision::Fetch, reason);
    }
    let asked = &wishes.directives;
    if asked.no_store {
        // The request's answer must not be stored; a stored one could be used, but who says so wants none.
        return (Decision::Pass, Reason::RequestNoStore);
    }
    let verdict = match stored {
        None => (Decision::Fetch, Reason::Absent),
        Some((_, Validity::Purged)) => (Decision::Fetch, Reason::Purged),
        Some((freshness, validity)) => with_stored(wishes, freshness, validity, now),
    };
    match verdict {
        (Decision::Fetch | Decision::Revalidate, _) if asked.only_if_cached => {
            (Decision::Unsatisfiable, Reason::OnlyIfCached)
        }
        verdict => verdict,
    }
}

fn with_stored(wishes: &Wishes, stored: &Freshness, validity: Validity, now: Now) -> (Decision, Reason) {
    let asked = &wishes.directives;
    let age = stored.age(now);
    if stored.no_cache {
        return (Decision::Revalidate, Reason::NoCacheStored);
    }
    if asked.no_cache {
        return (Decision::Revalidate, Reason::RequestNoCache);
    }
    if wishes.max_age.is_some_and(|max| age > max) {
        return (Decision::Revalidate, Reason::ClientTtl);
    }
    if asked.max_age.is_some_and(|max| age > max) && asked.max_stale.is_none() {
        return (Decision::Revalidate, Reason::RequestMaxAge);
    }
    let stale = if validity == Validity::Valid { Reason::Expired } else { Reason::SoftPurged };
    match validity.staleness(stored, now) {
        None => fresh(asked, stored, now),
        Some(_) if stored.must_revalidate => (Decision::Revalidate, stale),
        Some(for_long) if asked.max_stale.is_some_and(|max| for_long <= max) => {
            (Decision::ServeStale { refresh: false }, Reason::MaxStale)
        }
        Some(for_long) if for_long < stored.stale_while_revalidate && asked.min_fresh.is_none() => {
            (Decision::ServeStale { refresh: true }, Reason::StaleWhileRevalidate)
        }
        Some(_) => (Decision::Revalidate, stale),
    }
}

fn fresh(asked: &CacheControl, stored: &Freshness, now: Now) -> (Decision, Reason) {
    let too_short = |min: Duration| stored.remaining(now).is_some_and(|left| left < min);
    if asked.min_fresh.is_some_and(too_short) {
        return (Decision::Revalidate, Reason::RequestMaxAge);
    }
    (Decision::Serve, Reason::Fresh)
}

/// Whether a stale response may stand in for an origin that failed (RFC 5861 section 4, RFC 9111 section 4.2.4).
pub fn may_stand_in(stored: &Freshness, validity: Validity, now: Now) -> bool {
    validity != Validity::Purged
        && !stored.must_revalidate
        && !stored.no_cache
        && validity.staleness(stored, now).is_none_or(|stale| stale < stored.stale_if_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall: Duration::from_secs(seconds) }
    }

    fn stored(lifetime: u64) -> Freshness {
        Freshness {
            received: Duration::ZERO,
            initial_age: Duration::ZERO,
            lifetime: Some(Duration::from_secs(lifetime)),
            ends: None,
            stale_while_revalidate: Duration::from_secs(10),
            stale_if_error: Duration::from_secs(100),
            must_revalidate: false,
            no_cache: false,
        }
    }

    fn decision(directives: CacheControl, freshness: &Freshness, now: u64) -> Decision {
        let wishes = Wishes { directives, ..Wishes::default() };
        decide(&wishes, Some((freshness, Validity::Valid)), at(now)).0
    }

    #[test]
    fn a_response_is_served_while_fresh_then_while_revalidating_then_not() {
        let none = CacheControl::default();
        assert_eq!(decision(none, &stored(60), 59), Decision::Serve);
        assert_eq!(decision(none, &stored(60), 60), Decision::ServeStale { refresh: true });
        assert_eq!(decision(none, &stored(60), 70), Decision::Revalidate);
    }

    #[test]
    fn must_revalidate_is_never_served_stale() {
        let strict = Freshness { must_revalidate: true, ..stored(60) };
        assert_eq!(decision(CacheControl::default(), &strict, 60), Decision::Revalidate);
        assert!(!may_stand_in(&strict, Validity::Valid, at(61)));
        assert!(may_stand_in(&stored(60), Validity::Valid, at(61)));
        assert!(!may_stand_in(&stored(60), Validity::Valid, at(160)));
    }

    #[test]
    fn a_purged_response_is_fetched_whole_and_stands_in_for_nothing() {
        let wishes = Wishes::default();
        let verdict = decide(&wishes, Some((&stored(60), Validity::Purged)), at(1));
        assert_eq!(verdict, (Decision::Fetch, Reason::Purged));
        assert!(!may_stand_in(&stored(60), Validity::Purged, at(1)));
    }

    #[test]
    fn a_softly_purged_response_is_stale_from_then_on_within_the_windows_of_its_tier() {
        let soft = Validity::StaleSince(Duration::from_secs(20));
        let verdict =
            |freshness: &Freshness, now| decide(&Wishes::default(), Some((freshness, soft)), at(now)).0;
        assert_eq!(verdict(&stored(60), 20), Decision::ServeStale { refresh: true });
        assert_eq!(verdict(&stored(60), 29), Decision::ServeStale { refresh: true });
        assert_eq!(verdict(&stored(60), 30), Decision::Revalidate);
        assert!(may_stand_in(&stored(60), soft, at(119)));
        assert!(!may_stand_in(&stored(60), soft, at(120)));
        let strict = Freshness { must_revalidate: true, ..stored(60) };
        assert_eq!(verdict(&strict, 20), Decision::Revalidate);
        assert!(!may_stand_in(&strict, soft, at(20)));
        // Expired before it was purged: stale since then.
        assert_eq!(verdict(&stored(5), 14), Decision::ServeStale { refresh: true });
        assert_eq!(verdict(&stored(5), 15), Decision::Revalidate);
    }

    #[test]
    fn of_two_purges_the_hard_one_counts_and_of_two_soft_ones_the_earlier() {
        let soft = |seconds| Validity::StaleSince(Duration::from_secs(seconds));
        assert_eq!(soft(1).worse(Validity::Purged), Validity::Purged);
        assert_eq!(soft(2).worse(soft(1)), soft(1));
        assert_eq!(Validity::Valid.worse(soft(1)), soft(1));
        assert_eq!(Validity::Valid.worse(Validity::Valid), Validity::Valid);
    }

    #[test]
    fn rfc9111_5_2_1_each_request_directive_has_its_effect() {
        let s = Duration::from_secs;
        let with = |f: fn(&mut CacheControl)| {
            let mut cc = CacheControl::default();
            f(&mut cc);
            cc
        };
        assert_eq!(decision(with(|c| c.no_cache = true), &stored(60), 1), Decision::Revalidate);
        assert_eq!(decision(with(|c| c.no_store = true), &stored(60), 1), Decision::Pass);
        let max_age = CacheControl { max_age: Some(s(5)), ..CacheControl::default() };
        assert_eq!(decision(max_age, &stored(60), 5), Decision::Serve);
        assert_eq!(decision(max_age, &stored(60), 6), Decision::Revalidate);
        let min_fresh = CacheControl { min_fresh: Some(s(20)), ..CacheControl::default() };
        assert_eq!(decision(min_fresh, &stored(60), 40), Decision::Serve);
        assert_eq!(decision(min_fresh, &stored(60), 41), Decision::Revalidate);
        let max_stale = CacheControl { max_stale: Some(s(30)), ..CacheControl::default() };
        assert_eq!(decision(max_stale, &stored(60), 90), Decision::ServeStale { refresh: false });
        assert_eq!(decision(max_stale, &stored(60), 91), Decision::Revalidate);
        let only = CacheControl { only_if_cached: true, ..CacheControl::default() };
        assert_eq!(decision(only, &stored(60), 61), Decision::ServeStale { refresh: true });
        assert_eq!(decision(only, &stored(60), 75), Decision::Unsatisfiable);
    }

    proptest::proptest! {
        /// Never older than the lifetime plus what a directive or a window allows.
        #[test]
        fn what_is_served_is_never_older_than_allowed(lifetime in 0_u64..200, now in 0_u64..400, max_stale in 0_u64..100) {
            let directives = CacheControl { max_stale: Some(Duration::from_secs(max_stale)), ..CacheControl::default() };
            match decision(directives, &stored(lifetime), now) {
                Decision::Serve => proptest::prop_assert!(now < lifetime || lifetime == 0 && now == 0),
                Decision::ServeStale { .. } => proptest::prop_assert!(now <= lifetime + max_stale.max(10)),
                _ => {}
            }
        }
    }
}
