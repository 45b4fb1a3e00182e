//! What comes over a connection: bytes in, frames out, each to whom it is for.

use std::mem::take;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Node;
use super::Outcome;
use super::batch::{Batch, Origin};
use super::link::Link;
use crate::wire::{Body, Control, Cut, Head, PREFIX_BYTES, cut, frame_prefix, is_piece, read_body};

/// What was read of a connection and is not understood yet.
pub(crate) struct Incoming {
    node: Arc<Node>,
    link: Arc<Link>,
    read: Vec<u8>,
    /// A long frame that has begun: its length with the prefix, and what is there of it. It is read to where
    /// it stays.
    long: Option<(usize, Vec<u8>)>,
    /// A body that comes in pieces: its length with the prefix, and what is there of it.
    pieces: Option<(usize, Vec<u8>)>,
    /// So much of a piece that has begun is still to come.
    piece_left: usize,
    /// How much is read at once.
    room: usize,
    origin: Arc<Origin>,
}

/// Frames for the same actor that lie side by side.
#[derive(Clone, Copy)]
struct Stretch {
    to: u64,
    start: usize,
    asks: bool,
}

impl Incoming {
    /// `read` has come with the greeting.
    pub(crate) fn new(node: Arc<Node>, link: Arc<Link>, read: Vec<u8>) -> Incoming {
        let origin = Arc::new(Origin { link: link.clone(), tags: Vec::new() });
        let room = READ_BYTES_MIN;
        Incoming { node, link, read, long: None, pieces: None, piece_left: 0, room, origin }
    }

    /// The rest of a piece that has begun, if there is one: so much is to be put at the end of that, and nothing else.
    /// Whoever can read no more than that does so, before there is [`room`](Incoming::room).
    pub(super) fn rest_of_piece(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        match &mut self.pieces {
            Some((_, frame)) if self.piece_left > 0 => Some((frame, self.piece_left)),
            _ => None,
        }
    }

    /// A long frame has come in part.
    pub(super) fn is_amid(&self) -> bool {
        self.pieces.is_some() || self.long.is_some()
    }

    /// So much of it was put there: passes on the frame that is whole by now, if it is.
    ///
    /// # Errors
    /// Those of [`take_in`](Incoming::take_in).
    pub(super) fn piece_came(&mut self, bytes: usize) -> Result<(), String> {
        self.piece_left -= bytes;
        let whole = self.pieces.take_if(|(bytes, frame)| frame.len() == *bytes);
        let Some((_, frame)) = whole else { return Ok(()) };
        let frame = Bytes::from(frame);
        // No pieces of pieces: each would cost stack.
        if is_piece(&frame[PREFIX_BYTES..]) {
            return Err("a piece of a piece".to_owned());
        }
        self.frames(&frame, Some(&frame)).map(drop)
    }

