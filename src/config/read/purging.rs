//! `purge`: how purges get their order, and who has to know of them.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Purging, RedisLog, Wait as WaitFor};
use super::Cx;
use super::collections::OneOrMany;
use super::redis::{Words, connection, written_out};
use super::redis_words::*;
use super::section::{Slot, section};
use super::short_words::{ScalarOr, SecretRef};
use super::units::*;
use super::values::*;
use super::words::RawConfig;

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
    /// How many replicas have to confirm what is written.
    replicas: Whole<0, 10> = optional "one, where there are any";
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

/// The shortest bound: a node reads the log four times in it.
const LEAST: Duration = Duration::from_millis(200);

/// Reads `purge`.
pub(super) fn read(raw: &RawConfig, cx: &mut Cx<'_>) -> Option<Purging> {
    let raw = super::section_or_default(&raw.purge, cx)?;
    let bound = raw.bound.get()?.0;
    if let Some(written) = raw.bound.given().filter(|_| bound < LEAST) {
        cx.error(
            written.pos,
            "`bound` is too short for a log that is read four times in it",
            "write at least `200ms`",
        );
    }
    let log = match &raw.log {
        Slot::Absent => Some(None),
        Slot::Bad => None,
        Slot::Given(at) => match &at.value {
            ScalarOr::Short(MemoryWord::Memory) => Some(None),
            ScalarOr::Long(log) => read_log(log, cx).map(|log| Some(Arc::new(log))),
        },
    };
    Some(Purging { log: log?, bound, wait: *raw.wait.get()? })
}

fn read_log(raw: &RawLog, cx: &mut Cx<'_>) -> Option<RedisLog> {
    let written = raw.redis.given()?;
    let redis = match &written.value {
        ScalarOr::Long(redis) => redis.clone(),
        ScalarOr::Short(url) => written_out(url, written.pos, cx)?,
    };
    let words = Words {
        url: &redis.url,
        sentinel: &redis.sentinel,
        cluster: &redis.cluster,
        database: &redis.database,
        prefix: &redis.prefix,
        connections: Some(1),
        username: &redis.username,
        password: &redis.password,
        tls: &redis.tls,
        timeout: &redis.timeout,
        failures: Some(1),
        retries: Some(0),
    };
    let replicas = raw.replicas.get().map(|replicas| u32::try_from(replicas.0).unwrap_or(u32::MAX));
    Some(RedisLog { redis: connection(&words, cx)?, replicas, keep: raw.keep.get()?.0 })
}
