//! Fetches key sets (RFC 7517) over HTTP: at most 1 MiB, within ten seconds, from the configured URL alone.
//! Redirects are not followed: the configuration names who vouches for tokens.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use super::{BoxFuture, FetchJwks, SetupError};
use crate::error::{Error, ErrorKind};
use crate::http::Body;

/// The largest key set, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// How long one fetch may take in all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches over HTTP and HTTPS; certificates are checked against the system's authorities.
#[derive(Debug, Clone)]
pub struct JwksHttp {
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

impl JwksHttp {
    /// A fetcher. Fails where the system has no certificate authorities.
    pub fn new() -> Result<Self, SetupError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| {
                SetupError::new(format!("no certificate authorities to check `jwks` against: {error}"))
            })?
            .https_or_http()
            .enable_http1()
            .build();
        // A key set is fetched every few minutes: a connection kept in between would be dead by then.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client })
    }
}

impl FetchJwks for JwksHttp {
    fn fetch(&self, url: &Uri) -> BoxFuture<Result<Bytes, Error>> {
        let (client, url) = (self.client.clone(), url.clone());
        Box::pin(async move {
            let fetched = tokio::time::timeout(TIMEOUT, fetch(client, url)).await;
            fetched.unwrap_or_else(|_| Err(Error::new(ErrorKind::OriginTimeout, "the key set took too long")))
        })
    }
}

async fn fetch(client: Client<HttpsConnector<HttpConnector>, Body>, url: Uri) -> Result<Bytes, Error> {
    let broken = |what: String| Error::new(ErrorKind::OriginBroken, format!("the key set: {what}"));
    let request = Request::get(url)
        .header("accept", "application/jwk-set+json, application/json")
        .body(Body::empty())
        .map_err(|error| broken(error.to_string()))?;
    let response = client.request(request).await.map_err(|error| broken(error.to_string()))?;
    if response.status() != StatusCode::OK {
        return Err(broken(format!("status {}", response.status().as_u16())));
    }
    let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| broken(error.to_string()))
}
