//! The guard: a slave's outer OS process, which leaves nothing of the slave behind.
//!
//! ```text
//! master ──stdin──> guard <──life line──> worker ──> what the worker starts
//!        <─stdout──       <── outputs ───
//!                         <── tunnel ───>
//! ```
//!
//! It runs on one thread, in an OS process of its own, and does nothing but wait: for the master to
//! go or to ask, for the worker to end, for the beats on the life line to stay away. Then it kills
//! all that descends from it. `PR_SET_PDEATHSIG` towards the master would not do: it fires when the
//! master's *thread* ends that started us, and it would spare our descendants.
//!
//! GD-1: when the guard has left, nothing that the worker started is alive, be it a daemon.
//! GD-2: the guard leaves soon after the master is gone, silent, or says so.
//!
//! The one leak is a guard that is itself killed: the worker goes with it (GD-3, `life_line.rs`),
//! the worker's children stay. GD-9, who hears what a terminal says, is `session.rs`.
//!
//! GD-8 is stated in `channel.rs`. GD-7: one who asks the guard itself to end, with SIGTERM, SIGINT or SIGHUP, gets what the master
//! gets. They are caught, not ignored: exec undoes a handler, where all descendants would inherit an
//! ignore.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, set_child_subreaper};
use rustix::stdio::{stderr, stdin};

pub(crate) use life_line::LifeLine;
pub(crate) use report::WorkerEnd;

use asked::Asked;
use channel::{Channel, Master};
use letter::Letter;
use process::Process;
use timer::Timer;
use tree::Tree;

use super::args::own_args;

mod asked;
pub(crate) mod channel;
mod letter;
mod life_line;
mod process;
mod report;
mod session;
mod timer;
mod tree;

/// The first argument of a worker, before the node's name.
pub(crate) const WORKER_FLAG: &str = "--pspawn-worker";

/// What the guard exits with when it could not start a worker.
pub(crate) const EXIT_NOT_STARTED: i32 = 3;

/// The first and only argument of an executable that is tried out: can it run at all on this machine?
pub(crate) const CHECK_FLAG: &str = "--pspawn-check";

/// What a master writes to a guard's standard input, which it then keeps open: the guard allows
/// `silence_max` without a beat, and the worker gets `body` from [`LifeLine::take`].
///
/// # Errors
/// [`GuardError::BadLength`] if the body is too long, [`GuardError::NoLimit`] if `silence_max` is
/// less than a millisecond.
pub(crate) fn letter(silence_max: Duration, body: &[u8]) -> Result<Vec<u8>, GuardError> {
    Letter { silence_max, guard: 0, body: body.to_vec() }.to_bytes()
}

