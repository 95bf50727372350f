//! Requests that go to the application as they are: passes and writes.

use http::{Request, Response};

use super::identify::{Credential, UnsafeRequest};
use super::invalidation::Purging;
use super::origin::Upstream;
use super::origin_request::pass_request;
use super::rescue::rescue;
use super::shared::Inner;
use super::tags::{self, Said};
use super::to_the_end::ToTheEnd;
use super::told::Told;
use super::verdict::{Source, Verdict, XCache};
use super::visit::{Proxy, Visit};
use super::wishes::CHOICE;
use super::write::Pending;
use crate::error::Error;
use crate::http::{Body, Present, fields};
use crate::policy::Reason;
use crate::policy::surrogate::FOR_SURROGATES;

impl<S: Inner> Proxy<S> {
    /// Passes the request through as it is, and the answer back; neither read nor stored.
    pub(super) async fn pass(
        mut self,
        visit: Visit,
        reason: Reason,
        denied: Option<Reason>,
    ) -> Response<Body> {
        let told = self.told(&visit);
        let mut verdict = Verdict { also: denied, ..Verdict::new(XCache::Bypass, reason, Source::Origin) };
        let credential = self.shared.identifier.credential(&visit.parts);
        // A logout is a GET in some applications: the guard ends the credential before and after.
        let ending = self.shared.identifier.unsafe_request(&visit.parts);
        let purging = visit.route.purge_on_any.then(|| Purging::of(&visit));
        match self.send_as_is(visit).await {
            Ok((response, said)) => {
                if let Some(purging) = purging {
                    verdict.pending = purging.answered(&self.shared, &said).await.pending;
                }
                self.passed(told, verdict, credential, ending, response)
            }
            Err(error) => {
                let (_, mut failed) = rescue(&error);
                failed.also = denied;
                self.failed(&told, &error, failed)
            }
        }
    }

    /// The answer to a request that went as it is: what it does to the credential is done before the client has it.
    fn passed(
        &self,
        told: Told,
        verdict: Verdict,
        credential: Option<Credential>,
        ending: Option<UnsafeRequest>,
        mut response: Response<Body>,
    ) -> Response<Body> {
        if let Some(credential) = credential {
            self.shared.identifier.set_cookie(&credential, response.headers());
        }
        drop(ending);
        let verdict = Verdict { forwarded: Some(response.status()), ..verdict };
        fields::remove_all(response.headers_mut(), &FOR_SURROGATES);
        self.finish(told, response, &verdict)
    }

    /// Sends the client's own request to the origin of its route. What the answer says to Larder alone is taken out of it.
    pub(super) async fn send_as_is(&mut self, visit: Visit) -> Result<(Response<Body>, Said), Error> {
        let Visit { mut parts, body, about, route, .. } = visit;
        if about.present.has(Present::CHOICE) {
            parts.headers.remove(CHOICE);
        }
        pass_request(&mut parts, &about, route.caching.as_deref());
        let request = Request::from_parts(parts, body);
        let mut response = self.inner.send_on(request, Upstream(route.origin)).await?;
        let said = tags::take(response.headers_mut());
        Ok((response, said))
    }

    /// An unsafe method: passed, and what it changed is purged before the writer hears of it.
    ///
    /// To the end: when the writer leaves, the application finishes the write all the same, and only then is it purged. A purge
    /// at the moment of leaving would be too early: what is read until the write lands is old.
    pub(super) fn write(self, visit: Visit) -> ToTheEnd<Response<Body>> {
        ToTheEnd::new(self.written(visit))
    }

    async fn written(mut self, mut visit: Visit) -> Response<Body> {
        let told = self.told(&visit);
        let mut verdict = Verdict::new(XCache::Bypass, Reason::Write, Source::Origin);
        let credential = self.shared.identifier.credential(&visit.parts);
        let ending = self.shared.identifier.unsafe_request(&visit.parts);
        let pending = Pending::of(self.shared.clone(), &mut visit);
        let purging = Purging::of(&visit);
        let posting = self.posting(&visit);
        match self.send_as_is(visit).await {
            Ok((mut response, said)) => {
                let posted = posting.and_then(|posting| posting.answered(&self, &said, &response));
                let carried =
                    purging.written(&self.shared, &said, response.status(), response.headers()).await;
                let carried = carried.and(pending.answered(response.status()).await);
                verdict.pending = carried.pending;
                if let Some(kept) = posted.and_then(|posted| posted.after_its_purges(carried.records)) {
                    verdict.stored = true;
                    response = response.map(|body| kept.keep(body));
                }
                self.passed(told, verdict, credential, ending, response)
            }
            Err(error) => {
                pending.failed(&error);
                let (_, verdict) = rescue(&error);
                self.failed(&told, &error, verdict)
            }
        }
    }
}
