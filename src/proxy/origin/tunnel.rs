//! Upgrades (RFC 9110 section 7.8): after the origin's 101, and only then, both sides are joined byte by byte.
//!
//! Keeps: no tunnel before a 101, none to a protocol that the client did not ask for, and a tunnel that stands still
//! is closed. A tunnel holds its permit.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Response, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::head;
use super::pool::Lease;
use crate::error::{Error, ErrorKind};
use crate::http::{Body, fields};

/// Makes the answer to the client out of the origin's 101, and joins the two sides once both have left HTTP.
pub(super) fn join(
    mut answer: Response<Incoming>,
    lease: Lease,
    client: Option<OnUpgrade>,
    asked: Option<HeaderValue>,
) -> Result<Response<Body>, Error> {
    let agreed = fields::upgrade(answer.headers()).cloned();
    let (Some(client), Some(asked), Some(agreed)) = (client, asked, agreed) else {
        return Err(lease.pool().error(ErrorKind::OriginBroken, "switched protocols without being asked to"));
    };
    let was_asked =
        |protocol: &[u8]| fields::members(asked.as_bytes()).any(|p| p.eq_ignore_ascii_case(protocol));
    if !fields::members(agreed.as_bytes()).all(was_asked) {
        return Err(lease
            .pool()
            .error(ErrorKind::OriginBroken, "switched to a protocol that was not asked for"));
    }
    let origin = hyper::upgrade::on(&mut answer);
    let (mut parts, _) = answer.into_parts();
    // It has no body; what would frame one is an error of the origin's that ends here.
    parts.headers.remove(header::CONTENT_LENGTH);
    head::accept(&mut parts, &http::Method::HEAD, false)
        .map_err(|what| lease.pool().error(ErrorKind::OriginBroken, what))?;
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, agreed);
    let idle = lease.origin().body_idle;
    tokio::spawn(run(client, origin, idle, lease.into_tunnel()));
    Ok(Response::from_parts(parts, Body::empty()))
}

async fn run(client: OnUpgrade, origin: OnUpgrade, idle: Duration, permit: OwnedSemaphorePermit) {
    let both = async { tokio::join!(client, origin) };
    if let Ok((Ok(client), Ok(origin))) = timeout(idle, both).await {
        carry(client, origin, idle).await;
    }
    drop(permit);
}

/// Copies both ways until both sides have ended or nothing moved for `idle`.
async fn carry(client: Upgraded, origin: Upgraded, idle: Duration) {
    let moved = Arc::new(AtomicU64::new(0));
    let mut client = Counted { inner: TokioIo::new(client), moved: Arc::clone(&moved) };
    let mut origin = TokioIo::new(origin);
    let copy = copy_bidirectional(&mut client, &mut origin);
    tokio::pin!(copy);
    loop {
        let seen = moved.load(Ordering::Relaxed);
        tokio::select! {
            _ = &mut copy => return,
            () = sleep(idle) => if moved.load(Ordering::Relaxed) == seen { return },
        }
    }
}

/// Counts what happens on one side; the other side sees the same bytes.
struct Counted {
    inner: TokioIo<Upgraded>,
    moved: Arc<AtomicU64>,
}

impl Counted {
    fn count<T>(&self, polled: Poll<T>) -> Poll<T> {
        if polled.is_ready() {
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.count(polled)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.count(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
