//! A brood: the children of a simple_one_for_one supervisor, all alike but for their last arguments.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::term::{Args, ChildCount, ChildInfo, ChildKind, ChildSpec, ChildState, Pid};

/// Children without ids or order.
#[derive(Debug)]
pub(super) struct Brood {
    /// The name of the one spec, for reports.
    pub(super) id: String,
    pub(super) spec: Arc<ChildSpec>,
    /// By the pid that each has, or had last.
    children: BTreeMap<Pid, Child>,
}

#[derive(Debug)]
struct Child {
    extra: Args,
    up: bool,
}

impl Brood {
    pub(super) fn new(id: String, spec: ChildSpec) -> Brood {
        Brood { id, spec: Arc::new(spec), children: BTreeMap::new() }
    }

    pub(super) fn put(&mut self, pid: Pid, extra: Args) {
        self.children.insert(pid, Child { extra, up: true });
    }

    pub(super) fn remove(&mut self, pid: Pid) {
        self.children.remove(&pid);
    }

    /// The child has a new pid; its arguments stay as they are (V28).
    pub(super) fn replace(&mut self, old: Pid, new: Pid) {
        if let Some(child) = self.children.remove(&old) {
            self.put(new, child.extra);
        }
    }

    pub(super) fn try_again(&mut self, pid: Pid) {
        if let Some(child) = self.children.get_mut(&pid) {
            child.up = false;
        }
    }

    /// Whether that child runs, or is being restarted; none if it is no child.
    pub(super) fn is_up(&self, pid: Pid) -> Option<bool> {
        self.children.get(&pid).map(|child| child.up)
    }

    pub(super) fn extra_of(&self, pid: Pid) -> Option<&Args> {
        self.children.get(&pid).map(|child| &child.extra)
    }

    pub(super) fn up(&self) -> Vec<Pid> {
        self.children.iter().filter(|(_, child)| child.up).map(|(pid, _)| *pid).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    pub(super) fn which(&self) -> Vec<ChildInfo> {
        let info = |(pid, child): (&Pid, &Child)| {
            let state = if child.up { ChildState::Up(*pid) } else { ChildState::Restarting };
            ChildInfo { id: None, state, kind: self.spec.role }
        };
        self.children.iter().map(info).collect()
    }

    pub(super) fn count(&self) -> ChildCount {
        let all = self.children.len();
        let (supervisors, workers) = match self.spec.role {
            ChildKind::Supervisor => (all, 0),
            ChildKind::Worker => (0, all),
        };
        ChildCount { specs: 1, active: self.up().len(), supervisors, workers }
    }
}
