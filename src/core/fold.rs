//! Folding: what a node says many times in a row is shown once, and then counted.

use std::collections::HashMap;

use crate::term::NodeName;

/// What each node said last, and how often since it was shown.
#[derive(Debug)]
pub(crate) struct Fold<T> {
    last: HashMap<NodeName, Last<T>>,
}

#[derive(Debug)]
struct Last<T> {
    said: T,
    repeated: u64,
    /// How often it had been said at the last tick.
    at_tick: u64,
    /// How many ticks its repetitions have waited for.
    ticks: u32,
}

/// `said` came so many times more than it was shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repeated<T> {
    pub(crate) node: NodeName,
    pub(crate) said: T,
    pub(crate) times: u64,
}

impl<T: Clone + PartialEq> Fold<T> {
    pub(crate) fn new() -> Fold<T> {
        Fold { last: HashMap::new() }
    }

    /// A node has said something: what is to be told of what it said before, and whether this is to be shown.
    pub(crate) fn on(&mut self, node: NodeName, said: &T) -> (Option<Repeated<T>>, bool) {
        match self.last.get_mut(&node) {
            Some(last) if last.said == *said => {
                last.repeated += 1;
                (None, false)
            }
            Some(last) => {
                let before = last.take(node);
                *last = Last::new(said);
                (before, true)
            }
            None => {
                // Nodes come and go; what they said last is not worth a memory that grows.
                if self.last.len() >= NODES_MAX {
                    self.last.retain(|_, last| last.repeated > 0);
                }
                self.last.insert(node, Last::new(said));
                (None, true)
            }
        }
    }

    /// A moment has passed: what has not been repeated since the last one is told, and what goes on and on.
    pub(crate) fn tick(&mut self) -> Vec<Repeated<T>> {
        let due = self.last.iter_mut().filter_map(|(node, last)| {
            let quiet = last.repeated == last.at_tick;
            last.at_tick = last.repeated;
            last.ticks += 1;
            (quiet || last.ticks >= TICKS_MAX).then(|| last.take(*node)).flatten()
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable_by_key(|repeated| repeated.node);
        due
    }

    /// All that is left to tell.
    pub(crate) fn end(&mut self) -> Vec<Repeated<T>> {
        let left = self.last.iter_mut().filter_map(|(node, last)| last.take(*node));
        let mut left: Vec<_> = left.collect();
        left.sort_unstable_by_key(|repeated| repeated.node);
        left
    }

    /// Something is left to tell.
    pub(crate) fn waits(&self) -> bool {
        self.last.values().any(|last| last.repeated > 0)
    }
}

impl<T: Clone> Last<T> {
    fn new(said: &T) -> Last<T> {
        Last { said: said.clone(), repeated: 0, at_tick: 0, ticks: 0 }
    }

    fn take(&mut self, node: NodeName) -> Option<Repeated<T>> {
        let times = std::mem::take(&mut self.repeated);
        (self.at_tick, self.ticks) = (0, 0);
        (times > 0).then(|| Repeated { node, said: self.said.clone(), times })
    }
}

/// So many ticks after they began repetitions are told though they go on.
const TICKS_MAX: u32 = 20;
/// With more nodes than this the words of those that repeat nothing are forgotten.
const NODES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_counted_and_told_before_the_next_other_line() {
        let mut fold = Fold::new();
        let [a, b] = nodes();
        assert_eq!(fold.on(a, &"x"), (None, true));
        for _ in 0..999 {
            assert_eq!(fold.on(a, &"x"), (None, false));
            assert_eq!(fold.on(b, &"x").0, None, "another node");
        }
        assert_eq!(fold.on(a, &"y"), (Some(Repeated { node: a, said: "x", times: 999 }), true));
        assert_eq!(fold.on(a, &"x"), (None, true));
        assert_eq!(fold.end(), [Repeated { node: b, said: "x", times: 998 }]);
        assert!(!fold.waits() && fold.end().is_empty());
    }

    #[test]
    fn repetitions_are_told_when_it_is_quiet_and_at_times_when_it_never_is() {
        let mut fold = Fold::new();
        let [a, _] = nodes();
        fold.on(a, &"x");
        assert!(!fold.waits() && fold.tick().is_empty());
        fold.on(a, &"x");
        assert!(fold.waits() && fold.tick().is_empty(), "it may go on");
        assert_eq!(fold.tick(), [Repeated { node: a, said: "x", times: 1 }]);
        assert_eq!(fold.on(a, &"x"), (None, false), "not shown again");
        let told = (0..100).map(|_| {
            fold.on(a, &"x");
            fold.tick().len()
        });
        assert_eq!(told.sum::<usize>(), 100 / TICKS_MAX as usize);
    }

    #[test]
    fn nodes_that_came_and_went_are_forgotten() {
        let mut fold = Fold::new();
        for number in 0..NODES_MAX * 3 {
            fold.on(format!("n{number}@h").parse().unwrap(), &"x");
        }
        assert!(fold.last.len() <= NODES_MAX);
    }

    fn nodes() -> [NodeName; 2] {
        ["a@h", "b@h"].map(|name| name.parse().unwrap())
    }
}
