//! POST whose answer is the representation of its own URL (RFC 9110 section 9.3.3): which request may bring such an answer,
//! and which answer is one. What is then stored, and when, is in `fill::posted`.
//!
//! Keeps: the answer is stored only where the POST was sent as the GET of the same client would have been, content and
//! method apart, so that a response that POST brought is as good as one that GET brought.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LOCATION};
use http::{HeaderMap, Method, Response, StatusCode};

use super::fill::{FillTask, Job, Posted};
use super::keyed::{is_bust, probe};
use super::origin_request::CONDITIONAL;
use super::plan::{Plan, holds};
use super::shared::Inner;
use super::tags::Said;
use super::verdict::Source;
use super::visit::{Proxy, Visit};
use super::wishes::{Asked, CHOICE};
use crate::cache::{Attach, Want};
use crate::clock::Now;
use crate::config::Ttl;
use crate::http::{Body, query, reference};
use crate::policy::cache_control::CacheControl;
use crate::policy::ranges;
use crate::stored::Position;

/// A POST under way that the GET of its URL could have been.
pub(super) struct Posting {
    job: Arc<Job>,
    /// `current` before the origin is contacted.
    since: Position,
    requested: Now,
    https: bool,
    path: String,
    query: Option<String>,
    /// The client's own codings were sent, and they are not those of a fill.
    own_codings: bool,
}

impl<S: Inner> Proxy<S> {
    /// What is to be known of a POST before it is sent, if its answer may be stored.
    pub(super) fn posting(&self, visit: &Visit) -> Option<Posting> {
        let (parts, about) = (&visit.parts, &visit.about);
        let caching = visit.route.caching.as_ref().filter(|caching| caching.tier.ttl == Ttl::Origin)?;
        let raw = parts.uri.query();
        let busts = query::pairs(raw.unwrap_or_default()).any(|pair| is_bust(caching, pair.name));
        let special = |name: &http::HeaderName| CONDITIONAL.contains(name) || *name == CHOICE;
        let plain = parts.method == Method::POST
            && !about.upgrade
            && !visit.who.invalid
            && !busts
            && !parts.headers.keys().any(special)
            && !CacheControl::of_request(&parts.headers).no_store
            && holds(&caching.only_if, visit);
        let gets = self.shared.router.find(about.host(), parts.uri.path(), &Method::GET)?;
        if !plain || !Arc::ptr_eq(gets, &visit.route) {
            return None;
        }
        let (authority, who, now) = (about.authority(), &visit.who.identity, self.shared.now());
        let probe = probe(about.https, authority, &visit.route, caching, who, parts, now).ok()?;
        let keyed = probe.kept(&visit.route, caching, authority, parts);
        let since = self.shared.cache.current(keyed.coverage().stripe());
        let plan = Plan {
            caching: caching.clone(),
            keyed: Arc::new(keyed),
            asked: Asked::default(),
            range: ranges::Asked::Whole,
            span: None,
            now,
            level: Source::Memory,
        };
        let (job, says_less) = self.job(visit, &plan, false);
        let codings =
            |headers: &HeaderMap| headers.get_all(ACCEPT_ENCODING).iter().cloned().collect::<Vec<_>>();
        (!says_less).then(|| Posting {
            own_codings: codings(&parts.headers) != codings(&job.request.headers),
            job: Arc::new(job),
            since,
            requested: now,
            https: about.https,
            path: parts.uri.path().to_owned(),
            query: raw.map(str::to_owned),
        })
    }
}

impl Posting {
    /// The answer's head is here, and what it purges is not purged yet: if it may be stored as a GET's could be, it takes
    /// its place among the fills of the key.
    pub(super) fn answered<S: Inner>(
        self,
        proxy: &Proxy<S>,
        said: &Said,
        response: &Response<Body>,
    ) -> Option<Posted<S>> {
        let encoded = response.headers().contains_key(CONTENT_ENCODING);
        if response.status() != StatusCode::OK || encoded && self.own_codings || !self.is_located(response) {
            return None;
        }
        let key = &self.job.keyed.key;
        // A place of its own: nobody waits for it. Of two such answers at once one is stored.
        let place = key.variant(&[])?.variant(&[])?;
        let Attach::Lead(leader) = proxy.shared.cache.attach(key, Some(&place), Want::Any) else {
            return None;
        };
        let (shared, inner) = (proxy.shared.clone(), proxy.inner.clone());
        let task = FillTask { shared, inner, job: self.job, leader, private: None, lease: None };
        task.posted(self.since, self.requested, said, response)
    }

    /// Whether `Content-Location` says that the content is the representation of the target itself.
    fn is_located(&self, response: &Response<Body>) -> bool {
        let mut lines = response.headers().get_all(CONTENT_LOCATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let Ok(text) = line.to_str() else { return false };
        let scheme = text.trim().split_once("://").map(|(scheme, _)| scheme);
        let other = if self.https { "http" } else { "https" };
        let target = reference::resolve(&self.path, self.query.as_deref(), text);
        !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(other))
            && target.is_some_and(|target| {
                target.authority.is_none_or(|authority| authority == self.job.keyed.authority)
                    && target.path == self.path
                    && target.query == self.query
            })
    }
}
