//! Fetch: a request that the store cannot answer leads a fill or waits for one, and answers with what comes out.
//!
//! The join rule (docs/architecture.md): a request may take any fill that began after it arrived; an older one only if no
//! purge since covers it, hard or soft; failing that, all such requests join one new fill. Nobody waits for more than a few.

use std::sync::Arc;

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use tokio::sync::oneshot;

use super::fill::{FillTask, Job, Own};
use super::invalidation::Purging;
use super::keyed::route_tags;
use super::origin::Upstream;
use super::origin_request::fill_request;
use super::plan::Plan;
use super::ranged::{self, Trimmed};
use super::receive::content_length;
use super::rescue::rescue;
use super::respond::{is_unchanged, unchanged};
use super::shared::Inner;
use super::verdict::{Source, Verdict, XCache};
use super::visit::{Proxy, Visit};
use super::wishes::CHOICE;
use crate::cache::{Attach, Fill, Kept, Outcome, SharedHead, Want, variant_key};
use crate::clock::Now;
use crate::config::Ttl;
use crate::error::Error;
use crate::http::{Body, Interim};
use crate::key::CacheKey;
use crate::policy::decide::may_stand_in;
use crate::policy::ranges::{self, Asked, Extent};
use crate::policy::{Reason, Validity};
use crate::stored::{Position, StoredResponse};

/// How many fills a request waits for at most: one that proves purged, one for other variants, one more.
const ROUNDS: usize = 3;

/// What only the request gets whose fill fetched it.
type Private = oneshot::Receiver<Own>;

/// What a request fetches, and what it may fall back on.
struct Errand {
    visit: Visit,
    plan: Plan,
    reason: Reason,
    /// The stored response that was not good enough.
    old: Option<Arc<StoredResponse>>,
    job: Arc<Job>,
    /// The client's own request says something that the fill's does not.
    says_less: bool,
    /// `current` when the request came.
    since: Position,
}

impl Errand {
    /// Whether the variant that a fill came out with is this request's. If not, the error is the key of this request's.
    fn is_own_variant(
        &self,
        vary: &[HeaderName],
        variant: Option<&CacheKey>,
    ) -> Result<(), Option<CacheKey>> {
        let Some(fetched) = variant else { return Ok(()) };
        let own = variant_key(&self.plan.keyed.key, vary, &self.job.request.headers);
        if own.as_ref() == Some(fetched) { Ok(()) } else { Err(own) }
    }
}

impl<S: Inner> Proxy<S> {
    /// Fills in the background: the stale answer is already on its way.
    pub(super) fn refresh(&self, visit: &Visit, plan: &Plan, variant: Option<&CacheKey>) {
        let key = &plan.keyed.key;
        let Some(place) = plan.place(variant.unwrap_or(key), &visit.parts.headers) else { return };
        if let Attach::Lead(leader) = self.shared.cache.attach(key, Some(&place), Want::Any) {
            let (mut job, _) = self.job(visit, plan, false);
            job.request.extensions.remove::<Interim>();
            let private = None;
            let (shared, inner) = (self.shared.clone(), self.inner.clone());
            tokio::spawn(FillTask { shared, inner, job: Arc::new(job), leader, private, lease: None }.run());
        }
    }

