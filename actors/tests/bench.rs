//! `pspawn bench`: what it prints, and that nothing of it is left. How fast it is is no matter of tests.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use support::{Account, Started};

mod support;

/// One of each kind: over the wire, within a node, with nodes that are killed, with jobs for a pool.
const SOME: &[&str] = &[
    "oneway_64",
    "ask_1",
    "ask_64",
    "spawn_64",
    "pspawn",
    "local_ask",
    "idle_process_bytes",
    "kill_notice",
    "makespan",
    "beside_transfer",
];

#[test]
fn each_workload_is_an_object_whose_ratios_say_how_much_better_pspawn_is() {
    let account = Account::new();
    let only = SOME.iter().flat_map(|name| ["--only", name]);
    let args: Vec<&str> = ["bench", "--quick", "--json"].into_iter().chain(only).collect();
    let ended = account.run(&args).with_code(0);
    let has_erlang = !ended.err.contains("there is no Erlang on the PATH");
    let rows: Vec<Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, SOME);
    for row in &rows {
        let figure = |key: &str| -> Option<f64> {
            assert!(row.get(key).is_some(), "no {key}: {row}");
            let figure = row[key].as_f64()?;
            assert!(figure > 0.0 && figure.is_finite(), "{key}: {row}");
            Some(figure)
        };
        let less_is_better = match row["unit"].as_str().unwrap() {
            "µs" | "ms" | "bytes" | "MiB" | "times" => true,
            "messages/s" | "requests/s" | "spawns/s" | "MB/s" => false,
            other => panic!("a unit nobody knows: {other}"),
        };
        let pspawn = figure("pspawn").expect("that is what it is about");
        for (other, ratio) in [("limit", "vs_limit"), ("erlang", "vs_erlang")] {
            let expected = figure(other)
                .map(|other| if less_is_better { other / pspawn } else { pspawn / other });
            match (figure(ratio), expected) {
                (Some(ratio), Some(expected)) => {
                    assert!((ratio / expected - 1.0).abs() < 1e-9, "{row}");
                }
                (ratio, expected) => assert_eq!(ratio, expected, "{row}"),
            }
        }
        let no_limit = ["pspawn", "beside_transfer"].contains(&row["name"].as_str().unwrap());
        assert_eq!(row["limit"].is_null(), no_limit, "{row}");
        assert_eq!(row["erlang"].is_null(), !has_erlang, "{row}");
    }
    account.until_nothing_is_left(&[]);
}

#[test]
fn a_table_has_a_line_for_each_workload() {
    let account = Account::new();
    let out = account.run(&["bench", "--quick", "--only", "local_ask"]).with_code(0).out;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    for heading in ["name", "unit", "pspawn", "limit", "Erlang", "vs limit", "vs Erlang"] {
        assert!(lines[0].contains(heading), "{out}");
    }
    assert!(lines[1].starts_with("local_ask") && lines[1].contains('x'), "{out}");
    account.until_nothing_is_left(&[]);
}

#[test]
fn a_name_that_nobody_knows_is_answered_with_those_that_there_are() {
    let account = Account::new();
    let ended = account.run(&["bench", "--only", "oneway_65"]).with_code(2);
    for word in ["oneway_65", "oneway_64", "sojourn_p99"] {
        assert!(ended.err.contains(word), "{}", ended.err);
    }
    assert!(ended.out.is_empty());
}

#[test]
fn without_erlang_its_column_is_empty_and_one_line_says_so() {
    let account = Account::new();
    let mut command = account.command(support::PSPAWN);
    command.args(["bench", "--quick", "--json", "--only", "local_ask"]).env("PATH", "");
    let ended = Started::new(command).wait().with_code(0);
    let row: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&row["erlang"], &row["vs_erlang"]), (&Value::Null, &Value::Null));
    assert_eq!(ended.err.matches("no Erlang").count(), 1, "{}", ended.err);
}

#[test]
fn an_erlang_that_gives_no_figure_costs_none_of_the_others() {
    let account = Account::new();
    for (name, code) in [("erlc", 0), ("erl", 1)] {
        let path = account.work().join(name);
        std::fs::write(&path, format!("#!/bin/sh\nexit {code}\n")).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = account.command(support::PSPAWN);
    let args = ["bench", "--quick", "--json", "--only", "local_ask"];
    command.args(args).env("PATH", account.work());
    let ended = Started::new(command).wait().with_code(0);
    let row: Value = serde_json::from_str(&ended.out).unwrap();
    assert!(row["pspawn"].is_number() && row["limit"].is_number() && row["erlang"].is_null());
    assert_eq!(ended.err.matches("local_ask of Erlang: ").count(), 1, "{}", ended.err);
}

#[test]
fn what_does_not_go_through_memory_goes_over_the_socket() {
    let account = Account::new();
    for (memory, carrier) in [("1", "via: memory"), ("0", "via: loopback")] {
        let mut command = account.command(support::PSPAWN);
        command.args(["bench", "--quick", "--json"]);
        command.args(["--only", "oneway_1m", "--only", "ask_64"]);
        command.env("PATH", "").env("PSPAWN_SHARED_MEMORY", memory).env("PSPAWN_LOG", "info");
        let ended = Started::new(command).wait().with_code(0);
        assert_eq!(ended.out.lines().count(), 2, "{}", ended.out);
        let up: Vec<&str> = ended.err.lines().filter(|line| line.contains("node up")).collect();
        assert!(!up.is_empty() && up.iter().all(|line| line.contains(carrier)), "{}", ended.err);
    }
    account.until_nothing_is_left(&[]);
}

#[test]
fn what_stays_flat_is_a_row_a_size() {
    let account = Account::new();
    let out = account.run(&["bench", "--quick", "--json", "--flat"]).with_code(0).out;
    let sizes: Vec<(String, u64)> = out
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            assert!(row["message"].as_f64().unwrap() > 0.0 && row["spawn"].as_f64().unwrap() > 0.0);
            (row["name"].as_str().unwrap().to_owned(), row["size"].as_u64().unwrap())
        })
        .collect();
    let of = |name: &str, size| (name.to_owned(), size);
    let expected = [
        of("flat_slaves", 2),
        of("flat_slaves", 4),
        of("flat_actors", 100),
        of("flat_actors", 10_000),
    ];
    assert_eq!(sizes, expected);
    account.until_nothing_is_left(&[]);
}

#[test]
fn who_is_asked_to_end_in_the_middle_leaves_nothing() {
    let account = Account::new();
    let mut command = account.command(support::PSPAWN);
    command.args(["bench", "--only", "ask_1", "--rounds", "1000"]).env("TMPDIR", account.work());
    let bench = Started::new(command);
    account.until_with_arg("bench-peer", 2);
    bench.signal(rustix::process::Signal::INT);
    bench.wait().with_code(130);
    account.until_nothing_is_left(&[]);
    assert_eq!(std::fs::read_dir(account.work()).unwrap().count(), 0, "files are left");
}
