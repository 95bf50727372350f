//! The connections of one origin: how many, which are free, and when a free one is too old.
//!
//! Keeps: no more exchanges at once than configured (an HTTP/1.1 exchange has a connection to itself), each permit
//! lives until the body's end, and a connection is reused only after its exchange ended cleanly.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::SetupError;
use super::connect::{Connection, Connector};
use super::driver::{Driver, Thread};
use crate::clock::Clock;
use crate::config::Origin;
use crate::error::{Error, ErrorKind};
use crate::http::Body;

/// How long a connection may take to become ready for the next request once its answer was read.
const SETTLING: Duration = Duration::from_secs(1);

/// One origin and its connections.
pub(super) struct Pool {
    pub(super) origin: Arc<Origin>,
    connector: Connector,
    permits: Arc<Semaphore>,
    /// The free connections, by the thread that opened them.
    shelves: Box<[Mutex<VecDeque<Free>>]>,
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Body>>>,
    /// Set where HTTP/2 was wanted and the origin chose HTTP/1.1.
    chose_http1: AtomicBool,
    sweeping: AtomicBool,
    clock: Clock,
}

struct Free {
    sender: http1::SendRequest<Body>,
    driver: Driver,
    /// Until when it is used again.
    until: Duration,
}

/// The right to one exchange, and the connection that it uses. Dropped before its end, it closes an HTTP/1.1 connection.
pub(super) struct Lease {
    pool: Arc<Pool>,
    pub(super) sender: Sender,
    /// Whether the connection was used before: then the origin may have closed it meanwhile.
    pub(super) reused: bool,
    /// How long it may wait for its next exchange.
    idle: Duration,
    permit: OwnedSemaphorePermit,
}

/// The sending half of a connection.
pub(super) enum Sender {
    Http1(http1::SendRequest<Body>, Driver),
    Http2(http2::SendRequest<Body>),
}

impl Pool {
    pub(super) fn new(origin: Arc<Origin>, clock: Clock) -> Result<Self, SetupError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let permits = origin.connections.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            connector: Connector::new(&origin)?,
            origin,
            permits: Arc::new(Semaphore::new(permits)),
            shelves: (0..threads).map(|_| Mutex::default()).collect(),
            shared: tokio::sync::Mutex::default(),
            chose_http1: AtomicBool::new(false),
            sweeping: AtomicBool::new(false),
            clock,
        })
    }

    /// An error of this origin's, in a sentence that names it.
    pub(super) fn error(&self, kind: ErrorKind, what: impl std::fmt::Display) -> Error {
        Error::new(kind, format!("the origin `{}` {what}", self.origin.name))
    }

    /// Waits for the right to an exchange.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        // In a box, as all that is rare: what every exchange has room for, every exchange copies.
        match Box::pin(timeout(self.origin.timeout, Arc::clone(&self.permits).acquire_owned())).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(self.error(ErrorKind::OriginBusy, "has all its connections in use")),
        }
    }

    /// A connection: a free one where `may_reuse`, otherwise a new one.
    pub(super) async fn lease(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        may_reuse: bool,
    ) -> Result<Lease, Error> {
        if may_reuse && let Some(Free { sender, driver, .. }) = self.take_free() {
            return Ok(self.leased(Sender::Http1(sender, driver), true, permit));
        }
        let (connection, reused) =
            match Box::pin(timeout(self.origin.timeout, self.connection(may_reuse))).await {
                Ok(connected) => connected?,
                Err(_) => {
                    let seconds = self.origin.timeout.as_secs_f64();
                    let what = format!("could not be connected to within {seconds} s");
                    return Err(self.error(ErrorKind::ConnectFailed, what));
                }
            };
        let sender = match connection {
            Connection::Http1(sender, driver) => Sender::Http1(sender, driver),
            Connection::Http2(sender) => Sender::Http2(sender),
        };
        Ok(self.leased(sender, reused, permit))
    }

    fn leased(self: &Arc<Self>, sender: Sender, reused: bool, permit: OwnedSemaphorePermit) -> Lease {
        Lease { pool: Arc::clone(self), sender, reused, idle: self.origin.keep_alive, permit }
    }

    /// A new connection, or the one that all HTTP/2 exchanges share.
    async fn connection(&self, may_reuse: bool) -> Result<(Connection, bool), Error> {
        if !self.origin.http2 || self.chose_http1.load(Ordering::Relaxed) {
            return Ok((self.connect().await?, false));
        }
        let mut shared = self.shared.lock().await;
        if may_reuse && let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((Connection::Http2(sender.clone()), true));
        }
        let connection = self.connect().await?;
        match &connection {
            Connection::Http2(sender) => *shared = Some(sender.clone()),
            Connection::Http1(..) => self.chose_http1.store(true, Ordering::Relaxed),
        }
        Ok((connection, false))
    }

    async fn connect(&self) -> Result<Connection, Error> {
        self.connector.connect().await.map_err(|error| {
            // The address is for the operator; the client gets the name.
            tracing::warn!(origin = %self.origin.name, %error, "connecting failed");
            self.error(ErrorKind::ConnectFailed, "could not be connected to")
        })
    }

    /// The shelves, this thread's own first.
    fn shelves(&self, first: Thread) -> impl Iterator<Item = MutexGuard<'_, VecDeque<Free>>> {
        let (before, after) = self.shelves.split_at(first.choose(self.shelves.len()));
        after.iter().chain(before).map(|shelf| shelf.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A free connection: one of this thread's, where there is any, and the one that became free last, which is the least
    /// likely to have been closed meanwhile.
    fn take_free(&self) -> Option<Free> {
        let (now, here) = (self.clock.now().mono, Thread::current());
        for mut shelf in self.shelves(here) {
            while let Some(mut free) = shelf.pop_back() {
                free.driver.unpark();
                if free.until >= now && free.sender.is_ready() {
                    return (!free.driver.should_move(here)).then_some(free);
                }
            }
        }
        None
    }

    /// Takes a connection back that is parked.
    fn put_free(self: &Arc<Self>, sender: http1::SendRequest<Body>, driver: Driver, idle: Duration) {
        if idle.is_zero() || !sender.is_ready() {
            return;
        }
        let until = self.clock.now().mono + idle;
        if let Some(mut shelf) = self.shelves(driver.home()).next() {
            shelf.push_back(Free { sender, driver, until });
        }
        if !self.sweeping.load(Ordering::Acquire) && !self.sweeping.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(Arc::downgrade(self), self.origin.keep_alive));
        }
    }

    /// Closes what is too old or was closed by the origin. Says whether there is anything left to watch.
    fn drop_old(&self) -> bool {
        let now = self.clock.now().mono;
        let mut shelves: Vec<_> = self.shelves(Thread::current()).collect();
        for shelf in &mut shelves {
            shelf.retain_mut(|free| {
                free.driver.look();
                free.until > now && !free.sender.is_closed()
            });
        }
        let left = shelves.iter().any(|shelf| !shelf.is_empty());
        if !left {
            // Under the locks: whoever puts the next one sees that nobody sweeps.
            self.sweeping.store(false, Ordering::Release);
        }
        left
    }
}

