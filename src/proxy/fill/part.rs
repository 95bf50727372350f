//! Parts in a fill: the stored one looked at again, the rest of it asked for, and what becomes of a new one
//! (RFC 9111 sections 3.3 and 3.4).
//!
//! Keeps: two parts are one only where the same strong entity tag says so, and where the same purges cover both; what comes of
//! them began when the older did; an answer that continues nothing is never taken for the rest.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as HttpBody;

use super::Again;
use super::job::{FillTask, Head, Variant};
use super::judge::take;
use crate::cache::{Begun, Outcome};
use crate::clock::Now;
use crate::config::Ttl;
use crate::http::Body;
use crate::key::CacheKey;
use crate::policy::ranges::{self, ContentRange, Span};
use crate::policy::{Validity, validation};
use crate::proxy::ranged::{Continued, answers, extent};
use crate::proxy::receive::content_length;
use crate::proxy::shared::Inner;
use crate::stored::StoredResponse;

impl<S: Inner> FillTask<S> {
    /// Nothing whole is stored. A part may hold the range by now; or, where the whole is wanted, be its beginning.
    pub(super) fn look_at_part(&self, variant: Option<&CacheKey>, now: Now) -> Again {
        let job = &self.job;
        let Some((part, validity)) =
            self.shared.cache.part(job.caching.tier.store, &job.keyed.key, variant, now)
        else {
            return self.without_part(now);
        };
        match job.span {
            Some(span) if validity == Validity::Valid && answers(&part, span, &job.request.headers, now) => {
                self.usable(part, now).unwrap_or_else(|_| self.without_part(now))
            }
            None if self.is_beginning(&part, validity) => Again::Complete(part),
            _ => self.without_part(now),
        }
    }

    /// Nothing of this variant is of use: where the whole is wanted, others may be confirmed.
    fn without_part(&self, now: Now) -> Again {
        Again::Ask(if self.job.span.is_none() { self.with_others(None, now) } else { Vec::new() })
    }

    /// Whether the rest may be asked for: the length of the whole is known, and the part is combined with what comes. Without a
    /// strong validator it is not; but then the application may answer with a whole response all the same, and where its own
    /// fields decide, it is asked.
    fn is_beginning(&self, part: &StoredResponse, validity: Validity) -> bool {
        let strong = validation::is_strong(part.field(&ETAG).as_ref());
        let known = extent(part).is_some_and(|extent| {
            extent.range.first == 0 && extent.range.complete.is_some() && extent.is_even()
        });
        let valid = match validity {
            Validity::Valid => strong || self.job.caching.tier.ttl == Ttl::Origin,
            Validity::StaleSince(_) => strong,
            Validity::Purged => false,
        };
        known && valid
    }

    /// Asks for the rest of `part`. What continues it makes a whole response of it; what does not is asked again, whole.
    pub(super) async fn completed(mut self, begun: Begun, part: &StoredResponse) {
        let mut more = HeaderMap::with_capacity(2);
        more.insert(RANGE, ranges::value(&Span::From(part.body.len() as u64)));
        if let Some(etag) = part.field(&ETAG).filter(|etag| validation::is_strong(Some(etag))) {
            more.insert(IF_RANGE, etag.clone());
        }
        let (head, body, _) = match self.ask_with(&Method::GET, more, &[], Some(part)).await {
            Err(error) => return self.leader.answer(Outcome::Failed(error)),
            Ok(answer) => answer,
        };
        match head.status {
            StatusCode::PARTIAL_CONTENT => match self.continued(part, &head, body) {
                Some((headers, body)) => {
                    let begun = together(begun, part);
                    self.answered(begun, Head { status: StatusCode::OK, headers, ..head }, body).await;
                }
                None => self.fetched(begun, Vec::new()).await,
            },
            // Nobody asked for a range but this fill.
            StatusCode::RANGE_NOT_SATISFIABLE => self.fetched(begun, Vec::new()).await,
            _ => self.answered(begun, head, body).await,
        }
    }

