//! What several Larders share, made of the configuration: the purge log in Redis, and the levels of the stores.

use std::sync::Arc;

use crate::cache::{Cache, Level};
use crate::clock::Clock;
use crate::config::{Config, RedisLog as LogConfig, Secret, SharedLevel, Store, Tier, Ttl, WhenThen};
use crate::purge::shared::redis::{Beside, RECORD, RedisLog};
use crate::purge::shared::{Followed, Terms, Times, open};
use crate::purge::{Limits, random_id};
use crate::store::redis::{RedisIo, RedisStore};
use crate::stored::seal::{Compress, SameId, Seal, SealKey, Texts};

fn told(error: impl ToString) -> String {
    error.to_string()
}

/// The cache of a configuration, with whatever of it several Larders share. What is in Redis is connected to in the
/// background: Larder starts without it.
///
/// # Errors
/// Where a certificate or a key of the configuration cannot be used, or the system gives no threads.
pub fn cache(config: &Config, clock: Clock) -> Result<Cache, String> {
    let shares = |store: &Arc<Store>| store.redis.is_some();
    if config.purging.log.is_none() && !config.stores.iter().any(shares) {
        return Ok(Cache::new(&config.stores, clock));
    }
    if config.purging.log.is_none() {
        tracing::warn!(
            "a store is in Redis, and the log of purges is in memory: no other Larder, and not this one after a restart, uses \
             what it stores there; write `purge: {{ log: {{ redis: … }} }}`"
        );
    }
    let io = RedisIo::start().map_err(told)?;
    let level =
        |store: &Arc<Store>| store.redis.as_ref().map(|level| self::level(level, &io, &clock)).transpose();
    let levels = config.stores.iter().map(level).collect::<Result<Vec<_>, _>>()?;
    let followed = match &config.purging.log {
        None => None,
        Some(log) => Some(follow(log, config, io.clone(), clock.clone())?),
    };
    Ok(Cache::shared(&config.stores, levels, followed, clock))
}

fn level(config: &SharedLevel, io: &Arc<RedisIo>, clock: &Clock) -> Result<Level, String> {
    let store = RedisStore::new(&config.redis, io.clone(), clock.clone()).map_err(told)?;
    let compress = config
        .compress
        .map(|above| Compress { above: usize::try_from(above).unwrap_or(usize::MAX), ..Compress::default() });
    let keys = keys(&config.encrypt)?;
    let seal = Seal::new(Level::max_raw(config.max_object), compress, keys).map_err(same_id)?;
    Ok(Level::new(Arc::new(store), config, seal))
}

fn keys(secrets: &[Secret]) -> Result<Vec<SealKey>, String> {
    let short = || "a key of `encrypt` is shorter than 32 bytes".to_owned();
    secrets.iter().map(|secret| SealKey::new(secret.expose()).ok_or_else(short)).collect()
}

fn same_id(_: SameId) -> String {
    "two keys of `encrypt` have the same short name: make another with `openssl rand -hex 32`".to_owned()
}

/// What the stores have in the server of the log, as far as the file can tell.
fn beside(log: &LogConfig, config: &Config) -> Beside {
    let until_purged = |tier: &Tier| {
        let mut exceptions = tier.when.iter().map(|when| when.then);
        tier.ttl == Ttl::UntilPurged || exceptions.any(|then| then == WhenThen::Ttl(Ttl::UntilPurged))
    };
    let of = |(n, store): (usize, &Arc<Store>)| {
        let level = store.redis.as_ref().filter(|level| level.redis.is_same_server(&log.redis))?;
        let mut tiers = config.routes.iter().filter_map(|route| Some(&route.caching.as_ref()?.tier));
        let lasting = level.ttl.is_none() && tiers.any(|tier| tier.store == n && until_purged(tier));
        Some(if lasting { Beside::Lasting } else { Beside::Expiring })
    };
    config.stores.iter().enumerate().filter_map(of).max().unwrap_or_default()
}

/// Follows the log on a thread of its own: nothing that clients or operators do holds it up.
fn follow(log: &LogConfig, config: &Config, io: Arc<RedisIo>, clock: Clock) -> Result<Followed, String> {
    let texts = Texts::new(RECORD, keys(&log.encrypt)?).map_err(same_id)?;
    let server = RedisLog::new(log, texts, io).map_err(told)?.beside(beside(log, config));
    let server = Arc::new(server);
    let names: Vec<String> = config.stores.iter().map(|store| store.name.clone()).collect();
    let terms = Terms {
        node: node_name(),
        stores: names.into(),
        times: Times { bound: config.purging.bound, pause: log.redis.timeout },
        wait: config.purging.wait,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(told)?;
    let followed = {
        let _inside = runtime.enter();
        open(server, terms, Limits::default(), clock)
    };
    let run = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("purge-log".to_owned()).spawn(run).map_err(told)?;
    Ok(followed)
}

/// The name of this process among the nodes: that of its machine, its number, and some randomness, for machines that have
/// one name and processes that have one number, as in containers.
fn node_name() -> String {
    let system = rustix::system::uname();
    let machine: String = system
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c))
        .take(48)
        .collect();
    let random: String = random_id().chars().take(6).collect();
    format!("{machine}-{}-{random}", std::process::id())
}
