//! Placement: which node of the pool is next, and the numbers behind it.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::jobs::Drain;
use super::members::{IDLE, Member, Members};
use super::pace::GAP_MIN;
use super::ranking::Ranking;
use crate::term::{At, Figure, Incarnation, LoadReport, NodeName, Table};

/// The pool's members and the choice among them.
///
/// PL-1: the next node is the one with the least expected load; of equal ones the one whose turn is
/// longest ago, so that idle nodes are taken in turn and a pool without reports goes round from the
/// master on (P15).
///
/// PL-2: of the nodes whose reports are stale only two, drawn at random, may stand for election:
/// the one that looked best long ago would otherwise take everything until it is heard again.
///
/// PL-5: the expected load is what a node last reported and what was placed there since, less the
/// jobs that will have ended while news of them is on its way ([`Drain`]). Who keeps silent for
/// longer has nothing to tell: then what it said last stands. How long news takes is measured, and
/// how long jobs are is what the nodes report. A node that tells each end at once needs none of that.
///
/// PL-6: of a report that is much older than a job is long only what stands out counts: most of what
/// it tells of has ended, and to go by it would be worse than to go by what was placed.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    members: Members,
    /// One for each member, in their order.
    standings: Vec<Standing>,
    /// Those whose load stays what it is, by load and turn.
    still: Ranking,
    /// Those whose load is being counted down, by the moment when it is one a core, and turn.
    draining: Ranking,
    /// Those of the members that are stale.
    stale: Vec<usize>,
    drain: Drain,
    /// When to look whether the load of which member still has to be counted down.
    settling: VecDeque<(Duration, usize)>,
    /// Seconds of jobs, and jobs, that were reported lately: both fade.
    jobs: (f64, f64),
    /// How long it takes until a placement shows in a report.
    news_after: Duration,
    /// When all members were looked at last.
    swept: Duration,
    /// How many choices were made.
    turn: u64,
    dice: Dice,
}

/// How a member takes part in the election.
#[derive(Clone, Copy, Debug)]
struct Standing {
    how: How,
    /// When something was heard of it, or placed there.
    since: Duration,
    /// Whether it is in the queue of those that settle.
    queued: bool,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Still(f64),
    /// Its load is one a core at this moment.
    Draining(f64),
    /// Only if it is drawn.
    Stale(f64),
}

impl Placement {
    /// A pool without members; the seed decides the draws of PL-2.
    pub(crate) fn new(seed: u64) -> Placement {
        Placement {
            members: Members::default(),
            standings: Vec::new(),
            still: Ranking::default(),
            draining: Ranking::default(),
            stale: Vec::new(),
            drain: Drain::default(),
            settling: VecDeque::new(),
            jobs: (0.0, 0.0),
            news_after: GAP_MIN,
            swept: Duration::ZERO,
            turn: 0,
            dice: Dice(seed),
        }
    }

    /// See [`Members::join`].
    pub(crate) fn join(
        &mut self,
        name: NodeName,
        incarnation: Incarnation,
        cores: u32,
        at: Option<At>,
    ) -> bool {
        let joined = self.members.join(name, incarnation, cores, at);
        if joined {
            self.stand_all();
        }
        joined
    }

    /// See [`Members::arrange`].
    pub(crate) fn arrange(&mut self, order: &[NodeName]) {
        self.members.arrange(order);
        self.stand_all();
    }

    /// See [`Members::leave`].
    pub(crate) fn leave(&mut self, name: NodeName) -> Option<Member> {
        let left = self.members.leave(name)?;
        self.stand_all();
        Some(left)
    }

