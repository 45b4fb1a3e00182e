//! Memory: how many bytes of resident memory one of many idle processes, or actors, costs.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use pspawn::prelude::*;
use tokio::sync::mpsc::unbounded_channel;

use super::erlang::Nodes;
use super::measure::Effort;
use super::{Limit, Workload};

pub(super) fn workloads() -> [Workload; 2] {
    let of = |name, what, pspawn| Workload {
        name,
        unit: "bytes",
        what,
        less_is_better: true,
        slaves: 1,
        pspawn,
        limit: Some(Limit::Tasks(|effort| Box::pin(limit_bytes(effort)))),
        erlang: Some(Nodes::Alone),
    };
    [
        of("idle_process_bytes", "memory of an idle function process (RSS)", |pair, effort| {
            Box::pin(pair.near("idle_processes", (effort,)))
        }),
        of("idle_actor_bytes", "memory of an idle actor (RSS)", |pair, effort| {
            Box::pin(pair.near("idle_actors", (effort,)))
        }),
    ]
}

/// How many of them run on this node.
static RUNNING: AtomicU64 = AtomicU64::new(0);

async fn idle_processes(ctx: Ctx, effort: Effort) -> f64 {
    let before = resident_bytes().expect("Linux tells");
    for _ in 0..effort.idle {
        ctx.spawn_fn("bench", "idle", ()).await.expect("it starts here");
    }
    bytes_each(before, effort.idle).await
}

async fn idle_actors(ctx: Ctx, effort: Effort) -> f64 {
    let before = resident_bytes().expect("Linux tells");
    for _ in 0..effort.idle {
        ctx.spawn_actor::<Idle>(()).await.expect("it starts here");
    }
    bytes_each(before, effort.idle).await
}

async fn bytes_each(before: u64, count: u64) -> f64 {
    while RUNNING.load(Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
    let after = resident_bytes().expect("Linux tells");
    after.saturating_sub(before) as f64 / count as f64
}

async fn idle(mut ctx: Ctx) {
    RUNNING.fetch_add(1, Ordering::Relaxed);
    ctx.receive::<()>().await;
}

struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        RUNNING.fetch_add(1, Ordering::Relaxed);
    }
}

remote_actor!(Idle as "bench_idle", new() = Idle, handles[]);
remote_fn!("bench": idle_processes, idle_actors, idle);

/// Tasks that wait for their queues.
async fn limit_bytes(effort: Effort) -> io::Result<f64> {
    let before = resident_bytes()?;
    let mut mailboxes = Vec::new();
    for _ in 0..effort.idle {
        let (mailbox, mut letters) = unbounded_channel::<u64>();
        mailboxes.push(mailbox);
        tokio::spawn(async move { while letters.recv().await.is_some() {} });
    }
    tokio::spawn(async {}).await?; // the others have had their first turn
    Ok((resident_bytes()? - before) as f64 / effort.idle as f64)
}

/// The memory of this OS process that is in use.
pub(super) fn resident_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the system does not tell"))
}
