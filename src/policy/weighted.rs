//! Weighted lists (RFC 9110 section 12.4): the preferences of `Accept`, `Accept-Charset` and `Accept-Language`, read by
//! meaning. Two values that mean the same become the same bytes, and two that do not never do.

use std::borrow::Cow;

use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_LANGUAGE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::fields::{is_closed, list, members, semicolons};

/// The weight of what has none, in thousandths.
const FULL: u16 = 1_000;

/// One preference.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Preference<'a> {
    /// In thousandths. `None`: it cannot be read, and the member is kept as it stands.
    weight: Option<u16>,
    /// What is preferred, in lower case, with the parameters that are no weight as they came.
    what: Cow<'a, [u8]>,
}

/// Whether the value of this field is a weighted list whose members do not care for case.
pub fn is_weighted(name: &HeaderName) -> bool {
    [ACCEPT, ACCEPT_CHARSET, ACCEPT_LANGUAGE].contains(name)
}

/// All lines of a weighted field by meaning: sorted by weight and name, each member once. Order among equals means
/// nothing (RFC 9110 section 12.5.4: it cannot be relied upon). `None`: it is no list that could be sorted.
pub fn by_meaning(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let member = |member| is_closed(member).then(|| preference(member));
    let mut preferences = list(request, name.clone()).map(member).collect::<Option<Vec<_>>>()?;
    // What cannot be read comes last: `None` is less than any weight.
    preferences.sort_unstable_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.what.cmp(&b.what)));
    preferences.dedup();
    let mut value = Vec::new();
    for preference in &preferences {
        if !value.is_empty() {
            value.push(b',');
        }
        value.extend_from_slice(&preference.what);
        if let Some(weight) = preference.weight.filter(|weight| *weight < FULL) {
            // A spelling that can be read: no member that is kept as it stands has it.
            value.extend_from_slice(b";q=0.");
            value.extend([weight / 100, weight / 10 % 10, weight % 10].map(|digit| b'0' + digit as u8));
        }
    }
    Some(value)
}

/// The language that the request prefers to all others, in lower case. `None`: there is none, or more than one.
pub fn preferred_language(request: &HeaderMap) -> Option<Vec<u8>> {
    let mut best: Option<Preference<'_>> = None;
    let mut alone = false;
    for member in list(request, ACCEPT_LANGUAGE) {
        // What cannot be read might be preferred to all.
        let next = preference(member);
        let weight = next.weight?;
        match &best {
            Some(known) if known.weight > Some(weight) || *known == next => {}
            Some(known) if known.weight == Some(weight) => alone = false,
            _ => (best, alone) = (Some(next), true),
        }
    }
    let best = best.filter(|best| alone && best.weight > Some(0))?;
    is_tag(&best.what).then(|| best.what.into_owned())
}

/// The one language that an answer is for (RFC 9110 section 8.5), in lower case, from the lines of its `Content-Language`.
pub fn one_language<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Option<Vec<u8>> {
    let mut languages = lines.flat_map(|line| members(line.as_bytes()));
    let one = languages.next().filter(|language| is_tag(language))?;
    languages.next().is_none().then(|| one.to_ascii_lowercase())
}

fn is_tag(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

fn preference(member: &[u8]) -> Preference<'_> {
    let as_it_stands = Preference { weight: None, what: Cow::Borrowed(member) };
    let mut parts = semicolons(member);
    let name = parts.next().unwrap_or_default();
    let mut what = Cow::Borrowed(name);
    if name.iter().any(u8::is_ascii_uppercase) {
        what.to_mut().make_ascii_lowercase();
    }
    let mut weight = None;
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        match parameter {
            [b'q' | b'Q', b'=', value @ ..] if weight.is_none() => match thousandths(value) {
                Some(read) => weight = Some(read),
                None => return as_it_stands,
            },
            // A second weight, or one in a spelling of its own.
            [b'q' | b'Q', b'=' | b' ' | b'\t', ..] | [b'q' | b'Q'] => return as_it_stands,
            _ => {
                let what = what.to_mut();
                what.push(b';');
                what.extend_from_slice(parameter);
            }
        }
    }
    Preference { weight: Some(weight.unwrap_or(FULL)), what }
}

