//! `pspawn start` and its hosts, and `--help`.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use support::Account;

mod support;

#[test]
fn without_a_hosts_file_the_error_names_the_places_searched() {
    let account = Account::new();
    let ended = account.run(&["start", "demo"]).with_code(3);
    for place in [account.work(), account.home()] {
        let place = place.join(".hosts.erlang");
        assert!(ended.err.contains(place.to_str().unwrap()), "{place:?} in {ended:#?}");
    }
    assert_eq!(ended.out, "");
}

#[test]
fn a_malformed_hosts_file_is_reported_with_line_and_expectation() {
    let account = Account::new();
    account.write(".hosts.erlang", "localhost.\n\nbad-name.\n");
    let ended = account.run(&["start", "demo"]).with_code(3);
    ended.says(".hosts.erlang:3:4: expected '.'").says("quote names with dots or dashes");
    account.write("other.hosts", "localhost");
    let ended = account.run(&["start", "demo", "--hosts", "other.hosts"]).with_code(3);
    ended.says("other.hosts:1:10: expected '.'");
}

#[test]
fn a_host_that_cannot_be_started_is_reported_with_its_step_and_the_other_runs() {
    let account = Account::new();
    account.write(".hosts.erlang", "'other.example'.\nlocalhost.\n");
    let mut pool = account.start(&["start", "demo", "--ssh", "no-such-ssh"]);
    pool.line_with("other.example: failed at step launch: ");
    pool.line_with("localhost: demo@localhost is up after ");
    pool.line_with("is up: 2 nodes");
    let nodes = account.run(&["nodes", "--json"]).with_code(0).json();
    let names: Vec<&str> =
        nodes.as_array().unwrap().iter().map(|node| node["node"].as_str().unwrap()).collect();
    assert!(names.contains(&"demo@localhost") && names.len() == 2, "{names:?}");
    pool.signal(Signal::INT);
    pool.wait().with_code(0);
    account.until_nothing_is_left(&[]);
}

#[test]
fn what_a_slave_says_before_it_can_talk_is_quoted_and_kept() {
    let account = Account::new();
    account.write(".hosts.erlang", "localhost.\n");
    account.write("broken", "#!/bin/sh\necho no such library >&2\nexit 7\n");
    let broken = account.work().join("broken");
    std::fs::set_permissions(&broken, PermissionsExt::from_mode(0o700)).unwrap();
    let ended = account.run(&["start", "demo", "--", broken.to_str().unwrap()]).with_code(3);
    ended.says("localhost: ").says("it wrote: no such library");
    let kept = std::fs::read_to_string(account.home().join(".erlang.slave.out.localhost")).unwrap();
    assert!(kept.contains("no such library"), "{kept}");
    account.until_nothing_is_left(&[]);
}

#[test]
fn too_few_nodes_fail_the_start_and_leave_nothing() {
    let account = Account::new();
    account.write(".hosts.erlang", "'other.example'.\nlocalhost.\n");
    let ended =
        account.run(&["start", "demo", "--min-nodes", "2", "--ssh", "no-such-ssh"]).with_code(3);
    ended
        .says("1 of at least 2 slaves came up")
        .says("other.example: failed at step launch: cannot run no-such-ssh");
    account.until_nothing_is_left(&[]);
    account.run(&["nodes"]).with_code(3).says("no pool is running");
}

#[test]
fn a_pool_of_a_name_that_runs_is_not_started_again() {
    let account = Account::new();
    let pool = account.pool(&["demo", "--local", "1"]);
    let ended = account.run(&["start", "demo", "--local", "1"]).with_code(3);
    ended.says("already running").says(&pool.pid().to_string());
    account.run(&["start", "no/name", "--local", "1"]).with_code(2);
    let other = account.pool(&["other", "--local", "1"]);
    account.run(&["nodes"]).with_code(3).says("several pools are running (demo, other)");
    for (name, running) in [("demo", pool), ("other", other)] {
        account.run(&["stop", "--pool", name]).with_code(0);
        running.wait().with_code(0);
    }
}

#[test]
fn a_slave_reads_what_the_master_shares_and_nothing_else() {
    let account = Account::new();
    std::fs::create_dir(account.work().join("data")).unwrap();
    account.write("data/notes", "three little words\n");
    account.write("other", "three more words\n");
    let share = ["demo", "--local", "1", "--share", "data", "--share-read-only", "/usr"];
    let pool = account.pool(&share);
    let count =
        |path: &str| account.run(&["spawn", "text", "count_shared", &format!("[\"{path}\"]")]);
    assert!(count("notes").with_code(0).out.contains("little"));
    let data = std::fs::canonicalize(account.work().join("data")).unwrap();
    let shared = format!("shares what is below {}, /usr", data.display());
    for path in ["../other", account.work().join("other").to_str().unwrap()] {
        count(path).with_code(1).says(path).says("may not be reached").says(&shared);
    }
    account.run(&["stop"]).with_code(0);
    pool.wait().with_code(0);

    let ended = account.run(&["start", "demo", "--local", "0", "--share", "none"]).with_code(3);
    ended.says("cannot share none: No such file or directory");
    let pool = account.pool(&["demo", "--local", "1", "--no-share"]);
    count("other").with_code(1).says("shares no directory");
    account.run(&["stop"]).with_code(0);
    pool.wait().with_code(0);
}

#[test]
fn the_help_of_every_command_has_examples() {
    let account = Account::new();
    let commands =
        ["demo", "doctor", "start", "node", "nodes", "kinds", "spawn", "attach", "kill", "stop"];
    for command in commands {
        let ended = account.run(&[command, "--help"]).with_code(0);
        let (_, examples) = ended.out.split_once("Examples:").expect(command);
        assert!(examples.contains(&format!("pspawn {command}")), "{command}: {examples}");
    }
    let all = account.run(&["--help"]).with_code(0).out;
    for command in commands {
        assert!(all.contains(&format!("\n  {command} ")), "{command} in {all}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let account = Account::new();
    for args in [&[][..], &["nonsense"], &["start"], &["kill", "x"], &["attach", "x@h"]] {
        account.run(args).with_code(2);
    }
    let bad = account.run(&["spawn", "math", "cube_of", "[7,"]).with_code(2);
    bad.says("line 1 column 3");
    account.run(&["spawn", "math", "cube_of", "7"]).with_code(2).says("a JSON array");
}
