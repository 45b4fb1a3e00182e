//! Load reports: what a node tells its master of how busy it is.

use serde::{Deserialize, Serialize};

use super::NodeName;

/// One look at a node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// Actors that wait for their arbiter: Erlang's `statistics(run_queue)`.
    pub(crate) runnable: u32,
    /// Actors that are being run. Without them an idle core and a busy one would look alike.
    pub(crate) running: u32,
    /// Blocking jobs, queued or running.
    pub(crate) blocking: u32,
    /// The mean number of the node's own threads that wait for a CPU.
    pub(crate) delayed: f32,
    /// Runnable threads of others on the same CPUs.
    pub(crate) foreign: f32,
    /// The cores that the node may use.
    pub(crate) cores: u32,
    /// Spawns by placement that the node has accepted since it came up.
    pub(crate) accepted: u64,
    /// How long such a job keeps a core, in seconds, in the mean; 0 if too few have ended lately.
    pub(crate) job: f32,
    /// The end of each is told at once.
    pub(crate) prompt: bool,
}

/// What a master expects of the nodes' loads, for those who choose nodes themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// In order of joining.
    pub(crate) nodes: Vec<Figure>,
    /// How many seconds a job takes in the mean; 0 if that is not known.
    pub(crate) job: f32,
    /// How many choose by such a table.
    pub(crate) choosers: u32,
    /// The number of the last choices of the one that this is for that are in it.
    pub(crate) contains: u64,
}

/// What it expects of one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) node: NodeName,
    pub(crate) cores: u32,
    /// Everything that runs there or wants to run.
    pub(crate) jobs: f32,
    /// It stays so: it is no job that ends.
    pub(crate) steady: bool,
}
