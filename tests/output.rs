//! Floods of output: lossless, bounded at both ends, and nobody's business but that of who prints them.

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

use pspawn::prelude::*;
use pspawn::{OutputLine, PoolBuilder, Stream, yield_now};
use support::{DEADLINE, TestPool};

#[actix::test]
async fn a_million_lines_of_one_slave_delay_no_other_and_fill_no_memory() {
    let (mut pool, lines) = pool_with_slow_sink(short_heartbeat).await;
    let (flooded, quiet) = (pool.slaves().await[0], pool.slaves().await[1]);
    let flood = pool.spawn_mfa_on(flooded, "output", "flood", (FLOOD,)).await.expect("it starts");
    let mut expect_flood = in_order(flooded, Some(flood));
    expect_flood(lines.next());

    // The sink is stuck now for longer than a node may be silent.
    pool.inbox.receive_within::<()>(SILENCE_MAX * 2).await;
    let said: u64 = call_on(&pool, flooded, "said", (flood,)).await;
    assert!(said < 5_000, "{said} lines wait");
    assert_eq!(pool.nodes().await.expect("the master answers").len(), 3, "heartbeats went on");

    // Another slave has its turn at once, though thousands of lines came before its own.
    call_on::<()>(&pool, quiet, "hello", ()).await;
    let mut before = 0;
    loop {
        let line = lines.next();
        if line.node == quiet {
            assert_eq!(line.line, "hello");
            break;
        }
        expect_flood(line);
        before += 1;
        assert!(before <= AHEAD + 3, "OU-4: {before} lines before that of the quiet one");
    }

    while expect_flood(lines.next()) < FLOOD {}
    let grown = pool.tell_rss(flooded).await;
    assert!(grown < 200 << 20, "the slave has {grown} bytes in memory");
    pool.stop().await;
}

#[actix::test]
async fn killing_an_actor_that_rests_or_waits_in_its_turn_works_at_once() {
    let (mut pool, lines) = pool_with_slow_sink(|builder| builder).await;
    for node in pool.nodes().await.expect("the master answers") {
        for function in ["flood", "flood_in_one_turn"] {
            let flood = pool.spawn_mfa_on(node, "output", function, (FLOOD,)).await;
            let flood = flood.expect("it starts");
            for number in 0..1_000 {
                assert_eq!(lines.next_of(flood), number.to_string());
            }
            // The sink is stuck now, and soon the flood is as well.
            let monitor = pool.inbox.monitor(flood);
            pool.exit(flood, ExitReason::Kill);
            let down = pool.next_down().await;
            assert_eq!((down.monitor, down.reason), (monitor, ExitReason::Killed));
            // What it had printed is shown all the same, and nothing after it. There may be no room for a
            // line more before some are taken: whoever is to print that is not waited for yet.
            let hello = pool.call_on::<()>(node, "output", "hello", ()).await.expect("it starts");
            let mut next = 1_000;
            loop {
                let line = lines.next();
                if line.line == "hello" {
                    break;
                }
                assert_eq!((line.pid, line.line), (Some(flood), next.to_string()));
                next += 1;
            }
            hello.await.expect("it ends");
        }
    }
    pool.stop().await;
}

#[actix::test]
async fn a_turn_that_prints_more_than_is_shown_waits_and_loses_nothing() {
    let (pool, lines) = pool_with_slow_sink(|builder| builder).await;
    for node in pool.nodes().await.expect("the master answers") {
        let flood = pool.spawn_mfa_on(node, "output", "flood_in_one_turn", (20_000_u64,)).await;
        let flood = flood.expect("it starts");
        for number in 0..20_000 {
            let line = lines.next();
            assert_eq!((line.pid, line.line), (Some(flood), number.to_string()));
        }
    }
    pool.stop().await;
}

