//! Nodes that cannot reach each other, and talk through their master: as nodes do that can; and those that
//! abuse it.
//!
//! Most of the nodes are in one OS process. Each takes itself for alone on its host, and none listens for other
//! hosts.

mod enemy;
#[path = "support/job.rs"]
mod job;
mod support;

use std::net::TcpListener;
use std::process::Command;

use futures::executor::block_on;
use futures::future::join;
use pspawn::launcher::{Launcher, Order as LaunchOrder, StartFault};
use pspawn::prelude::*;
use pspawn::{Cookie, FreeNode, PoolBuilder, Value, Via};
use rmpv::Value::{Array, Binary, Map};

use enemy::{At, Enemy, Greeting, Hello, Log, frame, greeting_body, proof};
use job::{Job, Work};
use support::{DEADLINE, Done, Order, TestPool};

/// Calls a job on that node, which it starts there.
async fn work_on(ctx: Ctx, node: NodeName) -> Option<u32> {
    let job = ctx.pool().spawn_on::<Job>(node, ()).await.ok()?;
    job.send(Work).await.ok()
}

/// What carries the connection of its node with that one.
async fn via_to(ctx: Ctx, node: NodeName) -> Option<String> {
    ctx.pool().via(node).map(|via| via.to_string())
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Load(u32, Value);

/// Sends so many numbered messages of a kibibyte.
async fn flood(ctx: Ctx, to: Pid, count: u32) {
    for number in 0..count {
        ctx.send(to, Load(number, Binary(vec![7; 1 << 10])));
        if number % 64 == 0 {
            yield_now().await;
        }
    }
}

/// Takes them; returns how many came in order.
async fn take(mut ctx: Ctx, from: NodeName, count: u32) -> u32 {
    let me = ctx.pid();
    ctx.spawn_fn("relayed", "flood", (me, count)).on(from).await.expect("it starts");
    for number in 0..count {
        let Load(next, _) = ctx.receive().await;
        if next != number {
            return number;
        }
    }
    count
}
remote_fn!("relayed": work_on, via_to, flood, take);

/// A master, and two nodes that have no way to each other.
struct Apart {
    pool: TestPool,
    one: FreeNode,
    two: FreeNode,
}

impl Apart {
    async fn new() -> Apart {
        let pool = TestPool::start_with(0, |builder| builder.cookie(Cookie::new(COOKIE))).await;
        let (one, two) = (lonely("one", |builder| builder), lonely("two", |builder| builder));
        let (one, two) = join(one, two).await;
        for free in [&one, &two] {
            attach(&pool, free).await;
        }
        Apart { pool, one, two }
    }

    fn names(&self) -> (NodeName, NodeName) {
        (self.one.pool().here(), self.two.pool().here())
    }

    async fn stop(self) {
        self.pool.stop().await;
        for free in [self.one, self.two] {
            free.pool().stopped().await;
        }
    }
}

#[test]
fn they_call_each_other_and_so_does_a_command() {
    block_on(async {
        let apart = Apart::new().await;
        let (one, two) = apart.names();
        for (from, to) in [(one, two), (two, one)] {
            assert_eq!(work(&apart.pool, from, to).await, Some(1), "{from} to {to}");
        }
        assert_eq!(apart.one.pool().via(two), Some(Via::Relay));
        assert_eq!(apart.two.pool().via(one), Some(Via::Relay));
        assert_eq!(apart.pool.via(one), Some(Via::Memory), "RY-4");

        // A command has no way to them either, if it is on another host than they are.
        let hidden = Pool::connect(enemy::running(&apart.pool, COOKIE)).await.unwrap();
        let job = hidden.spawn_on::<Job>(two, ()).await.unwrap();
        assert_eq!(job.send(Work).await, Ok(1));
        assert_eq!(hidden.via(two), Some(Via::Relay));
        apart.stop().await;
    });
}

#[test]
fn ties_hold_and_break_with_the_real_reason_or_the_connection() {
    block_on(async {
        let mut apart = Apart::new().await;
        let (one, two) = apart.names();
        let pool = &mut apart.pool;
        let (here, linked, watched, far) =
            (pool.puppet(one).await, pool.puppet(two).await, pool.puppet(two).await, two);
        pool.order(here, Order::Trap(true)).await;
        pool.link(here, linked).await;
        let monitor = pool.monitor(here, watched).await;
        pool.inbox.exit(linked, ExitReason::Kill);
        let Done::Exited(exited) = pool.order(here, Order::NextExit).await else { panic!() };
        assert_eq!((exited.pid, exited.reason), (linked, ExitReason::Killed));
        pool.inbox.send(watched, Order::End(ExitReason::exit("enough")));
        let Done::Down(down) = pool.order(here, Order::NextDown).await else { panic!() };
        assert_eq!((down.monitor, down.reason), (monitor, ExitReason::exit("enough")));

        // And what is left breaks with the node.
        let (linked, watched) = (pool.puppet(far).await, pool.puppet(far).await);
        pool.link(here, linked).await;
        let monitor = pool.monitor(here, watched).await;
        pool.order(here, Order::WatchNode(far, true)).await;
        apart.two.stop();
        let Done::Exited(exited) = pool.order(here, Order::NextExit).await else { panic!() };
        assert_eq!((exited.pid, exited.reason), (linked, ExitReason::NoConnection));
        let Done::Down(down) = pool.order(here, Order::NextDown).await else { panic!() };
        assert_eq!((down.monitor, down.reason), (monitor, ExitReason::NoConnection));
        assert_eq!(pool.order(here, Order::NextNodeDown).await, Done::NodeDown(far));
        apart.stop().await;
    });
}

/// Starts each slave in a network of its own, without any way out.
struct OwnNetwork(&'static [&'static str]);

