//! Starts a slave's OS processes, keeps its life line, and ends them.
//!
//! ```text
//! master ──spawns──> guard ──spawns──> worker, which dials the master
//! ```
//! The guard's standard input carries the letter with the secrets, and then stays open: when it closes,
//! for whatever reason, the guard ends everything below it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use slog::{crit, debug};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::ambient::set_default_node;
use super::cell::lock;
use super::config::{Config, Times, cores};
use super::guard::{self, GUARD_FLAG, LifeLine, WORKER_FLAG, WorkerEnd};
use super::output::{OutputLine, to_terminal};
use super::ways::own_host;
use super::{Node, NodeError, undumpable};
use crate::cookie::Cookie;
use crate::log;
use crate::term::{At, NodeName};
use crate::wire::Stream;
use crate::wire::greeting::Part;

/// A slave that is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: NodeName,
    /// The host as the hosts file has it.
    pub(crate) host: String,
    /// None: the running executable.
    pub(crate) program: Option<PathBuf>,
    /// On the slave's command line.
    pub(crate) args: Vec<String>,
}

/// A host on which no slave could be started; the others run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host}: {step}: {why}")]
#[non_exhaustive]
pub struct HostFailure {
    /// The host as the hosts file has it.
    pub host: String,
    /// What failed.
    pub step: StartStep,
    /// Why, with what the slave wrote if it wrote anything.
    pub why: String,
}

/// The steps of starting a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartStep {
    /// Making a node name of the pool's name and the host.
    Name,
    /// Starting an OS process there.
    Launch,
    /// The slave's own start, up to its call to the master.
    CallBack,
}

impl std::fmt::Display for StartStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            StartStep::Name => "name",
            StartStep::Launch => "launch",
            StartStep::CallBack => "call back",
        })
    }
}

/// A slave whose OS processes run.
pub(crate) struct Running {
    /// Closing it ends the slave and all that descends from it.
    pub(crate) life_line: ChildStdin,
    pub(crate) guard_pid: u32,
    /// What the slave wrote last.
    pub(crate) said: Arc<Said>,
    /// Comes true when the guard, and so everything, is gone.
    pub(crate) gone: oneshot::Receiver<Gone>,
}

/// How a slave's OS processes ended.
#[derive(Clone, Debug)]
pub(crate) struct Gone {
    pub(crate) why: String,
}

/// What the master writes to a slave's guard; secrets go no other way.
#[derive(Serialize, Deserialize)]
struct Letter {
    name: NodeName,
    master: NodeName,
    master_at: At,
    cookie: Cookie,
    times: Times,
    frame_bytes_max: usize,
    allow: Vec<String>,
    only: Option<Vec<String>>,
    args: Vec<String>,
}

/// Starts the guard of a slave, hands it the letter, and gathers what it writes.
pub(crate) async fn launch(node: &Arc<Node>, plan: &Plan) -> Result<Running, HostFailure> {
    let failed =
        |why: String| HostFailure { host: plan.host.clone(), step: StartStep::Launch, why };
    let program = match &plan.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(|why| failed(format!("which program? {why}")))?,
    };
    let letter = letter(node, plan).map_err(|why| failed(why.to_string()))?;
    let mut child = Command::new(&program)
        .arg(GUARD_FLAG)
        .arg(plan.name.as_str())
        .args(&plan.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| failed(format!("{}: {why}", program.display())))?;
    let guard_pid = child.id().unwrap_or_default();
    let mut life_line = child.stdin.take().expect("it was asked for above");

    let said = Arc::new(Said::new(node.clone(), plan));
    let pumps = [
        child.stdout.take().map(|from| actix_rt::spawn(pump(from, said.clone(), Stream::Out))),
        child.stderr.take().map(|from| actix_rt::spawn(pump(from, said.clone(), Stream::Err))),
    ];
    let (tell_gone, mut gone) = oneshot::channel();
    let last_words = said.clone();
    actix_rt::spawn(async move {
        let why = reap(child).await;
        // What a grandchild of another session keeps open is not waited for.
        for pump in pumps.into_iter().flatten() {
            let _ = timeout(LAST_WORDS, pump).await;
        }
        let why = lock(&last_words.report).map_or(why, in_words);
        let _ = tell_gone.send(Gone { why });
    });

    let handed = timeout(node.config.times.greeting, life_line.write_all(&letter)).await;
    let why = match handed {
        Ok(Ok(())) => return Ok(Running { life_line, guard_pid, said, gone }),
        Ok(Err(why)) => why.to_string(),
        Err(_) => "it does not read".to_owned(),
    };
    drop(life_line);
    // What it has said is all here when it is gone.
    let gone = match timeout(LAST_WORDS, &mut gone).await {
        Ok(gone) => gone,
        Err(_) => {
            kill(guard_pid);
            gone.await
        }
    };
    let end = gone.map_or_else(|_| "it was lost".to_owned(), |gone| gone.why);
    Err(failed(said.with_tail(&format!("its letter was not taken ({why}); {end}"))))
}

