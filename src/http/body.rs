//! The one body type of Larder: nothing, bytes in memory, a body off a connection, or any other stream.
//!
//! A hit is `Full`, without a box; only streams of unknown make are boxed. A request's body knows the connection that it came
//! on: the extensions of a request would cost three allocations for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::interim::Interim;
use super::peer::{Connection, Peer};
use crate::error::BoxError;

/// A request or response body.
#[derive(Default)]
pub struct Body {
    inner: Inner,
    came: Option<Came>,
}

/// On which connection a request came, and as which of its requests.
struct Came {
    connection: Arc<Connection>,
    request: u64,
}

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Incoming(hyper::body::Incoming),
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self::of(Inner::Empty)
    }

    fn of(inner: Inner) -> Self {
        Self { inner, came: None }
    }

    /// The body of the request that is being answered on this connection.
    pub(crate) fn came_on(self, connection: &Arc<Connection>) -> Self {
        let request = connection.line.as_ref().map_or(0, |line| line.request());
        Self { came: Some(Came { connection: connection.clone(), request }), ..self }
    }

    /// The same request's body in another shape.
    pub(crate) fn reshaped(mut self, shape: impl FnOnce(Self) -> Self) -> Self {
        let came = self.came.take();
        Self { came, ..shape(self) }
    }

    /// The other end of the connection that the request came on; `None` where [`Server`](crate::server::Server) does not
    /// serve it.
    pub fn peer(&self) -> Option<Peer> {
        self.came.as_ref().map(|came| came.connection.peer)
    }

    /// What says non-final responses to the client of this request; `None` where it would hear none.
    pub fn interim(&self) -> Option<Interim> {
        let came = self.came.as_ref()?;
        came.connection.line.clone()?.handle(came.request)
    }

    /// A body of bytes that are already in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self::of(Inner::Full(bytes)) }
    }

    /// A body that comes off a connection of hyper's.
    pub fn incoming(body: hyper::body::Incoming) -> Self {
        if body.is_end_stream() { Self::empty() } else { Self::of(Inner::Incoming(body)) }
    }

    /// Any other body. A [`Body`] or hyper's `Incoming` passes through without a further box.
    pub fn wrap<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut slot = Some(body);
        let any = &mut slot as &mut dyn std::any::Any;
        if let Some(same) = any.downcast_mut::<Option<Self>>() {
            return same.take().unwrap_or_default();
        }
        if let Some(incoming) = any.downcast_mut::<Option<hyper::body::Incoming>>() {
            return incoming.take().map(Self::incoming).unwrap_or_default();
        }
        match slot {
            Some(body) if !body.is_end_stream() => {
                let body = http_body_util::BodyExt::map_err(body, Into::into);
                Self::of(Inner::Boxed(Box::pin(body)))
            }
            _ => Self::empty(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.inner {
            Inner::Empty => "Body::Empty",
            Inner::Full(_) => "Body::Full",
            Inner::Incoming(_) => "Body::Incoming",
            Inner::Boxed(_) => "Body::Boxed",
        })
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::full(text)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.inner = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Incoming(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|f| f.map_err(Into::into)))
            }
            Inner::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Incoming(body) => body.is_end_stream(),
            Inner::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Incoming(body) => body.size_hint(),
            Inner::Boxed(body) => body.size_hint(),
        }
    }
}
