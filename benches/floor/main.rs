//! A bare hyper server on one thread: it answers every request with the same fields and the same body from memory.
//!
//! ```text
//! floor ADDRESS BYTES [http2 | reads] [304] [-- 'Name: value' …]
//! ```
//!
//! It has what a server must have, and nothing else: the header timer is on, connections have `TCP_NODELAY`. A hit of
//! Larder's is measured against it, with the same number and size of fields; for other cases it is the application.
//! With `http2` it speaks HTTP/2 and nothing else; with `reads` it takes in what is sent to it before it answers, as an
//! application does; with `304` every answer is a 304 without a body.

use std::convert::Infallible;
use std::error::Error;
use std::future::ready;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// As Larder's default.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Ten thousand connections come at once.
const BACKLOG: i32 = 16_384;

#[derive(Clone, Copy)]
enum How {
    Http1,
    /// What is sent is read before it is answered.
    Reads,
    Http2,
}

/// What every request is answered with.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }

    async fn after_reading(self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        request.into_body().collect().await?;
        Ok(self.response())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let addr: SocketAddr = args.next().ok_or("an address is missing")?.parse()?;
    let length: usize = args.next().ok_or("the length of the body is missing")?.parse()?;
    let (mut how, mut status) = (How::Http1, StatusCode::OK);
    for word in args.by_ref().take_while(|arg| arg != "--") {
        match word.as_str() {
            "http2" => how = How::Http2,
            "reads" => how = How::Reads,
            "304" => status = StatusCode::NOT_MODIFIED,
            _ => return Err(format!("{word} is not known").into()),
        }
    }
    let mut headers = HeaderMap::new();
    for field in args {
        let (name, value) = field.split_once(':').ok_or("a field is `Name: value`")?;
        headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value.trim())?);
    }
    let body = Bytes::from(vec![b'x'; if status == StatusCode::OK { length } else { 0 }]);
    let answer = Answer { status, headers, body };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(listen(addr, how, answer))
}

async fn listen(addr: SocketAddr, how: How, answer: Answer) -> Result<(), Box<dyn Error>> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, how, answer.clone()));
    }
}

async fn serve(stream: TcpStream, how: How, answer: Answer) {
    let io = TokioIo::new(stream);
    // A connection that breaks is the load generator's to tell of.
    let _ = match how {
        How::Http1 => {
            let service = service_fn(move |_| ready(Ok::<_, Infallible>(answer.response())));
            http1_server().serve_connection(io, service).await
        }
        How::Reads => {
            let service = service_fn(move |request| answer.clone().after_reading(request));
            http1_server().serve_connection(io, service).await
        }
        How::Http2 => {
            let service = service_fn(move |_| ready(Ok::<_, Infallible>(answer.response())));
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(io, service)
                .await
        }
    };
}

fn http1_server() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
}
