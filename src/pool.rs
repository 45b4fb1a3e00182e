//! The pool: Erlang's `pool`, function by function.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::launcher::HostFailure;
use crate::node::ambient::{ambient_node, set_default_node};
use crate::node::output::{OutputLine, Sink};
use crate::node::terminal::{OutputFormat, Terminal};
use crate::node::{Node, Outcome};
use crate::runtime_file::RunningPool;
use crate::term::{At, ExitReason, Fingerprint, HostId, NodeName, Pid, Via};
use crate::wire::greeting::Part;
use crate::wire::{Answer, KindInfo, Query, Signal};

mod builder;
mod error;
mod free;
mod order;
mod spawn;

pub use builder::{PoolBuilder, StartEvent};
pub use error::{Error, PoolError, SpawnError, StartError};
pub use free::{Attached, FreeNode};
pub use order::{Parent, Spawn, SpawnMonitored, Starting, Watches};
pub use spawn::Running;
pub(crate) use spawn::{Ties, args_of};

/// A set of nodes used as one set of processors, seen from one of them.
///
/// It is a handle: clones are the same pool. All functions work on every node of the pool (rule P30).
/// The pool itself lives as long as its master's OS process, or until [`stop`](Pool::stop).
#[derive(Clone)]
pub struct Pool {
    node: Arc<Node>,
    failures: Arc<Vec<HostFailure>>,
}

impl Pool {
    /// Starts a pool: a slave named `name@host` on every host in `.hosts.erlang`.
    ///
    /// The file is searched in the current directory, then in `$HOME`, then in the directory of the
    /// running executable; the first one found is used.
    ///
    /// # Errors
    /// [`StartError`]; a host that cannot be started is none unless no other could: see
    /// [`failures`](Pool::failures).
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start(name: &str) -> Result<Pool, StartError> {
        Pool::builder(name).start().await
    }

    /// A pool with other than the default settings.
    pub fn builder(name: &str) -> PoolBuilder {
        PoolBuilder::new(name)
    }

    /// The pool of the actor that runs on this thread; outside of actors that of the node which was
    /// started last in this OS process.
    #[must_use]
    pub fn current() -> Option<Pool> {
        ambient_node().map(|node| Pool::of(&node))
    }

    /// Joins a running pool as a node that nobody sees and nothing is placed on, as commands do:
    /// Erlang's hidden node.
    ///
    /// # Errors
    /// [`StartError::Unreachable`] if the master does not answer or refuses the cookie.
    pub async fn connect(running: RunningPool) -> Result<Pool, StartError> {
        Pool::connect_with(running, Sink::terminal(OutputFormat::default())).await
    }

    /// The same; what actors print that are started from here goes to `output`.
    ///
    /// # Errors
    /// Those of [`connect`](Pool::connect).
    pub async fn connect_to(
        running: RunningPool,
        output: impl Fn(&OutputLine) + Send + Sync + 'static,
    ) -> Result<Pool, StartError> {
        Pool::connect_with(running, Sink::closure(output)).await
    }

    /// The same; it goes to this terminal.
    ///
    /// # Errors
    /// Those of [`connect`](Pool::connect).
    pub async fn connect_on(running: RunningPool, terminal: Terminal) -> Result<Pool, StartError> {
        Pool::connect_with(running, Sink::Terminal(Arc::new(terminal))).await
    }

    async fn connect_with(running: RunningPool, output: Sink) -> Result<Pool, StartError> {
        let master: NodeName = running.master.parse()?;
        let address = running.address;
        if !address.ip().is_loopback() {
            let why = "commands reach their pool on its master's own host only: run it there";
            return Err(StartError::Unreachable { master, address, why: why.to_owned() });
        }
        let name = format!("hidden-{}", std::process::id());
        let mut builder = PoolBuilder::new(&name).cookie(running.cookie);
        if let Some((tick, silence_max)) = running.heartbeat {
            builder = builder.heartbeat(tick, silence_max);
        }
        let mut config = builder.config()?;
        config.part = Part::Hidden;
        config.workers = 1;
        config.output = output;
        let node = Node::start(config).await?;
        set_default_node(&node);
        node.peers().place(master, At::known_by(address, node.config.host));
        node.peers().set_master(Some(master));
        let pool = Pool::of(&node);
        match pool.ask(Query::Loads, node.config.times.greeting).await {
            Ok(_) => Ok(pool),
            Err(why) => {
                node.stop();
                let why = node.peers().why_lost(master).unwrap_or_else(|| why.to_string());
                let why = why.trim_start_matches(&format!("{address}: ")).to_owned();
                Err(StartError::Unreachable { master, address, why })
            }
        }
    }

    pub(crate) fn of(node: &Arc<Node>) -> Pool {
        Pool { node: node.clone(), failures: Arc::default() }
    }

    /// The node that this handle belongs to: Erlang's `node()`.
    #[must_use]
    pub fn here(&self) -> NodeName {
        self.node.name
    }

