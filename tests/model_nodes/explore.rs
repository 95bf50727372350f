//! Breadth first through all states, and at random beyond them. A state is known by a 128-bit fingerprint.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use super::rules::Rule;
use super::state::{Scenario, State};
use super::{faults, node, page, purge};

/// What came out.
pub(crate) enum Explored {
    /// This many states, and no promise broken.
    Sound(usize),
    /// A promise, and a shortest way to where it is broken.
    Broken { promise: &'static str, trace: Vec<String> },
}

pub(crate) struct Step {
    pub(crate) who: usize,
    pub(crate) what: &'static str,
    pub(crate) to: State,
}

/// What the parts of the model put their steps into.
pub(crate) struct Steps<'a> {
    pub(crate) scenario: &'a Scenario,
    found: Vec<Step>,
}

impl Steps<'_> {
    pub(crate) fn has(&self, rule: Rule) -> bool {
        self.scenario.has(rule)
    }

    pub(crate) fn step(&mut self, who: usize, what: &'static str, mut to: State) {
        page::check(&mut to, self.scenario);
        to.forget(self.scenario);
        self.found.push(Step { who, what, to });
    }
}

pub(crate) fn steps(state: &State, scenario: &Scenario) -> Vec<Step> {
    let mut steps = Steps { scenario, found: Vec::with_capacity(24) };
    node::steps(state, &mut steps);
    purge::steps(state, &mut steps);
    page::steps(state, &mut steps);
    faults::steps(state, &mut steps);
    steps.found
}

/// Two multiplications for a word: quick also where nothing is optimised.
#[derive(Default)]
struct Print(u64, u64);

impl Print {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        self.1 = (self.1.rotate_left(23) ^ word).wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31) ^ self.0;
    }
}

impl Hasher for Print {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.word(u64::from(byte) + 1);
    }

    fn write_isize(&mut self, number: isize) {
        self.word(number.cast_unsigned() as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The keys are fingerprints already.
#[derive(Default)]
struct Taken(u64);

impl Hasher for Taken {
    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, key: u128) {
        self.0 = (key >> 64) as u64 ^ key as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn fingerprint(state: &State) -> u128 {
    let mut print = Print::default();
    state.hash(&mut print);
    print.word(0);
    print.word(1);
    u128::from(print.0) << 64 | u128::from(print.1)
}

type Seen = HashMap<u128, (u128, u8, &'static str), BuildHasherDefault<Taken>>;

/// All states.
pub(crate) fn explore(scenario: &Scenario) -> Explored {
    let first = State::first(scenario);
    let mut seen = Seen::default();
    seen.insert(fingerprint(&first), (0, 0, ""));
    let mut layer = vec![first];
    while !layer.is_empty() {
        let mut next = Vec::new();
        for state in &layer {
            let from = fingerprint(state);
            for step in steps(state, scenario) {
                let at = fingerprint(&step.to);
                if seen.contains_key(&at) {
                    continue;
                }
                seen.insert(at, (from, u8::try_from(step.who).unwrap(), step.what));
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
    while let Some((from, who, what)) = seen.get(&at).filter(|(.., what)| !what.is_empty()) {
        steps.push(tell(usize::from(*who), what));
        at = *from;
    }
    steps.reverse();
    steps
}

pub(crate) fn tell(who: usize, what: &str) -> String {
    if who == faults::REDIS { format!("Redis: {what}") } else { format!("node {}: {what}", who + 1) }
}
