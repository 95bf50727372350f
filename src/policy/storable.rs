//! May this response be stored, and for how long (RFC 9111 section 3)?

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, COOKIE, RANGE, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::cache_control::CacheControl;
use super::freshness::{Freshness, Ttl, initial_age, origin_lifetime};
use super::ranges::ContentRange;
use super::reason::Reason;
use crate::clock::Now;
use crate::http::fields::members;

/// What of a response does not forbid storing on a route (tiers with a `ttl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overrides {
    /// `Cache-Control: no-store`.
    pub no_store: bool,
    /// `Cache-Control: private`.
    pub private: bool,
    /// `Cache-Control: no-cache`.
    pub no_cache: bool,
    /// `Vary: Cookie`.
    pub vary_cookie: bool,
    /// `Vary: Authorization`.
    pub vary_authorization: bool,
    /// `Set-Cookie`: the field is stripped from what is stored.
    pub set_cookie: bool,
}

/// What a route and its tier say about storing; the answer to `when` is already in `ttl`.
#[derive(Debug, Clone, Copy)]
pub struct StoreRules {
    /// The lifetime.
    pub ttl: Ttl,
    /// Whether an exception of the tier names this status.
    pub status_named: bool,
    /// What does not forbid storing.
    pub overrides: Overrides,
    /// Replays `Set-Cookie`; for conformance runs only.
    pub keep_set_cookie: bool,
    /// The tier's stale windows.
    pub stale_while_revalidate: Duration,
    /// The tier's stale windows.
    pub stale_if_error: Duration,
    /// The monotonic moment of the next local midnight, where the route asks for it.
    pub ends: Option<Duration>,
}

/// The exchange that the response came out of.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The fields of the request as they were sent to the origin.
    pub request: &'a HeaderMap,
    /// The status.
    pub status: StatusCode,
    /// The fields of the response.
    pub response: &'a HeaderMap,
    /// When the request was sent.
    pub requested: Now,
    /// When the head of the response was received.
    pub received: Now,
}

/// Whether the response may be stored: its freshness, or the reason why not.
pub fn storable(exchange: &Exchange<'_>, rules: &StoreRules) -> Result<Freshness, Reason> {
    let cc = CacheControl::of(exchange.response);
    status_allows(exchange, rules)?;
    fields_allow(exchange, &cc, rules)?;
    let lifetime = match rules.ttl {
        Ttl::Origin => Some(own_lifetime(exchange, &cc)?),
        // The tier's time runs from now, so the age that the answer already has is added.
        Ttl::Fixed(ttl) => Some(ttl + age_of(exchange)),
        Ttl::UntilPurged => None,
    };
    let by_origin = matches!(rules.ttl, Ttl::Origin);
    Ok(Freshness {
        received: exchange.received.mono,
        initial_age: age_of(exchange),
        lifetime,
        ends: rules.ends,
        stale_while_revalidate: cc
            .stale_while_revalidate
            .filter(|_| by_origin)
            .unwrap_or(rules.stale_while_revalidate),
        stale_if_error: cc.stale_if_error.filter(|_| by_origin).unwrap_or(rules.stale_if_error),
        // On a tier with a ttl the origin's lifetime is replaced, and with it what hangs on that lifetime.
        must_revalidate: by_origin && (cc.must_revalidate || cc.proxy_revalidate || cc.s_maxage.is_some()),
        no_cache: by_origin && cc.no_cache,
    })
}

fn age_of(exchange: &Exchange<'_>) -> Duration {
    initial_age(exchange.response, exchange.requested, exchange.received)
}

