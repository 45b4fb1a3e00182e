//! Intensity: how many restarts a supervisor allows within a period.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::mutant::{self, Mutant};

/// The restarts of the last period.
#[derive(Debug)]
pub(super) struct Restarts {
    most: u32,
    period_secs: u64,
    /// Oldest first, in whole seconds.
    at: VecDeque<u64>,
}

impl Restarts {
    pub(super) fn new(most: u32, period: Duration) -> Restarts {
        Restarts { most, period_secs: period.as_secs(), at: VecDeque::new() }
    }

    /// Counts one more restart; whether it is still allowed (V12, V14).
    ///
    /// SV-7: time is counted in whole seconds, and a restart that is exactly a period old still counts.
    pub(super) fn one_more(&mut self, now: Duration) -> bool {
        let now = now.as_secs();
        while self.at.front().is_some_and(|then| then + self.period_secs < now) {
            self.at.pop_front();
        }
        self.at.push_back(now);
        let one_more = usize::from(mutant::is(Mutant::IntensityOffByOne));
        self.at.len() <= self.most as usize + one_more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SV-7, V13, V14.
    #[test]
    fn the_edge_of_the_period_is_inside_it_and_seconds_are_whole() {
        let ms = Duration::from_millis;
        let mut restarts = Restarts::new(2, Duration::from_secs(5));
        assert!(restarts.one_more(ms(1_999)));
        assert!(restarts.one_more(ms(3_000)));
        // 1 counts as long as the second is 6: the restart at 1.999 s is 5.001 s old, and inside
        assert!(!restarts.one_more(ms(6_999)));

        let mut restarts = Restarts::new(2, Duration::from_secs(5));
        assert!(restarts.one_more(ms(1_999)));
        assert!(restarts.one_more(ms(3_000)));
        assert!(restarts.one_more(ms(7_000)));
        assert!(!restarts.one_more(ms(7_001)));
    }

    /// V13: with 0 the first restart is too many.
    #[test]
    fn an_intensity_of_zero_allows_none() {
        assert!(!Restarts::new(0, Duration::from_secs(5)).one_more(Duration::ZERO));
    }
}
