//! Each way in which an actor can end gives exactly one exit reason, hurts no neighbour, and answers
//! whoever waits; with pspawn's own context, and with actix's.

mod support;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix::{AtomicResponse, ResponseFuture};
use futures::future::pending;
use pspawn::prelude::*;
use pspawn::{Accepts, SendError, SpawnError, Spawnable};
use support::{Gate, TestPool};

// ---- by itself ----------------------------------------------------------------------------------

async fn an_actor_that_stops_ends_with_normal<A: Subject>() {
    assert_eq!(end_of::<A>(&[], |_, it| it.do_send(Do(How::Stop))).await, ExitReason::Normal);
}

async fn an_actor_that_terminates_ends_with_normal<A: Subject>() {
    assert_eq!(end_of::<A>(&[], |_, it| it.do_send(Do(How::Terminate))).await, ExitReason::Normal);
}

async fn an_actor_whose_stopping_says_continue_lives_on<A: Subject>() {
    let pool = one_arbiter().await;
    let it = pool.pspawn_link::<A>(vec![Whim::NeverStops]).await;
    it.send(Do(How::Stop)).await.expect("it is told");
    assert_eq!(it.send(Ping).await, Ok(()));
    pool.stop().await;
}

// E10: the reasons of one's own end.
async fn exit_from_any_depth_is_the_reason<A: Subject>() {
    assert_eq!(end_of::<A>(&[], |_, it| it.do_send(Do(How::Exit))).await, deep_down());
}

async fn exit_in_the_constructor_is_the_reason<A: Subject>() {
    assert_eq!(end_of::<A>(&[Whim::ExitsInConstructor], |_, _| {}).await, deep_down());
}

async fn exit_in_a_response_act_future_is_the_reason<A: Subject>() {
    assert_eq!(end_of::<A>(&[], |_, it| it.do_send(Later(End::Exits))).await, deep_down());
}

// ---- panics -------------------------------------------------------------------------------------

async fn a_panic_in_a_handler_is_the_reason<A: Subject>() {
    assert_eq!(end_of::<A>(&[], |_, it| it.do_send(Do(How::Panic))).await, panicked("handler"));
}

async fn a_panic_in_started_is_the_reason<A: Subject>() {
    assert_eq!(end_of::<A>(&[Whim::PanicsWhenStarted], |_, _| {}).await, panicked("started"));
}

async fn a_panic_in_the_constructor_is_the_reason<A: Subject>() {
    let reason = end_of::<A>(&[Whim::PanicsInConstructor], |_, _| {}).await;
    assert_eq!(reason, panicked("constructor"));
}

async fn a_panic_in_run_later_is_the_reason<A: Subject>() {
    assert_eq!(end_of::<A>(&[], |_, it| it.do_send(Do(How::RunLater))).await, panicked("later"));
}

async fn a_panic_in_a_spawned_future_is_the_reason<A: Subject>() {
    assert_eq!(end_of::<A>(&[], |_, it| it.do_send(Do(How::Spawn))).await, panicked("spawned"));
}

async fn a_panic_in_a_waited_for_future_is_the_reason<A: Subject>() {
    assert_eq!(end_of::<A>(&[], |_, it| it.do_send(Do(How::WaitPanic))).await, panicked("waited"));
}

async fn a_panic_in_a_response_act_future_is_the_reason<A: Subject>() {
    let reason = end_of::<A>(&[], |_, it| it.do_send(Later(End::Panics))).await;
    assert_eq!(reason, panicked("act future"));
}

async fn a_panic_in_stopping_is_the_reason<A: Subject>() {
    let reason = end_of::<A>(&[Whim::PanicsWhenStopping], |_, it| it.do_send(Do(How::Stop))).await;
    assert_eq!(reason, panicked("stopping"));
}

async fn a_panic_in_stopped_is_the_reason<A: Subject>() {
    let reason = end_of::<A>(&[Whim::PanicsWhenStopped], |_, it| it.do_send(Do(How::Stop))).await;
    assert_eq!(reason, panicked("stopped"));
}

