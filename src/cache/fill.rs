//! Fills: one leader per key, waiters who join it, and the order among fills of one key.
//!
//! Drop is the protocol: a leader that is dropped before it answered has failed, and wakes its waiters with that.
//! An older fill never overwrites a newer one: fills take a ticket when they begin, and the tickets committed are
//! remembered for as long as any fill of the key or of a variant of it is alive (see `order`). Tickets and `begun_at` of
//! one key grow together, because both are taken under the key's lock.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::{HeaderMap, HeaderName, StatusCode};
use tokio::sync::watch;

use super::body::SharedBody;
use super::order::Order;
use crate::error::{Error, ErrorKind};
use crate::key::{CacheKey, PreparedState};
use crate::policy::Reason;
use crate::store::StoreError;
use crate::stored::{Position, Selectors, StoredResponse};

/// Locks over the running fills. (`Default` for arrays ends at 32 elements.)
const SHARDS: usize = 32;

/// All running fills.
#[derive(Default)]
pub(super) struct Fills {
    shards: [Mutex<Shard>; SHARDS],
    tickets: AtomicU64,
}

/// The families of some keys.
#[derive(Default)]
struct Shard {
    families: HashMap<CacheKey, Family, PreparedState>,
    /// Where the leaders alive began, and how many at each place: what they fetch may still be stored.
    begun: BTreeMap<Position, usize>,
}

impl Shard {
    fn began(&mut self, at: Position) {
        *self.begun.entry(at).or_default() += 1;
    }

    fn ended(&mut self, at: Position) {
        if let Entry::Occupied(mut began) = self.begun.entry(at) {
            *began.get_mut() -= 1;
            if *began.get() == 0 {
                began.remove();
            }
        }
    }
}

/// The running fills of one key and of its variants.
#[derive(Default)]
struct Family {
    slots: HashMap<CacheKey, Slot, PreparedState>,
    order: Order,
    /// Leaders alive.
    leaders: usize,
}

#[derive(Default)]
struct Slot {
    /// The newest fill that began, or is about to.
    running: Option<Arc<Fill>>,
    /// The fill that begins when it is known how `running`, a busting one, came out.
    next: Option<Arc<Fill>>,
    /// Leaders alive.
    leaders: usize,
}

/// Which fill a request accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Any that runs. Whether its answer may be used is seen when its tags are known.
    Any,
    /// One that begins at this position or later: after an older one proved purged.
    Since(Position),
    /// One that begins after this call (`bust_cache`).
    New,
}

/// The part that a request plays.
pub enum Attach {
    /// It leads: whoever holds the leader sees to the exchange with the origin.
    Lead(Leader),
    /// It waits.
    Join(Arc<Fill>),
}

/// What a fill knows once it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// `current` before the origin was contacted.
    pub at: Position,
    /// The same for the oldest of the content that comes of it, where not all of that is new.
    pub since: Position,
    /// Its order among the fills of the key.
    pub ticket: u64,
}

/// The head of an answer that waiters may share, if it fits them.
#[derive(Debug)]
pub struct SharedHead {
    /// The status.
    pub status: StatusCode,
    /// The fields to send on.
    pub headers: HeaderMap,
    /// The fields that select.
    pub vary: Vec<HeaderName>,
    /// The key of the variant that was fetched, where `vary` has fields.
    pub variant: Option<CacheKey>,
    /// Which purges cover it.
    pub selectors: Selectors,
    /// The body, still coming in.
    pub body: Arc<SharedBody>,
    /// Whether it is going to be stored (a body beyond the limit is shared, not stored).
    pub stored: bool,
}

/// A stored response that a fill came out with.
#[derive(Debug)]
pub struct Kept {
    /// The response.
    pub response: Arc<StoredResponse>,
    /// Validated, or fresh: brought by another fill meanwhile.
    pub how: Reason,
    /// Whether this fill brought it from the level that several nodes share.
    pub brought: bool,
    /// The fields that select.
    pub vary: Vec<HeaderName>,
    /// The key of the variant that it is, where `vary` has fields.
    pub variant: Option<CacheKey>,
}

