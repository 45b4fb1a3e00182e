//! What a supervisor says of its children, and why it does not do what it was asked to.

use serde::{Deserialize, Serialize};

use super::{ChildKind, ExitReason, Pid, SpecError};

/// One child, as `which_children` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildInfo {
    /// Its id; none for a child of a simple_one_for_one supervisor.
    pub id: Option<String>,
    /// Whether it runs.
    pub state: ChildState,
    /// Worker or supervisor.
    pub kind: ChildKind,
}

/// Whether a child runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildState {
    /// It does, and this is its pid.
    Up(Pid),
    /// It does not, and will not by itself: OTP's `undefined`.
    NotRunning,
    /// A start has failed; it is tried again.
    Restarting,
}

impl ChildState {
    /// The pid of one that runs.
    #[must_use]
    pub fn pid(self) -> Option<Pid> {
        match self {
            ChildState::Up(pid) => Some(pid),
            ChildState::NotRunning | ChildState::Restarting => None,
        }
    }
}

/// How many children there are, as `count_children` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildCount {
    /// Child specs; one for simple_one_for_one.
    pub specs: usize,
    /// Children that run.
    pub active: usize,
    /// Supervisors among the children, running or not.
    pub supervisors: usize,
    /// The others, running or not.
    pub workers: usize,
}

/// A supervisor does not do what it was asked to (rules V25, V26, V28).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// There is no such child.
    #[error("not_found: there is no such child")]
    NotFound,
    /// It runs.
    #[error("running: end the child first")]
    Running,
    /// A start of it has failed and is tried again.
    #[error("restarting: a start of the child has failed and is tried again")]
    Restarting,
    /// There is a child of this id, and it runs.
    #[error("already_started: {0} has this id")]
    AlreadyStarted(Pid),
    /// There is a child of this id; it does not run.
    #[error("already_present: a child that does not run has this id")]
    AlreadyPresent,
    /// Its start failed, with this reason; a new child leaves no entry.
    #[error("the child did not start: {0}")]
    NotStarted(ExitReason),
    /// The spec is none.
    #[error(transparent)]
    Spec(SpecError),
    /// Its children have no ids.
    #[error("simple_one_for_one: its children have pids, no ids")]
    SimpleOneForOne,
    /// Its children have ids.
    #[error(
        "its children have ids and specs of their own: only simple_one_for_one starts one by arguments alone"
    )]
    NotSimple,
}
