//! Bugs that were: each test fails without its fix.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;
use pspawn::launcher::{Launcher, Order, StartFault};
use pspawn::prelude::*;
use pspawn::{Attached, Cookie, FreeNode, PoolBuilder, PoolError, SpawnError, Value};
use rustix::fs::{CWD, Mode, mkfifoat};

async fn idle(mut ctx: Ctx) {
    ctx.receive::<()>().await;
}

/// Ties itself to everyone and tells them its number at once, then waits until it has heard from as
/// many. A connection that is lost ends it.
async fn gossip(mut ctx: Ctx, number: u64) -> u64 {
    let all: Vec<Pid> = ctx.receive().await;
    for other in &all {
        ctx.link(*other);
        ctx.send(*other, number);
    }
    let mut sum = 0;
    for _ in &all {
        sum += ctx.receive::<u64>().await;
    }
    sum
}

remote_fn!("regression": idle, gossip);

#[test]
fn nodes_that_all_dial_each_other_at_once_lose_nothing() {
    let pool = pool("crossing", |builder| builder);
    let nodes: Vec<FreeNode> = (0..20).map(|at| free(&format!("crossing{at}"))).collect();
    for node in &nodes {
        attach(&pool, node).unwrap();
    }
    block_on(async {
        let mut me = pool.mailbox();
        let mut gossips = Vec::new();
        for (number, node) in (0_u64..).zip(&nodes) {
            let on = node.pool().here();
            let pid = pool.spawn_mfa_on(on, "regression", "gossip", (number,)).await.unwrap();
            me.monitor(pid);
            gossips.push(pid);
        }
        for pid in &gossips {
            me.send(*pid, gossips.clone());
        }
        for _ in &gossips {
            let down = me.receive_within::<Down>(PATIENCE).await.expect("PE-4: all has arrived");
            assert_eq!(down.reason, ExitReason::Normal);
        }
    });
    stop(pool);
}

#[test]
fn a_question_to_a_pool_that_has_stopped_is_answered_at_once() {
    let pool = pool("stopped", |builder| builder);
    let mut mailbox = pool.mailbox();
    block_on(pool.stop()).unwrap();
    block_on(pool.stopped());
    block_on(async {
        assert_eq!(pool.nodes().await, Err(PoolError::NoPool));
        assert!(pool.pspawn_mfa("regression", "idle", ()).await.is_err());
        assert_eq!(mailbox.receive_within::<u64>(Duration::from_secs(3600)).await, None, "CA-2");
    });
}

#[test]
fn a_time_out_without_end_does_not_stop_the_others() {
    let pool = pool("endless", |builder| {
        let builder = builder.call_timeout(Duration::MAX).spawn_timeout(Duration::MAX);
        builder.start_timeout(Duration::MAX).stop_timeout(Duration::MAX)
    });
    block_on(async {
        let (mut patient, mut hasty) = (pool.mailbox(), pool.mailbox());
        let mut endless = std::pin::pin!(patient.receive_within::<u64>(Duration::MAX));
        assert!(futures::poll!(&mut endless).is_pending());
        for _ in 0..3 {
            let none = hasty.receive_within::<u64>(Duration::from_millis(20)).await;
            assert_eq!(none, None);
        }
        assert!(pool.nodes().await.is_ok());
    });
    stop(pool);
}

#[test]
fn settings_from_the_ends_of_time_are_taken() {
    for (tick, silence) in [(Duration::ZERO, Duration::ZERO), (Duration::MAX, Duration::MAX)] {
        let pool = pool("ends-of-time", |builder| builder.heartbeat(tick, silence));
        let node = free("ends-of-time-free");
        let _ = attach(&pool, &node); // it may well be silent for 2 ms
        stop(pool);
    }
}

#[test]
fn a_node_that_another_pool_asks_still_reaches_its_own() {
    let (mine, theirs) = (pool("mine", |builder| builder), pool("theirs", |builder| builder));
    let (asked, friend) = (free("asked"), free("friend"));
    attach(&mine, &asked).unwrap();
    attach(&mine, &friend).unwrap();
    let refused = attach(&theirs, &asked).unwrap_err();
    assert!(refused.to_string().contains("in the pool of mine-master"), "{refused}");
    // Answered over the connection on which that pool has told its members before.
    block_on(async {
        let friend = friend.pool().here();
        let spawned = asked.pool().spawn_mfa_on(friend, "regression", "idle", ()).await;
        assert!(spawned.is_ok(), "PE-3: {spawned:?}");
    });
    stop(mine);
    stop(theirs);
}

