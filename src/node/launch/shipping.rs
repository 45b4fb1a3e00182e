//! The master's side of the dialogue that brings the executable to a host (`launcher/ship.rs`).

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::{Heard, Plan};
use crate::launcher::{Image, StartFault, StartStep, Told, first_line};

/// How the dialogue ended without a slave.
pub(super) enum Unshipped {
    Fault(StartFault),
    /// The launch command has closed its output, or does not read: it has ended, or will.
    Ended(StartStep),
    /// Nothing was heard for too long.
    Silent(StartStep),
}

/// Brings the executable to the host, if it is not there yet; what follows on `to` is for the slave's guard.
///
/// Each wait has the limit, not all of them together: a slow wire is no reason to fail as long as something goes over
/// it.
pub(super) async fn ship(
    plan: &Plan,
    image: &Arc<Image>,
    cache: Option<&str>,
    within: Duration,
    to: &mut ChildStdin,
    from: &mut ChildStdout,
) -> Result<(), Unshipped> {
    let line = first_line(&image.sha256, image.bytes, cache, plan.name, &plan.args)
        .map_err(Unshipped::Fault)?;
    let mut step = StartStep::Connect;
    write(to, &line, within, step).await?;
    let (mut read, mut noise) = (Vec::new(), 0);
    loop {
        let line = match timeout(within, next_line(from, &mut read)).await {
            Ok(Some(line)) => line,
            Ok(None) => return Err(Unshipped::Ended(step)),
            Err(_) => return Err(Unshipped::Silent(step)),
        };
        let told = Told::of(&line);
        noise += if told.is_none() { line.len() } else { 0 };
        match told {
            None if noise > NOISE_BYTES_MAX => {
                let why = format!("it says other things than our script: {}", cut(&line));
                let remedy = "do its start-up files print without end, or ask questions? see ~/.profile, ~/.bashrc";
                return Err(Unshipped::Fault(
                    StartFault::new(StartStep::Shell, why).remedy(remedy),
                ));
            }
            // A login that greets people.
            None => {}
            Some(Told::Shell { system, machine }) => {
                plan.passed(StartStep::Shell, "");
                step = StartStep::Cache;
                fits(image, &system, &machine).map_err(Unshipped::Fault)?;
                plan.passed(StartStep::Platform, &format!("{system} {machine}"));
            }
            Some(Told::Have) => {
                plan.passed(StartStep::Cache, "");
                plan.passed(StartStep::Ship, "there already");
                return Ok(());
            }
            Some(Told::Need) => {
                plan.passed(StartStep::Cache, "");
                step = StartStep::Ship;
                send(plan, image, to, within).await?;
            }
            Some(Told::Done) => {
                plan.passed(StartStep::Ship, &format!("{:.1} MiB sent", mebibytes(image.bytes)));
                return Ok(());
            }
            Some(Told::No(fault)) => return Err(Unshipped::Fault(fault)),
        }
    }
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

async fn send(
    plan: &Plan,
    image: &Arc<Image>,
    to: &mut ChildStdin,
    within: Duration,
) -> Result<(), Unshipped> {
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
        write(to, &piece, within, StartStep::Ship).await?;
        sent += piece.len() as u64;
        plan.tell(Heard::Sent { bytes: sent, of: image.bytes });
    }
    Ok(())
}

async fn write(
    to: &mut ChildStdin,
    bytes: &[u8],
    within: Duration,
    step: StartStep,
) -> Result<(), Unshipped> {
    match timeout(within, to.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        // Whoever does not read any more may have said why: that is read next, or its end is.
        Ok(Err(_)) => Ok(()),
        Err(_) => Err(Unshipped::Silent(step)),
    }
}

/// One line, and not a byte more: what follows the last one is the guard's.
async fn next_line(from: &mut ChildStdout, read: &mut Vec<u8>) -> Option<String> {
    read.clear();
    loop {
        let byte = from.read_u8().await.ok()?;
        if byte == b'\n' || read.len() > LINE_BYTES_MAX {
            return Some(String::from_utf8_lossy(read).into_owned());
        }
        read.push(byte);
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
