//! How Larder is: `GET /stat` in figures, `GET /health/ready` in a word and, where something is amiss, in a sentence for each.
//!
//! Keeps: nobody is asked anything for it but the log for its nodes, and that not for long, so it is answered whatever is away.
//! What does not take a token names no address and no error text. Pages are answered whatever stands here, so nothing of it
//! makes a node unready.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cache::Cache;
use crate::config::{Capacity, Config, Store, Wait};
use crate::purge::shared::{Lease, Progress, WhenFull};

/// For so long the log is asked for its nodes.
const PATIENCE: Duration = Duration::from_secs(1);

/// The answer of `GET /health/ready`.
pub(super) fn ready(cache: &Cache, config: &Config) -> Value {
    let wrong = degraded(cache, config);
    if wrong.is_empty() {
        return json!({ "status": "ok" });
    }
    json!({ "status": "degraded", "degraded": wrong })
}

/// The answer of `GET /stat`.
pub(super) async fn figures(cache: &Cache, config: &Config) -> Value {
    let nodes = nodes(cache).await;
    let wrong = degraded(cache, config);
    let fence = cache.fence();
    json!({
        "status": if wrong.is_empty() { "ok" } else { "degraded" },
        "degraded": wrong,
        "stores": stores(cache, config),
        "purge_log": log(cache, config, nodes),
        "fence": { "rows": fence.rows(), "floor": fence.floor(), "applied": fence.applied() },
        "fills_in_flight": cache.fills_in_flight(),
    })
}

/// What is amiss, a sentence for each.
fn degraded(cache: &Cache, config: &Config) -> Vec<String> {
    let away = |(n, store): (usize, &Arc<Store>)| {
        let breaker = cache.level(n)?.health().breaker;
        (breaker != "closed").then(|| {
            format!(
                "the Redis of the store `{}` failed and is left alone for a while: memory alone is used",
                store.name
            )
        })
    };
    let mut wrong: Vec<String> = config.stores.iter().enumerate().filter_map(away).collect();
    if let Some(progress) = cache.progress() {
        wrong.extend(log_is_amiss(cache, &progress).map(str::to_owned));
    }
    let pending = cache.fence().provisional();
    if pending > 0 {
        wrong.push(format!("{pending} purges are obeyed by this node alone until the purge log takes them"));
    }
    wrong
}

fn log_is_amiss(cache: &Cache, progress: &Progress) -> impl Iterator<Item = &'static str> {
    let followed = match progress {
        Progress { incarnation: None, .. } => Some("the purge log could not be read yet"),
        Progress { connected: false, .. } => {
            Some("the purge log cannot be reached: purges are answered with 503")
        }
        _ => None,
    };
    let proof = (!cache.is_current())
        .then_some("this node cannot prove that it knows every purge: nothing stored is served, but where `on_partition: serve`");
    let full = match progress.when_full {
        WhenFull::GoesOn => None,
        WhenFull::Evicted => {
            Some("the Redis of the purge log may evict it: its `maxmemory-policy` begins with `allkeys-`")
        }
        WhenFull::Refused => Some(
            "what else lies in the Redis of the purge log may fill its memory, and nothing stored is served then: give the log a \
             Redis of its own, or set `maxmemory-policy` to `volatile-lru`, where all that is stored there expires",
        ),
    };
    [followed, proof, full].into_iter().flatten()
}

fn stores(cache: &Cache, config: &Config) -> Vec<Value> {
    let told = |((n, store), stats): ((usize, &Arc<Store>), crate::store::Stats)| {
        let unit = if matches!(store.capacity, Capacity::Bytes(_)) { "bytes" } else { "entries" };
        let mut told = json!({
            "name": store.name, "entries": stats.entries, "bytes": stats.bytes, "capacity": stats.capacity, "capacity_in": unit,
        });
        if let Some(level) = cache.level(n) {
            let health = level.health();
            told["redis"] = json!({
                "breaker": health.breaker, "connections": health.connections, "operations": health.operations,
                "failures": health.failures, "refused": health.refused, "retries": health.retries,
                "last_error": health.last_error,
            });
        }
        told
    };
    config.stores.iter().enumerate().zip(cache.stats()).map(told).collect()
}

/// The nodes that the log knows, where it answers: what each has applied, and for how many seconds its lease lasts yet.
async fn nodes(cache: &Cache) -> Option<Value> {
    let all = tokio::time::timeout(PATIENCE, cache.members()?.all()).await;
    let (standing, mut leases) = all.ok()?.ok()?;
    leases.sort_by(|one, other| one.node.cmp(&other.node));
    let told = |lease: &Lease| {
        let left = Duration::from_millis(lease.until.saturating_sub(standing.now));
        json!({
            "node": lease.node, "applied": lease.cursor, "lag": standing.seq.saturating_sub(lease.cursor),
            "lease": left.as_secs_f64(),
        })
    };
    Some(leases.iter().map(told).collect())
}

fn log(cache: &Cache, config: &Config, nodes: Option<Value>) -> Value {
    let Some(progress) = cache.progress() else { return json!({ "where": "memory" }) };
    let incarnation =
        progress.incarnation.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    json!({
        "where": "redis",
        "node": cache.members().map(|members| &*members.own),
        "connected": progress.connected,
        "incarnation": incarnation,
        "applied": progress.applied,
        "last": progress.last,
        "lag": progress.last.saturating_sub(progress.applied),
        "proven": cache.is_current(),
        "pending": cache.fence().provisional(),
        "may_evict": progress.when_full == WhenFull::Evicted,
        "may_fill": progress.when_full == WhenFull::Refused,
        "bound": config.purging.bound.as_secs_f64(),
        "nodes": nodes,
        "wait": if config.purging.wait == Wait::All { "all" } else { "logged" },
    })
}