impl OwnNetwork {
    /// None where users may not make namespaces.
    fn found() -> Option<OwnNetwork> {
        const WAYS: [&[&str]; 2] = [&["unshare", "-n", "--"], &["unshare", "-rn", "--"]];
        let works = |words: &&&[&str]| {
            let ran = Command::new(words[0]).args(&words[1..]).arg("true").output();
            ran.is_ok_and(|ran| ran.status.success())
        };
        WAYS.iter().find(works).map(|words| OwnNetwork(words))
    }
}

impl Launcher for OwnNetwork {
    fn name(&self) -> &str {
        "unshare"
    }

    fn command(&self, order: &LaunchOrder<'_>) -> Result<Command, StartFault> {
        let mut command = Command::new(self.0[0]);
        command.args(&self.0[1..]).args(order.program_words());
        Ok(command)
    }

    fn ships(&self) -> bool {
        false
    }
}

#[test]
fn slaves_in_networks_of_their_own_talk_through_launchers_and_master() {
    let Some(launcher) = OwnNetwork::found() else {
        eprintln!("!! SKIPPED: this machine has no `unshare` with a network of its own");
        return;
    };
    block_on(async {
        let mut pool = TestPool::start_with(0, |builder| {
            builder.hosts(["there", "elsewhere"]).min_nodes(2).launcher(launcher)
        })
        .await;
        let [one, two] = pool.slaves().await[..] else { panic!("two slaves") };
        assert_eq!(pool.via(one), Some(Via::Launcher));
        assert_eq!(work(&pool, one, two).await, Some(1));
        let via = pool.call_on::<Option<String>>(one, "relayed", "via_to", (two,)).await.unwrap();
        assert_eq!(via.result().await, Ok(Some("relay".to_owned())));

        let (here, linked) = (pool.puppet(one).await, pool.puppet(two).await);
        pool.order(here, Order::Trap(true)).await;
        pool.link(here, linked).await;
        pool.inbox.exit(linked, ExitReason::Kill);
        let Done::Exited(exited) = pool.order(here, Order::NextExit).await else { panic!() };
        assert_eq!((exited.pid, exited.reason), (linked, ExitReason::Killed));

        let linked = pool.puppet(two).await;
        pool.link(here, linked).await;
        pool.kill(two).await;
        let Done::Exited(exited) = pool.order(here, Order::NextExit).await else { panic!() };
        assert_eq!((exited.pid, exited.reason), (linked, ExitReason::NoConnection));
        pool.stop().await;
    });
}

