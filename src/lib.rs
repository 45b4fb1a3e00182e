//! Erlang's `pool` for Rust: a set of machines used as one set of processors.
//!
//! A master starts the same executable as a slave on each host in `.hosts.erlang`: a plain OS process on this machine, by
//! ssh on others, or with a [launcher] of any kind. From then on
//! [`Pool::pspawn`] starts an actor on the node with the lowest expected load, [`Pool::pspawn_link`] also
//! ties its life to the caller's, and if the master fails, everything goes: nothing is left running
//! unseen. Actors are plain actix actors and plain `async fn`s; their messages are serde values that
//! travel as MessagePack over TCP, encrypted between hosts.
//!
//! ```no_run
//! use pspawn::prelude::*;
//!
//! #[derive(Message, Serialize, Deserialize)]
//! #[rtype(result = "i64")]
//! struct Inc(i64);
//!
//! struct Counter { total: i64 }
//! impl Actor for Counter { type Context = Context<Self>; }
//! impl Handler<Inc> for Counter {
//!     type Result = i64;
//!     fn handle(&mut self, Inc(n): Inc, _: &mut Context<Self>) -> i64 { self.total += n; self.total }
//! }
//! remote_actor!(Counter as "counter", new(total: i64) = Counter { total }, handles[Inc]);
//!
//! fn main() -> ExitCode {
//!     pspawn::run(|| async {
//!         let pool = Pool::start("demo").await?;
//!         let counter = pool.pspawn::<Counter>(0).await?;
//!         println!("{} on {}", counter.send(Inc(5)).await?, counter.node());
//!         pool.stop().await
//!     })
//! }
//! ```
//!
//! Where Erlang's rules decide, the docs cite them by number: L for links, E for exit signals, M for
//! monitors, P for the pool, G for calls, V for supervisors.

#[cfg(panic = "abort")]
compile_error!("pspawn turns panics into exit reasons: build it with panic = \"unwind\"");

mod actor;
mod addr;
mod context;
mod cookie;
mod core;
mod directory;
mod entry;
mod file;
mod hosts;
pub mod launcher;
mod log;
mod macros;
mod message;
mod node;
mod payload;
mod pool;
pub mod prelude;
mod process;
mod runtime_file;
mod supervisor;
mod term;
mod wire;

pub use actor::{Accepts, Spawnable};
pub use addr::{RemoteAddr, RemoteRecipient, Request, SendError};
pub use context::{Context, ProcessContext};
pub use cookie::{Cookie, CookieError};
pub use directory::{DirectoryError, GroupChange};
pub use entry::{init, run};
pub use file::{FileError, Files, RemoteFile, RemoteWriter};
pub use hosts::{BadHost, HostEntry, HostsError, HostsFile, is_this_host, own_host_name};
pub use launcher::{HostFailure, StartStep};
pub use message::{Down, Exited, NodeDown, NodeUp, RemoteMessage};
pub use node::NodeError;
pub use node::blocking::blocking;
pub use node::cell::{exit, throw, yield_now};
pub use node::inbox::HostContext;
pub use node::launch::abandon_launches;
pub use node::letter::Letter;
pub use node::names::NameError;
pub use node::output::OutputLine;
pub use node::registry::kinds;
pub use node::terminal::{OutputFormat, Terminal};
pub use payload::Payload;
pub use pool::{
    Attached, Error, FreeNode, Pool, PoolBuilder, PoolError, Running, Spawn, SpawnError,
    SpawnMonitored, StartError, StartEvent, Starting, Watches,
};
pub use process::{Ctx, ProcessFn};
pub use rmpv::Value;
pub use runtime_file::{Published, RunningPool, RuntimeFileError};
pub use supervisor::{ChildRef, SupervisorError, SupervisorRef, SupervisorStartError};
pub use term::{
    AutoShutdown, ChildCount, ChildError, ChildInfo, ChildKind, ChildSpec, ChildState, ExitReason,
    FileEntry, FileInfo, FileKind, Fingerprint, FingerprintError, Incarnation, Kind, NodeName,
    NodeNameError, Pid, Place, Ref, RestartType, Shutdown, SpecError, Strategy, Supervisor, To,
    Via,
};
pub use wire::{KindInfo, Stream};

/// The programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Those that show the semantics run.
#[cfg(doctest)]
#[doc = include_str!("../docs/semantics.md")]
struct Semantics;

/// What the macros need; nothing for anybody else.
#[doc(hidden)]
pub mod __private {
    pub use actix;
    pub use linkme;
    pub use rmp_serde::encode::Error as EncodeError;

    pub use crate::actor::{Never, NeverEver, host};
    pub use crate::node::inbox::Accepted;
    pub use crate::node::output::say;
    pub use crate::node::registry::{ENTRIES, Entry, Started};
    pub use crate::node::seat::Seat;
    pub use crate::pool::Parent;
    pub use crate::process::{params_of, start_fn};

    /// The names of the deliberately wrong semantics of this build.
    #[cfg(feature = "mutants")]
    pub fn mutants() -> &'static [&'static str] {
        crate::core::mutant::ALL
    }

    /// Arguments as a MessagePack array.
    pub fn encode_args<T: serde::Serialize>(args: &T) -> Result<Vec<u8>, EncodeError> {
        rmp_serde::to_vec(args)
    }

    /// The parameters as they were written: `(total: i64)`.
    pub fn params(params: &[(&str, &str)]) -> String {
        let params: Vec<String> = params.iter().map(|(name, of)| format!("{name}: {of}")).collect();
        format!("({})", params.join(", "))
    }

    /// And back.
    pub fn decode_args<T>(seat: &Seat, args: &[u8]) -> Result<T, String>
    where
        T: serde::de::DeserializeOwned + 'static,
    {
        seat.at_home(|| crate::node::inbox::decode_args(args))
    }

    /// What is wrong with the arguments for an actor.
    pub fn misfit(seat: Seat, why: &str, params: fn() -> String) -> Box<(Seat, String)> {
        Box::new((seat, format!("{why}; expected {}", params())))
    }

    /// The names of the messages that an actor takes.
    pub fn messages<A: crate::Spawnable>() -> Vec<String> {
        A::accepted().names().to_vec()
    }
}
