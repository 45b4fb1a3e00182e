//! The pool's directory: names that are unique in the whole pool, and groups of processes, from any node.

mod support;

use pspawn::prelude::*;
use pspawn::{DirectoryError, GroupChange};
use support::{DEADLINE, Order, TestPool};

// ---- names --------------------------------------------------------------------------------------

// DI-1: a second claim is an error, from whichever node, also of the same process.
#[actix::test]
async fn a_name_of_the_pool_has_one_holder() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    for node in &nodes {
        let it = pool.puppet(*node).await;
        assert_eq!(pool.whereis_name("only").await, Ok(None));
        assert_eq!(pool.unregister_name("only").await, Ok(false));
        assert_eq!(pool.register_name("only", it).await, Ok(()));
        let taken = DirectoryError::Taken { name: "only".into(), by: it };
        for from in &nodes {
            let other = pool.puppet(*from).await;
            assert_eq!(pool.register_name("only", other).await, Err(taken.clone()), "DI-1");
            assert_eq!(pool.from(*from, Do::Whereis("only".into())).await, Told::Who(Some(it)));
            let claim = Do::Claim("only".into(), other);
            assert_eq!(pool.from(*from, claim).await, Told::No(taken.to_string()), "DI-1");
        }
        assert_eq!(pool.register_name("only", it).await, Err(taken), "DI-1");
        // Unlike a name of a node, a process may have several.
        assert_eq!(pool.register_name("another", it).await, Ok(()));
        let both = Ok(vec!["another".to_owned(), "only".to_owned()]);
        assert_eq!(pool.registered_names().await, both);
        assert_eq!(pool.unregister_name("only").await, Ok(true));
        assert_eq!(pool.from(*node, Do::Whereis("only".into())).await, Told::Who(None));
        pool.end(it).await;
        assert_eq!(pool.whereis_name("another").await, Ok(None), "R3");
        let none_is_left = async || pool.registered_names().await == Ok(vec![]);
        until(none_is_left).await; // DI-2
    }
    pool.stop().await;
}

#[actix::test]
async fn the_dead_get_no_name_and_join_no_group() {
    let mut pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let dead = pool.puppet(node).await;
        pool.end(dead).await;
        let not_alive = Err(DirectoryError::NotAlive { pid: dead });
        assert_eq!(pool.register_name("ghost", dead).await, not_alive);
        assert_eq!(pool.join("ghosts", dead).await, not_alive);
        let not_joined = DirectoryError::NotJoined { pid: dead, group: "ghosts".into() };
        assert_eq!(pool.leave("ghosts", dead).await, Err(not_joined));
        assert_eq!(pool.whereis_name("ghost").await, Ok(None));
        assert_eq!(pool.groups().await, Ok(vec![]));
    }
    pool.stop().await;
}

// R3, for the whole pool: the name is free as soon as the holder's down is seen, by whomever.
#[actix::test]
async fn a_name_of_the_pool_is_free_once_its_holders_end_is_seen() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    for round in 0..200 {
        let it = pool.puppet(nodes[round % 3]).await;
        assert_eq!(pool.register_name("passed on", it).await, Ok(()), "R3");
        let monitor = pool.watch(it).await;
        pool.exit(it, boom());
        assert_eq!(pool.next_down().await.monitor, monitor);
    }
    pool.stop().await;
}

// The same where the one who sees it is on another node than the directory.
#[actix::test]
async fn a_slave_that_has_seen_the_holders_end_gets_the_name() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    let slave = pool.slaves().await[1];
    let args = (pool.inbox.pid(), nodes, 200_u32);
    pool.inbox.spawn_fn("directory_test", "claims_again", args).on(slave).await.expect("it starts");
    assert_eq!(pool.next::<Told>().await, Told::Yes, "R3");
    pool.stop().await;
}

