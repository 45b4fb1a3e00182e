//! What a process knows and decides of itself: its reasons, its ties, its parent, where its output appears.

mod support;

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use pspawn::prelude::*;
use pspawn::{OutputLine, Value};
use support::{DEADLINE, DOORS, Done, Order, TestPool, Wish};

// ---- L6, L7: a link with the dead ---------------------------------------------------------------

// L6: on the same node it is an error in the caller. L7: on another one an exit signal, later.
#[actix::test]
async fn to_link_with_the_dead_of_ones_own_node_raises_noproc() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let dead = pool.puppet(there).await;
        pool.exit(dead, ExitReason::Kill);
        pool.end_of(dead).await;
        for (module, function) in [("process", "links"), ("process_linker", "new")] {
            for catches in [false, true] {
                let args = (pool.inbox.pid(), dead, catches);
                let links = pool.inbox.spawn_fn(module, function, args).on(here).monitor();
                let (it, monitor) = links.await.expect("it starts");
                let raises = here == there;
                if raises && catches {
                    assert_eq!(pool.next::<Linked>().await, Linked::Raised, "L6, {function}");
                    assert_eq!(pool.is_process_alive(it).await, Ok(true), "L6: it was caught");
                    pool.exit(it, ExitReason::Kill);
                    assert_eq!(pool.next_down().await.reason, ExitReason::Killed);
                    continue;
                }
                if !raises {
                    assert_eq!(pool.next::<Linked>().await, Linked::Yes, "L7, {function}");
                }
                let down = Down { monitor, object: it.into(), reason: ExitReason::NoProc };
                assert_eq!(pool.next_down().await, down, "L6, L7, {function}");
                pool.assert_no::<Linked>().await;
            }
        }
    }
    pool.stop().await;
}

// ---- E5, E10, E24: reasons ----------------------------------------------------------------------

// E10: an uncaught throw. It travels as what it is, and prints as Erlang's.
#[actix::test]
async fn an_uncaught_throw_is_the_reason_nocatch() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for door in DOORS {
            let it = pool.puppet_behind(door, node).await;
            pool.inbox.link(it);
            let monitor = pool.watch(it).await;
            pool.inbox.send(it, Order::Throw("ball".into()));
            let reason = ExitReason::Thrown("ball".into());
            assert_eq!(reason.to_string(), "{{nocatch,ball},[]}", "E10");
            let exited = Exited { pid: it, reason: reason.clone() };
            assert_eq!(pool.next_exit().await, exited, "E25");
            assert_eq!(pool.next_down().await, Down { monitor, object: it.into(), reason }, "M14");
        }
    }
    pool.stop().await;
}

// E24, E30: one's own exit and throw can be caught; then the process lives on. A signal cannot.
#[actix::test]
async fn ones_own_exit_and_throw_can_be_caught() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let it = pool.inbox.spawn_fn("process", "catches", (pool.inbox.pid(),)).on(node).link();
        let it = it.await.expect("it starts");
        assert_eq!(pool.next::<Linked>().await, Linked::Raised, "E24");
        assert_eq!(pool.next::<Linked>().await, Linked::Raised, "E30");
        pool.exit(it, boom());
        assert_eq!(pool.next_exit().await, Exited { pid: it, reason: boom() });
        pool.assert_no::<Linked>().await;
    }
    pool.stop().await;
}

