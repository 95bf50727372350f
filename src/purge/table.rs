//! The rows of all purges that something stored may still have to fear: exact selectors in a map, patterns in a list for
//! each scope.
//!
//! A scope with too many patterns gets one row for everything instead: one tenant's patterns cost that tenant, and slow
//! down or give up nobody else's responses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::coverage::{covering_rows, everything, rows, scopes_of};
use super::provisional::Provisional;
use super::record::{Causer, Record};
use super::row::Row;
use crate::key::PreparedState;
use crate::policy::Validity;
use crate::stored::{Covered, Position};
use crate::tag::Pattern;

/// How large the table may grow before the floor is raised early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of exact selectors. What a row keeps of soft purges and their causers counts as rows too.
    pub rows: usize,
    /// Patterns of one scope: each is looked at by every response of the scope whose stripe moved.
    pub patterns: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 1 << 20, patterns: 256 }
    }
}

#[derive(Default)]
pub(super) struct Table {
    exact: HashMap<u64, Row, PreparedState>,
    patterns: HashMap<u64, Vec<(Pattern, Row)>, PreparedState>,
    /// The sizes of the rows.
    size: usize,
    /// Purges without a place in the log.
    pub(super) provisional: Provisional,
}

impl Table {
    /// Writes the rows of a record, which is newer than all before.
    pub(super) fn write(&mut self, record: &Record, limits: &Limits) {
        let new = rows(&record.purge.selectors, &record.purge.whose);
        for digest in new.exact {
            self.write_exact(digest, |row| row.add(record));
        }
        for (scope, pattern) in new.patterns {
            self.write_pattern(scope, pattern, record);
            if self.patterns.get(&scope).is_some_and(|known| known.len() > limits.patterns) {
                self.fold(scope, record.seq);
            }
        }
    }

    fn write_exact(&mut self, digest: u64, add: impl FnOnce(&mut Row)) {
        let row = self.exact.entry(digest);
        let before = if let Entry::Occupied(row) = &row { row.get().size() } else { 0 };
        let row = row.or_default();
        add(row);
        self.size = self.size + row.size() - before;
    }

    fn write_pattern(&mut self, scope: u64, pattern: Pattern, record: &Record) {
        let known = self.patterns.entry(scope).or_default();
        let at = known.iter().position(|(p, _)| *p == pattern).unwrap_or_else(|| {
            known.push((pattern, Row::default()));
            self.size += Row::default().size();
            known.len() - 1
        });
        let row = &mut known[at].1;
        let before = row.size();
        row.add(record);
        self.size = self.size + row.size() - before;
    }

    /// One hard row for everything of a scope in the place of its patterns. It says more than they did, for what began
    /// before.
    fn fold(&mut self, scope: u64, seq: Position) {
        let folded = self.patterns.remove(&scope).unwrap_or_default();
        self.size -= folded.iter().map(|(_, row)| row.size()).sum::<usize>();
        tracing::warn!(
            patterns = folded.len(),
            "a tenant has too many patterns: all its responses are given up"
        );
        self.write_exact(everything(scope), |row| row.add_hard(seq));
    }

    /// What the rows say of a response that holds for `from`.
    pub(super) fn judge(&self, covered: Covered<'_>, from: Position, by: Option<Causer>) -> Validity {
        if self.provisional.len() > 0 && self.provisional.covers(covered) {
            return Validity::Purged;
        }
        let exact = covering_rows(covered).filter_map(|digest| self.exact.get(&digest));
        let patterns = scopes_of(covered).filter_map(|scope| self.patterns.get(&scope)).flatten();
        let patterns = patterns
            .filter(|(pattern, row)| row.newest() > from && covered.tags().any(|tag| pattern.covers(tag)));
        let rows = exact.chain(patterns.map(|(_, row)| row));
        rows.map(|row| row.judge(from, by)).fold(Validity::Valid, Validity::worse)
    }

    /// Frees what is at or below the floor.
    pub(super) fn free(&mut self, floor: Position) {
        self.exact.retain(|_, row| row.free(floor));
        self.patterns.retain(|_, known| {
            known.retain_mut(|(_, row)| row.free(floor));
            !known.is_empty()
        });
        self.size = self.rows().map(Row::size).sum();
        if self.exact.len() < self.exact.capacity() / 4 {
            self.exact.shrink_to(self.exact.len() * 2);
        }
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.exact.values().chain(self.patterns.values().flatten().map(|(_, row)| row))
    }

    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.patterns.values().map(Vec::len).sum::<usize>()
    }

    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.size > limits.rows
    }

    /// An early floor: a position at or below which half of the rows are.
    pub(super) fn early_floor(&self) -> Position {
        middle(self.rows().map(Row::newest).collect())
    }
}

fn middle(mut newest: Vec<Position>) -> Position {
    if newest.is_empty() {
        return 0;
    }
    let half = newest.len() / 2;
    *newest.select_nth_unstable(half).1
}
