//! Ranking: who is first of many whose figures change one at a time.

/// A figure, and how to tell equals apart: the smaller goes first, of both.
pub(crate) type Key = (f64, u64);

/// A tournament: a leaf for each place, and above each two the better of them. Changing one figure
/// plays the matches on its way up again, ten of them among a thousand; nothing is allocated.
///
/// RK-1: the first is the one with the least key; of equal ones that with the lowest place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranking {
    keys: Vec<Key>,
    /// The winners: of all at 1, of its halves at 2 and 3, and so on; the places themselves below.
    winners: Vec<u32>,
}

/// Of who does not take part.
const ABSENT: Key = (f64::INFINITY, u64::MAX);

impl Ranking {
    /// A ranking of so many places in which nobody takes part.
    pub(crate) fn of(places: usize) -> Ranking {
        let leaves = places.next_power_of_two();
        let mut winners = vec![0; 2 * leaves];
        for (at, winner) in winners.iter_mut().enumerate().skip(leaves) {
            *winner = u32::try_from(at - leaves).expect("fewer members than a u32 counts");
        }
        let mut ranking = Ranking { keys: vec![ABSENT; leaves], winners };
        (1..leaves).rev().for_each(|at| ranking.play(at));
        ranking
    }

    /// Takes part with this key from now on.
    pub(crate) fn set(&mut self, place: usize, key: Key) {
        self.keys[place] = key;
        let mut at = (self.keys.len() + place) / 2;
        while at > 0 {
            self.play(at);
            at /= 2;
        }
    }

    /// Takes part no longer.
    pub(crate) fn remove(&mut self, place: usize) {
        if self.keys[place] != ABSENT {
            self.set(place, ABSENT);
        }
    }

    /// The place and the key of the first, if anybody takes part.
    pub(crate) fn first(&self) -> Option<(usize, Key)> {
        let winner = *self.winners.get(1)? as usize;
        let key = *self.keys.get(winner)?;
        (key != ABSENT).then_some((winner, key))
    }

    fn play(&mut self, at: usize) {
        let (left, right) = (self.winners[2 * at], self.winners[2 * at + 1]);
        let is_before = |a: Key, b: Key| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).is_le();
        let left_wins = is_before(self.keys[left as usize], self.keys[right as usize]);
        self.winners[at] = if left_wins { left } else { right };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_is_first_of_none() {
        assert_eq!(Ranking::default().first(), None);
        assert_eq!(Ranking::of(0).first(), None);
        assert_eq!(Ranking::of(5).first(), None);
    }

    #[test]
    fn a_single_place_is_first_while_it_takes_part() {
        let mut ranking = Ranking::of(1);
        ranking.set(0, (3.0, 1));
        assert_eq!(ranking.first(), Some((0, (3.0, 1))));
        ranking.remove(0);
        assert_eq!(ranking.first(), None);
    }

    proptest! {
        #[test]
        fn the_first_is_the_least_of_all(
            places in 1..40_usize,
            changes in prop::collection::vec((0..40_usize, prop::option::of((0..5_u8, 0..3_u64))), 0..80),
        ) {
            let mut ranking = Ranking::of(places);
            let mut keys = vec![None; places];
            for (place, key) in changes {
                let place = place % places;
                keys[place] = key.map(|(figure, turn)| (f64::from(figure), turn));
                match keys[place] {
                    Some(key) => ranking.set(place, key),
                    None => ranking.remove(place),
                }
                let least = keys.iter().enumerate().filter_map(|(at, key)| Some((at, (*key)?)));
                let least = least.min_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap());
                prop_assert_eq!(ranking.first(), least, "RK-1");
            }
        }
    }
}
