//! One actor's life as OTP sees it: its links and monitors, its trap, and what a signal does to it.
//!
//! Signals go in, effects come out; nothing here knows of a thread, a socket or a clock. All signals
//! that one actor sends to another arrive in the order sent, whatever they are, and are decided when
//! they arrive, not when their turn comes in a mailbox (rules E14, E17, M15 to M17). That is why
//! each actor keeps its own ends of its ties.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::term::{ExitReason, Incarnation, NodeName, Pid, Ref};
use crate::wire::Signal;

/// What a node has to do for a life that it hosts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Send `signal` to `to`, in order with everything sent to it before.
    Tell { to: Pid, signal: Signal },
    /// Put this into the actor's own mailbox.
    Notice(Notice),
    /// End the actor at the next chance, with this life's [`Life::doom`].
    Doom,
    /// From now on a loss of this node concerns the actor.
    Tied { node: NodeName },
}

/// What reaches an actor as a message because it traps exits or watches somebody.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Notice {
    /// Erlang's `{'EXIT', From, Reason}`.
    Exited { from: Pid, reason: ExitReason },
    /// Erlang's `{'DOWN', Ref, process, Pid, Reason}`.
    Down { monitor: Ref, pid: Pid, reason: ExitReason },
}

/// The ties of one actor and how far it has lived.
#[derive(Debug)]
pub(crate) struct Life {
    me: Pid,
    trap: bool,
    state: State,
    /// Most actors have no ties: those pay one word.
    ties: Option<Box<Ties>>,
}

#[derive(Debug)]
enum State {
    Running,
    /// A signal has ended it; its code has not stopped yet.
    Doomed(ExitReason),
    Ended(ExitReason),
}

#[derive(Debug, Default)]
struct Ties {
    links: HashMap<Pid, Link>,
    /// Monitors of mine, and whom they watch.
    watching: HashMap<Ref, Pid>,
    /// Monitors on me, and whose they are.
    watchers: HashMap<Ref, Pid>,
    unlinks: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Active,
    /// LK-2: let go, but the other side may not know yet; its exit is dropped until it acknowledges.
    Unlinking(u64),
}

impl Life {
    pub(crate) fn new(me: Pid) -> Life {
        Life { me, trap: false, state: State::Running, ties: None }
    }

