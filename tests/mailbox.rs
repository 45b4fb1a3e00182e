//! Mailboxes: any message, the one that is wanted, what nobody declared, and a down that is to go.

mod support;

use pspawn::Value;
use pspawn::prelude::*;
use support::{DEADLINE, DOORS, Done, Door, Gate, Order, TestPool};

// ---- receive_any, receive_matching --------------------------------------------------------------

#[actix::test]
async fn receive_any_takes_the_oldest_whatever_it_is() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let to = (pool.inbox.pid(),);
        let child = pool.inbox.spawn_fn("mailbox", "sends_all", to).on(node).link();
        let child = child.await.expect("it starts");
        pool.next_exit().await; // all has arrived before it, and stays in its order
        assert_eq!(any(&mut pool).await.open::<u64>().expect("a number"), 7);
        assert_eq!(any(&mut pool).await.open::<String>().expect("a text"), "seven");
        assert_eq!(any(&mut pool).await.open::<Job>().expect("a job"), Job { size: 7 });
        assert!(pool.inbox.receive_any_within(Duration::ZERO).await.is_none());

        pool.inbox.link(child);
        let exited = any(&mut pool).await.open::<Exited>().expect("notices are letters too");
        assert_eq!(exited, Exited { pid: child, reason: ExitReason::NoProc });
    }
    pool.stop().await;
}

#[actix::test]
async fn what_is_not_wanted_stays_in_its_order() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let counts = pool.inbox.spawn_fn("mailbox", "counts", (pool.inbox.pid(), 10_u64)).on(node);
        counts.link().await.expect("it starts");
        pool.next_exit().await;
        let mut shown = Vec::new();
        let seven = pool.inbox.receive_matching(|letter| {
            let number = *letter.get::<u64>().expect("all are");
            shown.push(number);
            number == 7
        });
        assert_eq!(seven.await.open::<u64>().expect("a number"), 7);
        assert_eq!(shown, Vec::from_iter(0..8), "each is shown once");
        let none = pool.inbox.receive_matching_within(Duration::ZERO, |letter| {
            letter.get::<u64>().is_some_and(|number| *number == 7)
        });
        assert!(none.await.is_none());
        for expected in [0, 1, 2, 3, 4, 5, 6, 8, 9] {
            assert_eq!(any(&mut pool).await.open::<u64>().expect("a number"), expected);
        }
    }
    pool.stop().await;
}

#[actix::test]
async fn what_comes_while_one_waits_is_received() {
    let mut pool = TestPool::start(1).await;
    let counter = pool.start_counters_friend().await;
    let late = pool.inbox.receive_matching_within(DEADLINE, |letter| {
        letter.get::<u64>().is_some_and(|number| *number == 99)
    });
    let start = async { counter.send(Go(100)).await.expect("it answers") };
    let (late, ()) = futures::join!(late, start);
    assert_eq!(late.expect("it comes").open::<u64>().expect("a number"), 99);
    pool.stop().await;
}

// ---- letters ------------------------------------------------------------------------------------

#[actix::test]
async fn a_letter_says_what_it_is_and_opens_as_that_only() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let to = (pool.inbox.pid(),);
        pool.inbox.spawn_fn("mailbox", "sends_job", to).on(node).await.expect("it starts");
        let mut letter = any(&mut pool).await;
        assert!(letter.is::<Job>() && !letter.is::<u64>());
        for name in ["Job", "mailbox::Job", "elsewhere::Job"] {
            assert!(letter.is_named(name), "{name}");
        }
        assert!(!letter.is_named("Jobs"));
        assert_eq!(letter.value().is_some(), node != pool.here(), "of this node it is as it was");
        assert_eq!(letter.get::<u64>(), None);
        assert_eq!(letter.get::<Job>(), Some(&Job { size: 7 }));
        assert_eq!(letter.get::<Job>(), Some(&Job { size: 7 }));
        let letter = letter.open::<u64>().expect_err("it is none");
        assert_eq!(letter.open::<Job>().expect("it is one"), Job { size: 7 });
    }
    pool.stop().await;
}

