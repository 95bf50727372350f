//! Larder inside a Rust application: a [`tower_layer::Layer`] over the application's own service (F1).
//!
//! ```
//! use http::{Request, Response};
//! use larder::http::Body;
//! use larder::layer::CacheLayer;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), larder::error::BoxError> {
//! let layer = CacheLayer::from_yaml(
//!     "
//!     listen: 127.0.0.1:8080
//!     origins: { app: { url: 'http://127.0.0.1:1' } }   # not contacted: the service below is the application
//!     tiers: { short: { ttl: 1m } }
//!     routes: [{ name: all, path: '/{*rest}', tier: short, share: public }]
//!     ",
//! )?;
//! let app = service_fn(|_: Request<Body>| async { Ok::<_, std::io::Error>(Response::new(Body::from("slow answer"))) });
//! let service = layer.layer(app);
//!
//! let request = || Request::get("/page").header("host", "shop.example").body(Body::empty());
//! let first = service.clone().oneshot(request()?).await?;
//! assert_eq!(first.headers()["x-cache"], "MISS");
//! http_body_util::BodyExt::collect(first.into_body()).await?;
//! let second = service.clone().oneshot(request()?).await?;
//! assert_eq!(second.headers()["x-cache"], "HIT");
//! # Ok(())
//! # }
//! ```

use std::path::Path;
use std::sync::Arc;

use tower_layer::Layer;

use crate::app::{AskThrough, LateAsk, StartError, shared};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::read::ReadContext;
use crate::proxy::{AccessLog, Inner, Proxy, Shared};

/// Puts a cache in front of a service that is `Clone + Send + 'static`.
///
/// The configuration is that of the proxy. `origins` must be there for the routes to name, and are not contacted: the
/// wrapped service is the application. Wrap the whole application, not route by route: `ask` is answered by the first
/// service that is wrapped.
///
/// Two promises are the server's and not the layer's: that every message has one framing, and the limits on connections.
/// Extensions that an outer layer put into a request do not reach the application on a fill of a tier with a `ttl`: they are
/// not in the key. Larder's own [`Interim`](crate::http::Interim) does: with it the application says early hints.
#[derive(Clone)]
pub struct CacheLayer {
    shared: Arc<Shared>,
    ask: Arc<LateAsk>,
}

impl CacheLayer {
    /// A layer as configured, without a log of requests.
    ///
    /// # Errors
    /// Where something that the configuration names cannot be used.
    pub fn new(config: Config) -> Result<Self, StartError> {
        let cache = crate::shared::cache(&config, Clock::system()).map_err(StartError::new)?;
        Self::with(config, cache, AccessLog::off())
    }

    /// A layer over a cache of one's own (other backends, or a clock that a test moves) and with a log. The cache's backends
    /// stand in the order of the configuration's stores.
    ///
    /// # Errors
    /// Where something that the configuration names cannot be used.
    pub fn with(config: Config, cache: Cache, log: AccessLog) -> Result<Self, StartError> {
        let ask = Arc::new(LateAsk::default());
        let shared = shared(&Arc::new(config), ask.clone(), cache, log)?;
        Ok(Self { shared, ask })
    }

    /// A layer from YAML text. Names of files in it are relative to the working directory.
    ///
    /// # Errors
    /// Everything that is wrong with the text, or what [`CacheLayer::new`] finds.
    pub fn from_yaml(text: &str) -> Result<Self, StartError> {
        let read = Config::from_yaml(text, &ReadContext::of(Path::new("configuration")));
        let told = |errors: Vec<_>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Self::new(read.map_err(|errors| StartError::new(told(errors)))?)
    }

    /// The cache, for purging and statistics.
    pub fn cache(&self) -> &Cache {
        self.shared.cache()
    }
}

impl<S: Inner> Layer<S> for CacheLayer {
    type Service = Proxy<S>;

    fn layer(&self, inner: S) -> Proxy<S> {
        self.ask.answer_with(AskThrough::new(inner.clone()));
        Proxy::new(self.shared.clone(), inner)
    }
}

impl std::fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheLayer").finish_non_exhaustive()
    }
}
