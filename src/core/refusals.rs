//! Which refusals of strangers are worth a line in the log.

use std::time::Duration;

/// Counts refusals: the first ones of each period are told one by one, the others as a number.
///
/// LS-3: a flood of strangers is no flood of the log.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    since: Option<Duration>,
    told: u32,
    counted: u64,
}

impl Refusals {
    /// One more; whether it is to be told by itself.
    pub(crate) fn note(&mut self, now: Duration) -> bool {
        self.since.get_or_insert(now);
        if self.told < TOLD_MAX {
            self.told += 1;
            return true;
        }
        self.counted += 1;
        false
    }

    /// How many were only counted in a period that is over; none if none were, or it goes on.
    pub(crate) fn over(&mut self, now: Duration) -> Option<u64> {
        let since = self.since?;
        if now.saturating_sub(since) < PERIOD {
            return None;
        }
        let counted = self.counted;
        *self = Refusals::default();
        (counted > 0).then_some(counted)
    }
}

/// How long a period is.
pub(crate) const PERIOD: Duration = Duration::from_secs(10);

/// As many are told one by one in each.
const TOLD_MAX: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_period_are_told_and_the_others_counted() {
        let mut refusals = Refusals::default();
        let told = (0..1_000).filter(|_| refusals.note(ms(100))).count();
        assert_eq!(told, 50, "LS-3");
        assert_eq!(refusals.over(ms(10_099)), None);
        assert_eq!(refusals.over(ms(10_100)), Some(950), "LS-3");
        assert_eq!(refusals.over(ms(30_000)), None, "once");
        assert!(refusals.note(ms(30_000)), "a new period");
        assert_eq!(refusals.over(ms(50_000)), None, "all were told");
    }

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }
}
