//! An actor to break: every way in which an actor can end, on demand.
//!
//! Nothing here catches an error. Whoever asked gets the reason in place of an answer, whoever is linked
//! or watches hears the same one, and the node and all its other actors live on.
//!
//! | message | how it ends | reason |
//! |---|---|---|
//! | [`Divide(0)`](Divide) | a bug: it panics | `Panicked`, with text and place |
//! | [`Blow`] | it gives up, and says why | `Exit`, with the words |
//! | [`Burn`] | its work is done | `Normal`, which links ignore |
//! | [`Spin`] | not by itself, only by an exit signal | that signal's |

use pspawn::prelude::*;

/// Ends as it is told to.
#[derive(Debug)]
pub struct Fuse;

/// Is answered with 100 divided by the number, which should not be 0.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
pub struct Divide(pub i64);

/// Ends it for this reason.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub struct Blow(pub String);

/// Ends it normally.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub struct Burn;

/// Keeps it busy until somebody ends it; it handles no other message meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub struct Spin;

impl Actor for Fuse {
    type Context = Context<Self>;
}

impl Handler<Divide> for Fuse {
    type Result = i64;

    fn handle(&mut self, Divide(by): Divide, _: &mut Context<Self>) -> i64 {
        100 / by
    }
}

impl Handler<Blow> for Fuse {
    type Result = ();

    fn handle(&mut self, Blow(why): Blow, _: &mut Context<Self>) {
        exit(ExitReason::exit(why));
    }
}

impl Handler<Burn> for Fuse {
    type Result = ();

    fn handle(&mut self, Burn: Burn, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<Spin> for Fuse {
    type Result = ();

    fn handle(&mut self, Spin: Spin, ctx: &mut Context<Self>) {
        // A plain `loop {}` would keep the thread from all its actors, and nobody could end it.
        let busy = async {
            loop {
                yield_now().await;
            }
        };
        ctx.wait(busy.into_actor(self));
    }
}

remote_actor!(Fuse as "fuse", new() = Fuse, handles[Divide, Blow, Burn, Spin]);
