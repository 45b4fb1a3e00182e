//! The witness: a thread that ends with its OS process, and before the rest of it does.
//!
//! Of an OS process that is killed the kernel takes the memory apart before it closes a socket: nobody hears of the end
//! sooner, and that is most of a millisecond. But it does so once, with the last of the threads; what each thread has
//! for itself alone goes with that thread. The witness has nothing but the writing end of a pipe, in a descriptor
//! table of its own; the nodes of the same host get the reading end.

#![expect(unsafe_code, reason = "a descriptor table that is not that of the other threads")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{OnceLock, mpsc};
use std::thread::park;

use rustix::pipe::{PipeFlags, pipe_with};

/// The end of a pipe which hangs up when this OS process ends. None: a witness cannot be had. Kernels before 5.9 have
/// no such call, and some containers forbid it.
pub(super) fn sight() -> Option<BorrowedFd<'static>> {
    static SIGHT: OnceLock<Option<OwnedFd>> = OnceLock::new();
    SIGHT.get_or_init(|| start().ok()).as_ref().map(AsFd::as_fd)
}

fn start() -> io::Result<OwnedFd> {
    let (sight, held) = pipe_with(PipeFlags::CLOEXEC)?;
    let number = held.as_raw_fd();
    let (tell, told) = mpsc::channel();
    let witness = move || {
        let alone = close_all_but(number);
        let ends = alone.is_err();
        let _ = tell.send(alone);
        if ends {
            return;
        }
        loop {
            park(); // nobody wakes it
        }
    };
    std::thread::Builder::new().name("witness".into()).stack_size(STACK_BYTES).spawn(witness)?;
    told.recv().map_err(io::Error::other)??;
    drop(held); // the other one is the witness's now
    Ok(sight)
}

/// Gives this thread a descriptor table of its own, with nothing in it but this.
fn close_all_but(kept: RawFd) -> io::Result<()> {
    let kept = kept.cast_unsigned();
    let close = |first: u32, last: u32| {
        // SAFETY: what is closed is closed in a table that no other thread sees, and this one refers to nothing in it.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, UNSHARE) };
        if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    close(kept + 1, u32::MAX)?; // the first of the two makes the table
    if kept > 0 { close(0, kept - 1) } else { Ok(()) }
}

/// A thread that has a table of its own keeps it.
const UNSHARE: u32 = libc::CLOSE_RANGE_UNSHARE;
/// It does next to nothing.
const STACK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs::{read_dir, read_link, read_to_string};
    use std::path::PathBuf;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    #[test]
    fn the_witness_alone_has_the_end_that_its_os_process_ends_with() {
        let sight = sight().expect("there is a witness");
        let pipe = read_link(format!("/proc/self/fd/{}", sight.as_raw_fd())).expect("it is open");
        let of_pipe = |of: &str| -> Vec<Option<PathBuf>> {
            let fds = read_dir(format!("/proc/self/{of}/fd")).expect("there is such a table");
            fds.map(|fd| read_link(fd.unwrap().path()).ok()).collect()
        };
        let tasks = read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().file_name());
        let tasks = tasks.map(|task| format!("task/{}", task.to_str().unwrap()));
        let is_witness = |task: &String| {
            read_to_string(format!("/proc/self/{task}/comm")).is_ok_and(|name| name == "witness\n")
        };
        let witness: Vec<String> = tasks.filter(is_witness).collect();
        let [witness] = &witness[..] else { panic!("one for the OS process: {witness:?}") };
        assert_eq!(of_pipe(witness), [Some(pipe.clone())], "and nothing else");

        // Others of this OS process's tests may have the reading end, too.
        for fd in read_dir("/proc/self/fd").unwrap().map(|fd| fd.unwrap().path()) {
            if read_link(&fd).is_ok_and(|to| to == pipe) {
                let number = fd.file_name().unwrap().to_str().unwrap();
                let info = read_to_string(format!("/proc/self/fdinfo/{number}"));
                let flags = info
                    .as_deref()
                    .unwrap_or_default()
                    .lines()
                    .find_map(|line| line.strip_prefix("flags:"));
                assert!(
                    flags.is_none_or(|flags| flags.ends_with('0')),
                    "it can be written to: {flags:?}"
                );
            }
        }

        let mut sight = [PollFd::from_borrowed_fd(sight, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(poll(&mut sight, Some(&now)), Ok(0), "while it lives, nothing is to be seen");
    }
}
