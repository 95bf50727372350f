//! A model of several nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod explore;
mod faults;
mod log;
mod node;
mod page;
mod purge;
mod rules;
mod state;
mod scenarios;

use explore::{Explored, explore};
use rules::{Rule, Rules};
use scenarios::scenarios;

#[test]
fn sound() {
    for scenario in scenarios() {
        let t = std::time::SystemTime::now();
        match explore(&scenario, 3_000_000) {
            Explored::Sound(n) => println!("{}: {n} in {:?}", scenario.name, t.elapsed()),
            Explored::Broken { promise, trace } => println!("{}: BROKEN {promise}\n  {}", scenario.name, trace.join("\n  ")),
        }
    }
}

#[test]
fn mutants() {
    for rule in Rule::ALL {
        let mut found = false;
        for scenario in scenarios() {
            let scenario = state::Scenario { rules: Rules::ALL.without(*rule), ..scenario };
            match explore(&scenario, 300_000) {
                Explored::Sound(_) => {}
                Explored::Broken { promise, trace } => { println!("{rule:?} in {}: {promise} ({})", scenario.name, trace.len()); 
                  if std::env::var("TRACE").is_ok() { println!("  {}", trace.join("\n  ")); }
                  found = true; break; }
            }
        }
        if !found { println!("{rule:?} NOT CAUGHT"); }
    }
}
