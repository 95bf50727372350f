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

/// Whether a scenario is explored always, or only where all are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Large,
}

pub(crate) fn scenarios() -> Vec<(Size, Scenario)> {
    let with = |size, scenarios: Vec<Scenario>| scenarios.into_iter().map(move |scenario| (size, scenario));
    with(Size::Small, small()).chain(with(Size::Large, large())).collect()
}

const PAGE: (usize, usize, bool) = (0, 0, false);
const OTHER: (usize, usize, bool) = (0, 1, false);
/// A write at the node that serves.
const OWN_WRITE: (usize, usize, bool) = (1, 0, true);

fn fault(name: &'static str, fault: Fault) -> Scenario {
    Scenario { faults: vec![fault], some_faults: 1, cuts: 0, ..plain(name) }
}

fn without_fills(scenario: Scenario) -> Scenario {
    Scenario { fills: 0, ..scenario }
}

fn small() -> Vec<Scenario> {
    let few = without_fills;
    let own = Scenario { cuts: 0, purges: vec![OWN_WRITE], ..plain("write") };
    let trim = few(Scenario { cuts: 0, trims: true, ..plain("trim") });
    vec![
        Scenario { settled: false, ..plain("start") },
        plain("partition"),
        few(Scenario { lost: 1, purges: vec![PAGE, PAGE], ..plain("lost") }),
        Scenario { cuts: 0, fillers: 2, fills: 2, shared: true, ..plain("shared") },
        Scenario { name: "trim 2", purges: vec![PAGE, OTHER], ..trim.clone() },
        Scenario { crashes: 1, shared: true, ..trim },
        few(Scenario { name: "write, reader", reader: true, lost: 1, ..own.clone() }),
        own,
        few(Scenario { reader: true, ..plain("reader") }),
        few(Scenario { settled: false, ..fault("flush at start", Fault::Flush) }),
        few(Scenario { shared: true, ..fault("flush, shared", Fault::Flush) }),
        few(fault("restart", Fault::Restart)),
        few(fault("restore", Fault::Restore)),
        few(fault("stream", Fault::LoseStream)),
        few(fault("nodes", Fault::LoseNodes)),
        fault("clock", Fault::ClockJump),
        few(Scenario { replica: true, ..fault("failover", Fault::Failover) }),
    ]
}

fn large() -> Vec<Scenario> {
    let few = without_fills;
    let two = || vec![PAGE, PAGE];
    vec![
        fault("flush", Fault::Flush),
        Scenario { purges: two(), ..plain("partition, two purges") },
        few(Scenario { purges: vec![PAGE, OTHER], ..fault("stream, two purges", Fault::LoseStream) }),
        few(Scenario { purges: vec![OTHER, PAGE], lost: 1, ..fault("masked", Fault::Masked) }),
        Scenario { purges: vec![(0, 0, true)], shared: true, lost: 1, ..plain("write, shared") },
        Scenario { settled: false, ..fault("flush at start, fills", Fault::Flush) },
        Scenario { shared: true, fillers: 2, ..fault("flush, shared, fills", Fault::Flush) },
        Scenario { purges: vec![OWN_WRITE], ..fault("write, flush", Fault::Flush) },
        fault("restore, fills", Fault::Restore),
        Scenario { replica: true, ..fault("failover, fills", Fault::Failover) },
        few(Scenario { replica: true, shared: true, ..fault("failover, shared", Fault::Failover) }),
    ]
}
