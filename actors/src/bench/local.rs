//! Within one node: spawns, messages one way, and questions with their answers.

use std::convert::Infallible;
use std::io;
use std::time::Instant;

use actix::MessageResult;
use pspawn::Error;
use pspawn::prelude::*;
use tokio::spawn;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::oneshot;

use super::erlang::Nodes;
use super::measure::Effort;
use super::pair::Pair;
use super::{Limit, Workload};

pub(super) fn workloads() -> [Workload; 3] {
    [
        Workload {
            name: "local_spawn",
            unit: "spawns/s",
            what: "processes started on the own node",
            less_is_better: false,
            slaves: 1,
            pspawn: |pair, effort| Box::pin(spawns(pair, effort)),
            limit: Some(Limit::Tasks(|effort| Box::pin(limit_spawns(effort)))),
            erlang: Some(Nodes::Alone),
        },
        Workload {
            name: "local_oneway",
            unit: "messages/s",
            what: "messages within a node, one way",
            less_is_better: false,
            slaves: 1,
            pspawn: |pair, effort| Box::pin(messages(pair, effort)),
            limit: Some(Limit::Tasks(|effort| Box::pin(limit_messages(effort)))),
            erlang: Some(Nodes::Alone),
        },
        Workload {
            name: "local_ask",
            unit: "µs",
            what: "a question and its answer within a node, mean",
            less_is_better: true,
            slaves: 1,
            pspawn: |pair, effort| Box::pin(questions(pair, effort)),
            limit: Some(Limit::Tasks(|effort| Box::pin(limit_questions(effort)))),
            erlang: Some(Nodes::Alone),
        },
    ]
}

/// Adds up; is not answered.
#[derive(Clone, Copy, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Add(u64);

/// Is answered with the sum, which starts anew.
#[derive(Clone, Copy, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Take;

/// Is answered with the next number.
#[derive(Clone, Copy, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "Next")]
struct Next(u64);

// pspawn

async fn spawns(pair: &Pair, effort: Effort) -> Result<f64, Error> {
    pair.near("local_spawns", (effort,)).await
}

async fn messages(pair: &Pair, effort: Effort) -> Result<f64, Error> {
    pair.near("local_messages", (effort,)).await
}

async fn questions(pair: &Pair, effort: Effort) -> Result<f64, Error> {
    pair.near("local_questions", (effort,)).await
}

/// The actor on the own node.
#[derive(Default)]
struct Adder {
    sum: u64,
}

impl Actor for Adder {
    type Context = Context<Self>;
}

impl Handler<Add> for Adder {
    type Result = ();

    fn handle(&mut self, Add(number): Add, _: &mut Context<Self>) {
        self.sum += number;
    }
}

impl Handler<Take> for Adder {
    type Result = u64;

    fn handle(&mut self, Take: Take, _: &mut Context<Self>) -> u64 {
        std::mem::take(&mut self.sum)
    }
}

impl Handler<Next> for Adder {
    type Result = MessageResult<Next>;

    fn handle(&mut self, Next(number): Next, _: &mut Context<Self>) -> MessageResult<Next> {
        MessageResult(Next(number + 1))
    }
}

remote_actor!(Adder as "bench_adder", new() = Adder::default(), handles[Add, Take, Next]);

/// Starts one after the other; the last one says that it runs.
async fn local_spawns(mut ctx: Ctx, effort: Effort) -> f64 {
    let spent = effort.spend(async |count| {
        let begin = Instant::now();
        for seq in 1..count {
            ctx.spawn_fn("bench", "nothing", (seq,)).await.expect("it starts here");
        }
        ctx.spawn_fn("bench", "report", (ctx.pid(),)).await.expect("it starts here");
        ctx.receive::<Pid>().await;
        Ok::<_, Infallible>(begin.elapsed())
    });
    let Ok(spent) = spent.await;
    spent.rate()
}

/// Says that it runs.
async fn report(ctx: Ctx, to: Pid) {
    ctx.send(to, ctx.pid());
}

async fn local_messages(ctx: Ctx, effort: Effort) -> f64 {
    let adder = ctx.spawn_actor::<Adder>(()).await.expect("it starts here");
    let spent = effort.spend(async |count| {
        let begin = Instant::now();
        let mut left = count;
        while left > 0 {
            // So many that asking does not count, and so few that they fit into memory while they wait.
            let lap = left.min(LAP);
            for number in 0..lap {
                adder.do_send(Add(number));
                if number % 16 == 0 {
                    yield_now().await;
                }
            }
            let sum = adder.send(Take).within(Duration::from_secs(60)).await;
            assert_eq!(sum, Ok((0..lap).sum()));
            left -= lap;
        }
        Ok::<_, Infallible>(begin.elapsed())
    });
    let Ok(spent) = spent.await;
    spent.rate()
}

async fn local_questions(ctx: Ctx, effort: Effort) -> f64 {
    let adder = ctx.spawn_actor::<Adder>(()).await.expect("it starts here");
    let spent = effort.spend(async |count| {
        let begin = Instant::now();
        for number in 0..count {
            let next = adder.send(Next(number)).await.expect("it answers");
            assert_eq!(next.0, number + 1);
        }
        Ok::<_, Infallible>(begin.elapsed())
    });
    let Ok(spent) = spent.await;
    spent.micros()
}

remote_fn!("bench": local_spawns, report, local_messages, local_questions);

// the limit

// Tasks of one thread, each with tokio's queue as its mailbox.

async fn limit_spawns(effort: Effort) -> io::Result<f64> {
    let spent = effort.spend(async |count| {
        let begin = Instant::now();
        for seq in 1..count {
            let mailbox = unbounded_channel::<Add>();
            spawn(async move { drop(mailbox) });
            if seq % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        spawn(async {}).await?;
        Ok::<_, io::Error>(begin.elapsed())
    });
    Ok(spent.await?.rate())
}

async fn limit_messages(effort: Effort) -> io::Result<f64> {
    let (adder, mut numbers) = unbounded_channel();
    let (answers, mut sums) = unbounded_channel();
    spawn(async move {
        let mut sum = 0;
        while let Some(number) = numbers.recv().await {
            match number {
                Some(Add(number)) => sum += number,
                None => answers.send(std::mem::take(&mut sum)).unwrap_or_default(), // at its end
            }
        }
    });
    let spent = effort.spend(async |count| {
        let begin = Instant::now();
        for number in 0..count {
            adder.send(Some(Add(number))).map_err(io::Error::other)?;
            if number % QUEUE == 0 {
                tokio::task::yield_now().await;
            }
        }
        adder.send(None).map_err(io::Error::other)?;
        assert_eq!(sums.recv().await, Some((0..count).sum()));
        Ok::<_, io::Error>(begin.elapsed())
    });
    Ok(spent.await?.rate())
}

async fn limit_questions(effort: Effort) -> io::Result<f64> {
    let (adder, mut questions) = unbounded_channel::<(Next, oneshot::Sender<Next>)>();
    spawn(async move {
        while let Some((Next(number), answer)) = questions.recv().await {
            let _ = answer.send(Next(number + 1)); // who asked may be gone
        }
    });
    let spent = effort.spend(async |count| {
        let begin = Instant::now();
        for number in 0..count {
            let (answer, comes) = oneshot::channel();
            adder.send((Next(number), answer)).map_err(io::Error::other)?;
            assert_eq!(comes.await.map_err(io::Error::other)?.0, number + 1);
        }
        Ok::<_, io::Error>(begin.elapsed())
    });
    Ok(spent.await?.micros())
}

/// Messages that wait at most in the limit.
const QUEUE: u64 = 1024;
const LAP: u64 = 500_000;
