//! Non-final responses, written beneath hyper, whose server writes none but 100.
//!
//! Keeps: they begin only while hyper has nothing to write, which is when it flushes (its `Buffered::poll_flush` calls
//! the stream's own with an empty buffer only), and while the final response is held back for them (`http::interim`);
//! one that has begun is finished before any other byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::http::interim::Line;
use crate::server::patience::Patience;

/// The non-final responses of one connection.
#[derive(Default)]
pub(super) struct Interims {
    line: Arc<Line>,
    /// What is left to write of those that have begun.
    begun: Bytes,
}

impl Interims {
    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Writes the rest of what has begun.
    pub(super) fn poll_finish<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
        patience: &mut Patience,
    ) -> Poll<io::Result<()>> {
        while !self.begun.is_empty() {
            match ready!(Pin::new(&mut *io).poll_write(cx, &self.begun))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.begun.advance(n),
            }
            if self.begun.is_empty() {
                self.begun = Bytes::new(); // an idle connection keeps no buffer
            }
            let _ = patience.poll_over(cx, true);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all that waits. To be called only where hyper has nothing to write.
    pub(super) fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
        patience: &mut Patience,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_finish(cx, io, patience))?;
            match self.line.take(cx) {
                Some(bytes) => self.begun = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}
