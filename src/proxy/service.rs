//! The life of a request, read from top to bottom: sanitize, route, identify, key, lookup, decide, fill, respond.
//!
//! What can be answered at once (a hit) is answered without a task, a box or a wait; everything else goes on in a
//! boxed future.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::identify::{Identified, Step};
use super::plan::{Glance, NoPlan, Plan};
use super::ranged::answers;
use super::respond::meets;
use super::sanitize::Sanitized;
use super::shared::Inner;
use super::told::Told;
use super::verdict::{Source, Verdict, XCache};
use super::visit::{Proxy, Visit};
use super::wishes::Asked as Wanted;
use crate::cache::Lookup;
use crate::clock::Now;
use crate::config::{OnPartition, Route};
use crate::error::{BoxError, Error, ErrorKind};
use crate::http::{Body, Present};
use crate::key::CacheKey;
use crate::policy::ranges::Asked;
use crate::policy::{Decision, Freshness, Reason, Validity, decide, validation};
use crate::stored::StoredResponse;

type Boxed = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// What is stored for a request, and what the fence says of it.
type Found = (Arc<StoredResponse>, Validity);

/// How an answer goes on.
enum Flow {
    Now(Response<Body>),
    Later(Boxed),
}

/// What becomes of a request that is no plain hit.
enum Onward {
    /// Its method is unsafe.
    Write,
    /// The cache has no part in it.
    Pass(NoPlan),
    /// Nothing was found, or nothing that may be served as it is; with the key of the request's variant.
    LookedUp(Box<(Plan, Lookup, Option<CacheKey>)>),
}

/// The answer to a request; ready at once for a hit.
pub struct ProxyFuture(Option<Flow>);

impl Future for ProxyFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.take() {
            Some(Flow::Now(response)) => Poll::Ready(Ok(response)),
            Some(Flow::Later(mut future)) => match future.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Ok(response)),
                Poll::Pending => {
                    self.0 = Some(Flow::Later(future));
                    Poll::Pending
                }
            },
            // Polled after its end, which no caller does.
            None => Poll::Pending,
        }
    }
}

impl<S, B> Service<Request<B>> for Proxy<S>
where
    S: Inner,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ProxyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The application's readiness is waited for where it is called: a hit does not need it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ProxyFuture {
        self.answer(request.map(Body::wrap))
    }
}

/// Decides. A request with `If-Match` or `If-Unmodified-Since` is answered by a fresh stored 200 that meets the condition;
/// everything else is the origin's to say (RFC 9111 section 4.3.2).
fn judge<R>(
    visit: &Visit<R>,
    asked: &Wanted,
    found: Option<(&StoredResponse, &Freshness, Validity)>,
    now: Now,
) -> (Decision, Reason) {
    let judged = found.map(|(_, freshness, validity)| (freshness, validity));
    let (decision, reason) = decide(&asked.wishes, judged, now);
    let (present, headers) = (visit.about.present, &visit.parts.headers);
    if !present.has(Present::PRECONDITION) || !validation::is_for_the_origin(headers) {
        return (decision, reason);
    }
    match decision {
        Decision::Unsatisfiable => (decision, reason),
        Decision::Serve if found.is_some_and(|(stored, ..)| meets(headers, stored, now)) => {
            (decision, reason)
        }
        _ if asked.wishes.directives.only_if_cached => (Decision::Unsatisfiable, Reason::OnlyIfCached),
        _ => (Decision::Pass, Reason::Precondition),
    }
}

impl<S: Inner> Proxy<S> {
    /// Sanitize, route.
    pub(super) fn routed(&self, parts: &mut Parts, body: &Body) -> Result<(Sanitized, &Arc<Route>), Error> {
        let about = self.shared.sanitized(parts, body)?;
        let route = self.shared.router.find(about.host(), parts.uri.path(), &parts.method);
        let none = || Error::new(ErrorKind::NoRoute, "no route of the configuration matches this request");
        Ok((about, route.ok_or_else(none)?))
    }

