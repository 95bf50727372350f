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
mod walk;

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

#[test]
fn walks() {
    let n: u64 = std::env::var("WALKS").map_or(20000, |n| n.parse().unwrap());
    let t = std::time::SystemTime::now();
    let mut bad = std::collections::BTreeMap::new();
    for seed in 0..n {
        if let Some((promise, trace)) = walk::walk(seed, Rules::ALL) {
            let e = bad.entry(promise).or_insert((0, trace.clone(), seed));
            e.0 += 1;
            if trace.len() < e.1.len() { e.1 = trace; e.2 = seed; }
        }
    }
    println!("{:?}", t.elapsed());
    for (p, (n, t, seed)) in bad { println!("{p}: {n}, seed {seed}\n  {}", t.join("\n  ")); }
}

#[test]
fn one() {
    let seed: u64 = std::env::var("SEED").unwrap().parse().unwrap();
    let r = walk::walk(seed, Rules::ALL).unwrap();
    println!("{}", r.0);
}

#[test]
fn walk_mutants() {
    for rule in Rule::ALL {
        let mut bad = std::collections::BTreeMap::new();
        let mut first = None;
        for seed in 0..15000 {
            if let Some((promise, _)) = walk::walk(seed, Rules::ALL.without(*rule)) {
                first.get_or_insert(seed);
                *bad.entry(promise).or_insert(0) += 1;
            }
        }
        println!("{rule:?}: {first:?} {bad:?}");
    }
}
