//! Function processes: an `async fn` with a mailbox, in Erlang's style, and the same mailbox for plain
//! async code.

use std::any::{Any, TypeId, type_name};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use futures::task::AtomicWaker;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::actor::Spawnable;
use crate::addr::{RemoteAddr, tell};
use crate::core::life::Notice;
use crate::message::{Down, Exited};
use crate::node::Node;
use crate::node::ambient::decode_at;
use crate::node::answer::Asker;
use crate::node::cell::{Body, Cell, Mailbox, lock};
use crate::node::inbox::{Queue, decode_args, log_dropped};
use crate::node::load::RunQueue;
use crate::node::registry::Started;
use crate::node::seat::{Seat, run};
use crate::pool::{Pool, Running, SpawnError, Ties};
use crate::term::{ExitReason, Kind, NodeName, Pid, Ref};
use crate::wire::{Fault, short_name, tag_of};

/// A process from its own point of view: its pid, its mailbox and its ties.
///
/// A function that was registered with [`remote_fn!`](crate::remote_fn) gets one as its first argument;
/// [`Pool::mailbox`] gives one to plain async code; when that is dropped, the process has ended.
pub struct Ctx {
    cell: Arc<Cell>,
    letters: Arc<Letters>,
    /// Taken out of the shared mailbox, and not received yet.
    taken: VecDeque<Letter>,
    /// No task of ours polls it: it belongs to plain async code.
    plain: bool,
}

impl Ctx {
    /// A mailbox for plain async code. It traps exits from the start.
    pub(crate) fn plain(node: &Arc<Node>) -> Ctx {
        let letters = Arc::<Letters>::default();
        let pid = node.new_pid();
        let mailbox: Box<dyn Mailbox> = Box::new(letters.clone());
        let kind = Kind::new("pspawn", "mailbox");
        let queue = Arc::<RunQueue>::default(); // of no arbiter: it counts for nothing
        let cell = Arc::new(Cell::new(pid, kind, node.name, node.clone(), queue, mailbox));
        cell.trap_exits(true);
        node.live_here(cell.clone());
        Ctx { cell, letters, taken: VecDeque::new(), plain: true }
    }

