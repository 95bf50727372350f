//! Positions that others understand, and the proof that this node is current.
//!
//! Invariants: positions of two incarnations of a log never match; a node's own positions only grow, whatever becomes of
//! the log. An *epoch* begins with each incarnation that a node meets: its records get the positions above all that were
//! given before, and the floor is raised there, so that nothing from before it is valid.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::clock::Now;
use crate::stored::Position;

/// What tells one life of a log from another: a restart, a failover and a flush each begin a new one.
pub type Incarnation = [u8; 16];

/// A position as it is written down where others read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Of which log.
    pub incarnation: Incarnation,
    /// The number of the record in that log.
    pub seq: u64,
}

/// How this node's positions and the log's numbers correspond.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    incarnation: Incarnation,
    /// The position of the log's number 0.
    base: Position,
}

/// The epoch of a node.
#[derive(Debug)]
pub(super) struct Epochs(RwLock<Epoch>);

impl Epochs {
    /// Those of a log that begins with the process: nobody else's has its incarnation.
    pub(super) fn own() -> Self {
        let mut incarnation = Incarnation::default();
        // Without randomness all marks are of one incarnation; they are marks of this process all the same, unless it
        // shares a store, which needs randomness to open its connections.
        let _ = getrandom::fill(&mut incarnation);
        Self(RwLock::new(Epoch { incarnation, base: 0 }))
    }

    fn read(&self) -> Epoch {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an epoch whose number 0 is `base`, which is above all positions that were given.
    pub(super) fn enter(&self, incarnation: Incarnation, base: Position) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Epoch { incarnation, base };
    }

    /// The position of a record of the log that is followed.
    pub(super) fn of_seq(&self, seq: u64) -> Position {
        self.read().base.saturating_add(seq)
    }

    /// `None`: it is of an epoch that is over.
    pub(super) fn mark(&self, position: Position) -> Option<Mark> {
        let Epoch { incarnation, base } = self.read();
        position.checked_sub(base).map(|seq| Mark { incarnation, seq })
    }

    /// `None`: it is of another incarnation than the one that is followed.
    pub(super) fn position(&self, mark: Mark) -> Option<Position> {
        let Epoch { incarnation, base } = self.read();
        if mark.incarnation == incarnation { base.checked_add(mark.seq) } else { None }
    }
}

/// Until when this node is known to be current.
#[derive(Debug)]
pub(super) struct Proof(AtomicU64);

impl Proof {
    /// For a log that is this process's own, and so never unknown to it.
    pub(super) fn always() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// For a log that has not been read yet.
    pub(super) fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Nothing that was read and applied is newer than `until`, on the monotonic clock.
    pub(super) fn hold_until(&self, until: Duration) {
        let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX - 1);
        self.0.fetch_max(until, Ordering::SeqCst);
    }

    /// What was proved is no longer so: the log has another incarnation.
    pub(super) fn withdraw(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    pub(super) fn holds(&self, now: Now) -> bool {
        let until = self.0.load(Ordering::SeqCst);
        until == u64::MAX || now.mono.as_nanos() < u128::from(until)
    }
}
