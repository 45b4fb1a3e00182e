//! Who watches what it starts has to handle its down.

use pspawn::prelude::*;

struct Parent;

impl Actor for Parent {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let child = ctx.spawn_fn("math", "square", (7,)).link().monitor();
        ctx.spawn(async move { drop(child.await) }.into_actor(self));
    }
}

fn main() {}
