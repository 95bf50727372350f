//! `PURGE` and `BAN` on the clients' listeners, before anybody is identified: one URL with all its variants, everything
//! (`/*`), or what fields or a JSON body name in its place. `BAN` takes the names as patterns.
//!
//! With a tenant (of a host, a path or a trusted proxy's field) they act on that tenant's entries and the public ones.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use super::asked;
use super::purging::{self, How};
use super::token::may_purge;
use crate::error::{Error, ErrorKind};
use crate::http::{Body, Peer};
use crate::proxy::audit::{self, Asker};
use crate::proxy::sanitize::Sanitized;
use crate::proxy::selection::Wanted;
use crate::proxy::{Inner, Proxy, ProxyFuture, Shared, rescue};

/// The proxy, with the verbs answered in front of it.
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
        let way = match request.method().as_str() {
            "PURGE" => "PURGE",
            "BAN" => "BAN",
            _ => return VerbFuture::Proxy(self.0.answer(request)),
        };
        let shared = self.0.shared().clone();
        VerbFuture::Verb(Box::pin(verb(shared, way, request)))
    }
}

async fn verb(shared: Arc<Shared>, way: &'static str, request: Request<Body>) -> Response<Body> {
    let peer = request.extensions().get::<Peer>().copied().or_else(|| request.body().peer());
    let from = peer.map(|peer| peer.ip());
    let mut asker = Asker { who: None, from, way };
    let url = request.uri().to_string();
    let done = purge(&shared, &mut asker, request).await;
    done.unwrap_or_else(|error| {
        audit::refused(&asker, &url, &error);
        rescue(&error).0
    })
}

async fn purge(
    shared: &Arc<Shared>,
    asker: &mut Asker,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    let about = shared.sanitized(&mut parts, &body)?;
    asker.from = about.client;
    let token = may_purge(shared.config().admin.as_ref(), &parts.headers)?.clone();
    asker.who = Some(token.name.clone());
    let body = asked::read(body).await?;
    let (mut wanted, asked) = asked::by_verb(&parts.headers, &body, asker.way == "BAN")?;
    if wanted.is_empty() {
        wanted.push(own_url(&about, &parts));
    }
    let tenant = shared.tenant_of_peer(&mut parts, about.host()).await?;
    let tenant = match asked.tenant {
        Some(named) if tenant.as_ref().is_some_and(|tenant| **tenant != *named) => {
            let why = "the body names another tenant than the request";
            return Err(Error::new(ErrorKind::BadRequest, why));
        }
        Some(named) => Some(named.into()),
        None => tenant,
    };
    let id = purging::id_of(&parts.headers);
    let how = How { tenant, soft: asked.soft, dry_run: asked.dry_run, id };
    purging::purge(shared, &token, asker, wanted, how).await
}

fn own_url(about: &Sanitized, parts: &Parts) -> Wanted {
    match parts.uri.path() {
        "/*" => Wanted::Everything,
        path => {
            let query = parts.uri.query().map(str::to_owned);
            Wanted::Target(about.authority().to_owned(), path.to_owned(), query)
        }
    }
}
