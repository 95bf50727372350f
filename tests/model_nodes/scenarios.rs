//! What is explored.

use super::rules::Rules;
use super::state::{Fault, Scenario};

/// Two nodes; the first purges, the second serves.
fn plain(name: &'static str) -> Scenario {
    Scenario {
        name,
        nodes: 2,
        purges: vec![(0, 0, false)],
        faults: vec![],
        some_faults: 0,
        cuts: 1,
        lost: 0,
        crashes: 0,
        fills: 1,
        fillers: 1,
        shared: false,
        replica: false,
        trims: false,
        reader: false,
        drift: 0,
        rules: Rules::ALL,
    }
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let fault = |name, fault| Scenario { faults: vec![fault], some_faults: 1, ..plain(name) };
    vec![
        plain("partition"),
        Scenario { lost: 1, ..plain("lost") },
        fault("flush", Fault::Flush),
        fault("restart", Fault::Restart),
        fault("restore", Fault::Restore),
        fault("stream", Fault::LoseStream),
        fault("nodes", Fault::LoseNodes),
        fault("clock", Fault::ClockJump),
        fault("masked", Fault::Masked),
        Scenario { replica: true, ..fault("failover", Fault::Failover) },
    ]
}
