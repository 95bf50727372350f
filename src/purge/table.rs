//! The rows of all purges that something stored may still have to fear: exact selectors in a map, patterns in a list.

use std::collections::HashMap;

use super::coverage::rows;
use super::record::{Causer, Record};
use super::row::Row;
use crate::key::PreparedState;
use crate::policy::Validity;
use crate::stored::{Position, Selectors};
use crate::tag::Pattern;

/// How large the table may grow before the floor is raised early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of exact selectors. What a row keeps of soft purges and their causers counts as rows too.
    pub rows: usize,
    /// Patterns: each is looked at by every response whose stripe moved.
    pub patterns: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 1 << 20, patterns: 1024 }
    }
}

#[derive(Default)]
pub(super) struct Table {
    exact: HashMap<u64, Row, PreparedState>,
    patterns: Vec<(u64, Pattern, Row)>,
    /// The sizes of the rows.
    size: usize,
}

impl Table {
    /// Writes the rows of a record, which is newer than all before.
    pub(super) fn write(&mut self, record: &Record) {
        let new = rows(&record.purge.selectors, &record.purge.whose);
        for digest in new.exact {
            let size = &mut self.size;
            let row = self.exact.entry(digest).or_insert_with(|| {
                *size += 1;
                Row::default()
            });
            let before = row.size();
            row.add(record);
            self.size = self.size + row.size() - before;
        }
        for (scope, pattern) in new.patterns {
            let known = self.patterns.iter().position(|(s, p, _)| *s == scope && *p == pattern);
            let at = known.unwrap_or_else(|| {
                self.patterns.push((scope, pattern, Row::default()));
                self.patterns.len() - 1
            });
            self.patterns[at].2.add(record);
        }
    }

    /// What the rows say of a response that holds for `from`.
    pub(super) fn judge(&self, selectors: &Selectors, from: Position, by: Option<Causer>) -> Validity {
        let exact = selectors.exact.iter().filter_map(|digest| self.exact.get(digest));
        let patterns = self.patterns.iter().filter(|(scope, pattern, row)| {
            row.newest() > from
                && selectors.scopes.contains(scope)
                && selectors.tags.iter().any(|tag| pattern.covers(tag))
        });
        let rows = exact.chain(patterns.map(|(_, _, row)| row));
        rows.map(|row| row.judge(from, by)).fold(Validity::Valid, Validity::worse)
    }

    /// Frees what is at or below the floor.
    pub(super) fn free(&mut self, floor: Position) {
        self.exact.retain(|_, row| row.free(floor));
        self.patterns.retain_mut(|(_, _, row)| row.free(floor));
        self.size = self.exact.values().map(Row::size).sum();
        if self.exact.len() < self.exact.capacity() / 4 {
            self.exact.shrink_to(self.exact.len() * 2);
        }
        self.patterns.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.patterns.len()
    }

    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.size > limits.rows || self.patterns.len() > limits.patterns
    }

    /// An early floor: a position at or below which half of what is too many is.
    pub(super) fn early_floor(&self, limits: &Limits) -> Position {
        let patterns = self.patterns.iter().map(|(_, _, row)| row.newest());
        let by_patterns = if self.patterns.len() > limits.patterns { middle(patterns.collect()) } else { 0 };
        let exact = self.exact.values().map(Row::newest);
        let by_rows = if self.size > limits.rows { middle(exact.collect()) } else { 0 };
        by_rows.max(by_patterns)
    }
}

fn middle(mut newest: Vec<Position>) -> Position {
    if newest.is_empty() {
        return 0;
    }
    let half = newest.len() / 2;
    *newest.select_nth_unstable(half).1
}