    /// Notes what a member says of itself; false if it is none: a report may be on its way while
    /// its node leaves, and must not bring it back (in OTP it crashes the pool master, P20).
    pub(crate) fn report(&mut self, name: NodeName, report: LoadReport, now: Duration) -> bool {
        let Some(place) = self.members.place_of(name) else { return false };
        self.go_on_until(now);
        let before = self.load_at(place);
        let member = self.members.at_mut(place);
        let (seen, took) = member.reported(report, now);
        if let Some(took) = took {
            self.news_after = (self.news_after * 15 + took.min(NEWS_AFTER_MAX)) / 16;
        }
        let job = member.report().map_or(0.0, |(report, _)| report.job);
        if job > 0.0 && seen > 0 {
            self.jobs.0 += f64::from(job) * seen as f64;
            self.jobs.1 += seen as f64;
            self.drain.set_job(Some(self.jobs.0 / self.jobs.1));
        }
        let known = member.known_load();
        let is_late =
            self.drain.job().is_some_and(|job| job * LATE < self.news_after.as_secs_f64());
        let stands_out = known > before + OUTSTANDING;
        let is_guessed = is_late && !stands_out && self.drains(place);
        let load = if is_guessed { before } else { known };
        if let How::Stale(_) = self.standings[place].how {
            self.standings[place].how = How::Still(load);
            self.stale.retain(|other| *other != place);
        }
        self.stand(place, load, now);
        true
    }

    /// Chooses a node and counts one use of it (P15); none if the pool is empty.
    pub(crate) fn place(&mut self, now: Duration) -> Option<NodeName> {
        self.go_on_until(now);
        let place = self.choose()?;
        let load = self.load_at(place);
        self.turn += 1;
        let member = self.members.at_mut(place);
        member.place(self.turn, now);
        let (name, cores) = (member.name, member.cores());
        self.stand(place, load + 1.0 / f64::from(cores), now);
        Some(name)
    }

