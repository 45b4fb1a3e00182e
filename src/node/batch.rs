//! Batches: frames for one actor that have come one after another, still encoded, in one piece of memory.
//!
//! They are the way of messages from a connection into an inbox: one item a batch, and what is in it is
//! decoded on the actor's own arbiter.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::Due;
use super::cell::Cell;
use super::link::Link;
use crate::wire::{Body, Control, Cut, Fault, Head, PREFIX_BYTES, cut, read_body};

/// Frames for one actor. A question in there that nobody takes out is answered as one that was let go of.
pub(crate) struct Batch {
    frames: Bytes,
    /// Where the next frame begins.
    at: usize,
    origin: Arc<Origin>,
    /// Whom the questions in there are for; none if there are none.
    asked: Option<Arc<Cell>>,
}

/// Where a batch comes from.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) link: Arc<Link>,
    /// The tags of the types that the peer has numbered.
    pub(crate) tags: Vec<u32>,
}

/// One message of a batch.
pub(crate) struct Mail {
    pub(crate) tag: u32,
    /// Where in the batch its payload is.
    pub(crate) payload: Range<usize>,
    question: Option<u64>,
}

impl Batch {
    /// Frames that were looked at: each is whole, for the same actor, and of a type that was numbered.
    pub(crate) fn new(frames: Bytes, origin: Arc<Origin>) -> Batch {
        Batch { frames, at: 0, origin, asked: None }
    }

    /// The same, with questions for this actor in it.
    pub(crate) fn asking(mut self, cell: Arc<Cell>) -> Batch {
        self.asked = Some(cell);
        self
    }

    /// The connection that it came over.
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.origin.link
    }

    /// Whether there are questions in it.
    pub(crate) fn asks(&self) -> bool {
        self.asked.is_some()
    }

    /// What it holds in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.frames.len()
    }

    /// Whether all was taken out.
    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.frames.len()
    }

    /// Takes out the next message.
    #[inline(always)] // what it returns is long for a register
    pub(crate) fn next(&mut self) -> Option<Mail> {
        let frames = &self.frames[self.at..];
        let Ok(Cut::Whole(bytes)) = cut(frames, usize::MAX) else { return None };
        let Ok(Body::Letter { head, payload }) = read_body(&frames[PREFIX_BYTES..bytes]) else {
            unreachable!("whoever made the batch has read its frames")
        };
        let (kind, question) = match head {
            Head::Message { kind, .. } | Head::Named { kind, .. } => (kind, None),
            Head::Request { kind, question, .. } => (kind, Some(question)),
            Head::Reply { .. } => unreachable!("an answer is for nobody's inbox"),
        };
        self.at += bytes;
        let tag = self.origin.tags[kind as usize];
        Some(Mail { tag, payload: self.at - payload.len()..self.at, question })
    }

    /// The same, if it is a message of this type; questions that were refused are passed over.
    pub(crate) fn next_of(&mut self, tag: u32) -> Option<Mail> {
        loop {
            let before = self.at;
            let mail = self.next()?;
            if !mail.asks() {
                if mail.tag == tag {
                    return Some(mail);
                }
                self.at = before;
                return None;
            }
        }
    }

    /// The payload of a message that was taken out.
    pub(crate) fn payload(&self, mail: &Mail) -> &[u8] {
        &self.frames[mail.payload.clone()]
    }

    /// The same as a share of the memory.
    pub(crate) fn share(&self, mail: &Mail) -> Bytes {
        self.frames.slice(mail.payload.clone())
    }

    /// Who wants an answer to a message that was taken out.
    pub(crate) fn due(&self, mail: &Mail) -> Option<Due<'_>> {
        let (question, cell) = (mail.question?, self.asked.as_ref()?);
        Some(Due::new(cell, Some(&self.origin.link), question))
    }

    /// Answers all questions in it with this; the messages stay.
    pub(crate) fn refuse_questions(&mut self, why: impl Fn(u32) -> Fault) {
        self.asked = None;
        let start = self.at;
        while let Some(Mail { tag, question, .. }) = self.next() {
            if let Some(question) = question {
                self.origin.link.tell(&Control::Failed { question, fault: why(tag) });
            }
        }
        self.at = start;
    }
}

impl Mail {
    /// Whether it is a question.
    pub(crate) fn asks(&self) -> bool {
        self.question.is_some()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.asks() {
            while let Some(mail) = self.next() {
                drop(self.due(&mail));
            }
        }
    }
}
