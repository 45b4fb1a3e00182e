//! Seats: the right to become one actor on one arbiter. Whoever takes it gets a pid; a seat that is
//! dropped tells the asker that nothing was started.

use std::sync::Arc;

use super::Node;
use super::answer::{Asker, Return};
use super::cell::{Body, Cell, Mailbox, Task};
use super::link::Link;
use super::load::RunQueue;
use crate::term::{Kind, Pid};
use crate::wire::{Signal, SpawnFault, SpawnOptions};

/// The right to become one actor.
pub struct Seat {
    node: Arc<Node>,
    kind: Arc<Kind>,
    options: SpawnOptions,
    queue: Arc<RunQueue>,
    born: Option<Born>,
    result: Option<Return>,
    /// The connection over which the order came.
    over: Option<Arc<Link>>,
}

/// What becomes of a seat: an actor, and who waits for what of it.
pub(crate) struct Taken {
    pub(crate) cell: Arc<Cell>,
    /// Who wants the result of a function.
    pub(crate) result: Option<Asker>,
    /// Who wants to hear that it is up.
    pub(crate) up: Option<Asker>,
}

/// Who is told that an actor has come into the world, before it does anything.
pub(crate) type Born = Box<dyn FnOnce(Result<Pid, SpawnFault>) + Send>;

impl Seat {
    pub(crate) fn new(
        node: Arc<Node>,
        kind: Arc<Kind>,
        options: SpawnOptions,
        queue: Arc<RunQueue>,
        born: Born,
        over: Option<Arc<Link>>,
    ) -> Seat {
        let back = |question| Return { link: over.clone(), question };
        let result = options.result.map(back);
        Seat { node, kind, options, queue, born: Some(born), result, over }
    }

    pub(crate) fn refuse(mut self, fault: SpawnFault) {
        if let Some(born) = self.born.take() {
            born(Err(fault));
        }
    }

    /// Gives the actor a pid and its ties, and tells the asker.
    pub(crate) fn take(mut self, mailbox: impl Mailbox) -> Taken {
        let node = self.node.clone();
        let pid = node.new_pid();
        let SpawnOptions { link, monitor, leader, result: _, parent, up, placed } =
            self.options.clone();
        let (kind, queue) = (self.kind.clone(), self.queue.clone());
        let cell =
            Arc::new(Cell::new(pid, kind, leader, parent, node.clone(), queue, Box::new(mailbox)));
        node.live_here(cell.clone());
        if placed {
            node.count_accepted();
        }
        // L10, M12: the ties are there before the actor can end.
        node.act_over(&cell, self.over.as_ref(), |life, via, out| {
            if let Some(parent) = link {
                life.linked_from_birth(parent, via, out);
            }
            if let Some((from, monitor)) = monitor {
                life.signal(Signal::Monitor { from, monitor }, via, out);
            }
        });
        slog::debug!(node.log, "spawned"; "pid" => %pid, "kind" => %cell.kind);
        if let Some(born) = self.born.take() {
            born(Ok(pid));
        }
        let result = self.result.take().map(|to| Asker::new(cell.clone(), to));
        let up = up.map(|question| Return { link: self.over.clone(), question });
        let up = up.map(|to| Asker::new(cell.clone(), to));
        Taken { cell, result, up }
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
