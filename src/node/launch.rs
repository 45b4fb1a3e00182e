//! Starts a slave's OS processes, keeps its life line, and ends them.
//!
//! ```text
//! master ──spawns──> guard ──spawns──> worker, which dials the master
//! ```
//! The guard's standard input carries the letter with the secrets, and then stays open: when it closes,
//! for whatever reason, the guard ends everything below it.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub(crate) use self::line::Line;
pub(crate) use self::said::Said;
pub(crate) use self::worker::{become_slave, end_worker, end_worker_in_peace, is_initialized};

use self::letter::letter;
use self::said::{in_words, pump};
use self::shipping::Unshipped;

use super::Node;
use super::cell::lock;
use crate::hosts::{HostEntry, is_this_host};
use crate::launcher::{
    HostFailure, Image, Launcher, Local, Order, Silence, Ssh, StartFault, StartStep,
};
use crate::term::NodeName;
use crate::wire::Stream;

mod letter;
mod line;
mod said;
mod shipping;
mod worker;

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

/// Hears how a start goes.
pub(crate) type HearsSteps = Arc<dyn Fn(Heard<'_>) + Send + Sync>;

/// What is heard of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard<'a> {
    /// A step is done; with a word on it, or none.
    Passed(StartStep, &'a str),
    /// So much of the executable has been sent.
    Sent { bytes: u64, of: u64 },
}

impl Plan {
    fn tell(&self, heard: Heard<'_>) {
        if let Some(hears) = &self.hears {
            hears(heard);
        }
    }

    /// This step is done.
    pub(crate) fn passed(&self, step: StartStep, detail: &str) {
        self.tell(Heard::Passed(step, detail));
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
    /// Sending kills what was launched on this machine: its guard, or what reaches it on another.
    pub(crate) kill: oneshot::Sender<()>,
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
    let mut launched = Launched::spawn(Command::from(command), plan.launcher.ships())
        .map_err(|why| cannot_run(plan, &run, &why))?;
    let mut to = launched.child.stdin.take().expect("it was asked for");
    let mut from = launched.child.stdout.take().expect("it was asked for");
    let errors = launched.child.stderr.take().expect("it was asked for");
    let said = Arc::new(Said::new(node.clone(), plan));
    let errors = actix_rt::spawn(pump(errors, said.clone(), Stream::Err));

    let shipped = match &image {
        None => Ok(()),
        Some(image) => {
            let cache = launching.cache.as_deref();
            let talk = shipping::Talk { node, to: &mut to, from: &mut from, within };
            shipping::ship(plan, image, cache, talk).await
        }
    };
    if let Err(unshipped) = shipped {
        drop((to, from));
        let code = launched.end().await;
        let _ = timeout(LAST_WORDS, errors).await;
        return Err(why_unshipped(plan, &order, unshipped, code, &said, within));
    }
    plan.passed(StartStep::Launch, "");

    let handed = timeout(node.config.times.greeting, to.write_all(&letter)).await;
    let (line, heard) = line::attach(node.clone(), said.clone(), to, from);
    let heard = actix_rt::spawn(heard);
    let (tell_gone, gone) = oneshot::channel();
    let (kill, killed) = oneshot::channel();
    let last_words = said.clone();
    actix_rt::spawn(async move {
        let why = launched.reap(killed).await;
        // What a grandchild of another session keeps open is not waited for.
        let _ = timeout(LAST_WORDS, async { futures::join!(heard, errors) }).await;
        let why = lock(&last_words.report).map_or(why, in_words);
        let _ = tell_gone.send(Gone { why });
    });
    let why = match handed {
        Ok(Ok(())) => return Ok(Running { line, kill, said, gone }),
        Ok(Err(why)) => why.to_string(),
        Err(_) => "it does not read".to_owned(),
    };
    drop(line);
    // What it has said is all here when it is gone.
    let mut gone = gone;
    let gone = match timeout(LAST_WORDS, &mut gone).await {
        Ok(gone) => gone,
        Err(_) => {
            let _ = kill.send(());
            gone.await
        }
    };
    let end = gone.map_or_else(|_| "it was lost".to_owned(), |gone| gone.why);
    Err(failed(said.with_tail(&format!("its letter was not taken ({why}); {end}"))))
}

/// The OS process of a launch command, with those of its process group. None is left when this is dropped.
struct Launched {
    child: Child,
    /// It leads a group of its own: what it has started belongs to it.
    leads: bool,
}

impl Launched {
    /// What reaches other hosts gets a process group of its own, so that what the terminal's Ctrl-C means is decided by us
    /// alone. A guard takes one by itself.
    fn spawn(mut command: Command, leads: bool) -> std::io::Result<Launched> {
        if leads {
            command.process_group(0);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let launched = Launched { child: command.spawn()?, leads };
        lock(&LIVE).extend(launched.group());
        Ok(launched)
    }

    /// None once it has been reaped: its number may be another's by then.
    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()?).ok()?)
    }

    fn group(&self) -> Option<Pid> {
        self.pid().filter(|_| self.leads)
    }

    fn kill(&self) {
        let _ = match self.pid() {
            Some(pid) if self.leads => kill_process_group(pid, Signal::KILL),
            Some(pid) => kill_process(pid, Signal::KILL),
            None => Ok(()),
        };
    }

    /// Its exit code, now that it is of no use any more.
    async fn end(&mut self) -> Option<i32> {
        let group = self.group();
        let status = timeout(LAST_WORDS, self.child.wait()).await;
        if status.is_err() {
            self.kill();
            let _ = self.child.wait().await; // it is gone then
        }
        forget(group);
        status.ok()?.ok()?.code()
    }

    /// Waits for its end, which `killed` hastens; how it was.
    async fn reap(mut self, killed: oneshot::Receiver<()>) -> String {
        let group = self.group();
        let ended = {
            let waiting = std::pin::pin!(self.child.wait());
            match select(waiting, killed).await {
                Either::Left((ended, _)) => Some(ended),
                // That nobody can kill it any more is no order to.
                Either::Right((Err(_), waiting)) => Some(waiting.await),
                Either::Right((Ok(()), _)) => None,
            }
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                self.kill();
                self.child.wait().await
            }
        };
        forget(group);
        match ended {
            Ok(status) if status.success() => "it ended".to_owned(),
            Ok(status) => format!("it ended: {status}"),
            Err(why) => format!("its end was not seen: {why}"),
        }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.kill();
        forget(self.group());
    }
}

fn forget(group: Option<Pid>) {
    if let Some(group) = group {
        lock(&LIVE).retain(|live| *live != group);
    }
}

/// The process groups of launch commands that run.
static LIVE: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Kills every launch command of this OS process that runs: what `ssh` or the like has been started for slaves on other
/// hosts. For a program that is about to exit in the middle of a start; slaves that run end with it in any case.
pub fn abandon_launches() {
    for group in std::mem::take(&mut *lock(&LIVE)) {
        let _ = kill_process_group(group, Signal::KILL);
    }
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
        .remedy(match name {
            "ssh" => "is the user's shell there one that runs `sh`? log in by hand and see what it says".to_owned(),
            name => format!(
                "does {name} run what stands for {{pspawn}} on the host, and pass standard input on? try it by hand"
            ),
        }),
    }
}

/// Hosts on which slaves are started at once, unless the pool says otherwise.
const AT_ONCE: usize = 32;
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Where a node listens for nodes of other hosts unless it is told: at all of its addresses, on any port.
pub(crate) const ANY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
