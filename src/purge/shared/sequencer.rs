//! Purges on their way into the log: handed over, and acknowledged once all who have to have applied them.
//!
//! Invariants: nothing is acknowledged that the log did not confirm; `wait: all` waits for every node until it has applied
//! the record or did not renew its lease for as long as that lasts, and for one lease after an incarnation was first met,
//! because nodes may still believe in the one before; what has happened whether or not the log hears of it is handed over until it is there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{MutexGuard, Notify, mpsc, oneshot, watch};

use super::follower::{Progress, Times, jittered};
use super::protocol::{Appended, Away, Later, Lease, Remembered, Server, Standing, Taken};
use crate::clock::Clock;
use crate::config::Wait;
use crate::purge::{Fence, Handling, Nodes, Once, Purge, Receipt, Recorded, Selector, Unlogged, Where, wire};

/// How many purges wait for a log that is away. Beyond that the log itself is renounced when it is back: that covers all.
const MOST: usize = 10_000;
/// How often a purge is tried before whoever asked for it is told.
const TRIES: u32 = 3;
/// After so long without a change a lease is removed.
const DEAD: Duration = Duration::from_secs(3_600);
/// What is obeyed here while more wait than are told apart.
const OVERFLOW: &str = "overflow";

/// What somebody hands over.
pub(super) enum Ask {
    /// A purge.
    Purge { id: String, purge: Purge, handling: Handling, answer: oneshot::Sender<Result<Receipt, Unlogged>> },
    /// All purges of an event.
    Event(Event),
}

/// An event, which takes effect once.
pub(super) struct Event {
    pub(super) purges: Vec<(String, Purge)>,
    pub(super) once: Once,
    pub(super) answer: oneshot::Sender<Result<Recorded, Unlogged>>,
}

/// Hands purges over to the log.
pub(super) struct Sequencer<S> {
    pub(super) server: Arc<S>,
    pub(super) fence: Arc<Fence>,
    pub(super) clock: Clock,
    pub(super) node: String,
    pub(super) stores: Arc<[String]>,
    pub(super) times: Times,
    pub(super) wait: Wait,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) leases: tokio::sync::Mutex<Option<Seen>>,
    pub(super) waiting: Mutex<Waiting>,
    pub(super) more: Notify,
}

/// The leases as they were seen. Times are this node's: the server's clock may be set.
pub(super) struct Seen {
    /// When the server was asked: whatever it said was so at this moment or later.
    at: Duration,
    standing: Standing,
    leases: Vec<Watched>,
}

/// A lease, and since when it is known to be the same: the answer that first said so had come.
struct Watched {
    lease: Lease,
    since: Duration,
}

impl Seen {
    /// What is seen after `before`, by a question of `at` whose answer came at `heard`.
    fn after(
        before: Option<Self>,
        (at, heard): (Duration, Duration),
        standing: Standing,
        leases: Vec<Lease>,
    ) -> Self {
        let before = before.filter(|before| before.standing.incarnation == standing.incarnation);
        let known = before.map_or_else(Vec::new, |before| before.leases);
        let watched = |lease: Lease| {
            let same = known.iter().find(|known| known.lease == lease);
            Watched { since: same.map_or(heard, |same| same.since), lease }
        };
        Self { at, standing, leases: leases.into_iter().map(watched).collect() }
    }

    /// Whether it says who has applied `logged`: what was seen before a record has its place says nothing of nodes that began, or
    /// came back, meanwhile.
    fn tells_of(&self, logged: &Standing, now: Duration) -> bool {
        self.standing.incarnation == logged.incarnation
            && self.standing.seq >= logged.seq
            && self.at + Duration::from_millis(1) >= now
    }
}

/// Purges that wait for the log.
#[derive(Default)]
pub(super) struct Waiting {
    purges: VecDeque<(String, Vec<u8>)>,
    /// There were too many.
    overflow: bool,
}

impl<S: Server> Sequencer<S> {
    /// Hands over what comes, for ever.
    pub(super) async fn run(self: Arc<Self>, mut asks: mpsc::UnboundedReceiver<Ask>) {
        let again = tokio::spawn(self.clone().hand_over_again());
        while let Some(ask) = asks.recv().await {
            tokio::spawn(self.clone().carry_out(ask));
        }
        again.abort();
    }

    async fn carry_out(self: Arc<Self>, ask: Ask) {
        match ask {
            Ask::Purge { id, purge, handling, answer } => {
                let bytes = self.written(&purge);
                let done = self.tried(|| Box::pin(self.placed(&id, &bytes))).await;
                if done.is_err() && handling == Handling::Insist {
                    self.wait_for_the_log(id.clone(), bytes);
                }
                // Whoever asked may have gone.
                let _ = answer.send(done.map_err(|Away(why)| Unlogged { id, why }));
            }
            Ask::Event(Event { purges, once, answer }) => {
                let written: Vec<_> =
                    purges.into_iter().map(|(id, purge)| (id, self.written(&purge))).collect();
                let done = self.tried(|| Box::pin(self.recorded(&written, &once))).await;
                let _ = answer.send(done.map_err(|Away(why)| Unlogged { id: once.name, why }));
            }
        }
    }

