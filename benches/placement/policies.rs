//! Who places the jobs: pspawn's own policy as it is, and what it is compared with.

use std::collections::VecDeque;

use super::simulation::{Dice, Hosts, Reports, seconds};
use crate::core::placement::Placement;
use crate::core::ranking::Ranking;
use crate::core::replica::Replica;
use crate::term::{Incarnation, LoadReport, NodeName, Table};

/// Chooses a node for each job.
pub(crate) trait Policy {
    fn place(&mut self, now: f64) -> usize;

    /// A node has reported.
    fn hear(&mut self, _node: usize, _report: LoadReport, _now: f64) {}

    /// So many jobs have ended there: for those who see the truth.
    fn know_ended(&mut self, _node: usize, _jobs: u32) {}
}

/// Which policy, and what its nodes report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Who {
    /// The truth at each instant, wherever it is.
    Oracle,
    /// The truth as it was one way over the network ago: nobody who is not at the nodes knows more.
    Distant,
    RoundRobin,
    Random,
    Otp,
    Ours,
    /// Ours, with reports at a fixed interval of 100 ms.
    OursSlow,
    /// Ours, by so many nodes that choose by copies, each for its own jobs.
    Copies(usize),
}

impl Who {
    /// `network` is the time of one way over it, in seconds.
    pub(crate) fn reports(self, network: f64) -> Reports {
        match self {
            Who::Oracle => Reports::Known(0.0),
            Who::Distant => Reports::Known(network),
            Who::RoundRobin | Who::Random => Reports::Never,
            Who::Otp => Reports::Otp,
            Who::Ours | Who::Copies(_) => Reports::Paced,
            Who::OursSlow => Reports::Every(0.1),
        }
    }

    pub(crate) fn policy(self, hosts: &Hosts, network: f64) -> Box<dyn Policy> {
        let count = hosts.0.len();
        match self {
            Who::Oracle | Who::Distant => Box::new(Truth::new(hosts)),
            Who::RoundRobin => Box::new(RoundRobin { turn: 0, count }),
            Who::Random => Box::new(Random { dice: Dice(3), count }),
            Who::Otp => Box::new(Otp { list: (0..count).map(|node| (0, node)).collect() }),
            Who::Ours | Who::OursSlow => Box::new(Ours::new(hosts)),
            Who::Copies(copies) => Box::new(Copies::new(hosts, copies, network)),
        }
    }
}

/// The policy of `src/core/placement.rs`.
struct Ours {
    placement: Placement,
    names: Vec<NodeName>,
}

impl Ours {
    fn new(hosts: &Hosts) -> Ours {
        let mut placement = Placement::new(42);
        let name = |at| NodeName::new(&format!("n{at}"), "h").expect("a name");
        let names: Vec<NodeName> = (0..hosts.0.len()).map(name).collect();
        for (name, (cores, _)) in names.iter().zip(&hosts.0) {
            placement.join(*name, Incarnation(1), *cores, None);
        }
        Ours { placement, names }
    }
}

impl Policy for Ours {
    fn place(&mut self, now: f64) -> usize {
        let chosen = self.placement.place(seconds(now)).expect("the pool is not empty");
        self.placement.members().place_of(chosen).expect("a choice is a member")
    }

    fn hear(&mut self, node: usize, report: LoadReport, now: f64) {
        self.placement.report(self.names[node], report, seconds(now));
    }
}

/// Nodes that choose by copies of the master's table, which come each 20 ms; after as much the master
/// hears of their choices. Both take the time of the network.
struct Copies {
    ours: Ours,
    replicas: Vec<Replica>,
    /// Of each the choices that the master has heard of.
    heard: Vec<u64>,
    mail: VecDeque<(f64, usize, Mail)>,
    network: f64,
    next_tables: f64,
    dice: Dice,
}

enum Mail {
    Table(Table),
    Chosen(u64, Vec<(NodeName, u32)>),
}

impl Copies {
    fn new(hosts: &Hosts, copies: usize, network: f64) -> Copies {
        Copies {
            ours: Ours::new(hosts),
            replicas: (0..copies).map(|_| Replica::default()).collect(),
            heard: vec![0; copies],
            mail: VecDeque::new(),
            network,
            next_tables: -1.0,
            dice: Dice(17),
        }
    }

