//! Output of slaves on the terminal of `pspawn start` and `pspawn spawn`, and terminals that nobody reads.

use std::io::{Read, pipe};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Account, PSPAWN, this_executable, until};

mod support;

/// As an actor, and as the OS process by itself; the same line a thousand times, and another.
async fn chatter(_: pspawn::Ctx) {
    for _ in 0..1_000 {
        println!("by itself");
    }
    println!("by itself \x1b[2J done");
    eprintln!("an error");
    for _ in 0..1_000 {
        pspawn::say!("said");
    }
}

async fn flood(_: pspawn::Ctx) {
    for number in 0_u64.. {
        println!("{number}");
    }
}

pspawn::remote_fn!("test": chatter, flood);

#[test]
fn output_has_its_node_in_front_and_what_repeats_is_counted() {
    let account = Account::new();
    let pool = account.pool(&["demo", "--local", "1", "--", &this_executable()]);
    let node = slave(&account);
    let ended = account.run(&["spawn", "test", "chatter", "--node", &node]).with_code(0);
    // Its pid is told meanwhile.
    let said: Vec<&str> = ended.err.lines().filter(|line| !line.starts_with('<')).collect();
    assert_eq!(said, [format!("{node}| said"), format!("{node}| last line repeated 999 times")]);
    assert_eq!(ended.out, "null\n");
    account.run(&["stop"]).with_code(0);
    let ended = pool.wait().with_code(0);
    let lines: Vec<&str> = ended.out.lines().collect();
    let expected = [
        format!("{node}| by itself"),
        format!("{node}| last line repeated 999 times"),
        format!("{node}| by itself \\x1b[2J done"),
    ];
    assert_eq!(lines, expected);
    ended.says(&format!("{node}| an error"));
}

#[test]
fn output_as_json_is_an_object_a_line() {
    let account = Account::new();
    let pool = account.pool(&["demo", "--local", "1", "--json", "--", &this_executable()]);
    let node = slave(&account);
    let args = ["spawn", "test", "chatter", "--node", &node, "--json"];
    let ended = account.run(&args).with_code(0);
    let (pids, said): (Vec<&str>, Vec<&str>) =
        ended.err.lines().partition(|line| line.starts_with('<'));
    let (pid, said) = (pids[0], objects(said.into_iter()));
    let first = serde_json::json!({"node": node, "pid": pid, "stream": "out", "line": "said"});
    let mut second = first.clone();
    second["repeated"] = 999.into();
    assert_eq!(said, [first, second]);
    account.run(&["stop"]).with_code(0);
    let shown = pool.wait().with_code(0).out;
    let mut shown = objects(shown.lines());
    shown.sort_by_key(|object| object["stream"] == "err"); // two pipes
    let by_itself = |stream: &str, line: &str| serde_json::json!({"node": node, "pid": null, "stream": stream, "line": line});
    let mut second = by_itself("out", "by itself");
    second["repeated"] = 999.into();
    let expected = [
        by_itself("out", "by itself"),
        second,
        by_itself("out", "by itself \u{1b}[2J done"),
        by_itself("err", "an error"),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn raw_output_is_what_was_printed_and_nothing_else() {
    let account = Account::new();
    let pool = account.pool(&["demo", "--local", "1", "--raw", "--", &this_executable()]);
    let node = slave(&account);
    let args = ["spawn", "test", "chatter", "--node", &node, "--raw"];
    let ended = account.run(&args).with_code(0);
    assert_eq!(ended.err.lines().filter(|line| *line == "said").count(), 1_000);
    assert_eq!(ended.err.lines().count(), 1_001, "and its pid");
    account.run(&["stop"]).with_code(0);
    let out = pool.wait().with_code(0).out;
    assert_eq!(out, "by itself\n".repeat(1_000) + "by itself \x1b[2J done\n");
    account.run(&["start", "demo", "--raw", "--json"]).with_code(2);
}

#[test]
fn a_terminal_that_nobody_reads_stalls_no_pool() {
    let account = Account::new();
    let (mut reader, terminal) = pipe().unwrap();
    let silence = Duration::from_secs(1);
    let mut command = account.command(PSPAWN);
    command.args(["start", "demo", "--local", "2", "--heartbeat", "100", "1000"]);
    command.args(["--", &this_executable()]);
    command.env("PSPAWN_LOG", "debug"); // records go there, too
    command.stdout(terminal.try_clone().unwrap()).stderr(Stdio::from(terminal));
    let mut pool = command.spawn().unwrap();
    drop(command); // and with it our own ends of the pipe
    until(|| {
        let nodes = account.run(&["nodes", "--json"]);
        if nodes.code == Some(0) { Ok(()) } else { Err(format!("{nodes:#?}")) }
    });
    let node = slave(&account);
    account.run(&["spawn", "test", "flood", "--no-wait", "--node", &node]).with_code(0);
    let begin = Instant::now();
    while begin.elapsed() < silence * 4 {
        let ended = account.run(&["spawn", "math", "cube_of", "[3]"]).with_code(0);
        assert_eq!(ended.out, "27\n");
        let nodes = account.run(&["nodes", "--json"]).with_code(0).json();
        assert_eq!(nodes.as_array().unwrap().len(), 3, "{nodes}");
    }
    account.run(&["stop"]).with_code(0);
    account.until_nothing_is_left(&[pool.id()]);
    // Whoever reads on lets it end.
    let mut shown = Vec::new();
    reader.read_to_end(&mut shown).unwrap();
    assert_eq!(pool.wait().unwrap().code(), Some(0));
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains(&format!("{node}| 0\n")) && shown.contains(&format!("{node}| 1000\n")));
}

fn slave(account: &Account) -> String {
    let nodes = account.run(&["nodes", "--json"]).with_code(0).json();
    let names = nodes.as_array().unwrap().iter().map(|node| node["node"].as_str().unwrap());
    names.filter(|name| !name.starts_with("demo-master@")).min().unwrap().to_owned()
}

fn objects<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<serde_json::Value> {
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{line}: {why}")))
        .collect()
}
