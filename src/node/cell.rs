//! Cells: what a node knows of one actor.
//!
//! Its code lives on a [`Stage`]. However that ends (it is done, it panics, it is killed, its arbiter goes
//! away), the cell notices once and tells whoever is tied to it; no hook of the user's actor is relied
//! upon. The cell is also the code's waker, which makes the run queue exact.

use std::any::Any;
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::Waker;
use std::thread::{self, ThreadId};

use bytes::Bytes;
use futures::task::ArcWake;
use slog::{debug, error};

use super::Node;
use super::answer::Asker;
use super::batch::Batch;
use super::idle;
use super::link::Link;
use super::load::RunQueue;
use super::parcel::{Parcel, Put};
use super::slice::{must_yield, spend_slice};
use super::stage::Stage;
use crate::core::flow::Word;
use crate::core::life::{Effect, Life, Notice};
use crate::term::{ExitReason, Kind, NodeName, Pid, Ref, To};
use crate::wire::{Control, Fault, Signal};

/// One actor, as its node sees it.
pub(crate) struct Cell {
    pub(crate) pid: Pid,
    pub(crate) kind: &'static Kind,
    /// Group leader: the node where its output appears.
    leader: AtomicU32,
    /// Who started it, if it was an actor.
    parent: Option<Pid>,
    pub(crate) node: Arc<Node>,
    /// Its stage, once it has begun for good, and its place there.
    stage: AtomicU16,
    place: AtomicU32,
    queued: AtomicBool,
    /// What is, or was, to be known of it elsewhere: [`TIED`], [`NOTED`], [`RESTED`],
    /// [`ORPHANS`], [`RARE`].
    notes: AtomicU8,
    /// A signal has ended it: checked before each poll and between two messages.
    doomed: AtomicBool,
    life: Mutex<Life>,
    mailbox: Box<dyn Mailbox>,
    /// No task of ours polls it: it belongs to plain async code.
    plain: bool,
    /// Most actors pay one word for this.
    rare: Mutex<Option<Box<Rare>>>,
}

/// What hardly any actor has.
#[derive(Default)]
struct Rare {
    /// Questions that it has let go of: answered once it is known how its turn ends.
    orphans: Vec<Orphan>,
    /// What has too much of the actor's to send or to show: it rests until none has.
    rests_on: Vec<Arc<dyn Rest>>,
    /// The connections over which it was said that it has enough.
    paused: Vec<Arc<Link>>,
    /// The timer that runs from its doom to its end; 0 if none does.
    zombie_watch: u64,
}

type Orphan = Box<dyn FnOnce(Fault) + Send>;

/// What takes less than some actors give, so that they have to rest after their turn.
pub(crate) trait Rest: Send + Sync {
    /// Whether it still has too much; then `waker` is woken when it has not.
    fn is_full(&self, waker: &Waker) -> bool;
    /// An actor that was put to rest on it is doomed, and may wait in the middle of its turn.
    fn nudge(&self) {}
}

/// Where an actor's messages wait. Pushing one wakes nobody; the cell does.
pub(crate) trait Mailbox: Any + Send + Sync {
    /// Messages from another node, still encoded.
    fn push_batch(&self, batch: Batch) -> Word;
    /// Whether those who send such are to pause.
    fn has_enough(&self) -> bool;
    /// A message of this node that is encoded.
    fn push_raw(&self, tag: u32, payload: Bytes, answer: Option<Asker>);
    /// A message of this node, which is not serialised.
    fn push_parcel(&self, cell: &Cell, parcel: Parcel<'_>) -> Put;
    fn push_notice(&self, notice: Notice);
    /// A signal that the actor has sent itself: decided when its turn comes.
    fn push_own(&self, signal: Signal);
    /// Wakes whoever waits for a message elsewhere than in the actor's own task.
    fn nudge(&self) {}
    /// Takes out the notice that this monitor has fired, if it waits (M5).
    fn flush_down(&self, monitor: Ref);
    /// Drops what waits. Later messages may still come and are dropped with the mailbox.
    fn clear(&self);
    fn as_any(&self) -> &dyn Any;
}

impl Cell {
    pub(crate) fn new(
        pid: Pid,
        kind: &'static Kind,
        leader: NodeName,
        parent: Option<Pid>,
        node: Arc<Node>,
        stage: u16,
        mailbox: Box<dyn Mailbox>,
    ) -> Cell {
        Cell {
            pid,
            kind,
            leader: AtomicU32::new(leader.number()),
            parent,
            node,
            stage: AtomicU16::new(stage),
            place: AtomicU32::new(u32::MAX),
            queued: AtomicBool::new(true), // to be born; plain code has no turns
            notes: AtomicU8::new(0),
            doomed: AtomicBool::new(false),
            life: Mutex::new(Life::new(pid)),
            mailbox,
            plain: false,
            rare: Mutex::default(),
        }
    }

