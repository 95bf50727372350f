//! The timer of request heads (RFC 9112 has no bound of its own): hyper asks for a new one with each head, and nearly every
//! head is there long before it would fire.
//!
//! Keeps: a head that is not whole at its deadline ends the connection, as with a timer of its own for each head. One timer
//! of the runtime serves all heads of a connection: when it fires too early for the head that is being read, it is set again.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::time::sleep_until;

/// Makes the timers of one connection's heads.
#[derive(Default)]
pub(super) struct HeadTimer(Arc<Mutex<Armed>>);

/// The timer of the runtime, and whom it wakes.
#[derive(Default)]
struct Armed {
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    waker: Option<Waker>,
}

/// The bound of one head.
struct Deadline {
    at: tokio::time::Instant,
    armed: Arc<Mutex<Armed>>,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline { at: deadline.into(), armed: self.0.clone() })
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

impl Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // What the lock guards is whole at every point at which a panic could leave it.
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).poll(self.at, cx)
    }
}

impl Armed {
    fn poll(&mut self, deadline: tokio::time::Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        let listens = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        } else if listens && !timer.is_elapsed() {
            return Poll::Pending;
        }
        self.waker = Some(cx.waker().clone());
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use tokio::time::{advance, timeout};

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_whole_time_whatever_came_before() {
        let timer = HeadTimer::default();
        for read_after in [0, 9, 3, 10, 7] {
            let mut head = timer.sleep(LIMIT);
            let polled = timeout(Duration::from_secs(read_after), &mut head).await;
            assert_eq!(polled.is_ok(), read_after == 10, "{read_after}");
        }
        let begun = timer.now();
        timer.sleep(LIMIT).await;
        assert_eq!(timer.now() - begun, LIMIT);
        // The timer may have fired while no head was being read.
        advance(LIMIT * 3).await;
        let begun = timer.now();
        timer.sleep(LIMIT).await;
        assert_eq!(timer.now() - begun, LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn it_wakes_the_task_that_waits_now() {
        let timer = Arc::new(HeadTimer::default());
        let mut first = pin!(timer.sleep(LIMIT));
        assert!(is_pending_for_nobody(first.as_mut()).await);
        let begun = timer.now();
        let other = {
            let timer = timer.clone();
            tokio::spawn(async move { timer.sleep(LIMIT).await })
        };
        other.await.unwrap();
        assert_eq!(timer.now() - begun, LIMIT);
    }

    /// Polls once, for a task that nobody waits for.
    async fn is_pending_for_nobody(mut future: Pin<&mut impl Future<Output = ()>>) -> bool {
        std::future::poll_fn(|_| {
            let mut cx = Context::from_waker(Waker::noop());
            Poll::Ready(future.as_mut().poll(&mut cx).is_pending())
        })
        .await
    }
}
