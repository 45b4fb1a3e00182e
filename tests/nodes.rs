//! Nodes that come, go, come back and lose each other: what their processes hear.

mod support;

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use pspawn::PoolBuilder;
use pspawn::prelude::*;
use rustix::process::{
    PidfdFlags, PidfdGetfdFlags, Signal, getpid, getppid, kill_process, pidfd_getfd, pidfd_open,
};
use support::{DEADLINE, DOORS, Done, Door, Order, OsPid, TestPool, Wish};

// ---- N1 to N3: monitor_node ---------------------------------------------------------------------

// N1: as many notices as requests, less those taken back. N3: each is used up. N2: a node that is gone.
#[actix::test]
async fn each_request_to_watch_a_node_gives_one_notice() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let mut watchers = Vec::new();
    for node in [pool.here(), slaves[1]] {
        for door in DOORS {
            let watcher = pool.puppet_behind(door, node).await;
            for on in [false, true, true, true, false] {
                pool.order(watcher, Order::WatchNode(slaves[0], on)).await;
            }
            pool.order(watcher, Order::WatchNode(node, true)).await; // its own is never lost
            let none = pool.puppet_behind(door, node).await;
            for on in [true, false] {
                pool.order(none, Order::WatchNode(slaves[0], on)).await;
            }
            // Both have to know the node before it goes.
            let witness = pool.puppet(slaves[0]).await;
            pool.order(watcher, Order::Settle(witness)).await;
            watchers.push((watcher, none));
        }
    }
    pool.kill(slaves[0]).await;
    for (watcher, none) in watchers {
        for _ in 0..2 {
            let heard = pool.order(watcher, Order::NextNodeDown).await;
            assert_eq!(heard, Done::NodeDown(slaves[0]), "N1");
        }
        pool.order(watcher, Order::WatchNode(slaves[0], true)).await;
        let heard = pool.order(watcher, Order::NextNodeDown).await;
        assert_eq!(heard, Done::NodeDown(slaves[0]), "N2");
        for pid in [watcher, none] {
            assert_eq!(pool.order(pid, Order::CountNotices).await, Done::Counted(0), "N3");
        }
    }
    pool.stop().await;
}

// N2: a node that nobody knows.
#[actix::test]
async fn to_watch_a_node_that_nobody_knows_gives_a_notice_at_once() {
    let mut pool = TestPool::start(1).await;
    let unknown = unknown();
    for node in pool.nodes().await.expect("the master answers") {
        for door in DOORS {
            let watcher = pool.puppet_behind(door, node).await;
            for _ in 0..3 {
                pool.order(watcher, Order::WatchNode(unknown, true)).await;
            }
            for _ in 0..3 {
                let heard = pool.order(watcher, Order::NextNodeDown).await;
                assert_eq!(heard, Done::NodeDown(unknown), "N2");
            }
            assert_eq!(pool.order(watcher, Order::CountNotices).await, Done::Counted(0));
        }
    }
    pool.stop().await;
}

// ---- monitor_nodes, connected, start_slave ------------------------------------------------------

