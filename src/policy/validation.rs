//! Validation: conditional requests answered from the cache (RFC 9110 section 13), validators sent to the origin, and
//! what a 304 does to a stored response (RFC 9111 section 4.3).

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
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

fn date(value: &HeaderValue) -> Option<std::time::Duration> {
    parse_date(value.to_str().ok()?)
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
        let ask = |text: &str| not_modified(&request(&[(IF_MODIFIED_SINCE, text)]), None, Some(&modified));
        assert!(ask("Tue, 14 Nov 2023 22:03:20 GMT"));
        assert!(!ask("Tue, 14 Nov 2023 22:03:19 GMT"));
        assert!(!ask("yesterday"));
    }

    #[test]
    fn rfc9111_4_3_4_a_304_for_another_entity_tag_confirms_nothing() {
        let etag = value("\"a\"");
        assert!(confirms(&request(&[(ETAG, "W/\"a\"")]), Some(&etag), None));
        assert!(!confirms(&request(&[(ETAG, "\"b\"")]), Some(&etag), None));
        assert!(confirms(&HeaderMap::new(), Some(&etag), None));
    }
}
