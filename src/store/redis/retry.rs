//! How often operations are tried again: out of a budget that a tenth of the operations fills, so that a failing Redis has at
//! most a tenth more to do. Pure: the dice are an argument.

use std::time::Duration;

/// What is saved at most, in tenths of a retry.
const MOST: u32 = 100;

/// The budget of a store.
#[derive(Debug)]
pub(super) struct Budget {
    tenths: u32,
}

impl Budget {
    /// A full one.
    pub(super) fn new() -> Self {
        Self { tenths: MOST }
    }

    /// An operation begins.
    pub(super) fn earn(&mut self) {
        self.tenths = (self.tenths + 1).min(MOST);
    }

    /// Whether one may be tried again.
    pub(super) fn spend(&mut self) -> bool {
        match self.tenths.checked_sub(10) {
            Some(left) => {
                self.tenths = left;
                true
            }
            None => false,
        }
    }
}

/// How long to wait before trying again for the `tried`-th time (from 0): up to 2, 4, 8 … ms, at least half of it.
pub(super) fn pause(tried: u32, dice: u32) -> Duration {
    let most = 2_000_u64 << tried.min(6);
    Duration::from_micros(most / 2 + u64::from(dice) % (most / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_are_saved_and_then_a_tenth_of_the_operations_may_be_tried_again() {
        let mut budget = Budget::new();
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
        let mut spent = 0;
        for _ in 0..1_000 {
            budget.earn();
            spent += u32::from(budget.spend());
        }
        assert_eq!(spent, 100);
        for _ in 0..1_000 {
            budget.earn();
        }
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
    }

    #[test]
    fn pauses_grow_and_are_spread() {
        for (tried, from, to) in
            [(0, 1_000, 2_000), (1, 2_000, 4_000), (2, 4_000, 8_000), (60, 64_000, 128_000)]
        {
            for dice in [0, 1, 999, 12_345, u32::MAX] {
                let micros = pause(tried, dice).as_micros();
                assert!((from..to).contains(&micros), "{tried} {dice}: {micros}");
            }
        }
    }
}
