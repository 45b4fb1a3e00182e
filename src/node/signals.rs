//! Signals on their way: from a life's effects into other lives, here or on other nodes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Node;
use super::cell::Cell;
use super::keeper::Tied;
use super::link::{Link, PushError};
use crate::core::life::{Effect, Life, Via, answer_of_lost_node, answer_of_nobody};
use crate::term::{Pid, To};
use crate::wire::{Control, Signal};

/// An effect of somebody's life, and the connection over which came what led to it, if any did.
type Work = (Pid, Option<Arc<Link>>, Effect);

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
        let via = over.map_or(Via::HERE, |link| Via::link(link.id));
        let (result, effects) = cell.live(|life, out| act(life, via, out));
        self.carry_out(cell.pid, over, effects);
        result
    }

    /// Sends a signal to an actor on any node.
    pub(crate) fn signal(self: &Arc<Self>, from: Pid, to: Pid, signal: Signal) {
        self.carry_out(from, None, vec![Effect::Tell { to: to.into(), signal }]);
    }

    /// A signal has come over `link` for somebody here.
    pub(crate) fn on_signal(self: &Arc<Self>, link: &Arc<Link>, to: To, signal: Signal) {
        let (to, effects) = self.take_in(to, Some(link), signal);
        self.carry_out(to, Some(link), effects);
    }

    /// Carries out the effects of `owner`'s life, and those that follow from them on this node.
    pub(crate) fn carry_out(
        self: &Arc<Self>,
        owner: Pid,
        over: Option<&Arc<Link>>,
        effects: Vec<Effect>,
    ) {
        if effects.is_empty() {
            return;
        }
        let mut work: VecDeque<Work> =
            effects.into_iter().map(|effect| (owner, over.cloned(), effect)).collect();
        while let Some((owner, over, effect)) = work.pop_front() {
            let (owner, effects) = match effect {
                Effect::Tell { to, signal } if to.node() == self.name => {
                    self.take_in(to, None, signal)
                }
                Effect::Tell { to, signal } => self.tell_far(owner, to, signal),
                Effect::Tied => {
                    if let Some(link) = over {
                        self.keep_tied(link, owner);
                    }
                    continue;
                }
                Effect::WatchNode(node) => (owner, self.watch_node(owner, node)),
                Effect::Notice(_) | Effect::Doom | Effect::Lead(_) => {
                    unreachable!("a cell carries out itself what concerns its own actor")
                }
            };
            work.extend(effects.into_iter().map(|effect| (owner, None, effect)));
        }
    }

    /// A signal arrives for somebody here. Returns who that is, and what follows.
    fn take_in(
        self: &Arc<Self>,
        to: To,
        over: Option<&Arc<Link>>,
        signal: Signal,
    ) -> (Pid, Vec<Effect>) {
        let via = over.map_or(Via::HERE, |link| Via::link(link.id));
        let (pid, cell, by_name) = match to {
            To::Pid(pid) => (pid, self.cell_of(pid), false),
            To::Name(name, _) => match self.whereis(&name) {
                Some(cell) => (cell.pid, Some(cell), true),
                None => (self.own_pid(), None, true),
            },
        };
        let effects = match cell {
            Some(cell) if by_name => cell.live(|life, out| life.signal_by_name(signal, via, out)).1,
            Some(cell) => cell.live(|life, out| life.signal(signal, via, out)).1,
            None => Vec::from_iter(answer_of_nobody(pid, signal)),
        };
        (pid, effects)
    }

    /// Sends a signal to another node. Returns who answers at once, and how, if it cannot be sent.
    fn tell_far(self: &Arc<Self>, owner: Pid, to: To, signal: Signal) -> (Pid, Vec<Effect>) {
        let absent = to.pid().unwrap_or_else(Pid::nobody);
        let lost = |signal| (absent, Vec::from_iter(answer_of_lost_node(absent, signal)));
        let Ok(link) = self.link_to(to.node()) else { return lost(signal) };
        let (control, pushed) = match &to {
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
            Ok(()) => {
                let via = Via::link(link.id);
                let tied = self.cell_of(owner).is_some_and(|cell| {
                    signal.makes_a_tie() && cell.live(|life, _| life.went_over(&to, &signal, via)).0
                });
                if tied {
                    self.keep_tied(link, owner);
                }
                (owner, Vec::new())
            }
            Err(PushError::OtherLife) => {
                (absent, Vec::from_iter(answer_of_nobody(absent, signal))) // N6: of its former life
            }
            Err(PushError::Lost | PushError::TooLong(..) | PushError::Encode(_)) => lost(signal),
        }
    }

    /// Connects to a node that `owner` watches; its loss concerns it from now on.
    fn watch_node(self: &Arc<Self>, owner: Pid, node: crate::term::NodeName) -> Vec<Effect> {
        let Some(cell) = self.cell_of(owner) else { return Vec::new() };
        match self.link_to(node) {
            Ok(link) => {
                if cell.live(|life, _| life.watches_over(node, Via::link(link.id))).0 {
                    self.keep_tied(link, owner);
                }
                Vec::new()
            }
            Err(_) => cell.live(|life, out| life.no_way_to(node, out)).1, // N2
        }
    }

    fn keep_tied(&self, link: Arc<Link>, owner: Pid) {
        if let Some(cell) = self.cell_of(owner) {
            cell.note_tied();
        }
        if let Some(hands) = self.hands.get() {
            hands.keeper.do_send(Tied { link, number: owner.number() });
        }
    }
}
