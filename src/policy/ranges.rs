//! Ranges (RFC 9110 section 14): what a request asks for, what a stored response holds of it, and how parts are combined.
//!
//! Keeps: what is cut lies within the content that is there; a combination is what a cut of the whole would be; no bytes
//! of a client or of an application make a reader panic.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_RANGE, DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::date;
use super::validation::{CONTENT_DIGEST, CONTENT_MD5, is_strong};
use crate::clock::Now;

/// Fields that speak of the very bytes of a message: not of others that are cut from them or combined with them (RFC 9530
/// section 2).
pub const OF_THE_BYTES: [HeaderName; 2] = [CONTENT_DIGEST, CONTENT_MD5];

/// The most ranges that a `Range` field is read for; a field with more is ignored (RFC 9110 section 17.15).
const MAX_RANGES: usize = 16;

/// One range of bytes as a request spells it (RFC 9110 section 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// From one position to another, which is included.
    Between(u64, u64),
    /// From a position to the end.
    From(u64),
    /// So many bytes at the end.
    Last(u64),
}

/// What of the content a GET asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// All of it.
    #[default]
    Whole,
    /// One range of bytes.
    One(Span),
    /// Several ranges, or another unit than bytes.
    Other,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between(first, last) => write!(f, "bytes={first}-{last}"),
            Self::From(first) => write!(f, "bytes={first}-"),
            Self::Last(length) => write!(f, "bytes=-{length}"),
        }
    }
}

/// A text of digits and plain letters as a field's value.
pub fn value(text: &impl fmt::Display) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).unwrap_or(HeaderValue::from_static(""))
}

/// What a GET asks for. A `Range` that is malformed counts as none (RFC 9110 section 14.2), and so does one whose `If-Range`
/// no response can satisfy: a weak entity tag, or neither tag nor date (section 13.1.5).
pub fn asked(request: &HeaderMap, now: Now) -> Asked {
    let Some(asked) = single(request, &RANGE).and_then(|line| ranges(line.as_bytes())) else {
        return Asked::Whole;
    };
    let hopeless = request.contains_key(IF_RANGE)
        && !single(request, &IF_RANGE)
            .is_some_and(|v| is_strong(Some(v)) || date::parse(v.as_bytes(), now).is_some());
    if hopeless { Asked::Whole } else { asked }
}

fn ranges(line: &[u8]) -> Option<Asked> {
    let at = line.iter().position(|b| *b == b'=')?;
    let (unit, set) = (line.get(..at)?, line.get(at + 1..)?);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        let token = !unit.is_empty() && unit.iter().all(u8::is_ascii_graphic);
        return token.then_some(Asked::Other);
    }
    let mut members = set.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let first = span(members.next()?)?;
    let more: Option<Vec<Span>> = members.by_ref().take(MAX_RANGES).map(span).collect();
    match more?.len() {
        0 => Some(Asked::One(first)),
        MAX_RANGES => None,
        _ => Some(Asked::Other),
    }
}

fn span(text: &[u8]) -> Option<Span> {
    let at = text.iter().position(|b| *b == b'-')?;
    match (text.get(..at)?, text.get(at + 1..)?) {
        (b"", length) => position(length).map(Span::Last),
        (first, b"") => position(first).map(Span::From),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then_some(Span::Between(first, last))
        }
    }
}

/// A number of digits. One that is beyond all content is as good as the largest.
fn position(digits: &[u8]) -> Option<u64> {
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    sound.then(|| std::str::from_utf8(digits).ok()?.parse().ok().or(Some(u64::MAX)))?
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// Whether the request's `If-Range`, where it has one, lets its `Range` be answered from a response with these fields:
/// the same strong entity tag, or exactly the same date of a modification that is a strong validator, because the
/// response is younger by a second at least (RFC 9110 sections 13.1.5 and 8.8.2.2).
pub fn if_range_holds<'a>(
    request: &HeaderMap,
    field: impl Fn(&HeaderName) -> Option<&'a HeaderValue>,
    now: Now,
) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    let Some(wanted) = single(request, &IF_RANGE) else { return false };
    if is_strong(Some(wanted)) {
        return field(&ETAG) == Some(wanted);
    }
    let read = |value: &HeaderValue| date::parse(value.as_bytes(), now);
    let of = |name| field(&name).and_then(read);
    let (Some(wanted), Some(modified), Some(made)) = (read(wanted), of(LAST_MODIFIED), of(DATE)) else {
        return false;
    };
    wanted == modified && modified.as_secs() < made.as_secs()
}

