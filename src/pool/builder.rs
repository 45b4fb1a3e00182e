//! How a pool is started: its settings, its hosts, and what happens host by host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use slog::Logger;
use tokio::sync::Semaphore;

use super::{FreeNode, Pool, StartError};
use crate::cookie::Cookie;
use crate::hosts::{BadHost, HostEntry, HostsFile, own_host_name};
use crate::launcher::{HostFailure, Launcher, Slurm, Ssh, StartFault, StartStep};
use crate::log;
use crate::node::ambient::set_default_node;
use crate::node::config::{Config, FRAME_BYTES_MAX, Times, cores};
use crate::node::launch::{self, ANY_ADDRESS, Heard, HearsSteps, Launching, Plan};
use crate::node::output::{OutputLine, Sink};
use crate::node::shares::Shares;
use crate::node::terminal::{OutputFormat, Terminal};
use crate::node::tls::{Authority, TlsError};
use crate::node::ways::own_host;
use crate::node::{Node, NodeError};
use crate::term::{HostId, NodeName};
use crate::wire::greeting::Part;

/// How a pool is started; see each method for what it is when it is not called.
#[must_use]
pub struct PoolBuilder {
    name: String,
    hosts: Hosts,
    args: Vec<String>,
    /// None: the working directory, for reading and writing.
    shares: Option<Vec<(PathBuf, bool)>>,
    program: Option<PathBuf>,
    cookie: Option<Cookie>,
    allow: Vec<String>,
    only: Option<Vec<String>>,
    listen_tls: Option<SocketAddr>,
    host: HostId,
    min_nodes: Option<usize>,
    workers: usize,
    times: Times,
    log: Option<Logger>,
    output: Option<Sink>,
    progress: Option<Progress>,
    launching: Launching,
}

type Progress = Arc<dyn Fn(&StartEvent) + Send + Sync>;

enum Hosts {
    Search,
    File(PathBuf),
    Local(usize),
    Named(Vec<String>),
    Slurm,
}

/// What happens while a pool starts, host by host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StartEvent {
    /// A slave is being started on this host.
    Starting {
        /// The host as the hosts file has it.
        host: String,
    },
    /// A step of its start is done.
    Passed {
        /// The host as the hosts file has it.
        host: String,
        /// The step; those before it that were not told are done, too.
        step: StartStep,
        /// A word on it: what was found there, or how much was sent. Often none.
        detail: String,
    },
    /// A part of the executable has been sent there.
    Sent {
        /// The host as the hosts file has it.
        host: String,
        /// How much of it, in all.
        bytes: u64,
        /// How much that will be.
        of: u64,
    },
    /// It is in the pool.
    Up {
        /// The host as the hosts file has it.
        host: String,
        /// The slave's name.
        node: NodeName,
        /// From the order until its own actors answered.
        after: Duration,
    },
    /// It could not be started.
    Failed(HostFailure),
}

impl PoolBuilder {
    pub(super) fn new(name: &str) -> PoolBuilder {
        PoolBuilder {
            name: name.to_owned(),
            hosts: Hosts::Search,
            args: Vec::new(),
            shares: None,
            program: None,
            cookie: None,
            allow: Vec::new(),
            only: None,
            listen_tls: None,
            host: own_host(),
            min_nodes: None,
            workers: cores(),
            times: Times::default(),
            log: None,
            output: None,
            progress: None,
            launching: Launching::default(),
        }
    }

    /// Takes the hosts from this file instead of searching `.hosts.erlang`.
    pub fn hosts_file(mut self, path: impl Into<PathBuf>) -> PoolBuilder {
        self.hosts = Hosts::File(path.into());
        self
    }

    /// Starts this many slaves on this machine and reads no hosts file: `name1@host`, `name2@host` ….
    pub fn local(mut self, slaves: usize) -> PoolBuilder {
        self.hosts = Hosts::Local(slaves);
        self
    }