    /// The job of a fill, and whether the client's own request says more than the fill's.
    pub(super) fn job(&self, visit: &Visit, plan: &Plan, head: bool) -> (Job, bool) {
        let busting = plan.asked.wishes.refresh.is_some();
        let mut request =
            fill_request(&visit.parts, &visit.about, &visit.who, &plan.caching, &plan.keyed, busting);
        request.parts.headers.remove(CHOICE);
        let extensions = &mut request.parts.extensions;
        // Who leads hears what comes before the answer.
        let interim = visit.body.interim().or_else(|| extensions.remove());
        if plan.caching.tier.ttl != Ttl::Origin {
            // What an outer layer knows of this client is not in the key.
            extensions.clear();
        } else if let Some(peer) = visit.body.peer() {
            // An application may ask for the other end of the connection.
            extensions.get_or_insert(peer);
        }
        interim.map(|interim| extensions.insert::<Interim>(interim));
        extensions.insert(Upstream(visit.route.origin));
        // Where the configuration has it in the key, it is there without a fill for it, too.
        [RANGE, IF_RANGE].iter().for_each(|name| drop(request.parts.headers.remove(name)));
        let uncacheable = plan.keyed.uncacheable(&plan.caching, &visit.parts.headers);
        if let Some(span) = plan.span {
            let condition = visit.parts.headers.get(IF_RANGE).map(|condition| (IF_RANGE, condition.clone()));
            request.parts.headers.extend(condition);
            request.parts.headers.insert(RANGE, ranges::value(&span));
        }
        let job = Job {
            caching: plan.caching.clone(),
            keyed: plan.keyed.clone(),
            tags: route_tags(&visit.route, &plan.caching, &visit.who.identity, &visit.parts),
            uncacheable: plan.place(&uncacheable, &visit.parts.headers).unwrap_or(uncacheable.into_owned()),
            span: plan.span,
            request: request.parts,
            arrived: visit.arrived,
            wishes: plan.asked.wishes,
            max_ttl: plan.asked.max_ttl,
            generation: visit.who.generation.clone(),
            whole: busting,
            head,
            purging: visit.route.purge_on_any.then(|| Purging::of(visit)),
        };
        (job, request.says_less)
    }

    /// Leads or waits, and answers with what comes out.
    pub(super) async fn fetch(
        self,
        visit: Visit,
        plan: Plan,
        reason: Reason,
        old: Option<Arc<StoredResponse>>,
        variant: Option<CacheKey>,
    ) -> Response<Body> {
        // Before `since`: whatever was acknowledged before this request came is in force here, if this node is current now.
        let cache = &self.shared.cache;
        let (current, settled) = (cache.is_current(), cache.fence().provisional() == 0);
        let reason = if current { reason } else { Reason::LogAway };
        let since = cache.current(plan.keyed.coverage().stripe());
        let head = self.asks_with_head(&visit, &plan, old.as_deref());
        let (job, says_less) = self.job(&visit, &plan, head);
        let mut variant = variant;
        // While nobody knows what was purged, or where a purge has its place, only a fill that begins after this request came is
        // good enough.
        let new = !current || !settled || plan.asked.wishes.refresh.is_some();
        let mut want = if new { Want::New } else { Want::Any };
        let errand = Errand { visit, plan, reason, old, job: Arc::new(job), says_less, since };
        for _ in 0..ROUNDS {
            let whole = variant.as_ref().unwrap_or(&errand.plan.keyed.key);
            let Some(place) = errand.plan.place(whole, &errand.visit.parts.headers) else { break };
            let (fill, mut private) = self.attach(&errand.job, &place, want);
            match fill.outcome().await {
                Outcome::Streaming(head) => match self.streaming(&errand, &fill, &head, private.as_mut()) {
                    Ok(response) => return response,
                    Err(other) => variant = other.or(variant),
                },
                Outcome::Stored(kept) => match self.stored(&errand, &kept, private.as_mut()) {
                    Ok(response) => return response,
                    Err(other) => variant = other.or(variant),
                },
                Outcome::NotShared(why, status) => {
                    return self.not_shared(errand, private, why, status).await;
                }
                Outcome::Failed(error) => return self.no_answer(&errand, &error),
            }
            // Who asked for a fresh answer takes none that was under way, also not in a later round.
            if want != Want::New {
                want = Want::Since(errand.since);
            }
        }
        self.pass(errand.visit, errand.reason, errand.plan.asked.denied).await
    }

    /// Whether a HEAD goes on as one: where RFC 9111 decides, and a stored 200 is there to be confirmed or updated by the
    /// answer (section 4.3.5). Otherwise a GET is asked, whose answer can be stored.
    fn asks_with_head(&self, visit: &Visit, plan: &Plan, old: Option<&StoredResponse>) -> bool {
        visit.parts.method == Method::HEAD
            && plan.caching.tier.ttl == Ttl::Origin
            && plan.asked.wishes.refresh.is_none()
            && old.is_some_and(|old| {
                old.status == StatusCode::OK && self.shared.cache.check(old) == Validity::Valid
            })
    }

