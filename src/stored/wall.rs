//! Moments between nodes: those of this process's monotonic clock as those of the Redis server's clock, and back.
//!
//! Invariant: a moment never becomes a later one on its way. The age of a response does not shrink, and its end does not move
//! away, by more than the server's clock itself is wrong.

use std::time::Duration;

/// What both clocks said at one time, as an exchange with the server showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallMap {
    sent: Duration,
    answered: Duration,
    wall: Duration,
}

/// The server says its time in these steps.
const TICK: i128 = 1_000;
const MILLISECOND: i128 = 1_000_000;

impl WallMap {
    /// The server was asked for its time at `sent` and `answered` with `wall`, whole microseconds since the Unix epoch (`TIME`).
    /// When it looked at its clock between the two is not known: each way takes the end that gives the earlier moment.
    pub fn new(sent: Duration, answered: Duration, wall: Duration) -> Self {
        Self { sent, answered, wall }
    }

    /// A moment of this process in milliseconds of the server's clock.
    pub fn to_wall(&self, mono: Duration) -> i64 {
        let nanos = nanos(self.wall) + nanos(mono) - nanos(self.answered);
        let millis = nanos.div_euclid(MILLISECOND);
        i64::try_from(millis).unwrap_or(if millis < 0 { i64::MIN } else { i64::MAX })
    }

    /// A moment of the server's clock on that of this process, and how long it was before the latter began, which has no
    /// moments for that.
    pub fn to_mono(&self, wall_ms: i64) -> (Duration, Duration) {
        let nanos = nanos(self.sent) + i128::from(wall_ms) * MILLISECOND - nanos(self.wall) - TICK;
        let span = span(nanos.unsigned_abs());
        if nanos < 0 { (Duration::ZERO, span) } else { (span, Duration::ZERO) }
    }
}

fn nanos(time: Duration) -> i128 {
    // Less than 2^94.
    i128::from(time.as_secs()) * 1_000_000_000 + i128::from(time.subsec_nanos())
}

fn span(nanos: u128) -> Duration {
    let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    // Less than a second's.
    Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn both_ways_take_the_earlier_moment() {
        let map = WallMap::new(10 * S, 12 * S, 1_000 * S);
        assert_eq!(map.to_wall(12 * S), 1_000_000);
        assert_eq!(map.to_wall(12 * S - Duration::from_nanos(1)), 999_999);
        assert_eq!(map.to_mono(1_000_000), (10 * S - Duration::from_micros(1), Duration::ZERO));
        assert_eq!(map.to_mono(980_000), (Duration::ZERO, 10 * S + Duration::from_micros(1)));
    }

    proptest! {
        #[test]
        fn no_clock_and_no_moment_makes_it_panic(times in any::<[Duration; 4]>(), wall in any::<i64>()) {
            let map = WallMap::new(times[0], times[1], times[2]);
            map.to_wall(times[3]);
            map.to_mono(wall);
        }

        /// Two nodes, whose clocks began at other times and who saw the server's clock through exchanges of any length.
        #[test]
        fn a_moment_is_never_later_on_another_node(
            origins in any::<[u32; 3]>(), trips in any::<[(u16, u16); 2]>(), at in any::<u32>(), asked in any::<[u32; 2]>(),
        ) {
            let nanos = |n: u64| Duration::from_nanos(n * 1_009); // no whole microseconds
            let [wall, begun @ ..] = origins.map(|n| nanos(n.into()));
            // Of each node: what its clock says, and what it knows, at a moment of true time.
            let mono = |node: usize, at: Duration| at + begun[node];
            let map = |node: usize| {
                let looked = nanos(asked[node].into()) + nanos(trips[node].0.into());
                let said = Duration::from_micros(u64::try_from((looked + wall).as_micros()).unwrap());
                let sent = looked - nanos(trips[node].0.into());
                WallMap::new(mono(node, sent), mono(node, looked + nanos(trips[node].1.into())), said)
            };
            let at = nanos(at.into());
            let (arrived, early) = map(1).to_mono(map(0).to_wall(mono(0, at)));
            prop_assert!(arrived <= mono(1, at));
            let lost = mono(1, at) + early - arrived;
            let trips = nanos(u64::from(trips[0].0) + u64::from(trips[0].1) + u64::from(trips[1].0) + u64::from(trips[1].1));
            prop_assert!(lost <= trips + Duration::from_micros(1_003), "{lost:?} lost in {trips:?}");
        }
    }
}
