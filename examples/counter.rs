//! An actor on another node: construct it there, send it messages, read the answers.
//!
//! ```text
//! $ cargo run --example counter
//! the counter is at 5
//! the counter is at 12
//! ```

use pspawn::prelude::*;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
struct Inc(i64);

struct Counter {
    total: i64,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Inc> for Counter {
    type Result = i64;

    fn handle(&mut self, Inc(n): Inc, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

remote_actor!(Counter as "counter", new(total: i64) = Counter { total }, handles[Inc]);

fn main() -> ExitCode {
    pspawn::run(|| async {
        let pool = Pool::builder("demo").local(2).start().await?;
        let nodes = pool.nodes().await?;
        let counter = pool.spawn_on::<Counter>(nodes[1], 0).await?;
        println!("the counter is at {}", counter.send(Inc(5)).await?);
        println!("the counter is at {}", counter.send(Inc(7)).await?);
        pool.stop().await
    })
}
