//! What comes over a connection: each frame to whom it is for.

use std::sync::Arc;

use slog::debug;

use super::answer::Return;
use super::batch::Batch;
use super::gate::PATIENCE;
use super::link::Link;
use super::role::RoleEvent;
use super::{Node, Outcome};
use crate::term::{ExitReason, Pid, To};
use crate::wire::greeting::Part;
use crate::wire::{Answer, Control, Fault, Query};

impl Node {
    /// A frame that is no actor's message has come over `link`.
    pub(crate) fn on_control(self: &Arc<Self>, link: &Arc<Link>, control: Control) {
        match control {
            Control::Tick => {}
            Control::Load(report) => {
                if self.config.part == Part::Master {
                    self.choices().placement().report(link.peer, report, self.now());
                }
            }
            Control::Table(table) => {
                if self.peers.master() == Some(link.peer) {
                    self.on_table(&table);
                }
            }
            Control::Chosen { number, counts } => {
                if self.config.part == Part::Master {
                    self.chosen_elsewhere(link.peer, number, &counts);
                }
            }
            Control::Signal { to, signal } => {
                let to = Pid::new(self.name, self.incarnation, to);
                self.on_signal(link, to.into(), signal);
            }
            Control::SignalNamed { name, signal } => {
                self.on_signal(link, To::Name(name, self.name), signal);
            }
            Control::Spawn(order) => self.start_ordered(link, order),
            Control::Spawned { question, pid } => {
                self.close_question(question, Outcome::Spawned(pid));
            }
            Control::SpawnRefused { question, fault } => {
                self.close_question(question, Outcome::Refused(fault));
            }
            Control::Failed { question, fault } => {
                self.close_question(question, Outcome::Failed(fault.into()));
            }
            // Not by way of the role's mailbox: as many come as actors are placed.
            Control::Ask { question, query: Query::Place } if self.config.part == Part::Master => {
                let answer = Answer::Placed(self.choose_for(link.peer));
                link.tell(&Control::Told { question, answer });
            }
            Control::Ask { question, query } => {
                let to = Return { link: Some(link.clone()), question };
                self.role(RoleEvent::Asked { query, to });
            }
            Control::Told { question, answer } => {
                self.close_question(question, Outcome::Told(answer))
            }
            Control::Members(members) => {
                // A node that this one only talks to tells every connected node of its own pool.
                if !self.peers.learn(link.peer, &members) {
                    debug!(self.log, "not my master's members"; "from" => %link.peer);
                }
            }
            Control::Call(node) if self.peers.master() == Some(link.peer) => {
                let _ = self.link_to(node); // whoever waits for the call hears why not, by its deadline
            }
            Control::Call(_) => debug!(self.log, "not my master's call"; "from" => %link.peer),
            Control::Halt => self.role(RoleEvent::Halt { from: link.peer }),
            Control::Bye => {} // its connection's reader ends with it
            Control::Output { pid, stream, line } => self.show(link, pid, stream, line),
            Control::Shown { lines, bytes } => self.on_shown(link, lines, bytes),
            Control::Pause { to } => self.on_pause(link, to),
            Control::Resume { to } => link.resume(to),
            Control::Relay { peer, stream, what } => self.on_relay(link, peer, stream, what),
        }
    }

    /// An actor of the peer's has enough.
    fn on_pause(self: &Arc<Self>, link: &Arc<Link>, to: u64) {
        let Some(gate) = link.pause(to) else { return };
        let (node, link) = (self.clone(), link.clone());
        self.in_time(PATIENCE, move || {
            if link.give_up(to, &gate) {
                let pid = format!("{}:{to}", link.peer);
                debug!(node.log, "takes nothing: senders wait no longer"; "pid" => pid);
            }
        });
    }

    /// Messages for the actor of this number have come, and questions if it `asks`.
    pub(crate) fn on_batch(self: &Arc<Self>, to: u64, mut batch: Batch, asks: bool) {
        match self.table.get(to) {
            Some(cell) if asks => cell.push_batch(batch.asking(cell.clone())),
            Some(cell) => cell.push_batch(batch),
            None if asks => batch.refuse_questions(|_| Fault::Exit(ExitReason::NoProc)),
            None => {} // a message to the dead vanishes (O2)
        }
    }
}
