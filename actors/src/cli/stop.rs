//! `pspawn stop`: ends the pool.

use clap::Args;
use pspawn::Error;

use super::out::tell;
use super::running::Running;

/// Stop the pool; returns when the last OS process of the last slave is gone
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Stop {
    #[command(flatten)]
    running: Running,
}

pub(super) async fn stop(args: Stop) -> Result<(), Error> {
    let pool = args.running.connect().await?;
    pool.stop().await?;
    tell("stopped");
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  pspawn stop
  pspawn stop --pool demo      where several pools run

Attached nodes end too. `pspawn start` in the other terminal exits with 0.";
