//! The two protocols of a connection, as hyper speaks them, with this server's limits.
//!
//! Keeps: the header timer is on (hyper has none without a timer), and what one HTTP/2 connection may cost is bounded:
//! streams, header lists, bytes waiting to be written. Floods of resets are bounded by hyper's own defaults.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tower_service::Service;

use super::framing::{Filter, Tap};
use super::head_timer::HeadTimer;
use super::request::{About, InTurn, answer};
use super::stream::Stream;
use crate::config::Limits;
use crate::error::BoxError;
use crate::http::{Body, Connection, Peer};

/// How often an HTTP/2 client is asked whether it is still there, and how long it has to answer.
const PING: Duration = Duration::from_secs(20);
/// HTTP/2 streams of one connection at once.
const STREAMS: u32 = 128;
/// What may wait to be written per HTTP/2 stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// So many fields hyper reads without an allocation.
const FIELDS_WITHOUT_HEAP: usize = 100;
/// The largest head that hyper's buffer takes by default, in bytes, with room to spare.
const DEFAULT_HEAD: usize = 400 * 1024;

/// What all services of the server are.
pub(super) trait Handler:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Handler for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// A connection that is served by being polled.
pub(super) trait Serving: Future<Output = hyper::Result<()>> + Send {
    /// Answers what was asked and takes no more.
    fn finish(self: Pin<&mut Self>);
}

/// What lies under hyper.
pub(super) type Io<T> = TokioIo<Filter<T>>;

impl<T, S> Serving for http1::UpgradeableConnection<Io<T>, S>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Body> + Send,
    S::Error: Into<BoxError>,
    Self: Send,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<T, S, E> Serving for http2::Connection<Io<T>, S, E>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<BoxError>,
    E: Http2ServerConnExec<S::Future, Body>,
    Self: Send,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Serves HTTP/1.1 and HTTP/1.0.
pub(super) fn serve_http1(
    io: Filter<impl AsyncRead + AsyncWrite + Send + Unpin + 'static>,
    tap: Tap,
    peer: Peer,
    limits: Limits,
    service: impl Handler,
) -> impl Serving {
    let connection = Arc::new(Connection { peer, line: Some(io.line()) });
    let about = About { connection, limits, tap: Some(tap) };
    let service = InTurn::new(service);
    let service = service_fn(move |request: Request<Incoming>| answer(service.clone(), request, &about));
    let mut builder = http1::Builder::new();
    builder.timer(HeadTimer::default()).header_read_timeout(limits.header_timeout);
    if limits.header_count > FIELDS_WITHOUT_HEAP {
        builder.max_headers(limits.header_count);
    }
    let largest_head = limits.uri + limits.header_bytes + 8 * limits.header_count;
    if largest_head > DEFAULT_HEAD {
        builder.max_buf_size(largest_head);
    }
    builder.serve_connection(TokioIo::new(io), service).with_upgrades()
}

/// Serves HTTP/2, and counts its traffic.
pub(super) fn serve_http2(
    io: Filter<Stream>,
    peer: Peer,
    limits: Limits,
    service: impl Handler,
    traffic: Arc<Traffic>,
) -> impl Serving {
    let connection = Arc::new(Connection { peer, line: None });
    let about = Arc::new(About { connection, limits, tap: None });
    let service = service_fn(move |request: Request<Incoming>| {
        let running = Running::new(&traffic);
        let (service, about) = (service.clone(), about.clone());
        // In the stream's own task, all of it: what goes wrong with one request is not the others' business.
        async move {
            let _running = running;
            answer(service, request, &about).await
        }
    });
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(header_list(&limits))
        .serve_connection(TokioIo::new(io), service)
}

/// The limit as HTTP/2 counts it: 32 bytes more for each field (RFC 9113 section 6.5.2), the target among them.
fn header_list(limits: &Limits) -> u32 {
    let bytes = limits.header_bytes + limits.uri + 32 * (limits.header_count + 4);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The requests of an HTTP/2 connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    running: AtomicUsize,
    begun: AtomicU64,
    looked: AtomicU64,
}

impl Traffic {
    /// Whether nothing runs and nothing has begun since the last look.
    pub(super) fn is_idle(&self) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        let quiet = self.looked.swap(begun, Ordering::Relaxed) == begun;
        quiet && self.running.load(Ordering::Relaxed) == 0
    }
}

/// A request that runs.
struct Running(Arc<Traffic>);

impl Running {
    fn new(traffic: &Arc<Traffic>) -> Self {
        traffic.running.fetch_add(1, Ordering::Relaxed);
        traffic.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(traffic))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
