//! Signals on their way: from a life's effects into other lives, here or on other nodes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Node;
use super::cell::Cell;
use super::keeper::Tied;
use super::link::PushError;
use crate::core::life::{Effect, Life, answer_of_lost_node, answer_of_nobody};
use crate::term::Pid;
use crate::wire::{Control, Signal};

impl Node {
    /// Lets `act` change the life of `cell` and carries out what follows.
    pub(crate) fn act<R>(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        act: impl FnOnce(&mut Life, &mut Vec<Effect>) -> R,
    ) -> R {
        let (result, effects) = cell.live(act);
        self.carry_out(cell.pid, effects);
        result
    }

    /// Sends a signal to an actor on any node.
    pub(crate) fn signal(self: &Arc<Self>, from: Pid, to: Pid, signal: Signal) {
        self.carry_out(from, vec![Effect::Tell { to, signal }]);
    }

    /// Carries out the effects of `owner`'s life, and those that follow from them on this node.
    pub(crate) fn carry_out(self: &Arc<Self>, owner: Pid, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let mut work: VecDeque<(Pid, Effect)> = effects.into_iter().map(|e| (owner, e)).collect();
        while let Some((owner, effect)) = work.pop_front() {
            match effect {
                Effect::Tell { to, signal } if to.node() == self.name => match self.cell_of(to) {
                    Some(cell) => {
                        let (_, effects) = cell.live(|life, out| life.signal(signal, out));
                        work.extend(effects.into_iter().map(|effect| (to, effect)));
                    }
                    None => work.extend(answer_of_nobody(to, signal).map(|effect| (to, effect))),
                },
                Effect::Tell { to, signal } => {
                    let answer = self.tell_far(to, signal);
                    work.extend(answer.map(|effect| (to, effect)));
                }
                Effect::Tied { node } => {
                    // Without a way there the signal that made the tie is answered for the other side.
                    if let (Ok(link), Some(hands)) = (self.link_to(node), self.hands.get()) {
                        hands.keeper.do_send(Tied { link, number: owner.number() });
                    }
                }
                Effect::Notice(_) | Effect::Doom => {
                    unreachable!("a cell carries out itself what concerns its own actor")
                }
            }
        }
    }

    fn tell_far(self: &Arc<Self>, to: Pid, signal: Signal) -> Option<Effect> {
        let Ok(link) = self.link_to(to.node()) else { return answer_of_lost_node(to, signal) };
        let control = Control::Signal { to: to.number(), signal };
        let Err(why) = link.push_signal(to.incarnation(), &control) else { return None };
        let Control::Signal { signal, .. } = control else { return None };
        match why {
            PushError::OtherLife => answer_of_nobody(to, signal), // N6: of the node's former life
            PushError::Lost | PushError::TooLong(..) | PushError::Encode(_) => {
                answer_of_lost_node(to, signal)
            }
        }
    }
}
