//! The one place that stacks everything: configuration in, running services out.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use http::{Request, Response, Uri};

use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Config, JwtMaterial};
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use crate::proxy::identify::jwks_http::JwksHttp;
use crate::proxy::identify::{AskOrigin, BoxFuture, FetchJwks, Identifier};
use crate::proxy::origin::{Origins, Upstream};
use crate::proxy::{AccessLog, Inner, Proxy, Shared};
use crate::shared;

/// Why Larder cannot start.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    /// An error with a sentence for the operator.
    pub fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// The proxy of a configuration, over the origins that it names; `log` takes the log of requests.
///
/// # Errors
/// Where something that the configuration names cannot be used, such as a certificate file.
pub fn proxy(
    config: &Arc<Config>,
    clock: Clock,
    log: impl Write + Send + 'static,
) -> Result<Proxy<Origins>, StartError> {
    proxy_over(config, shared::cache(config, clock).map_err(StartError::new)?, log)
}

/// The same over a cache that has the configuration's stores.
///
/// # Errors
/// As [`proxy`].
pub fn proxy_over(
    config: &Arc<Config>,
    cache: Cache,
    log: impl Write + Send + 'static,
) -> Result<Proxy<Origins>, StartError> {
    let origins = Origins::new(&config.origins).map_err(StartError::new)?;
    let ask = Arc::new(AskThrough::new(origins.clone()));
    Ok(Proxy::new(shared(config, ask, cache, AccessLog::new(config.log, log))?, origins))
}

/// What all requests of a configuration share.
pub(crate) fn shared(
    config: &Arc<Config>,
    ask: Arc<dyn AskOrigin>,
    cache: Cache,
    log: AccessLog,
) -> Result<Arc<Shared>, StartError> {
    let clock = cache.clock().clone();
    let identifier = Identifier::new(&config.identity, clock, ask, jwks(config)?).map_err(StartError::new)?;
    Ok(Arc::new(Shared::new(config.clone(), identifier, cache, log)))
}

/// The fetcher of key sets, where the configuration names one.
fn jwks(config: &Config) -> Result<Arc<dyn FetchJwks>, StartError> {
    let mut keys = config.identity.jwt.iter().flat_map(|jwt| &jwt.keys);
    if keys.any(|key| matches!(key.material, JwtMaterial::Jwks(_))) {
        return Ok(Arc::new(JwksHttp::new().map_err(StartError::new)?));
    }
    Ok(Arc::new(NoJwks))
}

struct NoJwks;

impl FetchJwks for NoJwks {
    fn fetch(&self, _: &Uri) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Err(Error::new(ErrorKind::Internal, "no key set is configured")) })
    }
}

/// `ask` goes the way of every request to an origin.
pub(crate) struct AskThrough<S>(Mutex<S>);

impl<S: Inner> AskThrough<S> {
    /// Through this service.
    pub(crate) fn new(inner: S) -> Self {
        Self(Mutex::new(inner))
    }
}

impl<S: Inner> AskOrigin for AskThrough<S> {
    fn ask(&self, origin: usize, mut request: Request<Body>) -> BoxFuture<Result<Response<Body>, Error>> {
        request.extensions_mut().insert(Upstream(origin));
        // The lock is for services that are not `Sync`: it is held for the clone only.
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { inner.send(request).await })
    }
}

/// For a layer, which is made before the application that it wraps: the first one is asked.
#[derive(Default)]
pub(crate) struct LateAsk(OnceLock<Box<dyn AskOrigin>>);

impl LateAsk {
    /// Asks through `application`, unless there is one already.
    pub(crate) fn answer_with(&self, application: impl AskOrigin + 'static) {
        // The first stays: its memory of identities is the one in use.
        let _ = self.0.set(Box::new(application));
    }
}

impl AskOrigin for LateAsk {
    fn ask(&self, origin: usize, request: Request<Body>) -> BoxFuture<Result<Response<Body>, Error>> {
        match self.0.get() {
            Some(application) => application.ask(origin, request),
            None => Box::pin(async { Err(Error::new(ErrorKind::Internal, "no application is wrapped yet")) }),
        }
    }
}