#[test]
fn a_pid_of_a_nodes_former_life_names_nobody_of_the_next() {
    let pool = pool("lives", |builder| builder);
    let killer = free("lives-killer");
    attach(&pool, &killer).unwrap();
    let first = free("lives-victim");
    let name = first.pool().here();
    let spawn = || async { pool.spawn_mfa_on(name, "regression", "idle", ()).await.unwrap() };
    attach(&pool, &first).unwrap();
    let former = block_on(spawn());
    let mut watcher = pool.mailbox();
    watcher.monitor(former);
    first.stop();
    block_on(watcher.receive_within::<Down>(PATIENCE)).expect("the first life has ended");
    while block_on(pool.nodes()).unwrap().contains(&name) {}

    let second = free("lives-victim");
    attach(&pool, &second).unwrap();
    let present = block_on(spawn());
    assert_ne!(former, present);
    watcher.monitor(present);
    // The master has told where the second life is before it answers this.
    block_on(killer.pool().nodes()).unwrap();
    // The killer has not talked to either life before: the connection is made for this.
    let mut killer = killer.pool().mailbox();
    killer.exit(former, ExitReason::Kill);
    killer.monitor(former);
    let down = block_on(killer.receive_within::<Down>(PATIENCE)).expect("N6");
    assert_eq!((down.object, down.reason), (former.into(), ExitReason::NoProc), "N6");
    killer.send(present, ());
    let down = block_on(watcher.receive_within::<Down>(PATIENCE)).expect("it was told to end");
    assert_eq!(
        (down.object, down.reason),
        (present.into(), ExitReason::Normal),
        "N6: it was not killed"
    );
    stop(pool);
}

#[test]
fn arguments_too_long_for_a_frame_are_an_error_that_says_so() {
    let pool = pool("long", |builder| builder);
    let node = free("long-free");
    attach(&pool, &node).unwrap();
    let args = Value::Array(vec![Value::Binary(vec![0; 65 << 20])]);
    let spawned = pool.spawn_mfa_on(node.pool().here(), "regression", "idle", args);
    match block_on(spawned) {
        Err(SpawnError::BadArguments { why, .. }) => assert!(why.contains("frame"), "{why}"),
        other => panic!("{other:?}"),
    }
    stop(pool);
}

#[test]
fn an_attach_that_fails_says_why_each_time() {
    let pool = pool("unreachable", |builder| builder);
    let nobody: NodeName = "nobody@nowhere".parse().unwrap();
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let attaches = (0..3).map(|_| pool.attach(nobody, address));
    for refused in block_on(join_all(attaches)) {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("refused") || refused.contains("not reached"), "{refused}");
    }
    stop(pool);
}

/// TL-2: the certificate of another name would have gone with it.
#[test]
fn a_member_gets_no_second_name_by_having_itself_attached() {
    let pool = pool("names", |builder| builder);
    let node = free("names-free");
    attach(&pool, &node).unwrap();
    let (other, member) = ("other@elsewhere".parse().unwrap(), node.pool().here());
    for asker in [node.pool(), &pool] {
        let refused = block_on(asker.attach(other, node.pool().address())).unwrap_err();
        let words = format!("{member} is at {}, and in the pool", node.pool().address());
        assert!(refused.to_string().contains(&words), "{refused}");
    }
    // Any other node it may have attached (P30).
    let third = free("names-third");
    let attached = block_on(node.pool().attach(third.pool().here(), third.pool().address()));
    assert!(attached.unwrap().newly);
    stop(pool);
}

/// A launch command that says nothing until it may end.
struct Halts(PathBuf);

impl Launcher for Halts {
    fn name(&self) -> &str {
        "halts"
    }

    fn command(&self, _: &Order<'_>) -> Result<Command, StartFault> {
        let mut command = Command::new("sh");
        command.arg("-c").arg("read end < \"$0\"").arg(&self.0);
        Ok(command)
    }
}