// The turn ends after the deadline, so that its thread is free again; what is missing is told at its place.
#[actix::test]
async fn a_turn_that_prints_while_nothing_is_shown_loses_lines_in_the_end_and_says_how_many() {
    let (pool, lines) = pool_with_slow_sink(|builder| builder).await;
    let (here, slave) = (pool.here(), pool.slaves().await[0]);
    for node in [here, slave] {
        call_on::<()>(&pool, node, "flood_in_one_turn", (TURN,)).await;
        let (mut next, mut lost) = (0, 0);
        while next + lost < TURN {
            let line = lines.next();
            let told = line.line.strip_prefix("… ").and_then(|line| line.split_once(' '));
            if let Some((number, rest)) = told {
                assert_eq!(rest, format!("lines of {node} were lost: printed faster than shown"));
                assert_eq!((line.node, line.stream, lost), (node, Stream::Err, 0), "told once");
                lost = number.parse().unwrap();
            } else {
                assert_eq!((line.node, line.line), (node, next.to_string()));
                next += 1;
            }
        }
        assert!(next >= 4_096 && lost > 0, "{next} shown, {lost} lost");
        call_on::<()>(&pool, node, "hello", ()).await;
        assert_eq!(lines.next().line, "hello");
    }
    pool.stop().await;
}

#[actix::test]
async fn who_rests_goes_on_when_its_leader_is_lost() {
    let (mut pool, lines) = pool_with_slow_sink(|builder| builder).await;
    let (leader, node) = (pool.slaves().await[0], pool.slaves().await[1]);
    let flood = pool.spawn_mfa_on(node, "output", "flood_when_led", (100_000_u64,)).await;
    let flood = flood.expect("it starts");
    // What the leader shows goes to its standard output: a pipe, which is not read for long.
    pool.inbox.set_group_leader(flood, leader);
    pool.inbox.send(flood, ());
    while call_on::<u64>(&pool, node, "said", (flood,)).await < 1_000 {}
    let monitor = pool.inbox.monitor(flood);
    pool.kill(leader).await;
    let down = pool.next_down().await;
    assert_eq!((down.monitor, down.reason), (monitor, ExitReason::Normal));
    drop(lines);
    pool.stop().await;
}

/// Takes the lines of a flood, each with its number, from 0; how many have come.
fn in_order(node: NodeName, pid: Option<Pid>) -> impl FnMut(OutputLine) -> u64 {
    let mut next = 0_u64;
    move |line| {
        let expected = (node, pid, Stream::Out, next.to_string());
        assert_eq!((line.node, line.pid, line.stream, line.line), expected, "nothing is lost");
        next += 1;
        next
    }
}

#[actix::test]
async fn a_flood_of_println_is_held_back_at_its_pipe() {
    let (mut pool, lines) = pool_with_slow_sink(short_heartbeat).await;
    let (flooded, quiet) = (pool.slaves().await[0], pool.slaves().await[1]);
    let flood = pool.spawn_mfa_on(flooded, "output", "println", (PRINTLN,)).await;
    let flood = flood.expect("it starts");
    let mut expect_flood = in_order(flooded, None);
    expect_flood(lines.next());
    pool.inbox.receive_within::<()>(SILENCE_MAX * 2).await;
    let said: u64 = call_on(&pool, flooded, "said", (flood,)).await;
    assert!(said < PRINTLN / 2, "{said} lines wait");
    call_on::<()>(&pool, quiet, "hello", ()).await;
    let mut before = 0;
    loop {
        let line = lines.next();
        if line.node == quiet {
            break;
        }
        expect_flood(line);
        before += 1;
        assert!(before <= AHEAD + 3, "OU-4: {before} lines before that of the quiet one");
    }
    while expect_flood(lines.next()) < PRINTLN {}
    pool.stop().await;
}

#[actix::test]
async fn empty_lines_and_very_long_ones_arrive() {
    let (pool, lines) = pool_with_slow_sink(|builder| builder).await;
    for node in pool.nodes().await.expect("the master answers") {
        let long = "ü".repeat(200_000);
        pool.spawn_mfa_on(node, "output", "says", (&long,)).await.expect("it starts");
        assert_eq!(lines.next().line, "");
        let mut heard = String::new();
        while heard.len() < long.len() {
            heard += &lines.next().line;
        }
        assert_eq!(heard, long);
        assert_eq!(lines.next().line, "end");
    }
    pool.stop().await;
}

