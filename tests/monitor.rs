//! Monitors, as OTP has them: on one node, between master and slave, between two slaves.

mod support;

use pspawn::prelude::*;
use support::{Done, Order, TestPool};

// M1: a down at every end, normal too. M8: the watched one never notices. M14: reasons as over links.
#[actix::test]
async fn every_end_of_the_watched_gives_one_down() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let watcher = pool.puppet(here).await;
        for reason in [ExitReason::Normal, ExitReason::Shutdown, ExitReason::Kill, boom()] {
            let it = pool.puppet(there).await;
            let monitor = pool.monitor(watcher, it).await;
            pool.inbox.send(it, Order::End(reason.clone()));
            let down = Down { monitor, object: it.into(), reason };
            assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down));
        }
        let it = pool.puppet(there).await;
        let monitor = pool.monitor(watcher, it).await;
        pool.exit(it, ExitReason::Kill);
        let down = Down { monitor, object: it.into(), reason: ExitReason::Killed };
        assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down));
        assert_eq!(pool.order(watcher, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

// M8: the end of the watcher does not touch the watched.
#[actix::test]
async fn the_end_of_the_watcher_is_nothing_to_the_watched() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let (watcher, it) = (pool.puppet(here).await, pool.puppet(there).await);
        pool.order(it, Order::Trap(true)).await;
        pool.monitor(watcher, it).await;
        pool.exit(watcher, ExitReason::Kill);
        pool.end_of(watcher).await;
        assert_eq!(pool.order(it, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

// M2: a dead pid gives noproc.
#[actix::test]
async fn a_monitor_on_the_dead_fires_with_noproc() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let dead = pool.puppet(there).await;
        pool.exit(dead, ExitReason::Kill);
        pool.end_of(dead).await;
        let watcher = pool.puppet(here).await;
        let Done::Monitors(monitor) = pool.order(watcher, Order::Monitor(dead.into())).await else {
            panic!("it monitors")
        };
        let down = Down { monitor, object: dead.into(), reason: ExitReason::NoProc };
        assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down));
    }
    pool.stop().await;
}

// M3: the node is killed, or down already: noconnection.
#[actix::test]
async fn a_killed_slave_fires_all_monitors_with_noconnection() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let lost = pool.puppet(slaves[0]).await;
    let reason = ExitReason::NoConnection;
    let mut watchers = Vec::new();
    for node in [pool.here(), slaves[1]] {
        let watcher = pool.puppet(node).await;
        watchers.push((watcher, pool.monitor(watcher, lost).await));
    }
    let own = pool.inbox.monitor(lost);
    pool.kill(slaves[0]).await;
    let down = pool.next_down().await;
    assert_eq!(down, Down { monitor: own, object: lost.into(), reason: reason.clone() });
    for (watcher, monitor) in watchers {
        let down = Down { monitor, object: lost.into(), reason: reason.clone() };
        assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down));
        let Done::Monitors(monitor) = pool.order(watcher, Order::Monitor(lost.into())).await else {
            panic!("it monitors")
        };
        let down = Down { monitor, object: lost.into(), reason: reason.clone() };
        assert_eq!(pool.order(watcher, Order::NextDown).await, Done::Down(down));
        assert_eq!(pool.order(watcher, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

// M4: several monitors on one are independent. M5: demonitor takes one back. M7: twice does no harm.
#[actix::test]
async fn of_three_monitors_two_fire_when_one_is_taken_back() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let (watcher, it) = (pool.puppet(here).await, pool.puppet(there).await);
        let mut monitors = Vec::new();
        for _ in 0..3 {
            monitors.push(pool.monitor(watcher, it).await);
        }
        let back = Order::Demonitor(monitors.remove(1));
        assert_eq!(pool.order(watcher, back.clone()).await, Done::Demonitored(true)); // M6
        assert_eq!(pool.order(watcher, back).await, Done::Demonitored(false));
        pool.inbox.send(it, Order::End(boom()));
        for _ in 0..2 {
            let Done::Down(down) = pool.order(watcher, Order::NextDown).await else {
                panic!("a down")
            };
            assert_eq!((down.object, down.reason), (it.into(), boom()));
            monitors.retain(|monitor| *monitor != down.monitor);
        }
        assert!(monitors.is_empty(), "{monitors:?}");
        assert_eq!(pool.order(watcher, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

// M5: a down that is in the mailbox already stays there; none comes later.
#[actix::test]
async fn no_down_comes_once_demonitor_has_returned() {
    let mut pool = TestPool::start(1).await;
    let nodes = pool.nodes().await.expect("the master answers");
    for round in 0..1_000 {
        let node = nodes[round % 2];
        let it = pool.spawn_mfa_on(node, "monitor", "returns", ()).await.expect("it starts");
        let monitor = pool.inbox.monitor(it);
        let was_active = pool.inbox.demonitor(monitor);
        let heard = pool.inbox.receive_within::<Down>(Duration::ZERO).await;
        assert_eq!(was_active, heard.is_none(), "M6");
        pool.end_of(it).await; // whatever it sent is here by now
        pool.assert_no::<Down>().await;
    }
    pool.stop().await;
}

// M9: a monitor on oneself never fires.
#[actix::test]
async fn a_monitor_on_oneself_never_fires() {
    let mut pool = TestPool::start(0).await;
    let it = pool.puppet(pool.here()).await;
    pool.order(it, Order::Monitor(it.into())).await;
    assert_eq!(pool.order(it, Order::CountNotices).await, Done::Counted(0));
    pool.inbox.send(it, Order::End(boom()));
    pool.end_of(it).await;
    pool.stop().await;
}

// M12: spawn_monitor is atomic.
#[actix::test]
async fn a_watched_child_that_returns_at_once_is_never_missed() {
    let mut pool = TestPool::start(2).await;
    for _ in 0..3_000 {
        let started = pool.inbox.pspawn_monitor_mfa("monitor", "returns", ()).await;
        let (pid, monitor) = started.expect("it starts");
        let reason = ExitReason::Normal;
        assert_eq!(pool.next_down().await, Down { monitor, object: pid.into(), reason });
    }
    pool.assert_no::<Down>().await;
    pool.stop().await;
}

// M13: linked and watched: one exit and one down.
#[actix::test]
async fn who_is_linked_and_watches_hears_twice() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let it = pool.puppet(node).await;
        pool.inbox.link(it);
        let monitor = pool.inbox.monitor(it);
        pool.inbox.send(it, Order::End(boom()));
        assert_eq!(pool.next_exit().await, Exited { pid: it, reason: boom() });
        assert_eq!(pool.next_down().await, Down { monitor, object: it.into(), reason: boom() });
        pool.assert_no::<Exited>().await;
        pool.assert_no::<Down>().await;
    }
    pool.stop().await;
}

// M15, M16, M17: signals of a pair stay in order.
#[actix::test]
async fn signals_of_a_pair_stay_in_order() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        for _ in 0..100 {
            let it = pool.puppet(node).await;
            pool.inbox.exit(it, ExitReason::Kill);
            pool.inbox.monitor(it);
            assert_eq!(pool.next_down().await.reason, ExitReason::NoProc, "M15");

            let it = pool.puppet(node).await;
            pool.inbox.monitor(it);
            pool.inbox.exit(it, ExitReason::Kill);
            assert_eq!(pool.next_down().await.reason, ExitReason::Killed, "M16");

            let it = pool.puppet(node).await;
            pool.inbox.exit(it, ExitReason::Kill);
            pool.inbox.link(it);
            assert_eq!(pool.next_exit().await.reason, ExitReason::NoProc, "M17");
        }
    }
    pool.stop().await;
}

