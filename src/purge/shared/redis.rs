//! The shared log in Redis: a hash with its id, its numbers and the leases, and a stream with the records, both in one slot.
//! Each step is one script (`scripts/`), so that nothing comes in between.
//!
//! Two links: what the follower reads and renews goes over one of its own, so that nothing holds it up; `WAIT` speaks of
//! what was written over the link that it is sent on. Where replicas exist, nothing counts that they did not confirm, all
//! of them unless the configuration says fewer: a primary that was deposed would confirm for ever with those it kept.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;

use super::protocol::{
    Appended, Away, Cursor, Heard, Later, Lease, Line, Remembered, Server, Standing, Started, Taken, WhenFull,
};
use crate::config;
use crate::purge::{Compared, Incarnation, Once, random_id};
use crate::store::redis::{Link, Links, Names, RedisIo, Script, Value};
use crate::store::{SharedError, SharedErrorKind};
use crate::stored::seal::Texts;

/// The most records, and the most bytes of them, that are read at once.
const LINES: usize = 64;
const BYTES: usize = 1 << 20;
/// Numbers of records are below this: a script's numbers hold no larger ones.
const MOST: u64 = 1 << 53;
/// The most bytes that are handed over at once.
const LONGEST: usize = 4 << 20;

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {$(
        static $name: LazyLock<Arc<Script>> = LazyLock::new(|| {
            Arc::new(Script::new(concat!(include_str!("scripts/standing.lua"), include_str!($file))))
        });
    )*};
}

scripts! {
    START = "scripts/start.lua";
    READ = "scripts/read.lua";
    APPEND = "scripts/append.lua";
    LEASES = "scripts/leases.lua";
    RENOUNCE = "scripts/renounce.lua";
    LEAVE = "scripts/leave.lua";
}

/// What the keys are derived for that encrypt what is said of purges.
pub const RECORD: &[u8] = b"larder purge 1";

/// A log in Redis.
pub struct RedisLog {
    links: Links,
    /// What the names of its keys begin with; they lie in one slot.
    begin: String,
    keys: [String; 2],
    /// How what is said of purges is encrypted.
    texts: Texts,
    timeout: Duration,
    /// How many replicas have to confirm, where that is configured; and else as many as the server ever had.
    replicas: Option<u32>,
    keep: u64,
    following: Way,
    asking: Way,
    /// The id and the life of the incarnation that was met last.
    met: Mutex<Met>,
    beside: Beside,
    when_full: Mutex<WhenFull>,
}

/// What of Larder's own lies in the server of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Beside {
    /// Nothing else.
    #[default]
    Nothing,
    /// Entries, which all expire.
    Expiring,
    /// Entries, some of which stay until they are purged.
    Lasting,
}

#[derive(Debug, Clone, Default)]
struct Met {
    incarnation: Incarnation,
    id: String,
    life: String,
}

/// A link, once it is there.
type Way = tokio::sync::Mutex<Option<Arc<Link>>>;

impl From<SharedError> for Away {
    fn from(error: SharedError) -> Self {
        Self(error.text)
    }
}

impl RedisLog {
    /// A log as configured; nothing is connected yet.
    ///
    /// # Errors
    /// Where the certificates of the configuration cannot be used.
    pub fn new(config: &config::RedisLog, texts: Texts, io: Arc<RedisIo>) -> Result<Self, SharedError> {
        let begin = Names::new(&config.redis.prefix).log();
        Ok(Self {
            links: Links::new(&config.redis, io)?,
            keys: [format!("{begin}state"), format!("{begin}records")],
            begin,
            texts,
            timeout: config.redis.timeout,
            replicas: config.replicas,
            keep: config.keep,
            following: Way::default(),
            asking: Way::default(),
            met: Mutex::default(),
            beside: Beside::Nothing,
            when_full: Mutex::default(),
        })
    }

    /// The same, with this beside it.
    pub fn beside(self, beside: Beside) -> Self {
        Self { beside, ..self }
    }

    fn heard(&self, when_full: WhenFull) {
        *self.when_full.lock().unwrap_or_else(PoisonError::into_inner) = when_full;
    }