/// Ends with all that has come being shown, unless whoever shows it is stuck.
#[actix::test]
async fn the_end_of_a_pool_shows_what_has_come_and_waits_for_no_stuck_sink() {
    let (pool, lines) = pool_with_slow_sink(|builder| builder).await;
    let node = pool.slaves().await[0];
    pool.spawn_mfa_on(node, "output", "flood", (FLOOD,)).await.expect("it starts");
    lines.next();
    pool.stop().await; // nobody takes any more lines
}

async fn flood(ctx: Ctx, lines: u64) {
    for number in 0..lines {
        say!("{number}");
        has_said(ctx.pid());
        yield_now().await;
    }
}

async fn flood_in_one_turn(ctx: Ctx, lines: u64) {
    for number in 0..lines {
        say!("{number}");
        has_said(ctx.pid());
    }
}

async fn flood_when_led(mut ctx: Ctx, lines: u64) {
    ctx.receive::<()>().await;
    flood(ctx, lines).await;
}

async fn println(ctx: Ctx, lines: u64) {
    for number in 0..lines {
        println!("{number}");
        has_said(ctx.pid());
    }
}

async fn says(_: Ctx, text: String) {
    say!("");
    say!("{text}\nend");
}

async fn hello(_: Ctx) {
    say!("hello");
}

async fn said(_: Ctx, of: Pid) -> u64 {
    SAID.lock().unwrap().get(&of).copied().unwrap_or_default()
}

fn has_said(me: Pid) {
    *SAID.lock().unwrap().entry(me).or_default() += 1;
}

async fn rss_bytes(_: Ctx) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

remote_fn!("output": flood, flood_in_one_turn, flood_when_led, println, says, hello, said, rss_bytes);

/// How many lines each flood of this OS process has said.
static SAID: Mutex<BTreeMap<Pid, u64>> = Mutex::new(BTreeMap::new());

impl TestPool {
    /// What a node's OS process had in memory when that was most.
    async fn tell_rss(&self, node: NodeName) -> u64 {
        call_on(self, node, "rss_bytes", ()).await
    }
}

/// What a function has printed there has come when this returns.
async fn call_on<R>(pool: &TestPool, node: NodeName, function: &str, args: impl Serialize) -> R
where
    R: serde::de::DeserializeOwned + Send + 'static,
{
    let called = pool.call_on::<R>(node, "output", function, args).await.expect("it starts");
    called.await.expect("it ends")
}

/// Lines as a sink gets them that takes no more than this gives out.
struct Lines(Receiver<OutputLine>);

impl Lines {
    fn next(&self) -> OutputLine {
        match self.0.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {DEADLINE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("nobody shows lines any more"),
        }
    }

    /// The next that this actor has printed. One that was killed while it printed may come after its end.
    fn next_of(&self, pid: Pid) -> String {
        let mut lines = std::iter::repeat_with(|| self.next());
        lines.find(|line| line.pid == Some(pid)).expect("there is no end of them").line
    }
}

async fn pool_with_slow_sink(set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> (TestPool, Lines) {
    let (show, lines) = sync_channel(AHEAD);
    let pool = TestPool::start_with(2, |builder| {
        set(builder).output(move |line| drop(show.send(line.clone())))
    });
    (pool.await, Lines(lines))
}

fn short_heartbeat(builder: PoolBuilder) -> PoolBuilder {
    builder.heartbeat(Duration::from_millis(100), SILENCE_MAX)
}

const FLOOD: u64 = 1_000_000;
const PRINTLN: u64 = 100_000;
const TURN: u64 = 20_000;
/// What the sink takes before the test has.
const AHEAD: usize = 64;
const SILENCE_MAX: Duration = Duration::from_millis(1_500);
