//! A server of a shared log in memory: it keeps the rules of the real one, and can be made to fail in every way.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::clock::Clock;
use larder::purge::shared::{
    Appended, Away, Cursor, Heard, Later, Lease, Line, Remembered, Server, Standing, Started, Taken,
};
use larder::purge::{Incarnation, Once};
use tokio::time::sleep;

/// What can be left out of the rules, to see that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Without {
    Nothing,
    /// A restart or a failover does not make another incarnation.
    Incarnation,
    /// Nor that; and the record at the cursor is not compared.
    RecordId,
    /// Events are not remembered.
    Events,
}

#[derive(Clone, Default)]
pub(crate) struct State {
    id: u8,
    life: u8,
    seq: u64,
    floor: Cursor,
    lines: Vec<Line>,
    leases: BTreeMap<String, (u64, u64)>,
    events: BTreeMap<String, Event>,
}

/// An event that took effect, and the number of its last purge.
#[derive(Clone)]
struct Event {
    id: String,
    body: String,
    said: String,
    seq: u64,
    time: u64,
}

pub(crate) struct Shared {
    pub(crate) state: State,
    /// What a replica had when it was last copied.
    replica: State,
    pub(crate) down: bool,
    pub(crate) cut: HashSet<String>,
    pub(crate) without: Without,
    pub(crate) keep: usize,
    next_id: u8,
    rng: u64,
    /// How far its clock was set forward, in ms.
    pub(crate) ahead: u64,
    /// Of a hundred answers so many are lost after the work was done.
    pub(crate) lossy: u64,
    /// No answer takes long.
    pub(crate) calm: bool,
    /// For so long the next question for the leases is on its way, in ms: the way has to be made first.
    pub(crate) slow: u64,
}

impl Shared {
    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng % below
    }
}

/// One node's way to the server.
pub(crate) struct Way {
    pub(crate) node: String,
    pub(crate) shared: Arc<Mutex<Shared>>,
    pub(crate) clock: Clock,
}

pub(crate) fn empty(seed: u64, without: Without) -> Shared {
    let state = State {
        id: 0,
        life: 0,
        seq: 0,
        floor: Cursor::default(),
        lines: Vec::new(),
        leases: BTreeMap::new(),
        events: BTreeMap::new(),
    };
    Shared {
        replica: state.clone(),
        state,
        down: false,
        cut: HashSet::new(),
        without,
        keep: 12,
        next_id: 1,
        rng: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        ahead: 0,
        lossy: 0,
        calm: false,
        slow: 0,
    }
}

impl Shared {
    /// The server's clock, which may be set.
    fn now(&self, clock: &Clock) -> u64 {
        u64::try_from(clock.now().wall.as_millis()).unwrap() + self.ahead
    }

    pub(crate) fn copy_to_replica(&mut self) {
        self.replica = self.state.clone();
    }

    /// The server starts anew, with nothing.
    pub(crate) fn flush(&mut self) {
        let State { id, life, .. } = self.state;
        self.state = State { id, life, ..State::default() };
        if !matches!(self.without, Without::Incarnation | Without::RecordId) {
            self.another();
        }
    }

    /// The replica takes over. What it had not heard of is lost, though it was confirmed.
    pub(crate) fn fail_over(&mut self) {
        let (id, life) = (self.state.id, self.state.life);
        self.state = self.replica.clone();
        (self.state.id, self.state.life) = (id, life);
        if !matches!(self.without, Without::Incarnation | Without::RecordId) {
            self.state.life += 1;
        }
    }

    fn another(&mut self) {
        self.state.id = self.next_id;
        self.next_id += 1;
    }

    fn standing(&self, clock: &Clock) -> Standing {
        let mut incarnation = Incarnation::default();
        (incarnation[0], incarnation[1]) = (self.state.id, self.state.life);
        Standing { incarnation, now: self.now(clock), seq: self.state.seq, floor: self.state.floor.seq }
    }

    fn lease(&mut self, node: &str, cursor: u64, lease: Duration, clock: &Clock) {
        let until = self.now(clock) + u64::try_from(lease.as_millis()).unwrap();
        self.state.leases.insert(node.to_owned(), (cursor, until));
    }

    fn trim(&mut self, clock: &Clock) {
        let now = self.now(clock);
        let mut to = self.state.seq.saturating_sub(self.keep as u64);
        let live = self.state.leases.values().filter(|(_, until)| *until > now);
        to = to.min(live.map(|(cursor, _)| *cursor).min().unwrap_or(to));
        if to > self.state.floor.seq {
            let at = self.state.lines.iter().find(|line| line.seq == to);
            self.state.floor = Cursor { seq: to, id: at.map(|line| line.id.clone()).unwrap_or_default() };
            self.state.lines.retain(|line| line.seq > to);
        }
    }

    fn place(&mut self, id: &str, purge: &[u8], clock: &Clock) {
        self.state.seq += 1;
        let (seq, time) = (self.state.seq, self.now(clock));
        self.state.lines.push(Line { seq, id: id.to_owned(), time, purge: purge.to_vec() });
    }

    fn record(&mut self, purges: &[(String, Vec<u8>)], once: &Once, clock: &Clock) -> Taken {
        if let Some(Event { id, body, said, seq, time }) = self.state.events.get(&once.name).cloned() {
            let now = self.standing(clock);
            let standing = Standing { seq: seq.min(now.seq), now: time, ..now };
            return Taken::Before(Remembered { standing, id, body, said });
        }
        let first = self.state.seq + 1;
        purges.iter().for_each(|(id, purge)| self.place(id, purge, clock));
        if self.without != Without::Events {
            let id = purges.last().map(|(id, _)| id.clone()).unwrap_or_default();
            let (seq, time) = (self.state.seq, self.now(clock));
            let event = Event { id, body: once.body.clone(), said: once.said.clone(), seq, time };
            self.state.events.insert(once.name.clone(), event);
        }
        self.trim(clock);
        Taken::Placed(Appended { standing: self.standing(clock), first })
    }

