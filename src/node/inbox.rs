//! The inbox of an actix actor: messages of this node as they are, messages of other nodes still
//! encoded, and notices, in one queue, so that the order between each pair is kept.
//!
//! One future in the actor's own context drains it, decodes there, and stops when the actor has had the
//! thread for its slice, is doomed, or waits for something.

use std::any::{Any, TypeId};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use actix::dev::{AsyncContextParts, ContextFut, MessageResponse};
use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Handler};
use bytes::Bytes;
use futures::channel::oneshot;
use serde::de::DeserializeOwned;

use super::answer::{Answer, Asker};
use super::cell::{Body, Cell, Mailbox, current, lock, must_yield};
use crate::core::life::Notice;
use crate::message::{Down, Exited, RemoteMessage};
use crate::wire::{Fault, from_bytes, short_name, tag_of};

/// The mailbox of an actor `A`.
pub(crate) struct Inbox<A: Actor> {
    queue: Mutex<Queue<Item<A>>>,
    accepted: &'static Accepted<A>,
    /// Set when the actor first traps exits or watches somebody: then it has the handler.
    pub(crate) on_exited: OnceLock<fn(&mut A, Exited, &mut A::Context)>,
    pub(crate) on_down: OnceLock<fn(&mut A, Down, &mut A::Context)>,
}

/// What waits; once closed it takes nothing more, so that nothing outlives its actor in there.
pub(crate) struct Queue<T> {
    items: VecDeque<T>,
    closed: bool,
}

enum Item<A: Actor> {
    Typed(Box<dyn Deliver<A>>),
    Raw { tag: u32, payload: Bytes, answer: Option<Asker> },
    Notice(Notice),
}

/// A message whose type only its sender and its handler know.
trait Deliver<A: Actor>: Send {
    fn deliver(self: Box<Self>, act: &mut A, ctx: &mut A::Context);
}

struct Typed<M: RemoteMessage> {
    message: M,
    answer: Option<Answer<M::Result>>,
}

/// A message of this node whose sender wants an answer, as it goes to a mailbox.
pub(crate) struct Asked<M: RemoteMessage> {
    pub(crate) message: M,
    pub(crate) asker: oneshot::Sender<Result<M::Result, Fault>>,
}

impl<A> Inbox<A>
where
    A: Actor<Context: AsyncContext<A>>,
{
    pub(crate) fn new(accepted: &'static Accepted<A>) -> Inbox<A> {
        Inbox {
            queue: Mutex::default(),
            accepted,
            on_exited: OnceLock::new(),
            on_down: OnceLock::new(),
        }
    }

    fn put(&self, item: Item<A>) {
        let put = lock(&self.queue).put(item);
        drop(put); // out of the lock: what is refused may answer its asker
    }
}

impl<A: Actor<Context: AsyncContext<A>>> Mailbox for Arc<Inbox<A>> {
    fn push_raw(&self, tag: u32, payload: Bytes, answer: Option<Asker>) {
        self.put(Item::Raw { tag, payload, answer });
    }

    fn push_typed(&self, cell: &Arc<Cell>, tag: u32, message: Box<dyn Any + Send>) {
        let typed = self.accepted.by_tag.get(&tag).and_then(|entry| (entry.typed)(cell, message));
        match typed {
            Some(typed) => self.put(Item::Typed(typed)),
            None => log_dropped(cell, &format!("tag {tag:08x} is none of those it takes")),
        }
    }

    fn push_notice(&self, notice: Notice) {
        self.put(Item::Notice(notice));
    }

