//! Addresses of actors that may be on another node.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::Actor;
use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::oneshot::error::TryRecvError;

use crate::actor::{Accepts, Spawnable};
use crate::message::RemoteMessage;
use crate::node::actors::keep;
use crate::node::ambient::{ambient_node, decode_at, decoding_node};
use crate::node::answer::{Asker, Return};
use crate::node::cell::{Cell, TurnId, current_number, is_turn_of, waker_here};
use crate::node::link::{Link, PushError};
use crate::node::parcel::{Asked, Parcel, Put};
use crate::node::{Node, Outcome, Waiter};
use crate::term::{ExitReason, NodeName, Pid, To};
use crate::wire::{Draft, Fault, Head, encode, tag_of};

/// The address of an actor `A` on any node of the pool: actix's `Addr`, and more than that a plain
/// value, which can be sent in messages and arguments.
///
/// Holding it does not keep the actor alive, and a message to the dead vanishes, as in Erlang; but a
/// [`send`](RemoteAddr::send) that awaits an answer ends with the exit reason.
pub struct RemoteAddr<A: Actor> {
    pid: Pid,
    node: Option<Arc<Node>>,
    actor: PhantomData<fn() -> A>,
}

impl<A: Spawnable> RemoteAddr<A> {
    pub(crate) fn new(pid: Pid, node: Arc<Node>) -> RemoteAddr<A> {
        RemoteAddr { pid, node: Some(node), actor: PhantomData }
    }

    /// The actor's pid.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The node where the actor lives.
    #[must_use]
    pub fn node(&self) -> NodeName {
        self.pid.node()
    }

    /// Sends a message and awaits the answer, for as long as the pool's call time-out allows; see
    /// [`Request::within`] for another time.
    ///
    /// The message is on its way when this returns, also if the request is never awaited.
    ///
    /// # Errors
    /// [`SendError::Exit`] with the reason if the actor is or ends before it has answered,
    /// `NoConnection` if its node is lost or unknown; [`SendError::TimedOut`]; and those of a message
    /// that cannot be encoded, or is not taken there.
    /// # Cancel safety
    /// Dropping the request gives up the answer; the message is handled all the same (rule G6).
    pub fn send<M>(&self, message: M) -> Request<M::Result>
    where
        A: Accepts<M>,
        M: RemoteMessage,
    {
        ask_from(&self.node, self.pid, message)
    }

    /// Sends a message and forgets it. To the dead, or to a lost node, it vanishes.
    ///
    /// An actor that sends faster than the connection takes it rests after its turn until there is
    /// room again.
    #[inline]
    pub fn do_send<M>(&self, message: M)
    where
        A: Accepts<M>,
        M: RemoteMessage,
    {
        let mut found = None;
        if let Ok(node) = at_home(&self.node, &mut found)
            && let Err(why) = tell(node, &self.pid.into(), message)
        {
            slog::debug!(node.log, "message dropped"; "pid" => %self.pid, "reason" => %why);
        }
    }

    /// Waits until a message can go on its way at once; see [`Ctx::ready`](crate::Ctx::ready).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ready(&self) {
        if let Ok(node) = home(&self.node) {
            ready(&node, &self.pid.into()).await;
        }
    }

    /// Sends a message without an answer, and says if it could not be put on its way.
    ///
    /// # Errors
    /// [`SendError::Full`] if it would have to wait: then it was not sent; [`SendError::Exit`] with `NoProc` or
    /// `NoConnection` where that is known at once; a message that cannot be encoded or is too long.
    pub fn try_send<M>(&self, message: M) -> Result<(), SendError>
    where
        A: Accepts<M>,
        M: RemoteMessage,
    {
        let (pid, mut found) = (self.pid, None);
        let node = at_home(&self.node, &mut found)?;
        if pid.node() != node.name && way_to(node, &pid.into())?.has_enough(pid.number()) {
            return Err(SendError::Full { pid });
        }
        tell(node, &pid.into(), message)
    }

    /// The same actor as somebody who takes messages `M`.
    #[must_use]
    pub fn recipient<M>(&self) -> RemoteRecipient<M>
    where
        A: Accepts<M>,
        M: RemoteMessage,
    {
        RemoteRecipient { pid: self.pid, node: self.node.clone(), message: PhantomData }
    }
}

/// Whoever takes messages `M`, on any node: actix's `Recipient`, as a plain value.
pub struct RemoteRecipient<M: RemoteMessage> {
    pid: Pid,
    node: Option<Arc<Node>>,
    message: PhantomData<fn(M)>,
}

