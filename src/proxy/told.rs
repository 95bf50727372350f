//! The last step of every way through the proxy: the answer gets its fields, and the log its line.

use std::borrow::Borrow;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::access_log::Record;
use super::rescue::rescue;
use super::respond::from_stored;
use super::shared::Inner;
use super::verdict::Verdict;
use super::visit::{Proxy, Visit};
use crate::clock::Now;
use crate::config::Route;
use crate::error::Error;
use crate::http::Body;
use crate::policy::Freshness;
use crate::policy::ranges::Asked;
use crate::stored::StoredResponse;

/// What the log needs of a request that is gone.
#[derive(Clone)]
pub(super) struct Told {
    method: Method,
    host: String,
    path: String,
    route: Option<Arc<Route>>,
    tenant: Option<Arc<str>>,
    arrived: Now,
}

impl Told {
    /// Where there is no log.
    fn to_nobody(arrived: Now) -> Self {
        let (method, host, path) = (Method::GET, String::new(), String::new());
        Self { method, host, path, route: None, tenant: None, arrived }
    }

    pub(super) fn of(parts: &Parts, arrived: Now) -> Self {
        let host = parts.headers.get(http::header::HOST).and_then(|h| h.to_str().ok());
        let host = host.or(parts.uri.host()).unwrap_or_default().to_owned();
        let path = parts.uri.path().to_owned();
        Self { method: parts.method.clone(), host, path, route: None, tenant: None, arrived }
    }
}

impl<S: Inner> Proxy<S> {
    /// Answers from a stored response.
    pub(super) fn serve<R: Borrow<Arc<Route>>>(
        &self,
        visit: &Visit<R>,
        range: Asked,
        stored: &StoredResponse,
        verdict: &Verdict,
        now: Now,
    ) -> Response<Body> {
        self.serve_so_fresh(visit, range, (stored, &stored.freshness()), verdict, now)
    }

    /// The same, by who knows already how fresh it is.
    pub(super) fn serve_so_fresh<R: Borrow<Arc<Route>>>(
        &self,
        visit: &Visit<R>,
        range: Asked,
        stored: (&StoredResponse, &Freshness),
        verdict: &Verdict,
        now: Now,
    ) -> Response<Body> {
        let (parts, present) = (&visit.parts, visit.about.present);
        let (method, fields) = (&parts.method, &parts.headers);
        let response = from_stored(method, fields, present, range, stored, verdict, now);
        if self.shared.log.wants(response.status()) {
            self.log(self.told(visit), response.status(), verdict);
        }
        response
    }

    pub(super) fn told<R: Borrow<Arc<Route>>>(&self, visit: &Visit<R>) -> Told {
        if !self.shared.log.is_on() {
            return Told::to_nobody(visit.arrived);
        }
        let tenant = visit.who.identity.tenant.as_ref().map(|tenant| tenant.name.clone());
        Told { route: Some(visit.route().clone()), tenant, ..Told::of(&visit.parts, visit.arrived) }
    }

    /// Answers with what the origin said.
    pub(super) fn finish(
        &self,
        told: Told,
        mut response: Response<Body>,
        verdict: &Verdict,
    ) -> Response<Body> {
        verdict.write(response.headers_mut(), None);
        if self.shared.log.wants(response.status()) {
            self.log(told, response.status(), verdict);
        }
        response
    }

    /// Answers a request that is refused before it has a place in the cache.
    pub(super) fn refused(&self, told: &Told, error: &Error) -> Response<Body> {
        let (_, verdict) = rescue(error);
        self.failed(told, error, verdict)
    }

    /// Answers with an error.
    pub(super) fn failed(&self, told: &Told, error: &Error, verdict: Verdict) -> Response<Body> {
        let (mut response, _) = rescue(error);
        verdict.write(response.headers_mut(), None);
        if self.shared.log.wants(response.status()) {
            self.log(told.clone(), response.status(), &verdict);
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
