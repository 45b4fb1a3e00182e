//! One actor's life as OTP sees it: its links and monitors, its trap, and what a signal does to it.
//!
//! Signals go in, effects come out; nothing here knows of a thread, a socket or a clock. All signals
//! that one actor sends to another arrive in the order sent, whatever they are, and are decided when
//! they arrive, not when their turn comes in a mailbox (rules E14, E17, M15 to M17). That is why
//! each actor keeps its own ends of its ties.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::mutant::{self, Mutant};
use crate::term::{ExitReason, NodeName, Pid, Ref, To};
use crate::wire::Signal;

/// What a node has to do for a life that it hosts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Send `signal` to `to`, in order with everything sent to it before. If that makes a tie, say over
    /// which connection it went: [`Life::went_over`].
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
    /// The signal that makes the tie is being sent; it is not known yet over which connection.
    const PENDING: Via = Via(u64::MAX);

    /// The connection of this number, which is not zero.
    pub(crate) fn link(id: u64) -> Via {
        Via(id)
    }

    /// The later one of the two; any is better than none.
    fn or_later(self, other: Via) -> Via {
        if self == Via::PENDING { other } else { self.max(other) }
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
    Doomed(Box<ExitReason>),
    Ended(Box<ExitReason>),
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
    /// LK-2: let go, but the other side may not know yet; its exit is dropped until it acknowledges.
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
                let reason = ExitReason::clone(reason);
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

    /// The signal to `to` that made a tie was sent over `via`; false if the tie is gone already.
    pub(crate) fn went_over(&mut self, to: &To, signal: &Signal, via: Via) -> bool {
        let Some(ties) = self.ties.as_deref_mut() else { return false };
        let of_tie = match signal {
            Signal::Link { .. } => {
                to.pid().and_then(|to| ties.links.get_mut(&to)).map(|link| &mut link.via)
            }
            Signal::Monitor { monitor, .. } => {
                ties.watching.get_mut(monitor).map(|watch| &mut watch.via)
            }
            Signal::Unlink { .. }
            | Signal::UnlinkAck { .. }
            | Signal::LinkExit { .. }
            | Signal::Exit { .. }
            | Signal::Demonitor { .. }
            | Signal::Down { .. }
            | Signal::Found { .. }
            | Signal::Lead { .. } => None,
        };
        // A link may be known already over a later connection than its own signal went over: the other
        // side has linked, too.
        of_tie.map(|of_tie| *of_tie = of_tie.or_later(via)).is_some()
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
                **last = reason.clone();
            }
            let answer = answer_of_nobody(self.me, signal);
            match self.state {
                State::Doomed(_) => self.ties().late.extend(answer),
                State::Running | State::Ended(_) => out.extend(answer),
            }
            return;
        }
        match signal {
            Signal::Link { from } => self.link_signal(from, via, out),
            Signal::Unlink { from, id } => {
                let links = &mut self.ties().links;
                if links.get(&from).is_some_and(|link| link.state == LinkState::Active) {
                    links.remove(&from);
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
                let links = &mut self.ties().links;
                // LK-2: an exit over a link we have let go of is dropped.
                if links.get(&from).is_some_and(|link| link.state == LinkState::Active) {
                    links.remove(&from);
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
            State::Doomed(reason) => *reason,
            State::Ended(reason) => {
                self.state = State::Ended(reason);
                return None;
            }
        };
        self.state = State::Ended(Box::new(reason.clone()));
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
            State::Doomed(reason) | State::Ended(reason) => Some(reason),
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

    fn link_signal(&mut self, from: Pid, via: Via, out: &mut Vec<Effect>) {
        let there = self.ties.as_ref().and_then(|ties| ties.links.get(&from)).copied();
        match there {
            // Mine is on its way, and may get lost with its connection: then this one counts.
            Some(Link { state: LinkState::Active, via: Via::PENDING }) => {
                self.ties().links.insert(from, Link { state: LinkState::Active, via });
                tied(via, out);
            }
            // LK-3: a link that is there in any state stays as it is: if we are letting go, the
            // other side's own `link` was idempotent and our unlink is still to reach it. And what
            // has come late over a former connection is old news.
            Some(link) if via <= link.via => {}
            // LK-4: it went over a connection that is lost, though I have not heard of that yet.
            Some(Link { state: LinkState::Active, .. }) => {
                self.ties().links.remove(&from);
                self.exit_signal(from, ExitReason::NoConnection, out);
                self.signal(Signal::Link { from }, via, out);
            }
            Some(Link { state: LinkState::Unlinking(_), .. }) | None => {
                self.ties().links.insert(from, Link { state: LinkState::Active, via });
                tied(via, out);
            }
        }
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
        self.state = State::Doomed(Box::new(reason));
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

/// What a signal to a pid that lives no more is answered with (L5, M2).
pub(crate) fn answer_of_nobody(nobody: Pid, signal: Signal) -> Option<Effect> {
    let reason = match mutant::is(Mutant::NoProcIsNormal) {
        true => ExitReason::Normal,
        false => ExitReason::NoProc,
    };
    if mutant::is(Mutant::LinkToTheDeadIsSilent) && matches!(signal, Signal::Link { .. }) {
        return None;
    }
    answer_of_absent(nobody, signal, reason)
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
        // It was found by a name, and its watcher has ended since.
        Signal::Found { from, monitor } => (from, Signal::Demonitor { from: absent, monitor }),
        Signal::UnlinkAck { .. }
        | Signal::LinkExit { .. }
        | Signal::Exit { .. }
        | Signal::Demonitor { .. }
        | Signal::Down { .. }
        | Signal::Lead { .. } => return None,
    };
    Some(Effect::Tell { to: to.into(), signal })
}

#[cfg(test)]
mod tests;
