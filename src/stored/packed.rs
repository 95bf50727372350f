//! The packed form of a stored head: fields and freshness in one run of bytes. It never leaves the process.
//!
//! A field is a number for its name where that is well known, else the name; then the length of the value, and the value. A
//! date in the one form that HTTP gives dates today is kept as a number: two of each head are dates.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, header as h};
use httpdate::HttpDate;

use crate::policy::Freshness;

/// Names that are kept as their place in this list. It may be changed at will, up to 126 names.
static KNOWN: [HeaderName; 58] = [
    h::ACCEPT_RANGES,
    h::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    h::ACCESS_CONTROL_ALLOW_HEADERS,
    h::ACCESS_CONTROL_ALLOW_METHODS,
    h::ACCESS_CONTROL_ALLOW_ORIGIN,
    h::ACCESS_CONTROL_EXPOSE_HEADERS,
    h::ACCESS_CONTROL_MAX_AGE,
    h::AGE,
    h::ALLOW,
    h::ALT_SVC,
    h::CACHE_CONTROL,
    h::CONTENT_DISPOSITION,
    h::CONTENT_ENCODING,
    h::CONTENT_LANGUAGE,
    h::CONTENT_LENGTH,
    h::CONTENT_LOCATION,
    h::CONTENT_RANGE,
    h::CONTENT_SECURITY_POLICY,
    h::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    h::CONTENT_TYPE,
    h::DATE,
    h::ETAG,
    h::EXPIRES,
    h::LAST_MODIFIED,
    h::LINK,
    h::LOCATION,
    h::PRAGMA,
    h::REFERRER_POLICY,
    h::REFRESH,
    h::RETRY_AFTER,
    h::SERVER,
    h::SET_COOKIE,
    h::STRICT_TRANSPORT_SECURITY,
    h::VARY,
    h::VIA,
    h::WARNING,
    h::WWW_AUTHENTICATE,
    h::X_CONTENT_TYPE_OPTIONS,
    h::X_DNS_PREFETCH_CONTROL,
    h::X_FRAME_OPTIONS,
    h::X_XSS_PROTECTION,
    HeaderName::from_static("cross-origin-embedder-policy"),
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderName::from_static("no-vary-search"),
    HeaderName::from_static("permissions-policy"),
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("timing-allow-origin"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-accel-expires"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("x-powered-by"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-robots-tag"),
    HeaderName::from_static("x-runtime"),
    HeaderName::from_static("x-trace-id"),
    HeaderName::from_static("x-ua-compatible"),
];

/// Says, in the byte of the name, that the value is a date, which is kept as its seconds.
const DATED: u8 = 0x80;
/// The byte of a name that is written out.
const OTHER: u8 = 0x7f;
/// The length of a date.
const DATE_LENGTH: usize = 29;

/// Appends bytes with their length before them.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80); // its last seven bits
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// Reads what was put, from the front.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Bytes with their length before them.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let [byte] = self.chunk()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return self.take(length);
            }
            shift += 7;
        }
    }

    /// A time span, as [`put_time`] wrote it.
    fn time(&mut self) -> Duration {
        Duration::from_nanos(self.chunk().map_or(0, u64::from_le_bytes))
    }
}

// ---- Fields.

/// A field as it is kept.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    name: Name<'a>,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Name<'a> {
    Known(&'static HeaderName),
    Other(&'a [u8]),
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a [u8]),
    /// Seconds since the Unix epoch.
    Date(u32),
}

impl Field<'_> {
    /// Whether this is its name.
    pub(super) fn is(&self, name: &HeaderName) -> bool {
        match self.name {
            Name::Known(known) => known == name,
            Name::Other(other) => other == name.as_str().as_bytes(),
        }
    }

    /// Its value.
    pub(super) fn value(&self) -> HeaderValue {
        let value = match self.value {
            Value::Text(text) => HeaderValue::from_bytes(text),
            Value::Date(seconds) => HeaderValue::try_from(date(seconds).to_string()),
        };
        // The bytes of a valid value are valid.
        value.unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn put_value(&self, out: &mut BytesMut) -> usize {
        match self.value {
            Value::Text(text) => {
                out.extend_from_slice(text);
                text.len()
            }
            Value::Date(seconds) => {
                let before = out.len();
                // There is always room for more in it.
                let _ = write!(out, "{}", date(seconds));
                out.len() - before
            }
        }
    }

    fn own_name(&self) -> Option<HeaderName> {
        match self.name {
            Name::Known(known) => Some(known.clone()),
            // The bytes of a valid name are one.
            Name::Other(other) => HeaderName::from_bytes(other).ok(),
        }
    }
}

