//! The master's files, from any node: Erlang's `file` on the node of the group leader.
//!
//! As in Erlang an open file is a process: it lives on the master, is started when a file is opened, and
//! ends with whoever has it open.

use std::path::Path;

use crate::pool::Pool;
use crate::process::Ctx;
use crate::term::{FileEntry, FileInfo};

mod error;
mod letters;
mod process;
mod reader;
mod session;
mod writer;

pub use error::FileError;
use letters::{ENTRIES_MAX, FileAnswer, FileRequest, Purpose};
pub use reader::RemoteFile;
use session::Session;
pub use writer::RemoteWriter;

/// The master's files, of whichever node this handle is: [`Pool::files`], [`Ctx::files`].
///
/// Only what is below a directory that the master shares can be reached: its working directory unless the
/// pool was started with other ones ([`PoolBuilder::share`](crate::PoolBuilder::share)). A relative path
/// starts at the first of them, an absolute one has to lie below one of them. Paths with `..`, and symbolic
/// links that lead out, absolute ones included, are [`FileError::NotAllowed`]; only regular files are read
/// and written.
///
/// ```no_run
/// use pspawn::prelude::*;
///
/// async fn sum(ctx: Ctx, path: String) -> u64 {
///     let Ok(mut file) = ctx.files().open(&path).await else { return 0 };
///     let mut sum = 0;
///     while let Ok(Some(chunk)) = file.read_chunk().await {
///         sum += chunk.iter().map(|byte| u64::from(*byte)).sum::<u64>();
///     }
///     sum
/// }
/// remote_fn!("files": sum);
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    pool: Pool,
}

impl Pool {
    /// The master's files.
    #[must_use]
    pub fn files(&self) -> Files {
        Files { pool: self.clone() }
    }
}

impl Ctx {
    /// The files of the pool's master. An actor has them as `ctx.pool().files()`.
    #[must_use]
    pub fn files(&self) -> Files {
        self.pool().files()
    }
}

impl Files {
    /// Opens a file to be read: `file:open(Path, [read])`.
    ///
    /// # Errors
    /// [`FileError`].
    /// # Cancel safety
    /// Cancel safe: what was opened is closed again.
    pub async fn open(&self, path: impl AsRef<Path>) -> Result<RemoteFile, FileError> {
        let (session, opened) = Session::open(&self.pool, path.as_ref(), Purpose::Read).await?;
        match opened {
            FileAnswer::Opened { len } => Ok(RemoteFile::new(session, len)),
            _ => Err(session.garbled()),
        }
    }

    /// Opens a file to be written, which is empty at first: `file:open(Path, [write])`.
    ///
    /// # Errors
    /// [`FileError`]; [`FileError::ReadOnly`] if the directory is shared for reading only.
    /// # Cancel safety
    /// Not cancel safe: the file may be there, empty, all the same.
    pub async fn create(&self, path: impl AsRef<Path>) -> Result<RemoteWriter, FileError> {
        self.writer(path.as_ref(), Purpose::Create).await
    }

    /// Opens a file to be written on from its end: `file:open(Path, [append])`. It is made if it is not
    /// there.
    ///
    /// # Errors
    /// As [`create`](Files::create).
    /// # Cancel safety
    /// Not cancel safe: the file may have been made all the same.
    pub async fn append(&self, path: impl AsRef<Path>) -> Result<RemoteWriter, FileError> {
        self.writer(path.as_ref(), Purpose::Append).await
    }

    /// All that is in a file: `file:read_file`. It has to fit into memory; see [`open`](Files::open) for
    /// what may not.
    ///
    /// # Errors
    /// [`FileError`].
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, FileError> {
        self.open(path).await?.read_to_end().await
    }

    /// The same as text.
    ///
    /// # Errors
    /// [`FileError`]; [`FileError::NotText`] if it is not UTF-8.
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read_to_string(&self, path: impl AsRef<Path>) -> Result<String, FileError> {
        self.open(path).await?.read_to_string().await
    }

    /// Writes a file anew: `file:write_file`. When this returns it is on the disk. Others may see a part of
    /// it before.
    ///
    /// # Errors
    /// As [`create`](Files::create).
    /// # Cancel safety
    /// Not cancel safe: a part may have been written.
    pub async fn write(
        &self,
        path: impl AsRef<Path>,
        bytes: impl AsRef<[u8]>,
    ) -> Result<(), FileError> {
        let mut writer = self.create(path).await?;
        writer.write_all(bytes.as_ref()).await?;
        writer.close().await
    }

    /// What is in a directory, by name: `file:list_dir`. The shared directory itself is `"."`.
    ///
    /// # Errors
    /// [`FileError`].
    /// # Cancel safety
    /// Cancel safe.
    pub async fn list(&self, path: impl AsRef<Path>) -> Result<Vec<FileEntry>, FileError> {
        let (mut session, mut answer) =
            Session::open(&self.pool, path.as_ref(), Purpose::List).await?;
        let mut entries = Vec::new();
        loop {
            let FileAnswer::Entries(more) = answer else { return Err(session.garbled()) };
            let last = more.len() < ENTRIES_MAX;
            entries.extend(more);
            if last {
                break;
            }
            session.ask(FileRequest::Entries);
            answer = session.answer().await?;
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// What is said of a file or a directory, at the end of its links: `file:read_file_info`.
    ///
    /// # Errors
    /// [`FileError`].
    /// # Cancel safety
    /// Cancel safe.
    pub async fn stat(&self, path: impl AsRef<Path>) -> Result<FileInfo, FileError> {
        match Session::open(&self.pool, path.as_ref(), Purpose::Stat).await? {
            (_, FileAnswer::Info(info)) => Ok(info),
            (session, _) => Err(session.garbled()),
        }
    }

    async fn writer(&self, path: &Path, purpose: Purpose) -> Result<RemoteWriter, FileError> {
        match Session::open(&self.pool, path, purpose).await? {
            (session, FileAnswer::Opened { .. }) => Ok(RemoteWriter::new(session)),
            (session, _) => Err(session.garbled()),
        }
    }
}
