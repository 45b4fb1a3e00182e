//! Why a file of the master's could not be read or written.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::pool::{Error, PoolError, SpawnError};
use crate::term::{ExitReason, FileKind, NodeName, Pid, Refusal};

/// Why a file of the master's could not be read or written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is not below a directory that the master shares, or a link on the way leads out of it.
    #[error("{} may not be reached: {master} shares {}, and nothing through `..` or a link that leads out",
        path.display(), listed(shared))]
    NotAllowed {
        /// As it was asked for.
        path: PathBuf,
        /// The pool's master.
        master: NodeName,
        /// The directories that it shares.
        shared: Vec<String>,
    },
    /// Its directory is shared, or mounted, for reading only.
    #[error("{} may only be read: its directory is not shared for writing by {master}", path.display())]
    ReadOnly {
        /// As it was asked for.
        path: PathBuf,
        /// The pool's master.
        master: NodeName,
    },
    /// There is no such file or directory: Erlang's `enoent`.
    #[error("{} is not there, on {master}", path.display())]
    NotFound {
        /// As it was asked for.
        path: PathBuf,
        /// The pool's master.
        master: NodeName,
    },
    /// It is no regular file.
    #[error("{} is {is}, on {master}: only regular files are read and written", path.display())]
    NotAFile {
        /// As it was asked for.
        path: PathBuf,
        /// The pool's master.
        master: NodeName,
        /// What it is.
        is: FileKind,
    },
    /// The own node has too many files of the master's open.
    #[error("{} was not opened: {node} has {max} files open on {master}, and may not have more: close some first",
        path.display())]
    TooManyOpen {
        /// As it was asked for.
        path: PathBuf,
        /// The pool's master.
        master: NodeName,
        /// The node that asked.
        node: NodeName,
        /// How many it may have open at a time.
        max: u64,
    },
    /// The operating system has refused, or failed.
    #[error("{} on {master}: {why}", path.display())]
    Io {
        /// As it was asked for.
        path: PathBuf,
        /// The pool's master.
        master: NodeName,
        /// Its kind.
        kind: io::ErrorKind,
        /// In its own words.
        why: String,
    },
    /// It was read as text, and is none.
    #[error("{} on {master} is no text: it is not UTF-8 from byte {at} on", path.display())]
    NotText {
        /// As it was asked for.
        path: PathBuf,
        /// The pool's master.
        master: NodeName,
        /// Where the first byte is that is not.
        at: usize,
    },
    /// The process that had it open on the master has ended, or can no longer be reached.
    #[error("{pid}, which had {} open on {master}, has ended: {reason}", path.display())]
    Lost {
        /// As it was asked for.
        path: PathBuf,
        /// The pool's master.
        master: NodeName,
        /// The process.
        pid: Pid,
        /// Why; [`ExitReason::NoConnection`] if the master, or the way to it, is lost.
        reason: ExitReason,
    },
    /// No answer in time.
    #[error("no answer within {after:?} from {pid}, which has {} open on {master}", path.display())]
    TimedOut {
        /// As it was asked for.
        path: PathBuf,
        /// The pool's master.
        master: NodeName,
        /// The process.
        pid: Pid,
        /// How long was waited.
        after: Duration,
    },
    /// There is no pool, or its master cannot be reached.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The process that was to open it could not be started on the master.
    #[error("no file can be opened on the master: {0}")]
    Spawn(SpawnError),
}

impl FileError {
    pub(super) fn of(
        refusal: Refusal,
        path: PathBuf,
        master: NodeName,
        node: NodeName,
    ) -> FileError {
        match refusal {
            Refusal::NotAllowed { shared } => FileError::NotAllowed { path, master, shared },
            Refusal::ReadOnly => FileError::ReadOnly { path, master },
            Refusal::NotFound => FileError::NotFound { path, master },
            Refusal::NotAFile(is) => FileError::NotAFile { path, master, is },
            Refusal::TooMany { max } => FileError::TooManyOpen { path, master, node, max },
            Refusal::Os(code) => {
                let why = io::Error::from_raw_os_error(code);
                FileError::Io { path, master, kind: why.kind(), why: why.to_string() }
            }
        }
    }
}

impl From<SpawnError> for FileError {
    fn from(why: SpawnError) -> FileError {
        match why {
            SpawnError::NodeDown { node } => PoolError::MasterLost { master: node }.into(),
            why => FileError::Spawn(why),
        }
    }
}

impl From<FileError> for Error {
    fn from(why: FileError) -> Error {
        Error::Other(Box::new(why))
    }
}

fn listed(shared: &[String]) -> String {
    match shared {
        [] => "no directory".to_owned(),
        shared => format!("what is below {}", shared.join(", ")),
    }
}