/// Which bytes of the whole a part says it is (RFC 9110 section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The position of the first byte.
    pub first: u64,
    /// The position of the last byte.
    pub last: u64,
    /// The length of the whole, where it is known.
    pub complete: Option<u64>,
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/", self.first, self.last)?;
        match self.complete {
            Some(complete) => write!(f, "{complete}"),
            None => f.write_str("*"),
        }
    }
}

impl ContentRange {
    /// What the only `Content-Range` field says. `None`: there is none, or several, it is invalid, or it names no bytes
    /// (`*/1234`, as in a 416).
    pub fn of(response: &HeaderMap) -> Option<Self> {
        Self::parse(single(response, &CONTENT_RANGE)?)
    }

    /// What a value says.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let (unit, rest) = value.to_str().ok()?.split_once(' ')?;
        let (range, complete) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| position(text.as_bytes()).filter(|number| *number < u64::MAX);
        let complete = if complete == "*" { None } else { Some(number(complete)?) };
        let (first, last) = (number(first)?, number(last)?);
        let sound = first <= last && complete.is_none_or(|complete| last < complete);
        (unit.eq_ignore_ascii_case("bytes") && sound).then_some(Self { first, last, complete })
    }

    /// How many bytes it says there are.
    pub fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether it is all there is.
    pub fn is_whole(&self) -> bool {
        self.complete == Some(self.length())
    }

    fn reaches_end(&self) -> bool {
        self.complete == Some(self.last + 1)
    }
}

/// The bytes that are there, and where they lie in the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where they are said to lie.
    pub range: ContentRange,
    /// How many there are. Fewer than `range` says are there on routes with `unsafe_uneven_parts` only.
    pub length: u64,
}

/// What of the bytes that are there answers a request for a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// These, counted from the first that is there; and what they are of the whole.
    Part(Range<u64>, ContentRange),
    /// None, for the whole ends before it. Its length.
    Unsatisfiable(u64),
    /// More must be asked for.
    Missing,
}

impl Extent {
    /// All of a content with so many bytes; nothing is cut from an empty one.
    pub fn whole(length: u64) -> Option<Self> {
        let last = length.checked_sub(1)?;
        Some(Self { range: ContentRange { first: 0, last, complete: Some(length) }, length })
    }

    /// Whether as many bytes are there as are said to be.
    pub fn is_even(&self) -> bool {
        self.length == self.range.length()
    }

    /// What is cut for `span` (RFC 9110 section 14.1.2).
    pub fn cut(&self, span: Span) -> Cut {
        let complete = self.range.complete;
        let beyond = match span {
            Span::Between(first, _) | Span::From(first) => complete.is_some_and(|complete| first >= complete),
            Span::Last(length) => length == 0,
        };
        if beyond {
            return complete.map_or(Cut::Missing, Cut::Unsatisfiable);
        }
        match span {
            Span::Between(first, last) => {
                self.between(first, complete.map_or(last, |complete| last.min(complete - 1)))
            }
            _ if !self.range.reaches_end() || self.length == 0 => Cut::Missing,
            Span::From(first) => self.between(first, self.end() - 1),
            Span::Last(length) if length <= self.length => self.between(self.end() - length, self.end() - 1),
            Span::Last(_) if self.range.first == 0 && self.is_even() => self.between(0, self.end() - 1),
            Span::Last(_) => Cut::Missing,
        }
    }

    /// The position after the last byte that is there.
    fn end(&self) -> u64 {
        self.range.first + self.length
    }

