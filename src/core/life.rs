//! One actor's life as OTP sees it: its links and monitors, its trap, and what a signal does to it.
//!
//! Signals go in, effects come out; nothing here knows of a thread, a socket or a clock. All signals
//! that one actor sends to another arrive in the order sent, whatever they are, and are decided when
//! they arrive, not when their turn comes in a mailbox (rules E14, E17, M15 to M17). That is why
//! each actor keeps its own ends of its ties.

mod absent;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

pub(crate) use self::absent::{answer_of_lost_node, answer_of_nobody};
use super::mutant::{self, Mutant};
use crate::term::{ExitReason, NodeName, Pid, Ref, To};
use crate::wire::Signal;

/// What a node has to do for a life that it hosts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Send `signal` to `to`, in order with everything sent to it before, and before this life takes in
    /// anything else. If it leaves the node, say over which connection: [`Life::went_over`].
    Tell { to: To, signal: Signal },
    /// Put this into the actor's own mailbox.
    Notice(Notice),
    /// End the actor at the next chance, with this life's [`Life::doom`].
    Doom,
    /// From now on a loss of the connection that the signal came over concerns the actor.
    Tied,
    /// From now on a loss of this node concerns the actor: say over which connection it is reached.
    WatchNode(NodeName),
    /// The actor's output appears on this node from now on.
    Lead(NodeName),
}

/// What reaches an actor as a message because it traps exits or watches somebody.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Notice {
    /// Erlang's `{'EXIT', From, Reason}`.
    Exited { from: Pid, reason: ExitReason },
    /// Erlang's `{'DOWN', Ref, process, Object, Reason}`.
    Down { monitor: Ref, object: To, reason: ExitReason },
    /// Erlang's `{nodedown, Node}`.
    NodeDown { node: NodeName },
    /// Erlang's `{nodeup, Node}`.
    NodeUp { node: NodeName },
}

/// The connection that a tie goes over; of two to the same node the later one is the greater. LK-4: a tie
/// breaks with its own connection, and with no other: one that was made over the next connection to the
/// same node has nothing to do with the loss of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Via(u64);

impl Via {
    /// Within one node: such ties never break.
    pub(crate) const HERE: Via = Via(0);
    /// The signal that makes the tie is being sent, and what it goes over is about to be said.
    const PENDING: Via = Via(u64::MAX);

    /// The connection of this number, which is not zero.
    pub(crate) fn link(id: u64) -> Via {
        Via(id)
    }
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
    Doomed(Kept),
    Ended(Kept),
}

/// An exit reason in a word: nearly all end normally.
#[derive(Debug)]
struct Kept(Option<Box<ExitReason>>);

impl Kept {
    fn new(reason: &ExitReason) -> Kept {
        Kept((*reason != ExitReason::Normal).then(|| Box::new(reason.clone())))
    }

    fn reason(&self) -> &ExitReason {
        self.0.as_deref().unwrap_or(&ExitReason::Normal)
    }
}

