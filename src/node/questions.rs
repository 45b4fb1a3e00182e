//! Open questions and timers: every wait ends by its deadline.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use slog::debug;

use super::answer::Return;
use super::cell::lock;
use super::link::Link;
use super::role::RoleEvent;
use super::{Node, Outcome, Waiter};
use crate::term::{ExitReason, NodeName};
use crate::wire::{Control, Query, Signal};

impl Node {
    /// Notes a question that goes over `link` (none: to this node itself), and who waits.
    pub(crate) fn open_question(
        &self,
        link: Option<&Link>,
        within: Duration,
        waiter: Waiter,
    ) -> u64 {
        let mut calls = lock(&self.calls);
        let before = calls.first_note();
        let deadline = self.now().saturating_add(within);
        let (question, refused) = calls.open(link.map(|link| link.id), deadline, waiter);
        drop(calls);
        if let Some(waiter) = refused {
            waiter.hear(Outcome::Lost);
        } else if before.is_none_or(|before| deadline < before) {
            self.deadlines.notify_one();
        }
        question
    }

    pub(crate) fn close_question(self: &Arc<Self>, question: u64, outcome: Outcome) {
        let waiter = lock(&self.calls).close(question);
        match waiter {
            Some(waiter) => waiter.hear(outcome),
            None => self.orphaned(outcome),
        }
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn give_up_question(&self, question: u64) {
        let waiter = lock(&self.calls).close(question);
        drop(waiter); // out of the lock: it may hold the last of an actor
    }

    /// Has this waker woken when the question is over; false if it is.
    pub(crate) fn wake_instead(&self, question: u64, waker: &Waker) -> bool {
        let mut calls = lock(&self.calls);
        let Some(waiter) = calls.waiter(question) else { return false };
        let before = std::mem::replace(waiter, Waiter::Wake(waker.clone()));
        drop(calls);
        drop(before); // out of the lock
        true
    }

    /// Waits this long, from now, for the answer.
    pub(crate) fn set_deadline(&self, question: u64, within: Duration) {
        let deadline = self.now().saturating_add(within);
        let sooner = lock(&self.calls).set_deadline(question, deadline);
        if sooner {
            self.deadlines.notify_one();
        }
    }

    /// An answer that nobody waits for any more (G6).
    fn orphaned(self: &Arc<Self>, outcome: Outcome) {
        debug!(self.log, "late answer dropped"; "answer" => ?outcome);
        if let Outcome::Spawned(pid) = outcome {
            // Its spawner was told that the spawn timed out: nothing is left running unseen.
            let from = self.own_pid();
            self.signal(from, pid, Signal::Exit { from, reason: ExitReason::Kill });
        }
    }

    pub(super) async fn watch_deadlines(self: Arc<Self>) {
        loop {
            let next = lock(&self.calls).next_deadline();
            match next {
                Some(at) => {
                    let at = self.clock.instant(at);
                    let _ = tokio::time::timeout_at(at, self.deadlines.notified()).await;
                }
                None => self.deadlines.notified().await,
            }
            let expired = lock(&self.calls).expire(self.now());
            for waiter in expired {
                waiter.hear(Outcome::TimedOut);
            }
        }
    }

    /// Puts a question about the pool to the master, or to another node.
    pub(crate) async fn query(
        self: &Arc<Self>,
        node: NodeName,
        query: Query,
        within: Duration,
    ) -> Outcome {
        let (waiter, told) = Waiter::pair();
        if node == self.name {
            let question = self.open_question(None, within, waiter);
            self.role(RoleEvent::Asked { query, to: Return { link: None, question } });
        } else {
            let Ok(link) = self.link_to(node) else { return Outcome::Lost };
            let question = self.open_question(Some(&link), within, waiter);
            if link.push_control(&Control::Ask { question, query }).is_err() {
                self.close_question(question, Outcome::Lost);
            }
        }
        told.await.unwrap_or(Outcome::Lost)
    }

    /// Does something on the IO thread after this long, unless the timer is given up as a question is.
    pub(crate) fn in_time(&self, within: Duration, act: impl FnOnce() + Send + 'static) -> u64 {
        let waiter = Waiter::act(move |outcome| {
            if let Outcome::TimedOut = outcome {
                act();
            }
        });
        self.open_question(None, within, waiter)
    }

    /// Waits, on whatever runtime the caller is.
    pub(crate) async fn sleep(&self, within: Duration) {
        let (waiter, told) = Waiter::pair();
        let question = self.open_question(None, within, waiter);
        let _open = OpenQuestion { node: self, question };
        let _ = told.await;
    }
}

/// Given up when it is dropped.
struct OpenQuestion<'a> {
    node: &'a Node,
    question: u64,
}

impl Drop for OpenQuestion<'_> {
    fn drop(&mut self) {
        self.node.give_up_question(self.question);
    }
}
