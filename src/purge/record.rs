//! What a purge is before and after it has its place in the log.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::coverage::{Mode, Selector, Where};
use crate::clock::Now;
use crate::identity::Identity;
use crate::stored::Position;

/// A purge as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// What it means; all of it is one record.
    pub selectors: Vec<Selector>,
    /// Whose responses.
    pub whose: Where,
    /// What becomes of them.
    pub mode: Mode,
    /// Who caused it: after a soft purge they read fresh, whatever is still served to others.
    pub by: Option<Causer>,
}

impl Purge {
    /// A hard purge.
    pub fn hard(selectors: Vec<Selector>, whose: Where) -> Self {
        Self { selectors, whose, mode: Mode::Hard, by: None }
    }

    /// A soft purge, caused by `by` where that is known.
    pub fn soft(selectors: Vec<Selector>, whose: Where, by: Option<Causer>) -> Self {
        Self { selectors, whose, mode: Mode::Soft, by }
    }
}

/// Who caused a purge, as a digest that is the same on every node. It tells nobody who that was; equal digests of
/// different people make one of them read fresh without need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Causer(u64);

impl Causer {
    /// The user of an identity, within the tenant, or `None` where no user is known.
    pub fn user(identity: &Identity) -> Option<Self> {
        let user = identity.user.as_ref()?;
        let mut bytes = b"user".to_vec();
        let tenant = identity.tenant.as_ref();
        bytes.push(tenant.map_or(0, |tenant| 1 + u8::from(tenant.scope)));
        for part in [tenant.map_or("", |tenant| &tenant.name), &user.issuer, &user.name] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Some(Self::of(&bytes))
    }

    /// Whoever holds a credential, given as bytes or as a digest of them: for requests whose user is not known.
    pub fn credential(bytes: &[u8]) -> Self {
        Self::of(&[b"credential", bytes].concat())
    }

    fn of(bytes: &[u8]) -> Self {
        let whole = digest(&SHA256, bytes);
        Self(whole.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }

    /// The digest, to write it down.
    pub fn number(self) -> u64 {
        self.0
    }

    /// A digest that was written down.
    pub fn of_number(number: u64) -> Self {
        Self(number)
    }
}

/// What a purge answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// A random id.
    pub id: String,
    /// Its place in the log.
    pub seq: Position,
    /// When it was sequenced: wall time since the Unix epoch.
    pub time: Duration,
    /// Which nodes obey it, where several share the log and all of them were waited for.
    pub nodes: Option<Nodes>,
}

/// The nodes that share a log, as a purge found them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nodes {
    /// They have applied it.
    pub applied: Vec<String>,
    /// They have been away for so long that they serve nothing stored until they have applied it.
    pub gone: Vec<String>,
}

/// A purge with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place: one more than that of the record before.
    pub seq: Position,
    /// A random id.
    pub id: String,
    /// What was asked for.
    pub purge: Purge,
    /// When it was sequenced. Later records have no earlier times.
    pub time: Now,
}

impl Record {
    /// What the purge answers with.
    pub fn receipt(&self) -> Receipt {
        Receipt { id: self.id.clone(), seq: self.seq, time: self.time.wall, nodes: None }
    }
}
