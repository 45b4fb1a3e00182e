//! Open questions: each ends with an answer, the loss of the node asked, or its deadline.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// The questions that this node has asked and that have no answer yet. `T` is who waits.
#[derive(Debug)]
pub(crate) struct Calls<T> {
    next: u64,
    open: HashMap<u64, Open<T>>,
    deadlines: BTreeSet<(Duration, u64)>,
    /// The node has ended: nobody would watch a deadline.
    closed: bool,
}

#[derive(Debug)]
struct Open<T> {
    waiter: T,
    /// Which connection the question went over; none for one to this node itself.
    over: Option<u64>,
    deadline: Duration,
}

impl<T> Calls<T> {
    pub(crate) fn new() -> Calls<T> {
        Calls { next: 0, open: HashMap::new(), deadlines: BTreeSet::new(), closed: false }
    }

    /// Notes a question; returns its number, which is not used again. Hands the waiter back if
    /// nothing can be asked any more.
    pub(crate) fn open(
        &mut self,
        over: Option<u64>,
        deadline: Duration,
        waiter: T,
    ) -> (u64, Option<T>) {
        self.next += 1;
        if self.closed {
            return (self.next, Some(waiter)); // CA-2: a question after the end is over at once
        }
        self.open.insert(self.next, Open { waiter, over, deadline });
        self.deadlines.insert((deadline, self.next));
        (self.next, None)
    }

    /// Takes the waiter of a question that is over. None: it was over already, a late answer (G6).
    pub(crate) fn close(&mut self, question: u64) -> Option<T> {
        let open = self.open.remove(&question)?;
        self.deadlines.remove(&(open.deadline, question));
        if self.open.is_empty() && self.open.capacity() > SPARE_MAX {
            self.open.shrink_to(SPARE_MAX);
        }
        Some(open.waiter)
    }

    /// Gives a question another deadline; whether it is now the earliest of all.
    pub(crate) fn set_deadline(&mut self, question: u64, deadline: Duration) -> bool {
        let Some(open) = self.open.get_mut(&question) else { return false };
        self.deadlines.remove(&(open.deadline, question));
        open.deadline = deadline;
        self.deadlines.insert((deadline, question));
        self.deadlines.first() == Some(&(deadline, question))
    }

    /// Takes the waiters whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some(&(deadline, question)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            expired.extend(self.close(question));
        }
        expired
    }

    /// Takes the waiters whose questions went over a connection that is lost.
    pub(crate) fn lost(&mut self, over: u64) -> Vec<T> {
        let mut lost: Vec<u64> =
            self.open.iter().filter(|(_, o)| o.over == Some(over)).map(|(q, _)| *q).collect();
        lost.sort_unstable();
        lost.into_iter().filter_map(|question| self.close(question)).collect()
    }

    /// Takes all waiters, and takes no more questions: the node ends.
    pub(crate) fn close_all(&mut self) -> Vec<T> {
        self.closed = true;
        self.deadlines.clear();
        self.open.drain().map(|(_, open)| open.waiter).collect()
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

/// Room that an empty table keeps.
const SPARE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[derive(Clone, Debug)]
    enum Act {
        Open { over: u64, after: u32 },
        Answer(u64),
        Defer(u64, u32),
        Pass(u32),
        Lose(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (0..3u64, 0..50u32).prop_map(|(over, after)| Act::Open { over, after }),
            2 => (0..40u64).prop_map(Act::Answer),
            1 => (0..40u64, 0..50u32).prop_map(|(question, after)| Act::Defer(question, after)),
            1 => (0..30u32).prop_map(Act::Pass),
            1 => (0..3u64).prop_map(Act::Lose),
        ]
    }

    proptest! {
        /// CA-1: every question ends exactly once, and none is open past its deadline.
        #[test]
        fn every_question_ends_exactly_once(acts in prop::collection::vec(act(), 0..100)) {
            let (mut calls, mut now, mut opened, mut ended) =
                (Calls::new(), Duration::ZERO, Vec::new(), Vec::new());
            for act in acts {
                match act {
                    Act::Open { over, after } => {
                        let deadline = now + MS * after;
                        let waiter = opened.len();
                        let (question, _) = calls.open(Some(over), deadline, waiter);
                        opened.push((question, deadline));
                    }
                    Act::Answer(question) => ended.extend(calls.close(question)),
                    Act::Defer(question, after) => {
                        calls.set_deadline(question, now + MS * after);
                    }
                    Act::Pass(ms) => {
                        now += MS * ms;
                        ended.extend(calls.expire(now));
                        prop_assert!(calls.next_deadline().is_none_or(|next| next > now));
                    }
                    Act::Lose(over) => ended.extend(calls.lost(over)),
                }
            }
            ended.extend(calls.close_all());
            let late = calls.open(None, now, opened.len());
            prop_assert_eq!(late.1, Some(opened.len()), "CA-2");
            ended.sort_unstable();
            let all: Vec<usize> = (0..opened.len()).collect();
            prop_assert_eq!(ended, all);
        }
    }
}
