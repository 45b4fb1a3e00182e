//! Messages one way: how many of a given size arrive.
//!
//! Each carries a number and bytes. Whoever gets them looks at both; the clock stops when the receiver has
//! said that it has had them all.

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
use super::{Limit, Workload};

pub(super) fn workloads() -> [Workload; 4] {
    let of = |name, what, pspawn, client, unit| {
        let limit = Some(Limit::Wire { server, client });
        let erlang = Some(Nodes::Pair);
        Workload { name, unit, what, less_is_better: false, slaves: 2, pspawn, limit, erlang }
    };
    [
        of(
            "oneway_64",
            "messages of 64 B, one way",
            |pair, effort| Box::pin(messages(pair, 64, effort)),
            |wire, effort| Box::pin(limit_messages(wire, 64, effort)),
            "messages/s",
        ),
        of(
            "oneway_1k",
            "messages of 1 KiB, one way",
            |pair, effort| Box::pin(messages(pair, 1 << 10, effort)),
            |wire, effort| Box::pin(limit_messages(wire, 1 << 10, effort)),
            "messages/s",
        ),
        of(
            "oneway_64k",
            "messages of 64 KiB, one way",
            |pair, effort| Box::pin(megabytes(pair, 64 << 10, effort)),
            |wire, effort| Box::pin(limit_megabytes(wire, 64 << 10, effort)),
            "MB/s",
        ),
        of(
            "oneway_1m",
            "messages of 1 MiB, one way",
            |pair, effort| Box::pin(megabytes(pair, 1 << 20, effort)),
            |wire, effort| Box::pin(limit_megabytes(wire, 1 << 20, effort)),
            "MB/s",
        ),
    ]
}

/// What is sent.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub(super) struct Blob {
    pub(super) seq: u64,
    pub(super) data: Payload,
}

/// Is answered with what has come so far.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "Total")]
pub(super) struct Sum;

/// What a receiver has had, and a sum of what it saw of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Total {
    pub(super) count: u64,
    check: u64,
}

impl Total {
    fn take(&mut self, seq: u64, data: &[u8]) {
        let ends = [data.first(), data.last()].map(|byte| u64::from(byte.copied().unwrap_or(0)));
        self.count += 1;
        self.check = self.check.wrapping_add(seq ^ ends[0] ^ ends[1] ^ data.len() as u64);
    }
}

// pspawn

async fn messages(pair: &Pair, size: usize, effort: Effort) -> Result<f64, Error> {
    let sink = pair.pool.spawn_on::<Sink>(pair.far, ()).await?;
    pair.near("source", (sink, size, effort)).await
}

async fn megabytes(pair: &Pair, size: usize, effort: Effort) -> Result<f64, Error> {
    Ok(messages(pair, size, effort).await? * size as f64 / 1e6)
}

/// The actor that takes them.
#[derive(Default)]
pub(super) struct Sink {
    total: Total,
}

impl Actor for Sink {
    type Context = Context<Self>;
}

impl Handler<Blob> for Sink {
    type Result = ();

    fn handle(&mut self, Blob { seq, data }: Blob, _: &mut Context<Self>) {
        self.total.take(seq, &data);
    }
}

impl Handler<Sum> for Sink {
    type Result = MessageResult<Sum>;

    fn handle(&mut self, Sum: Sum, _: &mut Context<Self>) -> MessageResult<Sum> {
        MessageResult(std::mem::take(&mut self.total))
    }
}

remote_actor!(Sink as "bench_sink", new() = Sink::default(), handles[Blob, Sum]);

/// The process that sends them, and gives how many a second it were.
async fn source(_: Ctx, sink: RemoteAddr<Sink>, size: usize, effort: Effort) -> f64 {
    let data = Payload::from(vec![7; size]);
    let spent = effort.spend(async |count| {
        let mut sent = Total::default();
        let begin = Instant::now();
        for seq in 0..count {
            sent.take(seq, &data);
            sink.do_send(Blob { seq, data: data.clone() });
            if seq % 16 == 0 || size > 4 << 10 {
                yield_now().await;
            }
        }
        let came = sink.send(Sum).within(Duration::from_secs(60)).await;
        assert_eq!(came.as_ref(), Ok(&sent));
        Ok::<_, Infallible>(begin.elapsed())
    });
    let Ok(spent) = spent.await;
    spent.rate()
}

remote_fn!("bench": source);

// the limit

/// The same, borrowed from the buffer that it is encoded from or was read into.
#[derive(Serialize, Deserialize)]
struct BlobRef<'a> {
    seq: u64,
    #[serde(borrow, with = "serde_bytes")]
    data: &'a [u8],
}

/// Asks for the sum.
const SUM: BlobRef<'_> = BlobRef { seq: u64::MAX, data: &[] };

fn server() -> Server {
    let mut total = Total::default();
    Server::new(move |frame, answers| {
        let BlobRef { seq, data } = decode(frame)?;
        if seq == SUM.seq {
            answers.put(&std::mem::take(&mut total))
        } else {
            total.take(seq, data);
            Ok(())
        }
    })
}

async fn limit_messages(mut wire: Client, size: usize, effort: Effort) -> io::Result<f64> {
    let data = vec![7; size];
    let spent = effort.spend(async |count| {
        let mut sent = Total::default();
        let begin = Instant::now();
        for seq in 0..count {
            sent.take(seq, &data);
            wire.put(&BlobRef { seq, data: &data })?;
            if wire.waiting() >= BATCH_BYTES {
                wire.flush().await?;
            }
        }
        wire.put(&SUM)?;
        wire.flush().await?;
        wire.read(|frame, _| {
            assert_eq!(decode::<Total>(frame)?, sent);
            Ok(())
        })
        .await?;
        Ok::<_, io::Error>(begin.elapsed())
    });
    Ok(spent.await?.rate())
}

async fn limit_megabytes(wire: Client, size: usize, effort: Effort) -> io::Result<f64> {
    Ok(limit_messages(wire, size, effort).await? * size as f64 / 1e6)
}

const BATCH_BYTES: usize = 512 << 10;
