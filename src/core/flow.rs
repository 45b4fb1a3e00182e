//! How much of what other nodes send may wait in one mailbox, and when their senders pause.

/// What of other nodes waits in one mailbox, in bytes.
///
/// FL-1: when it comes to wait by a whole [`HIGH_BYTES`] more, its senders are asked to pause; once no more than [`LOW_BYTES`]
/// wait, those that were asked may go on. Between the two nothing is said, so that a mailbox that is always full
/// costs a word each megabyte.
#[derive(Debug, Default)]
pub(crate) struct Inflow {
    waiting: u32,
    paused: bool,
}

/// What is to be said to who sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Nothing.
    None,
    /// Pause, unless it was said before.
    Pause,
    /// Pause, even if it was said before: whoever was asked goes on nevertheless.
    PauseAgain,
}

impl Inflow {
    /// So much more waits.
    pub(crate) fn came(&mut self, bytes: usize) -> Word {
        let before = self.waiting;
        self.waiting = before.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        let crossed = before / HIGH_BYTES != self.waiting / HIGH_BYTES;
        self.paused |= crossed;
        match (crossed, self.paused) {
            (true, _) => Word::PauseAgain,
            (false, true) => Word::Pause,
            (false, false) => Word::None,
        }
    }

    /// Whether the senders are to pause.
    pub(crate) fn pauses(&self) -> bool {
        self.paused
    }

    /// So much was taken out; whether the senders that pause may go on.
    pub(crate) fn went(&mut self, bytes: usize) -> bool {
        self.waiting = self.waiting.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
        let goes_on = self.paused && self.waiting <= LOW_BYTES;
        self.paused &= !goes_on;
        goes_on
    }
}

/// So much may wait before senders pause.
const HIGH_BYTES: u32 = 1 << 20;
/// So little must be left before they go on: enough to be busy with until they have.
const LOW_BYTES: u32 = 256 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn senders_pause_at_the_high_mark_and_go_on_at_the_low_one_fl1() {
        let mut inflow = Inflow::default();
        assert_eq!(inflow.came(800 << 10), Word::None);
        assert_eq!(inflow.came(400 << 10), Word::PauseAgain);
        assert_eq!(inflow.came(10), Word::Pause, "FL-1: others are asked, too");
        assert_eq!(inflow.came(1024 << 10), Word::PauseAgain, "FL-1: somebody does not listen");
        assert!(!inflow.went(1600 << 10));
        assert!(inflow.went(480 << 10));
        assert!(!inflow.went(10), "FL-1: once");
        assert_eq!(inflow.came(10), Word::None);
    }

    proptest! {
        /// FL-1: nobody pauses for a mailbox in which nothing waits.
        #[test]
        fn an_empty_mailbox_keeps_nobody_waiting(steps in prop::collection::vec((0..1_600_000usize, 0..1_600_000usize), 0..50)) {
            let (mut inflow, mut waiting, mut paused) = (Inflow::default(), 0usize, false);
            for (comes, goes) in steps {
                paused |= inflow.came(comes) != Word::None;
                waiting += comes;
                let goes = goes.min(waiting);
                waiting -= goes;
                paused &= !inflow.went(goes);
                prop_assert!(waiting > LOW_BYTES as usize || !paused);
            }
        }
    }
}