impl<M: RemoteMessage> RemoteRecipient<M> {
    /// The actor's pid.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a message and awaits the answer, as [`RemoteAddr::send`] does.
    ///
    /// # Errors
    /// Those of [`RemoteAddr::send`].
    pub fn send(&self, message: M) -> Request<M::Result> {
        ask_from(&self.node, self.pid, message)
    }

    /// Sends a message and forgets it, as [`RemoteAddr::do_send`] does.
    pub fn do_send(&self, message: M) {
        // To the dead it vanishes.
        let mut found = None;
        if let Ok(node) = at_home(&self.node, &mut found) {
            let _ = tell(node, &self.pid.into(), message);
        }
    }
}

pub(crate) fn home(node: &Option<Arc<Node>>) -> Result<Arc<Node>, SendError> {
    node.clone().or_else(ambient_node).ok_or(SendError::NoNode)
}

/// The same, borrowed if it is known. No closure is called with a message in it: each time that one is moved it is written in
/// parts and read as a whole, for which processors wait.
#[inline]
fn at_home<'a>(
    node: &'a Option<Arc<Node>>,
    found: &'a mut Option<Arc<Node>>,
) -> Result<&'a Arc<Node>, SendError> {
    match node {
        Some(node) => Ok(node),
        None => Ok(found.insert(home(node)?)),
    }
}

/// Puts a message on its way to an actor or function process on any node. On this one it is not
/// serialised.
#[inline]
pub(crate) fn tell<T>(node: &Arc<Node>, to: &To, message: T) -> Result<(), SendError>
where
    T: Serialize + Send + 'static,
{
    let kind = tag_of::<T>();
    if to.node() == node.name {
        let cell = match to {
            To::Pid(pid) => node.receiver(*pid),
            To::Name(name, _) => node.whereis(name),
        };
        let cell = cell.ok_or_else(|| SendError::no_proc(pid_of(to)))?;
        cell.push_parcel(Parcel::message(kind, &mut Some(message)));
        keep(cell);
        return Ok(());
    }
    let mut push = |link: &Arc<Link>| {
        let (life, head) = match to {
            To::Pid(pid) => (Some(pid.incarnation()), Head::Message { to: pid.number(), kind }),
            To::Name(name, _) => (None, Head::Named { name, kind }),
        };
        link.push(life, current_number(), head, |out| encode(&message, out))
    };
    let pushed = node.with_link_to(to.node(), &mut push);
    let pushed = pushed.unwrap_or_else(|_| Err(PushError::Lost.into()));
    pushed.map_err(|why| SendError::not_put(pid_of(to), *why))
}

/// Waits until a message to an actor or function process can go on its way at once.
pub(crate) async fn ready(node: &Arc<Node>, to: &To) {
    if to.node() != node.name
        && let Ok(link) = node.link_to(to.node())
    {
        link.ready(to.pid().map(Pid::number)).await;
    }
}

/// Puts a question to an actor, from wherever this is.
#[inline]
fn ask_from<M: RemoteMessage>(node: &Option<Arc<Node>>, to: Pid, message: M) -> Request<M::Result> {
    let mut found = None;
    match at_home(node, &mut found) {
        Ok(node) => ask(node, to, message),
        Err(why) => Request::failed(why),
    }
}

/// Puts a question to an actor on any node.
fn ask<M: RemoteMessage>(node: &Arc<Node>, to: Pid, message: M) -> Request<M::Result> {
    if to.node() == node.name {
        return ask_here(node, to, message)
            .unwrap_or_else(|_| Request::failed(SendError::no_proc(to)));
    }
    ask_there(node, to, tag_of::<M>(), |out| encode(&message, out))
}

/// Puts a question to an actor of this node; hands the message back if there is no such
/// actor, or it is doomed, which is the same for others.
pub(crate) fn ask_here<M: RemoteMessage>(
    node: &Arc<Node>,
    to: Pid,
    message: M,
) -> Result<Request<M::Result>, M> {
    let Some(cell) = node.cell_of(to).filter(|cell| !cell.is_doomed()) else {
        return Err(message);
    };
    let (answer, awaited) = tokio::sync::oneshot::channel();
    let mut asked = Some(Asked { message, answer });
    if cell.push_parcel(Parcel::question(tag_of::<M>(), &mut asked)) == Put::Refused {
        return Ok(Request::failed(SendError::NotAccepted { pid: to }));
    }
    let here = Here { cell, reply: Reply::Answer(awaited), deadline: None };
    Ok(Request { to, within: node.config.times.call, state: State::Here(here) })
}

