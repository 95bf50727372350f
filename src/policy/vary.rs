//! `Vary`: which request fields select a stored response (RFC 9111 section 4.1).

use http::header::{ACCEPT_ENCODING, VARY};
use http::{HeaderMap, HeaderName};

use super::reason::Reason;
use super::weighted;
use crate::http::fields::members;

/// The most fields that are kept apart per URL; what varies on more is not stored.
pub const MAX_FIELDS: usize = 8;

/// The names in `Vary`, in lower case, sorted, each once. `*` is refused by `storable` before.
pub fn selecting_fields(response: &HeaderMap) -> Result<Vec<HeaderName>, Reason> {
    let mut names: Vec<HeaderName> = Vec::new();
    for line in response.get_all(VARY) {
        for member in members(line.as_bytes()) {
            let Ok(name) = HeaderName::from_bytes(member) else {
                // A name that no request can have: it can never match.
                return Err(Reason::VaryStar);
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.len() > MAX_FIELDS {
        return Err(Reason::VaryTooMany);
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    Ok(names)
}

/// The value of one field for the comparison (RFC 9111 section 4.1): where its syntax is known, by meaning; otherwise its
/// lines joined, white space around commas folded. `None`: the request has no such field, which matches only another
/// without it.
pub fn selecting_value(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    if name == ACCEPT_ENCODING {
        return accept_encoding(request).map(|text| text.as_bytes().to_vec());
    }
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    if weighted::is_weighted(name)
        && let Some(value) = weighted::by_meaning(request, name)
    {
        return Some(value);
    }
    let mut value = Vec::new();
    for line in lines {
        for member in members(line.as_bytes()) {
            if !value.is_empty() {
                value.push(b',');
            }
            value.extend_from_slice(member);
        }
    }
    Some(value)
}

/// `Accept-Encoding` by meaning: which of the usual codings are acceptable, in a fixed order and spelling
/// (RFC 9110 section 12.5.3). `None`: none of them.
pub fn accept_encoding(request: &HeaderMap) -> Option<&'static str> {
    const ACCEPTABLE: [Option<&str>; 8] = [
        None,
        Some("gzip"),
        Some("br"),
        Some("gzip, br"),
        Some("zstd"),
        Some("gzip, zstd"),
        Some("br, zstd"),
        Some("gzip, br, zstd"),
    ];
    let mut wanted = 0_usize;
    for line in request.get_all(ACCEPT_ENCODING) {
        for member in members(line.as_bytes()) {
            let (coding, parameters) = match memchr::memchr(b';', member) {
                Some(at) => (&member[..at], &member[at + 1..]),
                None => (member, &b""[..]),
            };
            if is_zero(parameters) {
                continue;
            }
            for (bit, names) in [&["gzip", "x-gzip"][..], &["br"], &["zstd"]].iter().enumerate() {
                if names.iter().any(|n| coding.trim_ascii().eq_ignore_ascii_case(n.as_bytes())) {
                    wanted |= 1 << bit;
                }
            }
        }
    }
    ACCEPTABLE[wanted]
}

/// Whether the parameters say `q=0`.
fn is_zero(parameters: &[u8]) -> bool {
    let text = parameters.trim_ascii();
    let Some(q) = text.strip_prefix(b"q=").or_else(|| text.strip_prefix(b"Q=")) else { return false };
    !q.is_empty() && q.iter().all(|b| matches!(b, b'0' | b'.'))
}

/// The best of `offered` for `Accept-Language` (RFC 4647 section 3.4, lookup); the first where none fits.
pub fn negotiate_language<'a>(request: &HeaderMap, offered: &'a [String]) -> Option<&'a str> {
    let mut best: Option<(u16, &str)> = None;
    for line in request.get_all(http::header::ACCEPT_LANGUAGE) {
        for member in members(line.as_bytes()) {
            let Ok(text) = std::str::from_utf8(member) else { continue };
            let (range, quality) = text.split_once(';').map_or((text, 1_000), |(r, p)| (r, quality(p)));
            let found = lookup(range.trim(), offered);
            // The first of equals wins: strictly greater only.
            if let Some(language) = found
                && quality > 0
                && best.is_none_or(|(q, _)| quality > q)
            {
                best = Some((quality, language));
            }
        }
    }
    best.map(|(_, language)| language).or_else(|| offered.first().map(String::as_str))
}

fn lookup<'a>(range: &str, offered: &'a [String]) -> Option<&'a str> {
    if range == "*" {
        return offered.first().map(String::as_str);
    }
    let mut range = range;
    loop {
        if let Some(found) = offered.iter().find(|o| o.eq_ignore_ascii_case(range)) {
            return Some(found);
        }
        // `de-AT` falls back to `de`, and a bare `de` takes the first `de-…` that is offered.
        match range.rsplit_once('-') {
            Some((shorter, _)) => range = shorter,
            None => break,
        }
    }
    offered.iter().map(String::as_str).find(|o| {
        o.len() > range.len()
            && o.as_bytes()[range.len()] == b'-'
            && o.get(..range.len()).is_some_and(|head| head.eq_ignore_ascii_case(range))
    })
}

