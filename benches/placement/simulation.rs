//! A pool in a simulated time: jobs arrive at random, a policy places each, nodes share their cores
//! equally among their jobs and report their load, and the network takes its time.
//!
//! Only events are computed: the end of a job is found by a clock of each node that runs as fast as
//! each of its jobs does, and what changes nothing is skipped.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::policies::Policy;
use crate::core::jobs::JobLength;
use crate::core::pace::{KEEP_ALIVE, Pace};
use crate::term::LoadReport;

/// The nodes of a pool: cores, and how fast they are.
#[derive(Clone, Debug)]
pub(crate) struct Hosts(pub(crate) Vec<(u32, f64)>);

/// How a node's cores serve its jobs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Service {
    /// All at once, equally: jobs that make way for each other.
    Shared,
    /// A core each, others wait: jobs that never do.
    InTurn,
}

impl Hosts {
    /// All with four cores, equally fast.
    pub(crate) fn even(count: usize) -> Hosts {
        Hosts(vec![(4, 1.0); count])
    }

    /// With 4, 2 and 8 cores, and each fourth with 4 of half the speed, which nobody knows.
    pub(crate) fn uneven(count: usize) -> Hosts {
        Hosts((0..count).map(|at| [(4, 1.0), (2, 1.0), (8, 1.0), (4, 0.5)][at % 4]).collect())
    }

    /// Cores of the usual speed.
    pub(crate) fn capacity(&self) -> f64 {
        self.0.iter().map(|(cores, speed)| f64::from(*cores) * speed).sum()
    }
}

/// How the length of jobs varies around its mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lengths {
    Exponential,
    /// Pareto with exponent 1.5, the longest a thousand times the shortest.
    HeavyTailed,
}

/// Jobs in units of their mean length, and of the mean time between two. All policies get the same.
pub(crate) struct Jobs(Vec<(f64, f64)>);

impl Jobs {
    pub(crate) fn new(count: usize, lengths: Lengths) -> Jobs {
        let mut dice = Dice(7);
        let job = |_| {
            let gap = dice.exponential();
            match lengths {
                Lengths::Exponential => (gap, dice.exponential()),
                Lengths::HeavyTailed => (gap, dice.pareto()),
            }
        };
        Jobs((0..count).map(job).collect())
    }

    /// The first of them.
    pub(crate) fn first(&self, count: usize) -> &[(f64, f64)] {
        &self.0[..count]
    }
}

/// When nodes tell their load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reports {
    /// As pspawn's nodes do it (PC-1 to PC-3).
    Paced,
    /// At a fixed interval.
    Every(f64),
    /// As OTP's do: each two seconds, the run queue, if it is another one.
    Otp,
    /// Each end of a job is known so many seconds later, wherever it is.
    Known(f64),
    Never,
}

/// What is simulated.
pub(crate) struct Setting<'a> {
    pub(crate) hosts: &'a Hosts,
    /// Of [`Jobs`].
    pub(crate) jobs: &'a [(f64, f64)],
    /// In seconds.
    pub(crate) job_mean: f64,
    pub(crate) utilisation: f64,
    pub(crate) reports: Reports,
    pub(crate) service: Service,
    /// One way over the network, in seconds.
    pub(crate) network: f64,
}

/// How it went.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// From a job's arrival at its node to its end, in seconds, without the first tenth of the jobs.
    pub(crate) mean_response: f64,
    /// The time in which all but a hundredth of them had ended.
    pub(crate) p99_response: f64,
    pub(crate) reports_per_job: f64,
}

/// One way over the network within a building, in seconds.
pub(crate) const NEAR_BY: f64 = 0.0001;

/// Runs all jobs through the pool.
pub(crate) fn run(setting: &Setting, policy: &mut dyn Policy) -> Outcome {
    let mut world = World::new(setting);
    let gap = setting.job_mean / (setting.utilisation * setting.hosts.capacity());
    let mut arrival = 0.0;
    for (number, &(gaps, length)) in setting.jobs.iter().enumerate() {
        arrival += gaps * gap;
        world.go_on_until(arrival, policy);
        let node = policy.place(arrival);
        let counts = number >= setting.jobs.len() / 10;
        let there = arrival + setting.network;
        let job = Job { arrival: there, work: length * setting.job_mean, counts };
        world.on_the_way.push_back((there, node, job));
    }
    world.finish()
}

