//! Starts a slave's OS processes, keeps its life line, and ends them.
//!
//! ```text
//! master ──spawns──> guard ──spawns──> worker, which dials the master
//! ```
//! The guard's standard input carries the letter with the secrets, and then stays open: when it closes,
//! for whatever reason, the guard ends everything below it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use slog::{crit, debug};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::lookup_host;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub(crate) use self::line::Line;

use self::shipping::Unshipped;

use super::ambient::set_default_node;
use super::cell::lock;
use super::config::{Config, Times, cores};
use super::guard::{self, CHECK_FLAG, GUARD_FLAG, LifeLine, WORKER_FLAG, WorkerEnd};
use super::output::{OutputLine, Sink};
use super::screen::Source;
use super::stream::ByteStream;
use super::terminal::OutputFormat;
use super::ways::own_host;
use super::{Node, NodeError, undumpable};
use crate::cookie::Cookie;
use crate::hosts::{HostEntry, is_this_host};
use crate::launcher::{
    HostFailure, Image, Launcher, Local, Order, Silence, Ssh, StartFault, StartStep,
};
use crate::log;
use crate::term::{At, NodeName, Via};
use crate::wire::greeting::Part;
use crate::wire::{Credentials, Stream};

mod line;
mod shipping;

/// A slave that is to be started.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) name: NodeName,
    pub(crate) host: HostEntry,
    pub(crate) launcher: Arc<dyn Launcher>,
    /// None: the running executable.
    pub(crate) program: Option<PathBuf>,
    /// On the slave's command line.
    pub(crate) args: Vec<String>,
    /// Who hears of each step that is done.
    pub(crate) hears: Option<HearsSteps>,
}

/// Gets each step of a start that is done, with a word on it or none.
pub(crate) type HearsSteps = Arc<dyn Fn(StartStep, &str) + Send + Sync>;

impl Plan {
    /// This step is done.
    pub(crate) fn passed(&self, step: StartStep, detail: &str) {
        if let Some(hears) = &self.hears {
            hears(step, detail);
        }
    }
}

/// How a master starts its slaves.
#[derive(Clone)]
pub(crate) struct Launching {
    /// For all hosts; none: by what the host is.
    pub(crate) launcher: Option<Arc<dyn Launcher>>,
    /// For hosts that are not this machine; none: what `PSPAWN_SSH` says.
    pub(crate) ssh: Option<Ssh>,
    /// The folder on other hosts in which executables are kept.
    pub(crate) cache: Option<String>,
    /// Where slaves on other hosts call their master; none: as far as can be told.
    pub(crate) address: Option<IpAddr>,
    /// Hosts on which slaves are started at once.
    pub(crate) at_once: usize,
    image: Arc<OnceCell<Arc<Image>>>,
}

impl Default for Launching {
    fn default() -> Launching {
        let image = Arc::default();
        Launching { launcher: None, ssh: None, cache: None, address: None, at_once: AT_ONCE, image }
    }
}

impl Launching {
    /// What starts slaves on `host`.
    pub(crate) fn launcher_for(&self, host: &HostEntry) -> Result<Arc<dyn Launcher>, StartFault> {
        // A user or a port of its own asks for a login, be it on this machine.
        let plain = host.user().is_none() && host.port().is_none();
        match (&self.launcher, &self.ssh) {
            (Some(launcher), _) => Ok(launcher.clone()),
            (None, _) if plain && is_this_host(host.host()) => Ok(Arc::new(Local)),
            (None, Some(ssh)) => Ok(Arc::new(ssh.clone())),
            (None, None) => Ok(Arc::new(Ssh::from_env()?)),
        }
    }

    async fn image(&self, program: Option<PathBuf>) -> Result<Arc<Image>, StartFault> {
        let read = || async {
            let path = program.clone();
            let image = spawn_blocking(move || Image::read(path.as_deref())).await;
            match image {
                Ok(Ok(image)) => Ok(Arc::new(image)),
                Ok(Err(why)) => Err(cannot_read(program.as_deref(), &why)),
                Err(why) => Err(cannot_read(program.as_deref(), &why)),
            }
        };
        self.image.get_or_try_init(read).await.cloned()
    }
}

