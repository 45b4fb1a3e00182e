//! Actors that are about to begin on an arbiter: it takes them in turn, another one that has nothing to do
//! may.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cell::lock;
use super::clock::Moment;
use super::stage::Birth;
use crate::core::balance::{is_overdue, share};

/// Those of one arbiter, in order.
#[derive(Default)]
pub(super) struct Nursery {
    waiting: Mutex<Waiting>,
    /// How many those are, for who has no time to wait for them.
    count: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    births: VecDeque<Birth>,
    /// Since when there has been somebody.
    since: Option<Moment>,
}

impl Nursery {
    /// Whether it is the first that waits.
    pub(super) fn put(&self, birth: Birth) -> bool {
        let mut waiting = lock(&self.waiting);
        waiting.births.push_back(birth);
        let first = waiting.since.is_none();
        if first {
            waiting.since = Some(Moment::now());
        }
        // See `Stages::somebody_sleeps`.
        self.count
            .store(waiting.births.len(), if first { Ordering::SeqCst } else { Ordering::Release });
        first
    }

    /// Who is next. None if another arbiter has taken them.
    pub(super) fn take(&self) -> Option<Birth> {
        let mut waiting = lock(&self.waiting);
        let next = waiting.births.pop_front();
        self.settle(&mut waiting);
        next
    }

    /// The part that another arbiter takes.
    pub(super) fn take_share(&self) -> VecDeque<Birth> {
        let mut waiting = lock(&self.waiting);
        let share = share(waiting.births.len());
        let others = waiting.births.split_off(share);
        let taken = std::mem::replace(&mut waiting.births, others);
        self.settle(&mut waiting);
        taken
    }

    fn settle(&self, waiting: &mut Waiting) {
        self.count.store(waiting.births.len(), Ordering::Release);
        if waiting.births.is_empty() {
            waiting.since = None;
            if waiting.births.capacity() > SPARE_MAX {
                waiting.births = VecDeque::new();
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0 // a plain load on most processors
    }

    /// Whether somebody has waited for so long that another arbiter is to take them.
    pub(super) fn is_overdue(&self) -> bool {
        !self.is_empty() && self.is_overdue_at(Moment::now())
    }

    /// The same, of whoever knows the time.
    pub(super) fn is_overdue_at(&self, now: Moment) -> bool {
        !self.is_empty()
            && lock(&self.waiting).since.is_some_and(|since| is_overdue(now.since(since)))
    }
}

/// Room that it keeps when it is empty.
const SPARE_MAX: usize = 4096;