/// How a fill came out, as soon as that is known.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A new answer that may be shared.
    Streaming(Arc<SharedHead>),
    /// A stored response: validated by a 304, or stored by another fill meanwhile.
    Stored(Arc<Kept>),
    /// The answer, with this status, may not be shared: everybody asks for themselves.
    NotShared(Reason, StatusCode),
    /// There is no answer.
    Failed(Error),
}

/// One fill, as its waiters see it.
#[derive(Debug)]
pub struct Fill {
    begun: OnceLock<Begun>,
    busting: bool,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Fill {
    fn new(busting: bool) -> Arc<Self> {
        Arc::new(Self { begun: OnceLock::new(), busting, outcome: watch::Sender::new(None) })
    }

    /// Where it began; `None`: it did not yet, so it is younger than any request that sees it so.
    pub fn begun(&self) -> Option<Begun> {
        self.begun.get().copied()
    }

    /// How it came out, as soon as that is known.
    pub async fn outcome(&self) -> Outcome {
        let mut outcome = self.outcome.subscribe();
        let known = outcome.wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
        known.unwrap_or_else(|| Outcome::Failed(abandoned()))
    }
}

fn abandoned() -> Error {
    Error::new(ErrorKind::Internal, "the request that this one waited for was given up")
}

impl Fills {
    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(key.hash64() >> 32).unwrap_or_default() % self.shards.len();
        // A backend that panics under this lock costs its entry: the bookkeeping is whole before it is called.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `what` while no fill of `key` takes a step and nobody else is here with the same key.
    pub(super) fn alone<T>(&self, key: &CacheKey, what: impl FnOnce() -> T) -> T {
        let _shard = self.shard(key);
        what()
    }

    /// The next place in the order of fills.
    pub(super) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn attach(self: &Arc<Self>, key: &CacheKey, place: &CacheKey, want: Want) -> Attach {
        let mut shard = self.shard(key);
        let slot = shard.families.get(key).and_then(|family| family.slots.get(place));
        if let Some(fill) = slot.and_then(|slot| slot.joinable(want)) {
            return Attach::Join(fill);
        }
        let family = shard.families.entry(key.clone()).or_default();
        family.leaders += 1;
        let slot = family.slots.entry(place.clone()).or_default();
        slot.leaders += 1;
        let fill = Fill::new(want == Want::New);
        // Busts are asked one after the other: all that arrive while one is under way share the next.
        let after = slot.running.clone().filter(|running| want == Want::New && running.busting);
        match &after {
            Some(_) => slot.next = Some(fill.clone()),
            None => slot.running = Some(fill.clone()),
        }
        let (fills, key, place) = (self.clone(), key.clone(), place.clone());
        Attach::Lead(Leader { fills, key, place, fill, after })
    }

    /// The leaders alive.
    pub(super) fn leaders(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        shards.map(|shard| shard.families.values().map(|family| family.leaders).sum::<usize>()).sum()
    }

    /// Where the oldest of the leaders alive began. One that is not seen yet begins after this call, shard by shard.
    pub(super) fn oldest(&self) -> Option<Position> {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        shards.filter_map(|shard| shard.begun.first_key_value().map(|(at, _)| *at)).min()
    }
}

impl Slot {
    /// This fill takes no new waiter.
    fn leave(&mut self, fill: &Arc<Fill>) {
        for waiting in [&mut self.running, &mut self.next] {
            if waiting.as_ref().is_some_and(|waiting| Arc::ptr_eq(waiting, fill)) {
                *waiting = None;
            }
        }
    }

