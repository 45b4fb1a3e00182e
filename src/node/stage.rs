//! The stage of one arbiter: the actors that live there, and who of them has the next turn.
//!
//! One task of the arbiter runs them all, each when it became ready, so that putting one there costs a
//! place in a queue, and wakes the arbiter only if that sleeps. An actor's code never leaves its thread; a
//! new one comes as the [`Birth`] that makes it there, and until then may be taken to another stage.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::task::waker_ref;

use super::cell::{Cell, as_current, classify, lock};
use super::clock::Moment;
use super::load::RunQueue;
use super::nursery::{Cradle, Nursery, Origin};
use super::places::Places;
use super::slice::{Glances, Slice, set_slice};
use super::stages::Stages;
use crate::core::balance::{Crew, begins_here};
use crate::term::ExitReason;

/// One arbiter, as others put actors there and wake them.
pub(crate) struct Stage {
    /// Which of its node's it is.
    number: u16,
    /// What it has to do.
    load: Arc<RunQueue>,
    ready: Mutex<Ready>,
    nursery: Nursery,
    /// The nursery's other end, until an arbiter runs this.
    cradle: Mutex<Option<Cradle>>,
    /// Somebody is in there, and it is over: for who does not want to wait for that.
    news: AtomicBool,
    closed: AtomicBool,
}

#[derive(Default)]
struct Ready {
    queue: VecDeque<Entry>,
    /// The arbiter's task, while it waits for somebody to get ready.
    sleeper: Option<Waker>,
    /// It is over: nobody has a turn any more.
    closed: bool,
}

enum Entry {
    Turn(Arc<Cell>),
    /// The next in the nursery may begin, if that is still there.
    Next,
    /// One that begins here and nowhere else.
    Birth(Birth),
    /// Something of the node's that runs user code once, outside of any actor.
    Order(Box<dyn FnOnce() + Send>),
}

impl Entry {
    /// Whether it is an actor's, which counts as queued.
    fn is_actor(&self) -> bool {
        !matches!(self, Entry::Order(_))
    }
}

/// An actor's code: a future that is polled until it waits, has used up its slice, or is done.
pub(crate) trait Body: Future<Output = ()> {
    /// From now on dropping it runs no hook of the user's.
    fn silence(self: Pin<&mut Self>);
}

type Code = Pin<Box<dyn Body>>;
type Make = Box<dyn FnOnce(Arc<Cell>) -> Code + Send>;

/// A new actor on its way to its stage: who, and what makes it; none when it has begun. If the stage is over first, the actor
/// ends.
pub(crate) struct Birth(Option<(Arc<Cell>, Make)>);

impl Birth {
    /// `make` is called in the actor's first turn.
    pub(crate) fn new<B: Body + 'static>(
        cell: Arc<Cell>,
        make: impl FnOnce(Arc<Cell>) -> B + Send + 'static,
    ) -> Birth {
        Birth(Some((cell, Box::new(|cell| Box::pin(make(cell))))))
    }

    /// Nobody's.
    #[cfg(test)]
    pub(super) fn none() -> Birth {
        Birth(None)
    }

    /// Lets it begin on its stage, when its turn comes there; or elsewhere, if the arbiter does not come to it.
    pub(super) fn begin(self) {
        let Some((cell, _)) = &self.0 else { return };
        let stage = cell.stage();
        if stage.is_own() && here(Here::has_births) == Some(true) {
            // Looked after already; and a thief that has taken the others just now looks before it sleeps.
            enter_here(self);
            return;
        }
        let node = cell.node.clone();
        let stage = node.stages().at(stage.number());
        let is_first = if stage.is_own() { enter_here(self) } else { stage.enter_far(self) };
        if is_first && node.stages().somebody_sleeps() {
            node.sockets.stay_awake();
        }
    }

    /// It begins on another stage than was thought.
    fn goes_to(&self, stage: &Stage) {
        if let Some((cell, _)) = &self.0 {
            cell.move_to(stage);
        }
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        if let Some((cell, make)) = self.0.take() {
            over(&cell, (None, Some(make)), ExitReason::Shutdown, false);
        }
    }
}

