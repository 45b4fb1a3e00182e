//! The inbox of an actix actor: messages of this node as they are, messages of other nodes still
//! encoded, and notices, in one queue, so that the order between each pair is kept.
//!
//! One future in the actor's own context drains it, decodes there, and stops when the actor has had the
//! thread for its slice, is doomed, or waits for something.

use std::any::{Any, TypeId};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::BuildHasherDefault;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use actix::dev::{AsyncContextParts, ContextFut, MessageResponse};
use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Handler, MessageResult};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::answer::{Asker, Due};
use super::batch::Batch;
use super::cell::{Cell, Mailbox, current, lock};
use super::letter::{Content, Letter};
use super::parcel::{Asked, Parcel, Put, RunOf};
use super::queue::Queue;
use super::slice::must_yield;
use super::stage::Body;
use crate::core::flow::Word;
use crate::core::life::Notice;
use crate::message::{Down, Exited, NodeDown, NodeUp, RemoteMessage};
use crate::term::Ref;
use crate::wire::{Fault, Same, Signal, Up, from_bytes, sharing, short_name, tag_of};

/// The mailbox of an actor `A`.
pub(crate) struct Inbox<A: Actor> {
    queue: Mutex<Queue<Item<A>>>,
    accepted: &'static Accepted<A>,
    handlers: Mutex<Handlers<A>>,
}

/// What of an actor handles notices, and what it has not declared. Set when the actor first asks for
/// such: then it has the handler.
type Handlers<A> = Option<Box<HandlersOf<A, <A as Actor>::Context>>>;

pub(crate) struct HandlersOf<A, C> {
    pub(crate) exited: Option<fn(&mut A, Exited, &mut C)>,
    pub(crate) down: Option<fn(&mut A, Down, &mut C)>,
    pub(crate) node_down: Option<fn(&mut A, NodeDown, &mut C)>,
    pub(crate) node_up: Option<fn(&mut A, NodeUp, &mut C)>,
    pub(crate) letter: Option<fn(&mut A, Letter, &mut C)>,
    /// Monitors that were taken back while what waits was being handled: should they be in there,
    /// they are passed over (M5).
    flushed: Vec<Ref>,
}

impl<A, C> Default for HandlersOf<A, C> {
    fn default() -> HandlersOf<A, C> {
        HandlersOf {
            exited: None,
            down: None,
            node_down: None,
            node_up: None,
            letter: None,
            flushed: Vec::new(),
        }
    }
}

enum Item<A: Actor> {
    /// One or more, of one type.
    Typed(Box<dyn Deliver<A>>),
    /// Messages of another node; each has a turn of its own.
    Batch(Batch),
    Raw {
        tag: u32,
        payload: Bytes,
        answer: Option<Asker>,
    },
    Notice(Notice),
    /// A signal that the actor has sent itself.
    Own(Signal),
    /// Of this node, and none of those that the actor takes: for its catch-all, if it has one.
    Letter(Letter),
}

/// Messages whose type only their senders and their handler know.
trait Deliver<A: Actor>: Send {
    /// Takes one more in, if it is of that type and there is room.
    fn take_in(&mut self, content: &mut (dyn Any + Send)) -> bool;
    /// Lets the actor handle the next; whether there are more.
    fn deliver(&mut self, act: &mut A, ctx: &mut A::Context) -> bool;
}

/// Messages that nobody waits for an answer to.
struct Told<M>(RunOf<M>);

/// And those that somebody does.
struct Questions<M: RemoteMessage>(RunOf<Asked<M>>);

impl<A> Inbox<A>
where
    A: Actor<Context: AsyncContext<A>>,
{
    pub(crate) fn new(accepted: &'static Accepted<A>) -> Inbox<A> {
        Inbox { queue: Mutex::default(), accepted, handlers: Mutex::new(None) }
    }

    /// Sets a handler of what the actor does not declare in its registration.
    pub(crate) fn handle_with(&self, set: impl FnOnce(&mut HandlersOf<A, A::Context>)) {
        set(lock(&self.handlers).get_or_insert_default());
    }

    fn handler<H>(&self, of: impl FnOnce(&HandlersOf<A, A::Context>) -> Option<H>) -> Option<H> {
        lock(&self.handlers).as_deref().and_then(of)
    }

    fn put(&self, item: Item<A>) {
        let put = lock(&self.queue).put(item);
        drop(put); // out of the lock: what is refused may answer its asker
    }
}