    /// The fill that a request with this wish may wait for. A superseded fill takes no new waiter.
    fn joinable(&self, want: Want) -> Option<Arc<Fill>> {
        let running = self.running.as_ref();
        match want {
            Want::Any => running.or(self.next.as_ref()).cloned(),
            Want::Since(position) => running
                .filter(|fill| fill.begun().is_none_or(|begun| begun.at >= position))
                .or(self.next.as_ref())
                .cloned(),
            Want::New => running.filter(|f| f.busting && f.begun().is_none()).or(self.next.as_ref()).cloned(),
        }
    }
}

/// The right and the duty to answer a fill. Dropped unanswered, the fill has failed.
pub struct Leader {
    fills: Arc<Fills>,
    key: CacheKey,
    /// The key itself, or that of a variant.
    place: CacheKey,
    fill: Arc<Fill>,
    after: Option<Arc<Fill>>,
}

impl Leader {
    /// Where what comes of it will lie: the key, or that of the variant.
    pub fn place(&self) -> &CacheKey {
        &self.place
    }

    /// The fill, to wait for like everybody else.
    pub fn fill(&self) -> Arc<Fill> {
        self.fill.clone()
    }

    /// Waits until it is this fill's turn: until it is known how the one before came out, not until its body has come,
    /// which its readers may hold up for as long as they like.
    pub async fn turn(&mut self) {
        if let Some(before) = self.after.take() {
            before.outcome().await;
            let mut shard = self.fills.shard(&self.key);
            let family = shard.families.get_mut(&self.key);
            if let Some(slot) = family.and_then(|family| family.slots.get_mut(&self.place)) {
                slot.next = None;
                slot.running = Some(self.fill.clone());
            }
        }
    }

    pub(super) fn begin(&mut self, current: impl FnOnce() -> Position) -> Begun {
        // Under the lock, for two reasons. Of two fills the one with the later ticket has no lower `begun_at`, so that what
        // is stored last is never what a purge covers first. And whoever finds this fill not begun joins it before
        // `current` is loaded, so that its `begun_at` is no lower than what they loaded when they came.
        // And a third: a sweep that does not see it here is before it, and raised `current` before that.
        let mut shard = self.fills.shard(&self.key);
        *self.fill.begun.get_or_init(|| {
            let ticket = self.fills.ticket();
            let at = current();
            shard.began(at);
            Begun { at, since: at, ticket }
        })
    }

    /// Takes no new waiter. Called before the end of the answer is shown: whoever has seen it and asks again finds what was
    /// stored, or asks anew, and never gets what was over before.
    pub fn close(&self) {
        let mut shard = self.fills.shard(&self.key);
        let slot = shard.families.get_mut(&self.key).and_then(|family| family.slots.get_mut(&self.place));
        if let Some(slot) = slot {
            slot.leave(&self.fill);
        }
    }

    /// Tells everybody how it came out. Only the first word counts.
    pub fn answer(&self, outcome: Outcome) {
        if !matches!(outcome, Outcome::Streaming(_)) {
            self.close();
        }
        self.fill.outcome.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(outcome);
            }
            first
        });
    }

    pub(super) fn commit(
        &mut self,
        place: &CacheKey,
        varies: bool,
        put: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(begun) = self.fill.begun() else { return Ok(()) };
        let mut shard = self.fills.shard(&self.key);
        let Some(family) = shard.families.get_mut(&self.key) else { return Ok(()) };
        if !family.order.admits(begun.ticket, &self.key, place, varies) {
            return Ok(());
        }
        // Under the lock: compare and put are one step.
        put()
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.answer(Outcome::Failed(abandoned()));
        let mut shard = self.fills.shard(&self.key);
        if let Some(begun) = self.fill.begun() {
            shard.ended(begun.at);
        }
        let Some(family) = shard.families.get_mut(&self.key) else { return };
        family.leaders -= 1;
        if let Some(slot) = family.slots.get_mut(&self.place) {
            slot.leaders -= 1;
            slot.leave(&self.fill);
            if slot.leaders == 0 {
                family.slots.remove(&self.place);
            }
        }
        if family.leaders == 0 {
            shard.families.remove(&self.key);
        }
    }
}
