//! Field lists (RFC 9110 section 5.6.1) and connection-specific fields (section 7.6.1).
//!
//! Keeps: fields that `Connection` names go before any other field is read, and no connection-specific field
//! crosses Larder in either direction. Nothing here can panic, whatever the bytes.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The members of a list value: split at commas outside of quoted strings, trimmed, empty ones left out.
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(value, b',').filter(|member| !member.is_empty())
}

/// A member and its parameters: split at semicolons outside of quoted strings, trimmed.
pub fn semicolons(member: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(member, b';')
}

/// Whether every quoted string in a member has its end.
pub fn is_closed(member: &[u8]) -> bool {
    !member.contains(&b'"') || unquoted(&[member, b","].concat(), b',') == Some(member.len())
}

fn split(value: &[u8], at: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest?;
        let (member, after) = match unquoted(value, at) {
            Some(at) => (value.get(..at)?, value.get(at + 1..)),
            None => (value, None),
        };
        rest = after;
        Some(member.trim_ascii())
    })
}

/// The place of the first such byte outside of a quoted string.
fn unquoted(value: &[u8], wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    value.iter().position(|&b| {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if b == wanted && !quoted => return true,
            _ => {}
        }
        false
    })
}

/// The members of all lines of a list field, in order.
pub fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().flat_map(|value| members(value.as_bytes()))
}

/// Whether a list field has this member, in whatever case.
pub fn has_member(headers: &HeaderMap, name: HeaderName, member: &str) -> bool {
    list(headers, name).any(|m| m.eq_ignore_ascii_case(member.as_bytes()))
}

/// Fields that mean something to one connection only, whether or not `Connection` names them.
static CONNECTION_SPECIFIC: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields between a client and its next proxy (RFC 9110 section 11.7). Larder is no such proxy.
static PROXY_AUTHENTICATION: [HeaderName; 3] = [
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
];

/// The lengths of the names of both kinds: most other names have another length.
const LENGTHS: u64 = lengths(&[2, 7, 10, 14, 16, 17, 18, 19, 25]);

/// A set of lengths below 64.
pub(crate) const fn lengths(all: &[u32]) -> u64 {
    let (mut set, mut rest) = (0, all);
    while let [length, after @ ..] = rest {
        set |= 1 << *length;
        rest = after;
    }
    set
}

/// Whether the length of this name is in a set of [`lengths`].
pub(crate) fn has_length(name: &HeaderName, lengths: u64) -> bool {
    u32::try_from(name.as_str().len()).is_ok_and(|length| lengths.checked_shr(length).unwrap_or(0) & 1 == 1)
}

/// Whether [`strip_connection_specific`] removes fields of this name, or looks into them.
pub fn is_connection_specific(name: &HeaderName) -> bool {
    has_length(name, LENGTHS) && (CONNECTION_SPECIFIC.contains(name) || PROXY_AUTHENTICATION.contains(name))
}

/// Whether a field of this name concerns one connection only, or speaks of the hops so far, which Larder does in its own
/// words.
pub fn is_of_the_way(name: &HeaderName) -> bool {
    CONNECTION_SPECIFIC.contains(name)
        || [header::FORWARDED, header::VIA].contains(name)
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str() == "x-real-ip"
}

/// Whether a field of this name may stand in a trailer section that is passed on: nothing that frames, routes
/// or authenticates (RFC 9110 section 6.5.1).
pub fn allowed_in_trailers(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 11] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::CACHE_CONTROL,
        header::TRAILER,
        header::EXPECT,
    ];
    !NEVER.contains(name) && !CONNECTION_SPECIFIC.contains(name) && !PROXY_AUTHENTICATION.contains(name)
}

/// Removes the fields that `Connection` names. What `Connection` says itself (`close`, `upgrade`, `TE`, …) stays for
/// [`strip_connection_specific`]. Gives the name that must not be among them, where there is one: dropping the fields
/// that frame or route a message is an attack on whoever reads it next.
pub fn strip_named_by_connection(headers: &mut HeaderMap) -> Result<(), &'static str> {
    let Some(first) = headers.get(header::CONNECTION) else { return Ok(()) };
    if is_plain_option(first.as_bytes()) && headers.get_all(header::CONNECTION).iter().nth(1).is_none() {
        return Ok(());
    }
    let values: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    for name in values.iter().flat_map(|value| members(value.as_bytes())) {
        if [b"upgrade".as_slice(), b"te"].iter().any(|kept| name.eq_ignore_ascii_case(kept)) {
            continue;
        }
        let Ok(name) = HeaderName::from_bytes(name) else { continue };
        match name {
            header::HOST => return Err("Host"),
            header::CONTENT_LENGTH => return Err("Content-Length"),
            header::TRANSFER_ENCODING => return Err("Transfer-Encoding"),
            header::CONNECTION => {}
            name => while headers.remove(&name).is_some() {},
        }
    }
    Ok(())
}

