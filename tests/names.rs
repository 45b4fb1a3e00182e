//! Registered names, as OTP has them: given, found, taken back; sent to and watched. On one node, between
//! master and slave, between two slaves.

mod support;

use pspawn::prelude::*;
use pspawn::{NameError, SendError};
use support::{DOORS, Done, Order, TestPool};

// ---- R1 to R6: giving, finding, taking back -----------------------------------------------------

// R1: register, whereis, unregister. R6: anybody of the node may name a process, and name it anew.
#[actix::test]
async fn a_name_leads_to_its_holder_until_it_is_taken_back() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for door in DOORS {
            let [it, other] = [pool.puppet_behind(door, node).await, pool.puppet(node).await];
            for namer in [it, other] {
                assert_eq!(pool.order(namer, register("first", it)).await, Done::Yes);
                assert_eq!(pool.order(it, whereis("first")).await, Done::Who(Some(it)));
                assert_eq!(pool.order(it, Order::Name).await, Done::Named(Some("first".into())));
                assert_eq!(pool.order(other, whereis("first")).await, Done::Who(Some(it)));
                assert_eq!(pool.order(other, Order::Name).await, Done::Named(None));

                assert_eq!(pool.order(namer, unregister("first")).await, Done::Yes);
                let free = refused(NameError::Free { name: "first".into() });
                assert_eq!(pool.order(it, unregister("first")).await, free);
                assert_eq!(pool.order(it, whereis("first")).await, Done::Who(None));
                assert_eq!(pool.order(it, Order::Name).await, Done::Named(None));

                assert_eq!(pool.order(namer, register("second", it)).await, Done::Yes);
                assert_eq!(pool.order(other, whereis("second")).await, Done::Who(Some(it)));
                assert_eq!(pool.order(namer, unregister("second")).await, Done::Yes);
            }
        }
    }
    pool.stop().await;
}

// R2: each way in which a name is refused.
#[actix::test]
async fn a_name_is_refused_for_what_is_badarg_in_erlang() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let it = pool.puppet_behind(door, here).await;
            let [other, dead] = [pool.puppet(here).await, pool.puppet(here).await];
            pool.exit(dead, ExitReason::Kill);
            pool.end_of(dead).await;
            assert_eq!(pool.order(it, register("taken", it)).await, Done::Yes);

            let taken = refused(NameError::Taken { name: "taken".into(), by: it });
            assert_eq!(pool.order(it, register("taken", other)).await, taken);
            let has_name = NameError::HasName { pid: it, name: "taken".into() };
            for name in ["taken", "another"] {
                assert_eq!(pool.order(it, register(name, it)).await, refused(has_name.clone()));
            }
            let not_alive = refused(NameError::NotAlive { pid: dead });
            assert_eq!(pool.order(it, register("free", dead)).await, not_alive);
            if here != there {
                let far = pool.puppet(there).await;
                let not_here = refused(NameError::NotHere { pid: far, node: here });
                assert_eq!(pool.order(it, register("free", far)).await, not_here);
            }
            let too_long = "x".repeat(256);
            for name in ["", "undefined", &too_long] {
                let cut = name.chars().take(255).collect();
                let not_a_name = refused(NameError::NotAName { name: cut });
                assert_eq!(pool.order(it, register(name, other)).await, not_a_name);
            }
            assert_eq!(pool.order(it, whereis("free")).await, Done::Who(None));
            let longest = "x".repeat(255);
            assert_eq!(pool.order(it, register(&longest, other)).await, Done::Yes);
            for pid in [it, other] {
                pool.exit(pid, ExitReason::Kill);
                pool.end_of(pid).await;
            }
        }
    }
    pool.stop().await;
}

// R3: the name is free by the time anybody sees the exit, or the down, of its holder.
#[actix::test]
async fn a_name_is_free_before_its_holders_end_is_heard_of() {
    let mut pool = TestPool::start(1).await;
    let to = (pool.inbox.pid(),);
    for node in pool.nodes().await.expect("the master answers") {
        for (module, function) in [("names", "claims"), ("names_claimant", "new")] {
            for _ in 0..500 {
                let claims = pool.inbox.spawn_fn(module, function, to).on(node).link();
                let it = claims.await.expect("it starts");
                assert_eq!(pool.next::<Claimed>().await, Claimed(true), "R3, by an exit");
                assert_eq!(pool.next_exit().await, Exited { pid: it, reason: boom() });
            }
            for _ in 0..500 {
                let claims = pool.inbox.spawn_fn(module, function, to).on(node).monitor();
                let (it, monitor) = claims.await.expect("it starts");
                assert_eq!(pool.next::<Claimed>().await, Claimed(true), "R3, by a down");
                let down = Down { monitor, object: it.into(), reason: boom() };
                assert_eq!(pool.next_down().await, down);
            }
        }
    }
    pool.stop().await;
}

