//! A node that was itself stopped, or slept with its machine, notices by its own clock, and says so.

use slog::warn;

use super::Node;
use super::cell::lock;
use super::clock::boot_time;

impl Node {
    /// To be called at every tick at least.
    pub(super) fn look_at_clock(&self) {
        let paused = lock(&self.pauses).look(boot_time(), self.config.times.tick);
        if let Some(paused) = paused {
            let seconds = paused.as_secs_f64();
            warn!(self.log, "this node itself was stopped, or its machine suspended"; "seconds" => format!("{seconds:.1}"));
        }
    }

    /// What to add to the loss of a peer that was silent: that it may be our own doing.
    pub(super) fn own_pause(&self) -> String {
        let recent = lock(&self.pauses).recent(boot_time(), self.config.times.silence_max);
        match recent {
            Some(paused) => {
                format!(" (this node itself was stopped for {:.1} s)", paused.as_secs_f64())
            }
            None => String::new(),
        }
    }
}