/// A weight in thousandths (RFC 9110 section 12.4.2).
pub fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] | [whole, b'.'] => (*whole, &b""[..]),
        [whole, b'.', fraction @ ..] => (*whole, fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |digit| u16::from(digit - b'0'));
    let part = digit(0) * 100 + digit(1) * 10 + digit(2);
    match whole {
        b'0' => Some(part),
        b'1' if part == 0 => Some(FULL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(name: &HeaderName, lines: &[&[u8]]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(name.clone(), HeaderValue::from_bytes(line).unwrap());
        }
        map
    }

    fn read(name: &HeaderName, line: &str) -> String {
        String::from_utf8(by_meaning(&map(name, &[line.as_bytes()]), name).unwrap()).unwrap()
    }

    #[test]
    fn rfc9110_12_4_2_a_weight_is_read_to_thousandths_and_nothing_else_is_one() {
        for (text, expected) in
            [("1", 1_000), ("1.", 1_000), ("1.000", 1_000), ("0", 0), ("0.", 0), ("0.5", 500), ("0.123", 123)]
        {
            assert_eq!(thousandths(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["", "2", "1.001", "0.1234", ".5", "-1", "0,5", "0.5x", "10", "1e0"] {
            assert_eq!(thousandths(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn rfc9110_12_5_4_languages_are_compared_by_meaning() {
        let read = |line: &str| read(&ACCEPT_LANGUAGE, line);
        assert_eq!(read("en, de"), read("de , EN"));
        assert_eq!(read("en;q=0.5, de"), read("de;q=1.0,en ; Q=0.500"));
        assert_eq!(read("de, de"), read("de"));
        assert_eq!(read("de;q=0.5, en"), "en,de;q=0.500");
        assert_ne!(read("de;q=0.5, en"), read("de, en"));
        assert_ne!(read("de;q=0, en"), read("en"), "what is refused is not what is not named");
    }

    #[test]
    fn rfc9110_12_4_2_a_member_whose_weight_cannot_be_read_is_kept_as_it_stands() {
        let read = |line: &str| read(&ACCEPT_LANGUAGE, line);
        for odd in ["DE;q=5", "DE;q=0.5;q=0.5", "DE;q", "DE;q = 0.5", "DE;q=\"0.5\""] {
            let line = format!("{odd}, en");
            assert_eq!(read(&line), format!("en,{odd}"));
        }
        assert_eq!(by_meaning(&map(&ACCEPT_LANGUAGE, &[b"b, \"a"]), &ACCEPT_LANGUAGE), None);
    }

    #[test]
    fn rfc9110_12_5_1_media_ranges_keep_their_parameters_as_they_are() {
        let read = |line: &str| read(&ACCEPT, line);
        assert_eq!(read("Text/HTML;Level=1;q=0.7, */*;q=0.1"), "text/html;Level=1;q=0.700,*/*;q=0.100");
        assert_ne!(read("text/html;level=1"), read("text/html;level=2"));
        assert_eq!(read("a/b;x=\"1;q=0.3, c\""), "a/b;x=\"1;q=0.3, c\"");
    }

    #[test]
    fn the_most_preferred_language_is_one_or_none() {
        let read = |line: &str| {
            preferred_language(&map(&ACCEPT_LANGUAGE, &[line.as_bytes()]))
                .map(|l| String::from_utf8(l).unwrap())
        };
        assert_eq!(read("fr;q=0.5, DE;q=1.0").as_deref(), Some("de"));
        assert_eq!(read("de, DE").as_deref(), Some("de"));
        for none in ["", "en, de", "*", "de;q=0", "de, en;q=x", "en;q=0.5,de;q=0.5,fr;q=0.1", "d_e"] {
            assert_eq!(read(none), None, "{none}");
        }
        assert_eq!(read("fr;q=0.1, en;q=0.5, de;q=0.5, pt;q=0.6").as_deref(), Some("pt"));
    }

    #[test]
    fn rfc9110_8_5_an_answer_is_for_one_language_or_for_none_in_particular() {
        let read = |lines: &[&str]| {
            let values: Vec<_> = lines.iter().map(|line| HeaderValue::from_str(line).unwrap()).collect();
            one_language(values.iter()).map(|l| String::from_utf8(l).unwrap())
        };
        assert_eq!(read(&["De-AT"]).as_deref(), Some("de-at"));
        for none in [&[][..], &[""], &["de, en"], &["de", "en"], &["d e"], &["*"]] {
            assert_eq!(read(none), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_order_means_nothing(lines: Vec<Vec<u8>>) {
            let lines: Vec<&[u8]> =
                lines.iter().map(Vec::as_slice).filter(|l| HeaderValue::from_bytes(l).is_ok()).collect();
            for name in [ACCEPT, ACCEPT_LANGUAGE] {
                let there = map(&name, &lines);
                let back: Vec<&[u8]> = lines.iter().rev().copied().collect();
                prop_assert_eq!(by_meaning(&there, &name), by_meaning(&map(&name, &back), &name));
                let _ = preferred_language(&there);
            }
        }

        #[test]
        fn what_was_normalised_is_not_changed_again(line in "[a-bA-B;q=0-2., \"]{0,24}") {
            if let Some(once) = by_meaning(&map(&ACCEPT, &[line.as_bytes()]), &ACCEPT) {
                prop_assert_eq!(by_meaning(&map(&ACCEPT, &[&once]), &ACCEPT), Some(once));
            }
        }
    }
}
