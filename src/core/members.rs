//! Members: which nodes are in the pool, in order of joining, and how much each has to do.

use std::collections::VecDeque;
use std::time::Duration;

use super::pace::KEEP_ALIVE;
use crate::term::{At, Incarnation, LoadReport, NodeName};

/// The nodes of a pool, in order of joining: the master first.
#[derive(Debug, Default)]
pub(crate) struct Members {
    list: Vec<Member>,
}

impl Members {
    /// Takes the node in, at the tail; false if this life of it is a member already (P12).
    ///
    /// MB-1: a node that comes back starts fresh: neither the reports nor the placements of its
    /// former life, or of its former stay, say anything about this one.
    pub(crate) fn join(
        &mut self,
        name: NodeName,
        incarnation: Incarnation,
        cores: u32,
        at: Option<At>,
    ) -> bool {
        if self.get(name).is_some_and(|member| member.incarnation == incarnation) {
            return false;
        }
        self.leave(name);
        self.list.push(Member {
            name,
            incarnation,
            at,
            cores,
            report: None,
            placed: VecDeque::new(),
            turn: 0,
        });
        true
    }

    /// Lets the node go, and everything known of it (P23).
    pub(crate) fn leave(&mut self, name: NodeName) -> Option<Member> {
        let at = self.list.iter().position(|member| member.name == name)?;
        Some(self.list.remove(at))
    }

    /// Puts those that are named into the order of their names in `order`, on the places that they have among them (H12:
    /// nodes that are started at once come up in any order). The others stay where they are.
    pub(crate) fn arrange(&mut self, order: &[NodeName]) {
        let named = |member: &Member| order.iter().position(|name| *name == member.name);
        let places: Vec<usize> =
            (0..self.list.len()).filter(|at| named(&self.list[*at]).is_some()).collect();
        let mut moved: Vec<Member> = places.iter().map(|at| self.list[*at].clone()).collect();
        moved.sort_by_key(named);
        for (at, member) in places.into_iter().zip(moved) {
            self.list[at] = member;
        }
    }

    /// Notes what a member says of itself; false if it is none: a report may be on its way while
    /// its node leaves, and must not bring it back (in OTP it crashes the pool master, P20).
    pub(crate) fn report(&mut self, name: NodeName, report: LoadReport, now: Duration) -> bool {
        match self.get_mut(name) {
            Some(member) => {
                member.reported(report, now);
                true
            }
            None => false,
        }
    }

    pub(super) fn get_mut(&mut self, name: NodeName) -> Option<&mut Member> {
        self.list.iter_mut().find(|member| member.name == name)
    }

    pub(crate) fn get(&self, name: NodeName) -> Option<&Member> {
        self.list.iter().find(|member| member.name == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }
}

/// One node of the pool, as the master knows it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: NodeName,
    pub(crate) incarnation: Incarnation,
    /// Where other nodes reach it; none for one that does not listen.
    pub(crate) at: Option<At>,
    /// What it said when it joined; a report knows better.
    cores: u32,
    /// Its last report, and when that was heard.
    report: Option<(LoadReport, Duration)>,
    /// When each placement was made that no report has acknowledged, oldest first.
    placed: VecDeque<Duration>,
    /// Which choice of the pool's fell on it last; 0 is none yet.
    turn: u64,
}

impl Member {
    /// Counts a placement, choice number `turn` of the pool, until it shows in a report.
    pub(super) fn place(&mut self, turn: u64, now: Duration) {
        self.turn = turn;
        self.placed.drain(..self.expired(now));
        // Sorted even if the caller's time went back: the searches below rely on it.
        let latest = self.placed.back().copied().unwrap_or_default();
        self.placed.push_back(now.max(latest));
    }

    /// Takes one placement back: nothing came of it.
    pub(super) fn cancel(&mut self) {
        self.placed.pop_back();
    }

    fn reported(&mut self, report: LoadReport, now: Duration) {
        // MB-2: each spawn that the node has accepted since its last report takes one placement
        // off, as it now shows in the node's own counts; never more than there are.
        let before = self.report.map_or(0, |(report, _)| report.accepted);
        let accepted = usize::try_from(report.accepted.saturating_sub(before));
        self.placed.drain(..accepted.unwrap_or(usize::MAX).min(self.placed.len()));
        // A peer's figures: whatever is no count of threads must not decide anything.
        let sane = |figure: f32| if figure.is_finite() { figure.max(0.0) } else { 0.0 };
        let (delayed, foreign) = (sane(report.delayed), sane(report.foreign));
        self.report = Some((LoadReport { delayed, foreign, ..report }, now));
    }

