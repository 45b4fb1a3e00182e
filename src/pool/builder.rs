//! How a pool is started: its settings, its hosts, and what happens host by host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use slog::Logger;

use super::{FreeNode, Pool, StartError};
use crate::cookie::Cookie;
use crate::hosts::{HostsFile, is_this_host, own_host_name};
use crate::log;
use crate::node::ambient::set_default_node;
use crate::node::config::{Config, FRAME_BYTES_MAX, Times, cores};
use crate::node::launch::{self, HostFailure, Plan, StartStep};
use crate::node::output::{OutputLine, Sink, to_terminal};
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
}

type Progress = Arc<dyn Fn(&StartEvent) + Send + Sync>;

enum Hosts {
    Search,
    File(PathBuf),
    Local(usize),
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

    /// Who gets the lines that actors and slaves print. Default: standard output and standard error,
    /// with the node's name in front.
    pub fn output(mut self, show: impl Fn(&OutputLine) + Send + Sync + 'static) -> PoolBuilder {
        self.output = Some(Arc::new(show));
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
    pub async fn start(self) -> Result<Pool, StartError> {
        if !launch::is_initialized() {
            return Err(StartError::NotInitialized);
        }
        let hosts = self.find_hosts()?;
        let mut config = self.config()?;
        config.name = NodeName::new(&format!("{}-master", self.name), &own_host_name())?;
        let authority = Authority::new().map_err(no_keys)?;
        config.credentials = Some(authority.issue(config.name).map_err(no_keys)?);
        config.authority = Some(Arc::new(authority));
        let heard = self.progress.is_some();
        let progress = self.progress.clone().unwrap_or_else(|| Arc::new(|_| {}));
        let node = StopOnDrop(Some(Node::start(config).await?));
        let starts = hosts.into_iter().map(|host| {
            let (node, progress) = (node.get().clone(), progress.clone());
            let plan = self.plan(&host);
            async move {
                progress(&StartEvent::Starting { host: host.host.clone() });
                let begin = node.now();
                let started = match plan {
                    Ok(plan) => node.start_slave(plan).await,
                    Err(failure) => Err(failure),
                };
                progress(&match &started {
                    Ok(name) => {
                        let after = node.now().saturating_sub(begin);
                        StartEvent::Up { host: host.host, node: *name, after }
                    }
                    Err(failure) => StartEvent::Failed(failure.clone()),
                });
                started
            }
        });
        let started = join_all(starts).await;
        let wanted = self.min_nodes.unwrap_or(usize::from(!started.is_empty()));
        let up = started.iter().filter(|start| start.is_ok()).count();
        let failures: Vec<HostFailure> = started.into_iter().filter_map(Result::err).collect();
        for failure in failures.iter().filter(|_| !heard) {
            let why = &failure.why;
            let log = &node.get().log;
            slog::error!(log, "cannot start a slave"; "host" => &failure.host, "step" => %failure.step, "reason" => why);
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

    fn find_hosts(&self) -> Result<Vec<Host>, StartError> {
        let file = match &self.hosts {
            Hosts::Local(slaves) => {
                let host = own_host_name();
                return Ok((1..=*slaves)
                    .map(|number| {
                        let number = (*slaves > 1).then_some(number);
                        Host { host: host.clone(), number }
                    })
                    .collect());
            }
            Hosts::File(path) => HostsFile::read(path)?,
            Hosts::Search => HostsFile::find()?,
        };
        let hosts = file.hosts().iter();
        Ok(hosts.map(|entry| Host { host: entry.host().to_owned(), number: None }).collect())
    }

    fn plan(&self, host: &Host) -> Result<Plan, HostFailure> {
        let number = host.number.map(|number| number.to_string()).unwrap_or_default();
        plan(&host.host, &format!("{}{number}", self.name), self.program.clone(), self.args.clone())
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
            host: self.host,
            credentials: None,
            authority: None,
            allow: self.allow.clone(),
            only: self.only.clone(),
            times: self.times,
            frame_bytes_max: FRAME_BYTES_MAX,
            log: self.log.clone().unwrap_or_else(log::to_stderr),
            output: self.output.clone().unwrap_or_else(to_terminal),
            life_line: None,
            program: self.program.clone(),
            args: self.args.clone(),
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
    host: &str,
    name: &str,
    program: Option<PathBuf>,
    args: Vec<String>,
) -> Result<Plan, HostFailure> {
    let failed = |step, why: String| HostFailure { host: host.to_owned(), step, why };
    let name = NodeName::new(name, host).map_err(|why| failed(StartStep::Name, why.to_string()))?;
    if !is_this_host(host) {
        let why = "only this machine's own hosts can be started so far: there is no launcher for others yet";
        return Err(failed(StartStep::Launch, why.to_owned()));
    }
    Ok(Plan { name, host: host.to_owned(), program, args })
}

impl Pool {
    /// Starts one more slave, `name@host`, and waits until it is in the pool: Erlang's
    /// `slave:start(Host, Name)`. A node of that name that is in the pool already is given as it is.
    ///
    /// # Errors
    /// [`HostFailure`] with the step that failed. Only a master's own handle starts slaves.
    /// # Cancel safety
    /// Not cancel safe: the slave may come up all the same, and ends with the pool.
    pub async fn start_slave(&self, host: &str, name: &str) -> Result<NodeName, HostFailure> {
        let node = self.local_node();
        let (program, args) = (node.config.program.clone(), node.config.args.clone());
        node.start_slave(plan(host, name, program, args)?).await
    }
}

struct Host {
    host: String,
    /// Which of several slaves on one host.
    number: Option<usize>,
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
