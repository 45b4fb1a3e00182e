//! Who traps exits has to handle them.

use pspawn::prelude::*;

struct Parent;

impl Actor for Parent {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.trap_exits(true);
    }
}

fn main() {}
