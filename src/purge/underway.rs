//! A purge that was handed to the log.

use std::fmt;

use tokio::sync::oneshot;

use super::record::Receipt;

/// Why a purge was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlogged {
    /// The purge's id: whoever asks again with it says which one is meant. It may be logged twice, which does no harm.
    pub id: String,
    /// What happened, for people.
    pub why: String,
}

impl fmt::Display for Unlogged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the purge {} is not acknowledged: {}", self.id, self.why)
    }
}

impl std::error::Error for Unlogged {}

/// A purge under way: it goes on whether it is waited for or not.
#[must_use = "a purge is in force when it is acknowledged"]
#[derive(Debug)]
pub struct Underway(State);

#[derive(Debug)]
enum State {
    InForce(Receipt),
    Awaited { id: String, result: oneshot::Receiver<Result<Receipt, Unlogged>> },
}

impl Underway {
    /// In force already: the log is this process's own.
    pub fn in_force(receipt: Receipt) -> Self {
        Self(State::InForce(receipt))
    }

    /// Acknowledged or refused later.
    pub fn awaited(id: String, result: oneshot::Receiver<Result<Receipt, Unlogged>>) -> Self {
        Self(State::Awaited { id, result })
    }

    /// The receipt, where the purge is in force without anything to wait for.
    pub fn receipt(&self) -> Option<&Receipt> {
        match &self.0 {
            State::InForce(receipt) => Some(receipt),
            State::Awaited { .. } => None,
        }
    }

    /// Waits until no response whose fill began before the purge is served any more, on any node (as far as `wait` of the
    /// configuration says).
    ///
    /// # Errors
    /// Where the log cannot be reached. The purge may be in force all the same.
    pub async fn acknowledged(self) -> Result<Receipt, Unlogged> {
        match self.0 {
            State::InForce(receipt) => Ok(receipt),
            State::Awaited { id, result } => {
                let stopped = || Unlogged { id, why: "this node is stopping".to_owned() };
                result.await.unwrap_or_else(|_| Err(stopped()))
            }
        }
    }
}