    /// The whole, where the answer is all that is missing of the same representation.
    fn continued(&self, part: &StoredResponse, head: &Head, body: Body) -> Option<(HeaderMap, Body)> {
        let held = extent(part)?.range;
        let rest = ContentRange::of(&head.headers)?;
        let complete = held.complete?;
        let exact =
            rest == ContentRange { first: held.last + 1, last: complete - 1, complete: Some(complete) };
        let size = body.size_hint().exact().or_else(|| content_length(&head.headers));
        if !exact || size.is_some_and(|size| size != rest.length()) || !self.is_same(part, head) {
            return None;
        }
        let mut headers = updated(part, &head.headers);
        headers.remove(CONTENT_RANGE);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(complete));
        let whole = Continued { first: Some(part.body.clone()), rest: body };
        Some((headers, Body::wrap(whole)))
    }

    /// Whether an answer is of the same representation as a stored part (RFC 9110 section 15.3.7.3), and the same purges cover
    /// both.
    fn is_same(&self, part: &StoredResponse, head: &Head) -> bool {
        let (etag, coding) = (head.headers.get(ETAG), head.headers.get(CONTENT_ENCODING));
        // An application may give one tag to two codings, though it must not.
        let same = etag == part.field(&ETAG).as_ref()
            && coding.is_none_or(|coding| part.field(&CONTENT_ENCODING).as_ref() == Some(coding));
        validation::is_strong(etag) && same && part.selectors() == self.selectors(head).covered()
    }

    /// A part is here: combined with the stored one where the two are of one representation, it becomes visible; as a whole
    /// response, if nothing is missing.
    pub(super) fn complete_part(
        &mut self,
        begun: Begun,
        head: &Head,
        content: Bytes,
        variant: Option<Variant>,
    ) {
        let combined = self.combined(begun, head, &content, variant.as_ref());
        let (begun, mut headers, range, content) = match combined {
            Some(combined) => combined,
            None => match ContentRange::of(&head.headers).filter(|_| self.describes_itself()) {
                Some(range) => (begun, head.headers.clone(), range, content),
                None => return,
            },
        };
        let mut status = StatusCode::PARTIAL_CONTENT;
        if range.is_whole() && range.length() == content.len() as u64 {
            status = StatusCode::OK;
            headers.remove(CONTENT_RANGE);
        } else {
            headers.insert(CONTENT_RANGE, ranges::value(&range));
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        let Head { requested, received, close_delimited, ref tags, .. } = *head;
        let mut head = Head { status, headers, requested, received, close_delimited, tags: tags.clone() };
        if let Ok(allowed) = self.judge(&head, Some(content.len() as u64), Some(&content)) {
            take(&mut head.headers, &allowed.withheld);
            let stored = self.stored(begun, &head, allowed.freshness, content);
            self.commit(Arc::new(stored), variant);
        }
    }

    /// Whether a 206 tells all that describes its content: to `If-Range` it need not, for whoever asked has that already
    /// (RFC 9110 section 15.3.7), so alone it is not kept for others.
    pub(super) fn describes_itself(&self) -> bool {
        !self.job.request.headers.contains_key(IF_RANGE)
    }

    fn combined(
        &self,
        begun: Begun,
        head: &Head,
        content: &Bytes,
        variant: Option<&Variant>,
    ) -> Option<(Begun, HeaderMap, ContentRange, Bytes)> {
        let (job, now) = (&self.job, self.shared.now());
        let store = job.caching.tier.store;
        let place = variant.map(|(_, key)| key);
        let (old, validity) = self.shared.cache.part(store, &job.keyed.key, place, now)?;
        // With what is stale since a soft purge, the new part would be so too. Who wants a fresh answer wants none of the old one.
        if validity != Validity::Valid || job.whole || !self.is_same(&old, head) {
            return None;
        }
        // Only an answer to `If-Range` may leave its coding out.
        let told = self.describes_itself()
            && head.headers.get(CONTENT_ENCODING) != old.field(&CONTENT_ENCODING).as_ref();
        if told {
            return None;
        }
        let (held, new) = (extent(&old)?.range, ContentRange::of(&head.headers)?);
        let limit = self.shared.max_object(store);
        let (range, bytes) = ranges::combine((held, &old.body), (new, content), limit)?;
        let begun = together(begun, &old);
        Some((begun, updated(&old, &head.headers), range, bytes))
    }
}

/// Where what comes of a stored part and a fill began.
fn together(begun: Begun, part: &StoredResponse) -> Begun {
    Begun { at: begun.at.min(part.valid_at()), since: begun.since.min(part.since), ..begun }
}

/// The fields of a stored part with those of a newer one in their place (RFC 9111 section 3.4): a 206 to `If-Range` need not
/// tell again what describes the content (RFC 9110 section 15.3.7).
fn updated(old: &StoredResponse, new: &HeaderMap) -> HeaderMap {
    let mut headers = old.all_fields();
    // The age and the date of the older one say nothing of the newer.
    headers.remove(AGE);
    headers.remove(DATE);
    for name in new.keys() {
        headers.remove(name);
        for value in new.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    ranges::OF_THE_BYTES.iter().for_each(|name| drop(headers.remove(name)));
    headers
}