/// All that a guard does, from reading the master's letter to the end of the last descendant; the
/// result is the exit code. Nothing else may have run in this OS process: no thread, no child.
///
/// The code is 0 if the master or a signal asked, the master closed its end, or the worker left with 0; otherwise the
/// worker's code, or 128 and the signal that killed it; [`EXIT_NOT_STARTED`] if there was no worker.
pub(crate) fn run(node: &str, args: &[OsString]) -> i32 {
    let mut guard = match Guard::start(node, args) {
        Ok(guard) => guard,
        Err(error) => {
            say(&format!("pspawn guard {node}: {error}\n"));
            return EXIT_NOT_STARTED;
        }
    };
    let ending = guard.watch();
    let ended = guard.tree.end(&guard.silence);
    let patient = match ending {
        Ending::Worker | Ending::Silence | Ending::Blind(_) => {
            guard.silence.start(LAST_OUTPUT_MAX);
            Some(&guard.silence)
        }
        Ending::Master | Ending::Asked => None,
    };
    guard.channel.finish(patient);
    let (text, code) = guard.report(node, ending, ended);
    say(&text);
    code
}

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError {
    /// The other end was closed before the letter was complete.
    #[error("closed before the letter was complete")]
    Closed,
    /// The letter's length is none that a letter has.
    #[error("a letter of {bytes} bytes: expected 8 to 1048576")]
    BadLength { bytes: usize },
    /// The letter allows no silence at all.
    #[error("a letter that allows no silence")]
    NoLimit,
    /// The letter did not come in time.
    #[error("no letter within {after:?}")]
    TimedOut { after: Duration },
    /// The worker's guard is gone, or was never there.
    #[error("the parent is not the guard")]
    Guardless,
    /// The operating system refused something.
    #[error("{what}: {errno}")]
    System { what: &'static str, errno: Errno },
}

impl GuardError {
    fn system(what: &'static str) -> impl Fn(Errno) -> GuardError {
        move |errno| GuardError::System { what, errno }
    }
}

/// A guard with a worker.
struct Guard {
    tree: Tree,
    asked: Asked,
    channel: Channel,
    /// None where the kernel has none: then the closed life line tells that the worker ended.
    pidfd: Option<OwnedFd>,
    /// None once the worker has closed its end.
    line: Option<OwnedFd>,
    /// What the worker has not yet been sent of its letter.
    unsent: Vec<u8>,
    silence: Timer,
    silence_max: Duration,
    heard: bool,
}

/// Why the slave ends.
#[derive(Clone, Copy)]
enum Ending {
    /// The master asked, or is gone.
    Master,
    /// Somebody asked by a signal.
    Asked,
    /// The worker has ended.
    Worker,
    /// No beat came in time.
    Silence,
    /// The kernel lets us watch no more.
    Blind(Errno),
}

impl Guard {
    fn start(node: &str, args: &[OsString]) -> Result<Guard, GuardError> {
        session::leave_terminal();
        let asked = Asked::listen()?;
        set_child_subreaper(Some(getpid())).map_err(GuardError::system("becoming subreaper"))?;
        let silence = Timer::new().map_err(GuardError::system("a timer"))?;

        let letter = Letter::read(stdin(), LETTER_MAX)?;
        let silence_max = letter.silence_max;
        let guard = getpid().as_raw_nonzero().get().cast_unsigned();
        let unsent = Letter { guard, ..letter }.to_bytes()?;

        let system = |what| {
            move |error: std::io::Error| {
                GuardError::system(what)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
            }
        };
        let (line, theirs) = UnixStream::pair().map_err(system("the life line"))?;
        let (tunnel, worker_tunnel) = UnixStream::pair().map_err(system("the tunnel"))?;
        life_line::hand_over(&line, &worker_tunnel).map_err(GuardError::system("the tunnel"))?;
        drop(worker_tunnel);
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(GuardError::system("the output"));
        let ((output, worker_output), (errors, worker_errors)) = (pipe()?, pipe()?);
        // Not by our path: that may have been deleted since, or be a newer build by now. In the
        // forked child, too, this link means the very file that we run.
        let worker = Command::new("/proc/self/exe")
            .arg0(own_args().into_iter().next().unwrap_or_default())
            .arg(WORKER_FLAG)
            .arg(node)
            .args(args)
            .stdin(OwnedFd::from(theirs))
            .stdout(worker_output)
            .stderr(worker_errors)
            .spawn()
            .map_err(system("starting the worker"))?;
        let worker = i32::try_from(worker.id()).ok().and_then(Pid::from_raw);
        let worker = worker.expect("the kernel's pids are positive");

        silence.start(STARTUP_MAX.max(silence_max));
        Ok(Guard {
            tree: Tree::new(worker),
            asked,
            channel: Channel::new(output, errors, tunnel.into()),
            pidfd: pidfd_open(worker, PidfdFlags::empty()).ok(),
            line: Some(line.into()),
            unsent,
            silence,
            silence_max,
            heard: false,
        })
    }

    /// Waits until there is a reason to end.
    fn watch(&mut self) -> Ending {
        loop {
            let mut fds = self.channel.watched();
            fds.push(PollFd::new(&self.silence, PollFlags::IN));
            fds.push(PollFd::new(&self.asked, PollFlags::IN));
            fds.extend(self.pidfd.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
            let room = if self.unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            fds.extend(self.line.iter().map(|line| PollFd::new(line, PollFlags::IN | room)));
            if let Err(errno) = wait_for(&mut fds, None) {
                return Ending::Blind(errno);
            }

            // Only the master's pipe would block; the others we just ask.
            let master = fds[0].revents();
            if self.channel.carry(master) == Master::Ends {
                return Ending::Master;
            }
            if self.asked.is_so() {
                return Ending::Asked;
            }
            self.feed();
            if self.beats() {
                self.heard = true;
                self.silence.start(self.silence_max);
            }
            // At each beat, too: orphans that ended in the meantime are ours to bury.
            self.tree.reap();
            let closed = self.line.is_none() && self.pidfd.is_none();
            if self.tree.worker_status().is_some() || closed {
                return Ending::Worker;
            }
            // After the beats: a guard that was late itself has beats to read before it judges.
            if self.silence.fired() {
                return Ending::Silence;
            }
        }
    }

    /// Sends the worker as much of its letter as the socket takes: it may be longer than that, and
    /// a worker that does not read must not hold us up.
    fn feed(&mut self) {
        while let Some(line) = &self.line
            && !self.unsent.is_empty()
        {
            match send(line, &self.unsent, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(bytes) => drop(self.unsent.drain(..bytes)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // It is going; its end is noticed elsewhere.
                Err(_) => self.unsent.clear(),
            }
        }
    }

    /// Has the worker heard its master since we last looked?
    fn beats(&mut self) -> bool {
        let Some(line) = &self.line else { return false };
        match recv(line, &mut [0; 256], RecvFlags::DONTWAIT) {
            Ok((1.., _)) => true,
            Err(Errno::INTR | Errno::AGAIN) => false,
            // Closed: it is about to end with a code of its own, or the beats will be missed.
            Ok((0, _)) | Err(_) => {
                self.line = None;
                false
            }
        }
    }

    /// What to say at the end, and the exit code.
    fn report(&self, node: &str, ending: Ending, ended: Result<(), Vec<Process>>) -> (String, i32) {
        let mut text = String::new();
        let mut line = |line: &str| {
            let _ = writeln!(text, "pspawn guard {node}: {line}");
        };
        if let Err(left) = ended {
            let names = left.iter().map(|left| format!("{} ({})", left.pid, left.name));
            let names = names.take(LEFT_NAMED_MAX).collect::<Vec<_>>().join(", ");
            let count = left.len();
            line(&format!("{count} OS processes could not be ended: {names}"));
        }
        let status = self.tree.worker_status();
        let end = match (ending, status) {
            (Ending::Master, _) => None,
            (Ending::Asked, _) => {
                line("a signal asked it to end");
                None
            }
            (Ending::Silence, _) => {
                if self.heard {
                    let seconds = self.silence_max.as_secs_f64();
                    line(&format!("heard nothing from the master for {seconds} s: ended"));
                } else {
                    let seconds = STARTUP_MAX.max(self.silence_max).as_secs_f64();
                    line(&format!("the worker did not start within {seconds} s: ended"));
                }
                Some(WorkerEnd::Silent)
            }
            (Ending::Worker | Ending::Blind(_), None) => {
                line("the worker could not be ended");
                Some(WorkerEnd::Silent)
            }
            (Ending::Worker, Some(status)) => {
                let end = WorkerEnd::of(status);
                if end.is_some() {
                    line(&format!("the worker {}", report::in_words(status)));
                }
                end
            }
            (Ending::Blind(errno), Some(status)) => {
                line(&format!("could not watch the worker any more: {errno}"));
                WorkerEnd::of(status)
            }
        };
        if let Some(end) = end {
            let _ = writeln!(text, "{end}");
        }
        (text, end.map_or(0, WorkerEnd::exit_code))
    }
}

/// Writes to standard error if somebody reads it. No one there, or no room for long: then not.
///
/// Started before `main`, we do not have SIGPIPE ignored as Rust programs have; and a master that is
/// stopped must not hold us up.
fn say(text: &str) {
    let stderr = stderr();
    let mut fds = [PollFd::from_borrowed_fd(stderr, PollFlags::OUT)];
    let _ = wait_for(&mut fds, Some(&SAY_MAX));
    if fds[0].revents() == PollFlags::OUT {
        // At most a page goes into a pipe that has room without blocking, and in one piece.
        let _ = rustix::io::write(stderr, &text.as_bytes()[..text.len().min(PAGE_BYTES)]);
    }
}

fn wait_for(fds: &mut [PollFd<'_>], at_most: Option<&Timespec>) -> Result<(), Errno> {
    match poll(fds, at_most) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// How long the letter may take, to the guard and to the worker.
const LETTER_MAX: Duration = Duration::from_secs(10);

/// How long the first beat may take: the worker has to start, and to find its master.
const STARTUP_MAX: Duration = Duration::from_secs(15);

/// How long what a worker wrote before its end may take to be read.
const LAST_OUTPUT_MAX: Duration = Duration::from_secs(1);

/// How long the last words may take.
const SAY_MAX: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// To look, and not to wait.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How many of those who would not go are named.
const LEFT_NAMED_MAX: usize = 50;

const PAGE_BYTES: usize = 4096;