    fn written(&self, purge: &Purge) -> Vec<u8> {
        wire::written(purge, &self.stores).into_bytes()
    }

    /// Some times, for no longer than one who has to wait for leases might, and for one who lost the log meanwhile.
    async fn tried<'a, T>(&'a self, once: impl Fn() -> Later<'a, Result<T, Away>>) -> Result<T, Away> {
        let tries = async {
            let mut pause = self.times.pause;
            let mut last = Away("it was not tried".to_owned());
            for _ in 0..TRIES {
                match once().await {
                    Ok(done) => return Ok(done),
                    Err(away) => last = away,
                }
                tokio::time::sleep(jittered(pause)).await;
                pause *= 2;
            }
            Err(last)
        };
        let unknown = Away("whether all nodes know of it could not be learnt in time".to_owned());
        tokio::time::timeout(3 * self.times.lease(), tries).await.unwrap_or(Err(unknown))
    }

    /// A purge gets its place, and is in force.
    async fn placed(&self, id: &str, bytes: &[u8]) -> Result<Receipt, Away> {
        let Appended { standing, .. } = self.server.append(id, bytes).await?;
        self.acknowledged(id, &standing).await
    }

    /// All purges of an event get their places, and are in force; also where they got them before.
    async fn recorded(&self, purges: &[(String, Vec<u8>)], once: &Once) -> Result<Recorded, Away> {
        let (standing, id) = match self.server.append_once(purges, once).await? {
            Taken::Counted(count) => return Ok(Recorded::Counted(count)),
            Taken::Placed(Appended { standing, .. }) => (standing, purges.last().map(|(id, _)| id)),
            // This very attempt, of whose answer nothing was heard.
            Taken::Before(Remembered { standing, id, .. })
                if purges.last().is_some_and(|(own, _)| *own == id) =>
            {
                (standing, purges.last().map(|(id, _)| id))
            }
            Taken::Before(Remembered { standing, id, body, said }) => {
                let receipt = self.acknowledged(&id, &standing).await?;
                return Ok(Recorded::Before { receipt: (!id.is_empty()).then_some(receipt), body, said });
            }
        };
        let Some(id) = id else { return Ok(Recorded::Now(None)) };
        Ok(Recorded::Now(Some(self.acknowledged(id, &standing).await?)))
    }

    /// Waits until the last purge of `logged` is in force, here and, as the configuration says, everywhere.
    async fn acknowledged(&self, id: &str, logged: &Standing) -> Result<Receipt, Away> {
        self.applied_here(logged).await?;
        // Where the record was not kept until this node came to it, all that began before was given up: it is covered.
        self.fence.settle(id);
        let nodes = match self.wait {
            Wait::Logged => {
                // Nobody is waited for, but the dead are forgotten now and then.
                if let Ok(seen) = self.look(|seen, now| seen.at + DEAD / 4 >= now).await {
                    self.forget_the_dead(seen.as_ref()).await;
                }
                None
            }
            Wait::All => Some(self.everywhere(logged).await?),
        };
        Ok(Receipt { id: id.to_owned(), seq: logged.seq, time: Duration::from_millis(logged.now), nodes })
    }

    /// Waits until this node has read the record back. Where the log was lost meanwhile, it never does.
    async fn applied_here(&self, logged: &Standing) -> Result<(), Away> {
        let Standing { incarnation, seq, .. } = *logged;
        let here = |progress: &Progress| progress.incarnation == Some(incarnation) && progress.applied >= seq;
        let mut progress = self.progress.clone();
        let long = 4 * self.times.lease();
        let applied =
            tokio::time::timeout(long, progress.wait_for(here)).await.is_ok_and(|found| found.is_ok());
        let unread = || Away("it is in the log, and this node could not read it back".to_owned());
        if applied { Ok(()) } else { Err(unread()) }
    }

    /// Waits until every node that serves what is stored has applied the record.
    async fn everywhere(&self, logged: &Standing) -> Result<Nodes, Away> {
        let mut pause = Duration::from_millis(1);
        loop {
            let seen = self.look(|seen, now| seen.tells_of(logged, now)).await?;
            if let Some(nodes) = seen.as_ref().map_or(Ok(None), |seen| self.who(seen, logged))? {
                self.forget_the_dead(seen.as_ref()).await;
                return Ok(nodes);
            }
            drop(seen);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Looks at the leases, unless what was seen last will do.
    async fn look(
        &self,
        will_do: impl Fn(&Seen, Duration) -> bool,
    ) -> Result<MutexGuard<'_, Option<Seen>>, Away> {
        let mut seen = self.leases.lock().await;
        let now = self.clock.now().mono;
        if !seen.as_ref().is_some_and(|seen| will_do(seen, now)) {
            let (standing, leases) = self.server.leases().await?;
            let asked = (now, self.clock.now().mono);
            *seen = Some(Seen::after(seen.take(), asked, standing, leases));
        }
        Ok(seen)
    }

    /// Removes leases that have been the same for so long that their nodes will not come back. Not the server does this: its
    /// clock may be set, and a node without a lease is not waited for.
    async fn forget_the_dead(&self, seen: Option<&Seen>) {
        let Some(Seen { at, leases, .. }) = seen else { return };
        for dead in leases.iter().filter(|one| *at >= one.since.saturating_add(DEAD)) {
            // What is not removed now will be.
            let _ = self.server.forget(&dead.lease).await;
        }
    }

    /// Who has applied a record and who is gone; `None`: somebody else has to be waited for.
    fn who(&self, seen: &Seen, logged: &Standing) -> Result<Option<Nodes>, Away> {
        let Seen { at, standing, leases } = seen;
        if standing.incarnation != logged.incarnation {
            return Err(Away("the log was lost".to_owned()));
        }
        // By this node's clock: the server's may be set. Until an incarnation is known for so long, nodes may still believe in
        // the one before; a lease that did not change for so long was not renewed, and its node has no proof any more.
        let long_ago = |since: Duration| *at >= since.saturating_add(self.times.lease());
        let followed = *self.progress.borrow();
        if followed.incarnation != Some(standing.incarnation) || !long_ago(followed.since) {
            return Ok(None);
        }
        let mut nodes = Nodes { applied: vec![self.node.clone()], gone: Vec::new() };
        for Watched { lease: other, since } in leases.iter().filter(|other| other.lease.node != self.node) {
            if other.cursor >= logged.seq {
                nodes.applied.push(other.node.clone());
            } else if long_ago(*since) {
                nodes.gone.push(other.node.clone());
            } else {
                return Ok(None);
            }
        }
        Ok(Some(nodes))
    }

    fn wait_for_the_log(&self, id: String, bytes: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.purges.len() >= MOST && !waiting.overflow {
            waiting.overflow = true;
            tracing::error!(
                purges = MOST,
                "too many purges wait for the log: all stored responses are given up until it is back"
            );
            self.fence.obey(OVERFLOW, &Purge::hard(vec![Selector::Everything], Where::All));
        }
        if waiting.overflow {
            self.fence.settle(&id);
        } else {
            waiting.purges.push_back((id, bytes));
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// Hands over what waited, for ever.
    async fn hand_over_again(self: Arc<Self>) {
        let mut pause = self.times.pause;
        loop {
            match self.next_waiting().await {
                Ok(true) => pause = self.times.pause,
                Ok(false) => self.more.notified().await,
                Err(_) => {
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(self.times.bound);
                }
            }
        }
    }

    /// Whether there was something to hand over.
    async fn next_waiting(&self) -> Result<bool, Away> {
        let next = {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.overflow { None } else { Some(waiting.purges.front().cloned()) }
        };
        match next {
            Some(None) => return Ok(false),
            Some(Some((id, bytes))) => {
                let appended = self.server.append(&id, &bytes).await?;
                // Its row here stays until its record is read back: an incarnation that ends before takes it along.
                self.applied_here(&appended.standing).await?;
                self.fence.settle(&id);
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.purges.pop_front();
            }
            None => self.renounce().await?,
        }
        Ok(true)
    }

    /// There were more purges than could wait: another incarnation of the log covers all of them, everywhere.
    async fn renounce(&self) -> Result<(), Away> {
        // What comes from here on waits like any other: it may be later than the new incarnation.
        let mut covered = self.take_waiting().purges;
        let renounced = self.renounced().await;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if renounced.is_err() {
            // What came meanwhile is covered by the next attempt: everything is given up here until then.
            waiting.overflow = true;
            covered.append(&mut waiting.purges);
        }
        if !waiting.overflow {
            self.fence.settle(OVERFLOW);
        }
        drop(waiting);
        covered.iter().for_each(|(id, _)| self.fence.settle(id));
        renounced
    }

    fn take_waiting(&self) -> Waiting {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until this node follows an incarnation that begins after this call.
    async fn renounced(&self) -> Result<(), Away> {
        let (standing, _) = self.server.leases().await?;
        self.server.renounce(standing.incarnation).await?;
        let mut progress = self.progress.clone();
        let other = |progress: &Progress| {
            progress.connected && progress.incarnation.is_some_and(|known| known != standing.incarnation)
        };
        let long = 4 * self.times.lease();
        let followed =
            tokio::time::timeout(long, progress.wait_for(other)).await.is_ok_and(|found| found.is_ok());
        let unread =
            || Away("the log has another incarnation, and this node could not read it yet".to_owned());
        if followed { Ok(()) } else { Err(unread()) }
    }
}