    async fn link(&self, way: &Way) -> Result<Arc<Link>, Away> {
        let mut way = way.lock().await;
        if let Some(link) = way.as_ref().filter(|link| !link.is_broken()) {
            return Ok(link.clone());
        }
        // Connecting takes several round trips, with TLS and a Sentinel more.
        let link = Arc::new(self.links.open(&self.keys[0], self.timeout.saturating_mul(6)).await?);
        *way = Some(link.clone());
        Ok(link)
    }

    async fn run(
        &self,
        link: &Link,
        script: &Arc<Script>,
        keys: &[String],
        args: &[Bytes],
    ) -> Result<(Standing, Value), Away> {
        let longest = args.iter().map(Bytes::len).max().unwrap_or_default();
        // A script that was never run has to be sent first.
        let deadline = self.timeout.saturating_mul(if longest > 64 * 1024 { 4 } else { 2 });
        let reply = link.script(script, keys, args, deadline).await.inspect_err(|error| {
            // Whatever it is that filled it.
            if error.kind == SharedErrorKind::Full {
                self.heard(WhenFull::Refused);
            }
        })?;
        let standing = self.standing(&reply)?;
        Ok((standing, reply))
    }

    fn standing(&self, reply: &Value) -> Result<Standing, Away> {
        let (id, life) = (reply.at(0)?.text()?, reply.at(1)?.text()?);
        let whole = digest(&SHA256, format!("{id}|{life}").as_bytes());
        let incarnation = whole.as_ref().first_chunk().copied().unwrap_or_default();
        let met = Met { incarnation, id: id.to_owned(), life: life.to_owned() };
        *self.met.lock().unwrap_or_else(PoisonError::into_inner) = met;
        let number = |at| reply.at(at).and_then(Value::whole);
        let standing = Standing { incarnation, now: number(3)?, seq: number(4)?, floor: number(5)? };
        // Positions are made of them, which only grow: no log comes so far by counting.
        if standing.seq.max(standing.floor) >= MOST {
            return Err(Away("the numbers of the log are none: delete it".to_owned()));
        }
        Ok(standing)
    }

    /// What is said of a purge, as it goes to Redis.
    fn sealed(&self, text: &[u8], place: &str) -> Result<Bytes, Away> {
        let none = || Away("the system gives no randomness".to_owned());
        self.texts.close(text, place).map(Bytes::from).ok_or_else(none)
    }

    fn line(&self, value: &Value) -> Result<Line, SharedError> {
        let id = value.at(1)?.text()?.to_owned();
        // Nothing, where no key fits: that is understood as everything.
        let purge = self.texts.open(value.at(3)?.bytes()?, &id).unwrap_or_default();
        Ok(Line { seq: value.at(0)?.whole()?, id, time: value.at(2)?.whole()?, purge })
    }

    /// Runs the script that gives purges their places, and hears of replicas that they know of it.
    async fn give_places(&self, keys: &[String], args: Vec<Bytes>) -> Result<(Standing, Value), Away> {
        if args.iter().map(Bytes::len).sum::<usize>() > LONGEST {
            return Err(Away(format!(
                "the purge takes more than {LONGEST} bytes: name fewer things at once"
            )));
        }
        let link = self.link(&self.asking).await?;
        let (standing, reply) = self.run(&link, &APPEND, keys, &args).await?;
        if !self.is_confirmed(&link, &reply).await? {
            return Err(Away("too few replicas confirmed it".to_owned()));
        }
        Ok((standing, reply))
    }

    /// The names of an incarnation: nothing where another one was met since.
    fn names(&self, incarnation: Option<Incarnation>) -> (Bytes, Bytes) {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if incarnation == Some(met.incarnation) {
            (met.id.into(), met.life.into())
        } else {
            Default::default()
        }
    }

