//! A bare hyper server on one thread: it answers every request with the same fields and the same body from memory.
//!
//!     floor ADDRESS BYTES [http2] [304] [-- 'Name: value' …]
//!
//! With `http2` it speaks HTTP/2 and nothing else; with `304` every answer is a 304 without a body.
//! It has what a server must have, and nothing else: the header timer is on, connections have `TCP_NODELAY`. A hit of
//! Larder's is measured against it, with the same number and size of fields; for other cases it is the application.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, body::Body, body::Incoming};
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
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let addr: SocketAddr = args.next().ok_or("an address is missing")?.parse()?;
    let length: usize = args.next().ok_or("the length of the body is missing")?.parse()?;
    let words: Vec<String> = args.by_ref().take_while(|arg| arg != "--").collect();
    let (http2, not_modified) =
        (words.iter().any(|word| word == "http2"), words.iter().any(|word| word == "304"));
    let mut headers = HeaderMap::new();
    for field in args {
        let (name, value) = field.split_once(':').ok_or("a field is `Name: value`")?;
        headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value.trim())?);
    }
    let status = if not_modified { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let body = Bytes::from(vec![b'x'; if not_modified { 0 } else { length }]);
    let answer = Answer { status, headers, body };
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
    let service = service_fn(move |request: Request<Incoming>| {
        let mut response = Response::new(Full::new(answer.body.clone()));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers.clone();
        // What is sent is read before it is answered, or hyper would close the connection.
        let sent = (!request.body().is_end_stream()).then(|| request.into_body().collect());
        async move {
            if let Some(sent) = sent {
                sent.await?;
            }
            Ok::<_, hyper::Error>(response)
        }
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
