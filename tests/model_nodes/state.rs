//! What the model knows: the log's servers, the nodes, the shared store, the purges, and what was promised.
//!
//! Times are ages and remainders in ticks, so that the clock may run for ever within finitely many states.

use super::rules::{Rule, Rules};

pub(crate) const NODES: usize = 3;
pub(crate) const PURGES: usize = 4;
pub(crate) const PAGES: usize = 2;
const SEQS: usize = 9;
/// How long a proof lasts.
pub(crate) const BOUND: u8 = 2;
/// Records that one READ returns.
pub(crate) const COUNT: usize = 2;

pub(crate) const STALE: &str = "a purged answer was served from memory";
pub(crate) const STALE_SHARED: &str = "a purged answer was served from the shared store";
pub(crate) const STALE_JOIN: &str = "a request got a fill that began before an acknowledged purge";
pub(crate) const STALE_304: &str = "a purged answer was confirmed by a 304";
pub(crate) const STALE_ERROR: &str = "a purged answer stood in for an error";
pub(crate) const STALE_LOOK: &str = "a purged answer was served between two looks";
pub(crate) const DISORDER: &str = "an older fill overwrote a newer one in the shared store";
pub(crate) const GIVEN_UP: &str = "records were trimmed that a live node had not applied";
pub(crate) const STUCK: &str =
    "a node does not recover, or a purge is never acknowledged, though all faults are over";

/// What can happen to Redis in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Flush,
    /// A restart without data.
    Restart,
    /// A restart with the data of some time ago.
    Restore,
    /// The replica takes over; the old primary may live on for those who reach it.
    Failover,
    /// The data of some time ago come back, and no id of the server tells it.
    Masked,
    /// The stream is lost (evicted, deleted), and the state stays.
    LoseStream,
    /// The table of nodes is lost, and the state stays.
    LoseNodes,
    /// The server's wall clock is set forward.
    ClockJump,
}

/// What is explored.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) nodes: usize,
    /// Each purge: by which node, which page, and whether it is a write that may go on without the log.
    pub(crate) purges: Vec<(usize, usize, bool)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) some_faults: u8,
    pub(crate) cuts: u8,
    pub(crate) lost: u8,
    pub(crate) crashes: u8,
    pub(crate) fills: u8,
    /// How many of the nodes fill, from the last.
    pub(crate) fillers: usize,
    /// The log is old, the nodes follow it, and those that fill have the first page.
    pub(crate) settled: bool,
    pub(crate) shared: bool,
    /// A replica follows the primary, and nodes know it. Without one the second server stands for the disk.
    pub(crate) replica: bool,
    pub(crate) trims: bool,
    /// A reader of the last node loads its two values in two steps.
    pub(crate) reader: bool,
    /// The lease is longer than the bound by this, and the clocks drift apart by as much.
    pub(crate) drift: u8,
    pub(crate) rules: Rules,
}

impl Scenario {
    pub(crate) fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    pub(crate) fn lease(&self) -> u8 {
        if self.has(Rule::LeaseOutlivesProof) { BOUND + self.drift } else { BOUND - 1 }
    }
}

/// The random id of the log, and the id of the server's history.
pub(crate) type Incarnation = (u8, u8);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Lease {
    pub(crate) known: bool,
    pub(crate) cursor: u8,
    pub(crate) left: u8,
}

/// The log's keys. A record is the number of its purge, from 1, which is its id as well; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Data {
    /// 0: there is no log.
    pub(crate) id: u8,
    /// The history of the server under which the id was given.
    pub(crate) run: u8,
    pub(crate) seq: u8,
    pub(crate) floor: u8,
    pub(crate) records: [u8; SEQS],
    pub(crate) ids: [u8; PURGES],
    pub(crate) nodes: [Lease; NODES],
    /// Ticks since it was born, as far as they matter.
    pub(crate) age: u8,
}

