//! Function processes: an `async fn` with a mailbox, in Erlang's style, and the same mailbox for plain
//! async code.

mod mailbox;

use std::any::type_name;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, Map, select};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::mailbox::{Letters, Opened, Shown, content_of, is_down_of, letters, open, spread};
use crate::actor::Spawnable;
use crate::addr::{RemoteAddr, ready, tell};
#[cfg(doc)]
use crate::message::{Down, Exited, NodeDown, NodeUp};
use crate::node::Node;
use crate::node::answer::Asker;
use crate::node::cell::{Cell, Mailbox, lock};
use crate::node::inbox::decode_args;
use crate::node::letter::{Content, Letter};
use crate::node::names::NameError;
use crate::node::registry::Started;
use crate::node::seat::{Awaited, Seat};
use crate::node::slice::must_yield;
use crate::node::stage::Body;
use crate::pool::{Parent, Pool, Running, Spawn, SpawnError, Ties, Watches};
use crate::term::{ExitReason, Kind, NodeName, Pid, Ref, To};
use crate::wire::{Up, short_name};

/// A process from its own point of view: its pid, its mailbox and its ties.
///
/// A function that was registered with [`remote_fn!`](crate::remote_fn) gets one as its first argument;
/// [`Pool::mailbox`] gives one to plain async code; when that is dropped, the process has ended.
///
/// What a process sends to another, messages and signals alike, arrives in the order sent, by pid or by
/// name (rules O1, O4). A signal is decided when it arrives, not when its turn comes in the mailbox.
pub struct Ctx {
    cell: Arc<Cell>,
    /// A process that waits, and to which nothing has come, pays one word for this.
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// Taken out of the shared mailbox, and not received yet.
    taken: VecDeque<Content>,
    /// So much of what was taken out last is of other nodes: it counts as waiting until more is taken.
    from_afar: usize,
    /// Who wants to hear that it is up.
    up: Option<Asker>,
}

impl Ctx {
    /// A mailbox for plain async code. It traps exits from the start.
    pub(crate) fn plain(node: &Arc<Node>) -> Ctx {
        let pid = node.new_pid();
        let mailbox: Box<dyn Mailbox> = Box::new(Letters::default());
        let stage = node.stages().nowhere().number(); // it counts for nothing
        let cell = Cell::new(pid, &KIND_PLAIN, node.name, None, node.clone(), stage, mailbox);
        let cell = Arc::new(cell.of_plain_code());
        cell.trap_exits(true);
        node.live_here(cell.clone());
        Ctx { cell, more: None }
    }

