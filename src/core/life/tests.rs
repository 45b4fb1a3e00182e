//! The rules of OTP's links and monitors, one by one and in thousands of orders.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::term::Incarnation;

/// A world of lives whose signals travel in one queue for each ordered pair of actors.
struct World {
    lives: Vec<Life>,
    inbox: Vec<Vec<Notice>>,
    queues: HashMap<(usize, usize), VecDeque<(To, Signal)>>,
    refs: u64,
}

impl World {
    /// Lives 0 and 1 are on node a, the others on node b.
    fn new(size: usize) -> World {
        let lives = (0..size).map(|at| Life::new(pid(at))).collect();
        World { lives, inbox: vec![Vec::new(); size], queues: HashMap::new(), refs: 0 }
    }

    fn act(&mut self, who: usize, act: impl FnOnce(&mut Life, &mut Vec<Effect>)) {
        let mut out = Vec::new();
        act(&mut self.lives[who], &mut out);
        self.run(who, out);
    }

    fn run(&mut self, who: usize, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Tell { to, signal } => {
                    let via = if same_node(who, at(&to)) { Via::HERE } else { WIRE };
                    self.lives[who].went_over(&to, &signal, via);
                    self.queues.entry((who, at(&to))).or_default().push_back((to, signal));
                }
                Effect::Notice(notice) => self.inbox[who].push(notice),
                Effect::WatchNode(node) => {
                    self.lives[who].watches_over(node, WIRE);
                }
                Effect::Doom | Effect::Tied | Effect::Lead(_) => {}
            }
        }
    }

    fn monitor(&mut self, who: usize, whom: usize) -> Ref {
        self.refs += 1;
        let monitor = Ref::new(pid(who).node(), Incarnation(1), self.refs);
        self.act(who, |life, out| life.monitor(pid(whom).into(), monitor, out));
        monitor
    }

    fn exit(&mut self, who: usize, whom: usize, reason: ExitReason) {
        let signal = Signal::Exit { from: pid(who), reason };
        self.queues.entry((who, whom)).or_default().push_back((pid(whom).into(), signal));
    }

    fn end(&mut self, who: usize, reason: ExitReason) {
        self.act(who, |life, out| {
            life.end(reason, out);
        });
    }

    /// Delivers one signal of the `pick`th queue that has any; false when all are empty.
    fn step(&mut self, pick: usize) -> bool {
        let mut busy: Vec<_> =
            self.queues.iter().filter(|(_, q)| !q.is_empty()).map(|(k, _)| *k).collect();
        busy.sort_unstable();
        let Some(&(from, to)) = busy.get(pick % busy.len().max(1)) else { return false };
        let (by, signal) = self.queues.get_mut(&(from, to)).unwrap().pop_front().unwrap();
        let via = if same_node(from, to) { Via::HERE } else { WIRE };
        self.act(to, |life, out| match by {
            To::Pid(_) => life.signal(signal, via, out),
            To::Name(..) => life.signal_by_name(signal, via, out),
        });
        true
    }

    /// Delivers everything; actors that a signal has doomed come to their end meanwhile.
    fn settle(&mut self, mut pick: impl FnMut() -> usize) {
        loop {
            let doomed = self.lives.iter().position(|l| matches!(l.state, State::Doomed(_)));
            let pick = pick();
            match doomed {
                Some(who) if pick.is_multiple_of(3) => self.end(who, ExitReason::Normal),
                Some(who) => {
                    if !self.step(pick) {
                        self.end(who, ExitReason::Normal);
                    }
                }
                None => {
                    if !self.step(pick) {
                        return;
                    }
                }
            }
        }
    }

    fn rest(&mut self) {
        self.settle(|| 0);
    }

    fn reason(&self, who: usize) -> Option<&ExitReason> {
        self.lives[who].doom()
    }
}

fn pid(at: usize) -> Pid {
    let node = if at < 2 { "n@a" } else { "n@b" };
    Pid::new(node.parse().unwrap(), Incarnation(1), at as u64)
}