    /// Takes these hosts and reads no hosts file; each is written as in one: `h2`, `ops@h2:2222`.
    pub fn hosts<S: Into<String>>(mut self, hosts: impl IntoIterator<Item = S>) -> PoolBuilder {
        self.hosts = Hosts::Named(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// Starts a slave on each node of the Slurm allocation that this OS process runs in, as a job step, and reads no
    /// hosts file: see [`Slurm`].
    pub fn slurm(mut self) -> PoolBuilder {
        self.hosts = Hosts::Slurm;
        self
    }

    /// Starts all slaves with this launcher. Default: those on this machine as OS processes
    /// ([`Local`](crate::launcher::Local)), those on others by [`Ssh`].
    pub fn launcher(mut self, launcher: impl Launcher + 'static) -> PoolBuilder {
        self.launching.launcher = Some(Arc::new(launcher));
        self
    }

    /// Reaches other hosts with this ssh. Default: what `PSPAWN_SSH` says, or plain `ssh`.
    pub fn ssh(mut self, ssh: Ssh) -> PoolBuilder {
        self.launching.ssh = Some(ssh);
        self
    }

    /// Keeps executables in this folder on other hosts. Default: `$XDG_CACHE_HOME/pspawn`, or `$HOME/.cache/pspawn`.
    pub fn remote_cache(mut self, folder: impl Into<String>) -> PoolBuilder {
        self.launching.cache = Some(folder.into());
        self
    }

    /// Tells slaves on other hosts to call their master at this address of it. Default: the one that the way to each host
    /// begins at, then the one that its ssh session came from. A slave that reaches none talks through the
    /// launcher's own connection.
    pub fn address(mut self, address: IpAddr) -> PoolBuilder {
        self.launching.address = Some(address);
        self
    }

    /// Starts slaves on this many hosts at once. Default: 32.
    pub fn at_once(mut self, hosts: usize) -> PoolBuilder {
        self.launching.at_once = hosts.max(1);
        self
    }

    /// Goes on the slaves' command line, and is what [`Pool::args`] gives there. Default: nothing.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> PoolBuilder {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Starts this executable as slaves, which must link the same actors. Default: the running one.
    pub fn program(mut self, program: impl Into<PathBuf>) -> PoolBuilder {
        self.program = Some(program.into());
        self
    }

    /// The secret that the nodes share. Default: what is in `$HOME/.pspawn.cookie`, which is made, for
    /// the user's eyes only, if there is none.
    pub fn cookie(mut self, cookie: Cookie) -> PoolBuilder {
        self.cookie = Some(cookie);
        self
    }

    /// Lets this guarded module be started on the pool's nodes. Default: none.
    pub fn allow(mut self, module: impl Into<String>) -> PoolBuilder {
        self.allow.push(module.into());
        self
    }

    /// Lets the pool read and write what is below this directory of the master's, through
    /// [`Files`](crate::Files); of several the first is where relative paths start. Default: the working
    /// directory of the master at its start.
    pub fn share(self, dir: impl Into<PathBuf>) -> PoolBuilder {
        self.shares(dir.into(), true)
    }

    /// The same for reading only.
    pub fn share_read_only(self, dir: impl Into<PathBuf>) -> PoolBuilder {
        self.shares(dir.into(), false)
    }

    /// Lets the pool reach no files of the master's, but for those that are shared after this.
    pub fn no_share(mut self) -> PoolBuilder {
        self.shares = Some(Vec::new());
        self
    }

    fn shares(mut self, dir: PathBuf, writable: bool) -> PoolBuilder {
        self.shares.get_or_insert_default().push((dir, writable));
        self
    }

    /// Lets only this module be started on the pool's nodes for other nodes; to be called for each. Default:
    /// all that are linked there, and are not guarded.
    pub fn only(mut self, module: impl Into<String>) -> PoolBuilder {
        self.only.get_or_insert_default().push(module.into());
        self
    }

    /// Where the master listens for nodes of other hosts, by TLS; port 0 is any. Default: nowhere; nodes
    /// of its own host it hears on loopback in any case.
    pub fn listen(mut self, address: SocketAddr) -> PoolBuilder {
        self.listen_tls = Some(address);
        self
    }

    /// Takes this node for one of another host, so that tests can hold two hosts in one OS process.
    #[doc(hidden)]
    pub fn as_if_on(mut self, host: &str) -> PoolBuilder {
        self.host = HostId::of(&[host]);
        self
    }

    /// Fails the start if fewer slaves than this come up. Default: 1 if there are hosts at all.
    pub fn min_nodes(mut self, nodes: usize) -> PoolBuilder {
        self.min_nodes = Some(nodes);
        self
    }

    /// Arbiters for actors on the master's own node. Default: as many as it may use cores.
    pub fn workers(mut self, arbiters: usize) -> PoolBuilder {
        self.workers = arbiters.max(1);
        self
    }

    /// How often each connection carries a heartbeat, and after how long without one a node is down.
    /// Default: 500 ms and 3 s. The first is at least 1 ms, the second at least twice that, and at
    /// most two days.
    pub fn heartbeat(mut self, tick: Duration, silence_max: Duration) -> PoolBuilder {
        self.times.tick = tick.clamp(TICK_MIN, TICK_MAX);
        self.times.silence_max = silence_max.clamp(self.times.tick * 2, TICK_MAX * 2);
        self
    }

    /// How long a `send` waits for its answer. Default: 5 s, as `gen_server:call` (rule G1).
    pub fn call_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.call = after.min(AFTER_MAX);
        self
    }

    /// How long a spawn, or a question about the pool, may take. Default: 10 s.
    pub fn spawn_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.spawn = after.min(AFTER_MAX);
        self
    }

