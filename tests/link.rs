//! Links and exit signals, as OTP has them: on one node, between master and slave, between two slaves.

mod support;

use std::future::pending;

use pspawn::prelude::*;
use pspawn::{SendError, Value};
use support::{Done, Gate, Order, TestPool};

// ---- L1 to L5: making and breaking a link -------------------------------------------------------

// L1: a link works in both directions whoever made it. E7: From is the neighbour.
#[actix::test]
async fn the_end_of_either_end_ends_the_other() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for first in [true, false] {
            let (maker, other) = (pool.puppet(here).await, pool.puppet(there).await);
            pool.link(maker, other).await;
            let (dies, follows) = if first { (maker, other) } else { (other, maker) };
            let monitor = pool.watch(follows).await;
            pool.inbox.send(dies, Order::End(boom()));
            let down = pool.next_down().await;
            assert_eq!(down, Down { monitor, object: follows.into(), reason: boom() });
        }
    }
    pool.stop().await;
}

// L2: idempotent, from either end; one unlink removes it. L12: and it can be made again.
#[actix::test]
async fn a_link_made_twice_is_one_link() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let (a, b) = (pool.puppet(here).await, pool.puppet(there).await);
        pool.order(a, Order::Trap(true)).await;
        pool.link(a, b).await;
        pool.link(b, a).await;
        pool.order(a, Order::Unlink(b)).await;
        pool.order(a, Order::Link(b)).await;
        pool.link(a, b).await;
        pool.inbox.send(b, Order::End(boom()));
        let heard = pool.order(a, Order::NextExit).await;
        assert_eq!(heard, Done::Exited(Exited { pid: b, reason: boom() }));
        assert_eq!(pool.order(a, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

// L3: either end may unlink; afterwards neither is touched. L9: no exit comes after unlink.
#[actix::test]
async fn after_unlink_neither_is_touched_by_the_others_end() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        for maker_unlinks in [true, false] {
            for maker_ends in [true, false] {
                let (a, b) = (pool.puppet(here).await, pool.puppet(there).await);
                pool.link(a, b).await;
                let (from, to) = if maker_unlinks { (a, b) } else { (b, a) };
                pool.order(from, Order::Unlink(to)).await;
                pool.order(from, Order::Settle(to)).await;
                let (ends, stays) = if maker_ends { (a, b) } else { (b, a) };
                pool.monitor(stays, ends).await;
                pool.inbox.send(ends, Order::End(boom()));
                let Done::Down(down) = pool.order(stays, Order::NextDown).await else { panic!() };
                assert_eq!(down.reason, boom());
                assert_eq!(pool.order(stays, Order::CountNotices).await, Done::Counted(0));
            }
        }
    }
    pool.stop().await;
}

// L9, with the other side dying at the same moment.
#[actix::test]
async fn no_exit_comes_once_unlink_has_returned() {
    let mut pool = TestPool::start(1).await;
    let nodes = pool.nodes().await.expect("the master answers");
    for round in 0..1_000 {
        let child = pool.spawn_mfa_on(nodes[round % 2], "link", "dies", (round,)).await;
        let child = child.expect("it starts");
        pool.inbox.link(child);
        pool.inbox.unlink(child);
        while pool.inbox.receive_within::<Exited>(Duration::ZERO).await.is_some() {}
        pool.end_of(child).await; // whatever it sent is here by now
        pool.assert_no::<Exited>().await;
    }
    pool.stop().await;
}

// L4: link(self()) and unlink(self()) have no effect.
#[actix::test]
async fn a_link_with_oneself_has_no_effect() {
    let mut pool = TestPool::start(0).await;
    let it = pool.puppet(pool.here()).await;
    pool.order(it, Order::Link(it)).await;
    pool.order(it, Order::Unlink(it)).await;
    let monitor = pool.inbox.monitor(it);
    pool.inbox.send(it, Order::End(boom()));
    assert_eq!(pool.next_down().await, Down { monitor, object: it.into(), reason: boom() });
    pool.stop().await;
}