/// Who that is: number n has the name n.
fn at(to: &To) -> usize {
    match to {
        To::Pid(pid) => usize::try_from(pid.number()).unwrap(),
        To::Name(name, _) => name.parse().unwrap(),
    }
}

fn same_node(a: usize, b: usize) -> bool {
    pid(a).node() == pid(b).node()
}

/// The connection between the two nodes.
const WIRE: Via = Via(1);

fn boom() -> ExitReason {
    ExitReason::exit("boom")
}

#[test]
fn a_link_works_in_both_directions_and_once_l1_l2() {
    for (dies, hears) in [(0, 2), (2, 0)] {
        let mut world = World::new(3);
        world.act(0, |life, out| life.link(pid(2), out));
        world.rest();
        world.act(2, |life, out| life.link(pid(0), out));
        world.lives[hears].trap_exits(true);
        world.rest();
        world.end(dies, boom());
        world.rest();
        let exited = Notice::Exited { from: pid(dies), reason: boom() };
        assert_eq!(world.inbox[hears], [exited]);
        assert!(world.lives[hears].links().is_empty());
    }
}

#[test]
fn an_exit_that_crosses_an_unlink_is_dropped_lk2() {
    let mut world = World::new(3);
    world.act(0, |life, out| life.link(pid(2), out));
    world.rest();
    world.end(2, boom());
    world.act(0, |life, out| life.unlink(pid(2), out));
    world.rest();
    assert_eq!(world.reason(0), None);
}

#[test]
fn link_unlink_link_leaves_one_working_link_l12() {
    let mut world = World::new(3);
    world.act(0, |life, out| {
        life.link(pid(2), out);
        life.unlink(pid(2), out);
        life.link(pid(2), out);
    });
    world.rest();
    assert_eq!(world.lives[2].links(), [pid(0)]);
    world.end(2, boom());
    world.rest();
    assert_eq!(world.reason(0), Some(&boom()));
}

#[test]
fn kill_is_untrappable_and_kill_over_a_link_is_not_e4_e5() {
    let mut world = World::new(3);
    for life in &mut world.lives {
        life.trap_exits(true);
    }
    world.act(1, |life, out| life.link(pid(2), out));
    world.rest();
    world.exit(0, 1, ExitReason::Kill);
    world.rest();
    assert_eq!(world.reason(1), Some(&ExitReason::Killed));
    let killed = Notice::Exited { from: pid(1), reason: ExitReason::Killed };
    assert_eq!(world.inbox[2], [killed]);

    let mut world = World::new(3);
    world.lives[2].trap_exits(true);
    world.act(0, |life, out| life.link(pid(2), out));
    world.act(0, |life, out| life.link(pid(1), out));
    world.rest();
    world.end(0, ExitReason::Kill);
    world.rest();
    assert_eq!(world.inbox[2], [Notice::Exited { from: pid(0), reason: ExitReason::Kill }]);
    assert_eq!(world.reason(1), Some(&ExitReason::Kill));
}

#[test]
fn normal_hurts_nobody_but_oneself_e1_e2_e3() {
    let mut world = World::new(3);
    world.act(0, |life, out| life.link(pid(1), out));
    world.exit(0, 1, ExitReason::Normal);
    world.rest();
    assert_eq!(world.reason(1), None);
    world.exit(0, 0, ExitReason::Normal);
    world.rest();
    assert_eq!(world.reason(0), Some(&ExitReason::Normal));
    assert_eq!(world.reason(1), None);
    assert!(world.lives[1].links().is_empty());
}

#[test]
fn signals_of_a_pair_keep_their_order_m15_m16_m17() {
    let mut world = World::new(3);
    world.exit(0, 2, ExitReason::Kill);
    let after = world.monitor(0, 2);
    world.lives[0].trap_exits(true);
    world.act(0, |life, out| life.link(pid(2), out));
    world.rest();
    let reason = ExitReason::NoProc;
    assert_eq!(
        world.inbox[0],
        [
            Notice::Down { monitor: after, object: pid(2).into(), reason: reason.clone() },
            Notice::Exited { from: pid(2), reason },
        ]
    );

    let mut world = World::new(3);
    let before = world.monitor(0, 2);
    world.exit(0, 2, ExitReason::Kill);
    world.rest();
    let down = Notice::Down { monitor: before, object: pid(2).into(), reason: ExitReason::Killed };
    assert_eq!(world.inbox[0], [down]);
}

