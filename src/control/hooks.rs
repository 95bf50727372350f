//! The side doors that stand on the application's own address, in front of everything else: webhooks, and clearing.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use tower_service::Service;

use super::clear;
use super::webhook::{PREFIX, Webhooks};
use crate::config::ClearCache;
use crate::http::Body;
use crate::proxy::Shared;

/// A service, with webhooks and clearing answered in front of it.
#[derive(Clone)]
pub struct WithHooks<S> {
    inner: S,
    shared: Arc<Shared>,
    webhooks: Arc<Webhooks>,
}

impl<S> WithHooks<S> {
    /// Puts the doors that the configuration of `shared` names in front of `inner`.
    ///
    /// # Errors
    /// Where the data directory cannot be used.
    pub fn new(shared: Arc<Shared>, inner: S) -> std::io::Result<Self> {
        let webhooks = Arc::new(Webhooks::open(shared.clone())?);
        Ok(Self { inner, shared, webhooks })
    }

    /// The rule of `clear_cache` for this request.
    fn clears(&self, request: &Request<Body>) -> Option<ClearCache> {
        let rules = &self.shared.config().clear_cache;
        if rules.is_empty() || request.method() != Method::POST {
            return None;
        }
        rules.iter().find(|rule| rule.path == request.uri().path()).cloned()
    }
}

/// The answer of the service within, or of a door.
pub enum HookFuture<F> {
    /// The service's.
    Inner(F),
    /// A door's.
    Door(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl<F: Future<Output = Result<Response<Body>, Infallible>> + Unpin> Future for HookFuture<F> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Inner(future) => Pin::new(future).poll(cx),
            Self::Door(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

impl<S> Service<Request<Body>> for WithHooks<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = HookFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path().starts_with(PREFIX) {
            return HookFuture::Door(Box::pin(self.webhooks.clone().answer(request)));
        }
        match self.clears(&request) {
            None => HookFuture::Inner(self.inner.call(request)),
            Some(rule) => {
                let shared = self.shared.clone();
                HookFuture::Door(Box::pin(async move { clear::answer(&shared, &rule, request).await }))
            }
        }
    }
}
