//! What becomes of an answer: whether it may be kept and for how long, which variant it is, and what is stored of it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, DATE, SET_COOKIE};
use http::{HeaderMap, HeaderName, StatusCode};

use super::job::{FillTask, Head, Variant};
use crate::cache::{Begun, variant_key};
use crate::clock::Now;
use crate::config::Ttl;
use crate::policy::ranges::ContentRange;
use crate::policy::storable::{Exchange, StoreRules};
use crate::policy::{Freshness, Reason, Storable, date, storable, vary};
use crate::proxy::exceptions::{Answer, rule};
use crate::proxy::origin_request::SAFE;
use crate::proxy::shared::Inner;
use crate::stored::{Selectors, StoredResponse};

impl<S: Inner> FillTask<S> {
    /// Whether the answer may be kept, and for how long.
    pub(super) fn judge(
        &self,
        head: &Head,
        size: Option<u64>,
        content: Option<&[u8]>,
    ) -> Result<Storable, Reason> {
        let job = &self.job;
        if job.generation.as_ref().is_some_and(|generation| !generation.is_current()) {
            // Who it was asked for may be somebody else by now.
            return Err(Reason::CredentialChanged);
        }
        if head.close_delimited {
            return Err(Reason::CloseDelimited);
        }
        head.tags.as_ref().map_err(|reason| *reason)?;
        self.asked_for(head, size)?;
        let answer = Answer { status: head.status, headers: &head.headers, size, content };
        let ruled = rule(&job.caching.tier, &answer);
        if ruled.never {
            return Err(Reason::TierSaysNever);
        }
        let rules = StoreRules {
            ttl: bounded(ruled.ttl, job.max_ttl),
            status_named: ruled.status_named,
            overrides: job.caching.overrides,
            keep_set_cookie: job.caching.unsafe_store_set_cookie,
            stale_while_revalidate: job.caching.tier.stale_while_revalidate,
            stale_if_error: job.caching.tier.stale_if_error,
            ends: job.keyed.ends,
        };
        let exchange = Exchange {
            request: &job.request.headers,
            status: head.status,
            response: &head.headers,
            requested: head.requested,
            received: head.received,
            targets: &self.shared.config().target_fields,
        };
        storable(&exchange, &rules)
    }

    /// A fill for a range keeps the range, with as many bytes as it says, or the whole. What else there is (a 416) concerns
    /// those ranges only.
    fn asked_for(&self, head: &Head, size: Option<u64>) -> Result<(), Reason> {
        if head.status == StatusCode::PARTIAL_CONTENT {
            let says = ContentRange::of(&head.headers).ok_or(Reason::Partial)?.length();
            let uneven = self.job.caching.unsafe_uneven_parts;
            let fits = size.is_none_or(|size| size == says || uneven && (1..says).contains(&size));
            return if fits { Ok(()) } else { Err(Reason::Partial) };
        }
        let whole = self.job.span.is_none() || head.status == StatusCode::OK;
        if whole { Ok(()) } else { Err(Reason::StatusNotStorable) }
    }

    /// Where the route overrides `Set-Cookie`, nobody gets it.
    pub(super) fn strip_set_cookie(&self, headers: &mut HeaderMap) {
        let caching = &self.job.caching;
        if caching.overrides.set_cookie && !caching.unsafe_store_set_cookie {
            headers.remove(SET_COOKIE);
        }
    }

    pub(super) fn selectors(&self, head: &Head) -> Selectors {
        self.job.keyed.coverage().selectors(head.tags.clone().unwrap_or_default())
    }

    pub(super) fn stored(
        &self,
        begun: Begun,
        head: &Head,
        freshness: Freshness,
        body: Bytes,
    ) -> StoredResponse {
        let selectors = self.selectors(head);
        let wall = u64::try_from(head.received.wall.as_millis()).unwrap_or(u64::MAX);
        let mut stored = StoredResponse::new(
            head.status,
            &head.headers,
            body,
            freshness,
            begun.at,
            begun.ticket,
            selectors,
            wall,
        );
        stored.since = begun.since;
        stored
    }

    /// The fields that tell variants of this answer apart, and the key of the one that was fetched.
    pub(super) fn variant(&self, answer: &HeaderMap) -> Result<Option<Variant>, Reason> {
        let job = &self.job;
        let mut names = vary::selecting_fields(answer)?;
        if job.caching.tier.ttl != Ttl::Origin {
            // The other fields are in the key, or did not reach the origin.
            names.retain(|name| SAFE.contains(name));
            if names.is_empty() && answer.contains_key(CONTENT_ENCODING) {
                // An encoded answer fits only who accepts the encoding, whether or not the origin says so.
                names.push(http::header::ACCEPT_ENCODING);
            }
        }
        // Fields of earlier variants stay: an origin that names now one, now another, varies by both. One that names them
        // only now and then (an encoded answer has `Vary`, the plain one beside it has none) varies all the same.
        if let Some(known) =
            self.shared.cache.variants(job.caching.tier.store, &job.keyed.key, self.shared.now())
        {
            let more = known.fields.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>();
            if names.len() + more.len() <= vary::MAX_FIELDS {
                names.extend(more);
                names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            }
        }
        if names.is_empty() {
            return Ok(None);
        }
        let key = variant_key(&job.keyed.key, &names, &job.request.headers).ok_or(Reason::KeyTooLong)?;
        Ok(Some((names, key)))
    }
}

/// RFC 9110 section 6.6.1: a recipient with a clock records when an answer without a date was received.
pub(super) fn dated(headers: &mut HeaderMap, received: Now) {
    if !headers.contains_key(DATE)
        && let Some(date) = date::value(received)
    {
        headers.insert(DATE, date);
    }
}

/// Takes fields out, with all their lines.
pub(super) fn take(headers: &mut HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut taken = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            taken.append(name.clone(), value.clone());
        }
        headers.remove(name);
    }
    taken
}

/// A client may shorten the lifetime, never lengthen it.
fn bounded(ttl: Ttl, max: Option<Duration>) -> Ttl {
    match (ttl, max) {
        (Ttl::Fixed(ttl), Some(max)) => Ttl::Fixed(ttl.min(max)),
        (Ttl::UntilPurged, Some(max)) => Ttl::Fixed(max),
        (ttl, _) => ttl,
    }
}
