//! Signals on their way: from a life's effects into other lives, here or on other nodes.
//!
//! SI-1: what one actor sends to another is sent in the order in which its life decides it, whichever thread
//! it is that has made it decide. So it is put on its way under the life's lock. What goes to another node
//! is put into the buffer of the connection there; what stays here cannot be taken in at once, as that takes
//! the other life's lock: it is put into a queue, and taken out when the lock is let go of.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::Node;
use super::cell::{Cell, lock};
use super::keeper::Tied;
use super::link::{Link, PushError};
use crate::core::life::{Effect, Life, Notice, Via, answer_of_lost_node, answer_of_nobody};
use crate::term::{Pid, To};
use crate::wire::{Control, Signal};

/// Signals that have been sent within the node and not been taken in yet. All of one sender are in one queue.
#[derive(Default)]
pub(crate) struct NearSignals([NearQueue; NEAR_QUEUES]);

const NEAR_QUEUES: usize = 16;

#[derive(Default)]
struct NearQueue {
    sent: Mutex<VecDeque<(To, Signal)>>,
    /// Who has it takes one of them in.
    turn: Mutex<()>,
}

/// The queues into which something was put.
#[derive(Clone, Copy, Default)]
#[must_use = "what was put into a queue is to be taken in"]
struct Due(u16);

impl Due {
    fn add(&mut self, other: Due) {
        self.0 |= other.0;
    }

    fn take_one(&mut self) -> Option<usize> {
        let queue = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (queue < u16::BITS).then_some(queue as usize)
    }
}

/// What is left to be done when the locks are let go of, as it may run code of the user's.
#[derive(Default)]
#[must_use = "somebody is to be woken"]
struct Decided {
    wake: bool,
    doomed: bool,
    due: Due,
}

impl Decided {
    fn wake(self, cell: &Arc<Cell>) -> Due {
        if self.wake {
            cell.wake();
        }
        if self.doomed {
            cell.watch_doomed();
        }
        self.due
    }
}

/// Who has taken a signal in. It is held until the locks are let go of: it may be the last that holds the actor.
#[must_use = "somebody is to be woken"]
enum Taken {
    By(Arc<Cell>, Decided),
    ByNobody(Due),
}

impl Taken {
    fn wake(self) -> Due {
        match self {
            Taken::By(cell, decided) => decided.wake(&cell),
            Taken::ByNobody(due) => due,
        }
    }
}

impl NearSignals {
    fn put(&self, from: Pid, to: To, signal: Signal) -> Due {
        let queue = from.number() as usize % NEAR_QUEUES;
        lock(&self.0[queue].sent).push_back((to, signal));
        Due(1 << queue)
    }
}

impl Node {
    /// Lets `act` change the life of `cell` and carries out what follows.
    pub(crate) fn act<R>(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        act: impl FnOnce(&mut Life, &mut Vec<Effect>) -> R,
    ) -> R {
        self.act_over(cell, None, |life, _, out| act(life, out))
    }

    /// The same, for what has come over a connection: what that ties breaks with it (LK-4).
    pub(crate) fn act_over<R>(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        over: Option<&Arc<Link>>,
        act: impl FnOnce(&mut Life, Via, &mut Vec<Effect>) -> R,
    ) -> R {
        let (result, decided) = self.decide(cell, over, act, |notice| cell.deliver(notice));
        self.take_in_near(decided.wake(cell));
        result
    }

    /// A signal that the actor has sent itself, whose turn in the mailbox has come. Returns what takes its
    /// place there.
    pub(crate) fn act_on_own(self: &Arc<Self>, cell: &Arc<Cell>, signal: Signal) -> Option<Notice> {
        let mut instead = None;
        let act = |life: &mut Life, _, out: &mut Vec<Effect>| life.own_signal(signal, out);
        let ((), decided) = self.decide(cell, None, act, |notice| instead = Some(notice));
        self.take_in_near(decided.wake(cell));
        instead
    }

    /// Sends a signal to an actor on any node.
    pub(crate) fn signal(self: &Arc<Self>, from: Pid, to: Pid, signal: Signal) {
        let due = self.put_on_its_way(from, to.into(), signal);
        self.take_in_near(due);
    }

    /// A signal has come over `link` for somebody here.
    pub(crate) fn on_signal(self: &Arc<Self>, link: &Arc<Link>, to: To, signal: Signal) {
        let taken = self.take_in(to, Some(link), signal);
        self.take_in_near(taken.wake());
    }

    /// Tells others of somebody's end.
    pub(crate) fn tell_of_end(self: &Arc<Self>, ended: Pid, effects: Vec<Effect>) {
        let mut due = Due::default();
        for effect in effects {
            let Effect::Tell { to, signal } = effect else {
                unreachable!("who has ended has nothing to do but to tell others")
            };
            due.add(self.put_on_its_way(ended, to, signal));
        }
        self.take_in_near(due);
    }

    /// What no life of `from` waits for an answer to.
    fn put_on_its_way(self: &Arc<Self>, from: Pid, to: To, signal: Signal) -> Due {
        if to.node() == self.name {
            return self.near_signals.put(from, to, signal);
        }
        let _ = self.tell_far(&to, signal); // what cannot be sent would be answered to nobody
        Due::default()
    }

