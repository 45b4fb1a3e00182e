//! Pools that start as they should: cold and warm, on slow lines, of several pools and users at once.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use crate::fixture::{Hosts, able, hosts_file, this_program, tiles};
use crate::support::Started;

#[test]
fn on_3_hosts_without_and_with_the_executable_in_their_cache() {
    let Some(hosts) = Hosts::up(4) else { return };
    hosts.write("h1", ".hosts.erlang", "h2.\n'h3'.\n\"root@h4:22\".\n");
    let mut cached = Vec::new();
    for (cache, limit) in [("cold", COLD), ("warm", WARM)] {
        let begin = Instant::now();
        let mut pool = hosts.start("h1", &["pspawn", "start", "w"]);
        for host in hosts.from(2) {
            let line = pool.line_with(&format!("w@{host} is up after "));
            assert!(line.contains(" ms"), "{line}");
        }
        pool.line_with("is up: 4 nodes");
        let took = begin.elapsed();
        println!("3 hosts, {cache} cache: {took:?}, of {limit:?}");
        assert!(took < limit * LOADED, "{cache}: {took:?}");

        hosts.until_slaves(&["h2", "h3", "h4"]);
        hosts.from(2).iter().for_each(|host| hosts.computes(host));
        hosts.stop(pool);
        cached.push(hosts.from(2).iter().map(|host| one_cached(&hosts, host)).collect::<Vec<_>>());
    }
    assert_eq!(cached[0], cached[1], "the second time nothing was sent");
}

/// The inode of the one executable in a host's cache, which is what it is named after, and the user's alone.
fn one_cached(hosts: &Hosts, host: &str) -> u64 {
    let folder = hosts.home(host).join(".cache/pspawn");
    let found: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [one] = &found[..] else { panic!("{found:?}") };
    let name = one.file_name().unwrap().to_str().unwrap();
    let sum = hosts.sh(host, &format!("sha256sum < .cache/pspawn/{name}"));
    assert_eq!(name, format!("pspawn-{}", sum.split(' ').next().unwrap()));
    let facts = fs::metadata(one).unwrap();
    assert_eq!(facts.permissions().mode() & 0o7077, 0, "{name}");
    assert_eq!(facts.len(), fs::metadata(hosts.folder().join("bin/pspawn")).unwrap().len());
    facts.ino()
}

#[test]
fn on_slow_and_lossy_lines() {
    if !able(&["net.sh", "delay"], "the test on slow lines") {
        return;
    }
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.now("delay h2 60");
    hosts.now("loss h3 3");
    let mut pool = hosts.pool(&["h2", "h3"], &["--start-timeout", "50"]);
    println!("delayed: {}", pool.line_with("w@h2 is up after "));
    println!("lossy: {}", pool.line_with("w@h3 is up after "));
    hosts.until_slaves(&["h2", "h3"]);
    hosts.computes("h2");
    hosts.computes("h3");
    hosts.now("loss h3 0"); // a stop whose words are lost is one of the ends in ends.rs
    hosts.stop(pool);
}

/// One that cannot open a connection to the master, as from behind a firewall, goes through its ssh session.
#[test]
fn on_a_host_that_cannot_reach_the_master() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.install("tests", this_program());
    hosts.now("silent h3 h1");
    let pool = hosts.pool(&["h2", "h3"], &["--", &Hosts::installed("tests")]);
    hosts.until_slaves(&["h2", "h3"]);
    let fetch = ["pspawn", "spawn", "hosts", "fetch", "[\"w@h3\", 3000000]", "--node", "w@h2"];
    assert_eq!(hosts.run("h1", &fetch).with_code(0).out, "3000000\n");
    hosts.stop(pool);
    let demo = hosts
        .run("h1", &["pspawn", "demo", "--hosts", ".hosts.erlang", "--size", "480x300"])
        .with_code(0);
    assert!(tiles(&demo, "demo@h3") > 0, "{demo:#?}");
    hosts.until_nothing_is_left(&hosts.from(1));
}

/// A command is a node of its own, on the master's host.
#[test]
fn commands_reach_a_slave_that_cannot_reach_their_host() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.now("silent h3 h1");
    let pool = hosts.pool(&["h2", "h3"], &[]);
    hosts.computes("h3");
    hosts.stop(pool);
}

#[test]
fn two_pools_on_the_same_hosts_at_once() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.write("h1", ".hosts.erlang", &hosts_file(&["h2", "h3"]));
    let mut pools =
        ["one", "two"].map(|name| (name, hosts.start("h1", &["pspawn", "start", name])));
    for (_, pool) in &mut pools {
        pool.line_with("is up: 3 nodes");
    }
    let compute = |name: &str| {
        let node = format!("{name}@h3");
        let words = ["pspawn", "spawn", "--pool", name, "math", "cube_of", "[7]", "--node", &node];
        assert_eq!(hosts.run("h1", &words).with_code(0).out, "343\n");
    };
    compute("one");
    compute("two");
    let [(_, one), (_, two)] = pools;
    hosts.run("h1", &["pspawn", "stop", "--pool", "one"]).with_code(0);
    one.wait().with_code(0);
    compute("two");
    hosts.run("h1", &["pspawn", "stop"]).with_code(0);
    two.wait().with_code(0);
    hosts.until_nothing_is_left(&hosts.from(1));
    one_cached(&hosts, "h2"); // though both came at once
}

#[test]
fn pools_of_two_users_on_the_same_hosts() {
    let Some(hosts) = Hosts::up(3) else { return };
    let root = hosts.pool(&["h2", "h3"], &[]);
    let ann = |args: &[&str]| Started::new(hosts.command_of("ann", "h1", args));
    let file = "/home/ann/.hosts.erlang";
    ann(&["sh", "-c", &format!("printf 'h2.\\nh3.\\n' > {file}")]).wait().with_code(0);
    let mut pool = ann(&["pspawn", "start", "w"]);
    pool.line_with("is up: 3 nodes");

    hosts.computes("h2");
    let spawn = ["pspawn", "spawn", "os", "new", "[]", "--node", "w@h2"];
    ann(&spawn).wait().with_code(0);
    let users = hosts.sh("h2", "ps -eo user:20=,args= | grep -e '--pspawn-worker' | grep -v grep");
    let mut users: Vec<&str> = users.lines().map(|line| line.split(' ').next().unwrap()).collect();
    users.sort_unstable();
    assert_eq!(users, ["ann", "root"]);
    let ann_runs =
        hosts.sh("h2", "readlink $(pgrep -u ann -f pspawn-worker | sed 's,.*,/proc/&/exe,')");
    assert!(ann_runs.starts_with("/home/ann/.cache/pspawn/pspawn-"), "{ann_runs}");

    // Neither sees the other's pool.
    hosts.run("h1", &["pspawn", "stop"]).with_code(0);
    root.wait().with_code(0);
    hosts.run("h1", &["pspawn", "nodes"]).with_code(3);
    ann(&["pspawn", "stop"]).wait().with_code(0);
    pool.wait().with_code(0);
    hosts.until_nothing_is_left(&hosts.from(1));
}

/// What users are promised on a machine that does nothing else.
const COLD: Duration = Duration::from_secs(5);
const WARM: Duration = Duration::from_secs(3);
/// One that runs all the tests at once is slower.
const LOADED: u32 = 4;