    /// The expected load: everything that runs, wants to run or is about to arrive, for each core.
    pub(crate) fn load(&self, now: Duration) -> f64 {
        let reported = self.report.map_or(0.0, |(report, _)| report.work());
        (reported + self.unacknowledged(now) as f64) / f64::from(self.cores())
    }

    /// How many placements are on their way, as far as the master knows.
    ///
    /// MB-3: a placement that no report acknowledges is forgotten after [`PLACEMENT_EXPIRES`]: a
    /// node asked for by name counts as one use (P16), though nothing may ever be spawned there.
    pub(crate) fn unacknowledged(&self, now: Duration) -> usize {
        self.placed.len() - self.expired(now)
    }

    /// Whether the last report can no longer be trusted to be the node's present state.
    ///
    /// MB-4: a node is silent while nothing changes, so an old report alone is good. It is stale
    /// once the node owes a newer one: something was placed there since, [`STALE_AFTER`] ago, or
    /// even the keep-alive is that late. A node without any report is not stale, merely new.
    pub(crate) fn is_stale(&self, now: Duration) -> bool {
        let Some((_, heard)) = self.report else { return false };
        let since = self.placed.partition_point(|&placed| placed < heard);
        let owed = self.placed.get(since).is_some_and(|&placed| placed + STALE_AFTER < now);
        owed || heard + KEEP_ALIVE + STALE_AFTER < now
    }

    /// Its last report, and when that was heard.
    pub(crate) fn report(&self) -> Option<&(LoadReport, Duration)> {
        self.report.as_ref()
    }

    /// The cores that it may use: at least one.
    pub(crate) fn cores(&self) -> u32 {
        self.report.map_or(self.cores, |(report, _)| report.cores).max(1)
    }

    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    fn expired(&self, now: Duration) -> usize {
        self.placed.partition_point(|&placed| placed + PLACEMENT_EXPIRES <= now)
    }
}

impl LoadReport {
    /// Everything that runs or wants to run.
    pub(super) fn work(&self) -> f64 {
        let counted = f64::from(self.runnable) + f64::from(self.running) + f64::from(self.blocking);
        counted + quarters(self.pressure())
    }

    /// The part that is estimated rather than counted.
    pub(super) fn pressure(&self) -> f64 {
        f64::from(self.delayed) + f64::from(self.foreign)
    }
}

/// MB-5: an estimate counts in steps of a quarter of a thread. Its noise would otherwise order
/// nodes that are equally idle, and one would take what all should take in turn.
fn quarters(figure: f64) -> f64 {
    (figure * 4.0).round() / 4.0
}

/// Nothing to do, and nothing known: what stands for the report that a node has not made yet.
pub(super) const IDLE: LoadReport = LoadReport {
    runnable: 0,
    running: 0,
    blocking: 0,
    delayed: 0.0,
    foreign: 0.0,
    cores: 0,
    accepted: 0,
};

/// How long a placement counts that no report acknowledges.
pub(crate) const PLACEMENT_EXPIRES: Duration = Duration::from_secs(2);

