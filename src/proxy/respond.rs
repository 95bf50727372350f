//! The last step: an answer with `Cache-Status` (RFC 9211), `X-Cache`, `Age` and `Via`.

use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, IF_MODIFIED_SINCE, IF_NONE_MATCH, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::ranged;
use crate::clock::Now;
use crate::http::Body;
use crate::key::CacheKey;
use crate::policy::ranges::{Asked, Cut};
use crate::policy::validation::{self, Validators};
use crate::policy::{Freshness, Reason};
use crate::stored::StoredResponse;

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The one word of `X-Cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XCache {
    /// The origin was not asked, and the answer is fresh.
    Hit,
    /// The origin was asked for a whole answer.
    Miss,
    /// A stale answer.
    Stale,
    /// The origin said that the stored answer still holds, with 304 or by its answer to HEAD.
    Revalidated,
    /// A fresh answer was asked for.
    Refresh,
    /// Neither read nor stored.
    Bypass,
}

impl XCache {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Stale => "STALE",
            Self::Revalidated => "REVALIDATED",
            Self::Refresh => "REFRESH",
            Self::Bypass => "BYPASS",
        }
    }
}

/// Where the answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The first level.
    Memory,
    /// The application.
    Origin,
    /// Larder itself: a refusal, an error, a receipt.
    Larder,
}

impl Source {
    /// The word in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Origin => "origin",
            Self::Larder => "larder",
        }
    }
}

/// How a request was answered: for the response's fields and for the log.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The word of `X-Cache`.
    pub x_cache: XCache,
    /// Why.
    pub reason: Reason,
    /// What was asked for in vain, besides.
    pub also: Option<Reason>,
    /// Where from.
    pub source: Source,
    /// Whether the answer is being stored.
    pub stored: bool,
    /// Whether it came from the fill of another request.
    pub collapsed: bool,
    /// The status of the origin, where it was asked.
    pub forwarded: Option<StatusCode>,
    /// The key, where the request has one.
    pub key: Option<CacheKey>,
    /// Whether the client may see the key.
    pub show_key: bool,
    /// Since when a stored response is stale by a soft purge, on the monotonic clock.
    pub stale_since: Option<std::time::Duration>,
}

impl Verdict {
    /// A verdict without anything special.
    pub fn new(x_cache: XCache, reason: Reason, source: Source) -> Self {
        Self {
            x_cache,
            reason,
            also: None,
            source,
            stored: false,
            collapsed: false,
            forwarded: None,
            key: None,
            show_key: false,
            stale_since: None,
        }
    }

    /// `Cache-Status` as RFC 9211 has it.
    fn cache_status(&self, ttl: Option<i64>) -> HeaderValue {
        let mut text = String::with_capacity(96);
        text.push_str("Larder");
        match self.source {
            Source::Memory => text.push_str("; hit"),
            // What Larder answered by itself was neither a hit nor forwarded.
            Source::Larder if self.reason != Reason::OriginFailed => {}
            Source::Origin | Source::Larder => push(&mut text, "; fwd=", self.fwd()),
        }
        if let Some(status) = self.forwarded {
            push(&mut text, "; fwd-status=", status.as_str());
        }
        if let Some(ttl) = ttl {
            push(&mut text, "; ttl=", &ttl.to_string());
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(key) = self.key.as_ref().filter(|_| self.show_key) {
            push(&mut text, "; key=", &quoted(&key.describe()));
        }
        push(&mut text, "; detail=", self.reason.name());
        if let Some(also) = self.also {
            push(&mut text, "_", also.name());
        }
        if self.source == Source::Memory {
            text.push_str("_memory");
        }
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Larder"))
    }

    /// Why the request went forward (RFC 9211 section 2.2).
    fn fwd(&self) -> &'static str {
        match self.reason {
            Reason::Absent | Reason::Purged => "uri-miss",
            Reason::VaryMiss => "vary-miss",
            Reason::PartStored => "partial",
            Reason::Expired | Reason::SoftPurged | Reason::NoCacheStored => "stale",
            Reason::Validated | Reason::HeadUpdated | Reason::HeadChanged | Reason::HeadAnswer => "stale",
            Reason::Method | Reason::Write => "method",
            Reason::Bust
            | Reason::ClientRefresh
            | Reason::ClientTtl
            | Reason::RequestNoCache
            | Reason::RequestMaxAge
            | Reason::RequestNoStore
            | Reason::ClientBypass => "request",
            _ if self.x_cache == XCache::Miss => "miss",
            _ => "bypass",
        }
    }

    /// Puts the verdict into the fields of a response.
    pub fn write(&self, headers: &mut HeaderMap, ttl: Option<i64>) {
        headers.insert(X_CACHE, HeaderValue::from_static(self.x_cache.name()));
        // An application behind a cache of its own may have sent the field: ours comes last (RFC 9211 section 2).
        headers.append(CACHE_STATUS, self.cache_status(ttl));
        headers.append(VIA, HeaderValue::from_static("1.1 larder"));
    }
}

/// Without the machinery of formatting, which costs as much as all the rest of the field.
fn push(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str(value);
}

/// A quoted string of a structured field (RFC 8941 section 3.3.3); other characters are left out.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars().filter(|c| (' '..='~').contains(c)) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Answers from a stored response: whole, without content to a HEAD, or 304 where the request's condition says so; then the
/// range that was asked for (RFC 9110 section 13.2.2).
pub(super) fn from_stored(
    method: &Method,
    request: &HeaderMap,
    asked: Asked,
    stored: &StoredResponse,
    verdict: &Verdict,
    now: Now,
) -> Response<Body> {
    let mut headers = stored.header_map();
    let freshness = stored.freshness();
    headers.insert(AGE, HeaderValue::from(freshness.age(now).as_secs()));
    let by_age = freshness.remaining(now).map(|left| seconds(left, &freshness, now));
    let by_purge = verdict.stale_since.map(|since| -whole_seconds(now.mono.saturating_sub(since)));
    let ttl = by_age.into_iter().chain(by_purge).min();
    verdict.write(&mut headers, ttl);
    let mut response = Response::new(Body::empty());
    if is_unchanged(request, stored.status, |name| headers.get(name), now) {
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
        if stored.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(stored.body.len()));
        }
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
    freshness.staleness(now).map_or(whole_seconds(left), |stale| -whole_seconds(stale))
}

fn whole_seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(verdict: &Verdict) -> String {
        verdict.cache_status(None).to_str().unwrap().to_owned()
    }

    #[test]
    fn rfc9211_2_2_only_what_went_to_the_origin_is_said_to_be_forwarded() {
        let verdict = |x_cache, reason, source| status(&Verdict::new(x_cache, reason, source));
        let refused = verdict(XCache::Bypass, Reason::Refused, Source::Larder);
        assert_eq!(refused, "Larder; detail=refused");
        let only = verdict(XCache::Miss, Reason::OnlyIfCached, Source::Larder);
        assert_eq!(only, "Larder; detail=only-if-cached");
        let failed = verdict(XCache::Miss, Reason::OriginFailed, Source::Larder);
        assert_eq!(failed, "Larder; fwd=miss; detail=origin-failed");
        let hit = verdict(XCache::Hit, Reason::Fresh, Source::Memory);
        assert_eq!(hit, "Larder; hit; detail=fresh_memory");
    }
}