/// The actor had ended when its value was dropped.
async fn a_panic_in_drop_leaves_the_reason_as_it_is<A: Subject>() {
    let reason = end_of::<A>(&[Whim::PanicsInDrop], |_, it| it.do_send(Do(How::Stop))).await;
    assert_eq!(reason, ExitReason::Normal);
}

/// Where plain actix aborts the OS process.
async fn of_two_panics_the_first_is_the_reason<A: Subject>() {
    let all = [Whim::PanicsWhenStopping, Whim::PanicsWhenStopped, Whim::PanicsInDrop];
    let reason = end_of::<A>(&all, |_, it| it.do_send(Do(How::Panic))).await;
    assert_eq!(reason, panicked("handler"));
    let reason = end_of::<A>(&all, |_, it| it.do_send(Do(How::Stop))).await;
    assert_eq!(reason, panicked("stopping"));
    let late = [Whim::PanicsWhenStopped, Whim::PanicsInDrop];
    let reason = end_of::<A>(&late, |_, it| it.do_send(Do(How::Terminate))).await;
    assert_eq!(reason, panicked("stopped"));
}

/// Where plain actix lets the broken actor go on when `stopping` says Continue.
async fn a_broken_actor_handles_nothing_more<A: Subject>() {
    let mut pool = one_arbiter().await;
    let busy = Busy::start::<A>(&pool, &[Whim::NeverStops]).await;
    let it = busy.address();
    it.do_send(Do(How::Panic));
    let behind: Vec<_> = (0..5).map(|_| it.send(Work(busy.number()))).collect();
    busy.let_go();
    for request in behind {
        assert_eq!(reason_of(request.await), panicked("handler"));
    }
    assert_eq!(pool.next_exit().await.reason, panicked("handler"));
    assert_eq!(busy.handled(), 0);
    pool.stop().await;
}

async fn a_panic_answers_its_own_question_with_the_reason<A: Subject>() {
    let pool = one_arbiter().await;
    let it = pool.pspawn_link::<A>(vec![]).await;
    assert_eq!(reason_of(it.send(Do(How::Panic)).await), panicked("handler"));
    let it = pool.pspawn_link::<A>(vec![]).await;
    assert_eq!(reason_of(it.send(Later(End::Panics)).await), panicked("act future"));
    let it = pool.pspawn_link::<A>(vec![]).await;
    assert_eq!(reason_of(it.send(Do(How::Exit)).await), deep_down());
    pool.stop().await;
}

/// It runs in a task of its own, as in plain actix.
async fn a_panic_in_a_response_future_leaves_the_actor_alive<A: Subject>() {
    let mut pool = one_arbiter().await;
    let it = pool.pspawn_link::<A>(vec![]).await;
    assert_eq!(it.send(Detached).await, Err(SendError::NoAnswer { pid: it.pid() }));
    assert_eq!(it.send(Ping).await, Ok(()));
    pool.assert_no::<Exited>().await;
    pool.stop().await;
}

// ---- from outside -------------------------------------------------------------------------------

// E18: a waiting process is ended by a signal. E4: kill ends with killed.
async fn an_idle_actor_is_killed<A: Subject>() {
    assert_eq!(end_of::<A>(&[], kill).await, ExitReason::Killed);
}

async fn an_actor_that_waits_in_its_context_is_killed<A: Subject>() {
    let reason = end_of::<A>(&[], |pool, it| {
        it.do_send(Do(How::Wait));
        kill(pool, it);
    });
    assert_eq!(reason.await, ExitReason::Killed);
}

async fn an_actor_that_awaits_an_answer_is_killed<A: Subject>() {
    let mut pool = one_arbiter().await;
    for atomic in [false, true] {
        let it = pool.pspawn_link::<A>(vec![]).await;
        it.send(Ping).await.expect("it runs");
        let awaited = if atomic { it.send(Atomic) } else { it.send(Later(End::Never)) };
        kill(&pool, &it);
        assert_eq!(reason_of(awaited.await), ExitReason::Killed);
        assert_eq!(pool.next_exit().await.reason, ExitReason::Killed);
    }
    pool.stop().await;
}

