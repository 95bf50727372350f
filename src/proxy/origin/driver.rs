//! What drives an HTTP/1.1 connection to an origin: whoever uses the connection, from within its own task. An exchange wakes
//! no other task, and no other thread where the connection was opened on this one.
//!
//! Keeps: a connection that nobody uses is watched: when anything happens to it, the pool hears of it. One whose user may
//! stop asking before the request is sent goes into a task of its own (`detach`).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use tokio::sync::Notify;
use tokio::task::{AbortHandle, unconstrained};

/// The connection itself, as hyper speaks it.
type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// One connection's driver. Dropped, it closes the connection.
pub(super) struct Driver {
    state: State,
    watch: Arc<Watch>,
    /// Wakes `watch`.
    waker: Waker,
    /// The thread on whose runtime the connection was opened.
    home: Thread,
    /// How often in a row another thread used it.
    strangers: u8,
}

enum State {
    /// Driven by who uses it.
    Here(Connection),
    /// Driven by a task.
    Detached(AbortHandle),
    Over,
}

/// A thread of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thread(usize);

impl Thread {
    /// The one that asks.
    pub(super) fn current() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        thread_local! {
            static NUMBER: Cell<usize> = const { Cell::new(0) };
        }
        NUMBER.with(|number| {
            if number.get() == 0 {
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            Self(number.get())
        })
    }

    /// Which of so many things is this thread's. Threads may share one.
    pub(super) fn choose(self, count: usize) -> usize {
        self.0 % count.max(1)
    }
}

/// A connection moves to another thread once that one has used it so often in a row.
const MOST_STRANGERS: u8 = 32;

impl Driver {
    /// `stirred` is told when something happens to the connection while nobody uses it.
    pub(super) fn new(
        connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
        stirred: Arc<Notify>,
    ) -> Self {
        let watch = Arc::new(Watch { state: AtomicU8::new(USED), stirred });
        let waker = Waker::from(watch.clone());
        let state = State::Here(Box::pin(connection));
        Self { state, watch, waker, home: Thread::current(), strangers: 0 }
    }

    /// Drives the connection as far as it goes now.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        if let State::Here(connection) = &mut self.state
            && connection.as_mut().poll(cx).is_ready()
        {
            // Its error reaches whoever waits for an answer on it; nobody else needs it.
            self.state = State::Over;
        }
    }

    /// Whether it is driven by who uses it.
    pub(super) fn is_here(&self) -> bool {
        !matches!(self.state, State::Detached(_))
    }

    /// Waits for something that comes about by driving the connection.
    pub(super) async fn drive<T>(&mut self, event: impl Future<Output = T>) -> T {
        // Only driving brings the event about, so it need wake nobody; and as it would not wake, it must not be told to wait
        // for its turn.
        let mut event = pin!(unconstrained(event));
        poll_fn(|cx| {
            if !self.is_here() {
                return event.as_mut().poll(cx);
            }
            self.poll(cx);
            event.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// Has the connection driven whether or not its user asks.
    pub(super) fn detach(&mut self) {
        if let State::Here(connection) = std::mem::replace(&mut self.state, State::Over) {
            self.state = State::Detached(tokio::spawn(connection).abort_handle());
        }
    }

    /// As [`detach`](Self::detach), for good: the connection ends by itself.
    pub(super) fn let_go(mut self) {
        self.detach();
        self.state = State::Over;
    }

    /// Nobody uses the connection any more: from now on it is watched.
    pub(super) fn park(&mut self) {
        self.watch.state.store(IDLE, Ordering::Release);
        self.poll_watching();
    }

    /// Somebody uses it again. What has happened to it meanwhile is known then.
    pub(super) fn unpark(&mut self) {
        if self.watch.state.swap(USED, Ordering::AcqRel) == STIRRED {
            self.poll_watching();
        }
    }

    /// Looks at what has happened, if anything.
    pub(super) fn look(&mut self) {
        let stirred = self.watch.state.compare_exchange(STIRRED, IDLE, Ordering::AcqRel, Ordering::Relaxed);
        if stirred.is_ok() {
            self.poll_watching();
        }
    }

    fn poll_watching(&mut self) {
        let waker = self.waker.clone();
        self.poll(&mut Context::from_waker(&waker));
    }

    /// The thread on which it is cheapest to use.
    pub(super) fn home(&self) -> Thread {
        self.home
    }

    /// Notes who uses it next. Whether it is rather replaced by a connection of that thread's own.
    pub(super) fn should_move(&mut self, to: Thread) -> bool {
        self.strangers = if to == self.home { 0 } else { self.strangers.saturating_add(1) };
        self.strangers > MOST_STRANGERS
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let State::Detached(task) = &self.state {
            task.abort();
        }
    }
}

const USED: u8 = 0;
const IDLE: u8 = 1;
/// Idle, and something has happened.
const STIRRED: u8 = 2;

/// Notices what happens to a connection that nobody uses.
struct Watch {
    state: AtomicU8,
    stirred: Arc<Notify>,
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let idle = self.state.compare_exchange(IDLE, STIRRED, Ordering::AcqRel, Ordering::Relaxed);
        if idle.is_ok() {
            self.stirred.notify_one();
        }
    }
}
