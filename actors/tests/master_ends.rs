//! However the master ends, nothing is left: not a slave, not what a slave started.
//!
//! The slaves are this test's own executable, which registers the functions that make the mess.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use pspawn::prelude::*;
use rustix::process::Signal;
use support::{Account, GUARD, Started, WORKER, this_executable};

mod support;

/// Starts two children, one in a session of its own and one that is nobody's child and does not mind
/// being asked to end, and then computes without ever letting anybody else have the thread.
async fn spin(_: Ctx) {
    mess();
    loop {
        std::hint::spin_loop();
    }
}

/// The same children, without the load.
async fn litter(mut ctx: Ctx) {
    mess();
    ctx.receive::<()>().await;
}

fn mess() {
    let _own_session = Command::new("setsid").args(["sleep", "4711"]).spawn();
    let orphan = "trap '' TERM HUP INT; setsid sh -c 'sleep 4712; sleep 4713' & exit";
    let _parent = Command::new("sh").args(["-c", orphan]).status();
}

remote_fn!("mess": spin, litter);

/// A pool with this many slaves, each of which is busy and has its children.
fn busy_pool(account: &Account, slaves: usize, function: &str, more: &[&str]) -> Started {
    let (count, executable) = (slaves.to_string(), this_executable());
    let more = [more, &["--", &executable]].concat();
    let pool = account.pool(&[&["demo", "--local", &count], &more[..]].concat());
    make_mess(account, slaves, function);
    pool
}

fn make_mess(account: &Account, slaves: usize, function: &str) {
    let nodes = account.run(&["nodes", "--json"]).with_code(0).json();
    for node in nodes.as_array().unwrap().iter().filter(|node| node["role"] == "slave") {
        let node = node["node"].as_str().unwrap();
        account.run(&["spawn", "mess", function, "--no-wait", "--node", node]).with_code(0);
    }
    for sleeper in ["4711", "4712"] {
        account.until_with_arg(sleeper, slaves);
    }
}

#[test]
fn killed_during_a_busy_pool_nothing_is_left_in_50_rounds() {
    let account = Account::new();
    let mut longest = Duration::ZERO;
    let mut total = Duration::ZERO;
    for _ in 0..ROUNDS {
        let pool = busy_pool(&account, 2, "spin", &[]);
        assert_eq!(account.with_arg(WORKER).len() + account.with_arg(GUARD).len(), 4);
        pool.signal(Signal::KILL);
        let took = account.until_nothing_is_left(&[]);
        pool.wait();
        (longest, total) = (longest.max(took), total + took);
    }
    // On standard output, where `cargo test -- --nocapture` and CI show it.
    println!("{ROUNDS} rounds: at most {longest:?}, mean {:?}", total / ROUNDS);
}

#[test]
fn asked_to_end_it_stops_the_pool_and_exits_with_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let account = Account::new();
        let pool = busy_pool(&account, 2, "litter", &[]);
        pool.signal(signal);
        let ended = pool.wait().with_code(0);
        ended.says("pool demo is stopped");
        assert!(account.processes().is_empty(), "it returned before {:?}", account.processes());
        account.run(&["nodes"]).with_code(3).says("no pool is running");
    }
}

#[test]
fn a_second_ctrl_c_ends_the_stop_at_once() {
    let account = Account::new();
    let mut pool = busy_pool(&account, 1, "litter", &[]);
    // A stopped guard keeps the pool from stopping.
    account.with_arg(GUARD)[0].signal(Signal::STOP);
    pool.signal(Signal::INT);
    pool.line_with("Ctrl-C again");
    pool.signal(Signal::INT);
    pool.wait().with_code(130);
    // The kernel continues it now: nobody of its session is left who could.
    account.until_nothing_is_left(&[]);
}

