//! A fill: the exchange with the origin on behalf of everybody who waits for one key.
//!
//! It runs as a task of its own, so that it ends when it ends, whoever leaves. The order is that of the fence:
//! `begun_at` is loaded before the origin is contacted; only after it is the stored response looked at again, and only
//! then may its validator be sent.

mod ask;
mod job;
mod judge;
mod part;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AGE, DATE, ETAG};
use http::{Response, StatusCode};
use http_body::Body as HttpBody;

use self::job::{Head, Strength, Variant};
use super::receive::{content_length, receive};
use super::shared::Inner;
use crate::cache::{Begun, Kept, Lookup, Outcome, SharedBody, SharedHead};
use crate::clock::Now;
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use crate::policy::{Decision, Reason, Validity, decide, validation};
use crate::stored::StoredResponse;

pub(super) use self::job::{FillTask, Job};

impl<S: Inner> FillTask<S> {
    /// Sees the fill through. Whatever happens, the leader's drop wakes whoever still waits.
    pub(super) async fn run(mut self) {
        self.leader.turn().await;
        let begun = self.shared.cache.begin(&mut self.leader, self.job.keyed.coverage().stripe());
        let old = match self.look_again() {
            Again::Use(stored, variant) => return self.kept(stored, Reason::Fresh, variant),
            Again::Validate(stored, strength) => Some((stored, strength)),
            Again::Complete(part) => return self.completed(begun, &part).await,
            Again::Nothing => None,
        };
        self.fetched(begun, old).await;
    }

    /// Asks the origin, and sees to what it says.
    async fn fetched(mut self, begun: Begun, old: Option<(Arc<StoredResponse>, Strength)>) {
        match self.exchange(old).await {
            Err(error) => self.leader.answer(Outcome::Failed(error)),
            Ok((head, _, Some(confirmed))) => self.validated(begun, &confirmed, head),
            Ok((head, body, None)) => self.answered(begun, head, body).await,
        }
    }

    /// The stored response, once more: it may have come, or been purged, since the request looked.
    fn look_again(&self) -> Again {
        if self.job.whole {
            return Again::Nothing;
        }
        let now = self.shared.now();
        let job = &self.job;
        let (found, variant) =
            self.shared.cache.lookup(job.caching.tier.store, &job.keyed.key, &job.request.headers, now);
        let stored = match found {
            Lookup::Found(stored, Validity::Valid) => stored,
            // It can only be confirmed, and that by a validator that stands for every byte.
            Lookup::Found(stored, Validity::StaleSince(_)) if validation::is_strong(stored.field(&ETAG)) => {
                return Again::Validate(stored, Strength::Strong);
            }
            _ => return self.look_at_part(variant.as_ref(), now),
        };
        self.usable(stored, now).unwrap_or_else(|stored| Again::Validate(stored, Strength::Any))
    }

    /// Whether a valid stored response answers those who wait; if not, it is the error.
    fn usable(&self, stored: Arc<StoredResponse>, now: Now) -> Result<Again, Arc<StoredResponse>> {
        let job = &self.job;
        let since = stored.freshness.received >= job.arrived.mono;
        let verdict = decide(&job.wishes, Some((&stored.freshness, Validity::Valid)), now).0;
        if since && stored.freshness.staleness(now).is_none() || verdict == Decision::Serve {
            // Whoever waits may be after another variant: which one this is goes along.
            return Ok(match self.variant(&stored.header_map()) {
                Ok(variant) => Again::Use(stored, variant),
                Err(_) => Again::Nothing,
            });
        }
        Err(stored)
    }

    /// A stored response answers everybody whose variant it is.
    fn kept(&self, response: Arc<StoredResponse>, how: Reason, variant: Option<Variant>) {
        let (vary, variant) = variant.map_or((Vec::new(), None), |(vary, key)| (vary, Some(key)));
        self.leader.answer(Outcome::Stored(Arc::new(Kept { response, how, vary, variant })));
    }

