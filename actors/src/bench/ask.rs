//! Questions and answers of 64 bytes: how long one takes, and how many a second there are with 64 and 1,024 askers.

use std::convert::Infallible;
use std::io;
use std::time::Instant;

use actix::MessageResult;
use pspawn::prelude::*;
use pspawn::{Error, Payload};

use super::erlang::Nodes;
use super::limit::{Client, Server, decode};
use super::measure::Effort;
use super::pair::Pair;
use super::{Limit, Workload, crew};

pub(super) fn workloads() -> [Workload; 3] {
    let many = |name, what, pspawn, client| {
        let limit = Some(Limit::Wire { server, client });
        let (unit, erlang) = ("requests/s", Some(Nodes::Pair));
        Workload { name, unit, what, less_is_better: false, slaves: 2, pspawn, limit, erlang }
    };
    [
        Workload {
            name: "ask_1",
            unit: "µs",
            what: "a question and its answer, 64 B each, p50",
            less_is_better: true,
            slaves: 2,
            pspawn: |pair, effort| Box::pin(one(pair, effort)),
            limit: Some(Limit::Wire {
                server,
                client: |wire, effort| Box::pin(limit_one(wire, effort)),
            }),
            erlang: Some(Nodes::Pair),
        },
        many(
            "ask_64",
            "the same, 64 askers",
            |pair, effort| Box::pin(several(pair, 64, effort)),
            |wire, effort| Box::pin(limit_several(wire, 64, effort)),
        ),
        many(
            "ask_1024",
            "the same, 1,024 askers",
            |pair, effort| Box::pin(several(pair, 1024, effort)),
            |wire, effort| Box::pin(limit_several(wire, 1024, effort)),
        ),
    ]
}

/// Is answered with itself.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "Ask")]
pub(super) struct Ask {
    seq: u64,
    data: Payload,
}

// pspawn

async fn one(pair: &Pair, effort: Effort) -> Result<f64, Error> {
    let echo = pair.pool.spawn_on::<Echo>(pair.far, ()).await?;
    pair.near("ask_one", (echo, effort)).await
}

async fn several(pair: &Pair, askers: u64, effort: Effort) -> Result<f64, Error> {
    let echo = pair.pool.spawn_on::<Echo>(pair.far, ()).await?;
    pair.near("ask_several", (echo, askers, effort)).await
}

/// The actor that answers.
pub(super) struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Ask> for Echo {
    type Result = MessageResult<Ask>;

    fn handle(&mut self, ask: Ask, _: &mut Context<Self>) -> MessageResult<Ask> {
        MessageResult(ask)
    }
}

remote_actor!(Echo as "bench_echo", new() = Echo, handles[Ask]);

/// One after the other: the median of how long they take, in microseconds.
async fn ask_one(_: Ctx, echo: RemoteAddr<Echo>, effort: Effort) -> f64 {
    let once = async |seq| {
        ask(&echo, seq).await;
        Ok::<_, Infallible>(())
    };
    let Ok(median) = effort.median_micros(once).await;
    median
}

/// Many processes ask, each one question after the other: how many a second they get answered.
async fn ask_several(mut ctx: Ctx, echo: RemoteAddr<Echo>, askers: u64, effort: Effort) -> f64 {
    let mut crew = Vec::new();
    for _ in 0..askers {
        let spawned = ctx.spawn_fn("bench", "asker", (ctx.pid(), echo.clone())).link().await;
        crew.push(spawned.expect("it starts here"));
    }
    crew::rate(&mut ctx, &crew, effort).await
}

async fn asker(ctx: Ctx, teller: Pid, echo: RemoteAddr<Echo>) {
    crew::work(ctx, teller, async |_, seq| ask(&echo, seq).await).await;
}

pub(super) async fn ask(echo: &RemoteAddr<Echo>, seq: u64) {
    let data = Payload::from(&DATA[..]);
    let answer = echo.send(Ask { seq, data }).await;
    assert_eq!(answer.expect("it is answered").seq, seq);
}

remote_fn!("bench": ask_one, ask_several, asker);

// the limit

/// The same, borrowed.
#[derive(Serialize, Deserialize)]
struct AskRef<'a> {
    seq: u64,
    #[serde(borrow, with = "serde_bytes")]
    data: &'a [u8],
}

fn server() -> Server {
    Server::new(|frame, answers| answers.put(&decode::<AskRef<'_>>(frame)?))
}

async fn limit_one(mut wire: Client, effort: Effort) -> io::Result<f64> {
    let once = async |seq| {
        wire.put(&AskRef { seq, data: &DATA })?;
        wire.flush().await?;
        wire.read(|frame, _| {
            assert_eq!(decode::<AskRef<'_>>(frame)?.seq, seq);
            Ok(())
        })
        .await
    };
    effort.median_micros(once).await
}

async fn limit_several(mut wire: Client, askers: u64, effort: Effort) -> io::Result<f64> {
    let spent = effort.spend(async |count| {
        let begin = Instant::now();
        let (mut asked, mut answered) = (0, 0);
        while asked < count.min(askers) {
            wire.put(&AskRef { seq: asked, data: &DATA })?;
            asked += 1;
        }
        while answered < count {
            wire.flush().await?;
            wire.read(|frame, out| {
                assert_eq!(decode::<AskRef<'_>>(frame)?.seq, answered);
                answered += 1;
                if asked < count {
                    out.put(&AskRef { seq: asked, data: &DATA })?;
                    asked += 1;
                }
                Ok(())
            })
            .await?;
        }
        Ok::<_, io::Error>(begin.elapsed())
    });
    Ok(spent.await?.rate())
}

static DATA: [u8; 64] = [7; 64];
