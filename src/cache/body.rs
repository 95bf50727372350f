//! A body that one fill writes and any number of readers read, each at its own pace.
//!
//! Up to its limit the whole body is kept, every reader gets all of it, and the fill waits for nobody. Beyond the limit the
//! body is not stored: readers share a window of bounded size, the fill waits for the fastest reader only, and a reader
//! that falls out of the window is cut off with an error, never with a clean end (invariant 4).

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::error::{BoxError, Error, ErrorKind};

/// The bytes that a window holds at most, besides the chunk that was added last.
pub(super) const WINDOW: u64 = 4 * 1024 * 1024;

/// The body of a running fill.
#[derive(Debug)]
pub struct SharedBody {
    state: Mutex<State>,
    limit: u64,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// How many chunks, and bytes, went out of the window at its front.
    gone: usize,
    gone_bytes: u64,
    total: u64,
    windowed: bool,
    /// The last chunk, held back until the end is known.
    last: Option<Bytes>,
    end: Option<Result<Option<HeaderMap>, Error>>,
    readers: HashMap<u64, ReaderState>,
    next_reader: u64,
    filler: Option<Waker>,
}

#[derive(Debug, Default)]
struct ReaderState {
    read_bytes: u64,
    waker: Option<Waker>,
}

/// Why a fill stops before the origin's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

impl SharedBody {
    /// A body that is kept whole up to `limit` bytes. With `windowed` it is known to be larger already.
    pub fn new(limit: u64, windowed: bool) -> Arc<Self> {
        let state = State { windowed, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), limit })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new reader from the beginning, or `None` where the beginning is gone.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.lock();
        if state.gone > 0 {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, ReaderState::default());
        wake(state, State::filler);
        Some(Reader { body: self.clone(), id, next: 0 })
    }

    /// Adds a chunk.
    pub fn add(&self, chunk: Bytes) {
        let mut state = self.lock();
        state.release();
        state.total += chunk.len() as u64;
        state.chunks.push_back(chunk);
        state.windowed |= state.total > self.limit;
        if state.windowed {
            state.shrink();
        }
        wake(state, State::waiting_readers);
    }

    /// Adds the chunk that completes the announced length. Readers see it with the end only: a client that has the whole
    /// answer finds it stored. Beyond the limit nothing is stored, and nothing is held back.
    pub fn add_last(&self, chunk: Bytes) {
        let mut state = self.lock();
        if state.windowed || state.total + chunk.len() as u64 > self.limit {
            drop(state);
            return self.add(chunk);
        }
        state.release();
        state.total += chunk.len() as u64;
        state.last = Some(chunk);
    }

    /// Waits, beyond the limit, until the fastest reader has room for more.
    ///
    /// # Errors
    /// [`Abandoned`] where the body is too large to store and nobody reads it any more.
    pub async fn room(&self) -> Result<(), Abandoned> {
        std::future::poll_fn(|cx| self.poll_room(cx)).await
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Abandoned>> {
        let mut state = self.lock();
        if !state.windowed {
            return Poll::Ready(Ok(()));
        }
        let Some(fastest) = state.fastest() else { return Poll::Ready(Err(Abandoned)) };
        if state.total - fastest <= WINDOW / 2 {
            return Poll::Ready(Ok(()));
        }
        state.filler = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until `count` readers have come, among them those that left again.
    pub async fn attended(&self, count: u64) {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if state.next_reader >= count {
                return Poll::Ready(());
            }
            state.filler = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Ends the body: with the trailers, or with the error that every reader gets.
    pub fn end(&self, end: Result<Option<HeaderMap>, Error>) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.release();
            state.end = Some(end);
            wake(state, State::waiting_readers);
        }
    }

    /// All that was received in one piece, exactly as large as its content, or `None` where it did not fit.
    /// Whoever asks knows that the origin's end came.
    pub fn whole(&self) -> Option<Bytes> {
        let state = self.lock();
        if state.windowed || matches!(state.end, Some(Err(_))) {
            return None;
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(state.total).ok()?);
        state.chunks.iter().chain(&state.last).for_each(|chunk| whole.extend_from_slice(chunk));
        Some(whole.freeze())
    }

    /// Whether the body proved larger than what is stored.
    pub fn is_windowed(&self) -> bool {
        self.lock().windowed
    }

    /// The bytes received so far.
    pub fn received(&self) -> u64 {
        self.lock().total
    }
}