struct World {
    nodes: Vec<Node>,
    reports: Reports,
    network: f64,
    on_the_way: VecDeque<(f64, usize, Job)>,
    /// What policies are told, and when they are.
    news: VecDeque<(f64, usize, News)>,
    /// When to look at which node.
    looks: BinaryHeap<Reverse<At>>,
    told: u64,
    placed: u64,
}

struct Job {
    arrival: f64,
    work: f64,
    counts: bool,
}

enum News {
    Report(LoadReport),
    Ended(u32),
}

impl World {
    fn new(setting: &Setting) -> World {
        let mut dice = Dice(99);
        let node = |&(cores, speed)| Node::new(cores, speed, setting.service, dice.uniform());
        let nodes: Vec<Node> = setting.hosts.0.iter().map(node).collect();
        let mut world = World {
            nodes,
            reports: setting.reports,
            network: setting.network,
            on_the_way: VecDeque::new(),
            news: VecDeque::new(),
            looks: BinaryHeap::new(),
            told: 0,
            placed: 0,
        };
        if !matches!(setting.reports, Reports::Known(_) | Reports::Never) {
            (0..world.nodes.len()).for_each(|at| world.look_at(at, 0.0));
        }
        world
    }

    fn go_on_until(&mut self, end: f64, policy: &mut dyn Policy) {
        let time = |at: Option<f64>| at.unwrap_or(f64::INFINITY);
        loop {
            let job = time(self.on_the_way.front().map(|(at, ..)| *at));
            let news = time(self.news.front().map(|(at, ..)| *at));
            let look = time(self.looks.peek().map(|Reverse(look)| look.time));
            if job.min(news).min(look) > end {
                return;
            }
            if job <= news && job <= look {
                let (at, node, job) = self.on_the_way.pop_front().expect("it was there");
                self.arrive(at, node, job);
            } else if news <= look {
                let (at, node, news) = self.news.pop_front().expect("it was there");
                match news {
                    News::Report(report) => policy.hear(node, report, at),
                    News::Ended(jobs) => policy.know_ended(node, jobs),
                }
            } else {
                let Reverse(At { time, node }) = self.looks.pop().expect("it was there");
                if self.nodes[node].look == time {
                    self.look(node, time);
                }
            }
        }
    }

    fn arrive(&mut self, now: f64, at: usize, job: Job) {
        let node = &mut self.nodes[at];
        if self.reports == Reports::Paced {
            node.looks_until(now);
        }
        node.go_on_until(now);
        node.take(job);
        self.placed += 1;
        let look = match self.reports {
            Reports::Known(_) => node.next_end(),
            Reports::Paced => {
                node.due = node.due.min(node.next_look_after(now, self.reports));
                node.due.min(node.next_end())
            }
            Reports::Every(_) => node.next_look_after(now, self.reports),
            Reports::Otp | Reports::Never => return,
        };
        if look < node.look || matches!(self.reports, Reports::Known(_)) {
            self.look_at(at, look);
        }
    }

    fn look_at(&mut self, node: usize, time: f64) {
        self.nodes[node].look = time;
        if time.is_finite() {
            self.looks.push(Reverse(At { time, node }));
        }
    }

