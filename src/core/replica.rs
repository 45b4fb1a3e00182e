//! Replica: a slave's copy of what the master expects of each node's load, to choose nodes by.

use std::collections::VecDeque;
use std::time::Duration;

use super::jobs::Drain;
use super::ranking::Ranking;
use crate::term::{Figure, NodeName, Table};

/// The copy, and the choices made by it.
///
/// PL-7: the copy chooses where asking the master takes longer than it saves, see
/// [`Replica::is_good_enough`]. Else, and when the copy is older than [`OLD`], the master is asked.
///
/// PL-8: a choice counts here at once, and at the master when it has heard of it: it is told each time
/// that the load is looked at. What its table does not contain yet is added to it.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    nodes: Vec<Copied>,
    still: Ranking,
    draining: Ranking,
    drain: Drain,
    /// When the table was heard.
    heard: Option<Duration>,
    /// The number of the last choices that were told, and those that no table contains yet.
    told: u64,
    on_the_way: VecDeque<(u64, Vec<(NodeName, u32)>)>,
    turn: u64,
    any_untold: bool,
    /// How many jobs a choice stands for: those of all who choose by such a copy, as all go by the same.
    weight: f64,
}

#[derive(Debug)]
struct Copied {
    node: NodeName,
    cores: u32,
    /// The load, or, if it is counted down, the moment at which it will be one a core.
    load: f64,
    steady: bool,
    turn: u64,
    /// Choices that the master has not been told.
    untold: u32,
}

impl Replica {
    /// Takes over what the master expects. Each node goes round the equally loaded in an order of its
    /// own, which begins at `shift`: otherwise all would choose the same.
    pub(crate) fn adopt(&mut self, table: &Table, shift: usize, now: Duration) {
        let same = self.nodes.len() == table.nodes.len()
            && self.nodes.iter().zip(&table.nodes).all(|(ours, theirs)| ours.node == theirs.node);
        if !same {
            self.begin_anew(&table.nodes, shift);
        }
        self.heard = Some(now);
        self.weight = f64::from(table.choosers.max(1));
        self.drain.advance(now);
        self.drain.set_job((table.job > 0.0).then_some(f64::from(table.job)));
        while self.on_the_way.front().is_some_and(|(number, _)| *number <= table.contains) {
            self.on_the_way.pop_front();
        }
        for place in 0..self.nodes.len() {
            let theirs = &table.nodes[place];
            let ours = &mut self.nodes[place];
            ours.cores = theirs.cores.max(1);
            ours.steady = theirs.steady || table.job <= 0.0;
            let jobs = f64::from(theirs.jobs) + f64::from(ours.untold) * self.weight;
            let load = jobs.max(0.0) / f64::from(ours.cores);
            self.set(place, load);
        }
        let on_the_way = std::mem::take(&mut self.on_the_way);
        for (node, count) in on_the_way.iter().flat_map(|(_, counts)| counts) {
            if let Some(place) = self.nodes.iter().position(|ours| ours.node == *node) {
                let jobs = f64::from(*count) * self.weight;
                self.add(place, jobs / f64::from(self.nodes[place].cores));
            }
        }
        self.on_the_way = on_the_way;
    }

    fn begin_anew(&mut self, figures: &[Figure], shift: usize) {
        let count = figures.len();
        let untold = |node| self.nodes.iter().find(|ours| ours.node == node).map(|o| o.untold);
        let copied = figures.iter().enumerate().map(|(at, figure)| Copied {
            node: figure.node,
            cores: figure.cores,
            load: 0.0,
            steady: true,
            turn: ((at + count - shift % count) % count) as u64,
            untold: untold(figure.node).unwrap_or_default(),
        });
        self.nodes = copied.collect();
        self.turn = count as u64;
        (self.still, self.draining) = (Ranking::of(count), Ranking::of(count));
    }

    /// Whether to choose by this copy rather than to ask the master, which takes `asking`.
    ///
    /// The master chooses better, and one of its choices takes as long as the question. By simulation
    /// a job that is placed by a copy takes longer by up to about a fifth of its length: so short jobs, and what
    /// is no job, are better placed by the copy.
    pub(crate) fn is_good_enough(&self, now: Duration, asking: Duration) -> bool {
        let is_new = |heard| now.saturating_sub(heard) <= OLD;
        let is_short = |job| job * COPY_LOSS < asking.as_secs_f64();
        self.heard.is_some_and(is_new) && self.drain.job().is_none_or(is_short)
    }

    /// Chooses a node and counts one use of it (P15).
    pub(crate) fn place(&mut self, now: Duration) -> Option<NodeName> {
        self.drain.advance(now);
        let still = self.still.first().map(|(place, _)| place);
        let draining = self.draining.first().map(|(place, _)| place);
        let key = |place: usize| (self.load_at(place), self.nodes[place].turn);
        let place = match (still, draining) {
            (Some(a), Some(b)) => {
                if key(a) <= key(b) {
                    a
                } else {
                    b
                }
            }
            (one, other) => one.or(other)?,
        };
        self.turn += 1;
        let chosen = &mut self.nodes[place];
        chosen.turn = self.turn;
        chosen.untold += 1;
        self.any_untold = true;
        let (node, more) = (chosen.node, self.weight / f64::from(chosen.cores));
        self.add(place, more);
        Some(node)
    }

    /// Takes one use of the node back that the master has not been told of; false if it has been.
    pub(crate) fn cancel(&mut self, node: NodeName) -> bool {
        let Some(place) = self.nodes.iter().position(|ours| ours.node == node) else {
            return false;
        };
        let ours = &mut self.nodes[place];
        if ours.untold == 0 {
            return false;
        }
        ours.untold -= 1;
        let less = -self.weight / f64::from(ours.cores);
        self.add(place, less);
        true
    }