// M1, M5, for an actor with `Handler<Down>`.
#[actix::test]
async fn an_actor_gets_downs_as_messages() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let watcher = pool.spawn_on::<Watcher>(here, ()).await.expect("it starts");
        let [ends, is_let_go] = [pool.puppet(there).await, pool.puppet(there).await];
        let monitor = watcher.send(Watch(ends)).await.expect("it watches");
        let other = watcher.send(Watch(is_let_go)).await.expect("it watches");
        assert_eq!(watcher.send(LetGo(other)).await, Ok(true));
        pool.settle(here, ends).await;
        for pid in [is_let_go, ends] {
            pool.inbox.send(pid, Order::End(boom()));
        }
        let down = Down { monitor, object: ends.into(), reason: boom() };
        assert_eq!(watcher.send(NextDown).await, Ok(down));
        assert_eq!(watcher.send(LetGo(other)).await, Ok(false));
    }
    pool.stop().await;
}

#[derive(Default)]
struct Watcher {
    heard: Vec<Down>,
    asker: Option<futures::channel::oneshot::Sender<Down>>,
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Ref")]
struct Watch(Pid);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "bool")]
struct LetGo(Ref);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Down")]
struct NextDown;

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<Down> for Watcher {
    type Result = ();

    fn handle(&mut self, down: Down, _: &mut Context<Self>) {
        match self.asker.take() {
            Some(asker) => asker.send(down).expect("it waits"),
            None => self.heard.push(down),
        }
    }
}

impl Handler<Watch> for Watcher {
    type Result = ResponseActFuture<Self, Ref>;

    fn handle(&mut self, Watch(pid): Watch, ctx: &mut Context<Self>) -> Self::Result {
        let monitor = ctx.monitor(pid);
        Box::pin(std::future::ready(monitor).into_actor(self))
    }
}

impl Handler<LetGo> for Watcher {
    type Result = bool;

    fn handle(&mut self, LetGo(monitor): LetGo, ctx: &mut Context<Self>) -> bool {
        ctx.demonitor(monitor)
    }
}

impl Handler<NextDown> for Watcher {
    type Result = ResponseActFuture<Self, Down>;

    fn handle(&mut self, _: NextDown, _: &mut Context<Self>) -> Self::Result {
        let (tell, told) = futures::channel::oneshot::channel();
        match self.heard.pop() {
            Some(down) => tell.send(down).expect("it waits"),
            None => self.asker = Some(tell),
        }
        Box::pin(async move { told.await.expect("it is told") }.into_actor(self))
    }
}
remote_actor!(Watcher as "watcher", new() = Watcher::default(), handles[Watch, LetGo, NextDown]);

async fn returns(_: Ctx) {}
remote_fn!("monitor": returns);

fn boom() -> ExitReason {
    ExitReason::exit("boom")
}
