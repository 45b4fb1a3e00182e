//! A guard's place among sessions, process groups and terminals.
//!
//! A slave stays in the session that it was started in, as the scheduler shares each core out among sessions (`autogroup`),
//! and only then among threads: of two slaves in sessions of their own, the one with fewer busy threads would keep the core that they
//! share for longer, whatever it says of others being due.

#![expect(unsafe_code, reason = "a request to a terminal that rustix does not know")]

use std::os::fd::AsRawFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::setpgid;

/// GD-9: what a terminal says to those in front of it, its SIGINT and SIGHUP, says nothing to this OS process and to
/// what it starts; and none of them waits for a terminal.
///
/// A guard that is stopped when its master ends goes on then: to a process group that nobody of its session is left to continue,
/// the kernel sends SIGHUP and SIGCONT.
///
/// Who leads a session, as ssh starts us, leads a process group of its own, and had no terminal to begin with.
pub(super) fn leave_terminal() {
    // Refused to who leads a session. To ask for the session itself is no way: its leader may be beyond this PID namespace.
    if setpgid(None, None).is_err() {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(terminal) = open("/dev/tty", flags, Mode::empty()) {
        // SAFETY: this request takes nothing, and it is about an open file.
        let _ = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
    }
}
