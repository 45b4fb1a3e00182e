//! Plain values that everyone speaks in: who, where, what kind, why it ended, who is to be restarted.

mod at;
pub(crate) mod bytes_field;
mod child;
mod exit;
mod family;
mod file;
mod fingerprint;
mod kind;
mod load;
mod node;
mod pid;
mod supervisor;
mod to;
mod via;

pub(crate) use at::{At, HostId};
pub(crate) use child::Args;
pub use child::{ChildKind, ChildSpec, Place, RestartType, Shutdown};
pub use exit::ExitReason;
pub use family::{ChildCount, ChildError, ChildInfo, ChildState};
pub(crate) use file::Refusal;
pub use file::{FileEntry, FileInfo, FileKind};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use kind::Kind;
pub(crate) use load::{Figure, LoadReport, Table};
pub use node::{NodeName, NodeNameError};
pub use pid::{Incarnation, Pid, Ref};
pub use supervisor::{AutoShutdown, SpecError, Strategy, Supervisor};
pub use to::To;
pub use via::Via;
