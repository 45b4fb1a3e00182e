//! Which arbiter of a node an actor begins on: its parent's, unless that is crowded or busy.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ThreadId;

use pspawn::prelude::*;
use pspawn::{Cookie, Error};

/// Where code runs: comparable for as long as the test does.
fn thread() -> u64 {
    static NAMES: std::sync::Mutex<Option<HashMap<ThreadId, u64>>> = std::sync::Mutex::new(None);
    let mut names = NAMES.lock().unwrap();
    let names = names.get_or_insert_default();
    let next = names.len() as u64;
    *names.entry(std::thread::current().id()).or_insert(next)
}

async fn tells_thread(ctx: Ctx, to: Pid) {
    ctx.send(to, thread());
}

async fn stays(mut ctx: Ctx, to: Pid) {
    ctx.send(to, thread());
    ctx.receive::<()>().await;
}

/// Whether so many in a row were at home, each of which has ended before the next begins. A machine that has no time
/// for this thread may let another arbiter take one now and then.
async fn short_lived(mut ctx: Ctx, in_a_row: u64) -> bool {
    let mut at_home = 0;
    for _ in 0..1000 * in_a_row {
        ctx.spawn_fn("home", "tells_thread", (ctx.pid(),)).await.expect("it starts");
        at_home = if ctx.receive::<u64>().await == thread() { at_home + 1 } else { 0 };
        if at_home == in_a_row {
            return true;
        }
    }
    false
}

/// How many of those that live on are on each thread.
async fn long_lived(mut ctx: Ctx, count: u64) -> Vec<u64> {
    let mut on = HashMap::<u64, u64>::new();
    for _ in 0..count {
        ctx.spawn_fn("home", "stays", (ctx.pid(),)).link().await.expect("it starts");
        *on.entry(ctx.receive::<u64>().await).or_default() += 1;
    }
    on.into_values().collect()
}

static RUNS: AtomicBool = AtomicBool::new(false);
static BEGUN: AtomicU64 = AtomicU64::new(0);

async fn says_it_runs(_: Ctx) {
    RUNS.store(true, Ordering::SeqCst);
}

async fn begins(_: Ctx) {
    BEGUN.fetch_add(1, Ordering::SeqCst);
}

/// Starts a child and does not let go of its thread before that runs.
async fn waits_busily(ctx: Ctx) {
    ctx.spawn_fn("home", "says_it_runs", ()).await.expect("it starts");
    while !RUNS.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
}

/// The same with many children.
async fn waits_busily_for(ctx: Ctx, count: u64) {
    for _ in 0..count {
        ctx.spawn_fn("home", "begins", ()).await.expect("it starts");
    }
    while BEGUN.load(Ordering::SeqCst) < count {
        std::hint::spin_loop();
    }
}

remote_fn!(
    "home": tells_thread, stays, short_lived, long_lived, says_it_runs, begins, waits_busily, waits_busily_for
);

#[test]
fn a_child_is_at_home_unless_that_is_crowded_or_busy() -> ExitCode {
    pspawn::run(|| async {
        // With each its own, as what happens elsewhere on a node moves children.
        let at_home: bool = on_three_arbiters("short_lived", (20_u64,)).await?;
        assert!(at_home, "nobody was in the way");

        let spread: Vec<u64> = on_three_arbiters("long_lived", (90_u64,)).await?;
        assert!(spread.len() == 3 && spread.iter().all(|on| *on >= 5), "BL-1: {spread:?}");

        // These end if BL-2 holds, and never if it does not.
        let () = on_three_arbiters("waits_busily", ()).await?;
        let () = on_three_arbiters("waits_busily_for", (1000_u64,)).await?;
        Ok(())
    })
}

async fn on_three_arbiters<R>(function: &str, args: impl Serialize) -> Result<R, Error>
where
    R: serde::de::DeserializeOwned + 'static,
{
    let pool = Pool::builder(function).local(0).workers(3).cookie(Cookie::random()?);
    let pool = pool.start().await?;
    let result = pool.call_on(pool.here(), "home", function, args).await?.await?;
    pool.stop().await?;
    Ok(result)
}
