//! Larder's policy against a second opinion: the crate `http-cache-semantics`, which reads RFC 7234, on generated exchanges.
//!
//! A difference is explained by taking away, one after the other, the features that the two read differently (`FEATURES`,
//! each with the RFC's reason) until both say the same. A difference that this does not explain fails the test, and so does a
//! feature that never made one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};
use larder::clock::Now;
use larder::policy::decide::Wishes;
use larder::policy::storable::{Exchange, StoreRules};
use larder::policy::{CacheControl, Decision, Overrides, Reason, Ttl, Validity, decide, storable};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// 2027-01-15 08:00:00, when the response is received.
const RECEIVED: u64 = 1_800_000_000;
const CASES: usize = 60_000;

/// An exchange, and a request some seconds later.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    authorization: bool,
    /// The directives of the first request.
    first: Vec<&'static str>,
    status: u16,
    /// The directives of the response.
    response: Vec<&'static str>,
    /// Its other fields.
    fields: Vec<(&'static str, &'static str)>,
    /// The directives of the second request.
    second: Vec<&'static str>,
    /// Whether the second request has `Pragma: no-cache`.
    pragma: bool,
    /// Seconds from the one to the other.
    later: u64,
}

/// What becomes of the second request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The response was not stored, for this reason where Larder gives one.
    NotStored,
    /// The origin is asked.
    Asked,
    /// The stored response is the answer.
    Used,
}

fn request(case: &Case, directives: &[&'static str], pragma: bool) -> Request<()> {
    let mut request = Request::get("http://shop.example/").header("host", "shop.example");
    if !directives.is_empty() {
        request = request.header("cache-control", directives.join(", "));
    }
    if case.authorization {
        request = request.header("authorization", "Bearer x");
    }
    if pragma {
        request = request.header("pragma", "no-cache");
    }
    request.body(()).unwrap()
}

fn response(case: &Case) -> Response<()> {
    let mut headers = HeaderMap::new();
    if !case.response.is_empty() {
        headers.insert("cache-control", HeaderValue::try_from(case.response.join(", ")).unwrap());
    }
    for (name, value) in &case.fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(case.status).unwrap();
    *response.headers_mut() = headers;
    response
}

fn wishes(request: &Request<()>) -> Wishes {
    Wishes { directives: CacheControl::of_request(request.headers()), ..Wishes::default() }
}

fn at(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: Duration::from_secs(RECEIVED + seconds) }
}

/// Larder's verdict, with its reason for not storing.
fn larder(case: &Case) -> (Verdict, Option<Reason>) {
    let (first, second) = (request(case, &case.first, false), request(case, &case.second, case.pragma));
    let (decision, reason) = decide(&wishes(&first), None, at(0));
    if decision == Decision::Pass {
        return (Verdict::NotStored, Some(reason));
    }
    let response = response(case);
    let exchange = Exchange {
        request: first.headers(),
        status: response.status(),
        response: response.headers(),
        requested: at(0),
        received: at(0),
        targets: &[],
    };
    let rules = StoreRules {
        ttl: Ttl::Origin,
        status_named: false,
        overrides: Overrides::default(),
        keep_set_cookie: false,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        ends: None,
    };
    let stored = match storable(&exchange, &rules) {
        Ok(stored) => stored,
        Err(reason) => return (Verdict::NotStored, Some(reason)),
    };
    match decide(&wishes(&second), Some((&stored.freshness, Validity::Valid)), at(case.later)).0 {
        Decision::Serve | Decision::ServeStale { .. } => (Verdict::Used, None),
        _ => (Verdict::Asked, None),
    }
}

/// The other's verdict.
fn other(case: &Case) -> Verdict {
    let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(RECEIVED + seconds);
    let (first, second) = (request(case, &case.first, false), request(case, &case.second, case.pragma));
    let policy = CachePolicy::new_options(&first, &response(case), time(0), CacheOptions::default());
    if !policy.is_storable() {
        return Verdict::NotStored;
    }
    match policy.before_request(&second, time(case.later)).satisfies_without_revalidation() {
        true => Verdict::Used,
        false => Verdict::Asked,
    }
}

