//! A spawn as whoever orders it wants it: where, with which ties, and waiting for how much.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde::Serialize;

use super::spawn::{Args, Later, Ties, args_of, start_here};
use super::{Pool, SpawnError};
use crate::actor::{Spawnable, host};
use crate::addr::RemoteAddr;
use crate::node::Node;
use crate::node::cell::Cell;
use crate::node::registry::{Name, name_of};
use crate::node::slice::must_yield;
use crate::term::{ExitReason, Kind, NodeName, Pid, Ref};
use crate::wire::Signal;

/// A process that another one is about to start. Awaiting it starts it.
///
/// ```no_run
/// use pspawn::prelude::*;
///
/// async fn parent(ctx: Ctx, there: NodeName) {
///     let here = ctx.spawn_fn("math", "worker", ()).await;                      // spawn/3
///     let linked = ctx.spawn_fn("math", "worker", ()).on(there).link().await;   // spawn_link/4
///     let watched = ctx.spawn_fn("math", "worker", ()).placed().monitor().await; // on the pool's choice
///     if let (Ok(_pid), Ok(_linked), Ok((_pid2, _monitor))) = (here, linked, watched) {}
/// }
/// # fn main() {}
/// ```
///
/// On its parent's node it begins on the thread of its parent, so that what the two say to each other wakes nobody, unless
/// more actors live there than on another, or it would have to wait while another has nothing to do. One that is
/// [`acknowledged`](Spawn::acknowledged) begins where there is least to do. Neither moves later on: what keeps a thread for
/// long belongs into [`blocking`](crate::blocking), or lets others have turns by [`yield_now`](crate::yield_now).
///
/// The ties are there before the new process does anything: one that ends at once gives its own reason
/// over them, never `NoProc` (rules L10, M12). On a node that is down it is as in Erlang: the pid is one
/// of the spawner's own node, of a process that is dead with `NoConnection`, which a link or monitor made
/// with the spawn says (rules N4, N5).
///
/// # Errors
/// [`SpawnError`]; what is not registered there is [`SpawnError::UnknownKind`].
/// # Cancel safety
/// Not cancel safe: the process may be running, with its ties, all the same.
#[must_use = "it is started when this is awaited"]
pub struct Spawn<T, P> {
    parent: Arc<Cell>,
    of: PhantomData<fn() -> P>,
    what: What,
    finish: fn(Pid, &Arc<Node>) -> T,
    place: Place,
    link: bool,
    acknowledged: bool,
}

/// The same, watched by its parent: gives its pid and the monitor.
#[must_use = "it is started when this is awaited"]
pub struct SpawnMonitored<T, P>(Spawn<T, P>);

/// Who can watch what it starts: a function process, and an actor that is a `Handler<Down>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot watch what it starts",
    label = "not a `Handler<Down>`",
    note = "implement `Handler<Down>` for `{Self}`: the end of what it watches comes as that message"
)]
pub trait Watches {
    /// From now on the notices of its monitors reach it.
    #[doc(hidden)]
    fn take_downs(cell: &Parent);
}

/// The actor that starts another one.
#[doc(hidden)]
pub struct Parent(pub(crate) Arc<Cell>);

/// What is to be started.
enum What {
    /// What this names, with these arguments.
    Named(Name, Vec<u8>),
    Typed(Box<dyn Typed>),
    /// Nothing: those are no arguments.
    Refused(Box<SpawnError>),
}

/// An actor's arguments, whatever they are.
trait Typed {
    /// Starts it on this node, at once.
    fn here(self: Box<Self>, node: &Arc<Node>, ties: Ties) -> Result<Pid, SpawnError>;
    /// Starts it on this or another node, or on the pool's choice.
    fn anywhere(
        self: Box<Self>,
        pool: Pool,
        on: Option<NodeName>,
        ties: Ties,
    ) -> LocalBoxFuture<'static, Result<Pid, SpawnError>>;
}

struct ArgsOf<A: Spawnable>(A::Args);

