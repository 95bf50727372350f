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
mod spare;
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
use crate::http::{Body, Interim};
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

    fn pool(&self, to: Option<Upstream>) -> Result<Arc<Pool>, Error> {
        let pool = to.and_then(|upstream| self.0.get(upstream.0));
        pool.cloned().ok_or_else(|| Error::new(ErrorKind::Internal, "the request was sent to no origin"))
    }

    /// Sends a client's own request, with its body as it came, to this origin. The client hears what is said before the
    /// answer (RFC 9110 section 15.2).
    pub(super) fn send_on(
        &self,
        mut request: Request<Body>,
        to: Upstream,
    ) -> <Self as Service<Request<Body>>>::Future {
        let pool = self.pool(Some(to));
        let interim = request.body().interim().or_else(|| request.extensions_mut().remove());
        Box::pin(async move { exchange::exchange(pool?, request, interim).await })
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let pool = self.pool(request.extensions().get().copied());
        let interim = request.extensions_mut().remove::<Interim>();
        Box::pin(async move { exchange::exchange(pool?, request, interim).await })
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
