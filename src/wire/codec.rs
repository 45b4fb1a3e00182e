//! Frames to bytes and back. What a peer sends can be refused, but never trusted: a length is checked
//! before anything is reserved for it, and memory grows only by what has really arrived.

use serde::{Deserialize, Serialize};

use super::Control;
use super::shared::Draft;

/// The body of a frame, decoded as far as whoever reads the connection needs; payloads stay as they came.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    Control(Control),
    /// From now on messages of the type `tag` carry this number, the next one that has none.
    Type {
        number: u32,
        tag: u32,
    },
    /// What an actor sends, or is asked or answered.
    Letter {
        head: Head<'a>,
        payload: &'a [u8],
    },
    /// A piece of a long body; `whole`, its length, is said with the first.
    Piece {
        whole: Option<u64>,
        piece: &'a [u8],
    },
}

/// The head of a frame whose payload is appended by the caller. The type of a message is a number that was
/// said before on the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head<'a> {
    /// A message to the actor of this number.
    Message { to: u64, kind: u32 },
    /// The same, and `question` wants an answer.
    Request { to: u64, kind: u32, question: u64 },
    /// The answer to `question`.
    Reply { question: u64 },
    /// A message to whoever has this name.
    Named { name: &'a str, kind: u32 },
}

impl<'a> Head<'a> {
    /// The same of another type.
    pub(crate) fn of_kind(self, kind: u32) -> Head<'a> {
        match self {
            Head::Message { to, .. } => Head::Message { to, kind },
            Head::Request { to, question, .. } => Head::Request { to, kind, question },
            Head::Named { name, .. } => Head::Named { name, kind },
            Head::Reply { question } => Head::Reply { question },
        }
    }
}

/// A frame longer than the limit was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) bytes: usize,
}

/// A body that is none of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("unknown operation {0}")]
    UnknownOperation(u64),
    #[error("a head that is not made of MessagePack integers")]
    NotAHead,
    #[error("not a control message: {0}")]
    NotControl(#[from] rmp_serde::decode::Error),
}

/// Appends one frame to `out`: `head`, then what `payload` writes. Leaves `out` as it was on an error.
pub(crate) fn frame<E>(
    out: &mut Draft,
    bytes_max: usize,
    head: Head<'_>,
    payload: impl FnOnce(&mut Draft) -> Result<(), E>,
) -> Result<Result<(), TooLong>, E> {
    let mut begun = Begun::new(out);
    match head {
        Head::Message { to, kind } => begun.ints(&[OP_MESSAGE, to, kind.into()]),
        Head::Request { to, kind, question } => {
            begun.ints(&[OP_REQUEST, to, kind.into(), question]);
        }
        Head::Reply { question } => begun.ints(&[OP_REPLY, question]),
        Head::Named { name, kind } => {
            begun.ints(&[OP_NAMED]);
            rmp::encode::write_str(&mut begun.out.own, name).expect("a Vec takes all bytes");
            begun.ints(&[kind.into()]);
        }
    }
    payload(begun.out)?;
    Ok(begun.close(bytes_max))
}

/// Appends the frame that says which number messages of the type `tag` carry from now on.
pub(crate) fn frame_type(out: &mut Draft, number: u32, tag: u32) {
    let mut begun = Begun::new(out);
    begun.ints(&[OP_TYPE, number.into(), tag.into()]);
    begun.close(usize::MAX).expect("three numbers");
}

/// What goes before a piece of a frame's body that is so long; with the length of the whole, if it is the first.
pub(crate) fn piece_head(whole: Option<usize>, piece: usize) -> Vec<u8> {
    let mut out = Draft::default();
    let mut begun = Begun::new(&mut out);
    match whole {
        Some(whole) => begun.ints(&[OP_LONG, whole as u64]),
        None => begun.ints(&[OP_MORE]),
    }
    begun.close_with(piece, usize::MAX).expect("a piece is short");
    out.own
}

/// Appends a control frame to `out`.
pub(crate) fn frame_control(
    out: &mut Draft,
    bytes_max: usize,
    control: &Control,
) -> Result<(), TooLong> {
    let mut begun = Begun::new(out);
    begun.ints(&[OP_CONTROL]);
    control
        .serialize(&mut rmp_serde::Serializer::new(&mut begun.out.own))
        .expect("control messages are plain data, and a Vec takes all bytes");
    begun.close(bytes_max)
}

/// The beginning of a frame whose body is so long, which is no more than a frame may be.
pub(crate) fn frame_prefix(bytes: usize) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    [BIN32, a, b, c, d]
}

/// A frame that is being appended.
///
/// LI-2: a frame is in the buffer whole or not at all. Unless it is closed it is taken back, also when
/// its payload panics: a payload is encoded by code of the user's.
struct Begun<'a> {
    out: &'a mut Draft,
    start: usize,
    /// How much had been taken before.
    taken: usize,
    whole: bool,
}

