//! The follower: reads the log, applies it to the fence, and proves that the node is current.
//!
//! Invariants: records are applied in the order of their numbers, without a gap; a proof counts from when the read was
//! *sent*, and only once all that it brought is applied and nothing is left to read; another incarnation, or a record that
//! is not the one that was applied, ends the validity of whatever is stored.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::protocol::{Away, Cursor, Heard, Line, Server, Standing, WhenFull};
use crate::clock::{Clock, Now};
use crate::purge::{Fence, Incarnation, Record, wire};

/// How far this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The log that it follows; `None`: none yet.
    pub incarnation: Option<Incarnation>,
    /// Since when it follows that one, on the monotonic clock.
    pub since: Duration,
    /// The last record that it has applied.
    pub applied: u64,
    /// The last record of the log, when it last looked.
    pub last: u64,
    /// Whether the log was there when it last looked.
    pub connected: bool,
    /// What becomes of the log when its server's memory is full.
    pub when_full: WhenFull,
}

/// Times that the protocol rests on.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// For so long what is stored is served without another proof.
    pub bound: Duration,
    /// The first pause after a failure; it doubles up to the bound.
    pub pause: Duration,
}

impl Times {
    /// A lease outlives the proof that comes with it, by more than a clock gains in that time.
    pub fn lease(&self) -> Duration {
        self.bound + self.bound / 4 + Duration::from_millis(100)
    }
}

/// The follower of one node.
pub(super) struct Follower<S> {
    pub(super) server: Arc<S>,
    pub(super) fence: Arc<Fence>,
    pub(super) clock: Clock,
    pub(super) node: String,
    /// The names of the stores, by their numbers.
    pub(super) stores: Arc<[String]>,
    pub(super) times: Times,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) cursor: Cursor,
    /// Since when this incarnation is followed.
    pub(super) since: Duration,
    /// Those that it followed before.
    pub(super) left: VecDeque<Incarnation>,
}

/// How many incarnations are remembered that were left.
const LEFT: usize = 64;

/// Why reading ended.
enum Ended {
    /// The node begins anew, with the log as it is now.
    Anew,
    /// The log is away.
    Away(Away),
}

impl From<Away> for Ended {
    fn from(away: Away) -> Self {
        Self::Away(away)
    }
}

impl<S: Server> Follower<S> {
    /// Follows the log until this node goes.
    pub(super) async fn run(mut self, mut leaving: watch::Receiver<bool>) {
        tokio::select! {
            () = self.follow_on() => {}
            // Where nobody is left who could say so, it goes on.
            Ok(_) = leaving.wait_for(|leaving| *leaving) => {}
        }
        // In this order: nobody waits for a node that has no lease.
        self.fence.withdraw();
        if let Err(Away(why)) = self.server.leave(&self.node).await {
            tracing::info!(%why, "the log of purges was not told that this node goes: purges wait once for its lease to end");
        }
    }

    async fn follow_on(&mut self) {
        let mut pause = self.times.pause;
        let mut quiet = false;
        loop {
            match self.follow(&mut pause, &mut quiet).await {
                // Whatever made it begin anew may not be over yet.
                Ended::Anew => tokio::time::sleep(jittered(self.times.pause)).await,
                Ended::Away(Away(why)) => {
                    self.warn_of_memory();
                    let when_full = self.server.when_full();
                    self.progress.send_modify(|progress| {
                        (progress.connected, progress.when_full) = (false, when_full);
                    });
                    if !quiet {
                        tracing::warn!(%why, "the log of purges cannot be reached: what is stored is served for the bound at most");
                        quiet = true;
                    }
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(self.times.bound);
                }
            }
        }
    }

    async fn follow(&mut self, pause: &mut Duration, quiet: &mut bool) -> Ended {
        match self.begin().await {
            Ok(incarnation) => loop {
                match self.read(incarnation).await {
                    Ok(()) => {
                        *pause = self.times.pause;
                        if std::mem::take(quiet) {
                            tracing::info!(seq = self.cursor.seq, "the log of purges is followed again");
                        }
                    }
                    Err(ended) => return ended,
                }
            },
            Err(away) => Ended::Away(away),
        }
    }

