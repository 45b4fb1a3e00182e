//! Placement: which node of the pool is next, and the numbers behind it.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use super::members::{IDLE, Member, Members};
use crate::term::{At, Incarnation, LoadReport, NodeName};

/// The pool's members and the choice among them.
///
/// PL-1: the next node is the one with the least expected load, see [`Member::load`]; of equal
/// ones the one whose turn is longest ago, so that idle nodes are taken in turn and a pool without
/// reports goes round from the master on (P15).
///
/// PL-2: of the nodes whose reports are stale only two, drawn at random, may stand for election:
/// the one that looked best long ago would otherwise take everything until it is heard again.
#[derive(Debug)]
pub(crate) struct Placement {
    members: Members,
    /// How many choices were made.
    turn: u64,
    dice: Dice,
}

impl Placement {
    /// A pool without members; the seed decides the draws of PL-2.
    pub(crate) fn new(seed: u64) -> Placement {
        Placement { members: Members::default(), turn: 0, dice: Dice(seed) }
    }

    /// See [`Members::join`].
    pub(crate) fn join(
        &mut self,
        name: NodeName,
        incarnation: Incarnation,
        cores: u32,
        at: Option<At>,
    ) -> bool {
        self.members.join(name, incarnation, cores, at)
    }

    /// See [`Members::arrange`].
    pub(crate) fn arrange(&mut self, order: &[NodeName]) {
        self.members.arrange(order);
    }

    /// See [`Members::leave`].
    pub(crate) fn leave(&mut self, name: NodeName) -> Option<Member> {
        self.members.leave(name)
    }

    /// See [`Members::report`].
    pub(crate) fn report(&mut self, name: NodeName, report: LoadReport, now: Duration) -> bool {
        self.members.report(name, report, now)
    }

    /// Chooses a node and counts one use of it (P15); none if the pool is empty.
    pub(crate) fn place(&mut self, now: Duration) -> Option<NodeName> {
        let chosen = choose(&self.members, &mut self.dice, now)?.name;
        self.turn += 1;
        let member = self.members.get_mut(chosen).expect("a choice among members is a member");
        member.place(self.turn, now);
        Some(chosen)
    }

    /// Takes one use of the node back: the spawn there failed.
    pub(crate) fn cancel(&mut self, name: NodeName) {
        // Gone in the meantime, perhaps because of the same failure: then its uses are gone too.
        if let Some(member) = self.members.get_mut(name) {
            member.cancel();
        }
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// The nodes in order of joining, the master first.
    pub(crate) fn nodes(&self) -> Vec<NodeName> {
        self.members.iter().map(|member| member.name).collect()
    }

    /// The same with the load that the next choice expects there.
    pub(crate) fn nodes_and_load(&self, now: Duration) -> Vec<(NodeName, f64)> {
        self.members.iter().map(|member| (member.name, member.load(now))).collect()
    }

    /// The load that the next choice expects on a node; none if it is no member.
    #[cfg(test)]
    pub(crate) fn load_of(&self, name: NodeName, now: Duration) -> Option<f64> {
        self.members.get(name).map(|member| member.load(now))
    }

    /// The numbers behind the next choice, in order of preference.
    ///
    /// PL-3: the first one is what [`Placement::place`] would choose at this moment: also where
    /// chance decides, as the dice are copied and fall alike.
    pub(crate) fn explain(&self, now: Duration) -> Vec<Reason> {
        let Some(chosen) = choose(&self.members, &mut self.dice.clone(), now) else {
            return Vec::new();
        };
        let mut members: Vec<&Member> = self.members.iter().collect();
        members.sort_by(|a, b| {
            let is_other = |member: &Member| member.name != chosen.name;
            is_other(a).cmp(&is_other(b)).then_with(|| preference(a, b, now))
        });
        members.into_iter().map(|member| Reason::of(member, now)).collect()
    }
}

/// Why a node stands where it does in the order of preference.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reason {
    pub(crate) node: NodeName,
    /// The sum of the figures below for each core, the estimates rounded to quarters (MB-5).
    pub(crate) load: f64,
    pub(crate) runnable: u32,
    pub(crate) running: u32,
    pub(crate) blocking: u32,
    pub(crate) delayed: f32,
    pub(crate) foreign: f32,
    /// Placed there and in no report yet.
    pub(crate) unacknowledged: usize,
    pub(crate) cores: u32,
    /// How old its last report is; none if there is none.
    pub(crate) age: Option<Duration>,
    /// Whether it only stands for election when it is drawn (PL-2).
    pub(crate) stale: bool,
}