impl Begun<'_> {
    #[inline]
    fn new(out: &mut Draft) -> Begun<'_> {
        let (start, taken) = (out.own.len(), out.taken.len());
        out.own.extend_from_slice(&[BIN32, 0, 0, 0, 0]);
        Begun { out, start, taken, whole: false }
    }

    #[inline]
    fn ints(&mut self, ints: &[u64]) {
        for int in ints {
            match *int {
                small @ 0..=0x7F => self.out.own.push(small as u8),
                long => {
                    rmp::encode::write_uint(&mut self.out.own, long)
                        .expect("a Vec takes all bytes");
                }
            }
        }
    }

    #[inline]
    fn close(self, bytes_max: usize) -> Result<(), TooLong> {
        self.close_with(0, bytes_max)
    }

    /// So much more belongs to it.
    #[inline]
    fn close_with(mut self, more: usize, bytes_max: usize) -> Result<(), TooLong> {
        let taken: usize = self.out.taken[self.taken..].iter().map(|(_, part)| part.len()).sum();
        let bytes = self.out.own.len() - self.start - PREFIX_BYTES + taken + more;
        match u32::try_from(bytes) {
            Ok(length) if bytes <= bytes_max => {
                let prefix = &mut self.out.own[self.start + 1..self.start + PREFIX_BYTES];
                prefix.copy_from_slice(&length.to_be_bytes());
                self.whole = true;
                Ok(())
            }
            _ => Err(TooLong { bytes }),
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.whole {
            self.out.own.truncate(self.start);
            self.out.taken.truncate(self.taken);
        }
    }
}

/// Whether this is a piece of a body, or the beginning of one.
pub(crate) fn is_piece(body: &[u8]) -> bool {
    body.first().is_some_and(|first| [OP_LONG, OP_MORE].contains(&u64::from(*first)))
}

/// Decodes a frame's body.
// Inlined, since it is short for a message, and what it returns long: handing that over by memory costs more than reading it.
#[inline(always)]
pub(crate) fn read_body(body: &[u8]) -> Result<Body<'_>, BodyError> {
    let mut rest = body;
    let small = |rest: &mut _| u32::try_from(int(rest)?).map_err(|_| BodyError::NotAHead);
    let operation = int(&mut rest)?;
    let head = match operation {
        OP_CONTROL => return Ok(Body::Control(from_bytes(rest)?)),
        OP_TYPE => {
            return Ok(Body::Type { number: small(&mut rest)?, tag: small(&mut rest)? });
        }
        OP_LONG | OP_MORE => {
            let whole = if operation == OP_LONG { Some(int(&mut rest)?) } else { None };
            return Ok(Body::Piece { whole, piece: rest });
        }
        OP_MESSAGE => Head::Message { to: int(&mut rest)?, kind: small(&mut rest)? },
        OP_REQUEST => Head::Request {
            to: int(&mut rest)?,
            kind: small(&mut rest)?,
            question: int(&mut rest)?,
        },
        OP_REPLY => Head::Reply { question: int(&mut rest)? },
        OP_NAMED => {
            let (name, after) =
                rmp::decode::read_str_from_slice(rest).map_err(|_| BodyError::NotAHead)?;
            rest = after;
            Head::Named { name, kind: small(&mut rest)? }
        }
        unknown => return Err(BodyError::UnknownOperation(unknown)),
    };
    Ok(Body::Letter { head, payload: rest })
}

/// Takes a number off the front.
#[inline(always)]
fn int(rest: &mut &[u8]) -> Result<u64, BodyError> {
    match **rest {
        [int @ 0..=0x7F, ref after @ ..] => {
            *rest = after;
            Ok(int.into())
        }
        _ => long_int(rest),
    }
}

fn long_int(rest: &mut &[u8]) -> Result<u64, BodyError> {
    let mut from = rmp::decode::Bytes::new(rest);
    let int = rmp::decode::read_int(&mut from).map_err(|_| BodyError::NotAHead)?;
    *rest = &rest[rest.len() - from.remaining_slice().len()..];
    Ok(int)
}

/// Decodes a MessagePack value.
///
/// DP-1: each level of nesting costs stack, and a thread that runs out of it takes the whole OS process
/// with it. So values are taken up to [`DEPTH_MAX`] levels.
pub(crate) fn from_bytes<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
) -> Result<T, rmp_serde::decode::Error> {
    let mut from = rmp_serde::Deserializer::from_read_ref(bytes);
    from.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut from)
}

/// What a stream of bytes begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A frame: so many bytes in all, with the prefix.
    Whole(usize),
    /// The beginning of a frame of so many bytes, if so much has been said.
    Part(Option<usize>),
}

/// A stream that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAFrame {
    #[error("a frame starts with the byte 0xC6, this one with {0:#04X}")]
    Marker(u8),
    #[error("a frame of {bytes} bytes was announced; the limit is {bytes_max}")]
    TooLong { bytes: usize, bytes_max: usize },
}

