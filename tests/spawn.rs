//! Spawning: by type and by name, from anywhere in the pool; what is refused, and what a lost node does
//! to it.

mod support;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use pspawn::prelude::*;
use pspawn::{Cookie, FreeNode, Kind, OutputLine, PoolError, SendError, SpawnError, Stream};
use support::{DEADLINE, TestPool};

// ---- what is started, and where -----------------------------------------------------------------

#[actix::test]
async fn an_actor_is_started_by_type_on_every_node() {
    let pool = TestPool::start(2).await;
    for node in pool.nodes().await.expect("the master answers") {
        let echo = pool.spawn_on::<Echo>(node, "hello".into()).await.expect("it starts");
        assert_eq!(echo.node(), node);
        assert_eq!(echo.send(Say(3)).await, Ok("hello 3".to_owned()));
    }
    pool.stop().await;
}

// P26: by module, function and arguments.
#[actix::test]
async fn functions_and_actors_are_started_by_name() {
    let mut pool = TestPool::start(2).await;
    let me = pool.inbox.pid();
    for _ in 0..6 {
        let pid = pool.pspawn_mfa("spawn", "cube", (me, 3)).await.expect("it starts");
        assert_eq!(pool.next::<(Pid, i64)>().await, (pid, 27));
        let result = pool.call::<i64>("spawn", "cube_of", (4,)).await.expect("it starts");
        assert_eq!(result.result().await, Ok(64));
    }
    let echo = pool.inbox.pspawn_link_mfa("echo", "new", ("by name",)).await.expect("it starts");
    pool.exit(echo, ExitReason::exit("enough"));
    let reason = ExitReason::exit("enough");
    assert_eq!(pool.next_exit().await, Exited { pid: echo, reason });
    pool.stop().await;
}

#[actix::test]
async fn a_call_ends_with_the_reason_of_its_function() {
    let pool = TestPool::start(1).await;
    for _ in 0..4 {
        let running = pool.call::<i64>("spawn", "fails", ()).await.expect("it starts");
        let (pid, result) = (running.pid(), running.result().await);
        let Err(SendError::Exit { pid: failed, reason }) = result else { panic!("{result:?}") };
        let ExitReason::Panicked { text, place } = reason else { panic!("{reason:?}") };
        assert_eq!((failed, text.as_str()), (pid, "no result"));
        assert!(place.contains("spawn.rs:"), "{place}");
    }
    pool.stop().await;
}

// CA-1: what has become of a question stays until whoever asked looks.
#[actix::test]
async fn an_answer_that_has_come_is_there_also_after_the_end_of_its_node() {
    let pool = TestPool::start(1).await;
    let slave = pool.slaves().await[0];
    let echo = pool.spawn_on::<Echo>(slave, "hello".into()).await.expect("it starts");
    let first = echo.send(Say(1));
    let second = echo.send(Say(2)).await;
    assert_eq!(second, Ok("hello 2".to_owned()), "and the first answer came before it");
    pool.stop().await;
    assert_eq!(first.await, Ok("hello 1".to_owned()));
}

// P15: each choice counts as one use of its node, so that a pool goes round.
#[actix::test]
async fn placement_goes_round() {
    let pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    // What else this machine does may weigh like some dozens of jobs; a use weighs like one each time.
    let mut chosen: HashMap<NodeName, u32> = HashMap::new();
    while !nodes.iter().all(|node| chosen.get(node).is_some_and(|uses| *uses >= 3)) {
        *chosen.entry(pool.node().await.expect("the master answers")).or_default() += 1;
        assert!(chosen.values().sum::<u32>() < 1_000, "{chosen:?}");
    }
    pool.stop().await;
}