    /// Its own pid: Erlang's `self()`.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.cell.pid
    }

    /// The pool that its node is in.
    #[must_use]
    pub fn pool(&self) -> Pool {
        Pool::of(&self.cell.node)
    }

    /// Sends a message to a process or an actor on any node. To the dead it vanishes (rule O2).
    pub fn send<T>(&self, to: Pid, message: T)
    where
        T: Serialize + Send + 'static,
    {
        if let Err(why) = tell(&self.cell.node, to, message) {
            slog::debug!(self.cell.node.log, "message dropped"; "pid" => %to, "reason" => %why);
        }
    }

    /// The next message of type `T`; others stay in the mailbox, in their order.
    ///
    /// [`Exited`] and [`Down`] are received like any other type.
    ///
    /// # Panics
    /// In plain async code, if the mailbox was killed, or its node has stopped.
    /// # Cancel safety
    /// Cancel safe: a message is taken only when this returns it.
    pub async fn receive<T>(&mut self) -> T
    where
        T: DeserializeOwned + Send + 'static,
    {
        match poll_fn(|cx| self.poll_receive(cx)).await {
            Ok(message) => message,
            Err(reason) => panic!("this mailbox was ended: {reason}"),
        }
    }

    /// The next message of type `T`, or none if there is none for this long, or never will be because the
    /// mailbox was killed or its node has stopped.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn receive_within<T>(&mut self, within: Duration) -> Option<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let node = self.cell.node.clone();
        let received = poll_fn(|cx| self.poll_receive(cx));
        match select(received, std::pin::pin!(node.sleep(within))).await {
            Either::Left((received, _)) => received.ok(),
            Either::Right(((), _)) => None,
        }
    }

    /// Whether exit signals of linked processes become [`Exited`] messages. Returns the old value.
    pub fn trap_exits(&self, on: bool) -> bool {
        self.cell.trap_exits(on)
    }

    /// Links it with another: the end of either ends the other, or is an [`Exited`] for who traps.
    pub fn link(&self, to: Pid) {
        self.cell.node.act(&self.cell, |life, out| life.link(to, out));
    }

    /// Lets go of a link; no exit over it comes from now on (rule L9).
    pub fn unlink(&self, to: Pid) {
        self.cell.node.act(&self.cell, |life, out| life.unlink(to, out));
    }

    /// Watches another: its end comes as a [`Down`], once.
    pub fn monitor(&self, to: Pid) -> Ref {
        let monitor = self.cell.node.new_ref();
        self.cell.node.act(&self.cell, |life, out| life.monitor(to, monitor, out));
        monitor
    }

    /// Takes a monitor back; returns whether it was still active.
    pub fn demonitor(&self, monitor: Ref) -> bool {
        self.cell.node.act(&self.cell, |life, out| life.demonitor(monitor, out))
    }

    /// Sends an exit signal: Erlang's `exit/2`.
    pub fn exit(&self, to: Pid, reason: ExitReason) {
        self.cell.exit_signal(to, reason);
    }

    /// [`Pool::pspawn`], and the new actor is linked with this process from birth.
    ///
    /// # Errors
    /// Those of [`Pool::pspawn`].
    /// # Cancel safety
    /// Not cancel safe: the actor may be running, and linked, all the same.
    pub async fn pspawn_link<A: Spawnable>(
        &self,
        args: A::Args,
    ) -> Result<RemoteAddr<A>, SpawnError> {
        self.pool().spawn_typed(None, args, Ties::link(&self.cell)).await
    }

    /// [`Pool::pspawn_mfa`], and the new process is linked with this one from birth.
    ///
    /// # Errors
    /// Those of [`Pool::pspawn_mfa`].
    /// # Cancel safety
    /// Not cancel safe: the process may be running, and linked, all the same.
    pub async fn pspawn_link_mfa(
        &self,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Result<Pid, SpawnError> {
        self.pool().spawn_named(None, module, function, args, Ties::link(&self.cell)).await
    }

    /// [`Pool::pspawn_mfa`], and this process watches the new one from birth.
    ///
    /// # Errors
    /// Those of [`Pool::pspawn_mfa`].
    /// # Cancel safety
    /// Not cancel safe: the process may be running, and watched, all the same.
    pub async fn pspawn_monitor_mfa(
        &self,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Result<(Pid, Ref), SpawnError> {
        let (ties, monitor) = Ties::monitor(&self.cell);
        let pid = self.pool().spawn_named(None, module, function, args, ties).await?;
        Ok((pid, monitor))
    }

    /// [`Pool::call`], and the function's process is linked with this one from birth: it does not outlive
    /// who waits for its result.
    ///
    /// # Errors
    /// Those of [`Pool::call`].
    /// # Cancel safety
    /// Not cancel safe: the process may be running, and linked, all the same.
    pub async fn call_link<R: DeserializeOwned>(
        &self,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Result<Running<R>, SpawnError> {
        self.pool().call_for(None, module, function, args, Ties::link(&self.cell)).await
    }

    /// The same on the given node.
    ///
    /// # Errors
    /// Those of [`Pool::call`].
    /// # Cancel safety
    /// Not cancel safe: the process may be running, and linked, all the same.
    pub async fn call_link_on<R: DeserializeOwned>(
        &self,
        node: NodeName,
        module: &str,
        function: &str,
        args: impl Serialize,
    ) -> Result<Running<R>, SpawnError> {
        self.pool().call_for(Some(node), module, function, args, Ties::link(&self.cell)).await
    }

    /// The next message of type `T`, or why there will be none.
    fn poll_receive<T: DeserializeOwned + Send + 'static>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, ExitReason>> {
        self.letters.receiver.register(cx.waker());
        loop {
            let at = self.taken.iter().position(Letter::is::<T>);
            if let Some(letter) = at.and_then(|at| self.taken.remove(at)) {
                match letter.open::<T>(&self.cell.node) {
                    Ok(message) => return Poll::Ready(Ok(message)),
                    Err(why) => log_dropped(&self.cell, &format!("undecodable: {why}")),
                }
                continue;
            }
            let mut new = VecDeque::new();
            lock(&self.letters.queue).swap(&mut new);
            if new.is_empty() {
                break;
            }
            self.taken.append(&mut new);
        }
        if self.plain && self.cell.is_doomed() {
            return Poll::Ready(Err(self.cell.reason().unwrap_or(ExitReason::Killed)));
        }
        Poll::Pending
    }
}

impl Pool {
    /// A process for plain async code: a pid, a mailbox and ties. It traps exits.
    #[must_use]
    pub fn mailbox(&self) -> Ctx {
        Ctx::plain(self.local_node())
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        if self.plain {
            self.cell.end(ExitReason::Normal, || {});
        }
    }
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ctx").field(&self.pid()).finish()
    }
}

/// The shared part of a process's mailbox.
#[derive(Default)]
struct Letters {
    queue: Mutex<Queue<Letter>>,
    receiver: AtomicWaker,
}

enum Letter {
    Typed(Box<dyn Any + Send>),
    Raw { tag: u32, payload: Bytes },
}

