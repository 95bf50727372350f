//! The one handle to everything cached: lookup, fill, purge, statistics. It knows no tower, no server and no origin.

mod body;
mod fill;
mod inspect;
pub mod level;
mod order;
mod search;
mod sweep;
mod uncacheable;
mod variants;

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use tokio::sync::watch;

use crate::clock::{Clock, Now};
use crate::config::Store as StoreConfig;
use crate::key::CacheKey;
use crate::policy::{Validity, vary};
use crate::purge::shared::{Followed, Members, Progress};
use crate::purge::{Causer, Fence, Handling, Once, Purge, Recording, Selector, Underway, Where, random_id};
use crate::store::{Backend, MemoryStore, Stats, StoreError};
use crate::stored::{Entry, Position, Selectors, StoredResponse, Variants};

pub use body::{Abandoned, Reader, SharedBody};
pub use fill::{Attach, Begun, Fill, Kept, Leader, Outcome, SharedHead, Want};
pub use inspect::Shown;
pub use level::{Brought, Claimed, Lease, Level};
pub use sweep::Swept;

/// A handle; cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    stores: Vec<Arc<dyn Backend>>,
    levels: Vec<Option<Level>>,
    fence: Arc<Fence>,
    followed: Option<(watch::Receiver<Progress>, Members)>,
    fills: Arc<fill::Fills>,
    uncacheable: uncacheable::Uncacheable,
    clock: Clock,
}

/// What lies under a key.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// Nothing.
    Absent,
    /// Other variants, not this one.
    OtherVariants,
    /// A response, and what the fence says of it.
    Found(Arc<StoredResponse>, Validity),
}

impl Cache {
    /// A cache over memory stores as configured, in the order of the configuration.
    pub fn new(stores: &[Arc<StoreConfig>], clock: Clock) -> Self {
        Self::with_fence(stores, Fence::default(), clock)
    }

    /// The same behind a fence over any log of purges: that of this process, or one that several share.
    pub fn with_fence(stores: &[Arc<StoreConfig>], fence: impl Into<Arc<Fence>>, clock: Clock) -> Self {
        Self::build(memories(stores), Vec::new(), fence.into(), None, clock)
    }

    /// The same with what several nodes share: levels of the stores that have one, in the order of the configuration, and
    /// the log of purges.
    pub fn shared(
        stores: &[Arc<StoreConfig>],
        levels: Vec<Option<Level>>,
        followed: Option<Followed>,
        clock: Clock,
    ) -> Self {
        let (fence, followed) = match followed {
            None => (Arc::default(), None),
            Some(Followed { fence, progress, members }) => (fence, Some((progress, members))),
        };
        Self::build(memories(stores), levels, fence, followed, clock)
    }

    /// A cache over any backends (C1).
    pub fn with_backends(stores: Vec<Arc<dyn Backend>>, clock: Clock) -> Self {
        Self::build(stores, Vec::new(), Arc::default(), None, clock)
    }

