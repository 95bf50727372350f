//! A row of the table: what the purges of one selector in one scope add up to.
//!
//! Hard and soft purges are kept side by side: a later soft one never softens a hard one. A row is bounded. Where more
//! soft purges or causers come than it holds, they are merged so that it says too much, never too little: stale for
//! longer, or purged where stale would do.

use std::time::Duration;

use super::coverage::Mode;
use super::record::{Causer, Record};
use crate::policy::Validity;
use crate::stored::Position;

/// How many soft purges a row tells apart.
const SOFT: usize = 4;
/// How many causers a row tells apart.
const CAUSERS: usize = 16;

/// The purges of one selector in one scope.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The newest hard purge; 0: none.
    hard: Position,
    /// The soft purges after it. Most rows have none, and stay small.
    soft: Option<Box<Soft>>,
}

#[derive(Debug, Default)]
struct Soft {
    /// Place and time, both growing. A merged one has the place of the later and the time of the earlier.
    purges: Vec<(Position, Duration)>,
    /// The newest purge of each causer.
    causers: Vec<(Causer, Position)>,
    /// Up to here anybody may have been the causer: who it was is forgotten.
    anybody: Position,
}

impl Row {
    /// Adds a record, which is newer than all before.
    pub(super) fn add(&mut self, record: &Record) {
        match record.purge.mode {
            Mode::Hard => {
                self.hard = record.seq;
                // What a soft purge before covers, this one covers too.
                self.soft = None;
            }
            Mode::Soft => {
                let soft = self.soft.get_or_insert_default();
                soft.add(record.seq, record.time.mono);
                if let Some(causer) = record.purge.by {
                    soft.caused(causer, record.seq);
                }
            }
        }
    }

    /// What the row says of a response that holds for `from`, to whom `by` stands for.
    pub(super) fn judge(&self, from: Position, by: Option<Causer>) -> Validity {
        if self.hard > from {
            return Validity::Purged;
        }
        let Some(soft) = &self.soft else { return Validity::Valid };
        let Some((_, since)) = soft.purges.iter().find(|(seq, _)| *seq > from) else {
            return Validity::Valid;
        };
        if by.is_some_and(|by| soft.is_caused_by(by, from)) {
            return Validity::Purged;
        }
        Validity::StaleSince(*since)
    }

    /// Frees what is at or below the floor. Whether anything is left.
    pub(super) fn free(&mut self, floor: Position) -> bool {
        if self.hard <= floor {
            self.hard = 0;
        }
        if let Some(soft) = &mut self.soft {
            soft.purges.retain(|(seq, _)| *seq > floor);
            soft.causers.retain(|(_, seq)| *seq > floor);
        }
        self.soft.take_if(|soft| soft.purges.is_empty());
        self.newest() > 0
    }

    /// The newest purge.
    pub(super) fn newest(&self) -> Position {
        let soft = self.soft.as_ref().and_then(|soft| soft.purges.last());
        soft.map_or(0, |(seq, _)| *seq).max(self.hard)
    }

    /// What it counts towards the limit of the table.
    pub(super) fn size(&self) -> usize {
        1 + self.soft.as_ref().map_or(0, |soft| soft.purges.len() + soft.causers.len())
    }
}

impl Soft {
    fn add(&mut self, seq: Position, time: Duration) {
        self.purges.push((seq, time));
        if self.purges.len() > SOFT {
            // Of two neighbours the later goes, at the cost of the time between them: what began between is said to be
            // stale for that much longer. The closest two cost least.
            let gap = |at: &usize| self.purges[at + 1].1.saturating_sub(self.purges[*at].1);
            let closest = (0..self.purges.len() - 1).min_by_key(gap).unwrap_or_default();
            let (later, _) = self.purges.remove(closest + 1);
            self.purges[closest].0 = later;
        }
    }

