//! What a node and the server of a shared log say to each other. The rules are those of docs/clustering.md, "The log"; the
//! scripts that keep them in Redis are in `redis`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::purge::{Incarnation, Once};

/// A future as a trait object gives it.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why the server did not do what it was asked, or may have done it without this being known. The text is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away(pub String);

/// Which log, and its moment: every answer says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The random id, and the lives of the server that has it: a restart, a failover and a flush each make another.
    pub incarnation: Incarnation,
    /// The server's clock, in milliseconds since the Unix epoch.
    pub now: u64,
    /// The number of the last record.
    pub seq: u64,
    /// Records up to this number are not kept any more.
    pub floor: u64,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub seq: u64,
    /// The purge's id.
    pub id: String,
    /// When it came, by the server's clock, in milliseconds since the Unix epoch.
    pub time: u64,
    /// The purge (see `purge::wire`).
    pub purge: Vec<u8>,
}

/// Up to where a node has applied the log: a number, and the id of the record that has it (nothing for none).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The number.
    pub seq: u64,
    /// The id.
    pub id: String,
}

/// What a node hears when it begins, or begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Which log.
    pub standing: Standing,
    /// The cursor of one who has applied nothing but gave up what was up to the floor.
    pub floor: Cursor,
}

/// What a node hears when it reads on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The next records, as many as were asked for at most; its lease is renewed.
    Lines {
        /// Which log.
        standing: Standing,
        /// In the order of their numbers.
        lines: Vec<Line>,
        /// Whether enough replicas, where there are any, know of the renewal: a primary that was deposed would renew for ever.
        confirmed: bool,
    },
    /// What comes after the cursor is not kept any more, or the log is another one: the node begins anew.
    Anew,
    /// The record at the cursor is another than the one that the node applied.
    Diverged,
}

/// A lease of a node, as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The node.
    pub node: String,
    /// What it has applied.
    pub cursor: u64,
    /// When it ends, by the server's clock, in milliseconds since the Unix epoch: another moment after each renewal.
    pub until: u64,
}

/// What became of purges that were handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Which log; `seq` is the number of the last of them.
    pub standing: Standing,
    /// The number of the first of them.
    pub first: u64,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Its purges have their places.
    Placed(Appended),
    /// It took effect before.
    Before(Remembered),
    /// Its counter is this one.
    Counted(String),
}

/// An event that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Which log; `seq` is the number of the last of its purges, `now` when they got their places.
    pub standing: Standing,
    /// The id of the last of its purges: nothing where there was none.
    pub id: String,
    /// The digest of what it said.
    pub body: String,
    /// What its sender was told.
    pub said: String,
}

/// What becomes of the log when the memory of its server is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It goes on: there is no limit, something else makes room, or nothing else is known to lie there.
    #[default]
    GoesOn,
    /// The server may throw it away.
    Evicted,
    /// Nothing makes room: what is written to it is refused.
    Refused,
}

/// The server of a shared log. Nothing that it says is believed beyond what the types say.
pub trait Server: Send + Sync + 'static {
    /// A node begins: its lease starts, with `cursor` of the log that it knows as what it has applied, or with the floor.
    fn start<'a>(
        &'a self,
        node: &'a str,
        known: Option<Incarnation>,
        cursor: u64,
        lease: Duration,
    ) -> Later<'a, Result<Started, Away>>;

    /// A node reads on: one step checks its cursor, renews its lease, reports the cursor and reads.
    fn read<'a>(
        &'a self,
        node: &'a str,
        incarnation: Incarnation,
        cursor: &'a Cursor,
        lease: Duration,
    ) -> Later<'a, Result<Heard, Away>>;

    /// Returns when there may be records after `cursor`, or after `patience`. Only a hint.
    fn news(&self, cursor: u64, patience: Duration) -> Later<'_, Result<(), Away>>;

    /// Gives the log another random id: what nodes hold of it contradicts itself.
    fn renounce(&self, incarnation: Incarnation) -> Later<'_, Result<(), Away>>;

    /// Gives a purge its place.
    fn append<'a>(&'a self, id: &'a str, purge: &'a [u8]) -> Later<'a, Result<Appended, Away>>;

    /// Gives all purges of an event their places, unless it took effect before or its counter is another, and remembers it: in one step.
    fn append_once<'a>(
        &'a self,
        purges: &'a [(String, Vec<u8>)],
        once: &'a Once,
    ) -> Later<'a, Result<Taken, Away>>;

    /// Which nodes have leases.
    fn leases(&self) -> Later<'_, Result<(Standing, Vec<Lease>), Away>>;

    /// What the server does when its memory is full, as far as it last said.
    fn when_full(&self) -> WhenFull {
        WhenFull::GoesOn
    }

    /// A node goes: nobody waits for it any more.
    fn leave<'a>(&'a self, node: &'a str) -> Later<'a, Result<(), Away>>;

    /// Removes a lease that is still as it was seen.
    fn forget<'a>(&'a self, lease: &'a Lease) -> Later<'a, Result<(), Away>>;
}
