//! Spawning, messages and questions inside one node: on one arbiter, and between two.
#![allow(missing_docs, reason = "criterion's macros make functions without them")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use pspawn::prelude::*;
use pspawn::{Cookie, Error};
use serde::de::DeserializeOwned;

/// How many were started since the count began.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// The time that some number of rounds took.
#[derive(Serialize, Deserialize)]
struct Took(Duration);

#[derive(Serialize, Deserialize)]
struct Started;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Number(u64);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Last(Pid);

/// Starts function processes, until the last of them runs.
async fn spawn_functions(mut ctx: Ctx, to: Pid, rounds: u64) {
    STARTED.store(0, Ordering::Relaxed);
    let begin = Instant::now();
    for _ in 0..rounds {
        ctx.spawn_fn("local", "leaf", (ctx.pid(), rounds)).await.expect("it starts");
    }
    ctx.receive::<Started>().await;
    ctx.send(to, Took(begin.elapsed()));
}

async fn leaf(ctx: Ctx, to: Pid, last: u64) {
    if STARTED.fetch_add(1, Ordering::Relaxed) + 1 == last {
        ctx.send(to, Started);
    }
}

/// Starts actors, until the last of them runs.
async fn spawn_actors(mut ctx: Ctx, to: Pid, rounds: u64) {
    STARTED.store(0, Ordering::Relaxed);
    let begin = Instant::now();
    for _ in 0..rounds {
        ctx.spawn_actor::<Leaf>((ctx.pid(), rounds)).await.expect("it starts");
    }
    ctx.receive::<Started>().await;
    ctx.send(to, Took(begin.elapsed()));
}

struct Leaf(Pid, u64);

impl Actor for Leaf {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if STARTED.fetch_add(1, Ordering::Relaxed) + 1 == self.1 {
            ProcessContext::send(ctx, self.0, Started);
        }
        ctx.stop();
    }
}
remote_actor!(Leaf as "leaf", new(to: Pid, last: u64) = Leaf(to, last), handles[]);

/// Sends messages to a function process, until it has received the last.
async fn tell_function(mut ctx: Ctx, to: Pid, rounds: u64) {
    let sink = ctx.spawn_fn("local", "sink", (ctx.pid(), rounds)).await.expect("it starts");
    let begin = Instant::now();
    for number in 0..rounds {
        ctx.send(sink, Number(number));
        yield_now().await;
    }
    ctx.receive::<Started>().await;
    ctx.send(to, Took(begin.elapsed()));
}

async fn sink(mut ctx: Ctx, to: Pid, rounds: u64) {
    for number in 0..rounds {
        let Number(got) = ctx.receive().await;
        assert_eq!(got, number);
    }
    ctx.send(to, Started);
}

/// Sends messages to an actor, until it has handled the last.
async fn tell_actor(mut ctx: Ctx, to: Pid, rounds: u64) {
    let echo = ctx.spawn_actor::<Echo>(()).await.expect("it starts");
    let begin = Instant::now();
    for number in 0..rounds {
        echo.do_send(Number(number));
        yield_now().await;
    }
    echo.do_send(Last(ctx.pid()));
    ctx.receive::<Started>().await;
    ctx.send(to, Took(begin.elapsed()));
    ctx.exit(echo.pid(), ExitReason::Shutdown);
}

/// Asks an actor, one question after the other.
async fn ask_actor(ctx: Ctx, to: Pid, rounds: u64) {
    let echo = ctx.spawn_actor::<Echo>(()).await.expect("it starts");
    let begin = Instant::now();
    for number in 0..rounds {
        assert_eq!(echo.send(Number(number)).await, Ok(number));
    }
    ctx.send(to, Took(begin.elapsed()));
    ctx.exit(echo.pid(), ExitReason::Shutdown);
}

struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Number> for Echo {
    type Result = u64;

    fn handle(&mut self, Number(number): Number, _: &mut Context<Self>) -> u64 {
        number
    }
}

impl Handler<Last> for Echo {
    type Result = ();

    fn handle(&mut self, Last(to): Last, ctx: &mut Context<Self>) {
        ProcessContext::send(ctx, to, Started);
    }
}
remote_actor!(Echo as "echo", new() = Echo, handles[Number, Last]);

/// A process that does nothing, for as long as it is let.
async fn idle(mut ctx: Ctx) {
    ctx.receive::<Last>().await;
}
remote_fn!("local": spawn_functions, leaf, spawn_actors, tell_function, sink, tell_actor, ask_actor, idle);

/// Lets a function process on the pool's master run so many rounds and say how long they took.
fn time(
    system: &actix::SystemRunner,
    pool: &Pool,
    function: &'static str,
    rounds: u64,
) -> Duration {
    system.block_on(async {
        let mut me = pool.mailbox();
        let args = (me.pid(), rounds);
        me.spawn_fn("local", function, args).await.expect("it starts");
        let Took(time) = next(&mut me).await;
        time
    })
}

async fn next<T: DeserializeOwned + Send + 'static>(me: &mut Ctx) -> T {
    me.receive_within(Duration::from_secs(60)).await.expect("it comes")
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, system: &actix::SystemRunner, pool: &Pool) {
    group.throughput(Throughput::Elements(1));
    for function in ["spawn_functions", "spawn_actors", "tell_function", "tell_actor", "ask_actor"]
    {
        group.bench_function(function, |bencher| {
            bencher.iter_custom(|rounds| time(system, pool, function, rounds));
        });
    }
}

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10)
        .configure_from_args();
    let system = actix::System::new();
    for workers in [1, 2] {
        let cookie = Cookie::random().expect("random bytes");
        let builder = Pool::builder("bench").cookie(cookie).local(0).workers(workers);
        let pool = system.block_on(builder.start())?;
        let mut group = criterion.benchmark_group(format!("local, arbiters: {workers}"));
        measure(&mut group, &system, &pool);
        group.finish();
        system.block_on(pool.stop())?;
    }
    criterion.final_summary();
    Ok(())
}
