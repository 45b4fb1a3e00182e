//! What travels between actors: messages of the author's, and the notices of somebody's end.

use actix::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::term::{ExitReason, NodeName, Pid, Ref, To};

/// A message that can go to another node: an actix [`Message`] of which it and its result are serde
/// values. Implemented for all that are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between nodes",
    label = "not a message of serde values",
    note = "derive `Message`, `Serialize` and `Deserialize` for it, and make its `rtype` result a serde value that is `Send`"
)]
pub trait RemoteMessage:
    Message<Result: Serialize + DeserializeOwned + Send> + Serialize + DeserializeOwned + Send + 'static
{
}

impl<M> RemoteMessage for M where
    M: Message<Result: Serialize + DeserializeOwned + Send>
        + Serialize
        + DeserializeOwned
        + Send
        + 'static
{
}

/// A trapped exit signal: Erlang's `{'EXIT', Pid, Reason}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exited {
    /// Who ended, or who called exit/2.
    pub pid: Pid,
    /// Why.
    pub reason: ExitReason,
}

impl Message for Exited {
    type Result = ();
}

/// A monitor fired: Erlang's `{'DOWN', Ref, process, Object, Reason}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Down {
    /// What `monitor` returned.
    pub monitor: Ref,
    /// What was watched, as it was given to `monitor`: a pid, or a name.
    pub object: To,
    /// Why it ended; `NoProc` if it was dead already, or nobody had the name.
    pub reason: ExitReason,
}

impl Message for Down {
    type Result = ();
}

/// A node that was watched is lost: Erlang's `{nodedown, Node}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDown {
    /// Which.
    pub node: NodeName,
}

impl Message for NodeDown {
    type Result = ();
}

/// A node has come: Erlang's `{nodeup, Node}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUp {
    /// Which.
    pub node: NodeName,
}

impl Message for NodeUp {
    type Result = ();
}
