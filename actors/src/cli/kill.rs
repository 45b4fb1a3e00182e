//! `pspawn kill`: ends one actor.

use std::time::Duration;

use clap::Args;
use pspawn::{Down, Error, ExitReason, Pid};

use super::out::tell;
use super::running::Running;

/// Kill an actor, and say whether it was alive
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Kill {
    #[command(flatten)]
    running: Running,
    /// Its pid, as `pspawn spawn` prints it
    pid: Pid,
}

pub(super) async fn kill(args: Kill) -> Result<(), Error> {
    let pid = args.pid;
    let pool = args.running.connect().await?;
    let mut me = pool.mailbox();
    // By the same sender, so it arrives before the signal, and tells whether that met anybody.
    me.monitor(pid);
    me.exit(pid, ExitReason::Kill);
    match me.receive_within::<Down>(KILL_MAX).await.map(|down| down.reason) {
        None => Err(format!(
            "{pid} was told and has not ended within {KILL_MAX:?}: it may be in code that never waits"
        )
        .into()),
        Some(ExitReason::NoProc) => Err(format!("{pid} was not alive").into()),
        Some(ExitReason::NoConnection) => {
            Err(format!("{pid} was not reached: its node is not in the pool, or lost").into())
        }
        Some(reason) => {
            tell(&format!("{pid} ended: {reason}"));
            Ok(())
        }
    }
}

/// How long an actor may take to notice.
const KILL_MAX: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  pspawn kill '<42.7 demo1@HOST>'
  pspawn kill \"$(pspawn spawn counter new '[0]')\"

Whoever is linked with it gets the exit reason `killed`. The exit code is 1 if it was not alive.";
