//! A ring: processes on all nodes of a pool, each linked with the next. A token goes round; then one of
//! them ends, and the ring falls as a whole.
//!
//! ```text
//! $ cargo run --example ring
//! 12 processes on 3 nodes: after 1200 hops the token is where it was
//! one is broken: 12 of 12 end, each with broken
//! ```

use pspawn::prelude::*;

#[derive(Serialize, Deserialize)]
struct Token {
    hops: u32,
    home: Pid,
}

async fn member(mut ctx: Ctx) {
    let next: Pid = ctx.receive().await;
    ctx.link(next);
    loop {
        match ctx.receive().await {
            Token { hops: 0, home } => ctx.send(home, ctx.pid()),
            Token { hops, home } => ctx.send(next, Token { hops: hops - 1, home }),
        }
    }
}

remote_fn!("ring": member);

fn main() -> ExitCode {
    pspawn::run(|| async {
        let pool = Pool::builder("ring").local(2).start().await?;
        let nodes = pool.nodes().await?;
        let mut me = pool.mailbox();
        let mut ring = Vec::new();
        for node in nodes.iter().cycle().take(12) {
            let (pid, _) = me.spawn_fn("ring", "member", ()).on(*node).monitor().await?;
            ring.push(pid);
        }
        for (at, pid) in ring.iter().enumerate() {
            me.send(*pid, ring[(at + 1) % ring.len()]);
        }

        me.send(ring[0], Token { hops: 1200, home: me.pid() });
        assert_eq!(me.receive::<Pid>().await, ring[0]);
        let (processes, nodes) = (ring.len(), nodes.len());
        println!(
            "{processes} processes on {nodes} nodes: after 1200 hops the token is where it was"
        );

        let broken = ExitReason::exit("broken");
        me.exit(ring[7], broken.clone());
        let mut fallen = 0;
        while fallen < processes && me.receive::<Down>().await.reason == broken {
            fallen += 1;
        }
        println!("one is broken: {fallen} of {processes} end, each with {broken}");
        pool.stop().await
    })
}