    fn clear(&self) {
        let left = lock(&self.queue).close();
        drop(left); // out of the lock, likewise
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<A, M> Deliver<A> for Typed<M>
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: RemoteMessage,
{
    fn deliver(self: Box<Self>, act: &mut A, ctx: &mut A::Context) {
        let Typed { message, answer } = *self;
        handle(act, ctx, message, answer);
    }
}

/// Lets the actor handle one message, and sees to it that its asker hears.
fn handle<A, M>(act: &mut A, ctx: &mut A::Context, message: M, answer: Option<Answer<M::Result>>)
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: RemoteMessage,
{
    let Some(answer) = answer else {
        return act.handle(message, ctx).handle(ctx, None);
    };
    let (tx, mut rx) = tokio::sync::oneshot::channel();
    act.handle(message, ctx).handle(ctx, Some(tx));
    match rx.try_recv() {
        Ok(result) => answer.give(result),
        Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {
            actix_rt::spawn(async move {
                if let Ok(result) = rx.await {
                    answer.give(result);
                }
            });
        }
        Err(tokio::sync::oneshot::error::TryRecvError::Closed) => drop(answer),
    }
}

/// The messages that an actor takes from other nodes, by tag.
pub struct Accepted<A: Actor> {
    by_tag: HashMap<u32, Entry<A>>,
    names: Vec<String>,
}

/// How messages of one type reach the handler.
struct Entry<A: Actor> {
    raw: fn(&mut A, &mut A::Context, &[u8], Option<Asker>),
    typed: Unpack<A>,
}

type Unpack<A> = fn(&Arc<Cell>, Box<dyn Any + Send>) -> Option<Box<dyn Deliver<A>>>;

impl<A: Actor<Context: AsyncContext<A>>> Accepted<A> {
    #[doc(hidden)]
    #[must_use]
    pub fn none() -> Accepted<A> {
        Accepted { by_tag: HashMap::new(), names: Vec::new() }
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
fn unpack<A, M>(cell: &Arc<Cell>, message: Box<dyn Any + Send>) -> Option<Box<dyn Deliver<A>>>
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: RemoteMessage,
{
    let message = match message.downcast::<Asked<M>>() {
        Ok(asked) => {
            let Asked { message, asker } = *asked;
            let answer = Some(Answer::here(cell.clone(), asker));
            return Some(Box::new(Typed { message, answer }));
        }
        Err(message) => message,
    };
    let message = *message.downcast::<M>().ok()?;
    Some(Box::new(Typed { message, answer: None }))
}

fn decode_and_handle<A, M>(act: &mut A, ctx: &mut A::Context, payload: &[u8], asker: Option<Asker>)
where
    A: Actor<Context: AsyncContext<A>> + Handler<M>,
    M: RemoteMessage,
{
    match from_bytes::<M>(payload) {
        Ok(message) => {
            let answer = asker.map(Answer::there);
            handle(act, ctx, message, answer);
        }
        Err(why) => match asker {
            Some(remote) => remote.fail(Fault::Undecodable(why.to_string())),
            None => {
                if let Some(cell) = current() {
                    log_dropped(&cell, &format!("undecodable: {why}"));
                }
            }
        },
    }
}

pub(crate) fn log_dropped(cell: &Cell, why: &str) {
    let (pid, kind) = (cell.pid, &cell.kind);
    slog::warn!(cell.node.log, "message dropped"; "pid" => %pid, "kind" => %kind, "reason" => why);
}

/// The future in the actor's context that drains its inbox.
struct Drain<A: Actor> {
    inbox: Arc<Inbox<A>>,
    taken: VecDeque<Item<A>>,
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
        loop {
            if this.taken.is_empty() {
                lock(&this.inbox.queue).swap(&mut this.taken);
                if this.taken.is_empty() {
                    if this.taken.capacity() > SPARE_ITEMS_MAX {
                        this.taken = VecDeque::new();
                    }
                    return Poll::Pending;
                }
            }
            while let Some(item) = this.taken.pop_front() {
                this.inbox.deliver(item, act, ctx);
                // The context waits for a future of the actor's, or the actor is stopping.
                if ctx.waiting() || ctx.state() != actix::ActorState::Running {
                    return Poll::Pending;
                }
                if must_yield() {
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<A: Actor<Context: AsyncContext<A>>> Inbox<A> {
    fn deliver(&self, item: Item<A>, act: &mut A, ctx: &mut A::Context) {
        match item {
            Item::Typed(message) => message.deliver(act, ctx),
            Item::Raw { tag, payload, answer } => match self.accepted.by_tag.get(&tag) {
                Some(entry) => {
                    (entry.raw)(act, ctx, &payload, answer);
                }
                None => match answer {
                    Some(remote) => remote.fail(Fault::NotAccepted { tag }),
                    None => {
                        if let Some(cell) = current() {
                            log_dropped(&cell, &format!("tag {tag:08x} is none of those it takes"));
                        }
                    }
                },
            },
            Item::Notice(Notice::Exited { from, reason }) => {
                if let Some(handle) = self.on_exited.get() {
                    handle(act, Exited { pid: from, reason }, ctx);
                }
            }
            Item::Notice(Notice::Down { monitor, pid, reason }) => {
                if let Some(handle) = self.on_down.get() {
                    handle(act, Down { monitor, pid, reason }, ctx);
                }
            }
        }
    }
}

impl<T> Queue<T> {
    /// Hands the item back if the queue is closed.
    pub(crate) fn put(&mut self, item: T) -> Result<(), T> {
        if self.closed {
            return Err(item);
        }
        self.items.push_back(item);
        Ok(())
    }

    /// Swaps what waits for an empty queue that has room.
    pub(crate) fn swap(&mut self, with: &mut VecDeque<T>) {
        std::mem::swap(&mut self.items, with);
    }

    pub(crate) fn close(&mut self) -> VecDeque<T> {
        self.closed = true;
        std::mem::take(&mut self.items)
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { items: VecDeque::new(), closed: false }
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
    Unborn(Option<(F, Arc<Inbox<A>>)>),
    Born(ContextFut<A, A::Context>),
}

impl<A, F> Body for ActorBody<A, F>
where
    A: Actor<Context: HostContext<A>>,
    F: FnOnce(&mut A::Context) -> A,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let ActorBody::Unborn(unborn) = self {
            let (construct, inbox) = unborn.take().expect("a panic in the constructor is the end");
            let mut ctx = A::Context::unborn();
            let act = construct(&mut ctx);
            ctx.spawn(Drain { inbox, taken: VecDeque::new() });
            *self = ActorBody::Born(ctx.into_future(act));
        }
        let ActorBody::Born(future) = self else { unreachable!("it was born above") };
        Pin::new(future).poll(cx)
    }

    fn silence(&mut self) {
        match self {
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
