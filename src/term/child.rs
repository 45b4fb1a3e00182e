//! Child specs: what a supervisor starts, where, and what it does when that ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Kind, NodeName, bytes_field};

/// What a supervisor has to know of one child: Erlang's child specification, without the id, which
/// [`Supervisor::child`](crate::Supervisor::child) gives.
///
/// [`Spawnable::spec`](crate::Spawnable::spec) makes one of an actor, [`ChildSpec::function`] of a function process,
/// [`Supervisor::spec`](crate::Supervisor::spec) of a whole tree. Unless told otherwise it is permanent, has five seconds
/// to end when it is told to (a supervisor: as long as it takes), and runs where the pool puts it (rule V22).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildSpec {
    pub(crate) start: Start,
    pub(crate) place: Place,
    pub(crate) restart: RestartType,
    pub(crate) shutdown: Shutdown,
    pub(crate) role: ChildKind,
    pub(crate) significant: bool,
    /// Its start is over when it says so.
    pub(crate) acknowledged: bool,
}

impl ChildSpec {
    /// A child that is started by its registered name; `args` is a MessagePack array, or says why it is none.
    pub(crate) fn new(kind: Kind, args: Result<Vec<u8>, String>) -> ChildSpec {
        let args = args.map(Args);
        ChildSpec {
            start: Start { kind, args },
            place: Place::Pool,
            restart: RestartType::Permanent,
            shutdown: Shutdown::After(SHUTDOWN),
            role: ChildKind::Worker,
            significant: false,
            acknowledged: false,
        }
    }

    /// When it is started again.
    #[must_use]
    pub fn restart(self, restart: RestartType) -> ChildSpec {
        ChildSpec { restart, ..self }
    }

    /// Started again unless it ended cleanly: [`RestartType::Transient`].
    #[must_use]
    pub fn transient(self) -> ChildSpec {
        self.restart(RestartType::Transient)
    }

    /// Never started again: [`RestartType::Temporary`].
    #[must_use]
    pub fn temporary(self) -> ChildSpec {
        self.restart(RestartType::Temporary)
    }

    /// How it is told to end.
    #[must_use]
    pub fn shutdown(self, shutdown: Shutdown) -> ChildSpec {
        ChildSpec { shutdown, ..self }
    }

    /// Its own end may be the supervisor's, which says when: [`AutoShutdown`](crate::AutoShutdown).
    #[must_use]
    pub fn significant(self) -> ChildSpec {
        ChildSpec { significant: true, ..self }
    }

    /// The supervisor waits for its [`init_ack`](crate::Ctx::init_ack), or
    /// [`init_ignore`](crate::Ctx::init_ignore), before it goes on; if it ends before that, its start has
    /// failed. Actors and supervisors always are; a function process is only if this is said, and must say
    /// so then.
    #[must_use]
    pub fn acknowledged(self) -> ChildSpec {
        ChildSpec { acknowledged: true, ..self }
    }

    /// It runs on this node, also when it is started again.
    #[must_use]
    pub fn on(self, node: NodeName) -> ChildSpec {
        ChildSpec { place: Place::On(node), ..self }
    }

    /// It runs on the supervisor's own node.
    #[must_use]
    pub fn here(self) -> ChildSpec {
        ChildSpec { place: Place::Here, ..self }
    }

    /// It is a supervisor: it is given all the time it needs to end (V22), and counts as one.
    pub(crate) fn of_supervisor(self) -> ChildSpec {
        let spec = ChildSpec { role: ChildKind::Supervisor, ..self };
        spec.shutdown(Shutdown::Infinity).acknowledged()
    }

    pub(crate) fn is_temporary(&self) -> bool {
        match self.restart {
            RestartType::Temporary => true,
            RestartType::Permanent | RestartType::Transient => false,
        }
    }

    pub(crate) fn is_permanent(&self) -> bool {
        match self.restart {
            RestartType::Permanent => true,
            RestartType::Transient | RestartType::Temporary => false,
        }
    }
}

/// What to start: its registered name and what it is started with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) kind: Kind,
    /// Or why what the author gave are no arguments: told when the spec is used.
    pub(crate) args: Result<Args, String>,
}

/// Arguments, encoded as a MessagePack array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Args(#[serde(with = "bytes_field")] pub(crate) Vec<u8>);

/// When a child that has ended is started again (rule V9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartType {
    /// Always.
    Permanent,
    /// Unless it ended with `Normal`, `Shutdown` or `ShutdownWith`.
    Transient,
    /// Never: its entry goes with it.
    Temporary,
}

/// How a child is told to end (rules V19, V20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shutdown {
    /// It is killed at once, and sees nothing of it.
    BrutalKill,
    /// By the exit signal `shutdown`, and if it has not ended after this long, by `kill`.
    After(Duration),
    /// By the exit signal `shutdown`, and however long it takes.
    Infinity,
}

/// Where a child runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Where the pool puts it, anew at each start. A node that turns out to be lost is passed over.
    Pool,
    /// On this node. While that is down its start fails.
    On(NodeName),
    /// On the supervisor's own node.
    Here,
}

/// What a child is, for who counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildKind {
    /// It does the work.
    Worker,
    /// It supervises others.
    Supervisor,
}

/// The time to end of a worker whose spec says nothing (V22).
const SHUTDOWN: Duration = Duration::from_secs(5);
