//! A node's actors: who lives here, and how one more comes to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cell::Cell;
use super::keeper::Ended;
use super::link::Link;
use super::load::Blocking;
use super::seat::{Born, Seat};
use super::{Node, Worker, registry};
use crate::core::life::Effect;
use crate::term::{Kind, Pid, Ref};
use crate::wire::{SpawnFault, SpawnOptions};

impl Node {
    pub(crate) fn new_pid(&self) -> Pid {
        Pid::new(self.name, self.incarnation, self.new_number())
    }

    /// In whose name the node itself sends signals.
    pub(crate) fn own_pid(&self) -> Pid {
        Pid::new(self.name, self.incarnation, 0)
    }

    pub(crate) fn new_ref(&self) -> Ref {
        Ref::new(self.name, self.incarnation, self.new_number())
    }

    fn new_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn live_here(&self, cell: Arc<Cell>) {
        self.table.insert(cell);
    }

    /// How many actors live here.
    pub(crate) fn actors(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn cell(&self, number: u64) -> Option<Arc<Cell>> {
        self.table.get(number)
    }

    pub(crate) fn is_alive(&self, pid: Pid) -> bool {
        self.cell_of(pid).is_some_and(|cell| !cell.is_doomed())
    }

    /// The actor of this pid, if it lives on this node in this life of it.
    pub(crate) fn cell_of(&self, pid: Pid) -> Option<Arc<Cell>> {
        if self.is_home_of(pid) { self.table.get(pid.number()) } else { None }
    }

    /// An actor has ended; `effects` are for whoever is tied to it.
    pub(crate) fn ended(self: &Arc<Self>, cell: &Cell, effects: Vec<Effect>) {
        self.table.remove(cell.pid.number());
        if cell.was_noted() {
            self.tell_of_nodes(cell.pid.number(), false);
        }
        if !effects.is_empty() || cell.was_tied() {
            match self.hands.get() {
                Some(hands) => hands.keeper.do_send(Ended { pid: cell.pid, effects }),
                None => self.carry_out(cell.pid, None, effects),
            }
        }
    }

    /// The arbiter with the least to do, in turn among equals; one whose thread waits comes last.
    fn worker(&self) -> Option<&Worker> {
        let workers = &self.hands.get()?.workers;
        let turn = self.next_worker.fetch_add(1, Ordering::Relaxed);
        (0..workers.len())
            .map(|at| &workers[(turn + at) % workers.len()])
            .min_by_key(|Worker { queue, .. }| (queue.is_stuck(), queue.len() + queue.running()))
    }

    /// Gives a seat on some arbiter to `start`.
    fn seat(
        self: &Arc<Self>,
        kind: &Kind,
        options: SpawnOptions,
        born: Born,
        over: Option<Arc<Link>>,
        start: impl FnOnce(Seat) + Send + 'static,
    ) {
        if self.is_stopping() {
            return born(Err(SpawnFault::Stopping));
        }
        let worker = self.worker().expect("a node that others can reach has arbiters");
        let kind = registry::shared(kind);
        let seat = Seat::new(self.clone(), kind, options, worker.queue.clone(), born, over);
        // A dead arbiter drops the seat unused, and the asker hears of it.
        worker.arbiter.spawn_fn(move || start(seat));
    }

    /// Starts what `kind` names, as ordered over this connection, or by this node itself.
    pub(crate) fn start_kind(
        self: &Arc<Self>,
        kind: Kind,
        args: Vec<u8>,
        options: SpawnOptions,
        born: Born,
        over: Option<Arc<Link>>,
    ) {
        let Some(entry) = registry::entry(&kind) else { return born(Err(SpawnFault::UnknownKind)) };
        if !self.allows(entry) {
            return born(Err(SpawnFault::NotAllowed));
        }
        if over.is_some() && !self.is_among(entry) {
            return born(Err(SpawnFault::NotAmong));
        }
        self.seat(&kind, options, born, over, move |seat| {
            if let Err(refused) = (entry.start)(&args, seat) {
                let (seat, why) = *refused;
                seat.refuse(SpawnFault::BadArguments(why));
            }
        });
    }

    /// Starts an actor of this node's own code, whose arguments need no decoding.
    pub(crate) fn start_typed(
        self: &Arc<Self>,
        kind: Kind,
        options: SpawnOptions,
        born: Born,
        start: impl FnOnce(Seat) + Send + 'static,
    ) {
        match registry::entry(&kind) {
            Some(entry) if !self.allows(entry) => born(Err(SpawnFault::NotAllowed)),
            Some(_) | None => self.seat(&kind, options, born, None, start),
        }
    }

    /// What is guarded starts only where the master allows it by name.
    fn allows(&self, entry: &registry::Entry) -> bool {
        !entry.guarded || self.config.allow.iter().any(|allowed| allowed == entry.module)
    }

    /// What others may start here: certain modules if they were named, and what is the library's own.
    fn is_among(&self, entry: &registry::Entry) -> bool {
        let Some(only) = &self.config.only else { return true };
        entry.module == OWN_MODULE || only.iter().any(|module| module == entry.module)
    }

    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Actors of this node that are ready to run and do not: `statistics(run_queue)`.
    pub(crate) fn run_queue(&self) -> usize {
        let workers = self.hands.get().map_or(&[][..], |hands| &hands.workers);
        workers.iter().map(|worker| worker.queue.len() as usize).sum()
    }

    pub(crate) fn blocking(&self) -> Option<Arc<Blocking>> {
        self.hands.get().map(|hands| hands.blocking.clone())
    }
}

/// The library's own kinds: supervisors, the directory.
const OWN_MODULE: &str = "pspawn";
