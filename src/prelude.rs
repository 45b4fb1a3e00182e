//! What an actor's author imports: `use pspawn::prelude::*;`.

pub use std::process::ExitCode;
pub use std::time::Duration;

pub use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Message, ResponseActFuture,
    Running, WrapFuture,
};
pub use serde::{Deserialize, Serialize};

pub use crate::{
    AutoShutdown, ChildRef, ChildSpec, Context, Ctx, Down, ExitReason, Exited, Letter, NodeDown,
    NodeName, NodeUp, Pid, Pool, ProcessContext, Ref, RemoteAddr, RemoteRecipient, RestartType,
    Shutdown, Spawnable, Supervisor, SupervisorRef, To, exit, remote_actor, remote_fn, say, throw,
    yield_now,
};
