//! The actor handles `Inc`, but takes nothing from other nodes.

use pspawn::prelude::*;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
struct Inc(i64);

struct Counter(i64);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Inc> for Counter {
    type Result = i64;

    fn handle(&mut self, Inc(n): Inc, _: &mut Context<Self>) -> i64 {
        self.0 += n;
        self.0
    }
}

remote_actor!(Counter as "counter", new(total: i64) = Counter(total), handles[]);

async fn count_up(counter: RemoteAddr<Counter>) {
    counter.do_send(Inc(1));
}

fn main() {
    let _ = count_up;
}
