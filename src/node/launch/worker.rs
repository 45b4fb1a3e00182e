//! A slave from inside: how an OS process becomes a guard or a worker, and how a worker ends.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::SIGPIPE;
use slog::crit;

use super::letter::{Letter, login_ends, with_login_address};
use super::{ANY_ADDRESS, Launching};
use crate::launcher::GUARD_FLAG;
use crate::log;
use crate::node::ambient::set_default_node;
use crate::node::config::{Config, cores};
use crate::node::guard::{self, CHECK_FLAG, LifeLine, WORKER_FLAG};
use crate::node::output::Sink;
use crate::node::stream::ByteStream;
use crate::node::terminal::OutputFormat;
use crate::node::ways::own_host;
use crate::node::{Node, NodeError, undumpable};
use crate::term::{At, NodeName, Via};
use crate::wire::greeting::Part;

/// Becomes a guard or a worker, if this OS process was started as one. Returns the exit code then. Without any
/// arguments nobody can tell: it is not initialized then.
pub(crate) fn become_slave(args: &[OsString]) -> Option<i32> {
    if !args.is_empty() {
        INITIALIZED.store(true, Ordering::Release);
    }
    let flag = args.get(1)?.to_str()?;
    let name = args.get(2).and_then(|name| name.to_str()).unwrap_or_default();
    let rest = args.get(3..).unwrap_or_default();
    if [GUARD_FLAG, WORKER_FLAG].contains(&flag) {
        undumpable(); // before it reads its letter
    }
    match flag {
        GUARD_FLAG => Some(guard::run(name, rest)),
        WORKER_FLAG => Some(work()),
        CHECK_FLAG if args.len() == 2 => Some(0),
        _ => None,
    }
}

/// Whether slaves of this executable would be slaves, and not run its `main` again.
pub(crate) fn is_initialized() -> bool {
    INITIALIZED.load(Ordering::Acquire)
}

static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// All that a worker does. Returns only if it could not start, or its guard is gone.
fn work() -> i32 {
    let log = log::to_stderr();
    // Rust's runtime, which would have seen to it, has not begun. Nobody who writes to a pipe that is closed is to end
    // the slave, but to have an error, as on the master. What is executed from here has the default again.
    if let Err(why) = signal_hook::flag::register(SIGPIPE, Arc::default()) {
        crit!(log, "a worker cannot catch signals"; "reason" => %why);
        return guard::EXIT_NOT_STARTED;
    }
    let (life_line, letter, tunnel) = match LifeLine::take() {
        Ok(taken) => taken,
        Err(why) => {
            crit!(log, "a worker is started by its guard only"; "reason" => %why);
            return guard::EXIT_NOT_STARTED;
        }
    };
    let letter: Letter = match rmp_serde::from_slice(&letter) {
        Ok(letter) => letter,
        Err(why) => {
            crit!(log, "the letter is none of this version's"; "reason" => %why);
            return guard::EXIT_NOT_STARTED;
        }
    };
    let life_line = Arc::new(life_line);
    let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let config = Config {
        name: letter.name,
        part: Part::Slave,
        cookie: letter.cookie,
        listen: loopback,
        listen_tls: letter.listens.then_some(ANY_ADDRESS),
        likely_ip: login_ends().map(|(_, ours)| ours),
        host: own_host(),
        credentials: letter.credentials,
        authority: None,
        workers: cores(),
        allow: letter.allow,
        only: letter.only,
        times: letter.times,
        frame_bytes_max: letter.frame_bytes_max,
        log: log.clone(),
        output: Sink::terminal(OutputFormat::Raw), // the master sets its name in front
        life_line: Some(life_line.clone()),
        program: None,
        args: letter.args,
        launching: Launching::default(),
        shares: Arc::default(),
    };
    let at = with_login_address(letter.master_at);
    match futures::executor::block_on(serve(config, letter.master, at, tunnel)) {
        Ok(node) => {
            set_default_node(&node);
        }
        Err(why) => {
            crit!(log, "the slave could not start"; "reason" => %why);
            return guard::EXIT_NOT_STARTED;
        }
    }
    // This thread has nothing left to do but to notice the guard's end.
    loop {
        let mut watched = [PollFd::from_borrowed_fd(life_line.as_fd(), PollFlags::IN)];
        match poll(&mut watched, None) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => end_worker(),
        }
    }
}

async fn serve(
    config: Config,
    master: NodeName,
    at: At,
    tunnel: OwnedFd,
) -> Result<Arc<Node>, NodeError> {
    let node = Node::start(config).await?;
    node.call_back(master, at, Some(Box::new(move || through(tunnel))));
    Ok(node)
}

/// The way to a master that cannot be reached: what launched us carries it.
fn through(tunnel: OwnedFd) -> std::io::Result<ByteStream> {
    let tunnel = UnixStream::from(tunnel);
    tunnel.set_nonblocking(true)?;
    let (from, to) = tokio::net::UnixStream::from_std(tunnel)?.into_split();
    Ok(ByteStream::new(Via::Launcher, from, to))
}

/// Ends this worker at once, whatever its threads do: the master is gone. The guard does the rest.
pub(crate) fn end_worker() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

/// Ends this worker because the master said so.
pub(crate) fn end_worker_in_peace() -> ! {
    std::process::exit(0)
}

impl Node {
    /// Tells the guard that the master was heard, at most every [`BEAT_EVERY`].
    pub(crate) fn beat(&self, now: Duration) {
        let Some(life_line) = &self.config.life_line else { return };
        if self.beat_is_due(now, BEAT_EVERY) && !life_line.beat() {
            end_worker();
        }
    }
}

const BEAT_EVERY: Duration = Duration::from_millis(50);
