//! What a scenario must hold besides its shape: names that are there, nodes that are there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::{Action, How, Node, Op, Scenario, Spawn, Step, Target, Trace};

/// The step at fault, if it is one step's, and what is wrong.
type Fault = (Option<usize>, String);

/// Checks a scenario step by step.
pub(super) fn scenario(scenario: &Scenario) -> Result<(), Fault> {
    if scenario.nodes == 0 {
        return Err((None, "`nodes` is 0: expected 1 or more".to_owned()));
    }
    let mut known = Known { nodes: scenario.nodes, ..Known::default() };
    for (at, step) in scenario.steps.iter().enumerate() {
        known.step(step).map_err(|why| (Some(at), why))?;
    }
    Ok(())
}

/// Checks a trace: the children that it starts with have an id each.
pub(super) fn trace(trace: &Trace) -> Result<(), Fault> {
    let mut ids = BTreeSet::new();
    for child in &trace.children {
        if !ids.insert(&child.id) {
            return Err((None, format!("two children have the id {:?}", child.id)));
        }
    }
    Ok(())
}

/// A scenario without the steps, and the actions of batches, that are about what is not there.
pub(in crate::scenario) fn pruned(scenario: &Scenario) -> Scenario {
    let mut known = Known { nodes: scenario.nodes, ..Known::default() };
    let mut steps = Vec::new();
    for step in &scenario.steps {
        let step = match step {
            Step::By { by, op: Op::Batch(actions) } => {
                let Ok(home) = known.process(by) else { continue };
                let is_fine = |action: &&Action| known.action(home, action).is_ok();
                let actions: Vec<Action> = actions.iter().filter(is_fine).cloned().collect();
                if actions.is_empty() {
                    continue;
                }
                Step::By { by: by.clone(), op: Op::Batch(actions) }
            }
            step if known.step(step).is_ok() => step.clone(),
            _ => continue,
        };
        steps.push(step);
    }
    Scenario { steps, ..scenario.clone() }
}

/// What the steps so far have made.
#[derive(Default)]
struct Known {
    nodes: usize,
    /// Where each process lives; none if its node was down: then it is the spawner's, and dead.
    processes: BTreeMap<String, Option<Node>>,
    references: BTreeSet<String>,
    down: BTreeSet<Node>,
}

impl Known {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Spawn(spawn) => {
                if self.down.contains(&spawn.node) {
                    let why = "is down: expected a node that is up, as the driver spawns";
                    return Err(format!("{} {why}", spawn.node));
                }
                self.spawn(spawn)
            }
            Step::KillNode { node } => {
                self.slave(*node)?;
                self.down.insert(*node);
                Ok(())
            }
            Step::Disconnect { a, b } => {
                self.slave(*a)?;
                self.slave(*b)?;
                if a == b {
                    return Err(format!("{a} has no connection with itself"));
                }
                Ok(())
            }
            Step::By { by, op } => {
                let home = self.process(by)?;
                match op {
                    Op::Spawn(spawn, how) => {
                        self.spawn(spawn)?;
                        match how {
                            How::Plain | How::Link => Ok(()),
                            How::Monitor(reference) => self.reference(reference),
                        }
                    }
                    Op::Act(action) => self.action(home, action),
                    Op::Batch(actions) => {
                        for (at, action) in actions.iter().enumerate() {
                            self.action(home, action).map_err(|why| format!("op {at}: {why}"))?;
                        }
                        Ok(())
                    }
                }
            }
        }
    }

    fn action(&mut self, home: Option<Node>, action: &Action) -> Result<(), String> {
        match action {
            Action::Link { to } | Action::Unlink { to } | Action::Exit { to, .. } => {
                self.process(to).map(drop)
            }
            Action::Monitor { to, reference } => {
                self.target(to)?;
                self.reference(reference)
            }
            Action::Send { to, .. } => self.target(to),
            Action::Register { name, proc } => {
                plain(name)?;
                self.process(proc).map(drop)
            }
            Action::Unregister { name } | Action::Whereis { name } => plain(name),
            Action::MonitorNode { node, .. } => {
                self.node(*node)?;
                if Some(*node) == home {
                    return Err(format!("{node} is its own node: expected another one"));
                }
                Ok(())
            }
            // A monitor that never was is taken back without effect.
            Action::Demonitor { .. } | Action::Die(_) | Action::Trap { .. } => Ok(()),
        }
    }

    fn spawn(&mut self, spawn: &Spawn) -> Result<(), String> {
        self.node(spawn.node)?;
        plain(&spawn.name)?;
        match self.processes.entry(spawn.name.clone()) {
            Entry::Vacant(free) => {
                free.insert((!self.down.contains(&spawn.node)).then_some(spawn.node));
                Ok(())
            }
            Entry::Occupied(_) => Err(format!("an earlier step has spawned {:?}", spawn.name)),
        }
    }

    fn reference(&mut self, reference: &str) -> Result<(), String> {
        plain(reference)?;
        if self.references.insert(reference.to_owned()) {
            return Ok(());
        }
        Err(format!("an earlier monitor is called {reference:?}"))
    }

    fn target(&self, target: &Target) -> Result<(), String> {
        match target {
            Target::Process(name) => self.process(name).map(drop),
            Target::Name { name, node } => {
                plain(name)?;
                self.node(*node)
            }
        }
    }

    fn process(&self, name: &str) -> Result<Option<Node>, String> {
        let home = self.processes.get(name).copied();
        home.ok_or_else(|| format!("no earlier step has spawned {name:?}"))
    }

    fn node(&self, node: Node) -> Result<(), String> {
        if node.0 < self.nodes {
            return Ok(());
        }
        let last = Node(self.nodes - 1);
        Err(format!(
            "there is no {node}: expected a node up to {last}, as `nodes` is {}",
            self.nodes
        ))
    }

    fn slave(&self, node: Node) -> Result<(), String> {
        self.node(node)?;
        if node == Node(0) {
            return Err("n0 is the master: expected a slave".to_owned());
        }
        Ok(())
    }
}

/// In outcomes `name@node` stands for a name on a node.
fn plain(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains('@') {
        return Err(format!("{name:?} is no name: expected some text without @"));
    }
    Ok(())
}
