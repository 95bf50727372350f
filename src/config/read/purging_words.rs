//! The words of `purge`, declared once. See [`super::section`].

use super::super::Wait as WaitFor;
use super::collections::OneOrMany;
use super::redis_words::*;
use super::section::section;
use super::short_words::{ScalarOr, SecretRef};
use super::units::*;
use super::values::*;

/// The word `memory`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MemoryWord {
    Memory,
}

words!(MemoryWord { "memory" => Self::Memory });

words!(WaitFor { "all" => Self::All, "logged" => Self::Logged });

section! {
    /// How purges get their order, and who has to know of them.
    RawPurge "purge";
    /// Where the log of purges is: in `memory`, for one process, or in a Redis that all of them share.
    log: ScalarOr<MemoryWord, RawLog> = default "memory";
    /// For so long a node that cannot read the shared log serves what is stored; and so much longer a purge may take, where
    /// a node is away.
    bound: Wait = default "2s";
    /// When a purge is acknowledged: when `all` nodes that may serve what is stored obey it, or when it is `logged` and the
    /// node that was asked obeys it; the others follow within the bound.
    wait: WaitFor = default "all";
}

section! {
    /// A log that several nodes share. One log serves all stores.
    RawLog "purge.log";
    /// The Redis: its URL, or written out.
    redis: RedisOr<RawLogRedis> = required;
    /// How many purges are kept for nodes that begin: for them what was stored before these counts as purged.
    keep: Whole<100, 10_000_000> = default "100000";
    /// How many replicas have to confirm what is written. With fewer than there are, a former primary that keeps some of them
    /// may be believed for as long as it is cut off; with all of them, nothing stored is served while one is away.
    replicas: Whole<0, 10> = optional "all that the server ever had";
    /// How records are encrypted: they name users, tags and URLs. Then a record that no key fits purges everything.
    encrypt: RawEncrypt = optional "not at all";
}

section! {
    /// The Redis of the log. Its memory must not be full: nothing of the log may be evicted (`noeviction`, or `volatile-…`).
    RawLogRedis "purge.log.redis", one_of [url, sentinel, cluster];
    /// One server: `redis://host:port`, or `rediss://host:port` for TLS; `/3` at its end names a database.
    url: RedisUrl = optional;
    /// A primary that Sentinels know.
    sentinel: RawSentinel = optional;
    /// URLs of nodes of a Cluster; the others are learned from them.
    cluster: OneOrMany<RedisUrl> = optional;
    /// The number of the database. A Cluster has database 0 only.
    database: Whole<0, 15> = optional "that of `url`, or 0";
    /// What the name of every key begins with; a `:` follows it. Nodes with the same prefix share the log.
    prefix: Prefix = default "larder";
    /// The user (ACL).
    username: Text = optional "the default user";
    /// The password, of any length.
    password: SecretRef = optional "none";
    /// How TLS is spoken; with `sentinel` also whether.
    tls: RawRedisTls = optional "by the scheme of the URL, with the system's authorities";
    /// How long a step of the log may take.
    timeout: Wait = default "50ms";
}
