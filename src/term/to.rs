//! Whom a message or a monitor is for: a pid, or whoever has a name on a node.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NodeName, Pid};

/// Whom a message or a monitor is for: a process, or whoever has a registered name on a node at the time
/// it arrives there. Made of a [`Pid`] or a pair: `ctx.send(("printer", node), job)`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum To {
    /// This process.
    Pid(Pid),
    /// Whoever has this name there: Erlang's `{Name, Node}`.
    Name(String, NodeName),
}

impl To {
    /// The node where it is, or would be.
    #[must_use]
    pub fn node(&self) -> NodeName {
        match self {
            To::Pid(pid) => pid.node(),
            To::Name(_, node) => *node,
        }
    }

    /// The pid, if it was given as one.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        match self {
            To::Pid(pid) => Some(*pid),
            To::Name(..) => None,
        }
    }
}

impl From<Pid> for To {
    fn from(pid: Pid) -> To {
        To::Pid(pid)
    }
}

impl From<&To> for To {
    fn from(to: &To) -> To {
        to.clone()
    }
}

impl From<(&str, NodeName)> for To {
    fn from((name, node): (&str, NodeName)) -> To {
        To::Name(name.to_owned(), node)
    }
}

impl From<(String, NodeName)> for To {
    fn from((name, node): (String, NodeName)) -> To {
        To::Name(name, node)
    }
}

/// As in Erlang: a pid, or `{Name,Node}`.
impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Pid(pid) => pid.fmt(f),
            To::Name(name, node) => write!(f, "{{{name},{node}}}"),
        }
    }
}

impl fmt::Debug for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq<Pid> for To {
    fn eq(&self, pid: &Pid) -> bool {
        self.pid() == Some(*pid)
    }
}