#[derive(Debug, Default)]
struct Ties {
    links: HashMap<Pid, Link>,
    /// Monitors of mine, and whom they watch.
    watching: HashMap<Ref, Watch>,
    /// Monitors on me, and whose they are.
    watchers: HashMap<Ref, Watcher>,
    /// Nodes that I watch.
    nodes: HashMap<NodeName, NodeWatch>,
    unlinks: u64,
    /// LK-5: what a doomed life answers comes after what its end tells, as all goes to the same.
    late: Vec<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Link {
    state: LinkState,
    via: Via,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum LinkState {
    Active,
    /// LK-2: let go, but the other side may not know yet; its exit is dropped until it acknowledges, or
    /// what was to tell it is lost.
    Unlinking(u64),
}

/// A monitor of mine.
#[derive(Clone, Debug, PartialEq)]
struct Watch {
    object: To,
    /// Who is watched, once that is known of a name.
    who: Option<Pid>,
    /// Taken back before it was known who is watched.
    dropped: bool,
    via: Via,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Watcher {
    pid: Pid,
    via: Via,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct NodeWatch {
    /// Requests outstanding: each is used up by one notice (N1, N3).
    requests: u32,
    via: Via,
}

impl Life {
    pub(crate) fn new(me: Pid) -> Life {
        Life { me, trap: false, state: State::Running, ties: None }
    }

    /// Sets trap_exit; returns the old value (E15).
    pub(crate) fn trap_exits(&mut self, on: bool) -> bool {
        let on = on || mutant::is(Mutant::TrapOffForgotten) && self.trap;
        std::mem::replace(&mut self.trap, on)
    }

    pub(crate) fn traps_exits(&self) -> bool {
        self.trap
    }

    /// Links me with `to` (L1 to L4). Idempotent.
    pub(crate) fn link(&mut self, to: Pid, out: &mut Vec<Effect>) {
        if to == self.me || !self.is_running() {
            return;
        }
        let via = self.way_to(to.node());
        let link = Link { state: LinkState::Active, via };
        let before = self.ties().links.insert(to, link);
        if let Some(Link { state: LinkState::Active, via }) = before {
            self.ties().links.insert(to, Link { state: LinkState::Active, via });
            if mutant::is(Mutant::LinkTwiceUnlinks) {
                self.unlink(to, out);
            }
            return;
        }
        if mutant::is(Mutant::LinkOneWay) {
            return;
        }
        tell(out, to, Signal::Link { from: self.me });
    }

    /// A link that the other side already knows of: it was made together with a spawn (L10), of which
    /// was heard over `via`.
    pub(crate) fn linked_from_birth(&mut self, to: Pid, via: Via, out: &mut Vec<Effect>) {
        match &self.state {
            State::Running => {
                self.ties().links.insert(to, Link { state: LinkState::Active, via });
                tied(via, out);
            }
            // E32: the parent ended before it could hear of its child.
            State::Doomed(reason) | State::Ended(reason) => {
                let reason = reason.reason().clone();
                tell(out, to, Signal::LinkExit { from: self.me, reason });
            }
        }
    }

    /// Lets go of the link with `to`, if there is one (L3, L9).
    pub(crate) fn unlink(&mut self, to: Pid, out: &mut Vec<Effect>) {
        let me = self.me;
        let Some(ties) = self.ties.as_deref_mut() else { return };
        let Some(Link { state: LinkState::Active, via }) = ties.links.get(&to).copied() else {
            return;
        };
        if mutant::is(Mutant::UnlinkOneSided) {
            ties.links.remove(&to);
            return;
        }
        ties.unlinks += 1;
        let id = ties.unlinks;
        ties.links.insert(to, Link { state: LinkState::Unlinking(id), via });
        tell(out, to, Signal::Unlink { from: me, id });
    }

    /// Watches `to` under the name `monitor` (M1 to M11).
    pub(crate) fn monitor(&mut self, to: To, monitor: Ref, out: &mut Vec<Effect>) {
        if to.pid() == Some(self.me) || !self.is_running() {
            return; // M9
        }
        let watched = |watch: &Watch| watch.object == to;
        if mutant::is(Mutant::DownOnlyOnce) && self.ties().watching.values().any(watched) {
            return;
        }
        let via = self.way_to(to.node());
        let watch = Watch { object: to.clone(), who: to.pid(), dropped: false, via };
        self.ties().watching.insert(monitor, watch);
        out.push(Effect::Tell { to, signal: Signal::Monitor { from: self.me, monitor } });
    }

    /// A monitor that was made together with a spawn (M12), of which was heard over `via`.
    pub(crate) fn monitoring_from_birth(
        &mut self,
        to: Pid,
        monitor: Ref,
        via: Via,
        out: &mut Vec<Effect>,
    ) {
        if self.is_running() {
            let watch = Watch { object: to.into(), who: Some(to), dropped: false, via };
            self.ties().watching.insert(monitor, watch);
            tied(via, out);
        }
    }

    /// Takes a monitor of mine back; whether it was still active (M5 to M7).
    pub(crate) fn demonitor(&mut self, monitor: Ref, out: &mut Vec<Effect>) -> bool {
        let me = self.me;
        let watching = self.ties.as_deref_mut().map(|ties| &mut ties.watching);
        let Some(watch) = watching.and_then(|watching| {
            let watch = watching.get_mut(&monitor).filter(|watch| !watch.dropped)?;
            match watch.who {
                Some(_) => watching.remove(&monitor),
                None => {
                    watch.dropped = true;
                    Some(watch.clone())
                }
            }
        }) else {
            return false;
        };
        if mutant::is(Mutant::DemonitorForgotten) {
            self.ties().watching.insert(monitor, Watch { dropped: false, ..watch });
            return true;
        }
        if let Some(who) = watch.who {
            tell(out, who, Signal::Demonitor { from: me, monitor });
        }
        true
    }

    /// Asks for one notice of the loss of `node` (N1 to N3).
    pub(crate) fn monitor_node(&mut self, node: NodeName, out: &mut Vec<Effect>) {
        if node == self.me.node() || !self.is_running() {
            return;
        }
        match self.ties().nodes.entry(node) {
            Entry::Occupied(mut watched) => watched.get_mut().requests += 1,
            Entry::Vacant(free) => {
                free.insert(NodeWatch { requests: 1, via: Via::PENDING });
                out.push(Effect::WatchNode(node));
            }
        }
    }

    /// Takes one such request back.
    pub(crate) fn demonitor_node(&mut self, node: NodeName) {
        if mutant::is(Mutant::NodeDownTakenBackStays) {
            return;
        }
        let Some(ties) = self.ties.as_deref_mut() else { return };
        if let Entry::Occupied(mut watched) = ties.nodes.entry(node) {
            watched.get_mut().requests -= 1;
            if watched.get().requests == 0 {
                watched.remove();
            }
        }
    }

    /// There is no way to `node`: whoever watches it hears at once (N2).
    pub(crate) fn no_way_to(&mut self, node: NodeName, out: &mut Vec<Effect>) {
        let watched = self.ties.as_deref_mut().and_then(|ties| ties.nodes.remove(&node));
        if let Some(watched) = watched {
            node_down(node, watched.requests, out);
        }
    }

    /// `signal` was sent to `to` over `via`; whether the loss of that concerns me from now on.
    pub(crate) fn went_over(&mut self, to: &To, signal: &Signal, via: Via) -> bool {
        let Some(ties) = self.ties.as_deref_mut() else { return false };
        let of_tie = match signal {
            Signal::Link { .. } | Signal::Unlink { .. } => {
                to.pid().and_then(|to| ties.links.get_mut(&to)).map(|link| &mut link.via)
            }
            Signal::Monitor { monitor, .. } => {
                ties.watching.get_mut(monitor).map(|watch| &mut watch.via)
            }
            Signal::UnlinkAck { .. }
            | Signal::LinkExit { .. }
            | Signal::Exit { .. }
            | Signal::Demonitor { .. }
            | Signal::Down { .. }
            | Signal::Found { .. }
            | Signal::Lead { .. } => None,
        };
        of_tie.is_some_and(|of_tie| std::mem::replace(of_tie, via) != via)
    }

    /// The node that I watch is reached over `via`; false if I do not watch it any more.
    pub(crate) fn watches_over(&mut self, node: NodeName, via: Via) -> bool {
        let watched = self.ties.as_deref_mut().and_then(|ties| ties.nodes.get_mut(&node));
        watched.map(|watched| watched.via = via).is_some()
    }

    /// The node ends, and the actor with it, whether or not it traps.
    pub(crate) fn shut_down(&mut self, out: &mut Vec<Effect>) {
        if self.is_running() {
            self.doom_with(ExitReason::Shutdown, out);
        }
    }

    /// Takes in a signal from another actor, or from myself, that came over `via`.
    pub(crate) fn signal(&mut self, signal: Signal, via: Via, out: &mut Vec<Effect>) {
        if !self.is_running() {
            if mutant::is(Mutant::LastReasonWins)
                && let (State::Doomed(last), Signal::Exit { reason, .. }) =
                    (&mut self.state, &signal)
                && !matches!(reason, ExitReason::Normal | ExitReason::Kill)
            {
                *last = Kept::new(reason);
            }
            let from = signal.from();
            let answer = answer_of_nobody(self.me, signal)
                .map(|signal| Effect::Tell { to: from.into(), signal });
            match self.state {
                State::Doomed(_) => self.ties().late.extend(answer),
                State::Running | State::Ended(_) => out.extend(answer),
            }
            return;
        }
        if let Signal::Link { from } | Signal::Unlink { from, .. } | Signal::LinkExit { from, .. } =
            &signal
            && self.breaks_a_former_link(*from, via, out)
            && !self.is_running()
        {
            return self.signal(signal, via, out);
        }
        match signal {
            Signal::Link { from } => {
                // LK-3: a link that is there in any state stays as it is: if we are letting go, the
                // other side's own `link` was idempotent and our unlink is still to reach it. And what
                // has come late over a former connection is old news.
                if let Entry::Vacant(free) = self.ties().links.entry(from) {
                    free.insert(Link { state: LinkState::Active, via });
                    tied(via, out);
                }
            }
            Signal::Unlink { from, id } => {
                if self.is_linked_over(from, via) {
                    self.ties().links.remove(&from);
                }
                tell(out, from, Signal::UnlinkAck { from: self.me, id });
            }
            Signal::UnlinkAck { from, id } => {
                let links = &mut self.ties().links;
                if links.get(&from).is_some_and(|link| link.state == LinkState::Unlinking(id)) {
                    links.remove(&from);
                }
            }
            Signal::LinkExit { from, reason } => {
                // LK-2: an exit over a link we have let go of is dropped.
                if self.is_linked_over(from, via) {
                    self.ties().links.remove(&from);
                    if mutant::is(Mutant::KillOverLinkUntrappable) && reason == ExitReason::Kill {
                        return self.doom_with(ExitReason::Killed, out);
                    }
                    self.exit_signal(from, reason, out);
                }
            }
            Signal::Exit { from, reason } => self.exit2_signal(from, reason, out),
            Signal::Monitor { from, monitor } => {
                self.ties().watchers.insert(monitor, Watcher { pid: from, via });
                tied(via, out);
            }
            Signal::Demonitor { from, monitor } => {
                let watchers = &mut self.ties().watchers;
                if watchers.get(&monitor).is_some_and(|watcher| watcher.pid == from) {
                    watchers.remove(&monitor); // M7: only its own maker can take it back
                }
            }
            Signal::Down { from: _, monitor, reason } => {
                if let Some(watch) = self.ties().watching.remove(&monitor)
                    && !watch.dropped
                {
                    down(monitor, watch, reason, out);
                }
            }
            Signal::Found { from, monitor } => {
                let me = self.me;
                if let Entry::Occupied(mut watch) = self.ties().watching.entry(monitor) {
                    watch.get_mut().who = Some(from);
                    if watch.get().dropped {
                        watch.remove();
                        tell(out, from, Signal::Demonitor { from: me, monitor });
                    }
                }
            }
            Signal::Lead { from: _, leader } => out.push(Effect::Lead(leader)),
        }
    }

    /// Takes in a signal to whoever has a name, which I have. Whoever watches me by it has to know who
    /// I am, to take it back when the name is another's (M10).
    pub(crate) fn signal_by_name(&mut self, signal: Signal, via: Via, out: &mut Vec<Effect>) {
        if let Signal::Monitor { from, monitor } = signal
            && self.is_running()
        {
            if from == self.me {
                self.ties().watching.remove(&monitor); // M9, by name too
                return;
            }
            tell(out, from, Signal::Found { from: self.me, monitor });
        }
        self.signal(signal, via, out);
    }

    /// Takes in a signal that I sent myself while I trapped exits: it is decided when I look at my mailbox
    /// next, by whether I trap exits then.
    pub(crate) fn own_signal(&mut self, signal: Signal, out: &mut Vec<Effect>) {
        match signal {
            // Sent while it could be trapped, `normal` ends nobody (E2, not E3).
            Signal::Exit { from, reason } if self.is_running() => {
                self.exit_signal(from, reason, out);
            }
            signal => self.signal(signal, Via::HERE, out),
        }
    }

    /// A connection to `node` is lost: everything that tied me to it over that breaks (L11, M3, E22).
    pub(crate) fn lost(&mut self, via: Via, node: NodeName, out: &mut Vec<Effect>) {
        let Some(ties) = self.ties.as_deref_mut() else { return };
        let linked: Vec<Pid> = ties
            .links
            .iter()
            .filter(|(_, link)| link.via == via && link.state == LinkState::Active)
            .map(|(pid, _)| *pid)
            .collect();
        ties.links.retain(|_, link| link.via != via);
        ties.watchers.retain(|_, watcher| watcher.via != via);
        let watched: Vec<(Ref, Watch)> =
            ties.watching.extract_if(|_, watch| watch.via == via).collect();
        let nodes: Vec<(NodeName, NodeWatch)> =
            ties.nodes.extract_if(|_, watched| watched.via == via).collect();
        if !self.is_running() {
            return;
        }
        for (watched, watch) in nodes {
            node_down(watched, watch.requests, out);
        }
        let lost = match mutant::is(Mutant::LostNodeIsNoProc) {
            true => ExitReason::NoProc,
            false => ExitReason::NoConnection,
        };
        for (monitor, watch) in watched.into_iter().filter(|(_, watch)| !watch.dropped) {
            debug_assert_eq!(watch.object.node(), node, "it was watched over that connection");
            down(monitor, watch, lost.clone(), out);
        }
        for from in linked {
            if self.is_running() {
                self.exit_signal(from, lost.clone(), out);
            }
        }
    }

    /// The actor's code has stopped, or counts as stopped. Returns the reason it ended with, which is
    /// that of the signal that doomed it if there was one (E28), and tells everybody who is tied to
    /// it, once (L14); none if it had ended before.
    pub(crate) fn end(&mut self, own: ExitReason, out: &mut Vec<Effect>) -> Option<ExitReason> {
        let reason = match std::mem::replace(&mut self.state, State::Running) {
            State::Running => own,
            State::Doomed(reason) => reason.reason().clone(),
            State::Ended(reason) => {
                self.state = State::Ended(reason);
                return None;
            }
        };
        self.state = State::Ended(Kept::new(&reason));
        let Some(ties) = self.ties.take() else { return Some(reason) };
        let from = self.me;
        let Ties { links, watching, watchers, nodes: _, unlinks: _, late } = *ties;
        for (to, link) in links {
            match link.state {
                LinkState::Active => {
                    let reason = match mutant::is(Mutant::ReasonLostOnTheWay) {
                        true if reason != ExitReason::Normal => ExitReason::Shutdown,
                        true | false => reason.clone(),
                    };
                    tell(out, to, Signal::LinkExit { from, reason });
                }
                LinkState::Unlinking(_) => {}
            }
        }
        for (monitor, watcher) in watchers {
            tell(out, watcher.pid, Signal::Down { from, monitor, reason: reason.clone() });
        }
        for (monitor, watch) in watching {
            // One by a name that nobody has said to have found: that answer is still to come, and
            // will find me dead.
            if let Some(who) = watch.who {
                tell(out, who, Signal::Demonitor { from, monitor });
            }
        }
        out.extend(late);
        Some(reason)
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running)
    }

    /// The reason of the signal that doomed it, or the one it ended with.
    pub(crate) fn doom(&self) -> Option<&ExitReason> {
        match &self.state {
            State::Running => None,
            State::Doomed(reason) | State::Ended(reason) => Some(reason.reason()),
        }
    }

    /// Whom I am linked with, in no order.
    pub(crate) fn links(&self) -> Vec<Pid> {
        let links = self.ties.iter().flat_map(|ties| ties.links.iter());
        links.filter(|(_, link)| link.state == LinkState::Active).map(|(pid, _)| *pid).collect()
    }

    /// What I watch, in no order; what is watched twice is there twice.
    pub(crate) fn monitors(&self) -> Vec<To> {
        let watching = self.ties.iter().flat_map(|ties| ties.watching.values());
        watching.filter(|watch| !watch.dropped).map(|watch| watch.object.clone()).collect()
    }

    /// LK-4: something of `from` has come over `via`. If that is a later connection than a link with it
    /// goes over, that one is lost, though I have not heard of it yet, and the link breaks.
    fn breaks_a_former_link(&mut self, from: Pid, via: Via, out: &mut Vec<Effect>) -> bool {
        let links = self.ties.as_deref_mut().map(|ties| &mut ties.links);
        let Some(former) = links.and_then(|links| match links.entry(from) {
            Entry::Occupied(link) if link.get().via < via => Some(link.remove()),
            Entry::Occupied(_) | Entry::Vacant(_) => None,
        }) else {
            return false;
        };
        if former.state == LinkState::Active {
            self.exit_signal(from, ExitReason::NoConnection, out);
        }
        true
    }

    /// LK-4: whether what has come from `from` over `via` is about a link that I have: of another node's it
    /// goes over that connection, or the word is my own node's.
    fn is_linked_over(&self, from: Pid, via: Via) -> bool {
        let link = self.ties.as_deref().and_then(|ties| ties.links.get(&from));
        link.is_some_and(|link| {
            link.state == LinkState::Active && (link.via == via || via == Via::HERE)
        })
    }

    /// `exit/2`, called by `from`.
    fn exit2_signal(&mut self, from: Pid, reason: ExitReason, out: &mut Vec<Effect>) {
        if mutant::is(Mutant::ExitSignalUnlinked) && from != self.me {
            let linked = self.ties.as_ref().is_some_and(|ties| ties.links.contains_key(&from));
            if !linked && reason != ExitReason::Kill {
                return;
            }
        }
        if mutant::is(Mutant::TrappedExitBreaksLink) && self.trap {
            self.ties().links.remove(&from);
        }
        if reason == ExitReason::Kill && !(mutant::is(Mutant::KillTrappable) && self.trap) {
            // E4: only exit/2 makes a kill that cannot be trapped.
            let reason = match mutant::is(Mutant::KillKeepsItsName) {
                true => ExitReason::Kill,
                false => ExitReason::Killed,
            };
            self.doom_with(reason, out);
        } else if from == self.me
            && reason == ExitReason::Normal
            && !self.trap
            && !mutant::is(Mutant::SelfNormalIgnored)
        {
            self.doom_with(ExitReason::Normal, out); // E3
        } else {
            self.exit_signal(from, reason, out);
        }
    }

    /// An exit signal that is not an untrappable kill.
    fn exit_signal(&mut self, from: Pid, reason: ExitReason, out: &mut Vec<Effect>) {
        if self.trap {
            out.push(Effect::Notice(Notice::Exited { from, reason }));
        } else if reason != ExitReason::Normal || mutant::is(Mutant::NormalKills) {
            self.doom_with(reason, out);
        }
    }

    fn doom_with(&mut self, reason: ExitReason, out: &mut Vec<Effect>) {
        self.state = State::Doomed(Kept::new(&reason));
        out.push(Effect::Doom);
    }

    fn way_to(&self, node: NodeName) -> Via {
        if node == self.me.node() { Via::HERE } else { Via::PENDING }
    }

    fn ties(&mut self) -> &mut Ties {
        self.ties.get_or_insert_default()
    }
}

fn tell(out: &mut Vec<Effect>, to: Pid, signal: Signal) {
    out.push(Effect::Tell { to: to.into(), signal });
}

fn tied(via: Via, out: &mut Vec<Effect>) {
    if via != Via::HERE {
        out.push(Effect::Tied);
    }
}

fn down(monitor: Ref, watch: Watch, reason: ExitReason, out: &mut Vec<Effect>) {
    if mutant::is(Mutant::DownLost)
        || mutant::is(Mutant::DownWhenNormalLost) && reason == ExitReason::Normal
    {
        return;
    }
    let object = match watch.who {
        Some(who) if mutant::is(Mutant::DownSaysPid) => who.into(),
        Some(_) | None => watch.object,
    };
    out.push(Effect::Notice(Notice::Down { monitor, object, reason }));
}

fn node_down(node: NodeName, requests: u32, out: &mut Vec<Effect>) {
    let requests = if mutant::is(Mutant::NodeDownOnce) { 1 } else { requests };
    out.extend((0..requests).map(|_| Effect::Notice(Notice::NodeDown { node })));
}

#[cfg(test)]
mod tests;