// P30: all functions work on every node.
#[actix::test]
async fn an_actor_on_a_slave_sees_the_pool_and_spawns_on_it() {
    let pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    assert_eq!(nodes[0], pool.here(), "the master is first");
    assert_eq!(nodes.len(), 3);
    for slave in pool.slaves().await {
        let scout = pool.spawn_on::<Scout>(slave, ()).await.expect("it starts");
        let seen = scout.send(LookAround).await.expect("it answers");
        assert_eq!(seen.here, slave);
        assert_eq!(seen.nodes, nodes);
        assert!(nodes.contains(&seen.next), "{}", seen.next);
        assert_eq!(seen.said, "from a slave 1");
        assert!(nodes.contains(&seen.child.node()));
        assert_eq!(seen.child.send(Say(2)).await, Ok("from a slave 2".to_owned()));
    }
    pool.stop().await;
}

#[actix::test]
async fn an_actor_on_a_slave_is_linked_with_what_it_spawns() {
    let mut pool = TestPool::start(2).await;
    let slave = pool.slaves().await[0];
    let scout = pool.spawn_on::<Scout>(slave, ()).await.expect("it starts");
    for _ in 0..3 {
        let child = scout.send(LookAround).await.expect("it answers").child;
        pool.inbox.monitor(child.pid());
        child.send(Say(0)).await.expect("the monitor has arrived before it");
    }
    pool.exit(scout.pid(), ExitReason::exit("go"));
    for _ in 0..3 {
        assert_eq!(pool.next_down().await.reason, ExitReason::exit("go"));
    }
    pool.stop().await;
}

// ---- what is refused ----------------------------------------------------------------------------

#[actix::test]
async fn a_refused_spawn_names_the_node_and_the_kind() {
    let pool = TestPool::start(1).await;
    let me = pool.inbox.pid();
    for node in pool.nodes().await.expect("the master answers") {
        let kind = Kind::new("spawn", "no_such");
        let unknown = pool.spawn_mfa_on(node, "spawn", "no_such", ()).await;
        let expected = SpawnError::UnknownKind { node, kind };
        assert!(expected.to_string().contains("spawn:no_such"), "{expected}");
        assert_eq!(unknown, Err(expected));

        for wrong in [
            pool.spawn_mfa_on(node, "spawn", "cube", (me, "three")).await,
            pool.spawn_mfa_on(node, "spawn", "cube", (me,)).await,
            pool.spawn_mfa_on(node, "spawn", "cube", ()).await,
            pool.spawn_mfa_on(node, "spawn", "cube", (me, 3, 4)).await,
        ] {
            let Err(SpawnError::BadArguments { node: on, kind, why }) = wrong else {
                panic!("{wrong:?}")
            };
            assert_eq!((on, kind), (node, Kind::new("spawn", "cube")));
            assert!(!why.is_empty());
        }

        let kind = Kind::new("spawn_guarded", "shell");
        let guarded = pool.spawn_mfa_on(node, "spawn_guarded", "shell", ()).await;
        let expected = SpawnError::NotAllowed { node, kind };
        assert!(expected.to_string().contains("--allow spawn_guarded"), "{expected}");
        assert_eq!(guarded, Err(expected));
        let typed = pool.spawn_on::<Safe>(node, ()).await;
        let kind = Kind::new("spawn_safe", "new");
        assert_eq!(typed, Err(SpawnError::NotAllowed { node, kind }));
    }
    let no_list = pool.pspawn_mfa("spawn", "cube_of", 3).await;
    assert!(matches!(no_list, Err(SpawnError::NotArguments { .. })), "{no_list:?}");
    pool.stop().await;
}

#[actix::test]
async fn what_is_guarded_starts_where_the_master_allows_it() {
    let mut pool = TestPool::start_with(1, |builder| builder.allow("spawn_guarded")).await;
    for node in pool.nodes().await.expect("the master answers") {
        let pid = pool.spawn_mfa_on(node, "spawn_guarded", "shell", ()).await.expect("it starts");
        let ended = pool.end_of(pid).await;
        assert!([ExitReason::Normal, ExitReason::NoProc].contains(&ended), "{ended}");
    }
    pool.stop().await;
}

