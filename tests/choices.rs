//! Who is next: from each node, as often as anybody asks, and past the nodes that are busy.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use pspawn::prelude::*;
use support::TestPool;

// P15, P30: on a slave that asks often the answers come from a table of the master's.
#[actix::test]
async fn a_slave_that_asks_often_goes_round_as_the_master_does() {
    let pool = TestPool::start(3).await;
    let nodes = pool.nodes().await.expect("the master answers");
    let slave = pool.slaves().await[0];
    let asking = pool.call_on::<Vec<NodeName>>(slave, "choices", "asks", (4_000,));
    let chosen = asking.await.expect("it starts").await.expect("it ends");
    let mut shares: HashMap<NodeName, usize> = HashMap::new();
    chosen.iter().for_each(|node| *shares.entry(*node).or_default() += 1);
    assert_eq!(shares.len(), nodes.len(), "{shares:?}");
    assert!(shares.values().all(|share| (500..2_000).contains(share)), "{shares:?}");
    pool.stop().await;
}

// On the master's own node all threads choose by one count.
#[actix::test]
async fn callers_on_the_master_share_one_turn() {
    let pool = TestPool::start(3).await;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let pool = (*pool).clone();
            std::thread::spawn(move || {
                let ask = || futures::executor::block_on(pool.node()).expect("the pool is there");
                (0..99).for_each(|_| _ = ask());
                ask()
            })
        })
        .collect();
    for thread in threads {
        let node = thread.join().expect("it does not panic");
        assert!(pool.nodes().await.expect("the master answers").contains(&node));
    }
    pool.stop().await;
}

// W8 of OTP's pool: a node with eight spinning processes gets its even share there.
#[actix::test]
async fn a_busy_node_gets_next_to_nothing() {
    let mut pool = TestPool::start(3).await;
    let busy = pool.slaves().await[1];
    let me = pool.inbox.pid();
    for _ in 0..8 {
        pool.spawn_mfa_on(busy, "choices", "spins", (me,)).await.expect("it starts");
        pool.next::<Spins>().await;
    }
    // Until the master has heard of them.
    loop {
        let loads = pool.nodes_and_load().await.expect("the master answers");
        let idle = loads.iter().filter(|(node, _)| *node != busy).map(|(_, load)| *load);
        let most = idle.fold(0.0, f64::max);
        if loads.iter().any(|(node, load)| *node == busy && *load > most + 2.0) {
            break;
        }
    }
    let mut there = 0;
    for _ in 0..200 {
        let job = pool.call::<()>("choices", "ends", ()).await.expect("it starts");
        there += usize::from(job.pid().node() == busy);
        job.await.expect("it ends");
    }
    assert!(there <= 10, "{there} of 200");
    pool.stop().await;
}

/// It runs.
#[derive(Serialize, Deserialize, Message)]
#[rtype(result = "()")]
struct Spins;

async fn asks(_: Ctx, times: usize) -> Vec<NodeName> {
    let pool = Pool::current().expect("a pool");
    let mut chosen = Vec::with_capacity(times);
    for at in 0..times {
        chosen.push(pool.node().await.expect("the pool is there"));
        if at % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await; // as one that has other things to do
        }
    }
    chosen
}

async fn spins(ctx: Ctx, to: Pid) {
    ctx.send(to, Spins);
    loop {
        std::hint::spin_loop();
        yield_now().await;
    }
}

async fn ends(_: Ctx) {}

remote_fn!("choices": asks, spins, ends);
