//! Other ways to a host than ssh, and the doctor, who looks at hosts without starting a pool.

use std::os::unix::fs::PermissionsExt;

use crate::fixture::{Hosts, hosts_file, tiles};
use crate::support::{Account, Ended};

/// The master is on the machine that the hosts are on: it has no network to them at all.
#[test]
fn a_command_of_ones_own_is_the_only_way_between_master_and_slaves() {
    let Some(hosts) = Hosts::up(3) else { return };
    let account = Account::new();
    let there = hosts.folder().join("to");
    let script = format!(
        "#!/bin/sh\nhost=$1; shift\nexec nsenter -t \"$(cat {}/$host/pid)\" -m -u -n -p -- \"$@\"\n",
        hosts.folder().display()
    );
    std::fs::write(&there, script).unwrap();
    std::fs::set_permissions(&there, PermissionsExt::from_mode(0o700)).unwrap();
    account.write("two.hosts", &hosts_file(&["h2", "h3"]));
    let template = format!("{} {{host}} {{pspawn}}", there.display());
    let mut pool = account.start(&["start", "w", "--hosts", "two.hosts", "--launcher", &template]);
    pool.line_with("is up: 3 nodes");
    for host in ["h2", "h3"] {
        assert!(!hosts.processes(host).is_empty());
    }
    account.run(&["stop"]).with_code(0);
    pool.wait().with_code(0);
    hosts.until_nothing_is_left(&["h2", "h3"]);
    let demo = ["demo", "--hosts", "two.hosts", "--launcher", &template, "--size", "480x300"];
    let demo = account.run(&demo).with_code(0);
    assert!(tiles(&demo, "demo@h2") > 0 && tiles(&demo, "demo@h3") > 0, "{demo:#?}");
    hosts.until_nothing_is_left(&["h2", "h3"]);
}

/// With a configuration of ssh's that knows a short name, the way there, and what to ask the user never: no other way leads
/// there, nor back.
#[test]
fn through_a_jump_host_under_an_alias() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.now("part h1 h3");
    hosts.sh("h1", "mv .ssh/config .ssh/farm");
    let farm = "Host far\n  HostName h3\n  ProxyJump h2\n  HostKeyAlias h3\n";
    let text = std::fs::read_to_string(hosts.home("h1").join(".ssh/farm")).unwrap();
    hosts.write("h1", ".ssh/farm", &format!("{farm}{text}"));
    hosts.write("h1", "two.hosts", &hosts_file(&["h2", "far"]));
    let ssh = "PSPAWN_SSH=ssh -F .ssh/farm";
    let mut pool = hosts.start("h1", &["env", ssh, "pspawn", "start", "w", "--hosts", "two.hosts"]);
    pool.line_with("is up: 3 nodes");
    hosts.until_slaves(&["far", "h2"]);
    hosts.stop(pool);
    let ended = hosts
        .run("h1", &["env", ssh, "pspawn", "demo", "--hosts", "two.hosts", "--size", "480x300"])
        .with_code(0);
    assert!(tiles(&ended, "demo@h2") > 0 && tiles(&ended, "demo@far") > 0, "{ended:#?}");
    hosts.until_nothing_is_left(&hosts.from(1));
}

#[test]
fn the_demo_runs_on_hosts() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.write("h1", "two.hosts", &hosts_file(&["h2", "h3"]));
    let ended = hosts
        .run("h1", &["pspawn", "demo", "--hosts", "two.hosts", "--size", "480x300"])
        .with_code(0);
    assert!(tiles(&ended, "demo@h2") > 0 && tiles(&ended, "demo@h3") > 0, "{ended:#?}");
    hosts.until_nothing_is_left(&hosts.from(1));
}

#[test]
fn the_doctor_says_of_each_host_how_far_one_gets() {
    let Some(hosts) = Hosts::up(4) else { return };
    hosts.write("h1", ".hosts.erlang", &hosts_file(&["h2", "h3", "h4", "nowhere"]));
    hosts.sh("h3", ": > /run/net/authorized_keys");
    hosts.sh("h4", "mount -t tmpfs -o noexec none /root");
    let ended = hosts.run("h1", &["pspawn", "doctor", "--json"]);
    let said: Vec<serde_json::Value> = objects(&ended);
    for host in ["h2", "h3", "h4", "nowhere"] {
        let about: Vec<_> = said.iter().filter(|one| one["host"] == host).collect();
        assert_eq!(about.len(), 1, "{host} in {ended:#?}");
        assert!(!about[0]["steps"].is_null(), "{about:?}");
    }
    let table = hosts.run("h1", &["pspawn", "doctor"]);
    for word in ["h2", "h3", "h4", "nowhere", "login", "resolve"] {
        assert!(table.out.contains(word), "{word}: {table:#?}");
    }
    hosts.until_nothing_is_left(&hosts.from(1));
}

/// One object a line, or one array of them.
fn objects(ended: &Ended) -> Vec<serde_json::Value> {
    if let Ok(serde_json::Value::Array(objects)) = serde_json::from_str(&ended.out) {
        return objects;
    }
    let lines = ended.out.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap_or_else(|why| panic!("{why}: {ended:#?}"))
}