    /// Where to put what is read next: there is spare room in it, of at most what may be read at once.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        match &mut self.long {
            Some((bytes, long)) => {
                // What is announced is not reserved before half of it has come.
                if long.len() == long.capacity() {
                    let left = *bytes - long.len();
                    long.reserve_exact(left.min(long.len().max(RESERVE_BYTES)));
                }
                long
            }
            None => {
                self.read.reserve(self.room);
                &mut self.read
            }
        }
    }

    /// So much was read into all the room there was: the next time there is more.
    pub(crate) fn filled(&mut self) {
        self.room = (self.room * 2).min(READ_BYTES_MAX);
    }

    /// Passes on the frames that are whole.
    ///
    /// # Errors
    /// Why the connection is of no more use.
    pub(crate) fn take_in(&mut self) -> Result<(), String> {
        if let Some((bytes, long)) = &mut self.long {
            if long.len() < *bytes {
                return Ok(());
            }
            let frame = Bytes::from(take(long));
            self.long = None;
            self.frames(&frame, Some(&frame))?;
            return Ok(());
        }
        if self.piece_left > 0 {
            // It came among the rest.
            let part = self.read.len().min(self.piece_left);
            let rest = self.read.split_off(part);
            let part = std::mem::replace(&mut self.read, rest);
            if let Some((_, frame)) = &mut self.pieces {
                frame.extend_from_slice(&part);
            }
            self.piece_came(part.len())?;
        }
        let mut read = take(&mut self.read);
        let done = self.frames(&read, None)?;
        if matches!(cut(&read[done..], usize::MAX), Ok(Cut::Whole(_))) {
            // A long one: it is not copied, and all that came with it shares its memory.
            let shared = Bytes::from(read).slice(done..);
            let done = self.frames(&shared, Some(&shared))?;
            read = shared[done..].to_vec();
        } else if done == read.len() {
            read.clear();
        } else {
            read.drain(..done);
        }
        self.keep(read)
    }

    /// Keeps the beginning of a frame.
    fn keep(&mut self, mut read: Vec<u8>) -> Result<(), String> {
        match cut(&read, usize::MAX) {
            Ok(Cut::Part(Some(bytes))) if is_piece(&read[PREFIX_BYTES..]) => {
                // What is to come of it is read to where it stays.
                if let Ok(Body::Piece { whole, piece }) = read_body(&read[PREFIX_BYTES..]) {
                    self.begin_piece(whole, piece, bytes - read.len())?;
                    read.clear();
                }
                self.read = read;
            }
            Ok(Cut::Part(Some(bytes))) if bytes > LONG_BYTES => {
                let mut long = Vec::with_capacity(bytes.min(read.len().max(RESERVE_BYTES)));
                long.extend_from_slice(&read);
                self.long = Some((bytes, long));
                self.read = read;
                self.read.clear();
            }
            _ => self.read = read,
        }
        Ok(())
    }

    /// Passes on whole frames, up to the first that is long if they are not shared already. Returns how many
    /// bytes those were.
    fn frames(&mut self, read: &[u8], shared: Option<&Bytes>) -> Result<usize, String> {
        let max = self.node.config.frame_bytes_max;
        let mut at = 0;
        let mut stretch: Option<Stretch> = None;
        loop {
            let bytes = match cut(&read[at..], max).map_err(|garbage| garbage.to_string())? {
                Cut::Whole(bytes) if bytes <= LONG_BYTES || shared.is_some() => bytes,
                Cut::Whole(_) | Cut::Part(_) => break,
            };
            let end = at + bytes;
            let body = read_body(&read[at + PREFIX_BYTES..end]).map_err(|why| why.to_string())?;
            let (to, asks) = match &body {
                Body::Letter { head: Head::Message { to, kind }, .. } => {
                    self.known(*kind)?;
                    (Some(*to), false)
                }
                Body::Letter { head: Head::Request { to, kind, .. }, .. } => {
                    self.known(*kind)?;
                    (Some(*to), true)
                }
                Body::Letter { head: Head::Named { kind, .. }, .. } => {
                    self.known(*kind)?;
                    (None, false)
                }
                Body::Letter { head: Head::Reply { .. }, .. }
                | Body::Control(_)
                | Body::Piece { .. }
                | Body::Type { .. } => (None, false),
            };
            match (&mut stretch, to) {
                (Some(stretch), Some(to))
                    if stretch.to == to
                        && (shared.is_some() || end - stretch.start <= BATCH_BYTES_MAX) =>
                {
                    stretch.asks |= asks;
                }
                (stretch, to) => {
                    if let Some(whole) = stretch.take() {
                        self.pass_on(whole, read, at, shared);
                    }
                    *stretch = to.map(|to| Stretch { to, start: at, asks });
                }
            }
            if to.is_none() {
                self.take_one(body, read, at..end, shared)?;
            }
            at = end;
        }
        if let Some(stretch) = stretch {
            self.pass_on(stretch, read, at, shared);
        }
        Ok(at)
    }

    fn take_one(
        &mut self,
        body: Body<'_>,
        read: &[u8],
        at: Range<usize>,
        shared: Option<&Bytes>,
    ) -> Result<(), String> {
        match body {
            Body::Letter { head: Head::Reply { question }, payload } => {
                let payload = match shared {
                    Some(shared) => shared.slice(at.end - payload.len()..at.end),
                    None => Bytes::copy_from_slice(payload),
                };
                self.node.close_question(question, Outcome::Reply(payload));
            }
            Body::Letter { head: Head::Named { name, .. }, .. } => {
                let batch = Batch::new(piece(read, at, shared), self.origin.clone());
                self.node.on_named(name, batch);
            }
            Body::Letter { .. } => unreachable!("a message or a question has a number to go to"),
            Body::Type { number, tag } => {
                let tags = &mut Arc::make_mut(&mut self.origin).tags;
                if number as usize != tags.len() || tags.len() == TYPES_MAX {
                    return Err(format!("a type was numbered {number} after {}", tags.len()));
                }
                tags.push(tag);
            }
            Body::Piece { whole, piece } => {
                self.begin_piece(whole, piece, 0)?;
                self.piece_came(0)?;
            }
            Body::Control(Control::Bye) => return Err("it left".to_owned()),
            Body::Control(control) => self.node.on_control(&self.link, control),
        }
        Ok(())
    }

    /// Puts this piece of a body, of which so much is still to come, behind those before it.
    fn begin_piece(&mut self, whole: Option<u64>, piece: &[u8], left: usize) -> Result<(), String> {
        if let Some(whole) = whole {
            let max = self.node.config.frame_bytes_max;
            let fits = usize::try_from(whole).ok().filter(|whole| *whole <= max);
            let (Some(whole), None) = (fits, &self.pieces) else {
                return Err(format!("a body of {whole} bytes in pieces"));
            };
            let mut frame = frame_prefix(whole).to_vec();
            frame.reserve_exact(whole.min(RESERVE_BYTES));
            self.pieces = Some((whole + PREFIX_BYTES, frame));
        }
        let Some((bytes, frame)) = &mut self.pieces else {
            return Err("a piece of nothing".to_owned());
        };
        if piece.len() + left > *bytes - frame.len() {
            return Err("more pieces than were announced".to_owned());
        }
        frame.extend_from_slice(piece);
        self.piece_left = left;
        Ok(())
    }

    fn known(&self, kind: u32) -> Result<(), String> {
        match (kind as usize) < self.origin.tags.len() {
            true => Ok(()),
            false => Err(format!("a message of type number {kind}, which stands for none")),
        }
    }

    fn pass_on(&self, stretch: Stretch, read: &[u8], end: usize, shared: Option<&Bytes>) {
        let Stretch { to, start, asks } = stretch;
        let batch = Batch::new(piece(read, start..end, shared), self.origin.clone());
        self.node.on_batch(to, batch, asks);
    }
}

fn piece(read: &[u8], at: Range<usize>, shared: Option<&Bytes>) -> Bytes {
    match shared {
        Some(shared) => shared.slice(at),
        None => Bytes::copy_from_slice(&read[at]),
    }
}

/// What is read at once.
const READ_BYTES_MIN: usize = 64 << 10;
const READ_BYTES_MAX: usize = 256 << 10;
/// What is copied at once for one actor: pieces of memory of any length, freed by another thread, would leave holes
/// of any length.
const BATCH_BYTES_MAX: usize = 32 << 10;
/// A frame longer than this is not copied.
const LONG_BYTES: usize = 16 << 10;
/// Reserved for a long frame, at most, before any of it has come.
const RESERVE_BYTES: usize = 4 << 20;
/// So many types may be numbered on one connection.
const TYPES_MAX: usize = 1 << 16;