fn status_allows(exchange: &Exchange<'_>, rules: &StoreRules) -> Result<(), Reason> {
    let status = exchange.status;
    // RFC 9111 section 3.3: a part is stored as what it says it is, where it was asked for; several in one are not.
    let part = status == StatusCode::PARTIAL_CONTENT;
    let sound = part && exchange.request.contains_key(RANGE) && ContentRange::of(exchange.response).is_some();
    if !sound && (part || exchange.response.contains_key(CONTENT_RANGE)) {
        return Err(Reason::Partial);
    }
    if status.is_informational() || status == StatusCode::NOT_MODIFIED {
        return Err(Reason::StatusNotStorable);
    }
    let by_origin = matches!(rules.ttl, Ttl::Origin);
    let usual = matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308);
    // RFC 9111 section 3 lets any final status be stored on its own explicit lifetime.
    if usual || rules.status_named || by_origin { Ok(()) } else { Err(Reason::StatusNotStorable) }
}

fn fields_allow(exchange: &Exchange<'_>, cc: &CacheControl, rules: &StoreRules) -> Result<(), Reason> {
    let by_origin = matches!(rules.ttl, Ttl::Origin);
    let overrides = rules.overrides;
    if cc.no_store && !overrides.no_store {
        return Err(Reason::NoStore);
    }
    if cc.private && !overrides.private {
        return Err(Reason::Private);
    }
    if cc.no_cache && !overrides.no_cache && !by_origin {
        return Err(Reason::NoCache);
    }
    if is_event_stream(exchange.response) {
        return Err(Reason::EventStream);
    }
    if exchange.response.contains_key(SET_COOKIE) && !overrides.set_cookie && !rules.keep_set_cookie {
        return Err(Reason::SetCookie);
    }
    vary_allows(exchange.response, overrides)?;
    if by_origin && exchange.request.contains_key(AUTHORIZATION) {
        // RFC 9111 section 3.5.
        let shared = cc.public || cc.s_maxage.is_some() || cc.must_revalidate;
        return if shared { Ok(()) } else { Err(Reason::Authorization) };
    }
    Ok(())
}

/// Server-sent events go on until somebody leaves: there is no whole answer to store, and none to share.
fn is_event_stream(response: &HeaderMap) -> bool {
    let kind = response.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}

fn vary_allows(response: &HeaderMap, overrides: Overrides) -> Result<(), Reason> {
    for line in response.get_all(VARY) {
        for name in members(line.as_bytes()) {
            if name == b"*" {
                return Err(Reason::VaryStar);
            }
            if name.eq_ignore_ascii_case(b"cookie") && !overrides.vary_cookie {
                return Err(Reason::VaryCookie);
            }
            if name.eq_ignore_ascii_case(b"authorization") && !overrides.vary_authorization {
                return Err(Reason::VaryAuthorization);
            }
        }
    }
    Ok(())
}

