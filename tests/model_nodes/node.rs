//! A node: its follower, its epochs, its provisional rows, and the verdict of its fence.

use super::explore::Steps;
use super::log;
use super::rules::Rule;
use super::state::{BOUND, Follow, Incarnation, Node, Purge, PurgePhase, Reply, Scenario, State, Word};

pub(crate) fn steps(state: &State, steps: &mut Steps<'_>) {
    for n in 0..steps.scenario.nodes {
        connect(state, n, steps);
        let at = state.nodes[n].at.map(usize::from).filter(|at| state.servers[*at].master);
        match (state.nodes[n].follow, at) {
            (Follow::Out, Some(at)) => begin(state, n, at, 0, steps),
            (Follow::Broken(id), Some(at)) => begin(state, n, at, id, steps),
            (Follow::Idle, Some(at)) => {
                let mut to = *state;
                let reply = log::read(&mut to, at, n, steps.scenario);
                to.nodes[n].follow = Follow::Read(reply);
                steps.step(n, "READ", to);
                if !steps.has(Rule::ReadProves) {
                    let mut to = *state;
                    to.nodes[n].proof = BOUND;
                    to.servers[at].data.nodes[n].left = steps.scenario.lease();
                    steps.step(n, "PING", to);
                }
            }
            (Follow::Read(reply), _) => receive(state, n, reply, steps),
            (Follow::Applying(reply), _) => {
                let mut to = *state;
                to.nodes[n].follow = Follow::Idle;
                apply(&mut to.nodes[n], &reply, steps.scenario);
                steps.step(n, "applies", to);
            }
            _ => {}
        }
    }
}

fn connect(state: &State, n: usize, steps: &mut Steps<'_>) {
    let mut to = *state;
    let node = &mut to.nodes[n];
    if matches!(node.follow, Follow::Read(_)) {
        node.follow = Follow::Idle;
    }
    if state.nodes[n].at != Some(state.primary) {
        node.at = Some(state.primary);
        steps.step(n, "connects to the primary", to);
    }
    if state.cuts > 0 && state.nodes[n].at.is_some() {
        to.nodes[n].at = None;
        to.cuts -= 1;
        steps.step(n, "is cut off", to);
    }
    // A purge whose node crashes is one that nobody waits for any more: such runs are not followed.
    let busy = |(of, purge): (&(usize, usize, bool), &Purge)| {
        of.0 == n && !matches!(purge.phase, PurgePhase::Idle | PurgePhase::Acknowledged)
    };
    if state.crashes > 0 && !steps.scenario.purges.iter().zip(&state.purges).any(busy) {
        let mut to = *state;
        to.nodes[n] = Node { at: Some(state.primary), ..Node::default() };
        to.crashes -= 1;
        steps.step(n, "crashes and begins anew", to);
    }
}

fn begin(state: &State, n: usize, at: usize, broken: u8, steps: &mut Steps<'_>) {
    let mut to = *state;
    let (incarnation, floor) = log::start(&mut to, at, n, broken, steps.scenario);
    if broken != 0 && incarnation == to.nodes[n].incarnation {
        // Only where the log is not born anew: the node reads all of it again.
        (to.nodes[n].cursor, to.nodes[n].record) = (floor, 0);
    }
    adopt(&mut to.nodes[n], incarnation, floor, steps.scenario);
    to.nodes[n].follow = Follow::Idle;
    steps.step(n, "START", to);
}

/// What a node makes of the answer to START.
fn adopt(node: &mut Node, incarnation: Incarnation, floor: u8, scenario: &Scenario) {
    let is_first = node.incarnation == Incarnation::default();
    if is_first || node.incarnation != incarnation && scenario.has(Rule::IncarnationChecked) {
        if scenario.has(if is_first { Rule::FirstEpochIsAbove } else { Rule::BaseAbove }) {
            node.base = node.current() + 1;
        }
        let rise = if scenario.has(Rule::FloorAtStart) { floor } else { 0 };
        if scenario.has(Rule::FloorAtBase) || is_first {
            node.floor = node.base + rise;
        }
        (node.cursor, node.record) = (floor, 0);
    } else if node.cursor < floor {
        if scenario.has(Rule::FloorAfterGap) {
            node.floor = node.floor.max(node.base + floor);
        }
        (node.cursor, node.record) = (floor, 0);
    }
    node.incarnation = incarnation;
}

