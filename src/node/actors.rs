//! A node's actors: who lives here, and how one more comes to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::channel::oneshot;
use futures::future::join_all;

use super::Node;
use super::cell::{Cell, runs_here};
use super::keeper::Ended;
use super::link::Link;
use super::load::Blocking;
use super::registry::{self, Entry, Known};
use super::role::RoleEvent;
use super::seat::{Born, Kin, Seat, Terms};
use super::stage::{Stage, number_here};
use super::stages::Stages;
use crate::core::life::Effect;
use crate::term::{Kind, Pid, Ref};
use crate::wire::{Control, SpawnFault, SpawnOptions, SpawnOrder};

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

    /// The same, if a message is received: what follows a signal that has ended it is not, though its code may still run.
    /// Found without a look into the table that all share if it is the one that this thread has [kept](keep).
    pub(crate) fn receiver(&self, pid: Pid) -> Option<Arc<Cell>> {
        let kept = KEPT.try_with(std::cell::Cell::take).ok().flatten();
        let is_it = |kept: &Arc<Cell>| kept.pid == pid && std::ptr::eq(&*kept.node, self);
        let cell = kept.filter(is_it).or_else(|| self.cell_of(pid));
        cell.filter(|cell| !cell.is_doomed())
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
                None => self.tell_of_end(cell.pid, effects),
            }
        }
    }

    pub(crate) fn stages(&self) -> &Arc<Stages> {
        &self.stages
    }

    /// Where somebody begins whom nobody here has started: where there is the least to do. None if
    /// no actor is to start any more.
    fn stage(&self) -> Option<&Stage> {
        if self.is_stopping() {
            return None;
        }
        self.stages.least_busy(self.next_worker.fetch_add(1, Ordering::Relaxed))
    }

    /// Where somebody begins whom code on this node starts: at home, if that is an actor. Who is waited for until it is up is one
    /// that stays: it begins like a stranger, and keeps nothing of whoever watches over it waiting.
    fn stage_for(&self, options: &SpawnOptions) -> Option<&Stage> {
        match number_here(&self.stages) {
            Some(home) if options.up.is_none() && !self.is_stopping() => Some(self.stages.at(home)),
            Some(_) | None => self.stage(),
        }
    }

    fn seat(
        self: &Arc<Self>,
        kind: &'static Kind,
        options: SpawnOptions,
        stage: u16,
        born: Born,
        over: Option<Arc<Link>>,
    ) -> Seat {
        Seat::new(Terms { node: self.clone(), kind, options, stage, born, over })
    }

    /// Starts what `kind` names for somebody on this node: it has its pid and its ties when this returns.
    pub(crate) fn start_named(
        self: &Arc<Self>,
        kind: &Kind,
        args: &[u8],
        options: SpawnOptions,
        kin: Kin,
    ) -> Result<Pid, SpawnFault> {
        let known = registry::known(kind).ok_or(SpawnFault::UnknownKind)?;
        self.start_known(known, args, options, kin)
    }

    /// The same.
    pub(crate) fn start_known(
        self: &Arc<Self>,
        known: &'static Known,
        args: &[u8],
        options: SpawnOptions,
        kin: Kin,
    ) -> Result<Pid, SpawnFault> {
        if !self.allows(known.entry) {
            return Err(SpawnFault::NotAllowed);
        }
        let stage = self.stage_for(&options).ok_or(SpawnFault::Stopping)?.number();
        let seat = self.seat(&known.kind, options, stage, Born::Here(kin), None);
        (known.entry.start)(args, seat).map_err(|refused| SpawnFault::BadArguments(refused.1))
    }

    /// Starts an actor of this node's own code, whose arguments need no decoding, likewise.
    pub(crate) fn start_typed(
        self: &Arc<Self>,
        kind: &Kind,
        options: SpawnOptions,
        kin: Kin,
        start: impl FnOnce(Seat) -> Pid,
    ) -> Result<Pid, SpawnFault> {
        let known = registry::known(kind);
        if known.is_some_and(|known| !self.allows(known.entry)) {
            return Err(SpawnFault::NotAllowed);
        }
        let stage = self.stage_for(&options).ok_or(SpawnFault::Stopping)?.number();
        let kind = known.map_or_else(|| registry::unregistered(kind), |known| &known.kind);
        Ok(start(self.seat(kind, options, stage, Born::Here(kin), None)))
    }

    /// Starts what was ordered over a connection. The arguments are decoded on the arbiter.
    pub(crate) fn start_ordered(self: &Arc<Self>, link: &Arc<Link>, order: SpawnOrder) {
        let SpawnOrder { question, kind, args, options } = order;
        let asker = link.clone();
        let born = move |born| {
            asker.tell(&match born {
                Ok(pid) => Control::Spawned { question, pid },
                Err(fault) => Control::SpawnRefused { question, fault },
            });
        };
        let known = match registry::known(&kind) {
            None => return born(Err(SpawnFault::UnknownKind)),
            Some(known) if !self.allows(known.entry) => return born(Err(SpawnFault::NotAllowed)),
            Some(known) if !self.is_among(known.entry) => return born(Err(SpawnFault::NotAmong)),
            Some(known) => known,
        };
        let Some(stage) = self.stage() else { return born(Err(SpawnFault::Stopping)) };
        let born = Born::Ordered(Box::new(born));
        let seat = self.seat(&known.kind, options, stage.number(), born, Some(link.clone()));
        // A dead arbiter drops the seat unused, and the asker hears of it.
        stage.order(move || {
            if let Err(refused) = (known.entry.start)(&args, seat) {
                let (seat, why) = *refused;
                seat.refuse(SpawnFault::BadArguments(why));
            }
        });
    }

    /// What is guarded starts only where the master allows it by name.
    fn allows(&self, entry: &Entry) -> bool {
        !entry.guarded || self.config.allow.iter().any(|allowed| allowed == entry.module)
    }

    /// What others may start here: certain modules if they were named, and what is the library's own.
    fn is_among(&self, entry: &Entry) -> bool {
        let Some(only) = &self.config.only else { return true };
        entry.module == OWN_MODULE || only.iter().any(|module| module == entry.module)
    }

    /// Waits until everybody who is ready now has had a turn, and those have heard who are tied to whoever ended.
    pub(crate) async fn turns_over(&self) {
        // Whoever is about to begin may be handed on to another stage, and taken from there.
        for _ in 0..3 {
            let over = self.stages.arbiters().iter().map(|stage| {
                let (tell, told) = oneshot::channel::<()>();
                stage.order(move || drop(tell)); // or it is dropped with the stage
                told
            });
            join_all(over.collect::<Vec<_>>()).await;
        }
        self.losses_told().await;
    }

    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if self.unwatched.load(Ordering::Relaxed) && self.unwatched.swap(false, Ordering::Relaxed) {
            self.role(RoleEvent::Given);
        }
    }

    /// The load is looked at rarely from now on: the next spawn by placement says so.
    pub(crate) fn watch_less(&self) {
        self.unwatched.store(true, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Actors of this node that are ready to run and do not: `statistics(run_queue)`.
    pub(crate) fn run_queue(&self) -> usize {
        self.stages.arbiters().iter().map(|stage| stage.load().len() as usize).sum()
    }

    pub(crate) fn blocking(&self) -> Arc<Blocking> {
        self.blocking.clone()
    }
}

/// The library's own kinds: supervisors, the directory.
const OWN_MODULE: &str = "pspawn";

/// Keeps an actor to which this thread's has sent something, for the next time: until that is another one, or the thread sleeps.
pub(crate) fn keep(cell: Arc<Cell>) {
    if runs_here() {
        let _ = KEPT.try_with(|kept| kept.set(Some(cell))); // a thread's locals may be gone when it ends
    }
}

/// This thread is about to sleep: what it keeps would stay for long.
pub(super) fn keep_none() {
    drop(KEPT.try_with(std::cell::Cell::take));
}

thread_local! {
    static KEPT: std::cell::Cell<Option<Arc<Cell>>> = const { std::cell::Cell::new(None) };
}