// A word that is one of OTP's reasons is that reason. E4, E5: so `kill` is what it is in Erlang.
#[actix::test]
async fn a_reason_given_as_a_word_is_the_atom() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for door in DOORS {
            let [it, victim] =
                [pool.puppet_behind(door, node).await, pool.puppet_behind(door, node).await];
            pool.order(victim, Order::Trap(true)).await;
            for pid in [it, victim] {
                pool.inbox.link(pid);
                pool.watch(pid).await;
            }
            pool.inbox.send(it, Order::End(ExitReason::exit("kill")));
            let exited = Exited { pid: it, reason: ExitReason::Kill };
            assert_eq!(pool.next_exit().await, exited, "E5");
            assert_eq!(pool.next_down().await.reason, ExitReason::Kill, "E5");
            pool.inbox.exit(victim, ExitReason::exit("kill"));
            let exited = Exited { pid: victim, reason: ExitReason::Killed };
            assert_eq!(pool.next_exit().await, exited, "E4");
            assert_eq!(pool.next_down().await.reason, ExitReason::Killed, "E4");
        }
    }
    let words = ["normal", "shutdown", "kill", "killed", "noproc", "noconnection", "boom"];
    for word in words {
        let reason = ExitReason::exit(word);
        assert_eq!(reason.to_string(), word);
        assert_eq!(matches!(reason, ExitReason::Exit(_)), word == "boom", "{word}");
    }
    pool.stop().await;
}

// ---- its ties, its parent -----------------------------------------------------------------------

#[actix::test]
async fn a_process_knows_whom_it_is_linked_with_and_what_it_watches() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let it = pool.puppet_behind(door, here).await;
            let mut others = vec![pool.puppet(there).await, pool.puppet(there).await];
            others.sort_unstable();
            for other in &others {
                pool.link(*other, it).await; // L1: whoever made it
            }
            assert_eq!(pool.order(it, Order::Links).await, Done::Pids(others.clone()));
            let name = To::from(("nobody yet", there));
            let mut objects = vec![To::from(others[0]), others[0].into(), name.clone()];
            let mut monitors = Vec::new();
            pool.order(others[1], Order::Register("nobody yet".into(), others[1])).await;
            for object in &objects {
                monitors.push(pool.monitors(it, object).await);
            }
            objects.sort_unstable();
            assert_eq!(pool.order(it, Order::Monitors).await, Done::Objects(objects.clone()));

            pool.order(it, Order::Unlink(others[0])).await;
            assert_eq!(pool.order(it, Order::Links).await, Done::Pids(vec![others[1]]), "L3");
            pool.order(it, Order::Demonitor(monitors[0])).await;
            let left = vec![To::from(others[0]), name];
            assert_eq!(pool.order(it, Order::Monitors).await, Done::Objects(left), "M5");
            for other in others {
                pool.exit(other, ExitReason::Kill);
            }
        }
    }
    pool.stop().await;
}

#[actix::test]
async fn the_parent_is_who_spawned_it_and_nobody_for_plain_code() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let parent = pool.puppet_behind(door, here).await;
            assert_eq!(pool.order(parent, Order::Parent).await, Done::Who(None));
            for door in DOORS {
                let (module, function) = door.puppet();
                let wish = Wish { on: Some(there), ..Wish::of(module, function) };
                let Done::Born(child, None) = pool.order(parent, Order::Spawn(wish)).await else {
                    panic!("it starts")
                };
                assert_eq!(pool.order(child, Order::Parent).await, Done::Who(Some(parent)));
            }
        }
        let me = pool.inbox.pid();
        let child = pool.inbox.spawn_fn("support", "puppet", (me,)).on(there).await;
        let child = child.expect("it starts");
        assert_eq!(pool.order(child, Order::Parent).await, Done::Who(Some(me)), "a mailbox's own");
    }
    pool.stop().await;
}

// ---- group leaders ------------------------------------------------------------------------------

