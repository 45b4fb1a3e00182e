//! Hosts that are lost, slow, or out of sight of each other, while the pool works on.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fixture::{Hosts, this_program};
use crate::support::{Started, WORKER, until};

#[test]
fn a_host_whose_power_goes_is_lost_and_the_others_work_on() {
    let Some(hosts) = Hosts::up(3) else { return };
    let pool = hosts.pool(&["h2", "h3"], &HEARTBEAT);
    let waiting = waiting_for(&hosts, "h3");
    let begin = Instant::now();
    hosts.now("crash h3");
    hosts.until_slaves(&["h2"]);
    let took = begin.elapsed();
    waiting.wait().with_code(1).says("noconnection");
    println!(
        "power off: noticed after {took:?}, and whoever waited heard of it after {:?}",
        begin.elapsed()
    );
    assert!(took < SILENCE_MAX + SLACK, "{took:?}");
    hosts.computes("h2");
    hosts.now("boot h3"); // it knows of nothing
    assert!(hosts.processes("h3").is_empty());
    hosts.stop(pool);
}

#[test]
fn a_host_that_is_cut_off_ends_its_slave_and_the_others_work_on() {
    let Some(hosts) = Hosts::up(3) else { return };
    let pool = hosts.pool(&["h2", "h3"], &HEARTBEAT);
    // Cut for a moment: nobody notices.
    let waiting = waiting_for(&hosts, "h3");
    hosts.now("cut h3");
    hosts.now("restore h3");
    hosts.computes("h3");
    // Cut for longer.
    let begin = Instant::now();
    hosts.now("cut h3");
    hosts.until_nothing_is_left(&["h3"]);
    let took = begin.elapsed();
    println!("cut off: nothing is left after {took:?}, of {SILENCE_MAX:?}");
    assert!(took < SILENCE_MAX + SLACK, "{took:?}");
    waiting.wait().with_code(1).says("noconnection");
    hosts.until_slaves(&["h2"]);
    hosts.computes("h2");
    hosts.now("restore h3");
    hosts.computes("h2");
    hosts.until_slaves(&["h2"]);
    hosts.stop(pool);
}

/// Both are still in the pool, as the master sees both; ties between them break, and can be made again afterwards.
#[test]
fn two_slaves_that_cannot_see_each_other() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.install("tests", this_program());
    let program = Hosts::installed("tests");
    let pool = hosts.pool(&["h2", "h3"], &[&HEARTBEAT[..3], &["--", &program]].concat());
    let watch = ["pspawn", "spawn", "hosts", "watch", "[\"w@h3\"]", "--node", "w@h2"];
    let mut watching = hosts.start("h1", &watch);
    watching.line_with("watching ");
    let begin = Instant::now();
    hosts.now("part h2 h3");
    let ended = watching.wait().with_code(0);
    println!("parted: noticed after {:?}", begin.elapsed());
    assert_eq!(ended.out, "\"noconnection\"\n");
    hosts.until_slaves(&["h2", "h3"]);
    hosts.computes("h2");
    hosts.computes("h3");
    let fetch = ["pspawn", "spawn", "hosts", "fetch", "[\"w@h3\", 100000]", "--node", "w@h2"];
    let begin = Instant::now();
    until(|| {
        let ended = hosts.run("h1", &fetch);
        if ended.out == "100000\n" { Ok(()) } else { Err(format!("{ended:?}")) }
    });
    println!("parted: connected through the master after {:?}", begin.elapsed());
    hosts.now("join h2 h3");
    until(|| {
        let ended = hosts.run("h1", &fetch);
        if ended.out == "100000\n" { Ok(()) } else { Err(format!("{ended:?}")) }
    });
    hosts.stop(pool);
}

/// The slave's OS process alone is killed: its guard and its host live.
#[test]
fn a_slave_that_is_killed_is_lost_and_leaves_nothing_on_its_host() {
    let Some(hosts) = Hosts::up(3) else { return };
    let pool = hosts.pool(&["h2", "h3"], &HEARTBEAT);
    hosts.leave_running("h3", "setsid sleep 4711 & sleep 4712");
    hosts.until_with_arg("h3", "4711");
    for worker in hosts.with_arg("h3", WORKER) {
        worker.signal(Signal::KILL);
    }
    hosts.until_nothing_is_left(&["h3"]);
    hosts.until_slaves(&["h2"]);
    hosts.stop(pool);
}

/// What ssh is on either side belongs to the slave: it is its life line.
#[test]
fn without_its_ssh_session_a_slave_ends() {
    let Some(hosts) = Hosts::up(4) else { return };
    let pool = hosts.pool(&["h2", "h3", "h4"], &HEARTBEAT);
    for host in ["h2", "h3"] {
        hosts.leave_running(host, "setsid sleep 4711 & sleep 4712");
        hosts.until_with_arg(host, "4711");
    }
    let client =
        hosts.with_arg("h1", "h2").into_iter().find(|process| process.args[0].ends_with("ssh"));
    client.expect("a client for h2").signal(Signal::KILL);
    hosts.until_nothing_is_left(&["h2"]);
    hosts.until_slaves(&["h3", "h4"]);
    hosts.sh("h3", "pkill -KILL -f '[s]shd: root'");
    hosts.until_nothing_is_left(&["h3"]);
    hosts.until_slaves(&["h4"]);
    hosts.computes("h4");
    hosts.stop(pool);
}

/// A command that waits for a shell command, which runs on this slave.
fn waiting_for(hosts: &Hosts, host: &str) -> Started {
    let node = format!("w@{host}");
    let args = ["pspawn", "spawn", "shell", "run", "[\"sleep 4712\"]", "--node", &node];
    let started = hosts.start("h1", &args);
    hosts.until_with_arg(host, "4712");
    started
}

const HEARTBEAT: [&str; 5] = ["--heartbeat", "200", "1500", "--allow", "shell"];
const SILENCE_MAX: Duration = Duration::from_millis(1500);
/// What is asked of a machine that runs all the tests at once.
const SLACK: Duration = Duration::from_secs(2);
