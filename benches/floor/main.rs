//! A bare hyper server on one thread: it answers every request with the same fields and the same body from memory.
//!
//!     floor ADDRESS BYTES [http2] [-- 'Name: value' …]
//!
//! It has what a server must have, and nothing else: the header timer is on, connections have `TCP_NODELAY`. A hit of
//! Larder's is measured against it, with the same number and size of fields; for other cases it is the application.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// As Larder's default.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Ten thousand connections come at once.
const BACKLOG: i32 = 16_384;

/// What every request is answered with.
#[derive(Clone)]
struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let addr: SocketAddr = args.next().ok_or("an address is missing")?.parse()?;
    let length: usize = args.next().ok_or("the length of the body is missing")?.parse()?;
    let http2 = args.by_ref().take_while(|arg| arg != "--").any(|arg| arg == "http2");
    let mut headers = HeaderMap::new();
    for field in args {
        let (name, value) = field.split_once(':').ok_or("a field is `Name: value`")?;
        headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value.trim())?);
    }
    let answer = Answer { headers, body: Bytes::from(vec![b'x'; length]) };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(listen(addr, http2, answer))
}

async fn listen(addr: SocketAddr, http2: bool, answer: Answer) -> Result<(), Box<dyn Error>> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, http2, answer.clone()));
    }
}

async fn serve(stream: TcpStream, http2: bool, answer: Answer) {
    let io = TokioIo::new(stream);
    let service = service_fn(move |_: Request<Incoming>| {
        let mut response = Response::new(Full::new(answer.body.clone()));
        *response.headers_mut() = answer.headers.clone();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    // A connection that breaks is the load generator's to tell of.
    let _ = if http2 {
        http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).serve_connection(io, service).await
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(io, service)
            .await
    };
}
