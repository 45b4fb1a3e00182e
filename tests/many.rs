//! A hundred thousand actors come, answer and go, and leave nothing behind.

mod support;

use std::alloc::System;
use std::process::Command;
use std::time::Instant;

use futures::StreamExt;
use futures::stream;
use pspawn::prelude::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::TestPool;

/// The test runs itself again with a single malloc arena. With one for each thread glibc's resident set
/// says little: what was freed in one arena is of no use in another, so it grew by up to two thirds
/// while the live heap stayed the same.
#[test]
fn a_hundred_thousand_actors_leave_nothing_behind() {
    if std::env::var_os(ARENAS).is_some() {
        return actix::System::new().block_on(come_and_go());
    }
    let mut again = Command::new(std::env::current_exe().expect("it runs"));
    let again = again.env(ARENAS, "1").args(["--nocapture", "--exact"]);
    let status = again.arg("a_hundred_thousand_actors_leave_nothing_behind").status();
    assert!(status.expect("it starts").success());
}

/// Half of them live on each slave, all at the same time. Of each slave's OS process the last round's
/// figures are compared with those of the one before; the first lets tables and buffers grow.
async fn come_and_go() {
    let mut pool = TestPool::start(2).await;
    let slaves = pool.slaves().await;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let begin = Instant::now();
        let all: Vec<RemoteAddr<Once>> = stream::iter(0..ACTORS)
            .map(|number| pool.spawn_on::<Once>(slaves[number as usize % 2], number))
            .buffer_unordered(AT_ONCE)
            .map(|started| started.expect("it starts"))
            .collect()
            .await;
        let started = begin.elapsed();
        let full = figures_of(&mut pool, &slaves, ACTORS as usize / 2).await;
        let begin = Instant::now();
        let sum = stream::iter(all)
            .map(answer_and_go)
            .buffer_unordered(AT_ONCE)
            .fold(0, async |sum, number| sum + number)
            .await;
        assert_eq!(sum, ACTORS * (ACTORS - 1) / 2, "each has answered once");
        let ended = begin.elapsed();
        let empty = figures_of(&mut pool, &slaves, 0).await;
        println!("round {round}: {ACTORS} started in {started:?}, answered and ended in {ended:?}");
        println!("  {full:?}\n  {empty:?}");
        rounds.push([full, empty].concat());
    }
    let [.., before, after] = &rounds[..] else { panic!("there were rounds") };
    for (before, after) in before.iter().zip(after) {
        // Four bytes that each actor leaves behind are too much; a buffer more or less is not.
        assert!(after.live < before.live + ACTORS * 2, "held {before:?}, now {after:?}");
        let most = before.resident + before.resident / 10;
        assert!(after.resident <= most, "had {before:?}, now {after:?}");
    }
    pool.stop().await;
}

async fn answer_and_go(once: RemoteAddr<Once>) -> u64 {
    let number = once.send(Answer).await.expect("it answers");
    once.send(Leave).await.expect("it leaves");
    number
}

/// Asks the slaves what they hold, once no more than `others` live on each.
async fn figures_of(pool: &mut TestPool, slaves: &[NodeName], others: usize) -> Vec<Figures> {
    let mut figures = Vec::new();
    for slave in slaves {
        let args = (pool.inbox.pid(), others);
        pool.spawn_mfa_on(*slave, "many", "count", args).await.expect("it starts");
        figures.push(pool.next().await);
    }
    figures
}

/// Answers one message.
struct Once(u64);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Answer;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Leave;

impl Actor for Once {
    type Context = Context<Self>;
}

impl Handler<Answer> for Once {
    type Result = u64;

    fn handle(&mut self, _: Answer, _: &mut Context<Self>) -> u64 {
        self.0
    }
}

impl Handler<Leave> for Once {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
remote_actor!(Once as "once", new(number: u64) = Once(number), handles[Answer, Leave]);

/// Bytes that an OS process holds: on its heap, and in memory altogether.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Figures {
    live: u64,
    resident: u64,
}

/// Waits until the last of a round has gone, which may be after its answer, and looks.
async fn count(ctx: Ctx, tester: Pid, others: usize) {
    while ctx.pool().actors() > others + 1 {
        actix_rt::task::yield_now().await;
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident set");
    let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    let heap = HEAP.stats();
    let live = (heap.bytes_allocated - heap.bytes_deallocated) as u64;
    ctx.send(tester, Figures { live, resident: kib * 1024 });
}
remote_fn!("many": count);

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// glibc's name for it.
const ARENAS: &str = "MALLOC_ARENA_MAX";
const ACTORS: u64 = 100_000;
const AT_ONCE: usize = 256;
const ROUNDS: usize = 3;