#[test]
fn a_connection_that_is_cut_is_made_again_also_from_both_ends_at_once() {
    block_on(async {
        let mut apart = Apart::new().await;
        let (one, two) = apart.names();
        let pool = &mut apart.pool;
        let (here, there) = (pool.puppet(one).await, pool.puppet(two).await);
        let ends = [(here, two), (there, one)];
        for round in 0..10 {
            let (a, b) = join(work(pool, one, two), work(pool, two, one)).await;
            assert_eq!((a, b), (Some(1), Some(1)), "PE-1: round {round}");
            for (cutting, other) in ends {
                for (puppet, other) in ends {
                    pool.order(puppet, Order::WatchNode(other, true)).await;
                }
                assert_eq!(pool.order(cutting, Order::Cut(other)).await, Done::Cut(true));
                // PE-5: the other end may not have noticed when this one comes back.
                assert_eq!(work(pool, cutting.node(), other).await, Some(1), "PE-5: round {round}");
                for (puppet, other) in ends {
                    let down = pool.order(puppet, Order::NextNodeDown).await;
                    assert_eq!(down, Done::NodeDown(other), "round {round}");
                }
            }
            for (puppet, other) in ends {
                pool.order(puppet, Order::WatchNode(other, true)).await;
            }
            assert_eq!(pool.order(here, Order::Cut(two)).await, Done::Cut(true));
            for (puppet, other) in ends {
                let down = pool.order(puppet, Order::NextNodeDown).await;
                assert_eq!(down, Done::NodeDown(other), "round {round}");
            }
        }
        apart.stop().await;
    });
}

#[test]
fn it_ends_with_the_connection_to_the_master() {
    block_on(async {
        let mut apart = Apart::new().await;
        let (one, two) = apart.names();
        // What it has been told before an answer of its master it knows.
        assert_eq!(apart.two.pool().nodes().await.unwrap().len(), 3);
        let mut near = apart.two.pool().mailbox();
        let far = near.spawn_fn("support", "puppet", (near.pid(),)).on(one).await.unwrap();
        near.monitor(far);
        near.send(far, Order::Name);
        assert_eq!(near.receive_within::<Done>(DEADLINE).await, Some(Done::Named(None)));
        assert!(apart.pool.disconnect(one));
        let down = near.receive_within::<Down>(DEADLINE).await.expect("RY-3");
        assert_eq!((down.object, down.reason), (far.into(), ExitReason::NoConnection));

        // And comes again when that node is attached again.
        attach(&apart.pool, &apart.one).await;
        assert_eq!(work(&apart.pool, two, one).await, Some(1));
        apart.pool.assert_no::<Done>().await;
        apart.stop().await;
    });
}

#[test]
fn a_flood_keeps_its_order_and_lets_others_through() {
    block_on(async {
        let apart = Apart::new().await;
        let (one, two) = apart.names();
        let flood = apart.pool.call_on::<u32>(two, "relayed", "take", (one, FLOOD)).await.unwrap();
        let back = apart.pool.call_on::<u32>(one, "relayed", "take", (two, FLOOD)).await.unwrap();
        let (mut flood, mut back) = (Box::pin(flood.result()), Box::pin(back.result()));
        let job = |node| apart.pool.spawn_on::<Job>(node, ());
        let (first, second) = join(job(one), job(two)).await;
        let jobs = [first.unwrap(), second.unwrap()];
        let mut done = 0;
        let mut both = join(&mut flood, &mut back);
        let came = loop {
            done += 1;
            for job in &jobs {
                assert_eq!(job.send(Work).await, Ok(done));
            }
            if let Some(came) = futures::FutureExt::now_or_never(&mut both) {
                break came;
            }
        };
        assert_eq!(came, (Ok(FLOOD), Ok(FLOOD)), "after {done} calls in between");
        apart.stop().await;
    });
}