impl State {
    /// Shows the chunk that was held back.
    fn release(&mut self) {
        self.chunks.extend(self.last.take());
    }

    /// How far the fastest reader is.
    fn fastest(&self) -> Option<u64> {
        self.readers.values().map(|r| r.read_bytes).max()
    }

    /// Drops from the front what is beyond the window and was read by the fastest reader.
    fn shrink(&mut self) {
        let read = self.fastest().unwrap_or(self.total);
        while self.total - self.gone_bytes > WINDOW && self.chunks.len() > 1 {
            let first = self.chunks.front().map_or(0, |chunk| chunk.len() as u64);
            if self.gone_bytes + first > read {
                break;
            }
            self.chunks.pop_front();
            self.gone += 1;
            self.gone_bytes += first;
        }
    }

    fn waiting_readers(&mut self) -> Vec<Waker> {
        self.readers.values_mut().filter_map(|r| r.waker.take()).collect()
    }

    fn filler(&mut self) -> Option<Waker> {
        self.filler.take()
    }
}

/// Wakes after the lock is given back: what is woken may be dropped by it, and with it a reader of this same body.
fn wake<W: IntoIterator<Item = Waker>>(mut state: MutexGuard<'_, State>, whom: impl FnOnce(&mut State) -> W) {
    let wakers = whom(&mut state);
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

/// One reader of a [`SharedBody`].
#[derive(Debug)]
pub struct Reader {
    body: Arc<SharedBody>,
    id: u64,
    next: usize,
}

impl Body for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut state = this.body.lock();
        let Some(at) = this.next.checked_sub(state.gone) else {
            let why = "the reader was too slow for a response that is too large to store";
            return Poll::Ready(Some(Err(Error::new(ErrorKind::OriginBroken, why).into())));
        };
        if let Some(chunk) = state.chunks.get(at).cloned() {
            this.next += 1;
            if let Some(reader) = state.readers.get_mut(&this.id) {
                reader.read_bytes += chunk.len() as u64;
            }
            wake(state, State::filler);
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match state.end.clone() {
            Some(Ok(trailers)) => {
                // Trailers are the last frame: one step beyond the last chunk.
                if this.next == state.gone + state.chunks.len()
                    && let Some(trailers) = trailers
                {
                    this.next += 1;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Poll::Ready(None)
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => {
                let reader = state.readers.get_mut(&this.id);
                let old = reader.and_then(|reader| reader.waker.replace(cx.waker().clone()));
                drop(state);
                drop(old);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.body.lock();
        match &state.end {
            Some(Ok(None)) => self.next >= state.gone + state.chunks.len(),
            Some(Ok(Some(_))) => self.next > state.gone + state.chunks.len(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.body.lock();
        // Its own waker is dropped after the lock too.
        let _gone = state.readers.remove(&self.id);
        wake(state, State::filler);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    const MIB: usize = 1024 * 1024;

    async fn push(body: &SharedBody, chunk: Bytes) -> Result<(), Abandoned> {
        body.add(chunk);
        body.room().await
    }

    async fn read(mut reader: Reader) -> Result<usize, BoxError> {
        let mut total = 0;
        while let Some(frame) = reader.frame().await {
            total += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(total)
    }

    #[tokio::test]
    async fn every_reader_gets_the_whole_of_a_body_within_the_limit_however_late() {
        let body = SharedBody::new(10 * MIB as u64, false);
        let early = body.reader().unwrap();
        for _ in 0..10 {
            push(&body, Bytes::from(vec![1; MIB])).await.unwrap();
        }
        let late = body.reader().unwrap();
        body.end(Ok(None));
        assert_eq!(read(early).await.unwrap(), 10 * MIB);
        assert_eq!(read(late).await.unwrap(), 10 * MIB);
        assert_eq!(body.whole().unwrap().len(), 10 * MIB);
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_not_whole_and_a_laggard_is_cut_while_a_fast_reader_gets_all() {
        let body = SharedBody::new(MIB as u64, false);
        let mut laggard = body.reader().unwrap();
        assert!(laggard_poll(&mut laggard).is_pending());
        let fast = tokio::spawn(read(body.reader().unwrap()));
        for _ in 0..64 {
            push(&body, Bytes::from(vec![1; MIB])).await.unwrap();
        }
        body.end(Ok(None));
        assert_eq!(fast.await.unwrap().unwrap(), 64 * MIB);
        assert!(read(laggard).await.is_err());
        assert!(body.whole().is_none() && body.reader().is_none());
    }

    fn laggard_poll(reader: &mut Reader) -> Poll<()> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(reader).poll_frame(&mut cx).map(|_| ())
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_that_nobody_reads_is_abandoned() {
        let body = SharedBody::new(10, true);
        let reader = body.reader().unwrap();
        push(&body, Bytes::from_static(b"0123456789")).await.unwrap();
        drop(reader);
        assert_eq!(push(&body, Bytes::from_static(b"more")).await, Err(Abandoned));
    }

    #[tokio::test]
    async fn the_fill_waits_for_the_fastest_reader_beyond_the_limit() {
        let body = SharedBody::new(1, true);
        let mut reader = body.reader().unwrap();
        let pushing = {
            let body = body.clone();
            tokio::spawn(async move {
                for _ in 0..16 {
                    push(&body, Bytes::from(vec![0; MIB])).await.unwrap();
                }
                body.end(Ok(None));
            })
        };
        while body.received() < WINDOW / 2 + 1 {
            tokio::task::yield_now().await;
        }
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(body.received() <= WINDOW / 2 + MIB as u64 + 1, "{}", body.received());
        reader.frame().await.unwrap().unwrap();
        let rest = read(reader).await.unwrap();
        pushing.await.unwrap();
        assert_eq!(rest, 15 * MIB);
    }

    #[tokio::test]
    async fn the_only_reader_is_never_cut_however_far_it_is_behind_when_the_limit_is_passed() {
        let body = SharedBody::new(32 * MIB as u64, false);
        let reader = body.reader().unwrap();
        for _ in 0..33 {
            body.add(Bytes::from(vec![0; MIB]));
        }
        body.end(Ok(None));
        assert_eq!(read(reader).await.unwrap(), 33 * MIB);
    }

    /// A waker that owns a reader, as one does that is the last to hold its task.
    struct Owns(Mutex<Option<Reader>>);

    impl std::task::Wake for Owns {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().take();
        }
    }

    #[tokio::test]
    async fn waking_a_task_that_drops_its_reader_does_not_lock_up() {
        let (told, finished) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let body = SharedBody::new(100, false);
            let waker = Arc::new(Owns(Mutex::new(body.reader()))).into();
            let mut reader = body.reader().unwrap();
            assert!(Pin::new(&mut reader).poll_frame(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            body.add(Bytes::from_static(b"x"));
            told.send(()).unwrap();
        });
        finished.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    }

    #[tokio::test]
    async fn the_last_chunk_is_part_of_the_whole_before_any_reader_sees_it() {
        let body = SharedBody::new(10, false);
        let mut reader = body.reader().unwrap();
        body.add(Bytes::from_static(b"01234"));
        body.add_last(Bytes::from_static(b"56789"));
        assert_eq!(body.whole().unwrap(), "0123456789");
        assert_eq!(reader.frame().await.unwrap().unwrap().into_data().unwrap(), "01234");
        assert!(laggard_poll(&mut reader).is_pending());
        body.end(Ok(None));
        assert_eq!(read(reader).await.unwrap(), 5);
        let large = SharedBody::new(9, false);
        let reader = large.reader().unwrap();
        large.add_last(Bytes::from_static(b"0123456789"));
        assert!(large.whole().is_none(), "too large to store: nothing is held back");
        large.end(Ok(None));
        assert_eq!(read(reader).await.unwrap(), 10);
    }

    #[tokio::test]
    async fn trailers_come_last_and_an_error_is_never_a_clean_end() {
        let body = SharedBody::new(100, false);
        push(&body, Bytes::from_static(b"x")).await.unwrap();
        let reader = body.reader().unwrap();
        let broken = body.reader().unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("1"));
        body.end(Ok(Some(trailers)));
        let collected = reader.collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
        drop(broken);
        let body = SharedBody::new(100, false);
        let reader = body.reader().unwrap();
        body.end(Err(Error::new(ErrorKind::OriginBroken, "cut")));
        assert!(read(reader).await.is_err());
        assert!(body.whole().is_none());
    }
}