impl Stage {
    pub(super) fn new(number: u16) -> Stage {
        let (nursery, cradle) = Nursery::new();
        Stage {
            number,
            load: Arc::default(),
            ready: Mutex::default(),
            nursery,
            cradle: Mutex::new(Some(cradle)),
            news: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn load(&self) -> &Arc<RunQueue> {
        &self.load
    }

    pub(super) fn nursery(&self) -> &Nursery {
        &self.nursery
    }

    fn crew(&self) -> Crew {
        let load = &self.load;
        Crew { living: load.living(), busy: load.len() + load.running() }
    }

    /// See [`enter_here`]; on another thread.
    fn enter_far(&self, birth: Birth) -> bool {
        let is_first = self.nursery.put(birth);
        self.push_far(Entry::Next);
        is_first
    }

    /// Lets an actor that lives here have a turn.
    pub(super) fn ready(&self, cell: Arc<Cell>) {
        self.push(Entry::Turn(cell));
    }

    /// The same where it lives, without a reference more if that is this thread.
    pub(super) fn take_in(cell: Arc<Cell>) {
        match cell.stage().is_own() {
            true => put_here(Entry::Turn(cell)),
            false => cell.stage().push_far(Entry::Turn(cell.clone())),
        }
    }

    /// Has something done here, or dropped if it is over.
    pub(crate) fn order(&self, order: impl FnOnce() + Send + 'static) {
        self.push(Entry::Order(Box::new(order)));
    }

    fn push(&self, entry: Entry) {
        match self.is_own() {
            true => put_here(entry),
            false => self.push_far(entry),
        }
    }

    fn push_far(&self, entry: Entry) {
        if entry.is_actor() {
            self.load.woken();
        }
        let mut ready = lock(&self.ready);
        if ready.closed {
            drop(ready); // what is dropped may end an actor
            drop(entry);
            return self.close_nursery();
        }
        ready.queue.push_back(entry);
        self.news.store(true, Ordering::Release);
        let sleeper = ready.sleeper.take();
        drop(ready);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// Whether it is that of this thread.
    fn is_own(&self) -> bool {
        std::ptr::eq(OWN.get(), self)
    }

    /// Takes all whom other threads have made ready; how many.
    fn take(&self, into: &mut VecDeque<Entry>) -> usize {
        if !self.has_news() {
            return 0;
        }
        let mut ready = lock(&self.ready);
        self.news.store(false, Ordering::Relaxed);
        let taken = ready.queue.len();
        if into.is_empty() {
            std::mem::swap(&mut ready.queue, into);
        } else {
            into.append(&mut ready.queue);
        }
        taken
    }

    /// Whether other threads have made somebody ready.
    fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire)
    }

    /// Has `waker` woken when another thread makes somebody ready; false if one has.
    fn sleep(&self, waker: &Waker) -> bool {
        let mut ready = lock(&self.ready);
        if !ready.queue.is_empty() {
            return false;
        }
        if ready.queue.capacity() > SPARE_MAX {
            ready.queue = VecDeque::new();
        }
        ready.sleeper = Some(waker.clone());
        true
    }

    /// Whether anybody waits for a turn, on the stage's own thread.
    pub(crate) fn has_ready(&self) -> bool {
        self.has_news() || here(|here| !here.queue.is_empty()).unwrap_or(false)
    }

    /// Nobody needs to wake it any more.
    fn wake_up(&self) {
        let sleepers = (lock(&self.ready).sleeper.take(), here(|here| here.sleeper.take()));
        drop(sleepers);
    }

    /// Wakes it, if it sleeps; whether it does.
    pub(super) fn call(&self) -> bool {
        let sleeper = lock(&self.ready).sleeper.take();
        sleeper.map(Waker::wake).is_some()
    }

    /// The same, on the stage's own thread.
    pub(super) fn call_own(&self) {
        here(|here| here.sleeper.take()).flatten().into_iter().for_each(Waker::wake);
    }

    /// Whether its arbiter has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let mut ready = lock(&self.ready);
        ready.closed = true;
        let left = std::mem::take(&mut ready.queue);
        drop(ready);
        drop(left);
        self.close_nursery();
    }