/// TL-2: the slave is to be the only one that has its name's certificate.
#[test]
fn nobody_is_attached_under_the_name_of_a_slave_that_is_being_started() {
    let dir = tempfile::tempdir().unwrap();
    let may_end = dir.path().join("may end");
    mkfifoat(CWD, &may_end, Mode::from_raw_mode(0o600)).unwrap();
    let pool = pool("starting", |builder| builder.launcher(Halts(may_end.clone())));
    let starter = pool.clone();
    let starting = std::thread::spawn(move || block_on(starter.start_slave("far", "slave")));
    let may_end = std::fs::File::create(may_end).unwrap(); // returns once the command runs
    let node = free("starting-free");
    let slave = "slave@far".parse().unwrap();
    let refused = block_on(pool.attach(slave, node.pool().address())).unwrap_err();
    assert!(refused.to_string().contains("slave@far is a slave of this pool"), "{refused}");
    drop(may_end);
    assert!(starting.join().unwrap().is_err());
    attach(&pool, &node).unwrap();
    stop(pool);
}

fn pool(name: &str, set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Pool {
    block_on(set(builder(name)).local(0).start()).unwrap()
}

fn free(name: &str) -> FreeNode {
    block_on(builder(name).start_free("127.0.0.1:0".parse().unwrap())).unwrap()
}

fn builder(name: &str) -> PoolBuilder {
    Pool::builder(name).cookie(Cookie::new("correct horse battery staple")).workers(1)
}

fn attach(pool: &Pool, node: &FreeNode) -> Result<Attached, PoolError> {
    block_on(pool.attach(node.pool().here(), node.pool().address()))
}

fn stop(pool: Pool) {
    block_on(pool.stop()).unwrap();
}

/// Longer than anything takes that happens at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mailbox of plain async code has no task that its node could end: whoever waited on it waited on.
#[test]
fn whoever_waits_on_a_mailbox_hears_that_its_node_has_stopped() {
    let pool = pool("waiting", |builder| builder);
    let mut mailbox = pool.mailbox();
    let waits = std::thread::spawn(move || block_on(mailbox.receive::<u8>()));
    block_on(pool.stop()).unwrap();
    assert!(waits.join().is_err(), "there was nothing to receive");
}

/// A waker that was used after its actor's end counted the actor as ready to run, for ever.
#[test]
fn actors_that_are_killed_while_they_compute_leave_the_run_queue() {
    let pool = pool("computing", |builder| builder);
    block_on(async {
        let mut me = pool.mailbox();
        for _ in 0..20 {
            let busy = me.pspawn_link_mfa("regression", "busy", (me.pid(),)).await.unwrap();
            me.receive::<bool>().await;
            me.exit(busy, ExitReason::Kill);
            assert_eq!(me.receive::<Exited>().await.reason, ExitReason::Killed);
        }
        // The last one's task may still be on its way out.
        let mut looks = 0;
        while pool.run_queue() > 0 {
            looks += 1;
            assert!(looks < 1_000, "{} in the run queue, and nobody runs", pool.run_queue());
            pool.call::<u64>("regression", "answer", ()).await.unwrap().await.unwrap();
        }
        pool.stop().await.unwrap();
    });
}

async fn busy(ctx: Ctx, tell: Pid) {
    ctx.send(tell, true);
    loop {
        yield_now().await;
    }
}

async fn answer(_: Ctx) -> u64 {
    42
}

remote_fn!("regression": busy, answer);

/// A process that looked into its mailbox at that moment received what was sent after the signal that
/// had ended it: messages and signals of a pair are in one order (O4, E4).
#[test]
fn what_is_sent_after_a_kill_is_not_received() {
    let pool = pool("late", |builder| builder);
    block_on(async {
        let mut me = pool.mailbox();
        for _ in 0..200 {
            let (looks, _) =
                me.spawn_fn("regression", "looks", (me.pid(),)).monitor().await.unwrap();
            me.receive::<u64>().await;
            me.exit(looks, ExitReason::Kill);
            me.send(looks, true);
            let down = me.receive_any().await.open::<Down>().expect("E4: nothing but its end");
            assert_eq!(down.reason, ExitReason::Killed);
        }
        pool.stop().await.unwrap();
    });
}

/// Looks into its mailbox all the time, and says so at first.
async fn looks(mut ctx: Ctx, tell: Pid) {
    ctx.send(tell, 1_u64);
    loop {
        if ctx.receive_within::<bool>(Duration::ZERO).await.is_some() {
            ctx.send(tell, 2_u64);
        }
    }
}

remote_fn!("regression": looks);