    /// Answers a request.
    pub(crate) fn answer(&self, request: Request<Body>) -> ProxyFuture {
        ProxyFuture(Some(self.enter(request)))
    }

    /// Sanitize, route, identify.
    fn enter(&self, request: Request<Body>) -> Flow {
        let arrived = self.shared.now();
        let (mut parts, body) = request.into_parts();
        let (about, route) = match self.routed(&mut parts, &body) {
            Ok(routed) => routed,
            Err(error) => return Flow::Now(self.refused(&Told::of(&parts, arrived), &error)),
        };
        let step = self.shared.identifier.identify(&parts, about.host(), arrived);
        match step {
            Step::Done(who) => {
                self.identified(Visit { parts, body, about, route, who, arrived, waited: false })
            }
            Step::Refused(error) => Flow::Now(self.refused(&Told::of(&parts, arrived), &error)),
            Step::Later(future) => {
                let who = Identified::default();
                let visit = Visit { parts, body, about, route, who, arrived, waited: false }.kept();
                let proxy = self.clone();
                Flow::Later(Box::pin(async move {
                    match future.await {
                        Ok(who) => match proxy.identified(Visit { who, waited: true, ..visit }) {
                            Flow::Now(response) => response,
                            Flow::Later(future) => future.await,
                        },
                        Err(error) => proxy.refused(&Told::of(&visit.parts, arrived), &error),
                    }
                }))
            }
        }
    }

    /// Key, lookup, decide.
    fn identified<R: Borrow<Arc<Route>>>(&self, mut visit: Visit<R>) -> Flow {
        visit.who.losers.strip(&mut visit.parts);
        let onward = match self.at_once(&visit) {
            Ok(response) => return Flow::Now(response),
            Err(onward) => onward,
        };
        let visit = visit.kept();
        match onward {
            Onward::Write => self.later(|proxy| proxy.write(visit)),
            Onward::Pass(NoPlan { reason, denied }) => {
                self.later(move |proxy| proxy.pass(visit, reason, denied))
            }
            Onward::LookedUp(looked_up) => {
                let (plan, lookup, variant) = *looked_up;
                if self.looks_further(&plan) {
                    return self.later(move |proxy| proxy.brought(visit, plan, lookup, variant));
                }
                self.looked_up(visit, plan, lookup, variant)
            }
        }
    }

    /// The answer to a plain hit, or how the request goes on.
    fn at_once<R: Borrow<Arc<Route>>>(&self, visit: &Visit<R>) -> Result<Response<Body>, Onward> {
        if !visit.parts.method.is_safe() {
            return Err(Onward::Write);
        }
        let glance = self.glance(visit).map_err(Onward::Pass)?;
        let (key, fields) = (&glance.probe.key, &visit.parts.headers);
        let (mut lookup, variant) = self.shared.cache.lookup(glance.store(), key, fields, glance.now);
        if !self.shared.cache.is_current() {
            lookup = self.without_proof(&glance, lookup).map_err(Onward::Pass)?;
        }
        if let Lookup::Found(stored, Validity::Valid) = &lookup
            && let Some(response) = self.hit(visit, &glance, stored)
        {
            return Ok(response);
        }
        Err(Onward::LookedUp(Box::new((glance.kept(visit), lookup, variant))))
    }

    /// What was found, while nobody knows what was purged meanwhile.
    fn without_proof(&self, glance: &Glance<'_>, lookup: Lookup) -> Result<Lookup, NoPlan> {
        match (glance.caching.on_partition, lookup) {
            (OnPartition::Serve, Lookup::Found(stored, _)) => {
                let validity = self.shared.cache.check_as_known(&stored, None);
                Ok(Lookup::Found(stored, validity))
            }
            (OnPartition::Bypass, _) => Err(NoPlan { reason: Reason::LogAway, denied: glance.asked.denied }),
            (_, lookup) => Ok(lookup),
        }
    }

