//! Connections from the node's side: found or made, brought up, lost.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use slog::{debug, warn};

use super::cell::lock;
use super::keeper::{LinkLost, LossesTold};
use super::link::{Link, Phase};
use super::peers::Nowhere;
use super::role::RoleEvent;
use super::stream::MakeStream;
use super::ways::{Place, Ways, ways};
use super::{Node, Outcome, connection};
use crate::core::life::{Notice, answer_of_nobody};
use crate::term::{At, ExitReason, Incarnation, NodeName, Pid};
use crate::wire::greeting::Part;
use crate::wire::{Answer, Body, Control, Fault, Head, Query, read_body};

impl Node {
    /// The connection to `peer`, which is made if there is none.
    ///
    /// # Errors
    /// Nobody has said where that node is.
    pub(crate) fn link_to(self: &Arc<Self>, peer: NodeName) -> Result<Arc<Link>, Nowhere> {
        let (link, dial) = self.peers.link_or_dial(peer, |peer| {
            Arc::new(Link::new(peer, Phase::Connecting, self.config.frame_bytes_max, self.now()))
        })?;
        if let Some(place) = dial {
            let node = self.clone();
            let dialed = link.clone();
            self.on_io(async move { connection::dial(node, dialed, place).await });
        }
        Ok(link)
    }

    /// Does something, once, with the connection to `peer`. A thread sends over the same one again and again: that is found
    /// without a look into the table that all share.
    ///
    /// # Errors
    /// Nobody has said where that node is.
    pub(crate) fn with_link_to<R>(
        self: &Arc<Self>,
        peer: NodeName,
        act: &mut impl FnMut(&Arc<Link>) -> R,
    ) -> Result<R, Nowhere> {
        // Another node may take the place of one that has ended, but not its life, too.
        let me = (Arc::as_ptr(self).addr(), self.incarnation);
        let is_it = |of: &Life, link: &Link| *of == me && link.peer == peer && !link.is_lost();
        // The thread's locals may be gone when it ends.
        let done = LAST.try_with(|last| match last.try_borrow().as_deref() {
            Ok(Some((of, link))) if is_it(of, link) => Some(act(link)),
            _ => None,
        });
        if let Ok(Some(result)) = done {
            return Ok(result);
        }
        let link = self.link_to(peer)?;
        let result = act(&link);
        let _ = LAST.try_with(|last| {
            let before = last.try_borrow_mut().map(|mut last| last.replace((me, link)));
            drop(before); // which may be the last of a connection
        });
        Ok(result)
    }

    /// Calls the master back, as a slave does once it is up: at one of its addresses, or else through
    /// `fallback`, a channel as secret as the one that our keys came over. Why it failed, if it does,
    /// is the reason that the slave ends with.
    ///
    /// An address that does not answer costs two seconds if there is another way, else the greeting's
    /// time-out; one that refuses costs nothing.
    pub(crate) fn call_back(
        self: &Arc<Self>,
        master: NodeName,
        at: At,
        fallback: Option<MakeStream>,
    ) {
        self.peers.place(master, at);
        self.peers.set_master(Some(master));
        let new = |peer| {
            Arc::new(Link::new(peer, Phase::Connecting, self.config.frame_bytes_max, self.now()))
        };
        if let Ok((link, Some(place))) = self.peers.link_or_dial(master, new) {
            let node = self.clone();
            self.on_io(async move { connection::call_back(node, link, place, fallback).await });
        }
    }

    /// Gets this node what it proves itself with, if it needs that to reach `peer`: commands ask their
    /// master, and all others have it from the start.
    pub(crate) async fn get_credentials(self: &Arc<Self>, peer: NodeName, place: &Place) {
        let needed = matches!(ways(&place.at, self.config.host), Ways::Tls(_))
            && place.pin.is_none()
            && self.tls().is_none()
            && self.config.part == Part::Hidden;
        let Some(master) = self.peers.master().filter(|master| needed && *master != peer) else {
            return;
        };
        let asked = self.query(master, Query::Credentials, self.config.times.greeting);
        match asked.await {
            Outcome::Told(Answer::Credentials(credentials)) => {
                if let Err(why) = self.set_credentials(Some(&credentials)) {
                    warn!(self.log, "no use"; "from" => %master, "reason" => %why);
                }
            }
            other => debug!(self.log, "no credentials"; "from" => %master, "answer" => ?other),
        }
    }

