//! The table of one node, and the verdict on a stored response.
//!
//! Invariant 3 rests on orders of loads and stores, each marked where it stands: a row is in the table before `current`
//! tells of it; a reader takes `current` before it looks at rows, and looks at the floor last; the floor is raised, with
//! every stripe's `current`, before the rows below it go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::coverage::{STRIPES, Selector, Where, rows};
use crate::key::PreparedState;
use crate::policy::Validity;
use crate::stored::{Position, Selectors};
use crate::tag::Pattern;

/// How large the table may grow before the floor is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of exact selectors.
    pub rows: usize,
    /// Patterns: each is looked at by every response whose stripe moved.
    pub patterns: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 1 << 20, patterns: 1024 }
    }
}

/// What a purge answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// A random id.
    pub id: String,
    /// Its place in the log.
    pub seq: Position,
}

#[derive(Default)]
struct Table {
    exact: HashMap<u64, Position, PreparedState>,
    patterns: Vec<(u64, Pattern, Position)>,
}

/// `current` of one stripe, alone on its cache line: tenants do not slow each other down.
#[repr(align(64))]
#[derive(Default)]
struct Stripe(AtomicU64);

/// The purge log of one process, and the fence over it.
pub struct Fence {
    stripes: Vec<Stripe>,
    floor: AtomicU64,
    table: RwLock<Table>,
    last: Mutex<Position>,
    limits: Limits,
}