    fn close_nursery(&self) {
        self.nursery.take_all().for_each(drop);
    }
}

/// A stage that is about to be run by its arbiter. When this is dropped, it is over.
pub(crate) struct Opening {
    pub(crate) stages: Arc<Stages>,
    pub(crate) number: u16,
}

impl Opening {
    /// Runs it, on this thread, until that ends.
    pub(crate) fn run(self) {
        let (stages, number, queue) = (self.stages.clone(), self.number, VecDeque::new());
        let cradle = lock(&self.stage().cradle).take().expect("a stage is run once");
        OWN.set(self.stage());
        HERE.set(Some(Here { stages, number, queue, cradle, sleeper: None }));
        actix_rt::spawn(Performance {
            opening: self,
            players: Places::default(),
            taken: 0,
            turns: 0,
            asleep: false,
        });
    }
}

impl Opening {
    fn stage(&self) -> &Stage {
        self.stages.at(self.number)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.stage().close();
    }
}

/// Of the stage of this thread, what no other thread touches.
struct Here {
    stages: Arc<Stages>,
    number: u16,
    /// Whose turns are next.
    queue: VecDeque<Entry>,
    cradle: Cradle,
    /// As that of the shared queue.
    sleeper: Option<Waker>,
}

impl Here {
    fn stage(&self) -> &Stage {
        self.stages.at(self.number)
    }

    fn has_births(&mut self) -> bool {
        !self.stage().nursery.is_empty_to(&self.cradle)
    }

    fn put(&mut self, entry: Entry) {
        if entry.is_actor() {
            self.stage().load.woken_here();
        }
        self.queue.push_back(entry);
    }
}

/// Which of these stages is that of this thread.
pub(crate) fn number_here(of: &Arc<Stages>) -> Option<u16> {
    here(|here| Arc::ptr_eq(&here.stages, of).then_some(here.number)).flatten()
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
    /// Which stage that is of; null if there is none.
    static OWN: std::cell::Cell<*const Stage> = const { std::cell::Cell::new(std::ptr::null()) };
}

/// Lets `act` change what no other thread touches. It runs no code but ours.
fn here<R>(act: impl FnOnce(&mut Here) -> R) -> Option<R> {
    HERE.try_with(|here| here.borrow_mut().as_mut().map(act)).ok().flatten()
}

/// Lets a new actor begin when its turn comes: on this thread's stage, unless another one takes it. Whether it is the first that
/// waits: then its node is to look after it.
fn enter_here(birth: Birth) -> bool {
    let entered = here(|here| {
        here.put(Entry::Next);
        (here.stage().nursery.put_own(birth, &here.cradle), here.sleeper.take())
    });
    let Some((is_first, sleeper)) = entered else { return false };
    sleeper.into_iter().for_each(Waker::wake);
    is_first
}

/// Lets this have its turn on this thread's stage: no lock is needed.
fn put_here(entry: Entry) {
    let sleeper = here(|here| {
        here.put(entry);
        here.sleeper.take()
    });
    sleeper.flatten().into_iter().for_each(Waker::wake);
}

/// The task that runs all actors of one arbiter.
struct Performance {
    opening: Opening,
    players: Places<Player>,
    /// How many other threads had made ready when it last looked, and how many turns that was ago.
    taken: usize,
    turns: u32,
    asleep: bool,
}

impl Future for Performance {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut begin = Moment::now();
        let mut glances = Glances::new(begin);
        if std::mem::take(&mut this.asleep) {
            this.opening.stages.count_as_awake();
            this.opening.stage().wake_up();
        }
        let end = begin.and(SLICE_LENGTH);
        loop {
            let Some(entry) = this.next() else {
                if this.take_over(begin) || !this.opening.stage().sleep(cx.waker()) {
                    continue;
                }
                this.opening.stages.count_as_asleep();
                here(|here| {
                    here.sleeper = Some(cx.waker().clone());
                    if here.queue.capacity() > SPARE_MAX {
                        here.queue = VecDeque::new();
                    }
                });
                this.asleep = true;
                return Poll::Pending;
            };
            let left = this.run(entry, begin);
            let looked = std::mem::replace(&mut begin, glances.after_turn(left));
            if begin != looked {
                this.opening.stages.call_if_overdue(this.opening.stage(), begin);
            }
            if end.is_due_at(begin) || !tokio::task::coop::has_budget_remaining() {
                return go_on_later(cx);
            }
        }
    }
}

