//! A second copy of a request that may be sent twice (RFC 9110 section 9.2.2). It is made for every such request on a kept
//! connection and hardly ever needed, so its fields lie in one piece of memory: a map of fields would be the dearest part.
//!
//! Keeps: what comes out is the request that went in, field by field and in the same order, or nothing.

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body::Body as _;

use crate::http::Body;

/// The copy of a request without a body.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    /// Of each field the length of its name and that of its value, then both.
    fields: Vec<u8>,
}

/// In the length of a value: it is never to be put into a table of HTTP/2's (RFC 7541 section 7.1.3).
const SENSITIVE: u32 = 1 << 31;
/// What a field takes, more or less.
const TYPICAL: usize = 48;

impl Spare {
    /// A copy, where the request may be sent twice.
    pub(super) fn of(request: &Request<Body>) -> Option<Self> {
        if !(request.method().is_idempotent() && request.body().is_end_stream()) {
            return None;
        }
        let headers = request.headers();
        let mut fields = Vec::with_capacity(headers.len() * TYPICAL);
        for (name, value) in headers {
            let (name, length) = (name.as_str().as_bytes(), u32::try_from(value.len()).ok()?);
            let mark = if value.is_sensitive() { SENSITIVE } else { 0 };
            let lengths = u64::from(u32::try_from(name.len()).ok()?) << 32 | u64::from(length | mark);
            fields.extend_from_slice(&lengths.to_be_bytes());
            fields.extend_from_slice(name);
            fields.extend_from_slice(value.as_bytes());
        }
        Some(Self { method: request.method().clone(), uri: request.uri().clone(), fields })
    }

    /// The request again.
    pub(super) fn request(self) -> Option<Request<Body>> {
        let mut request = Request::new(Body::empty());
        let mut rest = self.fields.as_slice();
        while let Some((name, after)) = rest.split_first_chunk() {
            let (name_length, after_name) = (u32::from_be_bytes(*name), after);
            let (value_length, text) = after_name.split_first_chunk()?;
            let value_length = u32::from_be_bytes(*value_length);
            let (name, text) = text.split_at_checked(usize::try_from(name_length).ok()?)?;
            let (value, after) = text.split_at_checked(usize::try_from(value_length & !SENSITIVE).ok()?)?;
            let mut value = HeaderValue::from_bytes(value).ok()?;
            value.set_sensitive(value_length & SENSITIVE != 0);
            request.headers_mut().append(HeaderName::from_bytes(name).ok()?, value);
            rest = after;
        }
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_static("/a/b?c=%20d");
        request
    }

    #[test]
    fn the_copy_is_the_request() {
        let mut request = request(Method::GET, Body::empty());
        let fields: [(_, &[u8]); 5] = [
            ("host", b"a.example"),
            ("x-empty", b""),
            ("cookie", b"a=1"),
            ("cookie", b"b=\xff"),
            ("x-own", b"1\t2"),
        ];
        for (name, value) in fields {
            request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
        }
        request.headers_mut().get_mut("host").unwrap().set_sensitive(true);
        let again = Spare::of(&request).unwrap().request().unwrap();
        assert_eq!((again.method(), again.uri()), (request.method(), request.uri()));
        assert_eq!(again.headers(), request.headers());
        let sensitive = |request: &Request<Body>| -> Vec<bool> {
            request.headers().values().map(HeaderValue::is_sensitive).collect()
        };
        assert_eq!(sensitive(&again), sensitive(&request));
        assert!(sensitive(&again).contains(&true));
    }

    #[test]
    fn rfc9110_9_2_2_only_what_may_be_sent_twice_is_copied() {
        assert!(Spare::of(&request(Method::DELETE, Body::empty())).is_some());
        assert!(Spare::of(&request(Method::POST, Body::empty())).is_none());
        assert!(Spare::of(&request(Method::PUT, Body::full("x"))).is_none());
    }
}
