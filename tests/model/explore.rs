//! Breadth first through all states. A state is known by a 128-bit fingerprint, so that millions of them take little room.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::state::{Rules, Scenario, State};
use super::{fill, purge, reader, sweeper};

/// What came out.
pub(crate) enum Explored {
    /// This many states, and no promise broken.
    Sound(usize),
    /// A promise, and a shortest way to where it is broken.
    Broken { promise: &'static str, trace: Vec<String> },
}

/// A step: who takes it, what, and where it leads.
pub(crate) struct Step {
    pub(crate) who: &'static str,
    pub(crate) what: &'static str,
    pub(crate) to: State,
}

/// What the parts of the model put their steps into.
pub(crate) struct Steps<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) rules: Rules,
    pub(crate) found: Vec<Step>,
}

impl Steps<'_> {
    pub(crate) fn step(&mut self, who: &'static str, what: &'static str, mut to: State) {
        to.check_floor(self.scenario);
        self.found.push(Step { who, what, to });
    }
}

fn fingerprint(state: &State) -> u128 {
    let mut hasher = SipHasher13::new();
    state.hash(&mut hasher);
    let _ = hasher.finish();
    hasher.finish128().as_u128()
}

fn steps(state: &State, scenario: &Scenario, rules: Rules) -> Vec<Step> {
    let mut steps = Steps { scenario, rules, found: Vec::with_capacity(12) };
    purge::steps(state, &mut steps);
    fill::steps(state, &mut steps);
    reader::steps(state, &mut steps);
    sweeper::steps(state, &mut steps);
    steps.found
}

type Seen = HashMap<u128, (u128, &'static str, &'static str)>;

pub(crate) fn explore(scenario: &Scenario, rules: Rules) -> Explored {
    let first = State::first();
    let mut seen: Seen = HashMap::from([(fingerprint(&first), (0, "", ""))]);
    let mut layer = vec![first];
    while !layer.is_empty() {
        let mut next = Vec::new();
        for state in &layer {
            let from = fingerprint(state);
            for step in steps(state, scenario, rules) {
                let at = fingerprint(&step.to);
                if seen.contains_key(&at) {
                    continue;
                }
                seen.insert(at, (from, step.who, step.what));
                if let Some(promise) = step.to.broken {
                    return Explored::Broken { promise, trace: trace(&seen, at) };
                }
                next.push(step.to);
            }
        }
        layer = next;
    }
    Explored::Sound(seen.len())
}

fn trace(seen: &Seen, mut at: u128) -> Vec<String> {
    let mut steps = Vec::new();
    while let Some((from, who, what)) = seen.get(&at).filter(|(_, who, _)| !who.is_empty()) {
        steps.push(format!("{who}: {what}"));
        at = *from;
    }
    steps.reverse();
    steps
}
