//! The admin listener: `GET /health/live`, `GET /health/ready`, and what `larder purge`, `larder keys` and `larder stat` use:
//! `POST /purge`, `GET /keys` and `GET /stat`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::asked::{self, Asked};
use super::keys;
use super::purging::{self, How};
use super::receipts::json;
use super::stat;
use super::token::{self, may_look, may_purge};
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use crate::proxy::audit::{self, Asker};
use crate::proxy::{Shared, rescue};

/// The service of the admin listener.
#[derive(Clone)]
pub struct AdminService {
    shared: Arc<Shared>,
    /// One look at all that is stored at a time.
    looking: Arc<Semaphore>,
}

impl AdminService {
    /// The side door of a proxy.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, looking: Arc::new(Semaphore::new(1)) }
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let from = request.body().peer().map(|peer| peer.ip());
        let mut asker = Asker { who: None, from, way: "admin" };
        let what = format!("{} {}", request.method(), request.uri().path());
        self.routed(&mut asker, request).await.unwrap_or_else(|error| {
            if error.kind() != ErrorKind::NoRoute {
                audit::refused(&asker, &what, &error);
            }
            rescue(&error).0
        })
    }

    async fn routed(&self, asker: &mut Asker, request: Request<Body>) -> Result<Response<Body>, Error> {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/health/live") => {
                Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })))
            }
            // Pages are answered whatever is amiss with the cache: it is told, and no reason to send requests elsewhere.
            (&Method::GET | &Method::HEAD, "/health/ready") => {
                Ok(json(StatusCode::OK, &stat::ready(self.shared.cache(), self.shared.config())))
            }
            (&Method::GET, "/stat") => self.stat(asker, request.into_parts().0).await,
            (&Method::POST, "/purge") => self.purge(asker, request).await,
            (&Method::GET, "/keys") => self.keys(asker, request.into_parts().0).await,
            _ => Err(Error::new(
                ErrorKind::NoRoute,
                "the admin listener has GET /health/live, GET /health/ready, GET /keys, GET /stat and POST /purge",
            )),
        }
    }

    async fn purge(&self, asker: &mut Asker, request: Request<Body>) -> Result<Response<Body>, Error> {
        let token = may_purge(self.shared.config().admin.as_ref(), request.headers())?.clone();
        asker.who = Some(token.name.clone());
        let id = purging::id_of(request.headers());
        let asked = Asked::from_json(&asked::read(request.into_body()).await?)?;
        let wanted = asked.wanted()?;
        let how = How { tenant: asked.tenant.map(Into::into), soft: asked.soft, dry_run: asked.dry_run, id };
        let _permit = if how.dry_run { Some(self.look().await?) } else { None };
        purging::purge(&self.shared, &token, asker, wanted, how).await
    }

    async fn keys(&self, asker: &mut Asker, request: Parts) -> Result<Response<Body>, Error> {
        let token = may_look(self.shared.config().admin.as_ref(), &request.headers)?;
        asker.who = Some(token.name.clone());
        let _permit = self.look().await?;
        let found = keys::answer(&self.shared, token, request.uri.query().unwrap_or_default()).await?;
        Ok(json(StatusCode::OK, &found))
    }

    async fn stat(&self, asker: &mut Asker, request: Parts) -> Result<Response<Body>, Error> {
        let token = may_look(self.shared.config().admin.as_ref(), &request.headers)?;
        asker.who = Some(token.name.clone());
        // The figures are those of all tenants together.
        if token.tenant.is_some() {
            return Err(token::for_one_tenant());
        }
        Ok(json(StatusCode::OK, &stat::figures(self.shared.cache(), self.shared.config()).await))
    }

    async fn look(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        let closed = |_| Error::new(ErrorKind::Internal, "Larder is stopping");
        self.looking.acquire().await.map_err(closed)
    }
}

impl Service<Request<Body>> for AdminService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}