// P24, P26: a process has its spawner's group leader, wherever both are; P25: there its output appears.
#[actix::test]
async fn output_appears_at_the_group_leader_that_a_process_was_given() {
    let (mut pool, mut lines) = pool_with_output().await;
    let master = pool.here();
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let parent = pool.puppet_behind(door, here).await;
            assert_eq!(pool.order(parent, Order::Leader).await, Done::Nodes(vec![master]));
            // Its output, and that of all that it will start, is the other node's from now on.
            pool.order(parent, Order::Lead(parent, there)).await;
            assert_eq!(pool.order(parent, Order::Leader).await, Done::Nodes(vec![there]));
            let child = spawned(&mut pool, parent, here).await;
            assert_eq!(pool.order(child, Order::Leader).await, Done::Nodes(vec![there]), "P24");
            pool.order(child, Order::Say(format!("from {child}"))).await;
            let line = next_line(&mut lines).await;
            assert!(line.line.ends_with(&format!("from {child}")), "{line:?}");
            // S16: what a slave's own leader gets appears on the master as well, as its node's line.
            assert_eq!(line.pid, (there == master).then_some(child), "{line:?}");

            // Somebody else gives it back.
            let other = pool.puppet(there).await;
            pool.order(other, Order::Lead(child, master)).await;
            pool.order(other, Order::Settle(child)).await;
            assert_eq!(pool.order(child, Order::Leader).await, Done::Nodes(vec![master]));
            pool.order(child, Order::Say("back".into())).await;
            let line = next_line(&mut lines).await;
            assert_eq!((line.line.as_str(), line.pid), ("back", Some(child)), "P25");
        }
    }
    pool.stop().await;
}

// The mailbox of plain async code has a group leader to give, too.
#[actix::test]
async fn what_a_mailbox_starts_has_its_group_leader() {
    let mut pool = TestPool::start(1).await;
    let (me, slave) = (pool.inbox.pid(), pool.slaves().await[0]);
    pool.inbox.set_group_leader(me, slave);
    assert_eq!(pool.inbox.group_leader(), slave);
    for node in pool.nodes().await.expect("the master answers") {
        for door in DOORS {
            let (module, function) = door.puppet();
            let child = pool.inbox.spawn_fn(module, function, (me,)).on(node).await;
            let child = child.expect("it starts");
            assert_eq!(pool.order(child, Order::Leader).await, Done::Nodes(vec![slave]), "P24");
        }
    }
    pool.stop().await;
}

async fn pool_with_output() -> (TestPool, mpsc::UnboundedReceiver<OutputLine>) {
    let (show, lines) = mpsc::unbounded();
    let pool = TestPool::start_with(2, |builder| {
        builder.output(move |line| drop(show.unbounded_send(line.clone())))
    });
    (pool.await, lines)
}

async fn next_line(lines: &mut mpsc::UnboundedReceiver<OutputLine>) -> OutputLine {
    let late = actix_rt::time::sleep(DEADLINE);
    futures::select_biased! {
        line = lines.next().fuse() => line.expect("the pool is open"),
        () = late.fuse() => panic!("no line within {DEADLINE:?}"),
    }
}

async fn spawned(pool: &mut TestPool, parent: Pid, on: NodeName) -> Pid {
    let wish = Wish { on: Some(on), ..Wish::of("support", "puppet") };
    match pool.order(parent, Order::Spawn(wish)).await {
        Done::Born(child, _) => child,
        other => panic!("{other:?}"),
    }
}

// ---- who links, who catches ---------------------------------------------------------------------

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Linked {
    Yes,
    Raised,
}

async fn links(ctx: Ctx, tester: Pid, dead: Pid, catches: bool) {
    let linked = match catches {
        true => caught(|| ctx.link(dead)),
        false => {
            ctx.link(dead);
            Linked::Yes
        }
    };
    ctx.send(tester, linked);
    pending().await
}

async fn catches(ctx: Ctx, tester: Pid) {
    ctx.send(tester, caught(|| exit(boom())));
    ctx.send(tester, caught(|| throw(Value::Nil)));
    pending().await
}
remote_fn!("process": links, catches);

struct Linker {
    tester: Pid,
    dead: Pid,
    catches: bool,
}

impl Actor for Linker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let linked = match self.catches {
            true => caught(|| ctx.link(self.dead)),
            false => {
                ctx.link(self.dead);
                Linked::Yes
            }
        };
        ctx.send(self.tester, linked);
    }
}
remote_actor!(Linker as "process_linker",
    new(tester: Pid, dead: Pid, catches: bool) = Linker { tester, dead, catches }, handles[]);

fn caught(act: impl FnOnce()) -> Linked {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(()) => Linked::Yes,
        Err(_) => Linked::Raised,
    }
}

fn boom() -> ExitReason {
    ExitReason::exit("boom")
}