/// Something that the two read differently.
struct Feature {
    name: &'static str,
    why: &'static str,
    /// Takes it away; `false`: it was not there.
    take: fn(&mut Case) -> bool,
}

/// Whether Larder asks the origin where the other uses what is stored.
fn is_stricter(case: &Case) -> bool {
    (larder(case).0, other(case)) == (Verdict::Asked, Verdict::Used)
}

/// Takes the elements away for which this holds.
fn without<T>(list: &mut Vec<T>, gone: impl Fn(&T) -> bool) -> bool {
    let before = list.len();
    list.retain(|element| !gone(element));
    list.len() < before
}

/// Puts one word in the place of another.
fn replace(list: &mut [&'static str], from: &[&'static str], to: &'static str) -> bool {
    let mut found = false;
    for word in list.iter_mut().filter(|word| from.contains(word)) {
        *word = to;
        found = true;
    }
    found
}

fn replace_field(case: &mut Case, name: &str, from: &[&'static str], to: &'static str) -> bool {
    let mut found = false;
    for (_, value) in case.fields.iter_mut().filter(|(n, value)| *n == name && from.contains(value)) {
        *value = to;
        found = true;
    }
    found
}

fn name_of(directive: &str) -> &str {
    directive.split('=').next().unwrap_or_default()
}

/// Keeps the first of each directive.
fn each_once(list: &mut Vec<&'static str>) -> bool {
    let mut seen: Vec<String> = Vec::new();
    let before = list.len();
    list.retain(|directive| {
        let name = name_of(directive).to_ascii_lowercase();
        let fresh = !seen.contains(&name);
        seen.push(name);
        fresh
    });
    list.len() < before
}

/// What the two read differently, with the reason why Larder reads it as it does.
const FEATURES: &[Feature] = &[
    Feature {
        name: "a status that the other does not know",
        why: "RFC 9111 section 3: any final status may be stored on an explicit lifetime; it has to be understood only where \
              `must-understand` says so (section 5.2.2.3)",
        take: |case| {
            let unknown = matches!(case.status, 201 | 403 | 500 | 599);
            case.status = if unknown { 302 } else { case.status };
            unknown
        },
    },
    Feature {
        name: "Set-Cookie",
        why: "not RFC 9111, but Larder's promise: a cookie is nobody's but the client's who caused it, so that the answer is \
              not stored; the other stores it as stale, or, with `public` or `immutable`, shares the cookie",
        take: |case| without(&mut case.fields, |(name, _)| *name == "set-cookie"),
    },
    Feature {
        name: "Vary: *",
        why: "RFC 9111 section 4.1: it never matches another request, so storing it is of no use; the other stores it",
        take: |case| without(&mut case.fields, |(name, _)| *name == "vary"),
    },
    Feature {
        name: "must-understand with no-store",
        why: "RFC 9111 section 5.2.2.3: `no-store` is for caches that do not know `must-understand`",
        take: |case| {
            case.response.contains(&"must-understand") && without(&mut case.response, |d| *d == "no-store")
        },
    },
    Feature {
        name: "a directive in capitals",
        why: "RFC 9111 section 5.2: directives are compared without regard to case",
        take: |case| {
            let lower = |list: &mut Vec<&'static str>| {
                replace(list, &["No-Store"], "no-store")
                    | replace(list, &["MAX-AGE=60"], "max-age=60")
                    | replace(list, &["PRIVATE"], "private")
                    | replace(list, &["No-Cache"], "no-cache")
            };
            lower(&mut case.response) | lower(&mut case.second) | lower(&mut case.first)
        },
    },
    Feature {
        name: "a directive within a quoted string",
        why: "RFC 9110 section 5.6.4: a comma within quotes separates nothing",
        take: |case| without(&mut case.response, |d| d.starts_with("x-other=\"")),
    },
    Feature {
        name: "no-cache or private of some fields",
        why: "RFC 9111 sections 5.2.2.4 and 5.2.2.7: the rest may be stored and used; Larder withholds the fields",
        take: |case| {
            without(&mut case.response, |d| matches!(name_of(d), "no-cache" | "private") && d.contains('='))
        },
    },
    Feature {
        name: "Pragma in a response",
        why: "RFC 9111 section 5.4: it is a field of requests",
        take: |case| without(&mut case.fields, |(name, _)| *name == "pragma"),
    },
    Feature {
        name: "Pragma beside Cache-Control in a request",
        why: "RFC 9111 section 5.4: it counts only where `Cache-Control` is missing",
        take: |case| !case.second.is_empty() && std::mem::take(&mut case.pragma),
    },
    Feature {
        name: "no-store in the later request",
        why: "RFC 9111 section 5.2.1.5: it is about storing the answer, but who says so wants none that is stored: Larder \
              passes such a request",
        take: |case| without(&mut case.second, |d| d.eq_ignore_ascii_case("no-store")),
    },
    Feature {
        name: "proxy-revalidate",
        why: "RFC 9111 section 5.2.2.8: it forbids use once stale, and says nothing of a fresh response; the other takes it as \
              a lifetime of nothing, and then serves it for `max-stale`",
        take: |case| without(&mut case.response, |d| *d == "proxy-revalidate"),
    },
    Feature {
        name: "a directive that is there twice",
        why: "RFC 9111 section 4.2.1: a cache may take the first, or the response as stale; Larder takes the strictest, the \
              other the first, and with it `must-revalidate`",
        take: |case| each_once(&mut case.response) | each_once(&mut case.second),
    },
    Feature {
        name: "an age without a number",
        why: "RFC 9111 section 4.2.1: freshness information that cannot be read is taken as stale; the other leaves the \
              directive out",
        take: |case| {
            without(&mut case.response, |d| matches!(*d, "max-age" | "s-maxage"))
                | without(&mut case.second, |d| *d == "max-age=x")
        },
    },
    Feature {
        name: "an age that is too large",
        why: "RFC 9111 section 1.2.2: it is the largest that can be said; the other takes it as zero",
        take: |case| {
            replace(&mut case.response, &["max-age=99999999999999999999"], "max-age=2147483648")
                | replace_field(case, "age", &["99999999999999999999"], "2147483648")
        },
    },
    Feature {
        name: "max-stale with something else than a number",
        why: "RFC 9111 section 5.2.1.2: only without a value it is any staleness",
        take: |case| without(&mut case.second, |d| *d == "max-stale=x"),
    },
    Feature {
        name: "max-stale to the second",
        why: "RFC 9111 section 5.2.1.2: exceeded by no more than so many seconds; the other wants less",
        take: |case| replace(&mut case.second, &["max-stale=30"], "max-stale=31"),
    },
    Feature {
        name: "max-stale where the response has no-cache",
        why: "RFC 9111 sections 4.2.4 and 5.2.2.4: `no-cache` forbids use without validation, whatever the client accepts",
        take: |case| {
            let forbids = case.response.iter().any(|d| d.eq_ignore_ascii_case("no-cache"));
            forbids && is_stricter(case) && without(&mut case.second, |d| name_of(d) == "max-stale")
        },
    },
    Feature {
        name: "max-stale where the response has s-maxage",
        why: "RFC 9111 sections 4.2.4 and 5.2.2.10: `s-maxage` says `proxy-revalidate`, which forbids stale use",
        take: |case| {
            let has = |name| case.response.iter().any(|d| name_of(d) == name);
            // Each of the others would be reason enough.
            let forbids = has("s-maxage")
                && !["no-cache", "proxy-revalidate", "must-revalidate"].map(has).contains(&true);
            forbids && is_stricter(case) && without(&mut case.second, |d| name_of(d) == "max-stale")
        },
    },
    Feature {
        name: "max-stale where there is no lifetime",
        why: "RFC 9111 section 3 allows, and does not ask, to store what has no lifetime; Larder does not, and the other \
              serves it as stale",
        take: |case| {
            larder(case).1 == Some(Reason::NoFreshness)
                && without(&mut case.second, |d| name_of(d) == "max-stale")
        },
    },
    Feature {
        name: "stale-while-revalidate",
        why: "RFC 5861 section 3: a window that the other does not know",
        take: |case| without(&mut case.response, |d| name_of(d) == "stale-while-revalidate"),
    },
    Feature {
        name: "immutable",
        why: "RFC 8246 section 2: it spares a reload while fresh, which the other does not do, and gives no lifetime, where \
              the other gives a day",
        take: |case| without(&mut case.response, |d| *d == "immutable"),
    },
    Feature {
        name: "a response that was on its way for long",
        why: "RFC 9111 section 4.2.3: its apparent age counts, of which the other knows nothing",
        take: |case| {
            replace_field(case, "date", &["Fri, 15 Jan 2027 07:58:20 GMT"], "Fri, 15 Jan 2027 08:00:00 GMT")
        },
    },
    Feature {
        name: "a guess of more than a day",
        why: "RFC 9111 section 4.2.2 leaves the guess to the cache: Larder's is a day at most",
        take: |case| {
            replace_field(
                case,
                "last-modified",
                &["Thu, 01 Jan 2026 08:00:00 GMT"],
                "Fri, 15 Jan 2027 07:40:00 GMT",
            )
        },
    },
    Feature {
        name: "Expires in an obsolete format, or in another case",
        why: "RFC 9110 section 5.6.7: all three formats are read; RFC 9111 section 4.2: in any case",
        take: |case| {
            let odd = [
                "Friday, 15-Jan-27 08:01:00 GMT",
                "Fri Jan 15 08:01:00 2027",
                "FRI, 15 JAN 2027 08:01:00 gmt",
            ];
            replace_field(case, "expires", &odd, "Fri, 15 Jan 2027 08:01:00 GMT")
        },
    },
    Feature {
        name: "Expires in another zone",
        why: "RFC 9111 section 4.2: only GMT is valid",
        take: |case| replace_field(case, "expires", &["Fri, 15 Jan 2027 09:01:00 +0100"], "0"),
    },
    Feature {
        name: "Expires twice",
        why: "RFC 9111 section 4.2.1: conflicting freshness information is taken as stale; the other reads the first",
        take: |case| {
            let twice = case.fields.iter().filter(|(name, _)| *name == "expires").count() > 1;
            twice && without(&mut case.fields, |(name, value)| *name == "expires" && *value != "0")
        },
    },
    Feature {
        name: "a list of ages",
        why: "RFC 9111 section 5.1: the first counts; the other reads none",
        take: |case| replace_field(case, "age", &["50, 0"], "50"),
    },
];

