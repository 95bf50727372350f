//! Validation: conditional requests answered from the cache (RFC 9110 section 13), validators sent to the origin, and
//! what a 304 does to a stored response (RFC 9111 section 4.3).

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::date;
use crate::clock::Now;
use crate::http::fields::members;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
pub(super) const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// What of a stored response answers a condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// `ETag`.
    pub etag: Option<&'a HeaderValue>,
    /// `Last-Modified`.
    pub modified: Option<&'a HeaderValue>,
    /// `Date`.
    pub date: Option<&'a HeaderValue>,
}

impl<'a> Validators<'a> {
    /// Those of these fields.
    pub fn of(field: impl Fn(&HeaderName) -> Option<&'a HeaderValue>) -> Self {
        Self { etag: field(&ETAG), modified: field(&LAST_MODIFIED), date: field(&DATE) }
    }
}

/// Whether a request's condition is answered with 304 by a stored 200 with these validators
/// (RFC 9110 sections 13.1.2 and 13.1.3: `If-None-Match` takes precedence, compared weakly). A date is compared with
/// `Last-Modified`, else with `Date` (RFC 9111 section 4.3.2), which must be earlier: within one second there may have
/// been a purge and another answer.
pub fn not_modified(request: &HeaderMap, stored: Validators<'_>, now: Now) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .flat_map(|line| members(line.as_bytes()))
            .any(|tag| tag == b"*" || stored.etag.is_some_and(|e| opaque(e.as_bytes()) == opaque(tag)));
    }
    let Some(since) = date::of(request, &IF_MODIFIED_SINCE, now) else { return false };
    let read = |value: &HeaderValue| date::parse(value.as_bytes(), now);
    match stored.modified {
        Some(modified) => read(modified).is_some_and(|modified| modified <= since),
        None => stored.date.and_then(read).is_some_and(|date| date < since),
    }
}

/// Whether a request has a condition that only the origin can find false (RFC 9111 section 4.3.2).
pub fn is_for_the_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether a stored 200 with these validators meets such a condition (RFC 9110 section 13.2.2): `If-Match`, compared
/// strongly (section 13.1.1), else `If-Unmodified-Since` (section 13.1.4). What cannot be read is left to the origin.
pub fn is_met(request: &HeaderMap, stored: Validators<'_>, now: Now) -> bool {
    if request.contains_key(IF_MATCH) {
        let strong = stored.etag.filter(|_| is_strong(stored.etag)).map(HeaderValue::as_bytes);
        let mut tags = request.get_all(IF_MATCH).iter().flat_map(|line| members(line.as_bytes()));
        return tags.any(|tag| tag == b"*" || strong == Some(tag));
    }
    let Some(since) = date::of(request, &IF_UNMODIFIED_SINCE, now) else { return false };
    stored
        .modified
        .and_then(|value| date::parse(value.as_bytes(), now))
        .is_some_and(|modified| modified <= since)
}

/// Whether a validator is an entity tag that changes with every byte (RFC 9110 section 8.8.1).
pub fn is_strong(etag: Option<&HeaderValue>) -> bool {
    etag.is_some_and(|tag| tag.as_bytes().starts_with(b"\""))
}

/// The most bytes of an entity tag that goes to the origin among others.
const MAX_TAG_BYTES: usize = 256;

/// Whether this is one well-formed strong entity tag (RFC 9110 section 8.8.3), short enough to go among others.
pub fn is_listed(tag: &HeaderValue) -> bool {
    let inner = tag.as_bytes().strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    tag.len() <= MAX_TAG_BYTES && inner.is_some_and(|inner| !inner.contains(&b'"'))
}

/// `If-None-Match` with several entity tags (RFC 9111 section 4.3.1); with one, that tag as it is. `None`: there is none.
pub fn none_match<'a>(tags: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let tags: Vec<&HeaderValue> = tags.collect();
    match tags[..] {
        [] => None,
        [one] => Some(one.clone()),
        _ => {
            let list: Vec<&[u8]> = tags.iter().map(|tag| tag.as_bytes()).collect();
            HeaderValue::from_bytes(&list.join(&b", "[..])).ok()
        }
    }
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The conditions that a refresh of stored responses sends to the origin (RFC 9111 section 4.3.1).
pub fn conditions<'a>(
    etags: impl Iterator<Item = &'a HeaderValue>,
    modified: Option<&HeaderValue>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let by_tag = none_match(etags).map(|tags| (IF_NONE_MATCH, tags));
    let by_date = modified.map(|date| (IF_MODIFIED_SINCE, date.clone()));
    by_tag.into_iter().chain(by_date)
}

/// Whether a 304 speaks of the stored response: where it names an entity tag, that one (RFC 9111 section 4.3.4).
pub fn confirms(answer: &HeaderMap, etag: Option<&HeaderValue>, modified: Option<&HeaderValue>) -> bool {
    match (answer.get(ETAG), answer.get(LAST_MODIFIED)) {
        (Some(named), _) => etag.is_some_and(|e| opaque(e.as_bytes()) == opaque(named.as_bytes())),
        (None, Some(named)) => modified.is_none_or(|m| m == named),
        (None, None) => true,
    }
}

