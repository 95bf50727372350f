//! One fill for all nodes: before the origin is asked, a lease of the shared level, or what another node's fill brought.

use std::time::Duration;

use super::job::FillTask;
use super::{Again, Inner};
use crate::cache::{Claimed, Lease, Lookup};
use crate::key::CacheKey;
use crate::policy::Validity;
use crate::purge::random_id;

/// How long between two looks at another node's fill, at first and at most.
const FIRST: Duration = Duration::from_millis(4);
const LAST: Duration = Duration::from_millis(50);

/// What the shared level said.
#[derive(Default)]
pub(super) struct Claim {
    /// This node fills for all.
    pub(super) lease: Option<Lease>,
    /// What another node stored.
    pub(super) brought: Option<(Lookup, Option<CacheKey>)>,
}

impl<S: Inner> FillTask<S> {
    /// Asks to fill for all nodes, and waits for another node that does, for no longer than the origin might take.
    pub(super) async fn claim(&mut self) -> Claim {
        let (job, cache) = (&self.job, &self.shared.cache);
        let store = job.caching.tier.store;
        // Parts and answers to HEAD stay with the node that asked for them.
        if cache.level(store).is_none() || job.head || job.span.is_some() {
            return Claim::default();
        }
        let patience = self.shared.config.origins.get(job.keyed.route.origin).map(|origin| origin.timeout);
        let waited = tokio::time::timeout(patience.unwrap_or(LAST), self.claimed(store));
        waited.await.unwrap_or_default()
    }

    async fn claimed(&mut self, store: usize) -> Claim {
        let (cache, token) = (self.shared.cache.clone(), random_id());
        let place = self.leader.place().clone();
        let (mut seen, mut pause) = (0, FIRST);
        loop {
            match cache.claim(store, &place, &token, seen, self.job.whole).await {
                Claimed::Alone => return Claim::default(),
                Claimed::Lead(lease) => return Claim { lease: Some(lease), brought: None },
                Claimed::Newer(ticket) => {
                    let job = self.job.clone();
                    let coverage = job.keyed.coverage();
                    let brought = cache.bring(&coverage, &job.request.headers, self.shared.now()).await;
                    if let Lookup::Found(stored, Validity::Valid) = &brought.lookup
                        && let Ok(Again::Use(..)) = self.usable(stored.clone(), self.shared.now())
                    {
                        return Claim { lease: None, brought: Some((brought.lookup, brought.variant)) };
                    }
                    // It is no good: the next claim says so.
                    seen = seen.max(ticket);
                }
                // What the other one brings, this node could not use.
                Claimed::Held if !cache.is_current() => return Claim::default(),
                Claimed::Held => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST);
                }
            }
        }
    }
}
