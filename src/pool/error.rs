//! What can go wrong with a pool, an error type an operation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::addr::SendError;
use crate::cookie::CookieError;
use crate::hosts::{BadHost, HostsError};
use crate::launcher::{HostFailure, SlurmError};
use crate::node::NodeError;
use crate::node::names::NameError;
use crate::runtime_file::RuntimeFileError;
use crate::term::{ExitReason, Kind, NodeName, NodeNameError, Pid};
use crate::wire::Answer;

/// A pool, or a node of one, could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no hosts file, or it cannot be used.
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// A host is none.
    #[error(transparent)]
    Host(#[from] BadHost),
    /// There is no Slurm allocation to use.
    #[error(transparent)]
    Slurm(#[from] SlurmError),
    /// There is no cookie that can be used.
    #[error(transparent)]
    Cookie(#[from] CookieError),
    /// The name is none that a node can have.
    #[error(transparent)]
    Name(#[from] NodeNameError),
    /// This node itself did not come up.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The running pool cannot be found, or the new one cannot be made known.
    #[error(transparent)]
    Runtime(#[from] RuntimeFileError),
    /// A directory that is to be shared cannot be.
    #[error("cannot share {}: {source}; is it a directory that the master may read?", dir.display())]
    Share {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Too few slaves came up.
    #[error("{up} of at least {wanted} slaves came up{}", listed(failures))]
    TooFewNodes {
        /// How many did.
        up: usize,
        /// How many were needed.
        wanted: usize,
        /// What happened to the others.
        failures: Vec<HostFailure>,
    },
    /// The running pool's master cannot be reached.
    #[error("cannot reach {master} at {address}: {why}")]
    Unreachable {
        /// The master.
        master: NodeName,
        /// Where it should be.
        address: SocketAddr,
        /// Why not.
        why: String,
    },
    /// This OS process could not become a slave, so it cannot start others like itself.
    #[error(
        "this program cannot be started as a slave: call pspawn::run, or pspawn::init first thing in main"
    )]
    NotInitialized,
}

fn listed(failures: &[HostFailure]) -> String {
    failures.iter().map(|failure| format!("\n  {failure}")).collect()
}

/// A question about the pool has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// This node is in no pool: Erlang's `noproc` (rule P1).
    #[error("noproc: this node is in no pool")]
    NoPool,
    /// The master is lost.
    #[error("the pool's master {master} is lost, or cannot be reached")]
    MasterLost {
        /// The master.
        master: NodeName,
    },
    /// Another node is lost, or not in the pool.
    #[error("{node} is down, or not in the pool")]
    NodeDown {
        /// The node.
        node: NodeName,
    },
    /// No answer in time.
    #[error("{master} did not answer within {after:?}")]
    TimedOut {
        /// Who was asked.
        master: NodeName,
        /// How long was waited.
        after: Duration,
    },
    /// The answer is no.
    #[error("{0}")]
    Refused(String),
}

impl PoolError {
    pub(super) fn unexpected(answer: &Answer) -> PoolError {
        PoolError::Refused(format!("an answer to another question: {answer:?}"))
    }
}

/// An actor was not started.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// No node could be chosen.
    #[error("no node to spawn on: {0}")]
    NoNode(PoolError),
    /// Nothing of this name is registered there.
    #[error(
        "{node} knows no {kind}: is it registered, with remote_fn! or remote_actor!, in the program that runs there?"
    )]
    UnknownKind {
        /// The chosen node.
        node: NodeName,
        /// What was to be started.
        kind: Kind,
    },
    /// The arguments do not fit.
    #[error("bad arguments for {kind} on {node}: {why}")]
    BadArguments {
        /// The chosen node.
        node: NodeName,
        /// What was to be started.
        kind: Kind,
        /// What does not fit.
        why: String,
    },
    /// What was given as arguments is no list of arguments.
    #[error("not arguments: {why}")]
    NotArguments {
        /// What it is instead.
        why: String,
    },
    /// It is guarded, and the pool's master does not allow it by name.
    #[error("{kind} may not be started on {node}: start the pool with it allowed by name (`--allow {}`)", kind.module())]
    NotAllowed {
        /// The chosen node.
        node: NodeName,
        /// What was to be started.
        kind: Kind,
    },
    /// The node starts certain modules only, and this is none of them.
    #[error("{node} starts for others only the modules it was told to, and {0} is none of them: start it with --only {0}", kind.module())]
    NotAmong {
        /// The chosen node.
        node: NodeName,
        /// What was to be started.
        kind: Kind,
    },
    /// The node was lost, or cannot be reached. The actor may have lived briefly.
    #[error("{node} is down, or not in the pool")]
    NodeDown {
        /// The node.
        node: NodeName,
    },
    /// The node is stopping.
    #[error("{node} is stopping")]
    Stopping {
        /// The node.
        node: NodeName,
    },
    /// No answer in time. If the actor comes up after all it is killed.
    #[error("{kind} was not started on {node} within {after:?}")]
    TimedOut {
        /// The chosen node.
        node: NodeName,
        /// What was to be started.
        kind: Kind,
        /// How long was waited.
        after: Duration,
    },
    /// It came into the world, and ended before it was up.
    #[error("{kind} ended before it was up: {reason}")]
    NotUp {
        /// Who it was.
        pid: Pid,
        /// What was to be started.
        kind: Kind,
        /// Why it ended.
        reason: ExitReason,
    },
    /// It came into the world, and said that it has nothing to do.
    #[error("{kind} has nothing to do")]
    Ignored {
        /// Who it was.
        pid: Pid,
        /// What was to be started.
        kind: Kind,
    },
    /// A link needs somebody to link with.
    #[error("pspawn_link was called outside of an actor: use that of pool.mailbox()")]
    NoCaller,
}

/// Any error of this library: what a main function returns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pool could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An actor could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A message has no answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A question about the pool has no answer.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Something else went wrong.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl From<std::io::Error> for Error {
    fn from(why: std::io::Error) -> Error {
        Error::Other(Box::new(why))
    }
}

impl From<CookieError> for Error {
    fn from(why: CookieError) -> Error {
        Error::Start(StartError::Cookie(why))
    }
}

impl From<NameError> for Error {
    fn from(why: NameError) -> Error {
        Error::Other(Box::new(why))
    }
}

impl From<HostFailure> for Error {
    fn from(why: HostFailure) -> Error {
        Error::Other(Box::new(why))
    }
}

impl From<&str> for Error {
    fn from(why: &str) -> Error {
        Error::Other(why.into())
    }
}

impl From<String> for Error {
    fn from(why: String) -> Error {
        Error::Other(why.into())
    }
}
