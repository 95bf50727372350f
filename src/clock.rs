//! The wall clock and the monotonic clock: the only file that may ask the time.
//!
//! Everything else receives a [`Now`]. Tests hold a [`Clock::manual`] and move it by hand. Waiting is
//! `tokio::time`'s business, which tests pause on their own.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the clock was made, suspensions of the machine included. Ages and lifetimes are measured on
    /// it, so that a step of the wall clock neither revives nor kills a stored response.
    pub mono: Duration,
    /// Wall time since the Unix epoch, for HTTP dates, token expiry and logs.
    pub wall: Duration,
}

impl Now {
    /// Wall time in whole seconds since the Unix epoch.
    pub fn unix_seconds(&self) -> u64 {
        self.wall.as_secs()
    }

    /// Wall time as the standard library's type.
    pub fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.wall
    }
}

/// A source of [`Now`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { start: Duration },
    Manual { millis: Arc<AtomicU64>, wall_start: Duration },
}

impl Clock {
    /// The clocks of the operating system.
    pub fn system() -> Self {
        Self(Source::System { start: since_boot() })
    }

    /// A clock that stands still until it is moved; it starts at `wall` since the Unix epoch.
    pub fn manual(wall: Duration) -> Self {
        Self(Source::Manual { millis: Arc::default(), wall_start: wall })
    }

    /// Reads both clocks.
    #[inline]
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System { start } => {
                let now = since_boot();
                Now { mono: now.saturating_sub(*start), wall: wall_at(now) }
            }
            Source::Manual { millis, wall_start } => {
                let mono = Duration::from_millis(millis.load(Ordering::SeqCst));
                Now { mono, wall: *wall_start + mono }
            }
        }
    }

    /// Moves a manual clock forward, to the millisecond. The system's clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { millis, .. } = &self.0 {
            let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            millis.fetch_add(by, Ordering::SeqCst);
        }
    }
}

/// Time since the machine was started. Unlike that of `Instant` it goes on while the machine is suspended: a node that was
/// asleep knows that its proof of being current is old.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    // This clock never stands before its beginning.
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// For so long the wall clock is taken to run as the monotonic one does.
const STEADY: Duration = Duration::from_millis(100);

thread_local! {
    /// When this thread last read the wall clock, and what it said.
    static READ: Cell<Option<(Duration, Duration)>> = const { Cell::new(None) };
}

/// The wall time at this moment. Reading a clock is a part of a hit that can be measured, so the wall clock is read now and
/// then only: a step of it is noticed a tenth of a second later.
#[allow(clippy::disallowed_methods)] // the one place that may
fn wall_at(now: Duration) -> Duration {
    if let Some((read, wall)) = READ.get()
        && let Some(since) = now.checked_sub(read)
        && since < STEADY
    {
        return wall + since;
    }
    // A wall clock before 1970 is read as 1970: dates come out wrong, nothing breaks.
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    READ.set(Some((now, wall)));
    wall
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_both_clocks_and_only_by_hand() {
        let clock = Clock::manual(Duration::from_secs(1_000));
        let before = clock.now();
        assert_eq!(clock.now(), before);
        clock.clone().advance(Duration::from_secs(5));
        assert_eq!(clock.now().mono, Duration::from_secs(5));
        assert_eq!(clock.now().unix_seconds(), 1_005);
    }
}
