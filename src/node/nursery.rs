//! Actors that are about to begin on an arbiter: it takes them in turn, another one that has nothing to do
//! may.

use std::collections::VecDeque;
use std::iter;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

use crossbeam_deque::{Steal, Stealer, Worker};

use super::cell::lock;
use super::clock::Moment;
use super::stage::Birth;
use crate::core::balance::{is_overdue, share};

/// Those of one arbiter.
pub(super) struct Nursery {
    /// Whom the arbiter's own thread has put there, in order.
    own: Stealer<Birth>,
    /// Whom other threads have, and how many those are, for who has no time to wait for them.
    strangers: Mutex<VecDeque<Birth>>,
    count: AtomicUsize,
    /// Since when there has been somebody, in nanoseconds from when this was made. It is older than that at times: the next
    /// one to be the first says so only once it is there.
    since: AtomicU64,
    made: Moment,
}

/// The arbiter's own end.
pub(super) struct Cradle(Worker<Birth>);

/// Where a birth came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The arbiter's own thread: nobody has thought about where it is to begin.
    Own,
    Elsewhere,
}

impl Nursery {
    pub(super) fn new() -> (Nursery, Cradle) {
        let cradle = Worker::new_fifo();
        let nursery = Nursery {
            own: cradle.stealer(),
            strangers: Mutex::default(),
            count: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            made: Moment::now(),
        };
        (nursery, Cradle(cradle))
    }

    /// Whether it is the first that waits.
    pub(super) fn put(&self, birth: Birth) -> bool {
        let mut strangers = lock(&self.strangers);
        let first = strangers.is_empty() && self.own.is_empty();
        strangers.push_back(birth);
        self.count.store(strangers.len(), Ordering::Release);
        drop(strangers);
        self.note(first)
    }

    /// The same, on the arbiter's own thread.
    pub(super) fn put_own(&self, birth: Birth, cradle: &Cradle) -> bool {
        let first = self.is_empty_to(cradle);
        cradle.0.push(birth);
        self.note(first)
    }

    fn note(&self, first: bool) -> bool {
        if first {
            let since = Moment::now().since(self.made).as_nanos();
            self.since.store(since as u64, Ordering::Relaxed);
            fence(Ordering::SeqCst); // see `Stages::somebody_sleeps`
        }
        first
    }

    /// Who is next on the arbiter's own thread. None if others have taken them.
    pub(super) fn take(&self, cradle: &Cradle) -> Option<(Birth, Origin)> {
        if self.count.load(Ordering::Acquire) > 0
            && let Some(birth) = self.take_stranger()
        {
            return Some((birth, Origin::Elsewhere));
        }
        Some((cradle.0.pop()?, Origin::Own))
    }

    fn take_stranger(&self) -> Option<Birth> {
        let mut strangers = lock(&self.strangers);
        let next = strangers.pop_front();
        self.count.store(strangers.len(), Ordering::Release);
        if strangers.is_empty() && strangers.capacity() > SPARE_MAX {
            *strangers = VecDeque::new();
        }
        next
    }

    fn steal(&self) -> Option<Birth> {
        loop {
            match self.own.steal() {
                Steal::Success(birth) => return Some(birth),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// The part that another arbiter takes.
    pub(super) fn take_share(&self) -> impl Iterator<Item = Birth> {
        let strangers = share(self.count.load(Ordering::Acquire));
        let own = share(self.own.len());
        let strangers = iter::from_fn(|| self.take_stranger()).take(strangers);
        strangers.chain(iter::from_fn(|| self.steal()).take(own))
    }

    /// Everybody, when the arbiter is over.
    pub(super) fn take_all(&self) -> impl Iterator<Item = Birth> {
        iter::from_fn(|| self.take_stranger().or_else(|| self.steal()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.count.load(Ordering::SeqCst) == 0
    }

    /// The same, without the wait for other processors that makes sure.
    pub(super) fn is_empty_to(&self, cradle: &Cradle) -> bool {
        cradle.0.is_empty() && self.count.load(Ordering::Relaxed) == 0
    }

    /// Whether somebody has waited for so long that another arbiter is to take them.
    pub(super) fn is_overdue(&self) -> bool {
        !self.is_empty() && self.is_overdue_at(Moment::now())
    }

    /// The same, of whoever knows the time.
    pub(super) fn is_overdue_at(&self, now: Moment) -> bool {
        let waited = || {
            let since = Duration::from_nanos(self.since.load(Ordering::Relaxed));
            now.since(self.made).saturating_sub(since)
        };
        !self.is_empty() && is_overdue(waited())
    }
}

/// Room that it keeps when it is empty.
const SPARE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn each_begins_once_whoever_takes_it_and_the_last_ones_when_the_arbiter_is_over() {
        const OWN: usize = 100_000;
        const STRANGERS: usize = 10_000;
        let (nursery, cradle) = Nursery::new();
        assert!(nursery.is_empty());
        assert!(nursery.put_own(Birth::none(), &cradle), "the first");
        assert!(!nursery.put(Birth::none()) && !nursery.put_own(Birth::none(), &cradle));
        let (at_home, stolen) = thread::scope(|scope| {
            let thief = scope.spawn(|| {
                let taken = (0..STRANGERS).map(|_| {
                    nursery.put(Birth::none());
                    nursery.take_share().count()
                });
                taken.sum::<usize>()
            });
            let at_home = (0..OWN).filter(|number| {
                nursery.put_own(Birth::none(), &cradle);
                number % 3 > 0 && nursery.take(&cradle).is_some()
            });
            (at_home.count(), thief.join().expect("it takes them"))
        });
        let left = nursery.take_all().count();
        assert_eq!(at_home + stolen + left, OWN + STRANGERS + 3);
        assert!(nursery.is_empty() && nursery.is_empty_to(&cradle));
    }

    #[test]
    fn who_waits_is_overdue_after_a_while_and_whoever_comes_next_is_not() {
        let (nursery, cradle) = Nursery::new();
        assert!(!nursery.is_overdue(), "nobody waits");
        for _ in 0..2 {
            nursery.put_own(Birth::none(), &cradle);
            while !nursery.is_overdue() {
                thread::yield_now();
            }
            assert_eq!(nursery.take(&cradle).map(|(_, origin)| origin), Some(Origin::Own));
            assert!(!nursery.is_overdue());
            let before = Moment::now();
            nursery.put(Birth::none());
            assert!(!nursery.is_overdue_at(before), "it has not waited as long as the last one");
            assert_eq!(nursery.take(&cradle).map(|(_, origin)| origin), Some(Origin::Elsewhere));
        }
    }
}