/// Puts a question that is encoded already to an actor on any node.
pub(crate) fn ask_encoded<R>(node: &Arc<Node>, to: Pid, tag: u32, message: &[u8]) -> Request<R> {
    if to.node() != node.name {
        return ask_there(node, to, tag, |out| {
            out.own.extend_from_slice(message);
            Ok(())
        });
    }
    let Some(cell) = node.cell_of(to) else { return Request::failed(SendError::no_proc(to)) };
    let request = Request::open(node, None, to);
    if let State::Numbered { question, .. } = request.state {
        let asker = Asker::new(cell.clone(), Return { link: None, question });
        cell.push_raw(tag, Bytes::copy_from_slice(message), Some(asker));
    }
    request
}

fn ask_there<R>(
    node: &Arc<Node>,
    to: Pid,
    tag: u32,
    write: impl Fn(&mut Draft) -> Result<(), rmp_serde::encode::Error>,
) -> Request<R> {
    let mut put = |link: &Arc<Link>| {
        let request = Request::open(node, Some(link), to);
        let State::Numbered { question, .. } = request.state else { return request };
        let head = Head::Request { to: to.number(), kind: tag, question };
        match link.push(Some(to.incarnation()), current_number(), head, &write) {
            Ok(()) => request,
            Err(why) => Request::failed(SendError::not_put(to, *why)), // and the request closes the question
        }
    };
    let no_way = |_| Request::failed(SendError::not_put(to, PushError::Lost));
    node.with_link_to(to.node(), &mut put).unwrap_or_else(no_way)
}

fn way_to(node: &Arc<Node>, to: &To) -> Result<Arc<Link>, SendError> {
    let lost = |_| SendError::Exit { pid: pid_of(to), reason: ExitReason::NoConnection };
    node.link_to(to.node()).map_err(lost)
}

fn pid_of(to: &To) -> Pid {
    to.pid().unwrap_or_else(Pid::nobody)
}

/// The answer to a message, awaited.
#[must_use = "the message is on its way; await this for the answer, or use do_send"]
pub struct Request<R> {
    to: Pid,
    within: Duration,
    state: State<R>,
}

enum State<R> {
    Failed(Box<SendError>),
    /// An open question of the node's.
    Numbered {
        node: Arc<Node>,
        question: u64,
        /// Until it is polled: in which turn of an actor it was put, who is woken by its end.
        put_in: Option<TurnId>,
    },
    /// An actor of this node was asked, whose handler answers at once.
    Here(Here<R>),
    Over,
}

struct Here<R> {
    cell: Arc<Cell>,
    reply: Reply<R>,
    /// The question that stands for the deadline, and when that is, once somebody has begun to wait.
    deadline: Option<(u64, Duration)>,
}

enum Reply<R> {
    Answer(tokio::sync::oneshot::Receiver<R>),
    /// The actor has let go of the question. Its end may be why, which is not known yet.
    Fate(oneshot::Receiver<Fault>),
}

impl<R> Request<R> {
    /// Waits for this long, counted from now, or from when it is first awaited, instead of the pool's call
    /// time-out.
    pub fn within(mut self, within: Duration) -> Request<R> {
        self.within = within;
        match &mut self.state {
            State::Numbered { node, question, .. } => node.set_deadline(*question, within),
            State::Here(Here { cell, deadline: Some((question, at)), .. }) => {
                *at = cell.node.deadline_in(within);
                cell.node.set_deadline(*question, within);
            }
            State::Here(_) | State::Failed(_) | State::Over => {}
        }
        self
    }

    /// A question that is about to be put over `link`, or to this node itself.
    fn open(node: &Arc<Node>, link: Option<&Link>, to: Pid) -> Request<R> {
        let within = node.config.times.call;
        let (waker, put_in) = waker_here().unzip();
        let question = node.open_question(link, within, Waiter::Asks(waker));
        Request { to, within, state: State::Numbered { node: node.clone(), question, put_in } }
    }

    pub(crate) fn failed(why: SendError) -> Request<R> {
        let to = why.pid().unwrap_or_else(Pid::nobody);
        Request { to, within: Duration::ZERO, state: State::Failed(why.into()) }
    }

