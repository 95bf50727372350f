//! The fence over a log that several nodes share, with the follower's steps taken by hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::coverage::{Coverage, Selector, Where};
use super::epoch::Mark;
use super::{Fence, Handling, Limits, Once, Purge, Record, Recording, SharedLog, Underway};
use crate::clock::Now;
use crate::key::{CacheKey, KeyParts, Owner};
use crate::policy::Validity;
use crate::stored::{Position, Selectors};

/// Keeps what it was handed.
#[derive(Default)]
struct Handed(Mutex<Vec<(String, Handling)>>);

impl SharedLog for Handed {
    fn append(&self, id: String, _: Purge, handling: Handling) -> Underway {
        let (sender, result) = tokio::sync::oneshot::channel();
        drop(sender);
        self.0.lock().unwrap().push((id.clone(), handling));
        Underway::awaited(id, result)
    }

    fn append_once(&self, purges: Vec<(String, Purge)>, _: Once) -> Recording {
        let (sender, result) = tokio::sync::oneshot::channel();
        drop(sender);
        self.0.lock().unwrap().extend(purges.into_iter().map(|(id, _)| (id, Handling::Report)));
        result
    }
}

fn fence() -> Fence {
    Fence::over_shared(Arc::new(Handed::default()), Limits::default())
}

fn page(target: &str, tag: &str) -> Selectors {
    let key = CacheKey::new(&KeyParts { path: target, ..KeyParts::PLAIN }).unwrap();
    Coverage { owner: &Owner::Public, authority: "a", target, route: "r", store: 0, key: &key }
        .selectors(vec![tag.into()])
}

fn purge(tag: &str) -> Purge {
    Purge::hard(vec![Selector::Tag(tag.into())], Where::All)
}

fn at(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: Duration::from_secs(seconds) }
}

fn record(id: &str, tag: &str) -> Record {
    Record { seq: 0, id: id.to_owned(), purge: purge(tag), time: at(1) }
}

fn is_purged(fence: &Fence, of: &Selectors, begun_at: Position) -> bool {
    fence.check(of, begun_at, None).0 == Validity::Purged
}

#[test]
fn nothing_is_proved_before_the_log_was_read_and_a_proof_ends() {
    let fence = fence();
    assert!(!fence.is_proven(at(0)));
    fence.prove(Duration::from_secs(5));
    assert!(fence.is_proven(at(4)) && !fence.is_proven(at(5)));
    // An older read is no news.
    fence.prove(Duration::from_secs(3));
    assert!(fence.is_proven(at(4)));
    fence.enter([1; 16], 0);
    assert!(!fence.is_proven(at(4)), "a proof of the incarnation before");
    assert!(Fence::default().is_proven(at(u64::MAX / 2)), "nobody else writes to a log of one's own");
}

#[test]
fn another_incarnation_ends_the_validity_of_whatever_began_before() {
    let (fence, page) = (fence(), page("/", "t"));
    fence.enter([1; 16], 7);
    let begun = fence.current(page.stripe);
    let mark = fence.mark(begun).unwrap();
    assert_eq!(mark, Mark { incarnation: [1; 16], seq: 7 });
    fence.apply(record("x", "other"), 8);
    assert!(!is_purged(&fence, &page, begun));
    assert_eq!(fence.position(mark), Some(begun));
    fence.enter([2; 16], 0);
    assert!(is_purged(&fence, &page, begun));
    assert_eq!((fence.position(mark), fence.mark(begun)), (None, None));
    let now = fence.current(page.stripe);
    assert!(now > begun && !is_purged(&fence, &page, now));
    // Numbers of the new incarnation are small again, and cover what began before them.
    fence.apply(record("y", "t"), 1);
    assert!(is_purged(&fence, &page, now));
    assert_eq!(fence.mark(fence.current(page.stripe)).unwrap().seq, 1);
}

#[test]
fn what_is_skipped_gives_up_what_began_before() {
    let (fence, page) = (fence(), page("/", "t"));
    fence.enter([1; 16], 0);
    let begun = fence.current(page.stripe);
    fence.give_up_to(5);
    assert!(is_purged(&fence, &page, begun));
    let later = fence.current(page.stripe);
    assert!(!is_purged(&fence, &page, later));
    // A record that is missing without having been skipped is noticed too.
    fence.apply(record("z", "other"), 9);
    assert!(is_purged(&fence, &page, later));
}

#[test]
fn a_record_that_comes_twice_is_applied_once() {
    let (fence, page) = (fence(), page("/", "t"));
    fence.enter([1; 16], 0);
    fence.apply(record("a", "t"), 1);
    let begun = fence.current(page.stripe);
    fence.apply(record("a", "t"), 1);
    assert!(!is_purged(&fence, &page, begun));
}

#[test]
fn a_purge_without_a_place_is_obeyed_until_its_record_comes_and_then_as_any() {
    let (fence, one, other) = (fence(), page("/", "t"), page("/x", "u"));
    fence.enter([1; 16], 0);
    fence.obey("id", &purge("t"));
    let begun = fence.current(one.stripe);
    assert!(
        is_purged(&fence, &one, begun),
        "what begins meanwhile is covered as well: nobody knows its place"
    );
    assert!(!is_purged(&fence, &other, begun));
    fence.apply(record("else", "v"), 1);
    assert!(is_purged(&fence, &one, fence.current(one.stripe)));
    fence.apply(record("id", "t"), 2);
    assert!(is_purged(&fence, &one, begun));
    let after = fence.current(one.stripe);
    assert!(!is_purged(&fence, &one, after));
    fence.obey("gone", &purge("t"));
    fence.obey("gone", &purge("t"));
    fence.settle("gone");
    assert!(!is_purged(&fence, &one, after));
}

#[test]
fn patterns_without_a_place_are_obeyed_too_and_told_apart() {
    let (fence, page) = (fence(), page("/", "dash:one"));
    fence.enter([1; 16], 0);
    let pattern =
        |text: &str| Purge::hard(vec![Selector::Pattern(crate::tag::Pattern::new(text))], Where::All);
    fence.obey("a", &pattern("dash"));
    fence.obey("b", &pattern("dash"));
    let begun = fence.current(page.stripe);
    fence.settle("a");
    assert!(is_purged(&fence, &page, begun));
    fence.settle("b");
    assert!(!is_purged(&fence, &page, begun));
}

#[test]
fn a_sweep_leaves_the_floor_of_a_shared_log_alone() {
    let (fence, page) = (fence(), page("/", "t"));
    fence.enter([1; 16], 0);
    let begun = fence.current(page.stripe);
    fence.apply(record("a", "other"), 1);
    let oldest = fence.begin_sweep();
    fence.end_sweep(oldest);
    assert!(!is_purged(&fence, &page, begun), "it may lie in a shared level");
}

#[test]
fn a_purge_goes_to_the_log_with_its_id_and_what_becomes_of_it() {
    let log = Arc::new(Handed::default());
    let fence = Fence::over_shared(log.clone(), Limits::default());
    let underway = fence.hand_over("mine".into(), purge("t"), Handling::Insist, at(0));
    assert_eq!(underway.receipt(), None);
    assert_eq!(*log.0.lock().unwrap(), [("mine".to_owned(), Handling::Insist)]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(underway.acknowledged()).unwrap_err().id, "mine");
}
