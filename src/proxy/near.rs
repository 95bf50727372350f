//! What is stored for another request and fits this one too, where nothing is stored for this one itself.
//!
//! It is only ever served while it is fresh and no purge covers it; in any other case the request is answered as if nothing
//! had been found, so that nothing is validated or kept in the name of a request that it was not fetched for.

use std::sync::Arc;

use super::keyed::route_tags;
use super::plan::Plan;
use super::respond::meets;
use super::shared::Inner;
use super::visit::{Proxy, Visit};
use crate::key::CacheKey;
use crate::policy::{Decision, Reason, Validity, decide, validation};
use crate::stored::StoredResponse;

impl<S: Inner> Proxy<S> {
    /// A stored response that fits this request, and why it may be served: another variant of it, where there are some, whose
    /// own would be `variant`; otherwise one to another query (`No-Vary-Search`).
    pub(super) fn near(
        &self,
        visit: &Visit,
        plan: &Plan,
        variant: Option<&CacheKey>,
    ) -> Option<(Arc<StoredResponse>, Reason)> {
        let (cache, keyed, headers) = (&self.shared.cache, &plan.keyed, &visit.parts.headers);
        // Its own answer would have these, by which it is purged.
        let tags = || route_tags(&visit.route, &plan.caching, &visit.who.identity, &visit.parts);
        let stored = match variant {
            Some(own) => cache
                .in_preferred_language(keyed.store, &keyed.key, own, headers, plan.now)
                .filter(|stored| tags().iter().all(|tag| stored.selectors().tags().any(|own| own == &**tag))),
            None => cache.equivalent(&keyed.coverage(), tags, headers, plan.now),
        }?;
        let (decision, reason) =
            decide(&plan.asked.wishes, Some((&stored.freshness(), Validity::Valid)), plan.now);
        let answers = !validation::is_for_the_origin(headers) || meets(headers, &stored, plan.now);
        (decision == Decision::Serve && answers).then_some((stored, reason))
    }
}