impl Letter {
    fn is<T: 'static>(&self) -> bool {
        match self {
            Letter::Typed(message) => (**message).type_id() == TypeId::of::<T>(),
            Letter::Raw { tag, .. } => *tag == tag_of::<T>(),
        }
    }

    fn open<T: DeserializeOwned + Send + 'static>(self, node: &Arc<Node>) -> Result<T, String> {
        match self {
            Letter::Typed(message) => match message.downcast() {
                Ok(message) => Ok(*message),
                Err(_) => Err(format!("not a {}", type_name::<T>())),
            },
            Letter::Raw { payload, .. } => decode_at(node, &payload),
        }
    }
}

impl Letters {
    /// To the dead it vanishes.
    fn put(&self, letter: Letter) {
        let put = lock(&self.queue).put(letter);
        drop(put); // out of the lock
    }
}

impl Mailbox for Arc<Letters> {
    fn push_raw(&self, tag: u32, payload: Bytes, asker: Option<Asker>) {
        match asker {
            // A function process has no handler that could answer.
            Some(asker) => asker.fail(Fault::NotAccepted { tag }),
            None => self.put(Letter::Raw { tag, payload }),
        }
    }

    fn push_typed(&self, _: &Arc<Cell>, _: u32, message: Box<dyn Any + Send>) {
        self.put(Letter::Typed(message));
    }

    fn push_notice(&self, notice: Notice) {
        let notice: Box<dyn Any + Send> = match notice {
            Notice::Exited { from, reason } => Box::new(Exited { pid: from, reason }),
            Notice::Down { monitor, pid, reason } => Box::new(Down { monitor, pid, reason }),
        };
        self.put(Letter::Typed(notice));
    }

    fn nudge(&self) {
        self.receiver.wake();
    }

    fn clear(&self) {
        let left = lock(&self.queue).close();
        drop(left);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An `async fn` that can be started by name: its first parameter is its [`Ctx`], the others are serde
/// values, and so is what it returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be started by name",
    label = "not an `async fn(Ctx, …)` of serde values",
    note = "the first parameter is the process's `Ctx`, up to six serde values follow, the result is a serde value"
)]
pub trait ProcessFn<Args>: Copy + 'static {
    /// What it returns.
    type Result: Serialize;

    #[doc(hidden)]
    fn call(self, ctx: Ctx, args: Args) -> impl Future<Output = Self::Result> + 'static;
}

macro_rules! process_fn {
    ($($arg:ident $value:ident),*) => {
        impl<F, R, Fut, $($arg),*> ProcessFn<($($arg,)*)> for F
        where
            F: Fn(Ctx, $($arg),*) -> Fut + Copy + 'static,
            Fut: Future<Output = R> + 'static,
            R: Serialize,
            $($arg: 'static,)*
        {
            type Result = R;

            fn call(self, ctx: Ctx, ($($value,)*): ($($arg,)*)) -> impl Future<Output = R> + 'static {
                self(ctx, $($value),*)
            }
        }
    };
}

process_fn!();
process_fn!(A a);
process_fn!(A a, B b);
process_fn!(A a, B b, C c);
process_fn!(A a, B b, C c, D d);
process_fn!(A a, B b, C c, D d, E e);
process_fn!(A a, B b, C c, D d, E e, G g);

/// Decodes the arguments and starts the function in the seat.
#[doc(hidden)]
pub fn start_fn<F, Args>(function: F, args: &[u8], seat: Seat) -> Started
where
    F: ProcessFn<Args>,
    Args: DeserializeOwned + 'static,
{
    let args: Args = match decode_args(args) {
        Ok(args) => args,
        Err(why) => return Err(Box::new((seat, format!("{why}; expected {}", params::<Args>())))),
    };
    let letters = Arc::<Letters>::default();
    let (cell, asker) = seat.take(letters.clone());
    let ctx = Ctx { cell: cell.clone(), letters, taken: VecDeque::new(), plain: false };
    let future = async move {
        let result = function.call(ctx, args).await;
        if let Some(asker) = asker {
            asker.give_named(&result);
        }
    };
    run(cell, Function(Box::pin(future)));
    Ok(())
}

/// The types of a function's parameters, without the first.
#[doc(hidden)]
pub fn params_of<F: ProcessFn<Args>, Args: 'static>(_: F) -> String {
    params::<Args>()
}

fn params<Args: 'static>() -> String {
    let name = short_name(type_name::<Args>());
    let inner = name.trim_start_matches('(').trim_end_matches(')').trim_end_matches(',');
    format!("({inner})")
}

/// The code of a function process.
struct Function(Pin<Box<dyn Future<Output = ()>>>);

impl Body for Function {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }

    fn silence(&mut self) {}
}
