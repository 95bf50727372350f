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
    let verdict = match stored {
        // The request's answer must not be stored; a stored one could be used, but who says so wants none.
        _ if asked.no_store => (Decision::Pass, Reason::RequestNoStore),
        None => (Decision::Fetch, Reason::Absent),
        Some((_, Validity::Purged)) => (Decision::Fetch, Reason::Purged),
        Some((freshness, validity)) => with_stored(wishes, freshness, validity, now),
    };
    match verdict {
        (Decision::Fetch | Decision::Revalidate | Decision::Pass, _) if asked.only_if_cached => {
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
    let staleness = validity.staleness(stored, now);
    // RFC 8246 section 2: a reload (`max-age=0`) need not ask for what does not change while it is fresh.
    let unchanging = stored.immutable && staleness.is_none();
    if asked.max_age.is_some_and(|max| age > max) && !unchanging {
        return (Decision::Revalidate, Reason::RequestMaxAge);
    }
    let stale = if validity == Validity::Valid { Reason::Expired } else { Reason::SoftPurged };
    // Past a purge only the windows of the tier count, not how patient a client is.
    let max_stale = asked.max_stale.filter(|_| validity == Validity::Valid && asked.min_fresh.is_none());
    match staleness {
        None => fresh(asked, stored, now),
        Some(_) if stored.must_revalidate => (Decision::Revalidate, stale),
        Some(for_long) if max_stale.is_some_and(|max| for_long <= max) => {
            (Decision::ServeStale { refresh: false }, Reason::MaxStale)
        }
        Some(for_long) if for_long < stored.stale_while_revalidate && !wants_fresh(asked) => {
            (Decision::ServeStale { refresh: true }, Reason::StaleWhileRevalidate)
        }
        Some(_) => (Decision::Revalidate, stale),
    }
}

/// A request with `min-fresh`, or with `max-age` but no `max-stale`, accepts no stale response (RFC 9111 sections 5.2.1.1 and
/// 5.2.1.3).
fn wants_fresh(asked: &CacheControl) -> bool {
    asked.min_fresh.is_some() || asked.max_age.is_some() && asked.max_stale.is_none()
}

fn fresh(asked: &CacheControl, stored: &Freshness, now: Now) -> (Decision, Reason) {
    let too_short = |min: Duration| stored.remaining(now).is_some_and(|left| left < min);
    if asked.min_fresh.is_some_and(too_short) {
        return (Decision::Revalidate, Reason::RequestMaxAge);
    }
    (Decision::Serve, Reason::Fresh)
}

/// Whether a stale response may stand in for an origin that failed (RFC 5861 section 4, RFC 9111 section 4.2.4). A request
/// may bound the window, or widen it for itself, but not past a purge.
pub fn may_stand_in(asked: &CacheControl, stored: &Freshness, validity: Validity, now: Now) -> bool {
    let own = stored.stale_if_error;
    let window = match validity {
        Validity::Valid => asked.stale_if_error.unwrap_or(own),
        Validity::StaleSince(_) => asked.stale_if_error.map_or(own, |asked| asked.min(own)),
        Validity::Purged => return false,
    };
    !stored.must_revalidate
        && !stored.no_cache
        && validity.staleness(stored, now).is_none_or(|stale| stale < window)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall: Duration::from_secs(seconds) }
    }

    fn stored(lifetime: u64) -> Freshness {
        Freshness {
            lifetime: Some(Duration::from_secs(lifetime)),
            stale_while_revalidate: Duration::from_secs(10),
            stale_if_error: Duration::from_secs(100),
            ..Freshness::until_purged()
        }
    }

    fn decision(directives: CacheControl, freshness: &Freshness, now: u64) -> Decision {
        let wishes = Wishes { directives, ..Wishes::default() };
        decide(&wishes, Some((freshness, Validity::Valid)), at(now)).0
    }

    #[test]
    fn rfc5861_3_a_response_is_served_while_fresh_then_while_revalidating_then_not() {
        let none = CacheControl::default();
        assert_eq!(decision(none, &stored(60), 59), Decision::Serve);
        assert_eq!(decision(none, &stored(60), 60), Decision::ServeStale { refresh: true });
        assert_eq!(decision(none, &stored(60), 70), Decision::Revalidate);
    }

    #[test]
    fn rfc9111_5_2_2_2_must_revalidate_is_never_served_stale() {
        let strict = Freshness { must_revalidate: true, ..stored(60) };
        assert_eq!(decision(CacheControl::default(), &strict, 60), Decision::Revalidate);
        assert!(!may_stand_in(&CacheControl::default(), &strict, Validity::Valid, at(61)));
        assert!(may_stand_in(&CacheControl::default(), &stored(60), Validity::Valid, at(61)));
        assert!(!may_stand_in(&CacheControl::default(), &stored(60), Validity::Valid, at(160)));
    }

    #[test]
    fn a_purged_response_is_fetched_whole_and_stands_in_for_nothing() {
        let wishes = Wishes::default();
        let verdict = decide(&wishes, Some((&stored(60), Validity::Purged)), at(1));
        assert_eq!(verdict, (Decision::Fetch, Reason::Purged));
        assert!(!may_stand_in(&CacheControl::default(), &stored(60), Validity::Purged, at(1)));
    }

    #[test]
    fn a_softly_purged_response_is_stale_from_then_on_within_the_windows_of_its_tier() {
        let soft = Validity::StaleSince(Duration::from_secs(20));
        let verdict =
            |freshness: &Freshness, now| decide(&Wishes::default(), Some((freshness, soft)), at(now)).0;
        assert_eq!(verdict(&stored(60), 20), Decision::ServeStale { refresh: true });
        assert_eq!(verdict(&stored(60), 29), Decision::ServeStale { refresh: true });
        assert_eq!(verdict(&stored(60), 30), Decision::Revalidate);
        assert!(may_stand_in(&CacheControl::default(), &stored(60), soft, at(119)));
        assert!(!may_stand_in(&CacheControl::default(), &stored(60), soft, at(120)));
        let strict = Freshness { must_revalidate: true, ..stored(60) };
        assert_eq!(verdict(&strict, 20), Decision::Revalidate);
        assert!(!may_stand_in(&CacheControl::default(), &strict, soft, at(20)));
        // A client may widen the window for itself, but not past a purge.
        let patient = CacheControl { max_stale: Some(Duration::MAX), ..CacheControl::default() };
        let wishes = Wishes { directives: patient, ..Wishes::default() };
        assert_eq!(
            decide(&wishes, Some((&stored(60), soft)), at(29)).0,
            Decision::ServeStale { refresh: true }
        );
        assert_eq!(decide(&wishes, Some((&stored(60), soft)), at(30)).0, Decision::Revalidate);
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

    #[test]
    fn rfc9111_4_2_4_a_stale_response_is_served_only_where_both_sides_allow_it() {
        let s = |seconds| Some(Duration::from_secs(seconds));
        let closed = Freshness { stale_while_revalidate: Duration::ZERO, ..stored(60) };
        let strict = Freshness { must_revalidate: true, ..stored(60) };
        let validated = Freshness { no_cache: true, ..stored(60) };
        let none = CacheControl::default();
        let any_staleness = CacheControl { max_stale: Some(Duration::MAX), ..none };
        let some = CacheControl { max_stale: s(5), ..none };
        let fresh_too = CacheControl { min_fresh: s(1), ..any_staleness };
        for (asked, stored, now, expected) in [
            (none, closed, 60, Decision::Revalidate),
            (none, stored(60), 60, Decision::ServeStale { refresh: true }),
            (any_staleness, closed, 1 << 40, Decision::ServeStale { refresh: false }),
            (some, closed, 65, Decision::ServeStale { refresh: false }),
            (some, closed, 66, Decision::Revalidate),
            (any_staleness, strict, 60, Decision::Revalidate),
            (any_staleness, validated, 59, Decision::Revalidate),
            (fresh_too, stored(60), 61, Decision::Revalidate),
        ] {
            assert_eq!(decision(asked, &stored, now), expected, "{asked:?} {stored:?} {now}");
        }
    }

    #[test]
    fn rfc9111_5_2_1_7_only_if_cached_never_goes_to_the_origin() {
        let asked = |cc: CacheControl| CacheControl { only_if_cached: true, ..cc };
        let none = CacheControl::default();
        let wishes = |cc| Wishes { directives: asked(cc), ..Wishes::default() };
        assert_eq!(decide(&wishes(none), None, at(1)), (Decision::Unsatisfiable, Reason::OnlyIfCached));
        assert_eq!(decision(asked(none), &stored(60), 59), Decision::Serve);
        let reload = CacheControl { no_cache: true, ..none };
        assert_eq!(decision(asked(reload), &stored(60), 59), Decision::Unsatisfiable);
        let unstored = CacheControl { no_store: true, ..none };
        assert_eq!(decision(asked(unstored), &stored(60), 59), Decision::Unsatisfiable);
    }

    #[test]
    fn rfc9111_5_2_1_1_a_bound_on_the_age_holds_also_for_who_accepts_stale_answers() {
        let s = |seconds| Some(Duration::from_secs(seconds));
        let both = CacheControl { max_age: s(65), max_stale: s(30), ..CacheControl::default() };
        assert_eq!(decision(both, &stored(60), 65), Decision::ServeStale { refresh: false });
        assert_eq!(decision(both, &stored(60), 66), Decision::Revalidate);
        // Without `max-stale` no stale one is wished for, not within a window either.
        let alone = CacheControl { max_age: s(65), ..CacheControl::default() };
        assert_eq!(decision(alone, &stored(60), 59), Decision::Serve);
        assert_eq!(decision(alone, &stored(60), 61), Decision::Revalidate);
    }

    #[test]
    fn rfc8246_2_a_reload_need_not_ask_for_what_is_immutable_while_it_is_fresh() {
        let immutable = Freshness { immutable: true, ..stored(60) };
        let with = |max_age, no_cache| CacheControl { max_age, no_cache, ..CacheControl::default() };
        let reload = with(Some(Duration::ZERO), false);
        assert_eq!(decision(reload, &immutable, 59), Decision::Serve);
        assert_eq!(decision(reload, &stored(60), 59), Decision::Revalidate);
        assert_eq!(decision(reload, &immutable, 60), Decision::Revalidate);
        assert_eq!(decision(with(None, true), &immutable, 59), Decision::Revalidate);
        let soft = Validity::StaleSince(Duration::from_secs(5));
        let wishes = Wishes { directives: reload, ..Wishes::default() };
        assert_eq!(decide(&wishes, Some((&immutable, soft)), at(6)).0, Decision::Revalidate);
    }

    #[test]
    fn rfc5861_4_a_request_may_bound_and_widen_the_window_but_not_past_a_purge() {
        let asked = |seconds| CacheControl {
            stale_if_error: Some(Duration::from_secs(seconds)),
            ..CacheControl::default()
        };
        let soft = Validity::StaleSince(Duration::from_secs(60));
        for (seconds, validity, now, may) in [
            (5, Validity::Valid, 64, true),
            (5, Validity::Valid, 65, false),
            (500, Validity::Valid, 559, true),
            (500, soft, 160, false),
            (500, Validity::Purged, 1, false),
        ] {
            let stands = may_stand_in(&asked(seconds), &stored(60), validity, at(now));
            assert_eq!(stands, may, "{seconds} {validity:?} {now}");
        }
        let strict = Freshness { must_revalidate: true, ..stored(60) };
        assert!(!may_stand_in(&asked(500), &strict, Validity::Valid, at(61)));
    }

    mod generated {
        use super::*;
        use proptest::option::of;
        use proptest::prelude::*;

        fn seconds() -> impl Strategy<Value = Duration> {
            (0_u64..300).prop_map(Duration::from_secs)
        }

        prop_compose! {
            fn freshness()(
                (received, initial_age, lifetime, ends) in (seconds(), seconds(), of(seconds()), of(seconds())),
                (stale_while_revalidate, stale_if_error) in (seconds(), seconds()),
                (must_revalidate, no_cache, immutable) in any::<(bool, bool, bool)>(),
            ) -> Freshness {
                Freshness {
                    received, initial_age, lifetime, ends, stale_while_revalidate, stale_if_error, must_revalidate, no_cache,
                    immutable,
                }
            }
        }

        prop_compose! {
            fn wishes()(
                (no_store, no_cache, only_if_cached) in any::<(bool, bool, bool)>(),
                (max_age, max_stale, min_fresh, stale_if_error) in
                    (of(seconds()), of(seconds()), of(seconds()), of(seconds())),
                bound in of(seconds()),
            ) -> Wishes {
                let directives = CacheControl {
                    no_store: no_store && only_if_cached, no_cache, only_if_cached, max_age, max_stale, min_fresh, stale_if_error,
                    ..CacheControl::default()
                };
                Wishes { directives, refresh: None, max_age: bound }
            }
        }

        fn validity() -> impl Strategy<Value = Validity> {
            prop_oneof![
                4 => Just(Validity::Valid),
                2 => seconds().prop_map(Validity::StaleSince),
                1 => Just(Validity::Purged),
            ]
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

            /// Never older than the lifetime plus what a directive or a window allows.
            #[test]
            fn what_is_served_is_never_older_than_allowed(
                stored in freshness(), wishes in wishes(), validity in validity(), later in 0_u64..1_000,
            ) {
                let now = Now { mono: stored.received + Duration::from_secs(later), wall: Duration::ZERO };
                let (asked, age) = (&wishes.directives, stored.initial_age + Duration::from_secs(later));
                let expired = stored.lifetime.is_some_and(|lifetime| age >= lifetime)
                    || stored.ends.is_some_and(|end| now.mono >= end);
                let stale = validity.staleness(&stored, now);
                let (verdict, _) = decide(&wishes, Some((&stored, validity)), now);
                if let Decision::Serve | Decision::ServeStale { .. } = verdict {
                    prop_assert!(validity != Validity::Purged && !stored.no_cache && !asked.no_cache);
                    prop_assert!(wishes.max_age.is_none_or(|max| age <= max));
                    let unchanging = stored.immutable && !expired && validity == Validity::Valid;
                    prop_assert!(unchanging || asked.max_age.is_none_or(|max| age <= max));
                }
                match verdict {
                    Decision::Serve => {
                        prop_assert!(!expired);
                        let left = stored.lifetime.map(|lifetime| lifetime - age);
                        prop_assert!(asked.min_fresh.is_none_or(|min| left.is_none_or(|left| left >= min)));
                    }
                    Decision::ServeStale { .. } => {
                        prop_assert!(!stored.must_revalidate);
                        let most = stored.stale_while_revalidate.max(asked.max_stale.unwrap_or_default());
                        prop_assert!(stale.unwrap() <= most);
                    }
                    _ => {}
                }
                if may_stand_in(asked, &stored, validity, now) {
                    prop_assert!(!stored.must_revalidate && !stored.no_cache && validity != Validity::Purged);
                    let most = stored.stale_if_error.max(asked.stale_if_error.unwrap_or_default());
                    prop_assert!(stale.is_none_or(|stale| stale < most));
                }
            }
        }
    }
}
