//! The supervisor actor of a node: it keeps the ties that cross nodes, propagates exits, and breaks
//! ties when a node is lost.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message};

use super::Node;
use super::link::{Link, Phase};
use crate::core::life::{Effect, Via};
use crate::term::{NodeName, Pid};

/// Keeps the ties of this node's actors with other nodes.
pub(crate) struct Keeper {
    node: Arc<Node>,
    /// Whose ties go over which connection.
    tied: HashMap<u64, HashSet<u64>>,
    /// The same the other way round.
    over: HashMap<u64, HashSet<u64>>,
}

impl Keeper {
    pub(crate) fn new(node: Arc<Node>) -> Keeper {
        Keeper { node, tied: HashMap::new(), over: HashMap::new() }
    }

    fn break_ties(&self, number: u64, link: u64, peer: NodeName) {
        if let Some(cell) = self.node.cell(number) {
            self.node.act(&cell, |life, out| life.lost(Via::link(link), peer, out));
        }
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

/// The actor of this number has a tie with somebody at the other end of `link`.
pub(crate) struct Tied {
    pub(crate) link: Arc<Link>,
    pub(crate) number: u64,
}

impl Message for Tied {
    type Result = ();
}

impl Handler<Tied> for Keeper {
    type Result = ();

    fn handle(&mut self, Tied { link, number }: Tied, _: &mut Context<Self>) {
        // KP-2: of an actor that has left the table its end has been or will be told; a tie that is
        // noted after that would stay for as long as the connection.
        if self.node.cell(number).is_none() {
            return;
        }
        // KP-1: a tie made while the connection was being lost breaks too.
        if link.phase() == Phase::Lost {
            return self.break_ties(number, link.id, link.peer);
        }
        // KP-2: nothing is kept of the dead. One that has ended since is told of nothing.
        if self.node.cell(number).is_none() {
            return;
        }
        self.tied.entry(link.id).or_default().insert(number);
        self.over.entry(number).or_default().insert(link.id);
    }
}

/// An actor has ended: tell these.
pub(crate) struct Ended {
    pub(crate) pid: Pid,
    pub(crate) effects: Vec<Effect>,
}

impl Message for Ended {
    type Result = ();
}

impl Handler<Ended> for Keeper {
    type Result = ();

    fn handle(&mut self, Ended { pid, effects }: Ended, _: &mut Context<Self>) {
        for link in self.over.remove(&pid.number()).into_iter().flatten() {
            if let Some(tied) = self.tied.get_mut(&link) {
                tied.remove(&pid.number());
                if tied.is_empty() {
                    self.tied.remove(&link);
                }
            }
        }
        self.node.tell_of_end(pid, effects);
    }
}

/// A connection is lost, and with it the node at its other end.
pub(crate) struct LinkLost {
    pub(crate) link: Arc<Link>,
}

impl Message for LinkLost {
    type Result = ();
}

/// Is answered when all losses before it have been told.
pub(crate) struct LossesTold;

impl Message for LossesTold {
    type Result = ();
}

impl Handler<LossesTold> for Keeper {
    type Result = ();

    fn handle(&mut self, LossesTold: LossesTold, _: &mut Context<Self>) {}
}

impl Handler<LinkLost> for Keeper {
    type Result = ();

    fn handle(&mut self, LinkLost { link }: LinkLost, _: &mut Context<Self>) {
        for number in self.tied.remove(&link.id).into_iter().flatten() {
            if let Some(over) = self.over.get_mut(&number) {
                over.remove(&link.id);
                if over.is_empty() {
                    self.over.remove(&number);
                }
            }
            self.break_ties(number, link.id, link.peer);
        }
        self.node.node_down(&link);
    }
}
