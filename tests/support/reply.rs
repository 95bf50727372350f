//! What the scriptable origin answers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};

use super::script::{Cut, Steps};

/// A body of the tests' own, to and from the origin.
pub type TestBody = UnsyncBoxBody<Bytes, Cut>;

/// An answer, built field by field.
pub struct Reply {
    head: Response<()>,
    body: TestBody,
    cut: bool,
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::status(200).body(body)
    }

    /// This status, without a body.
    pub fn status(status: u16) -> Self {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(status).unwrap();
        Self { head, body: empty(), cut: false }
    }

    /// 200 with a JSON body.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::ok(body).header("content-type", "application/json")
    }

    /// No answer at all: the connection is cut before the head.
    pub fn cut() -> Self {
        Self { cut: true, ..Self::status(500) }
    }

    /// Adds a field, beside those of the same name.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.head.headers_mut().append(name.parse::<HeaderName>().unwrap(), value);
        self
    }

    /// Replaces the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
        self
    }

    /// A body that the test sends step by step.
    pub fn steps(mut self, steps: &Steps) -> Self {
        self.body = steps.body().boxed_unsync();
        self
    }

    /// A body of `length` bytes `x`, made as it is sent, with a `Content-Length`.
    pub fn long(mut self, length: u64) -> Self {
        self.body = Long::new(length).boxed_unsync();
        self
    }

    /// The same; `made` counts the bytes that were made so far, which shows back-pressure.
    pub fn long_counted(mut self, length: u64, made: &Arc<AtomicU64>) -> Self {
        self.body = Long { made: Arc::clone(made), ..Long::new(length) }.boxed_unsync();
        self
    }

    /// Sends the body without saying its length before: chunked on HTTP/1.1.
    pub fn chunked(mut self) -> Self {
        self.body = Unannounced(self.body).boxed_unsync();
        self
    }

    /// Ends the body with trailers, which makes it chunked.
    pub fn trailers(mut self, trailers: HeaderMap) -> Self {
        let trailers = std::future::ready(Some(Ok(trailers)));
        self.body = Unannounced(self.body.with_trailers(trailers)).boxed_unsync();
        self
    }

    /// The answer as hyper wants it, or the wish to cut the connection.
    pub(super) fn into_response(self) -> Result<Response<TestBody>, Cut> {
        if self.cut { Err(Cut) } else { Ok(self.head.map(|()| self.body)) }
    }
}

/// A body without bytes.
pub fn empty() -> TestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that keeps its length to itself.
struct Unannounced<B>(B);

impl<B: Body<Data = Bytes, Error = Cut> + Unpin> Body for Unannounced<B> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// A long body of one byte, repeated, which costs no memory.
pub struct Long {
    left: u64,
    made: Arc<AtomicU64>,
}

impl Long {
    const CHUNK: &'static [u8] = &[b'x'; 64 * 1024];

    /// A body of `length` bytes.
    pub fn new(length: u64) -> Self {
        Self { left: length, made: Arc::default() }
    }
}

impl Body for Long {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(Self::CHUNK.len());
        self.left -= take as u64;
        self.made.fetch_add(take as u64, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&Self::CHUNK[..take])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