fn cannot_read(program: Option<&Path>, why: &dyn std::fmt::Display) -> StartFault {
    let program =
        program.map_or("the running executable".into(), |path| path.display().to_string());
    StartFault::new(StartStep::Launch, format!("cannot read {program}: {why}"))
}

/// A slave whose OS processes run.
pub(crate) struct Running {
    /// Dropping it ends the slave and all that descends from it.
    pub(crate) line: Line,
    /// The OS process on this machine that stands for it: its guard, or what reaches it on another.
    pub(crate) os_pid: u32,
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
    /// Where the master is, as it can be reached from there.
    master_at: At,
    /// Whether it listens for nodes of other hosts.
    listens: bool,
    /// What it proves itself to them with.
    credentials: Option<Credentials>,
    cookie: Cookie,
    times: Times,
    frame_bytes_max: usize,
    allow: Vec<String>,
    only: Option<Vec<String>>,
    args: Vec<String>,
}

/// Starts a slave's guard, on whichever host, hands it its letter, and gathers what it writes.
pub(crate) async fn launch(node: &Arc<Node>, plan: &Plan) -> Result<Running, HostFailure> {
    start(node, plan).await.map_err(|fault| fault.at(&plan.host))
}

async fn start(node: &Arc<Node>, plan: &Plan) -> Result<Running, StartFault> {
    let (launching, within) = (&node.config.launching, node.config.times.start);
    let failed = |why: String| StartFault::new(StartStep::Launch, why);
    let image = match plan.launcher.ships() {
        true => Some(launching.image(plan.program.clone()).await?),
        false => None,
    };
    let program = match &plan.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(|why| failed(format!("which program? {why}")))?,
    };
    let order = Order { host: &plan.host, node: plan.name, program: &program, args: &plan.args };
    let command = plan.launcher.command(&order)?;
    let letter = letter(node, plan).await?;
    let run = command.get_program().to_owned();
    let mut command = Command::from(command);
    if plan.launcher.ships() {
        // What the terminal's Ctrl-C means is decided by us alone. A guard takes a session of its own, which the leader
        // of a group could not.
        command.process_group(0);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| cannot_run(plan, &run, &why))?;
    let os_pid = child.id().unwrap_or_default();
    let mut to = child.stdin.take().expect("it was asked for above");
    let mut from = child.stdout.take().expect("it was asked for above");
    let said = Arc::new(Said::new(node.clone(), plan));
    let errors = child.stderr.take().expect("it was asked for above");
    let errors = actix_rt::spawn(pump(errors, said.clone(), Stream::Err));

    let shipped = match &image {
        None => Ok(()),
        Some(image) => {
            let cache = launching.cache.as_deref();
            shipping::ship(plan, image, cache, within, &mut to, &mut from).await
        }
    };
    if let Err(unshipped) = shipped {
        drop((to, from));
        let code = end_of(&mut child).await;
        let _ = timeout(LAST_WORDS, errors).await;
        return Err(why_unshipped(plan, &order, unshipped, code, &said, within));
    }
    plan.passed(StartStep::Launch, "");

    let handed = timeout(node.config.times.greeting, to.write_all(&letter)).await;
    let (line, heard) = line::attach(node.clone(), said.clone(), to, from);
    let heard = actix_rt::spawn(heard);
    let (tell_gone, mut gone) = oneshot::channel();
    let last_words = said.clone();
    actix_rt::spawn(async move {
        let why = reap(child).await;
        // What a grandchild of another session keeps open is not waited for.
        let _ = timeout(LAST_WORDS, async { futures::join!(heard, errors) }).await;
        let why = lock(&last_words.report).map_or(why, in_words);
        let _ = tell_gone.send(Gone { why });
    });
    let why = match handed {
        Ok(Ok(())) => return Ok(Running { line, os_pid, said, gone }),
        Ok(Err(why)) => why.to_string(),
        Err(_) => "it does not read".to_owned(),
    };
    drop(line);
    // What it has said is all here when it is gone.
    let gone = match timeout(LAST_WORDS, &mut gone).await {
        Ok(gone) => gone,
        Err(_) => {
            kill(os_pid);
            gone.await
        }
    };
    let end = gone.map_or_else(|_| "it was lost".to_owned(), |gone| gone.why);
    Err(failed(said.with_tail(&format!("its letter was not taken ({why}); {end}"))))
}

