//! One connection of a client, from its first byte to its last.
//!
//! Keeps: nothing is waited for without a bound (TLS handshake, first bytes, heads, bodies, writes, idle HTTP/2), and
//! on a plain listener HTTP/2 is known by its preface (RFC 9113 section 3.3), on a TLS one by ALPN.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::framing::{Filter, Tap};
use super::held::Held;
use super::protocol::{Handler, Serving, Traffic, serve_http1, serve_http2};
use super::stream::Stream;
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
    let end = match opened {
        Ok(Ok(Opened::Http1(io, tap))) => {
            drive(pin!(serve_http1(io, tap, peer, limits, service)), stage).await
        }
        Ok(Ok(Opened::Http2(io))) => {
            let traffic = Arc::new(Traffic::default());
            let connection = serve_http2(io, peer, limits, service, Arc::clone(&traffic));
            drive(pin!(WhileUsed::new(connection, traffic)), stage).await
        }
        Ok(Err(error)) => {
            tracing::debug!(peer = %peer.addr, %error, "no connection came about");
            return;
        }
        Err(_) => return,
    };
    if let Some(Err(error)) = end {
        tracing::debug!(peer = %peer.addr, %error, "the connection broke");
    }
}

async fn open(stream: Held<TcpStream>, tls: Option<TlsAcceptor>, limits: Limits) -> io::Result<Opened> {
    let mut stream = stream;
    let mut first = [0; PREFACE.len()];
    let (stream, n, http2): (Stream, _, _) = if let Some(tls) = tls {
        let stream = tls.accept(stream).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        (Stream::Tls(Box::new(stream)), 0, http2)
    } else {
        let (n, http2) = first_bytes(&mut stream, &mut first).await?;
        (Stream::Tcp(stream), n, http2)
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

/// Drives a connection to its end, or through the server's stages.
async fn drive(
    mut connection: Pin<&mut impl Serving>,
    stage: watch::Receiver<Stage>,
) -> Option<hyper::Result<()>> {
    let mut stages = Stages::new(stage);
    poll_fn(|cx| {
        while let Poll::Ready(stage) = stages.poll_next(cx) {
            match stage {
                Stage::Serving => {}
                Stage::Draining => connection.as_mut().finish(),
                Stage::Over => return Poll::Ready(None),
            }
        }
        connection.as_mut().poll(cx).map(Some)
    })
    .await
}

/// The server's stages, one after the other, the present one first. Where nothing has changed, asking takes neither a lock
/// nor a place in a queue.
struct Stages {
    stage: watch::Receiver<Stage>,
    next: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Who is woken by the next.
    waker: Option<Waker>,
    over: bool,
}

impl Stages {
    fn new(mut stage: watch::Receiver<Stage>) -> Self {
        stage.mark_changed();
        let next = Box::pin(change(stage.clone()));
        Self { stage, next, waker: None, over: false }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let listens = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if self.over || listens && matches!(self.stage.has_changed(), Ok(false)) {
            return Poll::Pending;
        }
        if self.next.as_mut().poll(cx).is_pending() {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let stage = *self.stage.borrow_and_update();
        self.over = stage == Stage::Over || self.stage.has_changed().is_err();
        self.next = Box::pin(change(self.stage.clone()));
        self.waker = None;
        Poll::Ready(if self.over { Stage::Over } else { stage })
    }
}

/// Ready once there is another stage than the one that `stage` has seen. Without a server everything is over.
async fn change(mut stage: watch::Receiver<Stage>) {
    let _ = stage.changed().await;
}

/// An HTTP/2 connection, which ends when there is no traffic.
struct WhileUsed<C> {
    connection: Pin<Box<C>>,
    traffic: Arc<Traffic>,
    look: Pin<Box<Sleep>>,
}

impl<C: Serving> WhileUsed<C> {
    fn new(connection: C, traffic: Arc<Traffic>) -> Self {
        Self { connection: Box::pin(connection), traffic, look: Box::pin(sleep(IDLE)) }
    }
}

impl<C: Serving> Future for WhileUsed<C> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while self.look.as_mut().poll(cx).is_ready() {
            if self.traffic.is_idle() {
                self.connection.as_mut().finish();
            }
            self.look.as_mut().set(sleep(IDLE));
        }
        self.connection.as_mut().poll(cx)
    }
}

impl<C: Serving> Serving for WhileUsed<C> {
    fn finish(mut self: Pin<&mut Self>) {
        self.connection.as_mut().finish();
    }
}

async fn until_draining(mut stage: watch::Receiver<Stage>) {
    while *stage.borrow_and_update() == Stage::Serving {
        if stage.changed().await.is_err() {
            return;
        }
    }
}