async fn stopping_does_not_save_a_victim<A: Subject>() {
    assert_eq!(end_of::<A>(&[Whim::NeverStops], kill).await, ExitReason::Killed);
    let reason = end_of::<A>(&[Whim::NeverStops], |pool, it| {
        pool.exit(it.pid(), ExitReason::exit("enough"));
    });
    assert_eq!(reason.await, ExitReason::exit("enough"));
}

async fn a_kill_overtakes_a_backlog<A: Subject>() {
    let mut pool = one_arbiter().await;
    let busy = Busy::start::<A>(&pool, &[]).await;
    for _ in 0..20_000 {
        busy.address().do_send(Work(busy.number()));
    }
    let last = busy.address().send(Work(busy.number()));
    kill(&pool, busy.address());
    busy.let_go();
    assert_eq!(pool.next_exit().await.reason, ExitReason::Killed);
    assert_eq!(busy.handled(), 0, "the signal was there before the first of the backlog");
    assert_eq!(reason_of(last.await), ExitReason::Killed);
    pool.stop().await;
}

async fn a_kill_comes_through_under_a_flood<A: Subject>() {
    let mut pool = one_arbiter().await;
    let it = pool.pspawn_link::<A>(vec![]).await;
    let dry = Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let (it, dry) = (it.clone(), dry.clone());
        move || {
            while !dry.load(Ordering::Acquire) {
                it.do_send(Ping);
            }
        }
    });
    it.send(Ping).await.expect("it handles the flood");
    kill(&pool, &it);
    assert_eq!(pool.next_exit().await.reason, ExitReason::Killed); // while the flood goes on
    dry.store(true, Ordering::Release);
    flood.join().expect("the flood runs dry");
    pool.stop().await;
}

/// A thread that ends takes its actors along, and is none to start others on.
async fn an_arbiter_that_goes_away_ends_its_actors_with_shutdown<A: Subject>() {
    let mut pool = one_arbiter().await;
    let it = pool.pspawn_link::<A>(vec![Whim::NeverStops, Whim::PanicsInDrop]).await;
    let neighbour = pool.pspawn_link::<Neighbour>(()).await;
    let awaited = it.send(Later(End::Never));
    it.do_send(Do(How::StopArbiter));
    let ended = [pool.next_exit().await, pool.next_exit().await];
    for address in [it.pid(), neighbour.pid()] {
        let exited = Exited { pid: address, reason: ExitReason::Shutdown };
        assert!(ended.contains(&exited), "{ended:?}");
    }
    assert_eq!(reason_of(awaited.await), ExitReason::Shutdown);
    let refused = pool.pspawn::<Neighbour>(()).await;
    assert_eq!(refused.err(), Some(SpawnError::Stopping { node: pool.here() }));
    pool.stop().await;
}

// ---- neighbours ---------------------------------------------------------------------------------

async fn a_busy_actor_does_not_keep_its_neighbours_waiting<A: Subject>() {
    let pool = one_arbiter().await;
    let neighbour = pool.pspawn::<Neighbour>(()).await.expect("it starts");
    let busy = Busy::start::<A>(&pool, &[]).await;
    for _ in 0..10_000 {
        busy.address().do_send(Work(busy.number())); // 100 us each
    }
    let meanwhile = neighbour.send(HandledBy(busy.number()));
    busy.let_go();
    let handled = meanwhile.await.expect("it answers");
    assert!(handled < 5_000, "{handled} of 10,000 were handled before the neighbour had its turn");
    pool.stop().await;
}

/// The same with what comes through an actix `Addr`: only pspawn's own context can do that.
#[actix::test]
async fn a_backlog_of_actix_messages_does_not_keep_neighbours_waiting_either() {
    let pool = one_arbiter().await;
    let neighbour = pool.pspawn::<Neighbour>(()).await.expect("it starts");
    let busy = Busy::start::<Own>(&pool, &[]).await;
    busy.address().do_send(Do(How::FillAndPass { number: busy.number(), times: 10_000 }));
    let meanwhile = neighbour.send(HandledBy(busy.number()));
    busy.let_go();
    let handled = meanwhile.await.expect("it answers");
    assert!(handled < 5_000, "{handled} of 10,000 were handled before the neighbour had its turn");
    pool.stop().await;
}

