//! A file of the master's that is being written.

use std::time::Duration;

use super::FileError;
use super::letters::{CHUNK_BYTES, FileAnswer, FileRequest, WINDOW_CHUNKS};
use super::session::Session;
use crate::node::cell::yield_now;
use crate::term::Pid;

/// A file of the master's that is open to be written.
///
/// What is written is sent in chunks; a few are on their way, and then
/// [`write_all`](RemoteWriter::write_all) waits until the master has written one. Errors come late for that
/// reason: [`close`](RemoteWriter::close) has the last word. Dropped without it, the file is closed at the
/// master, what fills no chunk yet is lost, and whether the rest was written is not heard.
#[derive(Debug)]
#[must_use = "it is closed when it is dropped"]
pub struct RemoteWriter {
    session: Session,
    /// Fills no chunk yet.
    pending: Vec<u8>,
    /// Chunks that the master has not said to have written; FI-3: no more than the window.
    on_their_way: usize,
}

impl RemoteWriter {
    pub(super) fn new(session: Session) -> RemoteWriter {
        RemoteWriter { session, pending: Vec::new(), on_their_way: 0 }
    }

    /// The process on the master that has it open.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.session.pid()
    }

    /// Writes all of it, as soon as there is room for it on the way.
    ///
    /// # Errors
    /// [`FileError`], of this or of an earlier write; then the file is closed, and each call gives the
    /// same.
    /// # Cancel safety
    /// Not cancel safe: a part may have been written.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.session.check()?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = CHUNK_BYTES - self.pending.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.pending.extend_from_slice(now);
            rest = later;
            if self.pending.len() == CHUNK_BYTES {
                self.send_pending().await?;
            }
        }
        Ok(())
    }

    /// Waits until the master has written all of it; others who read the file see it then. Unlike
    /// [`close`](RemoteWriter::close) it does not wait for the disk.
    ///
    /// # Errors
    /// [`FileError`], as [`write_all`](RemoteWriter::write_all).
    /// # Cancel safety
    /// Cancel safe.
    pub async fn flush(&mut self) -> Result<(), FileError> {
        self.session.check()?;
        if !self.pending.is_empty() {
            self.send_pending().await?;
        }
        while self.on_their_way > 0 {
            self.written().await?;
        }
        Ok(())
    }

    /// Waits until all of it is on the master's disk, and closes the file.
    ///
    /// # Errors
    /// [`FileError`], as [`write_all`](RemoteWriter::write_all).
    /// # Cancel safety
    /// Not cancel safe: what fills no chunk yet may be lost.
    pub async fn close(mut self) -> Result<(), FileError> {
        self.flush().await?;
        self.session.ask(FileRequest::Close);
        match self.session.answer_within(SYNC_WITHIN).await? {
            FileAnswer::Closed => Ok(()),
            _ => Err(self.session.garbled()),
        }
    }

    /// Sends what is pending as a chunk, once there is room in the window.
    async fn send_pending(&mut self) -> Result<(), FileError> {
        yield_now().await;
        while self.on_their_way >= WINDOW_CHUNKS {
            self.written().await?;
        }
        self.session.ask(FileRequest::Write(std::mem::take(&mut self.pending)));
        self.on_their_way += 1;
        Ok(())
    }

    /// Waits until one more is written.
    async fn written(&mut self) -> Result<(), FileError> {
        match self.session.answer().await? {
            FileAnswer::Written => {
                self.on_their_way -= 1;
                Ok(())
            }
            _ => Err(self.session.garbled()),
        }
    }
}

/// What the operating system holds back of a large file takes a slow disk this long at most.
const SYNC_WITHIN: Duration = Duration::from_secs(120);
