//! An HTTP client over real sockets that does what it is told: no redirects, no retries, no cookies, no cache.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use larder::clock::Clock;
use rustls::pki_types::CertificateDer;

use super::reply::{TestBody, empty};
use super::wait;

type Inner = legacy::Client<HttpsConnector<HttpConnector>, TestBody>;

/// A client. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    inner: Inner,
    clock: Clock,
}

impl Client {
    /// HTTP/1.1, each request on a connection of its own.
    pub fn new() -> Self {
        Self::build(None, |builder| builder.pool_max_idle_per_host(0))
    }

    /// HTTP/1.1 on connections that are kept.
    pub fn keep_alive() -> Self {
        Self::build(None, |builder| builder)
    }

    /// HTTP/2 with prior knowledge, on one connection.
    pub fn http2() -> Self {
        Self::build(None, |builder| builder.http2_only(true))
    }

    /// `https`, trusting this certificate only; HTTP/2 where the server agrees by ALPN.
    pub fn trusting(certificate: CertificateDer<'static>) -> Self {
        Self::build(Some(certificate), |builder| builder)
    }

    fn build(
        certificate: Option<CertificateDer<'static>>,
        settings: impl Fn(&mut legacy::Builder) -> &mut legacy::Builder,
    ) -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.retry_canceled_requests(false);
        Self { inner: settings(&mut builder).build(connector(certificate)), clock: Clock::system() }
    }

    /// A GET.
    pub fn get(&self, url: impl AsRef<str>) -> Call {
        self.call(Method::GET, url)
    }

    /// A POST.
    pub fn post(&self, url: impl AsRef<str>) -> Call {
        self.call(Method::POST, url)
    }

    /// Any method, by name.
    pub fn method(&self, method: &str, url: impl AsRef<str>) -> Call {
        self.call(Method::from_bytes(method.as_bytes()).unwrap(), url)
    }

    fn call(&self, method: Method, url: impl AsRef<str>) -> Call {
        let request = Request::builder().method(method).uri(url.as_ref()).body(empty());
        let request = request.unwrap_or_else(|error| panic!("{}: {error}", url.as_ref()));
        Call { client: self.clone(), request }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

fn connector(certificate: Option<CertificateDer<'static>>) -> HttpsConnector<HttpConnector> {
    let alpn = certificate.is_some();
    let mut roots = rustls::RootCertStore::empty();
    if let Some(certificate) = certificate {
        roots.add(certificate).unwrap();
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    if alpn {
        builder.enable_all_versions().wrap_connector(tcp)
    } else {
        builder.enable_http1().wrap_connector(tcp)
    }
}

/// A request that is being built.
pub struct Call {
    client: Client,
    request: Request<TestBody>,
}

impl Call {
    /// Adds a field, beside those of the same name; `host` replaces the one made from the URL.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value);
        self
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
        self.stream_body(body)
    }

    /// Sets a JSON body.
    pub fn json(self, body: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// Sets a body that is sent as it comes (`Steps`, `Long`).
    pub fn stream_body(mut self, body: TestBody) -> Self {
        *self.request.body_mut() = body;
        self
    }

    /// Sends it and gives the whole answer.
    pub async fn send(self) -> Answer {
        let what = format!("{} {}", self.request.method(), self.request.uri());
        self.try_send().await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends it; an answer that did not come, or not whole, is an error.
    pub async fn try_send(self) -> Result<Answer, String> {
        let clock = self.client.clock.clone();
        let begin = clock.now().mono;
        let response = self.try_stream().await?;
        let head_after = clock.now().mono - begin;
        let (head, body) = response.into_parts();
        let body = wait::within("a whole body", body.collect()).await.map_err(chain)?;
        Ok(Answer {
            status: head.status,
            version: head.version,
            headers: head.headers,
            trailers: body.trailers().cloned().unwrap_or_default(),
            body: body.to_bytes(),
            took: clock.now().mono - begin,
            head_after,
        })
    }

    /// Sends it and gives the head as soon as it is there, with the body as a stream.
    pub async fn stream(self) -> Streamed {
        let what = format!("{} {}", self.request.method(), self.request.uri());
        let response = self.try_stream().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let (head, body) = response.into_parts();
        Streamed { status: head.status, headers: head.headers, body }
    }

    /// Sends it and gives the head and body as hyper has them (also for `hyper::upgrade::on`).
    pub async fn try_stream(self) -> Result<Response<Incoming>, String> {
        let what = format!("the head of {} {}", self.request.method(), self.request.uri());
        wait::within(&what, self.client.inner.request(self.request)).await.map_err(chain)
    }
}

/// An error with its causes, in one line.
fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// What can be asked of an answer's fields.
macro_rules! answer_fields {
    ($answer:ty) => {
        impl $answer {
            /// The first value of a field, as text.
            pub fn header(&self, name: &str) -> Option<&str> {
                self.headers.get(name).map(|value| value.to_str().unwrap())
            }

            /// All values of a field, as text.
            pub fn header_all(&self, name: &str) -> Vec<&str> {
                self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
            }

            /// The one value of `X-Cache`; empty where there is none.
            pub fn x_cache(&self) -> &str {
                let values = self.header_all("x-cache");
                assert!(values.len() <= 1, "X-Cache says more than one thing: {values:?}");
                values.first().copied().unwrap_or("")
            }

            /// `Cache-Status`, all lines as one list.
            pub fn cache_status(&self) -> String {
                self.header_all("cache-status").join(", ")
            }

            /// `Age` in seconds.
            pub fn age(&self) -> Option<u64> {
                self.header("age").map(|age| age.parse().unwrap())
            }
        }
    };
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The HTTP version.
    pub version: Version,
    /// The fields.
    pub headers: HeaderMap,
    /// The trailers.
    pub trailers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// From sending the request to the body's last byte.
    pub took: Duration,
    /// From sending the request to the head.
    pub head_after: Duration,
}

answer_fields!(Answer);

impl Answer {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

/// An answer whose body is still coming.
pub struct Streamed {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The rest of the body.
    pub body: Incoming,
}

answer_fields!(Streamed);

impl Streamed {
    /// The next bytes; `None` at the end, an error where the body was cut.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match wait::within("the next bytes of a body", self.body.frame()).await? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    Err(_trailers) => continue,
                },
                Err(error) => return Some(Err(chain(error))),
            }
        }
    }

    /// Reads at least `length` bytes more.
    pub async fn at_least(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let chunk = self.chunk().await;
            bytes.extend_from_slice(&chunk.expect("the body ended early").expect("the body was cut"));
        }
        bytes
    }

    /// Reads to the end.
    pub async fn rest(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }
}
