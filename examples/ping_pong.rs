//! Ping pong: two processes on two nodes that know each other by pid and by name. What they print appears
//! where they were started from.
//!
//! ```text
//! $ cargo run --example ping_pong
//! pong 1 from game2
//! pong 2 from game2
//! pong 3 from game2
//! ping is done: normal
//! pong is done: normal
//! ```

use pspawn::prelude::*;

#[derive(Serialize, Deserialize)]
struct Ping(u32, Pid);

#[derive(Serialize, Deserialize)]
struct Pong(u32, NodeName);

#[derive(Serialize, Deserialize)]
struct Finished;

async fn ping(mut ctx: Ctx, other: NodeName) {
    for number in 1..=3 {
        ctx.send(("pong", other), Ping(number, ctx.pid())); // to whoever has the name there
        let Pong(number, node) = ctx.receive().await;
        say!("pong {number} from {}", node.name());
    }
    ctx.send(("pong", other), Finished);
}

async fn pong(mut ctx: Ctx) {
    ctx.register("pong", ctx.pid()).expect("nobody has the name");
    ctx.init_ack(); // now ping may start
    loop {
        let letter = ctx.receive_any().await; // the oldest, of whatever type
        match letter.open::<Ping>() {
            Ok(Ping(number, from)) => ctx.send(from, Pong(number, ctx.node())),
            Err(_) => break,
        }
    }
}

remote_fn!("game": ping, pong);

fn main() -> ExitCode {
    pspawn::run(|| async {
        let game = Pool::builder("game").local(2).output(|said| println!("{}", said.line));
        let pool = game.start().await?;
        let nodes = pool.connected(); // the slaves, in order
        let [one, two] = nodes[..] else { panic!("two slaves") };
        let mut me = pool.mailbox();
        let pong = me.spawn_fn("game", "pong", ()).on(two).link().acknowledged().await?;
        let ping = me.spawn_fn("game", "ping", (two,)).on(one).link().await?;
        for (who, pid) in [("ping", ping), ("pong", pong)] {
            let ended =
                me.receive_matching(|it| it.get::<Exited>().is_some_and(|it| it.pid == pid));
            let exited = ended.await.open::<Exited>().expect("it is one");
            println!("{who} is done: {}", exited.reason);
        }
        pool.stop().await
    })
}