/// To be polled again after the arbiter has looked at its timers and sockets: waking at once would let busy
/// actors keep them waiting for dozens of slices.
fn go_on_later(cx: &mut Context<'_>) -> Poll<()> {
    let mut later = std::pin::pin!(tokio::task::yield_now());
    let _ = later.as_mut().poll(cx);
    Poll::Pending
}

impl Performance {
    /// Whose turn is next.
    fn next(&mut self) -> Option<Entry> {
        let stage = self.opening.stage();
        self.turns += 1;
        if self.turns < TURNS_MAX || !stage.has_news() {
            if let Some(next) = here(|here| here.queue.pop_front())? {
                return Some(next);
            }
            // Another thread keeps one actor busy: who takes each message as it comes makes both threads
            // wait for each other's memory all the time.
            if self.taken == 1 && stage.has_news() {
                (0..GATHER).for_each(|_| std::hint::spin_loop());
            }
        }
        self.turns = 0;
        here(|here| {
            self.taken = stage.take(&mut here.queue);
            here.queue.pop_front()
        })?
    }

    /// Whether somebody who waits for long elsewhere begins here now.
    fn take_over(&mut self, now: Moment) -> bool {
        let stage = self.opening.stage();
        let mut any = false;
        for birth in self.opening.stages.take_over(stage, now) {
            birth.goes_to(stage);
            here(|here| here.put(Entry::Birth(birth)));
            any = true;
        }
        any
    }

    /// The next child begins, here or where fewer live. Returns what is left of a slice that it had.
    fn next_birth(&mut self, now: Moment) -> Slice {
        let Opening { stages, .. } = &self.opening;
        let stage = self.opening.stage();
        let next = here(|here| stage.nursery.take(&here.cradle)).flatten();
        let Some((birth, of)) = next else { return Slice::Endless };
        if of == Origin::Own
            && let Some((cell, _)) = &birth.0
            && let Some(other) = stages.another(stage, cell.pid.number() as usize)
            && !begins_here(stage.crew(), other.crew())
        {
            birth.goes_to(other);
            birth.begin();
            return Slice::Endless;
        }
        self.begin(birth, now)
    }

    fn begin(&mut self, mut birth: Birth, now: Moment) -> Slice {
        let Some((cell, make)) = birth.0.take() else { return Slice::Endless };
        let current = cell.clone();
        let mut player = Player { cell, code: None };
        let (turn, left) = player.turn(current, Some(make), now);
        if turn.is_pending() {
            let at = self.players.insert(player);
            if let Some(player) = self.players.get_mut(at) {
                player.cell.set_place(at);
            }
            self.opening.stage().load.lives(1);
        } else {
            player.cell.told_as_over();
        }
        left
    }

    /// Whoever's turn it is has it now. Returns what is left of the slice, if somebody had one.
    fn run(&mut self, entry: Entry, now: Moment) -> Slice {
        match entry {
            Entry::Turn(cell) => {
                let at = cell.place();
                // It may have ended while it was ready, and another may have its place.
                let player = self.players.get_mut(at);
                let Some(player) = player.filter(|player| Arc::ptr_eq(&player.cell, &cell)) else {
                    return Slice::Endless;
                };
                let (turn, left) = player.turn(cell, None, now);
                if turn.is_ready() {
                    player.cell.told_as_over();
                    drop(self.players.remove(at));
                    self.opening.stage().load.lives(-1);
                }
                left
            }
            Entry::Next => self.next_birth(now),
            Entry::Birth(birth) => self.begin(birth, now),
            Entry::Order(order) => {
                // A panic is that of a user's `Deserialize`; whoever waits for the order has heard.
                let _ = catch_unwind(AssertUnwindSafe(order));
                Slice::Endless
            }
        }
    }
}

