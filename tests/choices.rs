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

// PC-3: the one arbiter tells of the end before it lets anybody else have a turn.
#[actix::test]
async fn the_end_of_a_job_is_known_at_once() {
    let mut pool = TestPool::start_with(0, |builder| builder.workers(1)).await;
    let me = pool.inbox.pid();
    pool.spawn_mfa_on(pool.here(), "choices", "looks_after_each", (me,)).await.expect("it starts");
    assert_eq!(pool.next::<Seen>().await, Seen(true));
    pool.stop().await;
}

/// Whether it has seen often enough what it looked for.
#[derive(Debug, PartialEq, Serialize, Deserialize, Message)]
#[rtype(result = "()")]
struct Seen(bool);

/// Looks at the pool when a job has just ended, until that is known already many times in a row. First it is to be known how long
/// jobs are.
async fn looks_after_each(mut ctx: Ctx, to: Pid) {
    let mut in_a_row = 0;
    for _ in 0..500 {
        let job = ctx.pool().pspawn_mfa("choices", "spins_a_while", ()).await.expect("it starts");
        ctx.monitor(job);
        ctx.receive::<Down>().await;
        let reasons = ctx.pool().explain().await.expect("the master answers");
        let is_known = reasons[0].to_string().contains(" 0 running ");
        in_a_row = if is_known { in_a_row + 1 } else { 0 };
        if in_a_row == 10 {
            break;
        }
    }
    ctx.send(to, Seen(in_a_row == 10));
}

async fn spins_a_while(_: Ctx) {
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_millis(1) {
        std::hint::spin_loop();
    }
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

remote_fn!("choices": looks_after_each, spins_a_while, asks, spins, ends);