    /// Sets trap_exit; returns the old value (E15).
    pub(crate) fn trap_exits(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.trap, on)
    }

    /// Links me with `to` (L1 to L4). Idempotent.
    pub(crate) fn link(&mut self, to: Pid, out: &mut Vec<Effect>) {
        if to == self.me || !self.is_running() {
            return;
        }
        let before = self.ties().links.insert(to, Link::Active);
        if before == Some(Link::Active) {
            return;
        }
        self.tied(to, out);
        out.push(Effect::Tell { to, signal: Signal::Link { from: self.me } });
    }

    /// A link that the other side already knows of: it was made together with a spawn (L10).
    pub(crate) fn linked_from_birth(&mut self, to: Pid, out: &mut Vec<Effect>) {
        match &self.state {
            State::Running => {
                self.ties().links.insert(to, Link::Active);
                self.tied(to, out);
            }
            // E32: the parent ended before it could hear of its child.
            State::Doomed(reason) | State::Ended(reason) => {
                let signal = Signal::LinkExit { from: self.me, reason: reason.clone() };
                out.push(Effect::Tell { to, signal });
            }
        }
    }

    /// Lets go of the link with `to`, if there is one (L3, L9).
    pub(crate) fn unlink(&mut self, to: Pid, out: &mut Vec<Effect>) {
        let me = self.me;
        let Some(ties) = self.ties.as_deref_mut() else { return };
        if ties.links.get(&to) != Some(&Link::Active) {
            return;
        }
        ties.unlinks += 1;
        let id = ties.unlinks;
        ties.links.insert(to, Link::Unlinking(id));
        out.push(Effect::Tell { to, signal: Signal::Unlink { from: me, id } });
    }

    /// Watches `to` under the name `monitor` (M1 to M9).
    pub(crate) fn monitor(&mut self, to: Pid, monitor: Ref, out: &mut Vec<Effect>) {
        if to == self.me || !self.is_running() {
            return;
        }
        self.ties().watching.insert(monitor, to);
        self.tied(to, out);
        out.push(Effect::Tell { to, signal: Signal::Monitor { from: self.me, monitor } });
    }

    /// A monitor that was made together with a spawn (M12).
    pub(crate) fn monitoring_from_birth(&mut self, to: Pid, monitor: Ref, out: &mut Vec<Effect>) {
        if self.is_running() {
            self.ties().watching.insert(monitor, to);
            self.tied(to, out);
        }
    }

    /// Takes a monitor of mine back; whether it was still active (M5 to M7).
    pub(crate) fn demonitor(&mut self, monitor: Ref, out: &mut Vec<Effect>) -> bool {
        let me = self.me;
        let Some(to) = self.ties.as_deref_mut().and_then(|t| t.watching.remove(&monitor)) else {
            return false;
        };
        out.push(Effect::Tell { to, signal: Signal::Demonitor { from: me, monitor } });
        true
    }

    /// The node ends, and the actor with it, whether or not it traps.
    pub(crate) fn shut_down(&mut self, out: &mut Vec<Effect>) {
        if self.is_running() {
            self.doom_with(ExitReason::Shutdown, out);
        }
    }

    /// Takes in a signal from another actor, or from myself.
    pub(crate) fn signal(&mut self, signal: Signal, out: &mut Vec<Effect>) {
        if !self.is_running() {
            out.extend(answer_of_nobody(self.me, signal));
            return;
        }
        match signal {
            Signal::Link { from } => {
                // LK-3: a link that is there in any state stays as it is: if we are letting go,
                // the other side's own `link` was idempotent and our unlink is still to reach it.
                if let Entry::Vacant(free) = self.ties().links.entry(from) {
                    free.insert(Link::Active);
                    self.tied(from, out);
                }
            }
            Signal::Unlink { from, id } => {
                let links = &mut self.ties().links;
                if links.get(&from) == Some(&Link::Active) {
                    links.remove(&from);
                }
                out.push(Effect::Tell {
                    to: from,
                    signal: Signal::UnlinkAck { from: self.me, id },
                });
            }
            Signal::UnlinkAck { from, id } => {
                let links = &mut self.ties().links;
                if links.get(&from) == Some(&Link::Unlinking(id)) {
                    links.remove(&from);
                }
            }
            Signal::LinkExit { from, reason } => {
                let links = &mut self.ties().links;
                // LK-2: an exit over a link we have let go of is dropped.
                if links.get(&from) == Some(&Link::Active) {
                    links.remove(&from);
                    self.exit_signal(from, reason, out);
                }
            }
            Signal::Exit { from, reason } => {
                if reason == ExitReason::Kill {
                    // E4: only exit/2 makes a kill that cannot be trapped.
                    self.doom_with(ExitReason::Killed, out);
                } else if from == self.me && reason == ExitReason::Normal && !self.trap {
                    self.doom_with(ExitReason::Normal, out); // E3
                } else {
                    self.exit_signal(from, reason, out);
                }
            }
            Signal::Monitor { from, monitor } => {
                self.ties().watchers.insert(monitor, from);
                self.tied(from, out);
            }
            Signal::Demonitor { from, monitor } => {
                let watchers = &mut self.ties().watchers;
                if watchers.get(&monitor) == Some(&from) {
                    watchers.remove(&monitor); // M7: only its own maker can take it back
                }
            }
            Signal::Down { from, monitor, reason } => {
                if self.ties().watching.remove(&monitor).is_some() {
                    out.push(Effect::Notice(Notice::Down { monitor, pid: from, reason }));
                }
            }
        }
    }

    /// A node is lost, or this life of it is: everything that tied me to it breaks (L11, M3, E22).
    pub(crate) fn node_down(
        &mut self,
        node: NodeName,
        incarnation: Option<Incarnation>,
        out: &mut Vec<Effect>,
    ) {
        let Some(ties) = self.ties.as_deref_mut() else { return };
        let lost = |pid: &Pid| {
            pid.node() == node && incarnation.is_none_or(|life| life == pid.incarnation())
        };
        let linked: Vec<Pid> = ties
            .links
            .iter()
            .filter(|(p, l)| lost(p) && **l == Link::Active)
            .map(|(p, _)| *p)
            .collect();
        ties.links.retain(|pid, _| !lost(pid));
        ties.watchers.retain(|_, pid| !lost(pid));
        let watched: Vec<(Ref, Pid)> =
            ties.watching.iter().filter(|(_, p)| lost(p)).map(|(r, p)| (*r, *p)).collect();
        ties.watching.retain(|_, pid| !lost(pid));
        if !self.is_running() {
            return;
        }
        for (monitor, pid) in watched {
            let reason = ExitReason::NoConnection;
            out.push(Effect::Notice(Notice::Down { monitor, pid, reason }));
        }
        for from in linked {
            if self.is_running() {
                self.exit_signal(from, ExitReason::NoConnection, out);
            }
        }
    }

    /// The actor's code has stopped, or counts as stopped. Returns the reason it ended with, which is
    /// that of the signal that doomed it if there was one (E28), and tells everybody who is tied to
    /// it, once (L14); none if it had ended before.
    pub(crate) fn end(&mut self, own: ExitReason, out: &mut Vec<Effect>) -> Option<ExitReason> {
        let reason = match std::mem::replace(&mut self.state, State::Running) {
            State::Running => own,
            State::Doomed(reason) => reason,
            State::Ended(reason) => {
                self.state = State::Ended(reason);
                return None;
            }
        };
        self.state = State::Ended(reason.clone());
        let Some(ties) = self.ties.take() else { return Some(reason) };
        let from = self.me;
        let Ties { links, watching, watchers, unlinks: _ } = *ties;
        for (to, link) in links {
            match link {
                Link::Active => {
                    let signal = Signal::LinkExit { from, reason: reason.clone() };
                    out.push(Effect::Tell { to, signal });
                }
                Link::Unlinking(_) => {}
            }
        }
        for (monitor, to) in watchers {
            let signal = Signal::Down { from, monitor, reason: reason.clone() };
            out.push(Effect::Tell { to, signal });
        }
        for (monitor, to) in watching {
            out.push(Effect::Tell { to, signal: Signal::Demonitor { from, monitor } });
        }
        Some(reason)
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running)
    }

    /// The reason of the signal that doomed it, or the one it ended with.
    pub(crate) fn doom(&self) -> Option<&ExitReason> {
        match &self.state {
            State::Running => None,
            State::Doomed(reason) | State::Ended(reason) => Some(reason),
        }
    }

    /// Whom I am linked with, in no order.
    #[cfg(test)]
    pub(crate) fn links(&self) -> Vec<Pid> {
        let links = self.ties.iter().flat_map(|t| t.links.iter());
        links.filter(|(_, l)| **l == Link::Active).map(|(p, _)| *p).collect()
    }

    /// An exit signal that is not an untrappable kill.
    fn exit_signal(&mut self, from: Pid, reason: ExitReason, out: &mut Vec<Effect>) {
        if self.trap {
            out.push(Effect::Notice(Notice::Exited { from, reason }));
        } else if reason != ExitReason::Normal {
            self.doom_with(reason, out);
        }
    }

    fn doom_with(&mut self, reason: ExitReason, out: &mut Vec<Effect>) {
        self.state = State::Doomed(reason);
        out.push(Effect::Doom);
    }

    fn tied(&mut self, to: Pid, out: &mut Vec<Effect>) {
        if to.node() != self.me.node() {
            out.push(Effect::Tied { node: to.node() });
        }
    }

    fn ties(&mut self) -> &mut Ties {
        self.ties.get_or_insert_default()
    }
}

/// What a signal to a pid that lives no more is answered with (L5, M2).
pub(crate) fn answer_of_nobody(nobody: Pid, signal: Signal) -> Option<Effect> {
    answer_of_absent(nobody, signal, ExitReason::NoProc)
}

/// The same for a pid whose node cannot be reached (L8, M3, N10).
pub(crate) fn answer_of_lost_node(lost: Pid, signal: Signal) -> Option<Effect> {
    answer_of_absent(lost, signal, ExitReason::NoConnection)
}

fn answer_of_absent(absent: Pid, signal: Signal, reason: ExitReason) -> Option<Effect> {
    let (to, signal) = match signal {
        Signal::Link { from } => (from, Signal::LinkExit { from: absent, reason }),
        Signal::Monitor { from, monitor } => (from, Signal::Down { from: absent, monitor, reason }),
        Signal::Unlink { from, id } => (from, Signal::UnlinkAck { from: absent, id }),
        Signal::UnlinkAck { .. }
        | Signal::LinkExit { .. }
        | Signal::Exit { .. }
        | Signal::Demonitor { .. }
        | Signal::Down { .. } => return None,
    };
    Some(Effect::Tell { to, signal })
}

#[cfg(test)]
mod tests;
