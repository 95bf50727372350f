//! Responses that are found for other queries than the one that they were fetched for (`No-Vary-Search`).
//!
//! A response lies under its own key as ever. Beside it, under the URL without its query, the rules that its URLs were
//! answered with are kept, and under each rule and folded query where the response lies. All of that only points: what is
//! found is judged like anything that is stored, its own rule is looked at again, and it has to stand the purges of both URLs.
//! Owner, route, authority, path and what else selects are in all of these keys; only the query is folded.

use std::sync::Arc;

use http::HeaderMap;

use super::{Cache, Lookup};
use crate::clock::Now;
use crate::key::CacheKey;
use crate::policy::search::NO_VARY_SEARCH;
use crate::policy::{SearchRule, Validity};
use crate::purge::Coverage;
use crate::stored::{Entry, Searched, Searches, StoredResponse, later};

/// How many rules of one URL without its query are remembered: origins are asked to have one.
const MAX_RULES: usize = 4;

impl Cache {
    /// Makes a response that was just stored under `key` findable for other queries, where it says so. Of two, the one whose
    /// fill began later is found. Where the store takes none of this, the response is found under its own URL only.
    pub(super) fn make_findable(&self, store: usize, key: &CacheKey, response: &StoredResponse, now: Now) {
        let Some(rule) = rule_of(response) else { return };
        let Some((rules, place)) = places(key, &rule, key.query().as_deref()) else { return };
        let Some(backend) = self.0.stores.get(store) else { return };
        let until = response.freshness().useless_after();
        // Under a lock of all URLs that differ in their queries only.
        self.0.fills.alone(&rules, || {
            let known = self.rules(store, &rules, now);
            let others = known.iter().flat_map(|known| &known.rules).filter(|known| **known != rule);
            let all = std::iter::once(&rule).chain(others).take(MAX_RULES).cloned().collect();
            let until_all = later(until, known.as_ref().map(|known| known.until));
            let searches = Searches { rules: all, until: until_all };
            let _ = backend.put(rules.clone(), Entry::Searches(Arc::new(searches)), now);
            let newer = match backend.get(&place, now) {
                Some(Entry::Searched(there)) => there.ticket > response.ticket,
                _ => false,
            };
            if !newer {
                let searched = Searched { key: key.clone(), ticket: response.ticket, until };
                let _ = backend.put(place.clone(), Entry::Searched(Arc::new(searched)), now);
            }
        });
    }

    /// A valid response that was stored for another query and by its own word answers this one: a request with these fields,
    /// whose own answer `asked` would cover, and to which the route would give these tags. They are asked for only where
    /// something is found.
    pub fn equivalent(
        &self,
        asked: &Coverage<'_>,
        tags: impl Fn() -> Vec<Arc<str>>,
        request: &HeaderMap,
        now: Now,
    ) -> Option<Arc<StoredResponse>> {
        let searches = self.rules(asked.store, &asked.key.without_query()?, now)?;
        let query = asked.key.query();
        searches.rules.iter().find_map(|rule| {
            let (_, place) = places(asked.key, rule, query.as_deref())?;
            let Entry::Searched(there) = self.get(asked.store, &place, now)? else { return None };
            let (Lookup::Found(stored, Validity::Valid), _) =
                self.lookup(asked.store, &there.key, request, now)
            else {
                return None;
            };
            // It may be another response by now.
            let still = rule_of(&stored).as_ref() == Some(rule);
            (still && self.stands_purges_of(asked, &tags(), &stored)).then_some(stored)
        })
    }

    /// Whether no purge of what was asked for covers the response. What is remembered of it, and what a confirmation says, holds
    /// for its own URL only, so it is judged from where the oldest of its content began. Below the floor nobody can tell, and it counts as purged.
    fn stands_purges_of(&self, asked: &Coverage<'_>, tags: &[Arc<str>], stored: &StoredResponse) -> bool {
        let selectors = asked.selectors([&stored.tags(), tags].concat());
        self.check_fill(&selectors, stored.since) == Validity::Valid
    }

    fn rules(&self, store: usize, place: &CacheKey, now: Now) -> Option<Arc<Searches>> {
        match self.get(store, place, now)? {
            Entry::Searches(searches) => Some(searches),
            _ => None,
        }
    }
}

/// The rule that a response gives.
fn rule_of(response: &StoredResponse) -> Option<SearchRule> {
    let lines: Vec<_> = response.field_all(&NO_VARY_SEARCH).collect();
    SearchRule::of(lines.iter())
}

/// Where the rules of a URL are kept, and where it is kept what lies under one of them for this query.
fn places(key: &CacheKey, rule: &SearchRule, query: Option<&str>) -> Option<(CacheKey, CacheKey)> {
    let rules = key.without_query()?;
    let place = rules.searched(&rule.text(), &rule.fold(query))?;
    Some((rules, place))
}