fn cannot_run(plan: &Plan, run: &OsStr, why: &std::io::Error) -> StartFault {
    let fault = StartFault::new(StartStep::Launch, format!("cannot run {}: {why}", run.display()));
    let missing = why.kind() == std::io::ErrorKind::NotFound;
    match plan.launcher.name() {
        "ssh" if missing => {
            fault.remedy("install an ssh client (openssh-client), or name another: --ssh")
        }
        "srun" if missing => {
            fault.remedy("this machine has no Slurm client: run it where srun works")
        }
        _ => fault,
    }
}

/// The exit code of a launch command that is of no use any more.
async fn end_of(child: &mut Child) -> Option<i32> {
    match timeout(LAST_WORDS, child.wait()).await {
        Ok(status) => status.ok()?.code(),
        Err(_) => {
            let _ = child.kill().await; // it is gone then
            None
        }
    }
}

fn why_unshipped(
    plan: &Plan,
    order: &Order<'_>,
    unshipped: Unshipped,
    code: Option<i32>,
    said: &Said,
    within: Duration,
) -> StartFault {
    let name = plan.launcher.name();
    let stderr = said.tail_text();
    let (step, what) = match &unshipped {
        Unshipped::Fault(fault) => return fault.clone(),
        Unshipped::Silent(step) => (*step, format!("{name} said nothing for {within:?}")),
        Unshipped::Ended(step) => {
            let code = code.map(|code| format!(" with code {code}")).unwrap_or_default();
            (*step, format!("{name} ended{code}"))
        }
    };
    if step > StartStep::Connect {
        return StartFault::new(step, said.with_tail(&format!("{what} in the middle of it")))
            .remedy("the connection or the host was lost on the way: start it again");
    }
    let silence = Silence { code, stderr: &stderr };
    if let Some(fault) = plan.launcher.explain(order, &silence) {
        return fault;
    }
    match unshipped {
        Unshipped::Silent(_) => StartFault::new(StartStep::Connect, said.with_tail(&what))
            .remedy("is the host up? a slow one gets more time with --start-timeout SECONDS"),
        _ => StartFault::new(
            StartStep::Shell,
            said.with_tail(&format!("{what} before a shell answered")),
        )
        .remedy("is the user's shell there one that runs `sh -c …`? see what it says by hand"),
    }
}

