//! Open questions and timers: every wait ends by its deadline.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use slog::debug;
use tokio::sync::Notify;

use super::answer::Return;
use super::cell::{lock, yield_now};
use super::link::Link;
use super::role::RoleEvent;
use super::{Node, Outcome, Waiter};
use crate::core::calls::Calls;
use crate::term::{ExitReason, NodeName};
use crate::wire::{Control, Query, Signal};

/// The open questions of a node. Each thread opens its own in one of several shards, so that those who ask do not
/// wait for each other; the last digits of a question's number say in which.
pub(super) struct Questions {
    shards: [Shard; SHARDS as usize],
    /// When whoever watches the deadlines looks at them next, in nanoseconds of the node's clock.
    looks_at: AtomicU64,
    /// There is an earlier one.
    sooner: Notify,
}

/// Alone on its lines of the cache.
#[repr(align(128))]
struct Shard(Mutex<Calls<Waiter>>);

impl Questions {
    pub(super) fn new() -> Questions {
        Questions {
            shards: std::array::from_fn(|_| Shard(Mutex::new(Calls::new()))),
            looks_at: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
        }
    }

    /// Opens one in this thread's shard. Hands the waiter back if nothing can be asked any more.
    fn open(&self, over: Option<u64>, deadline: Duration, waiter: Waiter) -> (u64, Option<Waiter>) {
        let shard = own_shard();
        let (number, refused) = lock(&self.shards[shard as usize].0).open(over, deadline, waiter);
        self.watch(deadline);
        (number * SHARDS + shard, refused)
    }

    fn set_deadline(&self, question: u64, deadline: Duration) {
        let (mut calls, number) = self.of(question);
        calls.set_deadline(number, deadline);
        drop(calls);
        self.watch(deadline);
    }

    /// One that has been put into its shard is not missed. Whoever asks again and again wakes nobody for that: all but
    /// the first deadline are later.
    fn watch(&self, deadline: Duration) {
        // What is not seen in its shard by `next_deadline` is put there after that, and sees what that has said before.
        if nanos(deadline) < self.looks_at.load(Ordering::Relaxed) {
            self.sooner.notify_one();
        }
    }

    /// The earliest deadline. Whoever has asked for it looks again then, or when there is an earlier one.
    fn next_deadline(&self) -> Option<Duration> {
        self.looks_at.store(u64::MAX, Ordering::Relaxed);
        let next = self.shards.iter().filter_map(|shard| lock(&shard.0).next_deadline()).min();
        self.looks_at.store(next.map_or(u64::MAX, nanos), Ordering::Relaxed);
        next
    }

    /// The shard of this question, and its number there.
    fn of(&self, question: u64) -> (MutexGuard<'_, Calls<Waiter>>, u64) {
        (lock(&self.shards[(question % SHARDS) as usize].0), question / SHARDS)
    }

    fn close(&self, question: u64) -> Option<Waiter> {
        let (mut calls, number) = self.of(question);
        calls.close(number)
    }

    /// Ends those of each shard that `find` finds there.
    fn end_all(
        &self,
        mut find: impl FnMut(&mut Calls<Waiter>) -> Vec<u64>,
        outcome: impl Fn() -> Outcome,
    ) {
        for shard in &self.shards {
            let mut calls = lock(&shard.0);
            let found = find(&mut calls);
            let ended =
                found.into_iter().filter_map(|number| end(&mut calls, number, outcome()).ok());
            let ended: Vec<Ended> = ended.collect();
            drop(calls);
            ended.into_iter().for_each(Ended::tell);
        }
    }

    /// Ends those that went over a connection that is lost.
    pub(super) fn lost(&self, over: u64) {
        self.end_all(|calls| calls.over(over), || Outcome::Lost);
    }

    /// All: the node ends.
    pub(super) fn close_all(&self) {
        self.end_all(Calls::close_all, || Outcome::Lost);
    }
}

/// A question that is over: whoever is to hear of it, and what, unless that is kept where they look. To be told out of
/// the lock.
struct Ended(Waiter, Option<Outcome>);

