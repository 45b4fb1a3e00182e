//! Signals: what one actor, or its node, tells another about life and death.

use serde::{Deserialize, Serialize};

use crate::term::{ExitReason, NodeName, Pid, Ref};

/// What one actor, or the runtime on its behalf, tells another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Signal {
    /// `link`: tie the receiver to `from`.
    Link { from: Pid },
    /// `unlink`: `from` has let go. It drops exits over the link until it hears `UnlinkAck`.
    Unlink { from: Pid, id: u64 },
    /// The receiver's `Unlink` has arrived; nothing sent over the old link is still under way.
    UnlinkAck { from: Pid, id: u64 },
    /// `from`, at the other end of a link, has ended.
    LinkExit { from: Pid, reason: ExitReason },
    /// `exit/2`, called by `from`.
    Exit { from: Pid, reason: ExitReason },
    /// `monitor`: tell `from` of the receiver's end.
    Monitor { from: Pid, monitor: Ref },
    /// `demonitor`.
    Demonitor { from: Pid, monitor: Ref },
    /// `DOWN`: what `monitor` watched has ended.
    Down { from: Pid, monitor: Ref, reason: ExitReason },
    /// A monitor by name has found `from`, who has the name.
    Found { from: Pid, monitor: Ref },
    /// `group_leader/2`: the receiver's output appears on this node from now on.
    Lead { from: Pid, leader: NodeName },
}

impl Signal {
    /// Who sends it, or on whose behalf it is sent.
    pub(crate) fn from(&self) -> Pid {
        match self {
            Signal::Link { from }
            | Signal::Unlink { from, .. }
            | Signal::UnlinkAck { from, .. }
            | Signal::LinkExit { from, .. }
            | Signal::Exit { from, .. }
            | Signal::Monitor { from, .. }
            | Signal::Demonitor { from, .. }
            | Signal::Down { from, .. }
            | Signal::Found { from, .. }
            | Signal::Lead { from, .. } => *from,
        }
    }

    /// Whether it is `exit/2` with `kill`, which nothing can trap.
    pub(crate) fn is_kill(&self) -> bool {
        matches!(self, Signal::Exit { reason: ExitReason::Kill, .. })
    }

    pub(super) fn reason(&self) -> Option<&ExitReason> {
        match self {
            Signal::LinkExit { reason, .. }
            | Signal::Exit { reason, .. }
            | Signal::Down { reason, .. } => Some(reason),
            Signal::Link { .. }
            | Signal::Unlink { .. }
            | Signal::UnlinkAck { .. }
            | Signal::Monitor { .. }
            | Signal::Demonitor { .. }
            | Signal::Found { .. }
            | Signal::Lead { .. } => None,
        }
    }

    /// The same with less of a reason; none if there is no reason in it.
    pub(super) fn shortened(&self) -> Option<Signal> {
        match self {
            Signal::LinkExit { from, reason } => {
                Some(Signal::LinkExit { from: *from, reason: reason.shortened() })
            }
            Signal::Exit { from, reason } => {
                Some(Signal::Exit { from: *from, reason: reason.shortened() })
            }
            Signal::Down { from, monitor, reason } => {
                let reason = reason.shortened();
                Some(Signal::Down { from: *from, monitor: *monitor, reason })
            }
            Signal::Link { .. }
            | Signal::Unlink { .. }
            | Signal::UnlinkAck { .. }
            | Signal::Monitor { .. }
            | Signal::Demonitor { .. }
            | Signal::Found { .. }
            | Signal::Lead { .. } => None,
        }
    }
}