    /// Joins the fill that runs, or leads a new one in a task of its own.
    fn attach(&self, job: &Arc<Job>, place: &CacheKey, want: Want) -> (Arc<Fill>, Option<Private>) {
        // A HEAD has a place of its own, which is no variant's: no GET waits for its answer.
        let apart = job.head.then(|| place.variant(&[])).flatten();
        match self.shared.cache.attach(&job.keyed.key, Some(apart.as_ref().unwrap_or(place)), want) {
            Attach::Join(fill) => (fill, None),
            Attach::Lead(leader) => {
                let (private, receiver) = oneshot::channel();
                let fill = leader.fill();
                let (shared, inner, job) = (self.shared.clone(), self.inner.clone(), job.clone());
                let private = Some(private);
                tokio::spawn(FillTask { shared, inner, job, leader, private, lease: None }.run());
                (fill, Some(receiver))
            }
        }
    }

    /// The answer as it comes in, if it fits this request and no purge covers it. If it is another variant, the error is
    /// the key of this request's.
    fn streaming(
        &self,
        errand: &Errand,
        fill: &Fill,
        head: &SharedHead,
        private: Option<&mut Private>,
    ) -> Result<Response<Body>, Option<CacheKey>> {
        errand.is_own_variant(&head.vary, head.variant.as_ref())?;
        if !self.is_current(fill, head, errand.since) {
            return Err(None);
        }
        let reader = head.body.reader().ok_or(None)?;
        let plan = &errand.plan;
        let word = if plan.asked.wishes.refresh.is_some() { XCache::Refresh } else { XCache::Miss };
        let mut verdict = plan.verdict(word, errand.reason, Source::Origin);
        verdict.stored = head.stored;
        verdict.collapsed = private.is_none();
        verdict.forwarded = Some(head.status);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers.clone();
        let parts = &errand.visit.parts;
        if is_unchanged(&parts.headers, head.status, |name| head.headers.get(name), self.shared.now()) {
            // The client has it; the fill goes on for the others.
            unchanged(&mut response);
        } else if parts.method != Method::HEAD {
            *response.body_mut() = Body::wrap(reader);
        }
        trim(plan.range, &errand.visit.parts.headers, &mut response, self.shared.now());
        self.add_own_fields(errand, private, &mut response);
        Ok(self.finish(self.told(&errand.visit), response, &verdict))
    }

    /// A fill that began after this request came is good; an older one only if no purge since covers it: neither
    /// purged nor stale.
    fn is_current(&self, fill: &Fill, head: &SharedHead, since: Position) -> bool {
        fill.begun().is_some_and(|begun| {
            begun.at >= since || self.shared.cache.check_fill(&head.selectors, begun.at) == Validity::Valid
        })
    }

    /// The stored response that the fill came out with: validated, or brought by another fill meanwhile.
    fn stored(
        &self,
        errand: &Errand,
        kept: &Kept,
        private: Option<&mut Private>,
    ) -> Result<Response<Body>, Option<CacheKey>> {
        errand.is_own_variant(&kept.vary, kept.variant.as_ref())?;
        if self.shared.cache.check(&kept.response) != Validity::Valid {
            return Err(None);
        }
        let fresh = kept.how == Reason::Fresh;
        let (word, source) = match (fresh, kept.brought) {
            (true, true) => (XCache::Hit, Source::Redis),
            (true, false) => (XCache::Hit, Source::Memory),
            (false, _) => (XCache::Revalidated, Source::Origin),
        };
        // Where the origin confirmed another variant, there was nothing stale.
        let others = !fresh && errand.reason == Reason::VaryMiss;
        let reason = if others { errand.reason } else { kept.how };
        let mut verdict = errand.plan.verdict(word, reason, source);
        verdict.collapsed = private.is_none();
        verdict.forwarded = match kept.how {
            Reason::Fresh => None,
            Reason::HeadUpdated => Some(StatusCode::OK),
            _ => Some(StatusCode::NOT_MODIFIED),
        };
        let mut response =
            self.serve(&errand.visit, errand.plan.range, &kept.response, &verdict, self.shared.now());
        self.add_own_fields(errand, private, &mut response);
        Ok(response)
    }

