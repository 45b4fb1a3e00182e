//! How much traffic harms whoever is beside it: a transfer on the same connection, and a flood to a slow actor
//! on the same node, whose messages may fill no memory either.

use std::time::Instant;

use pspawn::Payload;
use pspawn::prelude::*;

use super::ask::{Echo, ask};
use super::erlang::Nodes;
use super::idle::resident_bytes;
use super::measure::{Effort, median, percentile_99};
use super::oneway::{Blob, Sink, Sum};
use super::pair::Pair;
use super::{Pspawn, Workload};

pub(super) fn workloads() -> [Workload; 3] {
    let of = |name, unit, what, pspawn: Pspawn| Workload {
        name,
        unit,
        what,
        less_is_better: true,
        slaves: 2,
        pspawn,
        limit: None,
        erlang: Some(Nodes::Pair),
    };
    [
        of(
            "backpressure",
            "MiB",
            "memory that a flood to a slow actor takes, of the side with more",
            |pair, effort| Box::pin(flood(pair, "flood_bytes", effort)),
        ),
        of(
            "beside_flood",
            "times",
            "a question and its answer beside that flood, p50, in times of idle",
            |pair, effort| {
                let effort = Effort { flood: effort.flood / 5, ..effort };
                Box::pin(flood(pair, "ask_beside_flood", effort))
            },
        ),
        of(
            "beside_transfer",
            "times",
            "a question and its answer beside a transfer of 1 GiB, p99, in times of idle",
            |pair, effort| Box::pin(transfer(pair, effort)),
        ),
    ]
}

async fn flood(pair: &Pair, function: &str, effort: Effort) -> Result<f64, pspawn::Error> {
    let slow = pair.pool.spawn_on::<Slow>(pair.far, ()).await?;
    let echo = pair.pool.spawn_on::<Echo>(pair.far, ()).await?;
    pair.near(function, (slow, echo, effort)).await
}

async fn transfer(pair: &Pair, effort: Effort) -> Result<f64, pspawn::Error> {
    let sink = pair.pool.spawn_on::<Sink>(pair.far, ()).await?;
    let echo = pair.pool.spawn_on::<Echo>(pair.far, ()).await?;
    pair.near("ask_beside_transfer", (sink, echo, effort)).await
}

/// An actor that needs 20 µs for a message.
#[derive(Default)]
struct Slow {
    next: u64,
    before: Option<u64>,
    peak: u64,
}

impl Actor for Slow {
    type Context = Context<Self>;
}

impl Handler<Blob> for Slow {
    type Result = ();

    fn handle(&mut self, Blob { seq, .. }: Blob, _: &mut Context<Self>) {
        let begin = Instant::now();
        assert_eq!(seq, self.next, "all come, in order");
        self.next += 1;
        if seq % SAMPLE == 0 {
            let now = resident_bytes().expect("Linux tells");
            let before = *self.before.get_or_insert(now);
            self.peak = self.peak.max(now.saturating_sub(before));
        }
        while begin.elapsed() < SLOW {
            std::hint::spin_loop();
        }
    }
}

/// Is answered with the memory that the flood has taken at most on this node.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Peak;

impl Handler<Peak> for Slow {
    type Result = u64;

    fn handle(&mut self, Peak: Peak, _: &mut Context<Self>) -> u64 {
        self.peak
    }
}

remote_actor!(Slow as "bench_slow", new() = Slow::default(), handles[Blob, Peak]);

/// Sends as fast as it may, and gives the MiB that it took, on whichever side it is more.
async fn flood_bytes(_: Ctx, slow: RemoteAddr<Slow>, _: RemoteAddr<Echo>, effort: Effort) -> f64 {
    let data = Payload::from(&[7; 64][..]);
    let before = resident_bytes().expect("Linux tells");
    let mut peak = 0;
    for seq in 0..effort.flood {
        slow.do_send(Blob { seq, data: data.clone() });
        if seq % SAMPLE == 0 {
            peak = peak.max(resident_bytes().expect("Linux tells").saturating_sub(before));
        }
        if seq % 16 == 0 {
            yield_now().await;
        }
    }
    let there = slow.send(Peak).within(PATIENCE).await.expect("it is answered");
    there.max(peak) as f64 / (1 << 20) as f64
}

async fn ask_beside_flood(
    mut ctx: Ctx,
    slow: RemoteAddr<Slow>,
    echo: RemoteAddr<Echo>,
    effort: Effort,
) -> f64 {
    let idle = median(&asked(&echo, effort.asks).await);
    let args = (slow, echo.clone(), effort);
    let flood = ctx.spawn_fn("bench", "flood_bytes", args).monitor().await.expect("it starts here");
    let beside = until_down(&mut ctx, &echo, flood).await;
    median(&beside) / idle
}

async fn ask_beside_transfer(
    mut ctx: Ctx,
    sink: RemoteAddr<Sink>,
    echo: RemoteAddr<Echo>,
    effort: Effort,
) -> f64 {
    let idle = percentile_99(asked(&echo, effort.asks).await);
    let args = (sink, effort.transfer);
    let sender = ctx.spawn_fn("bench", "send_much", args).monitor().await.expect("it starts here");
    let beside = until_down(&mut ctx, &echo, sender).await;
    percentile_99(beside) / idle
}

/// Sends so many messages of 1 MiB, and ends when all have come.
async fn send_much(_: Ctx, sink: RemoteAddr<Sink>, count: u64) {
    let data = Payload::from(vec![7; 1 << 20]);
    for seq in 0..count {
        sink.do_send(Blob { seq, data: data.clone() });
        yield_now().await;
    }
    sink.send(Sum).within(PATIENCE).await.expect("it is answered");
}

remote_fn!("bench": flood_bytes, ask_beside_flood, ask_beside_transfer, send_much);

/// How long so many questions take, in microseconds.
async fn asked(echo: &RemoteAddr<Echo>, count: u64) -> Vec<f64> {
    let mut micros = Vec::new();
    for seq in 0..count {
        micros.push(micros_of(echo, seq).await);
    }
    micros.split_off(micros.len() / 10) // the first ones warm up
}

/// The same, as many as there are until the other one has ended.
async fn until_down(ctx: &mut Ctx, echo: &RemoteAddr<Echo>, (_, of): (Pid, Ref)) -> Vec<f64> {
    let mut micros = Vec::new();
    loop {
        micros.push(micros_of(echo, micros.len() as u64).await);
        if let Some(down) = ctx.receive_within::<Down>(Duration::ZERO).await {
            assert_eq!((down.monitor, &down.reason), (of, &ExitReason::Normal));
            return micros;
        }
    }
}

async fn micros_of(echo: &RemoteAddr<Echo>, seq: u64) -> f64 {
    let begin = Instant::now();
    ask(echo, seq).await;
    begin.elapsed().as_secs_f64() * 1e6
}

const SLOW: Duration = Duration::from_micros(20);
/// Messages from one look at the memory to the next.
const SAMPLE: u64 = 1000;
const PATIENCE: Duration = Duration::from_secs(300);
