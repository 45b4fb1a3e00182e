//! Load: counts what this node has to do, and asks the OS what else its CPUs have to do.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::thread::available_parallelism;
use std::time::Duration;

use crate::core::jobs::JobLength;
use crate::term::LoadReport;

/// What an arbiter has to do: actors that wait for it, and the one that it runs.
///
/// LD-1: every [`woken`](RunQueue::woken) and [`woken_here`](RunQueue::woken_here) is followed by exactly one of
/// [`poll_started(true)`](RunQueue::poll_started) and
/// [`dropped_while_queued`](RunQueue::dropped_while_queued); the caller's flag "queued" sees to
/// that. Then both counts are exact at rest; in between another thread may see them one off.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    /// Those who are runnable are the sum of what the arbiter's own thread has counted, and of what all have.
    runnable_here: AtomicI64,
    runnable: AtomicI64,
    running: AtomicI64,
    stuck: AtomicBool,
    /// Actors that have begun there.
    living: AtomicI64,
}

impl RunQueue {
    /// One more, or one less, lives there.
    pub(crate) fn lives(&self, more: i64) {
        add(&self.living, more);
    }

    pub(crate) fn living(&self) -> u32 {
        count(&self.living)
    }

    /// An actor that was not queued is.
    pub(crate) fn woken(&self) {
        self.runnable.fetch_add(1, Relaxed);
    }

    /// The same, on the arbiter's own thread.
    pub(crate) fn woken_here(&self) {
        add(&self.runnable_here, 1);
    }

    /// An actor is being run; it need not have been queued, a runtime may poll for no reason.
    pub(crate) fn poll_started(&self, was_queued: bool) {
        add(&self.runnable_here, -i64::from(was_queued));
        add(&self.running, 1);
    }

    /// Its turn is over, or it panicked.
    pub(crate) fn poll_ended(&self) {
        add(&self.running, -1);
    }

    /// An actor that was queued is gone.
    pub(crate) fn dropped_while_queued(&self) {
        self.runnable.fetch_sub(1, Relaxed);
    }

    /// Runnable and not running: Erlang's `statistics(run_queue)`.
    pub(crate) fn len(&self) -> u32 {
        at_least_0(self.runnable_here.load(Relaxed) + self.runnable.load(Relaxed))
    }

    pub(crate) fn running(&self) -> u32 {
        count(&self.running)
    }

    /// The actor that is being run waits, and its thread with it; or does so no longer.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Relaxed);
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Relaxed)
    }
}

/// What the blocking pool has to do.
///
/// LD-2: every [`queued`](Blocking::queued) is followed by one of [`started`](Blocking::started)
/// and [`dropped_while_queued`](Blocking::dropped_while_queued), every `started` by
/// [`ended`](Blocking::ended).
#[derive(Debug, Default)]
pub(crate) struct Blocking {
    queued: AtomicI64,
    running: AtomicI64,
}