#[actix::test]
async fn a_spawn_on_a_node_that_nobody_knows_says_so() {
    let pool = TestPool::start(0).await;
    let node: NodeName = "nobody@nowhere".parse().expect("a node name");
    let refused = pool.spawn_on::<Echo>(node, String::new()).await;
    assert_eq!(refused.err(), Some(SpawnError::NodeDown { node }));
    pool.stop().await;
}

#[actix::test]
async fn a_link_needs_somebody_to_link_with() {
    let pool = TestPool::start(0).await;
    let refused = Pool::pspawn_link::<Echo>(&pool, String::new()).await;
    assert_eq!(refused.err(), Some(SpawnError::NoCaller));
    pool.stop().await;
}

// ---- attach and stop ----------------------------------------------------------------------------

// P13: a second time is no error here. P31: stop ends attached nodes too.
#[actix::test]
async fn a_free_node_is_attached_once() {
    let cookie = Cookie::random().expect("random bytes");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let free = FreeNode::start("free", any, Some(cookie.clone()), vec![]).await.expect("it starts");
    assert_eq!(free.pool().nodes().await, Err(PoolError::NoPool)); // P1
    let (node, address) = (free.pool().here(), free.pool().address());

    let pool = TestPool::start_with(1, |builder| builder.cookie(cookie)).await;
    assert!(pool.attach(node, address).await.unwrap().newly);
    assert!(!pool.attach(node, address).await.unwrap().newly);
    assert_eq!(pool.nodes().await.map(|nodes| nodes.len()), Ok(3));
    assert_eq!(free.pool().nodes().await, pool.nodes().await);
    let echo = pool.spawn_on::<Echo>(node, "free".into()).await.expect("it starts");
    assert_eq!(echo.send(Say(1)).await, Ok("free 1".to_owned()));
    let slave = pool.slaves().await.into_iter().find(|slave| *slave != node).expect("a slave");
    let scout = pool.spawn_on::<Scout>(slave, ()).await.expect("it starts");
    assert_eq!(scout.send(SayTo(echo, 2)).await, Ok("free 2".to_owned()), "slave to free node");
    pool.stop().await;
    free.pool().stopped().await;
}

#[actix::test]
async fn a_node_with_another_cookie_is_not_attached() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let cookie = Cookie::random().expect("random bytes");
    let free = FreeNode::start("other", any, Some(cookie), vec![]).await.expect("it starts");
    let pool = TestPool::start(0).await;
    let refused = pool.attach(free.pool().here(), free.pool().address()).await;
    assert!(matches!(refused, Err(PoolError::Refused(_))), "{refused:?}");
    free.stop();
    free.pool().stopped().await;
    pool.stop().await;
}

// P30, P31: any node can stop the pool.
#[actix::test]
async fn an_actor_on_a_slave_can_stop_the_pool() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let mut workers = Vec::new();
    for slave in &slaves {
        workers.push(pool.tell_of(*slave).await.0);
    }
    pool.spawn_mfa_on(slaves[0], "spawn", "stops", ()).await.expect("it starts");
    pool.stopped().await;
    for pid in workers {
        let stat = format!("/proc/{pid}/stat");
        assert!(!std::path::Path::new(&stat).exists(), "a slave is left");
    }
}

// ---- lost nodes and lost time -------------------------------------------------------------------

#[actix::test]
async fn a_killed_slave_leaves_the_pool_and_is_not_used_again() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let victim = pool.spawn_on::<Echo>(slaves[0], String::new()).await.expect("it starts");
    let in_flight = victim.send(Forever);
    let me = pool.inbox.pid();
    let function = pool.spawn_mfa_on(slaves[0], "spawn", "waits", (me,)).await.expect("it starts");
    pool.inbox.link(function);
    pool.next::<Waiting>().await;

    pool.kill(slaves[0]).await;
    let reason = ExitReason::NoConnection;
    let lost = SendError::Exit { pid: victim.pid(), reason: reason.clone() };
    assert_eq!(in_flight.await, Err(lost.clone()));
    assert_eq!(pool.next_exit().await, Exited { pid: function, reason });
    assert_eq!(pool.nodes().await, Ok(vec![pool.here(), slaves[1]]));
    for _ in 0..10 {
        let echo = pool.pspawn::<Echo>(String::new()).await.expect("it starts");
        assert_ne!(echo.node(), slaves[0]);
    }
    assert_eq!(victim.send(Say(1)).await, Err(lost));
    let refused = pool.spawn_on::<Echo>(slaves[0], String::new()).await;
    assert_eq!(refused.err(), Some(SpawnError::NodeDown { node: slaves[0] }));
    pool.stop().await;
}

