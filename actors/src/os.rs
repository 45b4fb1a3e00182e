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

use std::time::{SystemTime, UNIX_EPOCH};

use actix::MessageResult;
use pspawn::prelude::*;
use rustix::process::{Signal, getpid, kill_process};

/// Tells about the OS process it runs in.
#[derive(Debug)]
pub struct Os;

/// Is answered with the number of the OS process.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "u32")]
pub struct ProcessId;

/// Is answered with how the machine does.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "VitalSigns")]
pub struct Vitals;

/// How a machine does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VitalSigns {
    /// Its clock, in microseconds since 1970.
    pub unix_micros: i64,
    /// The cores that the OS process may use.
    pub cores: u32,
}

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

impl Handler<Vitals> for Os {
    type Result = MessageResult<Vitals>;

    fn handle(&mut self, Vitals: Vitals, _: &mut Context<Self>) -> MessageResult<Vitals> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        MessageResult(VitalSigns {
            unix_micros: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
        })
    }
}

impl Handler<KillNode> for Os {
    type Result = ();

    fn handle(&mut self, KillNode: KillNode, _: &mut Context<Self>) {
        let _ = kill_process(getpid(), Signal::KILL); // nothing after it is carried out
    }
}

remote_actor!(Os as "os", new() = Os, handles[ProcessId, Vitals, KillNode]);