fn is_plain_option(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

/// Removes the fields of these names. Where there is none, which is the rule, that costs one walk and no hashing.
pub fn remove_all(headers: &mut HeaderMap, names: &[HeaderName]) {
    // Most names are told apart by their lengths.
    let length = |name: &HeaderName| 1_u64 << name.as_str().len().min(63);
    let lengths = names.iter().fold(0, |lengths, name| lengths | length(name));
    if headers.keys().any(|name| lengths & length(name) != 0 && names.contains(name)) {
        names.iter().for_each(|name| drop(headers.remove(name)));
    }
}

/// Removes everything that concerns one connection only: the fields that `Connection` names, then the known ones.
pub fn strip_connection_specific(headers: &mut HeaderMap) -> Result<(), &'static str> {
    if headers.keys().any(is_connection_specific) {
        strip_named_by_connection(headers)?;
        CONNECTION_SPECIFIC.iter().chain(&PROXY_AUTHENTICATION).for_each(|name| drop(headers.remove(name)));
    }
    Ok(())
}

/// The protocols of an upgrade that a message asks for or agrees to, or `None` where it does neither.
///
/// `h2c` is not one of them: it would carry requests past every check (RFC 9113 section 3.1 has withdrawn it).
pub fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let value = headers.get(header::UPGRADE)?;
    let single = headers.get_all(header::UPGRADE).iter().nth(1).is_none();
    let http = |m: &[u8]| m.len() >= 2 && m[..2].eq_ignore_ascii_case(b"h2") || starts_with(m, b"http");
    let named = has_member(headers, header::CONNECTION, "upgrade");
    let fine = members(value.as_bytes()).next().is_some()
        && !members(value.as_bytes()).any(|m| http(m) || starts_with(m, b"tls"));
    (single && named && fine).then_some(value)
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn a_list_is_split_at_commas_outside_of_quotes() {
        let got: Vec<&[u8]> = members(br#" a, ,"b,\"c" , d="x,y",e"#).collect();
        assert_eq!(got, [b"a".as_slice(), br#""b,\"c""#, br#"d="x,y""#, b"e"]);
    }

    #[test]
    fn fields_that_connection_names_go_and_the_others_stay() {
        let mut map = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("x-kept", "3"),
            ("te", "gzip"),
        ]);
        strip_connection_specific(&mut map).unwrap();
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn every_field_that_concerns_one_connection_goes() {
        for name in CONNECTION_SPECIFIC.iter().chain(&PROXY_AUTHENTICATION) {
            let mut map = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
            strip_connection_specific(&mut map).unwrap();
            assert!(map.is_empty(), "{name}");
        }
    }

    #[test]
    fn connection_may_not_name_what_frames_or_routes_the_message() {
        for name in ["host", "Content-Length", "transfer-encoding"] {
            let mut map = HeaderMap::new();
            map.insert(header::CONNECTION, HeaderValue::from_str(name).unwrap());
            assert!(strip_named_by_connection(&mut map).is_err(), "{name}");
        }
    }

    #[test]
    fn an_upgrade_needs_both_fields_and_is_never_another_http() {
        assert!(upgrade(&headers(&[("connection", "Upgrade"), ("upgrade", "websocket")])).is_some());
        assert!(upgrade(&headers(&[("upgrade", "websocket")])).is_none());
        assert!(upgrade(&headers(&[("connection", "upgrade"), ("upgrade", "h2c")])).is_none());
        assert!(upgrade(&headers(&[("connection", "upgrade"), ("upgrade", "websocket, H2C")])).is_none());
        assert!(upgrade(&headers(&[("connection", "upgrade"), ("upgrade", "HTTP/2.0")])).is_none());
    }

    proptest! {
        #[test]
        fn the_members_of_any_bytes_are_found_without_a_panic(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            for member in members(&value) {
                prop_assert!(!member.is_empty());
            }
        }
    }
}