impl<A: Actor<Context: AsyncContext<A>>> Mailbox for Arc<Inbox<A>> {
    fn push_batch(&self, batch: Batch) -> Word {
        let bytes = batch.bytes();
        let put = lock(&self.queue).put_from_afar(Item::Batch(batch), bytes);
        put.unwrap_or(Word::None) // out of the lock: what is refused may answer its asker
    }

    fn has_enough(&self) -> bool {
        lock(&self.queue).has_enough()
    }

    fn push_raw(&self, tag: u32, payload: Bytes, answer: Option<Asker>) {
        self.put(Item::Raw { tag, payload, answer });
    }

    fn push_parcel(&self, cell: &Cell, parcel: Parcel<'_>) -> Put {
        let mut queue = lock(&self.queue);
        if let Some(Item::Typed(last)) = queue.last()
            && last.take_in(parcel.content)
        {
            return Put::Behind;
        }
        if queue.is_closed() {
            return Put::Closed;
        }
        drop(queue);
        let tag = parcel.tag;
        let unpack = self.accepted.by_tag.get(&tag).map(|entry| entry.typed);
        let item = match unpack.and_then(|unpack| unpack(parcel.content)) {
            Some(typed) => Item::Typed(typed),
            // Whether there is a catch-all is known when its turn comes: the actor may not have started.
            None => match parcel.into_run().and_then(|mut run| run.next()) {
                Some(message) => {
                    let content = Content::Typed { tag, message };
                    Item::Letter(Letter::new(content, cell.node.clone()))
                }
                None => return Put::Refused,
            },
        };
        lock(&self.queue).put_parcel(item)
    }

    fn push_notice(&self, notice: Notice) {
        self.put(Item::Notice(notice));
    }

    fn push_own(&self, signal: Signal) {
        self.put(Item::Own(signal));
    }

    fn flush_down(&self, monitor: Ref) {
        let is_it = |item: &Item<A>| matches!(item, Item::Notice(Notice::Down { monitor: fired, .. }) if *fired == monitor);
        if lock(&self.queue).remove(is_it).is_none() {
            self.handle_with(|of| of.flushed.push(monitor));
        }
    }

