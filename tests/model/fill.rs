//! The fills: begin, look again, ask the origin, commit.

use super::explore::Steps;
use super::purge::check;
use super::state::{DISORDER, FillPhase, Response, Rule, State, Validity};

const WHO: [&str; 2] = ["fill 1", "fill 2"];

pub(crate) fn steps(state: &State, steps: &mut Steps<'_>) {
    for (n, who) in WHO.into_iter().enumerate() {
        let mut to = *state;
        let begins_first = steps.rules.has(Rule::LooksAgain);
        let what = match state.fills[n].phase {
            FillPhase::Free | FillPhase::Ended => continue,
            FillPhase::Leading if begins_first => begin(&mut to, n),
            FillPhase::Leading => look_again(&mut to, n, steps),
            FillPhase::Begun if begins_first => look_again(&mut to, n, steps),
            FillPhase::Begun => begin(&mut to, n),
            FillPhase::Looked => ask(&mut to, n, steps),
            FillPhase::Asked => commit(&mut to, n, steps),
        };
        let fill = &mut to.fills[n];
        fill.phase = match fill.phase {
            FillPhase::Leading => FillPhase::Begun,
            FillPhase::Begun => FillPhase::Looked,
            FillPhase::Looked => FillPhase::Asked,
            FillPhase::Asked | FillPhase::Ended | FillPhase::Free => FillPhase::Ended,
        };
        if fill.phase == FillPhase::Ended {
            end(&mut to, n);
        }
        steps.step(who, what, to);
    }
}

fn begin(to: &mut State, n: usize) -> &'static str {
    to.tickets += 1;
    to.fills[n].ticket = to.tickets;
    to.fills[n].begun_at = to.current;
    "begin"
}

fn look_again(to: &mut State, n: usize, steps: &Steps<'_>) -> &'static str {
    let Some(stored) = to.stored.filter(|_| !to.fills[n].busting) else { return "look_again: nothing" };
    let validity = check(to, steps.scenario, steps.rules, stored.valid_at);
    let fill = &mut to.fills[n];
    match validity {
        Validity::Valid if !stored.expired && steps.rules.has(Rule::LooksAgain) => {
            // It answers everybody who waits, and nothing is fetched.
            fill.phase = FillPhase::Ended;
            (fill.kept, fill.version, fill.begun_at) = (true, stored.version, stored.valid_at);
            "look_again: use"
        }
        Validity::Valid => {
            fill.validator = Some((stored.version, false));
            "look_again: validate"
        }
        Validity::Stale => {
            fill.validator = Some((stored.version, steps.rules.has(Rule::StaleNeedsStrong)));
            "look_again: validate what is stale"
        }
        Validity::Purged if steps.rules.has(Rule::PurgedIsNotValidated) => "look_again: nothing",
        Validity::Purged => {
            fill.validator = Some((stored.version, false));
            "look_again: validate what is purged"
        }
    }
}

/// The origin computes its answer. A weak validator never tells two versions apart.
fn ask(to: &mut State, n: usize, steps: &Steps<'_>) -> &'static str {
    let fill = &mut to.fills[n];
    if !steps.rules.has(Rule::BegunBeforeTheOrigin) {
        // As the answer came in.
        fill.begun_at = u8::MAX;
    }
    match fill.validator {
        Some((old, strong)) if !strong || old == to.version => {
            (fill.version, fill.kept) = (old, true);
            "ask: 304"
        }
        _ => {
            fill.version = to.version;
            "ask: 200"
        }
    }
}

fn commit(to: &mut State, n: usize, steps: &Steps<'_>) -> &'static str {
    let current = to.current;
    let fill = &mut to.fills[n];
    if fill.begun_at == u8::MAX {
        fill.begun_at = current;
    }
    let fill = *fill;
    if steps.rules.has(Rule::Tickets) && fill.ticket < to.committed {
        return "commit: refused";
    }
    if fill.ticket < to.newest {
        to.broken = Some(DISORDER);
    }
    (to.committed, to.newest) = (fill.ticket, fill.ticket);
    to.stored = Some(Response {
        version: fill.version,
        valid_at: fill.begun_at,
        ticket: fill.ticket,
        expired: false,
    });
    "commit"
}

fn end(to: &mut State, n: usize) {
    to.fills[n].validator = None;
    if to.running == Some(u8::try_from(n).unwrap()) {
        to.running = None;
    }
    if to.fills.iter().all(|fill| matches!(fill.phase, FillPhase::Free | FillPhase::Ended)) {
        to.committed = 0;
    }
}
