//! The lane of long frames: what is too long to be in the way of others.
//!
//! Short frames go first; of the lane, as much as is a good write goes behind them, and a frame that is longer than
//! that goes in pieces. So whoever sends little waits for one write, whatever else is on its way. What one actor
//! sends stays in order: while a long frame of its waits here, all that it sends waits behind that.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::term::Incarnation;
use crate::wire::{Draft, PREFIX_BYTES, piece_head};

/// Frames that wait.
#[derive(Default)]
pub(super) struct Lane {
    waiting: VecDeque<Long>,
    /// How many of them each sender has here.
    senders: HashMap<u64, usize>,
    bytes: usize,
}

/// A frame in parts that are not copied.
struct Long {
    sender: u64,
    /// Which life of the peer it is meant for.
    life: Option<Incarnation>,
    parts: VecDeque<Bytes>,
    /// What is left of it.
    bytes: usize,
    /// Some of it went before as a piece.
    begun: bool,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether what this one sends has to go here, to stay in order.
    #[inline]
    pub(super) fn has_of(&self, sender: u64) -> bool {
        !self.senders.is_empty() && self.senders.contains_key(&sender)
    }

    /// Puts a frame at the end.
    pub(super) fn push(&mut self, sender: u64, life: Option<Incarnation>, frame: Draft) {
        let Draft { own, taken } = frame;
        let own = Bytes::from(own);
        let mut parts = VecDeque::with_capacity(taken.len() * 2 + 1);
        let mut from = 0;
        for (at, part) in taken {
            parts.push_back(own.slice(from..at));
            parts.push_back(part);
            from = at;
        }
        parts.push_back(own.slice(from..));
        parts.retain(|part| !part.is_empty());
        let bytes = parts.iter().map(Bytes::len).sum();
        self.bytes += bytes;
        *self.senders.entry(sender).or_default() += 1;
        self.waiting.push_back(Long { sender, life, parts, bytes, begun: false });
    }

    /// Takes as much as is a good write: about so many bytes.
    pub(super) fn take(&mut self, into: &mut VecDeque<Bytes>, good: usize) {
        let mut left = good;
        while let Some(first) = self.waiting.front_mut() {
            if !first.begun && first.bytes <= WHOLE_BYTES_MAX {
                if left < good && left < first.bytes {
                    return;
                }
                into.extend(first.parts.drain(..));
                left = left.saturating_sub(first.bytes);
                self.over();
            } else if left < good {
                return; // a piece is a write
            } else {
                let total = if first.begun {
                    None
                } else {
                    // Whoever puts the pieces together needs no prefix.
                    first.skip(PREFIX_BYTES);
                    self.bytes -= PREFIX_BYTES;
                    Some(first.bytes)
                };
                first.begun = true;
                let piece = first.bytes.min(good);
                into.push_back(piece_head(total, piece).into());
                first.split(piece, into);
                self.bytes -= piece;
                if first.bytes == 0 {
                    self.over();
                }
                return;
            }
            if left == 0 {
                return;
            }
        }
    }

    /// The first is gone.
    fn over(&mut self) {
        let Some(Long { sender, bytes, .. }) = self.waiting.pop_front() else { return };
        self.bytes -= bytes;
        if let Some(count) = self.senders.get_mut(&sender) {
            *count -= 1;
            if *count == 0 {
                self.senders.remove(&sender);
            }
        }
    }

    /// Takes out those that are meant for another life of the peer than this: whole frames, in order.
    pub(super) fn of_other_lives(&mut self, life: Incarnation) -> Vec<(Incarnation, Bytes)> {
        let mut others = Vec::new();
        for _ in 0..self.waiting.len() {
            let Some(long) = self.waiting.front() else { break };
            let other = long.life.filter(|meant| *meant != life);
            let (sender, meant, parts) = (long.sender, long.life, long.parts.clone());
            self.over();
            match other {
                Some(other) => others.push((other, Bytes::from(Vec::from(parts).concat()))),
                None => {
                    let own: Vec<u8> = Vec::from(parts).concat();
                    self.push(sender, meant, Draft { own, taken: Vec::new() });
                }
            }
        }
        others
    }

