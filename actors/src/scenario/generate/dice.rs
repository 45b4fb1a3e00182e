//! Dice that fall the same way for the same seed: splitmix64.

/// A source of numbers.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Those of one seed and number.
    pub(super) fn new(seed: u64, index: u64) -> Dice {
        let mut dice = Dice(seed);
        // Neighbouring seeds and numbers give unrelated throws.
        dice.0 = dice.next() ^ index.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        // The upper half of the product of two 32-bit numbers is below the second one.
        let scaled = (self.next() >> 32) * u64::from(end);
        u32::try_from(scaled >> 32).expect("it is below a u32")
    }

    /// A number from `least` to `most`.
    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        let choices = u32::try_from(most.max(least) - least + 1).expect("choices are few");
        least + self.below(choices) as usize
    }

    /// True this often.
    pub(super) fn percent(&mut self, likely: u32) -> bool {
        self.below(100) < likely
    }

    /// One of these, of which there are some.
    pub(super) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.between(0, choices.len() - 1)]
    }

    /// One of these, if there are any.
    pub(super) fn maybe_one_of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        if choices.is_empty() { None } else { Some(self.one_of(choices)) }
    }

    /// One of these, as often as its weight says.
    pub(super) fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let mut left = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *choice,
            }
        }
        unreachable!("a number below the sum of the weights is below one of them")
    }
}
