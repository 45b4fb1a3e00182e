//! Spawning: `pspawn` and its relatives, from the choice of a node to the pid.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Pool, SpawnError};
use crate::actor::{Spawnable, host};
use crate::addr::{RemoteAddr, SendError};
use crate::node::ambient::decode_at;
use crate::node::cell::{Cell, current};
use crate::node::inbox::NO_ARGS;
use crate::node::link::{Link, PushError};
use crate::node::registry::{Known, name_of};
use crate::node::seat::{Kin, Seat, birth_is_late};
use crate::node::{Node, Outcome, Waiter};
use crate::term::{ExitReason, Kind, NodeName, Pid, Ref};
use crate::wire::{
    Control, Fault, Query, SpawnFault, SpawnOptions, SpawnOrder, Up, encode, from_bytes,
};

impl Pool {
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
    /// (rule L10). In plain async code use [`Ctx::pspawn_link`](crate::Ctx::pspawn_link) of a [`mailbox`](Pool::mailbox).
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

    /// Starts an `A` on the given node.
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

    /// The same on the given node.
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
        self.call_for(None, module, function, args, Ties::none()).await
    }

    /// The same on the given node.
    ///
    /// # Errors
    /// Those of [`call`](Pool::call).
    /// # Cancel safety
    /// Not cancel safe: the process may be running all the same.
    pub async fn call_on<R: DeserializeOwned>(
        &self,
        node: NodeName,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Result<Running<R>, SpawnError> {
        self.call_for(Some(node), module, function, args, Ties::none()).await
    }

    pub(crate) async fn call_for<R: DeserializeOwned>(
        &self,
        on: Option<NodeName>,
        module: &str,
        function: &str,
        args: impl Serialize,
        ties: Ties,
    ) -> Result<Running<R>, SpawnError> {
        let kind = name_of(module, function);
        let (pid, outcome) = self.spawn_encoded(on, &kind, args_of(args)?, ties, true).await?;
        let outcome = outcome.expect("a result was asked for");
        Ok(Running { pool: self.clone(), pid, outcome, result: std::marker::PhantomData })
    }

    /// The node that is meant, or the pool's choice; and whether it is that.
    async fn node_for(&self, on: Option<NodeName>) -> Result<(NodeName, bool), SpawnError> {
        match on {
            Some(node) => Ok((node, false)),
            None => Ok((self.node().await.map_err(SpawnError::NoNode)?, true)),
        }
    }

    /// The connection to a node; none if it is this one.
    fn way_to(&self, node: NodeName) -> Result<Option<Arc<Link>>, SpawnError> {
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
        let kind = Kind::new(A::KIND, "new");
        let (node, placed) = self.node_for(on).await?;
        let spawned = if node == self.node.name {
            let ties = Ties { placed, ..ties };
            self.spawn_here(&kind, Args::Typed(|seat: Seat| host::<A>(seat, args)), ties, false)
                .await
        } else {
            let bytes = A::encode_args(&args).map_err(|why| SpawnError::BadArguments {
                node,
                kind: kind.clone(),
                why: why.to_string(),
            })?;
            self.spawn_from(node, placed, &kind, bytes, ties, false).await
        };
        Ok(RemoteAddr::new(spawned?.0, self.node.clone()))
    }

    pub(crate) async fn spawn_named(
        &self,
        on: Option<NodeName>,
        module: &str,
        function: &str,
        args: impl Serialize,
        ties: Ties,
    ) -> Result<Pid, SpawnError> {
        let kind = name_of(module, function);
        Ok(self.spawn_encoded(on, &kind, args_of(args)?, ties, false).await?.0)
    }

    /// Starts what a supervisor supervises, or a supervisor, for `parent`. Linked from birth if so wanted;
    /// if it is awaited, it is up when this returns.
    pub(crate) async fn spawn_child(
        &self,
        parent: &Arc<Cell>,
        link: bool,
        awaited: bool,
        on: Option<NodeName>,
        kind: &Kind,
        args: Vec<u8>,
    ) -> Result<Pid, SpawnError> {
        let ties = Ties::of(parent, link, None, awaited);
        Ok(self.spawn_encoded(on, kind, args, ties, false).await?.0)
    }

    pub(super) async fn spawn_encoded(
        &self,
        on: Option<NodeName>,
        kind: &Kind,
        args: Vec<u8>,
        ties: Ties,
        wants_result: bool,
    ) -> Result<Spawned, SpawnError> {
        let (node, placed) = self.node_for(on).await?;
        self.spawn_from(node, placed, kind, args, ties, wants_result).await
    }

    /// Spawns on this node. If it was the pool's choice and does not know the kind, because another
    /// program runs there, whoever knows it will do.
    async fn spawn_from(
        &self,
        first: NodeName,
        placed: bool,
        kind: &Kind,
        args: Vec<u8>,
        ties: Ties,
        wants_result: bool,
    ) -> Result<Spawned, SpawnError> {
        if !placed {
            return self.spawn(first, kind, args, ties, wants_result).await;
        }
        let first_ties = Ties { placed, ..ties.clone() };
        let first_args = args.clone();
        let unknown = match self.spawn(first, kind, first_args, first_ties, wants_result).await {
            Err(unknown @ SpawnError::UnknownKind { .. }) => unknown,
            spawned => return spawned,
        };
        for node in self.nodes().await.map_err(SpawnError::NoNode)? {
            if node == first {
                continue;
            }
            match self.spawn(node, kind, args.clone(), ties.clone(), wants_result).await {
                Err(SpawnError::UnknownKind { .. }) => {}
                spawned => return spawned,
            }
        }
        Err(unknown)
    }

    /// Starts something on this node, which takes no time: it has its pid, and its ties, at once.
    async fn spawn_here<S: FnOnce(Seat) -> Pid>(
        &self,
        kind: &Kind,
        args: Args<'_, S>,
        ties: Ties,
        wants_result: bool,
    ) -> Result<Spawned, SpawnError> {
        let later = Later::open(&self.node, None, &ties, wants_result);
        let placed = ties.placed;
        match start_here(&self.node, kind, args, ties, &later) {
            Ok(pid) => later.wait(pid, kind).await,
            Err(refused) => {
                self.came_to_nothing(self.node.name, later, placed);
                Err(refused)
            }
        }
    }

    async fn spawn(
        &self,
        on: NodeName,
        kind: &Kind,
        args: Vec<u8>,
        ties: Ties,
        wants_result: bool,
    ) -> Result<Spawned, SpawnError> {
        let Some(link) = self.way_to(on)? else {
            return self.spawn_here(kind, Args::named(&args), ties, wants_result).await;
        };
        let within = self.node.config.times.spawn;
        let placed = ties.placed;
        let later = Later::open(&self.node, Some(&link), &ties, wants_result);
        let options = ties.options(&self.node, &later);
        let (tell, told) = oneshot::channel();
        let (node, over) = (self.node.clone(), link.clone());
        let waiter = Waiter::act(move |outcome| {
            if let Outcome::Spawned(pid) = outcome {
                ties.kin.made(&node, Some(&over), pid);
            }
            let _ = tell.send(outcome); // the spawner may have gone
        });
        let question = self.node.open_question(Some(&link), within, waiter);
        let order = SpawnOrder { question, kind: kind.clone(), args, options };
        if let Err(why) = link.push_control(&Control::Spawn(order)) {
            let outcome = match why {
                PushError::TooLong(..) => {
                    Outcome::Refused(SpawnFault::BadArguments(why.to_string()))
                }
                PushError::Lost | PushError::OtherLife | PushError::Encode(_) => Outcome::Lost,
            };
            self.node.close_question(question, outcome);
        }
        let refused = match told.await.unwrap_or(Outcome::Lost) {
            Outcome::Spawned(pid) => return later.wait(pid, kind).await,
            Outcome::Refused(fault) => refused(on, kind, fault),
            Outcome::TimedOut => {
                SpawnError::TimedOut { node: on, kind: kind.clone(), after: within }
            }
            Outcome::Lost | Outcome::Reply(_) | Outcome::Failed(_) | Outcome::Told(_) => {
                SpawnError::NodeDown { node: on }
            }
        };
        self.came_to_nothing(on, later, placed);
        Err(refused)
    }

    fn came_to_nothing(&self, node: NodeName, later: Later, placed: bool) {
        later.give_up(&self.node);
        if placed {
            self.unplace(node);
        }
    }

    /// A choice came to nothing: counts it no longer, or has the master do so.
    fn unplace(&self, node: NodeName) {
        if self.node.unchoose(node) {
            return;
        }
        let pool = self.clone();
        self.node.on_io(async move {
            // If the master cannot hear it, its count forgets the choice by itself.
            let _ = pool.ask(Query::Unplace(node), pool.node.config.times.spawn).await;
        });
    }
}

