//! A model of several nodes with one purge log in Redis (docs/architecture.md, "The fence", and `docs/clustering.md`): the log's
//! scripts, a replica and a failover, a flush, restarts, partitions, lost answers, provisional rows, trimming, fills, and a store
//! that the nodes share. Small scenarios are explored to the end; beyond them seeded walks take three nodes through many faults.
//!
//! With all rules no state is reachable in which a promise is broken. Without any one of them such a state is reachable, or a
//! node is stuck, or the rule is named as one that nobody needs. `LARDER_MODEL=all` explores the larger scenarios too;
//! `LARDER_WALKS` sets the number of walks; `--nocapture` prints shortest ways to where promises break.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

mod explore;
mod faults;
mod log;
mod node;
mod page;
mod purge;
mod rules;
mod scenarios;
mod shown;
mod state;
mod walk;

use explore::{Explored, explore};
use rules::{Rule, Rules};
use scenarios::{Size, scenarios};
use shown::Shown;
use state::Scenario;
use walk::walk;

fn wants_all() -> bool {
    std::env::var("LARDER_MODEL").is_ok_and(|which| which == "all")
}

fn walks() -> u64 {
    std::env::var("LARDER_WALKS").ok().and_then(|walks| walks.parse().ok()).unwrap_or(10_000)
}

#[test]
fn in_no_order_of_steps_is_a_promise_broken() {
    let mut all = 0;
    for (size, scenario) in scenarios() {
        if size == Size::Large && !wants_all() {
            continue;
        }
        match explore(&scenario) {
            Explored::Sound(states) => {
                println!("{}: {states} states", scenario.name);
                all += states;
            }
            Explored::Broken { promise, trace } => {
                panic!("{}: {promise}\n  {}", scenario.name, trace.join("\n  "))
            }
        }
    }
    println!("{all} states");
    assert!(all > 1_000_000, "{all} states are too few to say anything");
}

#[test]
fn without_any_one_rule_a_promise_is_broken_or_it_is_needless() {
    for rule in Rule::ALL.iter().copied() {
        let rules = Rules::ALL.without(rule);
        match rule.shown() {
            Shown::In(name) => shows(rule, name, rules),
            Shown::Stuck => {
                let stuck = (0..4_000).find_map(|seed| walk(seed, rules).map(|broken| (seed, broken)));
                let Some((seed, (promise, _))) = stuck else { panic!("nobody needs {rule:?}") };
                assert!(shown::is_stuck(promise), "{rule:?}, walk {seed}: {promise}");
                println!("\nwithout {rule:?}, walk {seed}: {promise}");
            }
            Shown::Needless(why) => {
                for seed in 0..500 {
                    if let Some((promise, trace)) =
                        walk(seed, rules).filter(|(promise, _)| !shown::is_stuck(promise))
                    {
                        panic!("{rule:?} is needed after all: {promise}\n  {}", trace.join("\n  "));
                    }
                }
                println!("\nnobody needs {rule:?}: {why}");
            }
        }
    }
}

fn shows(rule: Rule, name: &str, rules: Rules) {
    let of_name = |(_, scenario): (Size, Scenario)| (scenario.name == name).then_some(scenario);
    let scenario = Scenario { rules, ..scenarios().into_iter().find_map(of_name).unwrap() };
    let Explored::Broken { promise, trace } = explore(&scenario) else {
        panic!("{rule:?} is not missed in {name}");
    };
    assert!(rule.breaks(promise), "{rule:?} in {name}: {promise}\n  {}", trace.join("\n  "));
    println!("\nwithout {rule:?}, {name}: {promise}\n  {}", trace.join("\n  "));
}

#[test]
fn no_seeded_walk_breaks_a_promise_and_each_recovers() {
    for seed in 0..walks() {
        if let Some((promise, trace)) = walk(seed, Rules::ALL) {
            panic!("walk {seed}: {promise}\n  {}", trace.join("\n  "));
        }
    }
}

/// Walks find by chance what exploring finds for certain: these are found by few.
#[test]
fn walks_find_what_is_left_out() {
    for rule in [
        Rule::IncarnationChecked,
        Rule::ReadProves,
        Rule::ProofFromSend,
        Rule::AppliedBeforeProof,
        Rule::LeaseOutlivesProof,
        Rule::ReadRenews,
        Rule::WaitsForAll,
        Rule::NothingWithoutProof,
        Rule::NewFillsWithoutProof,
        Rule::SharedTickets,
        Rule::FloorAfterGap,
        Rule::BaseAbove,
        Rule::FloorAtBase,
        Rule::Provisional,
        Rule::ChecksSeeProvisional,
    ] {
        let found = (0..2_000).any(|seed| walk(seed, Rules::ALL.without(rule)).is_some());
        assert!(found, "2,000 walks do not miss {rule:?}");
    }
}
