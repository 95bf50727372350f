//! What the proxy makes of a request, without sending it: for `larder explain`.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, Request};

use super::keyed::{Keyed, route_tags};
use super::origin_request::{fill_request, pass_request};
use super::plan::{NoPlan, Plan};
use super::shared::Inner;
use super::visit::{Proxy, Visit};
use crate::config::{Caching, Route};
use crate::error::Error;
use crate::http::Body;
use crate::identity::Identity;
use crate::policy::Reason;

/// What the proxy makes of a request.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The route that matches first.
    pub route: Arc<Route>,
    /// Who the request is for. With `invalid` nobody could be identified though something tried.
    pub identity: Identity,
    /// Whether a credential was there that identifies nobody.
    pub invalid: bool,
    /// How the cache takes part, or why it does not.
    pub cached: Result<Cached, Reason>,
    /// What was asked for in vain.
    pub denied: Option<Reason>,
    /// The target that reaches the application.
    pub target: String,
    /// The names of the fields that reach the application, sorted.
    pub fields: Vec<HeaderName>,
}

/// How the cache takes part in a request.
#[derive(Debug, Clone)]
pub struct Cached {
    /// How the route is cached.
    pub caching: Arc<Caching>,
    /// The key and what goes with it.
    pub keyed: Arc<Keyed>,
    /// The tags that the route gives.
    pub tags: Vec<Arc<str>>,
}

impl<S: Inner> Proxy<S> {
    /// Explains a request. It goes as far as identifying, which may ask an origin (`ask`) or fetch a key set.
    ///
    /// # Errors
    /// Where the request would be refused.
    pub async fn explain(&self, request: Request<Body>) -> Result<Explanation, Error> {
        let arrived = self.shared.now();
        let (mut parts, body) = request.into_parts();
        let (about, route) = self.routed(&mut parts, &body)?;
        let who = self.shared.identified(&parts, about.host()).await?;
        who.losers.strip(&mut parts);
        let visit = Visit { parts, body, about, route: route.clone(), who, arrived, waited: true };
        let plan = if visit.parts.method.is_safe() {
            self.plan(&visit)
        } else {
            Err(NoPlan { reason: Reason::Write, denied: None })
        };
        Ok(explained(visit, plan))
    }
}

fn explained(visit: Visit, plan: Result<Plan, NoPlan>) -> Explanation {
    let (sent, denied) = match &plan {
        Ok(plan) => {
            let busting = plan.asked.wishes.refresh.is_some();
            let fill =
                fill_request(&visit.parts, &visit.about, &visit.who, &plan.caching, &plan.keyed, busting);
            (fill.parts, plan.asked.denied)
        }
        Err(no) => {
            let mut parts = visit.parts.clone();
            pass_request(&mut parts, &visit.about, visit.route.caching.as_deref());
            (parts, no.denied)
        }
    };
    let cached = |plan: Plan| Cached {
        tags: route_tags(&visit.route, &plan.caching, &visit.who.identity, &visit.parts),
        caching: plan.caching,
        keyed: plan.keyed,
    };
    let cached = plan.map(cached).map_err(|no| no.reason);
    Explanation {
        identity: visit.who.identity,
        invalid: visit.who.invalid,
        denied,
        target: target(&sent),
        fields: names(&sent),
        cached,
        route: visit.route,
    }
}

fn target(sent: &Parts) -> String {
    sent.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned()
}

fn names(sent: &Parts) -> Vec<HeaderName> {
    let mut names: Vec<_> = sent.headers.keys().cloned().collect();
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names
}