#[actix::test]
async fn a_function_that_was_called_ends_with_its_node() {
    let mut pool = TestPool::start(1).await;
    let slave = pool.slaves().await[0];
    let me = pool.inbox.pid();
    let running = loop {
        let running = pool.call::<()>("spawn", "waits", (me,)).await.expect("it starts");
        pool.next::<Waiting>().await;
        if running.pid().node() == slave {
            break running;
        }
    };
    let pid = running.pid();
    pool.kill(slave).await;
    let reason = ExitReason::NoConnection;
    assert_eq!(running.result().await, Err(SendError::Exit { pid, reason }));
    pool.stop().await;
}

// G1, G6: an answer that comes too late is dropped, and the actor lives on.
#[actix::test]
async fn a_send_that_is_not_answered_times_out() {
    let pool = TestPool::start(1).await;
    let after = Duration::from_millis(50);
    for node in pool.nodes().await.expect("the master answers") {
        let echo = pool.spawn_on::<Echo>(node, "late".into()).await.expect("it starts");
        let late = echo.send(Forever).within(after).await;
        assert_eq!(late, Err(SendError::TimedOut { pid: echo.pid(), after }));
        assert_eq!(echo.send(Say(1)).await, Ok("late 1".to_owned()));
    }
    pool.stop().await;
}

// ---- values that travel -------------------------------------------------------------------------

/// From a slave to a slave they go directly: the master has no part in it.
#[actix::test]
async fn addresses_recipients_and_pids_work_wherever_they_are_sent() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let nodes = pool.nodes().await.expect("the master answers");
    for at in nodes.iter().copied() {
        for other in nodes.iter().copied() {
            let echo = pool.spawn_on::<Echo>(other, "direct".into()).await.expect("it starts");
            let scout = pool.spawn_on::<Scout>(at, ()).await.expect("it starts");
            let said = scout.send(SayTo(echo.clone(), 1)).await;
            assert_eq!(said, Ok("direct 1".to_owned()), "{at} to {other}");
            let said = scout.send(SayToAny(echo.recipient(), 2)).await;
            assert_eq!(said, Ok("direct 2".to_owned()), "{at} to {other}");
            let me = pool.inbox.pid();
            let relay = pool.spawn_mfa_on(other, "spawn", "relay", ()).await.expect("it starts");
            pool.spawn_mfa_on(at, "spawn", "tells", (relay, me)).await.expect("it starts");
            assert_eq!(pool.next::<(Pid, Pid)>().await.0, relay, "{at} to {other}");
        }
    }
    // While both slaves live, losing one is heard by the other at first hand.
    let echo = pool.spawn_on::<Echo>(slaves[0], String::new()).await.expect("it starts");
    let scout = pool.spawn_on::<Scout>(slaves[1], ()).await.expect("it starts");
    let asked = scout.send(AwaitForever(echo.clone()));
    scout.send(SayTo(echo, 1)).await.expect("the question before it has arrived");
    pool.kill(slaves[0]).await;
    assert_eq!(asked.await, Ok(Some(ExitReason::NoConnection)));
    pool.stop().await;
}

