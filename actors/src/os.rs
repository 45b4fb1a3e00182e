//! An actor that tells about the OS process it runs in: one that belongs on a given node, where the pool
//! has no say.
//!
//! ```
//! use pspawn::prelude::*;
//! use pspawn_actors::os::{Os, ProcessId};
//!
//! # fn main() -> ExitCode {
//! pspawn::run(|| async {
//!     # let pool = Pool::builder("os").cookie(pspawn::Cookie::random().unwrap()).local(1);
//!     # let pool = pool.start().await?;
//!     for node in pool.nodes().await? {
//!         let os = pool.spawn_on::<Os>(node, ()).await?;
//!         println!("{node} is OS process {}", os.send(ProcessId).await?);
//!     }
//!     pool.stop().await
//! })
//! # }
//! ```

use pspawn::prelude::*;
use rustix::process::{Signal, getpid, kill_process};

/// Tells about the OS process it runs in.
#[derive(Debug)]
pub struct Os;

/// Is answered with the number of the OS process.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "u32")]
pub struct ProcessId;

/// Ends the OS process at once, as `kill -9` from outside would: to show what then happens.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub struct KillNode;

impl Actor for Os {
    type Context = Context<Self>;
}

impl Handler<ProcessId> for Os {
    type Result = u32;

    fn handle(&mut self, ProcessId: ProcessId, _: &mut Context<Self>) -> u32 {
        std::process::id()
    }
}

impl Handler<KillNode> for Os {
    type Result = ();

    fn handle(&mut self, KillNode: KillNode, _: &mut Context<Self>) {
        let _ = kill_process(getpid(), Signal::KILL); // nothing after it is carried out
    }
}

remote_actor!(Os as "os", new() = Os, handles[ProcessId, KillNode]);
