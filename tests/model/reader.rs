//! The readers: look up, judge, serve; or lead a fill or wait for one.

use super::explore::Steps;
use super::purge::{check, floor_says, rows_say};
use super::state::{
    FillPhase, Kind, NO_BUST, NOT_FRESH, Reader, ReaderPhase, Response, Rule, STALE, State, Validity,
};

const WHO: [&str; 2] = ["reader 1", "reader 2"];
const ROUNDS: u8 = 3;

pub(crate) fn steps(state: &State, steps: &mut Steps<'_>) {
    for (n, who) in WHO.into_iter().enumerate() {
        match state.readers[n].phase {
            ReaderPhase::Idle => come(state, n, who, steps),
            ReaderPhase::Looking(taken) => look(state, n, who, taken, steps),
            ReaderPhase::Fetching => fetch(state, n, who, steps),
            ReaderPhase::Waiting(fill) => wait(state, n, who, usize::from(fill), steps),
            ReaderPhase::Done => {}
        }
    }
}

/// The request comes: what was acknowledged by now it must see.
fn come(state: &State, n: usize, who: &'static str, steps: &mut Steps<'_>) {
    let mut to = *state;
    let reader = &mut to.readers[n];
    for (at, purge) in state.purges.iter().enumerate() {
        let kind = steps.scenario.purges[at];
        if purge.acknowledged && matches!(kind, Kind::Hard | Kind::Soft) {
            reader.must_fresh = reader.must_fresh.max(purge.version);
            if kind == Kind::Hard || at == n {
                reader.must = reader.must.max(purge.version);
            }
        }
    }
    if n == 1 && steps.scenario.busts {
        reader.came = state.tickets;
    }
    reader.since = state.current;
    if n == 1 && steps.scenario.busts {
        reader.phase = ReaderPhase::Fetching;
        return steps.step(who, "come for a fresh answer", to);
    }
    reader.copy = state.stored;
    match state.stored {
        None => {
            reader.phase = ReaderPhase::Fetching;
            steps.step(who, "look up: absent", to);
        }
        Some(copy) if copy.valid_at >= state.current => {
            decide(&mut to, n, copy, Validity::Valid);
            steps.step(who, "look up: valid as remembered", to);
        }
        Some(_) => {
            reader.phase = ReaderPhase::Looking(0);
            steps.step(who, "look up", to);
        }
    }
}

#[derive(Clone, Copy)]
enum Look {
    Current,
    Rows,
    Floor,
}

/// The steps of `LOOK`, in the order of the rules.
fn look(state: &State, n: usize, who: &'static str, taken: u8, steps: &mut Steps<'_>) {
    let order = if !steps.rules.has(Rule::CurrentBeforeRows) {
        [Look::Rows, Look::Current, Look::Floor]
    } else if !steps.rules.has(Rule::FloorAfterRows) {
        [Look::Current, Look::Floor, Look::Rows]
    } else {
        [Look::Current, Look::Rows, Look::Floor]
    };
    let mut to = *state;
    let reader = &mut to.readers[n];
    let Some(copy) = reader.copy else { return };
    let what = match order[usize::from(taken)] {
        Look::Current => {
            reader.current = state.current;
            "load_current"
        }
        Look::Rows => {
            let say = rows_say(state, steps.scenario, copy.valid_at, Some(n));
            reader.validity = if reader.validity == Validity::Purged { Validity::Purged } else { say };
            "look_at_rows"
        }
        Look::Floor => {
            if floor_says(state, steps.rules, copy.valid_at) {
                reader.validity = Validity::Purged;
            }
            "look_at_floor"
        }
    };
    reader.phase = ReaderPhase::Looking(taken + 1);
    if taken < 2 {
        return steps.step(who, what, to);
    }
    let (validity, mut at) = (reader.validity, reader.current);
    if !steps.rules.has(Rule::RememberedAsLoaded) {
        at = state.current;
    }
    let stale_too = !steps.rules.has(Rule::OnlyValidIsRemembered) && validity == Validity::Stale;
    if validity == Validity::Valid || stale_too {
        remember(&mut to, copy, at);
    }
    if validity == Validity::Stale {
        // Its window may also be over.
        let mut over = to;
        goes_fetching(&mut over, n);
        steps.step(who, "look_at_floor: stale for too long", over);
    }
    decide(&mut to, n, copy, validity);
    steps.step(who, what, to);
}

