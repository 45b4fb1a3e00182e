//! A chat room: a group of processes on several nodes. Everybody in it hears what is said, who comes, and
//! who goes, in whatever way.
//!
//! ```text
//! $ cargo run --example chat
//! somebody on chat1 has come
//! somebody on chat2 has come
//! ann: who is there, on chat2?
//! bob: hello, ann!
//! somebody on chat2 has gone
//! ann: bob?
//! ```

use pspawn::GroupChange;
use pspawn::prelude::*;

#[derive(Serialize, Deserialize)]
struct Said {
    by: String,
    line: String,
}

const ROOM: &str = "room";

async fn say_to_all(ctx: &Ctx, by: &str, line: &str) {
    for guest in ctx.pool().members(ROOM).await.expect("the room is open") {
        ctx.send(guest, Said { by: by.to_owned(), line: line.to_owned() });
    }
}

async fn ann(mut ctx: Ctx) {
    ctx.monitor_group(ROOM).await.expect("the room is open");
    ctx.pool().join(ROOM, ctx.pid()).await.expect("the room is open");
    loop {
        let GroupChange { joined, pids, .. } = ctx.receive().await;
        if pids[0] == ctx.pid() {
            continue;
        }
        let node = pids[0].node().name().to_owned();
        match joined {
            true => say_to_all(&ctx, "ann", &format!("who is there, on {node}?")).await,
            false => say_to_all(&ctx, "ann", "bob?").await,
        }
    }
}

async fn bob(mut ctx: Ctx) {
    ctx.pool().join(ROOM, ctx.pid()).await.expect("the room is open");
    let Said { by, .. } = ctx.receive().await;
    say_to_all(&ctx, "bob", &format!("hello, {by}!")).await;
    panic!("bob's cat has found the keyboard");
}

remote_fn!("chat": ann, bob);

fn main() -> ExitCode {
    pspawn::run(|| async {
        let pool = Pool::builder("chat").local(2).start().await?;
        let nodes = pool.connected(); // the slaves, in order
        let mut me = pool.mailbox();
        pool.join(ROOM, me.pid()).await?;
        me.monitor_group(ROOM).await?;

        for (guest, node) in ["ann", "bob"].into_iter().zip(nodes) {
            me.spawn_fn("chat", guest, ()).on(node).await?;
            news(&mut me).await;
        }
        next_line(&mut me, "ann").await;
        next_line(&mut me, "bob").await;
        news(&mut me).await;
        next_line(&mut me, "ann").await;
        pool.stop().await
    })
}

async fn news(me: &mut Ctx) {
    let GroupChange { joined, pids, .. } = me.receive().await;
    let what = if joined { "come" } else { "gone" };
    println!("somebody on {} has {what}", pids[0].node().name());
}

/// Lines of different nodes come in no order.
async fn next_line(me: &mut Ctx, by: &str) {
    let letter = me.receive_matching(|letter| letter.get::<Said>().is_some_and(|it| it.by == by));
    let Said { line, .. } = letter.await.open().expect("it is what was wanted");
    println!("{by}: {line}");
}