// R3, NM-1, for who waits for an answer: in Erlang a call watches the one that it calls.
#[actix::test]
async fn a_name_is_free_before_a_request_to_its_holder_fails() {
    let pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for _ in 0..500 {
            let it = pool.spawn_on::<Keeper>(node, ()).await.expect("it starts");
            assert_eq!(it.send(Claim).await, Ok(true), "R3, by a request's failure");
            let failed = it.send(Crash).await;
            assert_eq!(failed, Err(SendError::Exit { pid: it.pid(), reason: boom() }));
        }
        for _ in 0..500 {
            let call = pool.call_on::<()>(node, "names", "claims_and_fails", ()).await;
            let SendError::Exit { reason, .. } = call.expect("it starts").await.unwrap_err() else {
                panic!("it exits")
            };
            assert_eq!(reason, boom(), "R3, by a call's failure");
        }
    }
    pool.stop().await;
}

// R3, M15, M17: who was killed is dead for whoever hears so, also if its code has not stopped yet.
#[actix::test]
async fn a_name_is_free_once_its_killed_holder_counts_as_dead() {
    let mut pool = TestPool::start(0).await;
    let other = pool.puppet(pool.here()).await;
    for door in DOORS {
        for round in 0..500 {
            let it = pool.puppet_behind(door, pool.here()).await;
            pool.inbox.register("claimed", it).expect("it is free");
            pool.inbox.exit(it, ExitReason::Kill);
            if round % 2 == 0 {
                pool.inbox.monitor(it);
                assert_eq!(pool.next_down().await.reason, ExitReason::NoProc, "M15");
            } else {
                pool.inbox.link(it);
                assert_eq!(pool.next_exit().await.reason, ExitReason::NoProc, "M17");
            }
            assert_eq!(pool.inbox.whereis("claimed"), None);
            assert_eq!(pool.inbox.register("claimed", other), Ok(()), "R3");
            assert_eq!(pool.inbox.unregister("claimed"), Ok(()));
        }
    }
    pool.stop().await;
}

// R5: names belong to a node.
#[actix::test]
async fn each_node_has_its_own_holder_of_a_name() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    let mut holders = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let holder = pool.puppet_behind(DOORS[at % 2], *node).await;
        assert_eq!(pool.order(holder, register("same", holder)).await, Done::Yes);
        holders.push(holder);
    }
    for holder in &holders {
        assert_eq!(pool.order(*holder, whereis("same")).await, Done::Who(Some(*holder)));
        for (number, node) in (0..).zip(&nodes) {
            let to = To::from(("same", *node));
            assert_eq!(pool.order(*holder, Order::Note(to, number)).await, Done::Yes);
        }
        for other in &holders {
            if other != holder {
                pool.order(*holder, Order::Settle(*other)).await;
            }
        }
    }
    for (number, holder) in (0..).zip(holders) {
        assert_eq!(pool.order(holder, Order::Heard).await, Done::Heard(vec![number; 3]), "R5");
    }
    pool.stop().await;
}

// ---- R4, O4: sending to a name ------------------------------------------------------------------

// R4: to a name that nobody has a message vanishes; without a node it is an error.
#[actix::test]
async fn a_message_to_nobodys_name_vanishes_and_send_here_says_so() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let it = pool.puppet_behind(door, here).await;
            let nobody = To::from(("nobody", there));
            assert_eq!(pool.order(it, Order::Note(nobody, 1)).await, Done::Yes);
            assert_eq!(pool.order(it, Order::Name).await, Done::Named(None), "it lives on");
        }
    }
    let free = NameError::Free { name: "me".into() };
    assert_eq!(pool.inbox.send_here("me", Claimed(true)), Err(free.clone()));
    pool.inbox.register("me", pool.inbox.pid()).expect("it is free");
    assert_eq!(pool.inbox.send_here("me", Claimed(true)), Ok(()));
    assert_eq!(pool.next::<Claimed>().await, Claimed(true));
    pool.inbox.unregister("me").expect("it has it");
    assert_eq!(pool.inbox.send_here("me", Claimed(true)), Err(free));
    pool.assert_no::<Claimed>().await;
    pool.stop().await;
}