    /// The fields of a shared answer that only the one who led gets: and only where the origin was asked what the client
    /// asked. An anonymous fill's `Set-Cookie` must not take the place of the client's session.
    fn add_own_fields(&self, errand: &Errand, private: Option<&mut Private>, response: &mut Response<Body>) {
        if errand.says_less {
            return;
        }
        let Some(Ok(Own::Fields(fields))) = private.map(oneshot::Receiver::try_recv) else { return };
        if let Some(credential) = self.shared.identifier.credential(&errand.visit.parts) {
            self.shared.identifier.set_cookie(&credential, &fields);
        }
        for (name, value) in &fields {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }

    /// The answer may not be shared: a stale one stands in for a failure, the one whose request it was gets it, everybody
    /// else asks for themselves.
    async fn not_shared(
        self,
        errand: Errand,
        private: Option<Private>,
        why: Reason,
        status: StatusCode,
    ) -> Response<Body> {
        if is_failure(status)
            && let Some(stale) = self.stand_in(&errand)
        {
            return stale;
        }
        let own = match private {
            Some(private) if !errand.says_less => private.await.ok(),
            _ => None,
        };
        let Some(Own::Answer(mut response)) = own else {
            return self.pass(errand.visit, why, errand.plan.asked.denied).await;
        };
        let mut verdict = errand.plan.verdict(XCache::Bypass, why, Source::Origin);
        verdict.forwarded = Some(response.status());
        if errand.visit.parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        if let Some(credential) = self.shared.identifier.credential(&errand.visit.parts) {
            self.shared.identifier.set_cookie(&credential, response.headers());
        }
        self.finish(self.told(&errand.visit), response, &verdict)
    }

    fn no_answer(&self, errand: &Errand, error: &Error) -> Response<Body> {
        if let Some(stale) = self.stand_in(errand) {
            return stale;
        }
        let (_, failed) = rescue(error);
        let verdict = Verdict { key: Some(errand.plan.keyed.key.clone()), ..failed };
        self.failed(&self.told(&errand.visit), error, verdict)
    }

    /// The stale response, where it may stand in for an origin that failed (RFC 5861 section 4).
    fn stand_in(&self, errand: &Errand) -> Option<Response<Body>> {
        let now = self.shared.now();
        let old = errand.old.as_ref()?;
        let validity = self.shared.cache.check_for(old, errand.visit.causer());
        if !may_stand_in(&errand.job.wishes.directives, &old.freshness(), validity, now) {
            return None;
        }
        let mut verdict = errand.plan.verdict(XCache::Stale, Reason::StaleIfError, errand.plan.level);
        if let Validity::StaleSince(since) = validity {
            verdict.stale_since = Some(since);
        }
        Some(self.serve(&errand.visit, errand.plan.range, old, &verdict, now))
    }
}

/// Cuts the range that was asked for out of a whole answer whose length is known (RFC 9110 section 14.2).
fn trim(asked: Asked, request: &HeaderMap, response: &mut Response<Body>, now: Now) {
    let headers = response.headers();
    let length = content_length(headers).filter(|_| response.status() == StatusCode::OK);
    let extent = length.and_then(Extent::whole);
    let Some(cut) = ranged::cut(asked, request, extent, |name| headers.get(name), now) else { return };
    let (status, at) = ranged::head(&cut, response.headers_mut());
    *response.status_mut() = status;
    let body = std::mem::take(response.body_mut());
    *response.body_mut() = Body::wrap(Trimmed::new(body, &at));
}

/// Statuses for which a stale response may stand in (RFC 5861 section 4).
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