    /// Whether as many replicas as have to know of what was written over a link, by the answer to it.
    async fn is_confirmed(&self, link: &Link, reply: &Value) -> Result<bool, Away> {
        // Of this very server: another one may have another number.
        let had = u32::try_from(reply.at(6)?.whole()?).unwrap_or(u32::MAX);
        let needed = self.replicas.unwrap_or(had);
        Ok(needed == 0 || link.wait(needed, self.timeout).await? >= u64::from(needed))
    }
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn number(number: impl ToString) -> Bytes {
    number.to_string().into()
}

/// What becomes of the log, whose keys have no end, in a server with this `maxmemory` and this policy.
fn when_full(said: &str, beside: Beside) -> WhenFull {
    let Some((most, policy)) = said.split_once(' ') else { return WhenFull::GoesOn };
    match (policy, beside) {
        _ if most == "0" => WhenFull::GoesOn,
        (policy, _) if policy.starts_with("allkeys-") => WhenFull::Evicted,
        ("noeviction", Beside::Expiring | Beside::Lasting) => WhenFull::Refused,
        (policy, Beside::Lasting) if policy.starts_with("volatile-") => WhenFull::Refused,
        _ => WhenFull::GoesOn,
    }
}

/// A random id for a log that has none yet: the first argument of every script.
fn candidate() -> Bytes {
    random_id().into()
}

fn lease(value: &Value) -> Result<Lease, SharedError> {
    let (node, cursor, until) = (value.at(0)?.text()?, value.at(1)?.whole()?, value.at(2)?.whole()?);
    Ok(Lease { node: node.to_owned(), cursor, until })
}

impl Server for RedisLog {
    fn start<'a>(
        &'a self,
        node: &'a str,
        known: Option<Incarnation>,
        cursor: u64,
        lease: Duration,
    ) -> Later<'a, Result<Started, Away>> {
        Box::pin(async move {
            let link = self.link(&self.following).await?;
            let (id, life) = self.names(known);
            let args = [candidate(), text(node), number(cursor), number(lease.as_millis()), id, life];
            let (standing, reply) = self.run(&link, &START, &self.keys, &args).await?;
            let id = reply.at(7)?.text()?.to_owned();
            self.heard(when_full(reply.at(8)?.text()?, self.beside));
            Ok(Started { standing, floor: Cursor { seq: standing.floor, id } })
        })
    }

    fn read<'a>(
        &'a self,
        node: &'a str,
        incarnation: Incarnation,
        cursor: &'a Cursor,
        lease: Duration,
    ) -> Later<'a, Result<Heard, Away>> {
        Box::pin(async move {
            let link = self.link(&self.following).await?;
            let (id, life) = self.names(Some(incarnation));
            let (from, lease) = (number(cursor.seq), number(lease.as_millis()));
            let args = [
                candidate(),
                text(node),
                from,
                text(&cursor.id),
                lease,
                number(LINES),
                number(BYTES),
                id,
                life,
            ];
            let (standing, reply) = self.run(&link, &READ, &self.keys, &args).await?;
            match reply.at(7)?.text()? {
                "lines" => {
                    let lines: Result<_, _> =
                        reply.at(8)?.list()?.iter().map(|value| self.line(value)).collect();
                    let said = reply.at(9)?.text()?;
                    if !said.is_empty() {
                        self.heard(when_full(said, self.beside));
                    }
                    let confirmed = self.is_confirmed(&link, &reply).await?;
                    Ok(Heard::Lines { standing, lines: lines?, confirmed })
                }
                "diverged" => Ok(Heard::Diverged),
                _ => Ok(Heard::Anew),
            }
        })
    }

    fn news(&self, cursor: u64, patience: Duration) -> Later<'_, Result<(), Away>> {
        Box::pin(async move {
            let link = self.link(&self.following).await?;
            link.xread_block(&self.keys[1], &format!("{cursor}-0"), 1, patience).await?;
            Ok(())
        })
    }

    fn renounce(&self, incarnation: Incarnation) -> Later<'_, Result<(), Away>> {
        Box::pin(async move {
            let link = self.link(&self.asking).await?;
            let (id, life) = self.names(Some(incarnation));
            self.run(&link, &RENOUNCE, &self.keys, &[candidate(), id, life]).await?;
            Ok(())
        })
    }

    fn append<'a>(&'a self, id: &'a str, purge: &'a [u8]) -> Later<'a, Result<Appended, Away>> {
        Box::pin(async move {
            let args = vec![candidate(), number(self.keep), text(id), self.sealed(purge, id)?];
            let (standing, reply) = self.give_places(&self.keys, args).await?;
            Ok(Appended { standing, first: reply.at(8)?.whole()? })
        })
    }

    fn append_once<'a>(
        &'a self,
        purges: &'a [(String, Vec<u8>)],
        once: &'a Once,
    ) -> Later<'a, Result<Taken, Away>> {
        Box::pin(async move {
            let event = digest(&SHA256, once.name.as_bytes());
            let event = format!("{}event:{}", self.begin, BASE64.encode(event.as_ref()));
            let keys = self.keys.iter().cloned().chain([event, format!("{}counters", self.begin)]);
            let counter = once.counter.as_ref();
            let counted = |of: fn(&Compared) -> &str| counter.map_or_else(Bytes::new, |one| text(of(one)));
            let mut args = vec![
                candidate(),
                number(self.keep),
                text(&once.body),
                BASE64.encode(self.sealed(once.said.as_bytes(), &once.name)?).into(),
                number(once.remembered.as_millis()),
                counted(|one| &one.name),
                counted(|one| &one.was),
                counted(|one| &one.becomes),
            ];
            for (id, purge) in purges {
                args.extend([text(id), self.sealed(purge, id)?]);
            }
            let (standing, reply) = self.give_places(&keys.collect::<Vec<_>>(), args).await?;
            let word = |at| Ok::<_, SharedError>(reply.at(at)?.text()?.to_owned());
            match reply.at(7)?.text()? {
                "placed" => Ok(Taken::Placed(Appended { standing, first: reply.at(8)?.whole()? })),
                "before" => {
                    // One that nobody with a key wrote tells nothing; that it took effect stands.
                    let said = BASE64.decode(reply.at(10)?.text()?).ok();
                    let said = said.and_then(|said| self.texts.open(&said, &once.name)).unwrap_or_default();
                    let said = String::from_utf8(said).unwrap_or_default();
                    Ok(Taken::Before(Remembered { standing, id: word(8)?, body: word(9)?, said }))
                }
                _ => Ok(Taken::Counted(word(8)?)),
            }
        })
    }

    fn leases(&self) -> Later<'_, Result<(Standing, Vec<Lease>), Away>> {
        Box::pin(async move {
            let link = self.link(&self.asking).await?;
            let (standing, reply) = self.run(&link, &LEASES, &self.keys, &[candidate()]).await?;
            let leases: Result<_, _> = reply.at(7)?.list()?.iter().map(lease).collect();
            Ok((standing, leases?))
        })
    }

    fn when_full(&self) -> WhenFull {
        *self.when_full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave<'a>(&'a self, node: &'a str) -> Later<'a, Result<(), Away>> {
        Box::pin(async move {
            // Not on the way of its reads, which may wait for news. One of them that comes later renews the lease: then it is waited for.
            let link = self.link(&self.asking).await?;
            self.run(&link, &LEAVE, &self.keys, &[candidate(), text(node), Bytes::new()]).await?;
            Ok(())
        })
    }

    fn forget<'a>(&'a self, lease: &'a Lease) -> Later<'a, Result<(), Away>> {
        Box::pin(async move {
            let link = self.link(&self.asking).await?;
            let value = format!("{} {}", lease.cursor, lease.until);
            self.run(&link, &LEAVE, &self.keys, &[candidate(), text(&lease.node), value.into()]).await?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_the_log_depends_on_limit_policy_and_what_lies_beside_it() {
        use Beside::{Expiring, Lasting, Nothing};
        use WhenFull::{Evicted, GoesOn, Refused};
        for (said, expected) in [
            ("1048576 allkeys-lru", [Evicted; 3]),
            ("1 allkeys-lfu", [Evicted; 3]),
            ("3 allkeys-of-later", [Evicted; 3]),
            ("1048576 noeviction", [GoesOn, Refused, Refused]),
            ("1048576 volatile-ttl", [GoesOn, GoesOn, Refused]),
            ("0 noeviction", [GoesOn; 3]),
            ("0 allkeys-lru", [GoesOn; 3]),
            ("1 ", [GoesOn; 3]),
            ("0 ", [GoesOn; 3]),
            (" ", [GoesOn; 3]),
            ("", [GoesOn; 3]),
        ] {
            assert_eq!(
                [Nothing, Expiring, Lasting].map(|beside| when_full(said, beside)),
                expected,
                "{said}"
            );
        }
    }
}
