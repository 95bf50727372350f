//! The last step: an answer from a stored response, whole, a part of it, or 304.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::verdict::Verdict;
use super::{head, ranged};
use crate::clock::Now;
use crate::http::{Body, Present};
use crate::policy::Freshness;
use crate::policy::ranges::{Asked, Cut};
use crate::policy::validation::{self, Validators};
use crate::stored::StoredResponse;

/// Answers from a stored response: whole, without content to a HEAD, or 304 where the request's condition says so; then the
/// range that was asked for (RFC 9110 section 13.2.2).
pub(super) fn from_stored(
    method: &Method,
    request: &HeaderMap,
    present: Present,
    asked: Asked,
    (stored, freshness): (&StoredResponse, &Freshness),
    verdict: &Verdict,
    now: Now,
) -> Response<Body> {
    let age = freshness.age(now).as_secs();
    let by_age = freshness.remaining(now).map(|left| seconds(left, freshness, now));
    let by_purge = verdict.stale_since.map(|since| -whole_seconds(now.mono.saturating_sub(since)));
    let ttl = by_age.into_iter().chain(by_purge).min();
    let mut headers = head::of_hit(stored, age, ttl, verdict);
    let mut response = Response::new(Body::empty());
    if present.has(Present::CONDITION) && is_unchanged(request, stored.status, |name| headers.get(name), now)
    {
        *response.headers_mut() = headers;
        unchanged(&mut response);
        return response;
    }
    if let Some(cut) = cut_from(asked, request, stored, &headers, now) {
        let (status, at) = ranged::head(&cut, &mut headers);
        *response.status_mut() = status;
        *response.body_mut() = Body::full(ranged::slice(&stored.body, &at));
    } else {
        *response.status_mut() = stored.status;
        if *method != Method::HEAD {
            *response.body_mut() = Body::full(stored.body.clone());
        }
    }
    *response.headers_mut() = headers;
    response
}

/// Whether the request's condition says that the client has this response already (RFC 9110 section 13.2.2): only of a 200
/// or a part of one.
pub(super) fn is_unchanged<'a>(
    request: &HeaderMap,
    status: StatusCode,
    field: impl Fn(&HeaderName) -> Option<&'a HeaderValue>,
    now: Now,
) -> bool {
    let conditional = request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE);
    let sound = matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    conditional && sound && validation::not_modified(request, Validators::of(field), now)
}

/// Whether a stored response meets a request's `If-Match` or `If-Unmodified-Since`: only a 200 does.
pub(super) fn meets(request: &HeaderMap, stored: &StoredResponse, now: Now) -> bool {
    let fields = stored.header_map();
    let validators = Validators::of(|name| fields.get(name));
    stored.status == StatusCode::OK && validation::is_met(request, validators, now)
}

/// Makes a 304 of a 200: what describes the content is left out (RFC 9110 section 15.4.5).
pub(super) fn unchanged(response: &mut Response<Body>) {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().remove(CONTENT_RANGE);
}

fn cut_from(
    asked: Asked,
    request: &HeaderMap,
    stored: &StoredResponse,
    fields: &HeaderMap,
    now: Now,
) -> Option<Cut> {
    matches!(asked, Asked::One(_))
        .then(|| ranged::cut(asked, request, ranged::extent(stored), |name| fields.get(name), now))?
}

/// The remaining lifetime in seconds, negative once stale (RFC 9211 section 2.4).
fn seconds(left: std::time::Duration, freshness: &Freshness, now: Now) -> i64 {
    if !left.is_zero() {
        return whole_seconds(left);
    }
    freshness.staleness(now).map_or(0, |stale| -whole_seconds(stale))
}

fn whole_seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