// A type of the same name and another shape, as another version of a program has it.
#[actix::test]
async fn a_letter_that_does_not_decode_is_handed_back_unopened() {
    let mut pool = TestPool::start(1).await;
    let slave = pool.slaves().await[0];
    let to = (pool.inbox.pid(),);
    for _ in 0..2 {
        pool.inbox.spawn_fn("mailbox", "sends_other_job", to).on(slave).await.expect("it starts");
    }
    let mut letter = any(&mut pool).await;
    assert_eq!(letter.get::<Job>(), None);
    assert_eq!(letter.value(), Some(Value::Array(vec!["large".into()])));
    let letter = letter.open::<Job>().expect_err("it is of another shape");
    assert_eq!(
        letter.open::<other::Job>().expect("it is this"),
        other::Job { size: "large".into() }
    );

    // Who receives by type never sees the other one.
    pool.inbox.spawn_fn("mailbox", "sends_job", to).on(slave).await.expect("it starts");
    assert_eq!(pool.next::<Job>().await, Job { size: 7 });
    assert!(pool.inbox.receive_any_within(Duration::ZERO).await.is_none());
    pool.stop().await;
}

// ---- catch_all ----------------------------------------------------------------------------------

#[actix::test]
async fn an_actor_that_catches_all_gets_what_it_has_not_declared_in_order() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let me = pool.inbox.pid();
        let catcher = pool.spawn_on::<Catcher>(node, (me, true)).await.expect("it starts");
        for number in 0..100_u64 {
            match number % 3 {
                0 => pool.inbox.send(catcher.pid(), Declared(number)),
                1 => pool.inbox.send(catcher.pid(), Job { size: number }),
                _ => pool.inbox.send(catcher.pid(), number),
            }
        }
        for number in 0..100 {
            assert_eq!(pool.next::<Caught>().await, Caught(number));
        }
        pool.exit(catcher.pid(), ExitReason::Kill);
    }
    pool.stop().await;
}

#[actix::test]
async fn without_a_catch_all_what_is_not_declared_vanishes() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let me = pool.inbox.pid();
        let catcher = pool.spawn_on::<Catcher>(node, (me, false)).await.expect("it starts");
        pool.inbox.send(catcher.pid(), Job { size: 1 });
        pool.inbox.send(catcher.pid(), Declared(2));
        assert_eq!(pool.next::<Caught>().await, Caught(2));
    }
    pool.stop().await;
}

// It is set in `started`: what comes sooner waits for that.
#[actix::test]
async fn a_catch_all_catches_also_what_comes_before_the_actor_runs() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for number in 0..200 {
            let me = pool.inbox.pid();
            let catcher = pool.spawn_on::<Catcher>(node, (me, true)).await.expect("it starts");
            pool.inbox.send(catcher.pid(), number);
            assert_eq!(pool.next::<Caught>().await, Caught(number));
        }
    }
    pool.stop().await;
}

// ---- M5, M6: demonitor with flush ---------------------------------------------------------------

// M5: wherever the down is in the mailbox, and that one only. M6: whether the monitor was active.
#[actix::test]
async fn a_flushed_down_is_gone_wherever_it_was() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let [dead, alive] = [pool.puppet(node).await, pool.puppet(node).await];
        pool.exit(dead, ExitReason::Kill);
        pool.end_of(dead).await;
        for is_looked_through in [false, true] {
            let [first, flushed, last] = [(); 3].map(|()| pool.inbox.monitor(dead));
            let active = pool.inbox.monitor(alive);
            pool.inbox.send(alive, Order::Echo(pool.inbox.pid()));
            if is_looked_through {
                pool.next::<support::Echo>().await; // all before it has been taken out, and put aside
            } else {
                assert!(pool.is_process_alive(dead).await == Ok(false)); // all before it has come
            }
            assert!(!pool.inbox.demonitor_flush(flushed), "M6");
            assert!(!pool.inbox.demonitor_flush(flushed), "M7");
            assert!(pool.inbox.demonitor_flush(active), "M6");
            for monitor in [first, last] {
                assert_eq!(pool.next_down().await.monitor, monitor, "M5");
            }
            pool.assert_no::<Down>().await;
            if !is_looked_through {
                pool.next::<support::Echo>().await;
            }
        }
        pool.end_by_kill(alive).await;
    }
    pool.stop().await;
}