    /// A connection is lost: whoever waited for its peer or was tied to it hears, once.
    pub(crate) fn lose(self: &Arc<Self>, link: &Arc<Link>, why: &str) {
        let incarnation = match link.phase() {
            Phase::Up(incarnation) => Some(incarnation),
            Phase::Connecting | Phase::Lost => None,
        };
        if !link.set_lost() {
            return;
        }
        self.peers.forget(link, why);
        if incarnation.is_some() {
            self.lose_relayed(link);
        }
        match incarnation {
            Some(_) if self.is_stopping() => debug!(self.log, "disconnected"; "peer" => %link.peer),
            Some(_) => {
                slog::info!(self.log, "node down"; "peer" => %link.peer, "reason" => why.to_owned());
            }
            // Who connects to do one thing is told by that thing's failure.
            None if self.config.part == Part::Hidden => {}
            None => {
                warn!(self.log, "not connected"; "peer" => %link.peer, "reason" => why.to_owned())
            }
        }
        self.questions.lost(link.id);
        if let Some(hands) = self.hands.get() {
            hands.keeper.do_send(LinkLost { link: link.clone() });
        }
        self.role(RoleEvent::PeerDown { node: link.peer, why: why.to_owned() });
    }

    /// The peer of `link` is up, and is not hidden.
    pub(crate) fn node_up(self: &Arc<Self>, link: &Arc<Link>) {
        link.set_visible();
        self.news(Notice::NodeUp { node: link.peer });
    }

    /// Whether the actor of this number hears of every node that comes or goes.
    pub(crate) fn tell_of_nodes(&self, number: u64, on: bool) {
        let mut watchers = lock(&self.watchers);
        match on {
            true => watchers.insert(number),
            false => watchers.remove(&number),
        };
    }

    /// The peer of `link` is lost, and whoever was tied to it has heard.
    pub(super) fn node_down(self: &Arc<Self>, link: &Link) {
        if link.is_visible() {
            self.news(Notice::NodeDown { node: link.peer });
        }
    }

    fn news(self: &Arc<Self>, notice: Notice) {
        let watchers: Vec<u64> = lock(&self.watchers).iter().copied().collect();
        for cell in watchers.into_iter().filter_map(|number| self.cell(number)) {
            cell.push_notice(notice.clone());
        }
    }

    /// Cuts the connection to a node, if there is one (N9).
    pub(crate) fn disconnect(self: &Arc<Self>, peer: NodeName) -> bool {
        let link = self.peers.get(peer).filter(|link| matches!(link.phase(), Phase::Up(_)));
        if let Some(link) = &link {
            self.lose(link, "disconnected on purpose");
        }
        link.is_some()
    }

    /// Cuts the connection to a peer that does what no node does: whoever it is, it is not to be trusted.
    pub(crate) fn lose_offender(self: &Arc<Self>, link: &Arc<Link>, why: &str) {
        warn!(self.log, "disconnected for what it sent"; "peer" => %link.peer, "reason" => why);
        self.lose(link, why);
    }

    /// Waits until everybody has heard of the connections that were lost before this.
    pub(crate) async fn losses_told(&self) {
        if let Some(hands) = self.hands.get() {
            let _ = hands.keeper.send(LossesTold).await; // a keeper that is gone tells nobody any more
        }
    }

    /// Tells the node's master or slave actor.
    pub(crate) fn role(&self, event: RoleEvent) {
        if let Some(hands) = self.hands.get() {
            hands.role.do_send(event);
        }
    }

    /// Runs a future on the IO thread.
    pub(crate) fn on_io(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(hands) = self.hands.get() {
            hands.io.spawn(future);
        }
    }

    /// The connection is up, to this life of the peer; false if it was up or lost already.
    pub(crate) fn bring_up(self: &Arc<Self>, link: &Arc<Link>, life: Incarnation) -> bool {
        let Some(former) = link.set_up(life, self.now()) else { return false };
        for (life, body) in former {
            self.answer_for_former_life(link.peer, life, body);
        }
        true
    }

    /// N6: what was sent to a pid of a node's former life is answered as by nobody.
    fn answer_for_former_life(self: &Arc<Self>, peer: NodeName, life: Incarnation, body: Bytes) {
        match read_body(&body) {
            Ok(Body::Letter { head: Head::Request { question, .. }, .. }) => {
                let fault = Fault::Exit(ExitReason::NoProc);
                self.close_question(question, Outcome::Failed(fault.into()));
            }
            Ok(Body::Control(Control::Signal { to, signal })) => {
                let nobody = Pid::new(peer, life, to);
                let from = signal.from();
                if let Some(answer) = answer_of_nobody(nobody, signal) {
                    self.signal(nobody, from, answer);
                }
            }
            Ok(Body::Letter { .. } | Body::Type { .. } | Body::Piece { .. } | Body::Control(_)) => {
            }
            Err(why) => unreachable!("a frame of our own making: {why}"),
        }
    }
}

/// A node in this OS process: where it is, and which life of it.
type Life = (usize, Incarnation);

thread_local! {
    /// The connection that this thread used last, and whose it is.
    static LAST: RefCell<Option<(Life, Arc<Link>)>> = const { RefCell::new(None) };
}
