//! What every request of a proxy shares, and the application behind it as the request path sees it.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::access_log::AccessLog;
use super::identify::Identifier;
use super::route::Router;
use super::wishes::BustBudget;
use crate::cache::Cache;
use crate::clock::{Clock, Now};
use crate::config::{Config, Source};
use crate::error::{BoxError, Error, ErrorKind};
use crate::http::Body;

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

/// An application behind Larder: the origin client, or any tower service that a [`super::CacheLayer`] wraps.
pub trait Inner: Clone + Send + 'static {
    /// Sends one request.
    fn send(&mut self, request: Request<Body>) -> impl Future<Output = Result<Response<Body>, Error>> + Send;
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
}

/// Larder's own errors keep their kind; any other is the application's failure.
fn typed(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::OriginBroken, format!("the application failed: {error}")),
    }
}
