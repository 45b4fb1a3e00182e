//! What the pool does: spawns where it likes, says which node is next, and is good at both.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use pspawn::Error;
use pspawn::prelude::*;

use super::erlang::Nodes;
use super::measure::{Effort, median, percentile_99};
use super::pair::Pair;
use super::{Limit, Workload, crew, jobs};

/// What one asks the pool for.
pub(super) fn choices() -> [Workload; 2] {
    [
        Workload {
            name: "pspawn",
            unit: "spawns/s",
            what: "processes started where the pool likes, by 64 on a slave",
            less_is_better: false,
            slaves: 2,
            pspawn: |pair, effort| Box::pin(pair.near("place", ("placer", 64, effort))),
            limit: None,
            erlang: Some(Nodes::Pool(2)),
        },
        Workload {
            name: "get_node_100",
            unit: "requests/s",
            what: "which node is next, asked by 100 on a slave",
            less_is_better: false,
            slaves: 2,
            pspawn: |pair, effort| Box::pin(pair.near("place", ("chooser", 100, effort))),
            limit: None,
            erlang: Some(Nodes::Pool(2)),
        },
    ]
}

/// What comes of it.
pub(super) fn jobs() -> [Workload; 2] {
    [
        Workload {
            name: "makespan",
            unit: "ms",
            what: "heavy-tailed jobs that compute, all at once, over 4 slaves; the limit is the lower bound",
            less_is_better: true,
            slaves: SLAVES,
            pspawn: |pair, effort| Box::pin(makespan(pair, effort)),
            limit: Some(Limit::Computed(makespan_min)),
            erlang: Some(Nodes::Pool(SLAVES)),
        },
        Workload {
            name: "sojourn_p99",
            unit: "ms",
            what: "the same paced to 70 %, one at a time a node, p99; the limit is least work left, simulated",
            less_is_better: true,
            slaves: SLAVES,
            pspawn: |pair, effort| Box::pin(sojourn(pair, effort)),
            limit: Some(Limit::Computed(sojourn_of_least_work)),
            erlang: Some(Nodes::Pool(SLAVES)),
        },
    ]
}

/// Many of a kind at once: how much a second they do.
async fn place(mut ctx: Ctx, kind: String, heads: usize, effort: Effort) -> f64 {
    let mut crew = Vec::new();
    for _ in 0..heads {
        let spawned = ctx.spawn_fn("bench", &kind, (ctx.pid(),)).link().await;
        crew.push(spawned.expect("it starts here"));
    }
    crew::rate(&mut ctx, &crew, effort).await
}

/// Places processes where the pool likes.
async fn placer(ctx: Ctx, teller: Pid) {
    let pool = ctx.pool();
    crew::work(ctx, teller, async |_, seq| {
        pool.pspawn_mfa("bench", "nothing", (seq,)).await.expect("it starts");
    })
    .await;
}

/// Asks which node is next.
async fn chooser(ctx: Ctx, teller: Pid) {
    let pool = ctx.pool();
    crew::work(ctx, teller, async |_, _| {
        pool.node().await.expect("there is one");
    })
    .await;
}

// Jobs that compute, all at once.