fn date(seconds: u32) -> HttpDate {
    (SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into())).into()
}

/// The seconds of a date that is written exactly as they would be.
fn exact_date(value: &[u8]) -> Option<u32> {
    if value.len() != DATE_LENGTH {
        return None;
    }
    let time = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let seconds = u32::try_from(since.as_secs()).ok()?;
    (date(seconds).to_string().as_bytes() == value).then_some(seconds)
}

/// Appends fields.
pub(super) fn put_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        let seconds = exact_date(value.as_bytes());
        let dated = if seconds.is_some() { DATED } else { 0 };
        let known = KNOWN.iter().position(|known| known == name).and_then(|at| u8::try_from(at).ok());
        out.push(known.unwrap_or(OTHER) | dated);
        if known.is_none() {
            put_bytes(out, name.as_str().as_bytes());
        }
        match seconds {
            Some(seconds) => out.extend_from_slice(&seconds.to_le_bytes()),
            None => put_bytes(out, value.as_bytes()),
        }
    }
}

/// The fields, as [`put_fields`] wrote them.
pub(super) fn fields(packed: &[u8]) -> impl Iterator<Item = Field<'_>> + Clone {
    let mut reader = Reader(packed);
    std::iter::from_fn(move || {
        let [first] = reader.chunk()?;
        let name = match KNOWN.get(usize::from(first & !DATED)) {
            Some(known) => Name::Known(known),
            None => Name::Other(reader.bytes()?),
        };
        let value = if first & DATED == 0 {
            Value::Text(reader.bytes()?)
        } else {
            Value::Date(u32::from_le_bytes(reader.chunk()?))
        };
        Some(Field { name, value })
    })
}

/// These fields as a map, with room for what Larder adds. All values are pieces of one run of bytes of their own.
pub(super) fn map<'a>(fields: impl Iterator<Item = Field<'a>> + Clone, size: usize) -> HeaderMap {
    let mut values = BytesMut::with_capacity(size + 2 * DATE_LENGTH);
    let count = fields.clone().map(|field| field.put_value(&mut values)).count();
    let mut map = HeaderMap::with_capacity(count + 6);
    let mut values = values.freeze();
    for field in fields {
        let length = match field.value {
            Value::Text(text) => text.len(),
            Value::Date(_) => DATE_LENGTH,
        };
        let value = HeaderValue::from_maybe_shared(values.split_to(length));
        if let (Some(name), Ok(value)) = (field.own_name(), value) {
            map.append(name, value);
        }
    }
    map
}

// ---- Freshness.

const MUST_REVALIDATE: u8 = 1;
const NO_CACHE: u8 = 2;
const IMMUTABLE: u8 = 4;
const LIFETIME: u8 = 8;
const ENDS: u8 = 16;
const INITIAL_AGE: u8 = 32;
const WHILE_REVALIDATE: u8 = 64;
const IF_ERROR: u8 = 128;

