//! The pages: fills, the shared store, a reader between its loads; and whether what could be served now may be.

use super::explore::Steps;
use super::node::{is_provisional, is_unpurged, is_valid};
use super::rules::Rule;
use super::state::{
    DISORDER, Entry, Fill, Look, Node, PAGES, STALE, STALE_304, STALE_ERROR, STALE_JOIN, STALE_LOOK,
    STALE_SHARED, Scenario, SharedEntry, State,
};

pub(crate) fn steps(state: &State, steps: &mut Steps<'_>) {
    let scenario = steps.scenario;
    let pages = scenario.purges.iter().map(|(_, page, _)| page + 1).max().unwrap_or(1);
    for n in 0..scenario.nodes {
        for page in 0..pages {
            if scenario.shared {
                bring(state, n, page, steps);
            }
        }
        match state.nodes[n].fill {
            None if state.fills > 0 && n + scenario.fillers >= scenario.nodes => {
                for page in 0..pages {
                    begin(state, n, page, steps);
                }
            }
            None => {}
            Some(fill) if fill.version.is_none() => ask(state, n, fill, steps),
            Some(fill) => commit(state, n, fill, steps),
        }
    }
    if scenario.reader {
        look(state, scenario.nodes - 1, steps);
    }
}

fn begin(state: &State, n: usize, page: usize, steps: &mut Steps<'_>) {
    let mut to = *state;
    to.fills -= 1;
    to.tickets += 1;
    to.nodes[n].fill = Some(Fill {
        page: u8::try_from(page).unwrap(),
        begun: state.nodes[n].current(),
        must: state.must(steps.scenario, n, page),
        ticket: to.tickets,
        version: None,
    });
    steps.step(n, "a request comes and begins a fill", to);
}

fn ask(state: &State, n: usize, fill: Fill, steps: &mut Steps<'_>) {
    let node = &state.nodes[n];
    let page = usize::from(fill.page);
    let mut to = *state;
    to.nodes[n].fill = Some(Fill { version: Some(state.versions[page]), ..fill });
    steps.step(n, "the origin answers", to);
    // A validator need not tell two versions apart.
    let Some(old) = node.memory[page] else { return };
    let proven = node.proof > 0 || !steps.has(Rule::NoValidationWithoutProof);
    let unpurged =
        is_unpurged(node, page, old.begun, steps.scenario) || !steps.has(Rule::PurgedIsNotValidated);
    if proven && unpurged {
        let mut to = *state;
        to.nodes[n].fill = Some(Fill { version: Some(old.version), ..fill });
        if old.version < fill.must {
            to.broken = Some(STALE_304);
        }
        steps.step(n, "the origin confirms by a 304", to);
    }
}

fn commit(state: &State, n: usize, fill: Fill, steps: &mut Steps<'_>) {
    let scenario = steps.scenario;
    let mut to = *state;
    let node = &mut to.nodes[n];
    let (page, version) = (usize::from(fill.page), fill.version.unwrap());
    let begun = if scenario.has(Rule::BegunBeforeTheOrigin) { fill.begun } else { node.current() };
    node.fill = None;
    node.memory[page] = Some(Entry { version, begun });
    if scenario.shared {
        let lost = to;
        steps.step(n, "commits to memory alone", lost);
        if let Some(entry) = shared_entry(&to.nodes[n], version, begun, fill.ticket, scenario) {
            put(&mut to, page, entry, scenario);
        }
    }
    steps.step(n, "commits", to);
}

fn shared_entry(node: &Node, version: u8, begun: u8, ticket: u8, scenario: &Scenario) -> Option<SharedEntry> {
    if begun < node.base && scenario.has(Rule::OldEpochIsNotShared) {
        return None;
    }
    let kept = if scenario.has(Rule::BegunInSharedEntry) { begun } else { node.current() };
    Some(SharedEntry { version, incarnation: node.incarnation, seq: kept.saturating_sub(node.base), ticket })
}

fn put(to: &mut State, page: usize, entry: SharedEntry, scenario: &Scenario) {
    if to.shared[page].is_some_and(|old| old.ticket > entry.ticket) {
        if scenario.has(Rule::SharedTickets) {
            return;
        }
        to.broken = Some(DISORDER);
    }
    to.shared[page] = Some(entry);
}

