//! Slices: for how long the running actor may keep its thread.

use std::cell::Cell;
use std::time::Duration;

use super::cell::is_current_doomed;
use super::clock::{Alarm, Moment};

/// What is left to the running actor.
#[derive(Clone, Copy)]
pub(super) enum Slice {
    Endless,
    /// Until this end; it was looked at then.
    Until {
        end: Alarm,
        looked: Moment,
    },
    Spent,
}

/// From now on it has this. Returns what it had.
pub(super) fn set_slice(slice: Slice) -> Slice {
    LEFT_OUT.set(0);
    SLICE.replace(slice)
}

/// It is to let go of the thread as soon as it looks, if it has to at all.
pub(super) fn spend_slice() {
    if !matches!(SLICE.get(), Slice::Endless) {
        set_slice(Slice::Spent);
    }
}

/// Whether the running actor has to let go of the thread: it is doomed, or its slice is spent. The clock
/// is read each time, unless the actor asks so often that a few times more make no difference.
#[inline]
pub(crate) fn must_yield() -> bool {
    match LEFT_OUT.get() {
        0 => look_at_clock(),
        more => {
            LEFT_OUT.set(more - 1);
            is_current_doomed()
        }
    }
}

fn look_at_clock() -> bool {
    let (end, looked) = match SLICE.get() {
        Slice::Endless => return false,
        Slice::Spent => return true,
        Slice::Until { end, looked } => (end, looked),
    };
    let now = Moment::now();
    if end.is_due_at(now) {
        set_slice(Slice::Spent);
        return true;
    }
    SLICE.set(Slice::Until { end, looked: now });
    LEFT_OUT.set(left_out(now.since(looked)));
    is_current_doomed()
}

/// When to look at the clock: not each time while what happens in between takes next to no time.
pub(super) struct Glances {
    /// What it said last.
    looked: Moment,
    left_out: u8,
}

impl Glances {
    /// It was looked at now.
    pub(super) fn new(now: Moment) -> Glances {
        Glances { looked: now, left_out: 0 }
    }

    /// The time after a turn which has left this of its slice, or a bit less than that.
    pub(super) fn after_turn(&mut self, left: Slice) -> Moment {
        match left {
            Slice::Until { looked, .. } if looked > self.looked => self.looked = looked,
            Slice::Until { .. } | Slice::Endless if self.left_out > 0 => self.left_out -= 1,
            Slice::Until { .. } | Slice::Endless | Slice::Spent => {
                let now = Moment::now();
                self.left_out = left_out(now.since(self.looked));
                self.looked = now;
            }
        }
        self.looked
    }
}

/// How many looks are left out when the last ones were so far apart.
fn left_out(apart: Duration) -> u8 {
    if apart < OFTEN { LEFT_OUT_MAX } else { 0 }
}

thread_local! {
    static SLICE: Cell<Slice> = const { Cell::new(Slice::Endless) };
    /// How many looks at the clock are left out from now on; none unless the slice has an end.
    static LEFT_OUT: Cell<u8> = const { Cell::new(0) };
}

/// How many are in a row.
const LEFT_OUT_MAX: u8 = 15;
/// If so many took less than this.
const OFTEN: Duration = Duration::from_micros(8);

#[cfg(test)]
mod tests {
    use super::*;

    fn slice_of(length: Duration) -> Slice {
        let now = Moment::now();
        Slice::Until { end: now.and(length), looked: now }
    }

    #[test]
    fn a_slice_ends_for_whoever_asks_seldom_and_soon_for_whoever_asks_often() {
        assert!(!must_yield(), "outside of a turn nobody has to");
        let begin = std::time::Instant::now();
        set_slice(slice_of(Duration::from_millis(20)));
        while !must_yield() {}
        assert!(begin.elapsed() >= Duration::from_millis(20));
        assert!(must_yield(), "it stays spent");
        // Nothing is left out of a slice that is over before the next look.
        set_slice(slice_of(Duration::ZERO));
        assert!(must_yield());
        set_slice(Slice::Endless);
    }

    #[test]
    fn a_slice_that_is_spent_is_over_at_the_next_look_whatever_was_to_be_left_out() {
        set_slice(slice_of(Duration::from_secs(60)));
        for _ in 0..5 {
            assert!(!must_yield());
        }
        spend_slice();
        assert!(must_yield());
        set_slice(Slice::Endless);
        spend_slice();
        assert!(!must_yield(), "an endless one is never spent");
    }

    #[test]
    fn short_turns_are_timed_now_and_then_and_one_that_took_its_slice_at_once() {
        let mut glances = Glances::new(Moment::now());
        let mut seen: Vec<Moment> = (0..100).map(|_| glances.after_turn(Slice::Endless)).collect();
        seen.dedup();
        assert!(seen.len() >= 100 / (usize::from(LEFT_OUT_MAX) + 1), "{} looks", seen.len());
        let before = Moment::now();
        assert!(glances.after_turn(Slice::Spent) >= before);
        // Who has looked by itself saves us the look.
        let Slice::Until { end, .. } = slice_of(Duration::from_secs(60)) else { unreachable!() };
        let looked = Moment::now();
        assert_eq!(glances.after_turn(Slice::Until { end, looked }), looked);
        std::thread::sleep(OFTEN);
        glances.left_out = 0;
        glances.after_turn(Slice::Endless);
        assert_eq!(glances.left_out, 0, "turns that are longer are timed each");
    }
}