    fn between(&self, first: u64, last: u64) -> Cut {
        let from = self.range.first;
        if first < from || last < first || last >= self.end() {
            return Cut::Missing;
        }
        Cut::Part(first - from..last - from + 1, ContentRange { first, last, ..self.range })
    }
}

/// Combines two parts of one representation that overlap or adjoin (RFC 9110 section 15.3.7.3), where both are as long as
/// they say and the result has no more than `limit` bytes. Whether they are of one representation is for the caller to know.
pub fn combine(
    a: (ContentRange, &Bytes),
    b: (ContentRange, &Bytes),
    limit: u64,
) -> Option<(ContentRange, Bytes)> {
    let even = |part: (ContentRange, &Bytes)| part.0.length() == part.1.len() as u64;
    let ((low, start), (high, more)) = if a.0.first <= b.0.first { (a, b) } else { (b, a) };
    let same = low.complete.is_none() || high.complete.is_none() || low.complete == high.complete;
    let range = ContentRange {
        first: low.first,
        last: low.last.max(high.last),
        complete: low.complete.or(high.complete),
    };
    let sound = range.complete.is_none_or(|complete| range.last < complete);
    if !even(a) || !even(b) || !same || !sound || high.first > low.last + 1 || range.length() > limit {
        return None;
    }
    if high.last <= low.last {
        return Some((range, start.clone()));
    }
    let known = usize::try_from(low.last + 1 - high.first).ok()?;
    let mut bytes = BytesMut::with_capacity(usize::try_from(range.length()).ok()?);
    bytes.extend_from_slice(start);
    bytes.extend_from_slice(more.get(known..)?);
    Some((range, bytes.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now =
        Now { mono: std::time::Duration::ZERO, wall: std::time::Duration::from_secs(1_700_000_000) };
    use proptest::prelude::*;

    fn map(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, text) in fields {
            map.append(name.clone(), HeaderValue::from_str(text).unwrap());
        }
        map
    }

    fn range(text: &str) -> Asked {
        asked(&map(&[(RANGE, text)]), NOW)
    }

    fn content(text: &str) -> Option<ContentRange> {
        ContentRange::of(&map(&[(CONTENT_RANGE, text)]))
    }

    #[test]
    fn rfc9110_14_1_2_each_form_of_a_byte_range_is_read() {
        assert_eq!(range("bytes=0-4"), Asked::One(Span::Between(0, 4)));
        assert_eq!(range("BYTES= 7- "), Asked::One(Span::From(7)));
        assert_eq!(range("bytes=-5,"), Asked::One(Span::Last(5)));
        assert_eq!(range("bytes=0-99999999999999999999"), Asked::One(Span::Between(0, u64::MAX)));
        assert_eq!(range("bytes=0-1, 4-5"), Asked::Other);
        assert_eq!(range("lines=1-2"), Asked::Other);
    }

    #[test]
    fn rfc9110_14_2_a_malformed_range_is_ignored() {
        for text in
            ["bytes", "bytes=", "bytes=5-4", "bytes=a-", "bytes=-", "bytes=1-2-3", "bytes=0-1,x", "=0-1"]
        {
            assert_eq!(range(text), Asked::Whole, "{text}");
        }
        assert_eq!(asked(&map(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=0-1")]), NOW), Asked::Whole);
        assert_eq!(range(&format!("bytes={}", ["0-1"; 1 + MAX_RANGES].join(","))), Asked::Whole);
        assert_eq!(range(&format!("bytes={}", ["0-1"; MAX_RANGES].join(","))), Asked::Other);
    }

    #[test]
    fn rfc9110_14_4_an_invalid_content_range_says_nothing() {
        let part = |first, last, complete| Some(ContentRange { first, last, complete });
        assert_eq!(content("bytes 4-9/10"), part(4, 9, Some(10)));
        assert_eq!(content("bytes 4-9/*"), part(4, 9, None));
        for text in
            ["bytes */10", "bytes 4-9/9", "bytes 9-4/10", "lines 0-1/2", "bytes 0-1", "bytes=0-1/2", ""]
        {
            assert_eq!(content(text), None, "{text}");
        }
        let twice = map(&[(CONTENT_RANGE, "bytes 0-1/2"), (CONTENT_RANGE, "bytes 0-1/2")]);
        assert_eq!(ContentRange::of(&twice), None);
    }

    #[test]
    fn rfc9110_13_1_5_if_range_wants_the_same_strong_validator() {
        let holds = |wanted: &str, fields: &[(HeaderName, &str)]| {
            let fields = map(fields);
            if_range_holds(&map(&[(IF_RANGE, wanted)]), |name| fields.get(name), NOW)
        };
        assert!(holds("\"a\"", &[(ETAG, "\"a\"")]));
        assert!(!holds("\"a\"", &[(ETAG, "W/\"a\"")]) && !holds("W/\"a\"", &[(ETAG, "W/\"a\"")]));
        assert!(!holds("\"a\"", &[]));
        let modified = "Tue, 14 Nov 2023 22:03:20 GMT";
        let later = "Tue, 14 Nov 2023 22:03:21 GMT";
        assert!(holds(modified, &[(LAST_MODIFIED, modified), (DATE, later)]));
        assert!(!holds(later, &[(LAST_MODIFIED, modified), (DATE, later)]), "exactly the same date only");
        assert!(
            !holds(modified, &[(LAST_MODIFIED, modified), (DATE, modified)]),
            "within its second it is weak"
        );
        assert!(!holds(modified, &[(LAST_MODIFIED, modified)]));
        assert!(if_range_holds(&HeaderMap::new(), |_| None, NOW));
    }

    #[test]
    fn rfc9110_13_1_5_a_condition_that_nothing_satisfies_asks_for_the_whole() {
        for (text, expected) in [("\"a\"", true), ("W/\"a\"", false), ("yesterday", false)] {
            let asked = asked(&map(&[(RANGE, "bytes=0-1"), (IF_RANGE, text)]), NOW);
            assert_eq!(asked != Asked::Whole, expected, "{text}");
        }
    }

    #[test]
    fn rfc9110_14_1_2_a_range_is_cut_from_the_whole_or_found_unsatisfiable() {
        let whole = Extent::whole(10).unwrap();
        let cut = |span| match whole.cut(span) {
            Cut::Part(at, range) => (at.start, at.end, range.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(cut(Span::Between(2, 4)), (2, 5, "bytes 2-4/10".into()));
        assert_eq!(cut(Span::Between(2, 99)), (2, 10, "bytes 2-9/10".into()));
        assert_eq!(cut(Span::From(7)), (7, 10, "bytes 7-9/10".into()));
        assert_eq!(cut(Span::Last(3)), (7, 10, "bytes 7-9/10".into()));
        assert_eq!(cut(Span::Last(99)), (0, 10, "bytes 0-9/10".into()));
        for span in [Span::Between(10, 11), Span::From(10), Span::Last(0)] {
            assert_eq!(whole.cut(span), Cut::Unsatisfiable(10));
        }
    }

    #[test]
    fn rfc9111_3_3_of_a_part_only_what_it_holds_is_cut() {
        let part = Extent { range: content("bytes 4-6/10").unwrap(), length: 3 };
        assert!(matches!(part.cut(Span::Between(5, 6)), Cut::Part(at, _) if at == (1..3)));
        for span in [Span::Between(3, 5), Span::Between(5, 7), Span::From(5), Span::Last(1)] {
            assert_eq!(part.cut(span), Cut::Missing, "{span}");
        }
        assert_eq!(part.cut(Span::From(10)), Cut::Unsatisfiable(10));
        let end = Extent { range: content("bytes 4-9/10").unwrap(), length: 6 };
        assert!(matches!(end.cut(Span::Last(2)), Cut::Part(at, _) if at == (4..6)));
        assert!(matches!(end.cut(Span::From(4)), Cut::Part(at, _) if at == (0..6)));
        assert_eq!(end.cut(Span::Last(7)), Cut::Missing);
        let unknown = Extent { range: content("bytes 4-9/*").unwrap(), length: 6 };
        assert_eq!((unknown.cut(Span::From(5)), unknown.cut(Span::From(99))), (Cut::Missing, Cut::Missing));
        let uneven = Extent { range: content("bytes 4-9/10").unwrap(), length: 5 };
        assert!(matches!(uneven.cut(Span::Last(1)), Cut::Part(at, _) if at == (4..5)));
        assert!(matches!(uneven.cut(Span::From(6)), Cut::Part(at, _) if at == (2..5)));
        assert_eq!(uneven.cut(Span::Between(8, 9)), Cut::Missing);
    }

    fn any_span() -> impl Strategy<Value = Span> {
        let number = || prop_oneof![0_u64..40, Just(u64::MAX), Just(u64::MAX - 1)];
        prop_oneof![
            (number(), number()).prop_map(|(a, b)| Span::Between(a.min(b), a.max(b))),
            number().prop_map(Span::From),
            number().prop_map(Span::Last),
        ]
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(line: Vec<u8>, digits in "[-0-9,/ *]{0,50}") {
            let lines = [Some(line), Some([b"bytes=", digits.as_bytes()].concat()), Some(format!("bytes {digits}").into())];
            for value in lines.into_iter().flatten().filter_map(|line| HeaderValue::from_bytes(&line).ok()) {
                let mut fields = HeaderMap::new();
                for name in [RANGE, CONTENT_RANGE, IF_RANGE] {
                    fields.insert(name, value.clone());
                }
                let asked = asked(&fields, NOW);
                if let (Some(range), Asked::One(span)) = (ContentRange::of(&fields), asked) {
                    let _ = Extent { range, length: range.length() }.cut(span);
                }
                let _ = if_range_holds(&fields, |_| None, NOW);
            }
        }

        #[test]
        fn what_a_request_asks_for_is_spelled_so_that_it_is_read_again(span in any_span()) {
            prop_assert_eq!(range(&span.to_string()), Asked::One(span));
        }

        #[test]
        fn a_cut_lies_within_the_content_and_is_what_its_content_range_says(
            span in any_span(), first in 0_u64..30, said in 1_u64..30, short in 0_u64..30, after in 0_u64..3, known: bool,
        ) {
            let last = first + said - 1;
            let range = ContentRange { first, last, complete: known.then_some(last + 1 + after) };
            let extent = Extent { range, length: said.saturating_sub(short) };
            if let Cut::Part(at, cut) = extent.cut(span) {
                prop_assert!(at.start < at.end && at.end <= extent.length);
                prop_assert_eq!((cut.length(), cut.first), (at.end - at.start, first + at.start));
                prop_assert_eq!(ContentRange::parse(&value(&cut)), Some(cut));
            }
        }

        #[test]
        fn a_combination_is_a_cut_of_the_whole(
            length in 1_u64..40, a in (0_u64..40, 0_u64..40), b in (0_u64..40, 0_u64..40), known in any::<(bool, bool)>(),
        ) {
            let whole: Bytes = (0..u8::try_from(length).unwrap()).collect();
            let part = |(from, to): (u64, u64), known: bool| {
                let (from, to) = (from.min(to) % length, from.max(to) % length);
                let (first, last) = (from.min(to), from.max(to));
                let range = ContentRange { first, last, complete: known.then_some(length) };
                (range, whole.slice(first as usize..=last as usize))
            };
            let (a, b) = (part(a, known.0), part(b, known.1));
            let adjoin = a.0.first <= b.0.last + 1 && b.0.first <= a.0.last + 1;
            let combined = combine((a.0, &a.1), (b.0, &b.1), length);
            prop_assert_eq!(combined.is_some(), adjoin);
            if let Some((range, bytes)) = combined {
                prop_assert_eq!(&bytes, &whole.slice(range.first as usize..=range.last as usize));
                prop_assert_eq!((range.first, range.last), (a.0.first.min(b.0.first), a.0.last.max(b.0.last)));
                prop_assert!(combine((a.0, &a.1), (b.0, &b.1), range.length() - 1).is_none());
            }
        }
    }
}
