//! Payloads of all lengths between two nodes: whole, and in the order sent, whatever else is on its way.

mod support;

use pspawn::Payload;
use pspawn::prelude::*;
use support::TestPool;

#[derive(Serialize, Deserialize)]
struct Load {
    sender: u64,
    seq: u64,
    data: Payload,
}

/// What a receiver has found wrong; nothing, if it has had all.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Found(Vec<String>);

/// Bytes that say where they are and whose: what is moved by less than 251, or by a power of two, is other bytes.
fn bytes(sender: u64, seq: u64, length: usize) -> Vec<u8> {
    let start = sender * 31 + seq;
    let pattern: Vec<u8> = (0..251).map(|at| (start + at) as u8).collect();
    let mut bytes = pattern.repeat(length / pattern.len() + 1);
    bytes.truncate(length);
    bytes
}

/// How long the next one is: short ones, those around each limit on the way, and long ones.
fn length(sender: u64, seq: u64) -> usize {
    const LENGTHS: [usize; 12] = [
        0,
        1,
        64,
        1000,
        (16 << 10) - 7,
        (32 << 10) - 5,
        64 << 10,
        (128 << 10) - 20,
        128 << 10,
        (256 << 10) + 1,
        1 << 20,
        (5 << 20) + 3,
    ];
    LENGTHS[((sender * 5 + seq * 7) % LENGTHS.len() as u64) as usize]
}

async fn sends(ctx: Ctx, to: Pid, sender: u64, count: u64) {
    for seq in 0..count {
        let data = Payload::from(bytes(sender, seq, length(sender, seq)));
        ctx.send(to, Load { sender, seq, data });
        yield_now().await;
    }
}

async fn takes(mut ctx: Ctx, teller: Pid, senders: u64, count: u64) {
    ctx.send(teller, ctx.pid());
    let mut next = vec![0; senders as usize];
    let mut found = Vec::new();
    for _ in 0..senders * count {
        let Load { sender, seq, data } = ctx.receive().await;
        if next[sender as usize] != seq {
            found.push(format!("{seq} of {sender} instead of {}", next[sender as usize]));
        }
        next[sender as usize] = seq + 1;
        if data[..] != bytes(sender, seq, length(sender, seq)) {
            found.push(format!("{seq} of {sender}: {} other bytes", data.len()));
        }
    }
    ctx.send(teller, Found(found));
}

remote_fn!("payload": sends, takes);

const SENDERS: u64 = 4;
const COUNT: u64 = 36;

#[actix::test]
async fn payloads_of_all_lengths_come_whole_and_in_order() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    // Both ways at the same time, and to the node of one of the senders itself.
    let ends = [(slaves[0], slaves[1]), (slaves[1], slaves[0]), (slaves[0], slaves[0])];
    let me = pool.inbox.pid();
    for (from, to) in ends {
        pool.spawn_mfa_on(to, "payload", "takes", (me, SENDERS, COUNT)).await.expect("it starts");
        let taker: Pid = pool.next().await;
        for sender in 0..SENDERS {
            let args = (taker, sender, COUNT);
            pool.spawn_mfa_on(from, "payload", "sends", args).await.expect("it starts");
        }
    }
    for _ in ends {
        assert_eq!(pool.next::<Found>().await, Found(Vec::new()));
    }
    pool.stop().await;
}
