//! A connection of one's own, for the purge log: what was written over it is what `WAIT` speaks of, and a reply that is waited
//! for holds up nobody else.
//!
//! A link never connects anew: after a failure it is broken, and everything asked of it fails. Who needs another opens one, and
//! knows that it is another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, cmd};

use super::super::{Reply, SharedError, SharedErrorKind};
use super::client::breaks;
use super::connect::{Connection, Target};
use super::io::RedisIo;
use super::scripts::Script;
use super::value::{Value, too_late, unexpected};
use crate::config::Redis;

/// Opens links.
#[derive(Clone)]
pub struct Links {
    io: Arc<RedisIo>,
    target: Arc<Target>,
}

impl Links {
    /// To a Redis as configured.
    ///
    /// # Errors
    /// Where the certificates of the configuration cannot be used.
    pub fn new(config: &Redis, io: Arc<RedisIo>) -> Result<Self, SharedError> {
        Ok(Self { io, target: Arc::new(Target::new(config)?) })
    }

    /// A link to the server that has `key` (without a Cluster there is only one, the primary), within `deadline`.
    pub fn open(&self, key: &str, deadline: Duration) -> Reply<Link> {
        let (io, target, key) = (Arc::clone(&self.io), Arc::clone(&self.target), key.to_owned());
        self.io.run(async move {
            let connecting = tokio::time::timeout(deadline, target.connect_to_owner(&key)).await;
            let connection = connecting.unwrap_or_else(|_| Err(too_late()))?;
            Ok(Link { io, connection, broken: Arc::default() })
        })
    }
}

/// A connection to one server, used by one.
pub struct Link {
    io: Arc<RedisIo>,
    connection: Connection,
    broken: Arc<AtomicBool>,
}

/// A record of a stream: its id, and names and values in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The id, as Redis writes it.
    pub id: String,
    /// Names and values.
    pub fields: Vec<(Bytes, Bytes)>,
}

impl Link {
    /// Whether everything asked of it from now on fails.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire) || self.connection.has_ended()
    }

    /// Runs a script over keys of one slot. It is sent when this is first polled, so a moment before that is one before the sending.
    ///
    /// # Errors
    /// Where it fails or takes longer. After [`SharedErrorKind::Timeout`] and [`SharedErrorKind::Io`] nobody knows whether it ran.
    pub async fn script(
        &self,
        script: &Arc<Script>,
        keys: &[String],
        args: &[Bytes],
        deadline: Duration,
    ) -> Result<Value, SharedError> {
        let (mut connection, script) = (self.connection.clone(), Arc::clone(script));
        let (keys, args) = (keys.to_vec(), args.to_vec());
        self.within(deadline, async move { connection.run(&script, &keys, &args).await }).await
    }

    /// Waits until so many replicas have what was written over this link, for at most `timeout`; how many have it. A link that
    /// broke since then is an error, not a number.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn wait(&self, replicas: u32, timeout: Duration) -> Result<u64, SharedError> {
        let mut wait = cmd("WAIT");
        // 0 would be for ever.
        wait.arg(replicas).arg(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1));
        self.send(wait, timeout.saturating_add(SLACK)).await?.whole()
    }

    /// The records of a stream after an id, at most `count`; waits for the first of them, at most for `block`. None: none came.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn xread_block(
        &self,
        stream: &str,
        after: &str,
        count: u32,
        block: Duration,
    ) -> Result<Vec<Record>, SharedError> {
        let mut xread = cmd("XREAD");
        xread.arg("COUNT").arg(count).arg("BLOCK");
        xread.arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1));
        xread.arg("STREAMS").arg(stream).arg(after);
        match self.send(xread, block.saturating_add(SLACK)).await? {
            Value::Nil => Ok(Vec::new()),
            reply => reply.at(0)?.at(1)?.list()?.iter().map(Record::read).collect(),
        }
    }

    async fn send(&self, cmd: Cmd, deadline: Duration) -> Result<Value, SharedError> {
        let mut connection = self.connection.clone();
        self.within(deadline, async move { connection.send(&cmd, None).await }).await
    }

    async fn within(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<Value, SharedError>> + Send + 'static,
    ) -> Result<Value, SharedError> {
        if self.is_broken() {
            return Err(SharedError::new(SharedErrorKind::Io, "the connection is broken"));
        }
        let broken = Arc::clone(&self.broken);
        let work = async move {
            let result = tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(too_late()));
            if let Err(error) = &result
                && (breaks(error.kind) || ends(error.kind))
            {
                broken.store(true, Ordering::Release);
            }
            result
        };
        self.io.run(work).await
    }
}

/// What Redis and the way there may take beyond what it was told to wait.
const SLACK: Duration = Duration::from_millis(500);

/// Failures after which this is the wrong server, or out of step.
fn ends(kind: SharedErrorKind) -> bool {
    use SharedErrorKind as Kind;
    matches!(kind, Kind::Timeout | Kind::Moved | Kind::ClusterDown | Kind::Loading)
}

impl Record {
    /// A record as a script or `XREAD` gives it: `[id, [name, value, …]]`.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn read(value: &Value) -> Result<Self, SharedError> {
        let pair = |pair: &[Value]| match pair {
            [name, value] => Ok((name.bytes()?.clone(), value.bytes()?.clone())),
            _ => Err(unexpected("a value for each name")),
        };
        let fields = value.at(1)?.list()?.chunks(2).map(pair).collect::<Result<_, _>>()?;
        Ok(Self { id: value.at(0)?.text()?.to_owned(), fields })
    }
}
