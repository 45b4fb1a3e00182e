//! Which arbiter of a node a new actor begins on.
//!
//! One that has begun never leaves its thread. So a child begins where its parent is, as Erlang and actix
//! have it: what the two say to each other wakes nobody. But not where more live than elsewhere, and it does
//! not wait for long while another arbiter has nothing to do.

use std::time::Duration;

/// What an arbiter has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crew {
    /// Actors that have begun there.
    pub(crate) living: u32,
    /// Of those, and of those that are about to begin, who waits for a turn or has one.
    pub(crate) busy: u32,
}

/// Whether a child begins here, where it waits, rather than there.
///
/// BL-1: about as many live here as there, up to one in [`UNEVEN`], or else those there have more to do.
pub(crate) fn begins_here(here: Crew, there: Crew) -> bool {
    let even = there.living + 1 + there.living / UNEVEN;
    here.living <= even || here.busy < there.busy
}

/// Whether another arbiter that has nothing to do is to take children whose own has not come to them for so
/// long.
///
/// BL-2: a child that waits begins soon if any arbiter has nothing to do, whatever its own is busy with.
pub(crate) fn is_overdue(waited: Duration) -> bool {
    waited >= OVERDUE
}

/// How many of those that wait it takes.
pub(crate) fn share(waiting: usize) -> usize {
    waiting.div_ceil(2)
}

/// How much more may live on one arbiter than on another, a part of those.
const UNEVEN: u32 = 16;
/// Longer than a parent's own slice and that of its first child take.
const OVERDUE: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// BL-1: whoever starts children that live on, and whoever else ends, they spread.
        #[test]
        fn those_who_live_on_spread_over_all_arbiters(
            arbiters in 2..9_usize,
            parents in prop::collection::vec(0..9_usize, 1..2000),
        ) {
            let mut living = vec![0; arbiters];
            let mut turn = 0;
            for parent in parents {
                let home = parent % arbiters;
                turn += 1;
                let other = (home + 1 + turn % (arbiters - 1)) % arbiters;
                let crew = |living: u32| Crew { living, busy: 1 };
                let at = match begins_here(crew(living[home]), crew(living[other])) {
                    true => home,
                    false => other,
                };
                living[at] += 1;
            }
            let (least, most) = (living.iter().min().unwrap(), living.iter().max().unwrap());
            // Only one of the others is looked at for each child.
            prop_assert!(*most <= 2 + least + least / 4 + arbiters as u32, "{:?}", living);
        }
    }

    #[test]
    fn a_lone_parent_and_its_child_stay_together_and_four_workers_part_in_two() {
        let crew = |living| Crew { living, busy: 1 };
        let (mut here, mut there) = (1, 0);
        let begins = [(); 4].map(|()| {
            let at_home = begins_here(crew(here), crew(there));
            *(if at_home { &mut here } else { &mut there }) += 1;
            at_home
        });
        assert_eq!(begins, [true, false, true, false]);
    }

    #[test]
    fn nobody_is_sent_to_where_more_is_to_be_done() {
        let here = Crew { living: 100, busy: 1 };
        assert!(begins_here(here, Crew { living: 2, busy: 5 }));
        assert!(!begins_here(here, Crew { living: 2, busy: 1 }));
    }

    #[test]
    fn whoever_has_nothing_to_do_takes_half_and_the_last_one() {
        assert_eq!([1, 2, 3, 100].map(share), [1, 1, 2, 50]);
        assert!(!is_overdue(Duration::ZERO) && is_overdue(Duration::from_millis(1)));
    }
}
