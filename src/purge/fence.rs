//! The fence of one node: the table that its purges are in, and the verdict on a stored response.
//!
//! Invariant 3 rests on orders of loads and stores. The three orders are lists of steps, [`APPLY`], [`LOOK`] and [`RAISE`]: the
//! fence takes them one after the other, and the tests let anything happen in between, and show what breaks in another order.

mod shared;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::coverage::{STRIPES, stripes};
use super::epoch::{Epochs, Proof};
use super::log::{Handling, LocalLog, PurgeLog, SharedLog, random_id};
use super::record::{Causer, Purge, Record};
use super::table::{Limits, Table};
use super::underway::Underway;
use crate::clock::Now;
use crate::policy::Validity;
use crate::stored::{Covered, Position};

/// `current` of one stripe, alone on its cache line: tenants do not slow each other down.
#[repr(align(64))]
#[derive(Default)]
struct Stripe(AtomicU64);

/// The follower of a purge log, and the fence over it.
pub struct Fence {
    stripes: Vec<Stripe>,
    floor: AtomicU64,
    table: RwLock<Table>,
    log: Log,
    epochs: Epochs,
    proof: Proof,
    /// How many purges are in force here without having their place in the log.
    provisional: AtomicUsize,
    /// The last record that is in force. Held while records are applied: one at a time, in the order of their numbers.
    applied: Mutex<Position>,
    limits: Limits,
}

enum Log {
    /// Of this process alone: nothing can come into it that this node does not know.
    Own(Box<dyn PurgeLog>),
    /// Of several nodes. Its follower applies what comes ([`Fence::apply`]).
    Shared(Arc<dyn SharedLog>),
}

impl Default for Fence {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// The steps by which a record comes into force. The row is in the table before `current` tells of it: otherwise a reader
/// could find a response valid at a position whose row it never saw, and remember that.
pub const APPLY: [fn(&Fence, &Record); 2] = [Fence::write_rows, Fence::publish];

/// The steps of a look at a stored response. `current` first: a row that comes later is above it, so that a remembered
/// verdict does not cover it. The floor last: rows that were freed between the steps are below it.
pub const LOOK: [fn(&Fence, &mut Look<'_>); 3] =
    [Fence::load_current, Fence::look_at_rows, Fence::look_at_floor];

/// The steps by which the floor is raised. First every stripe, so that no fill begins below the floor; then the floor is
/// published; the rows go last, when everything that they could cover is refused.
pub const RAISE: [fn(&Fence, Position); 3] = [Fence::raise_current, Fence::publish_floor, Fence::free_rows];

/// A look at a response: what is asked, and what came out so far.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// What covers it.
    pub covered: Covered<'a>,
    /// The position at which it began, or at which it was last found valid.
    pub from: Position,
    /// Who looks: a soft purge that they caused is a hard one for them.
    pub by: Option<Causer>,
    /// `current` as it was loaded.
    pub current: Position,
    /// The verdict, which holds for `current`.
    pub validity: Validity,
}

impl<'a> Look<'a> {
    /// A look at a response that holds for `from`.
    pub fn at(covered: impl Into<Covered<'a>>, from: Position, by: Option<Causer>) -> Self {
        Self { covered: covered.into(), from, by, current: 0, validity: Validity::Valid }
    }
}

impl Fence {
    /// A fence over a log of this process, which is empty.
    pub fn new(limits: Limits) -> Self {
        Self::over(Box::new(LocalLog::default()), limits)
    }

    /// A fence over any log, from its beginning.
    pub fn over(log: Box<dyn PurgeLog>, limits: Limits) -> Self {
        Self::with(Log::Own(log), Proof::always(), limits)
    }

    /// A fence over a log that several nodes share. Until its follower has read the log, nothing that is stored is valid.
    pub fn over_shared(log: Arc<dyn SharedLog>, limits: Limits) -> Self {
        Self::with(Log::Shared(log), Proof::none(), limits)
    }

    fn with(log: Log, proof: Proof, limits: Limits) -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
            floor: AtomicU64::new(0),
            table: RwLock::default(),
            log,
            epochs: Epochs::own(),
            proof,
            provisional: AtomicUsize::new(0),
            applied: Mutex::new(0),
            limits,
        }
    }

    fn stripe(&self, stripe: u8) -> &AtomicU64 {
        &self.stripes[usize::from(stripe) % STRIPES].0
    }

