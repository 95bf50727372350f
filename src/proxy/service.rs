//! The life of a request, read from top to bottom: sanitize, route, identify, key, lookup, decide, fill, respond.
//!
//! What can be answered at once (a hit) is answered without a task, a box or a wait; everything else goes on in a
//! boxed future.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use tokio::sync::oneshot;
use tower_service::Service;

use super::fill::{FillTask, Job, fetched_word, first_want, of_fill};
use super::identify::{Identified, Step};
use super::keyed::{Keyed, keyed};
use super::origin::Upstream;
use super::origin_request::{fill_request, pass_request};
use super::rescue::rescue;
use super::respond::{Source, Verdict, XCache, from_stored};
use super::sanitize::{Sanitized, sanitize};
use super::shared::{Inner, Shared};
use super::wishes::{Asked, CHOICE, allowed, asked};
use super::{access_log::Record, write};
use crate::cache::{Attach, Fill, Lookup, Outcome, SharedHead, Want, variant_key};
use crate::clock::Now;
use crate::config::{Allow, Caching, OnlyIf, Route};
use crate::error::{BoxError, Error, ErrorKind};
use crate::http::Body;
use crate::http::query;
use crate::key::CacheKey;
use crate::policy::decide::may_stand_in;
use crate::policy::{Decision, Reason, Validity, decide};
use crate::stored::{Position, StoredResponse};

/// The caching service: a tower service over the application.
pub struct Proxy<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S: Clone> Clone for Proxy<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), inner: self.inner.clone() }
    }
}

impl<S> std::fmt::Debug for Proxy<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

type Boxed = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// How an answer goes on.
enum Flow {
    Now(Response<Body>),
    Later(Boxed),
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
        ProxyFuture(Some(self.enter(request.map(Body::wrap))))
    }
}

/// A request on its way: what the steps so far found out.
pub(super) struct Visit {
    pub(super) parts: Parts,
    pub(super) body: Body,
    pub(super) about: Sanitized,
    pub(super) route: Arc<Route>,
    pub(super) who: Identified,
    pub(super) arrived: Now,
}

/// What the log needs of a request that is gone.
pub(super) struct Told {
    method: Method,
    host: String,
    path: String,
    route: Option<Arc<Route>>,
    tenant: Option<Arc<str>>,
    arrived: Now,
}

impl Told {
    fn of(parts: &Parts, arrived: Now) -> Self {
        let host = parts.headers.get(http::header::HOST).and_then(|h| h.to_str().ok());
        let host = host.or(parts.uri.host()).unwrap_or_default().to_owned();
        let path = parts.uri.path().to_owned();
        Self { method: parts.method.clone(), host, path, route: None, tenant: None, arrived }
    }
}

/// A request that may be answered from the cache.
struct Plan {
    caching: Arc<Caching>,
    keyed: Arc<Keyed>,
    asked: Asked,
}

impl Plan {
    fn verdict(&self, x_cache: XCache, reason: Reason, source: Source) -> Verdict {
        let mut verdict = Verdict::new(x_cache, reason, source);
        verdict.also = self.asked.denied;
        verdict.key = Some(self.keyed.key.clone());
        verdict.show_key = self.asked.show_key;
        verdict
    }
}

impl<S: Inner> Proxy<S> {
    /// The service over `inner`.
    pub fn new(shared: Arc<Shared>, inner: S) -> Self {
        Self { shared, inner }
    }