impl Ended {
    fn tell(self) {
        match self {
            Ended(waiter, Some(outcome)) => waiter.hear(outcome),
            Ended(waiter, None) => waiter.wake(),
        }
    }
}

/// Ends a question. Gives its end back if nobody waits for that any more.
fn end(calls: &mut Calls<Waiter>, number: u64, outcome: Outcome) -> Result<Ended, Outcome> {
    match calls.waiter(number) {
        None | Some(Waiter::Told(_)) => Err(outcome),
        Some(Waiter::Asks(_)) => {
            let waiter = calls.settle(number, Waiter::Told(outcome));
            Ok(Ended(waiter.unwrap_or(Waiter::Asks(None)), None))
        }
        Some(_) => match calls.close(number) {
            Some(waiter) => Ok(Ended(waiter, Some(outcome))),
            None => Err(outcome),
        },
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

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
        let (question, refused) = self.questions.open(link.map(|link| link.id), deadline, waiter);
        if let Some(waiter) = refused {
            waiter.hear(Outcome::Lost);
        }
        question
    }

    pub(crate) fn close_question(self: &Arc<Self>, question: u64, outcome: Outcome) {
        let (mut calls, number) = self.questions.of(question);
        let ended = end(&mut calls, number, outcome);
        drop(calls);
        match ended {
            Ok(ended) => ended.tell(),
            Err(outcome) => self.orphaned(outcome),
        }
    }

    /// How a question has ended whose waiter [asks](Waiter::Asks), which is closed then; if it has not, this waker is woken when it
    /// has. None: it could not be asked any more.
    pub(crate) fn poll_question(&self, question: u64, waker: &Waker) -> Poll<Option<Outcome>> {
        let (mut calls, number) = self.questions.of(question);
        let before = match calls.waiter(number) {
            Some(Waiter::Asks(before)) => {
                if before.as_ref().is_some_and(|before| before.will_wake(waker)) {
                    return Poll::Pending;
                }
                before.replace(waker.clone())
            }
            _ => match calls.close(number) {
                Some(Waiter::Told(outcome)) => return Poll::Ready(Some(outcome)),
                _ => return Poll::Ready(None),
            },
        };
        drop(calls);
        drop(before); // out of the lock
        Poll::Pending
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
        self.questions.set_deadline(question, self.deadline_in(within));
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
                    let _ = tokio::time::timeout_at(at, self.questions.sooner.notified()).await;
                }
                None => self.questions.sooner.notified().await,
            }
            let now = self.now();
            self.questions.end_all(|calls| calls.due(now), || Outcome::TimedOut);
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
        if within.is_zero() {
            return yield_now().await; // nobody is asked to watch that: Erlang's `after 0` costs a look
        }
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_question_fills_one_line_of_the_cache() {
        assert_eq!(Calls::<Waiter>::PLACE_BYTES, 64);
    }

    #[test]
    fn who_watches_the_deadlines_is_woken_by_earlier_ones_only() {
        let questions = Questions::new();
        let ask = |millis| {
            let deadline = Duration::from_millis(millis);
            questions.open(None, deadline, Waiter::act(|_| ())).0
        };
        let is_woken = || questions.sooner.notified().now_or_never().is_some();
        assert_eq!(questions.next_deadline(), None);
        let first = ask(50);
        assert!(is_woken());
        assert_eq!(questions.next_deadline(), Some(Duration::from_millis(50)));
        for millis in 50..100 {
            let later = ask(millis);
            drop(questions.close(later));
        }
        drop(questions.close(first));
        let other = ask(80);
        assert!(!is_woken(), "it looks at 50 anyway");
        questions.set_deadline(other, Duration::from_millis(40));
        assert!(is_woken());
        assert_eq!(questions.next_deadline(), Some(Duration::from_millis(40)));
        questions.set_deadline(other, Duration::from_millis(90));
        assert!(!is_woken());
        assert_eq!(questions.next_deadline(), Some(Duration::from_millis(90)));
    }
}
