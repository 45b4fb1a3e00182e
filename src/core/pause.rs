//! Was this node itself asleep? Decided by the gaps between its own looks at the clock.

use std::time::Duration;

/// When a node last looked at the clock, which also runs while the machine is suspended.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    seen: Option<Duration>,
    /// The last pause: how long, and when it was over.
    last: Option<(Duration, Duration)>,
}

impl Pauses {
    /// Takes a look, which is due every `tick` at least. Returns the pause that it ends, once.
    ///
    /// PS-1: a gap is a pause if it is longer than a busy machine makes it, and then the peers may have missed our
    /// heartbeats: whatever they and we conclude from silence has that cause.
    pub(crate) fn look(&mut self, now: Duration, tick: Duration) -> Option<Duration> {
        let gap = now.saturating_sub(self.seen.replace(now)?);
        let paused = gap.checked_sub(tick).filter(|paused| *paused >= (tick * 2).max(PAUSE_MIN));
        if let Some(paused) = paused {
            self.last = Some((paused, now));
        }
        paused
    }

    /// The pause that was over less than `within` ago.
    pub(crate) fn recent(&self, now: Duration, within: Duration) -> Option<Duration> {
        let (paused, over) = self.last?;
        (now.saturating_sub(over) <= within).then_some(paused)
    }
}

/// What a loaded machine may do to a thread.
const PAUSE_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_gap_is_a_pause_and_told_once() {
        let mut pauses = Pauses::default();
        let look = |pauses: &mut Pauses, at| pauses.look(ms(at), ms(500));
        assert_eq!(look(&mut pauses, 10_000), None, "PS-1: the first look has no gap");
        assert_eq!(look(&mut pauses, 10_500), None);
        assert_eq!(look(&mut pauses, 11_900), None, "a busy machine");
        assert_eq!(look(&mut pauses, 24_400), Some(ms(12_000)), "PS-1");
        assert_eq!(look(&mut pauses, 24_400), None, "PS-1: once");
        assert_eq!(pauses.recent(ms(26_000), ms(3_000)), Some(ms(12_000)));
        assert_eq!(pauses.recent(ms(28_000), ms(3_000)), None);
    }

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }
}
