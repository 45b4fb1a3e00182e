//! The process that has a file open on the master, and works for who has started it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use super::letters::{CHUNK_BYTES, ENTRIES_MAX, FileAnswer, FileRequest, Purpose};
use crate::message::Down;
use crate::node::blocking::blocking;
use crate::node::cell::lock;
use crate::node::shares::{Access, Listing, Shares};
use crate::process::Ctx;
use crate::term::{Pid, Refusal};

#[expect(unsafe_code, reason = "linkme puts what is registered into a link section")]
mod registration {
    use super::file;

    crate::remote_fn!("pspawn": file);
}

/// A file's whole life: open, at work, closed.
///
/// FI-2: it ends with whoever has it open. What that has sent before is written still.
async fn file(mut ctx: Ctx, client: Pid, path: OsString, purpose: Purpose) {
    ctx.monitor(client);
    let shares = ctx.cell().node.config.shares.clone();
    // What is only looked at is closed before the answer.
    let in_use = (purpose != Purpose::Stat).then(|| shares.admit(client.node())).transpose();
    let opening = async {
        let in_use = in_use?;
        let (opened, answer) = blocking(move || open(&shares, Path::new(&path), purpose)).await?;
        Ok((opened.map(|opened| (opened, in_use)), answer))
    };
    let (opened, answer) = match opening.await {
        Ok(opened) => opened,
        Err(why) => return ctx.send(client, FileAnswer::Refused(why)),
    };
    ctx.send(client, answer);
    let Some(opened) = opened else { return };
    let opened = Arc::new(Mutex::new(opened));
    loop {
        let letter = ctx.receive_any().await;
        let request = match letter.open::<FileRequest>() {
            Ok(request) => request,
            Err(letter) if letter.is::<Down>() => return,
            Err(_) => continue, // somebody has guessed its pid
        };
        let last = request == FileRequest::Close;
        let opened = opened.clone();
        // One at a time, so nobody waits for this lock; and a job that has begun runs to its end even if
        // the process is killed: then the file is closed after it.
        let answer = blocking(move || serve(&mut lock(&opened).0, request)).await;
        let last = last || answer.is_err();
        ctx.send(client, answer.unwrap_or_else(FileAnswer::Refused));
        if last {
            return;
        }
    }
}

/// What is open.
enum Open {
    Reading(File),
    Writing(File),
    Listing(Listing),
}

/// Opens it, and has the first answer; nothing stays open of which there is no more to be had.
fn open(
    shares: &Shares,
    path: &Path,
    purpose: Purpose,
) -> Result<(Option<Open>, FileAnswer), Refusal> {
    Ok(match purpose {
        Purpose::Read => {
            let file = shares.file(path, Access::Read)?;
            let len = file.metadata()?.len();
            (Some(Open::Reading(file)), FileAnswer::Opened { len })
        }
        Purpose::Create => {
            let file = shares.file(path, Access::Create)?;
            (Some(Open::Writing(file)), FileAnswer::Opened { len: 0 })
        }
        Purpose::Append => {
            let file = shares.file(path, Access::Append)?;
            let len = file.metadata()?.len();
            (Some(Open::Writing(file)), FileAnswer::Opened { len })
        }
        Purpose::List => {
            let mut listing = shares.listing(path)?;
            let entries = listing.next(ENTRIES_MAX)?;
            (Some(Open::Listing(listing)), FileAnswer::Entries(entries))
        }
        Purpose::Stat => (None, FileAnswer::Info(shares.stat(path)?)),
    })
}

fn serve(opened: &mut Open, request: FileRequest) -> Result<FileAnswer, Refusal> {
    match (opened, request) {
        (Open::Reading(file), FileRequest::Read { at, bytes }) => {
            // Whatever is asked for: no more than this is held.
            let bytes = (bytes as usize).min(CHUNK_BYTES);
            read(file, at, bytes).map(FileAnswer::Chunk)
        }
        (Open::Writing(file), FileRequest::Write(bytes)) => {
            file.write_all(&bytes)?;
            Ok(FileAnswer::Written)
        }
        (Open::Writing(file), FileRequest::Close) => {
            file.sync_all()?;
            Ok(FileAnswer::Closed)
        }
        (Open::Listing(listing), FileRequest::Entries) => {
            listing.next(ENTRIES_MAX).map(FileAnswer::Entries)
        }
        (Open::Reading(_) | Open::Listing(_), FileRequest::Close) => Ok(FileAnswer::Closed),
        // Not asked for by our own side: it was opened for something else.
        (Open::Reading(_), FileRequest::Write(_) | FileRequest::Entries)
        | (Open::Writing(_), FileRequest::Read { .. } | FileRequest::Entries)
        | (Open::Listing(_), FileRequest::Read { .. } | FileRequest::Write(_)) => {
            Err(Errno::BADF.into())
        }
    }
}

/// So many bytes, or all that there are.
fn read(file: &File, at: u64, bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut chunk = Vec::with_capacity(bytes);
    while chunk.len() < bytes {
        let here = at.saturating_add(chunk.len() as u64);
        match pread(file, spare_capacity(&mut chunk), here) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
    }
    chunk.truncate(bytes); // the allocator may have given more
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_says_is_the_answer() {
        let here = || File::open("Cargo.toml").unwrap();
        // A file that was opened for something else stands for a disk that fails.
        let written = serve(&mut Open::Writing(here()), FileRequest::Write(vec![1]));
        assert_eq!(written, Err(Refusal::Os(Errno::BADF.raw_os_error())));
        let directory = File::open("src").unwrap();
        let read = FileRequest::Read { at: 0, bytes: 10 };
        let read = serve(&mut Open::Reading(directory), read);
        assert_eq!(read, Err(Refusal::Os(Errno::ISDIR.raw_os_error())));
        let beside = serve(&mut Open::Reading(here()), FileRequest::Write(vec![1]));
        assert_eq!(beside, Err(Refusal::Os(Errno::BADF.raw_os_error())), "it is read only");
    }

    #[test]
    fn no_more_is_read_at_once_than_a_chunk_whatever_is_asked_for() {
        let zeros = File::open("/dev/zero").unwrap();
        let read = FileRequest::Read { at: 0, bytes: u32::MAX };
        let read = serve(&mut Open::Reading(zeros), read);
        assert_eq!(read, Ok(FileAnswer::Chunk(vec![0; CHUNK_BYTES])), "FI-3");
        let mut here = Open::Reading(File::open("Cargo.toml").unwrap());
        let read = FileRequest::Read { at: u64::MAX, bytes: 1 };
        assert!(serve(&mut here, read).is_err(), "there is no such place");
    }
}
