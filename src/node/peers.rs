//! The nodes that this one knows of: where they are, and the connections to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cell::lock;
use super::link::{Link, Phase};
use super::ways::{Place, Ways, ways};
use crate::term::{HostId, NodeName};
use crate::wire::MemberInfo;
use crate::wire::greeting::{Hello, Refusal};

/// Places and connections.
#[derive(Default)]
pub(crate) struct Peers(Mutex<Known>);

#[derive(Default)]
struct Known {
    places: HashMap<NodeName, Place>,
    links: HashMap<NodeName, Arc<Link>>,
    master: Option<NodeName>,
    /// The last connection that was lost or did not come about, and why.
    last_lost: Option<(NodeName, String)>,
}

impl Known {
    /// Whether a dial from `host` may get there.
    fn has_way(&self, node: NodeName, host: HostId) -> bool {
        self.places.get(&node).is_none_or(|place| ways(&place.at, host) != Ways::None)
    }
}

impl Peers {
    /// The connection to `peer`, and its place if somebody has to dial it now.
    pub(crate) fn link_or_dial(
        &self,
        peer: NodeName,
        new: impl FnOnce(NodeName) -> Arc<Link>,
    ) -> Result<(Arc<Link>, Option<Place>), Nowhere> {
        let mut known = lock(&self.0);
        if let Some(link) = known.links.get(&peer) {
            return Ok((link.clone(), None));
        }
        let place = known.places.get(&peer).ok_or(Nowhere)?.clone();
        let link = new(peer);
        known.links.insert(peer, link.clone());
        Ok((link, Some(place)))
    }

    /// The connection for a peer that has dialed us and proved itself.
    ///
    /// PE-1: when both dial at once, the connection that the node with the greater name made is the
    /// one to use, as in Erlang's handshake.
    ///
    /// PE-2: a name belongs to who has it for as long as that is heard. A peer that comes back sooner
    /// than its former connection has been silent since `fresh` is taken for an impostor.
    pub(crate) fn admit(
        &self,
        (me, host): (NodeName, HostId),
        them: &Hello,
        fresh: Duration,
        new: impl FnOnce() -> Arc<Link>,
    ) -> Result<Arc<Link>, Admission> {
        let mut known = lock(&self.0);
        if let Some(link) = known.links.get(&them.node) {
            match link.phase() {
                Phase::Up(life) if link.heard() >= fresh && life == them.incarnation => {
                    return Err(Admission::Refuse(Refusal::Connected));
                }
                Phase::Up(_) if link.heard() >= fresh => {
                    return Err(Admission::Refuse(Refusal::NameTaken(them.node.to_string())));
                }
                Phase::Up(_) => return Err(Admission::Outlived(link.clone())),
                // PE-7: we may have no way there, and be waiting for just this; not if we dial through the master.
                Phase::Connecting
                    if me > them.node && (link.is_relaying() || known.has_way(them.node, host)) =>
                {
                    return Err(Admission::Refuse(Refusal::Crossed));
                }
                Phase::Connecting => return Ok(link.clone()),
                Phase::Lost => {}
            }
        }
        let link = new();
        known.links.insert(them.node, link.clone());
        Ok(link)
    }

    /// Lets go of a lost connection.
    pub(crate) fn forget(&self, link: &Arc<Link>, why: &str) {
        let mut known = lock(&self.0);
        known.last_lost = Some((link.peer, why.to_owned()));
        if known.links.get(&link.peer).is_some_and(|kept| kept.id == link.id) {
            known.links.remove(&link.peer);
        }
    }

    /// Says where a node is.
    pub(crate) fn place(&self, node: NodeName, place: impl Into<Place>) {
        lock(&self.0).places.insert(node, place.into());
    }

    /// Takes over a list of members: others are no longer known. PE-3: only from the own master;
    /// false if `from` is another node.
    pub(crate) fn learn(&self, from: NodeName, members: &[MemberInfo]) -> bool {
        let mut known = lock(&self.0);
        if known.master != Some(from) {
            return false;
        }
        known.places =
            members.iter().map(|member| (member.node, member.at.clone().into())).collect();
        true
    }

    /// Whether somebody has said where this node is.
    pub(crate) fn knows(&self, node: NodeName) -> bool {
        lock(&self.0).places.contains_key(&node)
    }

    /// How many nodes somebody has said the place of: about as many as the pool has members.
    pub(crate) fn known(&self) -> usize {
        lock(&self.0).places.len()
    }

    /// Whether a node of another host may get to this one, as far as is known here.
    pub(crate) fn is_reached_from_afar(&self, node: NodeName) -> bool {
        lock(&self.0).places.get(&node).is_some_and(|place| !place.at.remote.is_empty())
    }

    /// Forgets where a node was.
    pub(crate) fn unplace(&self, node: NodeName) {
        lock(&self.0).places.remove(&node);
    }

    /// Why the connection to `peer` was lost or did not come about, if that was the last one lost.
    pub(crate) fn why_lost(&self, peer: NodeName) -> Option<String> {
        let known = lock(&self.0);
        known.last_lost.as_ref().filter(|(lost, _)| *lost == peer).map(|(_, why)| why.clone())
    }

    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        lock(&self.0).links.values().cloned().collect()
    }

    pub(crate) fn get(&self, node: NodeName) -> Option<Arc<Link>> {
        lock(&self.0).links.get(&node).cloned()
    }

    /// The pool's master, if this node is in a pool.
    pub(crate) fn master(&self) -> Option<NodeName> {
        lock(&self.0).master
    }

    pub(crate) fn set_master(&self, master: Option<NodeName>) {
        lock(&self.0).master = master;
    }
}

/// Why a peer that has proved itself gets no connection yet.
pub(crate) enum Admission {
    Refuse(Refusal),
    /// The node has come back before we noticed that it was gone: lose this first.
    Outlived(Arc<Link>),
}

/// Nobody has said where a node is.
#[derive(Debug)]
pub(crate) struct Nowhere;