/// Starts something on this node: it has its pid, and its ties, when this returns.
pub(super) fn start_here<S: FnOnce(Seat) -> Pid>(
    node: &Arc<Node>,
    kind: &Kind,
    args: Args<'_, S>,
    ties: Ties,
    later: &Later,
) -> Result<Pid, SpawnError> {
    let options = ties.options(node, later);
    let started = match args {
        Args::Typed(start) => node.start_typed(kind, options, ties.kin, start),
        Args::Named(args) => node.start_named(kind, args, options, ties.kin),
        Args::Known(known, args) => node.start_known(known, args, options, ties.kin),
    };
    started.map_err(|fault| refused(node.name, kind, fault))
}

fn refused(node: NodeName, kind: &Kind, fault: SpawnFault) -> SpawnError {
    let kind = kind.clone();
    match fault {
        SpawnFault::UnknownKind => SpawnError::UnknownKind { node, kind },
        SpawnFault::BadArguments(why) => SpawnError::BadArguments { node, kind, why },
        SpawnFault::NotAllowed => SpawnError::NotAllowed { node, kind },
        SpawnFault::NotAmong => SpawnError::NotAmong { node, kind },
        SpawnFault::Stopping => SpawnError::Stopping { node },
    }
}

/// A new actor, and how its function will have ended if that was asked for.
type Spawned = (Pid, Option<oneshot::Receiver<Outcome>>);

