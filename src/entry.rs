//! How a program is run, and how the same program becomes a slave when it is started as one.

use std::fmt::Display;
use std::process::ExitCode;

use actix_rt::System;

use crate::node::ambient::ambient_node;
use crate::node::args::own_args;
use crate::node::idle::{self, Idle};
use crate::node::launch::become_slave;
use crate::pool::{Error, PoolError};

/// Runs a program's main function on an actix system of its own, prints its error if it ends with one,
/// and gives the exit code: 0 done, 1 the work failed, 3 the pool could not be started or reached.
///
/// If this OS process was started as a slave, it is one instead, and never gets to `main`.
///
/// ```no_run
/// use pspawn::prelude::*;
///
/// fn main() -> ExitCode {
///     pspawn::run(|| async {
///         let pool = Pool::start("demo").await?;
///         println!("{:?}", pool.nodes().await?);
///         pool.stop().await
///     })
/// }
/// ```
///
/// It works in a test as well, which fails if it returns what this returns:
/// `fn adds_up() -> ExitCode { pspawn::run(|| async { … }) }`.
#[must_use = "return it: it says whether all went well"]
pub fn run<F, Fut>(main: F) -> ExitCode
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<(), Error>>,
{
    init();
    let ended = System::with_tokio_rt(|| Idle::Main.runtime()).block_on(main());
    idle::over();
    // What has come to a node that goes down with its OS process.
    if let Some(node) = ambient_node() {
        node.show_last_output();
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::from(match why {
                Error::Start(_) => 3,
                Error::Pool(PoolError::NoPool | PoolError::MasterLost { .. }) => 3,
                Error::Pool(
                    PoolError::NodeDown { .. } | PoolError::TimedOut { .. } | PoolError::Refused(_),
                ) => 1,
                Error::Spawn(_) | Error::Send(_) | Error::Other(_) => 1,
            })
        }
    }
}

/// Becomes a slave if this OS process was started as one; else returns at once.
///
/// [`run`] does it by itself, and on Linux it has happened before `main` anyway, in test executables
/// too. To be called first thing in `main` where neither holds.
pub fn init() {
    if let Some(code) = become_slave(&own_args()) {
        std::process::exit(code);
    }
}

fn complain(why: &impl Display) {
    eprintln!("error: {why}");
}

/// Runs [`init`] before `main`, when nothing else has run in this OS process: a guard must be alone in
/// it, and a test executable's own `main` must not run its tests again in every slave.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a constructor is a function pointer in a section of its own")]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn before_main() {
        init();
    }
    before_main
};
