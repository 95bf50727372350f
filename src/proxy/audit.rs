//! The audit log: one line for each purge that somebody asked for, and for each that was refused.
//!
//! The lines go to the diagnostics under the target `larder::audit`: who, what, whose, from where, and the receipt.

use std::net::IpAddr;

use super::selection::Wanted;
use crate::error::Error;
use crate::purge::{Mode, Receipt, Where};

/// Who asks, and from where.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    /// The name of a token, or of what else authorised the purge.
    pub who: Option<String>,
    /// The address that the request came from.
    pub from: Option<IpAddr>,
    /// By which way: a verb, the admin listener, a field of an answer.
    pub way: &'static str,
}

impl Asker {
    fn who(&self) -> &str {
        self.who.as_deref().unwrap_or("nobody known")
    }

    fn from(&self) -> String {
        self.from.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string())
    }
}

/// A purge that is in force.
pub fn purged(asker: &Asker, what: &str, whose: &Where, mode: Mode, receipt: &Receipt) {
    tracing::info!(
        target: "larder::audit",
        who = asker.who(),
        from = asker.from(),
        way = asker.way,
        what,
        whose = whose_text(whose),
        mode = if mode == Mode::Soft { "soft" } else { "hard" },
        id = receipt.id,
        seq = receipt.seq,
        "purged"
    );
}

/// A request that was refused.
pub fn refused(asker: &Asker, what: &str, error: &Error) {
    tracing::warn!(
        target: "larder::audit",
        who = asker.who(),
        from = asker.from(),
        way = asker.way,
        what,
        status = error.kind().status().as_u16(),
        why = error.detail(),
        "refused"
    );
}

/// Whose responses, in words.
pub fn whose_text(whose: &Where) -> String {
    match whose {
        Where::All => "all".to_owned(),
        Where::Public => "public".to_owned(),
        Where::Tenant(name) => format!("tenant {name}, public and global scopes"),
        Where::TenantOnly(name) => format!("tenant {name} and global scopes"),
    }
}

/// What was asked for, in words. Long lists are cut.
pub fn what(wanted: &[Wanted]) -> String {
    const MOST: usize = 20;
    let mut parts: Vec<String> = wanted
        .iter()
        .take(MOST)
        .map(|one| match one.told() {
            (kind, name) if name.is_empty() => kind.to_owned(),
            (kind, name) => format!("{kind} {name}"),
        })
        .collect();
    if wanted.len() > MOST {
        parts.push(format!("and {} more", wanted.len() - MOST));
    }
    parts.join(", ")
}