/// Also where this OS process has other nodes, and the actor is done with its turn.
#[actix::test]
async fn an_address_belongs_to_the_node_that_it_has_come_to() {
    let mut pool = TestPool::start(1).await;
    let slave = pool.slaves().await[0];
    let scout = pool.spawn_on::<Scout>(slave, ()).await.expect("it starts");
    let started_later = TestPool::start(0).await;

    let child = scout.send(LookAround).await.expect("it answers").child;
    assert_eq!(child.send(Say(2)).await, Ok("from a slave 2".to_owned()), "in an answer");
    let me = pool.inbox.pid();
    pool.spawn_mfa_on(slave, "spawn", "passes_on", (me, child.clone())).await.expect("it starts");
    let passed = pool.next::<RemoteAddr<Echo>>().await;
    assert_eq!(passed.send(Say(3)).await, Ok("from a slave 3".to_owned()), "in a message");
    let result = loop {
        let args = (me, child.clone());
        let called = pool.call::<RemoteAddr<Echo>>("spawn", "passes_on", args).await;
        let called = called.expect("it starts");
        if called.pid().node() == slave {
            break called.result().await.expect("it returns");
        }
    };
    assert_eq!(result.send(Say(4)).await, Ok("from a slave 4".to_owned()), "in a result");
    started_later.stop().await;
    pool.stop().await;
}

// ---- output -------------------------------------------------------------------------------------

#[actix::test]
async fn what_an_actor_says_appears_at_who_started_it() {
    let (line, mut lines) = mpsc::unbounded::<OutputLine>();
    let show = move |said: &OutputLine| drop(line.unbounded_send(said.clone()));
    let pool = TestPool::start_with(1, |builder| builder.output(show)).await;
    for node in pool.nodes().await.expect("the master answers") {
        let pid = pool.spawn_mfa_on(node, "spawn", "talks", ("hi",)).await.expect("it starts");
        for text in ["hi: one", "hi: two"] {
            let said = next_line(&mut lines).await;
            assert_eq!((said.node, said.pid, said.stream), (node, Some(pid), Stream::Out));
            assert_eq!(said.line, text);
        }
        // What it starts elsewhere speaks here, too.
        let scout = pool.spawn_on::<Scout>(node, ()).await.expect("it starts");
        for other in pool.nodes().await.expect("the master answers") {
            scout.send(LetTalk(other)).await.expect("it answers");
            for text in ["far: one", "far: two"] {
                let said = next_line(&mut lines).await;
                assert_eq!((said.node, said.line.as_str()), (other, text));
            }
        }
    }
    pool.stop().await;
}

async fn next_line(lines: &mut mpsc::UnboundedReceiver<OutputLine>) -> OutputLine {
    let late = actix_rt::time::sleep(DEADLINE);
    futures::select_biased! {
        line = lines.next().fuse() => line.expect("the pool is open"),
        () = late.fuse() => panic!("no line within {DEADLINE:?}"),
    }
}

// ---- who is spawned -----------------------------------------------------------------------------

struct Echo {
    word: String,
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "String")]
struct Say(u32);

/// Is never answered.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Forever;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Say> for Echo {
    type Result = String;

    fn handle(&mut self, Say(number): Say, _: &mut Context<Self>) -> String {
        format!("{} {number}", self.word)
    }
}

impl Handler<Forever> for Echo {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Forever, _: &mut Context<Self>) -> Self::Result {
        Box::pin(std::future::pending().into_actor(self))
    }
}
remote_actor!(Echo as "echo", new(word: String) = Echo { word }, handles[Say, Forever]);

/// Looks at the pool from where it lives.
struct Scout;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Seen")]
struct LookAround;

#[derive(Serialize, Deserialize)]
struct Seen {
    here: NodeName,
    nodes: Vec<NodeName>,
    next: NodeName,
    child: RemoteAddr<Echo>,
    said: String,
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "String")]
struct SayTo(RemoteAddr<Echo>, u32);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "String")]
struct SayToAny(RemoteRecipient<Say>, u32);

/// Answers with the reason why there was no answer.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Option<ExitReason>")]
struct AwaitForever(RemoteAddr<Echo>);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct LetTalk(NodeName);

