//! The rounds: every workload on every side in turn, again and again, so that what else the machine does meets all of
//! them alike.

use pspawn::Error;

use super::measure::{median, spread};
use super::pair::Pair;
use super::table::{Figure, Row};
use super::{Effort, Workload, limit};

/// What is to be run.
pub(crate) struct Rounds {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: usize,
    pub(crate) effort: Effort,
}

/// Is told what happens.
pub(crate) trait Watcher {
    /// The next measurement begins: the workload's name and the side's.
    fn begins(&mut self, workload: &str, side: &str);
    /// It is over.
    fn ended(&mut self);
}

impl Rounds {
    /// How many measurements there will be.
    pub(crate) fn measurements(&self) -> u64 {
        (self.workloads.len() * self.rounds * SIDES.len()) as u64
    }

    /// Runs all, and gives a row for each workload.
    ///
    /// # Errors
    /// The first that goes wrong, with the workload and the side.
    pub(crate) async fn run(&self, watcher: &mut impl Watcher) -> Result<Vec<Row>, Error> {
        let mut figures = vec![[const { Vec::new() }; SIDES.len()]; self.workloads.len()];
        for round in 0..self.rounds {
            for (workload, figures) in self.workloads.iter().zip(&mut figures) {
                for at in 0..SIDES.len() {
                    // Each is first in its turn.
                    let at = (at + round) % SIDES.len();
                    watcher.begins(workload.name, SIDES[at].0);
                    let measured = (SIDES[at].1)(workload, self.effort).await;
                    figures[at].push(
                        measured.map_err(|why| {
                            format!("{} of {}: {why}", workload.name, SIDES[at].0)
                        })?,
                    );
                    watcher.ended();
                }
            }
        }
        let rows = self.workloads.iter().zip(figures);
        Ok(rows.map(|(workload, [pspawn, limit])| row(workload, &pspawn, &limit)).collect())
    }
}

fn row(workload: &Workload, pspawn: &[f64], limit: &[f64]) -> Row {
    let figure = |figures: &[f64]| {
        let any = !figures.is_empty();
        any.then(|| Figure { median: median(figures), spread: spread(figures) })
    };
    Row {
        name: workload.name,
        unit: workload.unit,
        what: workload.what,
        less_is_better: workload.less_is_better,
        pspawn: figure(pspawn),
        limit: figure(limit),
        erlang: None,
    }
}

type Side =
    for<'a> fn(&'a Workload, Effort) -> futures::future::LocalBoxFuture<'a, Result<f64, Error>>;

/// The sides, by name.
const SIDES: [(&str, Side); 2] = [
    ("pspawn", |workload, effort| Box::pin(on_pspawn(workload, effort))),
    ("limit", |workload, effort| Box::pin(limit::measure(workload, effort))),
];

async fn on_pspawn(workload: &Workload, effort: Effort) -> Result<f64, Error> {
    let pair = Pair::start().await?;
    let measured = (workload.pspawn)(&pair, effort).await;
    let stopped = pair.pool.stop().await;
    let measured = measured?; // the first thing that went wrong
    stopped?;
    Ok(measured)
}
