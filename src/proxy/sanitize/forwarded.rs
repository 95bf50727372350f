//! The forwarded fields: what a trusted proxy said of the client, and what Larder says to the origin
//! (RFC 7239, `X-Forwarded-*`, RFC 9110 section 7.6.3 for `Via`).
//!
//! Keeps: no text of a client's reaches the origin in these fields. Each hop is read as an address and written anew;
//! what is no address is written as `unknown`. `X-Forwarded-Host` and `Host` are the authority that was keyed.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use ipnet::IpNet;

use super::Sanitized;
use crate::http::fields;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What applications read of these families that is not set in every request, and that must not contradict what is.
static SUPERSEDED: [HeaderName; 10] = [
    X_REAL_IP,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-protocol"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-url-scheme"),
    HeaderName::from_static("x-original-forwarded-for"),
];

/// More hops than this are not read: the ones nearest to Larder count.
const MAX_HOPS: usize = 16;

/// One hop and its host take no more bytes than this.
const TYPICAL: usize = 96;

/// Sets the fields that tell the origin of the client, the scheme and the host. Call it after [`super::sanitize`], and
/// only when the request goes to an origin for this one client.
pub fn forwarded(parts: &mut Parts, about: &Sanitized) {
    let mut hops = if about.trusted { hops(&parts.headers) } else { Vec::new() };
    hops.push(about.peer);
    set(parts, about, &hops);
    if let Some(client) = about.client {
        let mut text = String::with_capacity(TYPICAL);
        push(&mut text, client);
        insert(&mut parts.headers, X_REAL_IP, &text);
    }
}

/// As [`forwarded`], without a word about the client: for an answer that others will get too.
pub fn forwarded_shared(parts: &mut Parts, about: &Sanitized) {
    set(parts, about, &[]);
}

fn set(parts: &mut Parts, about: &Sanitized, hops: &[Option<IpAddr>]) {
    let headers = &mut parts.headers;
    fields::remove_all(headers, &SUPERSEDED);
    if !hops.is_empty() {
        insert(headers, X_FORWARDED_FOR, &list_of_addresses(hops));
    }
    insert(headers, header::FORWARDED, &list_of_elements(hops, about));
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(about.scheme()));
    if !about.authority().is_empty() {
        headers.insert(X_FORWARDED_HOST, about.authority.to_value());
        headers.insert(header::HOST, about.authority.to_value());
    }
    let received = match parts.version {
        Version::HTTP_10 => "1.0 larder",
        Version::HTTP_2 => "2 larder",
        _ => "1.1 larder",
    };
    headers.append(header::VIA, HeaderValue::from_static(received));
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Writes an address. IPv4 goes digit by digit: the formatter would cost more than all else that is written here.
fn push(text: &mut String, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        // Writing to a String cannot fail.
        let _ = write!(text, "{ip}");
        return;
    };
    for (place, octet) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for power in [100, 10, 1] {
            if octet >= power || power == 1 {
                text.push(char::from(b'0' + octet / power % 10));
            }
        }
    }
}

fn list_of_addresses(hops: &[Option<IpAddr>]) -> String {
    let mut text = String::with_capacity(TYPICAL);
    for hop in hops {
        if !text.is_empty() {
            text.push_str(", ");
        }
        match hop {
            Some(ip) => push(&mut text, *ip),
            None => text.push_str("unknown"),
        }
    }
    text
}

fn list_of_elements(hops: &[Option<IpAddr>], about: &Sanitized) -> String {
    let mut text = String::with_capacity(TYPICAL);
    for hop in hops {
        text.push_str(if text.is_empty() { "for=" } else { ", for=" });
        match hop {
            Some(IpAddr::V6(ip)) => {
                text.push_str("\"[");
                push(&mut text, IpAddr::V6(*ip));
                text.push_str("]\"");
            }
            Some(ip) => push(&mut text, *ip),
            None => text.push_str("unknown"),
        }
    }
    text.push_str(if text.is_empty() { "proto=" } else { ";proto=" });
    text.push_str(about.scheme());
    if !about.authority().is_empty() {
        text.push_str(";host=\"");
        text.push_str(about.authority());
        text.push('"');
    }
    text
}

/// The client's address as a trusted peer tells it: the hop nearest to Larder that is not trusted itself.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut nearest = Some(peer);
    for hop in hops(headers).into_iter().rev() {
        nearest = hop;
        if !hop.is_some_and(|ip| super::is_trusted(ip, trusted)) {
            break;
        }
    }
    nearest
}

/// Whether the client spoke https, as the trusted peer tells it.
pub(super) fn proto(headers: &HeaderMap) -> Option<bool> {
    let plain = fields::list(headers, X_FORWARDED_PROTO).last();
    let found = match plain {
        Some(proto) => proto,
        None => parameter(fields::list(headers, header::FORWARDED).last()?, b"proto")?,
    };
    if found.eq_ignore_ascii_case(b"https") {
        return Some(true);
    }
    found.eq_ignore_ascii_case(b"http").then_some(false)
}

/// The hops that a trusted peer lists, the farthest first: `X-Forwarded-For`, or `Forwarded` where that is missing.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let mut hops: Vec<_> = if headers.contains_key(X_FORWARDED_FOR) {
        fields::list(headers, X_FORWARDED_FOR).map(address).collect()
    } else {
        let elements = fields::list(headers, header::FORWARDED);
        elements.map(|element| parameter(element, b"for").and_then(address)).collect()
    };
    if hops.len() > MAX_HOPS {
        hops.drain(..hops.len() - MAX_HOPS);
    }
    hops
}

/// The value of a parameter of a `Forwarded` element, without its quotes.
fn parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    element.split(|&b| b == b';').find_map(|pair| {
        let equals = pair.iter().position(|&b| b == b'=')?;
        let (key, value) = (pair.get(..equals)?, pair.get(equals + 1..)?.trim_ascii());
        let bare = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        key.trim_ascii().eq_ignore_ascii_case(name).then_some(bare)
    })
}

/// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => text.split_once(':')?.0,
    };
    host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}
