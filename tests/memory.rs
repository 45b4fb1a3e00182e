//! What an idle actor costs: bytes of live heap, counted, not guessed.

use std::alloc::System;

use futures::StreamExt;
use futures::stream;
use pspawn::Cookie;
use pspawn::prelude::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

async fn idles(mut ctx: Ctx) {
    ctx.receive::<()>().await;
}

/// Whoever hears of its end knows that those before it have had their first turn.
async fn passes(_: Ctx) {}

/// Starts many, lets them end, and says how many there were at the same time.
async fn many(ctx: Ctx, count: usize) -> usize {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(ctx.spawn_fn("memory", "idles", ()).await.expect("it starts"));
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
remote_fn!("memory": idles, passes, many);

struct Idles;

impl Actor for Idles {
    type Context = Context<Self>;
}

remote_actor!(Idles as "memory_idles", new() = Idles, handles[]);

#[test]
fn an_idle_actor_costs_no_more_than_promised() -> ExitCode {
    pspawn::run(|| async {
        let pool =
            Pool::builder("memory").local(0).cookie(Cookie::random()?).workers(1).start().await?;
        let here = pool.here();
        // Twice each: the first time also fills what is kept for the next.
        for counted in [false, true] {
            let function = each(&pool, || async {
                pool.spawn_mfa_on(here, "memory", "idles", ()).await.expect("it starts");
            });
            let function = function.await;
            let actor = each(&pool, || async {
                pool.spawn_on::<Idles>(here, ()).await.expect("it starts");
            });
            let actor = actor.await;
            if counted {
                println!(
                    "an idle function process: {function} bytes; an idle actor: {actor} bytes"
                );
                assert!(function <= FUNCTION_BYTES_MAX, "{function} bytes");
                assert!(actor <= ACTOR_BYTES_MAX, "{actor} bytes");
            }
        }
        pool.stop().await
    })
}

#[test]
fn of_a_million_processes_nothing_is_left() -> ExitCode {
    pspawn::run(|| async {
        let pool = Pool::builder("million").local(0).cookie(Cookie::random()?).start().await?;
        let me = pool.mailbox(); // one that stays
        let mut left = Vec::new();
        for _ in 0..2 {
            let running = pool.call_on(pool.here(), "memory", "many", (MILLION,)).await;
            let there: usize = running.expect("it starts").await.expect("it ends");
            assert!(there >= MILLION, "{there}");
            while pool.actors() > 1 {
                actix_rt::task::yield_now().await;
            }
            left.push(in_use());
        }
        println!("bytes in use after each million: {left:?}");
        assert!(left[1] <= left[0] + (1 << 20), "{left:?}");
        drop(me);
        pool.stop().await
    })
}

/// Live heap bytes that each of many leaves in use.
async fn each<F: Future<Output = ()>>(pool: &Pool, start: impl Fn() -> F) -> usize {
    let before = in_use();
    stream::iter(0..MANY).for_each_concurrent(100, |_| start()).await;
    let passed = pool.call_on::<()>(pool.here(), "memory", "passes", ()).await.expect("it starts");
    passed.await.expect("it ends");
    in_use().saturating_sub(before) / MANY
}

fn in_use() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

const MANY: usize = 20_000;
/// A table that has just grown may have as much room to spare as it has entries.
const FUNCTION_BYTES_MAX: usize = 500;
const ACTOR_BYTES_MAX: usize = 950;
/// Fewer where the compiler has not been asked to make them fast.
const MILLION: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