// O4: what is sent by pid and by name shares one order, exit signals included. O1.
#[actix::test]
async fn pid_and_name_share_one_order_with_exit_signals() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for sender_door in DOORS {
            for door in DOORS {
                let sender = pool.puppet_behind(sender_door, here).await;
                let it = pool.puppet_behind(door, there).await;
                pool.order(it, Order::Trap(true)).await;
                assert_eq!(pool.order(it, register("it", it)).await, Done::Yes);
                let by_name = To::from(("it", there));
                pool.order(sender, Order::Alternate(it, by_name, 2_000)).await;
                pool.order(sender, Order::Settle(it)).await;
                let Done::Heard(heard) = pool.order(it, Order::Heard).await else {
                    panic!("what it heard")
                };
                assert_eq!(heard, Vec::from_iter(0..2_000), "O4, {sender_door:?} to {door:?}");
                assert_eq!(pool.order(it, unregister("it")).await, Done::Yes);
            }
        }
    }
    pool.stop().await;
}

// ---- M10, M11, M19: watching a name -------------------------------------------------------------

// M10: the down says name and node.
#[actix::test]
async fn the_down_of_a_monitor_by_name_says_the_name() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let watcher = pool.puppet_behind(door, here).await;
            let it = pool.puppet_behind(door, there).await;
            pool.order(it, register("watched", it)).await;
            let object = To::from(("watched", there));
            let monitor = pool.monitor_as(watcher, object.clone(), it).await;
            assert_eq!(
                pool.order(watcher, Order::Monitors).await,
                Done::Objects(vec![object.clone()])
            );
            pool.inbox.send(it, Order::End(boom()));
            let down = Down { monitor, object, reason: boom() };
            assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down));
            assert_eq!(pool.order(watcher, Order::Monitors).await, Done::Objects(vec![]));
        }
    }
    pool.stop().await;
}

// M10: the monitor belongs to who had the name, whatever happens to the name.
#[actix::test]
async fn a_monitor_by_name_stays_with_who_had_the_name() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let watcher = pool.puppet_behind(door, here).await;
            let [first, second] =
                [pool.puppet_behind(door, there).await, pool.puppet_behind(door, there).await];
            pool.order(first, register("moves", first)).await;
            let object = To::from(("moves", there));
            let monitor = pool.monitor_as(watcher, object.clone(), first).await;
            let taken_back = pool.monitor_as(watcher, object.clone(), first).await;
            pool.order(first, unregister("moves")).await;
            pool.order(first, register("moves", second)).await;

            // One is taken back though the name is another's by now.
            let back = Order::Demonitor(taken_back);
            assert_eq!(pool.order(watcher, back.clone()).await, Done::Demonitored(true), "M6");
            assert_eq!(pool.order(watcher, back).await, Done::Demonitored(false), "M6");
            pool.inbox.send(second, Order::End(boom()));
            pool.end_of(second).await;
            pool.order(watcher, Order::Settle(first)).await;
            assert_eq!(pool.order(watcher, Order::CountNotices).await, Done::Counted(0), "M10");

            pool.inbox.send(first, Order::End(ExitReason::Normal));
            let down = Down { monitor, object, reason: ExitReason::Normal };
            assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down));
            assert_eq!(pool.order(watcher, Order::CountNotices).await, Done::Counted(0), "M5");
        }
    }
    pool.stop().await;
}

// M5, M6 for a monitor by name that is taken back at once, before it is known who is watched.
#[actix::test]
async fn a_monitor_by_name_can_be_taken_back_at_once() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for door in DOORS {
            let it = pool.puppet_behind(door, node).await;
            pool.order(it, register("brief", it)).await;
            for round in 0..500 {
                // Every second time nobody has it: then the down may have come already.
                let name = if round % 2 == 0 { "brief" } else { "nobody" };
                let monitor = pool.inbox.monitor((name, node));
                let was_active = pool.inbox.demonitor(monitor);
                let heard = pool.inbox.receive_within::<Down>(Duration::ZERO).await;
                assert_eq!(was_active, heard.is_none(), "M6");
                assert!(pool.inbox.monitors().is_empty());
                let monitor = pool.inbox.monitor((name, node));
                pool.inbox.demonitor_flush(monitor);
                pool.assert_no::<Down>().await;
            }
            let monitor = pool.watch(it).await;
            pool.inbox.send(it, Order::End(boom()));
            let down = Down { monitor, object: it.into(), reason: boom() };
            assert_eq!(pool.next_down().await, down);
            pool.assert_no::<Down>().await;
        }
    }
    pool.stop().await;
}