/// Looks where the first frame of `read` ends. Its body begins after [`PREFIX_BYTES`].
pub(crate) fn cut(read: &[u8], bytes_max: usize) -> Result<Cut, NotAFrame> {
    match read.first() {
        None => return Ok(Cut::Part(None)),
        Some(&BIN32) => {}
        Some(&other) => return Err(NotAFrame::Marker(other)),
    }
    let Some(prefix) = read.first_chunk::<PREFIX_BYTES>() else { return Ok(Cut::Part(None)) };
    let bytes = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if bytes > bytes_max {
        return Err(NotAFrame::TooLong { bytes, bytes_max });
    }
    let bytes = PREFIX_BYTES + bytes;
    Ok(if read.len() < bytes { Cut::Part(Some(bytes)) } else { Cut::Whole(bytes) })
}

/// MessagePack's marker for binary data with a length of four bytes.
const BIN32: u8 = 0xC6;
/// That byte, and the length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// The deepest nesting of a value: a level costs some kilobytes of stack in a debug build.
const DEPTH_MAX: usize = 256;

const OP_CONTROL: u64 = 0;
const OP_MESSAGE: u64 = 1;
const OP_REQUEST: u64 = 2;
const OP_REPLY: u64 = 3;
const OP_NAMED: u64 = 4;
const OP_TYPE: u64 = 5;
const OP_LONG: u64 = 6;
const OP_MORE: u64 = 7;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(to: u64, kind: u32, text: &[u8]) -> Vec<u8> {
        let mut out = Draft::default();
        frame(&mut out, 1 << 20, Head::Message { to, kind }, |out| {
            out.own.extend_from_slice(text);
            Ok::<(), ()>(())
        })
        .unwrap()
        .unwrap();
        out.own
    }

    #[test]
    fn a_message_has_the_documented_bytes() {
        let bytes = message(7, 1, b"\xA2hi");
        let golden = [0xC6, 0, 0, 0, 6, 0x01, 0x07, 0x01, 0xA2, b'h', b'i'];
        assert_eq!(bytes, golden);
        let mut bytes = Draft::default();
        frame_type(&mut bytes, 1, 300);
        assert_eq!(bytes.own, [0xC6, 0, 0, 0, 5, 0x05, 0x01, 0xCD, 0x01, 0x2C]);
    }

    #[test]
    fn a_tick_has_the_documented_bytes() {
        let mut bytes = Draft::default();
        frame_control(&mut bytes, 100, &Control::Tick).unwrap();
        assert_eq!(bytes.own, [0xC6, 0, 0, 0, 6, 0x00, 0xA4, b'T', b'i', b'c', b'k']);
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        let refused = cut(&[0xC6, 0x7F, 0xFF, 0xFF, 0xFF], 1 << 20).unwrap_err();
        assert_eq!(refused, NotAFrame::TooLong { bytes: 0x7FFF_FFFF, bytes_max: 1 << 20 });
    }

    #[test]
    fn a_frame_too_long_to_send_leaves_the_buffer_as_it_was() {
        let mut out = Draft { own: vec![1, 2, 3], taken: Vec::new() };
        let head = Head::Reply { question: 1 };
        let refused = frame(&mut out, 10, head, |out| {
            out.own.resize(out.own.len() + 100, 0);
            Ok::<(), ()>(())
        });
        assert_eq!(refused, Ok(Err(TooLong { bytes: 102 })));
        assert_eq!(out.own, [1, 2, 3]);
    }

    #[test]
    fn a_value_that_is_nested_too_deep_is_an_error_and_no_stack_overflow() {
        let nested = |levels| [vec![0x91; levels], vec![0xC0]].concat();
        assert!(from_bytes::<rmpv::Value>(&nested(DEPTH_MAX - 1)).is_ok());
        assert!(from_bytes::<rmpv::Value>(&nested(DEPTH_MAX + 1)).is_err(), "DP-1");
        assert!(from_bytes::<rmpv::Value>(&nested(100_000)).is_err(), "DP-1");
    }

    proptest! {
        #[test]
        fn frames_come_back_whatever_the_reads_cut(
            sent in prop::collection::vec((any::<u64>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..300)), 1..20),
            cut_at in 1..50usize,
        ) {
            let stream: Vec<u8> = sent.iter().flat_map(|(to, kind, text)| message(*to, *kind, text)).collect();
            let (mut read, mut got) = (Vec::new(), Vec::new());
            for piece in stream.chunks(cut_at) {
                read.extend_from_slice(piece);
                while let Cut::Whole(bytes) = cut(&read, 1 << 20).unwrap() {
                    match read_body(&read[PREFIX_BYTES..bytes]).unwrap() {
                        Body::Letter { head: Head::Message { to, kind }, payload } => {
                            got.push((to, kind, payload.to_vec()));
                        }
                        other => panic!("{other:?}"),
                    }
                    read.drain(..bytes);
                }
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_body(&bytes);
            let mut read = &bytes[..];
            while let Ok(Cut::Whole(bytes)) = cut(read, 100) {
                let _ = read_body(&read[PREFIX_BYTES..bytes]);
                read = &read[bytes..];
            }
        }
    }
}
