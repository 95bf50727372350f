//! The proxy, and a request on its way through it.

use std::borrow::Borrow;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

use super::identify::Identified;
use super::sanitize::Sanitized;
use super::shared::{Inner, Shared};
use crate::clock::Now;
use crate::config::Route;
use crate::http::Body;
use crate::purge::Causer;

/// The caching service: a tower service over the application.
pub struct Proxy<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) inner: S,
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

impl<S: Inner> Proxy<S> {
    /// The service over `inner`.
    pub fn new(shared: Arc<Shared>, inner: S) -> Self {
        Self { shared, inner }
    }

    /// What the service shares with its side doors.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// A request on its way: what the steps so far found out. Its route is borrowed from the router for as long as nothing waits:
/// a count that all cores write to would cost more than the rest of the look-up.
pub(super) struct Visit<R = Arc<Route>> {
    pub(super) parts: Parts,
    pub(super) body: Body,
    pub(super) about: Sanitized,
    pub(super) route: R,
    pub(super) who: Identified,
    pub(super) arrived: Now,
    /// Whether identifying had to wait for somebody.
    pub(super) waited: bool,
}

impl<R: Borrow<Arc<Route>>> Visit<R> {
    pub(super) fn route(&self) -> &Arc<Route> {
        self.route.borrow()
    }

    /// The same for a future of its own.
    pub(super) fn kept(self) -> Visit {
        let route = self.route().clone();
        let Self { parts, body, about, who, arrived, waited, .. } = self;
        Visit { parts, body, about, route, who, arrived, waited }
    }

    /// Who causes the purges of this request, and reads fresh after them: the user, or whoever holds its credential.
    pub(super) fn causer(&self) -> Option<Causer> {
        let field = |name| self.parts.headers.get(name).map(HeaderValue::as_bytes);
        let credential = || field(AUTHORIZATION).or_else(|| field(COOKIE)).map(Causer::credential);
        Causer::user(&self.who.identity).or_else(credential)
    }
}
