//! The purges, and the verdict of the fence. The application changes, then purges: changing and appending are one step,
//! because nobody sees a record before its rows.

use super::explore::Steps;
use super::state::{Kind, Lock, PurgePhase, Rule, Rules, Scenario, State, Validity};

const WHO: [&str; 2] = ["purge 1", "purge 2"];

pub(crate) fn steps(state: &State, steps: &mut Steps<'_>) {
    for (n, who) in WHO.into_iter().enumerate() {
        let purge = state.purges[n];
        let kind = steps.scenario.purges[n];
        let mut to = *state;
        match purge.phase {
            PurgePhase::Idle => {
                to.appended += 1;
                if covers(kind) {
                    to.version += 1;
                }
                let new = &mut to.purges[n];
                (new.phase, new.seq, new.version) = (PurgePhase::Appended, to.appended, to.version);
                new.acknowledged = !steps.rules.has(Rule::AcknowledgedWhenApplied);
                steps.step(who, "append", to);
            }
            PurgePhase::Appended => {
                let turn = purge.seq == state.applied + 1 || !steps.rules.has(Rule::AppliedInOrder);
                if turn && state.lock == Lock::Open {
                    to.lock = Lock::Purge(u8::try_from(n).unwrap());
                    to.purges[n].phase = PurgePhase::Applying;
                    let what = apply(&mut to, n, 0, steps);
                    steps.step(who, what, to);
                }
            }
            PurgePhase::Applying => {
                let what = apply(&mut to, n, 1, steps);
                to.lock = Lock::Open;
                to.applied = to.applied.max(purge.seq);
                to.purges[n].phase = PurgePhase::Done;
                to.purges[n].acknowledged = true;
                steps.step(who, what, to);
            }
            PurgePhase::Done => {}
        }
    }
}

fn covers(kind: Kind) -> bool {
    matches!(kind, Kind::Hard | Kind::Soft)
}

/// The two steps of `APPLY`.
fn apply(to: &mut State, n: usize, at: usize, steps: &Steps<'_>) -> &'static str {
    let rows_first = steps.rules.has(Rule::RowBeforeCurrent);
    if (at == 0) == rows_first {
        write_rows(to, n, steps);
        "write_rows"
    } else {
        if steps.scenario.purges[n] != Kind::OtherStripe {
            to.current = to.current.max(to.purges[n].seq);
        }
        "publish"
    }
}

fn write_rows(to: &mut State, n: usize, steps: &Steps<'_>) {
    let kind = steps.scenario.purges[n];
    if !covers(kind) {
        return;
    }
    let other = &mut to.purges[1 - n];
    if kind == Kind::Soft && other.row {
        other.row = steps.rules.has(Rule::HardBesideSoft) || steps.scenario.purges[1 - n] == Kind::Soft;
        other.causer &= steps.rules.has(Rule::EachCauser);
    }
    to.purges[n].row = true;
    to.purges[n].causer = kind == Kind::Soft;
}

/// What the rows say of what holds for `from`, to a reader.
pub(crate) fn rows_say(state: &State, scenario: &Scenario, from: u8, reader: Option<usize>) -> Validity {
    let mut validity = Validity::Valid;
    for (n, purge) in state.purges.iter().enumerate() {
        if purge.row && purge.seq > from {
            let hard = scenario.purges[n] == Kind::Hard || purge.causer && reader == Some(n);
            validity = if hard || validity == Validity::Purged { Validity::Purged } else { Validity::Stale };
        }
    }
    validity
}

pub(crate) fn floor_says(state: &State, rules: Rules, from: u8) -> bool {
    rules.has(Rule::FloorRefuses) && from < state.floor
}

/// A whole check in one step, and the position that it holds for.
pub(crate) fn check(state: &State, scenario: &Scenario, rules: Rules, from: u8) -> Validity {
    if from >= state.current {
        return Validity::Valid;
    }
    if floor_says(state, rules, from) { Validity::Purged } else { rows_say(state, scenario, from, None) }
}
