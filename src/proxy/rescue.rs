//! Errors become responses here, and nowhere else.

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};

use super::verdict::{Source, Verdict, XCache};
use crate::error::{Error, ErrorKind, Side};
use crate::http::Body;
use crate::policy::Reason;

/// The answer to a request that failed: a status, and a sentence that says what and on whose side.
pub fn rescue(error: &Error) -> (Response<Body>, Verdict) {
    let kind = error.kind();
    let side = match kind.side() {
        Side::Client => "the request was refused",
        Side::Origin => "the application behind Larder did not answer",
        Side::Store => "what Larder keeps its data in cannot be reached",
        Side::Internal => "Larder itself failed",
    };
    let text = format!("{} {}\n{side}: {}\n", kind.status().as_u16(), kind.name(), error.detail());
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = kind.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match kind {
        ErrorKind::Unauthorized => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        ErrorKind::PurgeNotLogged => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        ErrorKind::MethodNotAllowed => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        // What has two readings may have more behind it: the connection ends (RFC 9112 section 11.2).
        ErrorKind::BadRequest => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    let reason = if kind.side() == Side::Origin { Reason::OriginFailed } else { Reason::Refused };
    let mut verdict = Verdict::new(XCache::Bypass, reason, Source::Larder);
    if kind.side() == Side::Origin {
        verdict.x_cache = XCache::Miss;
    }
    (response, verdict)
}
