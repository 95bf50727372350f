//! The answer to a POST, stored as the response to a later GET of its URL (RFC 9110 section 9.3.3, RFC 9111 section 4).
//!
//! A write purges its own URL, and what else it names, before its writer hears the answer. That purge comes after the POST
//! began, so by the rule of the fence it covers the POST's own answer. But the answer shows what the write made: it is not
//! what the purge means. It is stored as if it had begun right after its own purges, which is right where no other purge
//! came between its beginning and there:
//!
//! 1. `since` is `current` before the origin was contacted.
//! 2. The answer's head is here, and with it all that covers the answer. `before` is the number of the last purge in force;
//!    then the fence finds that no purge after `since` covers the answer, up to `before` at least.
//! 3. The write purges, which makes some number of records. Records are numbered without a gap and come into force in
//!    order: if the last in force is now `before` plus that number, all after `before` are the write's own.
//!
//! Then nobody else's purge after `since` and up to that last one covers the answer, and every later one is above it.
//! If another came in between, whether it covers the answer or not, nothing is stored.
//!
//! The ticket is taken between 2 and 3. A fill that began before has a lower one and is refused when it comes to commit
//! later; one that began after has a higher one, and is never overwritten. (One that began in between is covered by 3.)
//!
//! The content goes to the client as it comes. When it came whole, it is stored, before the client sees the end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::{LAST_MODIFIED, SET_COOKIE};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::FillTask;
use super::job::{Head, Variant};
use super::judge::{dated, take};
use crate::cache::Begun;
use crate::clock::Now;
use crate::error::BoxError;
use crate::http::{Body, fields};
use crate::policy::{Storable, Ttl, Validity};
use crate::proxy::exceptions::{Answer, rule};
use crate::proxy::origin::CloseDelimited;
use crate::proxy::receive::content_length;
use crate::proxy::shared::Inner;
use crate::proxy::tags::Said;
use crate::stored::Position;

/// An answer to a POST that may be stored, if no purge but its own comes between.
pub(in crate::proxy) struct Posted<S> {
    task: FillTask<S>,
    head: Head,
    variant: Option<Variant>,
    begun: Begun,
    /// The last purge in force before its own.
    before: Position,
    limit: u64,
}

impl<S: Inner> FillTask<S> {
    /// Steps 1 and 2: the head of the answer, before it purges.
    pub(in crate::proxy) fn posted(
        mut self,
        since: Position,
        requested: Now,
        said: &Said,
        response: &Response<Body>,
    ) -> Option<Posted<S>> {
        let mut headers = response.headers().clone();
        fields::strip_connection_specific(&mut headers).ok()?;
        let close_delimited = response.extensions().get::<CloseDelimited>().is_some();
        let (received, tags) = (self.shared.now(), self.tags(said, None));
        dated(&mut headers, received);
        let head = Head { status: response.status(), headers, requested, received, close_delimited, tags };
        let size = response.body().size_hint().exact().or_else(|| content_length(&head.headers));
        let limit = self.shared.max_object(self.job.caching.tier.store);
        self.explicit(&head, size, None).filter(|_| size.is_none_or(|size| size <= limit))?;
        let variant = self.variant(&head.headers).ok()?;
        let begun = self.shared.cache.begin(&mut self.leader, self.job.keyed.coverage().stripe());
        // What purged another URL meanwhile was not looked at.
        let begun = Begun { since, ..begun };
        let before = self.shared.cache.fence().applied();
        let valid = self.shared.cache.check_fill(&self.selectors(&head), since) == Validity::Valid;
        valid.then_some(Posted { task: self, head, variant, begun, before, limit })
    }

    /// The freshness that the answer itself states: RFC 9110 section 9.3.3 asks for an explicit one.
    fn explicit(&self, head: &Head, size: Option<u64>, content: Option<&[u8]>) -> Option<Storable> {
        let cookies = head.headers.contains_key(SET_COOKIE) && !self.job.caching.unsafe_store_set_cookie;
        let answer = Answer { status: head.status, headers: &head.headers, size, content };
        let by_origin = rule(&self.job.caching.tier, &answer).ttl == Ttl::Origin;
        // Without the date nothing can be guessed (RFC 9111 section 4.2.2).
        let mut headers = head.headers.clone();
        headers.remove(LAST_MODIFIED);
        let stated = Head { headers, tags: head.tags.clone(), ..*head };
        let allowed = self.judge(&stated, size, content).ok().filter(|_| by_origin && !cookies)?;
        allowed.freshness.lifetime.is_some_and(|lifetime| !lifetime.is_zero()).then_some(allowed)
    }
}

impl<S: Inner> Posted<S> {
    /// Step 3: the write has purged, with so many records. The answer is kept if they are all there were.
    pub(in crate::proxy) fn after_its_purges(mut self, records: u64) -> Option<Self> {
        self.begun.at = self.before + records;
        (self.task.shared.cache.fence().applied() == self.begun.at).then_some(self)
    }

    /// The content on its way to the client, a copy of which is stored when it is whole.
    pub(in crate::proxy) fn keep(self, body: Body) -> Body {
        if body.is_end_stream() {
            self.complete(Bytes::new());
            return body;
        }
        Body::wrap(Keeping { body, chunks: Vec::new(), received: 0, posted: Some(Box::new(self)) })
    }

    fn complete(mut self, whole: Bytes) {
        let announced = content_length(&self.head.headers);
        let size = whole.len() as u64;
        if announced.is_some_and(|announced| announced != size) {
            return;
        }
        if let Some(allowed) = self.task.explicit(&self.head, Some(size), Some(&whole)) {
            take(&mut self.head.headers, &allowed.withheld);
            let stored = self.task.stored(self.begun, &self.head, allowed.freshness, whole);
            self.task.commit(stored.into(), self.variant);
        }
    }
}

/// A body that is copied as it goes by.
struct Keeping<S> {
    body: Body,
    chunks: Vec<Bytes>,
    received: u64,
    /// What becomes of the copy, as long as anything may.
    posted: Option<Box<Posted<S>>>,
}

impl<S: Inner> Keeping<S> {
    fn see(&mut self, frame: Option<&Frame<Bytes>>) {
        match frame.map(Frame::data_ref) {
            Some(Some(data)) => {
                self.received += data.len() as u64;
                self.chunks.push(data.clone());
            }
            // As with a fill, what has trailers is not stored.
            Some(None) => self.forget(),
            None => return self.end(),
        }
        if self.posted.as_ref().is_some_and(|posted| self.received > posted.limit) {
            self.forget();
        }
        // Whoever reads need not ask again for the end.
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn forget(&mut self) {
        self.posted = None;
        self.chunks.clear();
    }

    fn end(&mut self) {
        if let (Some(posted), Ok(received)) = (self.posted.take(), usize::try_from(self.received)) {
            let mut whole = BytesMut::with_capacity(received);
            self.chunks.drain(..).for_each(|chunk| whole.extend_from_slice(&chunk));
            posted.complete(whole.freeze());
        }
    }
}

impl<S: Inner> HttpBody for Keeping<S> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.posted.is_some() {
            match &frame {
                Some(Err(_)) => self.forget(),
                Some(Ok(frame)) => self.see(Some(frame)),
                None => self.see(None),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