impl<A: Spawnable> Typed for ArgsOf<A> {
    fn here(self: Box<Self>, node: &Arc<Node>, ties: Ties) -> Result<Pid, SpawnError> {
        let args = Args::Typed(|seat| host::<A>(seat, self.0));
        start_here(node, &Kind::new(A::KIND, "new"), args, ties, &Later::default())
    }

    fn anywhere(
        self: Box<Self>,
        pool: Pool,
        on: Option<NodeName>,
        ties: Ties,
    ) -> LocalBoxFuture<'static, Result<Pid, SpawnError>> {
        async move { Ok(pool.spawn_typed::<A>(on, self.0, ties).await?.pid()) }.boxed_local()
    }
}

/// Where a process is to be started.
#[derive(Clone, Copy, Debug)]
enum Place {
    Here,
    On(NodeName),
    Pool,
}

impl<P: 'static> Spawn<Pid, P> {
    pub(crate) fn function(
        parent: &Arc<Cell>,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Spawn<Pid, P> {
        let what = match args_of(args) {
            Ok(args) => What::Named(name_of(module, function), args),
            Err(why) => What::Refused(Box::new(why)),
        };
        Spawn::new(parent, what, |pid, _| pid)
    }
}

impl<A: Spawnable, P: 'static> Spawn<RemoteAddr<A>, P> {
    pub(crate) fn actor(parent: &Arc<Cell>, args: A::Args) -> Spawn<RemoteAddr<A>, P> {
        let what = What::Typed(Box::new(ArgsOf::<A>(args)));
        Spawn::new(parent, what, |pid, node| RemoteAddr::new(pid, node.clone()))
    }
}

impl<T: 'static, P: 'static> Spawn<T, P> {
    fn new(parent: &Arc<Cell>, what: What, finish: fn(Pid, &Arc<Node>) -> T) -> Spawn<T, P> {
        let parent = parent.clone();
        Spawn {
            parent,
            of: PhantomData,
            what,
            finish,
            place: Place::Here,
            link: false,
            acknowledged: false,
        }
    }

    /// On this node, instead of the parent's own.
    pub fn on(mut self, node: NodeName) -> Spawn<T, P> {
        self.place = Place::On(node);
        self
    }

    /// On the node with the lowest expected load: `pool:pspawn`.
    pub fn placed(mut self) -> Spawn<T, P> {
        self.place = Place::Pool;
        self
    }

    /// Linked with the parent from birth: `spawn_link`.
    pub fn link(mut self) -> Spawn<T, P> {
        self.link = true;
        self
    }

    /// Watched by the parent from birth: `spawn_monitor`.
    pub fn monitor(self) -> SpawnMonitored<T, P>
    where
        P: Watches,
    {
        P::take_downs(&Parent(self.parent.clone()));
        SpawnMonitored(self)
    }

    /// Waits until it is up: a function process says so with [`Ctx::init_ack`](crate::Ctx::init_ack), an
    /// actor is when its constructor and `started` have run, and what that waits for is done. One that ends before that is
    /// [`SpawnError::NotUp`] with its exit reason: `proc_lib:start_link`.
    pub fn acknowledged(mut self) -> Spawn<T, P> {
        self.acknowledged = true;
        self
    }

    /// The node where it is to be; none if that is the pool's choice.
    fn node(&self) -> Option<NodeName> {
        match self.place {
            Place::Here => Some(self.parent.node.name),
            Place::On(node) => Some(node),
            Place::Pool => None,
        }
    }

