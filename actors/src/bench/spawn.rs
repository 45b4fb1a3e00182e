//! Spawns on another node: how many processes a second are started there and known here, one at a time and by 64
//! at once. Each ends as soon as it runs.

use std::io;
use std::time::Instant;

use pspawn::Error;
use pspawn::prelude::*;
use tokio::sync::mpsc::unbounded_channel;

use super::erlang::Nodes;
use super::limit::{Client, Server, decode};
use super::measure::Effort;
use super::pair::Pair;
use super::{Limit, Workload, crew};

pub(super) fn workloads() -> [Workload; 2] {
    let of = |name, what, pspawn, client| {
        let limit = Some(Limit::Wire { server, client });
        let (unit, erlang) = ("spawns/s", Some(Nodes::Pair));
        Workload { name, unit, what, less_is_better: false, slaves: 2, pspawn, limit, erlang }
    };
    [
        of(
            "spawn_1",
            "processes started on another node, one at a time",
            |pair, effort| Box::pin(spawns(pair, 1, effort)),
            |wire, effort| Box::pin(limit_spawns(wire, 1, effort)),
        ),
        of(
            "spawn_64",
            "the same, by 64 at once",
            |pair, effort| Box::pin(spawns(pair, 64, effort)),
            |wire, effort| Box::pin(limit_spawns(wire, 64, effort)),
        ),
    ]
}

// pspawn

async fn spawns(pair: &Pair, spawners: u64, effort: Effort) -> Result<f64, Error> {
    pair.near("spawn_several", (pair.far, spawners, effort)).await
}

/// Several processes spawn on the other node, each one after the other: how many a second.
async fn spawn_several(mut ctx: Ctx, far: NodeName, spawners: u64, effort: Effort) -> f64 {
    let mut crew = Vec::new();
    for _ in 0..spawners {
        let spawned = ctx.spawn_fn("bench", "spawner", (ctx.pid(), far)).link().await;
        crew.push(spawned.expect("it starts here"));
    }
    crew::rate(&mut ctx, &crew, effort).await
}

async fn spawner(ctx: Ctx, teller: Pid, far: NodeName) {
    crew::work(ctx, teller, async |ctx, seq| {
        ctx.spawn_fn("bench", "nothing", (seq,)).on(far).await.expect("it starts there");
    })
    .await;
}

/// What is spawned.
async fn nothing(_: Ctx, _: u64) {}

remote_fn!("bench": spawn_several, spawner, nothing);

// the limit

#[derive(Serialize, Deserialize)]
struct Order {
    seq: u64,
}

#[derive(Serialize, Deserialize)]
struct Started {
    seq: u64,
    id: u64,
}

/// Starts a task with a mailbox for each order, and answers with its number.
fn server() -> Server {
    let mut id = 0;
    Server::new(move |frame, answers| {
        let Order { seq } = decode(frame)?;
        let mailbox = unbounded_channel::<Order>();
        tokio::spawn(async move { drop(mailbox) });
        id += 1;
        answers.put(&Started { seq, id })
    })
}

async fn limit_spawns(mut wire: Client, at_once: u64, effort: Effort) -> io::Result<f64> {
    let spent = effort.spend(async |count| {
        let begin = Instant::now();
        let (mut ordered, mut started) = (0, 0);
        while ordered < count.min(at_once) {
            wire.put(&Order { seq: ordered })?;
            ordered += 1;
        }
        while started < count {
            wire.flush().await?;
            wire.read(|frame, out| {
                assert_eq!(decode::<Started>(frame)?.seq, started);
                started += 1;
                if ordered < count {
                    out.put(&Order { seq: ordered })?;
                    ordered += 1;
                }
                Ok(())
            })
            .await?;
        }
        Ok::<_, io::Error>(begin.elapsed())
    });
    Ok(spent.await?.rate())
}
