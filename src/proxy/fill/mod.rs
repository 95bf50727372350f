//! A fill: the exchange with the origin on behalf of everybody who waits for one key.
//!
//! It runs as a task of its own, so that it ends when it ends, whoever leaves. The order is that of the fence:
//! `begun_at` is loaded before the origin is contacted; only after it is the stored response looked at again, and only
//! then may its validator be sent.

mod ask;
mod by_head;
mod claim;
mod job;
mod judge;
mod part;
mod posted;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AGE, ETAG};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use http_body::Body as HttpBody;

use self::claim::Claim;
use self::job::{Head, Old, Strength, Variant};
use self::judge::take;
use super::receive::{content_length, receive};
use super::shared::Inner;
use crate::cache::{Begun, Kept, Lease, Lookup, Outcome, SharedBody, SharedHead};
use crate::clock::Now;
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use crate::key::CacheKey;
use crate::policy::surrogate::FOR_SURROGATES;
use crate::policy::{Decision, Freshness, Reason, Storable, Validity, decide, validation};
use crate::stored::StoredResponse;

pub(super) use self::job::{FillTask, Job, Own};
pub(super) use self::posted::Posted;

impl<S: Inner> FillTask<S> {
    /// Sees the fill through. Whatever happens, the leader's drop wakes whoever still waits.
    pub(super) async fn run(mut self) {
        self.leader.turn().await;
        let Claim { lease, brought } = self.claim().await;
        self.lease = lease;
        let begun = self.shared.cache.begin(&mut self.leader, self.job.keyed.coverage().stripe());
        let was_brought = brought.is_some();
        let old = match self.look_again(brought) {
            Again::Use(stored, variant) => return self.kept(stored, Reason::Fresh, was_brought, variant),
            Again::Ask(old) => old,
            Again::Complete(part) => return self.completed(begun, &part).await,
        };
        let own = old.first().filter(|(_, strength)| self.job.head && *strength == Strength::Any);
        if let Some((stored, _)) = own {
            let stored = stored.clone();
            return self.by_head(begun, stored).await;
        }
        self.fetched(begun, old).await;
    }

    /// Asks the origin, and sees to what it says.
    async fn fetched(mut self, begun: Begun, old: Vec<Old>) {
        match self.exchange(Method::GET, old).await {
            Err(error) => self.leader.answer(Outcome::Failed(error)),
            Ok((head, _, Some(confirmed))) => self.validated(begun, &confirmed, head).await,
            Ok((head, body, None)) => self.answered(begun, head, body).await,
        }
    }

    /// The stored response, once more: it may have come, or been purged, since the request looked. With it, or in its
    /// place, the other variants of the key (RFC 9111 section 4.3.1).
    fn look_again(&self, brought: Option<(Lookup, Option<CacheKey>)>) -> Again {
        if self.job.whole {
            return Again::Ask(Vec::new());
        }
        let now = self.shared.now();
        let job = &self.job;
        let cache = &self.shared.cache;
        let look = || cache.lookup(job.caching.tier.store, &job.keyed.key, &job.request.headers, now);
        let (found, variant) = match brought {
            // Once more: it may have been purged since it was brought.
            Some((Lookup::Found(stored, _), variant)) => {
                let validity = cache.check(&stored);
                (Lookup::Found(stored, validity), variant)
            }
            _ => look(),
        };
        let stored = match found {
            Lookup::Found(stored, Validity::Valid) => stored,
            // It can only be confirmed, and that by a validator that stands for every byte.
            Lookup::Found(stored, Validity::StaleSince(_))
                if validation::is_strong(stored.field(&ETAG).as_ref()) =>
            {
                return Again::Ask(self.with_others(Some((stored, Strength::Strong)), now));
            }
            _ => return self.look_at_part(variant.as_ref(), now),
        };
        self.usable(stored, now)
            .unwrap_or_else(|stored| Again::Ask(self.with_others(Some((stored, Strength::Any)), now)))
    }

    /// Whether a valid stored response answers those who wait; if not, it is the error.
    fn usable(&self, stored: Arc<StoredResponse>, now: Now) -> Result<Again, Arc<StoredResponse>> {
        let job = &self.job;
        let since = stored.freshness().received >= job.arrived.mono;
        let verdict = decide(&job.wishes, Some((&stored.freshness(), Validity::Valid)), now).0;
        if since && stored.freshness().staleness(now).is_none() || verdict == Decision::Serve {
            // Whoever waits may be after another variant: which one this is goes along.
            return Ok(match self.variant(&stored.header_map()) {
                Ok(variant) => Again::Use(stored, variant),
                Err(_) => Again::Ask(Vec::new()),
            });
        }
        Err(stored)
    }

