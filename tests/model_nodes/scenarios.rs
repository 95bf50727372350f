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
        settled: true,
        shared: false,
        replica: false,
        trims: false,
        reader: false,
        drift: 0,
        rules: Rules::ALL,
    }
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let fault = |name, fault| Scenario { faults: vec![fault], some_faults: 1, cuts: 0, ..plain(name) };
    let page = (0, 0, false);
    vec![
        Scenario { settled: false, ..plain("start") },
        plain("partition"),
        Scenario { lost: 1, purges: vec![page, page], fills: 0, ..plain("lost") },
        Scenario { fillers: 2, fills: 2, shared: true, cuts: 0, ..plain("shared") },
        Scenario { shared: true, fills: 0, crashes: 1, trims: true, purges: vec![page, page], ..plain("trim") },
        Scenario { purges: vec![(0, 0, true)], shared: true, lost: 1, ..plain("write") },
        Scenario { purges: vec![(1, 0, true)], lost: 1, ..plain("own write") },
        Scenario { reader: true, ..plain("reader") },
        fault("flush", Fault::Flush),
        Scenario { settled: false, ..fault("flush at start", Fault::Flush) },
        Scenario { shared: true, fillers: 2, ..fault("flush, shared", Fault::Flush) },
        fault("restart", Fault::Restart),
        fault("restore", Fault::Restore),
        fault("stream", Fault::LoseStream),
        Scenario { purges: vec![page, page], fills: 0, ..fault("stream 2", Fault::LoseStream) },
        fault("nodes", Fault::LoseNodes),
        fault("clock", Fault::ClockJump),
        Scenario { purges: vec![page, page], fills: 0, lost: 1, ..fault("masked", Fault::Masked) },
        Scenario { replica: true, ..fault("failover", Fault::Failover) },
        Scenario { replica: true, shared: true, fills: 1, purges: vec![page, page], lost: 1, ..fault("failover, shared", Fault::Failover) },
        Scenario { purges: vec![(1, 0, true)], ..fault("write, flush", Fault::Flush) },
    ]
}