    /// The last position that this stripe's readers were told of.
    #[inline]
    pub fn current(&self, stripe: u8) -> Position {
        self.stripe(stripe).load(Ordering::SeqCst)
    }

    /// The number of the last record that is in force, whomever it covers. A verdict that is asked for after this call knows
    /// of that record and of all before it.
    pub fn applied(&self) -> Position {
        *lock(&self.applied)
    }

    /// The position below which nothing is valid.
    pub fn floor(&self) -> Position {
        self.floor.load(Ordering::SeqCst)
    }

    // ---- A purge.

    /// Hands a purge to the log. Where the log is this process's own, the purge is in force when this returns.
    pub fn purge(&self, purge: Purge, now: Now) -> Underway {
        self.hand_over(random_id(), purge, Handling::Report, now)
    }

    /// The same under an id, and as `handling` says where the log cannot be reached.
    pub fn hand_over(&self, id: String, purge: Purge, handling: Handling, now: Now) -> Underway {
        match &self.log {
            Log::Own(log) => {
                let receipt = log.append(purge, now);
                // The purge is acknowledged after this node's own follower has applied it: this one, or one that was faster.
                self.follow();
                Underway::in_force(receipt)
            }
            Log::Shared(log) => {
                if handling == Handling::Insist {
                    self.obey(&id, &purge);
                }
                log.append(id, purge, handling)
            }
        }
    }

    /// Applies what the log of this process has. A shared log has a follower of its own.
    pub fn follow(&self) {
        let Log::Own(log) = &self.log else { return };
        let mut applied = lock(&self.applied);
        log.follow(*applied, &mut |record| self.apply_next(record, &mut applied));
    }

    fn apply_next(&self, record: &Record, applied: &mut Position) {
        if record.seq <= *applied {
            return;
        }
        let gap = record.seq != *applied + 1;
        APPLY.iter().for_each(|step| step(self, record));
        *applied = record.seq;
        // Only now: whoever still finds it provisional looks at the rows, whoever does not finds `current` moved.
        self.settle(&record.id);
        if gap {
            tracing::error!(seq = record.seq, "purges are missing: all stored responses are given up");
            self.raise(record.seq);
        }
        self.bound();
    }

