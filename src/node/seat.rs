//! Seats: the right to become one actor on one stage. Whoever takes it gets a pid; a seat that is
//! dropped tells who ordered it that nothing was started.

use std::sync::Arc;

use super::Node;
use super::ambient::decoding_at;
use super::answer::{Asker, Return};
use super::cell::{Cell, Mailbox};
use super::link::Link;
use super::stage::{Birth, Body};
use crate::core::mutant::{self, Mutant};
use crate::term::{Kind, Pid, Ref};
use crate::wire::{Signal, SpawnFault, SpawnOptions};

/// The right to become one actor.
pub struct Seat(Option<Terms>);

/// What is settled of a new actor before anybody knows what it is made of.
pub(crate) struct Terms {
    pub(crate) node: Arc<Node>,
    pub(crate) kind: &'static Kind,
    pub(crate) options: SpawnOptions,
    /// The number of its stage.
    pub(crate) stage: u16,
    pub(crate) born: Born,
    /// The connection over which the order came.
    pub(crate) over: Option<Arc<Link>>,
}

/// Who waits for what of a new actor.
pub(crate) struct Awaited {
    /// Who wants the result of a function.
    pub(crate) result: Option<Box<Asker>>,
    /// Who wants to hear that it is up.
    pub(crate) up: Option<Box<Asker>>,
}

/// Who is told that an actor has come into the world, before it does anything.
pub(crate) enum Born {
    /// Actors of this node, which it is tied to.
    Here(Kin),
    /// Whoever has ordered it.
    Ordered(Box<dyn FnOnce(Result<Pid, SpawnFault>) + Send>),
}

/// The other ends of a new actor's ties.
#[derive(Clone, Default)]
pub(crate) struct Kin {
    pub(crate) link: Option<Arc<Cell>>,
    pub(crate) monitor: Option<(Arc<Cell>, Ref)>,
}

impl Kin {
    /// Makes them, before any signal of the new actor can come.
    pub(crate) fn made(&self, node: &Arc<Node>, over: Option<&Arc<Link>>, pid: Pid) {
        if let Some(parent) = &self.link {
            node.act_over(parent, over, |life, via, out| match birth_is_late() {
                true => life.link(pid, out),
                false => life.linked_from_birth(pid, via, out),
            });
        }
        if let Some((watcher, monitor)) = &self.monitor {
            node.act_over(watcher, over, |life, via, out| {
                life.monitoring_from_birth(pid, *monitor, via, out);
            });
        }
    }
}

pub(crate) fn birth_is_late() -> bool {
    mutant::is(Mutant::LinkedFromBirthLate)
}

impl Seat {
    /// Decodes something of which addresses belong to this node.
    pub(crate) fn at_home<R>(&self, decode: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(terms) => decoding_at(&terms.node, decode),
            None => decode(),
        }
    }

    pub(crate) fn new(terms: Terms) -> Seat {
        Seat(Some(terms))
    }

    pub(crate) fn refuse(mut self, fault: SpawnFault) {
        if let Some(Terms { born: Born::Ordered(tell), .. }) = self.0.take() {
            tell(Err(fault));
        }
    }

    /// Gives the actor a pid and its ties, tells who ordered it, and puts it on its stage, where `make` is
    /// called in its first turn.
    pub(crate) fn start<B: Body + 'static>(
        mut self,
        mailbox: impl Mailbox,
        make: impl FnOnce(Arc<Cell>, Awaited) -> B + Send + 'static,
    ) -> Pid {
        let terms = self.0.take().expect("a seat is taken once");
        let Terms { node, kind, options, stage, born, over } = terms;
        let pid = node.new_pid();
        let SpawnOptions { link, monitor, leader, result, parent, up, placed } = options;
        let mailbox = Box::new(mailbox);
        let cell = Arc::new(Cell::new(pid, kind, leader, parent, node, stage, mailbox));
        let node = &cell.node;
        node.live_here(cell.clone());
        if placed {
            node.count_accepted();
            cell.set_placed();
        }
        // L10, M12: the ties are there before the actor can end.
        if link.is_some() || monitor.is_some() {
            node.act_over(&cell, over.as_ref(), |life, via, out| {
                if let Some(parent) = link {
                    life.linked_from_birth(parent, via, out);
                }
                if let Some((from, monitor)) = monitor {
                    life.signal(Signal::Monitor { from, monitor }, via, out);
                }
            });
        }
        slog::debug!(node.log, "spawned"; "pid" => %pid, "kind" => %cell.kind);
        match born {
            Born::Here(kin) => kin.made(node, None, pid),
            Born::Ordered(tell) => tell(Ok(pid)),
        }
        let asker = |question| {
            let to = Return { link: over.clone(), question };
            Box::new(Asker::new(cell.clone(), to))
        };
        let awaited = Awaited { result: result.map(asker), up: up.map(asker) };
        Birth::new(cell, move |cell| make(cell, awaited)).begin();
        pid
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(Terms { born: Born::Ordered(tell), .. }) = self.0.take() {
            tell(Err(SpawnFault::Stopping));
        }
    }
}