    /// What the origin may confirm: the request's own variant first.
    fn with_others(&self, own: Option<Old>, now: Now) -> Vec<Old> {
        let job = &self.job;
        let mut old: Vec<Old> = own.filter(|(own, _)| own.status == StatusCode::OK).into_iter().collect();
        // A date is not looked at beside an entity tag (RFC 9110 section 13.1.3): what has nothing else goes alone.
        if old.iter().all(|(own, _)| own.field(&ETAG).is_some()) {
            let others = self.shared.cache.confirmable(
                job.caching.tier.store,
                &job.keyed.key,
                &job.request.headers,
                now,
            );
            let own = old.first().and_then(|(own, _)| own.field(&ETAG));
            let others = others.into_iter().filter(|other| other.field(&ETAG) != own);
            old.extend(others.map(|other| (other, Strength::Strong)));
        }
        old
    }

    /// A stored response answers everybody whose variant it is.
    fn kept(&self, response: Arc<StoredResponse>, how: Reason, brought: bool, variant: Option<Variant>) {
        let (vary, variant) = variant.map_or((Vec::new(), None), |(vary, key)| (vary, Some(key)));
        self.leader.answer(Outcome::Stored(Arc::new(Kept { response, how, brought, vary, variant })));
    }

    async fn answered(self, begun: Begun, head: Head, body: Body) {
        let size = body.size_hint().exact().or_else(|| content_length(&head.headers));
        match self.judge(&head, size, None) {
            Err(reason) => self.not_shared(reason, head, body),
            Ok(allowed) => self.shared(begun, head, &allowed.withheld, size, body).await,
        }
    }

    fn not_shared(mut self, reason: Reason, mut head: Head, body: Body) {
        // A failing origin is asked again by the next request: only a sound answer says something of its kind, and one
        // to a credential that changed says nothing of others'.
        // Nor does a HEAD say whether a GET's could be stored.
        let telling = reason != Reason::CredentialChanged && !self.job.head;
        if !head.status.is_server_error() && telling {
            self.shared.cache.remember_uncacheable(&self.job.uncacheable, self.shared.now());
        }
        self.lease.iter().for_each(Lease::not_for_all);
        self.leader.answer(Outcome::NotShared(reason, head.status));
        take(&mut head.headers, &FOR_SURROGATES);
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        self.send(Own::Answer(response));
    }

    /// For the one who led. Nobody there to take it: a body is dropped, and with it the connection.
    fn send(&mut self, own: Own) {
        if let Some(private) = self.private.take() {
            let _ = private.send(own);
        }
    }

    /// Fields that nobody else gets (RFC 9111 sections 5.2.2.4 and 5.2.2.7).
    fn send_fields(&mut self, fields: HeaderMap) {
        if !fields.is_empty() {
            self.send(Own::Fields(fields));
        }
    }

    async fn validated(mut self, begun: Begun, old: &Arc<StoredResponse>, head: Head) {
        let (head, judged) = self.renewed(old, head);
        match judged {
            // It holds, but may not be shared any longer: the one whose request it was gets it, with what came along.
            Err(reason) => {
                self.forbidden(old, reason);
                self.not_shared(reason, head, Body::full(old.body.clone()));
            }
            Ok((freshness, variant)) => {
                let begun = Begun { since: old.since, ..begun };
                let stored = Arc::new(self.stored(begun, &head, freshness, old.body.clone()));
                self.commit(stored.clone(), variant.clone());
                self.share(&stored, variant.as_ref()).await;
                self.kept(stored, Reason::Validated, false, variant);
            }
        }
    }