    /// The same, of a process whose code is plain async code.
    pub(crate) fn of_plain_code(self) -> Cell {
        Cell { plain: true, ..self }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The mailbox, if it is of this type.
    pub(crate) fn mailbox<M: Mailbox>(&self) -> Option<&M> {
        self.mailbox.as_any().downcast_ref()
    }

    pub(crate) fn push_batch(self: &Arc<Self>, mut batch: Batch) {
        if !self.is_doomed() {
            let from = batch.link().clone();
            let word = self.mailbox.push_batch(batch);
            self.wake();
            if word != Word::None {
                self.pause(&from, word == Word::PauseAgain);
            }
        } else if batch.asks() {
            batch.refuse_questions(|_| Fault::Exit(ExitReason::NoProc)); // as below
        }
    }

    pub(crate) fn push_raw(self: &Arc<Self>, tag: u32, payload: Bytes, answer: Option<Asker>) {
        if !self.is_doomed() {
            self.mailbox.push_raw(tag, payload, answer);
            self.wake();
        } else if let Some(asker) = answer {
            // To the dead it vanishes. Nobody hears of an end before this is so, so that who has heard
            // of it is not told of it again (G2).
            asker.fail(Fault::Exit(ExitReason::NoProc));
        }
    }

    /// A message of this node. Whoever is doomed has its mailbox closed soon; until then what comes is
    /// dropped with it.
    pub(crate) fn push_parcel(self: &Arc<Self>, parcel: Parcel<'_>) -> Put {
        let put = self.mailbox.push_parcel(self, parcel);
        if put == Put::First {
            self.wake();
        }
        put
    }

    /// Asks those who send over this connection to pause.
    fn pause(&self, from: &Arc<Link>, again: bool) {
        let new = self.make_rare(|rare| {
            let new = !rare.paused.iter().any(|link| Arc::ptr_eq(link, from));
            if new {
                rare.paused.push(from.clone());
            }
            new
        });
        if new || again {
            from.push_first(&Control::Pause { to: self.pid.number() });
        }
        // FL-4: what it had to do, or its end, may have been over before this was said.
        if self.is_doomed() || !self.mailbox.has_enough() {
            self.rare(|rare| rare.paused.retain(|link| !Arc::ptr_eq(link, from)));
            from.push_first(&Control::Resume { to: self.pid.number() });
        }
    }

    /// Lets those who pause go on.
    pub(crate) fn resume(&self) {
        let paused = self.rare(|rare| std::mem::take(&mut rare.paused));
        for link in paused.into_iter().flatten() {
            link.push_first(&Control::Resume { to: self.pid.number() });
        }
    }

    /// Where it lives.
    pub(super) fn stage(&self) -> &Stage {
        self.node.stages().at(self.stage.load(Ordering::Relaxed)) // settled before its first turn
    }

    /// The run queue of its arbiter.
    pub(super) fn queue(&self) -> &RunQueue {
        self.stage().load()
    }

    /// It is to begin on another stage, which counts it as queued once it has it.
    pub(super) fn move_to(&self, stage: &Stage) {
        self.queue().dropped_while_queued();
        self.stage.store(stage.number(), Ordering::Relaxed);
    }

    /// Whether a signal has ended the actor: messages to it vanish from now on.
    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::Acquire)
    }

