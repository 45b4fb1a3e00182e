//! Parcels: messages of this node on their way into a mailbox, as they are; and runs, those of one type
//! that came one after the other, which share a box.

use std::any::Any;
use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::message::RemoteMessage;

/// A message, or a question, that whoever has the mailbox takes out.
pub(crate) struct Parcel<'a> {
    pub(crate) tag: u32,
    /// An `Option<T>` with the message, or an `Option<Asked<M>>`.
    pub(crate) content: &'a mut (dyn Any + Send),
    /// A box of its own for a message; none for a question, which nobody takes unopened.
    pub(crate) run: Option<Boxed>,
}

/// How what is in a parcel gets a box.
type Boxed = fn(&mut (dyn Any + Send)) -> Option<Box<dyn Run>>;

impl<'a> Parcel<'a> {
    pub(crate) fn message<T: Send + 'static>(tag: u32, message: &'a mut Option<T>) -> Parcel<'a> {
        Parcel { tag, content: message, run: Some(boxed::<T>) }
    }

    pub(crate) fn question<M: RemoteMessage>(
        tag: u32,
        asked: &'a mut Option<Asked<M>>,
    ) -> Parcel<'a> {
        Parcel { tag, content: asked, run: None }
    }

    /// It as the first of a run, unless it is a question.
    pub(crate) fn into_run(self) -> Option<Box<dyn Run>> {
        (self.run?)(self.content)
    }
}

fn boxed<T: Send + 'static>(content: &mut (dyn Any + Send)) -> Option<Box<dyn Run>> {
    Some(Box::new(RunOf::<T>::take(content)?))
}

/// A message whose sender wants an answer.
pub(crate) struct Asked<M: RemoteMessage> {
    pub(crate) message: M,
    pub(crate) answer: oneshot::Sender<M::Result>,
}

/// What has become of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is the first that waits: whoever takes them out is to be woken.
    First,
    /// It is in; who came before it has woken them.
    Behind,
    /// The mailbox is that of a dead actor.
    Closed,
    /// It is a question that nobody there could answer.
    Refused,
}

/// Messages of one type, whichever.
pub(crate) trait Run: Send {
    /// Takes the message of a parcel, if it is one of these and there is room.
    fn take_in(&mut self, content: &mut (dyn Any + Send)) -> bool;
    /// The next one.
    fn next(&mut self) -> Option<Box<dyn Any + Send>>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// Messages of the type `T`. Most are alone: those cost one box.
pub(crate) struct RunOf<T> {
    first: Option<T>,
    more: VecDeque<T>,
}

impl<T: 'static> RunOf<T> {
    /// One with what is in a parcel.
    pub(crate) fn take(content: &mut (dyn Any + Send)) -> Option<RunOf<T>> {
        let first = content.downcast_mut::<Option<T>>()?.take()?;
        Some(RunOf { first: Some(first), more: VecDeque::new() })
    }

    pub(crate) fn take_in(&mut self, content: &mut (dyn Any + Send)) -> bool {
        let Some(message) = content.downcast_mut::<Option<T>>() else { return false };
        if self.more.len() >= (RUN_BYTES_MAX / size_of::<T>().max(1)).clamp(1, RUN_MAX) {
            return false;
        }
        self.more.extend(message.take());
        true
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.first.take().or_else(|| self.more.pop_front())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }
}

impl<T: Send + 'static> Run for RunOf<T> {
    fn take_in(&mut self, content: &mut (dyn Any + Send)) -> bool {
        RunOf::take_in(self, content)
    }

    fn next(&mut self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(self.pop()?))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// How many messages share a box.
const RUN_MAX: usize = 256;
/// And how many bytes those have, beside what they point to.
const RUN_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_keeps_the_order_and_takes_its_own_type_only() {
        let mut run = Parcel::message(1, &mut Some(0_u32)).into_run().unwrap();
        for number in 1..10_u32 {
            assert!(run.take_in(&mut Some(number)));
        }
        assert!(!run.take_in(&mut Some(10_u64)));
        let of = run.as_any_mut().downcast_mut::<RunOf<u32>>().unwrap();
        assert_eq!(of.pop(), Some(0));
        assert!(run.take_in(&mut Some(10_u32)));
        let rest = std::iter::from_fn(|| Some(*run.next()?.downcast::<u32>().unwrap()));
        assert_eq!(rest.collect::<Vec<_>>(), (1..11).collect::<Vec<_>>());
    }

    #[test]
    fn a_run_of_large_messages_is_short() {
        let mut run = RunOf::<[u8; 8192]>::take(&mut Some([0_u8; 8192])).unwrap();
        let more = (0..10).take_while(|_| run.take_in(&mut Some([1_u8; 8192]))).count();
        assert_eq!(more, 2);
    }
}
