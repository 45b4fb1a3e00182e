//! How fast pspawn is on this machine, next to what is possible at all, and next to Erlang.
//!
//! A workload is measured on up to three sides, each time in fresh OS processes:
//!
//! - **pspawn**, through its public doors as a user would write it, with default settings: a pool of two
//!   slaves, whose actors talk to each other while the master only waits;
//! - the **limit**: a plain tokio loop with the same codec and nothing around it ([`limit`]);
//! - **Erlang**, where there is one ([`erlang`]).
//!
//! The sides of one workload are next to each other in its file; Erlang's are the functions of the same
//! names in `bench.erl`.

mod ask;
mod beside;
mod crew;
mod erlang;
mod flat;
mod idle;
mod jobs;
mod kill;
mod limit;
mod local;
mod measure;
mod oneway;
mod pair;
mod placement;
mod rounds;
mod spawn;
mod table;

use std::io;

use futures::future::LocalBoxFuture;
use pspawn::Error;

pub(crate) use erlang::Erlang;
pub(crate) use flat::{Flat, flat, flat_table};
pub(crate) use limit::{Part, play};
pub(crate) use measure::Effort;
pub(crate) use rounds::{Rounds, Side, Watcher};
pub(crate) use table::{Row, table};

use erlang::Nodes;
use pair::Pair;

/// One thing to measure, and how on each side.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    unit: &'static str,
    /// In a few words.
    pub(crate) what: &'static str,
    /// Whether a smaller figure is the better one.
    less_is_better: bool,
    /// Of the pool that pspawn is measured on.
    slaves: usize,
    pspawn: Pspawn,
    limit: Option<Limit>,
    /// The nodes that Erlang is measured on.
    erlang: Option<Nodes>,
}

type Pspawn = fn(&Pair, Effort) -> LocalBoxFuture<'_, Result<f64, Error>>;

/// How the limit of a workload is found.
#[derive(Clone, Copy)]
enum Limit {
    /// By two OS processes and a socket between them.
    Wire { server: fn() -> limit::Server, client: WireClient },
    /// By an OS process that is killed.
    Killed { server: fn() -> limit::Server },
    /// By thinking.
    Computed(fn(Effort) -> f64),
    /// By tasks of one thread.
    Tasks(fn(Effort) -> LocalBoxFuture<'static, io::Result<f64>>),
}

type WireClient = fn(limit::Client, Effort) -> LocalBoxFuture<'static, io::Result<f64>>;

/// All of them, in the order of the table.
pub(crate) fn workloads() -> Vec<Workload> {
    let mut all = Vec::new();
    all.extend(oneway::workloads());
    all.extend(ask::workloads());
    all.extend(spawn::workloads());
    all.extend(placement::choices());
    all.extend(local::workloads());
    all.extend(idle::workloads());
    all.extend(kill::workloads());
    all.extend(placement::jobs());
    all.extend(beside::workloads());
    all
}
