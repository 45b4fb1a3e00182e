//! The rounds: every workload on every side in turn, again and again, so that what else the machine does meets all of
//! them alike.

use std::fmt::{self, Display};

use pspawn::Error;

use super::measure::{median, spread};
use super::pair::Pair;
use super::table::{Figure, Row};
use super::{Effort, Erlang, Workload, limit};

/// What is to be run.
pub(crate) struct Rounds {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: usize,
    pub(crate) effort: Effort,
    /// None if there is none here.
    pub(crate) erlang: Option<Erlang>,
}

/// Is told what happens.
pub(crate) trait Watcher {
    /// The next measurement begins: the workload's name and the side's.
    fn begins(&mut self, workload: &str, side: Side);
    /// It gave no figure, twice: the round has none.
    fn failed(&mut self, why: &str);
    /// It is over.
    fn ended(&mut self);
}

/// Whose figures they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Pspawn,
    Limit,
    Erlang,
}

impl Rounds {
    /// How many measurements there will be.
    pub(crate) fn measurements(&self) -> u64 {
        let sides = self.workloads.iter().map(|workload| self.sides(workload).count());
        (sides.sum::<usize>() * self.rounds) as u64
    }

    /// Runs all, and gives a row for each workload.
    ///
    /// # Errors
    /// The first that goes wrong, with the workload and the side; what goes wrong with Erlang is only told.
    pub(crate) async fn run(&self, watcher: &mut impl Watcher) -> Result<Vec<Row>, Error> {
        let mut figures = vec![[const { Vec::new() }; SIDES.len()]; self.workloads.len()];
        for round in 0..self.rounds {
            for (workload, figures) in self.workloads.iter().zip(&mut figures) {
                let mut sides: Vec<Side> = self.sides(workload).collect();
                let first = round % sides.len();
                sides.rotate_left(first); // each is first in its turn
                for side in sides {
                    watcher.begins(workload.name, side);
                    let mut figure = self.measure(workload, side).await;
                    // An Erlang that stands still now and then costs none of the other figures.
                    if side == Side::Erlang && figure.is_err() {
                        figure = self.measure(workload, side).await;
                    }
                    let figure =
                        figure.map_err(|why| format!("{} of {side}: {why}", workload.name));
                    match figure {
                        Ok(figure) => figures[side as usize].push(figure),
                        Err(why) if side == Side::Erlang => watcher.failed(&why),
                        Err(why) => return Err(why.into()),
                    }
                    watcher.ended();
                }
            }
        }
        let rows = self.workloads.iter().zip(&figures);
        Ok(rows.map(|(workload, figures)| row(workload, figures)).collect())
    }

    /// Those that a workload has.
    fn sides(&self, workload: &Workload) -> impl Iterator<Item = Side> + use<> {
        let has_limit = workload.limit.is_some();
        let has_erlang = workload.erlang.is_some() && self.erlang.is_some();
        SIDES.into_iter().filter(move |side| match side {
            Side::Pspawn => true,
            Side::Limit => has_limit,
            Side::Erlang => has_erlang,
        })
    }

    async fn measure(&self, workload: &Workload, side: Side) -> Result<f64, Error> {
        match (side, workload.limit, workload.erlang, &self.erlang) {
            (Side::Limit, Some(limit), ..) => {
                limit::measure(workload.name, limit, self.effort).await
            }
            (Side::Erlang, _, Some(nodes), Some(erlang)) => {
                erlang.measure(workload.name, nodes, self.effort).await
            }
            (Side::Pspawn | Side::Limit | Side::Erlang, ..) => {
                Pair::with(workload.slaves, async |pair| (workload.pspawn)(pair, self.effort).await)
                    .await
            }
        }
    }
}

fn row(workload: &Workload, figures: &[Vec<f64>; SIDES.len()]) -> Row {
    let figure = |side: Side| {
        let figures = &figures[side as usize];
        let any = !figures.is_empty();
        any.then(|| Figure { median: median(figures), spread: spread(figures) })
    };
    Row {
        name: workload.name,
        unit: workload.unit,
        less_is_better: workload.less_is_better,
        pspawn: figure(Side::Pspawn),
        limit: figure(Side::Limit),
        erlang: figure(Side::Erlang),
    }
}

impl Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Pspawn => "pspawn",
            Side::Limit => "the limit",
            Side::Erlang => "Erlang",
        })
    }
}

const SIDES: [Side; 3] = [Side::Pspawn, Side::Limit, Side::Erlang];
