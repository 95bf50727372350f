//! Purges that are in force on this node before they have their place in the log: rows at infinity.
//!
//! Invariant: such a row covers whatever began before its record is applied, and so it stays until then. How many there are
//! is bounded by the queue of those that wait for the log.

use std::collections::{BTreeMap, HashMap};

use super::coverage::{Selector, Where, covering_rows, rows, scopes_of};
use crate::key::PreparedState;
use crate::stored::Covered;
use crate::tag::Pattern;

/// The rows.
#[derive(Default)]
pub(super) struct Provisional {
    /// By the purge's id: what it wrote.
    purges: BTreeMap<String, Written>,
    /// How many purges wrote each exact row.
    exact: HashMap<u64, usize, PreparedState>,
    patterns: Vec<(u64, Pattern)>,
}

struct Written {
    exact: Vec<u64>,
    patterns: Vec<(u64, Pattern)>,
}

impl Provisional {
    pub(super) fn len(&self) -> usize {
        self.purges.len()
    }

    pub(super) fn add(&mut self, id: &str, selectors: &[Selector], whose: &Where) {
        if self.purges.contains_key(id) {
            return;
        }
        let new = rows(selectors, whose);
        new.exact.iter().for_each(|row| *self.exact.entry(*row).or_default() += 1);
        self.patterns.extend(new.patterns.iter().cloned());
        self.purges.insert(id.to_owned(), Written { exact: new.exact, patterns: new.patterns });
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(gone) = self.purges.remove(id) else { return };
        for row in gone.exact {
            if let Some(count) = self.exact.get_mut(&row) {
                *count -= 1;
                if *count == 0 {
                    self.exact.remove(&row);
                }
            }
        }
        for pattern in gone.patterns {
            if let Some(at) = self.patterns.iter().position(|known| *known == pattern) {
                self.patterns.swap_remove(at);
            }
        }
    }

    pub(super) fn covers(&self, covered: Covered<'_>) -> bool {
        covering_rows(covered).any(|row| self.exact.contains_key(&row))
            || self.patterns.iter().any(|(scope, pattern)| {
                scopes_of(covered).any(|own| own == *scope) && covered.tags().any(|tag| pattern.covers(tag))
            })
    }
}