impl Default for Fence {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Fence {
    /// An empty log.
    pub fn new(limits: Limits) -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
            floor: AtomicU64::new(0),
            table: RwLock::default(),
            last: Mutex::new(0),
            limits,
        }
    }

    /// The last position that this stripe's readers were told of.
    #[inline]
    pub fn current(&self, stripe: u8) -> Position {
        self.stripes[usize::from(stripe) % STRIPES].0.load(Ordering::SeqCst)
    }

    /// Sequences one purge of all these selectors. When it returns, the purge is in force.
    pub fn purge(&self, selectors: &[Selector], whose: &Where) -> Receipt {
        let rows = rows(selectors, whose);
        // One purge at a time: positions are applied in their order.
        let mut last = lock(&self.last);
        let seq = *last + 1;
        *last = seq;
        {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            for digest in rows.exact {
                table.exact.insert(digest, seq);
            }
            for (scope, pattern) in rows.patterns {
                table.patterns.retain(|(s, p, _)| !(*s == scope && *p == pattern));
                table.patterns.push((scope, pattern, seq));
            }
        }
        // The row is in the table: only now may `current` tell of it.
        self.publish(rows.stripes.as_deref(), seq);
        self.bound(seq);
        Receipt { id: random_id(), seq }
    }

    fn publish(&self, stripes: Option<&[u8]>, seq: Position) {
        match stripes {
            None => self.stripes.iter().for_each(|s| s.0.store(seq, Ordering::SeqCst)),
            Some(some) => some
                .iter()
                .for_each(|&s| self.stripes[usize::from(s) % STRIPES].0.store(seq, Ordering::SeqCst)),
        }
    }

    /// Keeps the table bounded: when it has outgrown its limit, everything begun so far is given up.
    fn bound(&self, seq: Position) {
        let full = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            table.exact.len() > self.limits.rows || table.patterns.len() > self.limits.patterns
        };
        if !full {
            return;
        }
        tracing::warn!(
            rows = self.limits.rows,
            patterns = self.limits.patterns,
            "the table of purges is full: all stored responses are given up and fetched anew"
        );
        // First every stripe is raised, so that no fill begins below the floor; then the floor is published; the rows go last.
        self.publish(None, seq);
        self.floor.store(seq, Ordering::SeqCst);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.exact.retain(|_, at| *at > seq);
        table.patterns.retain(|(_, _, at)| *at > seq);
        table.exact.shrink_to_fit();
    }

    /// The verdict on a response with these selectors whose fill began at `begun_at`, and the position it holds for.
    pub fn check(&self, selectors: &Selectors, begun_at: Position) -> (Validity, Position) {
        // `current` first: a row that comes later is above it, and the remembered verdict does not cover it.
        let current = self.current(selectors.stripe);
        if begun_at >= current {
            return (Validity::Valid, current);
        }
        let purged = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            let exact = selectors.exact.iter().any(|d| table.exact.get(d).is_some_and(|at| *at > begun_at));
            exact
                || table.patterns.iter().any(|(scope, pattern, at)| {
                    *at > begun_at
                        && selectors.scopes.contains(scope)
                        && selectors.tags.iter().any(|tag| pattern.covers(tag))
                })
        };
        // The floor last: rows that were freed meanwhile are below it.
        let below = begun_at < self.floor.load(Ordering::SeqCst);
        (if purged || below { Validity::Purged } else { Validity::Valid }, current)
    }

    /// The number of rows, for statistics.
    pub fn rows(&self) -> usize {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.exact.len() + table.patterns.len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the lock guards is whole at every point at which a panic could leave it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn random_id() -> String {
    let mut bytes = [0_u8; 12];
    // Without randomness the id is all zeros: it names the purge for people, nothing rests on it.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::coverage::Coverage;
    use super::*;
    use crate::identity::{Kind, Tenant};
    use crate::key::Owner;

    fn tenant(name: &str, scope: bool) -> Owner {
        Owner::Tenant(Tenant { name: name.into(), kind: Kind::Verified, scope })
    }

    fn response(owner: &Owner, target: &str, tags: &[&str]) -> Selectors {
        Coverage { owner, authority: "shop", target }.selectors(tags.iter().map(|t| (*t).into()).collect())
    }

    fn url(target: &str) -> Selector {
        Selector::Url { authority: "shop".into(), target: target.into() }
    }

    fn purged(fence: &Fence, selectors: &Selectors, begun_at: Position) -> bool {
        fence.check(selectors, begun_at).0 == Validity::Purged
    }

    #[test]
    fn a_purge_covers_what_began_before_it_and_nothing_that_began_after() {
        let fence = Fence::default();
        let owner = tenant("acme", false);
        let page = response(&owner, "/a", &[]);
        let begun = fence.current(page.stripe);
        assert!(!purged(&fence, &page, begun));
        fence.purge(&[url("/a")], &Where::All);
        assert!(purged(&fence, &page, begun));
        assert!(!purged(&fence, &page, fence.current(page.stripe)));
        assert!(!purged(&fence, &response(&owner, "/b", &[]), begun));
    }

    #[test]
    fn a_tenants_purge_covers_its_own_the_public_and_the_scopes_and_no_other_tenant() {
        let fence = Fence::default();
        fence.purge(&[url("/a")], &Where::Tenant("acme".into()));
        assert!(purged(&fence, &response(&tenant("acme", false), "/a", &[]), 0));
        assert!(purged(&fence, &response(&Owner::Public, "/a", &[]), 0));
        assert!(purged(&fence, &response(&tenant("GLOBAL", true), "/a", &[]), 0));
        assert!(!purged(&fence, &response(&tenant("other", false), "/a", &[]), 0));
    }

    #[test]
    fn everything_of_a_tenant_leaves_public_responses_and_others_alone() {
        let fence = Fence::default();
        fence.purge(&[Selector::Everything], &Where::TenantOnly("acme".into()));
        assert!(purged(&fence, &response(&tenant("acme", false), "/x", &[]), 0));
        assert!(!purged(&fence, &response(&Owner::Public, "/x", &[]), 0));
        assert!(!purged(&fence, &response(&tenant("other", false), "/x", &[]), 0));
        fence.purge(&[Selector::Everything], &Where::All);
        assert!(purged(&fence, &response(&tenant("other", false), "/x", &[]), 0));
    }

    #[test]
    fn tags_and_patterns_cover_within_their_scope() {
        let fence = Fence::default();
        let mine = response(&tenant("acme", false), "/d", &["dashboard:metrics"]);
        let theirs = response(&tenant("other", false), "/d", &["dashboard:metrics"]);
        fence.purge(&[Selector::Pattern(Pattern::new("dashboard"))], &Where::Tenant("acme".into()));
        assert!(purged(&fence, &mine, 0) && !purged(&fence, &theirs, 0));
        fence.purge(&[Selector::Tag("dashboard:metrics".into())], &Where::All);
        assert!(purged(&fence, &theirs, 0));
        // A tag is a name: no wild card, no prefix.
        let star = response(&tenant("other", false), "/d", &["*"]);
        fence.purge(&[Selector::Tag("*".into())], &Where::All);
        assert!(purged(&fence, &star, 2) && !purged(&fence, &theirs, 2));
    }

    #[test]
    fn a_full_table_gives_up_what_began_before_and_never_forgets_a_purge() {
        let fence = Fence::new(Limits { rows: 10, patterns: 2 });
        let owner = tenant("acme", false);
        let first = response(&owner, "/0", &[]);
        for n in 0..40 {
            fence.purge(&[url(&format!("/{n}"))], &Where::All);
            assert!(purged(&fence, &first, 0));
        }
        assert!(fence.rows() <= 11);
        // A stripe that no purge touched cannot begin a fill below the floor either.
        assert!(!purged(&fence, &first, fence.current(first.stripe)));
    }
}
