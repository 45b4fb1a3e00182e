//! The ready-made actors, and the command line of the binary `pspawn` for programs that offer it with
//! actors of their own: a `main` that is `pspawn_actors::cli::main()`.

use pspawn::prelude::*;

pub mod cli;

/// Says back what it is told.
async fn echo(_: Ctx, what: pspawn::Value) -> pspawn::Value {
    what
}

async fn cube_of(_: Ctx, x: i64) -> i64 {
    x * x * x
}

async fn divide(_: Ctx, a: i64, b: i64) -> i64 {
    say!("{a} by {b}");
    a / b
}

async fn forever(mut ctx: Ctx) {
    ctx.receive::<()>().await;
}

remote_fn!("math": cube_of, divide);
remote_fn!("echo": echo, forever);

/// Counts.
#[derive(Debug)]
pub struct Counter {
    /// So far.
    pub total: i64,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

remote_actor!(Counter as "counter", new(total: i64) = Counter { total }, handles[]);