#[test]
fn who_takes_nothing_gets_no_more_than_the_credit() {
    let (logger, log) = Log::new();
    let (pool, free) = block_on(async {
        let builder = |builder: PoolBuilder| {
            let heartbeat = (Duration::from_millis(100), Duration::from_secs(60));
            builder.cookie(Cookie::new(COOKIE)).heartbeat(heartbeat.0, heartbeat.1)
        };
        let pool = TestPool::start_with(0, builder).await;
        let free = lonely("one", |builder| {
            builder.heartbeat(Duration::from_millis(100), Duration::from_secs(2)).logger(logger)
        })
        .await;
        attach(&pool, &free).await;
        (pool, free)
    });
    let (one, mut mate) = (free.pool().here(), Mate::join(&pool));
    let to: Pid = format!("<1.7 {MATE}>").parse().unwrap();
    block_on(pool.spawn_mfa_on(one, "relayed", "flood", (to, 4_000_u32))).unwrap();

    // It greets as it should be done, and then takes nothing.
    let (stream, open) = mate.hears(one);
    assert_eq!(open, Value::from("Open"));
    let hello = mate.hears_greeting(one);
    let Greeting::Hello(them) = hello else { panic!("no hello") };
    let me = mate.me.clone();
    mate.says_greeting(one, &stream, &Greeting::Hello(me.clone()));
    let proven = proof(COOKIE, b"pspawn dialer", &them, &me);
    assert_eq!(mate.hears_greeting(one), Greeting::Proof(proven));
    let mine = Greeting::Proof(proof(COOKIE, b"pspawn listen", &them, &me));
    mate.says_greeting(one, &stream, &mine);
    let mut came = 0;
    loop {
        let (_, what) = mate.hears(one);
        match what {
            Map(of) => came += of[0].1.as_slice().unwrap().len(),
            closed => break assert_eq!(closed, Value::from("Closed")),
        }
    }
    assert!(came > CREDIT / 2 && came <= CREDIT, "RY-2: {came}");
    log.wait_for(&["node down", &format!("peer={MATE}")]);
    block_on(async {
        let job = pool.spawn_on::<Job>(one, ()).await.unwrap();
        assert_eq!(job.send(Work).await, Ok(1));
        drop(mate);
        pool.stop().await;
        free.pool().stopped().await;
    });
}