    /// Takes one use of the node back: the spawn there failed.
    pub(crate) fn cancel(&mut self, name: NodeName) {
        // Gone in the meantime, perhaps because of the same failure: then its uses are gone too.
        let Some(place) = self.members.place_of(name) else { return };
        let member = self.members.at_mut(place);
        if member.cancel() {
            let one = 1.0 / f64::from(member.cores());
            let load = (self.load_at(place) - one).max(0.0);
            self.stand(place, load, self.standings[place].since);
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
    pub(crate) fn nodes_and_load(&mut self, now: Duration) -> Vec<(NodeName, f64)> {
        self.go_on_until(now);
        let nodes = self.members.iter().enumerate();
        nodes.map(|(place, member)| (member.name, self.load_at(place))).collect()
    }

    /// The load that the next choice expects on a node; none if it is no member.
    #[cfg(test)]
    pub(crate) fn load_of(&mut self, name: NodeName, now: Duration) -> Option<f64> {
        self.go_on_until(now);
        self.members.place_of(name).map(|place| self.load_at(place))
    }

    /// The numbers behind the next choice, in order of preference.
    ///
    /// PL-3: the first one is what [`Placement::place`] would choose at this moment: also where
    /// chance decides, as the dice are copied and fall alike.
    pub(crate) fn explain(&mut self, now: Duration) -> Vec<Reason> {
        self.go_on_until(now);
        let dice = self.dice.clone();
        let chosen = self.choose();
        self.dice = dice;
        let Some(chosen) = chosen else { return Vec::new() };
        let mut places: Vec<usize> = (0..self.members.len()).collect();
        places.sort_by(|a, b| {
            let is_other = |place: &usize| *place != chosen;
            is_other(a).cmp(&is_other(b)).then_with(|| self.preference(*a, *b))
        });
        places.into_iter().map(|place| self.reason(place, now)).collect()
    }

    /// What is expected at this moment, for one who chooses nodes by a copy and whose choices are in it
    /// up to number `contains`. In halves of a job: nodes that are as good as equal are equal then, so
    /// that those who choose at once do not all choose the same (PL-8).
    pub(crate) fn table(&mut self, choosers: u32, contains: u64, now: Duration) -> Table {
        self.go_on_until(now);
        let figure = |(place, member): (usize, &Member)| {
            let jobs = self.load_at(place) * f64::from(member.cores());
            Figure {
                node: member.name,
                cores: member.cores(),
                jobs: ((jobs * 2.0).round() / 2.0) as f32,
                steady: jobs == 0.0 || !self.ends_as_jobs(place),
            }
        };
        let nodes = self.members.iter().enumerate().map(figure).collect();
        let job = self.drain.job().unwrap_or_default() as f32;
        Table { nodes, job, choosers, contains }
    }

    /// Counts choices that another one has made.
    pub(crate) fn placed_elsewhere(&mut self, name: NodeName, count: u32, now: Duration) {
        self.go_on_until(now);
        let Some(place) = self.members.place_of(name) else { return };
        self.turn += 1;
        self.members.at_mut(place).place_many(count, self.turn, now);
        let cores = self.members.at(place).cores();
        let load = self.load_at(place) + f64::from(count) / f64::from(cores);
        self.stand(place, load, now);
    }

    fn reason(&self, place: usize, now: Duration) -> Reason {
        let member = self.members.at(place);
        let (report, age) = match member.report() {
            Some(&(report, heard)) => (report, Some(now.saturating_sub(heard))),
            None => (IDLE, None),
        };
        let load = self.load_at(place);
        Reason {
            node: member.name,
            load,
            runnable: report.runnable,
            running: report.running,
            blocking: report.blocking,
            delayed: report.delayed,
            foreign: report.foreign,
            unacknowledged: member.unacknowledged(),
            over: (member.known_load() - load) * f64::from(member.cores()),
            cores: member.cores(),
            age,
            stale: matches!(self.standings[place].how, How::Stale(_)),
        }
    }

    fn choose(&mut self) -> Option<usize> {
        let still = self.still.first().map(|(place, _)| place);
        let draining = self.draining.first().map(|(place, _)| place);
        let drawn = self.dice.two_of(self.stale.len()).map(|at| at.map(|at| self.stale[at]));
        let standing = [still, draining].into_iter().chain(drawn).flatten();
        standing.min_by(|a, b| self.preference(*a, *b))
    }

    /// PL-1; two that never had a turn stand in order of joining.
    fn preference(&self, a: usize, b: usize) -> Ordering {
        let turn = |place| self.members.at(place).turn();
        let by_load = self.load_at(a).total_cmp(&self.load_at(b));
        by_load.then_with(|| turn(a).cmp(&turn(b))).then(a.cmp(&b))
    }

    fn load_at(&self, place: usize) -> f64 {
        match self.standings[place].how {
            How::Still(load) | How::Stale(load) => load,
            How::Draining(moment) => self.drain.left(moment),
        }
    }

    /// Whether what a member has to do ends as the pool's jobs do: no job's end takes away what else
    /// keeps its cores, be it of others or of its own.
    fn ends_as_jobs(&self, place: usize) -> bool {
        let member = self.members.at(place);
        let own = member.report().map_or(0.0, |(report, _)| f64::from(report.job));
        let is_alike = |job| own > 0.0 && own < job * ALIKE;
        self.drain.job().is_some_and(is_alike) && !member.is_pressed()
    }

    /// Whether that has to be counted down, as news of it takes a while.
    fn drains(&self, place: usize) -> bool {
        self.ends_as_jobs(place) && !self.members.at(place).is_prompt()
    }

    /// Gives a member its place in the election, with this load, of which the last was heard or done
    /// then.
    fn stand(&mut self, place: usize, load: f64, since: Duration) {
        let member = self.members.at(place);
        let turn = member.turn();
        let drains = load > 0.0 && self.drains(place);
        let standing = &mut self.standings[place];
        standing.since = since;
        if let How::Stale(_) = standing.how {
            standing.how = How::Stale(load); // until it is heard
        } else if drains {
            let moment = self.drain.moment(load);
            standing.how = How::Draining(moment);
            self.draining.set(place, (moment, turn));
            self.still.remove(place);
            if !standing.queued {
                standing.queued = true;
                self.settling.push_back((since + self.news_after, place));
            }
        } else {
            standing.how = How::Still(load);
            self.still.set(place, (load, turn));
            self.draining.remove(place);
        }
    }

    /// Gives all members their places anew: they are others now, or in another order.
    fn stand_all(&mut self) {
        let count = self.members.len();
        (self.still, self.draining) = (Ranking::of(count), Ranking::of(count));
        self.stale.clear();
        self.settling.clear();
        let new = Standing { how: How::Still(0.0), since: Duration::ZERO, queued: false };
        self.standings = vec![new; count];
        (0..count).for_each(|place| self.stand_still(place));
        self.swept = Duration::ZERO; // who is stale is found at the next look
    }

    /// What was heard of it last, and placed since, is all that there is.
    fn stand_still(&mut self, place: usize) {
        let member = self.members.at(place);
        let (load, turn) = (member.known_load(), member.turn());
        self.standings[place].how = How::Still(load);
        self.still.set(place, (load, turn));
        self.draining.remove(place);
    }

    /// Brings everything to this moment.
    fn go_on_until(&mut self, now: Duration) {
        self.drain.advance(now);
        while let Some((_, place)) = self.settling.front().copied().filter(|(at, _)| *at <= now) {
            self.settling.pop_front();
            self.settle(place, now);
        }
        if now < self.swept || now >= self.swept + SWEEP_EVERY {
            self.sweep(now);
        }
    }

    /// News of a member would have come by now: what it said last stands, unless it owes some.
    fn settle(&mut self, place: usize, now: Duration) {
        let standing = &mut self.standings[place];
        standing.queued = false;
        let How::Draining(moment) = standing.how else { return };
        let at = standing.since + self.news_after;
        if at > now {
            standing.queued = true;
            self.settling.push_back((at, place));
        } else if self.members.at(place).unacknowledged() == 0 {
            self.stand_still(place);
        } else {
            let (load, turn) = (self.drain.left(moment), self.members.at(place).turn());
            standing.how = How::Still(load);
            self.still.set(place, (load, turn));
            self.draining.remove(place);
        }
    }

    /// Looks at all members for what comes with time alone.
    fn sweep(&mut self, now: Duration) {
        let kept = 0.5_f64.powf(now.saturating_sub(self.swept).as_secs_f64());
        self.jobs = (self.jobs.0 * kept, self.jobs.1 * kept);
        if self.jobs.1 < 1.0 {
            self.jobs = (0.0, 0.0);
            self.drain.set_job(None);
        }
        self.swept = now;
        self.stale.clear();
        for place in 0..self.members.len() {
            if self.members.at_mut(place).forget_expired(now) {
                self.stand_still(place);
            }
            let was_stale = matches!(self.standings[place].how, How::Stale(_));
            if self.members.at(place).is_stale(now) {
                self.standings[place].how = How::Stale(self.load_at(place));
                self.still.remove(place);
                self.draining.remove(place);
                self.stale.push(place);
            } else if was_stale {
                self.stand_still(place);
            }
        }
    }
}

/// At the least, between two looks at all members.
const SWEEP_EVERY: Duration = Duration::from_millis(25);

/// No news takes longer than this to be waited for.
const NEWS_AFTER_MAX: Duration = Duration::from_millis(500);

/// A node on which a job takes so many times as long as in the pool's mean has something else to do.
const ALIKE: f64 = 16.0;

/// News that takes as many job lengths is late (PL-6).
const LATE: f64 = 8.0;

/// By so much a core must a late report tell of more than is expected to count (PL-6).
const OUTSTANDING: f64 = 3.0;

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
    pub(crate) unacknowledged: u32,
    /// Jobs of these that are expected to be over by now (PL-5), or not there at all (PL-6).
    pub(crate) over: f64,
    pub(crate) cores: u32,
    /// How old its last report is; none if there is none.
    pub(crate) age: Option<Duration>,
    /// Whether it only stands for election when it is drawn (PL-2).
    pub(crate) stale: bool,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reason { node, load, runnable, running, blocking, delayed, foreign, .. } = self;
        let Reason { unacknowledged, over, cores, .. } = self;
        write!(
            f,
            "{node}: load {load:.2} = ({runnable} runnable + {running} running + {blocking} \
             blocking + {delayed:.2} delayed + {foreign:.2} foreign + {unacknowledged} on the way"
        )?;
        if over.abs() >= 0.005 {
            let (sign, over) = if *over > 0.0 { ('-', *over) } else { ('+', -over) };
            write!(
                f,
                " {sign} {over:.2} {}",
                if sign == '-' { "over by now" } else { "expected" }
            )?;
        }
        write!(f, ") / {cores} cores, ")?;
        match self.age {
            Some(age) => write!(f, "heard {} ms ago", age.as_millis())?,
            None => f.write_str("not heard yet")?,
        }
        f.write_str(if self.stale { ", stale" } else { "" })
    }
}

