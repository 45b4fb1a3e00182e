//! An actor that hands messages on: an address is a value like any other.
//!
//! The relay does not know what kind of actor is next, nor where it lives, only that it takes [`Say`]:
//! that is a `RemoteRecipient<Say>`. It gets the first as an argument and another one in a message.
//! It is linked with whoever is next: a chain of relays breaks as a whole, and nobody is left to wait
//! for an answer that cannot come.

use pspawn::prelude::*;

use crate::echo::Say;

/// Hands on what is said, and hands back the answer.
#[derive(Debug)]
pub struct Relay {
    next: RemoteRecipient<Say>,
}

/// From now on another one is next. Is answered with the pid of the one before.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "Pid")]
pub struct Redirect(pub RemoteRecipient<Say>);

impl Actor for Relay {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.link(self.next.pid());
    }
}

impl Handler<Say> for Relay {
    type Result = ResponseActFuture<Self, String>;

    fn handle(&mut self, say: Say, _: &mut Context<Self>) -> Self::Result {
        // Not waited for in the handler: while this one is on its way others may pass.
        let answer = self.next.send(say);
        let hand_back = async move {
            match answer.await {
                Ok(text) => text,
                // Whoever is next has ended, and so do we; or it is too slow for everybody.
                Err(why) => match why.exit_reason() {
                    Some(reason) => exit(reason.clone()),
                    None => exit(ExitReason::exit(why.to_string())),
                },
            }
        };
        Box::pin(hand_back.into_actor(self))
    }
}

impl Handler<Redirect> for Relay {
    type Result = actix::MessageResult<Redirect>;

    fn handle(&mut self, Redirect(next): Redirect, ctx: &mut Context<Self>) -> Self::Result {
        ctx.link(next.pid());
        let before = std::mem::replace(&mut self.next, next).pid();
        if before != self.next.pid() {
            ctx.unlink(before); // its end is no business of ours any more
        }
        actix::MessageResult(before)
    }
}

remote_actor!(Relay as "relay", new(next: RemoteRecipient<Say>) = Relay { next }, handles[Say, Redirect]);
