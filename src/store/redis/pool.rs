//! Connections that are kept, taken in turn, and made anew when they break.
//!
//! Connecting is a task of its own: whoever waits for it gives up at its own time, and the connection is there for the next.
//! Replies come in the order of the commands, and a late one is thrown away by the client, so that a connection outlives a late
//! reply; after two in a row it is replaced, because it may lead nowhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::watch;

use super::super::{SharedError, SharedErrorKind};
use super::connect::{Connection, SharedTarget};

/// How many late replies in a row a connection may have.
const LATE: u32 = 2;

/// The connections of a store.
pub(super) struct Pool {
    places: Vec<Arc<Place>>,
    next: AtomicUsize,
}

struct Place {
    target: SharedTarget,
    state: watch::Sender<State>,
    made: AtomicU64,
}

#[derive(Clone)]
enum State {
    Down,
    Connecting,
    Up(Live),
    Failed(SharedError),
}

/// A connection that is up.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: Connection,
    number: u64,
    late: Arc<AtomicU32>,
}

/// A connection and where it belongs.
#[derive(Clone)]
pub(super) struct Taken {
    place: Arc<Place>,
    pub(super) live: Live,
}

impl Pool {
    pub(super) fn new(target: &SharedTarget) -> Self {
        let place = || {
            let (state, made) = (watch::Sender::new(State::Down), AtomicU64::new(0));
            Arc::new(Place { target: Arc::clone(target), state, made })
        };
        let count = target.config().connections.max(1);
        Self { places: (0..count).map(|_| place()).collect(), next: AtomicUsize::new(0) }
    }

    /// The next connection, made where it is not there. To be called on the runtime of the connections.
    pub(super) async fn take(&self) -> Result<Taken, SharedError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.places.get(turn % self.places.len().max(1));
        let place = place.ok_or_else(|| SharedError::new(SharedErrorKind::Io, "no connections"))?;
        let live = place.live().await?;
        Ok(Taken { place: Arc::clone(place), live })
    }

    /// How many are up.
    pub(super) fn up(&self) -> usize {
        self.places
            .iter()
            .filter(|place| matches!(&*place.state.borrow(), State::Up(live) if !live.connection.has_ended()))
            .count()
    }
}

impl Place {
    async fn live(self: &Arc<Self>) -> Result<Live, SharedError> {
        let mut watching = self.state.subscribe();
        let begin = self.state.send_if_modified(|state| {
            let idle = match state {
                State::Down | State::Failed(_) => true,
                State::Up(live) => live.connection.has_ended(),
                State::Connecting => false,
            };
            if idle {
                *state = State::Connecting;
            }
            idle
        });
        if begin {
            let place = Arc::clone(self);
            tokio::spawn(async move {
                let state = match place.target.connect().await {
                    Ok(connection) => {
                        let number = place.made.fetch_add(1, Ordering::Relaxed);
                        State::Up(Live { connection, number, late: Arc::default() })
                    }
                    Err(error) => State::Failed(error),
                };
                place.state.send_replace(state);
            });
        }
        loop {
            match &*watching.borrow_and_update() {
                State::Up(live) => return Ok(live.clone()),
                State::Failed(error) => return Err(error.clone()),
                State::Down => return Err(SharedError::new(SharedErrorKind::Io, "the connection broke")),
                State::Connecting => {}
            }
            if watching.changed().await.is_err() {
                return Err(SharedError::new(SharedErrorKind::Io, "the connection is gone"));
            }
        }
    }
}

impl Taken {
    /// It answered.
    pub(super) fn is_well(&self) {
        self.live.late.store(0, Ordering::Relaxed);
    }

    /// It did not answer in time.
    pub(super) fn is_late(&self) {
        if self.live.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE {
            self.is_broken();
        }
    }

    /// It is of no more use. Others that have it may still get their replies.
    pub(super) fn is_broken(&self) {
        self.place.state.send_if_modified(|state| {
            let same = matches!(state, State::Up(live) if live.number == self.live.number);
            if same {
                *state = State::Down;
            }
            same
        });
    }
}