/// A weight in thousandths (RFC 9110 section 12.4.2); what cannot be read counts as nothing.
fn quality(parameter: &str) -> u16 {
    let Some(text) = parameter.trim().strip_prefix("q=").or(parameter.trim().strip_prefix("Q=")) else {
        return 1_000;
    };
    weighted::thousandths(text.as_bytes()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn map(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn names_are_sorted_lowered_and_told_once() {
        let names = selecting_fields(&map("vary", &["X-B, accept", "Accept"])).unwrap();
        assert_eq!(names, ["accept", "x-b"]);
        let many: Vec<String> = (0..9).map(|n| format!("x-{n}")).collect();
        assert_eq!(selecting_fields(&map("vary", &[&many.join(",")])), Err(Reason::VaryTooMany));
    }

    #[test]
    fn rfc9111_4_1_white_space_and_line_breaks_do_not_tell_requests_apart() {
        let name = HeaderName::from_static("x-a");
        let one = selecting_value(&map("x-a", &["1,2 ,  3"]), &name);
        assert_eq!(one, selecting_value(&map("x-a", &["1", "2,3"]), &name));
        assert_eq!(selecting_value(&map("x-b", &["1"]), &name), None);
    }

    #[test]
    fn rfc9111_4_1_a_field_whose_syntax_is_known_is_compared_by_meaning() {
        let value = |text: &str| {
            selecting_value(&map("accept-language", &[text]), &HeaderName::from_static("accept-language"))
        };
        assert_eq!(value("en, de"), value("De ,eN"));
        assert_eq!(value(""), Some(Vec::new()));
        let other = |text: &str| selecting_value(&map("foo", &[text]), &HeaderName::from_static("foo"));
        assert_ne!(other("en, de"), other("de, en"), "nothing is known of the order of its members");
    }

    #[test]
    fn accept_encoding_is_compared_by_meaning() {
        let read = |text: &str| accept_encoding(&map("accept-encoding", &[text]));
        assert_eq!(read("br;q=0.5, GZIP"), Some("gzip, br"));
        assert_eq!(read("gzip, br"), read("br,gzip, deflate"));
        assert_eq!(read("gzip;q=0, br;q=0.000"), None);
        assert_eq!(read("identity"), None);
    }

    #[test]
    fn the_language_is_negotiated_among_the_offered_ones() {
        let offered = ["en".to_owned(), "de".to_owned(), "pt-BR".to_owned()];
        let read = |text: &str| negotiate_language(&map("accept-language", &[text]), &offered);
        assert_eq!(read("de-AT, en;q=0.5"), Some("de"));
        assert_eq!(read("fr, de;q=0.2, en;q=0.1"), Some("de"));
        assert_eq!(read("pt"), Some("pt-BR"));
        assert_eq!(read("fr"), Some("en"));
        assert_eq!(read("de;q=0, *"), Some("en"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(line: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let mut map = HeaderMap::new();
                for name in ["vary", "accept-encoding", "accept-language"] {
                    map.append(name, value.clone());
                }
                let _ = selecting_fields(&map);
                let _ = accept_encoding(&map);
                let _ = negotiate_language(&map, &["en".to_owned()]);
            }
        }
    }
}