    /// Begins, or begins anew: in another incarnation nothing from before is valid, in the same nothing from before what
    /// is not kept any more.
    async fn begin(&mut self) -> Result<Incarnation, Away> {
        let known = self.progress.borrow().incarnation;
        let started = self.server.start(&self.node, known, self.cursor.seq, self.times.lease()).await?;
        let (standing, floor) = (started.standing, started.floor);
        if known != Some(standing.incarnation) {
            if self.left.contains(&standing.incarnation) {
                // What was purged since is not in it, and entries of then would be valid again.
                self.server.renounce(standing.incarnation).await?;
                return Err(Away("it is one that was left for another: it is renounced".to_owned()));
            }
            if let Some(known) = known {
                tracing::warn!("the log of purges is another one: all stored responses are given up");
                self.left.truncate(LEFT - 1);
                self.left.push_front(known);
            }
            self.fence.enter(standing.incarnation, floor.seq);
            self.since = self.clock.now().mono;
            self.cursor = floor;
        } else if self.cursor.seq < floor.seq {
            tracing::warn!(
                from = self.cursor.seq,
                to = floor.seq,
                "purges were missed: what began before is given up"
            );
            self.fence.give_up_to(floor.seq);
            self.cursor = floor;
        }
        self.tell(standing);
        Ok(standing.incarnation)
    }

    /// Reads once, and waits for news where there was nothing to read.
    async fn read(&mut self, incarnation: Incarnation) -> Result<(), Ended> {
        let sent = self.clock.now();
        match self.server.read(&self.node, incarnation, &self.cursor, self.times.lease()).await? {
            Heard::Anew => Err(Ended::Anew),
            Heard::Diverged => {
                tracing::error!(
                    "the log of purges is not the one that was read: all stored responses are given up"
                );
                self.server.renounce(incarnation).await?;
                Err(Ended::Anew)
            }
            Heard::Lines { standing, .. } if standing.incarnation != incarnation => Err(Ended::Anew),
            Heard::Lines { standing, lines, confirmed } => {
                let some = !lines.is_empty();
                for line in lines {
                    self.apply(line, sent, &standing);
                }
                let all = self.cursor.seq >= standing.seq;
                if all && confirmed {
                    self.fence.prove(sent.mono.saturating_add(self.times.bound));
                }
                self.tell(standing);
                // What was applied is reported at once: somebody may be waiting for it.
                if all && !some {
                    self.server.news(self.cursor.seq, self.times.bound / 4).await?;
                }
                // Records that should be there are not: the server says what is left when this node begins anew.
                if !all && !some { Err(Ended::Anew) } else { Ok(()) }
            }
        }
    }

    fn apply(&mut self, line: Line, sent: Now, standing: &Standing) {
        let purge = wire::read(&line.purge, &self.stores);
        // By this node's clocks, and rather too early: what a soft purge covers is stale since then.
        let ago = Duration::from_millis(standing.now.saturating_sub(line.time));
        let time = Now { mono: sent.mono.saturating_sub(ago), wall: Duration::from_millis(line.time) };
        self.fence.apply(Record { seq: 0, id: line.id.clone(), purge, time }, line.seq);
        self.cursor = Cursor { seq: line.seq, id: line.id };
    }

    /// Says once, each time that it changes, what becomes of the log when its server's memory is full.
    fn warn_of_memory(&self) {
        let before = self.progress.borrow().when_full;
        match (before, self.server.when_full()) {
            (before, now) if before == now => {}
            (_, WhenFull::Evicted) => tracing::error!(
                "the Redis of the purge log may evict it when its memory is full, and all that is stored is then given up: \
                 set its `maxmemory-policy` to `noeviction` or to one that begins with `volatile-`, or give the log a Redis of its own"
            ),
            (_, WhenFull::Refused) => tracing::error!(
                "what else lies in the Redis of the purge log may fill its memory, and nothing makes room: the log cannot be \
                 written then, and no node serves anything stored; give the log a Redis of its own, or set `maxmemory-policy` \
                 to `volatile-lru` or `volatile-ttl` (and a `ttl` for stores whose responses have no end)"
            ),
            (WhenFull::Evicted, WhenFull::GoesOn) => {
                tracing::info!("the Redis of the purge log does not evict it any more");
            }
            (_, WhenFull::GoesOn) => tracing::info!("the Redis of the purge log makes room for it again"),
        }
    }

    fn tell(&self, standing: Standing) {
        self.warn_of_memory();
        let (incarnation, applied) = (Some(standing.incarnation), self.cursor.seq);
        let (last, when_full) = (standing.seq.max(applied), self.server.when_full());
        let next = Progress { incarnation, since: self.since, applied, last, connected: true, when_full };
        self.progress.send_if_modified(|progress| std::mem::replace(progress, next) != next);
    }
}

/// Between half of it and the whole: nodes that lost one server together do not come back together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness all come back together.
    let _ = getrandom::fill(&mut byte);
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}