/// Which features make the two differ: the fewest whose absence lets both say the same. `None`: something else does.
fn explanation(case: &Case, most: usize) -> Option<Vec<usize>> {
    let ((mine, reason), theirs) = (larder(case), other(case));
    // RFC 9111 section 3 allows to store what has no lifetime; neither uses it.
    let useless = reason == Some(Reason::NoFreshness) && theirs == Verdict::Asked;
    if mine == theirs || useless {
        return Some(Vec::new());
    }
    for depth in 0..most {
        for (number, feature) in FEATURES.iter().enumerate() {
            let mut simpler = case.clone();
            if (feature.take)(&mut simpler)
                && let Some(mut rest) = explanation(&simpler, depth)
            {
                rest.push(number);
                return Some(rest);
            }
        }
    }
    None
}

fn some_of(words: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(proptest::sample::select(words), 0..=most)
}

const RESPONSE: &[&str] = &[
    "max-age=60",
    "max-age=0",
    "max-age=600",
    "max-age=\"60\"",
    "max-age=x",
    "max-age",
    "MAX-AGE=60",
    "max-age=99999999999999999999",
    "s-maxage=60",
    "s-maxage=5",
    "s-maxage",
    "no-store",
    "No-Store",
    "no-cache",
    "no-cache=\"x-a\"",
    "private",
    "PRIVATE",
    "private=\"x-a\"",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "immutable",
    "stale-while-revalidate=30",
    "x-other",
    "x-other=\"a, no-store\"",
];
const REQUEST: &[&str] = &[
    "max-age=0",
    "max-age=30",
    "max-age=x",
    "max-stale",
    "max-stale=30",
    "max-stale=x",
    "min-fresh=20",
    "no-cache",
    "No-Cache",
    "no-store",
    "only-if-cached",
    "x-other",
];
const EXPIRES: &[&str] = &[
    "Fri, 15 Jan 2027 08:01:00 GMT",
    "Fri, 15 Jan 2027 07:59:00 GMT",
    "Friday, 15-Jan-27 08:01:00 GMT",
    "Fri Jan 15 08:01:00 2027",
    "FRI, 15 JAN 2027 08:01:00 gmt",
    "Fri, 15 Jan 2027 09:01:00 +0100",
    "0",
    "tomorrow",
];
const DATE: &[&str] =
    &["Fri, 15 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 07:58:20 GMT", "Fri, 15 Jan 2027 08:00:10 GMT"];
