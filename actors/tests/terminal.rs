//! Commands from a second terminal.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use support::{Account, GUARD, PSPAWN, Process, Started, WORKER, this_executable, until};

mod support;

/// A pool of two slaves, named demo1 and demo2.
fn two_slaves() -> (Account, Started, String) {
    let account = Account::new();
    let mut pool = account.pool(&["demo", "--local", "2"]);
    let line = pool.line_with("is up: ");
    let (_, host) = line.split_once("demo-master@").unwrap();
    let (host, _) = host.split_once(':').unwrap();
    (account, pool, host.to_owned())
}

fn names(account: &Account) -> Vec<String> {
    let nodes = account.run(&["nodes", "--json"]).with_code(0).json();
    let mut names: Vec<String> = nodes
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["node"].as_str().unwrap().into())
        .collect();
    names.sort();
    names
}

#[test]
fn everything_can_be_done_from_a_second_terminal() {
    let (account, pool, host) = two_slaves();

    let nodes = account.run(&["nodes"]).with_code(0).out;
    let rows: Vec<Vec<&str>> = nodes.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NODE", "LOAD", "ROLE"]);
    assert_eq!((rows[1][0], rows[1][2]), (format!("demo-master@{host}").as_str(), "master"));
    assert_eq!(rows.len(), 4, "{nodes}");
    assert_eq!(account.run(&["nodes", "--explain"]).with_code(0).out.lines().count(), 3);
    assert!(account.run(&["kinds"]).with_code(0).out.contains("cube_of"));
    let slave = format!("demo2@{host}");
    let kinds = account.run(&["kinds", "--json", "--node", &slave]).with_code(0).json();
    let cube = kinds.as_array().unwrap().iter().find(|kind| kind["function"] == "cube_of");
    assert_eq!(cube.unwrap()["module"], "math");

    let ended = account.run(&["spawn", "math", "cube_of", "[7]"]).with_code(0);
    assert_eq!(ended.out, "343\n");
    let ended = account.run(&["spawn", "math", "cube_of", "[7]", "--node", &slave]).with_code(0);
    assert_eq!(ended.out, "343\n");
    ended.says(&slave);
    let ended = account.run(&["spawn", "nope", "none", "--node", &slave]).with_code(1);
    ended.says(&slave).says("nope:none");
    account.run(&["spawn", "math", "cube_of", "[\"x\"]"]).with_code(1).says("bad arguments");

    let actor = account.run(&["spawn", "counter", "new", "[0]"]).with_code(0).out;
    account.run(&["kill", actor.trim()]).with_code(0).says("ended: killed");
    account.run(&["kill", actor.trim()]).with_code(1).says("was not alive");
    account.run(&["kill", "<1.2 nobody@nowhere>"]).with_code(1).says("was not reached");

    account.run(&["stop"]).with_code(0);
    pool.wait().with_code(0);
    account.until_nothing_is_left(&[]);
    account.run(&["nodes"]).with_code(3).says("no pool is running");
    assert!(account.run(&["kinds"]).with_code(0).out.contains("cube_of"), "of this executable");
}

#[test]
fn a_crash_prints_the_reason_and_what_was_printed_before_with_its_node() {
    let account = Account::new();
    // The slave is this executable; its functions stand below.
    let pool = account.pool(&["demo", "--local", "1", "--", &this_executable()]);
    let node = names(&account).into_iter().find(|name| name.starts_with("demo@")).unwrap();
    let ended = account.run(&["spawn", "test", "crash", "[3]", "--node", &node]).with_code(1);
    assert_eq!(ended.out, "");
    ended.says(&format!("{node}| about to crash")).says("no 3 here").says("terminal.rs:");
    account.run(&["stop"]).with_code(0);
    pool.wait().with_code(0);
}

async fn crash(_: pspawn::Ctx, number: i64) {
    pspawn::say!("about to crash");
    panic!("no {number} here");
}

async fn wait(mut ctx: pspawn::Ctx) {
    pspawn::say!("waits");
    ctx.receive::<()>().await;
}

pspawn::remote_fn!("test": crash, wait);

