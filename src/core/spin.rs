//! How long a thread that has nothing to do looks for something before it sleeps.
//!
//! Going to sleep and being woken costs more than looking for some microseconds, on both sides; but only
//! where something does come. So a thread looks for as long as that has paid lately, and hardly ever where it
//! has not.

use std::time::Duration;

/// Whether looking has paid lately.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    /// How often in a row nothing came.
    misses: u32,
    /// So many times more the thread sleeps at once.
    skip: u32,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Something came.
    Found,
    /// Nothing did, for as long as was granted.
    Nothing,
    /// Somebody else had the CPU meanwhile.
    Preempted,
}

impl Spin {
    /// For how long to look this time; zero: sleep at once.
    ///
    /// SP-1: where nothing comes, a thread looks less and less often, down to one time in [`SKIP_MAX`]; where
    /// others need the CPU that seldom at once. One time that something comes, or that a sleep was shorter than a look would
    /// have been, is enough to look again.
    pub(crate) fn patience(&mut self) -> Duration {
        if self.skip > 0 {
            self.skip -= 1;
            return Duration::ZERO;
        }
        LOOK_FOR
    }

    /// Notes what came of a look that was granted.
    pub(crate) fn note(&mut self, looked: Looked) {
        match looked {
            Looked::Found => *self = Spin::default(),
            Looked::Nothing => {
                self.misses += 1;
                let beyond = self.misses.saturating_sub(MISSES_FREE);
                self.skip = if beyond == 0 { 0 } else { (1 << beyond.min(16)).min(SKIP_MAX) };
            }
            Looked::Preempted => {
                self.misses = self.misses.max(MISSES_FREE) + 1;
                self.skip = SKIP_MAX;
            }
        }
    }

    /// Notes how long the thread has slept.
    pub(crate) fn slept(&mut self, slept: Duration) {
        if slept < LOOK_FOR {
            *self = Spin::default();
        }
    }
}

/// Longer than a request and its answer take between two threads that look.
const LOOK_FOR: Duration = Duration::from_micros(50);
/// So often in a row nothing may come before looks become rare.
const MISSES_FREE: u32 = 3;
/// A thread sleeps at once so often, at most, between two looks.
const SKIP_MAX: u32 = 64;
/// A step of a look that takes longer than this was another's time.
pub(crate) const STOLEN: Duration = Duration::from_micros(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_comes_looks_become_rare_and_one_find_brings_them_back_sp1() {
        let mut spin = Spin::default();
        let mut gaps = Vec::new();
        for _ in 0..12 {
            let mut gap = 0;
            while spin.patience().is_zero() {
                gap += 1;
            }
            gaps.push(gap);
            spin.note(Looked::Nothing);
        }
        assert_eq!(gaps, [0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 64, 64]);
        while spin.patience().is_zero() {}
        spin.note(Looked::Found);
        assert_eq!(spin.patience(), LOOK_FOR);
    }

    #[test]
    fn where_others_need_the_cpu_looks_are_rare_at_once_sp1() {
        let mut spin = Spin::default();
        spin.note(Looked::Preempted);
        assert_eq!((0..100).take_while(|_| spin.patience().is_zero()).count() as u32, SKIP_MAX);
        spin.note(Looked::Found);
        assert_eq!(spin.patience(), LOOK_FOR);
    }

    #[test]
    fn a_sleep_that_was_shorter_than_a_look_brings_looks_back_sp1() {
        let mut spin = Spin::default();
        for _ in 0..12 {
            while spin.patience().is_zero() {}
            spin.note(Looked::Nothing);
        }
        spin.slept(LOOK_FOR);
        assert!(spin.patience().is_zero(), "a look would not have paid");
        spin.slept(LOOK_FOR - Duration::from_nanos(1));
        assert_eq!(spin.patience(), LOOK_FOR);
    }
}
