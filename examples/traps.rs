//! Links and traps: what a process hears, or ends with, when a partner ends and when somebody sends it an
//! exit signal.
//!
//! ```text
//! $ cargo run --example traps
//! a partner ends with normal: who traps hears normal, who does not lives on
//! a partner ends with boom: who traps hears boom, who does not ends with boom
//! a partner ends with kill: who traps hears kill, who does not ends with kill
//! it is sent normal: who traps hears normal, who does not lives on
//! it is sent boom: who traps hears boom, who does not ends with boom
//! it is sent kill: who traps ends with killed, who does not ends with killed
//! ```

use pspawn::prelude::*;

#[derive(Serialize, Deserialize)]
struct AreYouThere;

/// Tells what it hears.
async fn listener(mut ctx: Ctx, traps: bool, partners_end: Option<ExitReason>, to: Pid) {
    ctx.trap_exits(traps);
    ctx.init_ack();
    if let Some(reason) = partners_end {
        let partner = ctx.spawn_fn("traps", "partner", (reason,)).placed();
        partner.link().monitor().await.expect("it starts");
    }
    // The down of a partner comes after its exit signal, and so does what is sent after one.
    let letter = ctx.receive_any().await;
    let heard = match letter.open::<Exited>() {
        Ok(exited) => format!("hears {}", exited.reason),
        Err(_) => "lives on".to_owned(),
    };
    ctx.send(to, heard);
}

async fn partner(_: Ctx, reason: ExitReason) {
    exit(reason);
}

remote_fn!("traps": listener, partner);

/// Starts a listener, lets it have the signal, and tells what became of it.
async fn what_becomes(pool: &Pool, traps: bool, by_link: bool, reason: &ExitReason) -> String {
    let mut me = pool.mailbox();
    let partners_end = by_link.then_some(reason);
    let listener = me.spawn_fn("traps", "listener", (traps, partners_end, me.pid())).placed();
    let (listener, _) = listener.acknowledged().monitor().await.expect("it starts");
    if !by_link {
        me.exit(listener, reason.clone());
        me.send(listener, AreYouThere);
    }
    match me.receive_any().await.open::<Down>() {
        Ok(down) => format!("ends with {}", down.reason),
        Err(letter) => letter.open::<String>().expect("it says what it hears"),
    }
}

fn main() -> ExitCode {
    pspawn::run(|| async {
        let pool = Pool::builder("traps").local(2).start().await?;
        for (what, by_link) in [("a partner ends with", true), ("it is sent", false)] {
            for reason in ["normal", "boom", "kill"].map(ExitReason::exit) {
                let one = what_becomes(&pool, true, by_link, &reason).await;
                let other = what_becomes(&pool, false, by_link, &reason).await;
                println!("{what} {reason}: who traps {one}, who does not {other}");
            }
        }
        pool.stop().await
    })
}
