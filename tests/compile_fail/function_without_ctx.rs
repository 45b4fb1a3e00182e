//! A function process gets its `Ctx` first.

use pspawn::prelude::*;

async fn cube(x: i64) -> i64 {
    x * x * x
}

remote_fn!("math": cube);

fn main() {}
