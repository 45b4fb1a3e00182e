//! The master's files, read from another host.

use crate::fixture::Hosts;
use crate::support::{Process, WORKER};

#[test]
fn a_large_file_arrives_whole_and_in_little_memory_by_tls_and_through_ssh() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.now("silent h3 h1");
    hosts.sh("h1", "mkdir data && head -c 150000000 /dev/urandom > data/large");
    let right = hosts.sh("h1", "sha256sum < data/large");
    let right = right.split(' ').next().unwrap();
    let pool = hosts.pool(&["h2", "h3"], &["--share-read-only", "data"]);
    let master = hosts.with_arg("h1", "start").into_iter().max_by_key(peak_kib).unwrap();
    for host in ["h2", "h3"] {
        let slave = hosts.with_arg(host, WORKER).remove(0);
        let before = (peak_kib(&master), peak_kib(&slave));
        let node = format!("w@{host}");
        let spawn = ["pspawn", "spawn", "shared", "sha256", "[\"large\"]", "--node", &node];
        let digested = hosts.run("h1", &spawn).with_code(0).json();
        assert_eq!((&digested["sha256"], &digested["bytes"]), (&right.into(), &150_000_000.into()));
        let grown = (peak_kib(&master) - before.0, peak_kib(&slave) - before.1);
        println!("{host}: {} ms, memory grown by {grown:?} KiB", digested["millis"]);
        assert!(grown.0 < 64 << 10 && grown.1 < 64 << 10, "{host}: {grown:?} KiB more");
    }
    hosts.stop(pool);
}

/// The most memory that an OS process has had.
fn peak_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}