#[actix::test]
async fn of_many_who_claim_a_name_at_once_one_gets_it() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    // At first there is no directory yet: they start it at once, too.
    for round in 0..20 {
        for node in nodes.iter().cycle().take(12) {
            let args = (pool.inbox.pid(), format!("prize {round}"));
            let claims = pool.inbox.spawn_fn("directory_test", "claims", args).on(*node);
            claims.await.expect("it starts");
        }
        let mut winners = Vec::new();
        for _ in 0..12 {
            match pool.next::<Told>().await {
                Told::Who(winner) => winners.extend(winner),
                Told::No(why) => assert!(why.contains("is taken"), "{why}"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "DI-1: {winners:?}");
        let holder = pool.whereis_name(&format!("prize {round}")).await;
        assert_eq!(holder, Ok(Some(winners[0])), "DI-1");
    }
    pool.stop().await;
}

// ---- groups -------------------------------------------------------------------------------------

#[actix::test]
async fn members_join_and_leave_a_group_from_any_node() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    let mut all = Vec::new();
    for node in &nodes {
        let it = pool.puppet(*node).await;
        let joined = pool.from(*node, Do::Join("choir".into(), it)).await;
        assert_eq!(joined, Told::Yes);
        all.push(it);
    }
    assert_eq!(pool.join("duo", all[1]).await, Ok(()));
    for node in &nodes {
        assert_eq!(pool.from(*node, Do::Members("choir".into())).await, Told::Pids(all.clone()));
    }
    assert_eq!(pool.groups().await, Ok(vec!["choir".to_owned(), "duo".to_owned()]));

    // Who joins twice is in it twice, and leaves twice.
    assert_eq!(pool.join("choir", all[0]).await, Ok(()));
    assert_eq!(pool.leave("choir", all[0]).await, Ok(()));
    assert_eq!(pool.members("choir").await, Ok(vec![all[1], all[2], all[0]]));
    assert_eq!(pool.leave("choir", all[0]).await, Ok(()));
    let not_joined = DirectoryError::NotJoined { pid: all[0], group: "choir".into() };
    assert_eq!(pool.leave("choir", all[0]).await, Err(not_joined));
    assert_eq!(pool.members("choir").await, Ok(vec![all[1], all[2]]));
    for it in all {
        pool.end(it).await;
    }
    let none_is_left = async || pool.groups().await == Ok(vec![]);
    until(none_is_left).await; // DI-2
    pool.stop().await;
}

#[actix::test]
async fn who_watches_a_group_hears_of_every_change_in_order() {
    let mut pool = TestPool::start(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    let first = pool.puppet(nodes[0]).await;
    pool.join("choir", first).await.expect("it lives");
    let (watch, members) = pool.inbox.monitor_group("choir").await.expect("the master answers");
    assert_eq!(members, [first]);
    let change = |joined, pids: &[Pid]| {
        let (group, pids) = ("choir".to_owned(), pids.to_vec());
        GroupChange { watch, group, joined, pids }
    };
    for node in &nodes {
        let it = pool.puppet(*node).await;
        pool.join("another", it).await.expect("it lives");
        pool.from(*node, Do::Join("choir".into(), it)).await;
        assert_eq!(pool.next::<GroupChange>().await, change(true, &[it]));
        pool.join("choir", it).await.expect("it lives");
        assert_eq!(pool.next::<GroupChange>().await, change(true, &[it]));
        pool.leave("choir", it).await.expect("it has joined");
        assert_eq!(pool.next::<GroupChange>().await, change(false, &[it]));
        pool.join("choir", it).await.expect("it lives");
        assert_eq!(pool.next::<GroupChange>().await, change(true, &[it]));
        pool.exit(it, boom()); // twice in it, so it leaves twice
        assert_eq!(pool.next::<GroupChange>().await, change(false, &[it, it]));
    }
    pool.inbox.demonitor_group(watch).await.expect("the master answers");
    pool.leave("choir", first).await.expect("it has joined");
    assert_eq!(pool.members("choir").await, Ok(vec![]));
    pool.assert_no::<GroupChange>().await;
    pool.stop().await;
}

// ---- lost nodes, other pools --------------------------------------------------------------------

// DI-2: a lost node's processes leave their groups, and their names are free.
#[actix::test]
async fn a_lost_node_leaves_its_groups_and_frees_its_names() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let (mut lost, stays) = (Vec::new(), pool.puppet(slaves[1]).await);
    for name in ["one", "two"] {
        let it = pool.puppet(slaves[0]).await;
        pool.register_name(name, it).await.expect("it is free");
        pool.join("choir", it).await.expect("it lives");
        lost.push(it);
    }
    pool.join("choir", stays).await.expect("it lives");
    pool.inbox.monitor_group("choir").await.expect("the master answers");
    let monitor = pool.inbox.monitor(lost[0]);
    pool.kill(slaves[0]).await;
    assert_eq!(pool.next_down().await.monitor, monitor);
    for name in ["one", "two"] {
        assert_eq!(pool.whereis_name(name).await, Ok(None));
        assert_eq!(pool.register_name(name, stays).await, Ok(()), "R3");
    }
    let mut left = Vec::new();
    while left.len() < lost.len() {
        let change: GroupChange = pool.next().await;
        assert!(!change.joined);
        left.extend(change.pids);
    }
    left.sort_unstable();
    lost.sort_unstable();
    assert_eq!(left, lost);
    assert_eq!(pool.members("choir").await, Ok(vec![stays]));
    pool.stop().await;
}