#[actix::test]
async fn a_kill_overtakes_a_backlog_of_actix_messages() {
    let mut pool = one_arbiter().await;
    let it = pool.pspawn_link::<Own>(vec![]).await;
    let busy = Busy { slot: Slot::new(), address: it };
    busy.address().do_send(Do(How::FillAndPass { number: busy.number(), times: 20_000 }));
    busy.slot.filled.pass();
    kill(&pool, busy.address());
    busy.let_go();
    assert_eq!(pool.next_exit().await.reason, ExitReason::Killed);
    assert_eq!(busy.handled(), 0, "the signal was there before the first of the backlog");
    pool.stop().await;
}

// ---- function processes -------------------------------------------------------------------------

#[actix::test]
async fn a_function_process_ends_as_its_function_does() {
    let mut pool = TestPool::start_with(1, |builder| builder.workers(1)).await;
    let slave = pool.slaves().await[0];
    for node in [pool.here(), slave] {
        for (how, reason) in [
            ("returns", ExitReason::Normal),
            ("panics", panicked("function")),
            ("exits", deep_down()),
            ("is_killed", ExitReason::Killed),
        ] {
            let me = pool.inbox.pid();
            let pid = pool.spawn_mfa_on(node, "end", how, (me,)).await.expect("it starts");
            pool.inbox.link(pid);
            pool.inbox.send(pid, Ping);
            if how == "is_killed" {
                let Ready(waits) = pool.next().await;
                pool.exit(waits, ExitReason::Kill);
            }
            assert_eq!(pool.next_exit().await, Exited { pid, reason });
        }
    }
    pool.stop().await;
}

#[actix::test]
async fn a_function_process_that_spins_between_awaits_is_killed() {
    let mut pool = one_arbiter().await;
    let pid = pool.inbox.pspawn_link_mfa("end", "spins", ()).await.expect("it starts");
    pool.exit(pid, ExitReason::Kill);
    assert_eq!(pool.next_exit().await, Exited { pid, reason: ExitReason::Killed });
    pool.stop().await;
}

async fn returns(mut ctx: Ctx, _: Pid) {
    ctx.receive::<Ping>().await;
}

async fn panics(mut ctx: Ctx, _: Pid) {
    ctx.receive::<Ping>().await;
    boom("function");
}

async fn exits(mut ctx: Ctx, _: Pid) {
    ctx.receive::<Ping>().await;
    descend(8);
}

async fn is_killed(mut ctx: Ctx, tester: Pid) {
    ctx.receive::<Ping>().await;
    ctx.send(tester, Ready(ctx.pid()));
    pending::<()>().await;
}

async fn spins(_: Ctx) {
    loop {
        actix_rt::task::yield_now().await;
    }
}
remote_fn!("end": returns, panics, exits, is_killed, spins);

#[derive(Serialize, Deserialize)]
struct Ready(Pid);

// ---- the victims --------------------------------------------------------------------------------

/// An actor with whims: `Victim<Ours>` has pspawn's context, `Victim<Theirs>` actix's.
struct Victim<Whose> {
    whims: Vec<Whim>,
    whose: PhantomData<Whose>,
}