    /// Lets `act` change the life of `cell` and puts on its way what follows (SI-1). `take` gets what goes
    /// to the actor itself.
    fn decide<R>(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        over: Option<&Arc<Link>>,
        act: impl FnOnce(&mut Life, Via, &mut Vec<Effect>) -> R,
        mut take: impl FnMut(Notice),
    ) -> (R, Decided) {
        let via = over.map_or(Via::HERE, |link| Via::link(link.id));
        let mut decided = Decided::default();
        let mut effects = Vec::new();
        let mut life = cell.life();
        let result = act(&mut life, via, &mut effects);
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Tell { to, signal } if to.node() == self.name => {
                        decided.due.add(self.near_signals.put(cell.pid, to, signal));
                    }
                    Effect::Tell { to, signal } => match self.tell_far(&to, signal) {
                        Ok((link, signal)) => {
                            if life.went_over(&to, &signal, Via::link(link.id)) {
                                self.keep_tied(cell, link);
                            }
                        }
                        Err(Some(answer)) => life.signal(answer, Via::HERE, &mut effects),
                        Err(None) => {}
                    },
                    Effect::Tied => {
                        if let Some(link) = over {
                            self.keep_tied(cell, link.clone());
                        }
                    }
                    Effect::WatchNode(node) => match self.link_to(node) {
                        Ok(link) => {
                            if life.watches_over(node, Via::link(link.id)) {
                                self.keep_tied(cell, link);
                            }
                        }
                        Err(_) => life.no_way_to(node, &mut effects), // N2
                    },
                    // Put into the mailbox under the life's lock: once `unlink` has returned, no exit over that
                    // link may arrive (L9).
                    Effect::Notice(notice) => {
                        take(notice);
                        decided.wake = true;
                    }
                    Effect::Doom => {
                        cell.note_doomed();
                        (decided.wake, decided.doomed) = (true, true);
                    }
                    Effect::Lead(leader) => cell.lead_to(leader),
                }
            }
        }
        drop(life);
        (result, decided)
    }

    /// Takes in what was sent within the node, and what follows from that. When it returns, all that was put into
    /// these queues before has been taken in, by this thread or by another.
    fn take_in_near(self: &Arc<Self>, mut due: Due) {
        while let Some(queue) = due.take_one() {
            let queue = &self.near_signals.0[queue];
            loop {
                let turn = lock(&queue.turn);
                let next = lock(&queue.sent).pop_front();
                let Some((to, signal)) = next else { break };
                let taken = self.take_in(to, None, signal);
                drop(turn);
                due.add(taken.wake());
            }
        }
    }

    /// A signal arrives for somebody here.
    fn take_in(self: &Arc<Self>, to: To, over: Option<&Arc<Link>>, signal: Signal) -> Taken {
        let (pid, cell, by_name) = match to {
            To::Pid(pid) => (pid, self.cell_of(pid), false),
            To::Name(name, _) => match self.whereis(&name) {
                Some(cell) => (cell.pid, Some(cell), true),
                None => (self.own_pid(), None, true),
            },
        };
        let Some(cell) = cell else {
            let from = signal.from();
            let due = match answer_of_nobody(pid, signal) {
                Some(answer) => self.put_on_its_way(pid, from.into(), answer),
                None => Due::default(),
            };
            return Taken::ByNobody(due);
        };
        let act = |life: &mut Life, via, out: &mut Vec<Effect>| match by_name {
            true => life.signal_by_name(signal, via, out),
            false => life.signal(signal, via, out),
        };
        let ((), decided) = self.decide(&cell, over, act, |notice| cell.deliver(notice));
        Taken::By(cell, decided)
    }

    /// Puts a signal on its way to another node. Returns what it goes over; if it cannot be sent, what it is
    /// answered with.
    fn tell_far(
        self: &Arc<Self>,
        to: &To,
        signal: Signal,
    ) -> Result<(Arc<Link>, Signal), Option<Signal>> {
        let absent = to.pid().unwrap_or_else(Pid::nobody);
        let Ok(link) = self.link_to(to.node()) else {
            return Err(answer_of_lost_node(absent, signal));
        };
        let (control, pushed) = match to {
            To::Pid(pid) => {
                let control = Control::Signal { to: pid.number(), signal };
                let pushed = link.push_signal(pid.incarnation(), &control);
                (control, pushed)
            }
            To::Name(name, _) => {
                let control = Control::SignalNamed { name: name.clone(), signal };
                let pushed = link.push_control(&control);
                (control, pushed)
            }
        };
        let (Control::Signal { signal, .. } | Control::SignalNamed { signal, .. }) = control else {
            unreachable!("it was made above")
        };
        match pushed {
            Ok(()) => Ok((link, signal)),
            Err(PushError::OtherLife) => Err(answer_of_nobody(absent, signal)), // N6: of its former life
            Err(PushError::Lost | PushError::TooLong(..) | PushError::Encode(_)) => {
                Err(answer_of_lost_node(absent, signal))
            }
        }
    }

    fn keep_tied(&self, cell: &Cell, link: Arc<Link>) {
        cell.note_tied();
        if let Some(hands) = self.hands.get() {
            hands.keeper.do_send(Tied { link, number: cell.pid.number() });
        }
    }
}
