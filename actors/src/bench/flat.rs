//! Whether a message, and a spawn, cost the same with more slaves, and beside more living actors.

use std::convert::Infallible;
use std::fmt::{self, Display, Write};
use std::time::Instant;

use pspawn::prelude::*;
use pspawn::{Error, Payload};
use serde_json::{Value, json};

use super::measure::{Effort, median};
use super::oneway::{Blob, Sink, Sum};
use super::pair::Pair;

/// A row of the table.
pub(crate) struct Flat {
    size: Size,
    message_micros: f64,
    spawn_micros: f64,
}

/// What there is more and more of.
#[derive(Clone, Copy)]
enum Size {
    Slaves(usize),
    Actors(u64),
}

impl Flat {
    /// One line of `--json`.
    pub(crate) fn json(&self) -> Value {
        let (name, size) = match self.size {
            Size::Slaves(slaves) => ("flat_slaves", slaves as u64),
            Size::Actors(actors) => ("flat_actors", actors),
        };
        json!({
            "name": name,
            "unit": "µs",
            "size": size,
            "message": self.message_micros,
            "spawn": self.spawn_micros,
        })
    }
}

/// Measures all sizes, several times in turn.
///
/// # Errors
/// The first that goes wrong.
pub(crate) async fn flat(
    rounds: usize,
    effort: Effort,
    mut begins: impl FnMut(&str),
) -> Result<Vec<Flat>, Error> {
    let slaves = [2, 4, 8, 16].into_iter().filter(|&slaves| slaves <= effort.slaves_max);
    let actors = [100, 10_000, 100_000, 1_000_000];
    let actors = actors.into_iter().filter(|&actors| actors <= effort.actors_max);
    let sizes: Vec<Size> = slaves.map(Size::Slaves).chain(actors.map(Size::Actors)).collect();
    let mut figures = vec![[const { Vec::new() }; 2]; sizes.len()];
    for _ in 0..rounds {
        for (&size, figures) in sizes.iter().zip(&mut figures) {
            begins(&size.to_string());
            let [message, spawn] = micros(size, effort).await?;
            figures[0].push(message);
            figures[1].push(spawn);
        }
    }
    let rows = sizes.into_iter().zip(figures).map(|(size, [messages, spawns])| Flat {
        size,
        message_micros: median(&messages),
        spawn_micros: median(&spawns),
    });
    Ok(rows.collect())
}

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Size::Slaves(slaves) => write!(f, "{slaves} slaves"),
            Size::Actors(actors) => write!(f, "{actors} live actors"),
        }
    }
}

/// All rows below their headings.
pub(crate) fn flat_table(rows: &[Flat]) -> String {
    let mut text = format!("{:22}{:>12}{:>12}\n", "", "a message", "a spawn");
    for Flat { size, message_micros, spawn_micros } in rows {
        let size = size.to_string();
        let _ = writeln!(text, "{size:22}{message_micros:9.2} µs{spawn_micros:9.2} µs"); // a string takes all
    }
    text
}

/// A message, and a spawn, at this size.
async fn micros(size: Size, effort: Effort) -> Result<[f64; 2], Error> {
    let slaves = match size {
        Size::Slaves(slaves) => slaves,
        Size::Actors(_) => 2,
    };
    Pair::with(slaves, async |pair| {
        let (sinks, spawns) = match size {
            Size::Slaves(slaves) => {
                let mut sinks = Vec::new();
                for node in pair.pool.nodes().await? {
                    if node != pair.near && node != pair.pool.here() {
                        sinks.push(pair.pool.spawn_on::<Sink>(node, ()).await?);
                    }
                }
                // As many for each slave, however many there are.
                let placers = 32 * slaves;
                (sinks, pair.near::<f64>("place", ("placer", placers, effort)).await?)
            }
            Size::Actors(actors) => {
                let args = (actors,);
                let crowd = pair.pool.call_on(pair.far, "bench", "crowd", args).await?;
                (crowd.await?, pair.near("spawn_several", (pair.far, 64, effort)).await?)
            }
        };
        Ok([pair.near("spread", (sinks, effort)).await?, 1e6 / spawns])
    })
    .await
}

/// Starts so many that are idle, and a few among them that take messages.
async fn crowd(ctx: Ctx, count: u64) -> Vec<RemoteAddr<Sink>> {
    let mut sinks = Vec::new();
    for number in 0..count {
        if number % (count / SINKS) == 0 {
            sinks.push(ctx.spawn_actor::<Sink>(()).await.expect("it starts here"));
        } else {
            ctx.spawn_fn("bench", "idle", ()).await.expect("it starts here");
        }
    }
    sinks
}

/// Sends to each in turn: microseconds a message.
async fn spread(_: Ctx, sinks: Vec<RemoteAddr<Sink>>, effort: Effort) -> f64 {
    let data = Payload::from(&[7; 64][..]);
    let spent = effort.spend(async |count| {
        let begin = Instant::now();
        for (seq, sink) in (0..count).zip(sinks.iter().cycle()) {
            sink.do_send(Blob { seq, data: data.clone() });
            if seq % 16 == 0 {
                yield_now().await;
            }
        }
        let mut came = 0;
        for sink in &sinks {
            came += sink.send(Sum).within(PATIENCE).await.expect("it is answered").count;
        }
        assert_eq!(came, count);
        Ok::<_, Infallible>(begin.elapsed())
    });
    let Ok(spent) = spent.await;
    spent.micros()
}

remote_fn!("bench": crowd, spread);

const SINKS: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(60);
