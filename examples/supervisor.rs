//! Supervision: an actor that crashes is started again, wherever the pool has room; one that crashes too
//! often takes its supervisor along, and that is started again by the one above it.
//!
//! ```text
//! $ cargo run --example supervisor
//! 100 / 5 = 20
//! 100 / 0: {"attempt to divide by zero",[examples/supervisor.rs:28]}
//! 100 / 4 = 25, from another actor: true
//! after one crash more: 50, under another supervisor: true
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
        let pool = Pool::builder("example").local(2).start().await?;
        let fuses = Supervisor::one_for_one() // one restart in five seconds
            .child("fuse", Fuse::spec(()));
        let root = Supervisor::one_for_one().child("fuses", fuses.spec()).start(&pool).await?;
        let fuses = root.supervisor("fuses");
        let fuse = fuses.child::<Fuse>("fuse"); // looked for at each send

        println!("100 / 5 = {}", fuse.send(Divide(5)).await?);
        let (first, supervisor) = (fuse.addr().await?.pid(), fuses.pid().await?);
        if let Err(why) = fuse.send(Divide(0)).await {
            println!("100 / 0: {}", why.exit_reason().expect("it has panicked"));
        }
        let quarter = fuse.send(Divide(4)).await?;
        println!("100 / 4 = {quarter}, from another actor: {}", fuse.addr().await?.pid() != first);

        assert!(fuse.send(Divide(0)).await.is_err());
        let half = fuse.send(Divide(2)).await?;
        let other = fuses.pid().await? != supervisor;
        println!("after one crash more: {half}, under another supervisor: {other}");
        pool.stop().await
    })
}
