//! Redis: the level of a store that several Larders share, and connections for the purge log. The only user of the `redis` crate.
//!
//! Entries and leases as [`Shared`] says, over servers as `config::Redis` says. Commands of Redis 6.2 only, no module, so that
//! Valkey will do. Nothing is read or deleted but below the store's own prefix. What Redis says is not believed: replies of
//! another type and of another size than asked for are errors.

mod breaker;
mod client;
mod connect;
mod io;
mod link;
mod names;
mod pool;
mod retry;
mod scripts;
mod tls;
mod value;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, cmd};

use super::{Begin, Claim, Committed, Health, Offer, Reply, Shared, SharedError, SharedErrorKind, TICKET_AT};
use crate::clock::Clock;
use crate::config::{Redis, Servers};
use client::{Client, Request};
pub use io::RedisIo;
pub use link::{Link, Links, Record};
pub use names::Names;
pub use scripts::Script;
pub use value::Value;
use value::unexpected;

/// How long each step of clearing a store may take, at least.
const STEP: Duration = Duration::from_secs(2);
/// How many names are asked for in a step.
const AT_ONCE: usize = 500;
/// What a deadline grows by, for each so many bytes.
const BODY_TIME: Duration = Duration::from_millis(10);
const BODY_BYTES: usize = 256 << 10;

/// The level of a store in Redis.
pub struct RedisStore {
    client: Arc<Client>,
    names: Names,
}

impl RedisStore {
    /// As configured. Connects when it is first asked for something.
    ///
    /// # Errors
    /// Where the certificates of the configuration cannot be used.
    pub fn new(config: &Redis, io: Arc<RedisIo>, clock: Clock) -> Result<Self, SharedError> {
        let names = Names::new(&config.prefix);
        Ok(Self { client: Arc::new(Client::new(config, io, clock)?), names })
    }

    /// The names of its keys.
    pub fn names(&self) -> &Names {
        &self.names
    }

    fn timeout(&self) -> Duration {
        self.client.config().timeout
    }

    /// The deadline of an operation that carries so many bytes.
    fn timeout_of(&self, bytes: usize) -> Duration {
        let parts = u32::try_from(bytes / BODY_BYTES).unwrap_or(u32::MAX);
        self.timeout().saturating_add(BODY_TIME.saturating_mul(parts))
    }
}

impl Shared for RedisStore {
    fn get(&self, name: &str, max: usize) -> Reply<Option<Bytes>> {
        let mut range = cmd("GETRANGE");
        // One byte more than may be: whoever put something large in our place does not fill our memory.
        range.arg(name).arg(0).arg(max);
        self.client.ask(Request::Command(range, None), self.timeout(), move |value| match value.bytes()? {
            empty if empty.is_empty() => Ok(None),
            bytes if bytes.len() <= max => Ok(Some(bytes.clone())),
            _ => Err(unexpected("a smaller entry")),
        })
    }

    fn begin(&self, name: &str, claim: Claim) -> Reply<Begin> {
        let keys = vec![name.to_owned(), names::fill(name)];
        let args = vec![
            claim.token.into(),
            millis(claim.lease),
            claim.seen.to_string().into(),
            claim.over.to_string().into(),
            Bytes::from_static(claim.word.as_bytes()),
        ];
        self.client.ask(Request::Script(&scripts::BEGIN, keys, args), self.timeout(), |value| {
            match value.at(0)?.text()? {
                "lead" => Ok(Begin::Lead {
                    ticket: value.at(1)?.whole()?,
                    time: Duration::from_micros(value.at(2)?.whole()?),
                }),
                "held" => Ok(Begin::Held {
                    left: Duration::from_millis(value.at(1)?.whole()?),
                    word: value.at(2)?.text()?.to_owned(),
                    ticket: value.at(3)?.whole()?,
                }),
                "newer" => Ok(Begin::Newer(value.at(1)?.whole()?)),
                _ => Err(unexpected("`lead`, `held` or `newer`")),
            }
        })
    }

    fn renew(&self, name: &str, token: &str, lease: Duration) -> Reply<bool> {
        let args = vec![Bytes::copy_from_slice(token.as_bytes()), millis(lease)];
        let request = Request::Script(&scripts::RENEW, vec![names::fill(name)], args);
        self.client.ask(request, self.timeout(), |value| Ok(value.int()? == 1))
    }