fn receive(state: &State, n: usize, reply: Reply, steps: &mut Steps<'_>) {
    let scenario = steps.scenario;
    let mut to = *state;
    let node = &mut to.nodes[n];
    if node.incarnation != reply.incarnation && scenario.has(Rule::IncarnationChecked) {
        node.follow = Follow::Out;
        steps.step(n, "learns of another incarnation", to);
        return;
    }
    match reply.word {
        Word::Diverged => {
            node.follow = Follow::Broken(reply.incarnation.0);
            steps.step(n, "learns that it diverged", to);
        }
        Word::Behind => {
            node.follow = Follow::Out;
            steps.step(n, "learns that it is behind", to);
        }
        Word::Records => records(to, n, reply, steps),
    }
}

fn records(mut to: State, n: usize, reply: Reply, steps: &mut Steps<'_>) {
    let scenario = steps.scenario;
    let node = &mut to.nodes[n];
    let came = reply.records.iter().filter(|(seq, _)| *seq != 0);
    let in_order = (node.cursor + 1..).zip(came.clone()).all(|(due, (seq, _))| due == *seq);
    let last = came.map(|(seq, _)| *seq).max().unwrap_or(node.cursor);
    let is_full = reply.records.iter().all(|(seq, _)| *seq != 0);
    let short = last < reply.seq && !is_full && scenario.has(Rule::ReachesTheEnd);
    if short || !in_order && scenario.has(Rule::Contiguous) {
        node.follow = Follow::Broken(reply.incarnation.0);
        steps.step(n, "finds a gap", to);
        return;
    }
    let confirmed = reply.confirmed || !scenario.replica || !scenario.has(Rule::WaitOnRead);
    if confirmed && (!is_full || last == reply.seq) {
        let age = if scenario.has(Rule::ProofFromSend) { reply.age } else { 0 };
        node.proof = node.proof.max(BOUND.saturating_sub(age));
    }
    if scenario.has(Rule::AppliedBeforeProof) || last == node.cursor {
        node.follow = Follow::Idle;
        apply(node, &reply, scenario);
    } else {
        node.follow = Follow::Applying(reply);
    }
    steps.step(n, "takes what came", to);
}

fn apply(node: &mut Node, reply: &Reply, scenario: &Scenario) {
    for (seq, record) in reply.records.iter().filter(|(seq, _)| *seq != 0) {
        let purge = usize::from(*record) - 1;
        let row = &mut node.rows[scenario.purges[purge].1];
        *row = (*row).max(node.base + seq);
        node.provisional &= !(1 << purge);
        (node.cursor, node.record) = (*seq, *record);
    }
}

// ---- The verdict.

pub(crate) fn is_provisional(node: &Node, page: usize, scenario: &Scenario) -> bool {
    let covers = |(purge, (_, of, _)): (usize, &(usize, usize, bool))| {
        *of == page && node.provisional & 1 << purge != 0
    };
    scenario.purges.iter().enumerate().any(covers)
}

/// Whether what began there is not purged, as far as this node knows.
pub(crate) fn is_unpurged(node: &Node, page: usize, begun: u8, scenario: &Scenario) -> bool {
    let provisional = is_provisional(node, page, scenario);
    if begun >= node.current() && !(provisional && scenario.has(Rule::ChecksSeeProvisional)) {
        return true;
    }
    begun >= node.floor && begun >= node.rows[page] && !provisional
}

pub(crate) fn is_valid(node: &Node, page: usize, begun: u8, scenario: &Scenario) -> bool {
    (node.proof > 0 || !scenario.has(Rule::NothingWithoutProof)) && is_unpurged(node, page, begun, scenario)
}
