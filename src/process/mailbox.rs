//! The mailbox of a function process: what waits there, and how it is looked at.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::task::AtomicWaker;
use serde::de::DeserializeOwned;

use crate::core::flow::Word;
use crate::core::life::Notice;
use crate::message::{Down, Exited, NodeDown, NodeUp};
use crate::node::Node;
use crate::node::ambient::{decode_at, decode_in};
use crate::node::answer::Asker;
use crate::node::batch::Batch;
use crate::node::cell::{Cell, Mailbox, lock};
use crate::node::inbox::log_dropped;
use crate::node::letter::{Content, Letter};
use crate::node::parcel::{Parcel, Put, RunOf};
use crate::node::queue::Queue;
use crate::term::Ref;
use crate::wire::{Fault, Signal, sharing, tag_of};

/// The shared part of a process's mailbox.
#[derive(Default)]
pub(super) struct Letters {
    pub(super) queue: Mutex<Queue<Content>>,
    pub(super) receiver: AtomicWaker,
}

impl Letters {
    /// To the dead it vanishes.
    fn put(&self, content: Content) {
        let put = lock(&self.queue).put(content);
        drop(put); // out of the lock
    }
}

pub(super) fn content_of(notice: Notice) -> Content {
    fn typed<N: Send + 'static>(notice: N) -> Content {
        Content::Typed { tag: tag_of::<N>(), message: Box::new(notice) }
    }
    match notice {
        Notice::Exited { from, reason } => typed(Exited { pid: from, reason }),
        Notice::Down { monitor, object, reason } => typed(Down { monitor, object, reason }),
        Notice::NodeDown { node } => typed(NodeDown { node }),
        Notice::NodeUp { node } => typed(NodeUp { node }),
    }
}

/// Whether it is the notice that this monitor has fired.
pub(super) fn is_down_of(content: &Content, monitor: Ref) -> bool {
    match content {
        Content::Typed { message, .. } => {
            message.downcast_ref::<Down>().is_some_and(|down| down.monitor == monitor)
        }
        Content::Run { .. } | Content::Batch(_) | Content::Raw { .. } | Content::Own(_) => false,
    }
}

/// The mailbox of a process's cell.
pub(super) fn letters(cell: &Cell) -> &Letters {
    cell.mailbox().expect("a process's cell has letters")
}

impl Mailbox for Letters {
    fn push_batch(&self, mut batch: Batch) -> Word {
        if batch.asks() {
            // A function process has no handler that could answer.
            batch.refuse_questions(|tag| Fault::NotAccepted { tag });
        }
        let bytes = batch.bytes();
        let put = lock(&self.queue).put_from_afar(Content::Batch(batch), bytes);
        put.unwrap_or(Word::None) // out of the lock
    }

    fn has_enough(&self) -> bool {
        lock(&self.queue).has_enough()
    }

    fn push_raw(&self, tag: u32, payload: Bytes, asker: Option<Asker>) {
        match asker {
            // A function process has no handler that could answer.
            Some(asker) => asker.fail(Fault::NotAccepted { tag }),
            None => self.put(Content::Raw { tag, payload }),
        }
    }

    fn push_parcel(&self, _: &Cell, parcel: Parcel<'_>) -> Put {
        let mut queue = lock(&self.queue);
        if let Some(Content::Run { run, .. }) = queue.last()
            && run.take_in(parcel.content)
        {
            return Put::Behind;
        }
        if queue.is_closed() {
            return Put::Closed;
        }
        drop(queue);
        let tag = parcel.tag;
        match parcel.into_run() {
            Some(run) => lock(&self.queue).put_parcel(Content::Run { tag, run }),
            None => Put::Refused, // a function process has no handler that could answer
        }
    }

    fn push_notice(&self, notice: Notice) {
        self.put(content_of(notice));
    }

    fn push_own(&self, signal: Signal) {
        self.put(Content::Own(signal));
    }

    fn nudge(&self) {
        self.receiver.wake();
    }