/// What a new actor is made of.
pub(super) enum Args<'a, S> {
    /// What starts it here has them as they are.
    Typed(S),
    /// Encoded as a MessagePack array.
    Named(&'a [u8]),
    /// The same, of what this executable knows.
    Known(&'static Known, &'a [u8]),
}

impl<'a> Args<'a, fn(Seat) -> Pid> {
    pub(super) fn named(args: &'a [u8]) -> Args<'a, fn(Seat) -> Pid> {
        Args::Named(args)
    }

    pub(super) fn known(known: &'static Known, args: &'a [u8]) -> Args<'a, fn(Seat) -> Pid> {
        Args::Known(known, args)
    }
}

/// What is to be heard of a new actor once it has its pid.
#[derive(Default)]
pub(super) struct Later {
    result: Option<(u64, oneshot::Receiver<Outcome>)>,
    up: Option<(u64, oneshot::Receiver<Outcome>)>,
}

impl Later {
    /// Asks for it over the same connection as the order: its loss is the end of all these questions.
    fn open(node: &Arc<Node>, link: Option<&Arc<Link>>, ties: &Ties, wants_result: bool) -> Later {
        let ask = || {
            let (waiter, told) = Waiter::pair();
            (node.open_question(link.map(|link| &**link), NO_DEADLINE, waiter), told)
        };
        Later { result: wants_result.then(ask), up: ties.up.then(ask) }
    }

    /// It has its pid; waits until it is up, if that was asked for.
    async fn wait(self, pid: Pid, kind: &Kind) -> Result<Spawned, SpawnError> {
        if let Some((_, told)) = self.up {
            let told = told.await.unwrap_or(Outcome::Lost);
            up_or_not(told, pid, kind)?;
        }
        Ok((pid, self.result.map(|(_, ended)| ended)))
    }

    fn give_up(self, node: &Node) {
        for (question, _) in self.result.into_iter().chain(self.up) {
            node.give_up_question(question);
        }
    }
}

/// What a new actor has said, or not, when its start was over.
fn up_or_not(told: Outcome, pid: Pid, kind: &Kind) -> Result<(), SpawnError> {
    let reason = match told {
        Outcome::Reply(bytes) => match from_bytes(&bytes) {
            Ok(Up::Running) => return Ok(()),
            Ok(Up::Ignored) => return Err(SpawnError::Ignored { pid, kind: kind.clone() }),
            Err(why) => ExitReason::exit(why.to_string()),
        },
        Outcome::Failed(fault) => match *fault {
            Fault::Exit(reason) => reason,
            Fault::NoAnswer => ExitReason::Normal, // it has returned without a word
            Fault::NotAccepted { .. } | Fault::Undecodable(_) => ExitReason::NoConnection,
        },
        Outcome::Spawned(_)
        | Outcome::Refused(_)
        | Outcome::Told(_)
        | Outcome::Lost
        | Outcome::TimedOut => ExitReason::NoConnection,
    };
    Err(SpawnError::NotUp { pid, kind: kind.clone(), reason })
}

