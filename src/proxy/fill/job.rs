//! What a fill is about: the job, the task that does it, the answer's head.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use tokio::sync::oneshot;

use crate::cache::{Leader, Lease};
use crate::clock::Now;
use crate::config::Caching;
use crate::http::Body;
use crate::key::CacheKey;
use crate::policy::Reason;
use crate::policy::decide::Wishes;
use crate::policy::ranges::Span;
use crate::proxy::identify::Generation;
use crate::proxy::invalidation::Purging;
use crate::proxy::keyed::Keyed;
use crate::proxy::shared::Shared;
use crate::stored::StoredResponse;

/// What is to be fetched, for whom, and how it is kept.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Job {
    pub(in crate::proxy) caching: Arc<Caching>,
    pub(in crate::proxy) keyed: Arc<Keyed>,
    /// The tags of the route.
    pub(in crate::proxy) tags: Vec<Arc<str>>,
    /// Where it is remembered that the answer could not be stored.
    pub(in crate::proxy) uncacheable: CacheKey,
    /// The range that is asked for; `None`: the whole.
    pub(in crate::proxy) span: Option<Span>,
    /// The head of the request to the origin.
    pub(in crate::proxy) request: Parts,
    pub(in crate::proxy) arrived: Now,
    pub(in crate::proxy) wishes: Wishes,
    pub(in crate::proxy) max_ttl: Option<Duration>,
    pub(in crate::proxy) generation: Option<Generation>,
    /// The stored response may not be used, nor its validator.
    pub(in crate::proxy) whole: bool,
    /// For a HEAD: what is stored is confirmed or updated by a HEAD of the origin's, where it can be.
    pub(in crate::proxy) head: bool,
    /// Whose entries the answer may purge, where the route lets any answer purge.
    pub(in crate::proxy) purging: Option<Purging>,
}

/// What nobody gets but the one who led.
pub(in crate::proxy) enum Own {
    /// An answer that may not be shared.
    Answer(Response<Body>),
    /// The fields of a shared answer that `no-cache` or `private` names. They are sent before the answer is announced.
    Fields(HeaderMap),
}

/// The fields that tell variants apart, and the key of one.
pub(super) type Variant = (Vec<HeaderName>, CacheKey);

/// One fill under way.
pub(in crate::proxy) struct FillTask<S> {
    pub(in crate::proxy) shared: Arc<Shared>,
    pub(in crate::proxy) inner: S,
    pub(in crate::proxy) job: Arc<Job>,
    pub(in crate::proxy) leader: Leader,
    /// To the one who led; taken when something was sent.
    pub(in crate::proxy) private: Option<oneshot::Sender<Own>>,
    /// Where this node fills for all that share the store.
    pub(in crate::proxy) lease: Option<Lease>,
}

/// An answer's head, and when it came.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) requested: Now,
    pub(super) received: Now,
    /// Its end is that of the connection: nobody can say whether it is whole.
    pub(super) close_delimited: bool,
    /// The tags of the response, or why it cannot have them all.
    pub(super) tags: Result<Vec<Arc<str>>, Reason>,
}

/// A stored response that the origin may confirm, and by which validators.
pub(super) type Old = (Arc<StoredResponse>, Strength);

/// Which validators may confirm a stored response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    Any,
    /// After a soft purge something has changed, and another variant is not this one: a weak entity tag, or a date, may not
    /// tell (RFC 9110 section 8.8.1).
    Strong,
}