    /// A node looks whether it has something to tell.
    fn look(&mut self, at: usize, now: f64) {
        let members = self.nodes.len();
        let node = &mut self.nodes[at];
        let before = node.work();
        if self.reports == Reports::Paced {
            node.looks_until(now);
        }
        node.go_on_until(now);
        let is_due = self.reports != Reports::Paced || now >= node.due; // else a job has ended
        if is_due {
            node.looked = now;
        }
        let (told, next) = match self.reports {
            Reports::Known(after) => {
                let ended = before - node.work();
                if ended > 0 {
                    self.news.push_back((now + after, at, News::Ended(ended)));
                }
                return self.look_at(at, self.nodes[at].next_end());
            }
            Reports::Otp => {
                let report = LoadReport { job: 0.0, ..node.report(now) };
                let told = node.told.is_none_or(|(told, _)| told.runnable != report.runnable);
                (told.then_some(report), now + 2.0)
            }
            Reports::Paced => {
                let mut report = if is_due { node.report(now) } else { node.sample() };
                let told = match is_due {
                    true => node.pace.due(seconds(now), &mut report, members),
                    // Others may have come meanwhile, so that none has ended yet.
                    false if before == node.work() => false,
                    false => node.pace.ended(seconds(now), &mut report, members),
                };
                node.gap = node.pace.gap(seconds(now), members).as_secs_f64();
                (told.then_some(report), 0.0)
            }
            Reports::Every(gap) => {
                let report = node.report(now);
                node.gap = gap;
                let same = |(told, then): (LoadReport, f64)| {
                    LoadReport { job: told.job, ..report } == told && now - then < ALIVE
                };
                // One that says the same would change nothing.
                (node.told.is_none_or(|told| !same(told)).then_some(report), 0.0)
            }
            Reports::Never => return,
        };
        if let Some(report) = told {
            node.told = Some((report, now));
            self.told += 1;
            self.news.push_back((now + self.network, at, News::Report(report)));
        }
        let next = if next > now {
            next
        } else {
            let (told, then) = node.told.unwrap_or((node.sample(), now));
            let is_told = told.counted() == node.work() && told.accepted == node.accepted;
            let alive = (then + ALIVE).max(now);
            let due = if is_told { node.next_end().min(alive) } else { now };
            node.due = node.next_look_after(due, self.reports);
            if self.reports == Reports::Paced { node.due.min(node.next_end()) } else { node.due }
        };
        self.look_at(at, next);
    }

    fn finish(mut self) -> Outcome {
        while let Some((now, at, job)) = self.on_the_way.pop_front() {
            self.nodes[at].go_on_until(now);
            self.nodes[at].take(job);
            self.placed += 1;
        }
        let mut responses = Vec::with_capacity(self.placed as usize);
        for node in &mut self.nodes {
            node.go_on_until(f64::INFINITY);
            responses.append(&mut node.responses);
        }
        let mean_response = responses.iter().map(|&time| f64::from(time)).sum::<f64>();
        let mean_response = mean_response / responses.len() as f64;
        let rank = responses.len() * 99 / 100;
        let (_, p99, _) = responses.select_nth_unstable_by(rank, f32::total_cmp);
        let p99_response = f64::from(*p99);
        let reports_per_job = self.told as f64 / self.placed as f64;
        Outcome { mean_response, p99_response, reports_per_job }
    }
}

/// A node that shares its cores equally among its jobs.
struct Node {
    cores: u32,
    speed: f64,
    service: Service,
    time: f64,
    /// How much work each job had that was here all the time.
    clock: f64,
    /// By the clock at which they end.
    jobs: BinaryHeap<Reverse<End>>,
    /// Those that have no core yet.
    waiting: VecDeque<Job>,
    accepted: u64,
    responses: Vec<f32>,
    pace: Pace,
    length: JobLength,
    /// When it was looked at last, and will be; and how often that is at present.
    looked: f64,
    look: f64,
    gap: f64,
    /// When it looks though no job has ended.
    due: f64,
    told: Option<(LoadReport, f64)>,
}

struct End {
    clock: f64,
    arrival: f64,
    counts: bool,
}

impl Node {
    fn new(cores: u32, speed: f64, service: Service, phase: f64) -> Node {
        let mut node = Node {
            cores,
            speed,
            service,
            time: 0.0,
            clock: 0.0,
            jobs: BinaryHeap::new(),
            waiting: VecDeque::new(),
            accepted: 0,
            responses: Vec::new(),
            pace: Pace::default(),
            length: JobLength::default(),
            looked: 0.0,
            look: f64::INFINITY,
            due: 0.0,
            gap: 0.02,
            told: None,
        };
        node.looked = (phase - 1.0) * node.gap; // nodes do not look all at once
        node
    }

