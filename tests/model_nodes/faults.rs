//! What happens to Redis, and the time.

use super::explore::Steps;
use super::log;
use super::rules::Rule;
use super::state::{BOUND, Data, Fault, Follow, GIVEN_UP, Lease, NODES, Purge, PurgePhase, Reply, State};

/// Who takes a step that no node takes.
pub(crate) const REDIS: usize = NODES;

pub(crate) fn steps(state: &State, steps: &mut Steps<'_>) {
    let scenario = steps.scenario;
    tick(state, steps);
    copy(state, steps);
    let at = usize::from(state.primary);
    if scenario.trims && state.servers[at].data.seq > state.servers[at].data.floor {
        let mut to = *state;
        if log::trim(&mut to.servers[at].data, scenario) {
            to.broken = Some(GIVEN_UP);
        }
        steps.step(REDIS, "the log is trimmed", to);
    }
    if !state.follows {
        let mut to = *state;
        to.servers[1 - at].master = false;
        to.follows = true;
        steps.step(REDIS, "the old primary becomes a replica", to);
    }
    if state.faults > 0 {
        for fault in &scenario.faults {
            befall(state, *fault, steps);
        }
    }
}

fn tick(state: &State, steps: &mut Steps<'_>) {
    let drift = i8::try_from(steps.scenario.drift).unwrap();
    let mut to = *state;
    tick_nodes(&mut to);
    if state.ahead > 0 {
        let mut to = to;
        to.ahead -= 1;
        steps.step(REDIS, "a tick of the nodes' clocks", to);
    }
    tick_servers(&mut to, steps.scenario.lease());
    steps.step(REDIS, "a tick", to);
    if state.ahead < drift {
        let mut to = *state;
        to.ahead += 1;
        tick_servers(&mut to, steps.scenario.lease());
        steps.step(REDIS, "a tick of the server's clock", to);
    }
}

fn tick_nodes(to: &mut State) {
    for node in &mut to.nodes {
        node.proof = node.proof.saturating_sub(1);
        if let Follow::Read(reply) | Follow::Applying(reply) = &mut node.follow {
            reply.age = BOUND.min(reply.age + 1);
        }
    }
    for purge in to.purges.iter_mut().filter(|purge| purge.logged > 0) {
        purge.logged = (purge.logged + 1).min(BOUND + 1);
    }
}

fn tick_servers(to: &mut State, lease: u8) {
    for server in &mut to.servers {
        server.data.age = if server.data.id == 0 { 0 } else { (server.data.age + 1).min(lease) };
        for lease in &mut server.data.nodes {
            lease.left = lease.left.saturating_sub(1);
        }
    }
}

/// The replica, or the disk, catches up. What a WAIT waits for is there then.
fn copy(state: &State, steps: &mut Steps<'_>) {
    let from = usize::from(state.primary);
    let saves = [Fault::Restore, Fault::Masked].iter().any(|fault| steps.scenario.faults.contains(fault));
    if !state.follows || !steps.scenario.replica && (!saves || state.faults == 0) {
        return;
    }
    let mut to = *state;
    to.servers[1 - from].data = to.servers[from].data;
    if steps.scenario.replica {
        for node in &mut to.nodes {
            if let Follow::Read(reply @ Reply { .. }) = &mut node.follow {
                reply.confirmed |= reply.server == state.primary;
            }
        }
        for purge in &mut to.purges {
            if let PurgePhase::Flying { server, confirmed, .. } = &mut purge.phase {
                *confirmed |= *server == state.primary;
            }
        }
    }
    if to != *state {
        steps.step(REDIS, if steps.scenario.replica { "replicates" } else { "saves its data" }, to);
    }
}

fn befall(state: &State, fault: Fault, steps: &mut Steps<'_>) {
    let mut to = *state;
    to.faults -= 1;
    let at = usize::from(state.primary);
    let disk = state.servers[1 - at].data;
    let server = &mut to.servers[at];
    let what = match fault {
        Fault::Flush => {
            server.data = Data::default();
            "is flushed"
        }
        Fault::Restart | Fault::Restore => {
            to.runs += 1;
            server.run = to.runs;
            server.data = if fault == Fault::Restart { Data::default() } else { disk };
            if fault == Fault::Restart { "restarts empty" } else { "restarts with what it had saved" }
        }
        Fault::Failover if !state.follows => return,
        Fault::Failover => {
            to.runs += 1;
            to.primary = 1 - state.primary;
            to.follows = false;
            to.servers[1 - at].run = to.runs;
            to.servers[1 - at].master = true;
            "fails over; the old primary lives on"
        }
        // A purge that was promised and is lost without a trace is lost: that much is said in the documentation.
        Fault::Masked if state.purges.iter().zip(disk.ids).any(|(purge, id)| id == 0 && is_logged(purge)) => {
            return;
        }
        Fault::Masked => {
            // Leases that ended with it would be another loss that nobody can know of.
            let mut nodes = disk.nodes;
            nodes.iter_mut().zip(server.data.nodes).for_each(|(old, new)| old.left = new.left);
            server.data = Data { nodes, age: server.data.age, ..disk };
            "has the data of some time ago, and nothing tells it"
        }
        Fault::LoseStream => {
            server.data.records = Data::default().records;
            "loses the stream"
        }
        Fault::LoseNodes if steps.has(Rule::NodesInState) => {
            server.data = Data { records: server.data.records, ids: server.data.ids, ..Data::default() };
            "loses the state, and the nodes with it"
        }
        Fault::LoseNodes => {
            server.data.nodes = [Lease::default(); NODES];
            "loses the table of nodes"
        }
        Fault::ClockJump if steps.has(Rule::ClocksAreNotSet) => return,
        Fault::ClockJump => {
            server.data.age = steps.scenario.lease();
            server.data.nodes.iter_mut().for_each(|lease| lease.left = 0);
            "has its clock set forward"
        }
    };
    steps.step(REDIS, what, to);
}

fn is_logged(purge: &Purge) -> bool {
    !matches!(purge.phase, PurgePhase::Idle | PurgePhase::Wanted)
}