#[actix::test]
async fn who_watches_all_nodes_hears_of_each_that_comes_or_goes() {
    let mut pool = TestPool::start(1).await;
    let old = pool.slaves().await[0];
    let (mut watchers, mut others) = (Vec::new(), Vec::new());
    for node in [pool.here(), old] {
        for door in DOORS {
            let [watcher, other] =
                [pool.puppet_behind(door, node).await, pool.puppet_behind(door, node).await];
            pool.order(watcher, Order::WatchNodes(true)).await;
            for on in [true, false] {
                pool.order(other, Order::WatchNodes(on)).await;
            }
            watchers.push(watcher);
            others.push(other);
        }
    }
    let new = pool.start_slave(pool.here().host(), "newcomer").await.expect("it starts");
    for watcher in &watchers {
        // Slaves connect with each other when they first have to.
        let greeted = pool.puppet(new).await;
        pool.order(*watcher, Order::Settle(greeted)).await;
        assert_eq!(pool.order(*watcher, Order::NextNodeUp).await, Done::NodeUp(new));
    }
    pool.kill(new).await;
    for watcher in &watchers {
        assert_eq!(pool.order(*watcher, Order::NextNodeDown).await, Done::NodeDown(new));
    }
    for pid in watchers.into_iter().chain(others) {
        assert_eq!(pool.order(pid, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

#[actix::test]
async fn a_node_is_connected_with_those_it_had_to_do_with() {
    let mut pool = TestPool::start(2).await;
    let (master, slaves) = (pool.here(), pool.slaves().await);
    assert_eq!(pool.connected(), slaves);
    let [a, b] = [pool.puppet(slaves[0]).await, pool.puppet(slaves[1]).await];
    assert_eq!(pool.order(a, Order::Connected).await, Done::Nodes(vec![master]));
    assert_eq!(pool.order(a, Order::Cut(slaves[1])).await, Done::Cut(false));

    pool.order(a, Order::Settle(b)).await;
    for (it, other) in [(a, slaves[1]), (b, slaves[0])] {
        let mut both = vec![master, other];
        both.sort_unstable();
        assert_eq!(pool.order(it, Order::Connected).await, Done::Nodes(both));
    }
    pool.order(b, Order::WatchNode(slaves[0], true)).await;
    assert_eq!(pool.order(a, Order::Cut(slaves[1])).await, Done::Cut(true));
    assert_eq!(pool.order(b, Order::NextNodeDown).await, Done::NodeDown(slaves[0]));
    for it in [a, b] {
        assert_eq!(pool.order(it, Order::Connected).await, Done::Nodes(vec![master]));
    }
    pool.stop().await;
}

// S3, P5: a name that is there is not started twice. A slave that was lost can be started anew at once.
#[actix::test]
async fn a_lost_slave_comes_back_under_its_name() {
    let mut pool = TestPool::start(1).await;
    let (host, name) = (pool.here().host().to_owned(), pool.slaves().await[0]);
    for _ in 0..3 {
        let before = pool.tell_of(name).await;
        assert_eq!(pool.start_slave(&host, name.name()).await.expect("it is there"), name);
        assert_eq!(pool.tell_of(name).await, before);

        pool.inbox.monitor_node(name, true);
        pool.kill(name).await;
        assert_eq!(pool.next::<NodeDown>().await.node, name);
        assert!(!pool.nodes().await.expect("the master answers").contains(&name));
        assert_eq!(pool.start_slave(&host, name.name()).await.expect("it starts"), name);
        assert_ne!(pool.tell_of(name).await, before);
        assert!(pool.nodes().await.expect("the master answers").contains(&name));
    }
    pool.stop().await;
}

// Several who start the same slave at once start one, and all wait until it is there.
#[actix::test]
async fn a_slave_that_is_started_twice_at_once_is_one_slave() {
    let mut pool = TestPool::start(0).await;
    let host = pool.here().host().to_owned();
    let to = (pool.inbox.pid(),);
    let starts = (0..3).map(async |_| {
        let one = pool.start_slave(&host, "one").await.expect("it starts");
        pool.spawn_mfa_on(one, "support", "tell_os_pid", to).await.expect("it is there");
        one
    });
    let started = futures::future::join_all(starts).await;
    assert_eq!(pool.nodes().await, Ok(vec![pool.here(), started[0]]));
    let first: OsPid = pool.next().await;
    for _ in 1..started.len() {
        assert_eq!(pool.next::<OsPid>().await, first);
    }
    pool.stop().await;
}

// S6: a slave that loses its connection with the master ends, though both nodes are fine.
#[actix::test]
async fn a_slave_that_is_cut_from_its_master_ends() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let other = pool.puppet(slaves[1]).await;
    let it = pool.puppet(slaves[0]).await;
    pool.order(other, Order::Settle(it)).await;
    pool.order(other, Order::WatchNode(slaves[0], true)).await;
    pool.inbox.monitor(it);
    assert!(pool.disconnect(slaves[0]));
    assert_eq!(pool.next_down().await.reason, ExitReason::NoConnection);
    assert_eq!(pool.order(other, Order::NextNodeDown).await, Done::NodeDown(slaves[0]), "S6");
    assert_eq!(pool.connected(), [slaves[1]]);
    pool.stop().await;
}

// The kernel closes the sockets of an OS process that was killed last of all. Here they even outlast it, and its guard
// says nothing either.
#[actix::test]
async fn a_slave_that_is_killed_is_lost_before_its_sockets_are_closed() {
    let patient =
        |builder: PoolBuilder| builder.heartbeat(Duration::from_millis(500), DEADLINE * 4);
    let mut pool = TestPool::start_with(1, patient).await;
    let slave = pool.slaves().await[0];
    let guard = pool.call_on::<i32>(slave, "nodes", "hand_on_sockets", ()).await;
    let guard = guard.expect("it starts").await.expect("it ends");
    let guard = rustix::process::Pid::from_raw(guard).expect("it has a parent");
    kill_process(guard, Signal::STOP).expect("it is there");
    pool.inbox.monitor_node(slave, true);
    pool.kill(slave).await;
    let heard = pool.inbox.receive_within::<NodeDown>(DEADLINE).await;
    kill_process(guard, Signal::CONT).expect("it is there");
    assert_eq!(heard.expect("its witness is gone").node, slave);
    pool.stop().await;
}

/// Has other OS processes hold all sockets of this one. Returns its parent.
async fn hand_on_sockets(_: Ctx) -> i32 {
    let me = pidfd_open(getpid(), PidfdFlags::empty()).expect("there is one");
    let mut sockets = 0;
    for fd in std::fs::read_dir("/proc/self/fd").expect("there is such a table") {
        let fd = fd.expect("it reads").path();
        if std::fs::read_link(&fd).is_ok_and(|to| to.as_os_str().as_bytes().starts_with(b"socket:"))
            && let Some(number) = fd.file_name().and_then(|number| number.to_str()?.parse().ok())
            && let Ok(socket) = pidfd_getfd(&me, number, PidfdGetfdFlags::empty())
        {
            let holder = Command::new("sleep").arg("1000").stdin(socket).spawn();
            std::mem::forget(holder.expect("it starts")); // the guard ends it
            sockets += 1;
        }
    }
    assert!(sockets > 0, "it is connected");
    getppid().expect("it has a parent").as_raw_nonzero().get()
}

// ---- N4, N5: spawns on a node that is down ------------------------------------------------------

// N4: the pid is of the spawner's own node. N5: with link, with monitor; a later monitor says noproc.
#[actix::test]
async fn a_spawn_on_a_lost_node_gives_a_dead_pid_of_the_spawners_node() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    pool.inbox.monitor_node(slaves[0], true);
    pool.kill(slaves[0]).await;
    pool.next::<NodeDown>().await;
    for here in [pool.here(), slaves[1]] {
        for there in [slaves[0], unknown()] {
            for door in DOORS {
                let spawner = pool.puppet_behind(door, here).await;
                pool.order(spawner, Order::Trap(true)).await;
                let on = Wish { on: Some(there), ..Wish::of("support", "puppet") };
                let (plain, _) = born(pool.order(spawner, Order::Spawn(on.clone())).await);
                assert_eq!(plain.node(), here, "N4");
                let monitor = pool.monitors(spawner, plain).await;
                let reason = ExitReason::NoProc;
                let down = Down { monitor, object: plain.into(), reason };
                assert_eq!(pool.order(spawner, Order::NextDown).await, Done::Down(down), "N5");

                let tied = Wish { link: true, monitor: true, ..on.clone() };
                let (child, monitor) = born(pool.order(spawner, Order::Spawn(tied)).await);
                assert_eq!(child.node(), here, "N4");
                let reason = ExitReason::NoConnection;
                let exited = Exited { pid: child, reason: reason.clone() };
                assert_eq!(pool.order(spawner, Order::NextExit).await, Done::Exited(exited), "N5");
                let monitor = monitor.expect("it was asked for");
                let down = Down { monitor, object: child.into(), reason: reason.clone() };
                assert_eq!(pool.order(spawner, Order::NextDown).await, Done::Down(down), "N5");
                assert_eq!(pool.order(spawner, Order::CountNotices).await, Done::Counted(0));
                assert_eq!(pool.order(spawner, Order::Links).await, Done::Pids(vec![]));
                assert_eq!(pool.order(spawner, Order::Monitors).await, Done::Objects(vec![]));

                pool.order(spawner, Order::Trap(false)).await;
                let monitor = pool.watch(spawner).await;
                pool.inbox.send(spawner, Order::Spawn(Wish { link: true, ..on }));
                let down = Down { monitor, object: spawner.into(), reason };
                assert_eq!(pool.next_down().await, down, "N5");
                while pool.inbox.receive_within::<Done>(Duration::ZERO).await.is_some() {}
            }
        }
    }
    pool.stop().await;
}

// ---- N6: former lives ---------------------------------------------------------------------------

// N6: pids of a node's former life give noproc, not noconnection, and signals to them hit nobody.
#[actix::test]
async fn pids_of_a_former_life_are_dead_with_noproc() {
    let mut pool = TestPool::start(2).await;
    let (host, slaves) = (pool.here().host().to_owned(), pool.slaves().await);
    let mut tiers = Vec::new();
    for node in [pool.here(), slaves[1]] {
        for door in DOORS {
            let tier = pool.puppet_behind(door, node).await;
            pool.order(tier, Order::Trap(true)).await;
            tiers.push(tier);
        }
    }
    let former = pool.puppet(slaves[0]).await;
    for tier in &tiers {
        pool.order(*tier, Order::Settle(former)).await;
        pool.order(*tier, Order::WatchNode(slaves[0], true)).await;
    }
    pool.kill(slaves[0]).await;
    for tier in &tiers {
        assert_eq!(pool.order(*tier, Order::NextNodeDown).await, Done::NodeDown(slaves[0]));
    }
    pool.start_slave(&host, slaves[0].name()).await.expect("it comes back");
    // In the new life somebody gets the number that the old one had.
    let mut present = Vec::new();
    for _ in 0..20 {
        present.push(pool.puppet(slaves[0]).await);
    }
    for tier in tiers {
        let monitor = pool.monitors(tier, former).await;
        let down = Down { monitor, object: former.into(), reason: ExitReason::NoProc };
        assert_eq!(pool.order(tier, Order::NextDown).await, Done::Down(down), "N6");
        pool.order(tier, Order::Link(former)).await;
        let exited = Exited { pid: former, reason: ExitReason::NoProc };
        assert_eq!(pool.order(tier, Order::NextExit).await, Done::Exited(exited), "N6");
        pool.order(tier, Order::Exit(former, ExitReason::Kill)).await;
        for it in &present {
            pool.order(tier, Order::Settle(*it)).await; // it lives
        }
        assert_eq!(pool.order(tier, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

// ---- N9: two slaves lose each other -------------------------------------------------------------

// N9: links and monitors break at both ends; who traps lives on, and the next signal connects again and
// reaches the same process.
#[actix::test]
async fn ties_between_two_slaves_that_disconnect_break_at_both_ends() {
    let mut pool = TestPool::start(2).await;
    for door in DOORS {
        let [a, b] = two_trappers(&mut pool, door).await;
        for _ in 0..20 {
            for (from, to) in [(a, b), (b, a)] {
                pool.link(a, b).await;
                let by_a = pool.monitor(a, b).await;
                let by_b = pool.monitor(b, a).await;
                assert_eq!(pool.order(from, Order::Cut(to.node())).await, Done::Cut(true));
                for (it, other, monitor) in [(a, b, by_a), (b, a, by_b)] {
                    let reason = ExitReason::NoConnection;
                    let exited = Exited { pid: other, reason: reason.clone() };
                    assert_eq!(pool.order(it, Order::NextExit).await, Done::Exited(exited), "N9");
                    let down = Down { monitor, object: other.into(), reason };
                    assert_eq!(pool.order(it, Order::NextDown).await, Done::Down(down), "N9");
                    assert_eq!(pool.order(it, Order::Links).await, Done::Pids(vec![]));
                    assert_eq!(pool.order(it, Order::Monitors).await, Done::Objects(vec![]));
                }
            }
        }
        for it in [a, b] {
            assert_eq!(pool.order(it, Order::CountNotices).await, Done::Counted(0));
        }
    }
    pool.stop().await;
}

// N9, for those who do not trap: both end. L8, M3 say with what.
#[actix::test]
async fn who_is_linked_over_a_connection_that_is_cut_ends_with_noconnection() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    for door in DOORS {
        let a = pool.puppet_behind(door, slaves[0]).await;
        let b = pool.puppet_behind(door, slaves[1]).await;
        pool.link(a, b).await;
        let cutter = pool.puppet(slaves[0]).await;
        for it in [a, b] {
            pool.watch(it).await;
        }
        pool.order(cutter, Order::Cut(slaves[1])).await;
        for _ in 0..2 {
            assert_eq!(pool.next_down().await.reason, ExitReason::NoConnection, "N9");
        }
    }
    pool.stop().await;
}

// N9, at once: what is sent right after the cut goes over the next connection, and arrives there.
#[actix::test]
async fn what_is_sent_right_after_a_cut_arrives() {
    let mut pool = TestPool::start(2).await;
    for door in DOORS {
        let [a, b] = two_trappers(&mut pool, door).await;
        pool.order(a, Order::Settle(b)).await;
        for round in 0..100 {
            let (from, to) = if round % 2 == 0 { (a, b) } else { (b, a) };
            for order in [
                Order::Cut(to.node()),
                Order::Note(to.into(), round),
                Order::Link(to),
                Order::Unlink(to),
                Order::Settle(to),
            ] {
                pool.inbox.send(from, order);
            }
            assert_eq!(pool.next::<Done>().await, Done::Cut(true));
            for _ in 0..4 {
                assert_eq!(pool.next::<Done>().await, Done::Yes);
            }
            assert_eq!(pool.order(to, Order::Heard).await, Done::Heard(vec![round]), "N9");
            for it in [a, b] {
                assert_eq!(pool.order(it, Order::CountNotices).await, Done::Counted(0), "L9");
                assert_eq!(pool.order(it, Order::Links).await, Done::Pids(vec![]));
            }
        }
    }
    pool.stop().await;
}

// N9, from both sides at once: whatever is lost, in the end both agree whether they are linked (LK-4).
#[actix::test]
async fn two_slaves_that_cut_and_link_at_once_agree_in_the_end() {
    let mut pool = TestPool::start(2).await;
    for door in DOORS {
        let [a, b] = two_trappers(&mut pool, door).await;
        pool.order(a, Order::Settle(b)).await;
        for round in 0..50 {
            let order = |step, to: Pid| match (step + round) % 4 {
                0 | 1 => Order::Link(to),
                2 => Order::Cut(to.node()),
                _ => Order::Unlink(to),
            };
            at_once(&mut pool, a, b, order).await;
            agree(&mut pool, a, b).await;
        }
    }
    pool.stop().await;
}

// Without a cut, of one node and of two: whoever's threads decide what first, it is sent in that order (SI-1).
#[actix::test]
async fn two_that_link_and_unlink_at_once_agree_in_the_end() {
    let mut pool = TestPool::start(2).await;
    for door in DOORS {
        let slaves = pool.slaves().await;
        let a = pool.puppet_behind(door, slaves[0]).await;
        for home in slaves {
            let b = pool.puppet_behind(door, home).await;
            for it in [a, b] {
                pool.order(it, Order::Trap(true)).await;
            }
            for round in 0..50 {
                let order = |step, to| match (step + round) % 2 {
                    0 => Order::Link(to),
                    _ => Order::Unlink(to),
                };
                at_once(&mut pool, a, b, order).await;
                agree(&mut pool, a, b).await;
            }
            pool.order(a, Order::Unlink(b)).await;
            agree(&mut pool, a, b).await;
        }
    }
    pool.stop().await;
}

/// Both carry out twenty orders about each other, and neither waits for the other.
async fn at_once(pool: &mut TestPool, a: Pid, b: Pid, order: impl Fn(usize, Pid) -> Order) {
    for step in 0..20 {
        for (from, to) in [(a, b), (b, a)] {
            pool.inbox.send(from, order(step, to));
        }
    }
    for _ in 0..2 * 20 {
        pool.next::<Done>().await;
    }
}

/// Waits until either both are linked with each other, or neither is.
async fn agree(pool: &mut TestPool, a: Pid, b: Pid) {
    let mut looks = 0;
    loop {
        let linked_a = pool.order(a, Order::Links).await == Done::Pids(vec![b]);
        let linked_b = pool.order(b, Order::Links).await == Done::Pids(vec![a]);
        if linked_a == linked_b {
            return;
        }
        looks += 1;
        assert!(looks < 10_000, "LK-1: {a} is linked: {linked_a}, {b} is: {linked_b}");
    }
}

// ---- a slave's OS process -----------------------------------------------------------------------

#[actix::test]
async fn who_writes_to_a_closed_pipe_has_an_error_and_the_node_lives() {
    let pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let called = pool.call_on::<String>(node, "nodes", "write_to_nobody", ()).await;
        let said = called.expect("it starts").result().await;
        assert_eq!(said, Ok("BrokenPipe".to_owned()), "on {node}");
        let called = pool.call_on::<bool>(node, "nodes", "child_ignores_sigpipe", ()).await;
        assert_eq!(called.expect("it starts").result().await, Ok(false), "of {node}");
    }
    pool.stop().await;
}

async fn write_to_nobody(_: Ctx) -> String {
    let (from, mut to) = std::io::pipe().expect("there are pipes");
    drop(from);
    format!("{:?}", to.write_all(b"lost").expect_err("nobody reads").kind())
}

/// What the kernel says of an OS process that is started from here.
async fn child_ignores_sigpipe(_: Ctx) -> bool {
    let said = Command::new("cat").arg("/proc/self/status").output().expect("it runs");
    let said = String::from_utf8(said.stdout).expect("it is text");
    let ignored = said.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("it is said");
    u64::from_str_radix(ignored.trim(), 16).expect("a number") >> (SIGPIPE - 1) & 1 == 1
}
const SIGPIPE: u32 = 13;
remote_fn!("nodes": hand_on_sockets, write_to_nobody, child_ignores_sigpipe);

async fn two_trappers(pool: &mut TestPool, door: Door) -> [Pid; 2] {
    let slaves = pool.slaves().await;
    let both =
        [pool.puppet_behind(door, slaves[0]).await, pool.puppet_behind(door, slaves[1]).await];
    for it in both {
        pool.order(it, Order::Trap(true)).await;
    }
    both
}

fn born(done: Done) -> (Pid, Option<Ref>) {
    match done {
        Done::Born(pid, monitor) => (pid, monitor),
        other => panic!("{other:?}"),
    }
}

/// No address was ever told of it.
fn unknown() -> NodeName {
    "nobody@nowhere".parse().expect("a node name")
}
