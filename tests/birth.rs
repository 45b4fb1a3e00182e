//! Spawns as a process orders them: where, with which ties from birth, and waiting until the child is up.

mod support;

use std::future::pending;

use pspawn::prelude::*;
use pspawn::{Kind, SpawnError};
use support::{DOORS, Done, Order, TestPool, Wish};

// ---- where --------------------------------------------------------------------------------------

#[actix::test]
async fn a_child_lives_here_or_there_or_on_the_pools_choice() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let parent = pool.puppet_behind(door, here).await;
            let wish = Wish::of("support", "puppet");
            let child = born(&mut pool, parent, wish.clone()).await;
            assert_eq!(child.node(), here);
            let child = born(&mut pool, parent, Wish { on: Some(there), ..wish.clone() }).await;
            assert_eq!(child.node(), there);
            for _ in 0..3 {
                let placed = Wish { placed: true, link: true, ..wish.clone() };
                let child = born(&mut pool, parent, placed).await;
                assert!(nodes.contains(&child.node()), "P26");
                assert_eq!(pool.order(child, Order::Links).await, Done::Pids(vec![parent]));
            }
        }
    }
    pool.stop().await;
}

#[actix::test]
async fn an_actor_is_spawned_by_type_as_a_function_is_by_name() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let spawn = pool.inbox.spawn_actor::<Child>((pool.inbox.pid(), Fate::Lives));
        let child = spawn.on(node).link().acknowledged().await.expect("it starts");
        assert_eq!(child.node(), node);
        assert_eq!(child.send(Ping).await, Ok(()));
        pool.exit(child.pid(), boom());
        assert_eq!(pool.next_exit().await, Exited { pid: child.pid(), reason: boom() });

        let spawn = pool.inbox.spawn_actor::<Child>((pool.inbox.pid(), Fate::Exits));
        let (child, monitor) = spawn.on(node).monitor().await.expect("it starts");
        let down = Down { monitor, object: child.pid().into(), reason: boom() };
        assert_eq!(pool.next_down().await, down, "M12");
    }
    pool.stop().await;
}

#[actix::test]
async fn a_kind_that_nobody_registered_is_an_error() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for door in DOORS {
            let parent = pool.puppet_behind(door, node).await;
            let (module, function) = ("birth", "no_such");
            let wish = Wish { link: true, monitor: true, ..Wish::of(module, function) };
            let unknown = SpawnError::UnknownKind { node, kind: Kind::new(module, function) };
            let refused = pool.order(parent, Order::Spawn(wish)).await;
            assert_eq!(refused, Done::No(unknown.to_string()));
            assert_eq!(pool.order(parent, Order::Links).await, Done::Pids(vec![]));
            assert_eq!(pool.order(parent, Order::Monitors).await, Done::Objects(vec![]));
        }
    }
    pool.stop().await;
}

// ---- L10, M12: ties from birth ------------------------------------------------------------------

// L10, M12: a child that ends at once gives its own reason over both ties, never noproc.
#[actix::test]
async fn a_child_that_ends_at_once_gives_its_own_reason() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let parent = pool.puppet_behind(door, here).await;
            pool.order(parent, Order::Trap(true)).await;
            let tied =
                Wish { on: Some(there), link: true, monitor: true, ..Wish::of("birth", "ends") };
            for _ in 0..300 {
                let spawned = pool.order(parent, Order::Spawn(tied.clone())).await;
                let Done::Born(child, Some(monitor)) = spawned else { panic!("{spawned:?}") };
                let exited = Exited { pid: child, reason: boom() };
                assert_eq!(pool.order(parent, Order::NextExit).await, Done::Exited(exited), "L10");
                let down = Down { monitor, object: child.into(), reason: boom() };
                assert_eq!(pool.order(parent, Order::NextDown).await, Done::Down(down), "M12");
            }
            assert_eq!(pool.order(parent, Order::CountNotices).await, Done::Counted(0));
            assert_eq!(pool.order(parent, Order::Links).await, Done::Pids(vec![]));
            assert_eq!(pool.order(parent, Order::Monitors).await, Done::Objects(vec![]));
        }
    }
    pool.stop().await;
}