    /// The head of `old` with what the answer says anew (RFC 9111 section 3.2), and what becomes of it. What only the
    /// leader may have goes to it.
    fn renewed(
        &mut self,
        old: &StoredResponse,
        head: Head,
    ) -> (Head, Result<(Freshness, Option<Variant>), Reason>) {
        let mut headers = old.all_fields();
        // The age that the stored response had on its way here says nothing of the 304's (RFC 9111 section 4.3.4).
        headers.remove(AGE);
        // Of a representation that is only much the same it must not say that every byte is (RFC 9110 section 8.8.1).
        let strengthens = validation::is_strong(head.headers.get(ETAG))
            && !validation::is_strong(old.field(&ETAG).as_ref());
        let kept = |name: &HeaderName| validation::kept_on_304(name) || strengthens && *name == ETAG;
        for name in head.headers.keys().filter(|name| !kept(name)) {
            headers.remove(name);
            for value in head.headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let mut head = Head { status: old.status, headers, ..head };
        self.strip_set_cookie(&mut head.headers);
        let size = Some(old.body.len() as u64);
        let judged = self.judge(&head, size, Some(&old.body));
        match judged.and_then(|allowed| Ok((allowed, self.variant(&head.headers)?))) {
            Err(reason) => (head, Err(reason)),
            Ok((Storable { freshness, withheld }, variant)) => {
                let own = take(&mut head.headers, &withheld);
                self.send_fields(own);
                (head, Ok((freshness, variant)))
            }
        }
    }

    /// The answer may be shared: its head goes to everybody, its body follows as it comes.
    async fn shared(
        mut self,
        begun: Begun,
        mut head: Head,
        withheld: &[HeaderName],
        size: Option<u64>,
        body: Body,
    ) {
        self.strip_set_cookie(&mut head.headers);
        let variant = match self.variant(&head.headers) {
            Ok(variant) => variant,
            Err(reason) => return self.not_shared(reason, head, body),
        };
        let limit = self.shared.max_object(self.job.caching.tier.store);
        let too_large = size.is_some_and(|size| size > limit);
        let content = SharedBody::new(limit, too_large);
        let _ending = Ending(content.clone());
        // The leader's own reader is there before anybody can leave.
        let keeper = content.reader();
        let mut headers = head.headers.clone();
        take(&mut headers, &FOR_SURROGATES);
        let own = take(&mut headers, withheld);
        self.send_fields(own);
        self.leader.answer(Outcome::Streaming(Arc::new(SharedHead {
            status: head.status,
            headers,
            vary: variant.as_ref().map(|(fields, _)| fields.clone()).unwrap_or_default(),
            variant: variant.as_ref().map(|(_, key)| key.clone()),
            selectors: self.selectors(&head),
            body: content.clone(),
            stored: !too_large && (head.status != StatusCode::PARTIAL_CONTENT || self.describes_itself()),
        })));
        if too_large {
            self.shared.cache.remember_uncacheable(&self.job.uncacheable, self.shared.now());
        }
        if size.is_none_or(|size| size > SHORT) {
            // Readers on this node have it as it comes, those on others would have to wait for its end.
            self.lease.iter().for_each(Lease::not_for_all);
        }
        let mut received = receive(body, &content, keeper, content_length(&head.headers)).await;
        if let Ok(Some(trailers)) = &mut received {
            // Everybody who reads gets them.
            take(trailers, withheld);
            take(trailers, &FOR_SURROGATES);
        }
        if let Ok(trailers) = &received
            && trailers.is_none()
            && let Some(whole) = content.whole()
        {
            self.complete(begun, head, whole, variant).await;
        }
        self.leader.close();
        content.end(received);
    }

    /// The whole answer is here: it becomes visible, if its rules still hold.
    async fn complete(&mut self, begun: Begun, mut head: Head, whole: Bytes, variant: Option<Variant>) {
        if head.status == StatusCode::PARTIAL_CONTENT {
            return self.complete_part(begun, &head, whole, variant);
        }
        if let Ok(allowed) = self.judge(&head, Some(whole.len() as u64), Some(&whole)) {
            take(&mut head.headers, &allowed.withheld);
            let stored = Arc::new(self.stored(begun, &head, allowed.freshness, whole));
            self.commit(stored.clone(), variant.clone());
            self.share(&stored, variant.as_ref()).await;
        }
    }

    /// Offers what was stored to the other nodes. Whoever has seen the end of the answer and asks another node finds it there,
    /// unless the shared level takes too long.
    async fn share(&mut self, stored: &StoredResponse, variant: Option<&Variant>) {
        if let Some(lease) = self.lease.take() {
            let (store, key) = (self.job.caching.tier.store, &self.job.keyed.key);
            self.shared.cache.share(&lease, store, key, variant, stored).await;
        }
    }

    fn commit(&mut self, stored: Arc<StoredResponse>, variant: Option<Variant>) {
        let job = &self.job;
        let done = self.shared.cache.commit(
            &mut self.leader,
            job.caching.tier.store,
            &job.keyed.key,
            stored,
            variant,
        );
        if let Err(error) = done {
            tracing::debug!(%error, "a response was not stored");
        }
    }
}

/// Up to this size the readers on other nodes wait for the end of an answer, in bytes.
const SHORT: u64 = 256 * 1024;

/// Ends a body with an error where nothing else ended it: a fill that dies leaves no reader waiting.
struct Ending(Arc<SharedBody>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Err(Error::new(ErrorKind::Internal, "the request that fetched this answer was given up")));
    }
}

enum Again {
    Use(Arc<StoredResponse>, Option<Variant>),
    /// The origin is asked, with the validators of these.
    Ask(Vec<Old>),
    /// The beginning is here: the rest is to be asked for.
    Complete(Arc<StoredResponse>),
}
