//! What is done to its end, also when nobody waits for it any longer.
//!
//! Keeps: once begun, the work goes on: whoever waits for it drives it from within its own task, which wakes no other one, and
//! what is dropped before its end goes into a task of its own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Work that is done to its end.
pub(super) struct ToTheEnd<T: Send + 'static> {
    /// `None` once it is over.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    /// Where it was begun.
    runtime: Option<Handle>,
}

impl<T: Send + 'static> ToTheEnd<T> {
    /// It begins when it is first asked for.
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), runtime: None }
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        // Taken out meanwhile: work that panicked does not go on.
        let Some(mut work) = this.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            this.work = Some(work);
            if this.runtime.is_none() {
                this.runtime = Handle::try_current().ok();
            }
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // Without a runtime it has not begun.
        if let (Some(work), Some(runtime)) = (self.work.take(), self.runtime.take()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use tokio::sync::Notify;

    use super::*;

    /// Work that waits for one thing and tells of another.
    fn work(go: &Arc<Notify>, done: &Arc<Notify>) -> ToTheEnd<()> {
        let (go, done) = (go.clone(), done.clone());
        ToTheEnd::new(async move {
            go.notified().await;
            done.notify_one();
        })
    }

    #[tokio::test]
    async fn what_has_begun_is_done_though_nobody_waits() {
        let (go, done) = <(Arc<Notify>, Arc<Notify>)>::default();
        let mut begun = Box::pin(work(&go, &done));
        assert!(begun.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(begun);
        go.notify_one();
        done.notified().await;
    }

    #[tokio::test]
    async fn what_has_not_begun_is_not_done() {
        let (go, done) = <(Arc<Notify>, Arc<Notify>)>::default();
        drop(work(&go, &done));
        assert_eq!((Arc::strong_count(&go), Arc::strong_count(&done)), (1, 1));
    }
}
