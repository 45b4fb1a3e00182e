//! The pool: Erlang's `pool`, function by function.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use slog::Logger;

use crate::actor::Spawnable;
use crate::addr::{RemoteAddr, SendError};
use crate::context::{ambient_node, decode_at, set_default_node};
use crate::cookie::{Cookie, CookieError};
use crate::entry;
use crate::hosts::{HostsError, HostsFile, is_this_host, own_host_name};
use crate::log;
use crate::node::answer::{Return, encode};
use crate::node::cell::{Cell, current};
use crate::node::config::{Config, FRAME_BYTES_MAX, Times, cores};
use crate::node::launch::{HostFailure, Plan, StartStep};
use crate::node::output::{OutputLine, Sink, to_terminal};
use crate::node::registry::NO_ARGS;
use crate::node::seat::Born;
use crate::node::{Node, NodeError, Outcome, Waiter};
use crate::process::Ctx;
use crate::runtime_file::RunningPool;
use crate::term::{ExitReason, Kind, NodeName, NodeNameError, Pid, Ref};
use crate::wire::greeting::Part;
use crate::wire::{
    Answer, Control, Fault, KindInfo, Query, Signal, SpawnFault, SpawnOptions, SpawnOrder,
};

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
        Pool::connect_with(running, to_terminal()).await
    }

    /// The same; what actors print that are started from here goes to `output`.
    ///
    /// # Errors
    /// Those of [`connect`](Pool::connect).
    pub async fn connect_to(
        running: RunningPool,
        output: impl Fn(&OutputLine) + Send + Sync + 'static,
    ) -> Result<Pool, StartError> {
        Pool::connect_with(running, Arc::new(output)).await
    }

    async fn connect_with(running: RunningPool, output: Sink) -> Result<Pool, StartError> {
        let master: NodeName = running.master.parse()?;
        let mut config = PoolBuilder::new(&format!("hidden-{}", std::process::id())).config()?;
        config.part = Part::Hidden;
        config.cookie = running.cookie;
        config.workers = 1;
        config.output = output;
        let node = Node::start(config).await?;
        set_default_node(&node);
        node.peers().place(master, running.address);
        node.peers().set_master(Some(master));
        let pool = Pool::of(&node);
        match pool.ask(Query::Loads, node.config.times.greeting).await {
            Ok(_) => Ok(pool),
            Err(why) => {
                node.stop();
                Err(StartError::Unreachable {
                    master,
                    address: running.address,
                    why: why.to_string(),
                })
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

    /// Where this handle's node listens for others.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.node.address()
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
    /// # Errors
    /// As [`nodes`](Pool::nodes).
    pub async fn node(&self) -> Result<NodeName, PoolError> {
        match self.ask(Query::Place, self.node.config.times.spawn).await? {
            Answer::Placed(Some(node)) => Ok(node),
            Answer::Placed(None) => Err(PoolError::Refused("the pool is empty".to_owned())),
            other => Err(PoolError::unexpected(&other)),
        }
    }

    /// Why the next actor would go where it would: the figures of every node, the preferred one first,
    /// a line each. Counts as no use.
    ///
    /// # Errors
    /// As [`nodes`](Pool::nodes).
    pub async fn explain(&self) -> Result<Vec<String>, PoolError> {
        match self.ask(Query::Explain, self.node.config.times.spawn).await? {
            Answer::Explained(lines) => Ok(lines),
            other => Err(PoolError::unexpected(&other)),
        }
    }

    /// Takes a node into the pool that was started by other means, with `pspawn node` say, and shares
    /// this pool's cookie. Returns false if it was in already.
    ///
    /// # Errors
    /// [`PoolError::Refused`] with the reason if it cannot be reached or does not want to (rule P13
    /// differs: Erlang says `attached` then).
    pub async fn attach(&self, node: NodeName, address: SocketAddr) -> Result<bool, PoolError> {
        let within = self.node.config.times.spawn * 2;
        match self.ask(Query::Attach { node, address }, within).await? {
            Answer::Attached { already } => Ok(!already),
            other => Err(PoolError::unexpected(&other)),
        }
    }

    /// Ends all nodes of the pool but the master's own OS process; returns when the last OS process of
    /// the last slave is gone. Actors of the master's own node end with `Shutdown`.
    ///
    /// # Errors
    /// If there is no pool, or it does not end in time.
    pub async fn stop(&self) -> Result<(), Error> {
        let within = self.node.config.times.stop * 4;
        match self.ask(Query::StopPool, within).await {
            Ok(Answer::Done) => Ok(()),
            Ok(other) => Err(PoolError::unexpected(&other).into()),
            // Called on a slave: the pool ended it before it could hear.
            Err(PoolError::MasterLost { .. }) if !self.is_master() => Ok(()),
            Err(why) => Err(why.into()),
        }
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

    /// A process for plain async code: a pid, a mailbox and ties. It traps exits.
    #[must_use]
    pub fn mailbox(&self) -> Ctx {
        Ctx::plain(&self.node)
    }

    /// Starts an `A` on the node with the lowest expected load, and returns once it has a pid there.
    ///
    /// # Errors
    /// [`SpawnError`], always within the pool's spawn time-out. [`SpawnError::NodeDown`] if the chosen
    /// node is lost first; the actor may have lived briefly.
    /// # Cancel safety
    /// Not cancel safe: dropping the future may leave the actor running, unlinked.
    pub async fn pspawn<A: Spawnable>(&self, args: A::Args) -> Result<RemoteAddr<A>, SpawnError> {
        self.spawn_typed(None, args, Ties::none()).await
    }

    /// The same, linked from birth with the actor that calls this: one that dies at once is not missed
    /// (rule L10). In plain async code use [`Ctx::pspawn_link`] of a [`mailbox`](Pool::mailbox).
    ///
    /// # Errors
    /// Those of [`pspawn`](Pool::pspawn), and [`SpawnError::NoCaller`] outside of an actor.
    /// # Cancel safety
    /// Not cancel safe: the actor may be running, and linked, all the same.
    pub async fn pspawn_link<A: Spawnable>(
        &self,
        args: A::Args,
    ) -> Result<RemoteAddr<A>, SpawnError> {
        let caller = current().ok_or(SpawnError::NoCaller)?;
        self.spawn_typed(None, args, Ties::link(&caller)).await
    }

    /// Starts an `A` on this node.
    ///
    /// # Errors
    /// Those of [`pspawn`](Pool::pspawn).
    /// # Cancel safety
    /// Not cancel safe: the actor may be running all the same.
    pub async fn spawn_on<A: Spawnable>(
        &self,
        node: NodeName,
        args: A::Args,
    ) -> Result<RemoteAddr<A>, SpawnError> {
        self.spawn_typed(Some(node), args, Ties::none()).await
    }

    /// Starts a function process, or an actor (by its name and `new`), on the node with the lowest
    /// expected load: `pool:pspawn(Module, Function, Args)`. `args` is a tuple or a list.
    ///
    /// # Errors
    /// [`SpawnError`]; a name that is not registered there is [`SpawnError::UnknownKind`], where Erlang
    /// gives a pid that dies of `undef` (rule P27).
    /// # Cancel safety
    /// Not cancel safe: the process may be running all the same.
    pub async fn pspawn_mfa(
        &self,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Result<Pid, SpawnError> {
        self.spawn_named(None, module, function, args, Ties::none()).await
    }

    /// The same, linked from birth with the actor that calls this.
    ///
    /// # Errors
    /// Those of [`pspawn_mfa`](Pool::pspawn_mfa), and [`SpawnError::NoCaller`] outside of an actor.
    /// # Cancel safety
    /// Not cancel safe: the process may be running, and linked, all the same.
    pub async fn pspawn_link_mfa(
        &self,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Result<Pid, SpawnError> {
        let caller = current().ok_or(SpawnError::NoCaller)?;
        self.spawn_named(None, module, function, args, Ties::link(&caller)).await
    }

    /// The same on this node.
    ///
    /// # Errors
    /// Those of [`pspawn_mfa`](Pool::pspawn_mfa).
    /// # Cancel safety
    /// Not cancel safe: the process may be running all the same.
    pub async fn spawn_mfa_on(
        &self,
        node: NodeName,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Result<Pid, SpawnError> {
        self.spawn_named(Some(node), module, function, args, Ties::none()).await
    }

    /// Starts a function on the node with the lowest expected load, and gives its pid and, once it has
    /// returned, its result. The result has no deadline: the function's end is its end, and so is the
    /// loss of its node.
    ///
    /// # Errors
    /// [`SpawnError`] if it does not start.
    /// # Cancel safety
    /// Not cancel safe: the process may be running all the same.
    pub async fn call<R: DeserializeOwned>(
        &self,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Result<Running<R>, SpawnError> {
        let kind = Kind::new(module.to_owned(), function.to_owned());
        let node = self.place().await?;
        let (tell, outcome) = oneshot::channel();
        let waiter: Waiter = Box::new(move |ended| drop(tell.send(ended)));
        let link = self.way_to(node)?;
        let question = self.node.open_question(link.as_deref(), NO_DEADLINE, waiter);
        let spawned =
            self.spawn(node, kind, Args::Named(args_of(args)?), Ties::none(), Some(question)).await;
        match spawned {
            Ok(pid) => {
                let pool = self.clone();
                Ok(Running { pool, pid, outcome, result: std::marker::PhantomData })
            }
            Err(why) => {
                self.node.give_up_question(question);
                Err(why)
            }
        }
    }

    /// Sends an exit signal to an actor on any node: Erlang's `exit/2`, on behalf of this node.
    pub fn exit(&self, pid: Pid, reason: ExitReason) {
        let from = self.node.own_pid();
        self.node.signal(from, pid, Signal::Exit { from, reason });
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
            Outcome::Lost => Err(PoolError::MasterLost { master: node }),
            Outcome::Reply(_) | Outcome::Spawned(_) | Outcome::Refused(_) | Outcome::Failed(_) => {
                Err(PoolError::Refused("an answer to another question".to_owned()))
            }
        }
    }

    async fn place(&self) -> Result<NodeName, SpawnError> {
        self.node().await.map_err(SpawnError::NoNode)
    }

    /// The connection to a node; none if it is this one.
    fn way_to(&self, node: NodeName) -> Result<Option<Arc<crate::node::link::Link>>, SpawnError> {
        if node == self.node.name {
            return Ok(None);
        }
        self.node.link_to(node).map(Some).map_err(|_| SpawnError::NodeDown { node })
    }

    pub(crate) async fn spawn_typed<A: Spawnable>(
        &self,
        on: Option<NodeName>,
        args: A::Args,
        ties: Ties,
    ) -> Result<RemoteAddr<A>, SpawnError> {
        let (node, placed) = self.node_for(on).await?;
        let kind = Kind::new(A::KIND, "new");
        let args = if node == self.node.name {
            Args::Here(Box::new(move |seat: crate::node::seat::Seat| seat.host::<A>(args)))
        } else {
            let bytes = A::encode_args(&args).map_err(|why| SpawnError::BadArguments {
                node,
                kind: kind.clone(),
                why: why.to_string(),
            })?;
            Args::Named(bytes)
        };
        let pid = self.spawn(node, kind, args, Ties { placed, ..ties }, None).await?;
        Ok(RemoteAddr::new(pid, self.node.clone()))
    }

    pub(crate) async fn spawn_named(
        &self,
        on: Option<NodeName>,
        module: &str,
        function: &str,
        args: impl Serialize,
        ties: Ties,
    ) -> Result<Pid, SpawnError> {
        let args = args_of(args)?;
        let (node, placed) = self.node_for(on).await?;
        let kind = Kind::new(module.to_owned(), function.to_owned());
        self.spawn(node, kind, Args::Named(args), Ties { placed, ..ties }, None).await
    }

    async fn node_for(&self, on: Option<NodeName>) -> Result<(NodeName, bool), SpawnError> {
        match on {
            Some(node) => Ok((node, false)),
            None => Ok((self.place().await?, true)),
        }
    }

    async fn spawn(
        &self,
        on: NodeName,
        kind: Kind,
        args: Args,
        ties: Ties,
        result: Option<u64>,
    ) -> Result<Pid, SpawnError> {
        let within = self.node.config.times.spawn;
        let placed = ties.placed || result.is_some();
        let options = SpawnOptions {
            link: ties.link.as_ref().map(|parent| parent.pid),
            monitor: ties.monitor.as_ref().map(|(watcher, monitor)| (watcher.pid, *monitor)),
            leader: current().map_or(self.node.name, |cell| cell.leader),
            result,
            placed,
        };
        let (tell, told) = oneshot::channel();
        let node = self.node.clone();
        let waiter: Waiter = Box::new(move |outcome| {
            if let Outcome::Spawned(pid) = outcome {
                ties.made(&node, pid);
            }
            let _ = tell.send(outcome); // the spawner may have gone
        });
        let link = self.way_to(on)?;
        let question = self.node.open_question(link.as_deref(), within, waiter);
        match (link, args) {
            (None, args) => {
                let asker = self.node.clone();
                let born: Born = Box::new(move |born| {
                    asker.close_question(
                        question,
                        match born {
                            Ok(pid) => Outcome::Spawned(pid),
                            Err(fault) => Outcome::Refused(fault),
                        },
                    );
                });
                let result = result.map(|question| Return { link: None, question });
                match args {
                    Args::Here(start) => {
                        self.node.seat(kind.clone(), options, born, result, start);
                    }
                    Args::Named(args) => {
                        self.node.start_kind(kind.clone(), args, options, born, result);
                    }
                }
            }
            (Some(link), Args::Named(args)) => {
                let order = SpawnOrder { question, kind: kind.clone(), args, options };
                if !link.push_control(&Control::Spawn(order)) {
                    self.node.close_question(question, Outcome::Lost);
                }
            }
            (Some(_), Args::Here(_)) => unreachable!("arguments for another node are encoded"),
        }
        let outcome = told.await.unwrap_or(Outcome::Lost);
        let node = on;
        let refused = match outcome {
            Outcome::Spawned(pid) => return Ok(pid),
            Outcome::Refused(SpawnFault::UnknownKind) => SpawnError::UnknownKind { node, kind },
            Outcome::Refused(SpawnFault::BadArguments(why)) => {
                SpawnError::BadArguments { node, kind, why }
            }
            Outcome::Refused(SpawnFault::NotAllowed) => SpawnError::NotAllowed { node, kind },
            Outcome::Refused(SpawnFault::Stopping) => SpawnError::Stopping { node },
            Outcome::TimedOut => SpawnError::TimedOut { node, kind, after: within },
            Outcome::Lost | Outcome::Reply(_) | Outcome::Failed(_) | Outcome::Told(_) => {
                SpawnError::NodeDown { node }
            }
        };
        if placed {
            self.unplace(node);
        }
        Err(refused)
    }

    /// Tells the master that its choice came to nothing.
    fn unplace(&self, node: NodeName) {
        let pool = self.clone();
        self.node.on_io(async move {
            // If the master cannot hear it, its count forgets the choice by itself.
            let _ = pool.ask(Query::Unplace(node), pool.node.config.times.spawn).await;
        });
    }
}

/// What a new actor is made of.
enum Args {
    /// Here, as they are.
    Here(Box<dyn FnOnce(crate::node::seat::Seat) + Send>),
    /// Encoded as a MessagePack array.
    Named(Vec<u8>),
}

/// Who is tied to a new actor from birth.
pub(crate) struct Ties {
    link: Option<Arc<Cell>>,
    monitor: Option<(Arc<Cell>, Ref)>,
    placed: bool,
}

impl Ties {
    fn none() -> Ties {
        Ties { link: None, monitor: None, placed: false }
    }

    pub(crate) fn link(parent: &Arc<Cell>) -> Ties {
        Ties { link: Some(parent.clone()), ..Ties::none() }
    }

    pub(crate) fn monitor(watcher: &Arc<Cell>) -> (Ties, Ref) {
        let monitor = watcher.node.new_ref();
        (Ties { monitor: Some((watcher.clone(), monitor)), ..Ties::none() }, monitor)
    }

    /// The other ends of the ties, made before any signal of the new actor can come.
    fn made(&self, node: &Arc<Node>, pid: Pid) {
        if let Some(parent) = &self.link {
            node.act(parent, |life, out| life.linked_from_birth(pid, out));
        }
        if let Some((watcher, monitor)) = &self.monitor {
            node.act(watcher, |life, out| life.monitoring_from_birth(pid, *monitor, out));
        }
    }
}

fn args_of(args: impl Serialize) -> Result<Vec<u8>, SpawnError> {
    let mut bytes = Vec::new();
    encode(&args, &mut bytes).map_err(|why| SpawnError::NotArguments { why: why.to_string() })?;
    match rmp::Marker::from_u8(bytes.first().copied().unwrap_or_default()) {
        rmp::Marker::FixArray(_) | rmp::Marker::Array16 | rmp::Marker::Array32 => Ok(bytes),
        rmp::Marker::Null => Ok(vec![NO_ARGS]),
        _ => Err(SpawnError::NotArguments {
            why: "expected a tuple or a list of arguments, like (1, \"x\"), (1,) or ()".to_owned(),
        }),
    }
}

/// A function that was started for its result. Await [`result`](Running::result).
#[derive(Debug)]
pub struct Running<R> {
    pool: Pool,
    pid: Pid,
    outcome: oneshot::Receiver<Outcome>,
    result: std::marker::PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Running<R> {
    /// The function's process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What the function returned.
    ///
    /// # Errors
    /// [`SendError::Exit`] with the reason if it ended otherwise.
    pub async fn result(self) -> Result<R, SendError> {
        let pid = self.pid;
        match self.outcome.await {
            Ok(Outcome::Reply(bytes)) => decode_at(&self.pool.node, &bytes)
                .map_err(|why| SendError::Undecodable { pid, why }),
            Ok(Outcome::Failed(Fault::Exit(reason))) => Err(SendError::Exit { pid, reason }),
            Ok(Outcome::Failed(Fault::Undecodable(why))) => {
                Err(SendError::Undecodable { pid, why })
            }
            Ok(Outcome::Failed(Fault::NotAccepted { .. } | Fault::NoAnswer)) => {
                Err(SendError::NoAnswer { pid })
            }
            Ok(Outcome::TimedOut) => Err(SendError::TimedOut { pid, after: NO_DEADLINE }),
            Ok(Outcome::Lost | Outcome::Spawned(_) | Outcome::Refused(_) | Outcome::Told(_))
            | Err(oneshot::Canceled) => {
                Err(SendError::Exit { pid, reason: ExitReason::NoConnection })
            }
        }
    }
}

/// How a pool is started; see each method for what it is when it is not called.
#[must_use]
pub struct PoolBuilder {
    name: String,
    hosts: Hosts,
    args: Vec<String>,
    program: Option<PathBuf>,
    cookie: Option<Cookie>,
    allow: Vec<String>,
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
    fn new(name: &str) -> PoolBuilder {
        PoolBuilder {
            name: name.to_owned(),
            hosts: Hosts::Search,
            args: Vec::new(),
            program: None,
            cookie: None,
            allow: Vec::new(),
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
    /// Default: 500 ms and 3 s.
    pub fn heartbeat(mut self, tick: Duration, silence_max: Duration) -> PoolBuilder {
        self.times.tick = tick.max(Duration::from_millis(1));
        self.times.silence_max = silence_max.max(self.times.tick * 2);
        self
    }

    /// How long a `send` waits for its answer. Default: 5 s, as `gen_server:call` (rule G1).
    pub fn call_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.call = after;
        self
    }

    /// How long a spawn, or a question about the pool, may take. Default: 10 s.
    pub fn spawn_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.spawn = after;
        self
    }

    /// How long a slave may take until it is in the pool. Default: 32 s (rule P3).
    pub fn start_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.start = after;
        self
    }

    /// How long slaves have to end by themselves before they are ended by force. Default: 5 s.
    pub fn stop_timeout(mut self, after: Duration) -> PoolBuilder {
        self.times.stop = after;
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

    /// Who hears, host by host, how the start goes. Default: nobody.
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
        entry::check()?;
        let hosts = self.find_hosts()?;
        let mut config = self.config()?;
        config.name = NodeName::new(&format!("{}-master", self.name), &own_host_name())?;
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
        for failure in &failures {
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
        let failed = |step, why: String| HostFailure { host: host.host.clone(), step, why };
        let number = host.number.map(|number| number.to_string()).unwrap_or_default();
        let name = NodeName::new(&format!("{}{number}", self.name), &host.host)
            .map_err(|why| failed(StartStep::Name, why.to_string()))?;
        if !is_this_host(&host.host) {
            let why = "only this machine's own hosts can be started so far: there is no launcher for others yet";
            return Err(failed(StartStep::Launch, why.to_owned()));
        }
        let (host, program, args) = (host.host.clone(), self.program.clone(), self.args.clone());
        Ok(Plan { name, host, program, args })
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
            allow: self.allow.clone(),
            times: self.times,
            frame_bytes_max: FRAME_BYTES_MAX,
            log: self.log.clone().unwrap_or_else(log::to_stderr),
            output: self.output.clone().unwrap_or_else(to_terminal),
            life_line: None,
            args: self.args.clone(),
        })
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.node.name).finish()
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

/// A node that was started on its own and waits to be attached to a pool: what `pspawn node` runs.
#[derive(Debug)]
pub struct FreeNode(Pool);

impl FreeNode {
    /// Starts a node named `name@host` that listens on `listen`.
    ///
    /// # Errors
    /// [`StartError`] if it cannot listen there, or has no cookie.
    pub async fn start(
        name: &str,
        listen: SocketAddr,
        cookie: Option<Cookie>,
        allow: Vec<String>,
    ) -> Result<FreeNode, StartError> {
        let mut builder = PoolBuilder::new(name);
        builder.cookie = cookie;
        builder.allow = allow;
        let mut config = builder.config()?;
        config.part = Part::Free;
        config.listen = listen;
        let node = Node::start(config).await?;
        set_default_node(&node);
        Ok(FreeNode(Pool::of(&node)))
    }

    /// The pool from this node's point of view, once it is in one.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.0
    }

    /// Ends the node, as if its OS process had ended.
    pub fn stop(&self) {
        self.0.node.stop();
    }
}

/// A pool, or a node of one, could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no hosts file, or it cannot be used.
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// There is no cookie that can be used.
    #[error(transparent)]
    Cookie(#[from] CookieError),
    /// The name is none that a node can have.
    #[error(transparent)]
    Name(#[from] NodeNameError),
    /// This node itself did not come up.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Too few slaves came up.
    #[error("{up} of at least {wanted} slaves came up{}", listed(failures))]
    TooFewNodes {
        /// How many did.
        up: usize,
        /// How many were needed.
        wanted: usize,
        /// What happened to the others.
        failures: Vec<HostFailure>,
    },
    /// The running pool's master cannot be reached.
    #[error("cannot reach {master} at {address}: {why}")]
    Unreachable {
        /// The master.
        master: NodeName,
        /// Where it should be.
        address: SocketAddr,
        /// Why not.
        why: String,
    },
    /// This OS process could not become a slave, so it cannot start others like itself.
    #[error(
        "this program cannot be started as a slave: call pspawn::run, or pspawn::init first thing in main"
    )]
    NotInitialized,
}

fn listed(failures: &[HostFailure]) -> String {
    failures.iter().map(|failure| format!("\n  {failure}")).collect()
}

/// A question about the pool has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// This node is in no pool: Erlang's `noproc` (rule P1).
    #[error("noproc: this node is in no pool")]
    NoPool,
    /// The master is lost.
    #[error("the pool's master {master} is lost, or cannot be reached")]
    MasterLost {
        /// The master.
        master: NodeName,
    },
    /// No answer in time.
    #[error("{master} did not answer within {after:?}")]
    TimedOut {
        /// Who was asked.
        master: NodeName,
        /// How long was waited.
        after: Duration,
    },
    /// The answer is no.
    #[error("{0}")]
    Refused(String),
}

impl PoolError {
    fn unexpected(answer: &Answer) -> PoolError {
        PoolError::Refused(format!("an answer to another question: {answer:?}"))
    }
}

/// An actor was not started.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// No node could be chosen.
    #[error("no node to spawn on: {0}")]
    NoNode(PoolError),
    /// Nothing of this name is registered there.
    #[error("{node} knows no {kind}: `pspawn kinds` lists what it can start")]
    UnknownKind {
        /// The chosen node.
        node: NodeName,
        /// What was to be started.
        kind: Kind,
    },
    /// The arguments do not fit.
    #[error("bad arguments for {kind} on {node}: {why}")]
    BadArguments {
        /// The chosen node.
        node: NodeName,
        /// What was to be started.
        kind: Kind,
        /// What does not fit.
        why: String,
    },
    /// What was given as arguments is no list of arguments.
    #[error("not arguments: {why}")]
    NotArguments {
        /// What it is instead.
        why: String,
    },
    /// It is guarded, and the pool's master does not allow it by name.
    #[error("{kind} may not be started on {node}: start the pool with it allowed by name (`--allow {}`)", kind.module())]
    NotAllowed {
        /// The chosen node.
        node: NodeName,
        /// What was to be started.
        kind: Kind,
    },
    /// The node was lost, or cannot be reached. The actor may have lived briefly.
    #[error("{node} is down")]
    NodeDown {
        /// The node.
        node: NodeName,
    },
    /// The node is stopping.
    #[error("{node} is stopping")]
    Stopping {
        /// The node.
        node: NodeName,
    },
    /// No answer in time. If the actor comes up after all it is killed.
    #[error("{kind} was not started on {node} within {after:?}")]
    TimedOut {
        /// The chosen node.
        node: NodeName,
        /// What was to be started.
        kind: Kind,
        /// How long was waited.
        after: Duration,
    },
    /// A link needs somebody to link with.
    #[error("pspawn_link was called outside of an actor: use that of pool.mailbox()")]
    NoCaller,
}

/// Any error of this library: what a main function returns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pool could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An actor could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A message has no answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A question about the pool has no answer.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Something else went wrong.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl From<std::io::Error> for Error {
    fn from(why: std::io::Error) -> Error {
        Error::Other(Box::new(why))
    }
}

impl From<String> for Error {
    fn from(why: String) -> Error {
        Error::Other(why.into())
    }
}

/// A function's own end is its deadline: it may compute for as long as it likes.
const NO_DEADLINE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
