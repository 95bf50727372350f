//! The first step of the request path: refuse what has two readings, remove what a client may not say.
//!
//! Keeps: after [`sanitize`], the request has one authority and one path, and every field that could carry an identity
//! or a URL is gone unless a trusted proxy set it. It works on HTTP/1 and HTTP/2 alike, also where Larder is a layer
//! behind somebody else's server. What only an origin needs ([`forwarded`]) is left for when a request goes to one.
//!
//! `TRACE` is refused with 405 and never passed on: it would show a script the cookies and the fields that proxies
//! add. `CONNECT` is refused with 400: Larder is a gateway (RFC 9110 section 3.7), not a tunnel to anywhere.

mod authority;
mod forwarded;
mod guard;
mod target;

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderName, Method, Version, header};
use ipnet::IpNet;

pub use authority::{Authority, host_of};
pub use forwarded::{forwarded, forwarded_shared};

use crate::config::Limits;
use crate::error::{Error, ErrorKind};
use crate::http::{Peer, Present, fields};

/// What is known of a request after its head was checked.
#[derive(Debug, Clone)]
pub struct Sanitized {
    /// Whether the client spoke https: to Larder, or to the trusted proxy in front of it. An application may answer
    /// the two differently (a redirect to https), so it belongs in the key.
    pub https: bool,
    /// Host and port in the one spelling; empty for HTTP/1.0 without `Host`.
    pub authority: Authority,
    /// The client's address: the peer's, or the one that a trusted proxy names. `None` where nobody knows.
    pub client: Option<IpAddr>,
    /// Whether the connection came from a trusted proxy.
    pub trusted: bool,
    /// Whether the request asks to leave HTTP (`Upgrade`). Such a request is passed, never looked up.
    pub upgrade: bool,
    /// Which of the fields that decide about the answer the request has.
    pub present: Present,
    peer: Option<IpAddr>,
}

impl Sanitized {
    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Host and port in the one spelling.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The host in lower case, without the port.
    pub fn host(&self) -> &str {
        self.authority.host()
    }
}

/// Checks the head of a request and removes from it what the client may not say. `peer` is the other end of its connection,
/// `trusted` are the proxies that are believed, `identity` the names of the fields that the configuration reads identities
/// from.
///
/// # Errors
/// 400 for anything with more than one reading, 405 for `TRACE`, 414 and 431 beyond the limits.
pub fn sanitize(
    parts: &mut Parts,
    peer: Option<Peer>,
    trusted: &[IpNet],
    identity: &[HeaderName],
    limits: &Limits,
) -> Result<Sanitized, Error> {
    check_method(&parts.method)?;
    check_target(parts, limits)?;
    let ip = peer.map(|p| p.ip());
    let trusted_peer = ip.is_some_and(|ip| is_trusted(ip, trusted));
    let present = check_fields(parts, trusted_peer, identity, limits)?;
    let (mut https, mut client) = (peer.is_some_and(|p| p.tls), ip);
    if trusted_peer {
        https = forwarded::proto(&parts.headers).unwrap_or(https);
        client = ip.and_then(|ip| forwarded::client(&parts.headers, ip, trusted));
    }
    let authority = one_authority(parts, https)?;
    let upgrade = parts.version == Version::HTTP_11
        && present.has(Present::UPGRADE)
        && fields::upgrade(&parts.headers).is_some();
    Ok(Sanitized { https, authority, client, trusted: trusted_peer, upgrade, present, peer: ip })
}

/// An authority in its one spelling, as requests are keyed by it.
pub(super) fn spelled(authority: &str, https: bool) -> Result<String, &'static str> {
    Authority::from_target(authority, https).map(|authority| authority.as_str().to_owned())
}

/// Whether a request can have this path.
pub(super) fn is_path(path: &str) -> Result<(), &'static str> {
    if !path.is_ascii() {
        return Err("it has bytes beyond ASCII");
    }
    target::check_path(path.as_bytes())
}

/// Whether the address belongs to a trusted proxy.
pub(super) fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&ip))
}

/// A set of bytes. Asking it costs less than comparing, where each byte of a text is looked at.
struct Bytes([bool; 256]);

impl Bytes {
    /// The visible characters of ASCII.
    const fn graphic() -> Self {
        let (mut set, mut byte) = ([false; 256], 0x21);
        while byte < 0x7f {
            set[byte] = true;
            byte += 1;
        }
        Self(set)
    }

