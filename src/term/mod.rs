//! Plain values that everyone speaks in: who, where, what kind, why it ended.

mod exit;
mod kind;
mod load;
mod node;
mod pid;
mod to;

pub use exit::ExitReason;
pub use kind::Kind;
pub(crate) use load::LoadReport;
pub use node::{NodeName, NodeNameError};
pub use pid::{Incarnation, Pid, Ref};
pub use to::To;
