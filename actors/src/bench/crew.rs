//! Several processes of a node that do the same at once, and the one that gives them their parts.

use std::convert::Infallible;
use std::time::Instant;

use pspawn::prelude::*;

use super::measure::Effort;

/// Has a part of all done by each of them, until it is known how many a second they do.
pub(super) async fn rate(ctx: &mut Ctx, crew: &[Pid], effort: Effort) -> f64 {
    let heads = crew.len() as u64;
    let spent = effort.spend(async |count| {
        let each = count.div_ceil(heads);
        let begin = Instant::now();
        for &pid in crew {
            ctx.send(pid, each);
        }
        for _ in crew {
            ctx.receive::<Pid>().await;
        }
        Ok::<_, Infallible>(begin.elapsed().mul_f64(count as f64 / (each * heads) as f64))
    });
    let Ok(spent) = spent.await;
    spent.rate()
}

/// What one of them does: as many as it is told, one after the other, again and again.
pub(super) async fn work(mut ctx: Ctx, teller: Pid, one: impl AsyncFn(&Ctx, u64)) {
    loop {
        for seq in 0..ctx.receive::<u64>().await {
            one(&ctx, seq).await;
        }
        ctx.send(teller, ctx.pid());
    }
}