#[test]
fn the_first_of_two_signals_decides_the_reason_e28() {
    let mut world = World::new(2);
    world.exit(0, 1, boom());
    world.exit(0, 1, ExitReason::exit("later"));
    world.rest();
    assert_eq!(world.reason(1), Some(&boom()));
}

#[test]
fn a_trapped_exit_from_a_partner_leaves_the_link_e27() {
    let mut world = World::new(2);
    world.lives[1].trap_exits(true);
    world.act(0, |life, out| life.link(pid(1), out));
    world.exit(0, 1, boom());
    world.rest();
    assert_eq!(world.lives[1].links(), [pid(0)]);
    world.end(0, ExitReason::Normal);
    world.rest();
    assert_eq!(world.inbox[1].len(), 2);
}

#[test]
fn a_lost_node_breaks_all_that_tied_me_to_it_l11_m3() {
    let mut world = World::new(4);
    world.lives[0].trap_exits(true);
    world.act(0, |life, out| life.link(pid(2), out));
    world.act(0, |life, out| life.link(pid(1), out));
    let monitor = world.monitor(0, 3);
    world.rest();
    world.act(0, |life, out| life.lost(WIRE, "n@b".parse().unwrap(), out));
    let reason = ExitReason::NoConnection;
    assert_eq!(
        world.inbox[0],
        [
            Notice::Down { monitor, object: pid(3).into(), reason: reason.clone() },
            Notice::Exited { from: pid(2), reason },
        ]
    );
    assert_eq!(world.lives[0].links(), [pid(1)]);
}

#[test]
fn monitors_are_independent_and_only_their_maker_takes_them_back_m4_m7() {
    let mut world = World::new(3);
    let first = world.monitor(0, 2);
    let second = world.monitor(0, 2);
    let own = world.monitor(0, 0);
    world.rest();
    world.act(1, |life, out| assert!(!life.demonitor(first, out)));
    world.act(0, |life, out| {
        assert!(life.demonitor(first, out));
        assert!(!life.demonitor(first, out));
        assert!(!life.demonitor(own, out)); // M9: it never was one
    });
    world.rest();
    world.end(2, ExitReason::Normal);
    world.rest();
    let down = Notice::Down { monitor: second, object: pid(2).into(), reason: ExitReason::Normal };
    assert_eq!(world.inbox[0], [down]);
}

#[test]
fn a_monitor_by_name_stays_with_who_had_the_name_and_says_the_name_m10() {
    let mut world = World::new(3);
    let monitor = Ref::new(pid(0).node(), Incarnation(1), 99);
    let name = To::Name("2".to_owned(), pid(2).node());
    world.act(0, |life, out| life.monitor(name.clone(), monitor, out));
    world.rest();
    world.end(2, boom());
    world.rest();
    assert_eq!(world.inbox[0], [Notice::Down { monitor, object: name.clone(), reason: boom() }]);

    let mut world = World::new(3);
    world.act(0, |life, out| {
        life.monitor(name.clone(), monitor, out);
        assert!(life.demonitor(monitor, out), "before it is known who has the name");
        assert!(life.monitors().is_empty());
    });
    world.rest();
    assert!(world.lives[2].ties.as_ref().is_none_or(|ties| ties.watchers.is_empty()));
    world.end(2, boom());
    world.rest();
    assert!(world.inbox[0].is_empty());
}

#[test]
fn a_monitor_on_oneself_is_none_by_name_either_m9() {
    let mut world = World::new(1);
    let monitor = Ref::new(pid(0).node(), Incarnation(1), 99);
    world.act(0, |life, out| life.monitor(To::Name("0".to_owned(), pid(0).node()), monitor, out));
    world.rest();
    assert!(world.lives[0].monitors().is_empty());
}

