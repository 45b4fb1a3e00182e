//! Hosts on which no slave can be started: each is named with the step, the cause and a remedy, and the rest of the pool works.

use std::fs;

use crate::fixture::{Hosts, hosts_file};
use crate::support::{Started, until};

#[test]
fn each_fault_is_named_with_its_step_and_a_remedy_while_the_rest_works() {
    let Some(hosts) = Hosts::up(8) else { return };
    hosts.sh("h3", ": > /run/net/authorized_keys");
    forget_key(&hosts, "h4");
    hosts.sh("h5", "kill $(pgrep -o sshd)");
    hosts.sh("h6", "mount -t tmpfs -o size=1m none /root");
    hosts.sh("h7", "mount -t tmpfs -o noexec none /root");
    let uname = "#!/bin/sh\ncase $1 in -m) echo s390x ;; *) echo Linux ;; esac\n";
    hosts.sh("h8", &replacing("/usr/bin/uname", uname));

    let all = ["h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9", "nowhere"];
    let mut pool = hosts.pool(&all, &["--start-timeout", "20"]);
    let faults: [(&str, &[&str], &str); 8] = [
        ("h3", &["login"], "Permission denied"),
        ("h4", &["host key"], "ost key"),
        ("h5", &["connect"], "refused"),
        ("h6", &["cache", "ship"], ""),
        ("h7", &["cache", "launch"], ""),
        ("h8", &["platform"], "s390x"),
        ("h9", &["connect"], ""),
        ("nowhere", &["resolve"], ""),
    ];
    for (host, steps, cause) in faults {
        named(&mut pool, host, steps, cause);
    }
    pool.line_with("w@h2 is up after ");
    pool.line_with("is up: 2 nodes");
    hosts.until_slaves(&["h2"]);
    hosts.computes("h2");
    hosts.stop(pool);
}

#[test]
fn odd_logins_are_no_fault_or_are_named_too() {
    let Some(hosts) = Hosts::up(7) else { return };
    hosts.write("h2", ".bashrc", "echo Welcome; echo 'read the rules' >&2\nalias ls=false\n");
    // Another key than the known one, as after the host was set up anew, or somebody is in between.
    forget_key(&hosts, "h3");
    let known = hosts.home("h1").join(".ssh/known_hosts");
    let other = fs::read_to_string(hosts.folder().join("keys/user.pub")).unwrap();
    let other: Vec<&str> = other.split(' ').take(2).collect();
    let text = fs::read_to_string(&known).unwrap();
    fs::write(&known, format!("{text}h3 {}\n", other.join(" "))).unwrap();
    // Nobody may log in.
    let nologin = "s,^\\(root:.*\\):[^:]*$,\\1:/usr/sbin/nologin,";
    hosts.sh(
        "h4",
        &format!("sed '{nologin}' /etc/passwd > /run/p; mount --bind /run/p /etc/passwd"),
    );
    // Connections are taken, and nobody ever says a word.
    hosts.sh("h5", "kill -STOP $(pgrep -o sshd)");
    hosts.sh("h6", "mount --bind /dev/null /usr/bin/sha256sum");
    hosts.sh("h7", "mount -o remount,ro /root 2>/dev/null || mount -t tmpfs -o ro none /root");

    let all = ["h2", "h3", "h4", "h5", "h6", "h7"];
    let mut pool = hosts.pool(&all, &["--start-timeout", "6"]);
    named(&mut pool, "h3", &["host key"], "");
    named(&mut pool, "h4", &["login", "shell"], "");
    named(&mut pool, "h5", &["connect"], "");
    named(&mut pool, "h6", &["shell", "cache", "ship"], "sha256sum");
    named(&mut pool, "h7", &["cache"], "");
    pool.line_with("w@h2 is up after ");
    hosts.computes("h2");
    hosts.stop(pool);
}

#[test]
fn where_no_host_works_the_start_fails() {
    let Some(hosts) = Hosts::up(2) else { return };
    hosts.write("h1", ".hosts.erlang", &hosts_file(&["h2"]));
    hosts.sh("h2", ": > /run/net/authorized_keys");
    let ended = hosts.run("h1", &["pspawn", "start", "w"]).with_code(3);
    ended.says("h2").says("login").says("Permission denied");
    hosts.until_nothing_is_left(&hosts.from(1));
}

/// The copy that was on its way is never run, and the next start works.
#[test]
fn a_host_whose_power_goes_while_the_executable_is_on_its_way() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.now("rate h2 20");
    hosts.write("h1", ".hosts.erlang", &hosts_file(&["h2", "h3"]));
    let mut pool = hosts.start("h1", &["pspawn", "start", "w", "--start-timeout", "8"]);
    let cache = hosts.home("h2").join(".cache/pspawn");
    let files = || {
        let found = fs::read_dir(&cache).into_iter().flatten().flatten();
        found.map(|file| (file.file_name(), file.metadata().map_or(0, |facts| facts.len())))
    };
    until(|| match files().any(|(_, bytes)| bytes > 0) {
        true => Ok(()),
        false => Err(format!("nothing has come: {:?}", files().collect::<Vec<_>>())),
    });
    hosts.now("crash h2");
    let finished = files().find(|(name, _)| name.to_string_lossy().starts_with("pspawn-"));
    assert!(finished.is_none(), "it was too fast for this test: {finished:?}");
    named(&mut pool, "h2", &["ship", "call back"], "");
    pool.line_with("is up: 2 nodes");
    hosts.computes("h3");
    hosts.stop(pool);

    hosts.now("boot h2");
    let pool = hosts.pool(&["h2", "h3"], &[]);
    hosts.until_slaves(&["h2", "h3"]);
    hosts.computes("h2");
    hosts.stop(pool);
}

/// What the start says about a host that failed: one of these steps, a cause with these words in it, and a remedy.
#[track_caller]
fn named(pool: &mut Started, host: &str, steps: &[&str], cause: &str) {
    let line = pool.line_with(&format!("{host}: failed at step "));
    println!("{line}");
    let (_, fault) = line.split_once(": failed at step ").unwrap();
    let (step, why) = fault.split_once(": ").unwrap_or_else(|| panic!("no cause: {line}"));
    assert!(steps.contains(&step), "{steps:?} but: {line}");
    let (why, remedy) = why.split_once("; ").unwrap_or_else(|| panic!("no remedy: {line}"));
    assert!(!why.is_empty() && why.contains(cause), "{line}");
    assert!(remedy.len() > 10, "{line}");
}

fn forget_key(hosts: &Hosts, host: &str) {
    let known = hosts.home("h1").join(".ssh/known_hosts");
    let text = fs::read_to_string(&known).unwrap();
    let kept: String = text
        .lines()
        .filter(|line| !line.starts_with(host))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&known, kept).unwrap();
}

/// A script that puts another program in the place of one.
fn replacing(path: &str, program: &str) -> String {
    format!(
        "cat > /run/other <<'END'\n{program}END\nchmod 755 /run/other; mount --bind /run/other {path}"
    )
}
