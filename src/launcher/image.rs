//! The executable that is sent to other hosts.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// An executable, held open: what is at its path may be a newer build by the time that it is sent.
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
    pub(crate) bytes: u64,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
    /// What `uname -m` says on machines that it is for; none if we do not know.
    pub(crate) machine: Option<&'static str>,
}

impl Image {
    /// Reads the executable at `program`; without one, that of this OS process, be its path deleted by now.
    pub(crate) fn read(program: Option<&Path>) -> io::Result<Image> {
        let mut file = File::open(program.unwrap_or(Path::new("/proc/self/exe")))?;
        let (mut hash, mut piece, mut bytes) = (Sha256::new(), vec![0; PIECE_BYTES], 0);
        let mut machine = None;
        loop {
            let read = match file.read(&mut piece)? {
                0 => break,
                read => read,
            };
            if bytes == 0 {
                machine = machine_of(&piece[..read]);
            }
            hash.update(&piece[..read]);
            bytes += read as u64;
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Image { file, bytes, sha256, machine })
    }

    /// The piece that begins at `offset`; an empty one at the end.
    pub(crate) fn piece(&self, offset: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let left = self.bytes.saturating_sub(offset).min(PIECE_BYTES as u64);
        into.resize(usize::try_from(left).expect("a piece is short"), 0);
        self.file.read_exact_at(into, offset)
    }
}

/// From an ELF header.
fn machine_of(head: &[u8]) -> Option<&'static str> {
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let little = *rest.get(1)? == 1;
    if magic != b"\x7fELF" || !little {
        return None;
    }
    match u16::from_le_bytes([*head.get(18)?, *head.get(19)?]) {
        3 => Some("i686"),
        40 => Some("armv7l"),
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        243 => Some("riscv64"),
        _ => None,
    }
}

const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_executable_is_read_as_it_is_on_disk() {
        let image = Image::read(None).unwrap();
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let (mut copy, mut piece) = (Vec::new(), Vec::new());
        while copy.len() < bytes.len() {
            image.piece(copy.len() as u64, &mut piece).unwrap();
            copy.extend_from_slice(&piece);
        }
        assert!(copy == bytes && image.bytes == bytes.len() as u64);
        image.piece(image.bytes, &mut piece).unwrap();
        assert!(piece.is_empty());
        assert_eq!(image.sha256.len(), 64);
        assert_eq!(image.machine, Some(std::env::consts::ARCH));
    }

    #[test]
    fn what_is_no_executable_is_for_any_machine() {
        assert_eq!(machine_of(b"#!/bin/sh\n"), None);
        assert_eq!(machine_of(b"\x7fELF"), None);
    }
}