    /// It has a tie with somebody on another node.
    pub(crate) fn note_tied(&self) {
        self.notes.fetch_or(TIED, Ordering::AcqRel);
    }

    pub(crate) fn was_tied(&self) -> bool {
        self.notes.load(Ordering::Acquire) & TIED != 0
    }

    /// Its node has a note about it.
    pub(crate) fn note_noted(&self) {
        self.notes.fetch_or(NOTED, Ordering::AcqRel);
    }

    pub(crate) fn was_noted(&self) -> bool {
        self.notes.load(Ordering::Acquire) & NOTED != 0
    }

    /// Who started it, if it was an actor.
    pub(crate) fn parent(&self) -> Option<Pid> {
        self.parent
    }

    /// The node where its output appears.
    pub(crate) fn leader(&self) -> NodeName {
        NodeName::of_number(self.leader.load(Ordering::Acquire))
    }

    /// The reason that a signal gave it, or that it ended with.
    pub(crate) fn reason(&self) -> Option<ExitReason> {
        self.life().doom().cloned()
    }

    pub(crate) fn trap_exits(&self, on: bool) -> bool {
        self.life().trap_exits(on)
    }

    pub(crate) fn traps_exits(&self) -> bool {
        self.life().traps_exits()
    }

    /// Whom it is linked with, in order.
    pub(crate) fn links(&self) -> Vec<Pid> {
        let mut links = self.life().links();
        links.sort_unstable();
        links
    }

    /// What it watches, in order.
    pub(crate) fn monitors(&self) -> Vec<To> {
        let mut monitors = self.life().monitors();
        monitors.sort_unstable();
        monitors
    }

    pub(crate) fn flush_down(&self, monitor: Ref) {
        self.mailbox.flush_down(monitor);
    }

    pub(super) fn deliver(&self, notice: Notice) {
        self.mailbox.push_notice(notice);
    }

    pub(super) fn note_doomed(&self) {
        self.doomed.store(true, Ordering::Release);
        self.free_name();
    }

    pub(super) fn lead_to(&self, leader: NodeName) {
        self.leader.store(leader.number(), Ordering::Release);
    }

    /// Once a signal has doomed it: it counts as a zombie if its code does not stop in time.
    pub(super) fn watch_doomed(self: &Arc<Self>) {
        let cell = self.clone();
        let watch =
            self.node.in_time(self.node.config.times.zombie, move || cell.count_as_zombie());
        let rests_on = self.make_rare(|rare| {
            rare.zombie_watch = watch;
            rare.rests_on.clone()
        });
        for rest in rests_on {
            rest.nudge();
        }
    }

    /// The pool's choice has put it here, which counts its end.
    pub(super) fn set_placed(&self) {
        self.notes.fetch_or(PLACED, Ordering::Relaxed);
    }

    /// It is over, and in no count of what there is to do any more.
    #[inline]
    pub(super) fn told_as_over(&self) {
        if self.notes.load(Ordering::Relaxed) & PLACED != 0 {
            self.tell_as_over();
        }
    }

    #[cold]
    fn tell_as_over(&self) {
        self.node.reporter.job_ended(&self.node);
    }

    pub(crate) fn wake(self: &Arc<Self>) {
        ArcWake::wake_by_ref(self);
        self.mailbox.nudge();
    }