/// How a new actor comes into the world, and who is tied to it from birth.
#[derive(Clone)]
pub(crate) struct Ties {
    kin: Kin,
    parent: Option<Pid>,
    /// The group leader of who starts it, if that is a process (P24).
    leader: Option<NodeName>,
    placed: bool,
    /// The spawner waits until it is up.
    up: bool,
}

impl Ties {
    fn none() -> Ties {
        let parent = current();
        let leader = parent.as_ref().map(|cell| cell.leader());
        let parent = parent.map(|cell| cell.pid);
        Ties { kin: Kin::default(), parent, leader, placed: false, up: false }
    }

    pub(super) fn of(parent: &Arc<Cell>, link: bool, monitor: Option<Ref>, up: bool) -> Ties {
        let kin = Kin {
            link: link.then(|| parent.clone()),
            monitor: monitor.map(|monitor| (parent.clone(), monitor)),
        };
        let leader = Some(parent.leader());
        Ties { kin, parent: Some(parent.pid), leader, placed: false, up }
    }

    pub(crate) fn link(parent: &Arc<Cell>) -> Ties {
        Ties::of(parent, true, None, false)
    }

    pub(crate) fn monitor(watcher: &Arc<Cell>) -> (Ties, Ref) {
        let monitor = watcher.node.new_ref();
        (Ties::of(watcher, false, Some(monitor), false), monitor)
    }

    fn options(&self, node: &Node, later: &Later) -> SpawnOptions {
        let Kin { link, monitor } = &self.kin;
        SpawnOptions {
            link: link.as_ref().map(|parent| parent.pid).filter(|_| !birth_is_late()),
            monitor: monitor.as_ref().map(|(watcher, monitor)| (watcher.pid, *monitor)),
            leader: self.leader.unwrap_or(node.name),
            result: later.result.as_ref().map(|(question, _)| *question),
            parent: self.parent,
            up: later.up.as_ref().map(|(question, _)| *question),
            placed: self.placed,
        }
    }
}

pub(crate) fn args_of(args: impl Serialize) -> Result<Vec<u8>, SpawnError> {
    let mut bytes = Vec::with_capacity(ARGS_BYTES);
    encode(&args, &mut bytes).map_err(|why| SpawnError::NotArguments { why: why.to_string() })?;
    match rmp::Marker::from_u8(bytes.first().copied().unwrap_or_default()) {
        rmp::Marker::FixArray(_) | rmp::Marker::Array16 | rmp::Marker::Array32 => Ok(bytes),
        rmp::Marker::Null => Ok(vec![NO_ARGS]),
        _ => Err(SpawnError::NotArguments {
            why: "expected a tuple or a list of arguments, like (1, \"x\"), (1,) or ()".to_owned(),
        }),
    }
}

/// Arguments take that much at first.
const ARGS_BYTES: usize = 32;

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
            Ok(Outcome::Failed(fault)) => Err(match *fault {
                Fault::Exit(reason) => SendError::Exit { pid, reason },
                Fault::Undecodable(why) => SendError::Undecodable { pid, why },
                Fault::NotAccepted { .. } | Fault::NoAnswer => SendError::NoAnswer { pid },
            }),
            Ok(Outcome::TimedOut) => Err(SendError::TimedOut { pid, after: NO_DEADLINE }),
            Ok(Outcome::Lost | Outcome::Spawned(_) | Outcome::Refused(_) | Outcome::Told(_))
            | Err(oneshot::Canceled) => {
                Err(SendError::Exit { pid, reason: ExitReason::NoConnection })
            }
        }
    }
}

/// Awaiting it is awaiting its [`result`](Running::result).
impl<R: DeserializeOwned + 'static> IntoFuture for Running<R> {
    type Output = Result<R, SendError>;
    type IntoFuture = LocalBoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.result())
    }
}

/// A function's own end is its deadline: it may compute for as long as it likes.
const NO_DEADLINE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
