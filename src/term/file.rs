//! What is said of a file: what it is, how long, and why it was not to be had.

use std::ffi::OsString;
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// What something in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file: the only kind that is read and written.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; only in a listing, [`Files::stat`](crate::Files::stat) follows it.
    Symlink,
    /// A pipe, a socket, a device.
    Other,
}

/// What [`Files::stat`](crate::Files::stat) says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileInfo {
    /// What it is.
    pub kind: FileKind,
    /// Bytes in it.
    pub len: u64,
    /// When its content last changed.
    pub modified: SystemTime,
    /// Whether the master lets it be written; what the file system says shows when it is opened.
    pub shared_for_writing: bool,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileEntry {
    /// Its name, without the directory's.
    pub name: OsString,
    /// What it is; a link is [`FileKind::Symlink`], wherever it leads.
    pub kind: FileKind,
    /// Bytes in it.
    pub len: u64,
}

/// Why the master did not do what it was asked to, without what the asker knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// It is not below any of these.
    NotAllowed {
        shared: Vec<String>,
    },
    ReadOnly,
    NotFound,
    /// It is no regular file, but this.
    NotAFile(FileKind),
    /// The asker's node has so many open.
    TooMany {
        max: u64,
    },
    /// What the operating system said.
    Os(i32),
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::File => "a file",
            FileKind::Directory => "a directory",
            FileKind::Symlink => "a symbolic link",
            FileKind::Other => "a pipe, a socket or a device",
        })
    }
}