// M11: nobody has the name: noproc; the node cannot be reached: noconnection.
#[actix::test]
async fn a_monitor_on_nobodys_name_fires_at_once() {
    let mut pool = TestPool::start(2).await;
    let unknown: NodeName = "nobody@nowhere".parse().expect("a node name");
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let watcher = pool.puppet_behind(door, here).await;
            for (node, reason) in [(there, ExitReason::NoProc), (unknown, ExitReason::NoConnection)]
            {
                let monitor = pool.monitors(watcher, ("nobody", node)).await;
                let down = Down { monitor, object: ("nobody", node).into(), reason };
                assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down), "M11");
            }
        }
    }
    pool.stop().await;
}

// M19: the node is killed later: noconnection. M11: and so it is from then on.
#[actix::test]
async fn a_lost_node_fires_monitors_by_name_with_noconnection() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let it = pool.puppet(slaves[0]).await;
    pool.order(it, register("lost", it)).await;
    let object = To::from(("lost", slaves[0]));
    let mut watchers = Vec::new();
    for node in [pool.here(), slaves[1]] {
        for door in DOORS {
            let watcher = pool.puppet_behind(door, node).await;
            let monitor = pool.monitor_as(watcher, object.clone(), it).await;
            let taken_back = pool.monitor_as(watcher, object.clone(), it).await;
            pool.order(watcher, Order::Demonitor(taken_back)).await;
            watchers.push((watcher, monitor));
        }
    }
    pool.kill(slaves[0]).await;
    let reason = ExitReason::NoConnection;
    for (watcher, monitor) in watchers {
        let down = Down { monitor, object: object.clone(), reason: reason.clone() };
        assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down), "M19");
        let monitor = pool.monitors(watcher, object.clone()).await;
        let down = Down { monitor, object: object.clone(), reason: reason.clone() };
        assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down), "M11");
        assert_eq!(pool.order(watcher, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

// ---- who claims ---------------------------------------------------------------------------------

/// Whether it got the name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Claimed(bool);

async fn claims(ctx: Ctx, to: Pid) {
    ctx.send(to, Claimed(ctx.register("claimed", ctx.pid()).is_ok()));
    exit(boom());
}

async fn claims_and_fails(ctx: Ctx) {
    match ctx.register("claimed", ctx.pid()) {
        Ok(()) => exit(boom()),
        Err(why) => exit(ExitReason::exit(why.to_string())),
    }
}
remote_fn!("names": claims, claims_and_fails);

struct Claimant {
    to: Pid,
}

impl Actor for Claimant {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let me = ctx.pid();
        let claimed = Claimed(ctx.register("claimed", me).is_ok());
        ctx.send(self.to, claimed);
        exit(boom());
    }
}
remote_actor!(Claimant as "names_claimant", new(to: Pid) = Claimant { to }, handles[]);

struct Keeper;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "bool")]
struct Claim;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Crash;

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<Claim> for Keeper {
    type Result = bool;

    fn handle(&mut self, _: Claim, ctx: &mut Context<Self>) -> bool {
        let me = ctx.pid();
        ctx.register("claimed", me).is_ok()
    }
}

impl Handler<Crash> for Keeper {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        exit(boom())
    }
}
remote_actor!(Keeper as "names_keeper", new() = Keeper, handles[Claim, Crash]);

fn register(name: &str, pid: Pid) -> Order {
    Order::Register(name.to_owned(), pid)
}

fn unregister(name: &str) -> Order {
    Order::Unregister(name.to_owned())
}

fn whereis(name: &str) -> Order {
    Order::Whereis(name.to_owned())
}

fn refused(why: NameError) -> Done {
    Done::No(why.to_string())
}

fn boom() -> ExitReason {
    ExitReason::exit("boom")
}
