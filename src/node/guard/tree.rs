//! All OS processes below the guard, and their end.

use std::collections::HashSet;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};

use super::process::Process;
use super::timer::Timer;
use super::wait_for;

/// The worker and all that came of it. Being their subreaper, the guard becomes the parent of
/// whoever loses its own: nobody leaves the tree, not by `setsid`, not by forking twice.
pub(super) struct Tree {
    worker: Pid,
    status: Option<WaitStatus>,
}

impl Tree {
    pub(super) fn new(worker: Pid) -> Tree {
        Tree { worker, status: None }
    }

    /// How the worker ended, once it has and was reaped.
    pub(super) fn worker_status(&self) -> Option<WaitStatus> {
        self.status
    }

    /// Buries all dead children. Is there a living one?
    pub(super) fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.worker => self.status = Some(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return true,
                // ECHILD: everyone below us hangs from a child of ours, so nobody is left.
                Err(_) => return false,
            }
        }
    }

    /// Kills until nobody is left.
    ///
    /// # Errors
    /// Those who would not go, as far as we see them.
    pub(super) fn end(&mut self, timer: &Timer) -> Result<(), Vec<Process>> {
        timer.start(END_MAX);
        let mut late = false;
        let mut killed = HashSet::new();
        if self.status.is_none() {
            // Needs no /proc: as long as it is not reaped, the pid is the worker's.
            let _ = kill_process(self.worker, Signal::KILL);
        }
        while self.reap() {
            let mut progress = false;
            for process in freeze(&killed) {
                if process.signal(Signal::KILL).is_ok() {
                    progress |= killed.insert((process.pid, process.started));
                }
            }
            // GD-6: the guard leaves when nobody is left, or when for two seconds someone would not
            // go (another user's, or stuck in the kernel) and there is nobody else it could kill.
            late |= timer.fired();
            if late && !progress {
                let left = Process::descendants().into_iter();
                return Err(left.filter(|process| !process.zombie).collect());
            }
            if self.reap() {
                // SIGKILL is on its way; orphans come to us without a word. This is the one place
                // where looking again is right.
                let _ = wait_for(&mut [PollFd::new(timer, PollFlags::IN)], Some(&LOOK_AGAIN));
            }
        }
        Ok(())
    }
}

/// Stops everyone below us who is not yet killed, and returns them.
///
/// GD-4: first all are stopped, then all are killed. Killing at once makes room for the next child
/// of one who forks without end; a stopped one forks no more, so at some pass there is nobody new.
fn freeze(killed: &HashSet<(i32, u64)>) -> Vec<Process> {
    let mut known = killed.clone();
    let mut frozen = Vec::new();
    for _ in 0..PASSES_MAX {
        let mut new = false;
        for process in Process::descendants() {
            let id = (process.pid, process.started);
            if !known.contains(&id) && process.signal(Signal::STOP).is_ok() {
                known.insert(id);
                frozen.push(process);
                new = true;
            }
        }
        if !new {
            break;
        }
    }
    frozen
}

/// How long to go on killing.
const END_MAX: Duration = Duration::from_secs(2);

/// How soon to look whether the killed are dead.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// One who may not be stopped, but whose children may, could feed us new ones forever.
const PASSES_MAX: usize = 64;