/// A small seeded generator (splitmix64): the core has no other source of chance, so that every
/// choice can be replayed.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Two different ones of so many, or as many as there are.
    fn two_of(&mut self, count: usize) -> [Option<usize>; 2] {
        match count {
            0 => [None, None],
            1 => [Some(0), None],
            count => {
                let first = self.below(count);
                let second = (first + 1 + self.below(count - 1)) % count;
                [Some(first), Some(second)]
            }
        }
    }

    fn below(&mut self, end: usize) -> usize {
        // The remainder's bias is far below anything a pool's size could show.
        usize::try_from(self.roll() % end as u64).expect("less than a usize")
    }

    pub(super) fn roll(&mut self) -> u64 {
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
        let on_the_way = |placement: &mut Placement, now| placement.explain(now)[0].unacknowledged;
        for at in [0, 1, 2] {
            placement.place(ms(at));
        }
        assert_eq!(on_the_way(&mut placement, ms(2)), 3);
        placement.report(node(0), idle(1), ms(3));
        assert_eq!(on_the_way(&mut placement, ms(3)), 2, "MB-2");
        placement.cancel(node(0));
        assert_eq!(on_the_way(&mut placement, ms(3)), 1);
        assert_eq!(on_the_way(&mut placement, ms(3) + PLACEMENT_EXPIRES), 0, "MB-3");
        placement.cancel(node(0));
        placement.cancel(node(0));
        assert_eq!(on_the_way(&mut placement, ms(3)), 0, "never below none");
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
    fn what_is_no_job_is_not_counted_down() {
        let mut placement = pool(&[4, 4]);
        // On both many jobs of a millisecond; the second also has eight that never end.
        for turn in 1..=50 {
            let at = ms(turn * 5);
            (0..2).for_each(|_| _ = placement.place(at));
            let report = LoadReport { job: 0.001, ..idle(2 * turn) };
            placement.report(node(0), report, at + ms(2));
            let report = LoadReport { running: 4, runnable: 4, job: 0.1, ..idle(0) };
            placement.report(node(1), report, at + ms(2));
            let loads = placement.nodes_and_load(at + ms(4));
            assert!(loads[0].1 < 0.2 && loads[1].1 >= 2.0, "PL-5: {loads:?}");
        }
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
                    prop_assert!(load.is_finite() && load >= 0.0, "{load}");
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
            prop_assert!(max - min <= 2, "PL-1, MB-3 forgets several at once: {:?}", shares);
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
        let told = (any::<[f32; 3]>(), any::<bool>());
        (prop_oneof![counts, few], told).prop_map(|(counts, ([delayed, foreign, job], prompt))| {
            let (runnable, running, blocking, cores, accepted) = counts;
            let counts = LoadReport { runnable, running, blocking, cores, accepted, ..IDLE };
            LoadReport { delayed, foreign, job, prompt, ..counts }
        })
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
}
