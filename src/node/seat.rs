//! Seats: the right to become one actor on one arbiter. Whoever takes it gets a pid; a seat that is
//! dropped tells the asker that nothing was started.

use std::sync::Arc;

use super::Node;
use super::answer::{Asker, Return};
use super::cell::{Body, Cell, Mailbox, Task};
use super::load::RunQueue;
use crate::term::{Kind, Pid};
use crate::wire::{Signal, SpawnFault, SpawnOptions};

/// The right to become one actor.
pub struct Seat {
    node: Arc<Node>,
    kind: Kind,
    options: SpawnOptions,
    queue: Arc<RunQueue>,
    born: Option<Born>,
    result: Option<Return>,
}

/// Who is told that an actor has come into the world, before it does anything.
pub(crate) type Born = Box<dyn FnOnce(Result<Pid, SpawnFault>) + Send>;

impl Seat {
    pub(crate) fn new(
        node: Arc<Node>,
        kind: Kind,
        options: SpawnOptions,
        queue: Arc<RunQueue>,
        born: Born,
        result: Option<Return>,
    ) -> Seat {
        Seat { node, kind, options, queue, born: Some(born), result }
    }

    pub(crate) fn refuse(mut self, fault: SpawnFault) {
        if let Some(born) = self.born.take() {
            born(Err(fault));
        }
    }

    /// Gives the actor a pid and its ties, and tells the asker. Also returns who wants the result of a
    /// function.
    pub(crate) fn take(mut self, mailbox: impl Mailbox) -> (Arc<Cell>, Option<Asker>) {
        let node = self.node.clone();
        let pid = node.new_pid();
        let (kind, leader) = (self.kind.clone(), self.options.leader);
        let cell =
            Cell::new(pid, kind, leader, node.clone(), self.queue.clone(), Box::new(mailbox));
        let cell = Arc::new(cell);
        node.live_here(cell.clone());
        if self.options.placed {
            node.count_accepted();
        }
        // L10, M12: the ties are there before the actor can end.
        let link = self.options.link;
        let monitor = self.options.monitor;
        node.act(&cell, |life, out| {
            if let Some(parent) = link {
                life.linked_from_birth(parent, out);
            }
            if let Some((from, monitor)) = monitor {
                life.signal(Signal::Monitor { from, monitor }, out);
            }
        });
        slog::debug!(node.log, "spawned"; "pid" => %pid, "kind" => %cell.kind);
        if let Some(born) = self.born.take() {
            born(Ok(pid));
        }
        let result = self.result.take().map(|to| Asker::new(cell.clone(), to));
        (cell, result)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(born) = self.born.take() {
            born(Err(SpawnFault::Stopping));
        }
    }
}

/// Runs the actor on this thread's arbiter.
pub(crate) fn run(cell: Arc<Cell>, body: impl Body + 'static) {
    actix_rt::spawn(Task::new(cell, body));
}
