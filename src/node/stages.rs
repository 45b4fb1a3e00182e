//! All stages of a node, and how those help each other who have nothing to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::clock::Moment;
use super::load::RunQueue;
use super::stage::{Birth, Stage};

/// One an arbiter, and one more that nobody runs.
pub(crate) struct Stages {
    all: Vec<Stage>,
    /// How many sleep.
    asleep: AtomicUsize,
    /// One that sleeps was called, and has not come yet.
    called: AtomicBool,
}

impl Stages {
    pub(crate) fn new(arbiters: usize) -> Arc<Stages> {
        let mut all: Vec<Stage> = (0..arbiters).map(|at| Stage::new(at as u16)).collect();
        let nowhere = Stage::new(arbiters as u16);
        nowhere.close();
        all.push(nowhere);
        Arc::new(Stages { all, asleep: AtomicUsize::new(0), called: AtomicBool::new(false) })
    }

    pub(crate) fn at(&self, number: u16) -> &Stage {
        &self.all[usize::from(number)]
    }

    /// That of processes which belong to plain async code.
    pub(crate) fn nowhere(&self) -> &Stage {
        &self.all[self.arbiters().len()]
    }

    pub(crate) fn arbiters(&self) -> &[Stage] {
        &self.all[..self.all.len() - 1]
    }

    /// What each arbiter has to do.
    pub(crate) fn loads(&self) -> Vec<Arc<RunQueue>> {
        self.arbiters().iter().map(|stage| stage.load().clone()).collect()
    }

    /// The stage with the least to do, `turn` by turn among equals; one whose thread waits comes last.
    pub(crate) fn least_busy(&self, turn: usize) -> Option<&Stage> {
        let (before, after) = self.arbiters().split_at(turn % self.arbiters().len());
        let busy = |stage: &&Stage| {
            let load = stage.load();
            (load.is_stuck(), load.len() + load.running())
        };
        after.iter().chain(before).filter(|stage| !stage.is_closed()).min_by_key(busy)
    }

    /// Another stage than this one, in turn.
    pub(super) fn another(&self, than: &Stage, turn: usize) -> Option<&Stage> {
        let others = self.arbiters().len().checked_sub(1).filter(|others| *others > 0)?;
        let at = (usize::from(than.number()) + 1 + turn % others) % (others + 1);
        self.arbiters().get(at).filter(|other| !other.is_closed() && !other.load().is_stuck())
    }

    /// Whether whoever waits on another stage than this one is to begin on this one.
    pub(super) fn is_overdue_elsewhere(&self, than: &Stage) -> bool {
        self.others(than).any(|other| other.nursery().is_overdue())
    }

    /// Those whom this stage, which has nothing to do, takes from another one.
    pub(super) fn take_over(&self, to: &Stage, now: Moment) -> impl Iterator<Item = Birth> {
        let from = self.others(to).find(|other| other.nursery().is_overdue_at(now));
        from.into_iter().flat_map(|other| other.nursery().take_share())
    }

    fn others(&self, than: &Stage) -> impl Iterator<Item = &Stage> {
        let (before, after) = self.arbiters().split_at(usize::from(than.number()));
        after.iter().skip(1).chain(before)
    }

    /// Whether a stage has nothing to do and sleeps. Of two threads, one of which goes to sleep and then looks
    /// whether somebody waits, while the other lets somebody wait and then looks here, one sees the other.
    pub(super) fn somebody_sleeps(&self) -> bool {
        self.asleep.load(Ordering::SeqCst) > 0
    }

    pub(super) fn count_as_asleep(&self) {
        self.asleep.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn count_as_awake(&self) {
        self.asleep.fetch_sub(1, Ordering::SeqCst);
        self.called.store(false, Ordering::Release);
    }

    /// Whether anybody waits on another stage than this one.
    pub(super) fn somebody_waits_elsewhere(&self, than: &Stage) -> bool {
        self.others(than).any(|other| !other.nursery().is_empty())
    }

    /// Wakes one that sleeps, to take over who waits for too long on another.
    fn call_one(&self) {
        if !self.called.swap(true, Ordering::AcqRel) {
            // Whoever comes says so, perhaps at once.
            if !self.arbiters().iter().any(Stage::call) {
                self.called.store(false, Ordering::Release);
            }
        }
    }

    /// The same if one sleeps, and there is such on this stage.
    pub(super) fn call_if_overdue(&self, of: &Stage, now: Moment) {
        if self.somebody_sleeps() && of.nursery().is_overdue_at(now) {
            self.call_one();
        }
    }

    /// The same if there is such on any; for a thread that looks now and then.
    pub(crate) fn call_if_due(&self) {
        let is_due = |stage: &Stage| stage.nursery().is_overdue();
        if self.somebody_sleeps() && self.arbiters().iter().any(is_due) {
            self.call_one();
        }
    }
}