    /// Answers a question that the actor has let go of: with the reason, if it is ending; else by saying
    /// that its handler gave no answer. That is known when the turn is over in which it may panic.
    pub(crate) fn orphan(self: &Arc<Self>, answer: impl FnOnce(Fault) + Send + 'static) {
        if let Some(reason) = self.reason() {
            return answer(Fault::Exit(reason));
        }
        self.make_rare(|rare| rare.orphans.push(Box::new(answer)));
        self.notes.fetch_or(ORPHANS, Ordering::AcqRel);
        match self.reason() {
            Some(reason) => self.answer_orphans(&Fault::Exit(reason)), // its end may have seen none
            None => ArcWake::wake_by_ref(self),
        }
    }

    /// Its turn is over, and it lives: what it has let go of it will not answer.
    pub(super) fn end_turn(&self) {
        if self.notes.load(Ordering::Acquire) & ORPHANS != 0 {
            self.notes.fetch_and(!ORPHANS, Ordering::AcqRel);
            self.answer_orphans(&Fault::NoAnswer);
        }
    }

    fn answer_orphans(&self, fault: &Fault) {
        let orphans = self.rare(|rare| std::mem::take(&mut rare.orphans));
        for answer in orphans.into_iter().flatten() {
            answer(fault.clone());
        }
    }

    /// This actor sends itself a signal while it traps exits.
    pub(crate) fn push_own(self: &Arc<Self>, signal: Signal) {
        self.mailbox.push_own(signal);
        self.wake();
    }

    /// A notice that is no matter of its life.
    pub(crate) fn push_notice(self: &Arc<Self>, notice: Notice) {
        self.deliver(notice);
        self.wake();
    }

    /// The actor rests from its next turn on until this has less than too much.
    pub(crate) fn rest_on(&self, full: Arc<dyn Rest>) {
        self.notes.fetch_or(RESTED, Ordering::AcqRel);
        self.make_rare(|rare| {
            if !rare.rests_on.iter().any(|on| Arc::ptr_eq(on, &full)) {
                rare.rests_on.push(full);
            }
        });
        // A loop that sends and yields now and then is to do so now.
        spend_slice();
    }

    pub(super) fn life(&self) -> MutexGuard<'_, Life> {
        lock(&self.life)
    }

    /// What hardly any actor has, if this one has it.
    fn rare<R>(&self, act: impl FnOnce(&mut Rare) -> R) -> Option<R> {
        match self.notes.load(Ordering::Acquire) & RARE {
            0 => None,
            _ => lock(&self.rare).as_deref_mut().map(act),
        }
    }

    /// The same, and from now on it has it.
    fn make_rare<R>(&self, act: impl FnOnce(&mut Rare) -> R) -> R {
        self.notes.fetch_or(RARE, Ordering::AcqRel);
        act(lock(&self.rare).get_or_insert_default())
    }

    /// NM-1: under the lock of the life that is over, so that nobody hears before: not who sends it a
    /// signal now, and not who waits for its answer.
    fn free_name(&self) {
        if self.was_noted() {
            self.node.forget_name(self.pid.number());
        }
    }

    /// It has ended. CE-2: the flag stays set, so that a waker that is used later counts for nothing.
    pub(super) fn count_as_gone(&self) {
        if self.queued.swap(true, Ordering::AcqRel) {
            self.stage().load().dropped_while_queued();
        }
    }

    /// It has its turn, for as long as what is returned is held.
    pub(super) fn start_turn(&self) -> Turn<'_> {
        let load = self.stage().load();
        load.poll_started(self.queued.swap(false, Ordering::AcqRel));
        TURN.set(TURN.get().wrapping_add(1));
        Turn(load)
    }

    /// Where on its stage it is.
    pub(super) fn place(&self) -> u32 {
        self.place.load(Ordering::Relaxed) // of the stage's own thread alone
    }

    pub(super) fn set_place(&self, place: u32) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// Whether it has to rest; then `waker` is woken when it has not.
    pub(super) fn rests(&self, waker: &Waker) -> bool {
        if self.notes.load(Ordering::Acquire) & RESTED == 0 {
            return false;
        }
        let rests = self.rare(|rare| {
            while rare.rests_on.pop_if(|on| !on.is_full(waker)).is_some() {}
            !rare.rests_on.is_empty()
        });
        rests.unwrap_or(false)
    }

    /// The actor's code is to stop, with this reason unless a signal has given another. `stop` drops
    /// it. Then everybody who is tied to it hears.
    pub(crate) fn end(self: &Arc<Self>, own: ExitReason, stop: impl FnOnce()) {
        let mut effects = Vec::new();
        let mut life = self.life();
        let ended = life.end(own, &mut effects);
        self.note_doomed();
        drop(life);
        let watch = self.rare(|rare| rare.zombie_watch).unwrap_or(0);
        if watch != 0 {
            self.node.give_up_question(watch);
        }
        stop();
        self.mailbox.clear();
        self.resume();
        // CE-1: an actor ends once for everybody else; a zombie's end was told when it was found out.
        if let Some(reason) = ended {
            self.tell_end(reason, effects);
        }
    }

    /// It was to end by a signal, and its code has not stopped: it keeps its thread. Its end counts as
    /// done for everybody else; the thread is not to be had back.
    fn count_as_zombie(self: &Arc<Self>) {
        let mut effects = Vec::new();
        let ended = self.life().end(ExitReason::Killed, &mut effects);
        if let Some(reason) = ended {
            error!(self.node.log, "is a zombie: it does not let go of its thread";
                "pid" => %self.pid, "kind" => %self.kind, "reason" => %reason);
            self.mailbox.clear();
            self.resume();
            self.tell_end(reason, effects);
        }
    }

    fn tell_end(self: &Arc<Self>, reason: ExitReason, effects: Vec<Effect>) {
        if self.notes.load(Ordering::Acquire) & RARE != 0 {
            self.answer_orphans(&Fault::Exit(reason.clone()));
            let rare = self.rare(std::mem::take);
            drop(rare); // out of the lock
        }
        debug!(self.node.log, "ended"; "pid" => %self.pid, "kind" => %self.kind, "reason" => %reason);
        self.node.ended(self, effects);
    }
}