impl Blocking {
    /// A job waits for a thread.
    pub(crate) fn queued(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    /// A thread has taken it.
    pub(crate) fn started(&self) {
        self.queued.fetch_sub(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
    }

    /// It has returned, or panicked.
    pub(crate) fn ended(&self) {
        self.running.fetch_sub(1, Relaxed);
    }

    /// It was given up before a thread took it.
    pub(crate) fn dropped_while_queued(&self) {
        self.queued.fetch_sub(1, Relaxed);
    }

    /// Queued or running. One that only sleeps counts too: nothing tells it from the others.
    pub(crate) fn len(&self) -> u32 {
        count(&self.queued).saturating_add(count(&self.running))
    }
}

/// Puts the node's load report together.
#[derive(Debug)]
pub(crate) struct Sampler {
    queues: Vec<Arc<RunQueue>>,
    blocking: Arc<Blocking>,
    cores: u32,
    jobs: JobLength,
    os: OsLoad,
    /// When to ask the OS again.
    os_due: Duration,
}

impl Sampler {
    /// A sampler over all arbiters of the node and its blocking pool.
    pub(crate) fn new(queues: Vec<Arc<RunQueue>>, blocking: Arc<Blocking>) -> Sampler {
        // Honours the affinity mask and the quota of the cgroup.
        let cores = available_parallelism().map_or(1, |cores| clamped(cores.get()));
        let os = OsLoad::new(f64::from(cores) / f64::from(host_cores().unwrap_or(cores)));
        Sampler { queues, blocking, cores, jobs: JobLength::default(), os, os_due: Duration::ZERO }
    }

    /// A look at a moment that nothing in particular has led to: it learns how long jobs are (JB-1), and asks the OS if that is
    /// due, for which files are read.
    pub(crate) fn look(&mut self, now: Duration, accepted: u64) -> LoadReport {
        if now >= self.os_due {
            let reading = OsReading::take();
            // A thread costs some 10 us to look at: with hundreds of them look less often, so that
            // looking stays at about one percent of a core.
            let threads = reading.as_ref().map_or(0, |reading| clamped(reading.run_delays.len()));
            self.os_due = now + OS_INTERVAL + OS_INTERVAL * threads / 100;
            self.os.take_in(reading, now);
        }
        let mut report = self.sample(accepted);
        self.jobs.look(now, report.counted(), self.cores, accepted);
        report.job = self.jobs.seconds();
        report
    }

    /// The load at this moment, with what was known at the last look of all that takes longer to know.
    pub(crate) fn sample(&self, accepted: u64) -> LoadReport {
        let sum = |figure: fn(&RunQueue) -> u32| {
            self.queues.iter().fold(0, |sum: u32, queue| sum.saturating_add(figure(queue)))
        };
        LoadReport {
            runnable: sum(RunQueue::len),
            running: sum(RunQueue::running),
            blocking: self.blocking.len(),
            delayed: self.os.delayed.value as f32,
            foreign: self.os.foreign.value as f32,
            cores: self.cores,
            accepted,
            job: self.jobs.seconds(),
            prompt: false,
        }
    }
}

/// What the OS says of the CPUs, smoothed; all zero where it says nothing.
#[derive(Debug)]
struct OsLoad {
    delayed: Smooth,
    foreign: Smooth,
    /// The part of the host's cores that we may use.
    share: f64,
    /// When the last reading was, and each thread's run delay then.
    last: Option<(Duration, HashMap<u32, Duration>)>,
}

impl OsLoad {
    fn new(share: f64) -> OsLoad {
        OsLoad { delayed: Smooth::default(), foreign: Smooth::default(), share, last: None }
    }

    fn take_in(&mut self, reading: Option<OsReading>, now: Duration) {
        let Some(reading) = reading else {
            *self = OsLoad::new(self.share);
            return;
        };
        if let Some((then, before)) = &self.last {
            // A thread that is new has waited since it began; one that has ended says nothing.
            let waited = |(thread, delay): (&u32, &Duration)| {
                delay.saturating_sub(before.get(thread).copied().unwrap_or_default())
            };
            let waited: Duration = reading.run_delays.iter().map(waited).sum();
            let passed = now.saturating_sub(*then);
            if !passed.is_zero() {
                self.delayed.take_in(waited.as_secs_f64() / passed.as_secs_f64(), now);
            }
        }
        // The host counts the threads of all its cores. Where we may use but a part of them, only
        // that part of the others' threads is in our way.
        let foreign = reading.host_runnable.saturating_sub(reading.own_runnable);
        self.foreign.take_in(f64::from(foreign) * self.share, now);
        self.last = Some((now, reading.run_delays));
    }
}

/// A mean in which a sample weighs half as much each [`HALF_LIFE`].
///
/// LD-3: never below half of the last sample, so that a burst shows at once.
#[derive(Debug, Default)]
struct Smooth {
    value: f64,
    at: Option<Duration>,
}

impl Smooth {
    fn take_in(&mut self, raw: f64, now: Duration) {
        let kept = self.at.map_or(0.0, |at| {
            let lives = now.saturating_sub(at).as_secs_f64() / HALF_LIFE.as_secs_f64();
            0.5_f64.powf(lives)
        });
        let mean = raw + (self.value - raw) * kept;
        self.value = mean.max(raw / 2.0);
        self.at = Some(now);
    }
}

/// What the files of `/proc` say at one moment.
#[derive(Debug, Default)]
struct OsReading {
    /// Threads of the whole host that run or want to run: ours too.
    host_runnable: u32,
    /// Ours of these, the one that reads among them.
    own_runnable: u32,
    /// How long each of our threads has ever waited for a CPU.
    run_delays: HashMap<u32, Duration>,
}

impl OsReading {
    fn take() -> Option<OsReading> {
        let host_runnable = host_runnable(&fs::read_to_string("/proc/loadavg").ok()?)?;
        let mut reading = OsReading { host_runnable, ..OsReading::default() };
        for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
            let file = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            // A thread may end while we read; a kernel may keep no schedstat.
            reading.own_runnable += u32::from(is_runnable(&file("stat")));
            let thread = task.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(thread), Some(delay)) = (thread, run_delay(&file("schedstat"))) {
                reading.run_delays.insert(thread, delay);
            }
        }
        Some(reading)
    }
}

