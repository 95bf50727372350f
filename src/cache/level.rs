//! The level of a store that several nodes share: entries come from there when memory has nothing to serve, go there when
//! they are stored, and a lease there sees to it that of all nodes one asks the origin.
//!
//! Invariants: what comes from there is judged by the fence like anything that is stored, from the position that stands in
//! it, and counts for nothing where that is of another incarnation of the log; nothing here fails a page, and nothing waits
//! for longer than the level's own deadlines, but for another node's fill, as long as that keeps its lease.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::watch;

use super::{Cache, Lookup, variant_key};
use crate::clock::Now;
use crate::config::SharedLevel;
use crate::key::{CacheKey, PreparedState};
use crate::purge::{Coverage, Mark};
use crate::store::{Begin, Claim, Committed, Health, NO_TICKET, Offer, Shared, SharedError};
use crate::stored::seal::Seal;
use crate::stored::wire::{self, Decoded, Place, Portable, Received};
use crate::stored::{Entry, StoredResponse, Variants, WallMap};

/// How long a lease lasts unless it is renewed: so long do others wait for a node that is gone.
const LEASE: Duration = Duration::from_millis(500);
/// For so long the server's clock is believed to run as this node's does.
const CLOCK_HOLDS: Duration = Duration::from_secs(10);
/// What an entry takes besides its body at most: fields, tags, the frame.
const HEAD: u64 = 1 << 20;

/// A shared level.
pub struct Level {
    shared: Arc<dyn Shared>,
    seal: Seal,
    prefix: String,
    /// The longest that an entry stays there.
    ttl: Option<Duration>,
    max_object: u64,
    /// How the server's clock runs, and when that was learnt.
    map: Mutex<Option<(WallMap, Duration)>>,
    /// What is being brought.
    coming: Mutex<HashMap<CacheKey, watch::Receiver<Option<Found>>, PreparedState>>,
}

/// What came of a look into the level: the entry, and its ticket.
type Found = Option<(Entry, u64)>;

/// What is there for a request.
pub struct Brought {
    /// As a look-up in memory would tell it.
    pub lookup: Lookup,
    /// The key of the request's variant.
    pub variant: Option<CacheKey>,
    /// The greatest ticket of the entries that were found; 0: none was.
    pub ticket: u64,
}

/// What became of the wish to fill a place for all nodes.
pub enum Claimed {
    /// This node asks the origin.
    Lead(Lease),
    /// Another node stored something meanwhile: its ticket.
    Newer(u64),
    /// Another node asks; it may be worth waiting.
    Held,
    /// Every node asks for itself: what comes is not for all, or the level is away.
    Alone,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is whole at every point at which a panic could leave it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Level {
    /// A level over these bytes.
    pub fn new(shared: Arc<dyn Shared>, config: &SharedLevel, seal: Seal) -> Self {
        Self {
            shared,
            seal,
            prefix: config.redis.prefix.clone(),
            ttl: config.ttl,
            max_object: config.max_object,
            map: Mutex::default(),
            coming: Mutex::default(),
        }
    }

    /// What an entry of a level takes at most, raw: for its seal.
    pub fn max_raw(max_object: u64) -> usize {
        usize::try_from(max_object.saturating_add(HEAD)).unwrap_or(usize::MAX)
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Removes all that is there.
    pub fn clear(&self) {
        let (clearing, prefix) = (self.shared.clear(), self.prefix.clone());
        // In the background: nothing of it is served any more, it only takes room.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            match clearing.await {
                Ok(removed) => tracing::info!(prefix, removed, "the shared level is cleared"),
                Err(error) => tracing::warn!(prefix, %error, "the shared level was not cleared"),
            }
        });
    }

    async fn clock(&self, now: Now, cache: &Cache) -> Result<WallMap, SharedError> {
        if let Some((map, learnt)) = *lock(&self.map)
            && now.mono < learnt.saturating_add(CLOCK_HOLDS)
        {
            return Ok(map);
        }
        let sent = cache.clock().now();
        let wall = self.shared.time().await?;
        let answered = cache.clock().now();
        let map = WallMap::new(sent.mono, answered.mono, wall);
        *lock(&self.map) = Some((map, answered.mono));
        Ok(map)
    }
}

/// The duty to fill a place for all nodes. Dropped, it ends.
pub struct Lease {
    shared: Arc<dyn Shared>,
    name: String,
    token: String,
    ticket: u64,
    renewing: tokio::task::AbortHandle,
    /// Whether it ended already.
    over: AtomicBool,
}

