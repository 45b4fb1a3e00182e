//! Siblings: the children of a supervisor that have ids and an order.

use std::sync::Arc;

use super::{Started, Whom};
use crate::term::{
    AutoShutdown, ChildCount, ChildError, ChildInfo, ChildKind, ChildSpec, ChildState, Pid,
};

/// Who is started again together with one child.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scope {
    One,
    All,
    Rest,
}

/// Children in the order of their starts, oldest first.
///
/// SV-6: an id has one live child at most, and what is said to run does: a child is started only when it is
/// down, and is down only when its end has been seen.
#[derive(Debug)]
pub(super) struct Siblings {
    pub(super) scope: Scope,
    children: Vec<Child>,
}

#[derive(Debug)]
struct Child {
    id: String,
    spec: Arc<ChildSpec>,
    state: ChildState,
}

impl Siblings {
    pub(super) fn new(scope: Scope, children: Vec<(String, ChildSpec)>) -> Siblings {
        let child = |(id, spec)| Child { id, spec: Arc::new(spec), state: ChildState::NotRunning };
        Siblings { scope, children: children.into_iter().map(child).collect() }
    }

    /// It was started; whether it has still its place: one that did not want to be started and is
    /// temporary has not (V5).
    pub(super) fn is_started(&mut self, at: usize, pid: Option<Pid>) -> bool {
        match pid {
            Some(pid) => self.children[at].state = ChildState::Up(pid),
            None => return self.is_down(at),
        }
        true
    }

    /// It does not run any more; whether it has still its place: a temporary one has not (V9, V11).
    pub(super) fn is_down(&mut self, at: usize) -> bool {
        if self.children[at].spec.is_temporary() {
            self.children.remove(at);
            return false;
        }
        self.children[at].state = ChildState::NotRunning;
        true
    }

    pub(super) fn is_to_be_tried_again(&mut self, at: usize) {
        self.children[at].state = ChildState::Restarting;
    }

    /// A new child's start is over (V26).
    pub(super) fn born(
        &mut self,
        id: String,
        spec: Arc<ChildSpec>,
        started: Started,
    ) -> Result<Option<Pid>, ChildError> {
        let pid = started.map_err(ChildError::NotStarted)?;
        let state = pid.map_or(ChildState::NotRunning, ChildState::Up);
        if pid.is_some() || !spec.is_temporary() {
            self.children.push(Child { id, spec, state }); // V27: the youngest
        }
        Ok(pid)
    }

    /// Removes a child that does not run (V26).
    pub(super) fn delete(&mut self, id: &str) -> Result<(), ChildError> {
        let at = self.down(id)?;
        self.children.remove(at);
        Ok(())
    }

    /// Whether a new child could have this id and spec (V26, V30).
    pub(super) fn may_be_born(
        &self,
        id: &str,
        spec: &ChildSpec,
        auto_shutdown: AutoShutdown,
    ) -> Result<(), ChildError> {
        spec.check(id, auto_shutdown).map_err(ChildError::Spec)?;
        match self.find(id) {
            Ok(at) => Err(match self.children[at].state {
                ChildState::Up(pid) => ChildError::AlreadyStarted(pid),
                ChildState::NotRunning | ChildState::Restarting => ChildError::AlreadyPresent,
            }),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn find(&self, id: &str) -> Result<usize, ChildError> {
        self.children.iter().position(|child| child.id == id).ok_or(ChildError::NotFound)
    }

    /// A child that does not run, and will not by itself.
    pub(super) fn down(&self, id: &str) -> Result<usize, ChildError> {
        let at = self.find(id)?;
        match self.children[at].state {
            ChildState::NotRunning => Ok(at),
            ChildState::Up(_) => Err(ChildError::Running),
            ChildState::Restarting => Err(ChildError::Restarting),
        }
    }

    pub(super) fn at(&self, whom: &Whom) -> Option<usize> {
        self.children.iter().position(|child| match whom {
            Whom::Id(id) => child.id == *id,
            Whom::Pid(pid) => child.state == ChildState::Up(*pid),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.children.len()
    }

    pub(super) fn id(&self, at: usize) -> &str {
        &self.children[at].id
    }

    pub(super) fn spec(&self, at: usize) -> &Arc<ChildSpec> {
        &self.children[at].spec
    }

    pub(super) fn pid(&self, at: usize) -> Option<Pid> {
        self.children[at].state.pid()
    }

    pub(super) fn is_restarting(&self, at: usize) -> bool {
        self.children[at].state == ChildState::Restarting
    }

    /// Whether it will have another pid soon: it is being restarted, or the one it has is gone.
    pub(super) fn is_awaited(&self, at: usize, gone: Option<Pid>) -> bool {
        match self.children[at].state {
            ChildState::Restarting => true,
            ChildState::Up(pid) => Some(pid) == gone,
            ChildState::NotRunning => false,
        }
    }

    /// Whether a significant child runs, or is being restarted (V34).
    pub(super) fn has_significant(&self) -> bool {
        self.children.iter().any(|child| {
            child.spec.significant
                && match child.state {
                    ChildState::Up(_) | ChildState::Restarting => true,
                    ChildState::NotRunning => false,
                }
        })
    }

    /// Youngest first (V2).
    pub(super) fn which(&self) -> Vec<ChildInfo> {
        let info = |child: &Child| {
            let (id, state) = (Some(child.id.clone()), child.state);
            ChildInfo { id, state, kind: child.spec.role }
        };
        self.children.iter().rev().map(info).collect()
    }

    pub(super) fn count(&self) -> ChildCount {
        let mut count = ChildCount { specs: self.children.len(), ..ChildCount::default() };
        for child in &self.children {
            count.active += usize::from(child.state.pid().is_some());
            match child.spec.role {
                ChildKind::Worker => count.workers += 1,
                ChildKind::Supervisor => count.supervisors += 1,
            }
        }
        count
    }
}