// L5: a trapper that links to a dead pid gets an exit noproc. L7: who does not trap is ended by it.
#[actix::test]
async fn a_link_with_the_dead_breaks_with_noproc() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let dead = pool.puppet(there).await;
        pool.exit(dead, ExitReason::Kill);
        pool.end_of(dead).await;

        let trapper = pool.puppet(here).await;
        pool.order(trapper, Order::Trap(true)).await;
        pool.order(trapper, Order::Link(dead)).await;
        let heard = pool.order(trapper, Order::NextExit).await;
        assert_eq!(heard, Done::Exited(Exited { pid: dead, reason: ExitReason::NoProc }));

        let other = pool.puppet(here).await;
        let monitor = pool.inbox.monitor(other);
        pool.inbox.send(other, Order::Link(dead));
        let reason = ExitReason::NoProc;
        assert_eq!(pool.next_down().await, Down { monitor, object: other.into(), reason });
        while pool.inbox.receive_within::<Done>(Duration::ZERO).await.is_some() {}
    }
    pool.stop().await;
}

// ---- L8, L11, E22: lost nodes -------------------------------------------------------------------

// L11: the partner's node is killed with SIGKILL. E22: ends caused by it spread with that reason.
#[actix::test]
async fn a_killed_slave_breaks_its_links_with_noconnection() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let lost = pool.puppet(slaves[0]).await;
    for node in [pool.here(), slaves[1]] {
        let (linked, beyond) = (pool.puppet(node).await, pool.puppet(node).await);
        pool.link(linked, lost).await;
        pool.link(beyond, linked).await;
        pool.watch(beyond).await;
    }
    pool.inbox.link(lost);
    pool.kill(slaves[0]).await;
    let reason = ExitReason::NoConnection;
    assert_eq!(pool.next_exit().await, Exited { pid: lost, reason: reason.clone() });
    for _ in 0..2 {
        assert_eq!(pool.next_down().await.reason, reason);
    }
    pool.assert_no::<Exited>().await;
    pool.stop().await;
}

// L8: a pid on a node that is down.
#[actix::test]
async fn a_link_with_an_actor_of_a_lost_node_breaks_with_noconnection() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let lost = pool.puppet(slaves[0]).await;
    pool.kill(slaves[0]).await;
    let reason = ExitReason::NoConnection;
    assert_eq!(pool.end_of(lost).await, reason);
    pool.inbox.link(lost);
    assert_eq!(pool.next_exit().await, Exited { pid: lost, reason: reason.clone() });

    let far = pool.puppet(slaves[1]).await;
    let monitor = pool.inbox.monitor(far);
    pool.inbox.send(far, Order::Link(lost));
    assert_eq!(pool.next_down().await, Down { monitor, object: far.into(), reason });
    pool.stop().await;
}

// ---- L10: links from birth ----------------------------------------------------------------------

// L10: a child that ends at once gives its own reason, never noproc.
#[actix::test]
async fn a_linked_child_that_dies_at_once_is_never_missed() {
    let mut pool = TestPool::start(2).await;
    let mut on_slaves = 0;
    for round in 0..10_000_u32 {
        let child = pool.inbox.pspawn_link_mfa("link", "dies", (round,)).await.expect("it starts");
        let reason = ExitReason::exit(round);
        assert_eq!(pool.next_exit().await, Exited { pid: child, reason });
        on_slaves += u32::from(child.node() != pool.here());
    }
    assert!((1..10_000).contains(&on_slaves), "{on_slaves} of 10,000 were on slaves");
    pool.assert_no::<Exited>().await;
    pool.stop().await;
}

// L10 again, for actors, many at once, from an actor on a slave.
#[actix::test]
async fn an_actor_on_a_slave_never_misses_a_child_that_dies_at_once() {
    let pool = TestPool::start(2).await;
    for slave in pool.slaves().await {
        let parent = pool.spawn_on::<Parent>(slave, ()).await.expect("it starts");
        let heard = parent.send(Raise { children: 500 }).await.expect("it answers");
        assert_eq!(heard.len(), 500);
        for exited in heard {
            let ExitReason::Panicked { text, .. } = exited.reason else { panic!("{exited:?}") };
            assert_eq!(text, "stillborn");
        }
    }
    pool.stop().await;
}

// E32: a child made with spawn_link ends with its parent's reason.
#[actix::test]
async fn a_linked_child_ends_with_its_parent() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let parent = pool.puppet(here).await;
        let Done::Spawned(child) = pool.order(parent, Order::SpawnLinked(there)).await else {
            panic!("it spawns")
        };
        pool.order(parent, Order::Settle(child)).await;
        let monitor = pool.watch(child).await;
        pool.inbox.send(parent, Order::Panic);
        let down = pool.next_down().await;
        assert_eq!((down.monitor, down.object), (monitor, child.into()));
        let ExitReason::Panicked { text, .. } = down.reason else { panic!("{:?}", down.reason) };
        assert_eq!(text, "as ordered");
    }
    pool.stop().await;
}

