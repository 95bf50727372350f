//! A model of the fence for one process (docs/architecture.md, "The fence"), explored to the end: two purges, two fills,
//! two readers, hard and soft, waiters, 304, bust, eviction, expiry, the sweeper and the early floor, in every order of
//! their steps. Steps have the names of the code's.
//!
//! With all rules no state is reachable in which a promise is broken. Without any one of them such a state is reachable:
//! the test names a shortest way there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

mod explore;
mod fill;
mod purge;
mod reader;
mod state;
mod sweeper;

use explore::{Explored, explore};
use state::{Kind, Rule, Rules, Scenario, Sweep};

/// What is explored: what is purged, how and by whom, who busts, and what raises the floor. `LARDER_MODEL=all` takes every
/// combination; without it busts meet the sweeper where both purges are hard only.
fn scenarios() -> Vec<Scenario> {
    use Kind::{Hard, OtherPage, OtherStripe, Soft};
    let kinds =
        [[Hard, Hard], [Hard, Soft], [Soft, Hard], [Soft, Soft], [Hard, OtherPage], [OtherStripe, Hard]];
    let all = std::env::var("LARDER_MODEL").is_ok_and(|which| which == "all");
    let mut scenarios = Vec::new();
    for sweep in [Sweep::None, Sweep::Pass, Sweep::Early] {
        for purges in kinds {
            for busts in [false, true] {
                let both = busts && sweep != Sweep::None;
                if all || !both || purges == [Hard, Hard] && sweep == Sweep::Pass {
                    scenarios.push(Scenario { purges, busts, sweep });
                }
            }
        }
    }
    scenarios
}

#[test]
fn in_no_order_of_steps_is_a_promise_broken() {
    let mut states = 0;
    for scenario in scenarios() {
        match explore(&scenario, Rules::ALL) {
            Explored::Sound(some) => states += some,
            Explored::Broken { promise, trace } => panic!("{scenario:?}: {promise}\n{}", trace.join("\n")),
        }
    }
    println!("{states} states");
    assert!(states > 1_000_000, "{states} states are too few to say anything");
}

#[test]
fn without_any_one_rule_a_promise_is_broken() {
    for rule in Rule::ALL {
        let broken =
            scenarios().into_iter().filter(|scenario| rule.shows_in(scenario)).find_map(|scenario| {
                match explore(&scenario, Rules::without(rule)) {
                    Explored::Sound(_) => None,
                    Explored::Broken { promise, trace } => Some((scenario, promise, trace)),
                }
            });
        let Some((scenario, promise, trace)) = broken else { panic!("nobody needs {rule:?}") };
        assert!(rule.breaks(promise), "{rule:?} in {scenario:?}: {promise}\n{}", trace.join("\n"));
        println!("\nwithout {rule:?}, {scenario:?}: {promise}\n  {}", trace.join("\n  "));
    }
}