impl Reason {
    fn of(member: &Member, now: Duration) -> Reason {
        let (report, age) = match member.report() {
            Some(&(report, heard)) => (report, Some(now.saturating_sub(heard))),
            None => (IDLE, None),
        };
        Reason {
            node: member.name,
            load: member.load(now),
            runnable: report.runnable,
            running: report.running,
            blocking: report.blocking,
            delayed: report.delayed,
            foreign: report.foreign,
            unacknowledged: member.unacknowledged(now),
            cores: member.cores(),
            age,
            stale: member.is_stale(now),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reason { node, load, runnable, running, blocking, delayed, foreign, .. } = self;
        let Reason { unacknowledged, cores, .. } = self;
        write!(
            f,
            "{node}: load {load:.2} = ({runnable} runnable + {running} running + {blocking} \
             blocking + {delayed:.2} delayed + {foreign:.2} foreign + {unacknowledged} on the way) \
             / {cores} cores, "
        )?;
        match self.age {
            Some(age) => write!(f, "heard {} ms ago", age.as_millis())?,
            None => f.write_str("not heard yet")?,
        }
        f.write_str(if self.stale { ", stale" } else { "" })
    }
}

fn choose<'a>(members: &'a Members, dice: &mut Dice, now: Duration) -> Option<&'a Member> {
    let (stale, fresh): (Vec<_>, Vec<_>) = members.iter().partition(|m| m.is_stale(now));
    let standing = fresh.into_iter().chain(dice.two_of(&stale));
    standing.min_by(|a, b| preference(a, b, now))
}

/// PL-1; two that never had a turn stand in order of joining, as the iterators and the sort above
/// keep it.
fn preference(a: &Member, b: &Member, now: Duration) -> Ordering {
    a.load(now).total_cmp(&b.load(now)).then(a.turn().cmp(&b.turn()))
}