// L14: one with 20 links tells each partner once, with the same reason.
#[actix::test]
async fn all_twenty_partners_hear_once() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    let it = pool.puppet(nodes[1]).await;
    let mut partners = Vec::new();
    for at in 0..20 {
        let partner = pool.puppet(nodes[at % 3]).await;
        pool.order(partner, Order::Trap(true)).await;
        pool.link(partner, it).await;
        partners.push(partner);
    }
    pool.inbox.send(it, Order::End(boom()));
    for partner in partners {
        let heard = pool.order(partner, Order::NextExit).await;
        assert_eq!(heard, Done::Exited(Exited { pid: it, reason: boom() }));
        assert_eq!(pool.order(partner, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

// ---- exit signals -------------------------------------------------------------------------------

// E1, E2: normal ends nobody; a trapper hears of it.
#[actix::test]
async fn normal_ends_no_partner() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let [ends, trapper, other] =
            [pool.puppet(here).await, pool.puppet(there).await, pool.puppet(there).await];
        pool.order(trapper, Order::Trap(true)).await;
        pool.link(trapper, ends).await;
        pool.link(other, ends).await;
        pool.exit(ends, ExitReason::Normal); // E2: ignored
        pool.exit(other, ExitReason::Normal);
        pool.inbox.send(ends, Order::End(ExitReason::Normal));
        let heard = pool.order(trapper, Order::NextExit).await;
        assert_eq!(heard, Done::Exited(Exited { pid: ends, reason: ExitReason::Normal }));
        assert_eq!(pool.order(other, Order::CountNotices).await, Done::Counted(0));
    }
    pool.stop().await;
}

// E3: exit(self(), normal) does end a process that does not trap; a trapper gets it from itself.
#[actix::test]
async fn normal_to_oneself_ends_who_does_not_trap() {
    let mut pool = TestPool::start(0).await;
    let it = pool.puppet(pool.here()).await;
    let monitor = pool.inbox.monitor(it);
    pool.inbox.send(it, Order::Exit(it, ExitReason::Normal));
    assert_eq!(
        pool.next_down().await,
        Down { monitor, object: it.into(), reason: ExitReason::Normal }
    );

    let trapper = pool.puppet(pool.here()).await;
    pool.order(trapper, Order::Trap(true)).await;
    pool.order(trapper, Order::Exit(trapper, ExitReason::Normal)).await;
    let heard = pool.order(trapper, Order::NextExit).await;
    assert_eq!(heard, Done::Exited(Exited { pid: trapper, reason: ExitReason::Normal }));
    pool.stop().await;
}

// E4: kill cannot be trapped and ends with killed; partners get an ordinary signal killed.
#[actix::test]
async fn kill_cannot_be_trapped_but_killed_can() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let [victim, trapper, other] =
            [pool.puppet(here).await, pool.puppet(there).await, pool.puppet(there).await];
        for traps in [victim, trapper] {
            pool.order(traps, Order::Trap(true)).await;
        }
        pool.link(trapper, victim).await;
        pool.link(other, victim).await;
        let monitor = pool.watch(other).await;
        pool.order(trapper, Order::Exit(victim, ExitReason::Kill)).await;
        let heard = pool.order(trapper, Order::NextExit).await;
        assert_eq!(heard, Done::Exited(Exited { pid: victim, reason: ExitReason::Killed }));
        let reason = ExitReason::Killed;
        assert_eq!(pool.next_down().await, Down { monitor, object: other.into(), reason });
    }
    pool.stop().await;
}

// E5: exit(kill) as one's own end: partners get kill, which can be trapped; others end with kill.
#[actix::test]
async fn a_kill_of_its_own_making_can_be_trapped_by_partners() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let [ends, trapper, other] =
            [pool.puppet(here).await, pool.puppet(there).await, pool.puppet(there).await];
        pool.order(trapper, Order::Trap(true)).await;
        pool.link(trapper, ends).await;
        pool.link(other, ends).await;
        let monitor = pool.watch(other).await;
        pool.inbox.send(ends, Order::End(ExitReason::Kill));
        let heard = pool.order(trapper, Order::NextExit).await;
        assert_eq!(heard, Done::Exited(Exited { pid: ends, reason: ExitReason::Kill }));
        let reason = ExitReason::Kill;
        assert_eq!(pool.next_down().await, Down { monitor, object: other.into(), reason });
    }
    pool.stop().await;
}