/// The host's cores, also those that we may not use.
fn host_cores() -> Option<u32> {
    cores_in(&fs::read_to_string("/sys/devices/system/cpu/online").ok()?)
}

/// `0.26 0.14 0.06 1/85 4248`: one runnable thread of 85.
fn host_runnable(loadavg: &str) -> Option<u32> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.0.parse().ok()
}

/// `4325 (name) R 4324 …`: the name may hold anything, also blanks and brackets.
fn is_runnable(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('R'))
}

/// `573024 137944 4`: nanoseconds on a CPU, nanoseconds waiting for one, time slices.
fn run_delay(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// `0-3,8,10-11`: seven cores.
fn cores_in(ranges: &str) -> Option<u32> {
    let mut cores = 0_u32;
    for range in ranges.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        cores = cores.checked_add(last.checked_sub(first)?)?.checked_add(1)?;
    }
    Some(cores)
}

/// What only the arbiter's own thread counts.
fn add(counter: &AtomicI64, more: i64) {
    counter.store(counter.load(Relaxed) + more, Relaxed);
}

fn count(counter: &AtomicI64) -> u32 {
    at_least_0(counter.load(Relaxed))
}

fn at_least_0(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}

fn clamped(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Between two looks at the OS files, at least.
const OS_INTERVAL: Duration = Duration::from_millis(100);

/// After which a sample weighs half.
const HALF_LIFE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_counts_as_runnable_then_as_running_then_not_at_all() {
        let queue = RunQueue::default();
        let counts = || (queue.len(), queue.running());
        queue.woken();
        queue.woken_here();
        assert_eq!(counts(), (2, 0));
        queue.poll_started(true);
        assert_eq!(counts(), (1, 1));
        queue.dropped_while_queued();
        queue.poll_ended();
        assert_eq!(counts(), (0, 0), "LD-1");
        queue.poll_started(false);
        assert_eq!(counts(), (0, 1), "LD-1: polled for no reason");
        queue.poll_ended();
        assert_eq!(counts(), (0, 0));
    }

    #[test]
    fn a_blocking_job_counts_while_it_waits_and_while_it_runs() {
        let blocking = Blocking::default();
        blocking.queued();
        blocking.queued();
        blocking.started();
        assert_eq!(blocking.len(), 2);
        blocking.ended();
        blocking.dropped_while_queued();
        assert_eq!(blocking.len(), 0, "LD-2");
    }

    #[test]
    fn counts_that_another_thread_sees_in_between_are_never_negative() {
        let queue = RunQueue::default();
        queue.dropped_while_queued();
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_sample_sums_up_all_arbiters() {
        let queues: Vec<Arc<RunQueue>> = (0..3).map(|_| Arc::default()).collect();
        let blocking = Arc::new(Blocking::default());
        let mut sampler = Sampler::new(queues.clone(), blocking.clone());
        for queue in &queues {
            queue.woken();
            queue.woken();
            queue.poll_started(true);
        }
        blocking.queued();
        let report = sampler.look(ms(0), 7);
        assert_eq!((report.runnable, report.running, report.blocking), (3, 3, 1));
        assert_eq!(report.accepted, 7);
        assert!(report.cores >= 1 && report.delayed >= 0.0 && report.foreign >= 0.0);
    }

    #[test]
    fn the_files_of_proc_are_read() {
        assert_eq!(host_runnable("0.26 0.14 0.06 3/85 4248\n"), Some(3));
        assert!(is_runnable("4325 (bash) R 4324 4325"));
        assert!(!is_runnable("4325 (bash) S 4324 4325"));
        assert!(!is_runnable("4325 (a) R (b) S 4324"), "a name can hold anything");
        assert_eq!(run_delay("573024 137944 4\n"), Some(Duration::from_nanos(137_944)));
        assert_eq!(cores_in("0-3,8,10-11\n"), Some(7));
        assert_eq!(cores_in("0\n"), Some(1));
    }

    #[test]
    fn files_that_are_not_as_expected_say_nothing() {
        for text in ["", "\n", "1 2", "a b c d/e f", "-1 -2 -3 -4/5", "3-1", ","] {
            assert_eq!(host_runnable(text), None, "{text:?}");
            assert!(!is_runnable(text), "{text:?}");
            assert_eq!(cores_in(text), None, "{text:?}");
        }
        assert_eq!(run_delay("1"), None);
        assert_eq!(run_delay("1 x"), None);
    }

    #[test]
    fn run_delay_is_the_mean_number_of_own_threads_that_wait() {
        let mut os = OsLoad::new(1.0);
        os.take_in(Some(delays(&[(1, 5_000), (2, 0)])), ms(0));
        assert_eq!(os.delayed.value, 0.0, "what was before is no rate");
        os.take_in(Some(delays(&[(1, 5_100), (2, 50)])), ms(100));
        assert!((os.delayed.value - 1.5).abs() < 1e-9);
    }

    #[test]
    fn threads_that_begin_and_end_do_not_upset_the_run_delay() {
        let mut os = OsLoad::new(1.0);
        os.take_in(Some(delays(&[(1, 0), (2, 9_000)])), ms(0));
        os.take_in(Some(delays(&[(1, 20), (3, 30)])), ms(100));
        assert!((os.delayed.value - 0.5).abs() < 1e-9);
    }

    #[test]
    fn foreign_threads_are_those_of_the_host_that_are_not_ours() {
        let mut os = OsLoad::new(1.0);
        os.take_in(Some(runnable(5, 2)), ms(0));
        assert_eq!(os.foreign.value, 3.0);
        let mut raced = OsLoad::new(1.0);
        raced.take_in(Some(runnable(1, 2)), ms(0));
        assert_eq!(raced.foreign.value, 0.0, "the two counts are not of the same instant");
    }

    #[test]
    fn of_a_host_that_we_share_only_our_part_of_the_others_counts() {
        let mut os = OsLoad::new(2.0 / 64.0);
        os.take_in(Some(runnable(34, 2)), ms(0));
        assert_eq!(os.foreign.value, 1.0);
    }

    #[test]
    fn a_burst_shows_at_once_and_fades_by_half_each_half_life() {
        let mut smooth = Smooth::default();
        smooth.take_in(0.0, ms(0));
        smooth.take_in(8.0, ms(1));
        assert_eq!(smooth.value, 4.0, "LD-3");
        smooth.take_in(0.0, ms(301));
        assert_eq!(smooth.value, 2.0);
        smooth.take_in(2.0, ms(601));
        assert_eq!(smooth.value, 2.0);
    }

    #[test]
    fn without_proc_both_estimates_are_zero() {
        let mut os = OsLoad::new(1.0);
        os.take_in(Some(runnable(9, 0)), ms(0));
        os.take_in(None, ms(100));
        assert_eq!((os.delayed.value, os.foreign.value), (0.0, 0.0));
    }

    fn delays(threads: &[(u32, u64)]) -> OsReading {
        let run_delays = threads.iter().map(|&(thread, delay)| (thread, ms(delay))).collect();
        OsReading { run_delays, ..OsReading::default() }
    }

    fn runnable(host_runnable: u32, own_runnable: u32) -> OsReading {
        OsReading { host_runnable, own_runnable, ..OsReading::default() }
    }

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }
}