impl ArcWake for Cell {
    fn wake_by_ref(cell: &Arc<Self>) {
        if !cell.queued.swap(true, Ordering::AcqRel) {
            cell.stage().ready(cell.clone());
        }
    }

    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            Stage::take_in(self);
        }
    }
}

/// Counts the actor as running for as long as it is held.
pub(super) struct Turn<'a>(&'a RunQueue);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.poll_ended();
        idle::turn_over();
    }
}

/// The actor that runs on this thread at this moment.
pub(crate) fn current() -> Option<Arc<Cell>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Whether it lives on this node.
pub(crate) fn runs_at(node: &Arc<Node>) -> bool {
    CURRENT
        .with_borrow(|current| current.as_ref().is_some_and(|cell| Arc::ptr_eq(&cell.node, node)))
}

/// Whether any does.
pub(super) fn runs_here() -> bool {
    CURRENT.try_with(|current| current.borrow().is_some()).unwrap_or(false) // a thread's locals go when it ends
}

/// Its number; 0 if none does.
#[inline]
pub(crate) fn current_number() -> u64 {
    CURRENT.with_borrow(|current| current.as_ref().map_or(0, |cell| cell.pid.number()))
}

/// Whether a signal has ended the running actor.
#[inline]
pub(super) fn is_current_doomed() -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(|cell| cell.is_doomed()))
}

/// Lets the others on this thread have a turn if the running actor has used up its own; returns at once
/// if it has not, and outside of an actor. For loops that compute: an actor that is killed ends here.
///
/// ```
/// use pspawn::prelude::*;
///
/// async fn sum(_: Ctx, to: u64) -> u64 {
///     let mut sum = 0;
///     for n in 0..to {
///         sum += n;
///         if n % 1024 == 0 { yield_now().await }
///     }
///     sum
/// }
/// remote_fn!("sums": sum);
/// # fn main() {}
/// ```
pub async fn yield_now() {
    if must_yield() {
        tokio::task::yield_now().await;
    }
}

