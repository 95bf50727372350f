//! What an acknowledgement rests on, one interleaving each: two nodes, a server of the log that loses nothing, and a clock
//! that stands still unless the test moves it. Tokio's time is paused: whoever sleeps here takes no time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::clock::Clock;
use larder::config::Wait;
use larder::purge::shared::{Followed, Terms, Times, open};
use larder::purge::{Handling, Limits, Nodes, Purge, Selector, Unlogged, Where, random_id};
use tokio::time::sleep;

use crate::BOUND;
use crate::server::{Shared, Way, Without, empty};

struct Log {
    shared: Arc<Mutex<Shared>>,
    clock: Clock,
}

impl Log {
    fn new() -> Self {
        let shared = Arc::new(Mutex::new(empty(1, Without::Nothing)));
        shared.lock().unwrap().calm = true;
        Self { shared, clock: Clock::manual(Duration::from_secs(1_000_000)) }
    }

    fn times() -> Times {
        Times { bound: BOUND, pause: Duration::from_millis(5) }
    }

    /// A node, once it is current.
    async fn node(&self, name: &str) -> Followed {
        let way = Way { node: name.to_owned(), shared: self.shared.clone(), clock: self.clock.clone() };
        let terms = Terms {
            node: name.to_owned(),
            stores: Arc::new(["default".to_owned()]),
            times: Self::times(),
            wait: Wait::All,
        };
        let followed = open(Arc::new(way), terms, Limits::default(), self.clock.clone());
        until(|| followed.fence.is_proven(self.clock.now())).await;
        followed
    }

    /// The clock goes on for so long, a millisecond at a time.
    async fn go_on(&self, time: Duration) {
        for _ in 0..time.as_millis() {
            self.clock.advance(Duration::from_millis(1));
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn cut(&self, name: &str) {
        self.shared.lock().unwrap().cut.insert(name.to_owned());
    }
}

async fn until(so: impl Fn() -> bool) {
    while !so() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Purges at a node: who obeys it.
async fn purge(node: &Followed, clock: &Clock) -> Result<Nodes, Unlogged> {
    let purge = Purge::hard(vec![Selector::Tag("t".into())], Where::All);
    let underway = node.fence.hand_over(random_id(), purge, Handling::Report, clock.now());
    underway.acknowledged().await.map(|receipt| receipt.nodes.unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_of_the_nodes_before_a_record_says_nothing_of_who_has_applied_it() {
    let log = Log::new();
    let one = log.node("one").await;
    log.go_on(2 * Log::times().lease()).await;
    // From here on all is at one moment. The first purge looks at the leases; then another node begins.
    purge(&one, &log.clock).await.unwrap();
    let other = log.node("other").await;
    let seq = one.progress.borrow().applied;
    until(|| other.progress.borrow().applied == seq).await;
    log.cut("other");
    let second = purge(&one, &log.clock).await;
    assert!(other.fence.is_proven(log.clock.now()) && other.progress.borrow().applied == seq);
    assert!(second.is_err(), "it serves what the purge covers: {second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_watched_from_when_it_was_seen_and_not_from_when_it_was_asked_for() {
    let log = Log::new();
    let (one, other) = (log.node("one").await, log.node("other").await);
    log.go_on(2 * Log::times().lease()).await;
    // The way to the leases takes long, once; meanwhile the other node renews its own, and then no more.
    log.shared.lock().unwrap().slow = 400;
    let first = async {
        let nodes = purge(&one, &log.clock).await.unwrap();
        assert_eq!(nodes.gone.len(), 0, "{nodes:?}");
        log.cut("other");
        let nodes = purge(&one, &log.clock).await.unwrap();
        assert_eq!(nodes.gone, ["other"]);
        assert!(!other.fence.is_proven(log.clock.now()), "it serves what the purge covers");
    };
    tokio::select! {
        () = first => {}
        () = log.go_on(10 * Log::times().lease()) => panic!("not acknowledged"),
    }
}

#[tokio::test(start_paused = true)]
async fn however_long_the_log_is_away_a_bounded_number_of_purges_waits_for_it() {
    const MOST: usize = 10_000;
    let log = Log::new();
    let one = log.node("one").await;
    log.shared.lock().unwrap().down = true;
    let insist = |count| {
        for _ in 0..count {
            let purge = Purge::hard(vec![Selector::Tag("t".into())], Where::All);
            drop(one.fence.hand_over(random_id(), purge, Handling::Insist, log.clock.now()));
        }
    };
    insist(MOST + 1);
    sleep(Duration::from_secs(5)).await;
    for _ in 0..500 {
        insist(20);
        sleep(Duration::from_millis(20)).await;
    }
    // Those of the last moments are not given up yet.
    sleep(Duration::from_secs(5)).await;
    let waiting = one.fence.provisional();
    assert!((1..=MOST + 1).contains(&waiting), "{waiting} wait");
    // When it is back, all are covered.
    log.shared.lock().unwrap().down = false;
    until(|| one.fence.provisional() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_left_is_never_followed_again() {
    let log = Log::new();
    let one = log.node("one").await;
    log.go_on(2 * Log::times().lease()).await;
    let mark = one.fence.mark(one.fence.applied()).unwrap();
    // Another server takes its place, without what this one has; then this one is there again, as it was: it never stopped.
    let former = log.shared.lock().unwrap().state.clone();
    log.shared.lock().unwrap().fail_over();
    let incarnation = || one.progress.borrow().incarnation.unwrap();
    until(|| incarnation() != mark.incarnation).await;
    let between = incarnation();
    log.go_on(2 * Log::times().lease()).await;
    purge(&one, &log.clock).await.unwrap();
    log.shared.lock().unwrap().state = former;
    until(|| incarnation() != between).await;
    assert_eq!(one.fence.position(mark), None, "what was purged meanwhile is valid again");
    let other = log.node("other").await;
    assert_eq!(other.fence.position(mark), None, "for others it is another log as well");
    until(|| one.fence.is_proven(log.clock.now())).await;
}