#[test]
fn each_request_to_watch_a_node_is_one_notice_n1_n3() {
    let node = pid(2).node();
    let mut world = World::new(3);
    world.act(0, |life, out| {
        for _ in 0..3 {
            life.monitor_node(node, out);
        }
        life.demonitor_node(node);
    });
    world.act(0, |life, out| life.lost(WIRE, node, out));
    assert_eq!(world.inbox[0], vec![Notice::NodeDown { node }; 2]);
    world.act(0, |life, out| life.lost(WIRE, node, out));
    assert_eq!(world.inbox[0].len(), 2);
}

#[test]
fn a_tie_breaks_with_its_own_connection_only_lk4() {
    const NEXT: Via = Via(2);
    let node = pid(2).node();
    let mut world = World::new(3);
    world.lives[0].trap_exits(true);
    let link = |via| {
        move |life: &mut Life, out: &mut Vec<Effect>| {
            life.signal(Signal::Link { from: pid(2) }, via, out);
        }
    };
    let lost = Notice::Exited { from: pid(2), reason: ExitReason::NoConnection };
    // The other side has seen the loss, and linked anew, before this one has.
    world.act(0, link(WIRE));
    world.act(0, link(NEXT));
    world.act(0, link(WIRE)); // late
    assert_eq!(world.inbox[0], std::slice::from_ref(&lost));
    world.act(0, |life, out| life.lost(WIRE, node, out));
    assert_eq!(world.lives[0].links(), [pid(2)]);
    world.act(0, |life, out| life.lost(NEXT, node, out));
    assert_eq!(world.inbox[0], [lost.clone(), lost]);
    assert!(world.lives[0].links().is_empty());
}

#[test]
fn a_link_that_gets_lost_on_its_way_leaves_the_one_of_the_other_side_lk4() {
    const NEXT: Via = Via(2);
    let node = pid(2).node();
    let signal = || Signal::Link { from: pid(0) };
    let theirs = |via| {
        move |life: &mut Life, out: &mut Vec<Effect>| {
            life.signal(Signal::Link { from: pid(2) }, via, out);
        }
    };
    // Mine goes over the connection that is lost, theirs has come over the next one, or the other way
    // round; whichever is known first.
    for (mine, their) in [(WIRE, NEXT), (NEXT, WIRE)] {
        let mut life = Life::new(pid(0));
        let out = &mut Vec::new();
        life.trap_exits(true);
        life.link(pid(2), out);
        theirs(their)(&mut life, out);
        assert!(life.went_over(&pid(2).into(), &signal(), mine));
        out.clear();
        life.lost(WIRE, node, out);
        assert_eq!((life.links(), out.len()), (vec![pid(2)], 0), "over {mine:?} and {their:?}");
        life.lost(NEXT, node, out);
        assert!(life.links().is_empty());
    }
}

#[test]
fn what_a_doomed_life_answers_comes_after_what_its_end_tells_lk5() {
    let mut world = World::new(3);
    let before = world.monitor(0, 2);
    world.exit(0, 2, ExitReason::Kill);
    let after = world.monitor(0, 2);
    while world.step(0) {} // all has arrived, and its code has not stopped yet
    world.end(2, ExitReason::Normal);
    world.rest();
    let down = |monitor, reason| Notice::Down { monitor, object: pid(2).into(), reason };
    assert_eq!(world.inbox[0], [down(before, ExitReason::Killed), down(after, ExitReason::NoProc)]);
}

#[derive(Clone, Debug)]
enum Act {
    Link(usize, usize),
    Unlink(usize, usize),
    Monitor(usize, usize),
    MonitorByName(usize, usize),
    /// Takes back the monitor of this number, if it is one's own.
    Demonitor(usize, u64),
    Exit(usize, usize, u8),
    End(usize, u8),
    Trap(usize, bool),
    Deliver(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..5usize;
    prop_oneof![
        3 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::Link(a, b)),
        2 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::Unlink(a, b)),
        2 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::Monitor(a, b)),
        2 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::MonitorByName(a, b)),
        2 => (who.clone(), 0..12u64).prop_map(|(a, number)| Act::Demonitor(a, number)),
        1 => (who.clone(), who.clone(), 0..3u8).prop_map(|(a, b, r)| Act::Exit(a, b, r)),
        1 => (who.clone(), 0..3u8).prop_map(|(a, r)| Act::End(a, r)),
        1 => (who, any::<bool>()).prop_map(|(a, on)| Act::Trap(a, on)),
        4 => (0..64usize).prop_map(Act::Deliver),
    ]
}

