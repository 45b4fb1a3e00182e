//! The loss of a node: how long after its OS process is killed a process elsewhere has the notice.
//!
//! The clock that all processes of a machine have in common tells, read just before the kill here, and by
//! whoever has the notice.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pspawn::Error;
use pspawn::prelude::*;
use rustix::process::{Pid as OsPid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::erlang::Nodes;
use super::limit::{Peer, Server};
use super::measure::{Effort, median};
use super::pair::Pair;
use super::{Limit, Workload};
use crate::os::{Os, ProcessId};

pub(super) fn workloads() -> [Workload; 1] {
    [Workload {
        name: "kill_notice",
        unit: "ms",
        what: "kill -9 of a node, until another one has the notice",
        less_is_better: true,
        slaves: 2,
        pspawn: |pair, effort| Box::pin(pspawn(pair, effort)),
        limit: Some(Limit::Killed { server: || Server::new(|_, _| Ok(())) }),
        erlang: Some(Nodes::Victims),
    }]
}

/// The time, in nanoseconds since 1970; then the OS process is killed.
pub(super) fn now_and_kill(os_process: u64) -> Result<u64, Error> {
    let pid = i32::try_from(os_process).ok().and_then(OsPid::from_raw);
    let pid = pid.ok_or("there is no such OS process")?;
    let before = now();
    kill_process(pid, Signal::KILL).map_err(io::Error::from)?;
    Ok(before)
}

/// From one time to the other.
pub(super) fn millis(before: u64, after: u64) -> f64 {
    after.saturating_sub(before) as f64 / 1e6
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

// pspawn

async fn pspawn(pair: &Pair, effort: Effort) -> Result<f64, Error> {
    let mut me = pair.pool.mailbox();
    let mut notices = Vec::new();
    for number in 0..effort.kills {
        let victim = match number {
            0 => pair.far,
            _ => pair.pool.start_slave("localhost", &format!("victim{number}")).await?,
        };
        let os = pair.pool.spawn_on::<Os>(victim, ()).await?;
        let args = (me.pid(), os.clone());
        pair.pool.spawn_mfa_on(pair.near, "bench", "watch", args).await?;
        let Watched { os_process } = received(me.receive_within(PATIENCE).await)?;
        let before = now_and_kill(os_process.into())?;
        let Noticed { at } = received(me.receive_within(PATIENCE).await)?;
        notices.push(millis(before, at));
    }
    Ok(median(&notices))
}

fn received<T>(message: Option<T>) -> Result<T, Error> {
    message.ok_or_else(|| format!("nothing was heard for {PATIENCE:?}").into())
}

#[derive(Serialize, Deserialize)]
struct Watched {
    os_process: u32,
}

#[derive(Serialize, Deserialize)]
struct Noticed {
    at: u64,
}

/// Watches an actor of the node that is to be killed, and tells when it has the notice.
async fn watch(mut ctx: Ctx, teller: Pid, os: RemoteAddr<Os>) {
    ctx.monitor(os.pid());
    // It is answered after the monitor has come.
    let os_process = os.send(ProcessId).await.expect("nobody has killed it yet");
    ctx.send(teller, Watched { os_process });
    ctx.receive::<Down>().await;
    ctx.send(teller, Noticed { at: now() });
}

remote_fn!("bench": watch);

// the limit

/// A connection that ends.
pub(super) async fn limit(
    server: impl AsyncFn() -> Result<(Peer, u16), Error>,
    effort: Effort,
) -> Result<f64, Error> {
    let mut notices = Vec::new();
    for _ in 0..effort.kills {
        let (mut peer, port) = server().await?;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let begin = Instant::now();
        peer.start_kill()?;
        match stream.read(&mut [0]).await {
            Ok(0) => {}
            Err(why) if why.kind() == io::ErrorKind::ConnectionReset => {}
            Ok(_) => return Err("it speaks unasked".into()),
            Err(why) => return Err(why.into()),
        }
        notices.push(begin.elapsed().as_secs_f64() * 1e3);
        peer.wait().await?;
    }
    Ok(median(&notices))
}

const PATIENCE: Duration = Duration::from_secs(30);