#[test]
fn ctrl_c_kills_the_function_that_is_waited_for() {
    let account = Account::new();
    let pool = account.pool(&["demo", "--local", "1", "--", &this_executable()]);
    let node = names(&account).into_iter().find(|name| name.starts_with("demo@")).unwrap();
    let mut waiting = account.start(&["spawn", "test", "wait", "--node", &node]);
    waiting.line_with("| waits");
    waiting.signal(Signal::INT);
    waiting.wait().with_code(1).says("ended: killed");
    account.run(&["stop"]).with_code(0);
    pool.wait().with_code(0);
}

#[test]
fn a_free_node_is_attached_and_ends_with_the_pool() {
    let (account, pool, host) = two_slaves();
    let mut free = account.start(&["node", "--name", "x"]);
    let line = free.line_with(&format!("out: x@{host} 127.0.0.1:"));
    let (_, port) = line.rsplit_once(':').unwrap();
    let place = format!("x@{host}:{port}");
    account.run(&["attach", &place]).with_code(0).says("is attached");
    account.run(&["attach", &place]).with_code(0).says("already");
    let name = format!("x@{host}");
    assert!(names(&account).contains(&name));
    let ended = account.run(&["spawn", "math", "cube_of", "[2]", "--node", &name]).with_code(0);
    assert_eq!(ended.out, "8\n");
    account.run(&["attach", &format!("y@{host}:{port}")]).with_code(1).says("y@");
    account.run(&["stop"]).with_code(0);
    pool.wait().with_code(0);
    free.wait().with_code(0);
    account.until_nothing_is_left(&[]);
}

#[test]
fn a_pool_is_reached_by_its_master_and_only_with_its_cookie() {
    let (account, mut pool, _) = two_slaves();
    let line = pool.line_with("is up: ");
    let (_, master) = line.rsplit_once("master ").unwrap();
    assert_eq!(account.run(&["nodes", "--master", master]).with_code(0).out.lines().count(), 4);
    // Another home has another cookie.
    let stranger = Account::new();
    stranger.run(&["nodes", "--master", master]).with_code(3).says("wrong cookie");
    stranger.run(&["nodes"]).with_code(3).says("no pool is running");
    let cookie = account.home().join(".pspawn.cookie");
    let cookie = cookie.to_str().unwrap();
    stranger.run(&["nodes", "--master", master, "--cookie-file", cookie]).with_code(0);
    stranger.run(&["stop", "--master", master, "--cookie-file", cookie]).with_code(0);
    pool.wait().with_code(0);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (account, _pool, _) = two_slaves();
    for args in
        [&["nodes"][..], &["kinds"], &["nodes", "--json"], &["spawn", "math", "cube_of", "[7]"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command: Command = account.command(PSPAWN);
        let ended = command.args(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && !said.contains("panicked"), "{args:?}: {said}");
    }
}

#[test]
fn a_killed_worker_leaves_the_pool_and_spawns_go_elsewhere() {
    let (account, _pool, host) = two_slaves();
    let lost = format!("demo1@{host}");
    let worker = slave_process(&account, WORKER, &lost);
    worker.signal(Signal::KILL);
    until(|| {
        let names = names(&account);
        if names.contains(&lost) { Err(format!("{names:?}")) } else { Ok(()) }
    });
    for _ in 0..6 {
        let ended = account.run(&["spawn", "math", "cube_of", "[3]"]).with_code(0);
        assert!(ended.out == "27\n" && !ended.err.contains(&lost), "{ended:#?}");
    }
    let ended = account.run(&["spawn", "math", "cube_of", "[3]", "--node", &lost]).with_code(1);
    ended.says(&lost);
}

// GD-7
#[test]
fn a_guard_that_is_asked_to_end_ends_its_workers_children_too() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let account = Account::new();
        let pool = account.pool(&["demo", "--local", "1", "--", &this_executable()]);
        let node = names(&account).into_iter().find(|name| name.starts_with("demo@")).unwrap();
        account.run(&["spawn", "test", "litter", "--no-wait", "--node", &node]).with_code(0);
        account.until_with_arg("4711", 1);
        slave_process(&account, GUARD, &node).signal(signal);
        account.until_nothing_is_left(&[pool.pid()]);
        until(|| match names(&account).len() {
            1 => Ok(()),
            nodes => Err(format!("{nodes} nodes")),
        });
    }
}