const AGE: &[&str] = &["0", "50", "50, 0", "x", "-50", "99999999999999999999"];
const MODIFIED: &[&str] = &[
    "Fri, 15 Jan 2027 07:40:00 GMT",
    "Thu, 01 Jan 2026 08:00:00 GMT",
    "Fri, 15 Jan 2027 08:10:00 GMT",
    "never",
];

fn fields() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    fn of(
        name: &'static str,
        values: &'static [&'static str],
        most: usize,
    ) -> BoxedStrategy<Vec<(&'static str, &'static str)>> {
        let values = proptest::collection::vec(proptest::sample::select(values), 0..=most);
        values.prop_map(move |values| values.into_iter().map(|value| (name, value)).collect()).boxed()
    }
    let rare =
        |name, value: &'static [&'static str]| prop_oneof![5 => Just(Vec::new()), 1 => of(name, value, 1)];
    let expires = prop_oneof![3 => of("expires", EXPIRES, 1), 1 => of("expires", EXPIRES, 2)];
    (
        expires,
        of("date", DATE, 1),
        of("age", AGE, 1),
        of("last-modified", MODIFIED, 1),
        (rare("set-cookie", &["a=b"]), rare("vary", &["*"]), rare("pragma", &["no-cache"])),
    )
        .prop_map(|(a, b, c, d, (e, f, g))| [a, b, c, d, e, f, g].concat())
}