    /// The answer, where what is stored is valid and may be served as it is. Nothing here outlives the request, and nothing is
    /// counted or copied that only a fill needs.
    fn hit<R: Borrow<Arc<Route>>>(
        &self,
        visit: &Visit<R>,
        glance: &Glance<'_>,
        stored: &StoredResponse,
    ) -> Option<Response<Body>> {
        let freshness = stored.freshness();
        let judged = Some((stored, &freshness, Validity::Valid));
        let (decision, reason) = judge(visit, &glance.asked, judged, glance.now);
        let verdict = || {
            let mut verdict = Verdict::new(XCache::Hit, reason, Source::Memory);
            verdict.also = glance.asked.denied;
            verdict.show_key = glance.asked.show_key;
            let told = verdict.show_key || self.shared.log.is_on();
            verdict.key = told.then(|| glance.probe.key.clone());
            verdict
        };
        let stored = (stored, &freshness);
        (decision == Decision::Serve)
            .then(|| self.serve_so_fresh(visit, glance.range, stored, &verdict(), glance.now))
    }

    /// Whether the shared level may have what memory has not.
    fn looks_further(&self, plan: &Plan) -> bool {
        let cache = &self.shared.cache;
        cache.level(plan.caching.tier.store).is_some()
            && plan.asked.wishes.refresh.is_none()
            // Without proof nothing that is stored is served, wherever it lies.
            && (cache.is_current() || plan.caching.on_partition == OnPartition::Serve)
    }

    /// The shared level is asked first.
    async fn brought(
        self,
        visit: Visit,
        plan: Plan,
        lookup: Lookup,
        variant: Option<CacheKey>,
    ) -> Response<Body> {
        let brought = {
            let coverage = plan.keyed.coverage();
            self.shared.cache.bring(&coverage, &visit.parts.headers, plan.now).await
        };
        let (lookup, variant, level) = match brought.lookup {
            Lookup::Found(_, Validity::Purged) | Lookup::Absent => (lookup, variant, Source::Memory),
            found => (found, brought.variant, Source::Redis),
        };
        let plan = Plan { now: self.shared.now(), level, ..plan };
        match self.looked_up(visit, plan, lookup, variant) {
            Flow::Now(response) => response,
            Flow::Later(future) => future.await,
        }
    }

    /// What becomes of a request that is no plain hit.
    fn looked_up(&self, visit: Visit, mut plan: Plan, lookup: Lookup, variant: Option<CacheKey>) -> Flow {
        let now = plan.now;
        // The key under which a variant is filled on its own, once it is known that there are variants.
        let (mut found, mut absent) = match lookup {
            // Only for the few that are softly purged it matters who asks.
            Lookup::Found(stored, Validity::StaleSince(_)) => {
                let validity = self.shared.cache.check_for(&stored, visit.causer());
                (Some((stored, validity)), Reason::Absent)
            }
            Lookup::Found(stored, validity) => (Some((stored, validity)), Reason::Absent),
            Lookup::OtherVariants => (None, Reason::VaryMiss),
            Lookup::Absent => (None, Reason::Absent),
        };
        if found.is_none()
            && let Some((stored, reason)) = self.near(&visit, &plan, variant.as_ref())
        {
            let verdict = plan.verdict(XCache::Hit, reason, Source::Memory);
            return Flow::Now(self.serve(&visit, plan.range, &stored, &verdict, now));
        }
        if found.as_ref().is_none_or(|(_, validity)| *validity == Validity::Purged) {
            (found, absent) = self.part(&visit, &mut plan, variant.as_ref(), found, absent);
        }
        let freshness = found.as_ref().map(|(stored, _)| stored.freshness());
        let judged = found.as_ref().zip(freshness.as_ref());
        let judged = judged.map(|((stored, validity), freshness)| (&**stored, freshness, *validity));
        let (decision, reason) = judge(&visit, &plan.asked, judged, now);
        let reason = if reason == Reason::Absent { absent } else { reason };
        self.decided(visit, plan, decision, reason, found, variant)
    }

