//! The parts that every message passes through, each alone: `cargo bench --bench parts`. The codec, the queue of
//! a mailbox, and the decisions about questions, flow, links and where a child begins.
#![allow(missing_docs, reason = "criterion's macros make functions without them")]

// The library's own files, as they are.
#[path = "../src/cookie.rs"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod cookie;
#[path = "../src/core"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod core {
    pub(crate) mod balance;
    pub(crate) mod calls;
    pub(crate) mod flow;
    pub(crate) mod life;
    pub(crate) mod mutant;
}
#[path = "../src/message.rs"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod message;
#[path = "../src/node"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod node {
    pub(crate) mod parcel;
    pub(crate) mod queue;
}
#[path = "../src/payload.rs"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod payload;
#[path = "../src/term/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod term;
#[path = "../src/wire/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod wire;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};

use crate::core::balance::{Crew, begins_here};
use crate::core::calls::Calls;
use crate::core::flow::Inflow;
use crate::core::life::Life;
use crate::node::parcel::{Parcel, RunOf};
use crate::node::queue::Queue;
use crate::payload::Payload;
use crate::term::{ExitReason, Incarnation, NodeName, Pid};
use crate::wire::{
    Body, Cut, Draft, Head, PREFIX_BYTES, cut, encode, frame, from_bytes, read_body,
};

#[derive(Serialize, Deserialize)]
struct Small {
    seq: u64,
    data: Payload,
}

/// A frame into the buffer of a connection, and out of what was read.
fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(MANY));
    let data = Payload::from(&[7; 64][..]);
    let write = |out: &mut Draft| {
        for seq in 0..MANY {
            let small = Small { seq, data: data.clone() };
            let head = Head::Message { to: 7, kind: 3 };
            let put = frame(out, usize::MAX, head, |out| encode(&small, out));
            put.expect("it can be encoded").expect("it is short");
        }
    };
    let mut out = Draft::default();
    group.bench_function("frames of 64 B, encoded", |bencher| {
        bencher.iter(|| {
            out.own.clear();
            write(black_box(&mut out));
        });
    });
    out.own.clear();
    write(&mut out);
    group.bench_function("frames of 64 B, decoded", |bencher| {
        bencher.iter(|| {
            let (mut rest, mut sum) = (black_box(&out.own[..]), 0);
            while let Ok(Cut::Whole(bytes)) = cut(rest, usize::MAX) {
                let body = read_body(&rest[PREFIX_BYTES..bytes]).expect("it was written here");
                let Body::Letter { payload, .. } = body else { unreachable!("all are letters") };
                sum += from_bytes::<Small>(payload).expect("it was written here").seq;
                rest = &rest[bytes..];
            }
            assert_eq!(sum, MANY * (MANY - 1) / 2);
        });
    });
    group.finish();
}

/// Messages of this node into a mailbox, where those of one type share a box, and out again.
fn mailbox(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    group.throughput(Throughput::Elements(MANY));
    group.bench_function("messages in and out", |bencher| {
        let mut queue: Queue<RunOf<u64>> = Queue::default();
        let mut taken = std::collections::VecDeque::new();
        bencher.iter(|| {
            for number in 0..MANY {
                let mut content = Some(number);
                let parcel = Parcel::message(1, &mut content);
                if !queue.last().is_some_and(|run| run.take_in(parcel.content)) {
                    queue.put_parcel(RunOf::take(&mut content).expect("a number"));
                }
            }
            let mut sum = 0;
            queue.swap(&mut taken);
            while let Some(mut run) = taken.pop_front() {
                while let Some(number) = run.pop() {
                    sum += number;
                }
            }
            assert_eq!(sum, MANY * (MANY - 1) / 2);
        });
    });
    group.finish();
}

/// What is decided for each question, each batch, each link, each child.
fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    for open in [0, 1024, 100_000] {
        let mut calls = Calls::new();
        let deadline = Duration::from_secs(5);
        for waiter in 0..open {
            calls.open(Some(1), deadline, waiter);
        }
        group.bench_function(format!("a question beside {open}"), |bencher| {
            bencher.iter(|| {
                let (question, _) = calls.open(Some(1), black_box(deadline), 0);
                assert_eq!(calls.close(question), Some(0));
            });
        });
    }
    group.bench_function("a batch comes and goes", |bencher| {
        let mut inflow = Inflow::default();
        bencher.iter(|| (inflow.came(black_box(4096)), inflow.went(black_box(4096))));
    });
    let node: NodeName = "bench@here".parse().expect("a name");
    let pid = |number| Pid::new(node, Incarnation(1), number);
    group.bench_function("a life with a link, to its end", |bencher| {
        bencher.iter(|| {
            let (mut life, mut out) = (Life::new(pid(1)), Vec::new());
            life.link(black_box(pid(2)), &mut out);
            black_box(life.end(ExitReason::Normal, &mut out))
        });
    });
    group.bench_function("where a child begins", |bencher| {
        let crew = |living| Crew { living, busy: 1 };
        bencher.iter(|| begins_here(black_box(crew(100)), black_box(crew(90))));
    });
    group.finish();
}

const MANY: u64 = 1000;

criterion_group! {
    name = parts;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = codec, mailbox, decisions
}
criterion_main!(parts);
