//! What the tests of the wire share: a server with any service, a proxy in front of a scripted origin, raw clients.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use larder::config::{Limits, Listener, Origin};
use larder::error::Error;
use larder::http::Body;
use larder::proxy::origin::{Origins, Upstream};
use larder::proxy::sanitize::{forwarded, sanitize};
use larder::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_service::Service;

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for something, or fails.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it did not happen in time")
}

pub fn limits() -> Limits {
    Limits {
        uri: 8 * 1024,
        header_bytes: 32 * 1024,
        header_count: 100,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        connections: 1000,
        drain: Duration::from_secs(10),
    }
}

/// A server that runs until it is dropped or stopped.
pub struct Running {
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops it, and waits until it has drained.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        soon(&mut self.task).await.unwrap();
    }

    /// Begins to stop it.
    pub fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    pub async fn stopped(mut self) {
        soon(&mut self.task).await.unwrap();
    }
}

/// Serves on a free port.
pub fn serve<S>(limits: Limits, service: S) -> Running
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    serve_on(Listener { addr: "127.0.0.1:0".parse().unwrap(), tls: None }, limits, service)
}

pub fn serve_on<S>(listener: Listener, limits: Limits, service: S) -> Running
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let server = Server::bind(&[listener], limits).unwrap();
    let addr = server.local_addrs()[0];
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(service, stopped));
    Running { addr, stop: Some(stop), task }
}

/// An origin's settings, for an address.
pub fn origin_at(addr: SocketAddr) -> Origin {
    Origin {
        name: "crm".into(),
        https: false,
        authority: addr.to_string(),
        timeout: Duration::from_secs(10),
        body_idle: Duration::from_secs(10),
        keep_alive: Duration::from_secs(10),
        connections: 100,
        http2: false,
        preserve_host: true,
        unsafe_read_to_close: false,
        ca: None,
    }
}

/// Answers an error as the proxy would.
pub fn rescue(error: &Error) -> Response<Body> {
    let answer = Response::builder().status(error.kind().status());
    answer.body(Body::full(format!("{error}\n"))).unwrap()
}

/// Sanitises, forwards, answers errors: the proxy without its cache.
pub fn proxy(
    origin: Origin,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let origins = Origins::new(&[Arc::new(origin)]).unwrap();
    tower::service_fn(move |request: Request<Body>| {
        let mut origins = origins.clone();
        async move {
            let (mut parts, body) = request.into_parts();
            let about = match sanitize(&mut parts, body.peer(), &[], &[], &limits()) {
                Ok(about) => about,
                Err(error) => return Ok(rescue(&error)),
            };
            forwarded(&mut parts, &about);
            parts.extensions.insert(Upstream(0));
            body.interim().map(|interim| parts.extensions.insert(interim));
            Ok(origins.call(Request::from_parts(parts, body)).await.unwrap_or_else(|e| rescue(&e)))
        }
    })
}

/// A scripted origin: what it does with each connection, numbered from 0.
pub async fn origin<F, Fut>(script: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(number, stream));
        }
    });
    addr
}

/// Reads a head, and not a byte more.
pub async fn read_head<R: tokio::io::AsyncRead + Unpin>(stream: &mut R) -> String {
    read_until(stream, "\r\n\r\n").await
}

/// Reads until the text has come, and not a byte more.
pub async fn read_until<R: tokio::io::AsyncRead + Unpin>(stream: &mut R, end: &str) -> String {
    let mut read = Vec::new();
    soon(async {
        while !read.ends_with(end.as_bytes()) {
            match stream.read_u8().await {
                Ok(byte) => read.push(byte),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
            }
        }
    })
    .await;
    String::from_utf8(read).unwrap()
}

/// Reads to the end of the connection; a reset counts as one.
pub async fn read_to_end<R: tokio::io::AsyncRead + Unpin>(stream: &mut R) -> String {
    let mut read = Vec::new();
    soon(async {
        let mut piece = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut piece).await {
            read.extend_from_slice(&piece[..n]);
        }
    })
    .await;
    String::from_utf8_lossy(&read).into_owned()
}

/// Sends bytes on a new connection, and reads all that comes until the server closes.
pub async fn talk(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

/// The statuses of a text of responses, in order.
pub fn statuses(text: &str) -> Vec<u16> {
    let lines = text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok());
    lines.collect()
}

/// A request that closes its connection.
pub const GET: &[u8] = b"GET /a/b?c=d HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";

/// An origin that answers each connection's first request with these bytes and closes.
pub async fn answering(bytes: &'static str) -> Origin {
    let addr = origin(move |_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
    });
    origin_at(addr.await)
}

pub async fn through(origin: Origin, request: &[u8]) -> String {
    talk(serve(limits(), proxy(origin)).addr, request).await
}
