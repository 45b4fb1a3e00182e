//! Functions of one line: what a function process is when it needs no mailbox. Its arguments and its
//! result are serde values; a panic is its exit reason, with text, file and line.

use pspawn::prelude::*;

/// The cube of a number: `pspawn spawn math cube_of '[7]'` prints 343.
async fn cube_of(_: Ctx, x: i64) -> i64 {
    x.checked_pow(3).expect("the cube of a number of at most 2097151")
}

/// A quotient, said aloud where it was asked for; by 0 it crashes.
async fn divide(_: Ctx, a: i64, b: i64) -> i64 {
    say!("{a} by {b}");
    a / b
}

remote_fn!("math": cube_of, divide);
