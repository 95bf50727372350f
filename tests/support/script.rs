//! How a test directs an origin while it is answering: gates that hold it back, bodies that come in steps.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::{Semaphore, watch};

use super::wait;

/// A gate that a handler waits at until the test opens it. Clones are the same gate.
#[derive(Clone)]
pub struct Gate {
    permits: Arc<Semaphore>,
    arrived: Arc<watch::Sender<usize>>,
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), arrived: Arc::new(watch::Sender::new(0)) }
    }

    /// In a handler: waits until the gate lets it through.
    pub async fn pass(&self) {
        self.arrived.send_modify(|n| *n += 1);
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }

    /// Lets the next `n` through.
    pub fn let_through(&self, n: usize) {
        self.permits.add_permits(n);
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        self.permits.close();
    }

    /// Returns once `n` in all have come to the gate, whether they went through or not.
    pub async fn arrived(&self, n: usize) {
        let mut arrived = self.arrived.subscribe();
        let waiting = arrived.wait_for(|count| *count >= n);
        wait::within(&format!("{n} come to the gate"), waiting).await.unwrap();
    }

    /// How many have come to the gate so far.
    pub fn count(&self) -> usize {
        *self.arrived.borrow()
    }
}

/// A body that the test sends step by step. Every answer that uses it gets all steps from the first.
#[derive(Clone, Default)]
pub struct Steps(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    steps: Vec<Step>,
    wakers: Vec<Waker>,
    opened: usize,
    dropped: usize,
}

#[derive(Clone)]
enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Cut,
}

impl Steps {
    /// A body without steps yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends bytes.
    pub fn data(&self, bytes: impl Into<Bytes>) -> &Self {
        self.push(Step::Data(bytes.into()))
    }

    /// Sends trailers, after which only the end may come.
    pub fn trailers(&self, fields: HeaderMap) -> &Self {
        self.push(Step::Trailers(fields))
    }

    /// Ends the body as it should end.
    pub fn end(&self) -> &Self {
        self.push(Step::End)
    }

    /// Cuts the connection in the middle of the body.
    pub fn cut(&self) -> &Self {
        self.push(Step::Cut)
    }

    /// Returns once `n` answers in all have begun to send this body.
    pub async fn opened(&self, n: usize) {
        wait::until(&format!("{n} bodies are opened"), || self.0.lock().unwrap().opened >= n).await;
    }

    /// Returns once `n` bodies in all are over: sent to the end, or dropped because their reader left.
    pub async fn dropped(&self, n: usize) {
        wait::until(&format!("{n} bodies are dropped"), || self.0.lock().unwrap().dropped >= n).await;
    }

    fn push(&self, step: Step) -> &Self {
        let mut script = self.0.lock().unwrap();
        script.steps.push(step);
        for waker in script.wakers.drain(..) {
            waker.wake();
        }
        drop(script);
        self
    }

    /// One more body that follows the script.
    pub(super) fn body(&self) -> StepBody {
        self.0.lock().unwrap().opened += 1;
        StepBody { script: self.clone(), next: 0 }
    }
}

/// One body that follows a script of [`Steps`].
pub struct StepBody {
    script: Steps,
    next: usize,
}

impl Body for StepBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let step = {
            let mut script = self.script.0.lock().unwrap();
            let Some(step) = script.steps.get(self.next).cloned() else {
                script.wakers.push(cx.waker().clone());
                return Poll::Pending;
            };
            step
        };
        self.next += 1;
        Poll::Ready(match step {
            Step::Data(bytes) => Some(Ok(Frame::data(bytes))),
            Step::Trailers(fields) => Some(Ok(Frame::trailers(fields))),
            Step::End => None,
            Step::Cut => Some(Err(Cut)),
        })
    }
}

impl Drop for StepBody {
    fn drop(&mut self) {
        if let Ok(mut script) = self.script.0.lock() {
            script.dropped += 1;
        }
    }
}

/// The error with which hyper is made to cut a connection.
#[derive(Debug)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut by the test")
    }
}

impl std::error::Error for Cut {}
