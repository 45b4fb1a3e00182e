//! A gate: what an actor waits at that sends more than somebody takes.

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures::task::ArcWake;

use super::cell::{Cell, Rest, lock};
use super::idle;

/// The way to one mailbox of another node that has enough.
///
/// FL-2: whoever sends there rests after its turn. FL-3: nobody does so for longer than [`PATIENCE`] while the mailbox takes
/// nothing at all: two that send to each other before either receives would wait for ever.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    open: bool,
    /// What was sent there all the same.
    bytes: usize,
    resting: Vec<Waker>,
}

impl Gate {
    /// So much goes there nevertheless; whether that is too much for one turn.
    pub(crate) fn count(&self, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        state.bytes += bytes;
        !state.open && state.bytes > TURN_BYTES_MAX
    }

    /// The mailbox takes more, or will take nothing any more.
    pub(crate) fn open(&self) {
        let mut state = lock(&self.state);
        state.open = true;
        let resting = std::mem::take(&mut state.resting);
        drop(state);
        self.opened.notify_all();
        for waker in resting {
            waker.wake();
        }
    }

    /// Keeps this thread until the gate is open, its actor is doomed, or patience is over. Whether it is open.
    pub(crate) fn hold(self: &Arc<Self>, cell: Option<&Cell>) -> bool {
        if let Some(cell) = cell {
            cell.rest_on(self.clone()); // whoever kills it finds it here
            cell.queue().set_stuck(true);
        }
        idle::send_all();
        let state = lock(&self.state);
        let closed = |state: &mut State| !state.open && !cell.is_some_and(Cell::is_doomed);
        let held = self.opened.wait_timeout_while(state, PATIENCE, closed);
        let open = held.unwrap_or_else(PoisonError::into_inner).0.open;
        if let Some(cell) = cell {
            cell.queue().set_stuck(false);
        }
        open
    }

    /// Waits until it is open.
    pub(crate) async fn opened(&self) {
        poll_fn(|cx| match self.is_full(cx.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
    }
}

impl ArcWake for Gate {
    fn wake_by_ref(gate: &Arc<Gate>) {
        gate.open();
    }
}

impl Rest for Gate {
    fn is_full(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        if !state.open && !state.resting.iter().any(|resting| resting.will_wake(waker)) {
            state.resting.push(waker.clone());
        }
        !state.open
    }

    fn nudge(&self) {
        drop(lock(&self.state)); // it looks whether it is doomed under this lock
        self.opened.notify_all();
    }
}

/// How long anybody waits for a mailbox that takes nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// More than this in one turn, to a mailbox that has enough, holds the thread.
const TURN_BYTES_MAX: usize = 1 << 20;