    /// On the own node it is there at once; otherwise what is returned is to be awaited.
    fn run(self, monitor: Option<Ref>) -> State<T> {
        let on = self.node();
        let Spawn { parent, of: _, what, finish, place: _, link, acknowledged } = self;
        let ties = Ties::of(&parent, link, monitor, acknowledged);
        if on == Some(parent.node.name) && !acknowledged {
            let node = &parent.node;
            let pid = match what {
                What::Named(name, args) => {
                    let started = match &name {
                        Name::Known(known) => Args::known(known, &args),
                        Name::Unknown(_) => Args::named(&args),
                    };
                    start_here(node, &name, started, ties, &Later::default())
                }
                What::Typed(typed) => typed.here(node, ties),
                What::Refused(why) => Err(*why),
            };
            return State::Done(pid.map(|pid| finish(pid, node)));
        }
        let pool = Pool::of(&parent.node);
        let run = async move {
            let started = match what {
                What::Named(kind, args) => {
                    pool.spawn_encoded(on, &kind, args, ties, false).await.map(|spawned| spawned.0)
                }
                What::Typed(typed) => typed.anywhere(pool, on, ties).await,
                What::Refused(why) => Err(*why),
            };
            match started {
                Ok(pid) => Ok(finish(pid, &parent.node)),
                Err(SpawnError::NodeDown { .. }) if on.is_some() && !acknowledged => {
                    Ok(finish(stillborn(&parent, link, monitor), &parent.node))
                }
                Err(why) => Err(why),
            }
        };
        State::Under(run.boxed_local())
    }
}

/// A [`Spawn`] that is awaited.
#[must_use = "it is started when this is awaited"]
pub struct Starting<T, P>(State<T>, Option<(Spawn<T, P>, Option<Ref>)>);

/// How far that is.
enum State<T> {
    /// Not begun, or over.
    Idle,
    Under(LocalBoxFuture<'static, Result<T, SpawnError>>),
    Done(Result<T, SpawnError>),
}

impl<T: 'static, P: 'static> Future for Starting<T, P> {
    type Output = Result<T, SpawnError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Starting(state, spawn) = &mut *self;
        if spawn.is_some() && must_yield() {
            // Whoever starts many lets others have their turns.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some((spawn, monitor)) = spawn.take() {
            *state = spawn.run(monitor);
        }
        match std::mem::replace(state, State::Idle) {
            State::Idle => Poll::Pending,
            State::Done(done) => Poll::Ready(done),
            State::Under(mut run) => {
                let polled = run.as_mut().poll(cx);
                if polled.is_pending() {
                    *state = State::Under(run);
                }
                polled
            }
        }
    }
}

impl<T, P> Unpin for Starting<T, P> {}

/// The pid of a process that its node's loss has kept from coming into the world (N4, N5).
fn stillborn(parent: &Arc<Cell>, link: bool, monitor: Option<Ref>) -> Pid {
    let node = &parent.node;
    let (pid, reason) = (node.new_pid(), ExitReason::NoConnection);
    if link {
        let signal = Signal::LinkExit { from: pid, reason: reason.clone() };
        node.act_over(parent, None, |life, via, out| {
            life.linked_from_birth(pid, via, out);
            life.signal(signal, via, out);
        });
    }
    if let Some(monitor) = monitor {
        let signal = Signal::Down { from: pid, monitor, reason };
        node.act_over(parent, None, |life, via, out| {
            life.monitoring_from_birth(pid, monitor, via, out);
            life.signal(signal, via, out);
        });
    }
    pid
}

impl<T: 'static, P: 'static> IntoFuture for Spawn<T, P> {
    type Output = Result<T, SpawnError>;
    type IntoFuture = Starting<T, P>;

    fn into_future(self) -> Self::IntoFuture {
        Starting(State::Idle, Some((self, None)))
    }
}

impl<T: 'static, P: 'static> SpawnMonitored<T, P> {
    /// Linked with the parent, too.
    pub fn link(self) -> SpawnMonitored<T, P> {
        SpawnMonitored(self.0.link())
    }

    /// On this node, instead of the parent's own.
    pub fn on(self, node: NodeName) -> SpawnMonitored<T, P> {
        SpawnMonitored(self.0.on(node))
    }

    /// On the node with the lowest expected load.
    pub fn placed(self) -> SpawnMonitored<T, P> {
        SpawnMonitored(self.0.placed())
    }
}

impl<T: 'static, P: 'static> IntoFuture for SpawnMonitored<T, P> {
    type Output = Result<(T, Ref), SpawnError>;
    type IntoFuture = LocalBoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let monitor = self.0.parent.node.new_ref();
        let starting = Starting(State::Idle, Some((self.0, Some(monitor))));
        async move { Ok((starting.await?, monitor)) }.boxed_local()
    }
}