struct Ours;
struct Theirs;
type Own = Victim<Ours>;
type Stock = Victim<Theirs>;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Whim {
    PanicsInConstructor,
    ExitsInConstructor,
    PanicsWhenStarted,
    PanicsWhenStopping,
    PanicsWhenStopped,
    PanicsInDrop,
    NeverStops,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum How {
    Stop,
    Terminate,
    Panic,
    Exit,
    RunLater,
    Spawn,
    Wait,
    WaitPanic,
    StopArbiter,
    /// Waits, with its thread, until the test opens the gate of this slot.
    Pass {
        number: usize,
    },
    /// Sends itself work through its actix address, and then waits.
    FillAndPass {
        number: usize,
        times: usize,
    },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum End {
    Never,
    Panics,
    Exits,
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Do(How);

/// Answered by a `ResponseActFuture`.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Later(End);

/// Answered by an `AtomicResponse`, never.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Atomic;

/// Answered by a `ResponseFuture` that panics.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Detached;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Ping;

/// Takes 100 us, and is counted under this number.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Work(usize);

/// What all victims are.
trait Subject:
    Spawnable<Args = Vec<Whim>>
    + Accepts<Do>
    + Accepts<Later>
    + Accepts<Atomic>
    + Accepts<Detached>
    + Accepts<Ping>
    + Accepts<Work>
{
}
impl Subject for Own {}
impl Subject for Stock {}

impl<W> Victim<W> {
    fn new(whims: Vec<Whim>) -> Victim<W> {
        let victim = Victim { whims, whose: PhantomData };
        if victim.has(Whim::ExitsInConstructor) {
            descend(8);
        }
        victim.panics_if(Whim::PanicsInConstructor, "constructor");
        victim
    }

    fn has(&self, whim: Whim) -> bool {
        self.whims.contains(&whim)
    }

    fn panics_if(&self, whim: Whim, text: &str) {
        if self.has(whim) {
            boom(text);
        }
    }

    fn is_stopping(&self) -> Running {
        self.panics_if(Whim::PanicsWhenStopping, "stopping");
        if self.has(Whim::NeverStops) { Running::Continue } else { Running::Stop }
    }
}

impl Actor for Own {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.panics_if(Whim::PanicsWhenStarted, "started");
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.is_stopping()
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.panics_if(Whim::PanicsWhenStopped, "stopped");
    }
}

impl Actor for Stock {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.panics_if(Whim::PanicsWhenStarted, "started");
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.is_stopping()
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.panics_if(Whim::PanicsWhenStopped, "stopped");
    }
}

impl<W> Drop for Victim<W> {
    fn drop(&mut self) {
        // Not while another panic unwinds: that aborts any Rust program.
        if !std::thread::panicking() {
            self.panics_if(Whim::PanicsInDrop, "drop");
        }
    }
}

impl<W: 'static> Handler<Do> for Victim<W>
where
    Self: Actor<Context: AsyncContext<Self>> + Handler<Work>,
    <Self as Actor>::Context: actix::dev::ToEnvelope<Self, Work>,
{
    type Result = ();

    fn handle(&mut self, Do(how): Do, ctx: &mut Self::Context) {
        match how {
            How::Stop => ctx.stop(),
            How::Terminate => ctx.terminate(),
            How::Panic => boom("handler"),
            How::Exit => descend(8),
            How::RunLater => drop(ctx.run_later(Duration::ZERO, |_, _| boom("later"))),
            How::Spawn => drop(ctx.spawn(async { boom("spawned") }.into_actor(self))),
            How::Wait => ctx.wait(pending().into_actor(self)),
            How::WaitPanic => ctx.wait(async { boom("waited") }.into_actor(self)),
            How::StopArbiter => drop(actix::Arbiter::current().stop()),
            How::Pass { number } => slot(number).gate.pass(),
            How::FillAndPass { number, times } => {
                for _ in 0..times {
                    ctx.address().do_send(Work(number));
                }
                let slot = slot(number);
                slot.filled.open();
                slot.gate.pass();
            }
        }
    }
}

impl<W: 'static> Handler<Later> for Victim<W>
where
    Self: Actor<Context: AsyncContext<Self>>,
{
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Later(end): Later, _: &mut Self::Context) -> Self::Result {
        let future = async move {
            match end {
                End::Never => pending().await,
                End::Panics => boom("act future"),
                End::Exits => descend(8),
            }
        };
        Box::pin(future.into_actor(self))
    }
}

impl<W: 'static> Handler<Atomic> for Victim<W>
where
    Self: Actor<Context: AsyncContext<Self>>,
{
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Atomic, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(pending().into_actor(self)))
    }
}