    fn clear(&self) {
        let left = lock(&self.queue).close();
        drop(left); // out of the lock, likewise
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<A, M> Deliver<A> for Told<M>
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: RemoteMessage,
{
    fn take_in(&mut self, content: &mut (dyn Any + Send)) -> bool {
        self.0.take_in(content)
    }

    fn deliver(&mut self, act: &mut A, ctx: &mut A::Context) -> bool {
        if let Some(message) = self.0.pop() {
            act.handle(message, ctx).handle(ctx, None);
        }
        !self.0.is_empty()
    }
}

impl<A, M> Deliver<A> for Questions<M>
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: RemoteMessage,
{
    fn take_in(&mut self, content: &mut (dyn Any + Send)) -> bool {
        self.0.take_in(content)
    }

    fn deliver(&mut self, act: &mut A, ctx: &mut A::Context) -> bool {
        if let Some(Asked { message, answer }) = self.0.pop() {
            act.handle(message, ctx).handle(ctx, Some(answer));
        }
        !self.0.is_empty()
    }
}

/// Lets the actor handle one message of another node, and sees to it that its asker hears.
fn handle<A, M>(act: &mut A, ctx: &mut A::Context, message: M, due: Option<Due<'_>>)
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: RemoteMessage,
{
    let Some(due) = due else {
        return act.handle(message, ctx).handle(ctx, None);
    };
    let mut response = Some(act.handle(message, ctx));
    if let Some(MessageResult(result)) = take::<_, MessageResult<M>>(&mut response) {
        return due.give(&result);
    }
    if is_its_own_response::<M::Result>()
        && let Some(result) = take::<_, M::Result>(&mut response)
    {
        return due.give(&result);
    }
    let Some(response) = response else { return };
    let (tx, mut rx) = tokio::sync::oneshot::channel();
    response.handle(ctx, Some(tx));
    match rx.try_recv() {
        Ok(result) => due.give(&result),
        Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {
            let asker = due.keep();
            actix_rt::spawn(async move {
                if let Ok(result) = rx.await {
                    asker.give(&result);
                }
            });
        }
        Err(tokio::sync::oneshot::error::TryRecvError::Closed) => drop(due),
    }
}

/// Takes out what is there if it is of this type.
fn take<T: 'static, U: 'static>(from: &mut Option<T>) -> Option<U> {
    (from as &mut dyn Any).downcast_mut::<Option<U>>()?.take()
}

/// Whether a handler's response of this type is the result itself: of those that actix has made so, the usual ones. They
/// need no channel.
fn is_its_own_response<R: 'static>() -> bool {
    macro_rules! is_any_of {
        ($($usual:ty),*) => { [$(TypeId::of::<$usual>()),*].contains(&TypeId::of::<R>()) };
    }
    is_any_of!((), bool, String, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64)
}

/// The messages that an actor takes from other nodes, by tag.
pub struct Accepted<A: Actor> {
    by_tag: HashMap<u32, Entry<A>, BuildHasherDefault<Same>>,
    names: Vec<String>,
}

/// How messages of one type reach the handler.
struct Entry<A: Actor> {
    raw: fn(&mut A, &mut A::Context, &[u8], Option<Due<'_>>),
    typed: Unpack<A>,
}

type Unpack<A> = fn(&mut (dyn Any + Send)) -> Option<Box<dyn Deliver<A>>>;

impl<A: Actor<Context: AsyncContext<A>>> Accepted<A> {
    #[doc(hidden)]
    #[must_use]
    pub fn none() -> Accepted<A> {
        Accepted { by_tag: HashMap::default(), names: Vec::new() }
    }

    #[doc(hidden)]
    #[must_use]
    pub fn with<M>(mut self) -> Accepted<A>
    where
        M: RemoteMessage,
        A: Handler<M>,
    {
        let name = short_name(std::any::type_name::<M>());
        let entry = Entry { raw: decode_and_handle::<A, M>, typed: unpack::<A, M> };
        if self.by_tag.insert(tag_of::<M>(), entry).is_some() {
            let kind = std::any::type_name::<A>();
            panic!("{kind}: two messages have the tag of {name}; rename one of them");
        }
        self.names.push(name);
        self
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

/// A message of this node: alone, or with who wants an answer.
fn unpack<A, M>(content: &mut (dyn Any + Send)) -> Option<Box<dyn Deliver<A>>>
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: RemoteMessage,
{
    match RunOf::take(content) {
        Some(told) => Some(Box::new(Told::<M>(told))),
        None => Some(Box::new(Questions::<M>(RunOf::take(content)?))),
    }
}

fn decode_and_handle<A, M>(act: &mut A, ctx: &mut A::Context, payload: &[u8], due: Option<Due<'_>>)
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: RemoteMessage,
{
    match from_bytes::<M>(payload) {
        Ok(message) => handle(act, ctx, message, due),
        Err(why) => match due {
            Some(due) => due.fail(Fault::Undecodable(why.to_string())),
            None => {
                if let Some(cell) = current() {
                    log_dropped(&cell, &format!("undecodable: {why}"));
                }
            }
        },
    }
}

fn not_taken(tag: u32) -> String {
    format!("tag {tag:08x} is none of those it takes")
}

pub(crate) fn log_dropped(cell: &Cell, why: &str) {
    let (pid, kind) = (cell.pid, &cell.kind);
    slog::warn!(cell.node.log, "message dropped"; "pid" => %pid, "kind" => %kind, "reason" => why);
}

/// The future in the actor's context that drains its inbox.
struct Drain<A: Actor> {
    inbox: Arc<Inbox<A>>,
    taken: VecDeque<Item<A>>,
    /// Who wants to hear that the actor is up.
    up: Option<Box<Asker>>,
}

impl<A: Actor<Context: AsyncContext<A>>> ActorFuture<A> for Drain<A> {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        act: &mut A,
        ctx: &mut A::Context,
        _: &mut Context<'_>,
    ) -> Poll<()> {
        let this = &mut *self;
        // The context polls this for the first time when `started` has run, and whatever that waits for
        // is done: then the actor takes messages.
        if let Some(up) = this.up.take() {
            up.give_named(&Up::Running);
        }
        let mut first = true;
        loop {
            if this.taken.is_empty() {
                if let Some(of) = lock(&this.inbox.handlers).as_deref_mut() {
                    of.flushed.clear();
                }
                lock(&this.inbox.queue).swap(&mut this.taken);
            }
            // Asked between two messages only: it is a look at the clock.
            if !std::mem::take(&mut first) && !this.taken.is_empty() && is_over::<A>(ctx) {
                return Poll::Pending;
            }
            let Some(item) = this.taken.pop_front() else {
                if this.taken.capacity() > SPARE_ITEMS_MAX {
                    this.taken = VecDeque::new();
                }
                return Poll::Pending;
            };
            if let Some(left) = this.inbox.deliver(item, act, ctx) {
                this.taken.push_front(left);
            }
        }
    }
}

/// Whether the turn is over: the context waits for a future of the actor's, the actor is stopping, or has
/// had the thread for long enough.
fn is_over<A: Actor<Context: AsyncContext<A>>>(ctx: &A::Context) -> bool {
    ctx.waiting() || ctx.state() != actix::ActorState::Running || must_yield()
}

impl<A: Actor<Context: AsyncContext<A>>> Inbox<A> {
    /// Returns what is left of a run of messages when the turn is over.
    fn deliver(&self, item: Item<A>, act: &mut A, ctx: &mut A::Context) -> Option<Item<A>> {
        match item {
            Item::Typed(mut messages) => {
                while messages.deliver(act, ctx) {
                    if is_over::<A>(ctx) {
                        return Some(Item::Typed(messages));
                    }
                }
            }
            Item::Batch(mut batch) => {
                while let Some(mail) = batch.next() {
                    let (payload, share) = (batch.payload(&mail), || batch.share(&mail));
                    self.open(mail.tag, payload, share, batch.due(&mail), act, ctx);
                    if !batch.is_empty() && is_over::<A>(ctx) {
                        return Some(Item::Batch(batch));
                    }
                }
                self.dealt_with(batch.bytes());
            }
            Item::Raw { tag, payload, answer } => {
                let mut open = |due: Option<Due<'_>>| {
                    self.open(tag, &payload, || payload.clone(), due, act, ctx)
                };
                match answer {
                    Some(asker) => asker.lend(&mut open),
                    None => open(None),
                }
            }
            Item::Notice(Notice::Exited { from, reason }) => {
                if let Some(handle) = self.handler(|of| of.exited) {
                    handle(act, Exited { pid: from, reason }, ctx);
                }
            }
            Item::Notice(Notice::Down { monitor, object, reason }) => {
                let wanted = |of: &HandlersOf<A, A::Context>| !of.flushed.contains(&monitor);
                if let Some(handle) = self.handler(|of| of.down.filter(|_| wanted(of))) {
                    handle(act, Down { monitor, object, reason }, ctx);
                }
            }
            Item::Notice(Notice::NodeDown { node }) => {
                if let Some(handle) = self.handler(|of| of.node_down) {
                    handle(act, NodeDown { node }, ctx);
                }
            }
            Item::Notice(Notice::NodeUp { node }) => {
                if let Some(handle) = self.handler(|of| of.node_up) {
                    handle(act, NodeUp { node }, ctx);
                }
            }
            Item::Own(signal) => {
                if let Some(notice) = current().and_then(|cell| cell.node.act_on_own(&cell, signal))
                {
                    self.deliver(Item::Notice(notice), act, ctx);
                }
            }
            Item::Letter(letter) => self.undeclared(letter, act, ctx),
        }
        None
    }

    /// So many bytes of other nodes' messages are handled.
    fn dealt_with(&self, bytes: usize) {
        if lock(&self.queue).dealt_with(bytes)
            && let Some(cell) = current()
        {
            cell.resume();
        }
    }

    /// A message that is encoded; `share` gives a share of the memory that it is in.
    #[inline]
    fn open(
        &self,
        tag: u32,
        payload: &[u8],
        share: impl Fn() -> Bytes,
        due: Option<Due<'_>>,
        act: &mut A,
        ctx: &mut A::Context,
    ) {
        match self.accepted.by_tag.get(&tag) {
            Some(entry) => sharing(share, payload.len(), || (entry.raw)(act, ctx, payload, due)),
            None => self.not_accepted(tag, share(), due, act, ctx),
        }
    }

    fn not_accepted(
        &self,
        tag: u32,
        payload: Bytes,
        due: Option<Due<'_>>,
        act: &mut A,
        ctx: &mut A::Context,
    ) {
        match due {
            Some(due) => due.fail(Fault::NotAccepted { tag }),
            None => {
                if let Some(cell) = current() {
                    let content = Content::Raw { tag, payload };
                    self.undeclared(Letter::new(content, cell.node.clone()), act, ctx);
                }
            }
        }
    }

    /// A message that the actor does not declare.
    fn undeclared(&self, letter: Letter, act: &mut A, ctx: &mut A::Context) {
        match (self.handler(|of| of.letter), current()) {
            (Some(handle), _) => handle(act, letter, ctx),
            (None, Some(cell)) => log_dropped(&cell, &not_taken(letter.tag())),
            (None, None) => {}
        }
    }
}

/// A context that a node can host: pspawn's own, and actix's stock one.
pub trait HostContext<A: Actor<Context = Self>>: AsyncContextParts<A> + Unpin + Sized {
    #[doc(hidden)]
    fn unborn() -> Self;
    #[doc(hidden)]
    fn into_future(self, act: A) -> ContextFut<A, Self>;
}

impl<A: Actor<Context = actix::Context<A>>> HostContext<A> for actix::Context<A> {
    fn unborn() -> Self {
        actix::Context::new()
    }

    fn into_future(self, act: A) -> ContextFut<A, Self> {
        actix::Context::into_future(self, act)
    }
}

/// The code of an actix actor. Its constructor runs in the first poll, so that a panic there is an end
/// like any other.
pub(crate) enum ActorBody<A: Actor<Context: HostContext<A>>, F> {
    Unborn(Option<Unborn<A, F>>),
    Born(ContextFut<A, A::Context>),
}

/// An actor that has not been constructed yet.
pub(crate) struct Unborn<A: Actor, F> {
    construct: F,
    inbox: Arc<Inbox<A>>,
    /// Who wants to hear that it is up.
    up: Option<Box<Asker>>,
}

impl<A: Actor<Context: HostContext<A>>, F> ActorBody<A, F> {
    pub(crate) fn new(
        construct: F,
        inbox: Arc<Inbox<A>>,
        up: Option<Box<Asker>>,
    ) -> ActorBody<A, F> {
        ActorBody::Unborn(Some(Unborn { construct, inbox, up }))
    }
}

impl<A, F> Future for ActorBody<A, F>
where
    A: Actor<Context: HostContext<A>>,
    F: FnOnce(&mut A::Context) -> A,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let ActorBody::Unborn(unborn) = &mut *self {
            let unborn = unborn.take().expect("a panic in the constructor is the end");
            let Unborn { construct, inbox, up } = unborn;
            let mut ctx = A::Context::unborn();
            let act = construct(&mut ctx);
            ctx.spawn(Drain { inbox, taken: VecDeque::new(), up });
            *self = ActorBody::Born(ctx.into_future(act));
        }
        let ActorBody::Born(future) = &mut *self else { unreachable!("it was born above") };
        Pin::new(future).poll(cx)
    }
}

impl<A, F> Body for ActorBody<A, F>
where
    A: Actor<Context: HostContext<A>>,
    F: FnOnce(&mut A::Context) -> A,
{
    fn silence(mut self: Pin<&mut Self>) {
        match &mut *self {
            ActorBody::Unborn(_) => {}
            ActorBody::Born(future) => future.ctx().terminate(),
        }
    }
}

impl<A: Actor<Context: HostContext<A>>, F> Unpin for ActorBody<A, F> {}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    from_bytes(bytes).map_err(|why| why.to_string())
}

/// Reads arguments, which are a MessagePack array. None at all are one too, where serde expects its unit,
/// nil.
pub(crate) fn decode_args<T: DeserializeOwned + 'static>(args: &[u8]) -> Result<T, String> {
    match args {
        [NO_ARGS] if TypeId::of::<T>() == TypeId::of::<()>() => decode(&[NIL]),
        args => decode(args),
    }
}

/// MessagePack's empty array.
pub(crate) const NO_ARGS: u8 = 0x90;
const NIL: u8 = 0xC0;

/// Room that an empty inbox keeps.
const SPARE_ITEMS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_array_of_any_length() {
        assert_eq!(decode_args::<()>(&[NO_ARGS]), Ok(()));
        assert_eq!(decode_args::<()>(&rmp_serde::to_vec(&()).unwrap()), Ok(()));
        assert_eq!(decode_args::<(i64,)>(&rmp_serde::to_vec(&(7,)).unwrap()), Ok((7,)));
        assert_eq!(decode_args::<Vec<i64>>(&[NO_ARGS]), Ok(Vec::new()));
        assert!(decode_args::<(i64,)>(&[NO_ARGS]).is_err());
        assert!(decode_args::<()>(&rmp_serde::to_vec(&(7,)).unwrap()).is_err());
    }
}