// E32, L10: the parent's end takes along the linked child, and only that.
#[actix::test]
async fn the_parents_end_takes_its_linked_children_along() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let parent = pool.puppet_behind(door, here).await;
            let plain = Wish { on: Some(there), ..Wish::of("support", "puppet") };
            let watched = Wish { monitor: true, ..plain.clone() };
            let linked = born(&mut pool, parent, Wish { link: true, ..plain.clone() }).await;
            let [plain, watched] =
                [born(&mut pool, parent, plain).await, born(&mut pool, parent, watched).await];
            let monitor = pool.watch(linked).await;
            pool.inbox.send(parent, Order::End(boom()));
            let down = Down { monitor, object: linked.into(), reason: boom() };
            assert_eq!(pool.next_down().await, down, "E32");
            for child in [plain, watched] {
                assert_eq!(pool.order(child, Order::Links).await, Done::Pids(vec![]), "P24");
                pool.exit(child, ExitReason::Kill);
            }
        }
    }
    pool.stop().await;
}

// ---- proc_lib: waiting until the child is up ----------------------------------------------------

#[actix::test]
async fn an_acknowledged_spawn_returns_when_the_child_has_said_so() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let parent = pool.puppet_behind(door, here).await;
            let acknowledged = |module, function| Wish {
                on: Some(there),
                link: true,
                acknowledged: true,
                ..Wish::of(module, function)
            };
            pool.inbox.send(parent, Order::Spawn(acknowledged("birth", "is_up_when_told")));
            let WaitsToBeUp(child) = pool.next().await;
            pool.assert_no::<Done>().await;
            pool.inbox.send(child, IsUp);
            assert_eq!(pool.next::<Done>().await, Done::Born(child, None));
            // An actor is up when `started` has run.
            let child = born(&mut pool, parent, acknowledged("birth_starter", "new")).await;
            assert_eq!(pool.next::<IsUp>().await, IsUp);
            assert_eq!(pool.is_process_alive(child).await, Ok(true));
        }
    }
    pool.stop().await;
}

#[actix::test]
async fn a_child_that_ends_before_it_is_up_is_not_up_and_says_why() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for door in DOORS {
            let parent = pool.puppet_behind(door, here).await;
            pool.order(parent, Order::Trap(true)).await;
            for (function, reason) in [
                ("ends", boom()),
                ("returns", ExitReason::Normal),
                ("throws", ExitReason::Thrown("ball".into())),
                ("is_killed", ExitReason::Killed),
            ] {
                let wish = Wish::of("birth", function);
                let tied =
                    Wish { on: Some(there), link: true, monitor: true, acknowledged: true, ..wish };
                let spawned = pool.order(parent, Order::Spawn(tied)).await;
                let Done::NotUp(child, why) = spawned else { panic!("{function}: {spawned:?}") };
                assert_eq!(why, reason, "{function}");
                assert_eq!(child.node(), there);
                // As in Erlang, who is linked hears it over the link, too (G10).
                let exited = Exited { pid: child, reason: reason.clone() };
                assert_eq!(pool.order(parent, Order::NextExit).await, Done::Exited(exited));
                let Done::Down(down) = pool.order(parent, Order::NextDown).await else {
                    panic!("a down")
                };
                assert_eq!((down.object, down.reason), (child.into(), reason));
            }
            assert_eq!(pool.order(parent, Order::CountNotices).await, Done::Counted(0));
        }
    }
    pool.stop().await;
}

#[actix::test]
async fn an_actor_that_ends_in_its_constructor_or_in_started_is_not_up() {
    let pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for fate in [Fate::Exits, Fate::ExitsWhenStarted] {
            let spawn = pool.inbox.spawn_actor::<Child>((pool.inbox.pid(), fate));
            let refused = spawn.on(node).acknowledged().await.map(|child| child.pid());
            let Err(SpawnError::NotUp { pid, kind, reason }) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!((pid.node(), kind), (node, Kind::new("birth_child", "new")));
            assert_eq!(reason, boom());
        }
    }
    pool.stop().await;
}

// V5: a child that has nothing to do says so.
#[actix::test]
async fn a_child_that_says_ignore_is_neither_up_nor_failed() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let spawn = pool.inbox.spawn_fn("birth", "ignores", (pool.inbox.pid(),));
        let ignored = spawn.on(node).link().acknowledged().await;
        let Err(SpawnError::Ignored { pid, .. }) = ignored else { panic!("{ignored:?}") };
        assert_eq!(pool.next_exit().await, Exited { pid, reason: ExitReason::Normal }, "G10");
    }
    pool.stop().await;
}

