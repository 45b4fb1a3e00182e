//! What an actor's author implements, mostly by `remote_actor!`: how it is constructed from arguments
//! that travel, and which messages it takes from other nodes.

use std::sync::Arc;

use actix::{Actor, Message};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::message::RemoteMessage;
use crate::node::inbox::{Accepted, ActorBody, HostContext, Inbox};
use crate::node::seat::{Awaited, Seat};
use crate::term::{ChildSpec, Kind, Pid};

/// An actor that any node of the pool can start. Use [`remote_actor!`](crate::remote_actor).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be started on a node of a pool",
    label = "no actor that is registered",
    note = "register it beside its definition: `remote_actor!({Self} as \"a_name\", new(…) = …, handles[…]);`"
)]
pub trait Spawnable: Actor<Context: HostContext<Self>> + Sized {
    /// The name it is started by: Erlang's module.
    const KIND: &'static str;

    /// What it is constructed from: the parameter itself if there is one, a tuple if there are more.
    type Args: Serialize + DeserializeOwned + Send + 'static;

    /// Makes a new one. Runs on the node where the actor will live, in the actor's own first turn.
    fn construct(args: Self::Args, ctx: &mut Self::Context) -> Self;

    /// The arguments as a MessagePack array.
    #[doc(hidden)]
    fn encode_args(args: &Self::Args) -> Result<Vec<u8>, rmp_serde::encode::Error>;

    /// Itself as a child of a supervisor, which starts it with these arguments and waits for its
    /// constructor and `started`. See [`ChildSpec`] for what else can be said of it.
    fn spec(args: Self::Args) -> ChildSpec {
        let args = Self::encode_args(&args).map_err(|why| why.to_string());
        ChildSpec::new(Kind::new(Self::KIND, "new"), args).acknowledged()
    }

    /// The messages it takes from other nodes.
    #[doc(hidden)]
    fn accepted() -> &'static Accepted<Self>;
}

/// An actor that takes the message `M` from other nodes too. `remote_actor!` implements it for each
/// message in `handles[…]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not take the message `{M}` from other nodes",
    label = "`{M}` is not among the messages it handles",
    note = "add it to the registration: `remote_actor!({Self} as …, handles[…, {M}]);`"
)]
pub trait Accepts<M: RemoteMessage>: Spawnable {}

/// A message that nobody can make, and that every registered actor accepts. If an actor accepted one
/// message only, the compiler would take any message sent to it for a wrong one of that type, and not
/// say what to add.
#[doc(hidden)]
#[derive(Serialize, Deserialize)]
pub enum Never {}

/// Another one, so that there are two where no message is declared.
#[doc(hidden)]
#[derive(Serialize, Deserialize)]
pub enum NeverEver {}

impl Message for Never {
    type Result = ();
}

impl Message for NeverEver {
    type Result = ();
}

/// Starts an actix actor in the seat.
#[doc(hidden)]
pub fn host<A: Spawnable>(seat: Seat, args: A::Args) -> Pid {
    let inbox = Arc::new(Inbox::new(A::accepted()));
    let mailbox = inbox.clone();
    seat.start(mailbox, move |_, Awaited { result: _, up }| {
        let construct = move |ctx: &mut A::Context| A::construct(args, ctx);
        ActorBody::new(construct, inbox, up)
    })
}
