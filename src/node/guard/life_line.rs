//! The worker's end of the socket to its guard.

use std::ffi::CString;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::{Errno, fcntl_dupfd_cloexec, ioctl_fionbio};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::stdio::{dup2_stdin, stdin};

use super::letter::Letter;
use super::{GuardError, LETTER_MAX};
use crate::node::args::own_args;

/// What ties a worker to its guard: the worker sends a byte each time it heard its master, and the
/// guard ends it when they stay away.
///
/// The guard sends nothing on it after the letter: once it is readable ([`AsFd`], [`AsRawFd`]; it
/// does not block), the guard is gone and the worker must exit at once. Dropping it ends the beats;
/// a worker that lives on is ended when the silence has lasted too long.
#[derive(Debug)]
pub(crate) struct LifeLine {
    socket: OwnedFd,
}

impl LifeLine {
    /// Takes the socket from standard input, which is `/dev/null` from then on, and returns it with
    /// the body of the master's letter and the worker's end of the tunnel.
    ///
    /// To be called once, first, on the main thread: the kernel kills this OS process if the guard
    /// dies, but forgets that as soon as the *thread* that called is gone.
    ///
    /// # Errors
    /// [`GuardError::Guardless`] if the guard died before we could ask to die with it; the others
    /// if standard input is not a guard's socket.
    pub(crate) fn take() -> Result<(LifeLine, Vec<u8>, OwnedFd), GuardError> {
        // GD-3: a worker does not outlive its guard. The signal covers the time after this call,
        // the look at our parent below the time before it.
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(GuardError::system("the death signal"))?;
        name_after_program();

        let socket =
            fcntl_dupfd_cloexec(stdin(), 3).map_err(GuardError::system("the life line"))?;
        let nothing = File::open("/dev/null").map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            GuardError::system("/dev/null")(errno)
        })?;
        dup2_stdin(nothing).map_err(GuardError::system("standard input"))?;

        let tunnel = take_over(&socket)?;
        let letter = Letter::read(&socket, LETTER_MAX)?;
        let parent = getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
        if parent != Some(letter.guard) {
            return Err(GuardError::Guardless);
        }
        ioctl_fionbio(&socket, true).map_err(GuardError::system("the life line"))?;
        Ok((LifeLine { socket }, letter.body, tunnel))
    }

    /// Tells the guard that the master was heard. False if the guard is gone.
    pub(crate) fn beat(&self) -> bool {
        // A full socket is fine: the guard has beats enough to read.
        let sent = send(&self.socket, b"b", SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        !matches!(sent, Err(Errno::PIPE | Errno::CONNRESET))
    }
}

impl AsFd for LifeLine {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for LifeLine {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Puts a file descriptor for the worker ahead of the letter; the socket is empty, so it does not block.
pub(super) fn hand_over(line: impl AsFd, fd: impl AsFd) -> Result<(), Errno> {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)), "there is room for one");
    sendmsg(line, &[IoSlice::new(b"t")], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// Takes what [`hand_over`] has put there, and not a byte more.
fn take_over(line: impl AsFd) -> Result<OwnedFd, GuardError> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut byte)];
    recvmsg(line, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .map_err(GuardError::system("the tunnel"))?;
    let mut handed = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    handed.next().ok_or(GuardError::Closed)
}

/// Started from `/proc/self/exe`, we would be called `exe` in `top` and `ps`.
fn name_after_program() {
    let program = own_args().into_iter().next().unwrap_or_default();
    if let Some(name) = Path::new(&program).file_name()
        && let Ok(name) = CString::new(name.as_bytes())
    {
        let _ = rustix::thread::set_name(&name);
    }
}
