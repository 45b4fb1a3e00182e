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
    /// Fewer than [`ENTRIES_MAX`]: the last ones.
    Entries(Vec<FileEntry>),
    Info(FileInfo),
    Closed,
    /// Then it ends.
    Refused(Refusal),
}

/// What is read or written at once.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
/// FI-3: so many chunks of one open file are on their way at most, whatever its length. These 256 KiB fill a
/// line of a gigabit a second with a round trip of 2 ms; more would be in front of other messages for longer.
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
    #[test]
    fn letters_have_the_documented_shapes() {
        use std::ffi::OsString;
        use std::time::{Duration, UNIX_EPOCH};

        use crate::term::FileKind;
        use crate::wire::tag_of;

        assert_eq!(tag_of::<FileRequest>(), 0x4409_5C3C);
        assert_eq!(tag_of::<FileAnswer>(), 0x6AF7_26E5);
        fn shape<T: Serialize>(value: T) -> String {
            let bytes = rmp_serde::to_vec(&value).unwrap();
            rmp_serde::from_slice::<rmpv::Value>(&bytes).unwrap().to_string()
        }
        assert_eq!(shape(OsString::from("a")), r#"{"Unix": [97]}"#);
        assert_eq!(shape(Purpose::Create), r#""Create""#);
        assert_eq!(shape(FileRequest::Read { at: 7, bytes: 9 }), r#"{"Read": [7, 9]}"#);
        assert_eq!(shape(FileRequest::Close), r#""Close""#);
        assert_eq!(shape(FileAnswer::Opened { len: 7 }), r#"{"Opened": [7]}"#);
        let entry = FileEntry { name: "a".into(), kind: FileKind::File, len: 7 };
        let entries = FileAnswer::Entries(vec![entry]);
        assert_eq!(shape(entries), r#"{"Entries": [[{"Unix": [97]}, "File", 7]]}"#);
        let modified = UNIX_EPOCH + Duration::new(3, 4);
        let kind = FileKind::Directory;
        let info = FileInfo { kind, len: 7, modified, shared_for_writing: true };
        let info = shape(FileAnswer::Info(info));
        assert_eq!(info, r#"{"Info": ["Directory", 7, [3, 4], true]}"#);
        let shared = vec!["/a".to_owned()];
        let refused = shape(FileAnswer::Refused(Refusal::NotAllowed { shared }));
        assert_eq!(refused, r#"{"Refused": {"NotAllowed": [["/a"]]}}"#);
        let refused = shape(FileAnswer::Refused(Refusal::NotAFile(kind)));
        assert_eq!(refused, r#"{"Refused": {"NotAFile": "Directory"}}"#);
        let refused = shape(FileAnswer::Refused(Refusal::TooMany { max: 256 }));
        assert_eq!(refused, r#"{"Refused": {"TooMany": [256]}}"#);
        assert_eq!(shape(FileAnswer::Refused(Refusal::Os(5))), r#"{"Refused": {"Os": 5}}"#);
    }
}