async fn litter(mut ctx: pspawn::Ctx) {
    let _child = Command::new("setsid").args(["sleep", "4711"]).spawn();
    ctx.receive::<()>().await;
}

pspawn::remote_fn!("test": litter);

/// What is ignored at the start stays so after an exec, what is caught does not: a guard may only catch.
#[test]
fn descendants_of_a_guard_ignore_no_signal_that_it_catches() {
    let account = Account::new();
    let _pool = account.pool(&["demo", "--local", "1", "--", &this_executable()]);
    let node = names(&account).into_iter().find(|name| name.starts_with("demo@")).unwrap();
    account.run(&["spawn", "test", "litter", "--no-wait", "--node", &node]).with_code(0);
    let sleeper = &account.until_with_arg("4711", 1)[0];
    let status = std::fs::read_to_string(format!("/proc/{}/status", sleeper.pid)).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    let caught = [Signal::TERM, Signal::INT, Signal::HUP];
    for signal in caught {
        assert_eq!(ignored & (1 << (signal.as_raw() - 1)), 0, "{signal:?} in {status}");
    }
}

// GD-9
#[test]
fn a_slave_has_nothing_to_do_with_the_terminal_of_its_master() {
    let account = Account::new();
    let mut script = account.command("script");
    let start = format!("exec {PSPAWN} start demo --local 1");
    script.args(["-qec", &start, "/dev/null"]).stdin(Stdio::piped());
    let mut terminal = Started::new(script);
    terminal.line_with("is up: ");
    let guard = &account.with_arg(GUARD)[0];
    let master = Process::read(guard.parent).unwrap();
    let [group, session, tty] = master.group_session_terminal();
    assert_ne!(tty, 0, "the master has one");
    for part in [guard, &account.with_arg(WORKER)[0]] {
        let [its_group, its_session, its_tty] = part.group_session_terminal();
        assert_eq!((its_session, its_tty), (session, 0), "{part:?}");
        assert_ne!(its_group, group, "{part:?}");
    }
    terminal.types("\x03"); // Ctrl-C
    account.until_nothing_is_left(&[]);
}

fn slave_process(account: &Account, flag: &str, node: &str) -> Process {
    let found = account.with_arg(flag);
    found.into_iter().find(|process| process.args.iter().any(|arg| arg == node)).unwrap()
}

/// Shows by a file that it runs.
async fn hold(mut ctx: pspawn::Ctx, file: PathBuf) {
    struct Shown(PathBuf);
    impl Drop for Shown {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }
    std::fs::write(&file, "").unwrap();
    let _shown = Shown(file);
    ctx.receive::<()>().await;
}

pspawn::remote_fn!("test": hold);

#[test]
fn what_a_command_waits_for_does_not_outlive_it() {
    let account = Account::new();
    let _pool = account.pool(&["demo", "--local", "1", "--", &this_executable()]);
    let file = account.work().join("runs");
    let args = format!("[{file:?}]");
    let waiting = account.start(&["spawn", "test", "hold", &args]);
    let exists =
        |wanted| until(|| (file.exists() == wanted).then_some(()).ok_or("not so".to_owned()));
    exists(true);
    waiting.signal(Signal::KILL);
    exists(false);
}

#[test]
fn what_only_some_nodes_know_is_placed_there() {
    let account = Account::new();
    let _pool = account.pool(&["demo", "--local", "2", "--", &this_executable()]);
    for number in 0..8 {
        let file = account.work().join(number.to_string());
        account.run(&["spawn", "test", "hold", &format!("[{file:?}]"), "--no-wait"]).with_code(0);
        account.run(&["spawn", "math", "cube_of", "[3]"]).with_code(0);
    }
    let kinds = account.run(&["kinds"]).with_code(0).out;
    assert!(kinds.contains("hold(PathBuf)") && kinds.contains("cube_of(i64)"), "{kinds}");
    let nobody = account.run(&["spawn", "test", "nothing"]).with_code(1);
    nobody.says("knows no test:nothing").says("`pspawn kinds` lists");
}