fn reason(of: u8) -> ExitReason {
    match of {
        0 => ExitReason::Normal,
        1 => ExitReason::Kill,
        _ => boom(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// LK-1: whatever happens, in whatever order signals arrive, once all is at rest the two ends of
    /// each link agree, no living actor is tied to a dead one, and each monitor fired at most once.
    #[test]
    fn at_rest_both_ends_of_every_tie_agree(
        acts in prop::collection::vec(act(), 1..60),
        picks in prop::collection::vec(0..64usize, 64),
    ) {
        let mut world = World::new(5);
        for act in acts {
            match act {
                Act::Link(a, b) => world.act(a, |life, out| life.link(pid(b), out)),
                Act::Unlink(a, b) => world.act(a, |life, out| life.unlink(pid(b), out)),
                Act::Monitor(a, b) if world.lives[a].is_running() => { world.monitor(a, b); }
                Act::MonitorByName(a, b) if world.lives[a].is_running() => {
                    world.refs += 1;
                    let monitor = Ref::new(pid(a).node(), Incarnation(1), world.refs);
                    let to = To::Name(b.to_string(), pid(b).node());
                    world.act(a, |life, out| life.monitor(to, monitor, out));
                }
                Act::Demonitor(a, number) if world.lives[a].is_running() => {
                    let monitor = Ref::new(pid(a).node(), Incarnation(1), number);
                    world.act(a, |life, out| { life.demonitor(monitor, out); });
                }
                Act::Exit(a, b, r) if world.lives[a].is_running() => world.exit(a, b, reason(r)),
                Act::End(a, r) if world.lives[a].is_running() => world.end(a, reason(r)),
                Act::Trap(a, on) => { world.lives[a].trap_exits(on); }
                Act::Deliver(pick) => { world.step(pick); }
                Act::Monitor(..) | Act::MonitorByName(..) | Act::Demonitor(..) | Act::Exit(..) | Act::End(..) => {}
            }
        }
        let mut turn = 0;
        world.settle(|| { turn += 1; picks[turn % picks.len()] });

        for (a, life) in world.lives.iter().enumerate() {
            let Some(ties) = &life.ties else { continue };
            prop_assert!(life.is_running());
            for (other, link) in &ties.links {
                prop_assert_eq!(link.state, LinkState::Active, "an unlink was never acknowledged");
                let b = usize::try_from(other.number()).unwrap();
                prop_assert!(world.lives[b].links().contains(&pid(a)), "{} thinks it is linked with {}", a, b);
            }
            for (monitor, watch) in &ties.watching {
                prop_assert!(!watch.dropped, "a monitor that was taken back is still known");
                let b = at(&watch.object);
                prop_assert_eq!(watch.who, Some(pid(b)), "who has the name was never said");
                let known = world.lives[b].ties.as_ref().and_then(|t| t.watchers.get(monitor));
                prop_assert_eq!(known.map(|watcher| watcher.pid), Some(pid(a)));
            }
            for (monitor, watcher) in &ties.watchers {
                let b = usize::try_from(watcher.pid.number()).unwrap();
                let known = world.lives[b].ties.as_ref().and_then(|t| t.watching.get(monitor));
                prop_assert_eq!(known.map(|watch| at(&watch.object)), Some(a));
            }
        }
        for notices in &world.inbox {
            let mut downs: Vec<Ref> = notices.iter().filter_map(|n| match n {
                Notice::Down { monitor, .. } => Some(*monitor),
                Notice::Exited { .. } | Notice::NodeDown { .. } | Notice::NodeUp { .. } => None,
            }).collect();
            let all = downs.len();
            downs.sort_unstable();
            downs.dedup();
            prop_assert_eq!(all, downs.len(), "a monitor fired twice");
        }
    }
}
