//! pspawn's own actix context, and what an actor can do from inside: link, monitor, trap, exit.

use std::sync::Arc;

use actix::dev::{
    AsyncContextParts, ContextFut, ContextParts, Envelope, Mailbox, MessageResponse, ToEnvelope,
    channel,
};
use actix::{
    Actor, ActorContext, ActorFuture, ActorState, Addr, AsyncContext, Handler, Message, SpawnHandle,
};
use serde::Serialize;

#[cfg(doc)]
use crate::Ctx;
use crate::actor::Spawnable;
use crate::addr::{RemoteAddr, tell};
use crate::message::{Down, Exited, NodeDown, NodeUp};
use crate::node::cell::{Cell, current};
use crate::node::inbox::{HostContext, Inbox};
use crate::node::letter::Letter;
use crate::node::names::NameError;
use crate::node::slice::must_yield;
use crate::pool::{Parent, Pool, Spawn, Watches};
use crate::term::{ExitReason, NodeName, Pid, Ref, To};

/// The context of an actor on a node of a pool: actix's, with one difference. Between two messages it
/// asks whether the actor has had the thread for long enough or was killed, so that a full mailbox
/// neither keeps neighbours waiting nor saves a victim.
///
/// Actors with actix's stock `Context` run too; for them both holds only for messages that come
/// through pspawn, not for those that come through an actix `Addr`.
pub struct Context<A: Actor<Context = Context<A>>> {
    parts: ContextParts<A>,
    mailbox: Option<Mailbox<A>>,
}

impl<A: Actor<Context = Self>> ActorContext for Context<A> {
    fn stop(&mut self) {
        self.parts.stop();
    }

    fn terminate(&mut self) {
        self.parts.terminate();
    }

    fn state(&self) -> ActorState {
        self.parts.state()
    }
}

impl<A: Actor<Context = Self>> AsyncContext<A> for Context<A> {
    fn address(&self) -> Addr<A> {
        self.parts.address()
    }

    fn spawn<F>(&mut self, future: F) -> SpawnHandle
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        self.parts.spawn(future)
    }

    fn wait<F>(&mut self, future: F)
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        self.parts.wait(future);
    }

    fn waiting(&self) -> bool {
        self.parts.waiting() || must_yield()
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.parts.cancel_future(handle)
    }
}

impl<A: Actor<Context = Self>> AsyncContextParts<A> for Context<A> {
    fn parts(&mut self) -> &mut ContextParts<A> {
        &mut self.parts
    }
}

impl<A, M> ToEnvelope<A, M> for Context<A>
where
    A: Actor<Context = Self> + Handler<M>,
    M: Message<Result: Send> + Send + 'static,
{
    fn pack(message: M, answer: Option<actix::dev::OneshotSender<M::Result>>) -> Envelope<A> {
        Envelope::new(message, answer)
    }
}

impl<A: Actor<Context = Self>> HostContext<A> for Context<A> {
    fn unborn() -> Self {
        let (_, receiver) = channel::channel(MAILBOX_CAPACITY);
        let mailbox = Mailbox::new(receiver);
        Context { parts: ContextParts::new(mailbox.sender_producer()), mailbox: Some(mailbox) }
    }

    fn into_future(mut self, act: A) -> ContextFut<A, Self> {
        let mailbox = self.mailbox.take().expect("a context becomes a future once");
        ContextFut::new(self, act, mailbox)
    }
}

/// What an actor on a node can do from inside, with either context. In scope with the prelude.
///
/// # Panics
/// All of it, if the actor was not started by pspawn (with `Actor::start`, say): it has no pid.
pub trait ProcessContext<A: Actor<Context = Self>>: AsyncContext<A> {
    /// The actor's own pid: Erlang's `self()`.
    fn pid(&self) -> Pid {
        me().pid
    }

    /// The pool that this actor's node is in.
    fn pool(&self) -> Pool {
        Pool::of(&me().node)
    }

    /// The node it lives on: Erlang's `node()`.
    fn node(&self) -> NodeName {
        me().pid.node()
    }

    /// The actor that started it; none for what plain async code or a command has started.
    fn parent(&self) -> Option<Pid> {
        me().parent()
    }

    /// Sends a message to a process or an actor on any node, by pid or by name; see [`Ctx::send`].
    fn send<T>(&self, to: impl Into<To>, message: T)
    where
        T: Serialize + Send + 'static,
    {
        let (node, to) = (&me().node, to.into());
        if let Err(why) = tell(node, &to, message) {
            slog::debug!(node.log, "message dropped"; "to" => %to, "reason" => %why);
        }
    }

    /// Whether exit signals of linked actors become [`Exited`] messages instead of ending this one:
    /// `process_flag(trap_exit, On)`. Returns the old value (rule E15). `kill` cannot be trapped.
    fn trap_exits(&mut self, on: bool) -> bool
    where
        A: Handler<Exited>,
    {
        let me = me();
        inbox::<A>(&me).handle_with(|of| of.exited = Some(handle::<A, Exited>));
        me.trap_exits(on)
    }

    /// Whether they do.
    fn traps_exits(&self) -> bool {
        me().traps_exits()
    }

    /// Links this actor with another: the end of either ends the other (rules L1 to L8); see
    /// [`Ctx::link`].
    fn link(&mut self, to: Pid) {
        me().link(to);
    }

    /// Lets go of a link. Once this has returned no exit over that link will come (rule L9).
    fn unlink(&mut self, to: Pid) {
        me().unlink(to);
    }

