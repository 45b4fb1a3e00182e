//! How things stand between the steps of a scenario that is being written: who lives, who is tied to whom.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Death, How, Node, Op, Spawn, Step, Target};

/// How things stand.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) nodes: usize,
    lost: BTreeSet<Node>,
    processes: BTreeMap<String, Process>,
    /// Each link once, the lesser name first.
    links: BTreeSet<(String, String)>,
    /// By reference: who watches, and whom, as far as it is somebody who lives.
    monitors: BTreeMap<String, (String, String)>,
    /// Every reference that a step has named.
    references: Vec<String>,
    names: BTreeMap<(Node, String), String>,
    /// Who has asked to hear of which node's loss, also if that was taken back.
    node_watchers: BTreeSet<(String, Node)>,
}

#[derive(Clone, Debug)]
struct Process {
    node: Node,
    trap: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    Dead,
    /// Its spawn was skipped.
    NeverWas,
}

impl World {
    /// Nobody yet.
    pub(super) fn new(nodes: usize) -> World {
        World {
            nodes,
            lost: BTreeSet::new(),
            processes: BTreeMap::new(),
            links: BTreeSet::new(),
            monitors: BTreeMap::new(),
            references: Vec::new(),
            names: BTreeMap::new(),
            node_watchers: BTreeSet::new(),
        }
    }

    /// The nodes that are up and that this process has asked about; none: that anybody has.
    pub(super) fn watched_nodes(&self, by: Option<&str>) -> Vec<Node> {
        let watchers = self.node_watchers.iter();
        let asked = watchers.filter(|(who, _)| by.is_none_or(|by| by == who));
        let nodes: BTreeSet<Node> = asked.map(|(_, node)| *node).collect();
        nodes.into_iter().filter(|node| !self.is_lost(*node)).collect()
    }

