//! Sweepers: one on each node of a scenario, to find out when nothing is on its way any more.
//!
//! All that one node sends to another goes over one connection, in order. So once a token that was sent
//! after it has come back from the other node, whatever was sent before has arrived, and so has what the
//! other node answered to it. On its own node everybody has had a turn by then.

use pspawn::prelude::*;

use super::player::{Said, Saying};

/// What the driver wants of a sweeper.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Sweep {
    /// To send a token to each of these and say when all have come back; before that, to wait until nothing
    /// that was sent to those, who are lost with their nodes, is still looking for a way there.
    Round { round: u32, others: Vec<Pid>, lost: Vec<Pid> },
    /// To cut the connection to this node.
    Cut(NodeName),
}

/// What one sweeper sends to another, and gets back.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Token {
    There { round: u32, from: Pid },
    Back { round: u32 },
}

async fn sweeper(mut ctx: Ctx, driver: Pid) {
    let say = |ctx: &Ctx, what| ctx.send(driver, Said { by: ctx.pid(), what });
    ctx.monitor_nodes(true);
    say(&ctx, Saying::Up { os_pid: std::process::id() });
    let (mut this_round, mut missing) = (0, 0);
    loop {
        let letter = ctx.receive_any().await;
        let letter = match letter.open::<Sweep>() {
            Ok(Sweep::Round { round, others, lost }) => {
                if !lost.is_empty() {
                    all_down(&mut ctx, &lost).await;
                }
                ctx.pool().turns_over().await;
                (this_round, missing) = (round, others.len());
                if others.is_empty() {
                    say(&ctx, Saying::Swept(round));
                }
                for other in others {
                    ctx.send(other, Token::There { round, from: ctx.pid() });
                }
                continue;
            }
            Ok(Sweep::Cut(node)) => {
                ctx.pool().disconnect(node);
                continue;
            }
            Err(letter) => letter,
        };
        let letter = match letter.open::<Token>() {
            Ok(Token::There { round, from }) => {
                ctx.send(from, Token::Back { round });
                continue;
            }
            Ok(Token::Back { round }) if round == this_round => {
                missing -= 1;
                if missing == 0 {
                    say(&ctx, Saying::Swept(round));
                }
                continue;
            }
            Ok(Token::Back { .. }) => continue,
            Err(letter) => letter,
        };
        if let Ok(NodeDown { node }) = letter.open::<NodeDown>() {
            say(&ctx, Saying::Lost(node));
        }
    }
}
remote_fn!("scenario": sweeper);

/// Waits until these are known to be gone. What others have sent there went the same way before.
async fn all_down(ctx: &mut Ctx, lost: &[Pid]) {
    for pid in lost {
        let watch = ctx.monitor(*pid);
        let fired = |down: &Down| down.monitor == watch;
        ctx.receive_matching(|letter| letter.get::<Down>().is_some_and(fired)).await;
    }
    // Others hear of the same loss in the same moment, on the thread that also keeps the timers.
    ctx.receive_matching_within(Duration::ZERO, |_| false).await;
}
