//! A fill: the exchange with the origin on behalf of everybody who waits for one key.
//!
//! It runs as a task of its own, so that it ends when it ends, whoever leaves. The order is that of the fence:
//! `begun_at` is loaded before the origin is contacted; only after it is the stored response looked at again, and only
//! then may its validator be sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CONTENT_ENCODING, DATE, ETAG, LAST_MODIFIED, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use tokio::sync::oneshot;

use super::exceptions::{Answer, rule};
use super::identify::Generation;
use super::invalidation::Purging;
use super::keyed::Keyed;
use super::origin::CloseDelimited;
use super::receive::{content_length, receive};
use super::shared::{Inner, Shared};
use super::tags::{self, Said};
use crate::cache::{Begun, Kept, Leader, Lookup, Outcome, SharedBody, SharedHead, variant_key};
use crate::clock::Now;
use crate::config::{Caching, Ttl};
use crate::error::{Error, ErrorKind};
use crate::http::{Body, fields};
use crate::key::CacheKey;
use crate::policy::decide::Wishes;
use crate::policy::storable::{Exchange, StoreRules};
use crate::policy::{Decision, Freshness, Reason, Validity, decide, storable, validation, vary};
use crate::stored::{Selectors, StoredResponse};

/// What is to be fetched, for whom, and how it is kept.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) caching: Arc<Caching>,
    pub(super) keyed: Arc<Keyed>,
    /// The tags of the route.
    pub(super) tags: Vec<Arc<str>>,
    /// Where it is remembered that the answer could not be stored.
    pub(super) uncacheable: CacheKey,
    /// The head of the request to the origin.
    pub(super) request: Parts,
    pub(super) arrived: Now,
    pub(super) wishes: Wishes,
    pub(super) max_ttl: Option<Duration>,
    pub(super) generation: Option<Generation>,
    /// The stored response may not be used, nor its validator.
    pub(super) whole: bool,
    /// Whose entries the answer may purge, where the route lets any answer purge.
    pub(super) purging: Option<Purging>,
}

/// The answer that may not be shared, for the one who led.
pub(super) type Private = oneshot::Sender<Response<Body>>;

/// The fields that tell variants apart, and the key of one.
type Variant = (Vec<HeaderName>, CacheKey);

/// One fill under way.
pub(super) struct FillTask<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) inner: S,
    pub(super) job: Arc<Job>,
    pub(super) leader: Leader,
    pub(super) private: Private,
}

/// An answer's head, and when it came.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    requested: Now,
    received: Now,
    /// Its end is that of the connection: nobody can say whether it is whole.
    close_delimited: bool,
    /// The tags of the response, or why it cannot have them all.
    tags: Result<Vec<Arc<str>>, Reason>,
}

impl<S: Inner> FillTask<S> {
    /// Sees the fill through. Whatever happens, the leader's drop wakes whoever still waits.
    pub(super) async fn run(mut self) {
        self.leader.turn().await;
        let begun = self.shared.cache.begin(&mut self.leader, self.job.keyed.coverage().stripe());
        let old = match self.look_again() {
            Again::Use(stored, variant) => return self.kept(stored, Reason::Fresh, variant),
            Again::Validate(stored, strength) => Some((stored, strength)),
            Again::Nothing => None,
        };
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
        let (found, _) =
            self.shared.cache.lookup(job.caching.tier.store, &job.keyed.key, &job.request.headers, now);
        let stored = match found {
            Lookup::Found(stored, Validity::Valid) => stored,
            // It can only be confirmed, and that by a validator that stands for every byte.
            Lookup::Found(stored, Validity::StaleSince(_)) if validation::is_strong(stored.field(&ETAG)) => {
                return Again::Validate(stored, Strength::Strong);
            }
            _ => return Again::Nothing,
        };
        let since = stored.freshness.received >= job.arrived.mono;
        let verdict = decide(&job.wishes, Some((&stored.freshness, Validity::Valid)), now).0;
        if since && stored.freshness.staleness(now).is_none() || verdict == Decision::Serve {
            // Whoever waits may be after another variant: which one this is goes along.
            return match self.variant(&stored.header_map()) {
                Ok(variant) => Again::Use(stored, variant),
                Err(_) => Again::Nothing,
            };
        }
        Again::Validate(stored, Strength::Any)
    }

    /// A stored response answers everybody whose variant it is.
    fn kept(&self, response: Arc<StoredResponse>, how: Reason, variant: Option<Variant>) {
        let (vary, variant) = variant.map_or((Vec::new(), None), |(vary, key)| (vary, Some(key)));
        self.leader.answer(Outcome::Stored(Arc::new(Kept { response, how, vary, variant })));
    }

    /// Asks the origin, with the validators of `old`. A 304 that does not speak of it is asked again, without. The third
    /// value is `old`, where a 304 confirms it.
    async fn exchange(
        &mut self,
        old: Option<(Arc<StoredResponse>, Strength)>,
    ) -> Result<(Head, Body, Option<Arc<StoredResponse>>), Error> {
        let (head, body) = self.ask(old.as_ref().map(|(old, strength)| (&**old, *strength))).await?;
        let Some((old, strength)) = old.filter(|_| head.status == StatusCode::NOT_MODIFIED) else {
            return Ok((head, body, None));
        };
        if confirms(&old, strength, &head.headers) {
            return Ok((head, body, Some(old)));
        }
        let (head, body) = self.ask(None).await?;
        Ok((head, body, None))
    }

