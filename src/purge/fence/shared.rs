//! The fence over a log that several nodes share: what its follower tells it, and what holds without a place in the log.
//!
//! Invariants: each incarnation of the log begins above all positions that this node ever gave, and raises the floor there;
//! without proof nothing stored is valid; a purge without a place covers whatever began before its record is applied.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Fence, Log, lock};
use crate::clock::Now;
use crate::purge::epoch::{Incarnation, Mark};
use crate::purge::log::{Once, Recording};
use crate::purge::record::{Purge, Record};
use crate::stored::Position;

impl Fence {
    /// Hands an event's purges to the log that several nodes share, which remembers the event. `None`: the log is this process's own.
    pub fn hand_over_once(&self, purges: Vec<(String, Purge)>, once: Once) -> Option<Recording> {
        match &self.log {
            Log::Own(_) => None,
            Log::Shared(log) => Some(log.append_once(purges, once)),
        }
    }

    /// Applies a record of the shared log, whose place there is `seq`. Records come in the order of their numbers.
    pub fn apply(&self, mut record: Record, seq: u64) {
        let mut applied = lock(&self.applied);
        record.seq = self.epochs.of_seq(seq);
        self.apply_next(&record, &mut applied);
    }

    /// Follows another incarnation of the log from now on, from its record `from`. Nothing from before is valid any more.
    pub fn enter(&self, incarnation: Incarnation, from: u64) {
        let mut applied = lock(&self.applied);
        self.proof.withdraw();
        let base = *applied + 1;
        self.epochs.enter(incarnation, base);
        *applied = base.saturating_add(from);
        self.raise(*applied);
    }

    /// Skips to the record `seq` of the log: what lies between is not to be had any more, so nothing from before is valid.
    pub fn give_up_to(&self, seq: u64) {
        let mut applied = lock(&self.applied);
        let position = self.epochs.of_seq(seq);
        *applied = position.max(*applied);
        self.raise(position);
    }

    /// Everything that the log had at a moment is applied, so this node is current until `until` on the monotonic clock.
    pub fn prove(&self, until: Duration) {
        self.proof.hold_until(until);
    }

    /// Proves nothing any more, until it proves it again.
    pub fn withdraw(&self) {
        self.proof.withdraw();
    }

    /// Whether this node can prove that it knows every purge it has to obey. Without proof nothing stored is valid.
    #[inline]
    pub fn is_proven(&self, now: Now) -> bool {
        self.proof.holds(now)
    }

    /// Whether others write to the log as well: then a verdict needs a proof, too.
    #[inline]
    pub fn is_shared(&self) -> bool {
        matches!(self.log, Log::Shared(_))
    }

    /// Puts a purge in force on this node that has no place in the log yet, until [`Fence::apply`] gets the record of its id.
    pub fn obey(&self, id: &str, purge: &Purge) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.provisional.add(id, &purge.selectors, &purge.whose);
        self.provisional.store(table.provisional.len(), Ordering::SeqCst);
    }

    /// The purge with this id has its place, or never gets one.
    pub fn settle(&self, id: &str) {
        if self.provisional.load(Ordering::SeqCst) > 0 {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            table.provisional.remove(id);
            self.provisional.store(table.provisional.len(), Ordering::SeqCst);
        }
    }

    /// A position of this node as others understand it. `None`: it is of an incarnation that is over.
    pub fn mark(&self, position: Position) -> Option<Mark> {
        self.epochs.mark(position)
    }

    /// A position that was written down. `None`: it is of another incarnation than the one that this node follows.
    pub fn position(&self, mark: Mark) -> Option<Position> {
        self.epochs.position(mark)
    }
}
