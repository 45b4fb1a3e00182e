//! `pspawn start --slurm` outside of an allocation: the same command, in an allocation of its own.

use std::os::unix::process::CommandExt;
use std::process::Command;

use pspawn::Error;

/// Becomes `salloc`, which runs this command line again; returns only if it cannot. The allocation ends with the
/// command, however that ends.
pub(super) fn run_in_allocation(nodes: Option<usize>) -> Error {
    let Some(nodes) = nodes else {
        let why = "not inside a Slurm allocation: say how many nodes it is to have, --nodes N, or run it with salloc";
        crate::cli::usage("start", why);
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(why) => return Error::Other(format!("which program is this? {why}").into()),
    };
    let why = Command::new("salloc")
        .arg(format!("--nodes={nodes}"))
        .arg("--quiet")
        // The end of the job, by scancel or its time limit, is the end of the pool.
        .arg("--kill-command=TERM")
        .arg("--job-name=pspawn")
        .arg("--")
        .arg(program)
        .args(std::env::args_os().skip(1))
        .exec();
    Error::Other(format!("cannot run salloc: {why}; this machine needs Slurm's client commands").into())
}
