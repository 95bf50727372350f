//! Leaves Redis alone for a while after it failed some times in a row. Pure: the time and the dice are arguments.
//!
//! Closed -> (failures in a row) -> open for 250 ms, doubling to 10 s, a quarter more or less -> half-open: one operation tries
//! at a time -> closed by its success, open again by its failure.

use std::time::Duration;

/// How long it stays open at first, and at most.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// Whether an operation may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// It may.
    Pass,
    /// It may, and decides for all others.
    Probe,
    /// It may not.
    Refused,
}

/// The states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration, lasted: Duration },
    HalfOpen { lasted: Duration },
}

/// A breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    limit: u32,
    state: State,
}

impl Breaker {
    /// One that opens after so many failures in a row.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), state: State::Closed { failures: 0 } }
    }

    /// Asks for an operation.
    pub(super) fn ask(&mut self, now: Duration) -> Permit {
        match self.state {
            State::Closed { .. } => Permit::Pass,
            State::Open { until, lasted } if now >= until => {
                self.state = State::HalfOpen { lasted };
                Permit::Probe
            }
            State::Open { .. } | State::HalfOpen { .. } => Permit::Refused,
        }
    }

    /// An operation that was let through came to good. A straggler from before the opening decides nothing.
    pub(super) fn succeeded(&mut self, permit: Permit) {
        let closes = matches!((permit, self.state), (Permit::Probe, _) | (_, State::Closed { .. }));
        if closes {
            self.state = State::Closed { failures: 0 };
        }
    }

    /// An operation that was let through failed. `dice`: any number, for the quarter more or less.
    pub(super) fn failed(&mut self, permit: Permit, now: Duration, dice: u32) {
        let lasts = match (permit, self.state) {
            (Permit::Probe, State::HalfOpen { lasted }) => (lasted * 2).min(LONGEST),
            (_, State::Closed { failures }) if failures + 1 >= self.limit => FIRST,
            (_, State::Closed { failures }) => {
                self.state = State::Closed { failures: failures + 1 };
                return;
            }
            _ => return,
        };
        // From three quarters to five quarters.
        let until = now + lasts * (750 + dice % 501) / 1_000;
        self.state = State::Open { until, lasted: lasts };
    }

    /// The state's name.
    pub(super) fn name(&self) -> &'static str {
        match self.state {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen { .. } => "half-open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Permit::{Pass, Probe, Refused};
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// 250 of 501: neither more nor less.
    const EVEN: u32 = 250;

    fn opened(now: u64) -> Breaker {
        let mut breaker = Breaker::new(5);
        for _ in 0..5 {
            assert_eq!(breaker.ask(at(now)), Pass);
            breaker.failed(Pass, at(now), EVEN);
        }
        assert_eq!(breaker.name(), "open");
        breaker
    }

    #[test]
    fn it_opens_after_as_many_failures_in_a_row_as_configured_and_not_before() {
        for limit in 1..8 {
            let mut breaker = Breaker::new(limit);
            for n in 0..limit {
                assert_eq!(breaker.ask(at(0)), Pass, "{n} of {limit}");
                breaker.failed(Pass, at(0), EVEN);
            }
            assert_eq!(breaker.ask(at(0)), Refused);
        }
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let mut breaker = Breaker::new(2);
        for _ in 0..10 {
            breaker.failed(Pass, at(0), EVEN);
            breaker.succeeded(Pass);
        }
        assert_eq!(breaker.name(), "closed");
    }

    #[test]
    fn one_operation_tries_at_a_time_and_closes_it_by_success() {
        let mut breaker = opened(0);
        assert_eq!(breaker.ask(at(249)), Refused);
        assert_eq!(breaker.ask(at(250)), Probe);
        assert_eq!((breaker.ask(at(250)), breaker.ask(at(9_999))), (Refused, Refused));
        breaker.succeeded(Probe);
        assert_eq!(breaker.ask(at(251)), Pass);
        // A first failure after that is one of five again.
        breaker.failed(Pass, at(251), EVEN);
        assert_eq!(breaker.ask(at(251)), Pass);
    }

    #[test]
    fn each_failed_trial_doubles_the_time_up_to_ten_seconds() {
        let (mut breaker, mut now) = (opened(0), 250);
        for lasts in [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            assert_eq!(breaker.ask(at(now)), Probe);
            breaker.failed(Probe, at(now), EVEN);
            assert_eq!(breaker.ask(at(now + lasts - 1)), Refused, "{lasts}");
            now += lasts;
        }
        assert_eq!(breaker.ask(at(now)), Probe);
    }

    #[test]
    fn the_time_is_a_quarter_more_or_less() {
        for (dice, lasts) in [(0, 187), (250, 249), (500, 312), (501, 187), (u32::MAX, 188)] {
            let mut breaker = Breaker::new(1);
            breaker.failed(Pass, at(0), dice);
            assert_eq!(breaker.ask(at(lasts)), Refused, "{dice}");
            assert_eq!(breaker.ask(at(lasts + 1)), Probe, "{dice}");
        }
    }

    #[test]
    fn stragglers_from_before_the_opening_decide_nothing() {
        let mut breaker = opened(0);
        breaker.succeeded(Pass);
        assert_eq!(breaker.name(), "open");
        assert_eq!(breaker.ask(at(250)), Probe);
        breaker.succeeded(Pass);
        breaker.failed(Pass, at(250), EVEN);
        assert_eq!(breaker.name(), "half-open");
    }
}
