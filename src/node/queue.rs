//! The queue of a mailbox, as whoever puts something in shares it with whoever takes it out.

use std::collections::VecDeque;

use super::parcel::Put;
use crate::core::flow::{Inflow, Word};

/// What waits; once closed it takes nothing more, so that nothing outlives its actor in there.
pub(crate) struct Queue<T> {
    items: VecDeque<T>,
    /// What of it is of other nodes.
    inflow: Inflow,
    closed: bool,
}

impl<T> Queue<T> {
    /// Hands the item back if the queue is closed.
    pub(crate) fn put(&mut self, item: T) -> Result<(), T> {
        if self.closed {
            return Err(item);
        }
        self.items.push_back(item);
        Ok(())
    }

    /// The same of messages of another node, which are so long. Says what to tell who has sent them.
    pub(crate) fn put_from_afar(&mut self, item: T, bytes: usize) -> Result<Word, T> {
        self.put(item)?;
        Ok(self.inflow.came(bytes))
    }

    /// So much of them was taken out and dealt with. Whether those who sent it may go on.
    pub(crate) fn dealt_with(&mut self, bytes: usize) -> bool {
        self.inflow.went(bytes)
    }

    /// Whether those who send from afar are to pause.
    pub(crate) fn has_enough(&self) -> bool {
        self.inflow.pauses()
    }

    /// Puts in what came of a parcel.
    pub(crate) fn put_parcel(&mut self, item: T) -> Put {
        if self.closed {
            return Put::Closed;
        }
        self.items.push_back(item);
        if self.items.len() == 1 { Put::First } else { Put::Behind }
    }

    /// What came last, if it still waits.
    pub(crate) fn last(&mut self) -> Option<&mut T> {
        self.items.back_mut()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Swaps what waits for an empty queue that has room.
    pub(crate) fn swap(&mut self, with: &mut VecDeque<T>) {
        std::mem::swap(&mut self.items, with);
    }

    /// Takes out the first that is meant.
    pub(crate) fn remove(&mut self, is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let at = self.items.iter().position(is_it)?;
        self.items.remove(at)
    }

    pub(crate) fn close(&mut self) -> VecDeque<T> {
        self.closed = true;
        std::mem::take(&mut self.items)
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { items: VecDeque::new(), inflow: Inflow::default(), closed: false }
    }
}