    async fn ask(&mut self, old: Option<(&StoredResponse, Strength)>) -> Result<(Head, Body), Error> {
        let mut request = Request::from_parts(self.job.request.clone(), Body::empty());
        if let Some((old, strength)) = old.filter(|(old, _)| old.status == StatusCode::OK) {
            // A date says nothing of a change within its second.
            let modified = old.field(&LAST_MODIFIED).filter(|_| strength == Strength::Any);
            request.headers_mut().extend(validation::conditions(old.field(&ETAG), modified));
        }
        let requested = self.shared.now();
        let (mut parts, body) = self.inner.send(request).await?.into_parts();
        let received = self.shared.now();
        fields::strip_connection_specific(&mut parts.headers).map_err(|name| {
            Error::new(ErrorKind::OriginBroken, format!("the answer's `Connection` names `{name}`"))
        })?;
        let said = tags::take(&mut parts.headers);
        let (status, headers) = (parts.status, parts.headers);
        let tags = self.tags(&said, old.filter(|_| status == StatusCode::NOT_MODIFIED).map(|(old, _)| old));
        if let Some(purging) = &self.job.purging {
            purging.answered(&self.shared, &said);
        }
        let close_delimited = parts.extensions.get::<CloseDelimited>().is_some();
        Ok((Head { status, headers, requested, received, close_delimited, tags }, body))
    }

    /// The tags of the route and of the answer; a 304 that names none leaves those of `old` as they are.
    fn tags(&self, said: &Said, old: Option<&StoredResponse>) -> Result<Vec<Arc<str>>, Reason> {
        let kept = old.filter(|_| said.tags.is_none()).map(|old| &old.selectors.tags[..]);
        let answer = kept.or(said.tags.as_deref()).unwrap_or_default();
        tags::together(&self.job.tags, answer).inspect_err(|_| {
            tracing::warn!(
                route = self.job.keyed.route.name,
                url = self.job.keyed.target,
                most = crate::tag::MAX_TAGS,
                longest = crate::tag::MAX_TAG_BYTES,
                "more or longer tags than are kept: the response is not stored, because it could not be purged"
            );
        })
    }

    async fn answered(self, begun: Begun, head: Head, body: Body) {
        let size = body.size_hint().exact().or_else(|| content_length(&head.headers));
        match self.judge(&head, size, None) {
            Err(reason) => self.not_shared(reason, head, body),
            Ok(_) => self.shared(begun, head, size, body).await,
        }
    }

    /// Whether the answer may be kept, and for how long.
    fn judge(&self, head: &Head, size: Option<u64>, content: Option<&[u8]>) -> Result<Freshness, Reason> {
        let job = &self.job;
        if job.generation.as_ref().is_some_and(|generation| !generation.is_current()) {
            // Who it was asked for may be somebody else by now.
            return Err(Reason::CredentialChanged);
        }
        if head.close_delimited {
            return Err(Reason::CloseDelimited);
        }
        head.tags.as_ref().map_err(|reason| *reason)?;
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
        };
        storable(&exchange, &rules)
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

    /// Where the route overrides `Set-Cookie`, nobody gets it.
    fn strip_set_cookie(&self, headers: &mut HeaderMap) {
        let caching = &self.job.caching;
        if caching.overrides.set_cookie && !caching.unsafe_store_set_cookie {
            headers.remove(SET_COOKIE);
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
            stored: !too_large,
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

    fn selectors(&self, head: &Head) -> Selectors {
        self.job.keyed.coverage().selectors(head.tags.clone().unwrap_or_default())
    }

    fn stored(&self, begun: Begun, head: &Head, freshness: Freshness, body: Bytes) -> StoredResponse {
        let selectors = self.selectors(head);
        let wall = u64::try_from(head.received.wall.as_millis()).unwrap_or(u64::MAX);
        StoredResponse::new(
            head.status,
            &head.headers,
            body,
            freshness,
            begun.at,
            begun.ticket,
            selectors,
            wall,
        )
    }

    /// The fields that tell variants of this answer apart, and the key of the one that was fetched.
    fn variant(&self, answer: &HeaderMap) -> Result<Option<Variant>, Reason> {
        let job = &self.job;
        let mut names = vary::selecting_fields(answer)?;
        if job.caching.tier.ttl != Ttl::Origin {
            // The other fields are in the key, or did not reach the origin.
            names.retain(|name| super::origin_request::SAFE.contains(name));
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

/// Ends a body with an error where nothing else ended it: a fill that dies leaves no reader waiting.
struct Ending(Arc<SharedBody>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Err(Error::new(ErrorKind::Internal, "the request that fetched this answer was given up")));
    }
}

/// Which validators may confirm a stored response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    Any,
    /// After a soft purge something has changed: a weak entity tag, or a date, may not tell (RFC 9110 section 8.8.1).
    Strong,
}

enum Again {
    Use(Arc<StoredResponse>, Option<Variant>),
    Validate(Arc<StoredResponse>, Strength),
    Nothing,
}

/// Whether a 304 is the answer to the validators of `old`, which only a 200 with one was asked for with.
fn confirms(old: &StoredResponse, strength: Strength, answer: &HeaderMap) -> bool {
    let (etag, modified) = (old.field(&ETAG), old.field(&LAST_MODIFIED));
    let asked = old.status == StatusCode::OK && (etag.is_some() || modified.is_some());
    // The origin may call a tag weak that it called strong before.
    let weakened = strength == Strength::Strong && answer.contains_key(ETAG) && answer.get(ETAG) != etag;
    asked && !weakened && validation::confirms(answer, etag, modified)
}

/// A client may shorten the lifetime, never lengthen it.
fn bounded(ttl: Ttl, max: Option<Duration>) -> Ttl {
    match (ttl, max) {
        (Ttl::Fixed(ttl), Some(max)) => Ttl::Fixed(ttl.min(max)),
        (Ttl::UntilPurged, Some(max)) => Ttl::Fixed(max),
        (ttl, _) => ttl,
    }
}
