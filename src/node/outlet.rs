//! An outlet: the way of lines to one leader, and who waits until that has shown some.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::cell::{Cell, Rest, lock};
use super::idle;
use crate::core::credit::{Credit, Grant};

/// What this node prints over one connection, or on itself.
#[derive(Default)]
pub(crate) struct Outlet {
    state: Mutex<State>,
    /// Something was shown, or nothing ever will be.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    credit: Credit,
    /// How often something was shown.
    shown: u64,
    /// Actors that rest until enough is shown.
    resting: Vec<Waker>,
    closed: bool,
}

impl Outlet {
    /// Whether this actor may print a line. It rests after its turn if much is under way; if far too much
    /// is, its thread waits here until there is room, the leader is lost, the actor is killed, or nothing
    /// was shown for [`SAY_MAX`].
    pub(crate) fn admits(self: &Arc<Self>, cell: &Cell, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let mut grant = state.ask(bytes);
        if grant == Grant::Wait {
            drop(state);
            cell.rest_on(self.clone()); // whoever kills it finds it here
            cell.queue().set_stuck(true);
            (state, grant) = self.wait(cell, bytes);
            cell.queue().set_stuck(false);
        }
        let rest = state.credit.is_high();
        drop(state);
        if rest {
            cell.rest_on(self.clone());
        }
        grant == Grant::Print
    }

    /// Waits for leave to print, or for a reason why there is none.
    fn wait(&self, cell: &Cell, bytes: usize) -> (MutexGuard<'_, State>, Grant) {
        idle::send_all();
        let mut state = lock(&self.state);
        loop {
            if cell.is_doomed() {
                return (state, Grant::Lost); // not counted: it should not have come this far
            }
            let grant = state.ask(bytes);
            if grant != Grant::Wait {
                return (state, grant);
            }
            let before = state.shown;
            let waited = self.changed.wait_timeout(state, SAY_MAX);
            let (woken, late) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if late.timed_out() && state.shown == before {
                state.credit.give_up();
            }
        }
    }

    /// The leader has shown this much. Returns what is to be printed about lines that were lost.
    pub(crate) fn shown(
        &self,
        lines: usize,
        bytes: usize,
        of_lost: impl FnOnce(u64) -> String,
    ) -> Option<String> {
        let mut state = lock(&self.state);
        state.shown += 1;
        let text = state.credit.shown(lines, bytes).map(of_lost);
        if let Some(text) = &text {
            state.credit.count(text.len());
        }
        let low = state.credit.is_low();
        let resting = if low { std::mem::take(&mut state.resting) } else { Vec::new() };
        drop(state);
        self.changed.notify_all();
        for waker in resting {
            waker.wake();
        }
        text
    }

    /// The leader is lost: nobody waits for it any more.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let resting = std::mem::take(&mut state.resting);
        drop(state);
        self.changed.notify_all();
        for waker in resting {
            waker.wake();
        }
    }
}

impl State {
    fn ask(&mut self, bytes: usize) -> Grant {
        if self.closed { Grant::Lost } else { self.credit.ask(bytes) }
    }
}

impl Rest for Outlet {
    fn is_full(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        let full = !state.closed && !state.credit.is_low();
        if full && !state.resting.iter().any(|resting| resting.will_wake(waker)) {
            state.resting.push(waker.clone());
        }
        full
    }

    fn nudge(&self) {
        drop(lock(&self.state)); // it looks whether it is doomed under this lock
        self.changed.notify_all();
    }
}

/// How long a line waits while nothing at all is shown. Its thread does nothing else meanwhile.
const SAY_MAX: Duration = Duration::from_secs(5);