/// Closes connections that stay unused, and those that the origin closed, as long as there are any.
async fn sweep(pool: Weak<Pool>, keep_alive: Duration) {
    let Some(stirred) = pool.upgrade().map(|pool| pool.connector.stirred()) else { return };
    loop {
        // Over, or not: both are looked at.
        let _ = timeout(keep_alive, stirred.notified()).await;
        match pool.upgrade() {
            Some(pool) if pool.drop_old() => {}
            _ => return,
        }
    }
}

impl Lease {
    /// The origin closes an unused connection after this time. What is sent at that very moment would be lost, so the
    /// connection is used again only up to a second before.
    pub(super) fn closes_after(&mut self, unused: Duration) {
        self.idle = self.idle.min(unused.saturating_sub(Duration::from_secs(1)));
    }

    /// The answer was read to its end: the connection may be used again, once it is ready.
    pub(super) fn give_back(self) {
        let Self { pool, sender, permit, idle, .. } = self;
        let Sender::Http1(mut sender, mut driver) = sender else { return };
        driver.park();
        if sender.is_ready() {
            return pool.put_free(sender, driver, idle);
        }
        tokio::spawn(async move {
            if let Ok(Ok(())) = timeout(SETTLING, driver.drive(sender.ready())).await {
                driver.park();
                pool.put_free(sender, driver, idle);
            }
            drop(permit);
        });
    }

    /// What drives the connection, where that is whoever uses it.
    pub(super) fn driver(&mut self) -> Option<&mut Driver> {
        match &mut self.sender {
            Sender::Http1(_, driver) => Some(driver).filter(|driver| driver.is_here()),
            Sender::Http2(_) => None,
        }
    }

    /// The connection has left HTTP: what is left of it must not be ended with the lease.
    pub(super) fn into_tunnel(self) -> OwnedSemaphorePermit {
        if let Sender::Http1(_, driver) = self.sender {
            driver.let_go();
        }
        self.permit
    }

    /// Closes the connection and keeps the right to the exchange.
    pub(super) fn close(self) -> OwnedSemaphorePermit {
        self.permit
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.pool.origin
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}
