//! Members: which nodes are in the pool, in order of joining, and how much each has to do.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::pace::KEEP_ALIVE;
use crate::term::{At, Incarnation, LoadReport, NodeName};

/// The nodes of a pool, in order of joining: the master first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    list: Vec<Member>,
    places: HashMap<NodeName, usize>,
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
        self.places.insert(name, self.list.len());
        self.list.push(Member {
            name,
            incarnation,
            at,
            cores,
            report: None,
            unseen: Unseen::default(),
            turn: 0,
        });
        true
    }

    /// Lets the node go, and everything known of it (P23).
    pub(crate) fn leave(&mut self, name: NodeName) -> Option<Member> {
        let left = self.list.remove(self.place_of(name)?);
        self.find_places();
        Some(left)
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
        self.find_places();
    }

    /// Where a member stands in the order of joining.
    pub(crate) fn place_of(&self, name: NodeName) -> Option<usize> {
        self.places.get(&name).copied()
    }

    /// The member that stands there.
    pub(super) fn at(&self, place: usize) -> &Member {
        &self.list[place]
    }

    pub(super) fn at_mut(&mut self, place: usize) -> &mut Member {
        &mut self.list[place]
    }

    pub(crate) fn get(&self, name: NodeName) -> Option<&Member> {
        self.place_of(name).map(|place| &self.list[place])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    fn find_places(&mut self) {
        self.places = self.list.iter().enumerate().map(|(at, member)| (member.name, at)).collect();
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
    unseen: Unseen,
    /// Which choice of the pool's fell on it last; 0 is none yet.
    turn: u64,
}

impl Member {
    /// Counts a placement, choice number `turn` of the pool, until it shows in a report.
    pub(super) fn place(&mut self, turn: u64, now: Duration) {
        self.place_many(1, turn, now);
    }

    /// The same for several at once.
    pub(super) fn place_many(&mut self, count: u32, turn: u64, now: Duration) {
        self.turn = turn;
        self.unseen.placed(count, now, self.report.map_or(Duration::ZERO, |(_, heard)| heard));
    }

    /// Takes one placement back: nothing came of it. False if there is none.
    pub(super) fn cancel(&mut self) -> bool {
        self.unseen.cancel()
    }

    /// Notes what it says of itself. Answers how many placements are acknowledged by that, and how
    /// long one of them was on its way, if that was measured.
    pub(super) fn reported(
        &mut self,
        report: LoadReport,
        now: Duration,
    ) -> (u64, Option<Duration>) {
        // MB-2: each spawn that the node has accepted since its last report takes one placement
        // off, as it now shows in the node's own counts; never more than there are.
        let before = self.report.map_or(0, |(report, _)| report.accepted);
        let seen = self.unseen.seen(report.accepted.saturating_sub(before), now);
        // A peer's figures: whatever is no count of threads must not decide anything.
        let sane = |figure: f32| if figure.is_finite() { figure.max(0.0) } else { 0.0 };
        let (delayed, foreign, job) =
            (sane(report.delayed), sane(report.foreign), sane(report.job));
        self.report = Some((LoadReport { delayed, foreign, job, ..report }, now));
        seen
    }

    /// The load that it is known to have, for each core: everything that runs or wants to run by its
    /// last report, and what is about to arrive. See [`Placement`](super::placement::Placement) for
    /// what of it will have ended since.
    pub(super) fn known_load(&self) -> f64 {
        (self.reported_work() + f64::from(self.unseen.count)) / f64::from(self.cores())
    }

    /// Everything that ran or wanted to run when it last reported.
    pub(super) fn reported_work(&self) -> f64 {
        self.report.map_or(0.0, |(report, _)| report.work())
    }

    /// Whether something but the node's own work keeps its cores, which no job's end takes away.
    pub(super) fn is_pressed(&self) -> bool {
        self.report.is_some_and(|(report, _)| quarters(report.pressure()) > 0.0)
    }

    /// Whether it tells each end of a job at once.
    pub(super) fn is_prompt(&self) -> bool {
        self.report.is_some_and(|(report, _)| report.prompt)
    }

    /// How many placements are on their way, as far as is known here.
    ///
    /// MB-3: a placement that no report acknowledges is forgotten after [`PLACEMENT_EXPIRES`]: a
    /// node asked for by name counts as one use (P16), though nothing may ever be spawned there.
    pub(crate) fn unacknowledged(&self) -> u32 {
        self.unseen.count
    }

    /// Forgets what no report will acknowledge any more; false if there is nothing.
    pub(super) fn forget_expired(&mut self, now: Duration) -> bool {
        self.unseen.forget_expired(now)
    }

    /// Whether the last report can no longer be trusted to be the node's present state.
    ///
    /// MB-4: a node is silent while nothing changes, so an old report alone is good. It is stale
    /// once the node owes a newer one: something was placed there since, [`STALE_AFTER`] ago, or
    /// even the keep-alive is that late. A node without any report is not stale, merely new.
    pub(crate) fn is_stale(&self, now: Duration) -> bool {
        let Some((_, heard)) = self.report else { return false };
        let owed = self.unseen.first_since(heard).is_some_and(|at| at + STALE_AFTER < now);
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
}

/// Placements that no report has acknowledged.
#[derive(Clone, Debug, Default)]
struct Unseen {
    count: u32,
    /// Their number by when they were made, oldest first: those of one [`SPAN`] together.
    spans: VecDeque<(Duration, u32)>,
    /// How many were ever made, and acknowledged or given up.
    made: u64,
    over: u64,
    /// One that is being timed: its number, and when it was made.
    timed: Option<(u64, Duration)>,
}

impl Unseen {
    fn placed(&mut self, new: u32, now: Duration, heard: Duration) {
        self.count = self.count.saturating_add(new);
        self.made += u64::from(new);
        if self.timed.is_none() {
            self.timed = Some((self.made, now));
        }
        match self.spans.back_mut() {
            // Sorted even if the caller's time went back.
            Some((at, count)) if now < *at || (now < *at + SPAN && heard <= *at) => {
                *count = count.saturating_add(new);
            }
            _ => self.spans.push_back((now, new)),
        }
    }

    fn cancel(&mut self) -> bool {
        let Some((_, count)) = self.spans.back_mut() else { return false };
        *count -= 1;
        if *count == 0 {
            self.spans.pop_back();
        }
        self.count -= 1;
        self.made -= 1;
        self.timed = self.timed.filter(|(number, _)| *number <= self.made);
        true
    }

    fn seen(&mut self, accepted: u64, now: Duration) -> (u64, Option<Duration>) {
        let seen = accepted.min(u64::from(self.count));
        let mut left = u32::try_from(seen).expect("no more than a u32 counts");
        self.count -= left;
        self.over += seen;
        while let Some((_, count)) = self.spans.front_mut().filter(|_| left > 0) {
            let taken = left.min(*count);
            *count -= taken;
            left -= taken;
            if *count == 0 {
                self.spans.pop_front();
            }
        }
        (seen, self.time_over().map(|at| now.saturating_sub(at)))
    }

    fn forget_expired(&mut self, now: Duration) -> bool {
        let before = self.count;
        while let Some((_, count)) =
            self.spans.front().filter(|(at, _)| *at + PLACEMENT_EXPIRES <= now)
        {
            self.count = self.count.saturating_sub(*count);
            self.over += u64::from(*count);
            self.spans.pop_front();
        }
        if self.count < before {
            self.time_over();
        }
        self.count < before
    }

    /// When the one was made that is timed, if it is over.
    fn time_over(&mut self) -> Option<Duration> {
        let (_, at) = self.timed.filter(|(number, _)| *number <= self.over)?;
        self.timed = None;
        Some(at)
    }

    fn first_since(&self, heard: Duration) -> Option<Duration> {
        let since = self.spans.partition_point(|(at, _)| *at < heard);
        self.spans.get(since).map(|(at, _)| *at)
    }
}

impl LoadReport {
    /// Everything that runs or wants to run.
    pub(super) fn work(&self) -> f64 {
        f64::from(self.counted()) + quarters(self.pressure())
    }

    /// The part that is counted rather than estimated.
    pub(crate) fn counted(&self) -> u32 {
        self.runnable.saturating_add(self.running).saturating_add(self.blocking)
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
    job: 0.0,
    prompt: false,
};

/// How long a placement counts that no report acknowledges.
pub(crate) const PLACEMENT_EXPIRES: Duration = Duration::from_secs(2);

/// Placements within so much time are remembered as made at once.
const SPAN: Duration = Duration::from_millis(10);

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
        members.at_mut(0).reported(LoadReport { runnable: 9, ..IDLE }, ms(0));
        members.at_mut(0).place(1, ms(1));
        assert!(members.join(a, Incarnation(2), 2, None), "MB-1");
        let member = members.get(a).unwrap();
        assert_eq!((member.known_load(), member.turn(), member.cores()), (0.0, 0, 2));
        assert_eq!(members.iter().count(), 1);
    }

    #[test]
    fn accepted_spawns_take_placements_off_and_never_more_than_there_are() {
        let (mut members, _) = one_member();
        for turn in 1..=3 {
            members.at_mut(0).place(turn, ms(turn));
        }
        for (accepted, left) in [(1, 2), (1, 2), (0, 2), (2, 0), (u64::MAX, 0)] {
            members.at_mut(0).reported(LoadReport { accepted, ..IDLE }, ms(5));
            assert_eq!(members.at(0).unacknowledged(), left, "MB-2");
        }
    }

    #[test]
    fn a_placement_that_nobody_acknowledges_expires() {
        let (mut members, _) = one_member();
        let member = members.at_mut(0);
        member.place(1, ms(0));
        member.place(2, ms(500));
        let left = [ms(1_999), ms(2_000), ms(2_500)].map(|now| {
            member.forget_expired(now);
            member.unacknowledged()
        });
        assert_eq!(left, [2, 1, 0], "MB-3");
        assert!(!member.cancel(), "none is left to take back");
    }

    #[test]
    fn the_time_is_taken_until_a_placement_shows_in_a_report() {
        let (mut members, _) = one_member();
        let member = members.at_mut(0);
        let accepted = |accepted| LoadReport { accepted, ..IDLE };
        member.place(1, ms(10));
        member.place(2, ms(12));
        assert_eq!(member.reported(accepted(0), ms(15)), (0, None));
        assert_eq!(member.reported(accepted(1), ms(20)), (1, Some(ms(10))));
        assert_eq!(member.reported(accepted(2), ms(30)), (1, None), "it was not timed");
        member.place(3, ms(40));
        member.cancel();
        member.place(4, ms(50));
        assert_eq!(member.reported(accepted(3), ms(57)), (1, Some(ms(7))));
    }

    #[test]
    fn a_quiet_node_is_believed_until_it_owes_a_report() {
        let (mut members, _) = one_member();
        let member = members.at_mut(0);
        assert!(!member.is_stale(ms(60_000)), "MB-4: new");
        member.reported(IDLE, ms(0));
        assert!(!member.is_stale(ms(1_500)), "MB-4: quiet");
        assert!(member.is_stale(ms(1_501)), "MB-4: not even a keep-alive");
        member.place(1, ms(50));
        assert!(!member.is_stale(ms(550)) && member.is_stale(ms(551)), "MB-4: owed");
        member.place(2, ms(590));
        member.reported(IDLE, ms(600));
        assert!(!member.is_stale(ms(1_500)), "MB-4: heard since");
        member.place(3, ms(610));
        assert!(member.is_stale(ms(1_111)), "MB-4: owed again");
    }

    #[test]
    fn load_is_all_work_for_each_core_without_the_noise() {
        let (mut members, _) = one_member();
        let member = members.at_mut(0);
        let report = LoadReport {
            runnable: 3,
            running: 2,
            blocking: 1,
            delayed: 0.7,
            foreign: 1.25,
            cores: 2,
            accepted: 0,
            job: 0.0,
            prompt: false,
        };
        member.reported(report, ms(0));
        member.place(1, ms(1));
        assert_eq!(member.known_load(), (3.0 + 2.0 + 1.0 + 2.0 + 1.0) / 2.0);
        assert!(member.is_pressed());
        let noise = LoadReport { delayed: 0.04, foreign: 0.08, cores: 2, accepted: 1, ..report };
        let noise = LoadReport { runnable: 0, running: 0, blocking: 0, ..noise };
        member.reported(noise, ms(2));
        assert_eq!((member.known_load(), member.is_pressed()), (0.0, false), "MB-5");
    }

    #[test]
    fn a_report_that_makes_no_sense_does_no_harm() {
        let (mut members, _) = one_member();
        let member = members.at_mut(0);
        let (delayed, foreign, job) = (f32::NAN, f32::NEG_INFINITY, f32::NAN);
        member.reported(LoadReport { delayed, foreign, job, ..IDLE }, ms(0));
        assert_eq!((member.known_load(), member.cores()), (0.0, 1));
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