#[test]
fn ctrl_c_during_the_start_leaves_nothing() {
    let account = Account::new();
    // A slave that says nothing and never calls back: `cat` waits as long as the life line is open.
    account.write("slave", "#!/bin/sh\nexec cat >/dev/null\n");
    let slave = account.work().join("slave");
    std::fs::set_permissions(&slave, PermissionsExt::from_mode(0o700)).unwrap();
    let pool = account.start(&["start", "demo", "--local", "2", "--", slave.to_str().unwrap()]);
    account.until_with_arg("cat", 2);
    pool.signal(Signal::INT);
    pool.wait().with_code(130);
    account.until_nothing_is_left(&[]);
}

#[test]
fn that_panics_exits_or_aborts_it_leaves_nothing() {
    for end in ["panic", "exit", "abort"] {
        let account = Account::new();
        let mut command = account.command(this_executable());
        command.env("END", end).args(["--exact", "a_master", "--ignored", "--nocapture"]);
        let mut master = Started::new(command);
        master.line_with("ends now");
        let master = master.wait();
        let expected = match end {
            "panic" => (Some(101), None),
            "exit" => (Some(7), None),
            _ => (None, Some(Signal::ABORT.as_raw())),
        };
        assert_eq!((master.code, master.signal), expected, "{master:#?}");
        account.until_nothing_is_left(&[]);
    }
}

/// The master of the test above, in an OS process of its own.
#[test]
#[ignore = "is no test: it ends its OS process"]
fn a_master() {
    let Ok(end) = std::env::var("END") else { return };
    let code = pspawn::run(|| async move {
        let pool = Pool::builder("demo").local(2).start().await?;
        for node in pool.nodes().await?.into_iter().filter(|node| *node != pool.here()) {
            pool.spawn_mfa_on(node, "mess", "litter", ()).await?;
        }
        println!("ends now");
        match end.as_str() {
            "exit" => std::process::exit(7),
            "abort" => std::process::abort(),
            _ => panic!("as asked"),
        }
    });
    unreachable!("{code:?}");
}

#[test]
fn that_is_silent_for_longer_than_the_limit_it_leaves_nothing() {
    let account = Account::new();
    let mut pool = busy_pool(&account, 2, "litter", &["--heartbeat", "100", "2000"]);
    let begin = Instant::now();
    pool.signal(Signal::STOP);
    account.until_nothing_is_left(&[pool.pid()]);
    println!("after a silence limit of 2 s: {:?}", begin.elapsed());
    // It finds itself alone, and knows why.
    pool.signal(Signal::CONT);
    pool.line_with("this node itself was stopped");
    support::until(|| match account.run(&["nodes"]).with_code(0).out.lines().count() {
        2 => Ok(()),
        lines => Err(format!("{lines} lines")),
    });
    pool.signal(Signal::INT);
    pool.wait().with_code(0);
}

/// As `cargo run` does, `sh -c` becomes the program that it runs.
#[test]
fn started_by_a_wrapper_that_becomes_it_it_leaves_nothing_when_that_is_killed() {
    let account = Account::new();
    let wrapper = start_wrapped(&account, "exec \"$@\"");
    wrapper.signal(Signal::KILL);
    account.until_nothing_is_left(&[]);
    wrapper.wait();
}

/// One that waits for it takes nobody along when it is killed, as with any program: the pool runs on,
/// is found by commands, and ends without a trace.
#[test]
fn a_wrapper_that_waits_and_is_killed_leaves_a_pool_that_can_be_stopped() {
    let account = Account::new();
    let wrapper = start_wrapped(&account, "\"$@\"; exit");
    drop(wrapper); // which kills it
    assert!(account.run(&["nodes"]).with_code(0).out.contains("demo-master@"));
    account.run(&["stop"]).with_code(0);
    account.until_nothing_is_left(&[]);
}

fn start_wrapped(account: &Account, script: &str) -> Started {
    let mut command = account.command("sh");
    let executable = this_executable();
    command.args(["-c", script, "sh", support::PSPAWN, "start", "demo", "--local", "2", "--"]);
    command.arg(executable);
    let mut wrapper = Started::new(command);
    wrapper.line_with("is up: ");
    make_mess(account, 2, "litter");
    wrapper
}

const ROUNDS: u32 = 50;