async fn makespan(pair: &Pair, effort: Effort) -> Result<f64, Error> {
    let turns = turns_a_second();
    let mut me = pair.pool.mailbox();
    let jobs = jobs::all(effort, NODES);
    let begin = Instant::now();
    for job in &jobs {
        let turns = (job.takes.as_secs_f64() * turns) as u64;
        pair.pool.pspawn_mfa("bench", "job", (me.pid(), turns)).await?;
    }
    for _ in &jobs {
        me.receive::<Pid>().await;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// Computes, and is a good neighbour.
async fn job(ctx: Ctx, to: Pid, turns: u64) {
    let mut left = turns;
    while left > 0 {
        let some = left.min(TURNS_AT_ONCE);
        spin(some);
        left -= some;
        yield_now().await;
    }
    ctx.send(to, ctx.pid());
}

/// Not inlined, so that it is the same code, and as fast, where it is timed and where it is a job.
#[inline(never)]
fn spin(turns: u64) {
    let mut sum = 1_u64;
    for turn in 0..turns {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(turn));
    }
}

/// How much of it fits into a second of a core when all of them are at work for a while: the median of some tries, as the
/// best would tell what a core can do in a lucky moment.
fn turns_a_second() -> f64 {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let once = || {
        let begin = Instant::now();
        spin(TURNS_TRIED);
        TURNS_TRIED as f64 / begin.elapsed().as_secs_f64()
    };
    let tries: Vec<f64> = (0..TRIES)
        .map(|_| {
            let rates: Vec<f64> = thread::scope(|scope| {
                let threads: Vec<_> = (0..cores).map(|_| scope.spawn(once)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
            });
            rates.iter().sum::<f64>() / cores as f64
        })
        .collect();
    median(&tries)
}

/// All cores at work until the last job is done, or the longest job alone.
fn makespan_min(effort: Effort) -> f64 {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = jobs::all(effort, NODES);
    let work: f64 = jobs.iter().map(|job| job.takes.as_secs_f64()).sum();
    let longest = jobs.iter().map(|job| job.takes.as_secs_f64()).fold(0.0, f64::max);
    (work / cores as f64).max(longest) * 1e3
}

// Jobs that each keep the one slot of a node for a time, whatever the machine's cores do meanwhile: as if
// every node had a host of its own.

async fn sojourn(pair: &Pair, effort: Effort) -> Result<f64, Error> {
    let mut me = pair.pool.mailbox();
    let jobs = jobs::all(effort, NODES);
    let begin = Instant::now();
    let (pool, to) = (pair.pool.clone(), me.pid());
    let of = jobs.clone();
    let pacer = actix_rt::spawn(async move {
        for (number, job) in of.into_iter().enumerate() {
            actix_rt::time::sleep_until((begin + job.comes).into()).await;
            let pool = pool.clone();
            let takes = job.takes.as_micros() as u64;
            actix_rt::spawn(async move {
                pool.pspawn_mfa("bench", "slot_job", (to, number, takes)).await
            });
        }
    });
    let mut took = Vec::new();
    for _ in &jobs {
        let done = me.receive_within::<usize>(PATIENCE).await.ok_or("a job was lost")?;
        took.push((begin.elapsed() - jobs[done].comes).as_secs_f64() * 1e3);
    }
    pacer.await.map_err(|why| why.to_string())?;
    Ok(percentile_99(took))
}

/// The one slot of this node.
static SLOT: Mutex<()> = Mutex::new(());

/// Keeps the slot for a time, when it has it.
async fn slot_job(ctx: Ctx, to: Pid, number: usize, micros: u64) {
    pspawn::blocking(move || {
        let _slot = SLOT.lock().unwrap_or_else(PoisonError::into_inner);
        thread::sleep(Duration::from_micros(micros));
    })
    .await;
    ctx.send(to, number);
}

/// If each job goes where the least work is left, which nobody knows.
fn sojourn_of_least_work(effort: Effort) -> f64 {
    let mut free_at = [Duration::ZERO; NODES];
    let took = jobs::all(effort, NODES).into_iter().map(|job| {
        let slot = free_at.iter_mut().min().expect("there are some");
        *slot = (*slot).max(job.comes) + job.takes;
        (*slot - job.comes).as_secs_f64() * 1e3
    });
    percentile_99(took.collect())
}

remote_fn!("bench": place, placer, chooser, job, slot_job);

const SLAVES: usize = 4;
/// The master works, too, as it does in Erlang.
const NODES: usize = SLAVES + 1;
const PATIENCE: Duration = Duration::from_secs(60);
const TURNS_AT_ONCE: u64 = 10_000;
const TURNS_TRIED: u64 = 50_000_000;
const TRIES: usize = 9;