    /// Carries a step out.
    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Spawn(spawn) => self.born(spawn, spawn.node, State::Alive),
            Step::KillNode { node } => {
                if self.lost.insert(*node) {
                    let gone = self.living_on(*node);
                    let tied: Vec<String> =
                        gone.iter().flat_map(|name| self.partners(name)).collect();
                    gone.iter().for_each(|name| self.bury(name));
                    tied.iter().for_each(|name| self.hit(name, "noconnection"));
                }
            }
            Step::Disconnect { a, b } => self.cut(*a, *b),
            Step::By { by, op } => match op {
                Op::Spawn(spawn, how) => self.spawn(by, spawn, how),
                Op::Act(action) => self.acts(by, std::slice::from_ref(action)),
                Op::Batch(actions) => self.acts(by, actions),
            },
        }
    }

    /// Carries some actions out, one after another, unless they are skipped.
    fn acts(&mut self, by: &str, actions: &[Action]) {
        for action in actions {
            let reference = match action {
                Action::Monitor { reference, .. } => reference,
                _ => continue,
            };
            self.references.push(reference.clone());
        }
        if actions.iter().filter_map(Action::about).any(|name| self.never_was(name)) {
            return;
        }
        for action in actions {
            if self.is_alive(by) {
                self.act(by, action);
            }
        }
    }

    /// Carries one action of a living process out.
    pub(super) fn act(&mut self, by: &str, action: &Action) {
        match action {
            Action::Link { to } if by == to => {}
            Action::Link { to } => match self.is_alive(to) {
                true => {
                    self.links.insert(ordered(by, to));
                }
                false => self.hit(by, "noproc"),
            },
            Action::Unlink { to } => {
                self.links.remove(&ordered(by, to));
            }
            Action::Monitor { to, reference } => {
                if let Some(watched) = self.holder(to)
                    && self.is_alive(&watched)
                    && watched != by
                {
                    self.monitors.insert(reference.clone(), (by.to_owned(), watched));
                }
            }
            Action::Demonitor { reference } => {
                if self.monitors.get(reference).is_some_and(|(watcher, _)| watcher == by) {
                    self.monitors.remove(reference);
                }
            }
            Action::Exit { to, reason } => {
                if !self.is_alive(to) {
                } else if reason == "kill" {
                    self.end(to, "killed");
                } else if by == to && reason == "normal" && !self.traps(by) {
                    self.end(by, "normal");
                } else {
                    self.hit(to, reason);
                }
            }
            Action::Die(death) => self.die(by, death),
            Action::Trap { on } => {
                if let Some(process) = self.processes.get_mut(by) {
                    process.trap = *on;
                }
            }
            Action::Register { name, proc } => {
                let Some(node) = self.node_of(by) else { return };
                let is_here = self.is_alive(proc) && self.node_of(proc) == Some(node);
                let has_one = self.names.values().any(|holder| holder == proc);
                let place = (node, name.clone());
                if is_here && !has_one && !self.names.contains_key(&place) {
                    self.names.insert(place, proc.clone());
                }
            }
            Action::Unregister { name } => {
                if let Some(node) = self.node_of(by) {
                    self.names.remove(&(node, name.clone()));
                }
            }
            Action::MonitorNode { node, on: true } => {
                self.node_watchers.insert((by.to_owned(), *node));
            }
            Action::Send { .. } | Action::Whereis { .. } | Action::MonitorNode { .. } => {}
        }
    }

    fn spawn(&mut self, by: &str, spawn: &Spawn, how: &How) {
        if let How::Monitor(reference) = how {
            self.references.push(reference.clone());
        }
        let Some(home) = self.node_of(by).filter(|_| self.is_alive(by)) else {
            self.born(spawn, spawn.node, State::NeverWas);
            return;
        };
        if self.is_lost(spawn.node) {
            self.born(spawn, home, State::Dead);
            if *how == How::Link {
                self.hit(by, "noconnection");
            }
            return;
        }
        self.born(spawn, spawn.node, State::Alive);
        match how {
            How::Plain => {}
            How::Link => {
                self.links.insert(ordered(by, &spawn.name));
            }
            How::Monitor(reference) => {
                self.monitors.insert(reference.clone(), (by.to_owned(), spawn.name.clone()));
            }
        }
        if let Some(death) = &spawn.dies {
            self.die(&spawn.name, death);
        }
    }

    fn born(&mut self, spawn: &Spawn, node: Node, state: State) {
        self.processes.insert(spawn.name.clone(), Process { node, trap: spawn.trap, state });
    }

    fn cut(&mut self, a: Node, b: Node) {
        if self.is_lost(a) || self.is_lost(b) {
            return;
        }
        let across = |one: &str, other: &str| {
            let nodes = (self.node_of(one), self.node_of(other));
            nodes == (Some(a), Some(b)) || nodes == (Some(b), Some(a))
        };
        let cut: Vec<_> =
            self.links.iter().filter(|(one, other)| across(one, other)).cloned().collect();
        let blind = self.monitors.iter().filter(|(_, (one, other))| across(one, other));
        let blind: Vec<String> = blind.map(|(reference, _)| reference.clone()).collect();
        for reference in blind {
            self.monitors.remove(&reference);
        }
        for link in &cut {
            self.links.remove(link);
        }
        for (one, other) in cut {
            self.hit(&one, "noconnection");
            self.hit(&other, "noconnection");
        }
    }

    fn die(&mut self, name: &str, death: &Death) {
        self.end(name, &death.seen_as());
    }

    /// An exit signal that is not kill arrives.
    fn hit(&mut self, name: &str, reason: &str) {
        if self.is_alive(name) && !self.traps(name) && reason != "normal" {
            self.end(name, reason);
        }
    }

    fn end(&mut self, name: &str, reason: &str) {
        if self.is_alive(name) {
            let partners = self.partners(name);
            self.bury(name);
            partners.iter().for_each(|partner| self.hit(partner, reason));
        }
    }

    fn bury(&mut self, name: &str) {
        if let Some(process) = self.processes.get_mut(name) {
            process.state = State::Dead;
        }
        self.links.retain(|(one, other)| one != name && other != name);
        self.monitors.retain(|_, (watcher, watched)| watcher != name && watched != name);
        self.names.retain(|_, holder| holder != name);
    }

    /// Who would end if this one did for a reason that is not normal: itself, and all who do not trap and
    /// are linked with one of them.
    pub(super) fn doomed_with(&self, name: &str) -> BTreeSet<String> {
        let mut doomed = BTreeSet::from([name.to_owned()]);
        let mut open = vec![name.to_owned()];
        while let Some(next) = open.pop() {
            for partner in self.partners(&next) {
                if !self.traps(&partner) && doomed.insert(partner.clone()) {
                    open.push(partner);
                }
            }
        }
        doomed
    }

    /// The process that a target stands for now.
    pub(super) fn holder(&self, target: &Target) -> Option<String> {
        match target {
            Target::Process(name) => Some(name.clone()),
            Target::Name { name, node } => {
                if self.is_lost(*node) {
                    return None;
                }
                self.names.get(&(*node, name.clone())).cloned()
            }
        }
    }

    /// Whom this monitor watches, if it is this process's and active.
    pub(super) fn watched_by(&self, by: &str, reference: &str) -> Option<&str> {
        let (watcher, watched) = self.monitors.get(reference)?;
        (watcher == by).then_some(watched)
    }

    pub(super) fn is_alive(&self, name: &str) -> bool {
        self.processes.get(name).is_some_and(|process| process.state == State::Alive)
    }

    pub(super) fn never_was(&self, name: &str) -> bool {
        self.processes.get(name).is_none_or(|process| process.state == State::NeverWas)
    }

    pub(super) fn traps(&self, name: &str) -> bool {
        self.processes.get(name).is_some_and(|process| process.trap)
    }

    pub(super) fn is_linked(&self, one: &str, other: &str) -> bool {
        self.links.contains(&ordered(one, other))
    }

    pub(super) fn is_lost(&self, node: Node) -> bool {
        self.lost.contains(&node)
    }

    pub(super) fn node_of(&self, name: &str) -> Option<Node> {
        self.processes.get(name).map(|process| process.node)
    }

    pub(super) fn partners(&self, name: &str) -> Vec<String> {
        let partner = |(one, other): &(String, String)| match (one == name, other == name) {
            (true, _) => Some(other.clone()),
            (_, true) => Some(one.clone()),
            (false, false) => None,
        };
        self.links.iter().filter_map(partner).collect()
    }

    /// The nodes that have not been killed; the master is the first.
    pub(super) fn nodes_up(&self) -> Vec<Node> {
        (0..self.nodes).map(Node).filter(|node| !self.is_lost(*node)).collect()
    }

    /// Every process that a step has named, whatever became of it.
    pub(super) fn known(&self) -> Vec<String> {
        self.processes.keys().cloned().collect()
    }

    pub(super) fn living(&self) -> Vec<String> {
        self.processes.keys().filter(|name| self.is_alive(name)).cloned().collect()
    }

    pub(super) fn dead(&self) -> Vec<String> {
        let dead = |name: &&String| !self.is_alive(name) && !self.never_was(name);
        self.processes.keys().filter(dead).cloned().collect()
    }

    pub(super) fn living_on(&self, node: Node) -> Vec<String> {
        let here = |name: &String| self.node_of(name) == Some(node);
        self.living().into_iter().filter(here).collect()
    }

    pub(super) fn references(&self) -> Vec<String> {
        self.references.clone()
    }

    pub(super) fn references_of(&self, name: &str) -> Vec<String> {
        let own = self.monitors.iter().filter(|(_, (watcher, _))| watcher == name);
        own.map(|(reference, _)| reference.clone()).collect()
    }

    pub(super) fn names(&self) -> Vec<(Node, String)> {
        self.names.keys().cloned().collect()
    }

    /// The names that are taken on this process's node.
    pub(super) fn names_near(&self, name: &str) -> Vec<String> {
        let node = self.node_of(name);
        let near = self.names.keys().filter(|(at, _)| Some(*at) == node);
        near.map(|(_, name)| name.clone()).collect()
    }
}

fn ordered(one: &str, other: &str) -> (String, String) {
    let (one, other) = (one.to_owned(), other.to_owned());
    if one <= other { (one, other) } else { (other, one) }
}
