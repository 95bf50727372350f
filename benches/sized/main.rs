//! An application whose answers are as large as the request says: what `scripts/bench-memory` fills a store from.
//!
//! ```text
//! sized ADDRESS
//! ```
//!
//! `GET /any/path?…bytes=N` is answered with JSON of N bytes and one of a hundred tags, any other with 1,024 bytes and no tag.
//! The fields are those that applications send: type, `Cache-Control`, an entity tag and a request id of its own for each
//! answer, `Last-Modified`, and the `Date` by hyper.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// The largest answer.
const MOST: usize = 1 << 20;
const USUAL: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let addr: SocketAddr = std::env::args().nth(1).ok_or("an address is missing")?.parse()?;
    let text = br#"{"id":123456,"name":"Wool socks","price":"12.90","stock":[{"branch":7,"count":31}]},"#;
    let json: Bytes = text.iter().copied().cycle().take(MOST).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(addr).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, json.clone()));
        }
    })
}

async fn serve(stream: TcpStream, json: Bytes) {
    let service = service_fn(move |request: Request<Incoming>| std::future::ready(answer(&request, &json)));
    // A connection that breaks is the load generator's to tell of.
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn answer(request: &Request<Incoming>, json: &Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    static ANSWERS: AtomicU64 = AtomicU64::new(0);
    let number = ANSWERS.fetch_add(1, Ordering::Relaxed);
    let query = request.uri().query().unwrap_or_default();
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("bytes=")?.parse().ok());
    let body = json.slice(..asked.unwrap_or(USUAL).min(MOST));
    let tag = asked.map(|_| format!("group-{:02}", number % 100));
    // The same length for all, and no two alike.
    let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut response = Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header(CACHE_CONTROL, "public, max-age=3600")
        .header(ETAG, format!("\"{id:016x}\""))
        .header(LAST_MODIFIED, "Fri, 20 Nov 2026 10:00:00 GMT")
        .header("x-request-id", format!("{:016x}", !id));
    if let Some(tag) = tag {
        response = response.header("cache-tag", tag);
    }
    // All fields are valid.
    Ok(response.body(Full::new(body)).unwrap_or_default())
}