fn own_lifetime(exchange: &Exchange<'_>, cc: &CacheControl) -> Result<Duration, Reason> {
    // A guess is for what is evidently public: whoever sent a cookie may have got an answer of their own.
    let heuristic = cc.public || !exchange.request.contains_key(COOKIE);
    let lifetime = origin_lifetime(exchange.status, exchange.response, cc, exchange.received, heuristic);
    // What asks for validation before every use may be stored without a lifetime.
    lifetime.or(cc.no_cache.then_some(Duration::ZERO)).ok_or(Reason::NoFreshness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn rules(ttl: Ttl) -> StoreRules {
        StoreRules {
            ttl,
            status_named: false,
            overrides: Overrides::default(),
            keep_set_cookie: false,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            ends: None,
        }
    }

    fn verdict(
        request: &[(&str, &str)],
        status: u16,
        response: &[(&str, &str)],
        rules: StoreRules,
    ) -> Result<Freshness, Reason> {
        let now = Now { mono: Duration::from_secs(10), wall: Duration::from_secs(1_700_000_000) };
        let exchange = Exchange {
            request: &map(request),
            status: StatusCode::from_u16(status).unwrap(),
            response: &map(response),
            requested: now,
            received: now,
        };
        storable(&exchange, &rules)
    }

    const FIXED: Ttl = Ttl::Fixed(Duration::from_secs(300));

    #[test]
    fn each_thing_that_forbids_storing_has_its_reason_on_a_tier_with_a_ttl() {
        for (field, value, reason) in [
            ("cache-control", "no-store", Reason::NoStore),
            ("cache-control", "private", Reason::Private),
            ("cache-control", "no-cache", Reason::NoCache),
            ("set-cookie", "a=b", Reason::SetCookie),
            ("vary", "Accept, Cookie", Reason::VaryCookie),
            ("vary", "AUTHORIZATION", Reason::VaryAuthorization),
            ("vary", "*", Reason::VaryStar),
            ("content-range", "bytes 0-1/2", Reason::Partial),
            ("content-type", "Text/Event-Stream; charset=utf-8", Reason::EventStream),
        ] {
            assert_eq!(verdict(&[], 200, &[(field, value)], rules(FIXED)), Err(reason), "{field}: {value}");
        }
        assert!(verdict(&[], 200, &[], rules(FIXED)).is_ok());
    }

    #[test]
    fn rfc9111_3_3_a_part_is_stored_where_it_was_asked_for_and_says_what_it_is() {
        let range = [("range", "bytes=0-1")];
        let says = [("content-range", "bytes 0-1/2")];
        assert!(verdict(&range, 206, &says, rules(FIXED)).is_ok());
        assert_eq!(verdict(&[], 206, &says, rules(FIXED)), Err(Reason::Partial));
        assert_eq!(verdict(&range, 200, &says, rules(FIXED)), Err(Reason::Partial));
        let several = [("content-type", "multipart/byteranges; boundary=x")];
        assert_eq!(verdict(&range, 206, &several, rules(FIXED)), Err(Reason::Partial));
        assert_eq!(
            verdict(&range, 206, &[("content-range", "bytes 0-1/1")], rules(FIXED)),
            Err(Reason::Partial)
        );
    }

    #[test]
    fn an_override_lifts_its_own_prohibition_only() {
        let mut rules = rules(FIXED);
        rules.overrides.private = true;
        assert!(verdict(&[], 200, &[("cache-control", "private")], rules).is_ok());
        let both = [("cache-control", "private, no-store")];
        assert_eq!(verdict(&[], 200, &both, rules), Err(Reason::NoStore));
    }

    #[test]
    fn an_error_is_stored_only_where_the_tier_names_its_status() {
        assert_eq!(verdict(&[], 404, &[], rules(FIXED)), Err(Reason::StatusNotStorable));
        let named = StoreRules { status_named: true, ..rules(FIXED) };
        assert!(verdict(&[], 404, &[], named).is_ok());
    }

    #[test]
    fn a_tier_with_a_ttl_replaces_the_lifetime_of_the_origin() {
        let fresh = verdict(&[], 200, &[("cache-control", "max-age=1")], rules(FIXED)).unwrap();
        assert_eq!(fresh.lifetime, Some(Duration::from_secs(300)));
        assert_eq!(verdict(&[], 200, &[], rules(Ttl::UntilPurged)).unwrap().lifetime, None);
    }

    #[test]
    fn rfc9111_3_5_an_answer_to_authorization_is_shared_only_where_the_origin_says_so() {
        let auth = [("authorization", "Bearer x")];
        let max_age = [("cache-control", "max-age=60")];
        assert_eq!(verdict(&auth, 200, &max_age, rules(Ttl::Origin)), Err(Reason::Authorization));
        for allowed in ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"] {
            let fields = [("cache-control", allowed)];
            assert!(verdict(&auth, 200, &fields, rules(Ttl::Origin)).is_ok(), "{allowed}");
        }
    }

    #[test]
    fn no_lifetime_is_guessed_for_whoever_sent_a_cookie() {
        let modified = [("last-modified", "Tue, 14 Nov 2023 22:03:20 GMT")];
        assert!(verdict(&[], 200, &modified, rules(Ttl::Origin)).is_ok());
        let cookie = [("cookie", "session=1")];
        assert_eq!(verdict(&cookie, 200, &modified, rules(Ttl::Origin)), Err(Reason::NoFreshness));
        assert!(verdict(&cookie, 200, &[("cache-control", "max-age=60")], rules(Ttl::Origin)).is_ok());
    }
}
