//! A function that runs a shell command on whatever node it is placed on.
//!
//! Whoever can start this can do anything there, so it is `guarded`: it starts only in a pool whose
//! master allows it by name, with `Pool::builder(…).allow("shell")` or `pspawn start --allow shell`.
//!
//! The command ends with its actor: what an actor holds is dropped with it, however it ends, and here
//! that is a whole group of OS processes.
//!
//! ```text
//! $ pspawn spawn shell run '["uname -a"]'
//! ```

use std::process::Stdio;

use pspawn::prelude::*;
use rustix::process::{Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};
use tokio::process::Command;

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output, cut after 4 MiB; what is no UTF-8 is replaced.
    pub stdout: String,
    /// The same of standard error.
    pub stderr: String,
}

/// Runs a command with `sh -c`, without input, and returns when it has ended and everybody who could
/// write to its output has gone.
pub async fn run(_: Ctx, command: String) -> Done {
    done(&command)
        .await
        .unwrap_or_else(|why| exit(ExitReason::exit(format!("cannot run {command:?}: {why}"))))
}

remote_fn!("shell" guarded: run);

async fn done(command: &str) -> std::io::Result<Done> {
    let mut shell = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = Group::of(&shell);
    let stdout = shell.stdout.take().expect("it is piped");
    let stderr = shell.stderr.take().expect("it is piped");
    let (stdout, stderr) = tokio::try_join!(text(stdout), text(stderr))?;
    let status = shell.wait().await?;
    group.let_go();
    Ok(Done { code: status.code(), stdout, stderr })
}

/// All that comes; what is too long is read, so that the writer can go on, and dropped.
async fn text(mut from: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    (&mut from).take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).await?;
    copy(&mut from, &mut sink()).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A process group that is killed when this is dropped: the shell alone would leave its children.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn of(leader: &tokio::process::Child) -> Group {
        Group(leader.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())))
    }

    /// Its leader has been waited for: from now on its number may be another's.
    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL); // it may have ended by itself
        }
    }
}

const OUTPUT_BYTES_MAX: u64 = 4 << 20;
