//! Streams that go through a master: who may send what to whom, and how much of it is on its way.

use std::collections::HashMap;

use crate::term::{NodeName, Ref};
use crate::wire::Relayed;

/// The streams that pass through this node.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    streams: HashMap<Ref, Passing>,
}

#[derive(Debug)]
struct Passing {
    opener: NodeName,
    other: NodeName,
    /// What the opener has sent and the other one has not taken yet, and the other way round.
    forth: Window,
    back: Window,
}

/// What becomes of a frame that is to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on to whom it is for.
    Pass,
    /// It is late, and nobody's business any more.
    Drop,
    /// It does not go on: its sender hears that the stream is closed.
    Close,
    /// No node of ours sends this: its sender is not to be connected with.
    Offence(&'static str),
}

impl Exchange {
    /// Looks at a frame from one node for another one.
    ///
    /// RY-1: a stream has two ends, the node that opened it and the one that it was opened to; nobody else
    /// sends anything in it.
    ///
    /// RY-2: of each direction of a stream no more than [`CREDIT`] is on its way.
    pub(crate) fn look_at(
        &mut self,
        from: NodeName,
        to: NodeName,
        stream: Ref,
        what: &Relayed,
    ) -> Verdict {
        let Some(passing) = self.streams.get_mut(&stream) else {
            return match what {
                Relayed::Open if stream.node() != from => Verdict::Offence(OTHERS_STREAM),
                Relayed::Open if from == to || self.open_between(from, to) >= STREAMS_MAX => {
                    Verdict::Close
                }
                Relayed::Open => {
                    let (forth, back) = (Window::default(), Window::default());
                    self.streams.insert(stream, Passing { opener: from, other: to, forth, back });
                    Verdict::Pass
                }
                // Sent before it has heard of the other end's close, most likely.
                Relayed::Piece(_) | Relayed::Taken(_) | Relayed::Closed => Verdict::Drop,
            };
        };
        let (sent, received) = match (passing.opener, passing.other) {
            ends if ends == (from, to) => (&mut passing.forth, &mut passing.back),
            ends if ends == (to, from) => (&mut passing.back, &mut passing.forth),
            _ => return Verdict::Offence(OTHERS_STREAM),
        };
        match what {
            Relayed::Open => Verdict::Offence("it opened a relayed stream twice"),
            Relayed::Piece(piece) if piece.is_empty() || piece.len() > PIECE_BYTES_MAX => {
                Verdict::Offence("a piece of a relayed stream has a length that it cannot have")
            }
            Relayed::Piece(piece) if !sent.send(piece.len()) => {
                Verdict::Offence("it relayed more than it has credit for")
            }
            Relayed::Taken(taken) if !received.taken(*taken) => {
                Verdict::Offence("it took more of a relayed stream than there was")
            }
            Relayed::Piece(_) | Relayed::Taken(_) => Verdict::Pass,
            Relayed::Closed => {
                self.streams.remove(&stream);
                Verdict::Pass
            }
        }
    }

    /// A stream is over, as one of its ends was not reached.
    pub(crate) fn close(&mut self, stream: Ref) {
        self.streams.remove(&stream);
    }

    /// RY-3: a node is lost, and with it what it relays. Whom to tell that which stream is closed.
    pub(crate) fn lost(&mut self, node: NodeName) -> Vec<(NodeName, Ref)> {
        let ended = self.streams.extract_if(|_, it| it.opener == node || it.other == node);
        let other = |it: Passing| if it.opener == node { it.other } else { it.opener };
        ended.map(|(stream, it)| (other(it), stream)).collect()
    }

    fn open_between(&self, opener: NodeName, other: NodeName) -> usize {
        self.streams.values().filter(|it| it.opener == opener && it.other == other).count()
    }
}

/// What is on its way in one direction of a stream: sent, and not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Window {
    under_way: usize,
}

impl Window {
    /// Counts a piece of this length; false, and not counted, if there is no credit for it.
    pub(crate) fn send(&mut self, length: usize) -> bool {
        let all = self.under_way.saturating_add(cost(length));
        let granted = all <= CREDIT;
        if granted {
            self.under_way = all;
        }
        granted
    }

    /// So much has been taken; false, and not counted, if so much was not under way.
    pub(crate) fn taken(&mut self, taken: u64) -> bool {
        let left = usize::try_from(taken).ok().and_then(|it| self.under_way.checked_sub(it));
        if let Some(left) = left {
            self.under_way = left;
        }
        left.is_some()
    }
}

/// What was taken at the receiving end, and not said yet.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    unsaid: usize,
}

impl Intake {
    /// Counts a piece of this length that was taken; returns what is to be said, once it is worth a frame.
    pub(crate) fn take(&mut self, length: usize) -> Option<u64> {
        self.unsaid += cost(length);
        let due = self.unsaid >= SAID_AT;
        due.then(|| std::mem::take(&mut self.unsaid) as u64)
    }
}

/// What a piece of this length counts: a flood of tiny ones is mostly frames.
fn cost(length: usize) -> usize {
    length + FRAME_COST
}

const OTHERS_STREAM: &str = "it spoke in a relayed stream of others";

