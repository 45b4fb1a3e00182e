//! A file of the master's that is being read.

use futures::Stream;
use futures::stream::try_unfold;

use super::FileError;
use super::letters::{CHUNK_BYTES, FileAnswer, FileRequest, WINDOW_CHUNKS};
use super::session::Session;
use crate::node::cell::yield_now;
use crate::term::Pid;

/// A file of the master's that is open to be read, chunk by chunk.
///
/// A few chunks are asked for ahead, so that the way to the master and back does not limit how fast it is
/// read; no more are on their way, or held on either side, than that. When this is dropped, or its
/// owner's process ends, the file is closed.
#[derive(Debug)]
pub struct RemoteFile {
    session: Session,
    len: u64,
    ahead: Ahead,
}

impl RemoteFile {
    pub(super) fn new(session: Session, len: u64) -> RemoteFile {
        RemoteFile { session, len, ahead: Ahead::default() }
    }

    /// How long it was when it was opened.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it was empty then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The process on the master that has it open.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.session.pid()
    }

    /// The next bytes, up to 64 KiB and never none; `None` at the end of the file. Called again after that
    /// it looks whether the file has grown.
    ///
    /// # Errors
    /// [`FileError`]; then the file is closed, and each call gives the same.
    /// # Cancel safety
    /// Cancel safe: a chunk is taken only when this returns it.
    pub async fn read_chunk(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        self.session.check()?;
        // Chunks may come faster than they are used: neighbours have their turns all the same.
        yield_now().await;
        if self.ahead.ends() {
            return Ok(None);
        }
        loop {
            while let Some(at) = self.ahead.next(self.len) {
                self.session.ask(FileRequest::Read { at, bytes: CHUNK_BYTES as u32 });
            }
            let FileAnswer::Chunk(chunk) = self.session.answer().await? else {
                return Err(self.session.garbled());
            };
            if self.ahead.came(chunk.len()) {
                return Ok((!chunk.is_empty()).then_some(chunk));
            }
        }
    }

    /// Goes on reading from that byte.
    pub fn seek(&mut self, to: u64) {
        self.ahead.seek(to);
    }

    /// All that is left.
    ///
    /// # Errors
    /// [`FileError`].
    /// # Cancel safety
    /// Not cancel safe: what has come is lost.
    pub async fn read_to_end(&mut self) -> Result<Vec<u8>, FileError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.read_chunk().await? {
            if all.is_empty() {
                all = chunk;
            } else {
                all.extend_from_slice(&chunk);
            }
        }
        Ok(all)
    }

    /// The same as text.
    ///
    /// # Errors
    /// [`FileError`]; [`FileError::NotText`] if it is not UTF-8.
    /// # Cancel safety
    /// Not cancel safe: what has come is lost.
    pub async fn read_to_string(&mut self) -> Result<String, FileError> {
        let all = self.read_to_end().await?;
        String::from_utf8(all).map_err(|why| {
            let (path, master) = self.session.path();
            FileError::NotText { path, master, at: why.utf8_error().valid_up_to() }
        })
    }

    /// Its chunks as a stream, which ends at the end of the file or with the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Vec<u8>, FileError>> {
        try_unfold(self, |mut file| async move {
            Ok(file.read_chunk().await?.map(|chunk| (chunk, file)))
        })
    }
}

/// What was asked for and has not come: FI-3 holds here.
#[derive(Debug, Default)]
struct Ahead {
    /// Where the next chunk that is asked for starts.
    at: u64,
    /// On their way.
    wanted: usize,
    /// Of those the first ones, which are of no use any more.
    stale: usize,
    /// A chunk was short: the file ends after it.
    ended: bool,
}

impl Ahead {
    /// Where the next chunk to be asked for starts, if one is: always one, and up to the window as long as
    /// the file is known to go on.
    fn next(&mut self, len: u64) -> Option<u64> {
        let fresh = self.wanted - self.stale;
        let wants = fresh == 0 || (self.at < len && self.wanted < WINDOW_CHUNKS);
        if !wants {
            return None;
        }
        let at = self.at;
        self.at = at.saturating_add(CHUNK_BYTES as u64);
        self.wanted += 1;
        Some(at)
    }

    /// One has come; whether it is of use. A short one is the last.
    fn came(&mut self, bytes: usize) -> bool {
        self.wanted -= 1;
        if self.stale > 0 {
            self.stale -= 1;
            return false;
        }
        if bytes < CHUNK_BYTES {
            // Those that were asked for after it leave a gap, if the file has grown meanwhile.
            let fresh = self.wanted as u64 + 1;
            let start = self.at.saturating_sub(fresh * CHUNK_BYTES as u64);
            self.at = start + bytes as u64;
            self.stale = self.wanted;
            self.ended = bytes > 0;
        }
        true
    }

    /// Whether the chunk before was the last; it is said once.
    fn ends(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    fn seek(&mut self, to: u64) {
        *self = Ahead { at: to, wanted: self.wanted, stale: self.wanted, ended: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = CHUNK_BYTES as u64;

    fn asked(ahead: &mut Ahead, len: u64) -> Vec<u64> {
        std::iter::from_fn(|| ahead.next(len)).collect()
    }

    #[test]
    fn no_more_than_the_window_is_asked_for_fi3() {
        let mut ahead = Ahead::default();
        assert_eq!(asked(&mut ahead, u64::MAX), [0, CHUNK, 2 * CHUNK, 3 * CHUNK]);
        assert!(ahead.came(CHUNK_BYTES));
        assert_eq!(asked(&mut ahead, u64::MAX), [4 * CHUNK], "FI-3");
        ahead.seek(7);
        assert_eq!(asked(&mut ahead, u64::MAX), [7], "FI-3: one, so that it goes on");
        for _ in 0..4 {
            assert!(!ahead.came(CHUNK_BYTES), "that was before the seek");
        }
        assert_eq!(asked(&mut ahead, u64::MAX).len(), 3);
        assert!(ahead.came(CHUNK_BYTES));
    }

    #[test]
    fn an_end_is_said_once_and_then_looked_for_again() {
        let mut ahead = Ahead::default();
        assert_eq!(asked(&mut ahead, 10), [0], "nothing is asked for beyond the known end");
        assert!(ahead.came(10));
        assert!(ahead.ends() && !ahead.ends());
        assert_eq!(asked(&mut ahead, 10), [10], "it may have grown");
        assert!(ahead.came(0));
        assert!(!ahead.ends(), "an empty chunk says it itself");
        assert_eq!(asked(&mut ahead, 10), [10]);
    }

    #[test]
    fn what_was_asked_for_beyond_a_short_chunk_is_of_no_use() {
        let mut ahead = Ahead::default();
        assert_eq!(asked(&mut ahead, 3 * CHUNK), [0, CHUNK, 2 * CHUNK]);
        assert!(ahead.came(CHUNK_BYTES));
        assert!(ahead.came(5), "it was cut off meanwhile");
        assert!(ahead.ends());
        assert_eq!(ahead.next(3 * CHUNK), Some(CHUNK + 5));
        assert!(!ahead.came(CHUNK_BYTES), "and has grown again");
        assert!(ahead.came(1));
    }
}