impl Actor for Scout {
    type Context = Context<Self>;
}

impl Handler<LookAround> for Scout {
    type Result = ResponseActFuture<Self, Seen>;

    fn handle(&mut self, _: LookAround, ctx: &mut Context<Self>) -> Self::Result {
        let pool = ctx.pool();
        let look = async move {
            let nodes = pool.nodes().await.expect("the master answers");
            let next = pool.node().await.expect("the master answers");
            let child = pool.pspawn_link::<Echo>("from a slave".into()).await.expect("it starts");
            let said = child.send(Say(1)).await.expect("it answers");
            Seen { here: pool.here(), nodes, next, child, said }
        };
        Box::pin(look.into_actor(self))
    }
}

impl Handler<SayTo> for Scout {
    type Result = ResponseActFuture<Self, String>;

    fn handle(&mut self, SayTo(echo, number): SayTo, _: &mut Context<Self>) -> Self::Result {
        let request = echo.send(Say(number));
        Box::pin(async move { request.await.expect("it answers") }.into_actor(self))
    }
}

impl Handler<SayToAny> for Scout {
    type Result = ResponseActFuture<Self, String>;

    fn handle(&mut self, SayToAny(any, number): SayToAny, _: &mut Context<Self>) -> Self::Result {
        let request = any.send(Say(number));
        Box::pin(async move { request.await.expect("it answers") }.into_actor(self))
    }
}

impl Handler<AwaitForever> for Scout {
    type Result = ResponseActFuture<Self, Option<ExitReason>>;

    fn handle(&mut self, asked: AwaitForever, _: &mut Context<Self>) -> Self::Result {
        let request = asked.0.send(Forever);
        let why = async move { request.await.err().and_then(|why| why.exit_reason().cloned()) };
        Box::pin(why.into_actor(self))
    }
}

impl Handler<LetTalk> for Scout {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, LetTalk(node): LetTalk, ctx: &mut Context<Self>) -> Self::Result {
        let pool = ctx.pool();
        let talk = async move {
            pool.spawn_mfa_on(node, "spawn", "talks", ("far",)).await.expect("it starts");
        };
        Box::pin(talk.into_actor(self))
    }
}
remote_actor!(Scout as "scout", new() = Scout,
    handles[LookAround, SayTo, SayToAny, AwaitForever, LetTalk]);

async fn cube(ctx: Ctx, to: Pid, x: i64) {
    ctx.send(to, (ctx.pid(), x * x * x));
}

async fn cube_of(_: Ctx, x: i64) -> i64 {
    x * x * x
}

async fn fails(_: Ctx) -> i64 {
    panic!("no result")
}

async fn stops(ctx: Ctx) {
    ctx.pool().stop().await.expect("it stops");
}

async fn waits(ctx: Ctx, tester: Pid) {
    ctx.send(tester, Waiting);
    std::future::pending().await
}

#[derive(Serialize, Deserialize)]
struct Waiting;

async fn relay(mut ctx: Ctx) {
    let (from, to) = ctx.receive::<(Pid, Pid)>().await;
    ctx.send(to, (ctx.pid(), from));
}

async fn tells(ctx: Ctx, relay: Pid, tester: Pid) {
    ctx.send(relay, (ctx.pid(), tester));
}

async fn talks(_: Ctx, word: String) {
    say!("{word}: one\n{word}: two");
}
async fn passes_on(ctx: Ctx, to: Pid, echo: RemoteAddr<Echo>) -> RemoteAddr<Echo> {
    ctx.send(to, echo.clone());
    echo
}
remote_fn!("spawn": passes_on, cube, cube_of, fails, stops, waits, relay, tells, talks);

async fn shell(_: Ctx) {}
remote_fn!("spawn_guarded" guarded: shell);

struct Safe;

impl Actor for Safe {
    type Context = Context<Self>;
}

remote_actor!(Safe as "spawn_safe" guarded, new() = Safe, handles[]);