impl Lease {
    fn new(shared: Arc<dyn Shared>, name: String, token: String, ticket: u64) -> Self {
        let (renewed, held, by) = (shared.clone(), name.clone(), token.clone());
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LEASE / 3).await;
                // A renewal that fails costs at most another request to the origin.
                if let Ok(false) = renewed.renew(&held, &by, LEASE).await {
                    return;
                }
            }
        });
        Self { shared, name, token, ticket, renewing: renewing.abort_handle(), over: AtomicBool::new(false) }
    }

    /// What comes is not for all, or takes long: nobody on another node waits for it any longer.
    pub fn not_for_all(&self) {
        self.end("own");
    }

    fn end(&self, word: &'static str) {
        self.renewing.abort();
        if self.over.swap(true, Ordering::SeqCst) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let ending = self.shared.release(&self.name, &self.token, word);
        runtime.spawn(async move {
            // It ends by itself otherwise.
            let _ = ending.await;
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end("");
    }
}

impl Cache {
    /// The shared level of a store.
    pub fn level(&self, store: usize) -> Option<&Level> {
        self.0.levels.get(store)?.as_ref()
    }

    /// What the shared level has for a request with these fields. What is of use comes into memory.
    pub async fn bring(&self, coverage: &Coverage<'_>, request: &HeaderMap, now: Now) -> Brought {
        let nothing = Brought { lookup: Lookup::Absent, variant: None, ticket: 0 };
        let Some(level) = self.level(coverage.store) else { return nothing };
        match self.found(level, coverage, coverage.key, now).await {
            None | Some((Entry::Searches(_) | Entry::Searched(_), _)) => nothing,
            Some((Entry::Response(response), ticket)) => {
                Brought { lookup: self.judged(response), variant: None, ticket }
            }
            Some((Entry::Variants(variants), ticket)) => {
                let Some(own) = variant_key(coverage.key, &variants.fields, request) else { return nothing };
                let (lookup, ticket) = match self.found(level, coverage, &own, now).await {
                    Some((Entry::Response(response), ticket)) => (self.judged(response), ticket),
                    _ => (Lookup::OtherVariants, ticket),
                };
                Brought { lookup, variant: Some(own), ticket }
            }
        }
    }

    /// The entry at a place. Of those who want it at once one asks for it.
    async fn found(&self, level: &Level, coverage: &Coverage<'_>, place: &CacheKey, now: Now) -> Found {
        let joined = {
            let mut coming = lock(&level.coming);
            match coming.get(place) {
                Some(known) => Err(known.clone()),
                None => {
                    let (tell, told) = watch::channel(None);
                    coming.insert(place.clone(), told);
                    Ok(tell)
                }
            }
        };
        match joined {
            Ok(tell) => {
                let arriving = Arriving { level, place };
                let found = self.asked(level, coverage, place, now).await;
                drop(arriving);
                tell.send_replace(Some(found.clone()));
                found
            }
            Err(mut told) => {
                let found = told.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
                // Whoever asked for it left before it came.
                match found {
                    Some(found) => found,
                    None => self.asked(level, coverage, place, now).await,
                }
            }
        }
    }

    async fn asked(&self, level: &Level, coverage: &Coverage<'_>, place: &CacheKey, now: Now) -> Found {
        let map = level.clock(now, self).await.ok()?;
        let name = place.shared_name(&level.prefix);
        let most = level.seal.max_raw().saturating_add(4096);
        let bytes = level.shared.get(&name, most).await.ok()??;
        match wire::decode(&bytes, place, self.0.clock.now(), &map, &level.seal) {
            Ok((at, decoded)) => Some((self.own(coverage, place, &at, decoded)?, at.ticket)),
            Err(why) => {
                tracing::debug!(name, ?why, "an entry of the shared level is not used");
                None
            }
        }
    }

    /// An entry of the shared level as one of this node's. `None`: it is of another incarnation of the log.
    fn own(&self, coverage: &Coverage<'_>, place: &CacheKey, at: &Place, decoded: Decoded) -> Option<Entry> {
        let position = |seq| self.0.fence.position(Mark { incarnation: at.incarnation, seq });
        let (begun_at, since) = (position(at.seq)?, position(at.since)?);
        let entry = match decoded {
            Decoded::Variants(variants) => Entry::Variants(Arc::new(variants)),
            Decoded::Response(received) => {
                let Received { status, headers, body, freshness, tags, stored_wall_ms } = *received;
                let (selectors, ticket) = (coverage.selectors(tags), self.0.fills.ticket());
                let mut response = StoredResponse::new(
                    status,
                    &headers,
                    body,
                    freshness,
                    begun_at,
                    ticket,
                    selectors,
                    stored_wall_ms,
                );
                response.since = since;
                response.set_came(self.0.clock.now().mono);
                Entry::Response(Arc::new(response))
            }
        };
        self.keep(coverage, place, &entry);
        Some(entry)
    }

    /// Takes an entry into memory, unless what is there came later.
    fn keep(&self, coverage: &Coverage<'_>, place: &CacheKey, entry: &Entry) {
        let Some(backend) = self.0.stores.get(coverage.store) else { return };
        let now = self.0.clock.now();
        self.0.fills.alone(coverage.key, || {
            let is_newer = match (backend.get(place, now), entry) {
                (Some(Entry::Response(there)), Entry::Response(new)) => {
                    self.check(&there) == crate::policy::Validity::Valid
                        && there.freshness().received >= new.freshness().received
                }
                (Some(Entry::Variants(there)), Entry::Variants(new)) => there.fields == new.fields,
                _ => false,
            };
            if !is_newer {
                // Memory that does not take it leaves it where it is.
                let _ = backend.put(place.clone(), entry.clone(), now);
            }
        });
    }

    /// Asks to fill a place for all nodes. `seen` is the ticket of what is known to be no good; `anew`: nothing that anybody
    /// began before is good enough.
    pub async fn claim(&self, store: usize, place: &CacheKey, token: &str, seen: u64, anew: bool) -> Claimed {
        let Some(level) = self.level(store) else { return Claimed::Alone };
        let name = place.shared_name(&level.prefix);
        let (seen, over) = if anew { (NO_TICKET, NO_TICKET) } else { (seen, 0) };
        let claim = Claim { token: token.to_owned(), lease: LEASE, seen, over, word: "" };
        let sent = self.0.clock.now();
        match level.shared.begin(&name, claim).await {
            Ok(Begin::Lead { ticket, time }) => {
                let answered = self.0.clock.now();
                *lock(&level.map) = Some((WallMap::new(sent.mono, answered.mono, time), answered.mono));
                Claimed::Lead(Lease::new(level.shared.clone(), name, token.to_owned(), ticket))
            }
            Ok(Begin::Newer(ticket)) => Claimed::Newer(ticket),
            Ok(Begin::Held { word, .. }) if word.is_empty() => Claimed::Held,
            Ok(Begin::Held { .. }) | Err(_) => Claimed::Alone,
        }
    }

    /// Offers what was stored to all nodes: a response at its place, and where it is a variant the list of them at `key`.
    pub async fn share(
        &self,
        lease: &Lease,
        store: usize,
        key: &CacheKey,
        variant: Option<&(Vec<http::HeaderName>, CacheKey)>,
        response: &StoredResponse,
    ) {
        let Some(level) = self.level(store) else { return };
        if response.body.len() as u64 > level.max_object {
            return;
        }
        let now = self.0.clock.now();
        let Ok(map) = level.clock(now, self).await else { return };
        let (at, since) = (self.0.fence.mark(response.begun_at), self.0.fence.mark(response.since));
        let Some((at, since)) = at.zip(since) else { return };
        let at = Place { incarnation: at.incarnation, seq: at.seq, since: since.seq, ticket: lease.ticket };
        let place = variant.map_or(key, |(_, place)| place);
        self.offer(level, lease, place, Portable::Response(response), &at, &map).await;
        if let Some((fields, place)) = variant {
            let variants = self.variants(store, key, now).unwrap_or_else(|| {
                let member = crate::stored::Member { place: place.clone(), ticket: 0, language: None };
                let until = response.freshness().useless_after();
                Arc::new(Variants { fields: fields.clone(), members: vec![member], until })
            });
            self.offer(level, lease, key, Portable::Variants(&variants), &at, &map).await;
        }
    }

    async fn offer(
        &self,
        level: &Level,
        lease: &Lease,
        place: &CacheKey,
        entry: Portable<'_>,
        at: &Place,
        map: &WallMap,
    ) {
        let until = match &entry {
            Portable::Response(response) => response.freshness().useless_after(),
            Portable::Variants(variants) => variants.until,
        };
        let now = self.0.clock.now();
        let left = until.map(|until| until.saturating_sub(now.mono));
        let stay = match (left, level.ttl) {
            (Some(left), Some(ttl)) => Some(left.min(ttl)),
            (left, ttl) => left.or(ttl),
        };
        if stay == Some(Duration::ZERO) {
            return;
        }
        let name = place.shared_name(&level.prefix);
        let done = match wire::encode(entry, place, at, map, &level.seal) {
            Ok(bytes) => {
                let offer =
                    Offer { ticket: at.ticket, bytes: Bytes::from(bytes), stay, token: lease.token.clone() };
                level.shared.commit(&name, offer).await.map_err(|error| error.to_string())
            }
            Err(why) => Err(format!("{why:?}")),
        };
        match done {
            // What was kept under the lease's own name ended it.
            Ok(Committed::Kept) => lease.over.store(name == lease.name, Ordering::SeqCst),
            Ok(Committed::Older) => tracing::debug!(name, "another node stored something newer"),
            Err(why) => tracing::debug!(name, %why, "a response did not get into the shared level"),
        }
    }
}

/// Somebody brings an entry. Dropped, nobody waits for it any longer.
struct Arriving<'a> {
    level: &'a Level,
    place: &'a CacheKey,
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        lock(&self.level.coming).remove(self.place);
    }
}
