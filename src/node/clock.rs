//! The one place that reads the time.

use std::time::{Duration, Instant};

/// A node's clock: time since the node came up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(crate) fn now(self) -> Duration {
        self.0.elapsed()
    }

    /// The instant that tokio's timers wait for; a time that no clock ever shows is far away.
    pub(crate) fn instant(self, at: Duration) -> tokio::time::Instant {
        let at = self.0.checked_add(at).unwrap_or_else(|| self.0 + FAR_AWAY);
        tokio::time::Instant::from_std(at)
    }
}

/// Longer than any node lives, and short enough for every platform's clock.
const FAR_AWAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Time since the machine came up, that of its sleep included.
pub(crate) fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// What the clock said.
#[derive(Clone, Copy, Debug)]
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
    fn a_time_beyond_all_clocks_is_far_away_and_no_panic() {
        let clock = Clock::start();
        assert!(clock.instant(Duration::MAX) > clock.instant(Duration::from_secs(1 << 31)));
    }
}
