//! The threads that serve connections, with a runtime each.
//!
//! A connection stays on one thread for its whole life: no task of it is stolen, and no core waits for another one's queue
//! or timer. (One runtime for all cores served 1.6 times as much on two cores as on one.) New connections go where the fewest
//! are.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Threads with a runtime each. They end when this is dropped, with all that still runs on them.
pub struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    load: Arc<AtomicUsize>,
    /// Dropping it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// One for each core that the process may use.
    ///
    /// # Errors
    /// Where the system gives no thread, or a runtime no event queue.
    pub fn per_core() -> io::Result<Self> {
        Self::start(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// So many.
    ///
    /// # Errors
    /// As [`Workers::per_core`].
    pub fn start(count: usize) -> io::Result<Self> {
        (0..count.max(1)).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    /// Runs a task on the worker that has the fewest.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed)) else {
            return;
        };
        let load = Load::on(worker);
        drop(worker.runtime.spawn(async move {
            let _load = load;
            task.await;
        }));
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Workers").field(&self.0.len()).finish()
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(format!("larder-{number}")).spawn(move || {
            // An error is the sender's end: what it stands for, too.
            let _ = runtime.block_on(stopped);
            // What a task left to a thread for blocking work is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, load: Arc::default(), stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

/// A task that counts as load.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn on(worker: &Worker) -> Self {
        worker.load.fetch_add(1, Ordering::Relaxed);
        Self(worker.load.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
