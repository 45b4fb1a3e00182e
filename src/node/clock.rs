//! The one place that reads the time.

use std::time::{Duration, Instant};

/// A node's clock: time since the node came up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// When that was on the kernel's coarse clock, or a bit later.
    coarse: Duration,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let start = Instant::now();
        Clock { start, coarse: coarse_time() }
    }

    pub(crate) fn now(self) -> Duration {
        self.start.elapsed()
    }

    /// The time so long from now. One that is a second away and more may be some milliseconds later than that, and is had for
    /// a fifth of what a look at the clock costs.
    pub(crate) fn ahead(self, within: Duration) -> Duration {
        let now = match within < COARSE_FROM {
            true => self.now(),
            false => coarse_time().saturating_sub(self.coarse) + COARSE_TICK,
        };
        now.saturating_add(within)
    }

    /// The instant that tokio's timers wait for; a time that no clock ever shows is far away.
    pub(crate) fn instant(self, at: Duration) -> tokio::time::Instant {
        let at = self.start.checked_add(at).unwrap_or_else(|| self.start + FAR_AWAY);
        tokio::time::Instant::from_std(at)
    }
}

/// Longer than any node lives, and short enough for every platform's clock.
const FAR_AWAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The kernel's clock as of its last tick.
fn coarse_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    Duration::try_from(time).unwrap_or_default()
}

/// Spans from here on are measured on the coarse clock.
const COARSE_FROM: Duration = Duration::from_secs(1);
/// The longest that it stands still, and then some: kernels tick 100 times a second and more.
const COARSE_TICK: Duration = Duration::from_millis(20);

/// Time since the machine came up, that of its sleep included.
pub(crate) fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// What the clock said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Instant);

impl Moment {
    pub(crate) fn now() -> Moment {
        Moment(Instant::now())
    }

    pub(crate) fn since(self, before: Moment) -> Duration {
        self.0.saturating_duration_since(before.0)
    }

    pub(crate) fn and(self, time: Duration) -> Alarm {
        Alarm(self.0 + time)
    }
}

/// A moment to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alarm(Instant);

impl Alarm {
    pub(crate) fn is_due_at(self, now: Moment) -> bool {
        now.0 >= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ahead_is_never_too_early_and_little_late() {
        let clock = Clock::start();
        for within in [0, 1, 999, 1000, 5000].map(Duration::from_millis) {
            for _ in 0..1000 {
                let before = clock.now();
                let ahead = clock.ahead(within);
                let after = clock.now();
                assert!(ahead >= before + within, "{within:?}");
                assert!(ahead <= after + within + 2 * COARSE_TICK, "{within:?}");
            }
        }
        assert_eq!(clock.ahead(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn a_time_beyond_all_clocks_is_far_away_and_no_panic() {
        let clock = Clock::start();
        assert!(clock.instant(Duration::MAX) > clock.instant(Duration::from_secs(1 << 31)));
    }
}
