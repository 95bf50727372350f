//! Validation: conditional requests answered from the cache (RFC 9110 section 13), validators sent to the origin, and
//! what a 304 does to a stored response (RFC 9111 section 4.3).

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::freshness::parse_date;
use crate::http::fields::members;

/// Whether a request's condition is answered with 304 by a stored 200 with these validators
/// (RFC 9110 sections 13.1.2 and 13.1.3: `If-None-Match` takes precedence, compared weakly).
pub fn not_modified(request: &HeaderMap, etag: Option<&HeaderValue>, modified: Option<&HeaderValue>) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .flat_map(|line| members(line.as_bytes()))
            .any(|tag| tag == b"*" || etag.is_some_and(|e| opaque(e.as_bytes()) == opaque(tag)));
    }
    let Some(since) = request.get(IF_MODIFIED_SINCE).and_then(date) else { return false };
    modified.and_then(date).is_some_and(|modified| modified <= since)
}

/// Whether a request has a condition that only the origin can find false (RFC 9111 section 4.3.2).
pub fn is_for_the_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether a stored 200 with these validators meets such a condition (RFC 9110 section 13.2.2): `If-Match`, compared
/// strongly (section 13.1.1), else `If-Unmodified-Since` (section 13.1.4). What cannot be read is left to the origin.
pub fn is_met(request: &HeaderMap, etag: Option<&HeaderValue>, modified: Option<&HeaderValue>) -> bool {
    if request.contains_key(IF_MATCH) {
        let strong = etag.filter(|_| is_strong(etag)).map(HeaderValue::as_bytes);
        let mut tags = request.get_all(IF_MATCH).iter().flat_map(|line| members(line.as_bytes()));
        return tags.any(|tag| tag == b"*" || strong == Some(tag));
    }
    let mut lines = request.get_all(IF_UNMODIFIED_SINCE).iter();
    let (Some(since), None) = (lines.next().and_then(date), lines.next()) else { return false };
    modified.and_then(date).is_some_and(|modified| modified <= since)
}

/// Whether a validator is an entity tag that changes with every byte (RFC 9110 section 8.8.1).
pub fn is_strong(etag: Option<&HeaderValue>) -> bool {
    etag.is_some_and(|tag| tag.as_bytes().starts_with(b"\""))
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn date(value: &HeaderValue) -> Option<std::time::Duration> {
    parse_date(value.to_str().ok()?)
}

/// The conditions that a refresh of a stored response sends to the origin (RFC 9111 section 4.3.1).
pub fn conditions(
    etag: Option<&HeaderValue>,
    modified: Option<&HeaderValue>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let by_tag = etag.map(|tag| (IF_NONE_MATCH, tag.clone()));
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
/// (RFC 9111 section 3.2).
pub fn kept_on_304(name: &HeaderName) -> bool {
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE].contains(name)
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

    #[test]
    fn rfc9110_13_1_2_an_entity_tag_is_compared_weakly_and_before_any_date() {
        let etag = value("\"a\"");
        let ask = |text: &str| not_modified(&request(&[(IF_NONE_MATCH, text)]), Some(&etag), None);
        assert!(ask("\"b\", W/\"a\""));
        assert!(ask("*"));
        assert!(!ask("\"b\""));
        let modified = value("Tue, 14 Nov 2023 22:03:20 GMT");
        let both = request(&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, "Tue, 14 Nov 2023 22:03:20 GMT")]);
        assert!(!not_modified(&both, Some(&etag), Some(&modified)));
    }

    #[test]
    fn rfc9110_8_8_1_only_a_quoted_entity_tag_without_the_mark_of_weakness_is_strong() {
        assert!(is_strong(Some(&value("\"a\""))));
        assert!(!is_strong(Some(&value("W/\"a\""))) && !is_strong(Some(&value("a"))) && !is_strong(None));
    }

    #[test]
    fn rfc9110_13_1_3_a_date_is_compared_where_there_is_no_entity_tag() {
        let modified = value("Tue, 14 Nov 2023 22:03:20 GMT");
        let ask = |text: &str| not_modified(&request(&[(IF_MODIFIED_SINCE, text)]), None, Some(&modified));
        assert!(ask("Tue, 14 Nov 2023 22:03:20 GMT"));
        assert!(!ask("Tue, 14 Nov 2023 22:03:19 GMT"));
        assert!(!ask("yesterday"));
    }

    #[test]
    fn rfc9110_13_1_1_if_match_is_met_by_the_same_strong_entity_tag_or_by_anything_for_a_star() {
        let ask = |text: &str, etag: Option<&str>| {
            is_met(&request(&[(IF_MATCH, text)]), etag.map(value).as_ref(), None)
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
            is_met(&request(&[(IF_UNMODIFIED_SINCE, since)]), None, modified.as_ref())
        };
        assert!(ask(late, Some(late)) && ask(late, Some(early)));
        assert!(!ask(early, Some(late)) && !ask(late, None) && !ask("yesterday", Some(late)));
        let both = request(&[(IF_MATCH, "\"b\""), (IF_UNMODIFIED_SINCE, late)]);
        assert!(!is_met(&both, Some(&value("\"a\"")), Some(&value(late))));
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
                    let _ = not_modified(&fields(name.clone()), Some(&etag), Some(&line));
                    let met = is_met(&fields(name.clone()), Some(&etag), None);
                    proptest::prop_assert!(!met || name == IF_MATCH && (named || star));
                }
                proptest::prop_assert!(line == etag || !agrees(&fields(ETAG), Some(&etag), None, 0));
                let _ = agrees(&fields(CONTENT_LENGTH), None, None, 0);
            }
        }
    }
}
