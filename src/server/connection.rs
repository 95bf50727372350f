//! One connection of a client, from its first byte to its last.
//!
//! Keeps: nothing is waited for without a bound (TLS handshake, first bytes, heads, bodies, writes, idle HTTP/2), and
//! on a plain listener HTTP/2 is known by its preface (RFC 9113 section 3.3), on a TLS one by ALPN.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::framing::{Filter, Tap};
use super::held::Held;
use super::protocol::{Handler, Serving, Stream, Traffic, serve_http1, serve_http2};
use super::request::About;
use crate::config::Limits;
use crate::http::Peer;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An HTTP/2 connection without a request for so long is closed. (HTTP/1: the header timeout does it.)
const IDLE: Duration = Duration::from_secs(60);

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// Requests in flight go on, new ones do not begin.
    Draining,
    /// Whatever is left ends now.
    Over,
}

/// A connection whose protocol is known.
enum Opened {
    Http1(Filter<Stream>, Tap),
    Http2(Filter<Stream>),
}

/// Serves a connection to its end.
pub(super) async fn serve(
    stream: Held<TcpStream>,
    tls: Option<TlsAcceptor>,
    peer: Peer,
    limits: Limits,
    service: impl Handler,
    stage: watch::Receiver<Stage>,
) {
    let opened = timeout(limits.header_timeout, open(stream, tls, limits));
    // Before the first request there is nothing in flight that a drain would wait for.
    let opened = tokio::select! {
        opened = opened => opened,
        () = until_draining(stage.clone()) => return,
    };
    let about = About { peer, limits, tap: None, interims: None };
    let (connection, traffic) = match opened {
        Ok(Ok(Opened::Http1(io, tap))) => (serve_http1(io, tap, about, service), None),
        Ok(Ok(Opened::Http2(io))) => {
            let traffic = Arc::new(Traffic::default());
            (serve_http2(io, about, service, Arc::clone(&traffic)), Some(traffic))
        }
        Ok(Err(error)) => {
            tracing::debug!(peer = %peer.addr, %error, "no connection came about");
            return;
        }
        Err(_) => return,
    };
    if let Some(Err(error)) = drive(connection, traffic, stage).await {
        tracing::debug!(peer = %peer.addr, %error, "the connection broke");
    }
}

async fn open(stream: Held<TcpStream>, tls: Option<TlsAcceptor>, limits: Limits) -> io::Result<Opened> {
    let mut stream = stream;
    let mut first = [0; PREFACE.len()];
    let (stream, n, http2): (Stream, _, _) = if let Some(tls) = tls {
        let stream = tls.accept(stream).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        (Box::new(stream), 0, http2)
    } else {
        let (n, http2) = first_bytes(&mut stream, &mut first).await?;
        (Box::new(stream), n, http2)
    };
    let first = first.get(..n).unwrap_or_default();
    if http2 {
        return Ok(Opened::Http2(Filter::http2(stream, first, &limits)));
    }
    let tap = Tap::default();
    Ok(Opened::Http1(Filter::http1(stream, first, &limits, tap.clone()), tap))
}

/// Reads until it is certain whether the client begins with HTTP/2's preface.
async fn first_bytes(stream: &mut Held<TcpStream>, first: &mut [u8; 24]) -> io::Result<(usize, bool)> {
    let mut n = 0;
    loop {
        let read = stream.read(first.get_mut(n..).unwrap_or_default()).await?;
        n += read;
        let so_far = first.get(..n).unwrap_or_default();
        if so_far == PREFACE {
            return Ok((n, true));
        }
        if read == 0 || !PREFACE.starts_with(so_far) {
            return Ok((n, false));
        }
    }
}

/// Drives a connection to its end, or through the server's stages. One whose traffic is watched ends when there is
/// none.
async fn drive(
    mut connection: Pin<Box<dyn Serving>>,
    traffic: Option<Arc<Traffic>>,
    mut stage: watch::Receiver<Stage>,
) -> Option<hyper::Result<()>> {
    let mut look = Box::pin(sleep(IDLE));
    if *stage.borrow_and_update() != Stage::Serving {
        connection.as_mut().finish();
    }
    loop {
        tokio::select! {
            end = connection.as_mut() => return Some(end),
            changed = stage.changed() => {
                if changed.is_err() || *stage.borrow_and_update() == Stage::Over {
                    return None;
                }
                connection.as_mut().finish();
            }
            () = look.as_mut() => {
                if traffic.as_ref().is_some_and(|traffic| traffic.is_idle()) {
                    connection.as_mut().finish();
                }
                look.as_mut().set(sleep(IDLE));
            }
        }
    }
}

async fn until_draining(mut stage: watch::Receiver<Stage>) {
    while *stage.borrow_and_update() == Stage::Serving {
        if stage.changed().await.is_err() {
            return;
        }
    }
}
