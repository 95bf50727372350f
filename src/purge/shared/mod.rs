//! The purge log that several nodes share: a follower that applies it and proves that this node is current, and a
//! sequencer that hands purges over and acknowledges them.
//!
//! Both run on the runtime that [`open`] is called on, for as long as the process lives. The rules, and what is promised in
//! each failure, are in docs/clustering.md.

mod follower;
mod protocol;
pub mod redis;
mod sequencer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::{Fence, Handling, Limits, Once, Purge, Recording, SharedLog, Underway};
use crate::clock::Clock;
use crate::config::Wait;
use follower::Follower;
use sequencer::{Ask, Event, Sequencer};

pub use follower::{Progress, Times};
pub use protocol::{
    Appended, Away, Cursor, Heard, Later, Lease, Line, Remembered, Server, Standing, Started, Taken, WhenFull,
};

/// What a node is told of a shared log.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The node's name: no other node has it, nor has one had it before.
    pub node: String,
    /// The names of the stores, by their numbers.
    pub stores: Arc<[String]>,
    /// Times.
    pub times: Times,
    /// Whom an acknowledgement waits for.
    pub wait: Wait,
}

/// The way to the sequencer.
struct Handover(mpsc::UnboundedSender<Ask>);

impl SharedLog for Handover {
    fn append(&self, id: String, purge: Purge, handling: Handling) -> Underway {
        let (answer, result) = oneshot::channel();
        // A sequencer that is gone drops the answer with the ask, and so says that the node is stopping.
        let _ = self.0.send(Ask::Purge { id: id.clone(), purge, handling, answer });
        Underway::awaited(id, result)
    }

    fn append_once(&self, purges: Vec<(String, Purge)>, once: Once) -> Recording {
        let (answer, result) = oneshot::channel();
        let _ = self.0.send(Ask::Event(Event { purges, once, answer }));
        result
    }
}

/// A log that is followed.
pub struct Followed {
    /// The fence over it.
    pub fence: Arc<Fence>,
    /// How far this node is.
    pub progress: watch::Receiver<Progress>,
    /// Who follows it.
    pub members: Members,
}

/// The nodes that follow a log.
#[derive(Clone)]
pub struct Members {
    /// The name of this one.
    pub own: Arc<str>,
    ask: Arc<dyn Fn() -> Later<'static, Known> + Send + Sync>,
    fence: Arc<Fence>,
    lease: Duration,
    going: Arc<watch::Sender<bool>>,
    progress: watch::Receiver<Progress>,
}

/// The nodes that the log knows.
type Known = Result<(Standing, Vec<Lease>), Away>;

impl Members {
    /// All of them, with their leases: the log is asked.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn all(&self) -> Result<(Standing, Vec<Lease>), Away> {
        (self.ask)().await
    }

    /// This node goes: purges that wait are handed over, as far as that takes no longer than a lease; then it serves nothing
    /// stored any more, and nobody waits for it.
    pub async fn leave(&self) {
        let handed_over = async {
            while self.fence.provisional() > 0 {
                tokio::time::sleep(PATIENCE).await;
            }
        };
        if tokio::time::timeout(self.lease, handed_over).await.is_err() {
            let purges = self.fence.provisional();
            tracing::error!(
                purges,
                "the log of purges is away, and so these purges of writes are lost: other nodes may serve what they \
                 changed until it expires; purge everything, when the log is back"
            );
        }
        self.going.send_replace(true);
        let mut progress = self.progress.clone();
        // The follower ends once its lease has.
        while progress.changed().await.is_ok() {}
    }
}

/// How often a node that goes looks whether its purges are handed over.
const PATIENCE: Duration = Duration::from_millis(10);

/// Follows the log on this server, from now on.
pub fn open<S: Server>(server: Arc<S>, terms: Terms, limits: Limits, clock: Clock) -> Followed {
    let (asks, asked) = mpsc::unbounded_channel();
    let fence = Arc::new(Fence::over_shared(Arc::new(Handover(asks)), limits));
    let (tell, progress) = watch::channel(Progress::default());
    let Terms { node, stores, times, wait } = terms;
    let asked_of = server.clone();
    let ask = move || -> Later<'static, _> {
        let server = asked_of.clone();
        Box::pin(async move { server.leases().await })
    };
    let (going, leaving) = watch::channel(false);
    let members = Members {
        own: node.as_str().into(),
        ask: Arc::new(ask),
        fence: fence.clone(),
        lease: times.lease(),
        going: Arc::new(going),
        progress: progress.clone(),
    };
    let follower = Follower {
        server: server.clone(),
        fence: fence.clone(),
        clock: clock.clone(),
        node: node.clone(),
        stores: stores.clone(),
        times,
        progress: tell,
        cursor: Cursor::default(),
        since: Duration::ZERO,
        left: Default::default(),
    };
    let sequencer = Sequencer {
        server,
        fence: fence.clone(),
        clock,
        node,
        stores,
        times,
        wait,
        progress: progress.clone(),
        leases: tokio::sync::Mutex::default(),
        waiting: std::sync::Mutex::default(),
        more: tokio::sync::Notify::default(),
    };
    tokio::spawn(follower.run(leaving));
    tokio::spawn(Arc::new(sequencer).run(asked));
    Followed { fence, progress, members }
}