    fn go_on_until(&mut self, now: f64) {
        loop {
            let mail = self.mail.front().map_or(f64::INFINITY, |(at, ..)| *at);
            if mail.min(self.next_tables) > now {
                return;
            }
            if mail <= self.next_tables {
                let (at, copy, mail) = self.mail.pop_front().expect("it was there");
                match mail {
                    Mail::Table(table) => {
                        let shift = copy * self.ours.names.len() / self.replicas.len();
                        self.replicas[copy].adopt(&table, shift, seconds(at));
                    }
                    Mail::Chosen(number, counts) => {
                        self.heard[copy] = number;
                        for (node, count) in counts {
                            self.ours.placement.placed_elsewhere(node, count, seconds(at));
                        }
                    }
                }
            } else {
                let at = self.next_tables;
                for copy in 0..self.replicas.len() {
                    let table = self.ours.placement.table(
                        self.replicas.len() as u32,
                        self.heard[copy],
                        seconds(at),
                    );
                    self.mail.push_back((at + self.network, copy, Mail::Table(table)));
                    if let Some((number, counts)) = self.replicas[copy].tell() {
                        self.mail.push_back((
                            at + self.network,
                            copy,
                            Mail::Chosen(number, counts),
                        ));
                    }
                }
                // While nothing happens nothing has to be told.
                let idle = mail.is_infinite() && now - at > 1.0;
                self.next_tables = if idle { now - 0.5 } else { at + 0.02 };
            }
        }
    }
}

impl Policy for Copies {
    fn place(&mut self, now: f64) -> usize {
        self.go_on_until(now);
        let copy = (self.dice.roll() % self.replicas.len() as u64) as usize;
        let chosen = self.replicas[copy].place(seconds(now)).expect("it has a table");
        self.ours.placement.members().place_of(chosen).expect("a choice is a member")
    }

    fn hear(&mut self, node: usize, report: LoadReport, now: f64) {
        self.go_on_until(now);
        self.ours.hear(node, report, now);
    }
}

/// The fewest jobs a core, by true counts; of equal ones the one whose turn is longest ago.
struct Truth {
    jobs: Vec<u32>,
    turns: Vec<u64>,
    cores: Vec<u32>,
    turn: u64,
    ranking: Ranking,
}

impl Truth {
    fn new(hosts: &Hosts) -> Truth {
        let count = hosts.0.len();
        let mut truth = Truth {
            jobs: vec![0; count],
            turns: vec![0; count],
            cores: hosts.0.iter().map(|(cores, _)| *cores).collect(),
            turn: 0,
            ranking: Ranking::of(count),
        };
        (0..count).for_each(|node| truth.rank(node));
        truth
    }

    fn rank(&mut self, node: usize) {
        let load = f64::from(self.jobs[node]) / f64::from(self.cores[node]);
        self.ranking.set(node, (load, self.turns[node]));
    }
}

impl Policy for Truth {
    fn place(&mut self, _: f64) -> usize {
        let (node, _) = self.ranking.first().expect("the pool is not empty");
        self.turn += 1;
        self.turns[node] = self.turn;
        self.jobs[node] += 1;
        self.rank(node);
        node
    }

    fn know_ended(&mut self, node: usize, jobs: u32) {
        self.jobs[node] -= jobs;
        self.rank(node);
    }
}

struct RoundRobin {
    turn: usize,
    count: usize,
}

impl Policy for RoundRobin {
    fn place(&mut self, _: f64) -> usize {
        self.turn = (self.turn + 1) % self.count;
        self.turn
    }
}

struct Random {
    dice: Dice,
    count: usize,
}

impl Policy for Random {
    fn place(&mut self, _: f64) -> usize {
        (self.dice.roll() % self.count as u64) as usize
    }
}

/// `pool` as stdlib 4.2 has it. The list is in order of load only where somebody put it so: a node
/// that is chosen goes to the end, with one more; one that reports is put before the first whose
/// number is not less, or, if its own entry comes first, behind those whose number is not greater.
struct Otp {
    list: VecDeque<(u32, usize)>,
}

impl Policy for Otp {
    fn place(&mut self, _: f64) -> usize {
        let (load, node) = self.list.pop_front().expect("the pool is not empty");
        self.list.push_back((load + 1, node));
        node
    }

    fn hear(&mut self, node: usize, report: LoadReport, _: f64) {
        let load = report.runnable;
        let first = |&(other, at): &(u32, usize)| at == node || load <= other;
        let at = self.list.iter().position(first).expect("it is in the list");
        if self.list[at].1 == node && load > self.list[at].0 {
            self.list.remove(at);
            let behind = self.list.iter().skip(at).position(|(other, _)| load < *other);
            self.list.insert(behind.map_or(self.list.len(), |behind| at + behind), (load, node));
        } else {
            let own = self.list.iter().position(|(_, at)| *at == node).expect("it is in the list");
            self.list.remove(own);
            self.list.insert(if own < at { at - 1 } else { at }, (load, node));
        }
    }
}
