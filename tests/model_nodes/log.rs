//! The log's scripts, as one server runs them, each in one step.

use super::rules::Rule;
use super::state::{COUNT, Data, Incarnation, Lease, NODES, Reply, Scenario, State, Word};

/// Gives the log another id. Records and leases of before mean nothing to anybody from now on; the ids of records do.
fn bear(state: &mut State, server: usize) {
    state.ids += 1;
    let server = &mut state.servers[server];
    let data = &mut server.data;
    if data.id == 0 {
        // The numbers begin anew: the ids of records that outlived the state would name numbers that others get.
        data.ids = Data::default().ids;
    }
    (data.id, data.run, data.age) = (state.ids, server.run, 0);
    data.floor = data.seq;
    data.records = Data::default().records;
    data.nodes = [Lease::default(); NODES];
}

/// START: the log's incarnation and floor. `broken` is the id that the node found diverged, or 0.
pub(crate) fn start(
    state: &mut State,
    at: usize,
    node: usize,
    broken: u8,
    scenario: &Scenario,
) -> (Incarnation, u8) {
    let server = state.servers[at];
    let moved = server.data.run != server.run
        && scenario.has(Rule::BornAgain)
        && scenario.has(Rule::HistoryInIncarnation);
    let diverged = broken != 0 && broken == server.data.id && scenario.has(Rule::DivergedIsReborn);
    if server.data.id == 0 || moved || diverged {
        bear(state, at);
    }
    let floor = state.servers[at].data.floor;
    if scenario.has(Rule::LeaseAtStart) {
        state.servers[at].data.nodes[node] = Lease { known: true, cursor: floor, left: scenario.lease() };
    }
    (state.incarnation(at, scenario), floor)
}

/// READ: renews the lease with the cursor, and brings what comes after it.
pub(crate) fn read(state: &mut State, at: usize, node: usize, scenario: &Scenario) -> Reply {
    let incarnation = state.incarnation(at, scenario);
    let (cursor, record) = (state.nodes[node].cursor, state.nodes[node].record);
    let data = &mut state.servers[at].data;
    let mut reply = Reply {
        word: Word::Records,
        incarnation,
        seq: data.seq,
        records: [(0, 0); COUNT],
        server: u8::try_from(at).unwrap(),
        confirmed: false,
        age: 0,
    };
    let is_other = record != 0 && cursor != data.floor && data.record(cursor) != record;
    if data.id == 0
        || scenario.has(Rule::RecordAtCursor) && (is_other && cursor > data.floor || cursor > data.seq)
    {
        reply.word = Word::Diverged;
        return reply;
    }
    if cursor < data.floor && scenario.has(Rule::BehindIsSaid) {
        reply.word = Word::Behind;
        return reply;
    }
    if scenario.has(Rule::ReadRenews) {
        data.nodes[node] = Lease { known: true, cursor, left: scenario.lease() };
    } else {
        data.nodes[node].cursor = cursor;
    }
    let after = (cursor + 1..=data.seq).filter(|seq| data.record(*seq) != 0);
    for (place, seq) in reply.records.iter_mut().zip(after) {
        *place = (seq, data.record(seq));
    }
    reply
}

/// APPEND: the number of the record, or nothing where the log is not the one that was meant.
pub(crate) fn append(
    state: &mut State,
    at: usize,
    purge: usize,
    expected: Incarnation,
    scenario: &Scenario,
) -> Option<(Incarnation, u8)> {
    let incarnation = state.incarnation(at, scenario);
    if state.servers[at].data.id == 0 || scenario.has(Rule::AppendExpects) && incarnation != expected {
        return None;
    }
    let data = &mut state.servers[at].data;
    let known = data.ids[purge];
    if known != 0 && scenario.has(Rule::KnownIds) {
        return Some((incarnation, known));
    }
    let place = data.records.get_mut(usize::from(data.seq))?;
    *place = u8::try_from(purge).unwrap() + 1;
    data.seq += 1;
    data.ids[purge] = data.seq;
    Some((incarnation, data.seq))
}

/// Frees what every live node has applied. Says whether a live node still needed some of it.
pub(crate) fn trim(data: &mut Data, scenario: &Scenario) -> bool {
    let live = data.nodes.iter().filter(|lease| lease.known && lease.left > 0);
    let needed = live.map(|lease| lease.cursor).fold(data.seq, u8::min).max(data.floor);
    data.floor = if scenario.has(Rule::TrimsBehindCursors) { needed } else { data.seq };
    for seq in 1..=data.floor {
        data.records[usize::from(seq) - 1] = 0;
    }
    needed < data.floor
}

/// NODES, as somebody who waits reads it: whether every node has the record or is gone, and the log is old enough.
pub(crate) fn all_have(data: &Data, seq: u8, scenario: &Scenario) -> bool {
    let has = |lease: &Lease| !lease.known || lease.left == 0 || lease.cursor >= seq;
    let all = !scenario.has(Rule::WaitsForAll) || data.nodes.iter().all(has);
    all && (data.age >= scenario.lease() || !scenario.has(Rule::WaitsAfterBirth))
}
