//! Erlang's style: `async fn`s with a mailbox, started by name, that receive what they wait for.
//!
//! ```text
//! $ cargo run --example mailbox
//! 7 squared is 49
//! 3 cubed is 27
//! the squarer went: normal
//! ```

use pspawn::prelude::*;

#[derive(Serialize, Deserialize)]
enum Job {
    Square { from: Pid, x: i64 },
    Stop,
}

async fn squarer(mut ctx: Ctx) {
    while let Some(job) = ctx.receive_within::<Job>(Duration::from_secs(30)).await {
        match job {
            Job::Square { from, x } => ctx.send(from, x * x),
            Job::Stop => break,
        }
    }
}

async fn cube(ctx: Ctx, to: Pid, x: i64) {
    ctx.send(to, (ctx.pid(), x * x * x));
}

remote_fn!("math": squarer, cube);

fn main() -> ExitCode {
    pspawn::run(|| async {
        let pool = Pool::builder("math").local(2).start().await?;
        let mut me = pool.mailbox();

        let squarer = pool.pspawn_mfa("math", "squarer", ()).await?;
        me.send(squarer, Job::Square { from: me.pid(), x: 7 });
        println!("7 squared is {}", me.receive::<i64>().await);

        let cuber = pool.pspawn_mfa("math", "cube", (me.pid(), 3)).await?;
        let (from, cubed) = me.receive::<(Pid, i64)>().await; // selective: by type
        assert_eq!(from, cuber);
        println!("3 cubed is {cubed}");

        me.link(squarer);
        me.send(squarer, Job::Stop);
        println!("the squarer went: {}", me.receive::<Exited>().await.reason);
        pool.stop().await
    })
}