impl<W: 'static> Handler<Detached> for Victim<W>
where
    Self: Actor,
{
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Detached, _: &mut Self::Context) -> Self::Result {
        Box::pin(async { std::panic::resume_unwind(Box::new("detached")) })
    }
}

impl<W: 'static> Handler<Ping> for Victim<W>
where
    Self: Actor,
{
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl<W: 'static> Handler<Work> for Victim<W>
where
    Self: Actor,
{
    type Result = ();

    fn handle(&mut self, Work(number): Work, _: &mut Self::Context) {
        let done = std::time::Instant::now() + Duration::from_micros(100);
        while std::time::Instant::now() < done {
            std::hint::spin_loop();
        }
        slot(number).handled.fetch_add(1, Ordering::AcqRel);
    }
}

remote_actor!(Own as "own", new(whims: Vec<Whim>) = Victim::new(whims),
    handles[Do, Later, Atomic, Detached, Ping, Work]);
remote_actor!(Stock as "stock", new(whims: Vec<Whim>) = Victim::new(whims),
    handles[Do, Later, Atomic, Detached, Ping, Work]);

/// Lives on the victim's arbiter.
struct Neighbour;

impl Actor for Neighbour {
    type Context = Context<Self>;
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "usize")]
struct HandledBy(usize);

impl Handler<HandledBy> for Neighbour {
    type Result = usize;

    fn handle(&mut self, HandledBy(number): HandledBy, _: &mut Context<Self>) -> usize {
        slot(number).handled.load(Ordering::Acquire)
    }
}

impl Handler<Ping> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}
remote_actor!(Neighbour as "neighbour", new() = Neighbour, handles[Ping, HandledBy]);

/// A victim that is held up by a gate while the test puts more into its mailbox.
struct Busy<A: Subject> {
    address: RemoteAddr<A>,
    slot: Arc<Slot>,
}

/// Where a busy victim and its test meet.
struct Slot {
    number: usize,
    gate: Gate,
    filled: Gate,
    handled: AtomicUsize,
}

impl Busy<Own> {
    async fn start<A: Subject>(pool: &TestPool, whims: &[Whim]) -> Busy<A> {
        let slot = Slot::new();
        let address = pool.pspawn_link::<A>(whims.to_vec()).await;
        address.do_send(Do(How::Pass { number: slot.number }));
        Busy { address, slot }
    }
}

impl<A: Subject> Busy<A> {
    fn address(&self) -> &RemoteAddr<A> {
        &self.address
    }

    fn number(&self) -> usize {
        self.slot.number
    }

    fn let_go(&self) {
        self.slot.gate.open();
    }

    /// How many pieces of work it has done.
    fn handled(&self) -> usize {
        self.slot.handled.load(Ordering::Acquire)
    }
}

impl Slot {
    fn new() -> Arc<Slot> {
        let mut slots = SLOTS.lock().expect("nobody panics here");
        let handled = AtomicUsize::new(0);
        let number = slots.len();
        let slot = Arc::new(Slot { number, gate: Gate::new(), filled: Gate::new(), handled });
        slots.push(slot.clone());
        slot
    }
}

fn slot(number: usize) -> Arc<Slot> {
    SLOTS.lock().expect("nobody panics here")[number].clone()
}

static SLOTS: Mutex<Vec<Arc<Slot>>> = Mutex::new(Vec::new());

// ---- how an end is brought about, and looked at -------------------------------------------------

