//! A request's body on its way to the application, with a copy of its first bytes kept aside.
//!
//! The body itself is not held up and not changed, whatever its length; what is kept never exceeds [`LIMIT`].

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::error::BoxError;
use crate::http::Body;

/// The most that is kept of a body, in bytes.
pub(super) const LIMIT: usize = 64 * 1024;

/// What was seen of a body.
#[derive(Debug, Default)]
enum Copy {
    /// Nothing yet, or it was taken.
    #[default]
    Nothing,
    /// Its first bytes.
    Part(Vec<u8>),
    /// All of it.
    Whole(Vec<u8>),
    /// More than is kept.
    TooLarge,
}

/// The copy of a body that a [`Tee`] passes on.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Copy>>);

impl Seen {
    /// The body, if all of it went by and it was small enough. It can be taken once.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        match std::mem::take(&mut *self.lock()) {
            Copy::Whole(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn data(&self, data: &Bytes) {
        let mut copy = self.lock();
        let mut bytes = match std::mem::take(&mut *copy) {
            Copy::Nothing => Vec::new(),
            Copy::Part(bytes) => bytes,
            Copy::Whole(_) | Copy::TooLarge => {
                *copy = Copy::TooLarge;
                return;
            }
        };
        *copy = if bytes.len() + data.len() <= LIMIT {
            bytes.extend_from_slice(data);
            Copy::Part(bytes)
        } else {
            Copy::TooLarge
        };
    }

    fn end(&self) {
        let mut copy = self.lock();
        *copy = match std::mem::take(&mut *copy) {
            Copy::Nothing => Copy::Whole(Vec::new()),
            Copy::Part(bytes) => Copy::Whole(bytes),
            other => other,
        };
    }

    fn lock(&self) -> MutexGuard<'_, Copy> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that is copied as it goes by.
struct Tee {
    body: Body,
    seen: Seen,
}

/// The body to send on, and what will have been seen of it.
pub(super) fn tee(body: Body) -> (Body, Seen) {
    let seen = Seen::default();
    let known_too_large = body.size_hint().lower() > LIMIT as u64;
    if known_too_large {
        return (body, seen);
    }
    if body.is_end_stream() {
        seen.end();
        return (body, seen);
    }
    (Body::wrap(Tee { body, seen: seen.clone() }), seen)
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.seen.data(data);
                }
                // Whoever reads need not ask again for the end.
                if self.body.is_end_stream() {
                    self.seen.end();
                }
            }
            None => self.seen.end(),
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn read(body: Body) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_small_body_is_passed_on_and_kept() {
        for text in ["", "x", "a body"] {
            let (body, seen) = tee(Body::from(text));
            assert_eq!((read(body).await, seen.take()), (Bytes::from(text), Some(text.into())));
            assert_eq!(seen.take(), None);
        }
    }

    #[tokio::test]
    async fn of_a_large_body_nothing_is_kept_and_nothing_is_lost() {
        let (body, seen) = tee(Body::wrap(Chunks(5)));
        assert_eq!((read(body).await.len(), seen.take()), (LIMIT / 4 * 5, None));
        let (body, seen) = tee(Body::from("x".repeat(LIMIT + 1)));
        assert_eq!((body.size_hint().exact(), seen.take()), (Some(LIMIT as u64 + 1), None));
    }

    #[tokio::test]
    async fn a_body_that_nobody_read_to_its_end_is_not_whole() {
        let (body, seen) = tee(Body::from("a body"));
        assert_eq!(body.size_hint().exact(), Some(6));
        drop(body);
        assert_eq!(seen.take(), None);
    }

    /// So many chunks of a quarter of the limit, of unknown length in all.
    struct Chunks(usize);

    impl HttpBody for Chunks {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
            self.0 = left;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; LIMIT / 4])))))
        }
    }
}
