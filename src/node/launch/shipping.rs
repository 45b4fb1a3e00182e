//! The master's side of the dialogue that brings the executable to a host (`launcher/ship.rs`).

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::error::Elapsed;
use tokio::time::{timeout, timeout_at};

use super::{Heard, Plan};
use crate::launcher::{Image, StartFault, StartStep, Told, first_line};
use crate::node::Node;

/// How the dialogue ended without a slave.
pub(super) enum Unshipped {
    Fault(StartFault),
    /// The launch command has closed its output, or does not read: it has ended, or will.
    Ended(StartStep),
    /// Nothing was heard for too long.
    Silent(StartStep),
}

/// The two ends of a launch command, and how long one may keep us waiting.
pub(super) struct Talk<'a> {
    pub(super) node: &'a Node,
    pub(super) to: &'a mut ChildStdin,
    pub(super) from: &'a mut ChildStdout,
    pub(super) within: Duration,
}

/// Brings the executable to the host, if it is not there yet; what follows is for the slave's guard.
///
/// Each answer has the limit, not all of them together: a slow wire is no reason to fail as long as something goes over
/// it. What is no answer prolongs nothing.
pub(super) async fn ship(
    plan: &Plan,
    image: &Arc<Image>,
    cache: Option<&str>,
    mut talk: Talk<'_>,
) -> Result<(), Unshipped> {
    let line = first_line(&image.sha256, image.bytes, cache, plan.name, &plan.args)
        .map_err(Unshipped::Fault)?;
    let mut step = StartStep::Connect;
    talk.write(&line, step).await?;
    let (mut read, mut noise) = (Vec::new(), 0);
    let mut until = talk.node.now() + talk.within;
    loop {
        let line = match talk.line(&mut read, until).await {
            Ok(Some(line)) => line,
            Ok(None) => return Err(Unshipped::Ended(step)),
            Err(_) => return Err(Unshipped::Silent(step)),
        };
        let Some(told) = Told::of(&line) else {
            // A login that greets people.
            noise += line.len() + 1;
            if noise > NOISE_BYTES_MAX {
                let why = format!("it says other things than our script: {}", cut(&line));
                let remedy = "do its start-up files print without end, or ask questions? see ~/.profile, ~/.bashrc";
                return Err(Unshipped::Fault(
                    StartFault::new(StartStep::Shell, why).remedy(remedy),
                ));
            }
            continue;
        };
        until = talk.node.now() + talk.within;
        match told {
            Told::Shell { system, machine } => {
                plan.passed(StartStep::Shell, "");
                step = StartStep::Cache;
                fits(image, &system, &machine).map_err(Unshipped::Fault)?;
                plan.passed(StartStep::Platform, &format!("{system} {machine}"));
            }
            Told::Have => {
                plan.passed(StartStep::Cache, "");
                plan.passed(StartStep::Ship, "there already");
                return Ok(());
            }
            Told::Need => {
                plan.passed(StartStep::Cache, "");
                step = StartStep::Ship;
                let begin = talk.node.now();
                send(plan, image, &mut talk).await?;
                let now = talk.node.now();
                until =
                    now + talk.within + still_on_its_way(image.bytes, now.saturating_sub(begin));
            }
            Told::Done => {
                plan.passed(StartStep::Ship, &format!("{:.1} MiB sent", mebibytes(image.bytes)));
                return Ok(());
            }
            Told::No(fault) => return Err(Unshipped::Fault(fault)),
        }
    }
}

/// How long what the launch command has taken and not yet delivered takes at the speed seen so far.
fn still_on_its_way(sent: u64, took: Duration) -> Duration {
    let waiting = sent.min(IN_FLIGHT_BYTES);
    let delivered = sent - waiting;
    match delivered {
        // All of it fits there: nothing is known of the speed.
        0 => UNKNOWN_SPEED,
        delivered => took.mul_f64(ratio(waiting, delivered)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}

fn fits(image: &Image, system: &str, machine: &str) -> Result<(), StartFault> {
    let same = |ours: &str| match ours {
        "x86_64" => matches!(machine, "x86_64" | "amd64"),
        "aarch64" => matches!(machine, "aarch64" | "arm64"),
        "i686" => matches!(machine, "i386" | "i586" | "i686" | "x86_64"),
        "armv7l" => machine.starts_with("arm"),
        ours => ours == machine,
    };
    let ours = image.machine.unwrap_or(machine);
    if system == "Linux" && same(ours) {
        return Ok(());
    }
    let why = format!("the host is {system} {machine}, the executable is for Linux {ours}");
    let remedy = "slaves run the master's own executable: leave the host out, or start a pool of hosts of its kind";
    Err(StartFault::new(StartStep::Platform, why).remedy(remedy))
}

async fn send(plan: &Plan, image: &Arc<Image>, talk: &mut Talk<'_>) -> Result<(), Unshipped> {
    let (mut piece, mut sent) = (Vec::new(), 0);
    while sent < image.bytes {
        let of = image.clone();
        // From a file that was read a moment ago; a disk that is slow all the same must not stop the heartbeats.
        let read = tokio::task::spawn_blocking(move || of.piece(sent, &mut piece).map(|()| piece));
        piece = match read.await {
            Ok(Ok(piece)) => piece,
            Ok(Err(why)) => {
                let why = format!("cannot read the executable: {why}");
                return Err(Unshipped::Fault(StartFault::new(StartStep::Ship, why)));
            }
            Err(_) => return Err(Unshipped::Ended(StartStep::Ship)),
        };
        for part in piece.chunks(PART_BYTES) {
            talk.write(part, StartStep::Ship).await?;
            sent += part.len() as u64;
            plan.tell(Heard::Sent { bytes: sent, of: image.bytes });
        }
    }
    Ok(())
}

impl Talk<'_> {
    async fn write(&mut self, bytes: &[u8], step: StartStep) -> Result<(), Unshipped> {
        match timeout(self.within, self.to.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            // Whoever does not read any more may have said why: that is read next, or its end is.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(Unshipped::Silent(step)),
        }
    }

    /// One line, and not a byte more: what follows the last one is the guard's.
    async fn line(
        &mut self,
        read: &mut Vec<u8>,
        until: Duration,
    ) -> Result<Option<String>, Elapsed> {
        let until = self.node.clock().instant(until);
        read.clear();
        timeout_at(until, async {
            loop {
                let byte = self.from.read_u8().await.ok()?;
                if byte == b'\n' || read.len() > LINE_BYTES_MAX {
                    return Some(String::from_utf8_lossy(read).into_owned());
                }
                read.push(byte);
            }
        })
        .await
    }
}

fn cut(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(LINE_CHARS_SHOWN).collect()
}

#[expect(clippy::cast_precision_loss, reason = "to be read by people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What a login may print before our script speaks.
const NOISE_BYTES_MAX: usize = 1 << 20;
const LINE_BYTES_MAX: usize = 4 << 10;
const LINE_CHARS_SHOWN: usize = 120;
/// What is written in one go: each has the whole limit.
const PART_BYTES: usize = 16 << 10;
/// What ssh, and the sockets behind it, may hold.
const IN_FLIGHT_BYTES: u64 = 8 << 20;
/// For an executable that fits there at once.
const UNKNOWN_SPEED: Duration = Duration::from_secs(120);
