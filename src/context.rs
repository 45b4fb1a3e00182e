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

use crate::addr::tell;
use crate::message::{Down, Exited};
use crate::node::cell::{Cell, current, must_yield};
use crate::node::inbox::{HostContext, Inbox};
use crate::pool::Pool;
use crate::term::{ExitReason, Pid, Ref};

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

    /// Sends a message to a process or an actor on any node, by pid. To the dead it vanishes (rule O2).
    fn send<T>(&self, to: Pid, message: T)
    where
        T: Serialize + Send + 'static,
    {
        let node = &me().node;
        if let Err(why) = tell(node, to, message) {
            slog::debug!(node.log, "message dropped"; "pid" => %to, "reason" => %why);
        }
    }

    /// Whether exit signals of linked actors become [`Exited`] messages instead of ending this one:
    /// `process_flag(trap_exit, On)`. Returns the old value (rule E15). `kill` cannot be trapped.
    fn trap_exits(&mut self, on: bool) -> bool
    where
        A: Handler<Exited>,
    {
        let me = me();
        inbox::<A>(&me, |inbox| {
            inbox.on_exited.get_or_init(|| on_exited::<A>);
        });
        me.trap_exits(on)
    }

    /// Links this actor with another: the end of either ends the other (rules L1 to L8).
    fn link(&mut self, to: Pid) {
        let me = me();
        me.node.act(&me, |life, out| life.link(to, out));
    }

    /// Lets go of a link. Once this has returned no exit over that link will come (rule L9).
    fn unlink(&mut self, to: Pid) {
        let me = me();
        me.node.act(&me, |life, out| life.unlink(to, out));
    }

    /// Watches another actor: its end comes as a [`Down`] message, once (rules M1 to M9).
    fn monitor(&mut self, to: Pid) -> Ref
    where
        A: Handler<Down>,
    {
        let me = me();
        inbox::<A>(&me, |inbox| {
            inbox.on_down.get_or_init(|| on_down::<A>);
        });
        let monitor = me.node.new_ref();
        me.node.act(&me, |life, out| life.monitor(to, monitor, out));
        monitor
    }

    /// Takes a monitor back; returns whether it was still active. A `Down` that is in the mailbox
    /// already stays there (rule M5).
    fn demonitor(&mut self, monitor: Ref) -> bool {
        let me = me();
        me.node.act(&me, |life, out| life.demonitor(monitor, out))
    }

    /// Sends an exit signal: Erlang's `exit/2`. With [`ExitReason::Kill`] it cannot be trapped and the
    /// other ends with `Killed` (rules E2 to E6, E12).
    fn exit(&mut self, to: Pid, reason: ExitReason) {
        me().exit_signal(to, reason);
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

fn inbox<A: Actor<Context: AsyncContext<A>>>(cell: &Cell, act: impl FnOnce(&Inbox<A>)) {
    let inbox: &Arc<Inbox<A>> = cell.mailbox().expect("an actor's cell has an inbox of its type");
    act(inbox);
}

fn on_exited<A>(act: &mut A, exited: Exited, ctx: &mut A::Context)
where
    A: Actor<Context: AsyncContext<A>> + Handler<Exited>,
{
    act.handle(exited, ctx).handle(ctx, None);
}

fn on_down<A>(act: &mut A, down: Down, ctx: &mut A::Context)
where
    A: Actor<Context: AsyncContext<A>> + Handler<Down>,
{
    act.handle(down, ctx).handle(ctx, None);
}

/// What an actix `Addr` of a hosted actor holds before senders have to wait: actix's own default.
const MAILBOX_CAPACITY: usize = 16;