    pub(super) fn clear(&mut self) {
        *self = Lane::default();
    }
}

impl Long {
    fn skip(&mut self, bytes: usize) {
        let mut skipped = VecDeque::new();
        self.split(bytes, &mut skipped);
    }

    /// Takes so many bytes off its front.
    fn split(&mut self, bytes: usize, into: &mut VecDeque<Bytes>) {
        let mut left = bytes;
        while left > 0
            && let Some(part) = self.parts.front_mut()
        {
            if part.len() <= left {
                left -= part.len();
                into.extend(self.parts.pop_front());
            } else {
                into.push_back(part.split_to(left));
                left = 0;
            }
        }
        self.bytes -= bytes;
    }
}

/// A frame longer than this takes the lane.
pub(super) const LONG_BYTES: usize = 32 << 10;
/// Of the lane, so much goes at once over a socket: less than a Unix socket takes.
pub(super) const GOOD_WRITE_BYTES: usize = 128 << 10;
/// A frame up to this length goes in one piece, also if it is longer than that: it is read to where it stays.
const WHOLE_BYTES_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Body, Cut, Head, cut, frame, read_body};

    proptest! {
        /// LN-1: what goes in comes out whole and in order, however long it is.
        #[test]
        fn frames_come_out_as_they_went_in(
            frames in prop::collection::vec((0..3u64, 0..300_000usize, any::<bool>()), 0..6),
            good in prop_oneof![Just(GOOD_WRITE_BYTES), 1000..200_000usize],
        ) {
            let mut lane = Lane::default();
            let mut bytes = 0;
            for (question, (sender, length, shared)) in frames.iter().enumerate() {
                let mut draft = Draft::default();
                let head = Head::Reply { question: question as u64 };
                let payload = |out: &mut Draft| {
                    let text = vec![question as u8; *length];
                    match shared {
                        true => out.taken.push((out.own.len(), text.into())),
                        false => out.own.extend_from_slice(&text),
                    }
                    Ok::<(), ()>(())
                };
                frame(&mut draft, usize::MAX, head, payload).unwrap().unwrap();
                bytes += draft.len();
                lane.push(*sender, None, draft);
            }
            prop_assert_eq!(lane.bytes(), bytes);
            let mut taken = VecDeque::new();
            while !lane.is_empty() {
                let before: usize = taken.iter().map(Bytes::len).sum();
                lane.take(&mut taken, good);
                let after: usize = taken.iter().map(Bytes::len).sum();
                prop_assert!((1..=good + WHOLE_BYTES_MAX).contains(&(after - before)));
            }
            prop_assert_eq!(lane.bytes(), 0);
            prop_assert!((0..3).all(|sender| !lane.has_of(sender)));

            let stream: Vec<u8> = Vec::from(taken).concat();
            let (mut rest, mut pieces, mut came) = (&stream[..], Vec::new(), Vec::new());
            let mut announced = 0;
            let mut take = |body: &[u8]| {
                match read_body(body) {
                    Ok(Body::Letter { head: Head::Reply { question }, payload }) => {
                        came.push((question, payload.len()));
                    }
                    other => panic!("{other:?}"),
                }
            };
            while let Ok(Cut::Whole(length)) = cut(rest, usize::MAX) {
                let body = &rest[PREFIX_BYTES..length];
                match read_body(body).unwrap() {
                    Body::Piece { whole, piece } => {
                        pieces.extend_from_slice(piece);
                        announced = whole.map_or(announced, |whole| whole as usize);
                        if pieces.len() == announced {
                            take(&std::mem::take(&mut pieces));
                        }
                    }
                    _ => take(body),
                }
                rest = &rest[length..];
            }
            prop_assert!(rest.is_empty() && pieces.is_empty());
            let sent: Vec<_> =
                (0..).zip(&frames).map(|(question, (_, length, _))| (question, *length)).collect();
            prop_assert_eq!(came, sent);
        }
    }
}
