//! The spool: lines that wait to be shown, a queue for each node that they come from, one line of each in turn.

use std::collections::{HashMap, VecDeque};

use super::credit::{HARD_BYTES, HARD_LINES, SOFT_BYTES, SOFT_LINES};
use crate::term::NodeName;

/// Lines that wait.
#[derive(Debug)]
pub(crate) struct Spool<T> {
    queues: HashMap<NodeName, Queue<T>>,
    /// Whose turn it is: every node with a queue, once.
    turns: VecDeque<NodeName>,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<Item<T>>,
    lines: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Item<T> {
    Line { bytes: usize, line: T },
    Lost(u64),
}

/// What is shown next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    Line {
        bytes: usize,
        line: T,
    },
    /// At this place so many lines of this node are missing.
    Lost {
        from: NodeName,
        lines: u64,
    },
}

impl<T> Spool<T> {
    pub(crate) fn new() -> Spool<T> {
        Spool { queues: HashMap::new(), turns: VecDeque::new() }
    }

    /// Takes a line; gives it back if that node has far too much here already, and counts it as lost.
    ///
    /// OU-3: what waits of one node is bounded, whatever that node does.
    pub(crate) fn push(&mut self, from: NodeName, bytes: usize, line: T) -> Result<(), T> {
        let queue = self.queues.entry(from).or_insert_with(|| {
            self.turns.push_back(from);
            Queue { items: VecDeque::new(), lines: 0, bytes: 0 }
        });
        if queue.lines >= QUEUE_LINES_MAX || queue.bytes >= QUEUE_BYTES_MAX {
            match queue.items.back_mut() {
                Some(Item::Lost(lost)) => *lost += 1,
                Some(Item::Line { .. }) | None => queue.items.push_back(Item::Lost(1)),
            }
            return Err(line);
        }
        queue.lines += 1;
        queue.bytes += bytes;
        queue.items.push_back(Item::Line { bytes, line });
        Ok(())
    }

    /// Takes out what is to be shown next.
    ///
    /// OU-4: between two lines of one node each other node that has any gets its turn.
    pub(crate) fn next(&mut self) -> Option<Next<T>> {
        let from = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&from).expect("a node with a turn has a queue");
        let item = queue.items.pop_front().expect("a queue that is empty is removed");
        let next = match item {
            Item::Line { bytes, line } => {
                queue.lines -= 1;
                queue.bytes -= bytes;
                Next::Line { bytes, line }
            }
            Item::Lost(lines) => Next::Lost { from, lines },
        };
        match queue.items.is_empty() {
            true => drop(self.queues.remove(&from)),
            false => self.turns.push_back(from),
        }
        Some(next)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// So much of this node waits that its pipe is not to be read.
    pub(crate) fn is_high(&self, from: NodeName) -> bool {
        self.queues
            .get(&from)
            .is_some_and(|queue| queue.lines >= SOFT_LINES || queue.bytes >= SOFT_BYTES)
    }

    /// So little that it may be read on.
    pub(crate) fn is_low(&self, from: NodeName) -> bool {
        self.queues
            .get(&from)
            .is_none_or(|queue| queue.lines <= SOFT_LINES / 2 && queue.bytes <= SOFT_BYTES / 2)
    }
}

