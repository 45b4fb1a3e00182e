//! However the master ends, with its machine or cut off from it: nothing of the pool is left on any host.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fixture::Hosts;
use crate::support::Started;

#[test]
fn however_the_master_ends_nothing_is_left_on_any_host() {
    let Some(hosts) = Hosts::up(3) else { return };
    for end in ["stop", "interrupt", "kill -9", "silence", "power off", "partition"] {
        let pool = busy_pool(&hosts);
        let begin = Instant::now();
        match end {
            "stop" => drop(hosts.run("h1", &["pspawn", "stop"]).with_code(0)),
            "interrupt" => hosts.signal(&pool, Signal::INT),
            "kill -9" => hosts.signal(&pool, Signal::KILL),
            "silence" => hosts.signal(&pool, Signal::STOP),
            "power off" => hosts.now("crash h1"),
            _ => hosts.now("cut h1"),
        }
        let told = begin.elapsed();
        hosts.until_nothing_is_left(&["h2", "h3"]);
        let took = begin.elapsed();
        println!("{end} ({told:?}): nothing is left after {took:?}, the limit is {LIMIT:?}");
        assert!(took < SILENCE_MAX + SLACK, "{end}: {took:?}");
        match end {
            "power off" => {
                drop(pool);
                hosts.now("boot h1");
            }
            "partition" => {
                // The master finds itself alone, and lives on.
                hosts.until_slaves(&[]);
                hosts.now("restore h1");
                hosts.until_slaves(&[]);
                hosts.stop(pool);
            }
            "silence" => {
                hosts.signal(&pool, Signal::CONT);
                hosts.until_slaves(&[]);
                hosts.stop(pool);
            }
            _ => drop(pool.wait()),
        }
        hosts.until_nothing_is_left(&hosts.from(1));
    }
}

/// One slave has its own connection to the master, the other only the tunnel through its ssh session.
#[test]
fn however_the_master_ends_a_slave_behind_a_tunnel_ends_too() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.now("silent h3 h1");
    for end in ["stop", "kill -9", "silence", "power off", "partition"] {
        let pool = hosts.pool(&["h2", "h3"], &["--heartbeat", "200", "1500"]);
        let begin = Instant::now();
        match end {
            "stop" => drop(hosts.run("h1", &["pspawn", "stop"]).with_code(0)),
            "kill -9" => hosts.signal(&pool, Signal::KILL),
            "silence" => hosts.signal(&pool, Signal::STOP),
            "power off" => hosts.now("crash h1"),
            _ => hosts.now("cut h1"),
        }
        hosts.until_nothing_is_left(&["h2", "h3"]);
        let took = begin.elapsed();
        println!("{end}, with a tunnel: nothing is left after {took:?}, the limit is {LIMIT:?}");
        assert!(took < SILENCE_MAX + SLACK, "{end}: {took:?}");
        if end == "silence" {
            hosts.signal(&pool, Signal::KILL);
        }
        drop(pool);
        hosts.now("crash h1");
        hosts.now("boot h1");
    }
}

/// With children that leave their session and do not listen.
fn busy_pool(hosts: &Hosts) -> Started {
    let tick = ["--allow", "shell", "--heartbeat", "200", "1500"];
    let pool = hosts.pool(&["h2", "h3"], &tick);
    for host in ["h2", "h3"] {
        hosts.leave_running(host, "trap '' TERM HUP INT; setsid sleep 4711 & sleep 4712");
        hosts.until_with_arg(host, "4711");
    }
    pool
}

const SILENCE_MAX: Duration = Duration::from_millis(1500);
/// What is promised, on a machine that does nothing else.
const LIMIT: Duration = Duration::from_millis(1500 + 200);
/// What is asked of one that runs all the tests at once.
const SLACK: Duration = Duration::from_secs(2);