/// How late a report may be that is owed. Chosen by simulation: at an age of half a second the
/// sorted choice begins to be worse than a choice between two.
pub(crate) const STALE_AFTER: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_the_order_of_joining_and_join_once() {
        let mut members = Members::default();
        for name in ["m@h", "a@h", "b@h"] {
            assert!(members.join(node(name), Incarnation(1), 4, None));
        }
        assert!(!members.join(node("a@h"), Incarnation(1), 8, None), "P12");
        assert_eq!(members.get(node("a@h")).unwrap().cores(), 4);
        assert_eq!(names(&members), ["m@h", "a@h", "b@h"]);
        members.leave(node("a@h")).unwrap();
        assert!(members.leave(node("a@h")).is_none());
        assert!(members.join(node("a@h"), Incarnation(1), 4, None));
        assert_eq!(names(&members), ["m@h", "b@h", "a@h"], "P23: at the tail");
    }

    #[test]
    fn members_that_are_named_take_their_order_and_the_others_stay() {
        let mut members = Members::default();
        for name in ["m@h", "c@h", "x@h", "a@h", "b@h"] {
            members.join(node(name), Incarnation(1), 4, None);
        }
        members.arrange(&["a@h", "b@h", "gone@h", "c@h"].map(node));
        assert_eq!(names(&members), ["m@h", "a@h", "x@h", "b@h", "c@h"], "H12");
    }

    #[test]
    fn another_life_of_a_name_starts_fresh() {
        let (mut members, a) = one_member();
        members.report(a, LoadReport { runnable: 9, ..IDLE }, ms(0));
        members.get_mut(a).unwrap().place(1, ms(1));
        assert!(members.join(a, Incarnation(2), 2, None), "MB-1");
        let member = members.get(a).unwrap();
        assert_eq!((member.load(ms(2)), member.turn(), member.cores()), (0.0, 0, 2));
        assert_eq!(members.iter().count(), 1);
    }

    #[test]
    fn a_report_of_a_stranger_is_dropped() {
        let (mut members, _) = one_member();
        assert!(!members.report(node("x@h"), IDLE, ms(0)), "P20");
        assert_eq!(names(&members), ["a@h"]);
    }

    #[test]
    fn accepted_spawns_take_placements_off_and_never_more_than_there_are() {
        let (mut members, a) = one_member();
        for turn in 1..=3 {
            members.get_mut(a).unwrap().place(turn, ms(turn));
        }
        for (accepted, left) in [(1, 2), (1, 2), (0, 2), (2, 0), (u64::MAX, 0)] {
            members.report(a, LoadReport { accepted, ..IDLE }, ms(5));
            assert_eq!(members.get(a).unwrap().unacknowledged(ms(5)), left, "MB-2");
        }
    }

    #[test]
    fn a_placement_that_nobody_acknowledges_expires() {
        let (mut members, a) = one_member();
        let member = members.get_mut(a).unwrap();
        member.place(1, ms(0));
        member.place(2, ms(500));
        let left = [ms(1_999), ms(2_000), ms(2_500)].map(|now| member.unacknowledged(now));
        assert_eq!(left, [2, 1, 0], "MB-3");
    }

    #[test]
    fn a_quiet_node_is_believed_until_it_owes_a_report() {
        let (mut members, a) = one_member();
        let stale = |members: &Members, now| members.get(a).unwrap().is_stale(now);
        assert!(!stale(&members, ms(60_000)), "MB-4: new");
        members.report(a, IDLE, ms(0));
        assert!(!stale(&members, ms(1_500)), "MB-4: quiet");
        assert!(stale(&members, ms(1_501)), "MB-4: not even a keep-alive");
        members.get_mut(a).unwrap().place(1, ms(50));
        assert!(!stale(&members, ms(550)) && stale(&members, ms(551)), "MB-4: owed");
        members.report(a, IDLE, ms(600));
        assert!(!stale(&members, ms(1_500)), "MB-4: heard since");
    }

    #[test]
    fn load_is_all_work_for_each_core_without_the_noise() {
        let (mut members, a) = one_member();
        let report = LoadReport {
            runnable: 3,
            running: 2,
            blocking: 1,
            delayed: 0.7,
            foreign: 1.25,
            cores: 2,
            accepted: 0,
        };
        members.report(a, report, ms(0));
        members.get_mut(a).unwrap().place(1, ms(1));
        assert_eq!(members.get(a).unwrap().load(ms(1)), (3.0 + 2.0 + 1.0 + 2.0 + 1.0) / 2.0);
        let noise = LoadReport { delayed: 0.04, foreign: 0.08, cores: 2, accepted: 1, ..report };
        let noise = LoadReport { runnable: 0, running: 0, blocking: 0, ..noise };
        members.report(a, noise, ms(2));
        assert_eq!(members.get(a).unwrap().load(ms(2)), 0.0, "MB-5");
    }

    #[test]
    fn a_report_that_makes_no_sense_does_no_harm() {
        let (mut members, a) = one_member();
        let (delayed, foreign) = (f32::NAN, f32::NEG_INFINITY);
        members.report(a, LoadReport { delayed, foreign, ..IDLE }, ms(0));
        assert_eq!(members.get(a).unwrap().load(ms(0)), 0.0);
        assert_eq!(members.get(a).unwrap().cores(), 1);
    }

    fn one_member() -> (Members, NodeName) {
        let mut members = Members::default();
        members.join(node("a@h"), Incarnation(1), 4, None);
        (members, node("a@h"))
    }

    fn names(members: &Members) -> Vec<&'static str> {
        members.iter().map(|member| member.name.as_str()).collect()
    }

    fn node(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }
}