#[test]
fn a_node_that_relays_what_it_may_not_is_dropped_and_nobody_else() {
    let (logger, log) = Log::new();
    let (there, heard) = Log::new();
    let (pool, free) = block_on(async {
        let builder = |builder: PoolBuilder| {
            let builder = builder.heartbeat(Duration::from_secs(1), Duration::from_secs(60));
            builder.cookie(Cookie::new(COOKIE)).logger(logger)
        };
        let pool = TestPool::start_with(0, builder).await;
        let free = lonely("one", |builder| builder.logger(there)).await;
        attach(&pool, &free).await;
        (pool, free)
    });
    let (one, mut mate) = (free.pool().here().as_str(), Mate::join(&pool));
    let enemy = |name: &str, part: &str| {
        let me = Hello { part: part.to_owned(), ..Hello::of(name) };
        (Enemy::greeted(pool.address(), &me, COOKIE).0, me)
    };

    // The streams of others, its own twice, more than there is credit for, and what nobody has sent.
    let own = |number| stream("enemy@nowhere", number);
    let piece = piece(&[7; 32 << 10]);
    type Sent = (&'static str, Value, Value);
    let offences: [(&[Sent], &str); 6] = [
        (&[(MATE, stream(one, 1), "Open".into())], "a relayed stream of others"),
        (&[(MATE, own(1), "Open".into()), (one, own(1), "Open".into())], "stream of others"),
        (&[(MATE, own(2), "Open".into()), (MATE, own(2), "Open".into())], "stream twice"),
        (&[(MATE, own(3), "Open".into()), (MATE, own(3), taken(1))], "than there was"),
        (&[(MATE, own(4), "Open".into()), (MATE, own(4), self::piece(&[]))], "a length"),
        (&[(MATE, own(5), "Open".into())], "more than it has credit for"),
    ];
    for (sent, why) in offences {
        let (mut enemy, _) = enemy("enemy@nowhere", "Hidden");
        for (to, stream, what) in sent {
            enemy.send(&relay(to, stream, what.clone()));
        }
        if why.contains("credit") {
            (0..8).for_each(|_| enemy.send(&relay(MATE, &own(5), piece.clone())));
        }
        log.wait_for(&["disconnected for what it sent", "peer=enemy@nowhere", why]);
        enemy.is_hung_up_on();
    }
    // The other end hears of streams that were opened, and that they are over.
    let mut came = Vec::new();
    while came.iter().filter(|what| **what == Value::from("Closed")).count() < 5 {
        came.push(mate.hears_from("enemy@nowhere").1);
    }
    let pieces = came.iter().filter(|what| what.is_map()).count();
    assert_eq!((pieces, came.len()), (7, 5 + 7 + 5), "RY-2");

    // Who is not of the pool, or calls who is not there, hears that it is closed.
    for (name, part, to) in [
        ("free@nowhere", "Free", one),
        ("caller@nowhere", "Hidden", "nobody@nowhere"),
        ("other@nowhere", "Hidden", pool.here().as_str()),
    ] {
        let (mut enemy, _) = enemy(name, part);
        enemy.send(&relay(to, &stream(name, 1), "Open".into()));
        let (_, what) = hears_relay(&mut enemy, to);
        assert_eq!(what, Value::from("Closed"), "{part} to {to}");
    }

    // It is the master that says who comes: with the cookie, but another name, nobody is let in.
    let (mut enemy, me) = enemy("enemy@nowhere", "Hidden");
    let as_mate = Hello { node: MATE.to_owned(), ..me };
    let own = own(6);
    let say = |greeting: &Greeting| piece_of(greeting);
    enemy.send(&relay(one, &own, "Open".into()));
    enemy.send(&relay(one, &own, say(&Greeting::Hello(as_mate.clone()))));
    let Greeting::Hello(them) = greeting_in(&hears_relay(&mut enemy, one).1) else {
        panic!("no hello")
    };
    let proven = Greeting::Proof(proof(COOKIE, b"pspawn dialer", &as_mate, &them));
    enemy.send(&relay(one, &own, say(&proven)));
    let refused = greeting_in(&hears_relay(&mut enemy, one).1);
    assert!(matches!(refused, Greeting::Refused(_)), "RY-1: {refused:?}");
    heard.wait_for(&["refused", "from=enemy@nowhere, through ", MATE]);

    // A node that is no master takes nothing from anybody else.
    let (mut direct, _) =
        Enemy::greeted(free.pool().address(), &Hello::of("direct@nowhere"), COOKIE);
    direct.send(&relay(MATE, &stream(MATE, 1), "Open".into()));
    direct.send(&frame(b"\x00\xA3Bye"));
    heard.wait_for(&["node down", "peer=direct@nowhere", "it left"]);

    block_on(async {
        let job = pool.spawn_on::<Job>(free.pool().here(), ()).await.unwrap();
        assert_eq!(job.send(Work).await, Ok(1));
        drop(mate);
        pool.stop().await;
        free.pool().stopped().await;
    });
}

/// A member of the pool that speaks the wire protocol by hand.
struct Mate {
    enemy: Enemy,
    me: Hello,
}

impl Mate {
    fn join(pool: &Pool) -> Mate {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let local = listener.local_addr().unwrap();
        let (attaching, name) = (pool.clone(), MATE.parse().unwrap());
        let attached = std::thread::spawn(move || block_on(attaching.attach(name, local)).unwrap());
        // Nobody asks who can start the same what it can start.
        // Nor does anybody get to its other address.
        let nowhere = TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap();
        let at = Some(At { host: [9; 16], local, remote: vec![nowhere] });
        let mut me = Hello::of(MATE);
        let (mut enemy, _) = Enemy::dialed(&listener, COOKIE, |them| {
            me = Hello { at, digest: them.digest.clone(), ..me.clone() };
            me.clone()
        });
        let question = loop {
            let asked = control(&enemy.hear_frame().expect("the connection is up"));
            if let Some(("Ask", asked)) = asked.as_ref().and_then(named) {
                break asked[0].clone();
            }
        };
        let told = Map(vec![("Told".into(), Array(vec![question, "Done".into()]))]);
        enemy.send(&frame(&[&[0][..], &rmp_serde::to_vec(&told).unwrap()].concat()));
        assert!(attached.join().unwrap().newly);
        Mate { enemy, me }
    }

    fn hears(&mut self, from: NodeName) -> (Value, Value) {
        self.hears_from(from.as_str())
    }

    fn hears_from(&mut self, from: &str) -> (Value, Value) {
        hears_relay(&mut self.enemy, from)
    }

    fn hears_greeting(&mut self, from: NodeName) -> Greeting {
        greeting_in(&self.hears(from).1)
    }

    fn says_greeting(&mut self, to: NodeName, stream: &Value, greeting: &Greeting) {
        self.enemy.send(&relay(to.as_str(), stream, piece_of(greeting)));
    }
}

/// The next frame of a relayed stream: of which stream, and what; it must be from that node.
fn hears_relay(enemy: &mut Enemy, from: &str) -> (Value, Value) {
    loop {
        let said = control(&enemy.hear_frame().expect("the connection is up"));
        if let Some(("Relay", said)) = said.as_ref().and_then(named) {
            assert_eq!(said[0], Value::from(from), "RY-1");
            return (said[1].clone(), said[2].clone());
        }
    }
}

fn control(body: &[u8]) -> Option<Value> {
    (body[0] == 0).then(|| rmp_serde::from_slice(&body[1..]).unwrap())
}

fn named(control: &Value) -> Option<(&str, &Vec<Value>)> {
    let (name, of) = control.as_map()?.first()?;
    Some((name.as_str()?, of.as_array()?))
}

fn relay(peer: &str, stream: &Value, what: Value) -> Vec<u8> {
    let said = Array(vec![peer.into(), stream.clone(), what]);
    let control = Map(vec![("Relay".into(), said)]);
    frame(&[&[0][..], &rmp_serde::to_vec(&control).unwrap()].concat())
}

fn stream(opener: &str, number: u32) -> Value {
    Array(vec![opener.into(), 7.into(), number.into()])
}

fn piece(bytes: &[u8]) -> Value {
    Map(vec![("Piece".into(), Binary(bytes.to_vec()))])
}

fn taken(bytes: u32) -> Value {
    Map(vec![("Taken".into(), bytes.into())])
}

fn piece_of(greeting: &Greeting) -> Value {
    piece(&frame(&greeting_body(enemy::VERSION, greeting)))
}

/// A greeting that is a piece by itself.
fn greeting_in(what: &Value) -> Greeting {
    let piece = what.as_map().expect("a piece")[0].1.as_slice().unwrap();
    rmp_serde::from_slice(&piece[6..]).unwrap() // the frame's head, and the version
}

/// Has one node call a job on the other.
async fn work(pool: &Pool, from: NodeName, to: NodeName) -> Option<u32> {
    let called = pool.call_on::<Option<u32>>(from, "relayed", "work_on", (to,)).await;
    called.unwrap().result().await.unwrap()
}

/// A node that takes itself for alone on its host.
async fn lonely(name: &str, set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> FreeNode {
    let quiet = slog::Logger::root(slog::Discard, slog::o!());
    let builder = Pool::builder(name).cookie(Cookie::new(COOKIE)).workers(1).logger(quiet);
    let builder = builder.as_if_on(name).call_timeout(DEADLINE).spawn_timeout(DEADLINE);
    set(builder).start_free(LOOPBACK.parse().unwrap()).await.unwrap()
}

async fn attach(pool: &Pool, free: &FreeNode) {
    let (node, address) = (free.pool().here(), free.pool().address());
    assert!(pool.attach(node, address).await.unwrap().newly);
}

const COOKIE: &str = "correct horse battery staple";
const LOOPBACK: &str = "127.0.0.1:0";
const MATE: &str = "mate@nowhere";
/// What may be on its way in one direction.
const CREDIT: usize = 256 << 10;
/// Messages of a kibibyte.
const FLOOD: u32 = 10_000;