/// Kills a guard, or what reaches it on another host, that does not end; a guard's worker goes with it.
pub(crate) fn kill(os_pid: u32) {
    let pid = i32::try_from(os_pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

async fn letter(node: &Node, plan: &Plan) -> Result<Vec<u8>, StartFault> {
    let fault = |why: String| StartFault::new(StartStep::Launch, why);
    let Config { cookie, times, frame_bytes_max, allow, only, authority, .. } = node.config.clone();
    let credentials = authority.map(|authority| authority.issue(plan.name)).transpose();
    let letter = Letter {
        name: plan.name,
        master: node.name,
        master_at: master_at(node, plan).await,
        listens: node.tls_port().is_some(),
        credentials: credentials.map_err(|why| fault(why.to_string()))?,
        cookie,
        times,
        frame_bytes_max,
        allow,
        only,
        args: plan.args.clone(),
    };
    let body = rmp_serde::to_vec(&letter).expect("a letter is plain data");
    guard::letter(times.silence_max, &body).map_err(|why| fault(why.to_string()))
}

/// Where the master can be called from the host of a slave, as far as can be told from here: at the address that the
/// way to it begins at.
async fn master_at(node: &Node, plan: &Plan) -> At {
    let mut at = node.at();
    at.remote = match (node.tls_port(), node.config.launching.address) {
        (None, _) => Vec::new(),
        (Some(port), Some(ip)) => vec![SocketAddr::new(ip, port)],
        (Some(port), None) => {
            let host = (plan.host.host().to_owned(), plan.host.port().unwrap_or(SSH_PORT));
            let found = timeout(RESOLVE_MAX, lookup_host(host)).await;
            let theirs = found.ok().and_then(Result::ok).into_iter().flatten();
            let mut ours = Vec::from_iter(theirs.filter_map(|theirs| own_address(theirs, port)));
            ours.dedup();
            // One that it has logged in from is as good as any (`with_login_address`); the port has to be there.
            if ours.is_empty() { vec![SocketAddr::new(NOWHERE, port)] } else { ours }
        }
    };
    at
}

/// The address of ours that packets to `theirs` leave from; none is sent to find out.
fn own_address(theirs: SocketAddr, port: u16) -> Option<SocketAddr> {
    let any =
        if theirs.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(theirs).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then(|| SocketAddr::new(ip, port))
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
    pub(super) slave: NodeName,
    file: Mutex<Option<File>>,
    tail: Mutex<VecDeque<String>>,
    report: Mutex<Option<WorkerEnd>>,
}

impl Said {
    fn new(node: Arc<Node>, plan: &Plan) -> Said {
        let file = out_file(&plan.host.to_string()).and_then(|path| {
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

    /// What the slave wrote last, a line each.
    fn tail_text(&self) -> String {
        Vec::from_iter(lock(&self.tail).iter().cloned()).join("\n")
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
                self.node.screen.push(self.slave, line, Source::Pipe);
            }
        }
    }

    /// Waits while too much of this slave's output waits to be shown.
    async fn room(&self) {
        self.node.screen.room(self.slave).await;
    }
}

/// `$HOME/.erlang.slave.out.HOST`.
fn out_file(host: &str) -> Option<PathBuf> {
    let plain: String = host.chars().map(|c| if c == '/' { '_' } else { c }).collect();
    Some(PathBuf::from(std::env::var_os("HOME")?).join(format!(".erlang.slave.out.{plain}")))
}

/// Hands on line by line; a line without an end is cut, so that it cannot fill the memory. While too much
/// waits to be shown nothing more is read, and so the slave waits with its `println!`.
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
            to.room().await;
        }
        if held.len() > LINE_BYTES_MAX {
            let line = std::mem::take(&mut held);
            to.line(stream, String::from_utf8_lossy(&line).into_owned());
            to.room().await;
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

/// A master that has logged in here by ssh can most likely be called where it came from.
fn with_login_address(mut at: At) -> At {
    let came_from = std::env::var("SSH_CONNECTION").ok();
    let came_from = came_from.as_deref().and_then(|words| words.split(' ').next()?.parse().ok());
    let port = at.remote.first().map(SocketAddr::port);
    at.remote.retain(|address| address.ip() != NOWHERE);
    if let (Some(ip), Some(port)) = (came_from, port) {
        let address = SocketAddr::new(ip, port);
        if !at.remote.contains(&address) {
            at.remote.push(address);
        }
    }
    at
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

/// Where a node listens for nodes of other hosts unless it is told: at all of its addresses, on any port.
pub(crate) const ANY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
/// No address of the master is known, but its port.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// A name that is only known to ssh is not waited for.
const RESOLVE_MAX: Duration = Duration::from_secs(2);
/// Any port does: nothing is sent there.
const SSH_PORT: u16 = 22;
/// Hosts on which slaves are started at once, unless the pool says otherwise.
const AT_ONCE: usize = 32;
const BEAT_EVERY: Duration = Duration::from_millis(50);
const LAST_WORDS: Duration = Duration::from_secs(1);
const LINE_BYTES_MAX: usize = 64 << 10;
const TAIL_LINES_MAX: usize = 8;
const TAIL_CHARS_MAX: usize = 400;
const OUT_FILE_BYTES_MAX: u64 = 1 << 20;
