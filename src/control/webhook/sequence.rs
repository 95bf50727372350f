//! Running numbers of a sender: what a number says about the events before it.
//!
//! A number that was skipped and comes later is only late. A number that came already, under another id, means that the
//! sender counts anew: what it sent in between is unknown, as after a gap.

/// How many gaps are remembered; the oldest is forgotten, and what comes late from it counts as a step back.
const MAX_GAPS: usize = 16;

/// What has come so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counter {
    last: Option<u64>,
    /// What was skipped: from, to, both included.
    missing: Vec<(u64, u64)>,
}

/// What a number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The first, or the one that was expected, or one that was missed before.
    Fits,
    /// Events are missing: this one was expected.
    Gap {
        /// The number after the last.
        expected: u64,
    },
    /// The sender counts anew.
    Back {
        /// The number after the last.
        expected: u64,
    },
}

impl Counter {
    /// A counter that goes on after `last`.
    pub(super) fn after(last: u64) -> Self {
        Self { last: Some(last), missing: Vec::new() }
    }

    /// The highest number so far.
    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    /// What `number` says, and the counter after it.
    pub(super) fn step(&self, number: u64) -> (Step, Self) {
        let mut next = self.clone();
        let Some(last) = self.last else {
            next.last = Some(number);
            return (Step::Fits, next);
        };
        let expected = last.saturating_add(1);
        if number == expected && number != last {
            next.last = Some(number);
            return (Step::Fits, next);
        }
        if number > expected {
            next.last = Some(number);
            next.missing.push((expected, number - 1));
            next.bound();
            return (Step::Gap { expected }, next);
        }
        if next.found(number) {
            return (Step::Fits, next);
        }
        (Step::Back { expected }, Self::after(number))
    }

    /// As text: the highest number, and what was skipped.
    pub(super) fn written(&self) -> String {
        let Some(last) = self.last else { return String::new() };
        let missing = self.missing.iter().map(|(from, to)| format!(" {from}-{to}"));
        std::iter::once(last.to_string()).chain(missing).collect()
    }

    /// From its text. One that cannot be read knows of nothing that came: whatever comes is a step back.
    pub(super) fn read(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        let mut parts = text.split(' ');
        let range = |part: &str| {
            let (from, to) = part.split_once('-')?;
            Some((from.parse().ok()?, to.parse().ok()?)).filter(|(from, to)| from <= to)
        };
        let last = parts.next().and_then(|last| last.parse().ok());
        match (last, parts.map(range).collect::<Option<Vec<_>>>()) {
            (Some(last), Some(missing)) if missing.len() <= MAX_GAPS => Self { last: Some(last), missing },
            _ => Self::after(u64::MAX),
        }
    }

    /// Takes a number out of what is missing.
    fn found(&mut self, number: u64) -> bool {
        let Some(place) = self.missing.iter().position(|(from, to)| (*from..=*to).contains(&number)) else {
            return false;
        };
        let (from, to) = self.missing.remove(place);
        let mut parts = Vec::new();
        if from < number {
            parts.push((from, number - 1));
        }
        if number < to {
            parts.push((number + 1, to));
        }
        self.missing.splice(place..place, parts);
        self.bound();
        true
    }

    fn bound(&mut self) {
        let many = self.missing.len().saturating_sub(MAX_GAPS);
        self.missing.drain(..many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps(numbers: &[u64]) -> Vec<Step> {
        let mut counter = Counter::default();
        let mut steps = Vec::new();
        for number in numbers {
            let (step, next) = counter.step(*number);
            counter = next;
            steps.push(step);
        }
        steps
    }

    #[test]
    fn a_gap_is_seen_once_and_what_comes_late_fills_it() {
        let gap = |expected| Step::Gap { expected };
        let back = |expected| Step::Back { expected };
        assert_eq!(steps(&[5, 6, 7]), [Step::Fits; 3]);
        assert_eq!(steps(&[5, 8, 6, 7, 9]), [Step::Fits, gap(6), Step::Fits, Step::Fits, Step::Fits]);
        assert_eq!(steps(&[5, 8, 6, 6]), [Step::Fits, gap(6), Step::Fits, back(9)]);
        assert_eq!(steps(&[5, 1, 2]), [Step::Fits, back(6), Step::Fits]);
        assert_eq!(steps(&[5, 5]), [Step::Fits, back(6)]);
        assert_eq!(steps(&[u64::MAX, u64::MAX, 0]), [Step::Fits, back(u64::MAX), back(u64::MAX)]);
    }

    #[test]
    fn what_is_no_counter_lets_nothing_fit() {
        let many = format!("9{}", " 1-2".repeat(MAX_GAPS + 1));
        for text in [" ", "x", "-1", "18446744073709551616", "5 7", "9 8-7", "9  1-2", "9 1-x", many.as_str()]
        {
            for number in [0, 1, 10, u64::MAX] {
                let step = Counter::read(text).step(number).0;
                assert_eq!(step, Step::Back { expected: u64::MAX }, "{text}");
            }
        }
        assert_eq!(Counter::read("9 3-4 7-7").step(4).0, Step::Fits);
        assert_eq!(Counter::read("").step(4).0, Step::Fits);
    }

    proptest! {
        #[test]
        fn numbers_in_order_fit_and_a_missing_one_never_goes_unnoticed(
            start in 0_u64..1000, length in 1_usize..40, lost in any::<proptest::sample::Index>(),
        ) {
            let all: Vec<u64> = (start..).take(length + 1).collect();
            prop_assert!(steps(&all).iter().all(|step| *step == Step::Fits));
            let lost = lost.index(length).max(1);
            let rest: Vec<u64> = all.iter().copied().filter(|n| *n != start + lost as u64).collect();
            let noticed = steps(&rest).iter().filter(|step| **step != Step::Fits).count();
            prop_assert_eq!(noticed, usize::from(lost < length));
        }

        #[test]
        fn a_counter_comes_back_as_it_was_written(numbers in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut counter = Counter::default();
            for number in numbers {
                prop_assert_eq!(&Counter::read(&counter.written()), &counter);
                counter = counter.step(u64::from(number)).1;
            }
        }

        #[test]
        fn any_numbers_leave_the_counter_bounded(numbers in proptest::collection::vec(0_u64..60, 0..200)) {
            let mut counter = Counter::default();
            for number in numbers {
                counter = counter.step(number).1;
                prop_assert!(counter.missing.len() <= MAX_GAPS);
            }
        }
    }
}