    const fn without(mut self, bytes: &[u8]) -> Self {
        let mut at = 0;
        while at < bytes.len() {
            self.0[bytes[at] as usize] = false;
            at += 1;
        }
        self
    }

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

fn refuse(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::BadRequest, detail)
}

fn check_method(method: &Method) -> Result<(), Error> {
    match *method {
        Method::CONNECT => Err(refuse("`CONNECT` is not served: this is a gateway to its own applications")),
        Method::TRACE => Err(Error::new(ErrorKind::MethodNotAllowed, "`TRACE` is not served")),
        _ => Ok(()),
    }
}

fn check_target(parts: &Parts, limits: &Limits) -> Result<(), Error> {
    let (path, query) = (parts.uri.path(), parts.uri.query());
    if path.len() + query.map_or(0, |q| q.len() + 1) > limits.uri {
        let detail = format!("the request's target is longer than {} bytes", limits.uri);
        return Err(Error::new(ErrorKind::UriTooLong, detail));
    }
    if !(path.starts_with('/') || path == "*" && parts.method == Method::OPTIONS) {
        return Err(refuse("the request's target is no path"));
    }
    target::check_path(path.as_bytes()).map_err(refuse)?;
    query.map_or(Ok(()), |query| target::check_query(query.as_bytes())).map_err(refuse)?;
    match parts.uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(refuse("the request's scheme is neither http nor https")),
    }
}

/// One walk over the fields: their number and size, which of them decide about the answer, and those that must go.
fn check_fields(
    parts: &mut Parts,
    trusted: bool,
    identity: &[HeaderName],
    limits: &Limits,
) -> Result<Present, Error> {
    let (mut present, mut bytes, mut bad) = (Present::default(), 0, false);
    for (name, value) in &parts.headers {
        let kind = Present::of(name);
        present = present.with(kind);
        bytes += name.as_str().len() + value.len();
        // What is known here may stay, unless the configuration reads an identity from it.
        bad |= (kind.is_empty() || !identity.is_empty()) && guard::must_go(name, trusted, identity);
    }
    if parts.headers.len() > limits.header_count || bytes > limits.header_bytes {
        let detail = format!(
            "the request has more than {} header fields, or more than {} bytes of them",
            limits.header_count, limits.header_bytes
        );
        return Err(Error::new(ErrorKind::HeadersTooLarge, detail));
    }
    let headers = &mut parts.headers;
    if present.has(Present::CONNECTION) {
        fields::strip_named_by_connection(headers).map_err(|name| {
            refuse(format!("`Connection` names `{name}`, which is meant for every recipient"))
        })?;
    }
    // A field that must go is rare, so starting over after each one is cheaper than a list.
    while bad && let Some(name) = headers.keys().find(|name| guard::must_go(name, trusted, identity)).cloned()
    {
        headers.remove(name);
    }
    if present.has(Present::TRAILER) {
        keep_harmless_trailers(parts, identity);
    }
    Ok(present)
}

/// Only trailer fields that are announced go on to the origin, so the announcement is cut to what a client may say.
fn keep_harmless_trailers(parts: &mut Parts, identity: &[HeaderName]) {
    let names: Vec<&str> = fields::list(&parts.headers, header::TRAILER)
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| {
            HeaderName::try_from(*name).is_ok_and(|name| {
                fields::allowed_in_trailers(&name) && !guard::must_go(&name, false, identity)
            })
        })
        .collect();
    let kept = http::HeaderValue::try_from(names.join(", "));
    parts.headers.remove(header::TRAILER);
    if let Ok(kept) = kept
        && !kept.is_empty()
    {
        parts.headers.insert(header::TRAILER, kept);
    }
}

/// `Host` and the target's authority, which must agree where both are given (RFC 9112 section 3.2.2 lets the target
/// win; refusing leaves no second reading).
fn one_authority(parts: &Parts, https: bool) -> Result<Authority, Error> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|value| Authority::from_field(value, https)).transpose().map_err(refuse)?;
    if hosts.next().is_some() {
        return Err(refuse("the request has more than one `Host`"));
    }
    let target = parts.uri.authority().map(|a| Authority::from_target(a.as_str(), https));
    match (host, target.transpose().map_err(refuse)?) {
        (Some(host), Some(target)) if host.as_str() != target.as_str() => {
            Err(refuse("`Host` differs from the authority of the request's target"))
        }
        (Some(one), _) | (None, Some(one)) => Ok(one),
        (None, None) if parts.version == Version::HTTP_10 => Ok(Authority::none()),
        (None, None) => Err(refuse("the request has no `Host`")),
    }
}
