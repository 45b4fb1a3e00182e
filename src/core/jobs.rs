//! Jobs: how long they keep a core, and how many will have ended since a node was last heard.

use std::time::Duration;

/// How long a job of this node keeps a core, in the mean.
///
/// JB-1: it is the time that cores had work, divided by how many jobs ended in it; and a job has
/// ended when it is in no count of work any more: as many as were accepted, less what there is more
/// to do than before. What an actor takes for its messages comes and goes, and cancels out.
#[derive(Debug, Default)]
pub(crate) struct JobLength {
    seen: Option<Seen>,
    /// Seconds of cores that had work, and jobs that ended: both fade.
    busy: f64,
    ended: f64,
}

#[derive(Debug)]
struct Seen {
    at: Duration,
    work: u32,
    cores: u32,
    accepted: u64,
}

impl JobLength {
    /// Takes a look at the node into account: what there is to do, on how many cores.
    pub(crate) fn look(&mut self, now: Duration, work: u32, cores: u32, accepted: u64) {
        if let Some(seen) = &self.seen {
            let passed = now.saturating_sub(seen.at).as_secs_f64();
            let kept = 0.5_f64.powf(passed / HALF_LIFE.as_secs_f64());
            let came = accepted.saturating_sub(seen.accepted) as f64;
            self.busy = self.busy * kept + f64::from(seen.work.min(seen.cores)) * passed;
            self.ended = self.ended * kept + came + f64::from(seen.work) - f64::from(work);
        }
        self.seen = Some(Seen { at: now, work, cores, accepted });
    }

    /// The mean in seconds; 0 while too few have ended to tell.
    pub(crate) fn seconds(&self) -> f32 {
        if self.ended < ENDED_MIN { 0.0 } else { (self.busy / self.ended) as f32 }
    }
}

/// After which what ended weighs half.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// As many must have ended lately for a mean. Fewer say no more than that jobs are long, and then
/// nothing ends between two reports.
const ENDED_MIN: f64 = 8.0;

/// A clock that counts in job lengths, and what is left of a load by it.
///
/// JB-2: of a load above one a core, one job a core ends each job length; of one below, each of them
/// does with its own chance. That is the mean of what happens where many jobs are of chance length.
/// Two loads never change order by it, so that who is the least loaded is known without counting
/// down anybody: a load is kept as the moment at which it will be one a core.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain {
    /// In job lengths since it began.
    elapsed: f64,
    at: Duration,
    /// Seconds a job.
    job: Option<f64>,
}

impl Drain {
    /// Lets the clock run until now.
    pub(super) fn advance(&mut self, now: Duration) {
        if let Some(job) = self.job {
            self.elapsed += now.saturating_sub(self.at).as_secs_f64() / job;
        }
        self.at = self.at.max(now);
    }

    /// From now on a job is that long; none is unknown, and then nothing is counted down.
    pub(super) fn set_job(&mut self, seconds: Option<f64>) {
        self.job = seconds.map(|seconds| seconds.max(JOB_MIN));
    }

    pub(super) fn job(&self) -> Option<f64> {
        self.job
    }

    /// When a load will be one a core; long ago if it is less.
    pub(super) fn moment(&self, load: f64) -> f64 {
        self.elapsed + if load >= 1.0 { load - 1.0 } else { load.ln() }
    }

    /// What is left of the load that is one a core at this moment.
    pub(super) fn left(&self, moment: f64) -> f64 {
        let ahead = moment - self.elapsed;
        if ahead >= 0.0 { 1.0 + ahead } else { ahead.exp() }
    }
}

/// Shorter jobs are counted as this long, in seconds.
const JOB_MIN: f64 = 10e-6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_busy_time_by_what_ended() {
        let mut length = JobLength::default();
        assert_eq!(length.seconds(), 0.0, "nothing known");
        // Two cores with work all the time, one job accepted and one ended each millisecond.
        for at in 0..5_000 {
            length.look(ms(at), 2, 4, at);
        }
        assert!((length.seconds() - 0.002).abs() < 1e-5, "JB-1: {}", length.seconds());
    }

    #[test]
    fn what_only_runs_and_what_comes_and_goes_ends_nothing() {
        let mut length = JobLength::default();
        for at in 0..5_000 {
            length.look(ms(at), 3 + u32::from(at % 3 == 0), 4, 0);
        }
        assert_eq!(length.seconds(), 0.0, "JB-1");
    }

    #[test]
    fn a_load_drains_to_one_a_core_and_then_fades() {
        let mut drain = Drain::default();
        drain.set_job(Some(0.1));
        let (long, short) = (drain.moment(3.0), drain.moment(0.5));
        assert_eq!(drain.left(long), 3.0);
        assert!((drain.left(short) - 0.5).abs() < 1e-12);
        drain.advance(ms(200));
        assert!((drain.left(long) - 1.0).abs() < 1e-9, "JB-2: two job lengths");
        drain.advance(ms(300));
        let e = (-1.0_f64).exp();
        assert!((drain.left(long) - e).abs() < 1e-9, "JB-2: one more");
        assert!(drain.left(drain.moment(0.0)) == 0.0);
    }

    #[test]
    fn nothing_is_counted_down_while_nothing_is_known_of_jobs_nor_if_time_goes_back() {
        let mut drain = Drain::default();
        let moment = drain.moment(2.0);
        drain.advance(ms(5_000));
        assert_eq!(drain.left(moment), 2.0);
        drain.set_job(Some(1.0));
        drain.advance(ms(4_000));
        assert_eq!(drain.left(moment), 2.0);
    }

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }
}