    /// The ids of the records that are kept.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.state.lines.iter().map(|line| line.id.as_str())
    }

    fn read(
        &mut self,
        node: &str,
        incarnation: Incarnation,
        cursor: &Cursor,
        lease: Duration,
        clock: &Clock,
    ) -> Heard {
        let standing = self.standing(clock);
        if standing.incarnation != incarnation || cursor.seq < standing.floor {
            return Heard::Anew;
        }
        if self.without != Without::RecordId {
            let there = if cursor.seq == self.state.floor.seq {
                Some(self.state.floor.id.clone())
            } else {
                self.state.lines.iter().find(|line| line.seq == cursor.seq).map(|line| line.id.clone())
            };
            if there.as_deref() != Some(&*cursor.id) {
                return Heard::Diverged;
            }
        }
        self.lease(node, cursor.seq, lease, clock);
        let after = self.state.lines.iter().filter(|line| line.seq > cursor.seq);
        Heard::Lines { standing, lines: after.take(3).cloned().collect(), confirmed: true }
    }
}

impl Way {
    /// Goes there and back: each way takes its time, and each may be cut.
    fn call<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut Shared) -> T + Send + 'a,
    ) -> Later<'a, Result<T, Away>> {
        Box::pin(async move {
            let (there, back) = {
                let mut shared = self.shared.lock().unwrap();
                // Now and then an answer takes long, as to a node that was suspended.
                let back = if shared.random(150) == 0 && !shared.calm {
                    shared.random(900)
                } else {
                    shared.random(4)
                };
                (shared.random(4), back)
            };
            sleep(Duration::from_millis(there)).await;
            let done = {
                let mut shared = self.shared.lock().unwrap();
                if shared.down || shared.cut.contains(&self.node) { None } else { Some(work(&mut shared)) }
            };
            sleep(Duration::from_millis(back)).await;
            let heard = {
                let mut shared = self.shared.lock().unwrap();
                let lossy = shared.lossy;
                shared.random(100) >= lossy && !shared.cut.contains(&self.node)
            };
            if let Some(done) = done.filter(|_| heard) {
                return Ok(done);
            }
            // The deadline.
            sleep(Duration::from_millis(50)).await;
            Err(Away("cut".to_owned()))
        })
    }
}

impl Server for Way {
    fn start<'a>(
        &'a self,
        node: &'a str,
        known: Option<Incarnation>,
        cursor: u64,
        lease: Duration,
    ) -> Later<'a, Result<Started, Away>> {
        self.call(move |shared| {
            let floor = shared.state.floor.clone();
            let standing = shared.standing(&self.clock);
            let knows = known == Some(standing.incarnation);
            let cursor = if knows { cursor.min(shared.state.seq) } else { floor.seq };
            shared.lease(node, cursor, lease, &self.clock);
            Started { standing, floor }
        })
    }

    fn read<'a>(
        &'a self,
        node: &'a str,
        incarnation: Incarnation,
        cursor: &'a Cursor,
        lease: Duration,
    ) -> Later<'a, Result<Heard, Away>> {
        self.call(move |shared| shared.read(node, incarnation, cursor, lease, &self.clock))
    }

    fn news(&self, cursor: u64, patience: Duration) -> Later<'_, Result<(), Away>> {
        Box::pin(async move {
            for _ in 0..patience.as_millis() / 2 {
                sleep(Duration::from_millis(2)).await;
                let shared = self.shared.lock().unwrap();
                if shared.down || shared.cut.contains(&self.node) {
                    break;
                }
                if shared.state.seq > cursor {
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    fn renounce(&self, incarnation: Incarnation) -> Later<'_, Result<(), Away>> {
        self.call(move |shared| {
            if shared.standing(&self.clock).incarnation == incarnation {
                shared.another();
            }
        })
    }

    fn append<'a>(&'a self, id: &'a str, purge: &'a [u8]) -> Later<'a, Result<Appended, Away>> {
        self.call(move |shared| {
            shared.place(id, purge, &self.clock);
            shared.trim(&self.clock);
            Appended { standing: shared.standing(&self.clock), first: shared.state.seq }
        })
    }

    fn append_once<'a>(
        &'a self,
        purges: &'a [(String, Vec<u8>)],
        once: &'a Once,
    ) -> Later<'a, Result<Taken, Away>> {
        self.call(move |shared| shared.record(purges, once, &self.clock))
    }

    fn leases(&self) -> Later<'_, Result<(Standing, Vec<Lease>), Away>> {
        let slow = std::mem::take(&mut self.shared.lock().unwrap().slow);
        let asked = self.call(|shared| {
            let lease = |(node, (cursor, until)): (&String, &(u64, u64))| Lease {
                node: node.clone(),
                cursor: *cursor,
                until: *until,
            };
            (shared.standing(&self.clock), shared.state.leases.iter().map(lease).collect())
        });
        Box::pin(async move {
            sleep(Duration::from_millis(slow)).await;
            asked.await
        })
    }

    fn leave<'a>(&'a self, node: &'a str) -> Later<'a, Result<(), Away>> {
        self.call(move |shared| {
            shared.state.leases.remove(node);
        })
    }

    fn forget<'a>(&'a self, lease: &'a Lease) -> Later<'a, Result<(), Away>> {
        self.call(move |shared| {
            if shared.state.leases.get(&lease.node) == Some(&(lease.cursor, lease.until)) {
                shared.state.leases.remove(&lease.node);
            }
        })
    }
}