    /// A step of [`APPLY`].
    pub fn write_rows(&self, record: &Record) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).write(record, &self.limits);
    }

    /// A step of [`APPLY`].
    pub fn publish(&self, record: &Record) {
        match stripes(&record.purge.whose) {
            None => self.raise_current(record.seq),
            Some(some) => some.iter().for_each(|&stripe| {
                self.stripe(stripe).fetch_max(record.seq, Ordering::SeqCst);
            }),
        }
    }

    // ---- The verdict.

    /// The verdict on a response that holds for `from`: where its fill began, or where it was last found valid; and the
    /// position that the verdict holds for.
    pub fn check<'a>(
        &self,
        covered: impl Into<Covered<'a>>,
        from: Position,
        by: Option<Causer>,
    ) -> (Validity, Position) {
        let covered = covered.into();
        // Before `current`: a purge that is not provisional any more has moved it.
        let provisional = self.provisional.load(Ordering::SeqCst) > 0;
        let current = self.current(covered.stripe);
        if from >= current && !provisional {
            return (Validity::Valid, current);
        }
        let mut look = Look::at(covered, from, by);
        LOOK.iter().for_each(|step| step(self, &mut look));
        (look.validity, look.current)
    }

    /// A step of [`LOOK`].
    pub fn load_current(&self, look: &mut Look<'_>) {
        look.current = self.current(look.covered.stripe);
    }

    /// A step of [`LOOK`].
    pub fn look_at_rows(&self, look: &mut Look<'_>) {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        look.validity = look.validity.worse(table.judge(look.covered, look.from, look.by));
    }

    /// A step of [`LOOK`].
    pub fn look_at_floor(&self, look: &mut Look<'_>) {
        if look.from < self.floor() {
            look.validity = Validity::Purged;
        }
    }

    // ---- The floor.

    /// Begins a sweep: everything that begins from now on begins at the returned position or above, and a response that is
    /// looked at from now on and found valid holds for it.
    pub fn begin_sweep(&self) -> Position {
        let applied = lock(&self.applied);
        self.raise_current(*applied);
        *applied
    }

    /// Ends a sweep: nothing that is worth keeping holds for less than `oldest`.
    pub fn end_sweep(&self, oldest: Position) {
        let applied = lock(&self.applied);
        // What others store in a shared level may hold for less: there the floor follows that of the log.
        if !self.is_shared() {
            self.raise(oldest.min(*applied));
        }
    }

    /// Raises the floor. The caller holds `applied`, so that `current` never tells of rows that are not there yet.
    fn raise(&self, floor: Position) {
        if floor > self.floor() {
            RAISE.iter().for_each(|step| step(self, floor));
        }
    }

    /// A step of [`RAISE`].
    pub fn raise_current(&self, to: Position) {
        self.stripes.iter().for_each(|stripe| {
            stripe.0.fetch_max(to, Ordering::SeqCst);
        });
    }

    /// A step of [`RAISE`].
    pub fn publish_floor(&self, floor: Position) {
        self.floor.fetch_max(floor, Ordering::SeqCst);
    }

    /// A step of [`RAISE`].
    pub fn free_rows(&self, floor: Position) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).free(floor);
    }

    /// Keeps the table bounded: when it has outgrown its limit, the older half of it is given up, and with it whatever was not
    /// found valid since.
    fn bound(&self) {
        loop {
            let floor = {
                let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
                if !table.is_full(&self.limits) {
                    return;
                }
                table.early_floor()
            };
            tracing::warn!(
                rows = self.limits.rows,
                floor,
                "the table of purges is full: responses that are older than half of it are given up"
            );
            self.raise(floor);
        }
    }

    /// The number of purges that are in force here without having their place in the log.
    pub fn provisional(&self) -> usize {
        self.provisional.load(Ordering::SeqCst)
    }

    /// The number of rows, for statistics.
    pub fn rows(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the lock guards is whole at every point at which a panic could leave it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::coverage::{Coverage, Selector, Where};
    use std::time::Duration;

    use super::*;
    use std::collections::VecDeque;

    use super::super::record::Receipt;
    use crate::identity::{Kind, Tenant};
    use crate::key::{CacheKey, KeyParts, Owner};
    use crate::stored::Selectors;
    use crate::tag::Pattern;

    fn tenant(name: &str, scope: bool) -> Owner {
        Owner::Tenant(Tenant { name: name.into(), kind: Kind::Verified, scope })
    }

    fn response(owner: &Owner, target: &str, tags: &[&str]) -> Selectors {
        let key = CacheKey::new(&KeyParts {
            https: false,
            authority: "shop",
            owner,
            route: "pages",
            method: "GET",
            path: target,
            query: None,
            selecting: &[],
        })
        .unwrap();
        Coverage { owner, authority: "shop", target, route: "pages", store: 0, key: &key }
            .selectors(tags.iter().map(|t| (*t).into()).collect())
    }

    fn url(target: &str) -> Selector {
        Selector::Url { authority: "shop".into(), target: target.into() }
    }

    fn now(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall: Duration::from_secs(1_000 + seconds) }
    }

    fn hard(fence: &Fence, selectors: &[Selector], whose: &Where) -> Receipt {
        fence.purge(Purge::hard(selectors.to_vec(), whose.clone()), now(0)).receipt().cloned().unwrap()
    }

    fn soft(fence: &Fence, selectors: &[Selector], by: Option<Causer>, seconds: u64) -> Receipt {
        fence.purge(Purge::soft(selectors.to_vec(), Where::All, by), now(seconds)).receipt().cloned().unwrap()
    }

    fn purged(fence: &Fence, selectors: &Selectors, begun_at: Position) -> bool {
        fence.check(selectors, begun_at, None).0 == Validity::Purged
    }

    #[test]
    fn a_purge_covers_what_began_before_it_and_nothing_that_began_after() {
        let fence = Fence::default();
        let owner = tenant("acme", false);
        let page = response(&owner, "/a", &[]);
        let begun = fence.current(page.stripe);
        assert!(!purged(&fence, &page, begun));
        hard(&fence, &[url("/a")], &Where::All);
        assert!(purged(&fence, &page, begun));
        assert!(!purged(&fence, &page, fence.current(page.stripe)));
        assert!(!purged(&fence, &response(&owner, "/b", &[]), begun));
    }

    #[test]
    fn a_tenants_purge_covers_its_own_the_public_and_the_scopes_and_no_other_tenant() {
        let fence = Fence::default();
        hard(&fence, &[url("/a")], &Where::Tenant("acme".into()));
        assert!(purged(&fence, &response(&tenant("acme", false), "/a", &[]), 0));
        assert!(purged(&fence, &response(&Owner::Public, "/a", &[]), 0));
        assert!(purged(&fence, &response(&tenant("GLOBAL", true), "/a", &[]), 0));
        assert!(!purged(&fence, &response(&tenant("other", false), "/a", &[]), 0));
    }

    #[test]
    fn everything_of_a_tenant_leaves_public_responses_and_others_alone() {
        let fence = Fence::default();
        hard(&fence, &[Selector::Everything], &Where::TenantOnly("acme".into()));
        assert!(purged(&fence, &response(&tenant("acme", false), "/x", &[]), 0));
        assert!(!purged(&fence, &response(&Owner::Public, "/x", &[]), 0));
        assert!(!purged(&fence, &response(&tenant("other", false), "/x", &[]), 0));
        hard(&fence, &[Selector::Everything], &Where::All);
        assert!(purged(&fence, &response(&tenant("other", false), "/x", &[]), 0));
    }

    #[test]
    fn tags_and_patterns_cover_within_their_scope() {
        let fence = Fence::default();
        let mine = response(&tenant("acme", false), "/d", &["dashboard:metrics"]);
        let theirs = response(&tenant("other", false), "/d", &["dashboard:metrics"]);
        hard(&fence, &[Selector::Pattern(Pattern::new("dashboard"))], &Where::Tenant("acme".into()));
        assert!(purged(&fence, &mine, 0) && !purged(&fence, &theirs, 0));
        hard(&fence, &[Selector::Tag("dashboard:metrics".into())], &Where::All);
        assert!(purged(&fence, &theirs, 0));
        // A tag is a name: no wild card, no prefix.
        let star = response(&tenant("other", false), "/d", &["*"]);
        hard(&fence, &[Selector::Tag("*".into())], &Where::All);
        assert!(purged(&fence, &star, 2) && !purged(&fence, &theirs, 2));
    }

    #[test]
    fn a_key_a_route_and_a_store_cover_their_own() {
        let owner = tenant("acme", false);
        for covering in [Selector::Route("pages".into()), Selector::Store(0)] {
            let fence = Fence::default();
            hard(&fence, &[Selector::Route("others".into()), Selector::Store(1)], &Where::All);
            assert!(!purged(&fence, &response(&owner, "/a", &[]), 0));
            hard(&fence, &[covering], &Where::All);
            assert!(purged(&fence, &response(&owner, "/a", &[]), 0));
        }
    }

    #[test]
    fn a_full_table_gives_up_what_began_before_and_never_forgets_a_purge() {
        let fence = Fence::new(Limits { rows: 10, patterns: 2 });
        let owner = tenant("acme", false);
        let first = response(&owner, "/0", &["a:b"]);
        for n in 0..40 {
            let target = format!("/{n}");
            hard(&fence, &[url(&target)], &Where::All);
            soft(&fence, &[url(&target), Selector::Pattern(Pattern::new(&target))], None, 1);
            assert!(purged(&fence, &first, 0));
            let begun_before = fence.current(first.stripe) - 2;
            assert!(purged(&fence, &response(&owner, &target, &[]), begun_before));
        }
        assert!(fence.rows() <= 12 && fence.floor() > 0, "{} rows", fence.rows());
        // A stripe that no purge touched cannot begin a fill below the floor either.
        assert!(!purged(&fence, &first, fence.current(first.stripe)));
    }

    #[test]
    fn a_tenant_with_too_many_patterns_gives_up_its_own_responses_and_nobody_elses() {
        let fence = Fence::new(Limits { rows: 1_000, patterns: 8 });
        let (acme, other) = (tenant("acme", false), tenant("other", false));
        let mine = response(&acme, "/a", &["untouched"]);
        let theirs = response(&other, "/a", &["untouched"]);
        for n in 0..100 {
            let pattern = Selector::Pattern(Pattern::new(&format!("p{n}:*")));
            hard(&fence, &[pattern], &Where::TenantOnly("acme".into()));
            assert_eq!(purged(&fence, &mine, 0), n >= 8, "after {n}");
            assert!(!purged(&fence, &theirs, 0));
            let covered = response(&acme, "/b", &[&format!("p{n}:x")]);
            assert!(purged(&fence, &covered, fence.current(covered.stripe) - 1), "the newest is in force");
        }
        assert!(fence.rows() < 30 && fence.floor() == 0);
    }

    #[test]
    fn a_full_table_keeps_what_was_found_valid_since_its_older_half() {
        let fence = Fence::new(Limits { rows: 100, patterns: 2 });
        let page = response(&tenant("acme", false), "/page", &[]);
        let mut from = 0;
        for n in 0..1_000 {
            hard(&fence, &[url(&format!("/{n}"))], &Where::All);
            let (validity, at) = fence.check(&page, from, None);
            assert_eq!(validity, Validity::Valid, "after {n} purges of other pages");
            from = at;
        }
        assert!(fence.rows() <= 100 && fence.floor() > 900);
    }

    #[test]
    fn a_soft_purge_makes_stale_and_is_a_hard_one_for_whoever_caused_it() {
        let fence = Fence::default();
        let page = response(&tenant("acme", false), "/a", &[]);
        let causer = Causer::credential(b"me");
        let receipt = soft(&fence, &[url("/a")], Some(causer), 7);
        assert_eq!((receipt.seq, receipt.time), (1, Duration::from_secs(1_007)));
        let stale = Validity::StaleSince(Duration::from_secs(7));
        assert_eq!(fence.check(&page, 0, None), (stale, 1));
        assert_eq!(fence.check(&page, 0, Some(Causer::credential(b"you"))).0, stale);
        assert_eq!(fence.check(&page, 0, Some(causer)).0, Validity::Purged);
        assert_eq!(fence.check(&page, 1, Some(causer)).0, Validity::Valid);
        hard(&fence, &[Selector::Everything], &Where::All);
        soft(&fence, &[url("/a")], None, 9);
        assert!(purged(&fence, &page, 1), "softened");
    }

    #[test]
    fn a_sweep_frees_the_rows_that_nothing_has_to_fear() {
        let fence = Fence::new(Limits { patterns: 1_000, ..Limits::default() });
        let page = response(&tenant("acme", false), "/page", &[]);
        for n in 0..1_000 {
            hard(
                &fence,
                &[url(&format!("/{n}")), Selector::Pattern(Pattern::new(&n.to_string()))],
                &Where::All,
            );
        }
        let begun = fence.begin_sweep();
        assert_eq!(begun, 1_000);
        let (validity, at) = fence.check(&page, 10, None);
        assert_eq!((validity, at), (Validity::Valid, 1_000));
        hard(&fence, &[url("/page")], &Where::All);
        fence.end_sweep(at);
        assert_eq!((fence.rows(), fence.floor()), (1, 1_000));
        assert!(purged(&fence, &page, at), "the purge after the sweep's beginning is forgotten");
        assert!(purged(&fence, &response(&Owner::Public, "/other", &[]), 999), "valid below the floor");
        fence.end_sweep(5);
        assert_eq!(fence.floor(), 1_000, "the floor never sinks");
    }

    /// A log that lost a record.
    struct Gappy(Mutex<VecDeque<Record>>);

    impl PurgeLog for Gappy {
        fn append(&self, purge: Purge, time: Now) -> Receipt {
            let mut records = self.0.lock().unwrap();
            let seq = records.back().map_or(0, |last| last.seq) + 1;
            let record = Record { seq, id: String::new(), purge, time };
            records.push_back(record);
            records.back().unwrap().receipt()
        }

        fn follow(&self, after: Position, apply: &mut dyn FnMut(&Record)) {
            let records = self.0.lock().unwrap().clone();
            records.iter().filter(|record| record.seq > after && record.seq != 2).for_each(apply);
        }
    }

    #[test]
    fn where_records_are_missing_everything_before_is_given_up() {
        let fence = Fence::over(Box::new(Gappy(Mutex::default())), Limits::default());
        let page = response(&tenant("acme", false), "/page", &[]);
        hard(&fence, &[url("/a")], &Where::All);
        assert!(!purged(&fence, &page, 0));
        hard(&fence, &[url("/page")], &Where::All);
        hard(&fence, &[url("/b")], &Where::All);
        assert!(purged(&fence, &page, 1));
        assert!(!purged(&fence, &page, fence.current(page.stripe)));
    }
}