    fn flush_down(&self, monitor: Ref) {
        lock(&self.queue).remove(|content| is_down_of(content, monitor));
    }

    fn clear(&self) {
        let left = lock(&self.queue).close();
        drop(left);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What a look into a letter has brought.
pub(super) enum Opened<T> {
    /// It is of another type.
    Not,
    /// A message; there are more in it.
    One(T),
    /// A message, and nothing else.
    Last(T),
    /// It is of this type, and does not decode.
    Spoilt,
    /// What was of this type did not decode; there is more in it.
    Again,
    /// Some of it may be: it has to be taken apart.
    Mixed,
}

pub(super) fn open<T: DeserializeOwned + Send + 'static>(
    content: &mut Content,
    cell: &Cell,
) -> Opened<T> {
    match content {
        Content::Run { run, .. } => {
            let Some(run) = run.as_any_mut().downcast_mut::<RunOf<T>>() else {
                return Opened::Not;
            };
            match run.pop() {
                Some(message) if run.is_empty() => Opened::Last(message),
                Some(message) => Opened::One(message),
                None => Opened::Spoilt,
            }
        }
        Content::Batch(batch) => {
            let Some(mail) = batch.next_of(tag_of::<T>()) else { return Opened::Mixed };
            let decode = || decode_in(&cell.node, batch.payload(&mail));
            match sharing(|| batch.share(&mail), batch.payload(&mail).len(), decode) {
                Ok(message) if batch.is_empty() => Opened::Last(message),
                Ok(message) => Opened::One(message),
                Err(why) => {
                    log_dropped(cell, &format!("undecodable: {why}"));
                    if batch.is_empty() { Opened::Spoilt } else { Opened::Again }
                }
            }
        }
        Content::Typed { message, .. } if message.is::<T>() => {
            let message = std::mem::replace(message, Box::new(()));
            message.downcast().map_or(Opened::Spoilt, |message| Opened::Last(*message))
        }
        Content::Raw { tag, payload } if *tag == tag_of::<T>() => {
            match decode_at(&cell.node, payload) {
                Ok(message) => Opened::Last(message),
                Err(why) => {
                    log_dropped(cell, &format!("undecodable: {why}"));
                    Opened::Spoilt
                }
            }
        }
        Content::Typed { .. } | Content::Raw { .. } | Content::Own(_) => Opened::Not,
    }
}

/// A letter that is shown to whoever wants one, and goes back to its place unless they take it.
pub(super) struct Shown<'a> {
    taken: &'a mut VecDeque<Content>,
    at: usize,
    letter: Option<Letter>,
}

impl Shown<'_> {
    pub(super) fn of<'a>(
        taken: &'a mut VecDeque<Content>,
        at: usize,
        node: &Arc<Node>,
    ) -> Shown<'a> {
        let content = taken.remove(at).expect("it is looked at");
        Shown { taken, at, letter: Some(Letter::new(content, node.clone())) }
    }

    pub(super) fn letter(&mut self) -> &mut Letter {
        self.letter.as_mut().expect("it is shown")
    }

    pub(super) fn take(mut self) -> Letter {
        self.letter.take().expect("it is shown")
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(letter) = self.letter.take() {
            self.taken.insert(self.at, letter.content);
        }
    }
}

/// Makes single letters of several in one.
pub(super) fn spread(taken: &mut VecDeque<Content>, at: usize) {
    if !matches!(taken.get(at), Some(Content::Run { .. } | Content::Batch(_))) {
        return;
    }
    let mut after = taken.split_off(at);
    match after.pop_front() {
        Some(Content::Run { tag, mut run }) => {
            let single = std::iter::from_fn(|| Some(Content::Typed { tag, message: run.next()? }));
            taken.extend(single);
        }
        Some(Content::Batch(mut batch)) => {
            while let Some(mail) = batch.next() {
                // A question was refused when it came.
                if !mail.asks() {
                    let payload = batch.share(&mail);
                    taken.push_back(Content::Raw { tag: mail.tag, payload });
                }
            }
        }
        _ => {}
    }
    taken.append(&mut after);
}
