//! May this response be stored, and for how long (RFC 9111 section 3)?

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, RANGE, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::freshness::{Freshness, Ttl, heuristically_cacheable, initial_age, origin_lifetime};
use super::governing::Governing;
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
    /// The targeted fields that are looked at before `Cache-Control`, in their order (RFC 9213 section 2.2).
    pub targets: &'a [HeaderName],
}

/// What may be stored of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storable {
    /// For how long, and how it is used.
    pub freshness: Freshness,
    /// The fields that are neither stored nor shared.
    pub withheld: Vec<HeaderName>,
}

/// Whether the response may be stored, and what of it, or the reason why not.
pub fn storable(exchange: &Exchange<'_>, rules: &StoreRules) -> Result<Storable, Reason> {
    let mut governing = Governing::of(exchange.response, exchange.targets, exchange.received);
    status_allows(exchange, rules)?;
    understood(exchange.status, &mut governing)?;
    fields_allow(exchange, &governing, rules)?;
    let lifetime = match rules.ttl {
        Ttl::Origin => Some(own_lifetime(exchange, &governing)?),
        // The tier's time runs from now, so the age that the answer already has is added.
        Ttl::Fixed(ttl) => Some(ttl + age_of(exchange)),
        Ttl::UntilPurged => None,
    };
    let by_origin = matches!(rules.ttl, Ttl::Origin);
    let cc = &governing.directives;
    let freshness = Freshness {
        received: exchange.received.mono,
        initial_age: age_of(exchange),
        lifetime,
        ends: rules.ends,
        stale_while_revalidate: cc
            .stale_while_revalidate
            .filter(|_| by_origin)
            .unwrap_or(rules.stale_while_revalidate),
        stale_if_error: cc.stale_if_error.filter(|_| by_origin).unwrap_or(rules.stale_if_error),
        // On a tier with a ttl the origin's lifetime is replaced, and with it what hangs on that lifetime. `s-maxage` says
        // `proxy-revalidate` too (RFC 9111 section 5.2.2.10).
        must_revalidate: by_origin && (cc.must_revalidate || cc.proxy_revalidate || cc.s_maxage.is_some()),
        no_cache: by_origin && cc.no_cache,
        immutable: by_origin && cc.immutable,
    };
    Ok(Storable { freshness, withheld: governing.withheld })
}

/// RFC 9111 section 5.2.2.3: with `must-understand`, a status that is understood may be stored in spite of `no-store`, and
/// no other status in any case.
fn understood(status: StatusCode, governing: &mut Governing) -> Result<(), Reason> {
    if !governing.directives.must_understand {
        return Ok(());
    }
    if !UNDERSTOOD.contains(&status.as_u16()) {
        return Err(Reason::MustUnderstand);
    }
    governing.directives.no_store = false;
    Ok(())
}

/// The final statuses of RFC 9110 section 15 but 206 and 304, which are no whole answers, and of RFC 6585 and RFC 7725.
const UNDERSTOOD: [u16; 45] = [
    200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407,
    408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 428, 429, 431, 451, 500, 501, 502, 503,
    504, 505, 511,
];

fn age_of(exchange: &Exchange<'_>) -> Duration {
    initial_age(exchange.response, exchange.requested, exchange.received)
}