    /// Its own pid: Erlang's `self()`.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.cell.pid
    }

    /// The node it lives on: Erlang's `node()`.
    #[must_use]
    pub fn node(&self) -> NodeName {
        self.cell.pid.node()
    }

    /// The actor that started it; none for what plain async code or a command has started.
    #[must_use]
    pub fn parent(&self) -> Option<Pid> {
        self.cell.parent()
    }

    /// The pool that its node is in.
    #[must_use]
    pub fn pool(&self) -> Pool {
        Pool::of(&self.cell.node)
    }

    /// Sends a message to a process or an actor on any node, by pid or by name: `ctx.send(pid, …)`,
    /// `ctx.send(("printer", node), …)`. To the dead, or to a name that nobody has there, it vanishes
    /// (rules O2, R4).
    pub fn send<T>(&self, to: impl Into<To>, message: T)
    where
        T: Serialize + Send + 'static,
    {
        let to = to.into();
        if let Err(why) = tell(&self.cell.node, &to, message) {
            slog::debug!(self.cell.node.log, "message dropped"; "to" => %to, "reason" => %why);
        }
    }

    /// Waits until a message to `to` can go on its way at once: neither the connection nor the mailbox there has more than
    /// enough. For code that sends much in a loop: awaited before each send it keeps what waits small on both sides.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ready(&self, to: impl Into<To>) {
        ready(&self.cell.node, &to.into()).await;
    }

    /// Sends a message to whoever has this name on its own node: Erlang's `Name ! Message`.
    ///
    /// # Errors
    /// [`NameError::Free`] if nobody has it: `badarg` in Erlang (rule R4).
    pub fn send_here<T>(&self, name: &str, message: T) -> Result<(), NameError>
    where
        T: Serialize + Send + 'static,
    {
        let to = self.whereis(name).ok_or(NameError::Free { name: name.to_owned() })?;
        self.send(to, message);
        Ok(())
    }

    /// The next message of type `T`; others stay in the mailbox, in their order.
    ///
    /// [`Exited`], [`Down`], [`NodeDown`] and [`NodeUp`] are received like any other type.
    ///
    /// # Panics
    /// In plain async code, if the mailbox was killed, or its node has stopped.
    /// # Cancel safety
    /// Cancel safe: a message is taken only when this returns it.
    pub fn receive<T>(&mut self) -> impl Future<Output = T> + use<'_, T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let mut seen = 0;
        poll_fn(move |cx| self.poll_opened(cx, &mut seen, true).map(ended))
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
        {
            let received = std::pin::pin!(self.receive_opened());
            if let Either::Left((received, _)) =
                select(received, std::pin::pin!(node.sleep(within))).await
            {
                return received.ok();
            }
        }
        // It may only have let others have their turns.
        match poll_fn(|cx| Poll::Ready(self.poll_opened(cx, &mut 0, false))).await {
            Poll::Ready(received) => received.ok(),
            Poll::Pending => None,
        }
    }

    /// The next message, of whatever type: the oldest that waits. For whoever takes all that comes, also
    /// what it cannot decode.
    ///
    /// # Panics
    /// As [`receive`](Ctx::receive).
    /// # Cancel safety
    /// Cancel safe.
    pub fn receive_any(&mut self) -> impl Future<Output = Letter> + use<'_> {
        self.receive_matching(|_| true)
    }

    /// The same, or none if there is none for this long.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn receive_any_within(&mut self, within: Duration) -> Option<Letter> {
        self.receive_matching_within(within, |_| true).await
    }

    /// The oldest message of which `wanted` is true; others stay in the mailbox, in their order. Each is
    /// shown to `wanted` once for each call. Erlang's `receive` with several patterns:
    ///
    /// ```
    /// use pspawn::prelude::*;
    ///
    /// async fn first_of_two(mut ctx: Ctx, child: Pid) {
    ///     let letter = ctx
    ///         .receive_matching(|letter| {
    ///             letter.is::<String>() || letter.get::<Exited>().is_some_and(|e| e.pid == child)
    ///         })
    ///         .await;
    ///     match letter.open::<String>() {
    ///         Ok(line) => say!("it says {line}"),
    ///         Err(_) => say!("it is gone"),
    ///     }
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Panics
    /// As [`receive`](Ctx::receive).
    /// # Cancel safety
    /// Cancel safe.
    pub fn receive_matching<W>(
        &mut self,
        mut wanted: W,
    ) -> impl Future<Output = Letter> + use<'_, W>
    where
        W: FnMut(&mut Letter) -> bool,
    {
        let mut seen = 0;
        poll_fn(move |cx| self.poll_receive(cx, &mut seen, &mut wanted, true).map(ended))
    }

    /// The same, or none if there is none for this long.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn receive_matching_within(
        &mut self,
        within: Duration,
        mut wanted: impl FnMut(&mut Letter) -> bool,
    ) -> Option<Letter> {
        let node = self.cell.node.clone();
        // Across both looks: each letter is shown once.
        let mut seen = 0;
        {
            let received = poll_fn(|cx| self.poll_receive(cx, &mut seen, &mut wanted, true));
            let received = std::pin::pin!(received);
            if let Either::Left((received, _)) =
                select(received, std::pin::pin!(node.sleep(within))).await
            {
                return received.ok();
            }
        }
        self.look(&mut seen, &mut wanted).await
    }

    /// The oldest letter that is there and wanted, without a turn for others.
    async fn look(
        &mut self,
        seen: &mut usize,
        wanted: &mut impl FnMut(&mut Letter) -> bool,
    ) -> Option<Letter> {
        match poll_fn(|cx| Poll::Ready(self.poll_receive(cx, seen, wanted, false))).await {
            Poll::Ready(received) => received.ok(),
            Poll::Pending => None,
        }
    }

    /// Takes out the oldest letter that is there already and wanted.
    pub(crate) async fn take_if_there(
        &mut self,
        mut wanted: impl FnMut(&mut Letter) -> bool,
    ) -> Option<Letter> {
        self.look(&mut 0, &mut wanted).await
    }

    /// Whether exit signals of linked processes become [`Exited`] messages. Returns the old value
    /// (rule E15).
    pub fn trap_exits(&self, on: bool) -> bool {
        self.cell.trap_exits(on)
    }

    /// Whether they do.
    #[must_use]
    pub fn traps_exits(&self) -> bool {
        self.cell.traps_exits()
    }

    /// Links it with another: the end of either ends the other, or is an [`Exited`] for who traps. To
    /// link with the dead gives an exit signal `NoProc` (rules L1 to L8).
    ///
    /// # Panics
    /// With the exit reason `NoProc`, as Erlang raises `noproc`: if the other is dead, of the same node,
    /// and this process does not trap exits (rule L6). Uncaught, the process ends with it.
    pub fn link(&self, to: Pid) {
        self.cell.link(to);
    }

    /// Lets go of a link; no exit over it comes from now on (rule L9).
    pub fn unlink(&self, to: Pid) {
        self.cell.unlink(to);
    }

    /// Watches another, or whoever has a name now: its end comes as a [`Down`], once (rules M1 to M11).
    pub fn monitor(&self, to: impl Into<To>) -> Ref {
        self.cell.monitor(to.into())
    }

    /// Takes a monitor back; returns whether it was still active. A [`Down`] that is in the mailbox
    /// already stays there (rule M5).
    pub fn demonitor(&self, monitor: Ref) -> bool {
        self.cell.demonitor(monitor)
    }

    /// The same, and a [`Down`] of it that is in the mailbox already goes, too: `demonitor(Ref, [flush])`.
    pub fn demonitor_flush(&mut self, monitor: Ref) -> bool {
        let was_active = self.cell.demonitor_flush(monitor);
        if !was_active {
            let taken = self.more.as_deref_mut().map(|more| &mut more.taken);
            if let Some(taken) = taken
                && let Some(at) = taken.iter().position(|content| is_down_of(content, monitor))
            {
                taken.remove(at);
            }
        }
        was_active
    }

    /// Asks for one [`NodeDown`] when this node is lost, or takes one such request back:
    /// `monitor_node(Node, On)`. Each request is used up by one notice; if there is no way to the node it
    /// comes at once (rules N1 to N3).
    pub fn monitor_node(&self, node: NodeName, on: bool) {
        self.cell.monitor_node(node, on);
    }

    /// Whether a [`NodeUp`] or [`NodeDown`] comes for every node that connects with this one, or is lost:
    /// `net_kernel:monitor_nodes(On)`. Slaves connect with each other when they first have to.
    pub fn monitor_nodes(&self, on: bool) {
        self.cell.monitor_nodes(on);
    }

    /// Sends an exit signal: Erlang's `exit/2`. With [`ExitReason::Kill`] it cannot be trapped (rules E2
    /// to E6, E12).
    pub fn exit(&self, to: Pid, reason: ExitReason) {
        self.cell.exit_signal(to, reason);
    }

    /// Gives a name to a process of this node (rules R1, R2, R6). It is free again before anybody hears
    /// of the process's end (R3).
    ///
    /// # Errors
    /// [`NameError`], where Erlang says `badarg`.
    pub fn register(&self, name: &str, pid: Pid) -> Result<(), NameError> {
        self.cell.node.register(name, pid)
    }

    /// Takes a name of this node back, whoever has it.
    ///
    /// # Errors
    /// [`NameError::Free`] if nobody has it.
    pub fn unregister(&self, name: &str) -> Result<(), NameError> {
        self.cell.node.unregister(name)
    }

    /// Who has this name on this node.
    #[must_use]
    pub fn whereis(&self, name: &str) -> Option<Pid> {
        self.cell.node.whereis(name).map(|cell| cell.pid)
    }

    /// Its own name.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.cell.node.name_of(self.pid())
    }

    /// Whom it is linked with: `process_info(self(), links)`.
    #[must_use]
    pub fn links(&self) -> Vec<Pid> {
        self.cell.links()
    }

    /// What it watches: `process_info(self(), monitors)`. What is watched twice is there twice.
    #[must_use]
    pub fn monitors(&self) -> Vec<To> {
        self.cell.monitors()
    }

    /// The node where its output appears: that of whoever started it, unless that was changed.
    #[must_use]
    pub fn group_leader(&self) -> NodeName {
        self.cell.leader()
    }

    /// Lets the output of a process, and of all that it will start, appear on this node.
    pub fn set_group_leader(&self, of: Pid, leader: NodeName) {
        self.cell.lead(of, leader);
    }

    /// Says to whoever started this process, and waits for it to be up, that it is: `proc_lib:init_ack`.
    /// See [`Spawn::acknowledged`]. Nothing happens if nobody waits.
    pub fn init_ack(&mut self) {
        if let Some(up) = self.up() {
            up.give_named(&Up::Running);
        }
    }

    /// Says that it has nothing to do, and will end: `ignore` (rule V5).
    pub fn init_ignore(&mut self) {
        if let Some(up) = self.up() {
            up.give_named(&Up::Ignored);
        }
    }

    /// A function process to be started by this one, on this node unless it is said otherwise:
    /// `spawn(Module, Function, Args)`. See [`Spawn`].
    #[must_use = "it is started when this is awaited"]
    pub fn spawn_fn(&self, module: &str, function: &str, args: impl Serialize) -> Spawn<Pid, Ctx> {
        Spawn::function(&self.cell, module, function, args)
    }

    /// An actor to be started by this process, likewise.
    #[must_use = "it is started when this is awaited"]
    pub fn spawn_actor<A: Spawnable>(&self, args: A::Args) -> Spawn<RemoteAddr<A>, Ctx> {
        Spawn::actor(&self.cell, args)
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

    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Who wants to hear that it is up, once.
    fn up(&mut self) -> Option<Asker> {
        self.more.as_deref_mut().and_then(|more| more.up.take())
    }

    async fn receive_opened<T>(&mut self) -> Result<T, ExitReason>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let mut seen = 0;
        poll_fn(|cx| self.poll_opened(cx, &mut seen, true)).await
    }

    fn poll_opened<T>(
        &mut self,
        cx: &mut Context<'_>,
        seen: &mut usize,
        polite: bool,
    ) -> Poll<Result<T, ExitReason>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.listen(cx);
        if polite && self.is_over() {
            return Poll::Pending;
        }
        loop {
            if let Some(More { taken, .. }) = self.more.as_deref_mut() {
                while let Some(content) = taken.get_mut(*seen) {
                    match open(content, &self.cell) {
                        Opened::Not => *seen += 1,
                        Opened::One(message) => return Poll::Ready(Ok(message)),
                        Opened::Last(message) => {
                            taken.remove(*seen);
                            return Poll::Ready(Ok(message));
                        }
                        Opened::Spoilt => drop(taken.remove(*seen)),
                        Opened::Again => {}
                        Opened::Mixed => spread(taken, *seen),
                    }
                }
            }
            if !self.take_more() {
                return self.nothing_yet();
            }
        }
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        seen: &mut usize,
        wanted: &mut impl FnMut(&mut Letter) -> bool,
        polite: bool,
    ) -> Poll<Result<Letter, ExitReason>> {
        self.listen(cx);
        if polite && self.is_over() {
            return Poll::Pending;
        }
        loop {
            if let Some(More { taken, .. }) = self.more.as_deref_mut() {
                while *seen < taken.len() {
                    spread(taken, *seen);
                    let mut shown = Shown::of(taken, *seen, &self.cell.node);
                    if wanted(shown.letter()) {
                        return Poll::Ready(Ok(shown.take()));
                    }
                    drop(shown);
                    *seen += 1;
                }
            }
            if !self.take_more() {
                return self.nothing_yet();
            }
        }
    }

    /// Whether others are to have their turns, however much waits; its own comes again.
    fn is_over(&self) -> bool {
        !self.cell.is_plain() && must_yield()
    }

    /// Sees to it that whoever polls is woken when something comes. That the process itself is goes
    /// without saying.
    fn listen(&self, cx: &Context<'_>) {
        // By its data alone: of its functions there may be several copies.
        if cx.waker().data() != Arc::as_ptr(&self.cell).cast() {
            letters(&self.cell).receiver.register(cx.waker());
        }
    }

    /// Takes what has come out of the shared mailbox; whether there is more to look at.
    fn take_more(&mut self) -> bool {
        let dealt_with = self.more.as_deref_mut().map_or(0, |more| take(&mut more.from_afar));
        let mut queue = lock(&letters(&self.cell).queue);
        let goes_on = dealt_with > 0 && queue.dealt_with(dealt_with);
        if queue.is_empty() {
            drop(queue);
            if goes_on {
                self.cell.resume();
            }
            if let Some(More { taken, .. }) = self.more.as_deref_mut()
                && taken.is_empty()
                && taken.capacity() > SPARE_MAX
            {
                *taken = VecDeque::new();
            }
            return false;
        }
        let More { taken, from_afar, .. } = &mut **self.more.get_or_insert_default();
        let mut new = VecDeque::new();
        let known = taken.len();
        if taken.is_empty() {
            queue.swap(taken);
        } else {
            queue.swap(&mut new);
        }
        drop(queue);
        let mut own = false;
        for content in taken.range(known..).chain(&new) {
            match content {
                Content::Own(_) => own = true,
                Content::Batch(batch) => *from_afar += batch.bytes(),
                Content::Typed { .. } | Content::Run { .. } | Content::Raw { .. } => {}
            }
        }
        if goes_on {
            self.cell.resume();
        }
        if own {
            new = taken.drain(..).chain(new).collect();
            let decided = new.drain(..).filter_map(|content| match content {
                Content::Own(signal) => {
                    self.cell.node.act_on_own(&self.cell, signal).map(content_of)
                }
                content => Some(content),
            });
            taken.extend(decided);
        } else {
            taken.append(&mut new);
        }
        !self.cell.is_doomed() // by a signal of its own, perhaps: it receives no more
    }

    /// Nothing that is wanted is there, and why nothing will be.
    fn nothing_yet<T>(&self) -> Poll<Result<T, ExitReason>> {
        if self.cell.is_plain() && self.cell.is_doomed() {
            return Poll::Ready(Err(self.cell.reason().unwrap_or(ExitReason::Killed)));
        }
        Poll::Pending
    }
}