// The same for an actor: M5.
#[actix::test]
async fn an_actor_flushes_a_down_that_has_come_or_waits_behind_its_message() {
    let mut pool = TestPool::start(1).await;
    let slave = pool.slaves().await[0]; // where nobody shares the thread that is held up
    let [victim, other] = [pool.puppet(slave).await, pool.puppet(slave).await];
    let flusher = pool.spawn_on::<Flusher>(pool.here(), ()).await.expect("it starts");
    let monitors = flusher.send(Watch(victim)).await.expect("it watches");
    let [behind, later] = [monitors[0], monitors[1]];
    flusher.do_send(PassGate);
    // While it is held up its queue fills: the order to flush first, then both downs.
    flusher.do_send(Flush(behind));
    for pid in [victim, other] {
        pool.watch(pid).await;
        pool.exit(pid, ExitReason::Kill);
        pool.next_down().await; // of two ends that are told one after the other
    }
    GATE.open();
    assert_eq!(flusher.send(Heard).await, Ok(vec![later]), "M5");

    // In its queue, from the dead, while it handles something else.
    let dead = pool.puppet(pool.here()).await;
    pool.end_by_kill(dead).await;
    assert_eq!(flusher.send(WatchAndFlush(dead)).await, Ok(false), "M6");
    assert_eq!(flusher.send(Heard).await, Ok(vec![later]), "M5");
    pool.stop().await;
}

// M5, for both doors, local and remote: who lets go with flush at any moment hears nothing more.
#[actix::test]
async fn no_down_is_left_once_demonitor_flush_has_returned() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let watcher = pool.puppet_behind(door, here).await;
            for _ in 0..50 {
                let it = pool.puppet(there).await;
                let monitor = pool.monitors(watcher, it).await;
                pool.inbox.send(it, Order::End(ExitReason::Normal));
                let flushed = pool.order(watcher, Order::Flush(monitor)).await;
                // An actor's handler may have had it before that.
                if door == Door::Actor && flushed == Done::Demonitored(false) {
                    pool.order(watcher, Order::CountNotices).await;
                }
                pool.end_of(it).await;
                pool.settle(there, watcher).await;
                assert_eq!(pool.order(watcher, Order::CountNotices).await, Done::Counted(0), "M5");
            }
        }
    }
    pool.stop().await;
}

// Whom a thread sent to last it finds again without a look: unless that has ended.
#[actix::test]
async fn who_has_just_been_sent_to_and_ends_gets_nothing_more() {
    let pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let told = pool.call_on::<Vec<bool>>(node, "mailbox", "tells", ()).await;
        let told = told.expect("it starts").await.expect("it ends");
        assert_eq!(told, [true, true, false, true, false], "on {node}");
    }
    pool.stop().await;
}

/// Sends to two that live, one of which is killed, and says which of the messages were put on their way.
async fn tells(mut ctx: Ctx) -> Vec<bool> {
    let friends = [
        ctx.spawn_actor::<CountersFriend>(ctx.pid()).await.expect("it starts here"),
        ctx.spawn_actor::<CountersFriend>(ctx.pid()).await.expect("it starts here"),
    ];
    let tell = |friend: usize| friends[friend].try_send(Go(0)).is_ok();
    let mut told = vec![tell(0), tell(0)];
    ctx.monitor(friends[0].pid());
    ctx.exit(friends[0].pid(), ExitReason::Kill);
    ctx.receive::<Down>().await;
    told.extend([tell(0), tell(1), tell(0)]);
    told
}

impl TestPool {
    async fn start_counters_friend(&self) -> RemoteAddr<CountersFriend> {
        let slave = self.slaves().await[0];
        self.spawn_on(slave, self.inbox.pid()).await.expect("it starts")
    }

    async fn end_by_kill(&mut self, pid: Pid) {
        self.exit(pid, ExitReason::Kill);
        self.end_of(pid).await;
    }
}

async fn any(pool: &mut TestPool) -> Letter {
    pool.inbox.receive_any_within(DEADLINE).await.expect("something comes")
}

// ---- who sends, and who is sent to --------------------------------------------------------------

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    size: u64,
}

mod other {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Job {
        pub(crate) size: String,
    }
}

