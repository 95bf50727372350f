//! `purge`: how purges get their order, and who has to know of them.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Purging, RedisLog};
use super::Cx;
use super::purging_words::*;
use super::redis::{Words, connection, keys, written_out};
use super::section::Slot;
use super::short_words::ScalarOr;
use super::words::RawConfig;

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
    let (redis, encrypt) = (connection(&words, cx), keys(&raw.encrypt, cx));
    Some(RedisLog { redis: redis?, replicas, keep: raw.keep.get()?.0, encrypt: encrypt? })
}
