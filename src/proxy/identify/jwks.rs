//! Key sets behind URLs: fetched at first use, kept fresh while they are used, fetched anew for an unknown key id.
//!
//! Invariants: one fetch of a set at a time and at most one in ten seconds, whatever tokens come; a fetch that fails
//! keeps the last good set; a set that changed starts a new epoch, in which remembered tokens are verified again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use jsonwebtoken::Algorithm;

use super::FetchJwks;
use super::flight::Flight;
use super::keys::{self, SetKey};
use crate::clock::{Clock, Now};
use crate::config::JwksUrl;

/// The least time between two fetches of one set.
const PAUSE: Duration = Duration::from_secs(10);

/// A key set and how it is fetched.
pub(super) struct KeySet {
    source: JwksUrl,
    algorithms: Vec<Algorithm>,
    keys: ArcSwapOption<Keys>,
    /// When it is fetched anew without a reason, in milliseconds of the monotonic clock.
    due: AtomicU64,
    attempt: Mutex<Attempt>,
    fetcher: Arc<dyn FetchJwks>,
    clock: Clock,
    /// Counts the changes of all sets.
    epoch: Arc<AtomicU64>,
}

/// The keys of one good fetch.
pub(super) struct Keys {
    pub(super) list: Vec<SetKey>,
    json: Bytes,
}

#[derive(Default)]
struct Attempt {
    /// When the last one began.
    began: Option<Duration>,
    flight: Option<Flight<()>>,
}

impl KeySet {
    pub(super) fn new(
        source: JwksUrl,
        algorithms: Vec<Algorithm>,
        fetcher: Arc<dyn FetchJwks>,
        clock: Clock,
        epoch: Arc<AtomicU64>,
    ) -> Arc<Self> {
        Arc::new(Self {
            source,
            algorithms,
            keys: ArcSwapOption::empty(),
            due: AtomicU64::new(u64::MAX), // the first token fetches it
            attempt: Mutex::default(),
            fetcher,
            clock,
            epoch,
        })
    }

    /// The keys of the last good fetch.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    /// Whether asking for a fetch would do anything now.
    pub(super) fn may_fetch(&self, now: Now) -> bool {
        let attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        attempt.flight.as_ref().is_some_and(|f| !f.is_over()) || rested(&attempt, now)
    }

    /// Fetches the set, or waits for the fetch that is under way. Nothing where the last one is too recent.
    pub(super) async fn fetch(self: Arc<Self>) {
        if let Some(flight) = self.start() {
            flight.result().await;
        }
    }

    /// Fetches the set behind the request's back where that is due.
    pub(super) fn keep_fresh(self: &Arc<Self>, now: Now) {
        if millis(now.mono) >= self.due.load(Ordering::Relaxed) {
            self.start();
        }
    }

    fn start(self: &Arc<Self>) -> Option<Flight<()>> {
        let now = self.clock.now();
        let mut attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = attempt.flight.as_ref().filter(|f| !f.is_over()) {
            return Some(running.clone());
        }
        if !rested(&attempt, now) {
            return None;
        }
        attempt.began = Some(now.mono);
        self.due.store(millis(now.mono.saturating_add(PAUSE)), Ordering::Relaxed); // should it fail
        attempt.flight = Flight::start(self.clone().run());
        attempt.flight.clone()
    }

    async fn run(self: Arc<Self>) {
        let json = match self.fetcher.fetch(&self.source.url).await {
            Ok(json) => json,
            Err(error) => return tracing::warn!(url = %self.source.url, %error, "no key set"),
        };
        let Some(list) = keys::set(&json, &self.algorithms).filter(|list| !list.is_empty()) else {
            return tracing::warn!(url = %self.source.url, "a key set without a usable key is ignored");
        };
        let changed = self.keys.load().as_ref().is_none_or(|old| old.json != json);
        self.keys.store(Some(Arc::new(Keys { list, json })));
        if changed {
            self.epoch.fetch_add(1, Ordering::SeqCst);
        }
        let due = self.clock.now().mono.saturating_add(self.source.refresh.max(PAUSE));
        self.due.store(millis(due), Ordering::Relaxed);
    }
}

fn rested(attempt: &Attempt, now: Now) -> bool {
    attempt.began.is_none_or(|began| now.mono >= began.saturating_add(PAUSE))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
