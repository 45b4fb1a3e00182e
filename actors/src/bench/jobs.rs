//! Jobs for the pool: the same list on every side, of lengths that differ as those of real ones do: most are
//! short, and some take a hundred times as long.

use std::fmt::Write;
use std::time::Duration;

use super::Effort;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// How long it takes.
    pub(super) takes: Duration,
    /// When it comes, if they are paced: so long after the beginning.
    pub(super) comes: Duration,
}

/// Those of one measurement, for a pool of so many slots.
pub(super) fn all(effort: Effort, slots: usize) -> Vec<Job> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let lengths: Vec<f64> = (0..effort.jobs)
        .map(|_| (1.0 - random.next()).powf(-1.0 / SHAPE).min(LENGTH_MAX))
        .collect();
    let mean = lengths.iter().sum::<f64>() / lengths.len() as f64;
    let gap = effort.job.as_secs_f64() / (slots as f64 * USED);
    let mut comes = 0.0;
    let jobs = lengths.into_iter().map(|length| {
        let job =
            Job { takes: effort.job.mul_f64(length / mean), comes: Duration::from_secs_f64(comes) };
        comes -= gap * (1.0 - random.next()).ln();
        job
    });
    jobs.collect()
}

/// A line each: how long it takes and when it comes, in microseconds.
pub(super) fn as_text(effort: Effort, slots: usize) -> String {
    all(effort, slots).iter().fold(String::new(), |mut text, Job { takes, comes }| {
        let _ = writeln!(text, "{} {}", takes.as_micros(), comes.as_micros()); // a string takes all
        text
    })
}

/// Numbers from 0 to 1, the same in every run: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Of Pareto's distribution.
const SHAPE: f64 = 1.3;
/// In lengths of the shortest.
const LENGTH_MAX: f64 = 200.0;
/// The part of its slots that a paced pool uses.
const USED: f64 = 0.7;