fn case() -> impl Strategy<Value = Case> {
    let status = prop_oneof![4 => Just(200), 1 => proptest::sample::select(vec![201, 203, 301, 302, 403, 404, 410, 500, 501, 599])];
    let later = proptest::sample::select(vec![
        0, 5, 9, 10, 29, 30, 40, 59, 60, 61, 89, 90, 91, 120, 200, 86_400, 90_000,
    ]);
    (
        proptest::bool::weighted(0.2),
        prop_oneof![6 => Just(vec![]), 1 => Just(vec!["no-store"])],
        status,
        some_of(RESPONSE, 4),
        fields(),
        prop_oneof![1 => Just(vec![]), 2 => some_of(REQUEST, 2)],
        proptest::bool::weighted(0.1),
        later,
    )
        .prop_map(|(authorization, first, status, response, fields, second, pragma, later)| Case {
            authorization,
            first,
            status,
            response,
            fields,
            second,
            pragma,
            later,
        })
}

#[test]
fn every_difference_to_a_second_opinion_has_its_reason() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = case();
    let mut alone = vec![0_usize; FEATURES.len()];
    let (mut used, mut differing) = (0, 0);
    for _ in 0..CASES {
        let case = strategy.new_tree(&mut runner).unwrap().current();
        let because = explanation(&case, 4);
        let Some(because) = because else {
            panic!("Larder: {:?}, the other: {:?}, nobody knows why: {case:#?}", larder(&case), other(&case));
        };
        used += usize::from(larder(&case).0 == Verdict::Used);
        differing += usize::from(!because.is_empty());
        if let [one] = because[..] {
            alone[one] += 1;
        }
    }
    for (feature, count) in FEATURES.iter().zip(&alone) {
        assert!(*count > 0, "`{}` never made a difference by itself: {}", feature.name, feature.why);
    }
    // The two agree on most, and not because nothing is ever used.
    assert!(used > CASES / 20 && differing < CASES / 2, "{used} used, {differing} differ");
}
