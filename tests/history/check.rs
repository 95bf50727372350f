//! The checker: which reads of a history gave something older than a purge had promised them.
//!
//! Times are ticks of one counter: a tick that was taken later is larger, whoever took it. What overlaps is not judged.

use std::collections::HashMap;

/// Who asks: a user of the application. Zero is nobody.
pub(crate) type User = usize;

/// A read, from before its request was sent until after its answer was whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) key: usize,
    pub(crate) by: User,
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) version: u64,
    /// Whether the cache says that it answered alone.
    pub(crate) hit: bool,
}

/// A purge that followed the change of `key` to `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purge {
    pub(crate) key: usize,
    pub(crate) version: u64,
    pub(crate) acknowledged: u64,
    /// A soft purge promises fresh answers to whoever caused it, a hard one (`None`) to everybody.
    pub(crate) only: Option<User>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) reads: Vec<Read>,
    pub(crate) purges: Vec<Purge>,
}

/// A read that gave less than was promised.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) read: Read,
    pub(crate) promised: Purge,
}

/// Every read that started after the acknowledgement of a purge, and gave an older version than the purge promised.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut promises: HashMap<(usize, Option<User>), Vec<Purge>> = HashMap::new();
    for purge in &history.purges {
        promises.entry((purge.key, purge.only)).or_default().push(*purge);
    }
    promises.values_mut().for_each(|purges| newest_so_far(purges));
    let broken = |read: &Read| {
        let of = |whom| promised(promises.get(&(read.key, whom))?, read.started);
        let promised = [of(None), of(Some(read.by))].into_iter().flatten().max_by_key(|p| p.version)?;
        (read.version < promised.version).then_some(Violation { read: *read, promised })
    };
    history.reads.iter().filter_map(broken).collect()
}

/// Sorts by acknowledgement, and puts in each place the purge of the newest version up to there.
fn newest_so_far(purges: &mut [Purge]) {
    purges.sort_by_key(|purge| purge.acknowledged);
    for at in 1..purges.len() {
        if purges[at - 1].version > purges[at].version {
            purges[at] = Purge { acknowledged: purges[at].acknowledged, ..purges[at - 1] };
        }
    }
}

/// The newest purge that was acknowledged before `started`.
fn promised(purges: &[Purge], started: u64) -> Option<Purge> {
    let before = purges.partition_point(|purge| purge.acknowledged < started);
    before.checked_sub(1).map(|at| purges[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: usize, by: User, started: u64, version: u64) -> Read {
        Read { key, by, started, ended: started + 1, version, hit: true }
    }

    fn hard(key: usize, version: u64, acknowledged: u64) -> Purge {
        Purge { key, version, acknowledged, only: None }
    }

    /// The places of the reads that violate.
    fn found(purges: &[Purge], reads: &[Read]) -> Vec<usize> {
        let history = History { reads: reads.to_vec(), purges: purges.to_vec() };
        let violations = check(&history);
        violations.iter().map(|v| reads.iter().position(|read| *read == v.read).unwrap()).collect()
    }

    #[test]
    fn what_started_before_the_acknowledgement_may_be_old() {
        assert!(
            found(&[hard(0, 1, 10)], &[read(0, 0, 3, 0), read(0, 0, 9, 0), read(0, 0, 11, 1)]).is_empty()
        );
        assert!(found(&[], &[read(0, 0, 1, 0)]).is_empty());
    }

    #[test]
    fn what_started_after_the_acknowledgement_may_not_be_older() {
        let reads = [read(0, 0, 11, 0), read(0, 0, 12, 1), read(0, 0, 13, 2), read(0, 3, 14, 0)];
        assert_eq!(found(&[hard(0, 1, 10)], &reads), [0, 3]);
    }

    #[test]
    fn keys_are_judged_apart() {
        let purges = [hard(0, 5, 10), hard(1, 1, 20)];
        assert_eq!(found(&purges, &[read(1, 0, 15, 0), read(1, 0, 25, 0), read(0, 0, 25, 5)]), [1]);
    }

    #[test]
    fn an_older_purge_that_is_acknowledged_later_takes_nothing_back() {
        let purges = [hard(0, 7, 10), hard(0, 6, 20)];
        assert_eq!(found(&purges, &[read(0, 0, 15, 6), read(0, 0, 25, 6), read(0, 0, 25, 7)]), [0, 1]);
        let history = History { reads: vec![read(0, 0, 25, 6)], purges: purges.to_vec() };
        assert_eq!(check(&history)[0].promised.version, 7);
    }

    #[test]
    fn a_soft_purge_binds_whoever_caused_it_and_a_hard_one_everybody() {
        let soft = Purge { only: Some(2), ..hard(0, 3, 10) };
        let reads = [read(0, 1, 15, 2), read(0, 2, 15, 2), read(0, 0, 15, 0), read(0, 2, 15, 3)];
        assert_eq!(found(&[soft], &reads), [1]);
        assert_eq!(found(&[soft, hard(0, 1, 12)], &reads), [1, 2]);
        assert_eq!(found(&[soft, hard(0, 3, 12)], &reads), [0, 1, 2]);
    }
}
