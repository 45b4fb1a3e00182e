//! The signals by which somebody asks the guard itself to end.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::low_level::pipe;

use super::GuardError;

/// Readable once a signal has asked (GD-7).
pub(super) struct Asked(UnixStream);

impl Asked {
    /// Catches the signals from now on.
    pub(super) fn listen() -> Result<Asked, GuardError> {
        let caught = || {
            let (ours, handlers) = UnixStream::pair()?;
            for signal in [SIGTERM, SIGINT, SIGHUP] {
                pipe::register(signal, handlers.try_clone()?)?;
            }
            // A master that is gone while we write to it must not take us along: there are descendants to end.
            signal_hook::flag::register(SIGPIPE, Arc::default())?;
            Ok(Asked(ours))
        };
        caught().map_err(|why: std::io::Error| {
            let errno = Errno::from_io_error(&why).unwrap_or(Errno::IO);
            GuardError::system("catching signals")(errno)
        })
    }

    /// Has a signal asked since the last look?
    pub(super) fn is_so(&self) -> bool {
        matches!(recv(&self.0, &mut [0; 16], RecvFlags::DONTWAIT), Ok((1.., _)))
    }
}

impl AsFd for Asked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
