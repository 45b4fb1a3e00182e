//! Slaves that are started through a command: the executable is shipped, the slave talks, and nothing is left.
//!
//! The commands run on this machine, so that these tests run everywhere; those with other hosts are in `hosts.rs`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use support::{Account, Started, WORKER};

mod support;

/// A pool of one slave on the "host" `there`, started with this command.
fn pool(account: &Account, launcher: &str, more: &[&str]) -> Started {
    account.write("hosts", "there.\n");
    let args = ["demo", "--hosts", "hosts", "--launcher", launcher];
    account.pool(&[&args, more].concat())
}

fn cached(account: &Account) -> Vec<PathBuf> {
    let folder = account.home().join(".cache/pspawn");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn the_executable_is_shipped_once_and_nothing_is_left() {
    let account = Account::new();
    for start in ["cold", "warm"] {
        let pool = pool(&account, "env {pspawn}", &[]);
        let cube = account.run(&["spawn", "math", "cube_of", "[7]", "--node", "demo@there"]);
        assert_eq!(cube.with_code(0).out.trim(), "343", "{start}");
        let [executable] = &cached(&account)[..] else { panic!("{:?}", cached(&account)) };
        let name = executable.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("pspawn-") && name.len() == "pspawn-".len() + 64, "{name}");
        assert_eq!(executable.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        account.run(&["stop"]).with_code(0);
        pool.wait().with_code(0);
        account.until_nothing_is_left(&[]);
    }
}

#[test]
fn a_copy_that_was_damaged_is_replaced() {
    let account = Account::new();
    pool(&account, "env {pspawn}", &[]).stop(&account);
    let executable = cached(&account).remove(0);
    let right = std::fs::read(&executable).unwrap();
    let mut wrong = right.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    std::fs::remove_file(&executable).unwrap(); // it may still be busy
    std::fs::write(&executable, wrong).unwrap();
    pool(&account, "env {pspawn}", &[]).stop(&account);
    assert!(std::fs::read(&executable).unwrap() == right);
}

#[test]
fn a_shell_that_greets_people_is_fine_and_one_that_talks_without_end_is_named() {
    let account = Account::new();
    pool(&account, "sh -c 'echo Welcome to {host}; {pspawn}'", &[]).stop(&account);
    let args = ["start", "demo", "--hosts", "hosts", "--launcher", "sh -c 'yes; {pspawn}'"];
    let ended = account.run(&args).with_code(3);
    ended.says("there: failed at step shell: it says other things than our script: y; do its");
    account.until_nothing_is_left(&[]);
}

#[test]
fn what_fails_there_is_told_with_step_and_remedy() {
    let account = Account::new();
    account.write("hosts", "there.\n");
    let start = |launcher: &str, more: &[&str]| {
        let args = ["start", "demo", "--hosts", "hosts", "--launcher", launcher];
        account.run(&[&args, more].concat()).with_code(3)
    };
    start("env {pspawn}", &["--cache", "/proc/none"])
        .says("there: failed at step cache: ")
        .says("--cache DIR");
    start("false {pspawn}", &[]).says("there: failed at step shell: false ended with code 1");
    start("no-such-command {pspawn}", &[])
        .says("there: failed at step launch: cannot run no-such-command");
    // Another machine, as its uname says.
    account.write("uname", "#!/bin/sh\n[ \"$1\" = -m ] && echo vax || echo Linux\n");
    let uname = account.work().join("uname");
    std::fs::set_permissions(&uname, PermissionsExt::from_mode(0o700)).unwrap();
    let path = format!("PATH={}:{}", account.work().display(), std::env::var("PATH").unwrap());
    start(&format!("env '{path}' {{pspawn}}"), &[])
        .says("there: failed at step platform: the host is Linux vax, the executable is for Linux");
    // A command that says nothing.
    start("sh -c 'cat >/dev/null; : {pspawn}'", &["--start-timeout", "1"])
        .says("there: failed at step connect: sh said nothing for 1s");
    account.until_nothing_is_left(&[]);
}

#[test]
fn a_host_that_says_nothing_of_use_is_given_up_and_what_reached_it_is_gone() {
    let account = Account::new();
    account.write("hosts", "there.\n");
    let start = |launcher: &str| {
        let args = ["start", "demo", "--hosts", "hosts", "--start-timeout", "1", "--launcher"];
        account.run(&[&args[..], &[launcher]].concat()).with_code(3)
    };
    // Its own children hold what we read from: a kill of the first of them is not enough.
    start("sh -c 'sleep 4714; : {pspawn}'").says("there: failed at step connect: sh said nothing");
    account.until_nothing_is_left(&[]);
    start("sh -c 'while :; do echo; sleep 0.05; done; : {pspawn}'").says("sh said nothing for 1s");
    account.until_nothing_is_left(&[]);
}

#[test]
fn ctrl_c_during_a_launch_leaves_nothing() {
    for command in ["start", "demo", "doctor"] {
        let account = Account::new();
        account.write("hosts", "there.\n");
        let launcher = "sh -c 'sleep 4715; : {pspawn}'";
        let name: &[&str] = if command == "start" { &["demo"] } else { &[] };
        let args = [&[command], name, &["--hosts", "hosts", "--launcher", launcher]].concat();
        let started = account.start(&args);
        account.until_with_arg("4715", 1);
        started.signal(Signal::INT);
        started.wait().with_code(130);
        account.until_nothing_is_left(&[]);
    }
}

#[test]
fn a_slave_whose_channel_is_disturbed_ends() {
    let account = Account::new();
    let launcher =
        "sh -c '(until test -e go; do sleep 0.05; done; echo noise) & exec {pspawn} <&3' 3<&0";
    // The shell gives a child in the background no standard input: ours is kept aside.
    let launcher = format!("sh -c \"{}\"", launcher.replace('"', "\\\""));
    let mut pool = pool(&account, &launcher, &[]);
    account.write("go", "");
    pool.line_with("something else than its guard writes");
    support::until(|| match account.run(&["nodes"]).with_code(0).out.lines().count() {
        2 => Ok(()),
        lines => Err(format!("{lines} lines")),
    });
    pool.stop(&account);
}

#[test]
fn a_slave_in_a_network_of_its_own_talks_through_the_launcher() {
    let Some(unshare) = own_network() else {
        eprintln!("!! SKIPPED: this machine has no `unshare` with a network of its own");
        return;
    };
    let account = Account::new();
    let heartbeat = ["--heartbeat", "100", "2000"];
    let pool = pool(&account, &format!("{unshare} {{pspawn}}"), &heartbeat);
    let cube = account.run(&["spawn", "math", "cube_of", "[7]"]);
    assert_eq!(cube.with_code(0).out.trim(), "343");
    account.until_with_arg(WORKER, 1);
    pool.signal(Signal::KILL);
    account.until_nothing_is_left(&[]);
    pool.wait();
}

#[test]
fn the_words_of_a_template_are_checked_before_anything_is_started() {
    let account = Account::new();
    account.write("hosts", "there.\n");
    let start =
        |launcher| account.run(&["start", "demo", "--hosts", "hosts", "--launcher", launcher]);
    start("docker exec {host}").with_code(2).says("put {pspawn} where the command goes");
    start("docker exec {hots} {pspawn}").with_code(2).says("there is no {hots}");
    start("docker 'exec {pspawn}").with_code(2).says("a quote is not closed");
}

#[test]
fn doctor_says_which_step_fails_and_what_to_do() {
    let account = Account::new();
    account.write("hosts", "there.\nelsewhere.\n");
    let launcher = "sh -c 'test {host} = there || exit 9; {pspawn}'";
    let ended = account.run(&["doctor", "--hosts", "hosts", "--launcher", launcher]).with_code(1);
    let charts: Vec<serde_json::Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let chart = |host: &str| charts.iter().find(|chart| chart["host"] == host).unwrap();
    let well = chart("there");
    assert_eq!((&well["ok"], &well["node"]), (&true.into(), &"doctor@there".into()), "{well}");
    assert!(well["cores"].as_u64() >= Some(1) && well["round_trip_ms"].is_f64(), "{well}");
    let steps: Vec<&str> =
        well["steps"].as_array().unwrap().iter().map(|it| it["step"].as_str().unwrap()).collect();
    assert_eq!((steps.len(), steps.last()), (11, Some(&"call back")), "{well}");
    let ill = chart("elsewhere");
    assert_eq!((&ill["ok"], &ill["failed"]["step"]), (&false.into(), &"shell".into()), "{ill}");
    assert!(ill["failed"]["remedy"].is_string(), "{ill}");
    account.until_nothing_is_left(&[]);
}

/// The words that run a command in a network of its own; root is not needed where users may make namespaces.
fn own_network() -> Option<&'static str> {
    ["unshare -n --", "unshare -rn --"].into_iter().find(|unshare| {
        let mut words = unshare.split(' ');
        let ran = Command::new(words.next().unwrap()).args(words).arg("true").output();
        ran.is_ok_and(|ran| ran.status.success())
    })
}

trait Stop {
    fn stop(self, account: &Account);
}

impl Stop for Started {
    fn stop(self, account: &Account) {
        account.run(&["stop"]).with_code(0);
        self.wait().with_code(0);
        account.until_nothing_is_left(&[]);
    }
}

#[test]
fn a_host_that_is_named_twice_gets_one_slave_and_no_false_word() {
    let account = Account::new();
    account.write("hosts", "there.\n\"ops@there\".\n");
    let mut pool =
        account.start(&["start", "demo", "--hosts", "hosts", "--launcher", "env {pspawn}"]);
    pool.line_with(
        "ops@there: failed at step name: demo@there is started already, for the entry there",
    );
    pool.line_with("is up: 2 nodes");
    let wrong = account.run(&["kinds", "--node", "nobody@there"]).with_code(1);
    wrong.says("nobody@there is down, or not in the pool");
    pool.stop(&account);
}
