//! A million processes on one node, of which nothing is left when they have ended.

use std::alloc::System;

use pspawn::Cookie;
use pspawn::prelude::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

async fn idles(mut ctx: Ctx) {
    ctx.receive::<()>().await;
}

/// Starts many, lets them end, and says how many there were at the same time.
async fn many(ctx: Ctx, count: usize) -> usize {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(ctx.spawn_fn("million", "idles", ()).await.expect("it starts"));
    }
    let there = ctx.pool().actors();
    for pid in all {
        ctx.send(pid, ());
        yield_now().await;
    }
    while ctx.pool().actors() > 2 {
        actix_rt::task::yield_now().await; // those that have had their message end
    }
    there
}
remote_fn!("million": idles, many);

#[test]
fn of_a_million_processes_nothing_is_left() -> ExitCode {
    pspawn::run(|| async {
        let pool = Pool::builder("million").local(0).cookie(Cookie::random()?).start().await?;
        let me = pool.mailbox(); // one that stays
        let before = in_use();
        let mut left = Vec::new();
        for _ in 0..ROUNDS {
            let running = pool.call_on(pool.here(), "million", "many", (MILLION,)).await;
            let there: usize = running.expect("it starts").await.expect("it ends");
            assert!(there >= MILLION, "{there}");
            while pool.actors() > 1 {
                actix_rt::task::yield_now().await;
            }
            left.push(in_use());
        }
        println!("bytes in use before: {before}, after each million: {left:?}");
        let most = before + (2 << 20); // queues keep some room
        assert!(left.iter().all(|left| *left < most), "{before} before");
        drop(me);
        pool.stop().await
    })
}

/// Live heap bytes.
fn in_use() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Fewer where the compiler has not been asked to make them fast.
const MILLION: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
const ROUNDS: usize = 3;
