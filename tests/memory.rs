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
remote_fn!("memory": idles, passes);

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
