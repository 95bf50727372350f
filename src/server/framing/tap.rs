//! What follows a request that asks for an upgrade: the service tells the filter once it knows the answer.
//!
//! Keeps: bytes behind such a request are neither read as a request nor let through as a tunnel before the answer's
//! status is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Shared by the filter and the service of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tap(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether the filter stopped and was not told yet, so that who does not care takes no lock.
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Flowing,
    Paused(Option<Waker>),
    Decided(Next),
}

/// What the bytes behind a request are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next request.
    Http,
    /// Another protocol.
    Tunnel,
}

impl Tap {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the filter waits to be told what the bytes behind a request are.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }

    /// The filter stops behind a request.
    pub(super) fn pause(&self) {
        let mut state = self.state();
        if matches!(*state, State::Flowing) {
            *state = State::Paused(None);
            self.0.stopped.store(true, Ordering::Release);
        }
    }

    /// The service has an answer to it.
    pub(crate) fn decide(&self, next: Next) {
        let before = std::mem::replace(&mut *self.state(), State::Decided(next));
        self.0.stopped.store(false, Ordering::Release);
        if let State::Paused(Some(waker)) = before {
            waker.wake();
        }
    }

    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.state();
        match &mut *state {
            State::Flowing => Poll::Ready(Next::Http), // never asked: it only pauses
            State::Paused(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Decided(next) => {
                let next = *next;
                *state = State::Flowing;
                Poll::Ready(next)
            }
        }
    }
}