/// Ends the running actor with this reason, from any depth: Erlang's `exit/1`.
///
/// # Panics
/// Always, by design: the panic carries the reason to the actor's cell. Outside of an actor it is an
/// ordinary panic.
pub fn exit(reason: ExitReason) -> ! {
    match runs_here() {
        true => resume_unwind(Box::new(ExitNow(reason))),
        false => panic!("exit({reason}) was called outside of an actor"),
    }
}

/// Throws a value from any depth: Erlang's `throw/1`. Uncaught it ends the actor with
/// [`ExitReason::Thrown`]; [`std::panic::catch_unwind`] catches it, as it does an [`exit`], and then the
/// actor lives on (rules E24, E30).
///
/// # Panics
/// Always, by design, as [`exit`] does.
pub fn throw(value: impl Into<rmpv::Value>) -> ! {
    exit(ExitReason::Thrown(value.into()))
}

struct ExitNow(ExitReason);

pub(super) fn classify(panic: Box<dyn Any + Send>) -> ExitReason {
    let panic = match panic.downcast::<ExitNow>() {
        Ok(exit) => return exit.0,
        Err(panic) => panic,
    };
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic whose payload is no text".to_owned(),
    };
    ExitReason::Panicked { text, place: PLACE.take() }
}

/// Installs, once for the OS process, a panic hook that notes where an actor panicked instead of
/// printing it: the reason travels over links, and is logged. Other panics go to the hook before it.
pub(crate) fn install_panic_hook() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // try_with: a panic may come while the thread's locals are being dropped
            let ours = CURRENT
                .try_with(|current| current.try_borrow().is_ok_and(|c| c.is_some()))
                .unwrap_or(false);
            if ours {
                let place =
                    info.location().map_or(String::new(), |l| format!("{}:{}", l.file(), l.line()));
                let _ = PLACE.try_with(|last| last.replace(place));
            } else {
                before(info);
            }
        }));
    });
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under one of our locks is a bug of ours and is reported as such; the data is still whole.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One turn of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TurnId {
    thread: ThreadId,
    number: u64,
}

/// What wakes the running actor, and which turn of it this is.
#[inline]
pub(crate) fn waker_here() -> Option<(Waker, TurnId)> {
    let waker = CURRENT.with_borrow(|current| current.clone().map(futures::task::waker))?;
    Some((waker, this_turn()))
}

/// Whether it is still this turn, and what is polled in it wakes the actor itself.
#[inline]
pub(crate) fn is_turn_of(turn: TurnId, waker: &Waker) -> bool {
    // Two wakers of one actor need not have the same functions, but nobody else's has the same data.
    let is_own = |cell: &Arc<Cell>| std::ptr::eq(waker.data(), Arc::as_ptr(cell).cast());
    turn == this_turn() && CURRENT.with_borrow(|current| current.as_ref().is_some_and(is_own))
}

#[inline]
fn this_turn() -> TurnId {
    TurnId { thread: THREAD.with(|thread| *thread), number: TURN.get() }
}

/// Lets this actor be the one that runs on this thread; returns who was.
pub(super) fn as_current(cell: Option<Arc<Cell>>) -> Option<Arc<Cell>> {
    CURRENT.replace(cell)
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Cell>>> = const { RefCell::new(None) };
    static TURN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    static THREAD: ThreadId = thread::current().id();
    static PLACE: std::cell::Cell<String> = const { std::cell::Cell::new(String::new()) };
}

/// It has, or had, a tie with somebody on another node.
const TIED: u8 = 1;
/// It has, or had, a name, or wants to hear of nodes.
const NOTED: u8 = 2;
/// It has to rest, or had to.
const RESTED: u8 = 4;
/// It has let go of questions.
const ORPHANS: u8 = 8;
/// It has what hardly any has, or had it.
const RARE: u8 = 16;
/// The pool's choice has put it here.
const PLACED: u8 = 32;