    /// Nothing whole is stored: perhaps a part is, which holds what is asked for, or to which the rest is asked for.
    fn part(
        &self,
        visit: &Visit,
        plan: &mut Plan,
        variant: Option<&CacheKey>,
        found: Option<Found>,
        absent: Reason,
    ) -> (Option<Found>, Reason) {
        plan.span = match plan.range {
            Asked::One(span) => Some(span),
            Asked::Whole => None,
            Asked::Other => return (found, absent),
        };
        let cache = &self.shared.cache;
        let Some((part, mut validity)) =
            cache.part(plan.caching.tier.store, &plan.keyed.key, variant, plan.now)
        else {
            return (found, absent);
        };
        if let Validity::StaleSince(_) = validity {
            validity = cache.check_for(&part, visit.causer());
        }
        if plan.span.is_some_and(|span| answers(&part, span, &visit.parts.headers, plan.now)) {
            // Parts are in memory only.
            plan.level = Source::Memory;
            (Some((part, validity)), absent)
        } else if validity == Validity::Purged {
            (found, absent)
        } else {
            (None, Reason::PartStored)
        }
    }

    fn decided(
        &self,
        visit: Visit,
        plan: Plan,
        decision: Decision,
        reason: Reason,
        found: Option<Found>,
        variant: Option<CacheKey>,
    ) -> Flow {
        let now = plan.now;
        match (decision, found) {
            (Decision::Serve, Some((stored, _))) => {
                let verdict = plan.verdict(XCache::Hit, reason, plan.level);
                Flow::Now(self.serve(&visit, plan.range, &stored, &verdict, now))
            }
            (Decision::ServeStale { refresh }, Some((stored, validity))) => {
                let mut verdict = plan.verdict(XCache::Stale, reason, plan.level);
                if let Validity::StaleSince(since) = validity {
                    verdict.stale_since = Some(since);
                }
                let response = self.serve(&visit, plan.range, &stored, &verdict, now);
                if refresh {
                    self.refresh(&visit, &plan, variant.as_ref());
                }
                Flow::Now(response)
            }
            (Decision::Pass, _) => self.later(move |proxy| proxy.pass(visit, reason, plan.asked.denied)),
            (Decision::Unsatisfiable, _) => {
                let error = Error::new(
                    ErrorKind::OriginTimeout,
                    "nothing stored fits, and the request wants nothing else",
                );
                let mut verdict = plan.verdict(XCache::Miss, reason, Source::Larder);
                verdict.forwarded = None;
                Flow::Now(self.failed(&self.told(&visit), &error, verdict))
            }
            _ if plan.range == Asked::Other => {
                self.later(move |proxy| proxy.pass(visit, Reason::RangeRequest, plan.asked.denied))
            }
            (_, found) => {
                let remembered = plan.keyed.uncacheable(&plan.caching, &visit.parts.headers);
                let Some(remembered) = plan.place(&remembered, &visit.parts.headers) else {
                    return self.later(move |proxy| proxy.pass(visit, Reason::KeyTooLong, plan.asked.denied));
                };
                let uncacheable = self.shared.cache.is_uncacheable(&remembered, now);
                if uncacheable && plan.asked.wishes.refresh.is_none() && found.is_none() {
                    let denied = plan.asked.denied;
                    return self.later(move |proxy| proxy.pass(visit, Reason::Uncacheable, denied));
                }
                let old = found.map(|(stored, _)| stored);
                self.later(move |proxy| proxy.fetch(visit, plan, reason, old, variant))
            }
        }
    }

    fn later<F, R>(&self, run: F) -> Flow
    where
        F: FnOnce(Self) -> R,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        Flow::Later(Box::pin(run(self.clone())))
    }
}
