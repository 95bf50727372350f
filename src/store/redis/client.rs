//! One operation: let through by the breaker, within one deadline, tried again out of a budget. Only operations that may be
//! done twice come here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::Cmd;
use redis::cluster_routing::RoutingInfo;

use super::super::{Health, Reply, SharedError, SharedErrorKind};
use super::breaker::{Breaker, Permit};
use super::connect::{SharedTarget, Target};
use super::io::RedisIo;
use super::pool::{Pool, Taken};
use super::retry::{Budget, pause};
use super::scripts::Script;
use super::value::{Value, too_late};
use crate::clock::Clock;
use crate::config::Redis;

/// What is asked of Redis.
pub(super) enum Request {
    /// A command, and in a Cluster which node.
    Command(Cmd, Option<RoutingInfo>),
    /// A script over keys of one slot.
    Script(&'static LazyLock<Script>, Vec<String>, Vec<Bytes>),
}

/// A Redis that is spoken to with operations that may be done twice.
pub(super) struct Client {
    io: Arc<RedisIo>,
    target: SharedTarget,
    pool: Pool,
    clock: Clock,
    guard: Mutex<Guard>,
    counts: Counts,
}

struct Guard {
    breaker: Breaker,
    budget: Budget,
    last_error: Option<String>,
}

#[derive(Default)]
struct Counts {
    operations: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    retries: AtomicU64,
}

impl Client {
    pub(super) fn new(config: &Redis, io: Arc<RedisIo>, clock: Clock) -> Result<Self, SharedError> {
        let target = Arc::new(Target::new(config)?);
        let pool = Pool::new(&target);
        let breaker = Breaker::new(config.failures);
        let guard = Mutex::new(Guard { breaker, budget: Budget::new(), last_error: None });
        Ok(Self { io, target, pool, clock, guard, counts: Counts::default() })
    }

    pub(super) fn config(&self) -> &Redis {
        self.target.config()
    }

    /// Does `work` on the thread of Redis.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SharedError>> + Send + 'static,
    ) -> Reply<T> {
        self.io.run(work)
    }

    /// Begins an operation; what comes back is made of its reply by `read`.
    pub(super) fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        request: Request,
        deadline: Duration,
        read: impl FnOnce(Value) -> Result<T, SharedError> + Send + 'static,
    ) -> Reply<T> {
        let permit = match self.enter() {
            Ok(permit) => permit,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let client = Arc::clone(self);
        self.io.run(async move { client.perform(&request, deadline, permit).await.and_then(read) })
    }

    /// An operation of work that is on the thread of Redis already.
    pub(super) async fn ask_here(&self, request: Request, deadline: Duration) -> Result<Value, SharedError> {
        let permit = self.enter()?;
        self.perform(&request, deadline, permit).await
    }

    fn enter(&self) -> Result<Permit, SharedError> {
        self.counts.operations.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now().mono;
        let mut guard = self.guard();
        guard.budget.earn();
        match guard.breaker.ask(now) {
            Permit::Refused => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                Err(SharedError::new(
                    SharedErrorKind::Open,
                    "Redis failed just now, and is left alone for a while",
                ))
            }
            permit => Ok(permit),
        }
    }

    async fn perform(
        &self,
        request: &Request,
        deadline: Duration,
        permit: Permit,
    ) -> Result<Value, SharedError> {
        let used = Mutex::new(None);
        let result = match tokio::time::timeout(deadline, self.attempts(request, &used)).await {
            Ok(result) => result,
            Err(_) => {
                let used: Option<Taken> = used.into_inner().unwrap_or_else(PoisonError::into_inner);
                used.iter().for_each(Taken::is_late);
                Err(too_late())
            }
        };
        self.judge(permit, result.as_ref().err());
        result
    }

    async fn attempts(&self, request: &Request, used: &Mutex<Option<Taken>>) -> Result<Value, SharedError> {
        let mut tried = 0;
        loop {
            let error = match self.attempt(request, used).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if tried >= self.config().retries || !may_pass(error.kind) || !self.guard().budget.spend() {
                return Err(error);
            }
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause(tried, dice())).await;
            tried += 1;
        }
    }

    async fn attempt(&self, request: &Request, used: &Mutex<Option<Taken>>) -> Result<Value, SharedError> {
        let set = |taken| *used.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        set(None);
        let mut taken = self.pool.take().await?;
        set(Some(taken.clone()));
        let connection = &mut taken.live.connection;
        let result = match request {
            Request::Command(cmd, route) => connection.send(cmd, route.as_ref()).await,
            Request::Script(script, keys, args) => connection.run(script, keys, args).await,
        };
        match &result {
            Err(error) if breaks(error.kind) => taken.is_broken(),
            _ => taken.is_well(),
        }
        result
    }

    fn judge(&self, permit: Permit, error: Option<&SharedError>) {
        let now = self.clock.now().mono;
        let mut guard = self.guard();
        if let Some(error) = error {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            guard.last_error = Some(error.text.clone());
        }
        match error {
            Some(error) if counts(error.kind) => guard.breaker.failed(permit, now, dice()),
            // It answered, if only to say no.
            _ => guard.breaker.succeeded(permit),
        }
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> Health {
        let guard = self.guard();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Health {
            breaker: guard.breaker.name(),
            connections: self.pool.up(),
            operations: count(&self.counts.operations),
            failures: count(&self.counts.failures),
            refused: count(&self.counts.refused),
            retries: count(&self.counts.retries),
            last_error: guard.last_error.clone(),
        }
    }
}

/// Any number. Without the system's random bytes nothing is spread, and nothing breaks.
fn dice() -> u32 {
    getrandom::u32().unwrap_or_default()
}

/// Failures that say that Redis is of no use now, whatever is asked of it. A full memory refuses writes only, and is none.
fn counts(kind: SharedErrorKind) -> bool {
    use SharedErrorKind as Kind;
    match kind {
        Kind::Timeout | Kind::Io | Kind::Loading | Kind::ReadOnly | Kind::ClusterDown => true,
        Kind::MasterDown | Kind::Busy | Kind::Auth => true,
        Kind::Open | Kind::Full | Kind::Moved | Kind::Denied | Kind::Refused | Kind::Unexpected => false,
    }
}

/// Failures that may be gone in a moment, or on another connection.
fn may_pass(kind: SharedErrorKind) -> bool {
    use SharedErrorKind as Kind;
    matches!(kind, Kind::Io | Kind::Loading | Kind::ReadOnly | Kind::ClusterDown | Kind::MasterDown)
}

/// Failures after which the connection is of no more use: it is cut, out of step, or leads to a replica.
pub(super) fn breaks(kind: SharedErrorKind) -> bool {
    use SharedErrorKind as Kind;
    matches!(kind, Kind::Io | Kind::ReadOnly | Kind::MasterDown | Kind::Auth | Kind::Unexpected)
}
