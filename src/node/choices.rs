//! Choices: which node is next, for whoever asks. The master's threads choose by the pool's placement
//! itself, behind a lock that is held for less than a microsecond; other nodes by a replica of it where that
//! is as good, and else they ask.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::Node;
use super::cell::lock;
use crate::core::placement::Placement;
use crate::core::replica::Replica;
use crate::term::{NodeName, Table};
use crate::wire::Control;
use crate::wire::greeting::Part;

/// What a node chooses by.
#[derive(Debug)]
pub(crate) struct Choices {
    /// On the master only: on others it is empty.
    placement: Mutex<Placement>,
    /// On the master only: who asks so often that it gets tables.
    choosers: Mutex<HashMap<NodeName, Chooser>>,
    /// On other nodes.
    copy: Mutex<Copy>,
}

#[derive(Debug, Default)]
struct Copy {
    replica: Replica,
    /// How long the master takes to answer, in the mean; none before it has been asked.
    asking: Option<Duration>,
}

/// A node that asks which node is next.
#[derive(Debug, Default)]
struct Chooser {
    /// How often it has asked since.
    asked: u32,
    since: Duration,
    /// Until when it gets tables, and when it got the last one.
    until: Duration,
    sent: Option<Duration>,
    /// The number of its last choices that are counted.
    contains: u64,
}

impl Choices {
    pub(crate) fn new(seed: u64) -> Choices {
        Choices {
            placement: Mutex::new(Placement::new(seed)),
            choosers: Mutex::default(),
            copy: Mutex::default(),
        }
    }

    /// The pool's placement. Nothing else is locked while it is.
    pub(crate) fn placement(&self) -> MutexGuard<'_, Placement> {
        lock(&self.placement)
    }

    /// A chooser is gone.
    pub(crate) fn forget_chooser(&self, node: NodeName) {
        lock(&self.choosers).remove(&node);
    }

    /// The master is another one now, or none.
    pub(crate) fn forget_master(&self) {
        *lock(&self.copy) = Copy::default();
    }

    /// The master took so long to answer which node is next.
    pub(crate) fn asked(&self, took: Duration) {
        let mut copy = lock(&self.copy);
        copy.asking = Some(copy.asking.map_or(took, |mean| (mean * 7 + took) / 8));
    }
}

impl Node {
    /// The node that is next, if that can be said here and now. Counts as one use of it.
    pub(crate) fn choose(&self) -> Option<NodeName> {
        if self.is_stopping() {
            return None;
        }
        let now = self.now();
        if self.config.part == Part::Master {
            return self.choices().placement().place(now);
        }
        let mut copy = lock(&self.choices().copy);
        let asking = copy.asking?;
        if copy.replica.is_good_enough(now, asking) { copy.replica.place(now) } else { None }
    }

    /// Takes one use of a node back; false if only the master can do that.
    pub(crate) fn unchoose(&self, node: NodeName) -> bool {
        if self.config.part == Part::Master {
            self.choices().placement().cancel(node);
            return true;
        }
        lock(&self.choices().copy).replica.cancel(node)
    }

    /// On the master: another node asks which one is next.
    pub(crate) fn choose_for(&self, asker: NodeName) -> Option<NodeName> {
        let now = self.now();
        let mut choosers = lock(&self.choices().choosers);
        let chooser = choosers.entry(asker).or_default();
        if now >= chooser.since + OFTEN_WITHIN {
            (chooser.since, chooser.asked) = (now, 0);
        }
        chooser.asked += 1;
        if chooser.asked >= OFTEN {
            chooser.until = now + TABLES_FOR;
        }
        drop(choosers);
        self.choices().placement().place(now)
    }

    /// On the master: another node has chosen these, so often.
    pub(crate) fn chosen_elsewhere(&self, by: NodeName, number: u64, counts: &[(NodeName, u32)]) {
        let now = self.now();
        let mut choosers = lock(&self.choices().choosers);
        let chooser = choosers.entry(by).or_default();
        chooser.until = now + TABLES_FOR;
        // Both at once: a table would else contain choices that it does not say it does.
        let mut placement = self.choices().placement();
        chooser.contains = number;
        for (node, count) in counts {
            placement.placed_elsewhere(*node, *count, now);
        }
    }

    /// On the master: sends tables to those who choose by them.
    pub(crate) fn send_tables(&self) {
        let now = self.now();
        let mut choosers = lock(&self.choices().choosers);
        choosers.retain(|_, chooser| now < chooser.until.max(chooser.since) + TABLES_FOR);
        let count = choosers.values().filter(|chooser| now < chooser.until).count();
        if count == 0 {
            return;
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let mut tables = Vec::new();
        for (node, chooser) in choosers.iter_mut().filter(|(_, chooser)| now < chooser.until) {
            if chooser.sent.is_none_or(|sent| now >= sent + TABLE_EVERY) {
                chooser.sent = Some(now);
                let table = self.choices().placement().table(count, chooser.contains, now);
                tables.push((*node, table));
            }
        }
        drop(choosers);
        for (node, table) in tables {
            if let Some(link) = self.peers().get(node) {
                link.push_urgent(&Control::Table(table));
            }
        }
    }

    /// The master has sent its table.
    pub(crate) fn on_table(&self, table: &Table) {
        let now = self.now();
        let shift = usize::try_from(self.incarnation.0).unwrap_or_default();
        lock(&self.choices().copy).replica.adopt(table, shift, now);
    }

    /// What the master has not been told of the choices made here.
    pub(crate) fn untold_choices(&self) -> Option<Control> {
        let (number, counts) = lock(&self.choices().copy).replica.tell()?;
        Some(Control::Chosen { number, counts })
    }
}

/// Who asks so many times within so much time gets tables: less often, asking is cheaper.
const OFTEN: u32 = 16;
const OFTEN_WITHIN: Duration = Duration::from_millis(100);

/// For how long, after it has asked as often or chosen.
const TABLES_FOR: Duration = Duration::from_secs(1);

/// Between two tables for one node, at least.
const TABLE_EVERY: Duration = Duration::from_millis(20);
