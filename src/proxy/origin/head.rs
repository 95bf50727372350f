//! The heads of an exchange: what goes to the origin, and whether what came back has one framing.
//!
//! Keeps: hop-by-hop fields stop here in both directions, the request's framing fields are written anew from its body,
//! the path's bytes are unchanged, and an answer with two readings of its length is refused (RFC 9112 section 6.3).

use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body::Body as _;

use crate::config::Origin;
use crate::http::{Body, Interim, fields};
use crate::policy::surrogate::FOR_SURROGATES;
use crate::proxy::tags;

/// In the extensions of a response: its body ended with the connection (RFC 9112 section 6.3, rule 8), so nobody can
/// say whether it was whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseDelimited;

/// What a request's connection-specific fields asked for, apart from its other fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    /// The protocols of an upgrade.
    pub(super) upgrade: Option<HeaderValue>,
    /// Whether trailers are welcome (`TE: trailers`).
    pub(super) trailers: bool,
}

/// Takes out of the head what concerns only the client's connection. The error names a field that `Connection` must
/// not name.
pub(super) fn take_wishes(headers: &mut HeaderMap) -> Result<Wishes, &'static str> {
    if !headers.keys().any(|name| fields::is_connection_specific(name) || *name == header::EXPECT) {
        return Ok(Wishes::default());
    }
    let upgrade = fields::upgrade(headers).cloned();
    let trailers = fields::has_member(headers, header::TE, "trailers");
    fields::strip_connection_specific(headers)?;
    // The server has answered the expectation when it began to read the body.
    headers.remove(header::EXPECT);
    Ok(Wishes { upgrade, trailers })
}

/// The names that the request announces for its trailer section.
pub(super) fn announced_trailers(headers: &HeaderMap) -> Vec<HeaderName> {
    let names = fields::list(headers, header::TRAILER).filter_map(|n| HeaderName::from_bytes(n).ok());
    names.filter(fields::allowed_in_trailers).collect()
}

/// Takes out of a request what [`address`] has put in, so that it can be addressed anew: the other protocol frames otherwise.
pub(super) fn forget_framing(headers: &mut HeaderMap) {
    for name in [header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE, header::TE] {
        headers.remove(name);
    }
}

/// Addresses a request for one protocol. What frames it and concerns its connection is none of it.
pub(super) fn address(request: &mut Request<Body>, origin: &Origin, wishes: &Wishes, http2: bool) {
    let host = host(request, origin);
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    frame(request, wishes, http2);
    let headers = request.headers_mut();
    if http2 {
        headers.remove(header::HOST);
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = absolute(&host, path, origin);
    } else {
        headers.insert(header::HOST, host);
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = Uri::from(path);
    }
}

fn host(request: &Request<Body>, origin: &Origin) -> HeaderValue {
    let own = || HeaderValue::from_str(&origin.authority).unwrap_or_else(|_| HeaderValue::from_static(""));
    if !origin.preserve_host {
        return own();
    }
    let given = request.headers().get(header::HOST).cloned();
    let target = || request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    given.or_else(target).unwrap_or_else(own)
}

fn absolute(host: &HeaderValue, path: PathAndQuery, origin: &Origin) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if origin.https { Scheme::HTTPS } else { Scheme::HTTP });
    let authority = Authority::try_from(host.as_bytes());
    parts.authority = authority.or_else(|_| Authority::try_from(origin.authority.as_str())).ok();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or_default()
}

/// Writes the fields that frame the message and those that concern the connection to the origin.
fn frame(request: &mut Request<Body>, wishes: &Wishes, http2: bool) {
    let (empty, exact) = (request.body().is_end_stream(), request.body().size_hint().exact());
    let takes_content = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let headers = request.headers_mut();
    let said_length = headers.remove(header::CONTENT_LENGTH).is_some();
    let chunked = !empty && (exact.is_none() || headers.contains_key(header::TRAILER));
    if empty && (said_length || takes_content) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    } else if chunked && !http2 {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if let Some(length) = exact.filter(|_| !empty && !chunked) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if wishes.trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let connection = match (&wishes.upgrade, wishes.trailers) {
        _ if http2 => return,
        (Some(_), true) => "upgrade, te",
        (Some(_), false) => "upgrade",
        (None, true) => "te",
        (None, false) => return,
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
    if let Some(protocols) = &wishes.upgrade {
        headers.insert(header::UPGRADE, protocols.clone());
    }
}

/// Has the non-final responses to a request passed on to its client (RFC 9110 section 15.2), without the fields that are
/// meant for Larder: in a response that is not stored and does not say how the request ended, they mean nothing.
pub(super) fn pass_on_interim(request: &mut Request<Body>, client: Interim) {
    hyper::ext::on_informational(request, move |response| {
        let mut fields = response.headers().clone();
        tags::take(&mut fields);
        FOR_SURROGATES.iter().for_each(|name| drop(fields.remove(name)));
        client.send(response.status(), fields);
    });
}

/// Checks the framing of an answer and takes the connection-specific fields out of it. The error is the end of a
/// sentence that begins with the origin's name.
///
/// With `to_close` an answer whose last transfer coding is not `chunked` is read until its connection ends (RFC 9112
/// section 6.3, rule 4), and what ends with its connection is taken for whole.
///
/// Gives after how long the origin closes a connection that is not used, where it says so.
pub(super) fn accept(
    head: &mut http::response::Parts,
    method: &Method,
    to_close: bool,
) -> Result<Option<Duration>, &'static str> {
    let headers = &mut head.headers;
    let special = headers.keys().any(fields::is_connection_specific);
    let keep_alive = if special { keep_alive(headers) } else { None };
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() || length.is_some_and(|l| !l.as_bytes().iter().all(u8::is_ascii_digit)) {
        return Err("answered with more than one length");
    }
    let has_length = length.is_some();
    let mut codings =
        special.then(|| headers.get_all(header::TRANSFER_ENCODING).iter()).into_iter().flatten();
    let coding = codings.next();
    let known = |c: &HeaderValue| {
        // What ends in `chunked` is read in chunks: another coding below it would be taken for content.
        let chunked = c.as_bytes().eq_ignore_ascii_case(b"chunked");
        chunked || to_close && !fields::members(c.as_bytes()).any(|m| m.eq_ignore_ascii_case(b"chunked"))
    };
    if codings.next().is_some() || coding.is_some_and(|c| !known(c)) {
        return Err("answered in a transfer coding other than `chunked`");
    }
    let has_coding = coding.is_some();
    if has_length && has_coding {
        return Err("answered with both a length and a transfer coding");
    }
    let bodyless =
        method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodyless && !has_length && !has_coding && !to_close && head.version < Version::HTTP_2 {
        head.extensions.insert(CloseDelimited);
    }
    if special {
        fields::strip_connection_specific(headers)
            .map_err(|_| "names fields in `Connection` that frame its answer")?;
    }
    head.version = Version::HTTP_11;
    Ok(keep_alive)
}

/// After how long the origin closes a connection that is not used (`Keep-Alive: timeout=5`), where it says so. Node does.
fn keep_alive(answer: &HeaderMap) -> Option<Duration> {
    let said = fields::list(answer, HeaderName::from_static("keep-alive"));
    let mut seconds = said.filter_map(|parameter| {
        let value = parameter.strip_prefix(b"timeout=")?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    });
    seconds.next().map(Duration::from_secs)
}
