//! The rules of OTP's links and monitors, one by one and in thousands of orders.

mod orders;

use std::collections::VecDeque;

use super::*;
use crate::term::Incarnation;

/// What it goes over, to whom, and what.
type Sent = (Via, To, Signal);

/// A world of lives whose signals travel in one queue for each ordered pair of actors.
struct World {
    lives: Vec<Life>,
    inbox: Vec<Vec<Notice>>,
    queues: HashMap<(usize, usize), VecDeque<Sent>>,
    /// The connection that each of the two nodes knows to be the last one with the other.
    wires: [Via; 2],
    /// Who has not heard yet of the loss of which.
    losses: Vec<(usize, Via)>,
    refs: u64,
}

impl World {
    /// Lives 0 and 1 are on node a, the others on node b.
    fn new(size: usize) -> World {
        let lives = (0..size).map(|at| Life::new(pid(at))).collect();
        World {
            lives,
            inbox: vec![Vec::new(); size],
            queues: HashMap::new(),
            wires: [WIRE; 2],
            losses: Vec::new(),
            refs: 0,
        }
    }

    fn way(&self, from: usize, to: usize) -> Via {
        if same_node(from, to) { Via::HERE } else { self.wires[node(from)] }
    }

    fn send(&mut self, from: usize, to: To, signal: Signal) {
        let via = self.way(from, at(&to));
        self.queues.entry((from, at(&to))).or_default().push_back((via, to, signal));
    }

    /// Node `here` loses the connection, unless it waits for the next one already.
    fn cut(&mut self, here: usize) {
        if self.wires[here] <= self.wires[1 - here] {
            let via = self.wires[here];
            self.wires[here] = Via(via.0 + 1);
            let lives = (0..self.lives.len()).filter(|who| node(*who) == here);
            self.losses.extend(lives.map(|who| (who, via)));
        }
    }

    /// One that has not heard yet of a loss hears of it.
    fn tell_loss(&mut self, pick: usize) {
        let (who, via) = self.losses.remove(pick % self.losses.len());
        let there = pid(if node(who) == 0 { 2 } else { 0 }).node();
        self.act(who, |life, out| life.lost(via, there, out));
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
                    let via = self.way(who, at(&to));
                    self.lives[who].went_over(&to, &signal, via);
                    self.send(who, to, signal);
                }
                Effect::Notice(notice) => self.inbox[who].push(notice),
                Effect::WatchNode(node) => {
                    let via = self.wires[self::node(who)];
                    self.lives[who].watches_over(node, via);
                }
                // KP-1: one that is made over a connection that is lost breaks, too.
                Effect::Tied => {
                    let former = (1..self.wires[node(who)].0).map(|via| (who, Via(via)));
                    self.losses.extend(former);
                }
                Effect::Doom | Effect::Lead(_) => {}
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
        self.send(who, pid(whom).into(), signal);
    }

    fn end(&mut self, who: usize, reason: ExitReason) {
        self.act(who, |life, out| {
            life.end(reason, out);
        });
    }

    /// Delivers one signal of the `pick`th queue that has any; false when all are empty.
    ///
    /// What went over a connection that its receiver's node has lost comes late, or not at all, and then
    /// nothing that went after it either. One that went over a connection that the node has not seen yet waits until
    /// it has lost the former, and until everybody there has heard of that (PE-6).
    fn step(&mut self, pick: usize) -> bool {
        let mut busy: Vec<_> =
            self.queues.iter().filter(|(_, q)| !q.is_empty()).map(|(k, _)| *k).collect();
        busy.sort_unstable();
        let Some(&(from, to)) = busy.get(pick % busy.len().max(1)) else { return false };
        let queue = self.queues.get_mut(&(from, to)).unwrap();
        let (via, here) = (queue[0].0, node(to));
        if via != Via::HERE && via < self.wires[here] && pick.is_multiple_of(3) {
            queue.retain(|(over, ..)| *over != via);
            return true;
        }
        if via > self.wires[here] {
            self.cut(here);
            return true;
        }
        if via != Via::HERE
            && let Some(due) =
                self.losses.iter().position(|(who, lost)| node(*who) == here && *lost < via)
        {
            self.tell_loss(due);
            return true;
        }
        let (_, by, signal) = queue.pop_front().unwrap();
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
                None if self.step(pick) => {}
                // Who has lost it is noticed, if nothing is sent.
                None if self.wires[0] != self.wires[1] => {
                    self.cut(usize::from(self.wires[1] < self.wires[0]));
                }
                None if !self.losses.is_empty() => self.tell_loss(pick),
                None => return,
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
    let node = ["n@a", "n@b"][node(at)];
    Pid::new(node.parse().unwrap(), Incarnation(1), at as u64)
}

/// Who that is: number n has the name n.
fn at(to: &To) -> usize {
    match to {
        To::Pid(pid) => usize::try_from(pid.number()).unwrap(),
        To::Name(name, _) => name.parse().unwrap(),
    }
}

fn node(of: usize) -> usize {
    usize::from(of >= 2)
}

fn same_node(a: usize, b: usize) -> bool {
    node(a) == node(b)
}

/// The first connection between the two nodes.
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
fn what_comes_late_over_a_former_connection_is_not_about_the_next_link_lk4() {
    const NEXT: Via = Via(2);
    let mut world = World::new(3);
    world.lives[0].trap_exits(true);
    world.wires[0] = NEXT;
    world.act(0, |life, out| life.link(pid(2), out));
    let (from, reason) = (pid(2), boom());
    for late in
        [Signal::Link { from }, Signal::Unlink { from, id: 1 }, Signal::LinkExit { from, reason }]
    {
        world.act(0, |life, out| life.signal(late, WIRE, out));
        assert_eq!((world.lives[0].links(), &world.inbox[0][..]), (vec![from], &[][..]));
    }
}

#[test]
fn an_unlink_over_the_next_connection_is_not_forgotten_with_the_former_lk4() {
    const NEXT: Via = Via(2);
    let mut world = World::new(3);
    world.act(0, |life, out| life.link(pid(2), out));
    world.wires[0] = NEXT;
    world.act(0, |life, out| life.unlink(pid(2), out));
    world.act(0, |life, out| life.lost(WIRE, pid(2).node(), out));
    // The other side had linked anew before it heard of that.
    world.act(0, |life, out| life.signal(Signal::Link { from: pid(2) }, NEXT, out));
    assert!(world.lives[0].links().is_empty());
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