impl Watches for Ctx {
    fn take_downs(_: &Parent) {}
}

/// Only plain async code lives on when its mailbox has ended.
fn ended<T>(received: Result<T, ExitReason>) -> T {
    received.unwrap_or_else(|reason| panic!("this mailbox was ended: {reason}"))
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
        if self.cell.is_plain() {
            self.cell.end(ExitReason::Normal, || {});
        }
    }
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ctx").field(&self.pid()).finish()
    }
}

/// An `async fn` that can be started by name: its first parameter is its [`Ctx`], the others are serde
/// values that are `Send`, and what it returns is a serde value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be started by name",
    label = "not an `async fn(Ctx, …)` of serde values",
    note = "the first parameter is the process's `Ctx`, up to six serde values follow, the result is a serde value"
)]
pub trait ProcessFn<Args>: Copy + Send + 'static {
    /// What it returns.
    type Result: Serialize;

    #[doc(hidden)]
    fn call(self, ctx: Ctx, args: Args) -> impl Future<Output = Self::Result> + 'static;
}

macro_rules! process_fn {
    ($($arg:ident $value:ident),*) => {
        impl<F, R, Fut, $($arg),*> ProcessFn<($($arg,)*)> for F
        where
            F: Fn(Ctx, $($arg),*) -> Fut + Copy + Send + 'static,
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
    Args: DeserializeOwned + Send + 'static,
{
    let args: Args = match seat.at_home(|| decode_args(args)) {
        Ok(args) => args,
        Err(why) => return Err(Box::new((seat, format!("{why}; expected {}", params::<Args>())))),
    };
    Ok(seat.start(Letters::default(), move |cell, Awaited { result, up }| {
        let more = up.map(|up| Box::new(More { up: Some(*up), ..More::default() }));
        function.call(Ctx { cell, more }, args).map(|returned| {
            if let Some(asker) = result {
                asker.give_named(&returned);
            }
        })
    }))
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

/// The code of a function process, in as few bytes as can be: what it returns is for who wants it.
impl<F, R> Body for Map<F, R>
where
    Map<F, R>: Future<Output = ()>,
{
    fn silence(self: Pin<&mut Self>) {}
}

/// What a mailbox of plain async code is called.
static KIND_PLAIN: Kind = Kind::of_ours("mailbox");
/// Room that an empty mailbox keeps.
const SPARE_MAX: usize = 64;