    fn release(&self, name: &str, token: &str, word: &'static str) -> Reply<bool> {
        let args = vec![Bytes::copy_from_slice(token.as_bytes()), Bytes::from_static(word.as_bytes())];
        let request = Request::Script(&scripts::RELEASE, vec![names::fill(name)], args);
        self.client.ask(request, self.timeout(), |value| Ok(value.int()? == 1))
    }

    fn commit(&self, name: &str, offer: Offer) -> Reply<Committed> {
        if offer.bytes.get(TICKET_AT) != Some(format!("{:016x}", offer.ticket).as_bytes()) {
            let error = SharedError::new(SharedErrorKind::Refused, "the entry does not carry its ticket");
            return Box::pin(std::future::ready(Err(error)));
        }
        let stay = offer.stay.map_or_else(|| Bytes::from_static(b"0"), millis);
        let deadline = self.timeout_of(offer.bytes.len());
        let keys = vec![name.to_owned(), names::fill(name)];
        let args = vec![offer.ticket.to_string().into(), stay, offer.bytes, offer.token.into()];
        self.client.ask(Request::Script(&scripts::COMMIT, keys, args), deadline, |value| {
            Ok(if value.int()? == 1 { Committed::Kept } else { Committed::Older })
        })
    }

    fn remove(&self, name: &str, ticket: u64) -> Reply<bool> {
        let args = vec![ticket.to_string().into()];
        let request = Request::Script(&scripts::REMOVE, vec![name.to_owned()], args);
        self.client.ask(request, self.timeout(), |value| Ok(value.int()? == 1))
    }

    fn clear(&self) -> Reply<u64> {
        let (client, names) = (Arc::clone(&self.client), self.names.clone());
        self.client.run(async move {
            let mut count = 0;
            for node in nodes(&client).await? {
                count += clear_node(&client, &names, node).await?;
            }
            Ok(count)
        })
    }

    fn time(&self) -> Reply<Duration> {
        let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::RandomPrimary);
        self.client.ask(Request::Command(cmd("TIME"), Some(anywhere)), self.timeout(), |value| {
            let (seconds, micros) = (value.at(0)?.whole()?, value.at(1)?.whole()?);
            Ok(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)))
        })
    }

    fn health(&self) -> Health {
        let health = self.client.health();
        if health.breaker != "closed" {
            // Whoever looks wants to know how it is now: where nobody asks for entries, this finds out, when the breaker lets it.
            drop(self.time());
        }
        health
    }
}

/// Whole milliseconds; none is none of Redis' lifetimes.
fn millis(time: Duration) -> Bytes {
    // More is no time of Redis either: ten thousand years.
    time.as_millis().clamp(1, 315_576_000_000_000).to_string().into()
}

/// The primaries of a Cluster; one that needs no route for anything else.
async fn nodes(client: &Client) -> Result<Vec<Option<RoutingInfo>>, SharedError> {
    if !matches!(client.config().servers, Servers::Cluster(_)) {
        return Ok(vec![None]);
    }
    let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let replies = step(client, cmd("PING"), Some(all)).await?;
    let node = |pair: &[Value]| {
        let (host, port) = pair.first()?.text().ok()?.rsplit_once(':')?;
        let (host, port) = (host.to_owned(), port.parse().ok()?);
        Some(Some(RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host, port })))
    };
    let nodes: Option<Vec<_>> = replies.list()?.chunks(2).map(node).collect();
    nodes.ok_or_else(|| unexpected("the addresses of the nodes"))
}

async fn clear_node(client: &Client, names: &Names, node: Option<RoutingInfo>) -> Result<u64, SharedError> {
    let (mut cursor, mut count) = ("0".to_owned(), 0);
    let log = names.log();
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(format!("{}*", names.begin())).arg("COUNT").arg(AT_ONCE);
        let reply = step(client, scan, node.clone()).await?;
        let mut unlink = cmd("UNLINK");
        let mut found = 0_usize;
        for name in reply.at(1)?.list()? {
            let name = name.bytes()?;
            // The log is no part of a store, also where it has the same prefix.
            if name.starts_with(names.begin().as_bytes()) && !name.starts_with(log.as_bytes()) {
                unlink.arg(&name[..]);
                found += 1;
            }
        }
        if found > 0 {
            count += step(client, unlink, None).await?.whole()?;
        }
        cursor = reply.at(0)?.text()?.to_owned();
        if cursor == "0" {
            return Ok(count);
        }
    }
}

async fn step(client: &Client, cmd: Cmd, route: Option<RoutingInfo>) -> Result<Value, SharedError> {
    client.ask_here(Request::Command(cmd, route), client.config().timeout.max(STEP)).await
}
