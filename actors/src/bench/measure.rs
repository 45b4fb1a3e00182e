//! How long to measure, and what is made of several figures.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How much is done for one figure.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Effort {
    /// At least so long it warms up; that also tells how much fits into the time below.
    pub(super) warm: Duration,
    /// About so long it is measured.
    pub(super) long: Duration,
    /// So many idle processes are started.
    pub(super) idle: u64,
    /// So many nodes are killed.
    pub(super) kills: u32,
    /// So many jobs are run.
    pub(super) jobs: u32,
    /// So long a job takes on average.
    pub(super) job: Duration,
    /// So many messages flood a slow actor; a fifth of them where it is not they that are measured.
    pub(super) flood: u64,
    /// So many MiB are transferred beside questions.
    pub(super) transfer: u64,
    /// The most slaves, and the most actors, of the table that shows what stays flat.
    pub(super) slaves_max: usize,
    pub(super) actors_max: u64,
    /// So many questions are asked when nothing is beside them.
    pub(super) asks: u64,
}

impl Effort {
    /// For figures that mean something.
    pub(crate) const FULL: Effort = Effort {
        warm: Duration::from_millis(80),
        long: Duration::from_millis(600),
        idle: 200_000,
        kills: 3,
        jobs: 400,
        job: Duration::from_millis(20),
        flood: 1_000_000,
        transfer: 1024,
        asks: 5000,
        slaves_max: 16,
        actors_max: 1_000_000,
    };
    /// To see that it works.
    pub(crate) const QUICK: Effort = Effort {
        warm: Duration::from_millis(2),
        long: Duration::from_millis(20),
        idle: 20_000,
        kills: 1,
        jobs: 40,
        job: Duration::from_millis(2),
        flood: 5000,
        transfer: 32,
        asks: 100,
        slaves_max: 4,
        actors_max: 10_000,
    };

    /// Does more and more operations until the side is warm, and then as many as fit into the time.
    /// Gives what the last round gave, and how many operations that were.
    pub(super) async fn spend<E>(
        self,
        mut round: impl AsyncFnMut(u64) -> Result<Duration, E>,
    ) -> Result<Spent, E> {
        let mut count = COUNT_FIRST;
        loop {
            let took = round(count).await?;
            if took >= self.warm {
                let fits = count as f64 * self.long.as_secs_f64() / took.as_secs_f64();
                let count = (fits as u64).max(1);
                return Ok(Spent { count, took: round(count).await? });
            }
            count *= 3;
        }
    }

    /// Does one operation after the other likewise. Gives the median of what they took, in microseconds.
    pub(super) async fn median_micros<E>(
        self,
        mut once: impl AsyncFnMut(u64) -> Result<(), E>,
    ) -> Result<f64, E> {
        let mut micros = Vec::new();
        let spent = self.spend(async |count| {
            micros.clear();
            let begin = Instant::now();
            for seq in 0..count {
                let asked = Instant::now();
                once(seq).await?;
                micros.push(asked.elapsed().as_secs_f64() * 1e6);
            }
            Ok(begin.elapsed())
        });
        spent.await?;
        Ok(median(&micros))
    }
}

/// What a measurement took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    pub(super) count: u64,
    pub(super) took: Duration,
}

impl Spent {
    /// Operations a second.
    pub(super) fn rate(self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }

    /// Microseconds an operation.
    pub(super) fn micros(self) -> f64 {
        self.took.as_secs_f64() * 1e6 / self.count as f64
    }
}

/// The middle one, or the mean of the two in the middle.
///
/// # Panics
/// If there is none.
pub(super) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// Only one in a hundred is greater.
///
/// # Panics
/// If there is none.
pub(super) fn percentile_99(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = (figures.len() as f64 * 0.99).ceil() as usize;
    figures[at.saturating_sub(1)]
}

/// The widest distance of a figure from the median, as a part of it.
pub(super) fn spread(figures: &[f64]) -> f64 {
    let middle = median(figures);
    figures.iter().map(|figure| (figure - middle).abs() / middle).fold(0.0, f64::max)
}

const COUNT_FIRST: u64 = 32;
