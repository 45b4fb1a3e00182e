//! Connections from the node's side: found or made, brought up, lost.

use std::sync::Arc;

use bytes::Bytes;
use slog::{debug, warn};

use super::cell::lock;
use super::keeper::{LinkLost, LossesTold};
use super::link::{Link, Phase};
use super::peers::NoWay;
use super::role::RoleEvent;
use super::{Node, Outcome, connection};
use crate::core::life::{Notice, answer_of_nobody};
use crate::term::{ExitReason, Incarnation, NodeName, Pid};
use crate::wire::greeting::Part;
use crate::wire::{Body, Control, Fault, read_body};

impl Node {
    /// The connection to `peer`, which is made if there is none.
    ///
    /// # Errors
    /// Nobody has said where that node is.
    pub(crate) fn link_to(self: &Arc<Self>, peer: NodeName) -> Result<Arc<Link>, NoWay> {
        let (link, dial) = self.peers.link_or_dial(peer, |peer| {
            Arc::new(Link::new(peer, Phase::Connecting, self.config.frame_bytes_max, self.now()))
        })?;
        if let Some(address) = dial {
            let node = self.clone();
            let dialed = link.clone();
            self.on_io(async move { connection::dial(node, dialed, address).await });
        }
        Ok(link)
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
        let lost = lock(&self.calls).lost(link.id);
        for waiter in lost {
            waiter(Outcome::Lost);
        }
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
        match read_body(body) {
            Ok(Body::Request { question, .. }) => {
                let fault = Fault::Exit(ExitReason::NoProc);
                self.close_question(question, Outcome::Failed(fault));
            }
            Ok(Body::Control(Control::Signal { to, signal })) => {
                let nobody = Pid::new(peer, life, to);
                self.carry_out(nobody, None, Vec::from_iter(answer_of_nobody(nobody, signal)));
            }
            Ok(
                Body::Message { .. } | Body::Reply { .. } | Body::Named { .. } | Body::Control(_),
            ) => {}
            Err(why) => unreachable!("a frame of our own making: {why}"),
        }
    }
}
