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

    /// The instant that tokio's timers wait for.
    pub(crate) fn instant(self, at: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0 + at)
    }
}