/// Whether a 200 to HEAD speaks of the stored 200 with these validators and this length: it names no other
/// (RFC 9111 section 4.3.5).
pub fn agrees(
    answer: &HeaderMap,
    etag: Option<&HeaderValue>,
    modified: Option<&HeaderValue>,
    length: u64,
) -> bool {
    let same = |name, stored| answer.get_all(name).iter().all(|named| Some(named) == stored);
    let lengths = answer.get_all(CONTENT_LENGTH);
    let long = |l: &HeaderValue| l.to_str().ok().and_then(|l| l.parse().ok()) == Some(length);
    same(ETAG, etag) && same(LAST_MODIFIED, modified) && lengths.iter().all(long)
}

/// Whether a 304 leaves this stored field as it is: it describes the content, which the 304 does not carry
/// (RFC 9111 section 3.2). Its type may be told anew.
pub fn kept_on_304(name: &HeaderName) -> bool {
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_DIGEST, CONTENT_MD5].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    fn request(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.clone(), value(v))).collect()
    }

    const NOW: Now =
        Now { mono: std::time::Duration::ZERO, wall: std::time::Duration::from_secs(1_700_000_000) };

    #[test]
    fn rfc9110_13_1_2_an_entity_tag_is_compared_weakly_and_before_any_date() {
        let etag = value("\"a\"");
        let stored = Validators { etag: Some(&etag), ..Validators::default() };
        let ask = |text: &str| not_modified(&request(&[(IF_NONE_MATCH, text)]), stored, NOW);
        assert!(ask("\"b\", W/\"a\""));
        assert!(ask("*"));
        assert!(!ask("\"b\""));
        let modified = value("Tue, 14 Nov 2023 22:03:20 GMT");
        let both = request(&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, "Tue, 14 Nov 2023 22:03:20 GMT")]);
        assert!(!not_modified(&both, Validators { modified: Some(&modified), ..stored }, NOW));
    }

    #[test]
    fn rfc9110_8_8_1_only_a_quoted_entity_tag_without_the_mark_of_weakness_is_strong() {
        assert!(is_strong(Some(&value("\"a\""))));
        assert!(!is_strong(Some(&value("W/\"a\""))) && !is_strong(Some(&value("a"))) && !is_strong(None));
    }

    #[test]
    fn rfc9111_4_3_1_several_entity_tags_go_in_one_field() {
        let [a, b] = [value("\"a\""), value("W/\"b, c\"")];
        assert_eq!(none_match([&a, &b].into_iter()), Some(value("\"a\", W/\"b, c\"")));
        assert_eq!(none_match([&b].into_iter()), Some(b));
        assert_eq!(none_match(std::iter::empty()), None);
        assert!(is_listed(&a) && is_listed(&value("\"\"")));
        for wrong in ["W/\"a\"", "a", "\"", "\"a", "\"a\", \"b\"", &format!("\"{}\"", "x".repeat(255))] {
            assert!(!is_listed(&value(wrong)), "{wrong}");
        }
    }

    #[test]
    fn rfc9110_13_1_3_a_date_is_compared_where_there_is_no_entity_tag() {
        let modified = value("Tue, 14 Nov 2023 22:03:20 GMT");
        let stored = Validators { modified: Some(&modified), ..Validators::default() };
        let ask = |text: &str| not_modified(&request(&[(IF_MODIFIED_SINCE, text)]), stored, NOW);
        assert!(ask("Tue, 14 Nov 2023 22:03:20 GMT") && ask("Tuesday, 14-Nov-23 22:03:20 GMT"));
        assert!(!ask("Tue, 14 Nov 2023 22:03:19 GMT"));
        assert!(!ask("yesterday"));
        let mut doubled = request(&[(IF_MODIFIED_SINCE, "Tue, 14 Nov 2023 22:03:20 GMT")]);
        doubled.append(IF_MODIFIED_SINCE, modified.clone());
        assert!(!not_modified(&doubled, stored, NOW), "two dates are none");
    }

    #[test]
    fn rfc9111_4_3_2_without_last_modified_the_date_of_the_response_is_compared() {
        let (date, modified) =
            (value("Tue, 14 Nov 2023 22:03:20 GMT"), value("Tue, 14 Nov 2023 22:00:00 GMT"));
        let by_date = Validators { date: Some(&date), ..Validators::default() };
        let ask = |text: &str, stored| not_modified(&request(&[(IF_MODIFIED_SINCE, text)]), stored, NOW);
        assert!(ask("Tue, 14 Nov 2023 22:03:21 GMT", by_date));
        assert!(!ask("Tue, 14 Nov 2023 22:03:20 GMT", by_date));
        assert!(ask("Tue, 14 Nov 2023 22:01:00 GMT", Validators { modified: Some(&modified), ..by_date }));
    }

    #[test]
    fn rfc9111_3_2_what_describes_the_content_outlives_a_304() {
        for (name, kept) in [
            ("content-encoding", true),
            ("content-length", true),
            ("content-digest", true),
            ("content-md5", true),
            ("content-range", true),
            ("content-type", false),
            ("etag", false),
            ("x-a", false),
        ] {
            assert_eq!(kept_on_304(&HeaderName::from_static(name)), kept, "{name}");
        }
    }

    #[test]
    fn rfc9110_13_1_1_if_match_is_met_by_the_same_strong_entity_tag_or_by_anything_for_a_star() {
        let ask = |text: &str, etag: Option<&str>| {
            let etag = etag.map(value);
            let stored = Validators { etag: etag.as_ref(), ..Validators::default() };
            is_met(&request(&[(IF_MATCH, text)]), stored, NOW)
        };
        assert!(ask("\"b\", \"a\"", Some("\"a\"")));
        assert!(ask("*", None));
        assert!(!ask("\"b\"", Some("\"a\"")) && !ask("\"a\"", None) && !ask("", Some("\"a\"")));
        assert!(!ask("W/\"a\"", Some("W/\"a\"")) && !ask("\"a\"", Some("W/\"a\"")));
        assert!(!ask("W/\"a\"", Some("\"a\"")));
    }

    #[test]
    fn rfc9110_13_1_4_if_unmodified_since_counts_only_without_if_match() {
        let (early, late) = ("Tue, 14 Nov 2023 22:03:19 GMT", "Tue, 14 Nov 2023 22:03:20 GMT");
        let ask = |since: &str, modified: Option<&str>| {
            let modified = modified.map(value);
            let stored = Validators { modified: modified.as_ref(), ..Validators::default() };
            is_met(&request(&[(IF_UNMODIFIED_SINCE, since)]), stored, NOW)
        };
        assert!(ask(late, Some(late)) && ask(late, Some(early)));
        assert!(!ask(early, Some(late)) && !ask(late, None) && !ask("yesterday", Some(late)));
        let both = request(&[(IF_MATCH, "\"b\""), (IF_UNMODIFIED_SINCE, late)]);
        let (etag, modified) = (value("\"a\""), value(late));
        let stored = Validators { etag: Some(&etag), modified: Some(&modified), date: None };
        assert!(!is_met(&both, stored, NOW));
        assert!(is_for_the_origin(&both) && !is_for_the_origin(&request(&[(IF_NONE_MATCH, "*")])));
    }

    #[test]
    fn rfc9111_4_3_5_a_200_to_head_agrees_where_it_names_no_other_validator_and_no_other_length() {
        let (etag, modified) = (value("\"a\""), value("Tue, 14 Nov 2023 22:03:20 GMT"));
        let ask = |fields: &[(HeaderName, &str)]| agrees(&request(fields), Some(&etag), Some(&modified), 7);
        assert!(ask(&[]) && ask(&[(ETAG, "\"a\""), (CONTENT_LENGTH, "7")]));
        assert!(ask(&[(LAST_MODIFIED, "Tue, 14 Nov 2023 22:03:20 GMT")]));
        for (name, other) in [
            (ETAG, "\"b\""),
            (ETAG, "W/\"a\""),
            (LAST_MODIFIED, "Tue, 14 Nov 2023 22:03:21 GMT"),
            (CONTENT_LENGTH, "8"),
            (CONTENT_LENGTH, "x"),
        ] {
            assert!(!ask(&[(name.clone(), other)]), "{name}: {other}");
        }
        assert!(
            !agrees(&request(&[(ETAG, "\"a\"")]), None, None, 7),
            "a validator that is not stored matches none"
        );
    }

    #[test]
    fn rfc9111_4_3_4_a_304_for_another_entity_tag_confirms_nothing() {
        let etag = value("\"a\"");
        assert!(confirms(&request(&[(ETAG, "W/\"a\"")]), Some(&etag), None));
        assert!(!confirms(&request(&[(ETAG, "\"b\"")]), Some(&etag), None));
        assert!(confirms(&HeaderMap::new(), Some(&etag), None));
    }

    proptest::proptest! {
        /// What is met or agrees is named by the request or the answer; no bytes make anything panic.
        #[test]
        fn no_bytes_make_a_condition_panic_or_hold_for_another_validator(line: Vec<u8>, other in "[a-z]{1,8}") {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let fields = |name: HeaderName| HeaderMap::from_iter([(name, line.clone())]);
                let etag = value(&format!("\"{other}\""));
                let named = line.as_bytes().windows(etag.len()).any(|w| w == etag.as_bytes());
                let star = line.as_bytes().contains(&b'*');
                for name in [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, IF_MODIFIED_SINCE] {
                    let stored = Validators { etag: Some(&etag), ..Validators::default() };
                    let _ = not_modified(&fields(name.clone()), Validators { modified: Some(&line), ..stored }, NOW);
                    let met = is_met(&fields(name.clone()), stored, NOW);
                    proptest::prop_assert!(!met || name == IF_MATCH && (named || star));
                }
                proptest::prop_assert!(line == etag || !agrees(&fields(ETAG), Some(&etag), None, 0));
                let _ = agrees(&fields(CONTENT_LENGTH), None, None, 0);
            }
        }
    }
}
