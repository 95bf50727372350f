//! What every request of a proxy shares, and the application behind it as the request path sees it.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::access_log::AccessLog;
use super::identify::{Identified, Identifier, Step};
use super::keyed::{keyed_query, purged};
use super::origin::{Origins, Upstream};
use super::route::Router;
use super::sanitize::{Sanitized, sanitize};
use super::wishes::BustBudget;
use crate::cache::Cache;
use crate::clock::{Clock, Now};
use crate::config::{Config, Source};
use crate::error::{BoxError, Error, ErrorKind};
use crate::http::{Body, Peer};
use crate::purge::Selector;

/// What all requests share.
pub struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) router: Router,
    pub(super) identifier: Identifier,
    /// The fields that the configuration reads identities from: nobody but a trusted proxy may send them.
    pub(super) identity_fields: Vec<HeaderName>,
    pub(super) cache: Cache,
    pub(super) log: AccessLog,
    pub(super) budget: BustBudget,
    pub(super) clock: Clock,
}

impl Shared {
    /// What `config` asks for, over `cache`.
    pub fn new(config: Arc<Config>, identifier: Identifier, cache: Cache, log: AccessLog) -> Self {
        Self {
            router: Router::new(&config.routes),
            identity_fields: identity_fields(&config),
            clock: cache.clock().clone(),
            budget: BustBudget::default(),
            config,
            identifier,
            cache,
            log,
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The first step, for the side doors on the clients' listeners.
    ///
    /// # Errors
    /// As [`sanitize`].
    pub fn sanitized(&self, parts: &mut Parts, body: &Body) -> Result<Sanitized, Error> {
        // Where there is one among the extensions, somebody who knows better put it there.
        let peer = parts.extensions.get::<Peer>().copied().or_else(|| body.peer());
        sanitize(
            parts,
            peer,
            &self.config.identity.trusted_proxies,
            &self.identity_fields,
            &self.config.limits,
        )
    }

    /// Who a request is for.
    ///
    /// # Errors
    /// Where the request is refused.
    pub async fn identified(&self, parts: &Parts, host: &str) -> Result<Identified, Error> {
        match self.identifier.identify(parts, host, self.now()) {
            Step::Done(who) => Ok(who),
            Step::Refused(error) => Err(error),
            Step::Later(future) => future.await,
        }
    }

    /// The tenant that an operator's request names by its host, its path or a trusted field. The operator's token is
    /// taken out first: it is nobody's identity.
    ///
    /// # Errors
    /// Where the request is refused.
    pub async fn tenant_of_peer(&self, parts: &mut Parts, host: &str) -> Result<Option<Arc<str>>, Error> {
        parts.headers.remove(http::header::AUTHORIZATION);
        let who = self.identified(parts, host).await?;
        Ok(who.identity.tenant.map(|tenant| tenant.name))
    }

    /// The selector of one URL with all its variants, or `None` where no route caches it.
    pub fn url_selector(
        &self,
        host: &str,
        authority: &str,
        path: &str,
        query: Option<&str>,
    ) -> Option<Selector> {
        let route = self.router.find(host, path, &Method::GET)?;
        let caching = route.caching.as_ref()?;
        let target = purged(route, caching, path, keyed_query(caching, query).as_deref());
        Some(Selector::Url { authority: authority.to_owned(), target })
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// The largest body that a store takes, in bytes.
    pub(super) fn max_object(&self, store: usize) -> u64 {
        self.config.stores.get(store).map_or(0, |store| store.max_object)
    }
}

fn identity_fields(config: &Config) -> Vec<HeaderName> {
    let identity = &config.identity;
    let sources = identity.tenant.iter().chain(&identity.user).chain(&identity.role);
    sources
        .filter_map(|source| if let Source::Header(name) = source { Some(name.clone()) } else { None })
        .collect()
}

/// An application behind Larder: the origin client, or any tower service that a [`CacheLayer`](crate::layer::CacheLayer) wraps.
pub trait Inner: Clone + Send + 'static {
    /// Sends one request.
    fn send(&mut self, request: Request<Body>) -> impl Future<Output = Result<Response<Body>, Error>> + Send;

    /// Sends a client's own request, with its body as it came, to this origin. An application in the same process finds all
    /// that is to be known of it among the request's extensions.
    fn send_on(
        &mut self,
        request: Request<Body>,
        to: Upstream,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send + '_>>;
}

impl<S, B> Inner for S
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn send(&mut self, request: Request<Body>) -> Result<Response<Body>, Error> {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await.map_err(typed)?;
        let response = self.call(request).await.map_err(typed)?;
        Ok(response.map(Body::wrap))
    }

    fn send_on(
        &mut self,
        mut request: Request<Body>,
        to: Upstream,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send + '_>> {
        // Each extension costs an allocation, and the client of the origins needs none.
        if let Some(origins) = (&*self as &dyn Any).downcast_ref::<Origins>() {
            return origins.send_on(request, to);
        }
        let (peer, interim) = (request.body().peer(), request.body().interim());
        let extensions = request.extensions_mut();
        extensions.insert(to);
        if let Some(peer) = peer {
            extensions.get_or_insert(peer);
        }
        if let Some(interim) = interim {
            extensions.insert(interim);
        }
        Box::pin(self.send(request))
    }
}

/// Larder's own errors keep their kind; any other is the application's failure.
fn typed(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::OriginBroken, format!("the application failed: {error}")),
    }
}
