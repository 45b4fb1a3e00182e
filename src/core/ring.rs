//! A ring of bytes between a writer and a reader that share nothing but memory: which part of it is whose.
//!
//! Both count the bytes that went through since the beginning, and tell each other how far they have come. Neither
//! believes the other more than that it can be shown: a count that cannot be is the end of their connection.

use std::ops::Range;

/// How large a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    bytes: usize,
}

/// What a writer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It does not wait.
    Nothing,
    /// Half of the ring: so that the reader does not run dry, nor the two take turns at each byte.
    Room,
    /// Nearly all of it: what it has to write is long, and is not to be in the way of others.
    MuchRoom,
}

impl Wanted {
    /// As the other side is told.
    pub(crate) const fn number(self) -> u64 {
        match self {
            Wanted::Nothing => 0,
            Wanted::Room => 1,
            Wanted::MuchRoom => 2,
        }
    }

    /// What a number says; those that are none are the most that can be meant.
    pub(crate) const fn of(number: u64) -> Wanted {
        match number {
            0 => Wanted::Nothing,
            1 => Wanted::Room,
            _ => Wanted::MuchRoom,
        }
    }
}

/// One side has counted what cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the counts of the shared memory contradict each other")]
pub(crate) struct Nonsense;

impl Ring {
    /// # Panics
    /// If it is not a power of two: positions wrap around.
    pub(crate) const fn new(bytes: usize) -> Ring {
        assert!(bytes.is_power_of_two());
        Ring { bytes }
    }

    /// What was written and not read yet.
    ///
    /// # Errors
    /// More was written than there is room for, or more was read than was written.
    ///
    /// RG-1: what the other side says is checked before it is used.
    pub(crate) fn unread(self, written: u64, read: u64) -> Result<usize, Nonsense> {
        let unread = usize::try_from(written.wrapping_sub(read)).map_err(|_| Nonsense)?;
        if unread <= self.bytes { Ok(unread) } else { Err(Nonsense) }
    }

    /// How much can be written.
    ///
    /// # Errors
    /// Those of [`unread`](Ring::unread).
    pub(crate) fn room(self, written: u64, read: u64) -> Result<usize, Nonsense> {
        Ok(self.bytes - self.unread(written, read)?)
    }

    /// Whether a writer that waits is to go on.
    pub(crate) fn is_enough(self, room: usize, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Nothing => false,
            Wanted::Room => room >= self.bytes / 2,
            Wanted::MuchRoom => room >= self.bytes - self.bytes / 16,
        }
    }

    /// Where the byte after so many lies, and those after it that follow in one piece, up to `most`.
    pub(crate) fn piece(self, after: u64, most: usize) -> Range<usize> {
        let start = (after % self.bytes as u64) as usize;
        start..start + most.min(self.bytes - start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is written in whatever steps is read as it was written, also where the counts wrap around.
        #[test]
        fn what_is_written_is_read_as_it_was(
            from in prop_oneof![Just(0), Just(u64::MAX - 40), any::<u64>()],
            steps in prop::collection::vec((any::<bool>(), 1..50usize), 0..200),
        ) {
            let ring = Ring::new(32);
            let mut memory = [0_u8; 32];
            let (mut written, mut read) = (from, from);
            let (mut next_in, mut next_out) = (0_u8, 0_u8);
            for (writes, most) in steps {
                if writes {
                    let room = ring.room(written, read).unwrap();
                    let piece = ring.piece(written, most.min(room));
                    written = written.wrapping_add(piece.len() as u64);
                    for byte in &mut memory[piece] {
                        *byte = next_in;
                        next_in = next_in.wrapping_add(1);
                    }
                } else {
                    let unread = ring.unread(written, read).unwrap();
                    let piece = ring.piece(read, most.min(unread));
                    read = read.wrapping_add(piece.len() as u64);
                    for byte in &memory[piece] {
                        prop_assert_eq!(*byte, next_out);
                        next_out = next_out.wrapping_add(1);
                    }
                }
                let unread = ring.unread(written, read).unwrap();
                prop_assert_eq!(unread, usize::from(next_in.wrapping_sub(next_out)));
                prop_assert_eq!(ring.room(written, read), Ok(32 - unread));
            }
        }

        /// RG-1: no pair of counts leads out of the ring.
        #[test]
        fn no_count_leads_out_of_the_ring(written: u64, read: u64, most: usize) {
            let ring = Ring::new(32);
            if let Ok(unread) = ring.unread(written, read) {
                prop_assert!(unread <= 32 && ring.room(written, read) == Ok(32 - unread));
            }
            let piece = ring.piece(read, most);
            prop_assert!(piece.start < 32 && piece.end <= 32 && piece.len() <= most);
        }
    }

    #[test]
    fn counts_that_contradict_each_other_are_noticed_rg1() {
        let ring = Ring::new(32);
        assert_eq!(ring.unread(32, 0), Ok(32));
        assert_eq!(ring.unread(33, 0), Err(Nonsense));
        assert_eq!(ring.unread(0, 1), Err(Nonsense));
        assert_eq!(ring.room(7, 7), Ok(32));
        let least = |wanted| (0..=32).find(|room| ring.is_enough(*room, wanted));
        assert_eq!(least(Wanted::Nothing), None);
        assert_eq!((least(Wanted::Room), least(Wanted::MuchRoom)), (Some(16), Some(30)));
        for wanted in [Wanted::Nothing, Wanted::Room, Wanted::MuchRoom] {
            assert_eq!(Wanted::of(wanted.number()), wanted);
        }
    }
}