    /// What the service shares with its side doors.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Sanitize, route, identify.
    fn enter(&self, request: Request<Body>) -> Flow {
        let arrived = self.shared.now();
        let (mut parts, body) = request.into_parts();
        let shared = &self.shared;
        let trusted = &shared.config.identity.trusted_proxies;
        let about = match sanitize(&mut parts, trusted, &shared.identity_fields, &shared.config.limits) {
            Ok(about) => about,
            Err(error) => return Flow::Now(self.refused(&Told::of(&parts, arrived), &error)),
        };
        let Some(route) = shared.router.find(about.host(), parts.uri.path(), &parts.method) else {
            let error = Error::new(ErrorKind::NoRoute, "no route of the configuration matches this request");
            return Flow::Now(self.refused(&Told::of(&parts, arrived), &error));
        };
        let route = route.clone();
        let step = shared.identifier.identify(&parts, about.host());
        let visit = |who| Visit { parts, body, about, route, who, arrived };
        match step {
            Step::Done(who) => self.identified(visit(who)),
            Step::Refused(error) => {
                let visit = visit(Identified::default());
                Flow::Now(self.refused(&Told::of(&visit.parts, arrived), &error))
            }
            Step::Later(future) => {
                let visit = visit(Identified::default());
                let proxy = self.clone();
                Flow::Later(Box::pin(async move {
                    match future.await {
                        Ok(who) => match proxy.identified(Visit { who, ..visit }) {
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
    fn identified(&self, mut visit: Visit) -> Flow {
        visit.who.losers.strip(&mut visit.parts);
        if !visit.parts.method.is_safe() {
            return self.later(|proxy| proxy.write(visit));
        }
        let plan = match self.plan(&visit) {
            Ok(plan) => plan,
            Err((reason, asked)) => return self.later(move |proxy| proxy.pass(visit, reason, asked.denied)),
        };
        let now = visit.arrived;
        let store = plan.caching.tier.store;
        let (lookup, variant) = self.shared.cache.lookup(store, &plan.keyed.key, &visit.parts.headers, now);
        // The key under which a variant is filled on its own, once it is known that there are variants.
        let (found, absent) = match lookup {
            Lookup::Found(stored, validity) => (Some((stored, validity)), Reason::Absent),
            Lookup::OtherVariants => (None, Reason::VaryMiss),
            Lookup::Absent => (None, Reason::Absent),
        };
        let judged = found.as_ref().map(|(stored, validity)| (&stored.freshness, *validity));
        let (decision, reason) = decide(&plan.asked.wishes, judged, now);
        let reason = if reason == Reason::Absent { absent } else { reason };
        self.decided(visit, plan, decision, reason, found, variant)
    }

    fn decided(
        &self,
        visit: Visit,
        plan: Plan,
        decision: Decision,
        reason: Reason,
        found: Option<(Arc<StoredResponse>, Validity)>,
        variant: Option<CacheKey>,
    ) -> Flow {
        match (decision, found) {
            (Decision::Serve, Some((stored, _))) => {
                let verdict = plan.verdict(XCache::Hit, reason, Source::Memory);
                Flow::Now(self.serve(&visit, &stored, &verdict))
            }
            (Decision::ServeStale { refresh }, Some((stored, _))) => {
                let verdict = plan.verdict(XCache::Stale, reason, Source::Memory);
                let response = self.serve(&visit, &stored, &verdict);
                if refresh {
                    self.refresh(&visit, &plan, variant);
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
            (_, found) => {
                let uncacheable = self.shared.cache.is_uncacheable(&plan.keyed.key, visit.arrived);
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

    /// Whether the cache has a part in this request; if not, why.
    fn plan(&self, visit: &Visit) -> Result<Plan, (Reason, Asked)> {
        let plain = |reason| (reason, Asked::default());
        let caching = visit.route.caching.as_ref().ok_or(plain(Reason::NoTier))?;
        if let Some(reason) = not_for_the_cache(visit, caching) {
            return Err(plain(reason));
        }
        let about = &visit.about;
        let keyed = keyed(
            about.https,
            about.authority(),
            &visit.route,
            caching,
            &visit.who.identity,
            &visit.parts,
            visit.arrived,
        )
        .map_err(plain)?;
        let budget = &self.shared.budget;
        let asked = asked(&visit.parts, caching, &visit.who.identity, &keyed.key, budget, visit.arrived);
        if asked.bypass {
            return Err((Reason::ClientBypass, asked));
        }
        Ok(Plan { caching: caching.clone(), keyed: Arc::new(keyed), asked })
    }

    fn serve(&self, visit: &Visit, stored: &StoredResponse, verdict: &Verdict) -> Response<Body> {
        let response = from_stored(&visit.parts.method, &visit.parts.headers, stored, verdict, visit.arrived);
        if self.shared.log.wants(response.status()) {
            self.log(self.told(visit), response.status(), verdict);
        }
        response
    }

    /// Fills in the background: the stale answer is already on its way.
    fn refresh(&self, visit: &Visit, plan: &Plan, variant: Option<CacheKey>) {
        let key = variant.as_ref().unwrap_or(&plan.keyed.key);
        if let Attach::Lead(leader) = self.shared.cache.attach(key, Want::Any) {
            let (job, _) = self.job(visit, plan);
            let (private, _) = oneshot::channel();
            self.spawn(FillTask {
                shared: self.shared.clone(),
                inner: self.inner.clone(),
                job: Arc::new(job),
                leader,
                private,
            });
        }
    }

    fn job(&self, visit: &Visit, plan: &Plan) -> (Job, bool) {
        let busting = plan.asked.wishes.refresh.is_some();
        let mut request =
            fill_request(&visit.parts, &visit.about, &visit.who, &plan.caching, &plan.keyed, busting);
        request.parts.headers.remove(CHOICE);
        request.parts.extensions.insert(Upstream(visit.route.origin));
        let job = Job {
            caching: plan.caching.clone(),
            keyed: plan.keyed.clone(),
            request: request.parts,
            arrived: visit.arrived,
            wishes: plan.asked.wishes,
            max_ttl: plan.asked.max_ttl,
            generation: visit.who.generation.clone(),
            whole: busting,
        };
        (job, request.dropped_credential)
    }

    fn spawn(&self, task: FillTask<S>) {
        tokio::spawn(task.run());
    }

    /// Fill: leads or waits, at most twice, and answers with what comes out.
    async fn fetch(
        self,
        visit: Visit,
        plan: Plan,
        reason: Reason,
        old: Option<Arc<StoredResponse>>,
        variant: Option<CacheKey>,
    ) -> Response<Body> {
        let since = self.shared.cache.current(plan.keyed.coverage().stripe());
        let (job, dropped_credential) = self.job(&visit, &plan);
        let job = Arc::new(job);
        let mut key = variant.unwrap_or_else(|| plan.keyed.key.clone());
        let mut want = first_want(&plan.asked.wishes);
        for _ in 0..3 {
            let (fill, private) = self.attach(&job, &key, want);
            let led = private.is_some();
            match fill.outcome().await {
                Outcome::Streaming(head) => {
                    let mine = head.variant.as_ref().is_none_or(|fetched| {
                        variant_key(&plan.keyed.key, &head.vary, &job.request.headers).as_ref()
                            == Some(fetched)
                    });
                    if mine
                        && self.current(&fill, &head, since)
                        && let Some(reader) = head.body.reader()
                    {
                        return self.stream(&visit, &plan, reason, &head, reader, led);
                    }
                    if !mine
                        && let Some(other) = variant_key(&plan.keyed.key, &head.vary, &job.request.headers)
                    {
                        key = other;
                    }
                    want = Want::Since(since);
                }
                Outcome::Stored(stored, how) => {
                    let word = if how == Reason::Fresh { XCache::Hit } else { XCache::Revalidated };
                    if self.shared.cache.check(&stored) == Validity::Valid
                        && self.is_mine(&plan, &job, &key, &stored)
                    {
                        let source = if how == Reason::Fresh { Source::Memory } else { Source::Origin };
                        let mut verdict = plan.verdict(word, how, source);
                        verdict.collapsed = !led;
                        verdict.forwarded = (how != Reason::Fresh).then_some(StatusCode::NOT_MODIFIED);
                        return self.serve(&Visit { arrived: self.shared.now(), ..visit }, &stored, &verdict);
                    }
                    want = Want::Since(since);
                }
                Outcome::NotShared(why, status) => {
                    if is_failure(status)
                        && let Some(stale) = self.stand_in(old.as_deref())
                    {
                        let verdict = plan.verdict(XCache::Stale, Reason::StaleIfError, Source::Memory);
                        return self.serve(&visit, stale, &verdict);
                    }
                    let own = match private {
                        Some(private) if !dropped_credential => private.await.ok(),
                        _ => None,
                    };
                    return match own {
                        Some(response) => self.private(&visit, &plan, reason, why, response),
                        None => self.pass(visit, why, plan.asked.denied).await,
                    };
                }
                Outcome::Failed(error) => {
                    if let Some(stale) = self.stand_in(old.as_deref()) {
                        let verdict = plan.verdict(XCache::Stale, Reason::StaleIfError, Source::Memory);
                        return self.serve(&visit, stale, &verdict);
                    }
                    let (_, mut verdict) = rescue(&error);
                    verdict.key = Some(plan.keyed.key.clone());
                    return self.failed(&self.told(&visit), &error, verdict);
                }
            }
        }
        self.pass(visit, reason, plan.asked.denied).await
    }

    /// Joins the fill that runs, or leads a new one in a task of its own.
    fn attach(
        &self,
        job: &Arc<Job>,
        key: &CacheKey,
        want: Want,
    ) -> (Arc<Fill>, Option<oneshot::Receiver<Response<Body>>>) {
        match self.shared.cache.attach(key, want) {
            Attach::Join(fill) => (fill, None),
            Attach::Lead(leader) => {
                let (private, receiver) = oneshot::channel();
                let fill = leader.fill();
                let (shared, inner, job) = (self.shared.clone(), self.inner.clone(), job.clone());
                self.spawn(FillTask { shared, inner, job, leader, private });
                (fill, Some(receiver))
            }
        }
    }

    /// The join rule: a fill that began after this request came is good; an older one only if no purge since covers it.
    fn current(&self, fill: &Fill, head: &SharedHead, since: Position) -> bool {
        fill.begun().is_some_and(|begun| {
            begun.at >= since || self.shared.cache.check_fill(&head.selectors, begun.at) == Validity::Valid
        })
    }

    /// Whether a stored response that a fill came out with is the one under this request's key: where there are
    /// variants, that is looked up again.
    fn is_mine(&self, plan: &Plan, job: &Job, key: &CacheKey, stored: &Arc<StoredResponse>) -> bool {
        if *key != plan.keyed.key {
            return true;
        }
        let now = self.shared.now();
        let store = plan.caching.tier.store;
        match self.shared.cache.lookup(store, &plan.keyed.key, &job.request.headers, now) {
            (Lookup::Found(found, _), _) => Arc::ptr_eq(&found, stored) || found.ticket >= stored.ticket,
            (Lookup::OtherVariants, _) => false,
            // It was not kept, or is gone already: without variants it answers everybody who waited.
            (Lookup::Absent, _) => true,
        }
    }

    fn stand_in<'a>(&self, old: Option<&'a StoredResponse>) -> Option<&'a StoredResponse> {
        let now = self.shared.now();
        old.filter(|old| may_stand_in(&old.freshness, self.shared.cache.check(old), now))
    }

    fn stream(
        &self,
        visit: &Visit,
        plan: &Plan,
        reason: Reason,
        head: &SharedHead,
        reader: crate::cache::Reader,
        led: bool,
    ) -> Response<Body> {
        let mut verdict = plan.verdict(fetched_word(&plan.asked.wishes), reason, Source::Origin);
        of_fill(&mut verdict, head, led);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers.clone();
        if visit.parts.method != Method::HEAD {
            *response.body_mut() = Body::wrap(reader);
        }
        self.finish(self.told(visit), response, &verdict)
    }

    /// The answer that could not be shared, to the one whose request fetched it.
    fn private(
        &self,
        visit: &Visit,
        plan: &Plan,
        reason: Reason,
        why: Reason,
        mut response: Response<Body>,
    ) -> Response<Body> {
        let mut verdict = plan.verdict(XCache::Bypass, why, Source::Origin);
        if reason == Reason::Bust {
            verdict.also = Some(reason);
        }
        verdict.forwarded = Some(response.status());
        if visit.parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        if let Some(credential) = self.shared.identifier.credential(&visit.parts) {
            self.shared.identifier.set_cookie(&credential, response.headers());
        }
        self.finish(self.told(visit), response, &verdict)
    }

    /// Passes the request through as it is, and the answer back; neither read nor stored.
    pub(super) async fn pass(self, visit: Visit, reason: Reason, denied: Option<Reason>) -> Response<Body> {
        let told = self.told(&visit);
        let mut verdict = Verdict::new(XCache::Bypass, reason, Source::Origin);
        verdict.also = denied;
        let credential = self.shared.identifier.credential(&visit.parts);
        // A logout is a GET in some applications: the guard ends the credential before and after.
        let ending = self.shared.identifier.unsafe_request(&visit.parts);
        match self.clone().send_as_is(visit).await {
            Ok(response) => {
                if let Some(credential) = credential {
                    self.shared.identifier.set_cookie(&credential, response.headers());
                }
                drop(ending);
                verdict.forwarded = Some(response.status());
                self.finish(told, response, &verdict)
            }
            Err(error) => {
                let (_, mut failed) = rescue(&error);
                failed.also = denied;
                self.failed(&told, &error, failed)
            }
        }
    }

    /// Sends the client's own request to the origin of its route.
    pub(super) async fn send_as_is(mut self, visit: Visit) -> Result<Response<Body>, Error> {
        let Visit { mut parts, body, about, route, .. } = visit;
        parts.headers.remove(CHOICE);
        pass_request(&mut parts, &about, route.caching.as_deref());
        parts.extensions.insert(Upstream(route.origin));
        self.inner.send(Request::from_parts(parts, body)).await
    }

    /// An unsafe method: passed, and what it changed is purged before the writer hears of it.
    async fn write(self, visit: Visit) -> Response<Body> {
        let told = self.told(&visit);
        let mut verdict = Verdict::new(XCache::Bypass, Reason::Write, Source::Origin);
        let credential = self.shared.identifier.credential(&visit.parts);
        let ending = self.shared.identifier.unsafe_request(&visit.parts);
        let pending = write::Pending::of(self.shared.clone(), &visit);
        match self.clone().send_as_is(visit).await {
            Ok(response) => {
                pending.answered(response.status());
                if let Some(credential) = credential {
                    self.shared.identifier.set_cookie(&credential, response.headers());
                }
                drop(ending);
                verdict.forwarded = Some(response.status());
                self.finish(told, response, &verdict)
            }
            Err(error) => {
                pending.failed(&error);
                let (_, verdict) = rescue(&error);
                self.failed(&told, &error, verdict)
            }
        }
    }

    pub(super) fn told(&self, visit: &Visit) -> Told {
        let tenant = visit.who.identity.tenant.as_ref().map(|tenant| tenant.name.clone());
        Told { route: Some(visit.route.clone()), tenant, ..Told::of(&visit.parts, visit.arrived) }
    }

    /// Respond.
    fn finish(&self, told: Told, mut response: Response<Body>, verdict: &Verdict) -> Response<Body> {
        verdict.write(response.headers_mut(), None);
        if self.shared.log.wants(response.status()) {
            self.log(told, response.status(), verdict);
        }
        response
    }

    fn refused(&self, told: &Told, error: &Error) -> Response<Body> {
        let (_, verdict) = rescue(error);
        self.failed(told, error, verdict)
    }

    fn failed(&self, told: &Told, error: &Error, verdict: Verdict) -> Response<Body> {
        let (mut response, _) = rescue(error);
        verdict.write(response.headers_mut(), None);
        if self.shared.log.wants(response.status()) {
            let told = Told {
                method: told.method.clone(),
                host: told.host.clone(),
                path: told.path.clone(),
                route: told.route.clone(),
                tenant: told.tenant.clone(),
                arrived: told.arrived,
            };
            self.log(told, response.status(), &verdict);
        }
        response
    }

    fn log(&self, told: Told, status: StatusCode, verdict: &Verdict) {
        let now = self.shared.now();
        self.shared.log.tell(Record {
            at: told.arrived.wall,
            method: told.method,
            host: told.host,
            path: told.path,
            route: told.route.map(|route| route.name.clone()),
            tenant: told.tenant,
            status,
            verdict: verdict.clone(),
            took: now.mono.saturating_sub(told.arrived.mono),
        });
    }
}

/// Statuses for which a stale response may stand in (RFC 5861 section 4).
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Why a request of a cached route has nothing to do with the cache.
fn not_for_the_cache(visit: &Visit, caching: &Caching) -> Option<Reason> {
    let parts = &visit.parts;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Some(Reason::Method);
    }
    if visit.about.upgrade {
        return Some(Reason::Upgrade);
    }
    if !visit.body.is_end_stream() {
        return Some(Reason::GetWithBody);
    }
    if visit.who.invalid {
        return Some(Reason::InvalidToken);
    }
    if parts.headers.contains_key(http::header::RANGE) {
        return Some(Reason::RangeRequest);
    }
    (!holds(&caching.only_if, visit)).then_some(Reason::OnlyIf)
}

/// Whether the route's condition on the request holds.
fn holds(only_if: &OnlyIf, visit: &Visit) -> bool {
    let role = only_if.role.is_empty() || allowed(&Allow::Roles(only_if.role.clone()), &visit.who.identity);
    let one_of = |wanted: &[String], values: &mut dyn Iterator<Item = String>| {
        let mut values = values.peekable();
        values.peek().is_some() && values.all(|value| wanted.is_empty() || wanted.contains(&value))
    };
    let query = visit.parts.uri.query().unwrap_or_default();
    role && only_if.query.iter().all(|(name, wanted)| {
        let named = query::pairs(query).filter(|pair| query::is_named(pair.name, name));
        one_of(wanted, &mut named.filter_map(|pair| query::decode(pair.value).map(|v| v.into_owned())))
    }) && only_if.header.iter().all(|(name, wanted)| {
        let values = visit.parts.headers.get_all(name).iter();
        one_of(wanted, &mut values.filter_map(|value| value.to_str().ok().map(str::to_owned)))
    })
}
