//! Erlang's built-in functions, as an actor calls them: link, monitor, exit, register and their like.
//! [`Ctx`](crate::Ctx) and [`ProcessContext`](crate::ProcessContext) are two doors to these.

use std::sync::Arc;

use super::batch::Batch;
use super::cell::{Cell, exit};
use crate::core::mutant::{self, Mutant};
use crate::term::{ExitReason, NodeName, Pid, Ref, To};
use crate::wire::Signal;

impl Cell {
    /// `link/1`.
    pub(crate) fn link(self: &Arc<Self>, to: Pid) {
        // L6: to link with the dead of one's own node, without a trap, is an error of the caller.
        let dead = self.node.is_home_of(to) && to != self.pid && !self.node.is_alive(to);
        if dead && self.is_running_here() && !mutant::is(Mutant::LinkToTheDeadIsSilent) {
            if !self.traps_exits() {
                exit(ExitReason::NoProc);
            }
            self.node.act_over(self, None, |life, via, out| life.linked_from_birth(to, via, out));
            return self.push_own(Signal::LinkExit { from: to, reason: ExitReason::NoProc });
        }
        self.node.act(self, |life, out| life.link(to, out));
    }

    /// `unlink/1`.
    pub(crate) fn unlink(self: &Arc<Self>, to: Pid) {
        if mutant::is(Mutant::UnlinkLate) {
            let cell = self.clone();
            let late = move || cell.node.act(&cell, |life, out| life.unlink(to, out));
            self.node.in_time(std::time::Duration::from_millis(1), late);
            return;
        }
        self.node.act(self, |life, out| life.unlink(to, out));
    }

    /// `monitor/2`.
    pub(crate) fn monitor(self: &Arc<Self>, to: To) -> Ref {
        let monitor = self.node.new_ref();
        self.node.act(self, |life, out| life.monitor(to, monitor, out));
        monitor
    }

    /// `demonitor/1`.
    pub(crate) fn demonitor(self: &Arc<Self>, monitor: Ref) -> bool {
        self.node.act(self, |life, out| life.demonitor(monitor, out))
    }

    /// `demonitor/2` with `flush`.
    pub(crate) fn demonitor_flush(self: &Arc<Self>, monitor: Ref) -> bool {
        let was_active = self.demonitor(monitor);
        if !was_active {
            self.flush_down(monitor);
        }
        was_active
    }

    /// `monitor_node/2`.
    pub(crate) fn monitor_node(self: &Arc<Self>, node: NodeName, on: bool) {
        self.node.act(self, |life, out| match on {
            true => life.monitor_node(node, out),
            false => life.demonitor_node(node),
        });
    }

    /// `net_kernel:monitor_nodes/1`.
    pub(crate) fn monitor_nodes(&self, on: bool) {
        self.note_noted();
        self.node.tell_of_nodes(self.pid.number(), on);
    }

    /// `exit/2`.
    pub(crate) fn exit_signal(self: &Arc<Self>, to: Pid, reason: ExitReason) {
        let signal = Signal::Exit { from: self.pid, reason };
        let to_itself = to == self.pid && self.is_running_here();
        if to_itself && self.traps_exits() && !signal.is_kill() {
            return self.push_own(signal);
        }
        self.node.signal(self.pid, to, signal);
        if to_itself
            && self.is_doomed()
            && let Some(reason) = self.reason()
        {
            exit(reason); // E14: it works before exit/2 returns
        }
    }

    /// `group_leader/2`.
    pub(crate) fn lead(self: &Arc<Self>, pid: Pid, leader: NodeName) {
        self.node.signal(self.pid, pid, Signal::Lead { from: self.pid, leader });
    }

    /// Whether this is the actor that runs on this thread at this moment, and can be ended from inside.
    fn is_running_here(&self) -> bool {
        super::cell::current().is_some_and(|current| current.pid == self.pid)
    }
}

impl super::Node {
    /// Whether the pid is, or was, of this life of this node.
    pub(crate) fn is_home_of(&self, pid: Pid) -> bool {
        pid.node() == self.name && pid.incarnation() == self.incarnation
    }

    /// A message for whoever has this name has come.
    pub(crate) fn on_named(self: &Arc<Self>, name: &str, message: Batch) {
        // R4: to nobody it vanishes.
        if let Some(cell) = self.whereis(name) {
            cell.push_batch(message);
        }
    }
}
