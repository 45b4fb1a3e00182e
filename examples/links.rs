//! Links: an actor that crashes on one node takes along who is linked with it on another, unless that
//! one traps exits and takes them as messages.
//!
//! ```text
//! $ cargo run --example links
//! the watcher heard: {"attempt to divide by zero",[examples/links.rs:27]}
//! a request in flight ended with the same: true
//! killed, it leaves no choice: killed
//! ```

use pspawn::prelude::*;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
struct Divide(i64);

struct Fuse;

impl Actor for Fuse {
    type Context = Context<Self>;
}

impl Handler<Divide> for Fuse {
    type Result = i64;

    fn handle(&mut self, Divide(by): Divide, _: &mut Context<Self>) -> i64 {
        100 / by
    }
}

remote_actor!(Fuse as "fuse", new() = Fuse, handles[Divide]);

fn main() -> ExitCode {
    pspawn::run(|| async {
        let pool = Pool::builder("links").local(2).start().await?;
        let mut me = pool.mailbox(); // a process for this code: a pid, a mailbox, ties; it traps exits

        let fuse = me.pspawn_link::<Fuse>(()).await?;
        let request = fuse.send(Divide(0)).await;
        let exited: Exited = me.receive().await;
        println!("the watcher heard: {}", exited.reason);
        println!(
            "a request in flight ended with the same: {}",
            request.is_err_and(|e| e.exit_reason() == Some(&exited.reason))
        );

        let fuse = me.pspawn_link::<Fuse>(()).await?;
        me.exit(fuse.pid(), ExitReason::Kill);
        println!("killed, it leaves no choice: {}", me.receive::<Exited>().await.reason);
        pool.stop().await
    })
}