fn remember(to: &mut State, copy: Response, at: u8) {
    if let Some(stored) = to.stored.as_mut().filter(|stored| stored.ticket == copy.ticket) {
        stored.valid_at = stored.valid_at.max(at);
    }
}

fn decide(to: &mut State, n: usize, copy: Response, validity: Validity) {
    match validity {
        Validity::Valid if !copy.expired => serve(to, n, copy.version, true),
        Validity::Stale => {
            serve(to, n, copy.version, false);
            if to.running.is_none() {
                lead(to, false);
            }
        }
        Validity::Valid | Validity::Purged => goes_fetching(to, n),
    }
}

/// What it looked at matters no more.
fn goes_fetching(to: &mut State, n: usize) {
    let reader = &mut to.readers[n];
    (reader.copy, reader.current, reader.validity) = (None, 0, Validity::Valid);
    reader.phase = ReaderPhase::Fetching;
}

fn serve(to: &mut State, n: usize, version: u8, fresh: bool) {
    let reader = &mut to.readers[n];
    if version < reader.must {
        to.broken = Some(STALE);
    } else if fresh && version < reader.must_fresh {
        to.broken = Some(NOT_FRESH);
    }
    done(to, n);
}

/// What it did on the way matters no more.
fn done(to: &mut State, n: usize) {
    to.readers[n] = Reader { phase: ReaderPhase::Done, ..State::first().readers[n] };
}

fn lead(to: &mut State, busting: bool) -> Option<u8> {
    let free = to.fills.iter().position(|fill| fill.phase == FillPhase::Free)?;
    to.fills[free].phase = FillPhase::Leading;
    to.fills[free].busting = busting;
    to.running = u8::try_from(free).ok();
    to.running
}

/// Joins the fill that runs, or leads one.
fn fetch(state: &State, n: usize, who: &'static str, steps: &mut Steps<'_>) {
    let mut to = *state;
    let reader = state.readers[n];
    let busting = n == 1 && steps.scenario.busts;
    let joins = state.running.filter(|running| {
        let fill = state.fills[usize::from(*running)];
        let begun = fill.phase != FillPhase::Leading;
        if busting && steps.rules.has(Rule::BustsAnew) {
            return fill.busting && !begun;
        }
        reader.round == 0 || !begun || fill.begun_at >= reader.since
    });
    let (what, fill) = match joins {
        Some(fill) => ("attach: join", Some(fill)),
        None => ("attach: lead", lead(&mut to, busting)),
    };
    // Where the model has no fill left, the request passes.
    match fill {
        Some(fill) => to.readers[n].phase = ReaderPhase::Waiting(fill),
        None => done(&mut to, n),
    }
    steps.step(who, what, to);
}

fn wait(state: &State, n: usize, who: &'static str, at: usize, steps: &mut Steps<'_>) {
    let (fill, reader) = (state.fills[at], state.readers[n]);
    let known = fill.phase == FillPhase::Ended || fill.phase == FillPhase::Asked && !fill.kept;
    if !known {
        return;
    }
    let mut to = *state;
    let since = !fill.kept && fill.begun_at >= reader.since;
    let takes = since
        || match check(state, steps.scenario, steps.rules, fill.begun_at) {
            Validity::Valid => true,
            Validity::Stale => !steps.rules.has(Rule::JoinsNothingStale),
            Validity::Purged => !steps.rules.has(Rule::JoinsNothingPurged),
        };
    if takes {
        if n == 1 && steps.scenario.busts && fill.ticket <= reader.came {
            to.broken = Some(NO_BUST);
        }
        serve(&mut to, n, fill.version, true);
        return steps.step(who, "take what the fill came out with", to);
    }
    to.readers[n].round += 1;
    to.readers[n].phase = ReaderPhase::Fetching;
    if reader.round + 1 == ROUNDS {
        done(&mut to, n);
    }
    steps.step(who, "leave what the fill came out with", to);
}