    fn close(&mut self) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Numbered { node, question, .. } => node.give_up_question(question),
            State::Here(Here { cell, deadline: Some((question, _)), .. }) => {
                cell.node.give_up_question(question);
            }
            State::Here(_) | State::Failed(_) | State::Over => {}
        }
    }

    fn fault(&self, fault: Fault) -> SendError {
        let pid = self.to;
        match fault {
            Fault::Exit(reason) => SendError::Exit { pid, reason },
            Fault::NotAccepted { .. } => SendError::NotAccepted { pid },
            Fault::Undecodable(why) => SendError::Undecodable { pid, why },
            Fault::NoAnswer => SendError::NoAnswer { pid },
        }
    }

    /// What has become of a question if not an answer.
    fn no_answer(&self, outcome: Outcome) -> SendError {
        let pid = self.to;
        match outcome {
            Outcome::Failed(fault) => self.fault(*fault),
            Outcome::TimedOut => SendError::TimedOut { pid, after: self.within },
            Outcome::Lost => SendError::Exit { pid, reason: ExitReason::NoConnection },
            Outcome::Reply(_) | Outcome::Spawned(_) | Outcome::Refused(_) | Outcome::Told(_) => {
                let why = "an answer to another question".to_owned();
                SendError::Undecodable { pid, why }
            }
        }
    }
}

impl<R> Here<R> {
    fn poll(&mut self, within: Duration, cx: &mut Context<'_>) -> Poll<Result<R, Outcome>> {
        if let Reply::Answer(answer) = &mut self.reply {
            // First without a look at the runtime's budget for one task: all actors of an arbiter share it.
            let answered = match answer.try_recv() {
                Ok(result) => Poll::Ready(Some(result)),
                Err(TryRecvError::Empty) => answer.poll_unpin(cx).map(Result::ok),
                Err(TryRecvError::Closed) => Poll::Ready(None),
            };
            match answered {
                Poll::Ready(Some(result)) => return Poll::Ready(Ok(result)),
                Poll::Ready(None) => {
                    let (tell, fate) = oneshot::channel();
                    self.cell.orphan(|fault| drop(tell.send(fault)));
                    self.reply = Reply::Fate(fate);
                }
                Poll::Pending => {}
            }
        }
        if let Reply::Fate(fate) = &mut self.reply
            && let Poll::Ready(fault) = fate.poll_unpin(cx)
        {
            return Poll::Ready(Err(
                fault.map_or(Outcome::Lost, |fault| Outcome::Failed(fault.into()))
            ));
        }
        let node = &self.cell.node;
        match self.deadline {
            None => {
                let at = node.deadline_in(within);
                let question = node.open_question(None, within, Waiter::Wake(cx.waker().clone()));
                self.deadline = Some((question, at));
                Poll::Pending
            }
            Some((question, _)) if node.wake_instead(question, cx.waker()) => Poll::Pending,
            Some((_, at)) if node.now() >= at => Poll::Ready(Err(Outcome::TimedOut)),
            Some(_) => Poll::Ready(Err(Outcome::Lost)),
        }
    }
}

impl<R: DeserializeOwned> Future for Request<R> {
    type Output = Result<R, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let ended = match &mut this.state {
            State::Over => return Poll::Pending,
            State::Failed(_) => {
                let State::Failed(why) = std::mem::replace(&mut this.state, State::Over) else {
                    unreachable!("it was looked at")
                };
                return Poll::Ready(Err(*why));
            }
            State::Numbered { node, question, put_in } => {
                if put_in.take().is_some_and(|turn| is_turn_of(turn, cx.waker())) {
                    return Poll::Pending; // whatever has come since then has made the actor's next turn due
                }
                let Poll::Ready(outcome) = node.poll_question(*question, cx.waker()) else {
                    return Poll::Pending;
                };
                let ended = match outcome.unwrap_or(Outcome::Lost) {
                    Outcome::Reply(bytes) => decode_at(node, &bytes)
                        .map_err(|why| SendError::Undecodable { pid: this.to, why }),
                    outcome => Err(this.no_answer(outcome)),
                };
                this.state = State::Over; // and so is the question: there is nothing to give up
                return Poll::Ready(ended);
            }
            State::Here(here) => match here.poll(this.within, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(answered) => answered.map_err(|outcome| this.no_answer(outcome)),
            },
        };
        this.close();
        Poll::Ready(ended)
    }
}

impl<R> Drop for Request<R> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<R> Unpin for Request<R> {}