/// The longest piece.
pub(crate) const PIECE_BYTES_MAX: usize = 32 << 10;
/// So much of one direction may be on its way.
pub(crate) const CREDIT: usize = 256 << 10;
/// What a piece counts beyond its length.
const FRAME_COST: usize = 64;
/// This much taken is said. Small enough that a sender never waits for what is left unsaid.
const SAID_AT: usize = CREDIT / 4;
/// Streams at a time that one node has opened to another: one is used, others may be on their way out.
const STREAMS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::Incarnation;

    #[test]
    fn only_the_two_ends_of_a_stream_speak_in_it_and_in_nobody_elses_name() {
        let [a, b, c] = nodes();
        let mut exchange = Exchange::default();
        let stream = stream(a, 1);
        let mut look = |from, to, what| exchange.look_at(from, to, stream, &what);
        assert_eq!(look(b, c, Relayed::Open), Verdict::Offence(OTHERS_STREAM), "RY-1");
        assert_eq!(look(a, b, Relayed::Open), Verdict::Pass);
        assert_eq!(look(b, a, piece(1)), Verdict::Pass);
        for (from, to) in [(c, b), (c, a), (a, c), (b, c), (a, a)] {
            for what in [Relayed::Open, piece(1), Relayed::Taken(1), Relayed::Closed] {
                assert_eq!(look(from, to, what), Verdict::Offence(OTHERS_STREAM), "RY-1");
            }
        }
        assert!(matches!(look(a, b, Relayed::Open), Verdict::Offence(_)), "twice");
        assert_eq!(look(b, a, Relayed::Closed), Verdict::Pass);
        assert_eq!(look(a, b, piece(1)), Verdict::Drop, "it is late");
        assert_eq!(look(a, b, Relayed::Closed), Verdict::Drop);
    }

    #[test]
    fn each_direction_has_a_credit_of_its_own_and_no_more_than_that() {
        let [a, b, _] = nodes();
        let mut exchange = Exchange::default();
        let stream = stream(a, 1);
        exchange.look_at(a, b, stream, &Relayed::Open);
        let mut full = |from, to| {
            let mut sent = 0;
            loop {
                match exchange.look_at(from, to, stream, &piece(PIECE_BYTES_MAX)) {
                    Verdict::Pass => sent += PIECE_BYTES_MAX,
                    verdict => break (sent, verdict),
                }
            }
        };
        for (from, to) in [(a, b), (b, a)] {
            let (sent, verdict) = full(from, to);
            assert!(sent <= CREDIT && sent > CREDIT / 2, "RY-2: {sent}");
            assert!(matches!(verdict, Verdict::Offence(_)), "RY-2");
        }
        let (one, all) = (cost(PIECE_BYTES_MAX) as u64, 7 * cost(PIECE_BYTES_MAX) as u64);
        let mut look = |from, to, what| exchange.look_at(from, to, stream, &what);
        assert_eq!(look(b, a, Relayed::Taken(one)), Verdict::Pass);
        assert_eq!(look(a, b, piece(PIECE_BYTES_MAX)), Verdict::Pass, "RY-2");
        for too_much in [all + 1, u64::MAX] {
            let verdict = look(b, a, Relayed::Taken(too_much));
            assert!(matches!(verdict, Verdict::Offence(_)), "RY-2: {verdict:?}");
        }
        for length in [0, PIECE_BYTES_MAX + 1] {
            assert!(matches!(look(a, b, piece(length)), Verdict::Offence(_)), "{length}");
        }
    }

    #[test]
    fn tiny_pieces_are_no_way_around_the_credit() {
        let mut window = Window::default();
        let pieces = (0..).take_while(|_| window.send(1)).count();
        assert!(pieces <= CREDIT / FRAME_COST, "RY-2: {pieces}");
    }

    #[test]
    fn what_is_left_unsaid_keeps_no_sender_waiting() {
        for length in [1, 100, 5_000, PIECE_BYTES_MAX] {
            let (mut window, mut intake) = (Window::default(), Intake::default());
            for _ in 0..10_000 {
                assert!(window.send(length), "RY-2: {length}");
                if let Some(taken) = intake.take(length) {
                    assert!(window.taken(taken));
                }
            }
        }
    }

    #[test]
    fn one_node_opens_few_streams_to_another() {
        let [a, b, c] = nodes();
        let mut exchange = Exchange::default();
        let mut open = |number, to| exchange.look_at(a, to, stream(a, number), &Relayed::Open);
        for number in 0..STREAMS_MAX as u64 {
            assert_eq!(open(number, b), Verdict::Pass);
        }
        assert_eq!(open(100, b), Verdict::Close);
        assert_eq!(open(100, c), Verdict::Pass, "to another one");
        assert_eq!(open(101, a), Verdict::Close, "to itself");
        assert_eq!(exchange.look_at(b, a, stream(a, 0), &Relayed::Closed), Verdict::Pass);
        assert_eq!(exchange.look_at(a, b, stream(a, 102), &Relayed::Open), Verdict::Pass);
    }

    #[test]
    fn a_lost_node_takes_its_streams_along_and_no_others() {
        let [a, b, c] = nodes();
        let mut exchange = Exchange::default();
        for (from, to) in [(a, b), (c, a), (b, c)] {
            exchange.look_at(from, to, stream(from, 1), &Relayed::Open);
        }
        let mut told = exchange.lost(a);
        told.sort_unstable();
        assert_eq!(told, [(b, stream(a, 1)), (c, stream(c, 1))], "RY-3");
        assert_eq!(exchange.look_at(b, c, stream(b, 1), &piece(1)), Verdict::Pass);
        assert_eq!(exchange.look_at(b, a, stream(a, 1), &piece(1)), Verdict::Drop);
    }

    fn nodes() -> [NodeName; 3] {
        ["a@h", "b@h", "c@h"].map(|name| name.parse().unwrap())
    }

    fn stream(opener: NodeName, number: u64) -> Ref {
        Ref::new(opener, Incarnation(7), number)
    }

    fn piece(length: usize) -> Relayed {
        Relayed::Piece(vec![0; length])
    }
}