    /// The choices that the master has not been told, with their number; none if there are none.
    pub(crate) fn tell(&mut self) -> Option<(u64, Vec<(NodeName, u32)>)> {
        if !std::mem::take(&mut self.any_untold) {
            return None;
        }
        let untold = self.nodes.iter_mut().filter(|ours| ours.untold > 0);
        let counts: Vec<(NodeName, u32)> =
            untold.map(|ours| (ours.node, std::mem::take(&mut ours.untold))).collect();
        self.told += 1;
        self.on_the_way.push_back((self.told, counts.clone()));
        Some((self.told, counts))
    }

    fn load_at(&self, place: usize) -> f64 {
        let ours = &self.nodes[place];
        if ours.steady { ours.load } else { self.drain.left(ours.load) }
    }

    fn set(&mut self, place: usize, load: f64) {
        let ours = &mut self.nodes[place];
        if ours.steady {
            ours.load = load;
            self.still.set(place, (load, ours.turn));
            self.draining.remove(place);
        } else {
            ours.load = self.drain.moment(load);
            self.draining.set(place, (ours.load, ours.turn));
            self.still.remove(place);
        }
    }

    fn add(&mut self, place: usize, more: f64) {
        self.set(place, (self.load_at(place) + more).max(0.0));
    }
}

/// Nothing is chosen by a copy that is older.
const OLD: Duration = Duration::from_millis(200);

/// The part of a job by which it may take longer if it is placed by a copy.
const COPY_LOSS: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_table_the_master_is_asked() {
        let mut replica = Replica::default();
        assert!(!replica.is_good_enough(ms(0), ms(1_000)));
        assert_eq!(replica.place(ms(0)), None);
        assert_eq!(replica.tell(), None);
    }

    #[test]
    fn the_least_loaded_is_chosen_and_each_choice_counts_at_once() {
        let mut replica = Replica::default();
        replica.adopt(&table(0.0, 0, &[3.0, 0.0, 1.0]), 0, ms(0));
        let chosen: Vec<_> = (0..4).map(|_| replica.place(ms(1)).unwrap()).collect();
        assert_eq!(chosen, [1, 2, 1, 2].map(node), "PL-8");
        assert_eq!(replica.tell(), Some((1, vec![(node(1), 2), (node(2), 2)])));
        assert_eq!(replica.tell(), None, "PL-8: once");
    }

    #[test]
    fn what_a_table_does_not_contain_yet_is_added_to_it() {
        let mut replica = Replica::default();
        replica.adopt(&table(0.0, 0, &[0.0, 1.0]), 0, ms(0));
        assert_eq!(replica.place(ms(1)), Some(node(0)));
        replica.tell().unwrap();
        replica.adopt(&table(0.0, 0, &[0.0, 0.5]), 0, ms(20));
        assert_eq!(replica.place(ms(21)), Some(node(1)), "PL-8: on its way");
        replica.adopt(&table(0.0, 1, &[0.0, 0.5]), 0, ms(40));
        assert_eq!(replica.place(ms(41)), Some(node(0)), "PL-8: contained");
    }

    #[test]
    fn those_equally_loaded_are_taken_in_turn_from_another_one_on_each_node() {
        for (shift, order) in [(0, [0, 1, 2, 0]), (1, [1, 2, 0, 1]), (5, [2, 0, 1, 2])] {
            let mut replica = Replica::default();
            replica.adopt(&table(0.0, 0, &[0.0; 3]), shift, ms(0));
            let chosen: Vec<_> = (0..4).map(|_| replica.place(ms(1)).unwrap()).collect();
            assert_eq!(chosen, order.map(node));
        }
    }

    #[test]
    fn a_choice_that_came_to_nothing_is_taken_back_here_or_at_the_master() {
        let mut replica = Replica::default();
        replica.adopt(&table(0.0, 0, &[0.0, 0.5]), 0, ms(0));
        assert_eq!(replica.place(ms(1)), Some(node(0)));
        assert!(replica.cancel(node(0)));
        assert_eq!(replica.place(ms(1)), Some(node(0)));
        replica.tell().unwrap();
        assert!(!replica.cancel(node(0)), "the master knows of it");
        assert!(!replica.cancel(node(7)), "a stranger");
    }

    #[test]
    fn the_copy_chooses_where_asking_is_not_worth_the_while() {
        let mut replica = Replica::default();
        let mut is_good = |job: f32, asking: u64, age: u64| {
            replica.adopt(&table(job, 0, &[0.0]), 0, ms(0));
            replica.is_good_enough(ms(age), Duration::from_micros(asking))
        };
        assert!(is_good(0.0, 100, 0), "PL-7: no jobs");
        assert!(!is_good(0.01, 100, 0), "PL-7: the master knows better");
        assert!(is_good(0.01, 3_000, 0), "PL-7: but is far away");
        assert!(is_good(0.0001, 100, 0), "PL-7: over before the master has answered");
        assert!(is_good(0.0, 100, 200) && !is_good(0.0, 100, 201), "PL-7: old");
    }

    fn table(job: f32, contains: u64, jobs: &[f32]) -> Table {
        let figure = |(at, &jobs)| Figure { node: node(at), cores: 1, jobs, steady: false };
        let nodes = jobs.iter().enumerate().map(figure).collect();
        Table { nodes, job, choosers: 1, contains }
    }

    fn node(at: usize) -> NodeName {
        NodeName::new(&format!("n{at}"), "h").unwrap()
    }

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }
}
