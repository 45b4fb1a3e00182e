//! An actor that computes for long and yields is a good neighbour, and can be killed.

use pspawn::prelude::*;
use pspawn::{Cookie, Error};

async fn compute(ctx: Ctx, to: Pid) {
    ctx.send(to, Begun);
    loop {
        yield_now().await;
    }
}

async fn answer(ctx: Ctx, to: Pid) {
    ctx.send(to, Answered);
}

remote_fn!("yielding": compute, answer);

#[derive(Serialize, Deserialize)]
struct Begun;

#[derive(Serialize, Deserialize)]
struct Answered;

/// One arbiter for all, so that all are neighbours.
async fn lonely_pool() -> Result<Pool, Error> {
    let builder = Pool::builder("yielding").cookie(Cookie::new("yielding")).local(0);
    Ok(builder.workers(1).start().await?)
}

#[test]
fn neighbours_of_one_that_computes_and_yields_have_their_turns() {
    let done = pspawn::run(|| async {
        let pool = lonely_pool().await?;
        let mut me = pool.mailbox();
        pool.spawn_mfa_on(pool.here(), "yielding", "compute", (me.pid(),)).await?;
        me.receive::<Begun>().await;
        pool.spawn_mfa_on(pool.here(), "yielding", "answer", (me.pid(),)).await?;
        me.receive::<Answered>().await;
        pool.stop().await
    });
    assert_eq!(done, ExitCode::SUCCESS);
}

#[test]
fn one_that_computes_and_yields_can_be_killed() {
    let done = pspawn::run(|| async {
        let pool = lonely_pool().await?;
        let mut me = pool.mailbox();
        let busy = me.pspawn_link_mfa("yielding", "compute", (me.pid(),)).await?;
        me.receive::<Begun>().await;
        me.exit(busy, ExitReason::Kill);
        let killed = Exited { pid: busy, reason: ExitReason::Killed };
        assert_eq!(me.receive::<Exited>().await, killed);
        pool.stop().await
    });
    assert_eq!(done, ExitCode::SUCCESS);
}

#[test]
fn outside_of_an_actor_yielding_returns_at_once() {
    let done = pspawn::run(|| async {
        yield_now().await;
        Ok(())
    });
    assert_eq!(done, ExitCode::SUCCESS);
}