/// What the shared entry is to this node: where it began, if that can be known.
fn decode(node: &Node, entry: &SharedEntry, scenario: &Scenario) -> Option<Entry> {
    let known = entry.incarnation == node.incarnation || !scenario.has(Rule::EntriesOfOneIncarnation);
    known.then(|| Entry { version: entry.version, begun: node.base + entry.seq })
}

fn bring(state: &State, n: usize, page: usize, steps: &mut Steps<'_>) {
    let node = &state.nodes[n];
    let Some(entry) = state.shared[page].and_then(|entry| decode(node, &entry, steps.scenario)) else {
        return;
    };
    if is_valid(node, page, entry.begun, steps.scenario) && node.memory[page] != Some(entry) {
        let mut to = *state;
        to.nodes[n].memory[page] = Some(entry);
        steps.step(n, "brings the page from the shared store", to);
    }
}

/// A reader of page 0 loads the proof and the position, one after the other, and then serves or joins.
fn look(state: &State, n: usize, steps: &mut Steps<'_>) {
    let node = &state.nodes[n];
    let mut to = *state;
    let Some(mut look) = state.look else {
        to.look = Some(Look { must: state.must(steps.scenario, n, 0), proof: None, current: None });
        steps.step(n, "a reader comes", to);
        return;
    };
    let proof_next = look.proof.is_none() && (steps.has(Rule::ProofLoadedFirst) || look.current.is_some());
    if proof_next {
        let provisional = is_provisional(node, 0, steps.scenario) && steps.has(Rule::ProvisionalLoadedFirst);
        look.proof = Some(node.proof > 0 && !provisional);
        to.look = Some(look);
        steps.step(n, "the reader loads the proof", to);
    } else if look.current.is_none() {
        look.current = Some(node.current());
        to.look = Some(look);
        steps.step(n, "the reader loads the position", to);
    } else {
        let since = look.current.unwrap();
        let may = |begun: u8| look.proof == Some(true) && begun >= since;
        let stored = node.memory[0].filter(|entry| may(entry.begun)).map(|entry| entry.version);
        let filled = node.fill.filter(|fill| fill.page == 0 && may(fill.begun)).and_then(|fill| fill.version);
        to.look = None;
        let late = is_provisional(node, 0, steps.scenario) && !steps.has(Rule::ProvisionalLoadedFirst);
        if !late && stored.into_iter().chain(filled).any(|got| got < look.must) {
            to.broken = Some(STALE_LOOK);
        }
        steps.step(n, "the reader serves", to);
    }
}

// ---- What could be served now.

/// A request that comes now and is served at once is the strictest: it must see all that was promised until now.
pub(crate) fn check(state: &mut State, scenario: &Scenario) {
    for n in 0..scenario.nodes {
        for page in 0..PAGES {
            let must = state.must(scenario, n, page);
            let (node, shared) = (&state.nodes[n], &state.shared[page]);
            if let Some(promise) = could_break(node, shared.as_ref(), page, must, scenario) {
                state.broken = state.broken.or(Some(promise));
            }
        }
    }
}

fn could_break(
    node: &Node,
    shared: Option<&SharedEntry>,
    page: usize,
    must: u8,
    scenario: &Scenario,
) -> Option<&'static str> {
    let stale = |entry: &Entry| entry.version < must;
    if let Some(old) = node.memory[page].filter(stale) {
        if is_valid(node, page, old.begun, scenario) {
            return Some(STALE);
        }
        let proven = node.proof > 0 || !scenario.has(Rule::NoStandInWithoutProof);
        if proven && is_unpurged(node, page, old.begun, scenario) {
            return Some(STALE_ERROR);
        }
    }
    let brought = shared.and_then(|entry| decode(node, entry, scenario)).filter(stale);
    if brought.is_some_and(|entry| is_valid(node, page, entry.begun, scenario)) {
        return Some(STALE_SHARED);
    }
    let fill = node.fill.filter(|fill| usize::from(fill.page) == page)?;
    let joins = fill.version.is_some_and(|version| version < must) && joins(node, page, &fill, scenario);
    joins.then_some(STALE_JOIN)
}

fn joins(node: &Node, page: usize, fill: &Fill, scenario: &Scenario) -> bool {
    if node.proof == 0 && scenario.has(Rule::NewFillsWithoutProof) {
        return false;
    }
    let hidden = is_provisional(node, page, scenario) && scenario.has(Rule::JoinsSeeProvisional);
    fill.begun >= node.current() && !hidden || is_unpurged(node, page, fill.begun, scenario)
}
