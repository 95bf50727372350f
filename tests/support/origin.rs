//! A scriptable origin on hyper, on a port and a thread of its own: HTTP/1.1, and HTTP/2 with prior knowledge.
//!
//! A test gives a closure that answers. Every request is counted and recorded before the closure sees it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::reply::{Reply, TestBody};
use super::script::Cut;
use super::wait;

type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

#[derive(Clone)]
enum Handler {
    Collected(Arc<dyn Fn(Request<Bytes>) -> Answering + Send + Sync>),
    Streaming(Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>),
}

/// A request as the origin received it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The method.
    pub method: Method,
    /// The target, as it stood in the request line (on HTTP/2, with scheme and authority).
    pub target: String,
    /// The path, without the query.
    pub path: String,
    /// The HTTP version.
    pub version: Version,
    /// The fields.
    pub headers: HeaderMap,
    /// The body; empty where the handler takes it as a stream.
    pub body: Bytes,
    /// The number of the connection, from 0.
    pub connection: usize,
}

impl Recorded {
    /// The first value of a field, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Default)]
struct State {
    requests: Vec<Recorded>,
    counts: HashMap<String, usize>,
    connections: usize,
    in_flight: usize,
    peak: usize,
}

struct Shared {
    handler: Mutex<Handler>,
    state: Mutex<State>,
}

/// A running origin. Dropped, it closes its port and all connections.
pub struct Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Origin {
    /// An origin that answers with `handler`, which sees each request with its whole body.
    pub fn start<F, A>(handler: F) -> Self
    where
        F: Fn(Request<Bytes>) -> A + Send + Sync + 'static,
        A: Future<Output = Reply> + Send + 'static,
    {
        Self::run("127.0.0.1:0", collected(handler))
    }

    /// An origin whose handler sees each request as soon as its head is there, with the body as a stream
    /// (also for upgrades: `hyper::upgrade::on`).
    pub fn streaming<F, A>(handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Reply> + Send + 'static,
    {
        Self::run("127.0.0.1:0", Handler::Streaming(Arc::new(move |request| Box::pin(handler(request)))))
    }

    /// An origin that always gives the same answer.
    pub fn constant(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |_| std::future::ready(reply()))
    }

    /// Replaces the handler, for requests from now on.
    pub fn answer_with<F, A>(&self, handler: F)
    where
        F: Fn(Request<Bytes>) -> A + Send + Sync + 'static,
        A: Future<Output = Reply> + Send + 'static,
    {
        *self.shared.handler.lock().unwrap() = collected(handler);
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many requests came for this path, whatever their query and method.
    pub fn count(&self, path: &str) -> usize {
        self.shared.state.lock().unwrap().counts.get(path).copied().unwrap_or(0)
    }

    /// How many requests came in all.
    pub fn total(&self) -> usize {
        self.shared.state.lock().unwrap().requests.len()
    }

    /// How many connections were made in all.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// How many requests are being answered: until the handler has given its head.
    pub fn in_flight(&self) -> usize {
        self.shared.state.lock().unwrap().in_flight
    }

    /// The most requests that were being answered at the same time.
    pub fn peak(&self) -> usize {
        self.shared.state.lock().unwrap().peak
    }

    /// All requests, in the order in which their heads came.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// Forgets the requests so far, but not their number: for tests with very many. Only with a handler that takes bodies
    /// as streams.
    pub fn forget(&self) {
        self.shared.state.lock().unwrap().requests.clear();
    }

    /// The requests for this path.
    pub fn requests_to(&self, path: &str) -> Vec<Recorded> {
        self.requests().into_iter().filter(|request| request.path == path).collect()
    }

    /// The last request for this path.
    pub fn last(&self, path: &str) -> Recorded {
        self.requests_to(path).pop().unwrap_or_else(|| panic!("no request came for {path}"))
    }

    /// Returns once `n` requests in all came for this path.
    pub async fn asked(&self, path: &str, n: usize) {
        wait::until(&format!("{n} requests for {path} reach the origin"), || self.count(path) >= n).await;
    }

    /// Goes down: connections are cut and new ones are refused.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }

    /// Comes up again on the same port, with the same handler, counts and records.
    pub fn restart(&mut self) {
        self.stop();
        self.running = Some(serve(bind(&self.addr.to_string()), Arc::clone(&self.shared)));
    }

    fn run(addr: &str, handler: Handler) -> Self {
        let listener = bind(addr);
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { handler: Mutex::new(handler), state: Mutex::default() });
        let running = Some(serve(listener, Arc::clone(&shared)));
        Self { addr, shared, running }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

fn collected<F, A>(handler: F) -> Handler
where
    F: Fn(Request<Bytes>) -> A + Send + Sync + 'static,
    A: Future<Output = Reply> + Send + 'static,
{
    Handler::Collected(Arc::new(move |request| Box::pin(handler(request))))
}

fn bind(addr: &str) -> TcpListener {
    let listener = TcpListener::bind(addr).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn serve(listener: TcpListener, shared: Arc<Shared>) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            let accepting = accept(tokio::net::TcpListener::from_std(listener).unwrap(), shared);
            tokio::select! { () = accepting => {}, _ = stopped => {} }
        });
        // Dropping the runtime drops every connection.
    });
    (stop, thread)
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let number = {
            let mut state = shared.state.lock().unwrap();
            state.connections += 1;
            state.connections - 1
        };
        tokio::spawn(connection(stream, number, Arc::clone(&shared)));
    }
}

async fn connection(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(request, number, Arc::clone(&shared)));
    // An error is a connection that was cut, by either side: the test sees it where it looks.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    shared: Arc<Shared>,
) -> Result<Response<TestBody>, Cut> {
    let index = shared.record(&request, connection);
    let _in_flight = InFlight::begin(&shared);
    let handler = shared.handler.lock().unwrap().clone();
    let reply = match handler {
        Handler::Streaming(handler) => handler(request).await,
        Handler::Collected(handler) => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
            shared.state.lock().unwrap().requests[index].body = body.clone();
            handler(Request::from_parts(head, body)).await
        }
    };
    reply.into_response()
}

impl Shared {
    fn record(&self, request: &Request<Incoming>, connection: usize) -> usize {
        let path = request.uri().path().to_owned();
        let mut state = self.state.lock().unwrap();
        *state.counts.entry(path.clone()).or_default() += 1;
        state.requests.push(Recorded {
            method: request.method().clone(),
            target: request.uri().to_string(),
            path,
            version: request.version(),
            headers: request.headers().clone(),
            body: Bytes::new(),
            connection,
        });
        state.requests.len() - 1
    }
}

/// One request that is being answered.
struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let mut state = shared.state.lock().unwrap();
        state.in_flight += 1;
        state.peak = state.peak.max(state.in_flight);
        drop(state);
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.in_flight -= 1;
        }
    }
}

/// An answer that never comes; for handlers that hang until the origin is dropped.
pub async fn never() -> Reply {
    match std::future::pending::<Infallible>().await {}
}