    async fn answered(self, begun: Begun, head: Head, body: Body) {
        let size = body.size_hint().exact().or_else(|| content_length(&head.headers));
        match self.judge(&head, size, None) {
            Err(reason) => self.not_shared(reason, head, body),
            Ok(_) => self.shared(begun, head, size, body).await,
        }
    }

    fn not_shared(self, reason: Reason, head: Head, body: Body) {
        // A failing origin is asked again by the next request: only a sound answer says something of its kind, and one
        // to a credential that changed says nothing of others'.
        if !head.status.is_server_error() && reason != Reason::CredentialChanged {
            self.shared.cache.remember_uncacheable(&self.job.uncacheable, self.shared.now());
        }
        self.leader.answer(Outcome::NotShared(reason, head.status));
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        // Nobody there to take it: the body is dropped, and with it the connection.
        let _ = self.private.send(response);
    }

    fn validated(mut self, begun: Begun, old: &StoredResponse, head: Head) {
        let mut headers = old.header_map();
        // The age that the stored response had on its way here says nothing of the 304's (RFC 9111 section 4.3.4).
        headers.remove(AGE);
        if !head.headers.contains_key(DATE) {
            headers.remove(DATE);
        }
        for name in head.headers.keys().filter(|name| !validation::kept_on_304(name)) {
            headers.remove(name);
            for value in head.headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let mut head = Head { status: old.status, headers, ..head };
        self.strip_set_cookie(&mut head.headers);
        let size = Some(old.body.len() as u64);
        let judged = self.judge(&head, size, Some(&old.body));
        match judged.and_then(|freshness| Ok((freshness, self.variant(&head.headers)?))) {
            // It holds, but may not be shared any longer: the one whose request it was gets it, with what came along.
            Err(reason) => self.not_shared(reason, head, Body::full(old.body.clone())),
            Ok((freshness, variant)) => {
                let stored = Arc::new(self.stored(begun, &head, freshness, old.body.clone()));
                self.commit(stored.clone(), variant.clone());
                self.kept(stored, Reason::Validated, variant);
            }
        }
    }

    /// The answer may be shared: its head goes to everybody, its body follows as it comes.
    async fn shared(mut self, begun: Begun, mut head: Head, size: Option<u64>, body: Body) {
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
        self.leader.answer(Outcome::Streaming(Arc::new(SharedHead {
            status: head.status,
            headers: head.headers.clone(),
            vary: variant.as_ref().map(|(fields, _)| fields.clone()).unwrap_or_default(),
            variant: variant.as_ref().map(|(_, key)| key.clone()),
            selectors: self.selectors(&head),
            body: content.clone(),
            stored: !too_large && (head.status != StatusCode::PARTIAL_CONTENT || self.describes_itself()),
        })));
        if too_large {
            self.shared.cache.remember_uncacheable(&self.job.uncacheable, self.shared.now());
        }
        let received = receive(body, &content, keeper, content_length(&head.headers)).await;
        if let Ok(trailers) = &received
            && trailers.is_none()
            && let Some(whole) = content.whole()
        {
            self.complete(begun, &head, whole, variant);
        }
        self.leader.close();
        content.end(received);
    }

    /// The whole answer is here: it becomes visible, if its rules still hold.
    fn complete(&mut self, begun: Begun, head: &Head, whole: Bytes, variant: Option<Variant>) {
        if head.status == StatusCode::PARTIAL_CONTENT {
            return self.complete_part(begun, head, whole, variant);
        }
        if let Ok(freshness) = self.judge(head, Some(whole.len() as u64), Some(&whole)) {
            let stored = self.stored(begun, head, freshness, whole);
            self.commit(Arc::new(stored), variant);
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

/// Ends a body with an error where nothing else ended it: a fill that dies leaves no reader waiting.
struct Ending(Arc<SharedBody>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Err(Error::new(ErrorKind::Internal, "the request that fetched this answer was given up")));
    }
}

enum Again {
    Use(Arc<StoredResponse>, Option<Variant>),
    Validate(Arc<StoredResponse>, Strength),
    /// The beginning is here: the rest is to be asked for.
    Complete(Arc<StoredResponse>),
    Nothing,
}
