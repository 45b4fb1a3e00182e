//! What passes between an open file and whoever has it open. Both sides keep to the order in which
//! requests were sent: each is answered once, and in that order (rule O1).

use serde::{Deserialize, Serialize};

use crate::term::{FileEntry, FileInfo, Refusal, bytes_field};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    Read,
    Create,
    Append,
    List,
    Stat,
}

/// What an open file is asked for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum FileRequest {
    /// So many bytes from there on, or as many as there are.
    Read {
        at: u64,
        bytes: u32,
    },
    Write(#[serde(with = "bytes_field")] Vec<u8>),
    /// The next entries of a directory.
    Entries,
    /// Bring all that was written to the disk, and end.
    Close,
}

/// What it answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum FileAnswer {
    Opened {
        len: u64,
    },
    /// What was asked for; less at the end of the file.
    Chunk(#[serde(with = "bytes_field")] Vec<u8>),
    Written,
    /// None: that were all.
    Entries(Vec<FileEntry>),
    Info(FileInfo),
    Closed,
    /// Then it ends.
    Refused(Refusal),
}

/// What is read or written at once.
pub(super) const CHUNK_BYTES: usize = 128 << 10;
/// FI-3: so many chunks of one open file are on their way at most, whatever its length. More would gain
/// nothing but what waits in front of other messages.
pub(super) const WINDOW_CHUNKS: usize = 4;
/// No more entries of a directory are told at once.
pub(super) const ENTRIES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_travels_as_binary_and_costs_a_few_bytes() {
        let chunk = FileAnswer::Chunk(vec![200; CHUNK_BYTES]);
        let bytes = rmp_serde::to_vec(&chunk).unwrap();
        assert!(bytes.len() < CHUNK_BYTES + 20, "{} bytes", bytes.len());
        assert_eq!(rmp_serde::from_slice::<FileAnswer>(&bytes).unwrap(), chunk);
    }
}