// E6: exit(self(), kill) ends also a trapper, with killed.
#[actix::test]
async fn kill_to_oneself_ends_a_trapper_too() {
    let mut pool = TestPool::start(0).await;
    let it = pool.puppet(pool.here()).await;
    pool.order(it, Order::Trap(true)).await;
    let monitor = pool.inbox.monitor(it);
    pool.inbox.send(it, Order::Exit(it, ExitReason::Kill));
    assert_eq!(
        pool.next_down().await,
        Down { monitor, object: it.into(), reason: ExitReason::Killed }
    );
    pool.stop().await;
}

// E7: in a chain the reason is passed on unchanged. E8: a ring ends as a whole. E9: a trapper stops it.
#[actix::test]
async fn a_reason_goes_along_a_chain_unchanged_until_a_trapper() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    let mut chain = Vec::new();
    for at in 0..6 {
        chain.push(pool.puppet(nodes[at % 3]).await);
    }
    pool.order(chain[5], Order::Trap(true)).await;
    for pair in chain.windows(2) {
        pool.link(pair[1], pair[0]).await;
    }
    pool.inbox.send(chain[0], Order::End(boom()));
    let heard = pool.order(chain[5], Order::NextExit).await;
    assert_eq!(heard, Done::Exited(Exited { pid: chain[4], reason: boom() }));
    pool.stop().await;
}

// E12: exit/2 needs no link, From is the caller. E20: a reason may be any term.
#[actix::test]
async fn any_value_is_a_reason() {
    let mut pool = TestPool::start(1).await;
    let nodes = pool.nodes().await.expect("the master answers");
    let map = Value::Map(vec![("why".into(), Value::Array(vec![1.into(), 2.5.into()]))]);
    for (node, value) in nodes.into_iter().zip([map, Value::Nil]) {
        let it = pool.puppet(node).await;
        pool.order(it, Order::Trap(true)).await;
        let reason = ExitReason::Exit(value);
        pool.inbox.exit(it, reason.clone());
        let heard = pool.order(it, Order::NextExit).await;
        assert_eq!(heard, Done::Exited(Exited { pid: pool.inbox.pid(), reason }));
    }
    pool.stop().await;
}

// E15: the old value comes back. E16: exits that are in the mailbox stay there. E28: the first signal
// decides.
#[actix::test]
async fn the_trap_can_be_turned_off_again() {
    let mut pool = TestPool::start(0).await;
    let it = pool.puppet(pool.here()).await;
    assert_eq!(pool.order(it, Order::Trap(true)).await, Done::Trapped(false));
    pool.inbox.exit(it, boom());
    assert_eq!(pool.order(it, Order::Trap(false)).await, Done::Trapped(true));
    assert_eq!(pool.order(it, Order::CountNotices).await, Done::Counted(1));
    let monitor = pool.inbox.monitor(it);
    pool.inbox.exit(it, ExitReason::exit("first"));
    pool.inbox.exit(it, ExitReason::Kill);
    let reason = ExitReason::exit("first");
    assert_eq!(pool.next_down().await, Down { monitor, object: it.into(), reason });
    pool.stop().await;
}

// E17, E31: a signal that reached a process before it turned the trap on still ends it.
#[actix::test]
async fn a_trap_that_is_turned_on_too_late_saves_nobody() {
    let mut pool = TestPool::start(0).await;
    let it = pool.inbox.pspawn_link_mfa("link", "traps_late", ()).await.expect("it starts");
    pool.inbox.exit(it, boom());
    GATE.open();
    assert_eq!(pool.next_exit().await, Exited { pid: it, reason: boom() });
    pool.stop().await;
}

// ---- actix actors -------------------------------------------------------------------------------

