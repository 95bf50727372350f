//! Validation: conditional requests answered from the cache (RFC 9110 section 13), validators sent to the origin, and
//! what a 304 does to a stored response (RFC 9111 section 4.3).

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::date;
use crate::clock::Now;
use crate::http::fields::members;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

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
/// `Last-Modified`, else with `Date` (RFC 9111 section 4.3.2).
pub fn not_modified(request: &HeaderMap, stored: Validators<'_>, now: Now) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .flat_map(|line| members(line.as_bytes()))
            .any(|tag| tag == b"*" || stored.etag.is_some_and(|e| opaque(e.as_bytes()) == opaque(tag)));
    }
    let Some(since) = date::of(request, &IF_MODIFIED_SINCE, now) else { return false };
    let modified = stored.modified.or(stored.date);
    modified.and_then(|value| date::parse(value.as_bytes(), now)).is_some_and(|modified| modified <= since)
}

/// Whether a validator is an entity tag that changes with every byte (RFC 9110 section 8.8.1).
pub fn is_strong(etag: Option<&HeaderValue>) -> bool {
    etag.is_some_and(|tag| tag.as_bytes().starts_with(b"\""))
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
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

/// Whether a 304 leaves this stored field as it is: it describes the content, which the 304 does not carry
/// (RFC 9111 section 3.2). Its type may be told anew.
pub fn kept_on_304(name: &HeaderName) -> bool {
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_MD5].contains(name)
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
        assert!(ask("Tue, 14 Nov 2023 22:03:20 GMT", by_date));
        assert!(!ask("Tue, 14 Nov 2023 22:03:19 GMT", by_date));
        assert!(ask("Tue, 14 Nov 2023 22:01:00 GMT", Validators { modified: Some(&modified), ..by_date }));
    }

    #[test]
    fn rfc9111_3_2_what_describes_the_content_outlives_a_304() {
        for (name, kept) in [
            ("content-encoding", true),
            ("content-length", true),
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
    fn rfc9111_4_3_4_a_304_for_another_entity_tag_confirms_nothing() {
        let etag = value("\"a\"");
        assert!(confirms(&request(&[(ETAG, "W/\"a\"")]), Some(&etag), None));
        assert!(!confirms(&request(&[(ETAG, "\"b\"")]), Some(&etag), None));
        assert!(confirms(&HeaderMap::new(), Some(&etag), None));
    }
}
