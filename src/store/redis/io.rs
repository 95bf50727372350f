//! The one thread on which all of Redis is read and written. A connection belongs to the runtime that made it: here none dies
//! with a worker, and a busy worker holds up no reply.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::super::{Reply, SharedError, SharedErrorKind};

/// The thread, which ends with the last of those who hold it.
pub struct RedisIo {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl RedisIo {
    /// Starts it.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let body = move || {
            // Ends when the sender is dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("redis-io".to_owned()).spawn(body)?;
        Ok(Arc::new(Self { handle, _stop: stop }))
    }

    /// Does `work` there, from now on, whether or not somebody waits for it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SharedError>> + Send + 'static,
    ) -> Reply<T> {
        let task = self.handle.spawn(work);
        let gone = || Err(SharedError::new(SharedErrorKind::Io, "the thread of Redis has ended"));
        Box::pin(async move { task.await.unwrap_or_else(|_| gone()) })
    }
}

impl std::fmt::Debug for RedisIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisIo")
    }
}