    fn rate(&self) -> f64 {
        self.speed * (f64::from(self.cores) / self.jobs.len() as f64).min(1.0)
    }

    fn next_end(&self) -> f64 {
        let next = |Reverse(end): &Reverse<End>| self.time + (end.clock - self.clock) / self.rate();
        self.jobs.peek().map_or(f64::INFINITY, next)
    }

    /// How many jobs it has, those that wait among them.
    fn work(&self) -> u32 {
        (self.jobs.len() + self.waiting.len()) as u32
    }

    fn take(&mut self, job: Job) {
        self.accepted += 1;
        match self.service {
            Service::InTurn if self.jobs.len() as u32 >= self.cores => self.waiting.push_back(job),
            Service::InTurn | Service::Shared => self.start(job),
        }
    }

    fn start(&mut self, Job { arrival, work, counts }: Job) {
        self.jobs.push(Reverse(End { clock: self.clock + work, arrival, counts }));
    }

    fn go_on_until(&mut self, end: f64) {
        while let next = self.next_end()
            && next <= end
            && let Some(Reverse(job)) = self.jobs.pop()
        {
            self.time = self.time.max(next);
            self.clock = job.clock;
            if job.counts {
                self.responses.push((self.time - job.arrival) as f32);
            }
            if let Some(job) = self.waiting.pop_front() {
                self.start(job);
            }
        }
        if end.is_finite() && end > self.time {
            if !self.jobs.is_empty() {
                self.clock += (end - self.time) * self.rate();
            }
            self.time = end;
        }
    }

    /// The first look at or after this moment that is later than the last one.
    fn next_look_after(&self, due: f64, reports: Reports) -> f64 {
        let gap = if let Reports::Every(gap) = reports { gap } else { self.gap };
        let looks = ((due - self.looked) / gap).ceil().max(1.0);
        let next = self.looked + looks * gap;
        if next > self.looked { next } else { self.looked + 2.0 * gap }
    }

    /// Has it looked as often as it does, at what has not changed since then.
    fn looks_until(&mut self, now: f64) {
        let looks = ((now - self.looked) / self.gap).floor();
        if looks >= 1.0 {
            self.looked += looks * self.gap;
            self.length.look(seconds(self.looked), self.work(), self.cores, self.accepted);
        }
    }

    fn report(&mut self, now: f64) -> LoadReport {
        self.length.look(seconds(now), self.work(), self.cores, self.accepted);
        self.sample()
    }

    fn sample(&self) -> LoadReport {
        let work = self.work();
        let running = work.min(self.cores);
        LoadReport {
            runnable: work - running,
            running,
            blocking: 0,
            delayed: 0.0,
            foreign: 0.0,
            cores: self.cores,
            accepted: self.accepted,
            job: self.length.seconds(),
            prompt: false,
        }
    }
}

/// A look, ordered by its time.
#[derive(Clone, Copy, PartialEq)]
struct At {
    time: f64,
    node: usize,
}

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &At) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &At) -> Ordering {
        self.time.total_cmp(&other.time).then(self.node.cmp(&other.node))
    }
}

impl PartialEq for End {
    fn eq(&self, other: &End) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for End {}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &End) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for End {
    fn cmp(&self, other: &End) -> Ordering {
        self.clock.total_cmp(&other.clock)
    }
}

/// A small seeded generator (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// In `0..1`.
    fn uniform(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    fn pareto(&mut self) -> f64 {
        let (exponent, longest): (f64, f64) = (1.5, 1_000.0);
        let cut = 1.0 - longest.powf(-exponent);
        let mean = exponent / (exponent - 1.0) * (1.0 - longest.powf(1.0 - exponent)) / cut;
        (1.0 - self.uniform() * cut).powf(-1.0 / exponent) / mean
    }
}

pub(crate) fn seconds(time: f64) -> Duration {
    Duration::from_secs_f64(time.max(0.0))
}

const ALIVE: f64 = KEEP_ALIVE.as_secs() as f64;