fn status_allows(exchange: &Exchange<'_>, rules: &StoreRules) -> Result<(), Reason> {
    let status = exchange.status;
    // RFC 9111 section 3.3: a part is stored as what it says it is, where it was asked for; several in one are not.
    // `Content-Range` in an answer of another kind means nothing (RFC 9110 section 14.4).
    let sound = exchange.request.contains_key(RANGE) && ContentRange::of(exchange.response).is_some();
    if status == StatusCode::PARTIAL_CONTENT && !sound {
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

fn fields_allow(exchange: &Exchange<'_>, governing: &Governing, rules: &StoreRules) -> Result<(), Reason> {
    let by_origin = matches!(rules.ttl, Ttl::Origin);
    let cc = &governing.directives;
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
    let shows_cookie =
        exchange.response.contains_key(SET_COOKIE) && !governing.withheld.contains(&SET_COOKIE);
    if shows_cookie && !overrides.set_cookie && !rules.keep_set_cookie {
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

fn own_lifetime(exchange: &Exchange<'_>, governing: &Governing) -> Result<Duration, Reason> {
    let cc = &governing.directives;
    // A guess is for what is evidently public: whoever sent a cookie may have got an answer of their own.
    let heuristic = cc.public || !exchange.request.contains_key(COOKIE);
    let lifetime =
        origin_lifetime(exchange.status, exchange.response, governing, exchange.received, heuristic);
    // What asks for validation before every use may be stored without a lifetime, where its status lets it (RFC 9111 section 3).
    let validated = cc.no_cache && (heuristically_cacheable(exchange.status) || cc.public);
    lifetime.or(validated.then_some(Duration::ZERO)).ok_or(Reason::NoFreshness)
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
    ) -> Result<Storable, Reason> {
        let now = Now { mono: Duration::from_secs(10), wall: Duration::from_secs(1_700_000_000) };
        let exchange = Exchange {
            request: &map(request),
            status: StatusCode::from_u16(status).unwrap(),
            response: &map(response),
            requested: now,
            received: now,
            targets: &[HeaderName::from_static("cdn-cache-control")],
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
        assert!(
            verdict(&range, 200, &says, rules(FIXED)).is_ok(),
            "of a whole it says nothing (RFC 9110 section 14.4)"
        );
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
        assert_eq!(fresh.freshness.lifetime, Some(Duration::from_secs(300)));
        assert_eq!(verdict(&[], 200, &[], rules(Ttl::UntilPurged)).unwrap().freshness.lifetime, None);
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
    fn rfc9111_4_2_2_no_lifetime_is_guessed_for_whoever_sent_a_cookie() {
        let modified = [("last-modified", "Tue, 14 Nov 2023 22:03:20 GMT")];
        assert!(verdict(&[], 200, &modified, rules(Ttl::Origin)).is_ok());
        let cookie = [("cookie", "session=1")];
        assert_eq!(verdict(&cookie, 200, &modified, rules(Ttl::Origin)), Err(Reason::NoFreshness));
        assert!(verdict(&cookie, 200, &[("cache-control", "max-age=60")], rules(Ttl::Origin)).is_ok());
    }

    #[test]
    fn rfc9110_14_4_a_content_range_in_an_answer_of_another_kind_means_nothing() {
        let range = [("content-range", "bytes 0-1/2"), ("cache-control", "max-age=60")];
        for ttl in [FIXED, Ttl::Origin] {
            assert!(verdict(&[], 200, &range, rules(ttl)).is_ok());
            assert_eq!(verdict(&[], 206, &range, rules(ttl)), Err(Reason::Partial));
        }
    }

    #[test]
    fn rfc9111_5_2_2_3_must_understand_stores_what_is_understood_and_nothing_else() {
        let both = [("cache-control", "max-age=60, no-store, must-understand")];
        let alone = [("cache-control", "max-age=60, must-understand")];
        for ttl in [FIXED, Ttl::Origin] {
            assert!(verdict(&[], 200, &both, rules(ttl)).is_ok());
            let named = StoreRules { status_named: true, ..rules(ttl) };
            for status in [299, 599] {
                assert_eq!(verdict(&[], status, &both, named), Err(Reason::MustUnderstand));
                assert_eq!(verdict(&[], status, &alone, named), Err(Reason::MustUnderstand));
            }
        }
        let lenient = Overrides { no_store: true, ..Overrides::default() };
        let named = StoreRules { status_named: true, overrides: lenient, ..rules(FIXED) };
        assert_eq!(verdict(&[], 599, &both, named), Err(Reason::MustUnderstand));
        assert!(verdict(&[], 599, &[("cache-control", "max-age=60")], named).is_ok());
    }

    #[test]
    fn rfc9111_5_2_2_4_fields_that_are_named_are_withheld_and_forbid_nothing() {
        let cookie = ("set-cookie", "a=b");
        for directive in ["no-cache", "private"] {
            let named = format!("max-age=60, {directive}=\"Set-Cookie, x-a\"");
            for ttl in [FIXED, Ttl::Origin] {
                let allowed = verdict(&[], 200, &[("cache-control", &named), cookie], rules(ttl)).unwrap();
                assert_eq!(allowed.withheld, ["set-cookie", "x-a"], "{directive}");
                assert!(!allowed.freshness.no_cache);
                let other = format!("max-age=60, {directive}=\"x-a\"");
                let refused = verdict(&[], 200, &[("cache-control", &other), cookie], rules(ttl));
                assert_eq!(refused, Err(Reason::SetCookie));
            }
            let open = format!("max-age=60, {directive}=\"Set-Cookie");
            assert!(verdict(&[], 200, &[("cache-control", &open), cookie], rules(FIXED)).is_err());
        }
        assert!(
            verdict(&[], 200, &[("cache-control", "no-cache")], rules(Ttl::Origin))
                .unwrap()
                .freshness
                .no_cache
        );
    }

    #[test]
    fn rfc9213_2_2_a_targeted_field_takes_the_place_of_cache_control_and_expires() {
        let cc = ("cache-control", "private, no-store, must-revalidate, max-age=1");
        let expires = ("expires", "0");
        let cdn = |value| verdict(&[], 200, &[("cdn-cache-control", value), cc, expires], rules(Ttl::Origin));
        let fresh = cdn("max-age=60").unwrap().freshness;
        assert!(fresh.lifetime == Some(Duration::from_secs(60)) && !fresh.must_revalidate);
        assert_eq!(cdn("none"), Err(Reason::NoFreshness));
        assert_eq!(cdn("max-age=\"60\""), Err(Reason::NoStore), "invalid: as if it were not there");
        for (value, reason) in [("no-store", Reason::NoStore), ("private", Reason::Private)] {
            for ttl in [FIXED, Ttl::Origin] {
                let said = [("cdn-cache-control", value), ("cache-control", "max-age=60")];
                assert_eq!(verdict(&[], 200, &said, rules(ttl)), Err(reason), "{value}");
            }
        }
        assert!(cdn("no-cache").unwrap().freshness.no_cache);
        assert!(verdict(&[], 200, &[("cdn-cache-control", "max-age=1"), cc], rules(FIXED)).is_ok());
    }

    #[test]
    fn edge_architecture_2_2_surrogate_control_and_then_x_accel_expires_come_before_cache_control() {
        let cc = ("cache-control", "no-store");
        let said = |fields: &[(&str, &str)]| {
            verdict(&[], 200, fields, rules(Ttl::Origin))
                .map(|allowed| allowed.freshness.lifetime.unwrap().as_secs())
        };
        assert_eq!(said(&[("surrogate-control", "max-age=60"), ("x-accel-expires", "5"), cc]), Ok(60));
        assert_eq!(said(&[("surrogate-control", "max-age=60;other"), ("x-accel-expires", "5"), cc]), Ok(5));
        assert_eq!(said(&[("surrogate-control", "content=\"ESI/1.0\""), cc]), Err(Reason::NoStore));
        let fresh = ("cache-control", "max-age=60");
        assert_eq!(said(&[("surrogate-control", "no-store"), fresh]), Err(Reason::NoStore));
        assert_eq!(said(&[("x-accel-expires", "0"), fresh]), Err(Reason::NoStore));
        assert_eq!(said(&[("x-accel-expires", "off"), fresh]), Ok(60));
        let window =
            verdict(&[], 200, &[("surrogate-control", "max-age=60+30")], rules(Ttl::Origin)).unwrap();
        assert_eq!(window.freshness.stale_while_revalidate, Duration::from_secs(30));
    }

    #[test]
    fn rfc9111_5_2_2_10_s_maxage_says_proxy_revalidate_and_5861_windows_are_the_origins_on_its_tier() {
        let said = |value: &str| {
            verdict(&[], 200, &[("cache-control", value)], rules(Ttl::Origin)).unwrap().freshness
        };
        assert!(said("s-maxage=60").must_revalidate && said("max-age=60, proxy-revalidate").must_revalidate);
        let window = said("max-age=60, stale-while-revalidate=5, stale-if-error=7");
        assert!(!window.must_revalidate && !window.immutable);
        assert_eq!(window.stale_while_revalidate, Duration::from_secs(5));
        assert_eq!(window.stale_if_error, Duration::from_secs(7));
        assert!(said("max-age=60, immutable").immutable);
    }

    #[test]
    fn rfc9111_3_a_response_is_stored_only_with_a_lifetime_of_its_own_or_a_guess() {
        let said =
            |status, fields: &[(&str, &str)]| verdict(&[], status, fields, rules(Ttl::Origin)).map(drop);
        for status in [200, 302, 404, 500, 599] {
            assert!(said(status, &[("cache-control", "max-age=60")]).is_ok(), "{status}");
            assert_eq!(said(status, &[]), Err(Reason::NoFreshness), "{status}");
        }
        for (status, verdict) in [(200, Ok(())), (404, Ok(())), (302, Err(Reason::NoFreshness))] {
            assert_eq!(said(status, &[("cache-control", "no-cache")]), verdict, "{status}");
        }
        for status in [101, 103, 304] {
            assert_eq!(said(status, &[("cache-control", "max-age=60")]), Err(Reason::StatusNotStorable));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_decision_panic(
            fields in proptest::collection::vec((0_usize..14, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..48)), 0..10),
            status in 100_u16..1000,
            ttl in 0_u64..3,
            wall: u64,
        ) {
            const NAMES: [&str; 14] = [
                "cache-control", "cdn-cache-control", "surrogate-control", "x-accel-expires", "expires", "date", "age",
                "last-modified", "pragma", "vary", "set-cookie", "content-range", "authorization", "content-type",
            ];
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(HeaderName::from_static(NAMES[*name]), value);
                }
            }
            let now = Now { mono: Duration::from_secs(10), wall: Duration::from_secs(wall) };
            let exchange = Exchange {
                request: &headers,
                status: StatusCode::from_u16(status).unwrap(),
                response: &headers,
                requested: now,
                received: now,
                targets: &[HeaderName::from_static("cdn-cache-control")],
            };
            let ttl = [Ttl::Origin, FIXED, Ttl::UntilPurged][ttl as usize];
            let wishes = crate::policy::decide::Wishes {
                directives: crate::policy::CacheControl::of_request(&headers),
                ..Default::default()
            };
            let later = Now { mono: Duration::from_secs(1 << 33), wall: Duration::from_secs(wall) };
            if let Ok(allowed) = storable(&exchange, &rules(ttl)) {
                for validity in [crate::policy::Validity::Valid, crate::policy::Validity::StaleSince(now.mono)] {
                    let stored = Some((&allowed.freshness, validity));
                    let _ = crate::policy::decide(&wishes, stored, now);
                    let _ = crate::policy::decide(&wishes, stored, later);
                }
                let _ = allowed.freshness.useless_after();
            }
        }
    }
}
