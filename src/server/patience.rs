//! How long something that stands still is waited for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// A bound on standing still. It costs nothing as long as things move: the timer is made with the first wait.
pub(super) struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, timer: None, waiting: false }
    }

    /// Ready once what `moved` tells of has stood still for the whole limit.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<()> {
        if moved {
            self.waiting = false;
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().set(sleep(self.limit));
        }
        timer.as_mut().poll(cx)
    }

    /// Passes an outcome of I/O on, or an error where it has been pending for too long.
    pub(super) fn bound<R>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match self.poll_over(cx, polled.is_ready()) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => polled,
        }
    }
}
