//! A proxy over an application that is a closure: no sockets, and a clock that is moved by hand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use larder::cache::Cache;
use larder::clock::Clock;
use larder::config::Config;
use larder::config::read::ReadContext;
use larder::http::{Body, Peer};
use larder::layer::CacheLayer;
use larder::proxy::{AccessLog, Proxy};
use tower_layer::Layer;
use tower_service::Service;

/// What the application answers with.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Handler = dyn Fn(Request<Body>) -> Answer + Send + Sync;

/// What the application was asked.
#[derive(Debug, Clone)]
pub struct Seen {
    pub target: String,
    pub headers: http::HeaderMap,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[derive(Clone)]
pub struct App {
    handler: Arc<Handler>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service<Request<Body>> for App {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let target = request.uri().path_and_query().map_or("", |target| target.as_str()).to_owned();
        self.seen.lock().unwrap().push(Seen { target, headers: request.headers().clone() });
        let answer = (self.handler)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// Larder, the application behind it, and its clock.
#[derive(Clone)]
pub struct World {
    pub proxy: Proxy<App>,
    pub clock: Clock,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A whole answer, as a client got it.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Result<String, String>,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn text(&self) -> &str {
        self.body.as_deref().unwrap()
    }

    pub fn x_cache(&self) -> &str {
        self.header("x-cache").unwrap()
    }
}

impl World {
    /// `config` is what follows the origins; one origin, `app`, is there.
    pub fn new<F, A>(config: &str, handler: F) -> Self
    where
        F: Fn(Request<Body>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let text =
            format!("listen: 127.0.0.1:0\norigins: {{ app: {{ url: \"http://127.0.0.1:1\" }} }}\n{config}");
        let context = ReadContext::of(std::path::Path::new("review.yaml")).with_env(environment);
        let config = Config::from_yaml(&text, &context).unwrap_or_else(|errors| {
            panic!("{}", errors.iter().map(ToString::to_string).collect::<String>())
        });
        let seen = Arc::new(Mutex::new(Vec::new()));
        let app = App { handler: Arc::new(move |request| Box::pin(handler(request))), seen: seen.clone() };
        let clock = Clock::manual(Duration::from_secs(1_800_000_000));
        let cache = Cache::new(&config.stores, clock.clone());
        let proxy = CacheLayer::with(config, cache, AccessLog::off()).unwrap().layer(app);
        Self { proxy, clock, seen }
    }

    /// What the application was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often the application was asked.
    pub fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The head of the answer to a request; its body is still to be read.
    pub fn head(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send + 'static {
        let mut proxy = self.proxy.clone();
        let future = proxy.call(request);
        async move { future.await.unwrap() }
    }

    /// The whole answer to a request.
    pub fn send(&self, request: Request<Body>) -> impl Future<Output = Got> + Send + 'static {
        let head = self.head(request);
        async move { whole(head.await).await }
    }

    /// The whole answer to a GET with these fields.
    pub async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Got {
        within(self.send(get(target, fields))).await
    }
}

fn environment(name: &str) -> Option<String> {
    BTreeMap::from([("JWT_SECRET", SECRET)]).get(name).map(|value| (*value).to_owned())
}

/// The secret of tokens.
pub const SECRET: &str = "a secret of more than 32 bytes, for tests only";

/// A token with these claims.
pub fn token(claims: &serde_json::Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let mut claims = claims.clone();
    claims["exp"] = serde_json::json!(1_900_000_000_u64);
    format!("Bearer {}", jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap())
}

pub fn get(target: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get(target).header("host", "shop.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer { addr: "192.0.2.7:1234".parse().unwrap(), tls: false });
    request
}

pub async fn whole(response: Response<Body>) -> Got {
    let (parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap()),
        Err(error) => Err(error.to_string()),
    };
    Got { status: parts.status, headers: parts.headers, body }
}

/// The value of `future`, which must not take for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("this never ends")
}

/// Lets everything that can go on go on.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// An answer with these fields.
pub fn reply(status: u16, fields: &[(&str, &str)], body: &'static str) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body)).unwrap()
}