    fn build(
        stores: Vec<Arc<dyn Backend>>,
        levels: Vec<Option<Level>>,
        fence: Arc<Fence>,
        followed: Option<(watch::Receiver<Progress>, Members)>,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            stores,
            levels,
            fence,
            followed,
            fills: Arc::default(),
            uncacheable: uncacheable::Uncacheable::default(),
            clock,
        }))
    }

    /// The clock of the cache.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// `current` of a stripe: what a request remembers as the moment of its arrival.
    pub fn current(&self, stripe: u8) -> Position {
        self.0.fence.current(stripe)
    }

    /// What is stored under `key` for a request with these fields, and the key of its variant.
    pub fn lookup(
        &self,
        store: usize,
        key: &CacheKey,
        request: &HeaderMap,
        now: Now,
    ) -> (Lookup, Option<CacheKey>) {
        match self.get(store, key, now) {
            // What is known of a URL whatever its query lies under no key of a request.
            None | Some(Entry::Searches(_) | Entry::Searched(_)) => (Lookup::Absent, None),
            Some(Entry::Response(response)) => (self.judged(response), None),
            Some(Entry::Variants(variants)) => {
                let Some(variant) = variant_key(key, &variants.fields, request) else {
                    return (Lookup::Absent, None);
                };
                match self.get(store, &variant, now) {
                    Some(Entry::Response(response)) => (self.judged(response), Some(variant)),
                    _ => (Lookup::OtherVariants, Some(variant)),
                }
            }
        }
    }

    /// The part that is stored of a response of which nothing whole may be: under `key`, or under that of its variant, as
    /// [`Cache::lookup`] told it.
    pub fn part(
        &self,
        store: usize,
        key: &CacheKey,
        variant: Option<&CacheKey>,
        now: Now,
    ) -> Option<(Arc<StoredResponse>, Validity)> {
        match self.get(store, &variant.unwrap_or(key).part(None)?, now)? {
            Entry::Response(part) => {
                let validity = self.check(&part);
                Some((part, validity))
            }
            _ => None,
        }
    }

    fn get(&self, store: usize, key: &CacheKey, now: Now) -> Option<Entry> {
        self.0.stores.get(store)?.get(key, now)
    }

    fn judged(&self, response: Arc<StoredResponse>) -> Lookup {
        let validity = self.check(&response);
        Lookup::Found(response, validity)
    }

    /// What the fence says of a stored response. A verdict of *valid* is remembered: the next check is one comparison.
    #[inline]
    pub fn check(&self, response: &StoredResponse) -> Validity {
        self.check_for(response, None)
    }

    /// The same for whoever may have caused a soft purge: for them it is a hard one, so that they read what they wrote.
    #[inline]
    pub fn check_for(&self, response: &StoredResponse, by: Option<Causer>) -> Validity {
        let from = response.valid_at();
        let fence = &self.0.fence;
        if !fence.is_shared() {
            if from >= fence.current(response.stripe()) {
                return Validity::Valid;
            }
        } else if !self.is_current() {
            // Nobody knows what was purged meanwhile.
            return Validity::Purged;
        }
        self.check_as_known(response, by)
    }

    /// Whether this node can prove that it knows every purge that it has to obey. Without proof nothing stored is valid.
    pub fn is_current(&self) -> bool {
        let fence = &self.0.fence;
        !fence.is_shared() || fence.is_proven(self.0.clock.now())
    }

    /// What the fence says of a stored response, as far as this node knows the purges.
    pub fn check_as_known(&self, response: &StoredResponse, by: Option<Causer>) -> Validity {
        let (validity, at) = self.0.fence.check(response.selectors(), response.valid_at(), by);
        if validity == Validity::Valid {
            response.remember_valid(at);
        }
        validity
    }

    /// What the fence says of a fill that began at `begun_at`, once its tags are known.
    pub fn check_fill(&self, selectors: &Selectors, begun_at: Position) -> Validity {
        if self.is_current() { self.0.fence.check(selectors, begun_at, None).0 } else { Validity::Purged }
    }

    /// Joins a fill of `key`, or of the variant of it whose key is `variant`, or leads a new one.
    pub fn attach(&self, key: &CacheKey, variant: Option<&CacheKey>, want: Want) -> Attach {
        self.0.fills.attach(key, variant.unwrap_or(key), want)
    }

    /// The fills under way.
    pub fn fills_in_flight(&self) -> usize {
        self.0.fills.leaders()
    }

    /// Begins a fill: loads `current` and takes a ticket. The origin is contacted only after this.
    pub fn begin(&self, leader: &mut Leader, stripe: u8) -> Begun {
        leader.begin(|| self.0.fence.current(stripe))
    }

    /// Makes a complete response visible under its key, unless a newer fill of the key was first. Where the response has
    /// variants, `variant` gives the fields that tell them apart and the key of this one. A 206 becomes the one part of its
    /// variant; a whole response takes the place of the part too. Of the two, none hides a newer one of another representation.
    ///
    /// # Errors
    /// Where the store does not take it. The page is not affected.
    pub fn commit(
        &self,
        leader: &mut Leader,
        store: usize,
        key: &CacheKey,
        response: Arc<StoredResponse>,
        variant: Option<(Vec<http::HeaderName>, CacheKey)>,
    ) -> Result<(), StoreError> {
        let Some(backend) = self.0.stores.get(store) else {
            return Err(StoreError::Failed("no such store".into()));
        };
        let now = self.0.clock.now();
        let whole = variant.as_ref().map_or(key, |(_, place)| place);
        let part = whole.part(None);
        let place = match (&part, response.status) {
            (Some(part), StatusCode::PARTIAL_CONTENT) => part,
            (None, StatusCode::PARTIAL_CONTENT) => {
                return Err(StoreError::Failed("the key is too long".into()));
            }
            _ => whole,
        };
        leader.commit(place, variant.is_some(), || {
            let beside = if place == whole { part.as_ref() } else { Some(whole) };
            let there = beside.and_then(|beside| Some((beside, backend.get(beside, now)?)));
            if let Some((beside, Entry::Response(there))) = there {
                if there.outdates(&response) {
                    return Ok(());
                }
                // It would hide the part.
                if place == whole || response.outdates(&there) {
                    backend.remove(beside);
                }
            }
            if let Some((fields, _)) = &variant {
                // Under the lock of the key's fills: no variant that is stored at the same time is forgotten.
                let (variants, gone) =
                    variants::with(self.variants(store, key, now), fields, whole, &response);
                for place in gone {
                    backend.remove(&place);
                    place.part(None).iter().for_each(|part| backend.remove(part));
                }
                backend.put(key.clone(), Entry::Variants(Arc::new(variants)), now)?;
            }
            backend.put(place.clone(), Entry::Response(response.clone()), now)
        })?;
        if response.status != StatusCode::PARTIAL_CONTENT {
            self.make_findable(store, key, &response, now);
        }
        Ok(())
    }

    /// Puts `new`, or nothing, at `place` (`key`, or that of a variant) where `old` still is, unless a newer fill of the key was first.
    ///
    /// # Errors
    /// Where the store does not take it.
    pub fn replace(
        &self,
        leader: &mut Leader,
        store: usize,
        key: &CacheKey,
        place: &CacheKey,
        old: &Arc<StoredResponse>,
        new: Option<Arc<StoredResponse>>,
    ) -> Result<(), StoreError> {
        let Some(backend) = self.0.stores.get(store) else {
            return Err(StoreError::Failed("no such store".into()));
        };
        let now = self.0.clock.now();
        let old = Entry::Response(old.clone());
        let forgotten = new.is_none() && self.level(store).is_some();
        // All commits of a key are under its lock: nobody puts another in between.
        leader.commit(place, place != key, || match new {
            _ if !backend.get(place, now).is_some_and(|entry| entry.is_same(&old)) => Ok(()),
            Some(new) => backend.put(place.clone(), Entry::Response(new), now),
            None => {
                backend.remove(place);
                Ok(())
            }
        })?;
        if forgotten {
            // Others have it too, in memory and in the level that they share.
            let purge = Purge::hard(vec![Selector::Key(key.clone())], Where::All);
            drop(self.purge_as(random_id(), purge, Handling::Insist));
        }
        Ok(())
    }

    /// The fields that tell the stored variants of `key` apart, if there are any.
    pub fn variants(&self, store: usize, key: &CacheKey, now: Now) -> Option<Arc<Variants>> {
        match self.get(store, key, now)? {
            Entry::Variants(variants) => Some(variants),
            _ => None,
        }
    }

    /// Whether the last answer under `key` could not be stored, which is remembered for a short time.
    pub fn is_uncacheable(&self, key: &CacheKey, now: Now) -> bool {
        self.0.uncacheable.holds(key, now)
    }

    /// Remembers that the answer under `key` could not be stored, so that the next requests do not queue for it.
    pub fn remember_uncacheable(&self, key: &CacheKey, now: Now) {
        self.0.uncacheable.remember(key, now);
    }

    /// Purges: once that is acknowledged, no response whose fill began before is served any more. Where the log is this
    /// process's own, it is so when this returns.
    pub fn purge(&self, selectors: &[Selector], whose: &Where) -> Underway {
        self.purge_with(&Purge::hard(selectors.to_vec(), whose.clone()))
    }

    /// The same, hard or soft.
    pub fn purge_with(&self, purge: &Purge) -> Underway {
        self.purge_as(random_id(), purge.clone(), Handling::Report)
    }

    /// The same under an id, by which whoever hears of no acknowledgement asks again.
    pub fn purge_as(&self, id: String, purge: Purge, handling: Handling) -> Underway {
        let everything = purge == Purge::hard(vec![Selector::Everything], Where::All);
        let underway = self.0.fence.hand_over(id, purge, handling, self.0.clock.now());
        if everything {
            // Nothing of it can be of use any more: its memory need not wait for the sweeper.
            self.0.stores.iter().for_each(|store| store.clear());
            self.0.levels.iter().flatten().for_each(Level::clear);
        }
        underway
    }

    /// The same for all purges of an event, which the log that several nodes share remembers. `None`: the log is this process's own.
    pub fn purge_once(&self, purges: Vec<(String, Purge)>, once: Once) -> Option<Recording> {
        self.0.fence.hand_over_once(purges, once)
    }

    /// How far this node has followed the log that several share.
    pub fn progress(&self) -> Option<Progress> {
        self.0.followed.as_ref().map(|(progress, _)| *progress.borrow())
    }

    /// The nodes that follow the log that several share.
    pub fn members(&self) -> Option<&Members> {
        self.0.followed.as_ref().map(|(_, members)| members)
    }

    /// The fence, for figures and for those who take its steps one by one.
    pub fn fence(&self) -> &Fence {
        &self.0.fence
    }

    /// The same, for the follower of a shared log.
    pub fn shared_fence(&self) -> Arc<Fence> {
        self.0.fence.clone()
    }

    /// Where the oldest fill under way began.
    pub fn oldest_fill(&self) -> Option<Position> {
        self.0.fills.oldest()
    }

    /// Figures of every store, in the order of the configuration.
    pub fn stats(&self) -> Vec<Stats> {
        self.0.stores.iter().map(|store| store.stats()).collect()
    }
}

fn memories(stores: &[Arc<StoreConfig>]) -> Vec<Arc<dyn Backend>> {
    stores.iter().map(|store| Arc::new(MemoryStore::new(store)) as Arc<dyn Backend>).collect()
}

/// The key of the variant that a request with these fields gets.
pub fn variant_key(key: &CacheKey, fields: &[http::HeaderName], request: &HeaderMap) -> Option<CacheKey> {
    let values: Vec<_> =
        fields.iter().map(|name| (name.clone(), vary::selecting_value(request, name))).collect();
    key.variant(&values)
}