/// Why a message has no answer, or was not put on its way.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The actor had ended or ended first, or its node was lost: then with `NoConnection`.
    #[error("{pid} ended: {reason}")]
    Exit {
        /// Who was asked.
        pid: Pid,
        /// Why it ended.
        reason: ExitReason,
    },
    /// No answer in time. The message may be handled all the same (rule G6).
    #[error("{pid} did not answer within {after:?}")]
    TimedOut {
        /// Who was asked.
        pid: Pid,
        /// How long was waited.
        after: Duration,
    },
    /// The actor does not take messages of this type.
    #[error(
        "{pid} does not take messages of this type: add it to `handles[…]` of its registration"
    )]
    NotAccepted {
        /// Who was asked.
        pid: Pid,
    },
    /// The message or the answer could not be decoded: the two sides disagree about the type.
    #[error("a message to {pid}, or its answer, could not be decoded: {why}")]
    Undecodable {
        /// Who was asked.
        pid: Pid,
        /// What the decoder said.
        why: String,
    },
    /// The handler let go of the question without an answer; the actor lives.
    #[error("{pid} let go of the question without an answer")]
    NoAnswer {
        /// Who was asked.
        pid: Pid,
    },
    /// The message was not sent: it cannot be encoded, or is too long for a frame.
    #[error("a message to {pid} was not sent: {why}")]
    NotSent {
        /// Who was to be told.
        pid: Pid,
        /// Why not.
        why: String,
    },
    /// It would have to wait for the connection, or for the actor, which has enough of other nodes' messages waiting.
    #[error("{pid} has enough waiting: the message was not sent")]
    Full {
        /// Who was to be told.
        pid: Pid,
    },
    /// Its supervisor has no such child, or does not run it: Erlang's `noproc` for a name that is free.
    #[error("the supervisor runs no child {child:?}")]
    NotRunning {
        /// Which child was meant.
        child: String,
    },
    /// There is no node in this OS process to send from.
    #[error("there is no node to send from: start a pool first")]
    NoNode,
}

impl SendError {
    fn no_proc(pid: Pid) -> SendError {
        SendError::Exit { pid, reason: ExitReason::NoProc }
    }

    fn not_put(pid: Pid, why: PushError) -> SendError {
        match why {
            PushError::Lost => SendError::Exit { pid, reason: ExitReason::NoConnection },
            PushError::OtherLife => SendError::no_proc(pid),
            PushError::TooLong(..) | PushError::Encode(_) => {
                SendError::NotSent { pid, why: why.to_string() }
            }
        }
    }

    fn pid(&self) -> Option<Pid> {
        match self {
            SendError::Exit { pid, .. }
            | SendError::TimedOut { pid, .. }
            | SendError::NotAccepted { pid }
            | SendError::Undecodable { pid, .. }
            | SendError::NoAnswer { pid }
            | SendError::NotSent { pid, .. }
            | SendError::Full { pid } => Some(*pid),
            SendError::NotRunning { .. } | SendError::NoNode => None,
        }
    }

    /// The reason, if the actor ended.
    #[must_use]
    pub fn exit_reason(&self) -> Option<&ExitReason> {
        match self {
            SendError::Exit { reason, .. } => Some(reason),
            SendError::TimedOut { .. }
            | SendError::NotAccepted { .. }
            | SendError::Undecodable { .. }
            | SendError::NoAnswer { .. }
            | SendError::NotSent { .. }
            | SendError::Full { .. }
            | SendError::NotRunning { .. }
            | SendError::NoNode => None,
        }
    }
}

// What travels of an address is the pid; the node it is used from is the one that it has come to.

impl<A: Actor> Serialize for RemoteAddr<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pid.serialize(serializer)
    }
}

impl<'de, A: Actor> Deserialize<'de> for RemoteAddr<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RemoteAddr<A>, D::Error> {
        let pid = Pid::deserialize(deserializer)?;
        Ok(RemoteAddr { pid, node: decoding_node(), actor: PhantomData })
    }
}

impl<A: Actor> Clone for RemoteAddr<A> {
    fn clone(&self) -> RemoteAddr<A> {
        RemoteAddr { pid: self.pid, node: self.node.clone(), actor: PhantomData }
    }
}

impl<A: Actor> PartialEq for RemoteAddr<A> {
    fn eq(&self, other: &RemoteAddr<A>) -> bool {
        self.pid == other.pid
    }
}

impl<A: Actor> Eq for RemoteAddr<A> {}

impl<A: Actor> fmt::Debug for RemoteAddr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.pid, f)
    }
}

impl<M: RemoteMessage> Serialize for RemoteRecipient<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pid.serialize(serializer)
    }
}

impl<'de, M: RemoteMessage> Deserialize<'de> for RemoteRecipient<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RemoteRecipient<M>, D::Error> {
        let pid = Pid::deserialize(deserializer)?;
        Ok(RemoteRecipient { pid, node: decoding_node(), message: PhantomData })
    }
}

impl<M: RemoteMessage> Clone for RemoteRecipient<M> {
    fn clone(&self) -> RemoteRecipient<M> {
        RemoteRecipient { pid: self.pid, node: self.node.clone(), message: PhantomData }
    }
}

impl<M: RemoteMessage> fmt::Debug for RemoteRecipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.pid, f)
    }
}
