//! `PURGE` on the clients' listeners, before anybody is identified: one URL with all its variants, or everything (`/*`).
//! With a tenant (of a host, a path or a trusted proxy's field) it acts on that tenant's entries and the public ones.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::receipts;
use super::token::may_purge;
use crate::error::Error;
use crate::http::Body;
use crate::proxy::{Inner, Proxy, ProxyFuture, Shared, rescue};
use crate::purge::{Selector, Where};

/// The proxy, with `PURGE` answered in front of it.
#[derive(Debug, Clone)]
pub struct WithVerbs<S>(Proxy<S>);

impl<S: Inner> WithVerbs<S> {
    /// Puts the verbs in front of `proxy`.
    pub fn new(proxy: Proxy<S>) -> Self {
        Self(proxy)
    }
}

/// The answer of the proxy, or of a verb.
pub enum VerbFuture {
    /// The proxy's.
    Proxy(ProxyFuture),
    /// A verb's.
    Verb(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for VerbFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Proxy(future) => Pin::new(future).poll(cx),
            Self::Verb(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

impl<S: Inner> Service<Request<Body>> for WithVerbs<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = VerbFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> VerbFuture {
        if request.method().as_str() != "PURGE" {
            return VerbFuture::Proxy(self.0.call(request));
        }
        let shared = self.0.shared().clone();
        VerbFuture::Verb(Box::pin(async move {
            purge(&shared, request).await.unwrap_or_else(|error| rescue(&error).0)
        }))
    }
}

async fn purge(shared: &Shared, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (mut parts, _) = request.into_parts();
    let about = shared.sanitized(&mut parts)?;
    let by = may_purge(shared.config().admin.as_ref(), &parts.headers)?.to_owned();
    let tenant = shared.tenant_of_peer(&mut parts, about.host()).await?;
    let url = format!("{}{}", about.authority(), parts.uri.path_and_query().map_or("/", |p| p.as_str()));
    if parts.uri.path() == "/*" {
        let whose = tenant.map_or(Where::All, Where::TenantOnly);
        let receipt = shared.purge_everything(&whose);
        return Ok(receipts::receipt(&receipt, &whose, &serde_json::json!("everything"), &by));
    }
    let whose = tenant.map_or(Where::All, Where::Tenant);
    let selector = shared.url_selector(about.host(), about.authority(), parts.uri.path(), parts.uri.query());
    let selectors: Vec<Selector> = selector.into_iter().collect();
    let receipt = shared.cache().purge(&selectors, &whose);
    let what = if selectors.is_empty() {
        serde_json::json!({ "url": url, "note": "no route caches this URL: there was nothing to purge" })
    } else {
        serde_json::json!({ "url": url })
    };
    Ok(receipts::receipt(&receipt, &whose, &what, &by))
}
