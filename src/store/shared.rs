//! What a level that several Larders share can do, in bytes. It knows nothing of responses: entries are bytes with a ticket at
//! their front, and whether they may be used is the fence's and the policy's business.
//!
//! Tickets order fills: each `begin` of a place has a greater one than all before, and an entry is never replaced by one with
//! a smaller ticket. Nothing here fails a page: every error costs an entry, or a wait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// What an operation will have given. The operation goes on also when this is dropped; its reply is thrown away then.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, SharedError>> + Send>>;

/// Greater than every ticket.
pub const NO_TICKET: u64 = (1 << 53) - 1;

/// Where the ticket stands in an entry: 16 lower-case hexadecimal digits.
pub const TICKET_AT: std::ops::Range<usize> = 8..24;

/// Why an operation gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedError {
    /// What kind of failure.
    pub kind: SharedErrorKind,
    /// For the log; it holds no secret.
    pub text: String,
}

/// The kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SharedErrorKind {
    /// Not tried: it failed too often just now.
    Open,
    /// It took too long.
    Timeout,
    /// The connection could not be made, or broke.
    Io,
    /// The server is reading its data.
    Loading,
    /// The server is a replica.
    ReadOnly,
    /// The Cluster does not serve the slot.
    ClusterDown,
    /// The replica has lost its primary.
    MasterDown,
    /// Another script holds up the server.
    Busy,
    /// The server's memory is full: writes are refused.
    Full,
    /// The slot is served elsewhere (only where a connection stays with one server).
    Moved,
    /// User or password are wrong.
    Auth,
    /// The user may not do this (ACL).
    Denied,
    /// Any other error that the server says.
    Refused,
    /// A reply that makes no sense.
    Unexpected,
}

impl SharedError {
    /// An error.
    pub fn new(kind: SharedErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SharedError {}

/// A wish to fill a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who asks: a random text of at least 16 bytes, another one for each fill.
    pub token: String,
    /// How long the lease lasts unless it is renewed.
    pub lease: Duration,
    /// The ticket of the entry that is known and will not do: an entry with a greater one is an answer. [`NO_TICKET`]: no entry is.
    pub seen: u64,
    /// Leases with at most this ticket are taken over, live or not; 0: none is, [`NO_TICKET`]: every one is.
    pub over: u64,
    /// What the lease says to those who find it; empty: wait for me.
    pub word: &'static str,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// This one fills.
    Lead {
        /// Its ticket.
        ticket: u64,
        /// The server's wall clock, since the Unix epoch.
        time: Duration,
    },
    /// Another one fills.
    Held {
        /// How long its lease lasts yet.
        left: Duration,
        /// What it says; empty: wait for me.
        word: String,
        /// Its ticket.
        ticket: u64,
    },
    /// There is an entry with this ticket, newer than the one that was seen.
    Newer(u64),
}

/// What became of an entry that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It is kept.
    Kept,
    /// A newer one is there.
    Older,
}

/// An entry on its way.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Its ticket, which also stands in the bytes, at [`TICKET_AT`].
    pub ticket: u64,
    /// The bytes.
    pub bytes: Bytes,
    /// How long it stays; `None`: until it is removed.
    pub stay: Option<Duration>,
    /// The token of the lease that ends with it.
    pub token: String,
}

/// How the level is, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `closed` (all is well), `open` (left alone for a while) or `half-open` (one operation tries).
    pub breaker: &'static str,
    /// Connections that are up.
    pub connections: usize,
    /// Operations asked for.
    pub operations: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that were not tried because the breaker was open.
    pub refused: u64,
    /// Those that were tried again.
    pub retries: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

/// A level that several Larders share. Names are made by the level's own rules; an entry and its lease lie together.
pub trait Shared: Send + Sync + 'static {
    /// The entry, when it has at most `max` bytes; a larger one is an error.
    fn get(&self, name: &str, max: usize) -> Reply<Option<Bytes>>;

    /// Asks to fill a place. With the same token it can be asked again: the answer is the same.
    fn begin(&self, name: &str, claim: Claim) -> Reply<Begin>;

    /// Makes a lease last for `lease` from now; false: it is another's by now, or gone.
    fn renew(&self, name: &str, token: &str, lease: Duration) -> Reply<bool>;

    /// Ends a lease, or, with a word, makes it say that word for a second. False: it is another's by now, or gone.
    fn release(&self, name: &str, token: &str, word: &'static str) -> Reply<bool>;

    /// Keeps an entry, unless a newer one is there.
    fn commit(&self, name: &str, offer: Offer) -> Reply<Committed>;

    /// Removes the entry when its ticket is at most `ticket`; whether it was there.
    fn remove(&self, name: &str, ticket: u64) -> Reply<bool>;

    /// Removes every entry and lease of this store, and nothing else; how many. Not for a request's way: it takes as long as
    /// it takes.
    fn clear(&self) -> Reply<u64>;

    /// The server's wall clock, since the Unix epoch.
    fn time(&self) -> Reply<Duration>;

    /// How it is, without asking it.
    fn health(&self) -> Health;
}
