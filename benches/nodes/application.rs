//! The application: its pages are 1 KiB, and begin with the number of their version.
//!
//! `/version/N` is a change: from then on pages have that version. `/asked/PATH` says how often PATH was asked for. Pages below
//! `/slow/` take 300 ms, all others answer at once.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, ETAG};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// How long a slow page takes.
const SLOW: Duration = Duration::from_millis(300);
const LENGTH: usize = 1024;
/// As many may come at once.
const BACKLOG: i32 = 4096;

#[derive(Default)]
struct State {
    version: u64,
    asked: HashMap<String, u64>,
}

pub(crate) fn run(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let (listener, state) = (TcpListener::from_std(socket.into())?, Arc::default());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, Arc::clone(&state)));
        }
    })
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| answer(request, state.clone()));
    // A connection that breaks is the client's to tell of.
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let said = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = path.strip_prefix("/version/") {
            state.version = version.parse().unwrap_or_default();
        } else if !path.starts_with("/asked/") && !path.starts_with("/miss/") {
            *state.asked.entry(path.to_owned()).or_default() += 1;
        }
        match path.strip_prefix("/asked") {
            Some(asked) => state.asked.get(asked).copied().unwrap_or_default(),
            None => state.version,
        }
    };
    if path.starts_with("/slow/") {
        tokio::time::sleep(SLOW).await;
    }
    let mut response = Response::new(Full::new(Bytes::from(format!("{said:<LENGTH$}"))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain"));
    if let Ok(tag) = hyper::header::HeaderValue::try_from(format!("\"{said}\"")) {
        headers.insert(ETAG, tag);
    }
    Ok(response)
}
