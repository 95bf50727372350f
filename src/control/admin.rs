//! The admin listener: `GET /health/live`, `GET /health/ready`, and `POST /purge`, which `larder purge` uses.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use tower_service::Service;

use super::receipts::{json, receipt};
use super::token::may_purge;
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use crate::proxy::sanitize::host_of;
use crate::proxy::{Shared, rescue};
use crate::purge::{Selector, Where};

/// The largest body of a purge, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// The service of the admin listener.
#[derive(Clone)]
pub struct AdminService(Arc<Shared>);

/// What `POST /purge` takes: URLs, or everything; of one tenant, or of all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeBody {
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    everything: bool,
    tenant: Option<String>,
}

impl AdminService {
    /// The side door of a proxy.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Error> {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/health/live" | "/health/ready") => {
                Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })))
            }
            (&Method::POST, "/purge") => self.purge(request).await,
            _ => Err(Error::new(
                ErrorKind::NoRoute,
                "the admin listener has GET /health/live, GET /health/ready and POST /purge",
            )),
        }
    }

    async fn purge(self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let shared = &self.0;
        let by = may_purge(shared.config().admin.as_ref(), request.headers())?.to_owned();
        let body = read(request.into_body()).await?;
        let asked: PurgeBody = serde_json::from_slice(&body).map_err(|error| {
            let expected = r#"{"urls": ["http://host/path"]} or {"everything": true}, and "tenant" if it is one tenant's"#;
            Error::new(ErrorKind::BadRequest, format!("the body is not {expected}: {error}"))
        })?;
        let tenant = asked.tenant.as_deref();
        if asked.everything {
            let whose = tenant.map_or(Where::All, |t| Where::TenantOnly(t.into()));
            let done = shared.purge_everything(&whose);
            return Ok(receipt(&done, &whose, &serde_json::json!("everything"), &by));
        }
        if asked.urls.is_empty() {
            return Err(Error::new(
                ErrorKind::BadRequest,
                "neither `urls` nor `everything` is given: nothing to purge",
            ));
        }
        let mut selectors = Vec::new();
        let mut not_cached = Vec::new();
        for url in &asked.urls {
            match selector(shared, url)? {
                Some(selector) => selectors.push(selector),
                None => not_cached.push(url),
            }
        }
        let whose = tenant.map_or(Where::All, |t| Where::Tenant(t.into()));
        let done = shared.cache().purge(&selectors, &whose);
        let what = serde_json::json!({ "urls": asked.urls, "not_cached_by_any_route": not_cached });
        Ok(receipt(&done, &whose, &what, &by))
    }
}

fn selector(shared: &Shared, url: &str) -> Result<Option<Selector>, Error> {
    let bad = |why: &str| {
        Error::new(ErrorKind::BadRequest, format!("`{url}` {why}: write it whole, as http://host/path"))
    };
    let uri: Uri = url.parse().map_err(|_| bad("is not a URL"))?;
    let authority = uri.authority().ok_or_else(|| bad("has no host"))?.as_str().to_ascii_lowercase();
    // A bare host parses as a URL too, and would purge nothing.
    let default = match uri.scheme_str() {
        Some("http") => ":80",
        Some("https") => ":443",
        _ => return Err(bad("does not begin with http:// or https://")),
    };
    let authority = authority.strip_suffix(default).unwrap_or(&authority);
    Ok(shared.url_selector(host_of(authority), authority, uri.path(), uri.query()))
}

async fn read(body: Body) -> Result<Bytes, Error> {
    let limited = Limited::new(body, MAX_BODY).collect().await;
    limited
        .map(http_body_util::Collected::to_bytes)
        .map_err(|_| Error::new(ErrorKind::BadRequest, "the body is larger than 1 MiB, or broke off"))
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
        Box::pin(async move { Ok(service.answer(request).await.unwrap_or_else(|error| rescue(&error).0)) })
    }
}
