//! How a request was answered: for the response's fields (`Cache-Status` of RFC 9211, `X-Cache`, `Via`) and for the log.

use http::header::VIA;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::key::CacheKey;
use crate::policy::Reason;

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
    /// The level that several Larders share: this request brought it from there, or waited for another one that did.
    Redis,
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
            Self::Redis => "redis",
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
    /// Whether purges that the answer brought about are in force on this node only, and others will hear of them later.
    pub pending: bool,
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
            pending: false,
            stale_since: None,
        }
    }

    /// The numbers of what a hit's fields say of the verdict, where they say no more than that and that it came from memory.
    pub(super) fn plain(&self) -> Option<(u8, u8)> {
        let more = self.also.is_some()
            || self.stored
            || self.collapsed
            || self.show_key
            || self.pending
            || self.forwarded.is_some()
            || self.source != Source::Memory;
        (!more).then_some((self.reason as u8, self.x_cache as u8))
    }

    /// `Cache-Status` as RFC 9211 has it.
    fn cache_status(&self, ttl: Option<i64>) -> HeaderValue {
        let mut text = String::with_capacity(96);
        text.push_str("Larder");
        match self.source {
            Source::Memory | Source::Redis => text.push_str("; hit"),
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
        if matches!(self.source, Source::Memory | Source::Redis) {
            push(&mut text, "_", self.source.name());
        }
        if self.pending {
            text.push_str("_purge-pending");
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

    #[test]
    fn d6_whatever_is_stored_says_from_which_level_it_came() {
        let detail = |reason, also, source| {
            let verdict = Verdict { also, ..Verdict::new(XCache::Hit, reason, source) };
            status(&verdict).strip_prefix("Larder; hit; detail=").unwrap().to_owned()
        };
        for (reason, said) in [
            (Reason::Fresh, "fresh"),
            (Reason::StaleWhileRevalidate, "stale-while-revalidate"),
            (Reason::StaleIfError, "stale-if-error"),
            (Reason::MaxStale, "max-stale"),
        ] {
            assert_eq!(detail(reason, None, Source::Memory), format!("{said}_memory"));
            assert_eq!(detail(reason, None, Source::Redis), format!("{said}_redis"));
        }
        assert_eq!(detail(Reason::Fresh, Some(Reason::BustBudget), Source::Redis), "fresh_bust-budget_redis");
    }

    #[test]
    fn d6_only_what_memory_gave_shares_a_rendered_head() {
        let plain = |source| Verdict::new(XCache::Hit, Reason::Fresh, source).plain();
        assert!(plain(Source::Memory).is_some());
        assert_eq!((plain(Source::Redis), plain(Source::Origin), plain(Source::Larder)), (None, None, None));
    }
}