// Nobody waits for ever: the node of a child that is not up yet is lost.
#[actix::test]
async fn a_child_whose_node_is_lost_before_it_is_up_is_not_up() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let mut parents = Vec::new();
    for node in [pool.here(), slaves[1]] {
        for door in DOORS {
            let parent = pool.puppet_behind(door, node).await;
            let wish = Wish::of("birth", "is_never_up");
            let on = Wish { on: Some(slaves[0]), acknowledged: true, ..wish };
            pool.inbox.send(parent, Order::Spawn(on));
            pool.next::<IsUp>().await; // it is there, and says nothing to its parent
            parents.push(parent);
        }
    }
    pool.kill(slaves[0]).await;
    for _ in parents {
        let done: Done = pool.next().await;
        let Done::NotUp(_, reason) = done else { panic!("{done:?}") };
        assert_eq!(reason, ExitReason::NoConnection);
    }
    pool.stop().await;
}

// The word of a child that nobody waits for is not missed, and said twice it counts once.
#[actix::test]
async fn who_is_not_waited_for_may_say_that_it_is_up() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for acknowledged in [false, true] {
            let mut spawn = pool.inbox.spawn_fn("birth", "is_up", (pool.inbox.pid(),)).on(node);
            if acknowledged {
                spawn = spawn.acknowledged();
            }
            let child = spawn.await.expect("it starts");
            pool.next::<IsUp>().await;
            assert_eq!(pool.is_process_alive(child).await, Ok(true));
            pool.exit(child, ExitReason::Kill);
        }
    }
    pool.stop().await;
}

async fn born(pool: &mut TestPool, parent: Pid, wish: Wish) -> Pid {
    match pool.order(parent, Order::Spawn(wish)).await {
        Done::Born(child, _) => child,
        other => panic!("{other:?}"),
    }
}

// ---- children -----------------------------------------------------------------------------------

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct IsUp;

#[derive(Serialize, Deserialize)]
struct WaitsToBeUp(Pid);

async fn ends(_: Ctx, _: Pid) {
    exit(boom());
}

async fn returns(_: Ctx, _: Pid) {}

async fn throws(_: Ctx, _: Pid) {
    throw("ball");
}

async fn is_killed(mut ctx: Ctx, _: Pid) {
    let killer = ctx.spawn_fn("birth", "kills", (ctx.pid(),)).await.expect("it starts");
    ctx.link(killer);
    ctx.receive::<IsUp>().await; // it does not come
}

async fn kills(ctx: Ctx, victim: Pid) {
    ctx.exit(victim, ExitReason::Kill);
    pending().await
}

async fn ignores(mut ctx: Ctx, _: Pid) {
    ctx.init_ignore();
    ctx.init_ack(); // too late
}

async fn is_up(mut ctx: Ctx, tester: Pid) {
    ctx.send(tester, IsUp);
    ctx.init_ack();
    ctx.init_ack();
    pending().await
}

async fn is_up_when_told(mut ctx: Ctx, tester: Pid) {
    ctx.send(tester, WaitsToBeUp(ctx.pid()));
    ctx.receive::<IsUp>().await;
    ctx.init_ack();
    pending().await
}

async fn is_never_up(ctx: Ctx, tester: Pid) {
    ctx.send(tester, IsUp);
    pending().await
}
remote_fn!("birth": ends, returns, throws, is_killed, kills, ignores, is_up, is_up_when_told, is_never_up);

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Fate {
    Lives,
    Exits,
    ExitsWhenStarted,
}

struct Child {
    tester: Pid,
    fate: Fate,
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Ping;

impl Child {
    fn new(tester: Pid, fate: Fate) -> Child {
        if fate == Fate::Exits {
            exit(boom());
        }
        Child { tester, fate }
    }
}

impl Actor for Child {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.fate == Fate::ExitsWhenStarted {
            exit(boom());
        }
        ctx.send(self.tester, IsUp);
    }
}

impl Handler<Ping> for Child {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}
remote_actor!(Child as "birth_child",
    new(tester: Pid, fate: Fate) = Child::new(tester, fate), handles[Ping]);

struct Starter {
    tester: Pid,
}

impl Actor for Starter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.send(self.tester, IsUp);
    }
}
remote_actor!(Starter as "birth_starter", new(tester: Pid) = Starter { tester }, handles[]);

fn boom() -> ExitReason {
    ExitReason::exit("boom")
}