    /// Where this handle's node listens for nodes of its own host.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// Where it listens for nodes of other hosts, by TLS; none if it does not.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.node.tls_address()
    }

    /// The pool's master; none on a node that is in no pool.
    #[must_use]
    pub fn master(&self) -> Option<NodeName> {
        self.node.peers().master()
    }

    /// The hosts on which no slave could be started, each with the step that failed.
    #[must_use]
    pub fn failures(&self) -> &[HostFailure] {
        &self.failures
    }

    /// What the pool was started with as arguments for its slaves.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.node.config.args
    }

    /// All nodes of the pool, the master first: `pool:get_nodes()`.
    ///
    /// # Errors
    /// [`PoolError`] if there is no pool, or its master does not answer.
    pub async fn nodes(&self) -> Result<Vec<NodeName>, PoolError> {
        Ok(self.nodes_and_load().await?.into_iter().map(|(node, _)| node).collect())
    }

    /// The same with the load expected there: jobs a core.
    ///
    /// # Errors
    /// As [`nodes`](Pool::nodes).
    pub async fn nodes_and_load(&self) -> Result<Vec<(NodeName, f64)>, PoolError> {
        match self.ask(Query::Loads, self.node.config.times.spawn).await? {
            Answer::Loads(loads) => Ok(loads),
            other => Err(PoolError::unexpected(&other)),
        }
    }

    /// The node with the lowest expected load: `pool:get_node()`. Counts as one use of it (rule P15).
    ///
    /// Answered on this thread on the master's node. Elsewhere the master is asked; a node that asks often may
    /// answer itself by a table of the master's, at most 200 ms old, and tells the master afterwards.
    ///
    /// # Errors
    /// As [`nodes`](Pool::nodes).
    pub async fn node(&self) -> Result<NodeName, PoolError> {
        if let Some(node) = self.node.choose() {
            return Ok(node);
        }
        let asked = self.node.now();
        match self.ask(Query::Place, self.node.config.times.spawn).await? {
            Answer::Placed(Some(node)) => {
                self.node.choices().asked(self.node.now().saturating_sub(asked));
                Ok(node)
            }
            Answer::Placed(None) => Err(PoolError::Refused("the pool is empty".to_owned())),
            other => Err(PoolError::unexpected(&other)),
        }
    }

    /// Why the next actor would go where it would: the figures of every node, the preferred one first,
    /// a line each. Counts as no use. The master's words, also where this node chooses by a table of it.
    ///
    /// # Errors
    /// As [`nodes`](Pool::nodes).
    pub async fn explain(&self) -> Result<Vec<String>, PoolError> {
        match self.ask(Query::Explain, self.node.config.times.spawn).await? {
            Answer::Explained(lines) => Ok(lines),
            other => Err(PoolError::unexpected(&other)),
        }
    }

    /// Takes a node into the pool that was started by other means, with `pspawn node` say, on the
    /// master's host, and shares this pool's cookie. One on another host needs
    /// [`attach_pinned`](Pool::attach_pinned).
    ///
    /// # Errors
    /// [`PoolError::Refused`] with the reason if it cannot be reached or does not want to (rule P13
    /// differs: Erlang says `attached` then). For a node of another host the reason has the fingerprint
    /// that was found there.
    pub async fn attach(&self, node: NodeName, address: SocketAddr) -> Result<Attached, PoolError> {
        let at = At::known_by(address, self.node.config.host);
        self.attach_at(node, at, None).await
    }

    /// Takes a node of another host into the pool, by TLS: the one whose certificate has this
    /// fingerprint, as `pspawn node` printed it there. Both must share a cookie.
    ///
    /// # Errors
    /// Those of [`attach`](Pool::attach); [`PoolError::Refused`] with the fingerprint that was found if it
    /// is another one.
    pub async fn attach_pinned(
        &self,
        node: NodeName,
        address: SocketAddr,
        fingerprint: Fingerprint,
    ) -> Result<Attached, PoolError> {
        let at = At { host: HostId::UNKNOWN, local: address, remote: vec![address] };
        self.attach_at(node, at, Some(fingerprint)).await
    }

    async fn attach_at(
        &self,
        node: NodeName,
        at: At,
        fingerprint: Option<Fingerprint>,
    ) -> Result<Attached, PoolError> {
        let within = self.node.config.times.spawn * 2;
        match self.ask(Query::Attach { node, at, fingerprint }, within).await? {
            Answer::Attached { already, differences } => {
                Ok(Attached { newly: !already, differences })
            }
            other => Err(PoolError::unexpected(&other)),
        }
    }

    /// Ends all nodes of the pool but the master's own OS process; returns when the last OS process of
    /// the last slave is gone. Actors of the master's own node end with `Shutdown`.
    ///
    /// # Errors
    /// If there is no pool, or it does not end in time.
    pub async fn stop(&self) -> Result<(), Error> {
        let within = self.node.config.times.stop * 2 + STOP_SLACK;
        match self.ask(Query::StopPool, within).await {
            Ok(Answer::Done) => Ok(()),
            Ok(other) => Err(PoolError::unexpected(&other).into()),
            // Called on a slave: the pool ended it before it could hear.
            Err(PoolError::MasterLost { .. }) if !self.is_master() => Ok(()),
            Err(why) => Err(why.into()),
        }
    }

    /// Waits until all output that has come to this handle's node is shown, as a program does before it prints
    /// a result. What a process printed before it answered has come when the answer has. Returns false if
    /// whoever shows it has stalled.
    ///
    /// [`run`](crate::run) does it at the end by itself.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn output_shown(&self) -> bool {
        self.node.output_shown().await
    }

    /// Waits until this handle's node has been stopped, by anybody.
    pub async fn stopped(&self) {
        self.node.until_stopped().await;
    }

    /// What this node's executable can start.
    #[must_use]
    pub fn kinds(&self) -> Vec<KindInfo> {
        crate::node::registry::kinds()
    }

    /// What another node can start.
    ///
    /// # Errors
    /// If that node is not connected, or does not answer.
    pub async fn kinds_of(&self, node: NodeName) -> Result<Vec<KindInfo>, PoolError> {
        let within = self.node.config.times.spawn;
        match self.ask_node(node, Query::Kinds, within).await? {
            Answer::Kinds(kinds) => Ok(kinds),
            other => Err(PoolError::unexpected(&other)),
        }
    }

    /// Actors of this handle's node that are ready to run and do not:
    /// `erlang:statistics(run_queue)`, counted exactly.
    #[must_use]
    pub fn run_queue(&self) -> usize {
        self.node.run_queue()
    }

    /// How many actors live on this handle's node.
    #[must_use]
    pub fn actors(&self) -> usize {
        self.node.actors()
    }

    /// Sends an exit signal to an actor on any node: Erlang's `exit/2`, on behalf of this node.
    pub fn exit(&self, pid: Pid, reason: ExitReason) {
        let from = self.node.own_pid();
        self.node.signal(from, pid, Signal::Exit { from, reason });
    }

    /// Whether a process lives, on whichever node: Erlang's `is_process_alive`. One whose node is lost
    /// does not.
    ///
    /// # Errors
    /// [`PoolError::TimedOut`] if its node does not answer.
    pub async fn is_process_alive(&self, pid: Pid) -> Result<bool, PoolError> {
        if pid.node() == self.node.name {
            return Ok(self.node.is_alive(pid));
        }
        let within = self.node.config.times.spawn;
        match self.ask_node(pid.node(), Query::IsAlive(pid), within).await {
            Ok(Answer::Alive(alive)) => Ok(alive),
            Ok(other) => Err(PoolError::unexpected(&other)),
            Err(PoolError::MasterLost { .. } | PoolError::NodeDown { .. }) => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// Cuts the connection between this handle's node and another, though both go on: links and monitors
    /// between them break with `NoConnection` at both ends, and the next signal connects them again
    /// (rule N9). Returns whether there was one. A slave that is cut from its master ends (rule S6).
    pub fn disconnect(&self, node: NodeName) -> bool {
        self.node.disconnect(node)
    }

    /// The nodes that this handle's node is connected with at this moment: Erlang's `nodes()`. Slaves
    /// connect with each other when they first have to.
    #[must_use]
    pub fn connected(&self) -> Vec<NodeName> {
        let links = self.node.peers().all().into_iter();
        let mut nodes: Vec<NodeName> =
            links.filter(|link| link.is_visible()).map(|link| link.peer).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Waits until every process of this handle's node that is ready now has had a turn, and whoever is tied to those that
    /// ended has heard of it. For tests that want to look at what came of something.
    pub async fn turns_over(&self) {
        self.node.turns_over().await;
    }

    /// What carries the connection with that node, if there is one at this moment.
    #[must_use]
    pub fn via(&self, node: NodeName) -> Option<Via> {
        self.node.peers().get(node)?.via()
    }

    pub(crate) fn local_node(&self) -> &Arc<Node> {
        &self.node
    }

    fn is_master(&self) -> bool {
        self.master() == Some(self.node.name)
    }

    async fn ask(&self, query: Query, within: Duration) -> Result<Answer, PoolError> {
        let master = self.master().ok_or(PoolError::NoPool)?;
        self.ask_node(master, query, within).await
    }

    async fn ask_node(
        &self,
        node: NodeName,
        query: Query,
        within: Duration,
    ) -> Result<Answer, PoolError> {
        match self.node.query(node, query, within).await {
            Outcome::Told(Answer::Refused(why)) => Err(PoolError::Refused(why)),
            Outcome::Told(answer) => Ok(answer),
            Outcome::TimedOut => Err(PoolError::TimedOut { master: node, after: within }),
            Outcome::Lost if self.master() == Some(node) => {
                Err(PoolError::MasterLost { master: node })
            }
            Outcome::Lost => Err(PoolError::NodeDown { node }),
            Outcome::Reply(_) | Outcome::Spawned(_) | Outcome::Refused(_) | Outcome::Failed(_) => {
                Err(PoolError::Refused("an answer to another question".to_owned()))
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.node.name).finish()
    }
}

/// What stopping takes apart from the slaves' own ends.
const STOP_SLACK: Duration = Duration::from_secs(5);