#[actix::test]
async fn two_pools_do_not_see_each_other() {
    let mut pools = [TestPool::start(1).await, TestPool::start(1).await];
    let mut holders = Vec::new();
    for pool in &mut pools {
        let it = pool.puppet(pool.slaves().await[0]).await;
        assert_eq!(pool.register_name("same", it).await, Ok(()));
        assert_eq!(pool.join("choir", it).await, Ok(()));
        holders.push(it);
    }
    for (pool, holder) in pools.into_iter().zip(holders) {
        assert_eq!(pool.whereis_name("same").await, Ok(Some(holder)));
        assert_eq!(pool.members("choir").await, Ok(vec![holder]));
        pool.stop().await;
    }
}

// A name leads to an actor's address: what is sent to it reaches it.
#[actix::test]
async fn the_address_of_a_named_actor_can_be_made_of_its_pid() {
    let pool = TestPool::start(1).await;
    for node in pool.nodes().await.expect("the master answers") {
        let adder = pool.spawn_on::<Adder>(node, 3).await.expect("it starts");
        pool.register_name("adder", adder.pid()).await.expect("it is free");
        let pid = pool.whereis_name("adder").await.expect("the master answers").expect("it lives");
        assert_eq!(pool.addr::<Adder>(pid).send(Add(4)).await, Ok(7));
        pool.unregister_name("adder").await.expect("the master answers");
    }
    pool.stop().await;
}

impl TestPool {
    /// Lets a process on that node do it.
    async fn from(&mut self, node: NodeName, what: Do) -> Told {
        let args = (self.inbox.pid(), what);
        self.inbox.spawn_fn("directory_test", "does", args).on(node).await.expect("it starts");
        self.next().await
    }

    /// Ends a puppet, and sees that it has.
    async fn end(&mut self, puppet: Pid) {
        self.watch(puppet).await;
        self.inbox.send(puppet, Order::End(boom()));
        self.next_down().await;
    }
}

/// Asks again until it is so: the directory hears of an end when everybody does, and no sooner.
async fn until(it_is_so: impl AsyncFn() -> bool) {
    for _ in 0..10_000 {
        if it_is_so().await {
            return;
        }
    }
    panic!("it never was");
}

// ---- who asks the directory ---------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
enum Do {
    Claim(String, Pid),
    Whereis(String),
    Join(String, Pid),
    Members(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Told {
    Yes,
    No(String),
    Who(Option<Pid>),
    Pids(Vec<Pid>),
}

async fn does(ctx: Ctx, tester: Pid, what: Do) {
    let pool = ctx.pool();
    let told = match what {
        Do::Claim(name, pid) => pool.register_name(&name, pid).await.map(|()| Told::Yes),
        Do::Whereis(name) => pool.whereis_name(&name).await.map(Told::Who),
        Do::Join(group, pid) => pool.join(&group, pid).await.map(|()| Told::Yes),
        Do::Members(group) => pool.members(&group).await.map(Told::Pids),
    };
    ctx.send(tester, told.unwrap_or_else(|why| Told::No(why.to_string())));
}

/// Claims a name for itself, and keeps it.
async fn claims(ctx: Ctx, tester: Pid, name: String) {
    let told = match ctx.pool().register_name(&name, ctx.pid()).await {
        Ok(()) => Told::Who(Some(ctx.pid())),
        Err(why) => Told::No(why.to_string()),
    };
    ctx.send(tester, told);
    std::future::pending().await
}

/// Names one after the other, each as soon as it has seen the end of the one before.
async fn claims_again(mut ctx: Ctx, tester: Pid, nodes: Vec<NodeName>, rounds: u32) {
    let pool = ctx.pool();
    for node in nodes.into_iter().cycle().take(rounds as usize) {
        let waits = ctx.spawn_fn("directory_test", "waits", ()).on(node).monitor().await;
        let (it, _) = waits.expect("it starts");
        if let Err(why) = pool.register_name("seen", it).await {
            return ctx.send(tester, Told::No(why.to_string()));
        }
        ctx.exit(it, boom());
        ctx.receive_within::<Down>(DEADLINE).await.expect("it ends");
    }
    ctx.send(tester, Told::Yes);
}

async fn waits(_: Ctx) {
    std::future::pending().await
}
remote_fn!("directory_test": does, claims, claims_again, waits);

struct Adder {
    to: i64,
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
struct Add(i64);

impl Actor for Adder {
    type Context = Context<Self>;
}

impl Handler<Add> for Adder {
    type Result = i64;

    fn handle(&mut self, Add(number): Add, _: &mut Context<Self>) -> i64 {
        self.to + number
    }
}
remote_actor!(Adder as "directory_adder", new(to: i64) = Adder { to }, handles[Add]);

fn boom() -> ExitReason {
    ExitReason::exit("boom")
}
