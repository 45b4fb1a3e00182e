//! The actor is one, but no node knows how to construct it.

use pspawn::prelude::*;

struct Counter;

impl Actor for Counter {
    type Context = Context<Self>;
}

async fn start(pool: Pool) {
    let _ = pool.pspawn::<Counter>(()).await;
}

fn main() {
    let _ = start;
}
