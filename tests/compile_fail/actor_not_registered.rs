//! The actor is one, but no node knows how to construct it.

use pspawn::Spawnable;
use pspawn::prelude::*;

struct Counter;

impl Actor for Counter {
    type Context = Context<Self>;
}

// The bound of every door that starts an actor; of its own here, so that the expected message
// quotes no signature of the library.
fn start<A: Spawnable>() {}

fn main() {
    start::<Counter>();
}
