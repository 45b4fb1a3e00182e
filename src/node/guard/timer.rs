//! A timer that `poll` can wait for, on the clock that also runs while the machine sleeps.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::{self, Errno};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Readable once its time is up. It counts on `CLOCK_BOOTTIME`: a suspended machine was silent too,
/// and the timer fires as soon as it wakes.
pub(super) struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not running.
    pub(super) fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        timerfd_create(TimerfdClockId::Boottime, flags).map(Timer)
    }

    /// Starts it anew; that it fired before is forgotten. `after` is not zero.
    pub(super) fn start(&self, after: Duration) {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let after = Timespec::try_from(after).expect("our limits fit a timespec");
        let once = Itimerspec { it_interval: never, it_value: after };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)
            .expect("a timer takes any time of at most 2^32 ms");
    }

    /// Has it fired since it was started? Says so once.
    pub(super) fn fired(&self) -> bool {
        let mut times = [0; 8];
        loop {
            match io::read(&self.0, &mut times) {
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
