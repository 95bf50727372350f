//! The sweeper, the early floor, and what befalls a stored response: eviction and the end of its lifetime.

use super::explore::Steps;
use super::purge::check;
use super::state::{FillPhase, Lock, Response, Rule, State, Sweep, SweepPhase, Validity};

pub(crate) fn steps(state: &State, steps: &mut Steps<'_>) {
    befall(state, steps);
    let mut to = *state;
    let follows = |rule| steps.rules.has(rule);
    let what = match state.sweeper {
        SweepPhase::Idle if steps.scenario.sweep == Sweep::None || state.lock != Lock::Open => return,
        SweepPhase::Idle if steps.scenario.sweep == Sweep::Early => {
            to.oldest = state.applied;
            to.sweeper = SweepPhase::SawStore;
            "the table is full"
        }
        SweepPhase::Idle => {
            if follows(Rule::CurrentBeforeFloor) {
                to.current = to.current.max(state.applied);
            }
            to.oldest = state.applied;
            to.sweeper = SweepPhase::Begun;
            "begin_sweep"
        }
        SweepPhase::Begun => {
            let running = |phase| matches!(phase, FillPhase::Begun | FillPhase::Looked | FillPhase::Asked);
            let begun = state.fills.iter().filter(|fill| running(fill.phase)).map(|fill| fill.begun_at);
            if follows(Rule::FollowsFills) {
                to.oldest = begun.fold(state.oldest, u8::min);
            }
            to.sweeper = SweepPhase::SawFills;
            "oldest_fill"
        }
        SweepPhase::SawFills => {
            visit(&mut to, steps);
            to.sweeper = SweepPhase::SawStore;
            "visit"
        }
        SweepPhase::SawStore if state.lock != Lock::Open => return,
        SweepPhase::SawStore => {
            to.lock = Lock::Sweeper;
            raise(&mut to, 0, steps)
        }
        SweepPhase::Raising(taken) => raise(&mut to, taken, steps),
        SweepPhase::Done => return,
    };
    steps.step("sweeper", what, to);
}

fn visit(to: &mut State, steps: &Steps<'_>) {
    let Some(mut stored) = to.stored else { return };
    match check(to, steps.scenario, steps.rules, stored.valid_at) {
        Validity::Purged => {
            to.stored = None;
            return;
        }
        Validity::Valid => {
            stored.valid_at = stored.valid_at.max(to.current);
            to.stored = Some(stored);
        }
        Validity::Stale => {}
    }
    if steps.rules.has(Rule::FollowsResponses) {
        to.oldest = to.oldest.min(stored.valid_at);
    }
}

/// The steps of `RAISE`, in the order of the rules.
fn raise(to: &mut State, taken: u8, steps: &Steps<'_>) -> &'static str {
    let publish_first = steps.rules.has(Rule::FloorBeforeFreeing);
    to.sweeper = SweepPhase::Raising(taken + 1);
    match taken {
        0 => {
            if steps.rules.has(Rule::CurrentBeforeFloor) {
                to.current = to.current.max(to.oldest);
            }
            "raise_current"
        }
        1 if publish_first => publish_floor(to),
        1 => free_rows(to),
        _ => {
            let what = if publish_first { free_rows(to) } else { publish_floor(to) };
            (to.sweeper, to.lock, to.oldest) = (SweepPhase::Done, Lock::Open, 0);
            what
        }
    }
}

fn publish_floor(to: &mut State) -> &'static str {
    to.floor = to.floor.max(to.oldest);
    "publish_floor"
}

fn free_rows(to: &mut State) -> &'static str {
    let oldest = to.oldest;
    for purge in to.purges.iter_mut().filter(|purge| purge.seq <= oldest) {
        (purge.row, purge.causer) = (false, false);
    }
    "free_rows"
}

fn befall(state: &State, steps: &mut Steps<'_>) {
    let Some(stored) = state.stored.filter(|_| !state.befallen) else { return };
    let mut to = *state;
    (to.stored, to.befallen) = (None, true);
    if !steps.rules.has(Rule::TicketsOutliveEntries) {
        to.committed = 0;
    }
    steps.step("store", "evict", to);
    let mut to = *state;
    (to.stored, to.befallen) = (Some(Response { expired: true, ..stored }), true);
    steps.step("store", "expire", to);
}