/// Kills a guard that does not end; its worker goes with it.
pub(crate) fn kill(guard_pid: u32) {
    let pid = i32::try_from(guard_pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn letter(node: &Node, plan: &Plan) -> Result<Vec<u8>, guard::GuardError> {
    let Config { cookie, times, frame_bytes_max, allow, only, .. } = node.config.clone();
    let letter = Letter {
        name: plan.name,
        master: node.name,
        master_at: node.at(),
        cookie,
        times,
        frame_bytes_max,
        allow,
        only,
        args: plan.args.clone(),
    };
    let body = rmp_serde::to_vec(&letter).expect("a letter is plain data");
    guard::letter(times.silence_max, &body)
}

async fn reap(mut child: Child) -> String {
    match child.wait().await {
        Ok(status) if status.success() => "it ended".to_owned(),
        Ok(status) => format!("it ended: {status}"),
        Err(why) => format!("its end was not seen: {why}"),
    }
}

fn in_words(end: WorkerEnd) -> String {
    match end {
        WorkerEnd::Code(code) => format!("its worker exited with code {code}"),
        WorkerEnd::Signal(signal) => format!("its worker was killed by signal {signal}"),
        WorkerEnd::Silent => "its worker was silent".to_owned(),
    }
}

/// What a slave writes to its standard output and standard error: before it can talk it goes to
/// `$HOME/.erlang.slave.out.HOST`, then to the pool's output; the end of it is kept for error reports.
pub(crate) struct Said {
    node: Arc<Node>,
    slave: NodeName,
    file: Mutex<Option<File>>,
    tail: Mutex<VecDeque<String>>,
    report: Mutex<Option<WorkerEnd>>,
}

impl Said {
    fn new(node: Arc<Node>, plan: &Plan) -> Said {
        let file = out_file(&plan.host).and_then(|path| {
            let file = File::options().create(true).append(true).open(&path);
            let mut file = file
                .map_err(|why| debug!(node.log, "no file for a slave's output"; "reason" => %why))
                .ok()?;
            if file.metadata().is_ok_and(|meta| meta.len() > OUT_FILE_BYTES_MAX) {
                let _ = file.set_len(0);
            }
            let _ = writeln!(file, "== {} started by {}", plan.name, node.name);
            Some(file)
        });
        Said {
            node,
            slave: plan.name,
            file: Mutex::new(file),
            tail: Mutex::default(),
            report: Mutex::default(),
        }
    }

    /// From now on lines go to the pool's output.
    pub(crate) fn can_talk(&self) {
        *lock(&self.file) = None;
    }

    /// `why`, and what the slave wrote last.
    pub(crate) fn with_tail(&self, why: &str) -> String {
        let tail = lock(&self.tail);
        match tail.is_empty() {
            true => why.to_owned(),
            false => {
                let lines: Vec<&str> = tail.iter().map(String::as_str).collect();
                format!("{why}; it wrote: {}", lines.join(" / "))
            }
        }
    }

    fn line(&self, stream: Stream, line: String) {
        if let Ok(end) = line.parse::<WorkerEnd>() {
            *lock(&self.report) = Some(end);
            return;
        }
        {
            let mut tail = lock(&self.tail);
            if tail.len() == TAIL_LINES_MAX {
                tail.pop_front();
            }
            tail.push_back(line.chars().take(TAIL_CHARS_MAX).collect());
        }
        let mut file = lock(&self.file);
        match file.as_mut() {
            Some(file) => {
                let _ = writeln!(file, "{line}"); // the tail has it too
            }
            None => {
                drop(file);
                let line = OutputLine { node: self.slave, pid: None, stream, line };
                (self.node.config.output)(&line);
            }
        }
    }
}

/// `$HOME/.erlang.slave.out.HOST`.
fn out_file(host: &str) -> Option<PathBuf> {
    let plain: String = host.chars().map(|c| if c == '/' { '_' } else { c }).collect();
    Some(PathBuf::from(std::env::var_os("HOME")?).join(format!(".erlang.slave.out.{plain}")))
}

/// Hands on line by line; a line without an end is cut, so that it cannot fill the memory.
async fn pump(mut from: impl AsyncRead + Unpin, to: Arc<Said>, stream: Stream) {
    let mut held = Vec::new();
    let mut read = vec![0; 8 << 10];
    loop {
        let bytes = match from.read(&mut read).await {
            Ok(0) | Err(_) => break,
            Ok(bytes) => bytes,
        };
        held.extend_from_slice(&read[..bytes]);
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            to.line(stream, String::from_utf8_lossy(&line[..end]).into_owned());
        }
        if held.len() > LINE_BYTES_MAX {
            let line = std::mem::take(&mut held);
            to.line(stream, String::from_utf8_lossy(&line).into_owned());
        }
    }
    if !held.is_empty() {
        to.line(stream, String::from_utf8_lossy(&held).into_owned());
    }
}

/// Becomes a guard or a worker, if this OS process was started as one. Returns the exit code then.
pub(crate) fn become_slave(args: &[OsString]) -> Option<i32> {
    INITIALIZED.store(true, Ordering::Release);
    let flag = args.get(1)?.to_str()?;
    let name = args.get(2).and_then(|name| name.to_str()).unwrap_or_default();
    let rest = args.get(3..).unwrap_or_default();
    if [GUARD_FLAG, WORKER_FLAG].contains(&flag) {
        undumpable(); // before it reads its letter
    }
    match flag {
        GUARD_FLAG => Some(guard::run(name, rest)),
        WORKER_FLAG => Some(work()),
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
    let (life_line, letter) = match LifeLine::take() {
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
    let loopback = SocketAddr::new(letter.master_at.local.ip(), 0);
    let config = Config {
        name: letter.name,
        part: Part::Slave,
        cookie: letter.cookie,
        listen: loopback,
        listen_tls: None,
        host: own_host(),
        credentials: None,
        authority: None,
        workers: cores(),
        allow: letter.allow,
        only: letter.only,
        times: letter.times,
        frame_bytes_max: letter.frame_bytes_max,
        log: log.clone(),
        output: to_terminal(),
        life_line: Some(life_line.clone()),
        program: None,
        args: letter.args,
    };
    match futures::executor::block_on(serve(config, letter.master, letter.master_at)) {
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

async fn serve(config: Config, master: NodeName, at: At) -> Result<Arc<Node>, NodeError> {
    let node = Node::start(config).await?;
    node.call_back(master, at, None);
    Ok(node)
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
const LAST_WORDS: Duration = Duration::from_secs(1);
const LINE_BYTES_MAX: usize = 64 << 10;
const TAIL_LINES_MAX: usize = 8;
const TAIL_CHARS_MAX: usize = 400;
const OUT_FILE_BYTES_MAX: u64 = 1 << 20;
