//! What goes out over a connection: the numbers of its types, and what is written at once.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// The types of messages that were sent over a connection, each with its number there.
#[derive(Default)]
pub(super) struct Kinds {
    known: HashMap<u32, Known>,
    last: Option<(u32, Known)>,
}

#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) number: u32,
    /// The last one of it was long.
    pub(super) long: bool,
}

impl Kinds {
    /// What is known of the type with this tag, and whether its number is to be said first.
    #[inline]
    pub(super) fn look_up(&mut self, tag: u32) -> (Known, bool) {
        if let Some((last, known)) = self.last
            && last == tag
        {
            return (known, false);
        }
        let next = u32::try_from(self.known.len()).expect("fewer types than that");
        let known = *self.known.entry(tag).or_insert(Known { number: next, long: false });
        self.last = Some((tag, known));
        (known, known.number == next)
    }

    pub(super) fn note(&mut self, tag: u32, long: bool) {
        if let Some(known) = self.known.get_mut(&tag) {
            known.long = long;
            self.last = Some((tag, *known));
        }
    }
}

/// What is written at once: first this, then that, then the parts of long frames.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) urgent: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) long: VecDeque<Bytes>,
}

impl Outgoing {
    /// What is left of it.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        [&self.urgent[..], &self.data[..]].into_iter().chain(self.long.iter().map(|part| &part[..]))
    }

    pub(super) fn clear(&mut self) {
        self.urgent.clear();
        self.data.clear();
        self.long.clear();
    }
}
