//! The origin client: one request to one application, as a tower service.
//!
//! Keeps: every answer that leaves here has one framing (`head`), a body that was broken off ends in an error and never
//! cleanly (`body`), bodies stream with back-pressure, and a client is told the origin's name, never its address.
//! Connections are counted per origin (`pool`); nothing waits without a bound.

mod body;
mod connect;
mod driver;
mod exchange;
mod head;
mod pool;
mod tunnel;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

pub use head::CloseDelimited;

use crate::clock::Clock;
use crate::config;
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use pool::Pool;

/// Says which origin a request is for: an index into the configuration's origins. An extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream(pub usize);

/// All origins of a configuration; cheap to clone. The request's [`Upstream`] extension chooses one.
#[derive(Clone)]
pub struct Origins(Arc<[Arc<Pool>]>);

impl Origins {
    /// Prepares the origins. Nothing is connected yet, and no runtime is needed.
    ///
    /// # Errors
    /// Where a file with certificate authorities cannot be used, or an authority is not one.
    pub fn new(origins: &[Arc<config::Origin>]) -> Result<Self, SetupError> {
        let clock = Clock::system();
        let pools = origins.iter().map(|origin| Pool::new(Arc::clone(origin), clock.clone()).map(Arc::new));
        Ok(Self(pools.collect::<Result<_, _>>()?))
    }

    fn pool(&self, request: &Request<Body>) -> Result<Arc<Pool>, Error> {
        let number = request.extensions().get::<Upstream>().map(|upstream| upstream.0);
        let pool = number.and_then(|number| self.0.get(number));
        pool.cloned().ok_or_else(|| Error::new(ErrorKind::Internal, "the request was sent to no origin"))
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|pool| &pool.origin.name)).finish()
    }
}

impl Service<Request<Body>> for Origins {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let pool = self.pool(&request);
        Box::pin(async move { exchange::exchange(pool?, request).await })
    }
}

/// Why an origin cannot be used at all.
#[derive(Debug)]
pub struct SetupError {
    origin: String,
    reason: String,
}

impl SetupError {
    fn new(origin: &config::Origin, reason: impl fmt::Display) -> Self {
        Self { origin: origin.name.clone(), reason: reason.to_string() }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "origin `{}`: {}", self.origin, self.reason)
    }
}

impl std::error::Error for SetupError {}
