//! Purges by the clock, and purging among several nodes, checked.

use std::sync::Arc;
use std::time::Duration;

use super::{Redis, Secret};

/// A purge that is repeated (C10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedPurge {
    /// How long from one to the next.
    pub every: Duration,
    /// Exact tags.
    pub tags: Vec<String>,
    /// Patterns over tags.
    pub patterns: Vec<String>,
    /// The tenant whose responses are purged, and the public ones; `None`: everybody's.
    pub tenant: Option<String>,
    /// Whether it is a soft one.
    pub soft: bool,
}

/// Whom the acknowledgement of a purge waits for, where several nodes share the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// Every node that may still serve what is stored.
    #[default]
    All,
    /// The log, and the node that was asked: the others follow within the bound.
    Logged,
}

/// What becomes of a route's requests while this node cannot prove that it knows every purge: the shared log could not be
/// read for longer than the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPartition {
    /// What is stored is served all the same, however long it lasts.
    Serve,
    /// The origin is asked, for a whole answer; those who come while it is asked share the next.
    #[default]
    Revalidate,
    /// They pass.
    Bypass,
}

/// How purges get their order, and who has to know of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purging {
    /// The log that several nodes share; `None`: this process has its own.
    pub log: Option<Arc<RedisLog>>,
    /// For so long what is stored is served by a node that cannot read the shared log.
    pub bound: Duration,
    /// Whom an acknowledgement waits for.
    pub wait: Wait,
}

/// A purge log in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisLog {
    /// Where.
    pub redis: Redis,
    /// How many replicas have to confirm what is written; `None`: as many as the server ever had.
    pub replicas: Option<u32>,
    /// How many records are kept for nodes that begin.
    pub keep: u64,
    /// The keys of encryption; the first encrypts, all decrypt. Empty: records are not encrypted.
    pub encrypt: Vec<Secret>,
}
