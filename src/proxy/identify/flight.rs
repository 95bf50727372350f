//! Work that many wait for and one task does. It belongs to no request: a client that leaves neither ends it nor
//! makes the others begin anew.

use tokio::sync::watch;

/// A place in the queue of one piece of work.
#[derive(Debug, Clone)]
pub(super) struct Flight<T>(watch::Receiver<Option<T>>);

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Starts the work on a task of its own. `None` where there is no runtime to run it.
    pub(super) fn start(work: impl Future<Output = T> + Send + 'static) -> Option<Self> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let (result, waiters) = watch::channel(None);
        runtime.spawn(async move {
            let _ = result.send(Some(work.await)); // with nobody left to wait, nobody misses it
        });
        Some(Self(waiters))
    }

    /// Waits for the result; `None` where the task died.
    pub(super) async fn result(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Whether the work is over.
    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }
}
