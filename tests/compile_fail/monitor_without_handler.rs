//! Who watches others has to handle their downs.

use pspawn::prelude::*;

struct Watcher {
    watched: Pid,
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.monitor(self.watched);
    }
}

fn main() {}
