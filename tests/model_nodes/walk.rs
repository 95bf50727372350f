//! Beyond what can be explored to the end: seeded walks with three nodes, two pages and many faults, and what recovers after.

use super::explore::{steps, tell};
use super::rules::Rules;
use super::state::{Fault, PurgePhase, STUCK, Scenario, State};

const LENGTH: usize = 90;

/// A promise that a walk broke, and the way there.
pub(crate) type Broken = (&'static str, Vec<String>);

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }
}

/// What a seed makes of a scenario. With a replica, data of some time ago come back by a failover only.
fn scenario(random: &mut Random, rules: Rules) -> Scenario {
    let replica = random.below(2) == 0;
    let mut purges = Vec::new();
    for _ in 0..4 {
        purges.push((random.below(3), random.below(2), random.below(3) == 0));
    }
    let mut faults =
        vec![Fault::Flush, Fault::Restart, Fault::LoseStream, Fault::LoseNodes, Fault::ClockJump];
    faults.push(if replica { Fault::Failover } else { Fault::Restore });
    let one = faults[random.below(faults.len())];
    Scenario {
        name: "walk",
        nodes: 3,
        purges,
        faults: if random.below(2) == 0 { vec![one] } else { faults },
        some_faults: u8::try_from(random.below(4)).unwrap(),
        cuts: u8::try_from(random.below(4)).unwrap(),
        lost: u8::try_from(random.below(3)).unwrap(),
        crashes: u8::try_from(random.below(2)).unwrap(),
        fills: 6,
        fillers: 3,
        settled: random.below(4) != 0,
        shared: random.below(2) == 0,
        replica,
        trims: random.below(2) == 0,
        reader: random.below(2) == 0,
        drift: u8::try_from(random.below(3)).unwrap(),
        rules,
    }
}

/// The walk of one seed: at each step any that can be taken, and those that bring purges forward more often.
pub(crate) fn walk(seed: u64, rules: Rules) -> Option<Broken> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    random.below(2);
    let scenario = scenario(&mut random, rules);
    let mut state = State::first(&scenario);
    let mut trace = Vec::new();
    for _ in 0..LENGTH {
        let mut found = steps(&state, &scenario);
        // A purge that could be acknowledged now soon is, and time passes seldom: so most is at stake.
        let urgent = found.iter().position(|step| step.what == "acknowledges its purge");
        let at = match urgent {
            Some(at) if random.below(2) == 0 => at,
            _ => random.below(found.len()),
        };
        let step = found.swap_remove(at);
        trace.push(tell(step.who, step.what));
        if let Some(promise) = step.to.broken {
            return Some((promise, trace));
        }
        state = step.to;
    }
    let failed = recover(state, &scenario, &mut trace)?;
    Some((failed, trace))
}

/// What goes on when there are no faults any more, turn by turn.
const ONWARDS: [&str; 16] = [
    "a tick",
    "the old primary becomes a replica",
    "connects to the primary",
    "START",
    "READ",
    "APPEND",
    "replicates",
    "learns of another incarnation",
    "learns that it diverged",
    "learns that it is behind",
    "finds a gap",
    "takes what came",
    "learns that its record is logged",
    "gets no confirmation",
    "appends again: its record was in another incarnation",
    "drops a provisional row: its record was skipped",
];

/// No more faults: everybody goes on in turn. In the end every node has proof and no purge waits; or a promise is broken.
pub(crate) fn recover(
    mut state: State,
    scenario: &Scenario,
    trace: &mut Vec<String>,
) -> Option<&'static str> {
    (state.faults, state.cuts, state.lost, state.crashes, state.fills) = (0, 0, 0, 0, 0);
    for _ in 0..16 {
        for word in ONWARDS.iter().chain(&["acknowledges its purge"]) {
            for _ in 0..if *word == "a tick" { 1 } else { 6 } {
                let Some(step) = steps(&state, scenario).into_iter().find(|step| step.what == *word) else {
                    break;
                };
                trace.push(tell(step.who, step.what));
                state = step.to;
                if state.broken.is_some() {
                    return state.broken;
                }
            }
        }
        if has_recovered(&state, scenario) {
            return None;
        }
    }
    Some(STUCK)
}

fn has_recovered(state: &State, scenario: &Scenario) -> bool {
    let nodes = state.nodes[..scenario.nodes].iter().all(|node| node.proof > 0 && node.provisional == 0);
    let done = |phase| matches!(phase, PurgePhase::Idle | PurgePhase::Acknowledged);
    nodes && state.purges.iter().all(|purge| done(purge.phase))
}
