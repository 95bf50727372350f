//! The purge log: where purges get their order. A node follows it and applies what it reads to its table.
//!
//! Invariants: the numbers of records are those from 1 on without a gap; a record is readable before `append` returns,
//! so that a node that follows after it has appended has applied its own record.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::record::{Purge, Receipt, Record};
use super::underway::{Underway, Unlogged};
use crate::clock::Now;
use crate::stored::Position;

/// A log of purges.
pub trait PurgeLog: Send + Sync + 'static {
    /// Gives a purge its place. It is in force on a node once that node has followed the log this far.
    fn append(&self, purge: Purge, now: Now) -> Receipt;

    /// Hands over every record after `after`, in the order of their numbers. What was handed over may be forgotten: a log
    /// has one follower in each process, which calls this for one position at a time.
    fn follow(&self, after: Position, apply: &mut dyn FnMut(&Record));
}

/// What becomes of a purge that the log does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Whoever asked is told, and may ask again.
    Report,
    /// It is obeyed here at once, and handed over until the log has taken it.
    Insist,
}

/// What a log remembers in the step that gives an event's purges their places, so that each event takes effect once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Names the event.
    pub name: String,
    /// A digest of what it says: another event must not pass for it.
    pub body: String,
    /// What whoever sends it again is to be told.
    pub said: String,
    /// For how long.
    pub remembered: Duration,
    /// What its sender counts, where it does.
    pub counter: Option<Compared>,
}

/// A counter in the log, which moves only from where it was thought to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Which one.
    pub name: String,
    /// What it is thought to be: nothing, where nobody counted yet.
    pub was: String,
    /// What it becomes.
    pub becomes: String,
}

/// What became of an event's purges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// They are in force now. The receipt is that of the last; there is none where there was nothing to purge.
    Now(Option<Receipt>),
    /// An event of this name took effect before.
    Before {
        /// The receipt of then.
        receipt: Option<Receipt>,
        /// The digest of then.
        body: String,
        /// What its sender was told.
        said: String,
    },
    /// Nothing was done: the counter is another.
    Counted(String),
}

/// An event on its way into the log: it goes on whether it is waited for or not.
pub type Recording = oneshot::Receiver<Result<Recorded, Unlogged>>;

/// A log that several nodes share. It applies what it reads, this node's own records among them, to the fence.
pub trait SharedLog: Send + Sync + 'static {
    /// Sees to it that a purge gets its place, and that it is acknowledged once all who have to have applied it. One that comes
    /// twice with its id may get two places.
    fn append(&self, id: String, purge: Purge, handling: Handling) -> Underway;

    /// The same for all purges of an event, each under an id, unless the event took effect before.
    fn append_once(&self, purges: Vec<(String, Purge)>, once: Once) -> Recording;
}

/// The log of a single process. It keeps a record until the record was handed over.
#[derive(Default)]
pub struct LocalLog(Mutex<Records>);

#[derive(Default)]
struct Records {
    last: Position,
    time: Option<Now>,
    waiting: VecDeque<Record>,
}

impl LocalLog {
    fn lock(&self) -> MutexGuard<'_, Records> {
        // Whole at every point at which a panic could leave it: a number without a record shows as a gap.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PurgeLog for LocalLog {
    fn append(&self, purge: Purge, now: Now) -> Receipt {
        let id = random_id();
        let mut records = self.lock();
        records.last += 1;
        // Who read the clock earlier may come later: the times of records never run backwards.
        let time = records.time.filter(|last| last.mono > now.mono).unwrap_or(now);
        records.time = Some(time);
        let record = Record { seq: records.last, id, purge, time };
        let receipt = record.receipt();
        records.waiting.push_back(record);
        receipt
    }

    fn follow(&self, after: Position, apply: &mut dyn FnMut(&Record)) {
        loop {
            // Not under the lock: what is applied may take its time, and others append meanwhile.
            let Some(record) = self.lock().waiting.pop_front() else { return };
            if record.seq > after {
                apply(&record);
            }
        }
    }
}

/// An id for a purge.
pub fn random_id() -> String {
    let mut bytes = [0_u8; 12];
    // Without randomness the id is all zeros: it names the purge for people, nothing rests on it.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::purge::{Selector, Where};
    use std::time::Duration;

    #[test]
    fn records_come_once_in_order_and_their_times_never_run_backwards() {
        let (log, clock) = (LocalLog::default(), Clock::manual(Duration::from_secs(1_000)));
        let early = clock.now();
        clock.advance(Duration::from_secs(5));
        let purge = Purge::hard(vec![Selector::Everything], Where::All);
        let first = log.append(purge.clone(), clock.now());
        let second = log.append(purge, early);
        assert_eq!((first.seq, second.seq), (1, 2));
        assert_ne!(first.id, second.id);
        let mut seen = Vec::new();
        log.follow(0, &mut |record| seen.push((record.receipt(), record.time)));
        assert_eq!(seen.iter().map(|(receipt, _)| receipt.clone()).collect::<Vec<_>>(), [first, second]);
        assert_eq!(seen[1].1, clock.now());
        log.follow(2, &mut |_| panic!("handed over twice"));
    }
}