// E4, E15, L1, for an actor with `Handler<Exited>`.
#[actix::test]
async fn an_actor_traps_exits_as_messages() {
    let mut pool = TestPool::start(2).await;
    for (here, there) in pool.pairs().await {
        let parent = pool.spawn_on::<Parent>(here, ()).await.expect("it starts");
        for reason in [ExitReason::Normal, boom(), ExitReason::Kill] {
            let it = pool.puppet(there).await;
            assert_eq!(parent.send(LinkWith(it)).await, Ok(true), "it trapped before");
            pool.settle(here, it).await;
            pool.inbox.send(it, Order::End(reason.clone()));
            assert_eq!(parent.send(NextExit).await, Ok(Exited { pid: it, reason }));
        }
        let it = pool.puppet(there).await;
        parent.send(LinkWith(it)).await.expect("it is linked");
        pool.settle(here, it).await;
        pool.exit(it, ExitReason::Kill);
        let heard = Exited { pid: it, reason: ExitReason::Killed };
        assert_eq!(parent.send(NextExit).await, Ok(heard));

        pool.inbox.monitor(parent.pid());
        pool.exit(parent.pid(), ExitReason::Kill);
        assert_eq!(pool.next_down().await.reason, ExitReason::Killed);
        let why = SendError::Exit { pid: parent.pid(), reason: ExitReason::NoProc };
        assert_eq!(parent.send(NextExit).await, Err(why));
    }
    pool.stop().await;
}

/// Traps exits, and tells who asks.
#[derive(Default)]
struct Parent {
    heard: Vec<Exited>,
    /// Wants this many exits at once.
    asker: Option<(usize, futures::channel::oneshot::Sender<Vec<Exited>>)>,
}

/// Answers whether it trapped already.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "bool")]
struct LinkWith(Pid);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Exited")]
struct NextExit;

/// Spawns children that die at once; answers with their ends.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Vec<Exited>")]
struct Raise {
    children: usize,
}

impl Parent {
    fn wants(&mut self, exits: usize) -> futures::channel::oneshot::Receiver<Vec<Exited>> {
        let (tell, told) = futures::channel::oneshot::channel();
        self.asker = Some((exits, tell));
        self.answer();
        told
    }

    fn answer(&mut self) {
        if let Some((_, tell)) = self.asker.take_if(|(wanted, _)| self.heard.len() >= *wanted) {
            tell.send(std::mem::take(&mut self.heard)).expect("it waits");
        }
    }
}

impl Actor for Parent {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.trap_exits(true);
    }
}

impl Handler<Exited> for Parent {
    type Result = ();

    fn handle(&mut self, exited: Exited, _: &mut Context<Self>) {
        self.heard.push(exited);
        self.answer();
    }
}

impl Handler<LinkWith> for Parent {
    type Result = bool;

    fn handle(&mut self, LinkWith(pid): LinkWith, ctx: &mut Context<Self>) -> bool {
        ctx.link(pid);
        ctx.trap_exits(true)
    }
}

impl Handler<NextExit> for Parent {
    type Result = ResponseActFuture<Self, Exited>;

    fn handle(&mut self, _: NextExit, _: &mut Context<Self>) -> Self::Result {
        let told = self.wants(1);
        let one = async move { told.await.expect("it is told").remove(0) };
        Box::pin(one.into_actor(self))
    }
}

impl Handler<Raise> for Parent {
    type Result = ResponseActFuture<Self, Vec<Exited>>;

    fn handle(&mut self, raise: Raise, ctx: &mut Context<Self>) -> Self::Result {
        let told = self.wants(raise.children);
        for _ in 0..raise.children {
            let pool = ctx.pool();
            let child = async move { pool.pspawn_link::<Stillborn>(()).await };
            ctx.spawn(child.into_actor(self).map(|born, _, _| drop(born.expect("it starts"))));
        }
        Box::pin(async move { told.await.expect("it is told") }.into_actor(self))
    }
}
remote_actor!(Parent as "parent", new() = Parent::default(),
    handles[LinkWith, NextExit, Raise]);

struct Stillborn;

impl Actor for Stillborn {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        panic!("stillborn");
    }
}
remote_actor!(Stillborn as "stillborn", new() = Stillborn, handles[]);

async fn dies(_: Ctx, round: u32) {
    exit(ExitReason::exit(round));
}

async fn traps_late(ctx: Ctx) {
    GATE.pass();
    ctx.trap_exits(true);
    pending::<()>().await;
}
remote_fn!("link": dies, traps_late);

/// Only on the master, where the test is too.
static GATE: Gate = Gate::new();

fn boom() -> ExitReason {
    ExitReason::exit("boom")
}
