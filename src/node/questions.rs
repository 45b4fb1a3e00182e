//! Open questions and timers: every wait ends by its deadline.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use slog::debug;

use super::answer::Return;
use super::cell::lock;
use super::link::Link;
use super::role::RoleEvent;
use super::{Node, Outcome, Waiter};
use crate::core::calls::Calls;
use crate::term::{ExitReason, NodeName};
use crate::wire::{Control, Query, Signal};

/// The open questions of a node. Each thread opens its own in one of several shards, so that those who ask do not
/// wait for each other; the last digits of a question's number say in which.
pub(super) struct Questions([Shard; SHARDS as usize]);

/// Alone on its lines of the cache.
#[repr(align(128))]
struct Shard(Mutex<Calls<Waiter>>);

impl Questions {
    pub(super) fn new() -> Questions {
        Questions(std::array::from_fn(|_| Shard(Mutex::new(Calls::new()))))
    }

    /// Opens one in this thread's shard. Hands the waiter back if nothing can be asked any more, and says whether its deadline
    /// may be the earliest.
    fn open(
        &self,
        over: Option<u64>,
        deadline: Duration,
        waiter: Waiter,
    ) -> (u64, Option<Waiter>, bool) {
        let shard = own_shard();
        let mut calls = lock(&self.0[shard as usize].0);
        let before = calls.first_note();
        let (number, refused) = calls.open(over, deadline, waiter);
        let sooner = before.is_none_or(|before| deadline < before);
        (number * SHARDS + shard, refused, sooner)
    }

    /// The shard of this question, and its number there.
    fn of(&self, question: u64) -> (MutexGuard<'_, Calls<Waiter>>, u64) {
        (lock(&self.0[(question % SHARDS) as usize].0), question / SHARDS)
    }

    fn close(&self, question: u64) -> Option<Waiter> {
        let (mut calls, number) = self.of(question);
        calls.close(number)
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.0.iter().filter_map(|shard| lock(&shard.0).next_deadline()).min()
    }

    /// What `take` takes out of each.
    fn all(&self, mut take: impl FnMut(&mut Calls<Waiter>) -> Vec<Waiter>) -> Vec<Waiter> {
        self.0.iter().flat_map(|shard| take(&mut lock(&shard.0))).collect()
    }

    /// Those that went over a connection that is lost.
    pub(super) fn lost(&self, over: u64) -> Vec<Waiter> {
        self.all(|calls| calls.lost(over))
    }

    /// All: the node ends.
    pub(super) fn close_all(&self) -> Vec<Waiter> {
        self.all(Calls::close_all)
    }
}

/// The shard in which this thread opens its questions.
fn own_shard() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static OWN: Cell<Option<u64>> = const { Cell::new(None) };
    }
    OWN.get().unwrap_or_else(|| {
        let own = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
        OWN.set(Some(own));
        own
    })
}

const SHARDS: u64 = 16;

impl Node {
    /// Notes a question that goes over `link` (none: to this node itself), and who waits.
    pub(crate) fn open_question(
        &self,
        link: Option<&Link>,
        within: Duration,
        waiter: Waiter,
    ) -> u64 {
        let deadline = self.deadline_in(within);
        let (question, refused, sooner) =
            self.questions.open(link.map(|link| link.id), deadline, waiter);
        if let Some(waiter) = refused {
            waiter.hear(Outcome::Lost);
        } else if sooner {
            self.deadlines.notify_one();
        }
        question
    }

    pub(crate) fn close_question(self: &Arc<Self>, question: u64, outcome: Outcome) {
        match self.questions.close(question) {
            Some(waiter) => waiter.hear(outcome),
            None => self.orphaned(outcome),
        }
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn give_up_question(&self, question: u64) {
        let waiter = self.questions.close(question);
        drop(waiter); // out of the lock: it may hold the last of an actor
    }

    /// Has this waker woken when the question is over; false if it is.
    pub(crate) fn wake_instead(&self, question: u64, waker: &Waker) -> bool {
        let (mut calls, number) = self.questions.of(question);
        let Some(waiter) = calls.waiter(number) else { return false };
        let before = std::mem::replace(waiter, Waiter::Wake(waker.clone()));
        drop(calls);
        drop(before); // out of the lock
        true
    }

    /// Waits this long, from now, for the answer.
    pub(crate) fn set_deadline(&self, question: u64, within: Duration) {
        let deadline = self.deadline_in(within);
        let (mut calls, number) = self.questions.of(question);
        let sooner = calls.set_deadline(number, deadline);
        drop(calls);
        if sooner {
            self.deadlines.notify_one();
        }
    }

    /// The time so long from now, on the clock of deadlines.
    pub(crate) fn deadline_in(&self, within: Duration) -> Duration {
        self.clock.ahead(within)
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
            let next = self.questions.next_deadline();
            match next {
                Some(at) => {
                    let at = self.clock.instant(at);
                    let _ = tokio::time::timeout_at(at, self.deadlines.notified()).await;
                }
                None => self.deadlines.notified().await,
            }
            let now = self.now();
            let expired = self.questions.all(|calls| calls.expire(now));
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