    fn caused(&mut self, causer: Causer, seq: Position) {
        self.causers.retain(|(known, _)| *known != causer);
        self.causers.push((causer, seq));
        if self.causers.len() > CAUSERS {
            let (_, oldest) = self.causers.remove(0);
            self.anybody = oldest;
        }
    }

    fn is_caused_by(&self, causer: Causer, from: Position) -> bool {
        self.anybody > from || self.causers.iter().any(|(known, seq)| *known == causer && *seq > from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::purge::{Purge, Where};

    fn record(seq: Position, mode: Mode, by: Option<u8>) -> Record {
        let time = Duration::from_secs(100 + seq);
        let by = by.map(|name| Causer::credential(&[name]));
        let purge = Purge { selectors: Vec::new(), whose: Where::All, mode, by };
        Record { seq, id: String::new(), purge, time: Now { mono: time, wall: time } }
    }

    fn row(records: &[Record]) -> Row {
        let mut row = Row::default();
        records.iter().for_each(|record| row.add(record));
        row
    }

    fn stale(seconds: u64) -> Validity {
        Validity::StaleSince(Duration::from_secs(seconds))
    }

    #[test]
    fn a_later_soft_purge_never_softens_a_hard_one() {
        let row =
            row(&[record(1, Mode::Soft, None), record(2, Mode::Hard, None), record(3, Mode::Soft, None)]);
        assert_eq!(row.judge(0, None), Validity::Purged);
        assert_eq!(row.judge(1, None), Validity::Purged);
        assert_eq!(row.judge(2, None), stale(103));
        assert_eq!(row.judge(3, None), Validity::Valid);
    }

    #[test]
    fn a_response_is_stale_since_the_earliest_soft_purge_that_covers_it() {
        let row = row(&[record(1, Mode::Soft, None), record(5, Mode::Soft, None)]);
        assert_eq!(row.judge(0, None), stale(101));
        assert_eq!(row.judge(1, None), stale(105));
    }

    #[test]
    fn whoever_caused_a_soft_purge_reads_fresh_and_nobody_else_has_to() {
        let row = row(&[record(1, Mode::Soft, Some(1)), record(2, Mode::Soft, Some(2))]);
        let by = |name: u8| Some(Causer::credential(&[name]));
        assert_eq!(row.judge(0, by(1)), Validity::Purged);
        assert_eq!(row.judge(0, by(2)), Validity::Purged);
        assert_eq!(row.judge(0, by(3)), stale(101));
        // A response that began after the first purge is not what the first causer must not see.
        assert_eq!(row.judge(1, by(1)), stale(102));
        assert_eq!(row.judge(1, by(2)), Validity::Purged);
    }

    #[test]
    fn a_row_is_bounded_and_what_is_merged_says_too_much_never_too_little() {
        let mut row = Row::default();
        for seq in 1..=1_000 {
            row.add(&record(seq, Mode::Soft, Some(u8::try_from(seq % 200).unwrap())));
        }
        assert!(row.size() <= 1 + SOFT + CAUSERS);
        for from in 0..1_000 {
            let Validity::StaleSince(since) = row.judge(from, None) else { panic!("{from} is covered") };
            assert!(since <= Duration::from_secs(101 + from), "stale since too late");
            for later in from + 1..=1_000.min(from + 200) {
                let by = Causer::credential(&[u8::try_from(later % 200).unwrap()]);
                assert_eq!(row.judge(from, Some(by)), Validity::Purged, "{later} caused it");
            }
        }
        assert_eq!(row.judge(1_000, Some(Causer::credential(&[0]))), Validity::Valid);
    }

    #[test]
    fn a_row_is_free_once_all_of_it_is_at_or_below_the_floor() {
        let mut row = row(&[record(1, Mode::Hard, None), record(3, Mode::Soft, Some(1))]);
        assert!(row.free(2));
        assert_eq!(row.judge(2, None), stale(103));
        assert!(!row.free(3));
    }
}