async fn sends_all(ctx: Ctx, to: Pid) {
    ctx.send(to, 7_u64);
    ctx.send(to, "seven".to_owned());
    ctx.send(to, Job { size: 7 });
}

async fn sends_job(ctx: Ctx, to: Pid) {
    ctx.send(to, Job { size: 7 });
}

async fn sends_other_job(ctx: Ctx, to: Pid) {
    ctx.send(to, other::Job { size: "large".into() });
}

async fn counts(ctx: Ctx, to: Pid, numbers: u64) {
    for number in 0..numbers {
        ctx.send(to, number);
    }
}
remote_fn!("mailbox": sends_all, sends_job, sends_other_job, counts, tells);

/// Counts when it is told to.
struct CountersFriend {
    to: Pid,
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Go(u64);

impl Actor for CountersFriend {
    type Context = Context<Self>;
}

impl Handler<Go> for CountersFriend {
    type Result = ();

    fn handle(&mut self, Go(numbers): Go, ctx: &mut Context<Self>) {
        for number in 0..numbers {
            ctx.send(self.to, number);
        }
    }
}
remote_actor!(CountersFriend as "mailbox_friend", new(to: Pid) = CountersFriend { to }, handles[Go]);

/// Passes on the number in whatever comes.
struct Catcher {
    to: Pid,
    all: bool,
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Declared(u64);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Caught(u64);

impl Actor for Catcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.all {
            ctx.catch_all();
        }
    }
}

impl Handler<Declared> for Catcher {
    type Result = ();

    fn handle(&mut self, Declared(number): Declared, ctx: &mut Context<Self>) {
        ctx.send(self.to, Caught(number));
    }
}

impl Handler<Letter> for Catcher {
    type Result = ();

    fn handle(&mut self, letter: Letter, ctx: &mut Context<Self>) {
        let number = match letter.open::<Job>() {
            Ok(Job { size }) => size,
            Err(letter) => letter.open::<u64>().expect("one of the two"),
        };
        ctx.send(self.to, Caught(number));
    }
}
remote_actor!(Catcher as "mailbox_catcher",
    new(to: Pid, all: bool) = Catcher { to, all }, handles[Declared]);

#[derive(Default)]
struct Flusher {
    heard: Vec<Ref>,
}

/// Twice.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Vec<Ref>")]
struct Watch(Pid);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct PassGate;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Flush(Ref);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "bool")]
struct WatchAndFlush(Pid);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Vec<Ref>")]
struct Heard;

impl Actor for Flusher {
    type Context = Context<Self>;
}

impl Handler<Down> for Flusher {
    type Result = ();

    fn handle(&mut self, down: Down, _: &mut Context<Self>) {
        self.heard.push(down.monitor);
    }
}

impl Handler<Watch> for Flusher {
    type Result = Vec<Ref>;

    fn handle(&mut self, Watch(pid): Watch, ctx: &mut Context<Self>) -> Vec<Ref> {
        vec![ctx.monitor(pid), ctx.monitor(pid)]
    }
}

impl Handler<PassGate> for Flusher {
    type Result = ();

    fn handle(&mut self, _: PassGate, _: &mut Context<Self>) {
        GATE.pass();
    }
}

impl Handler<Flush> for Flusher {
    type Result = ();

    fn handle(&mut self, Flush(monitor): Flush, ctx: &mut Context<Self>) {
        ctx.demonitor_flush(monitor);
    }
}

impl Handler<WatchAndFlush> for Flusher {
    type Result = bool;

    fn handle(&mut self, WatchAndFlush(pid): WatchAndFlush, ctx: &mut Context<Self>) -> bool {
        let monitor = ctx.monitor(pid);
        ctx.demonitor_flush(monitor)
    }
}

impl Handler<Heard> for Flusher {
    type Result = Vec<Ref>;

    fn handle(&mut self, _: Heard, _: &mut Context<Self>) -> Vec<Ref> {
        self.heard.clone()
    }
}
remote_actor!(Flusher as "mailbox_flusher", new() = Flusher::default(),
    handles[Watch, PassGate, Flush, WatchAndFlush, Heard]);

/// Only on the master, where the test is too.
static GATE: Gate = Gate::new();
