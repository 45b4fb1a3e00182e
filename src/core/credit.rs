//! Credit: how much a node may print for another one before that has shown it.

/// What one node has printed for one leader, and the leader has not shown yet.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    lines: usize,
    bytes: usize,
    /// Waiting was given up: what does not fit is lost until there is room again.
    overrun: bool,
    lost: u64,
}

/// May a line be printed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Yes, and it is counted.
    Print,
    /// Not before something has been shown.
    Wait,
    /// No, and it is counted as lost.
    Lost,
}

impl Credit {
    /// OU-1: more than the hard limit is never under way, but for the rest of one line.
    pub(crate) fn ask(&mut self, bytes: usize) -> Grant {
        if self.overrun {
            self.lost += 1;
            Grant::Lost
        } else if self.lines >= HARD_LINES || self.bytes >= HARD_BYTES {
            Grant::Wait
        } else {
            self.count(bytes);
            Grant::Print
        }
    }

    /// Counts a line that is printed in any case.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes;
    }

    /// Nothing was shown for too long.
    pub(crate) fn give_up(&mut self) {
        self.overrun = true;
    }

    /// The leader has shown this much. Returns how many lines were lost, if there is room again after a
    /// time without.
    pub(crate) fn shown(&mut self, lines: usize, bytes: usize) -> Option<u64> {
        self.lines = self.lines.saturating_sub(lines);
        self.bytes = self.bytes.saturating_sub(bytes);
        if !self.overrun || !self.is_low() {
            return None;
        }
        self.overrun = false;
        let lost = std::mem::take(&mut self.lost);
        (lost > 0).then_some(lost)
    }

    /// So much is under way that who prints should rest.
    pub(crate) fn is_high(&self) -> bool {
        self.lines > SOFT_LINES || self.bytes > SOFT_BYTES
    }

    /// So little that who rests may go on.
    pub(crate) fn is_low(&self) -> bool {
        self.lines <= SOFT_LINES / 2 && self.bytes <= SOFT_BYTES / 2
    }
}

/// What a leader has shown of one node and not acknowledged yet.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    lines: usize,
    bytes: usize,
}

impl Tally {
    /// Counts a line that was shown; returns lines and bytes when they are enough for an acknowledgement.
    ///
    /// OU-2: what is never acknowledged is far less than what anybody waits for.
    pub(crate) fn count(&mut self, bytes: usize) -> Option<(usize, usize)> {
        self.lines += 1;
        self.bytes += bytes;
        let due = self.lines >= BATCH_LINES || self.bytes >= BATCH_BYTES;
        due.then(|| {
            let Tally { lines, bytes } = std::mem::take(self);
            (lines, bytes)
        })
    }
}

/// With more under way an actor rests after its turn.
pub(crate) const SOFT_LINES: usize = 1_000;
pub(crate) const SOFT_BYTES: usize = 256 << 10;
/// With this much under way `say!` waits.
pub(crate) const HARD_LINES: usize = 4_096;
pub(crate) const HARD_BYTES: usize = 1 << 20;
/// This much is acknowledged at once.
pub(crate) const BATCH_LINES: usize = 64;
const BATCH_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_granted_up_to_the_hard_limit_and_then_waits() {
        let mut credit = Credit::default();
        for line in 0..HARD_LINES {
            assert_eq!(credit.ask(10), Grant::Print, "OU-1");
            assert_eq!(credit.is_high(), line >= SOFT_LINES);
        }
        assert_eq!(credit.ask(10), Grant::Wait, "OU-1");
        assert_eq!(credit.shown(1, 10), None);
        assert_eq!((credit.ask(10), credit.ask(10)), (Grant::Print, Grant::Wait), "OU-1");
        let mut credit = Credit::default();
        assert_eq!(credit.ask(HARD_BYTES * 2), Grant::Print, "the longest line gets through");
        assert_eq!(credit.ask(0), Grant::Wait, "OU-1");
    }

    #[test]
    fn lines_are_lost_after_giving_up_and_counted_until_there_is_room() {
        let mut credit = Credit::default();
        while credit.ask(1) == Grant::Print {}
        credit.give_up();
        for _ in 0..7 {
            assert_eq!(credit.ask(1), Grant::Lost);
        }
        assert_eq!(credit.shown(1_000, 1_000), None, "not enough room yet");
        assert_eq!(credit.ask(1), Grant::Lost);
        assert_eq!(credit.shown(3_000, 3_000), Some(8));
        assert_eq!(credit.ask(1), Grant::Print);
        assert_eq!(credit.shown(1_000, 1_000), None, "told once");
    }

    #[test]
    fn who_acknowledges_more_than_there_was_gives_no_more_credit() {
        let mut credit = Credit::default();
        credit.shown(1_000_000, usize::MAX);
        let granted = (0..).take_while(|_| credit.ask(1) == Grant::Print).count();
        assert_eq!(granted, HARD_LINES, "OU-1");
    }

    #[test]
    fn what_is_left_unacknowledged_keeps_nobody_waiting() {
        for bytes in [0, 1, 100, 5_000, 1 << 20] {
            let (mut credit, mut tally) = (Credit::default(), Tally::default());
            let mut printed = 0;
            while credit.ask(bytes) == Grant::Print {
                printed += 1;
            }
            for _ in 0..printed {
                if let Some((lines, bytes)) = tally.count(bytes) {
                    credit.shown(lines, bytes);
                }
            }
            assert!(credit.is_low(), "OU-2: {credit:?} {tally:?}");
        }
    }
}
