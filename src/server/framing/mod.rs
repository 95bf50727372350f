//! The filter under hyper's HTTP/1 server: only bytes with exactly one reading get through (invariant 2).
//!
//! Keeps: every head of a connection is checked, pipelined ones too, by the quick look or by the strict reader; a read
//! that holds whole good messages is checked where it lies and copied nowhere; a refused head is answered after the
//! answers before it, then the connection closes. It also bounds writing: a client that takes nothing for
//! `body_timeout` is cut.

mod grammar;
mod interims;
mod quick;
mod refusal;
mod scan;
mod tap;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use interims::Interims;
pub(super) use refusal::Refusal;
use scan::{End, Scan, Scanner};
pub(super) use tap::{Next, Tap};

use super::patience::Patience;
use crate::config::Limits;
use crate::error::{Error, ErrorKind};
use crate::http::interim::Line;

/// How long, and for how many bytes, what a client still sends is read after the connection's last answer: closing
/// with bytes unread would reset the connection and take the answer with it (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// An answer of at most so many bytes, head and content, is written in one piece.
const MOST_JOINED: usize = 4096;

thread_local! {
    /// Where they are joined.
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection, seen through the filter.
pub(super) struct Filter<T> {
    io: T,
    mode: Mode,
    scanner: Scanner,
    /// Bytes that were read but not handed on; the first `ready` of them may be.
    held: BytesMut,
    ready: usize,
    tap: Tap,
    paused: bool,
    writing: Patience,
    interims: Interims,
    lingering: Patience,
    discarded: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything passes: HTTP/2, or a tunnel.
    Pass,
    Scan,
    /// A refusal was handed on: hyper reads nothing more.
    Refused,
    /// The body is malformed.
    Broken(&'static str),
}

impl<T> Filter<T> {
    /// Filters HTTP/1. `first` are bytes that were read already.
    pub(super) fn http1(io: T, first: &[u8], limits: &Limits, tap: Tap) -> Self {
        let mut filter = Self::new(io, first, limits, tap);
        if !first.is_empty() {
            let scan = filter.scanner.scan(&filter.held);
            filter.take(scan);
        }
        filter
    }

    /// Lets everything pass: HTTP/2 frames itself.
    pub(super) fn http2(io: T, first: &[u8], limits: &Limits) -> Self {
        let mut filter = Self::new(io, first, limits, Tap::default());
        filter.mode = Mode::Pass;
        filter.ready = first.len();
        filter
    }

    fn new(io: T, first: &[u8], limits: &Limits, tap: Tap) -> Self {
        Self {
            io,
            mode: Mode::Scan,
            scanner: Scanner::new(limits),
            held: BytesMut::from(first),
            ready: 0,
            tap,
            paused: false,
            writing: Patience::new(limits.body_timeout),
            interims: Interims::default(),
            lingering: Patience::new(LINGER),
            discarded: 0,
        }
    }

    /// Where non-final responses wait to be written.
    pub(super) fn line(&self) -> Arc<Line> {
        Arc::clone(self.interims.line())
    }

    /// Draws the consequences of a scan of all held bytes.
    fn take(&mut self, scan: Scan) {
        self.ready = scan.approved;
        self.conclude(scan.end);
    }

    fn conclude(&mut self, end: End) {
        match end {
            End::More => {}
            End::Paused => {
                self.paused = true;
                self.tap.pause();
            }
            End::Refused(refusal) => {
                self.held.truncate(self.ready);
                self.held.extend_from_slice(refusal.request().as_bytes());
                self.ready = self.held.len();
                self.mode = Mode::Refused;
            }
            End::Broken(why) => {
                self.held.truncate(self.ready);
                self.mode = Mode::Broken(why);
            }
        }
    }

    /// Hands on what is ready of the held bytes.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.ready.min(buf.remaining());
        buf.put_slice(self.held.get(..n).unwrap_or_default());
        self.held.advance(n);
        self.ready -= n;
        if self.held.is_empty() {
            self.held = BytesMut::new(); // an idle connection keeps no buffer
        }
    }

    /// Checks what was read into `buf` behind `start`, and takes back what may not be handed on yet.
    fn check(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        let read = buf.filled().get(start..).unwrap_or_default();
        if !self.held.is_empty() {
            self.held.extend_from_slice(read);
            buf.set_filled(start);
            let scan = self.scanner.scan(&self.held);
            return self.take(scan);
        }
        let scan = self.scanner.scan(read);
        if scan.approved < read.len() {
            self.held.extend_from_slice(read.get(scan.approved..).unwrap_or_default());
            buf.set_filled(start + scan.approved);
        }
        self.conclude(scan.end);
    }

    /// Waits until the answer to an upgrade tells what the bytes behind it are.
    fn poll_tap(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.paused {
            return Poll::Ready(());
        }
        let next = ready!(self.tap.poll_next(cx));
        self.paused = false;
        match next {
            Next::Tunnel => {
                self.mode = Mode::Pass;
                self.ready = self.held.len();
            }
            Next::Http => {
                self.scanner.resume();
                let scan = self.scanner.scan(&self.held);
                self.take(scan);
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Filter<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.ready > 0 {
                this.deliver(buf);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Pass => return Pin::new(&mut this.io).poll_read(cx, buf),
                Mode::Refused => return Poll::Pending, // the answer closes the connection
                Mode::Broken(why) => return Poll::Ready(Err(broken(why))),
                Mode::Scan => ready!(this.poll_tap(cx)),
            }
            if this.ready > 0 || this.mode != Mode::Scan {
                continue;
            }
            let start = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            if buf.filled().len() == start {
                return Poll::Ready(Ok(())); // the end, perhaps in the middle of a head, which nobody will see
            }
            this.check(buf, start);
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Error::new(ErrorKind::BadRequest, why))
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Filter<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_behind_interims(cx, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_behind_interims(cx, |io, cx| poll_write_joined(io, cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = match this.interims.poll_write(cx, &mut this.io, &mut this.writing) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.io).poll_flush(cx),
            other => other,
        };
        this.writing.bound(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.io).poll_shutdown(cx);
        ready!(this.writing.bound(cx, polled))?;
        if this.mode == Mode::Pass || this.mode == Mode::Scan && this.scanner.is_between_messages() {
            return Poll::Ready(Ok(()));
        }
        let polled = this.poll_discard(cx);
        match this.lingering.bound(cx, polled) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(Ok(())),
        }
    }
}

/// What of several pieces is small is joined: copying a small answer costs less than telling the system of its pieces.
fn poll_write_joined<T: AsyncWrite>(
    io: Pin<&mut T>,
    cx: &mut Context<'_>,
    bufs: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let length: usize = bufs.iter().map(|buf| buf.len()).sum();
    if length > MOST_JOINED {
        return io.poll_write_vectored(cx, bufs);
    }
    JOINED.with_borrow_mut(|joined| {
        joined.clear();
        bufs.iter().for_each(|buf| joined.extend_from_slice(buf));
        io.poll_write(cx, joined)
    })
}

impl<T: AsyncWrite + Unpin> Filter<T> {
    /// Writes what hyper has to write, behind the non-final responses that have begun.
    fn poll_behind_interims<R>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let polled = match self.interims.poll_finish(cx, &mut self.io, &mut self.writing) {
            Poll::Ready(Ok(())) => write(Pin::new(&mut self.io), cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.writing.bound(cx, polled)
    }
}

impl<T: AsyncRead + Unpin> Filter<T> {
    /// Reads and forgets, until the client closes or has sent too much.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        while self.discarded < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                break;
            }
            self.discarded += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