/// Starts a victim with these whims, lets `ruin` happen, and gives the reason it ended with, after
/// seeing that everybody who was to hear of it did so, once, and that nobody else was hurt.
async fn end_of<A: Subject>(
    whims: &[Whim],
    ruin: impl FnOnce(&TestPool, &RemoteAddr<A>),
) -> ExitReason {
    let mut pool = one_arbiter().await;
    let neighbour = pool.pspawn::<Neighbour>(()).await.expect("it starts");
    let victim = pool.pspawn_link::<A>(whims.to_vec()).await;
    let monitor = pool.inbox.monitor(victim.pid());
    let in_flight = victim.send(Later(End::Never));
    ruin(&pool, &victim);

    let Exited { pid, reason } = pool.next_exit().await;
    assert_eq!(pid, victim.pid());
    let down = pool.next_down().await;
    assert_eq!((down.monitor, down.object), (monitor, victim.pid().into()));
    let heard = [down.reason, reason_of(in_flight.await)];
    let dies_at_birth =
        [Whim::PanicsInConstructor, Whim::ExitsInConstructor, Whim::PanicsWhenStarted];
    let was_late = whims.iter().any(|whim| dies_at_birth.contains(whim));
    for other in heard {
        assert!(other == reason || was_late && other == ExitReason::NoProc, "{other} not {reason}");
    }
    assert_eq!(reason_of(victim.send(Ping).await), ExitReason::NoProc);
    assert_eq!(neighbour.send(Ping).await, Ok(()));
    pool.assert_no::<Exited>().await;
    pool.assert_no::<Down>().await;
    pool.stop().await;
    reason
}

/// A master whose actors share one thread.
async fn one_arbiter() -> TestPool {
    TestPool::start_with(0, |builder| builder.workers(1)).await
}

fn kill<A: Subject>(pool: &TestPool, victim: &RemoteAddr<A>) {
    pool.exit(victim.pid(), ExitReason::Kill);
}

fn reason_of<R: std::fmt::Debug>(answer: Result<R, SendError>) -> ExitReason {
    let why = answer.expect_err("its actor ended");
    why.exit_reason().cloned().unwrap_or_else(|| panic!("{why}"))
}

fn deep_down() -> ExitReason {
    ExitReason::exit("deep_down")
}

fn descend(depth: u32) {
    if depth == 0 {
        exit(deep_down());
    }
    descend(depth - 1);
}

const BOOM_LINE: u32 = line!() + 3;

fn boom(text: &str) -> ! {
    panic!("{text}")
}

fn panicked(text: &str) -> ExitReason {
    let place = format!("{}:{BOOM_LINE}", file!());
    ExitReason::Panicked { text: text.to_owned(), place }
}

/// A test for each context.
macro_rules! with_each_context {
    ($($test:ident),* $(,)?) => {
        mod own_context {
            $(#[actix::test] async fn $test() { super::$test::<super::Own>().await; })*
        }
        mod actix_context {
            $(#[actix::test] async fn $test() { super::$test::<super::Stock>().await; })*
        }
    };
}

with_each_context!(
    an_actor_that_stops_ends_with_normal,
    an_actor_that_terminates_ends_with_normal,
    an_actor_whose_stopping_says_continue_lives_on,
    exit_from_any_depth_is_the_reason,
    exit_in_the_constructor_is_the_reason,
    exit_in_a_response_act_future_is_the_reason,
    a_panic_in_a_handler_is_the_reason,
    a_panic_in_started_is_the_reason,
    a_panic_in_the_constructor_is_the_reason,
    a_panic_in_run_later_is_the_reason,
    a_panic_in_a_spawned_future_is_the_reason,
    a_panic_in_a_waited_for_future_is_the_reason,
    a_panic_in_a_response_act_future_is_the_reason,
    a_panic_in_stopping_is_the_reason,
    a_panic_in_stopped_is_the_reason,
    a_panic_in_drop_leaves_the_reason_as_it_is,
    of_two_panics_the_first_is_the_reason,
    a_broken_actor_handles_nothing_more,
    a_panic_answers_its_own_question_with_the_reason,
    a_panic_in_a_response_future_leaves_the_actor_alive,
    an_idle_actor_is_killed,
    an_actor_that_waits_in_its_context_is_killed,
    an_actor_that_awaits_an_answer_is_killed,
    stopping_does_not_save_a_victim,
    a_kill_overtakes_a_backlog,
    a_kill_comes_through_under_a_flood,
    an_arbiter_that_goes_away_ends_its_actors_with_shutdown,
    a_busy_actor_does_not_keep_its_neighbours_waiting,
);
