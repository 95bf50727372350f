//! Non-final responses (RFC 9110 section 15.2) on their way to a client: the handle that says them, and the line of a
//! connection on which they wait to be written.
//!
//! Keeps: what is said for a request is written before its final response or not at all, and never during another
//! request; what waits is bounded; nothing that frames a message, concerns one connection or sets a cookie is said.

use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};

use super::fields;

/// So many may wait, and so many bytes; what is more is dropped.
const MOST: usize = 16;
const MOST_BYTES: usize = 64 * 1024;

/// Says non-final responses to the client of one request, before its final response.
///
/// The body of each HTTP/1.1 request that [`Server`](crate::server::Server) serves gives one
/// ([`Body::interim`](super::Body::interim)), and Larder's origin client passes through it what an application on HTTP/1.1
/// says. An application inside the same process, behind a [`CacheLayer`](crate::layer::CacheLayer), takes it out of the
/// extensions of the requests that reach it.
///
/// Nothing of what is said is stored, and nothing is added to the final response. Clients may miss it: those of HTTP/1.0
/// and HTTP/2 have no handle, and for one that does not read, so many as 16 wait.
#[derive(Debug, Clone)]
pub struct Interim {
    line: Arc<Line>,
    request: u64,
}

impl Interim {
    /// Says one response: of 1xx, but neither 100, which the server says itself (RFC 9110 section 10.1.1), nor 101, which
    /// is final for HTTP. Others are ignored, and so is everything after the request's final response.
    ///
    /// Fields that frame a message or concern one connection are left out (RFC 9110 sections 7.6.1 and 8.6), and so is
    /// `Set-Cookie`: it would change who the client is, which only a final response may.
    pub fn send(&self, status: StatusCode, mut fields: HeaderMap) {
        let passed_on = (102..=199).contains(&status.as_u16());
        if !passed_on || fields::strip_connection_specific(&mut fields).is_err() {
            return;
        }
        [header::CONTENT_LENGTH, header::SET_COOKIE].iter().for_each(|name| drop(fields.remove(name)));
        let waker = self.line.push(self.request, &head(status, &fields));
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn head(status: StatusCode, fields: &HeaderMap) -> BytesMut {
    let mut head = BytesMut::new();
    // Writing to memory does not fail.
    let _ =
        write!(head, "HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default());
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Where the non-final responses of one connection wait. Its requests are answered one after the other.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The number of the request that is being answered, odd; an even one between two requests. Only the connection's own
    /// task changes it.
    request: AtomicU64,
    /// Whether there may be something in the queue, so that who does not care takes no lock.
    waiting: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The request that it was said for.
    request: u64,
    bytes: BytesMut,
    count: usize,
    /// The request that has its final response: no more is taken.
    over: u64,
    /// Of the connection's task.
    waker: Option<Waker>,
}

impl Line {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins to be answered.
    pub(crate) fn open(self: Arc<Self>) -> Answering {
        let request = self.request.load(Ordering::Relaxed).wrapping_add(1) | 1;
        self.request.store(request, Ordering::Release);
        Answering(Interim { line: self, request })
    }

    /// The number of the request that is being answered; an even one where none is.
    pub(crate) fn request(&self) -> u64 {
        self.request.load(Ordering::Relaxed)
    }

    /// What says non-final responses for the request of this number; `None` where that is the number of none.
    pub(crate) fn handle(self: Arc<Self>, request: u64) -> Option<Interim> {
        (request % 2 == 1).then_some(Interim { line: self, request })
    }

    /// Lets one wait, if the request is still being answered and there is room. Gives who is to be woken.
    fn push(&self, request: u64, head: &[u8]) -> Option<Waker> {
        let mut queue = self.queue();
        if self.request.load(Ordering::Acquire) != request || queue.over == request {
            return None;
        }
        if queue.request != request {
            (queue.request, queue.count) = (request, 0);
            queue.bytes.clear();
        }
        if queue.count == MOST || queue.bytes.len() + head.len() > MOST_BYTES {
            return None;
        }
        queue.bytes.extend_from_slice(head);
        queue.count += 1;
        self.waiting.store(true, Ordering::Release);
        queue.waker.take()
    }

    /// What waits for the request that is being answered, for the connection to write before anything else.
    pub(crate) fn take(&self, cx: &Context<'_>) -> Option<Bytes> {
        if !self.waiting.load(Ordering::Acquire) {
            return None;
        }
        let mut queue = self.queue();
        self.waiting.store(false, Ordering::Release);
        queue.count = 0;
        let bytes = std::mem::take(&mut queue.bytes).freeze();
        // A final response may be waiting for this, in the same task.
        cx.waker().wake_by_ref();
        (queue.request == self.request.load(Ordering::Relaxed)).then_some(bytes)
    }

    /// Whoever says something wakes this task.
    fn listen(&self, cx: &Context<'_>) {
        let mut queue = self.queue();
        if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
    }

    /// Takes no more for this request, and is ready once nothing waits.
    fn poll_taken(&self, request: u64) -> Poll<()> {
        if !self.waiting.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.queue().over = request;
        Poll::Pending // `take` wakes
    }
}

/// A request that is being answered. When this is dropped, its answer is there, or nobody waits for one.
#[derive(Debug)]
pub(crate) struct Answering(Interim);

impl Answering {
    #[cfg(test)]
    fn handle(&self) -> Interim {
        self.0.clone()
    }

    /// The final response, once all that was said before it has been taken by the connection.
    pub(crate) async fn with<F: Future>(self, answer: F) -> F::Output {
        let mut answer = pin!(answer);
        let (line, request) = (&self.0.line, self.0.request);
        let mut held = None;
        poll_fn(|cx| {
            if held.is_none() {
                match answer.as_mut().poll(cx) {
                    // Nearly always: nothing was said, and the answer is moved no further than it has to be.
                    Poll::Ready(answer) if line.poll_taken(request).is_ready() => return Poll::Ready(answer),
                    Poll::Ready(answer) => held = Some(answer),
                    Poll::Pending => line.listen(cx),
                }
            } else if line.poll_taken(request).is_ready() {
                return held.take().map_or(Poll::Pending, Poll::Ready);
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.line.request.store(self.0.request.wrapping_add(1), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::HeaderValue;

    use super::*;

    fn hint(length: usize) -> HeaderMap {
        HeaderMap::from_iter([(header::LINK, HeaderValue::from_str(&"x".repeat(length)).unwrap())])
    }

    fn taken(line: &Line) -> String {
        let bytes = line.take(&Context::from_waker(Waker::noop())).unwrap_or_default();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn what_was_said_for_a_request_is_not_written_after_it_nor_during_the_next() {
        let line = Arc::new(Line::default());
        let first = Arc::clone(&line).open();
        let handle = first.handle();
        handle.send(StatusCode::EARLY_HINTS, hint(1));
        drop(first);
        assert_eq!(taken(&line), "");
        let first = Arc::clone(&line).open();
        first.handle().send(StatusCode::EARLY_HINTS, hint(2));
        drop(first);
        let second = Arc::clone(&line).open();
        assert_eq!(taken(&line), "");
        handle.send(StatusCode::EARLY_HINTS, hint(3));
        assert_eq!(taken(&line), "");
        second.handle().send(StatusCode::PROCESSING, HeaderMap::new());
        handle.send(StatusCode::EARLY_HINTS, hint(3));
        assert_eq!(taken(&line), "HTTP/1.1 102 Processing\r\n\r\n");
    }

    #[test]
    fn so_many_wait_and_so_many_bytes_and_then_there_is_room_again() {
        let line = Arc::new(Line::default());
        let answering = Arc::clone(&line).open();
        let sent = |length, n| {
            (0..n).for_each(|_| answering.handle().send(StatusCode::EARLY_HINTS, hint(length)));
            taken(&line).matches("HTTP/1.1 103 ").count()
        };
        assert_eq!((sent(1, 100), sent(1, 100)), (MOST, MOST));
        assert_eq!((sent(20_000, 10), sent(MOST_BYTES, 1), sent(1, 1)), (3, 0, 1));
    }

    #[test]
    fn rfc9110_15_2_only_what_is_not_final_and_not_the_servers_own_is_said() {
        let line = Arc::new(Line::default());
        let answering = Arc::clone(&line).open();
        for code in 100..1000 {
            answering.handle().send(StatusCode::from_u16(code).unwrap(), HeaderMap::new());
            assert_eq!(taken(&line).is_empty(), !(102..200).contains(&code), "{code}");
        }
    }

    #[test]
    fn rfc9110_7_6_1_and_8_6_what_frames_or_concerns_the_connection_is_left_out() {
        let line = Arc::new(Line::default());
        let answering = Arc::clone(&line).open();
        let mut fields = hint(1);
        for name in ["connection", "x-hop", "content-length", "transfer-encoding", "upgrade", "set-cookie"] {
            fields.insert(name, HeaderValue::from_static("x-hop"));
        }
        answering.handle().send(StatusCode::EARLY_HINTS, fields.clone());
        assert_eq!(taken(&line), "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
        fields.insert(header::CONNECTION, HeaderValue::from_static("content-length"));
        answering.handle().send(StatusCode::EARLY_HINTS, fields);
        assert_eq!(taken(&line), "");
    }
}
