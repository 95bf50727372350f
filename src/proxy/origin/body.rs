//! The bodies of an exchange, watched: a body that stands still is broken off, a body that breaks ends in an error.
//!
//! Keeps: back-pressure (a frame is taken only when the other side asks for one; a reader that does not ask is not
//! measured against the clock), and a permit lives until the body's end.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use super::pool::Lease;
use crate::error::{BoxError, Error, ErrorKind};
use crate::http::{Body, fields};

/// How far the upload is. Shared by the body that is sent and those who wait for the answer.
#[derive(Default)]
pub(super) struct Upload {
    frames: AtomicU64,
    starved: AtomicBool,
    ended: AtomicBool,
    end: Notify,
    failure: Mutex<Option<Error>>,
}

impl Upload {
    /// Grows whenever the origin took something.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Whether it is the client that everybody waits for.
    pub(super) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }

    /// Whether everything was handed over, or nothing more will be.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits for that.
    pub(super) async fn ended(&self) {
        let notified = self.end.notified();
        if !self.is_ended() {
            notified.await;
        }
    }

    /// What was wrong with the client's side, if anything.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }

    fn fail(&self, error: &BoxError) {
        let error = match find::<Error>(error.as_ref()) {
            Some(error) => error.clone(),
            None => Error::new(ErrorKind::BadRequest, "the client broke its request off"),
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.end();
    }
}

/// Looks for an error of this type among the causes.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |e| e.source()).find_map(|e| e.downcast_ref())
}

/// The request body on its way to the origin.
pub(super) struct Sending {
    inner: Body,
    upload: Arc<Upload>,
    /// The trailer fields that were announced, and none that a client may not say.
    trailers: Vec<HeaderName>,
}

impl Sending {
    pub(super) fn new(inner: Body, trailers: Vec<HeaderName>) -> (Self, Arc<Upload>) {
        let upload = Arc::new(Upload::default());
        (Self { inner, upload: Arc::clone(&upload), trailers }, upload)
    }

    fn only_announced(&self, all: &HeaderMap) -> HeaderMap {
        let announced = all.iter().filter(|(name, _)| self.trailers.contains(name));
        announced.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.upload.starved.store(polled.is_pending(), Ordering::Relaxed);
        let frame = ready!(polled);
        self.upload.frames.fetch_add(1, Ordering::Relaxed);
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let kept = self.only_announced(trailers);
                    self.upload.end();
                    return Poll::Ready((!kept.is_empty()).then(|| Ok(Frame::trailers(kept))));
                }
                if self.inner.is_end_stream() {
                    self.upload.end();
                }
            }
            Some(Err(error)) => self.upload.fail(error),
            None => self.upload.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.upload.end();
    }
}

/// The response body on its way from the origin. It holds the lease until its end.
pub(super) struct Receiving {
    inner: hyper::body::Incoming,
    lease: Option<Lease>,
    upload: Option<Arc<Upload>>,
    uploaded: u64,
    idle: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// The answer broke off; its reader is told with the next frame that it asks for.
    broken: bool,
}

impl Receiving {
    /// The body of an answer; one that is empty gives its lease back at once.
    pub(super) fn body(inner: hyper::body::Incoming, lease: Lease, upload: Option<Arc<Upload>>) -> Body {
        let mut body = Self {
            inner,
            lease: Some(lease),
            upload,
            uploaded: 0,
            idle: None,
            waiting: false,
            broken: false,
        };
        if body.inner.is_end_stream() {
            body.finish();
            return Body::empty();
        }
        Body::wrap(body)
    }

    fn finish(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        // An origin that answered before it read everything has no use for its connection.
        if self.upload.as_ref().is_none_or(|upload| upload.is_ended()) {
            lease.give_back();
        }
    }

    fn fail(&mut self, kind: ErrorKind, what: &str) -> Option<Result<Frame<Bytes>, BoxError>> {
        let lease = self.lease.take()?;
        let error = lease.pool().error(kind, what);
        let error = self.upload.as_ref().and_then(|upload| upload.failure()).unwrap_or(error);
        Some(Err(Box::new(error)))
    }

    /// Asks for a frame, and drives the connection where nobody else does: then only that brings one, and the body need wake
    /// nobody.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let inner = &mut self.inner;
        let Some(driver) = self.lease.as_mut().and_then(Lease::driver) else {
            return Pin::new(inner).poll_frame(cx);
        };
        let nobody = &mut Context::from_waker(Waker::noop());
        let frame = Pin::new(&mut *inner).poll_frame(nobody);
        if frame.is_ready() {
            return frame;
        }
        driver.poll(cx);
        Pin::new(inner).poll_frame(nobody)
    }

    /// Nothing came: says whether this has lasted too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.lease.as_ref().map(|lease| lease.origin().body_idle) else {
            return Poll::Pending;
        };
        loop {
            let idle = self.idle.get_or_insert_with(|| Box::pin(sleep(limit)));
            if !self.waiting {
                self.waiting = true;
                self.uploaded = self.upload.as_ref().map_or(0, |upload| upload.frames());
                idle.as_mut().set(sleep(limit));
            }
            ready!(idle.as_mut().poll(cx));
            // The other direction counts too.
            if self.upload.as_ref().is_none_or(|upload| upload.frames() == self.uploaded) {
                return Poll::Ready(());
            }
            self.waiting = false;
        }
    }
}

impl HttpBody for Receiving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.broken {
            return Poll::Ready(this.fail(ErrorKind::OriginBroken, "broke its answer off in the middle"));
        }
        let Poll::Ready(frame) = this.poll_inner(cx) else {
            ready!(this.poll_idle(cx));
            return Poll::Ready(this.fail(ErrorKind::OriginTimeout, "stopped in the middle of its answer"));
        };
        this.waiting = false;
        match frame {
            Some(Ok(mut frame)) => {
                if this.inner.is_end_stream() {
                    this.finish();
                }
                if let Some(trailers) = frame.trailers_mut() {
                    strip_from_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                // What came before goes out first: a server that hears of an error drops what it has not written yet.
                this.broken = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn strip_from_trailers(trailers: &mut HeaderMap) {
    let forbidden = |name: &&HeaderName| !fields::allowed_in_trailers(name);
    while let Some(name) = trailers.keys().find(forbidden).cloned() {
        trailers.remove(name);
    }
}