/// Appends a time span in nanoseconds; one beyond 584 years becomes that.
fn put_time(out: &mut Vec<u8>, time: Duration) {
    out.extend_from_slice(&u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
}

/// Appends when a response is fresh, and gives what tells its parts.
pub(super) fn put_freshness(out: &mut Vec<u8>, freshness: &Freshness) -> u8 {
    let given = |time: Duration| (!time.is_zero()).then_some(time);
    let flags = [
        (freshness.must_revalidate, MUST_REVALIDATE),
        (freshness.no_cache, NO_CACHE),
        (freshness.immutable, IMMUTABLE),
    ];
    let times = [
        (freshness.lifetime, LIFETIME),
        (freshness.ends, ENDS),
        (given(freshness.initial_age), INITIAL_AGE),
        (given(freshness.stale_while_revalidate), WHILE_REVALIDATE),
        (given(freshness.stale_if_error), IF_ERROR),
    ];
    put_time(out, freshness.received);
    times.iter().filter_map(|(time, _)| *time).for_each(|time| put_time(out, time));
    let flags = flags.iter().filter(|(set, _)| *set).map(|(_, bit)| *bit);
    flags.chain(times.iter().filter(|(time, _)| time.is_some()).map(|(_, bit)| *bit)).sum()
}

/// How many bytes [`put_freshness`] wrote.
pub(super) fn freshness_size(flags: u8) -> usize {
    let times = flags & (LIFETIME | ENDS | INITIAL_AGE | WHILE_REVALIDATE | IF_ERROR);
    8 * (1 + times.count_ones() as usize)
}

/// What [`put_freshness`] wrote.
pub(super) fn freshness(packed: &[u8], flags: u8) -> Freshness {
    let mut reader = Reader(packed);
    let received = reader.time();
    let mut time = |bit: u8| (flags & bit != 0).then(|| reader.time());
    let (lifetime, ends) = (time(LIFETIME), time(ENDS));
    Freshness {
        received,
        lifetime,
        ends,
        initial_age: time(INITIAL_AGE).unwrap_or_default(),
        stale_while_revalidate: time(WHILE_REVALIDATE).unwrap_or_default(),
        stale_if_error: time(IF_ERROR).unwrap_or_default(),
        must_revalidate: flags & MUST_REVALIDATE != 0,
        no_cache: flags & NO_CACHE != 0,
        immutable: flags & IMMUTABLE != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(headers: &HeaderMap) -> Vec<u8> {
        let mut out = Vec::new();
        put_fields(&mut out, headers);
        out
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let short = prop::collection::vec(prop_oneof![Just(b'\t'), 32..127_u8, 128..=255_u8], 0..200);
        let long = (0..65_536_usize).prop_map(|length| vec![b'x'; length]);
        let dated = any::<u64>().prop_map(|n| date((n % (1 << 33)) as u32).to_string().into_bytes());
        let odd = prop::sample::select(vec![
            "Fri, 20 Nov 2026 10:00:00 GMT",
            "fri, 20 Nov 2026 10:00:00 GMT",
            "Mon, 20 Nov 2026 10:00:00 GMT", // it was a Friday
            "Friday, 20-Nov-26 10:00:00 GMT",
            "Sat, 07 Feb 2106 06:28:16 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
        ]);
        prop_oneof![8 => short, 1 => long, 2 => dated, 2 => odd.prop_map(|text| text.as_bytes().to_vec())]
    }

    fn name() -> impl Strategy<Value = HeaderName> {
        let other = "[a-z][a-z0-9-]{0,40}".prop_map(|name| HeaderName::try_from(name).unwrap());
        let known = prop::sample::select(KNOWN.to_vec());
        prop_oneof![known, Just(h::SET_COOKIE), Just(h::LAST_MODIFIED), other]
    }

    fn time() -> impl Strategy<Value = Duration> {
        prop_oneof![Just(Duration::ZERO), any::<u64>().prop_map(Duration::from_nanos)]
    }

    proptest! {
        #[test]
        fn any_fields_are_read_back_as_they_were_put(given in prop::collection::vec((name(), value()), 0..12)) {
            let mut headers = HeaderMap::new();
            for (name, value) in &given {
                headers.append(name, HeaderValue::from_bytes(value).unwrap());
            }
            let packed = packed(&headers);
            prop_assert_eq!(map(fields(&packed), packed.len()), headers.clone());
            for name in headers.keys() {
                let own = fields(&packed).filter(|field| field.is(name)).map(|field| field.value());
                prop_assert!(own.eq(headers.get_all(name).iter().cloned()));
            }
        }

        #[test]
        fn freshness_is_read_back_as_it_was_put(
            times in prop::array::uniform4(time()), ends in prop::array::uniform2(prop::option::of(time())), bits in 0..8_u8,
        ) {
            let given = Freshness {
                received: times[0],
                initial_age: times[1],
                lifetime: ends[0],
                ends: ends[1],
                stale_while_revalidate: times[2],
                stale_if_error: times[3],
                must_revalidate: bits & 1 != 0,
                no_cache: bits & 2 != 0,
                immutable: bits & 4 != 0,
            };
            let mut out = Vec::new();
            let flags = put_freshness(&mut out, &given);
            prop_assert_eq!(freshness(&out, flags), given);
            prop_assert_eq!(freshness_size(flags), out.len());
        }
    }

    #[test]
    fn no_time_span_is_too_long_to_be_kept() {
        let endless = Freshness { lifetime: Some(Duration::MAX), ..Freshness::until_purged() };
        let mut out = Vec::new();
        let flags = put_freshness(&mut out, &endless);
        assert_eq!(freshness(&out, flags).lifetime, Some(Duration::from_nanos(u64::MAX)));
    }

    #[test]
    fn a_head_takes_little_more_than_its_values() {
        let mut headers = HeaderMap::new();
        headers.insert(h::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(h::LAST_MODIFIED, HeaderValue::from_static("Fri, 20 Nov 2026 10:00:00 GMT"));
        assert_eq!(packed(&headers).len(), 2 + 16 + 1 + 4);
    }
}