impl Data {
    pub(crate) fn record(&self, seq: u8) -> u8 {
        self.records.get(usize::from(seq).wrapping_sub(1)).copied().unwrap_or(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Server {
    pub(crate) master: bool,
    /// Replication id and run id: another one after a restart and after a promotion.
    pub(crate) run: u8,
    pub(crate) data: Data,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Word {
    Records,
    Behind,
    Diverged,
}

/// What a READ brought, on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reply {
    pub(crate) word: Word,
    pub(crate) incarnation: Incarnation,
    pub(crate) seq: u8,
    pub(crate) records: [(u8, u8); COUNT],
    pub(crate) server: u8,
    pub(crate) confirmed: bool,
    pub(crate) age: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Follow {
    /// It needs START; the id that it found broken, or 0.
    #[default]
    Out,
    Broken(u8),
    Idle,
    Read(Reply),
    /// Only where proof comes before the records are applied.
    Applying(Reply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) version: u8,
    /// The local position at which it began.
    pub(crate) begun: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fill {
    pub(crate) page: u8,
    pub(crate) begun: u8,
    pub(crate) must: u8,
    pub(crate) ticket: u8,
    /// The version that the origin gave, once it was asked.
    pub(crate) version: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Node {
    /// Which server it talks to.
    pub(crate) at: Option<u8>,
    pub(crate) incarnation: Incarnation,
    pub(crate) base: u8,
    pub(crate) cursor: u8,
    /// The id of the record at the cursor; 0 where there is none to know.
    pub(crate) record: u8,
    pub(crate) floor: u8,
    pub(crate) rows: [u8; PAGES],
    /// The provisional rows, by purge.
    pub(crate) provisional: u8,
    /// Ticks for which the proof still holds.
    pub(crate) proof: u8,
    pub(crate) follow: Follow,
    pub(crate) memory: [Option<Entry>; PAGES],
    pub(crate) fill: Option<Fill>,
    /// What the writers of this node were promised.
    pub(crate) own: [u8; PAGES],
}

impl Node {
    pub(crate) fn current(&self) -> u8 {
        self.base + self.cursor
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SharedEntry {
    pub(crate) version: u8,
    pub(crate) incarnation: Incarnation,
    pub(crate) seq: u8,
    pub(crate) ticket: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum PurgePhase {
    #[default]
    Idle,
    /// The page has changed; the purge is not known to be logged.
    Wanted,
    /// It was appended; the answer is on its way.
    Flying {
        server: u8,
        incarnation: Incarnation,
        seq: u8,
        confirmed: bool,
    },
    Logged {
        incarnation: Incarnation,
        seq: u8,
    },
    Acknowledged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Purge {
    pub(crate) phase: PurgePhase,
    pub(crate) version: u8,
    /// Ticks since it was known to be logged, plus one.
    pub(crate) logged: u8,
}

/// A reader between its loads: what it must see, what it loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    pub(crate) must: u8,
    pub(crate) proof: Option<bool>,
    pub(crate) current: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub(crate) servers: [Server; 2],
    pub(crate) primary: u8,
    /// The other server follows the primary.
    pub(crate) follows: bool,
    pub(crate) nodes: [Node; NODES],
    pub(crate) shared: [Option<SharedEntry>; PAGES],
    pub(crate) versions: [u8; PAGES],
    pub(crate) purges: [Purge; PURGES],
    pub(crate) acknowledged: [u8; PAGES],
    pub(crate) look: Option<Look>,
    pub(crate) tickets: u8,
    pub(crate) ids: u8,
    pub(crate) runs: u8,
    /// How many ticks the server's clock is ahead.
    pub(crate) ahead: i8,
    pub(crate) faults: u8,
    pub(crate) cuts: u8,
    pub(crate) lost: u8,
    pub(crate) crashes: u8,
    pub(crate) fills: u8,
    pub(crate) broken: Option<&'static str>,
}

impl State {
    /// A log that is empty, or not there yet, and nodes that have just begun.
    pub(crate) fn first(scenario: &Scenario) -> Self {
        let mut state = Self {
            runs: 2,
            follows: true,
            faults: scenario.some_faults,
            cuts: scenario.cuts,
            lost: scenario.lost,
            crashes: scenario.crashes,
            fills: scenario.fills,
            ..Self::default()
        };
        state.servers[0] = Server { master: true, run: 1, data: Data::default() };
        state.servers[1] = Server { master: false, run: 2, data: Data::default() };
        for node in &mut state.nodes[..scenario.nodes] {
            node.at = Some(0);
        }
        if scenario.settled {
            state.settle(scenario);
        }
        state
    }

    fn settle(&mut self, scenario: &Scenario) {
        self.ids = 1;
        let lease = Lease { known: true, cursor: 0, left: scenario.lease() };
        let data = &mut self.servers[0].data;
        (data.id, data.run, data.age) = (1, 1, scenario.lease());
        data.nodes[..scenario.nodes].fill(lease);
        self.servers[1].data = self.servers[0].data;
        let incarnation = self.incarnation(0, scenario);
        for (n, node) in self.nodes[..scenario.nodes].iter_mut().enumerate() {
            (node.incarnation, node.base, node.floor, node.follow) = (incarnation, 1, 1, Follow::Idle);
            if n + scenario.fillers >= scenario.nodes {
                node.memory[0] = Some(Entry { version: 0, begun: 1 });
            }
        }
        if scenario.shared {
            self.shared[0] = Some(SharedEntry { version: 0, incarnation, seq: 0, ticket: 0 });
        }
        self.forget(scenario);
    }

    /// What a request must see that comes to the node now: what was acknowledged, and what was logged a bound ago.
    pub(crate) fn must(&self, scenario: &Scenario, node: usize, page: usize) -> u8 {
        let logged = scenario.purges.iter().zip(&self.purges);
        let logged = logged.filter(|((_, of, _), purge)| *of == page && purge.logged > BOUND);
        let logged = logged.map(|(_, purge)| purge.version).max().unwrap_or(0);
        logged.max(self.acknowledged[page]).max(self.nodes[node].own[page])
    }

    pub(crate) fn incarnation(&self, server: usize, scenario: &Scenario) -> Incarnation {
        let server = &self.servers[server];
        (server.data.id, if scenario.has(Rule::HistoryInIncarnation) { server.run } else { 0 })
    }

    /// Forgets what nothing depends on any more, so that fewer states are told apart.
    pub(crate) fn forget(&mut self, scenario: &Scenario) {
        for purge in self.purges.iter_mut().filter(|purge| purge.phase == PurgePhase::Acknowledged) {
            purge.logged = 0;
        }
        if self.faults == 0 && !scenario.replica {
            self.servers[1].data = Data::default();
        }
        for n in 0..scenario.nodes {
            // It only purges: nobody asks for its proof; its lease is asked for by others only, and for trimming.
            if n + scenario.fillers < scenario.nodes && !scenario.shared {
                let node = &mut self.nodes[n];
                node.proof = 0;
                if let Follow::Read(reply) = &mut node.follow {
                    (reply.age, reply.confirmed) = (0, true);
                }
                if !scenario.trims && scenario.purges.iter().all(|(by, ..)| *by == n) {
                    self.servers.iter_mut().for_each(|server| server.data.nodes[n] = Lease::default());
                }
            }
        }
    }
}