    /// How long a slave may take until it is in the pool. Default: 32 s (rule P3).
    pub fn start_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.start = after.min(AFTER_MAX);
        self
    }

    /// How long slaves have to end by themselves before they are ended by force. Default: 5 s.
    pub fn stop_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.stop = after.min(AFTER_MAX);
        self
    }

    /// How long a connection may take from the first byte to the end of the greeting; whoever has not
    /// proved by then that it knows the cookie is let go of. Default: 5 s.
    pub fn greeting_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.greeting = after.min(AFTER_MAX);
        self
    }

    /// How long an actor that was ended by a signal may keep its thread before it counts as ended for
    /// everybody else. Default: 5 s.
    pub fn zombie_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.zombie = after;
        self
    }

    /// Where log records go. Default: warnings and worse to standard error, or what `PSPAWN_LOG` says.
    pub fn logger(mut self, log: Logger) -> PoolBuilder {
        self.log = Some(log);
        self
    }

    /// Who gets the lines that actors and slaves print, one after the other, each as it was printed.
    /// Default: a [`Terminal`], with the node's name in front.
    ///
    /// It is called on a thread of its own and may take its time: whoever prints is held back meanwhile, and
    /// nobody else. It must not wait for its own node's end.
    pub fn output(mut self, show: impl Fn(&OutputLine) + Send + Sync + 'static) -> PoolBuilder {
        self.output = Some(Sink::closure(show));
        self
    }

    /// How standard output and standard error show what actors and slaves print, instead.
    pub fn terminal(mut self, terminal: Terminal) -> PoolBuilder {
        self.output = Some(Sink::Terminal(Arc::new(terminal)));
        self
    }

    /// Who hears, host by host, how the start goes. Default: nobody, and failures are logged.
    pub fn on_progress(
        mut self,
        hear: impl Fn(&StartEvent) + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.progress = Some(Arc::new(hear));
        self
    }

    /// Starts the pool; returns when every slave that can be started is in it and its own actors
    /// answer.
    ///
    /// # Errors
    /// See [`StartError`].
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start(mut self) -> Result<Pool, StartError> {
        if !launch::is_initialized() {
            return Err(StartError::NotInitialized);
        }
        let hosts = self.find_hosts()?;
        let mut config = self.config()?;
        config.shares = Arc::new(self.open_shares()?);
        config.name = NodeName::new(&format!("{}-master", self.name), &own_host_name())?;
        let authority = Authority::new().map_err(no_keys)?;
        config.credentials = Some(authority.issue(config.name).map_err(no_keys)?);
        config.authority = Some(Arc::new(authority));
        let far = |host: &Host| {
            let launcher = self.launching.launcher_for(&host.entry);
            launcher.is_ok_and(|launcher| !launcher.is_local())
        };
        if config.listen_tls.is_none() && hosts.iter().any(far) {
            config.listen_tls = Some(ANY_ADDRESS);
        }
        let heard = self.progress.is_some();
        let progress = self.progress.clone().unwrap_or_else(|| Arc::new(|_| {}));
        let node = StopOnDrop(Some(Node::start(config).await?));
        let turns = Arc::new(Semaphore::new(self.launching.at_once));
        let mut planned: Vec<(NodeName, String)> = Vec::new();
        let starts = hosts.into_iter().map(|host| {
            let (node, progress, turns) = (node.get().clone(), progress.clone(), turns.clone());
            let plan = self.plan(&node, &host, &progress);
            // P5: a second entry for a host gets no second slave, and no false word on how it is reached.
            let plan =
                plan.and_then(|plan| match planned.iter().find(|(name, _)| *name == plan.name) {
                    Some((name, first)) => {
                        let why = format!("{name} is started already, for the entry {first}");
                        let fault = StartFault::new(StartStep::Name, why);
                        Err(fault.remedy("name each host once").at(&plan.host))
                    }
                    None => {
                        planned.push((plan.name, plan.host.to_string()));
                        Ok(plan)
                    }
                });
            async move {
                let _turn = turns.acquire().await;
                let host = host.entry.to_string();
                progress(&StartEvent::Starting { host: host.clone() });
                let begin = node.now();
                let started = match plan {
                    Ok(plan) => node.start_slave(plan).await,
                    Err(failure) => Err(failure),
                };
                progress(&match &started {
                    Ok(name) => {
                        let after = node.now().saturating_sub(begin);
                        StartEvent::Up { host, node: *name, after }
                    }
                    Err(failure) => StartEvent::Failed(failure.clone()),
                });
                started
            }
        });
        let started = join_all(starts).await;
        node.get()
            .arrange(started.iter().filter_map(|start| start.as_ref().ok()).copied().collect())
            .await;
        let wanted = self.min_nodes.unwrap_or(usize::from(!started.is_empty()));
        let up = started.iter().filter(|start| start.is_ok()).count();
        let failures: Vec<HostFailure> = started.into_iter().filter_map(Result::err).collect();
        for failure in failures.iter().filter(|_| !heard) {
            let (why, log) = (&failure.why, &node.get().log);
            let remedy = failure.remedy.as_deref().unwrap_or_default();
            slog::error!(log, "cannot start a slave"; "host" => &failure.host, "step" => %failure.step, "reason" => why, "remedy" => remedy);
        }
        if up < wanted {
            let pool = Pool::of(node.get());
            let _ = pool.stop().await; // what is left ends with the node in any case
            return Err(StartError::TooFewNodes { up, wanted, failures });
        }
        let node = node.keep();
        set_default_node(&node);
        Ok(Pool { node, failures: Arc::new(failures) })
    }

    /// Starts a node of the pool's name with these settings that is in no pool: see [`FreeNode::start`].
    /// What concerns slaves means nothing to it.
    ///
    /// # Errors
    /// Those of [`FreeNode::start`].
    pub async fn start_free(self, listen: SocketAddr) -> Result<FreeNode, StartError> {
        let mut config = self.config()?;
        config.part = Part::Free;
        let node = if listen.ip().is_loopback() {
            config.listen = listen;
            Node::start(config).await?
        } else {
            config.listen_tls = Some(listen);
            // The same port for nodes of this host, unless it is taken: by the other listener, too.
            let beside = SocketAddr::new(config.listen.ip(), listen.port());
            match Node::start(Config { listen: beside, ..config.clone() }).await {
                Err(NodeError::Listen { .. }) => Node::start(config).await?,
                started => started?,
            }
        };
        set_default_node(&node);
        Ok(FreeNode::of(Pool::of(&node)))
    }

    fn open_shares(&self) -> Result<Shares, StartError> {
        let Some(dirs) = &self.shares else {
            // A working directory that is gone is no reason not to start: nothing is shared then.
            return Ok(Shares::open(&[(PathBuf::from("."), true)]).unwrap_or_default());
        };
        Shares::open(dirs).map_err(|(dir, source)| StartError::Share { dir, source })
    }

    fn find_hosts(&mut self) -> Result<Vec<Host>, StartError> {
        let file = match &self.hosts {
            Hosts::Local(slaves) => {
                let entry = HostEntry::named(&own_host_name());
                return Ok((1..=*slaves)
                    .map(|number| {
                        let number = (*slaves > 1).then_some(number);
                        Host { entry: entry.clone(), number }
                    })
                    .collect());
            }
            Hosts::Named(hosts) => {
                let entries = hosts.iter().map(|host| host.parse());
                let entries: Vec<HostEntry> = entries.collect::<Result<_, _>>()?;
                return Ok(entries.into_iter().map(Host::once).collect());
            }
            Hosts::Slurm => {
                let slurm = Slurm::from_env()?;
                let nodes = slurm.nodes().iter();
                let hosts = nodes.map(|node| Host::once(HostEntry::named(node))).collect();
                self.launching.launcher.get_or_insert_with(|| Arc::new(slurm));
                return Ok(hosts);
            }
            Hosts::File(path) => HostsFile::read(path)?,
            Hosts::Search => HostsFile::find()?,
        };
        Ok(file.hosts().iter().cloned().map(Host::once).collect())
    }

    fn plan(&self, node: &Node, host: &Host, progress: &Progress) -> Result<Plan, HostFailure> {
        let number = host.number.map(|number| number.to_string()).unwrap_or_default();
        let (of, heard) = (host.entry.to_string(), progress.clone());
        let hears: HearsSteps = Arc::new(move |event| {
            let host = of.clone();
            heard(&match event {
                Heard::Passed(step, detail) => {
                    StartEvent::Passed { host, step, detail: detail.to_owned() }
                }
                Heard::Sent { bytes, of } => StartEvent::Sent { host, bytes, of },
            });
        });
        plan(node, host.entry.clone(), &format!("{}{number}", self.name), Some(hears))
    }

    /// What the master's node, or a free one of this name, is started with.
    pub(crate) fn config(&self) -> Result<Config, StartError> {
        let cookie = match &self.cookie {
            Some(cookie) => cookie.clone(),
            None => Cookie::from_home()?,
        };
        Ok(Config {
            name: NodeName::new(&self.name, &own_host_name())?,
            part: Part::Master,
            cookie,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            workers: self.workers,
            listen_tls: self.listen_tls,
            likely_ip: None,
            host: self.host,
            credentials: None,
            authority: None,
            allow: self.allow.clone(),
            only: self.only.clone(),
            times: self.times,
            frame_bytes_max: FRAME_BYTES_MAX,
            log: self.log.clone().unwrap_or_else(log::to_stderr),
            output: self.output.clone().unwrap_or_else(|| Sink::terminal(OutputFormat::default())),
            life_line: None,
            program: self.program.clone(),
            args: self.args.clone(),
            launching: self.launching.clone(),
            shares: Arc::default(),
        })
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a slave of this name is started on this host.
fn plan(
    node: &Node,
    host: HostEntry,
    name: &str,
    hears: Option<HearsSteps>,
) -> Result<Plan, HostFailure> {
    let config = &node.config;
    // A node's name has no room for the colons of an IPv6 address.
    let name = NodeName::new(name, &host.host().replace(':', "-"))
        .map_err(|why| StartFault::new(StartStep::Name, why.to_string()).at(&host))?;
    let launcher = config.launching.launcher_for(&host).map_err(|fault| fault.at(&host))?;
    let (program, args) = (config.program.clone(), config.args.clone());
    Ok(Plan { name, host, launcher, program, args, hears })
}

impl Pool {
    /// Starts one more slave, `name@host`, and waits until it is in the pool: Erlang's
    /// `slave:start(Host, Name)`. The host is written as in a hosts file: `h2`, `ops@h2:2222`. A node of that name that is in the pool already is given as it is.
    ///
    /// # Errors
    /// [`HostFailure`] with the step that failed. Only a master's own handle starts slaves.
    /// # Cancel safety
    /// Not cancel safe: the slave may come up all the same, and ends with the pool.
    pub async fn start_slave(&self, host: &str, name: &str) -> Result<NodeName, HostFailure> {
        let node = self.local_node();
        let entry = host
            .parse()
            .map_err(|why: BadHost| StartFault::new(StartStep::Name, why.to_string()).at(host))?;
        node.start_slave(plan(node, entry, name, None)?).await
    }
}

struct Host {
    entry: HostEntry,
    /// Which of several slaves on one host.
    number: Option<usize>,
}

impl Host {
    fn once(entry: HostEntry) -> Host {
        Host { entry, number: None }
    }
}

/// A node that stops unless it is kept.
struct StopOnDrop(Option<Arc<Node>>);

impl StopOnDrop {
    fn get(&self) -> &Arc<Node> {
        self.0.as_ref().expect("it is taken once, by keep")
    }

    fn keep(mut self) -> Arc<Node> {
        self.0.take().expect("it is taken once, here")
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(node) = &self.0 {
            node.stop();
        }
    }
}

fn no_keys(why: TlsError) -> StartError {
    StartError::Node(NodeError::Tls(why.to_string()))
}

/// No time-out is longer: with it a clock is never asked for a time that it cannot show.
const AFTER_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const TICK_MIN: Duration = Duration::from_millis(1);
const TICK_MAX: Duration = Duration::from_secs(24 * 3600);
