//! Handles of children: who has the place is found out at each send, so that they survive restarts.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{SupervisorError, SupervisorRef};
use crate::actor::{Accepts, Spawnable};
use crate::addr::{RemoteAddr, SendError, ask_encoded, ask_here};
use crate::message::RemoteMessage;
use crate::term::{ChildError, ExitReason, Pid};
use crate::wire::{encode, tag_of};

/// The child of a supervisor, whichever actor that is at the time: a plain value, which can be sent.
pub struct ChildRef<A> {
    pub(super) supervisor: SupervisorRef,
    pub(super) id: String,
    pub(super) actor: PhantomData<fn() -> A>,
}

impl<A: Spawnable> ChildRef<A> {
    /// The actor that is the child at this moment. While it is being restarted this waits.
    ///
    /// # Errors
    /// [`SendError::NotRunning`] if the supervisor has no such child, or does not run it;
    /// [`SendError::Exit`] if the supervisor itself has ended; [`SendError::TimedOut`].
    pub async fn addr(&self) -> Result<RemoteAddr<A>, SendError> {
        let node = self.supervisor.home().map_err(|_| SendError::NoNode)?;
        let until = node.now() + node.config.times.call;
        let pid = self.pid(None, until).await?;
        Ok(RemoteAddr::new(pid, node))
    }

    /// Sends a message to whoever is the child now, and awaits the answer. While the child is being
    /// restarted this waits; all in all as long as the pool's call time-out allows.
    ///
    /// A message that has reached a child is not sent again: if the child ends over it, this ends with the
    /// reason. One that has found nobody, because the child was dead already, goes to the next; so it may
    /// if a child ended by itself with `NoProc`, which cannot be told from that.
    ///
    /// # Errors
    /// Those of [`RemoteAddr::send`], and of [`addr`](ChildRef::addr).
    /// # Cancel safety
    /// Dropping it gives up the answer; the message may be handled all the same.
    pub async fn send<M>(&self, message: M) -> Result<M::Result, SendError>
    where
        A: Accepts<M>,
        M: RemoteMessage,
    {
        let node = self.supervisor.home().map_err(|_| SendError::NoNode)?;
        let until = node.now() + node.config.times.call;
        let mut message = Message::Plain(message);
        let mut gone = None;
        loop {
            let pid = self.pid(gone, until).await?;
            let left = until.saturating_sub(node.now());
            let encoded = match message {
                Message::Plain(plain) if pid.node() == node.name => {
                    match ask_here(&node, pid, plain) {
                        Ok(request) => return request.within(left).await,
                        Err(plain) => {
                            (message, gone) = (Message::Plain(plain), Some(pid));
                            continue;
                        }
                    }
                }
                Message::Plain(plain) => {
                    let mut bytes = Vec::new();
                    encode(&plain, &mut bytes)
                        .map_err(|why| SendError::NotSent { pid, why: why.to_string() })?;
                    bytes
                }
                Message::Encoded(bytes) => bytes,
            };
            let request = ask_encoded(&node, pid, tag_of::<M>(), &encoded);
            match request.within(left).await {
                Err(SendError::Exit { reason: ExitReason::NoProc, .. }) => {
                    (message, gone) = (Message::Encoded(encoded), Some(pid));
                }
                answered => return answered,
            }
        }
    }

    async fn pid(&self, gone: Option<Pid>, until: Duration) -> Result<Pid, SendError> {
        let supervisor = &self.supervisor;
        let node = supervisor.home().map_err(|_| SendError::NoNode)?;
        let depth = supervisor.path.len();
        let not_running = || SendError::NotRunning { child: self.id.clone() };
        match supervisor.find_at(&node, depth, &self.id, gone, until).await {
            Ok(found) => found.ok_or_else(not_running),
            Err(SupervisorError::Child(ChildError::NotFound)) => Err(not_running()),
            Err(SupervisorError::NotRunning { id }) => Err(SendError::NotRunning { child: id }),
            Err(SupervisorError::Ended { pid, reason }) => Err(SendError::Exit { pid, reason }),
            Err(SupervisorError::TimedOut { pid, after }) => {
                Err(SendError::TimedOut { pid, after })
            }
            Err(SupervisorError::NoNode) => Err(SendError::NoNode),
            Err(why @ (SupervisorError::Child(_) | SupervisorError::Garbled { .. })) => {
                Err(SendError::NotSent { pid: supervisor.root, why: why.to_string() })
            }
        }
    }
}

/// A message that is not encoded as long as it stays on this node.
enum Message<M> {
    Plain(M),
    Encoded(Vec<u8>),
}

impl<A> Clone for ChildRef<A> {
    fn clone(&self) -> Self {
        ChildRef { supervisor: self.supervisor.clone(), id: self.id.clone(), actor: PhantomData }
    }
}

impl<A> fmt::Debug for ChildRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildRef({:?} of {:?})", self.id, self.supervisor)
    }
}

impl<A> Serialize for ChildRef<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.supervisor, &self.id).serialize(serializer)
    }
}

impl<'de, A> Deserialize<'de> for ChildRef<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ChildRef<A>, D::Error> {
        let (supervisor, id) = Deserialize::deserialize(deserializer)?;
        Ok(ChildRef { supervisor, id, actor: PhantomData })
    }
}