    /// Watches another actor, or whoever has a name now: its end comes as a [`Down`] message, once (rules
    /// M1 to M11).
    fn monitor(&mut self, to: impl Into<To>) -> Ref
    where
        A: Handler<Down>,
    {
        let me = me();
        take_downs::<A>(&me);
        me.monitor(to.into())
    }

    /// Takes a monitor back; returns whether it was still active. A `Down` that is in the mailbox
    /// already stays there (rule M5).
    fn demonitor(&mut self, monitor: Ref) -> bool {
        me().demonitor(monitor)
    }

    /// The same, and a `Down` of it that is in the mailbox already goes, too: `demonitor(Ref, [flush])`.
    fn demonitor_flush(&mut self, monitor: Ref) -> bool {
        me().demonitor_flush(monitor)
    }

    /// Asks for one [`NodeDown`] when this node is lost, or takes one such request back; see
    /// [`Ctx::monitor_node`].
    fn monitor_node(&mut self, node: NodeName, on: bool)
    where
        A: Handler<NodeDown>,
    {
        let me = me();
        inbox::<A>(&me).handle_with(|of| of.node_down = Some(handle::<A, NodeDown>));
        me.monitor_node(node, on);
    }

    /// Whether a [`NodeUp`] or [`NodeDown`] comes for every node that connects with this one, or is lost;
    /// see [`Ctx::monitor_nodes`].
    fn monitor_nodes(&mut self, on: bool)
    where
        A: Handler<NodeDown> + Handler<NodeUp>,
    {
        let me = me();
        inbox::<A>(&me).handle_with(|of| {
            of.node_down = Some(handle::<A, NodeDown>);
            of.node_up = Some(handle::<A, NodeUp>);
        });
        me.monitor_nodes(on);
    }

    /// From now on messages that the actor does not declare in its registration come as [`Letter`]s,
    /// unopened, instead of being logged and dropped.
    fn catch_all(&mut self)
    where
        A: Handler<Letter>,
    {
        inbox::<A>(&me()).handle_with(|of| of.letter = Some(handle::<A, Letter>));
    }

    /// Sends an exit signal: Erlang's `exit/2`. With [`ExitReason::Kill`] it cannot be trapped and the
    /// other ends with `Killed` (rules E2 to E6, E12).
    fn exit(&mut self, to: Pid, reason: ExitReason) {
        me().exit_signal(to, reason);
    }

    /// Gives a name to a process of this node; see [`Ctx::register`].
    ///
    /// # Errors
    /// [`NameError`], where Erlang says `badarg`.
    fn register(&mut self, name: &str, pid: Pid) -> Result<(), NameError> {
        me().node.register(name, pid)
    }

    /// Takes a name of this node back, whoever has it.
    ///
    /// # Errors
    /// [`NameError::Free`] if nobody has it.
    fn unregister(&mut self, name: &str) -> Result<(), NameError> {
        me().node.unregister(name)
    }

    /// Who has this name on this node.
    fn whereis(&self, name: &str) -> Option<Pid> {
        me().node.whereis(name).map(|cell| cell.pid)
    }

    /// Its own name.
    fn name(&self) -> Option<String> {
        let me = me();
        me.node.name_of(me.pid)
    }

    /// Whom it is linked with: `process_info(self(), links)`.
    fn links(&self) -> Vec<Pid> {
        me().links()
    }

    /// What it watches: `process_info(self(), monitors)`. What is watched twice is there twice.
    fn monitors(&self) -> Vec<To> {
        me().monitors()
    }

    /// The node where its output appears: that of whoever started it, unless that was changed.
    fn group_leader(&self) -> NodeName {
        me().leader()
    }

    /// Lets the output of a process, and of all that it will start, appear on this node.
    fn set_group_leader(&mut self, of: Pid, leader: NodeName) {
        me().lead(of, leader);
    }

    /// A function process to be started by this actor, on this node unless it is said otherwise; see
    /// [`Spawn`].
    fn spawn_fn(&self, module: &str, function: &str, args: impl Serialize) -> Spawn<Pid, A> {
        Spawn::function(&me(), module, function, args)
    }

    /// An actor to be started by this one, likewise.
    fn spawn_actor<B: Spawnable>(&self, args: B::Args) -> Spawn<RemoteAddr<B>, A> {
        Spawn::actor(&me(), args)
    }
}

impl<A, C> ProcessContext<A> for C
where
    A: Actor<Context = C>,
    C: AsyncContext<A>,
{
}

fn me() -> Arc<Cell> {
    current().expect("this actor runs on a node: it was started by pspawn")
}

fn inbox<A: Actor<Context: AsyncContext<A>>>(cell: &Cell) -> &Inbox<A> {
    let inbox: &Arc<Inbox<A>> = cell.mailbox().expect("an actor's cell has an inbox of its type");
    inbox
}

impl<A> Watches for A
where
    A: Actor<Context: AsyncContext<A>> + Handler<Down>,
{
    fn take_downs(Parent(cell): &Parent) {
        take_downs::<A>(cell);
    }
}

fn take_downs<A>(cell: &Cell)
where
    A: Actor<Context: AsyncContext<A>> + Handler<Down>,
{
    inbox::<A>(cell).handle_with(|of| of.down = Some(handle::<A, Down>));
}

fn handle<A, M>(act: &mut A, message: M, ctx: &mut A::Context)
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: Message,
{
    act.handle(message, ctx).handle(ctx, None);
}

/// What an actix `Addr` of a hosted actor holds before senders have to wait: actix's own default.
const MAILBOX_CAPACITY: usize = 16;