/// What waits of one node, at most: what it may print on credit, what its pipe may bring, and as much again
/// for the credit of a connection that was lost meanwhile.
const QUEUE_LINES_MAX: usize = HARD_LINES * 2;
const QUEUE_BYTES_MAX: usize = HARD_BYTES * 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::credit::{Credit, Grant, Tally};

    #[test]
    fn a_flood_of_one_node_delays_no_line_of_another() {
        let mut spool = Spool::new();
        let [flood, quiet] = ["flood@h", "quiet@h"].map(|name| name.parse().unwrap());
        for line in 0..5_000 {
            spool.push(flood, 1, line).unwrap();
        }
        assert_eq!(line(&mut spool), Some(0));
        spool.push(quiet, 1, -1).unwrap();
        assert_eq!([line(&mut spool), line(&mut spool)], [Some(1), Some(-1)], "OU-4");
        let rest: Vec<i32> = std::iter::from_fn(|| line(&mut spool)).collect();
        assert_eq!(rest, (2..5_000).collect::<Vec<_>>());
        assert!(spool.is_empty());
    }

    #[test]
    fn what_is_too_much_is_counted_at_its_place() {
        let mut spool = Spool::new();
        let from: NodeName = "rude@h".parse().unwrap();
        let taken = (0..20_000).filter(|&line| spool.push(from, 1, line).is_ok()).count();
        assert_eq!(taken, QUEUE_LINES_MAX, "OU-3");
        assert_eq!(line(&mut spool), Some(0));
        spool.push(from, 1, 20_000).unwrap();
        for expected in 1..QUEUE_LINES_MAX {
            assert_eq!(line(&mut spool), Some(expected));
        }
        let lost = (20_000 - QUEUE_LINES_MAX) as u64;
        assert_eq!(spool.next(), Some(Next::Lost { from, lines: lost }));
        assert_eq!(line(&mut spool), Some(20_000));
        assert_eq!(spool.next(), None);
    }

    fn line<T>(spool: &mut Spool<T>) -> Option<T> {
        match spool.next()? {
            Next::Line { line, .. } => Some(line),
            Next::Lost { .. } => panic!("something was lost"),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// This node's actors print as many lines of this length as they may.
        Print(usize, usize, usize),
        /// Its pipe brings a line, if it is read.
        Pipe(usize, usize),
        Show(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3_usize, 0..9_000_usize, prop_oneof![0..200_usize, Just(60_000), Just(256 << 10)])
                .prop_map(|(of, lines, bytes)| Step::Print(of, lines, bytes)),
            (0..3_usize, 0..70_000_usize).prop_map(|(of, bytes)| Step::Pipe(of, bytes)),
            (0..10_000_usize).prop_map(Step::Show),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn who_keeps_to_its_credit_loses_nothing(steps in prop::collection::vec(step(), 1..30)) {
            let nodes = ["a@h", "b@h", "c@h"].map(|name| name.parse::<NodeName>().unwrap());
            let mut credits: [Credit; 3] = Default::default();
            let mut tallies: [Tally; 3] = Default::default();
            let (mut sent, mut seen) = ([0; 3], [0; 3]);
            let mut spool = Spool::new();
            let mut show = |spool: &mut Spool<_>, credits: &mut [Credit; 3]| {
                let Some(next) = spool.next() else { return false };
                let Next::Line { bytes, line: (of, number, on_credit) } = next else {
                    panic!("OU-1, OU-3: lost");
                };
                let of: usize = of;
                assert_eq!(number, seen[of], "in order");
                seen[of] += 1;
                if on_credit && let Some((lines, bytes)) = tallies[of].count(bytes) {
                    assert_eq!(credits[of].shown(lines, bytes), None, "nothing is lost");
                }
                true
            };
            for step in steps {
                match step {
                    Step::Print(of, lines, bytes) => {
                        for _ in 0..lines {
                            if credits[of].ask(bytes) != Grant::Print {
                                break;
                            }
                            prop_assert!(spool.push(nodes[of], bytes, (of, sent[of], true)).is_ok());
                            sent[of] += 1;
                        }
                    }
                    Step::Pipe(of, bytes) => {
                        if !spool.is_high(nodes[of]) {
                            prop_assert!(spool.push(nodes[of], bytes, (of, sent[of], false)).is_ok());
                            sent[of] += 1;
                        }
                    }
                    Step::Show(lines) => {
                        for _ in 0..lines {
                            show(&mut spool, &mut credits);
                        }
                    }
                }
            }
            while show(&mut spool, &mut credits) {}
            prop_assert_eq!(seen, sent);
            prop_assert!(credits.iter().all(Credit::is_low), "OU-2");
        }
    }
}