/// A small seeded generator (splitmix64): the core has no other source of chance, so that every
/// choice can be replayed.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    /// Two different ones, or as many as there are, in their order.
    fn two_of<'a>(&mut self, all: &[&'a Member]) -> impl Iterator<Item = &'a Member> + use<'a> {
        let drawn = match all.len() {
            0 => [None, None],
            1 => [Some(all[0]), None],
            count => {
                let first = self.below(count);
                let second = (first + 1 + self.below(count - 1)) % count;
                [Some(all[first.min(second)]), Some(all[first.max(second)])]
            }
        };
        drawn.into_iter().flatten()
    }

    fn below(&mut self, end: usize) -> usize {
        // The remainder's bias is far below anything a pool's size could show.
        usize::try_from(self.roll() % end as u64).expect("less than a usize")
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::members::{PLACEMENT_EXPIRES, STALE_AFTER};

    #[test]
    fn an_empty_pool_has_no_next_node() {
        let mut placement = Placement::new(1);
        assert_eq!(placement.place(ms(0)), None);
        assert!(placement.explain(ms(0)).is_empty());
    }

    #[test]
    fn a_fresh_pool_goes_round_from_the_master_on() {
        let mut placement = pool(&[4, 4, 4]);
        let chosen: Vec<_> = (0..7).map(|t| placement.place(ms(t)).unwrap()).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2, 0].map(node), "PL-1, P15");
    }

    #[test]
    fn idle_nodes_are_taken_in_turn_even_if_each_job_ends_before_the_next() {
        let mut placement = pool(&[4, 4, 4]);
        for turn in 0..9 {
            let at = ms(turn * 200);
            let chosen = placement.place(at).unwrap();
            assert_eq!(chosen, node(turn as usize % 3), "PL-1");
            // The job has come and gone; noise is left.
            let noise = LoadReport { foreign: 0.01 * turn as f32, ..idle(turn / 3 + 1) };
            placement.report(chosen, noise, at + ms(20));
        }
    }

    #[test]
    fn an_idle_node_goes_before_a_busy_one() {
        let mut placement = pool(&[4, 4]);
        placement.report(node(0), LoadReport { running: 1, ..idle(0) }, ms(0));
        placement.report(node(1), idle(0), ms(0));
        assert_eq!(placement.place(ms(1)), Some(node(1)), "PL-1");
    }

    #[test]
    fn a_choice_counts_until_it_is_reported_cancelled_or_expired() {
        let mut placement = pool(&[1]);
        let on_the_way = |placement: &Placement, now| placement.explain(now)[0].unacknowledged;
        for at in [0, 1, 2] {
            placement.place(ms(at));
        }
        assert_eq!(on_the_way(&placement, ms(2)), 3);
        placement.report(node(0), idle(1), ms(3));
        assert_eq!(on_the_way(&placement, ms(3)), 2, "MB-2");
        placement.cancel(node(0));
        assert_eq!(on_the_way(&placement, ms(3)), 1);
        assert_eq!(on_the_way(&placement, ms(3) + PLACEMENT_EXPIRES), 0, "MB-3");
        placement.cancel(node(0));
        placement.cancel(node(0));
        assert_eq!(on_the_way(&placement, ms(3)), 0, "never below none");
    }

    #[test]
    fn a_node_that_came_back_takes_its_place_like_a_new_one() {
        let mut placement = pool(&[4, 4]);
        placement.report(node(1), LoadReport { running: 9, ..idle(0) }, ms(0));
        placement.place(ms(1));
        placement.leave(node(1));
        assert!(placement.join(node(1), Incarnation(2), 4, None));
        assert_eq!(placement.load_of(node(1), ms(2)), Some(0.0), "MB-1");
        assert_eq!(placement.place(ms(2)), Some(node(1)));
        assert_eq!(placement.nodes(), [node(0), node(1)]);
    }

    #[test]
    fn among_stale_nodes_the_best_looking_one_does_not_take_all() {
        let mut placement = pool(&[4; 8]);
        for at in 0..8 {
            let running = if at == 5 { 0 } else { 20 };
            placement.report(node(at), LoadReport { running, ..idle(0) }, ms(0));
        }
        let silent = ms(0) + 4 * STALE_AFTER;
        let best = (0..800).filter(|_| {
            let chosen = placement.place(silent).unwrap();
            placement.cancel(chosen);
            chosen == node(5)
        });
        // It is among two of eight in a quarter of all draws.
        let best = best.count();
        assert!((150..250).contains(&best), "PL-2: {best} of 800");
    }

    #[test]
    fn a_stale_node_yields_to_a_fresh_one_that_is_less_loaded() {
        let mut placement = pool(&[4, 4, 4]);
        for at in 0..3 {
            placement.report(node(at), LoadReport { running: 2, ..idle(0) }, ms(0));
        }
        placement.report(node(1), LoadReport { running: 1, ..idle(0) }, ms(1_900));
        assert_eq!(placement.place(ms(2_000)), Some(node(1)));
    }

    #[test]
    fn the_explanation_is_a_line_for_people() {
        let mut placement = pool(&[4, 2]);
        placement.report(
            node(0),
            LoadReport { runnable: 1, running: 4, delayed: 0.26, foreign: 1.0, ..idle(0) },
            ms(100),
        );
        placement.place(ms(110));
        let lines: Vec<_> = placement.explain(ms(135)).iter().map(Reason::to_string).collect();
        assert_eq!(
            lines,
            [
                "n1@h: load 0.50 = (0 runnable + 0 running + 0 blocking + 0.00 delayed + 0.00 \
                 foreign + 1 on the way) / 2 cores, not heard yet",
                "n0@h: load 1.56 = (1 runnable + 4 running + 0 blocking + 0.26 delayed + 1.00 \
                 foreign + 0 on the way) / 4 cores, heard 35 ms ago",
            ]
        );
    }

    #[test]
    fn jobs_respond_faster_than_round_robin_and_almost_as_fast_as_with_true_loads() {
        let jobs = simulation::jobs(20_000);
        let round_robin = simulation::mean_response(&jobs, simulation::Policy::RoundRobin(0));
        let oracle = simulation::mean_response(&jobs, simulation::Policy::Oracle(0));
        let mut placement = pool(&[simulation::CORES as u32; simulation::NODES]);
        let ours = simulation::mean_response(&jobs, simulation::Policy::Ours(&mut placement));
        let means = format!("round robin {round_robin:.4}, ours {ours:.4}, oracle {oracle:.4}");
        assert!(ours < round_robin * 0.9, "{means}");
        assert!(ours < oracle * 1.1, "{means}");
    }

    proptest! {
        #[test]
        fn whatever_happens_a_choice_is_a_member_and_is_what_was_explained(
            seed: u64,
            steps in prop::collection::vec(step(), 0..100),
        ) {
            let mut placement = Placement::new(seed);
            let (mut now, mut latest) = (Duration::ZERO, Duration::ZERO);
            for step in steps {
                match step {
                    Step::Join(at, life, cores) => {
                        placement.join(node(at), Incarnation(life), cores, None);
                    }
                    Step::Leave(at) => drop(placement.leave(node(at))),
                    Step::Report(at, report) => {
                        placement.report(node(at), report, now);
                    }
                    Step::Place => {
                        let explained = placement.explain(now);
                        let chosen = placement.place(now);
                        prop_assert_eq!(chosen, explained.first().map(|r| r.node), "PL-3");
                        prop_assert!(chosen.is_none_or(|c| placement.members().get(c).is_some()));
                    }
                    Step::Cancel(at) => placement.cancel(node(at)),
                    Step::Wait(millis) => now += ms(millis),
                    Step::ClockBack => now = now.saturating_sub(ms(700)),
                }
                latest = latest.max(now);
                let nodes = placement.nodes();
                prop_assert_eq!(placement.explain(now).len(), nodes.len());
                for (_, load) in placement.nodes_and_load(now) {
                    prop_assert!(load.is_finite() && load >= 0.0);
                }
            }
            let end = latest + PLACEMENT_EXPIRES;
            prop_assert!(placement.explain(end).iter().all(|r| r.unacknowledged == 0), "MB-3");
        }

        #[test]
        fn equal_nodes_get_equal_shares_without_reports(
            nodes in 1..12_usize,
            choices in 0..300_usize,
            gap in 0..100_u64,
        ) {
            let shares = shares(&mut pool(&vec![4; nodes]), choices, gap);
            let (min, max) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            prop_assert!(max - min <= 1, "PL-1: {:?}", shares);
        }

        #[test]
        fn shares_follow_the_cores(cores in prop::collection::vec(1..16_u32, 1..6)) {
            let all: u32 = cores.iter().sum();
            let shares = shares(&mut pool(&cores), all as usize * 10, 0);
            for (share, cores) in shares.iter().zip(&cores) {
                prop_assert!(share.abs_diff(*cores as usize * 10) <= 1, "PL-1: {:?}", shares);
            }
        }

        #[test]
        fn placements_drain_to_none_as_the_node_accepts_them(
            batches in prop::collection::vec(0..50_u64, 1..20),
        ) {
            let mut placement = pool(&[4]);
            let mut accepted = 0;
            for (at, batch) in batches.iter().enumerate() {
                let now = ms(at as u64);
                (0..*batch).for_each(|_| _ = placement.place(now));
                prop_assert_eq!(placement.load_of(node(0), now), Some(*batch as f64 / 4.0));
                accepted += batch;
                placement.report(node(0), idle(accepted), now);
                prop_assert_eq!(placement.load_of(node(0), now), Some(0.0), "MB-2");
            }
        }

        #[test]
        fn an_idle_node_is_never_passed_over_for_a_busy_one(
            running in prop::collection::vec(0..3_u32, 1..10),
            turns in 0..20_usize,
        ) {
            let mut placement = pool(&vec![4; running.len()]);
            (0..turns).for_each(|_| _ = placement.place(ms(0)));
            for (at, &running) in running.iter().enumerate() {
                let report = LoadReport { running, ..idle(turns as u64) };
                placement.report(node(at), report, ms(1));
            }
            let chosen = placement.place(ms(2)).unwrap();
            let least = running.iter().min().unwrap();
            let at = placement.nodes().iter().position(|&n| n == chosen).unwrap();
            prop_assert_eq!(running[at], *least, "PL-1");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Join(usize, u32, u32),
        Leave(usize),
        Report(usize, LoadReport),
        Place,
        Cancel(usize),
        Wait(u64),
        ClockBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        let at = || 0..5_usize;
        prop_oneof![
            3 => (at(), 0..3_u32, 0..9_u32).prop_map(|(at, life, cores)| Step::Join(at, life, cores)),
            1 => at().prop_map(Step::Leave),
            4 => (at(), any_report()).prop_map(|(at, report)| Step::Report(at, report)),
            8 => Just(Step::Place),
            2 => at().prop_map(Step::Cancel),
            4 => (0..1_500_u64).prop_map(Step::Wait),
            1 => Just(Step::ClockBack),
        ]
    }

    fn any_report() -> impl Strategy<Value = LoadReport> {
        let counts = any::<(u32, u32, u32, u32, u64)>();
        let few = (0..9_u32, 0..9_u32, 0..9_u32, 0..9_u32, 0..40_u64);
        (prop_oneof![counts, few], any::<f32>(), any::<f32>()).prop_map(
            |((runnable, running, blocking, cores, accepted), delayed, foreign)| LoadReport {
                runnable,
                running,
                blocking,
                delayed,
                foreign,
                cores,
                accepted,
            },
        )
    }

    fn shares(placement: &mut Placement, choices: usize, gap: u64) -> Vec<usize> {
        let nodes = placement.nodes();
        let mut shares = vec![0; nodes.len()];
        for choice in 0..choices {
            let chosen = placement.place(ms(choice as u64 * gap)).unwrap();
            shares[nodes.iter().position(|&node| node == chosen).unwrap()] += 1;
        }
        shares
    }

    fn pool(cores: &[u32]) -> Placement {
        let mut placement = Placement::new(42);
        for (at, &cores) in cores.iter().enumerate() {
            placement.join(node(at), Incarnation(1), cores, None);
        }
        placement
    }

    fn idle(accepted: u64) -> LoadReport {
        LoadReport { cores: 4, accepted, ..IDLE }
    }

    fn node(at: usize) -> NodeName {
        NodeName::new(&format!("n{at}"), "h").unwrap()
    }

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// Nodes that share their cores equally among their jobs, and jobs that arrive at random; no
    /// noise, no network. All policies get the same jobs.
    mod simulation {
        use super::*;

        pub(super) const NODES: usize = 8;
        pub(super) const CORES: usize = 4;
        const WORK_MEAN: f64 = 0.2;
        const UTILISATION: f64 = 0.8;
        const REPORT_EVERY: f64 = 0.1;

        pub(super) enum Policy<'a> {
            RoundRobin(usize),
            Ours(&'a mut Placement),
            /// Sees how many jobs each node has at this moment; ties by rotation.
            Oracle(usize),
        }

        /// When each job arrives and how long it would take alone, in seconds.
        pub(super) fn jobs(count: usize) -> Vec<(f64, f64)> {
            let mut dice = Dice(7);
            let mut exponential = |mean: f64| -> f64 {
                let uniform = (dice.roll() >> 11) as f64 / (1_u64 << 53) as f64;
                -mean * (1.0 - uniform).ln()
            };
            let gap_mean = WORK_MEAN / (UTILISATION * (NODES * CORES) as f64);
            let mut arrival = 0.0;
            let job = |_| {
                arrival += exponential(gap_mean);
                (arrival, exponential(WORK_MEAN))
            };
            (0..count).map(job).collect()
        }

        pub(super) fn mean_response(jobs: &[(f64, f64)], mut policy: Policy) -> f64 {
            let mut nodes: Vec<Node> = (0..NODES).map(|_| Node::default()).collect();
            let names: Vec<NodeName> = (0..NODES).map(node).collect();
            let mut report_at = 0.0;
            for &(arrival, work) in jobs {
                while report_at <= arrival {
                    if let Policy::Ours(placement) = &mut policy {
                        for (&name, node) in names.iter().zip(&mut nodes) {
                            node.run_until(report_at);
                            let report = node.report();
                            placement.report(name, report, Duration::from_secs_f64(report_at));
                        }
                    }
                    report_at += REPORT_EVERY;
                }
                nodes.iter_mut().for_each(|node| node.run_until(arrival));
                let at = match &mut policy {
                    Policy::RoundRobin(turn) => {
                        *turn += 1;
                        *turn % NODES
                    }
                    Policy::Ours(placement) => {
                        let chosen = placement.place(Duration::from_secs_f64(arrival)).unwrap();
                        names.iter().position(|&name| name == chosen).unwrap()
                    }
                    Policy::Oracle(turn) => {
                        let in_turn = (1..=NODES).map(|step| (*turn + step) % NODES);
                        *turn = in_turn.min_by_key(|&at| nodes[at].jobs.len()).unwrap();
                        *turn
                    }
                };
                nodes[at].jobs.push(Job { arrival, left: work });
                nodes[at].accepted += 1;
            }
            nodes.iter_mut().for_each(|node| node.run_until(f64::INFINITY));
            nodes.iter().map(|node| node.responses).sum::<f64>() / jobs.len() as f64
        }

        #[derive(Default)]
        struct Node {
            jobs: Vec<Job>,
            time: f64,
            accepted: u64,
            /// The sum over all jobs that have ended.
            responses: f64,
        }

        struct Job {
            arrival: f64,
            left: f64,
        }

        impl Node {
            fn run_until(&mut self, end: f64) {
                while !self.jobs.is_empty() {
                    let speed = (CORES as f64 / self.jobs.len() as f64).min(1.0);
                    let shortest = self.jobs.iter().map(|job| job.left).fold(f64::MAX, f64::min);
                    let next = (self.time + shortest / speed).min(end);
                    // At the next end of a job its own share is exact; rounding must not keep it.
                    let done = if next < end { shortest } else { (end - self.time) * speed };
                    self.time = next;
                    self.jobs.iter_mut().for_each(|job| job.left -= done);
                    for job in self.jobs.extract_if(.., |job| job.left <= 0.0) {
                        self.responses += next - job.arrival;
                    }
                    if next >= end {
                        break;
                    }
                }
                self.time = end;
            }

            fn report(&self) -> LoadReport {
                let running = self.jobs.len().min(CORES);
                LoadReport {
                    runnable: (self.jobs.len() - running) as u32,
                    running: running as u32,
                    ..idle(self.accepted)
                }
            }
        }
    }
}