impl Drop for Performance {
    fn drop(&mut self) {
        if self.asleep {
            self.opening.stages.count_as_awake();
        }
        self.opening.stage().close(); // before those that live here end
        OWN.set(std::ptr::null());
        let here = HERE.try_with(RefCell::take);
        drop(here); // who is on the way there ends, too
        self.opening.stage().close_nursery();
    }
}

/// One actor, on its own thread.
struct Player {
    cell: Arc<Cell>,
    /// None when it is over.
    code: Option<Code>,
}

impl Player {
    /// Lets it run, in its first turn what makes it. `current` is its cell. Returns what is left
    /// of its slice, too.
    fn turn(&mut self, current: Arc<Cell>, make: Option<Make>, now: Moment) -> (Poll<()>, Slice) {
        let Player { cell, code } = self;
        let _turn = cell.start_turn();
        if cell.is_doomed() {
            over(cell, (code.take(), make), ExitReason::Normal, false);
            return (Poll::Ready(()), Slice::Endless);
        }
        let waker = waker_ref(cell);
        if cell.rests(&waker) {
            return (Poll::Pending, Slice::Endless);
        }
        let before = as_current(Some(current));
        set_slice(Slice::Until { end: now.and(SLICE_LENGTH), looked: now });
        let polled = catch_unwind(AssertUnwindSafe(|| {
            if let Some(make) = make {
                *code = Some(make(cell.clone()));
            }
            let Some(code) = code else { return Poll::Ready(()) };
            code.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        let left = set_slice(Slice::Endless);
        let (own, hooks) = match polled {
            Ok(Poll::Ready(())) => (ExitReason::Normal, true),
            Err(panic) => (classify(panic), false),
            Ok(Poll::Pending) if cell.is_doomed() => (ExitReason::Normal, false),
            Ok(Poll::Pending) => {
                as_current(before);
                cell.end_turn();
                if matches!(left, Slice::Spent) {
                    cell.wake(); // it has more to do
                }
                return (Poll::Pending, left);
            }
        };
        over_as_current(cell, (code.take(), None), own, hooks);
        as_current(before);
        (Poll::Ready(()), left)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // The arbiter is going away; or, if the code is gone, all is over already.
        if self.code.is_some() {
            over(&self.cell, (self.code.take(), None), ExitReason::Shutdown, false);
        }
    }
}

/// Ends an actor, and drops its code, or what that was to be made of.
fn over(cell: &Arc<Cell>, code: (Option<Code>, Option<Make>), own: ExitReason, hooks: bool) {
    let before = as_current(Some(cell.clone()));
    over_as_current(cell, code, own, hooks);
    as_current(before);
}

/// The same of the actor that runs on this thread.
fn over_as_current(
    cell: &Arc<Cell>,
    code: (Option<Code>, Option<Make>),
    own: ExitReason,
    hooks: bool,
) {
    cell.end(own, || {
        // Not inside an unwind, so that a Drop that panics cannot abort the node.
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            let (code, _make) = code;
            if let Some(mut code) = code.filter(|_| !hooks) {
                code.as_mut().silence();
            }
        }));
        if let Err(panic) = dropped {
            let reason = classify(panic);
            slog::warn!(cell.node.log, "panicked while it was dropped";
                "pid" => %cell.pid, "kind" => %cell.kind, "reason" => %reason);
        }
    });
    cell.count_as_gone();
}

/// How long one actor may keep its arbiter before the others have a turn, and all of them before the
/// arbiter looks at its timers and sockets.
const SLICE_LENGTH: Duration = Duration::from_micros(100);
/// How long it lets messages to one actor gather, in the pauses of a processor: a few microseconds.
const GATHER: u32 = 80;
/// How many turns go to those whom their own arbiter has made ready before others are looked for.
const TURNS_MAX: u32 = 32;
/// Room that an empty queue keeps.
const SPARE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_is_three_words_and_so_is_its_place() {
        assert_eq!(size_of::<Player>(), 24);
        assert_eq!(size_of::<Option<Player>>(), 24);
    }
}
