//! The purges: the application changes, the record is appended, the nodes are waited for. Writes go on without the log.

use super::explore::Steps;
use super::log;
use super::rules::Rule;
use super::state::{PurgePhase, State};

pub(crate) fn steps(state: &State, steps: &mut Steps<'_>) {
    let scenario = steps.scenario;
    for (p, (n, page, writes)) in scenario.purges.iter().copied().enumerate() {
        let purge = state.purges[p];
        let mut to = *state;
        match purge.phase {
            PurgePhase::Idle => {
                if p > 0 && state.purges[p - 1].phase == PurgePhase::Idle {
                    continue;
                }
                to.versions[page] += 1;
                to.purges[p].version = to.versions[page];
                to.purges[p].phase = PurgePhase::Wanted;
                steps.step(n, "changes a page", to);
            }
            PurgePhase::Wanted => wanted(state, p, n, steps),
            PurgePhase::Flying { incarnation, seq, confirmed, .. } => {
                if confirmed || !scenario.replica || !scenario.has(Rule::WaitOnAppend) {
                    to.purges[p].phase = PurgePhase::Logged { incarnation, seq };
                    to.purges[p].logged = to.purges[p].logged.max(1);
                    if !scenario.has(Rule::ProvisionalUntilApplied) {
                        to.nodes[n].provisional &= !(1 << p);
                    }
                    steps.step(n, "learns that its record is logged", to);
                } else {
                    // What is not confirmed in time is as good as a lost answer.
                    to.purges[p].phase = PurgePhase::Wanted;
                    steps.step(n, "gets no confirmation", to);
                }
                if state.lost > 0 {
                    let mut to = *state;
                    to.lost -= 1;
                    to.purges[p].phase = PurgePhase::Wanted;
                    steps.step(n, "does not get the answer to APPEND", to);
                }
            }
            PurgePhase::Logged { .. } => logged(state, p, n, steps),
            PurgePhase::Acknowledged => {}
        }
        let waits = matches!(purge.phase, PurgePhase::Wanted | PurgePhase::Flying { .. });
        if writes && waits && state.nodes[n].own[page] < purge.version {
            let mut to = *state;
            to.nodes[n].own[page] = purge.version;
            if scenario.has(Rule::Provisional) {
                to.nodes[n].provisional |= 1 << p;
            }
            steps.step(n, "answers its writer, the purge pending", to);
        }
    }
}

fn wanted(state: &State, p: usize, n: usize, steps: &mut Steps<'_>) {
    let Some(at) = state.nodes[n].at.map(usize::from).filter(|at| state.servers[*at].master) else { return };
    let mut to = *state;
    let expected = state.nodes[n].incarnation;
    if let Some((incarnation, seq)) = log::append(&mut to, at, p, expected, steps.scenario) {
        let server = u8::try_from(at).unwrap();
        to.purges[p].phase = PurgePhase::Flying { server, incarnation, seq, confirmed: false };
        steps.step(n, "APPEND", to);
    }
}

fn logged(state: &State, p: usize, n: usize, steps: &mut Steps<'_>) {
    let scenario = steps.scenario;
    let PurgePhase::Logged { incarnation, seq } = state.purges[p].phase else { return };
    let node = &state.nodes[n];
    let one = scenario.has(Rule::AcknowledgedInOneIncarnation);
    if one && node.incarnation != incarnation {
        let mut to = *state;
        to.purges[p].phase =
            if steps.has(Rule::QueuedUntilApplied) { PurgePhase::Wanted } else { PurgePhase::Acknowledged };
        steps.step(n, "appends again: its record was in another incarnation", to);
        return;
    }
    let Some(at) = node.at.map(usize::from).filter(|at| state.servers[*at].master) else { return };
    if one && node.cursor >= seq && scenario.has(Rule::ProvisionalByNumber) && node.provisional & 1 << p != 0
    {
        let mut to = *state;
        to.nodes[n].provisional &= !(1 << p);
        steps.step(n, "drops a provisional row: its record was skipped", to);
        return;
    }
    let same = !one || state.incarnation(at, scenario) == incarnation;
    let own = node.cursor >= seq || !scenario.has(Rule::OwnApplied);
    if same && own && log::all_have(&state.servers[at].data, seq, scenario) {
        let mut to = *state;
        to.purges[p].phase = PurgePhase::Acknowledged;
        let page = scenario.purges[p].1;
        to.acknowledged[page] = to.acknowledged[page].max(to.purges[p].version);
        steps.step(n, "acknowledges its purge", to);
    }
}
