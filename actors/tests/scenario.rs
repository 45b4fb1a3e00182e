//! `pspawn scenario`: outcomes, words and pictures of what was run, and files that are not understood.

use support::Account;

mod support;

const CRASH: &str = r#"{"id": "crash", "title": "A crash travels", "nodes": 2, "steps": [
    {"op": "spawn", "as": "watcher", "node": "n0", "trap": true},
    {"by": "watcher", "op": "spawn", "as": "a", "node": "n1", "how": "link"},
    {"by": "a", "op": "register", "name": "ra", "proc": "a"},
    {"by": "watcher", "op": "monitor", "to": {"name": "ra", "node": "n1"}, "ref": "m1"},
    {"by": "a", "op": "die", "how": "error", "reason": "boom"}]}"#;

const OUTCOME: &str = concat!(
    r#"{"id":"crash","procs":{"a":{"alive":false,"died":4,"inbox":[],"node":"n1","reason":"error:boom"},"#,
    r#""watcher":{"alive":true,"inbox":[[4,"EXIT","a","error:boom"],[4,"DOWN","m1","ra@n1","error:boom"]],"#,
    r#""links":[],"monitors":[],"name":null,"node":"n0","trap":true}},"results":["ok","ok","ok","ok","ok"]}"#
);

const TRACE: &str = r#"{"id": "t", "strategy": "one_for_one", "intensity": 1,
    "children": [{"id": "a", "restart": "permanent", "shutdown": 2000}], "ops": [["die", "a", "boom"]]}"#;

#[test]
fn an_outcome_is_one_line_whatever_the_processes_are() {
    let account = Account::new();
    account.write("crash.json", CRASH);
    for mode in [&[][..], &["--actix"], &["--mixed"]] {
        let ended = account.run(&[&["scenario", "crash.json"], mode].concat()).with_code(0);
        assert_eq!(ended.out.trim_end(), OUTCOME, "{mode:?}");
    }
}

#[test]
fn documents_come_out_in_the_order_they_went_in() {
    let account = Account::new();
    let one_a_line: Vec<String> = (0..20)
        .map(|number| match number % 5 {
            4 => TRACE.replace('\n', " ").replace(r#""t""#, &format!("{:?}", format!("t{number}"))),
            _ => CRASH.replace('\n', " ").replace("\"crash\"", &format!("\"crash{number}\"")),
        })
        .collect();
    account.write("many.jsonl", &one_a_line.join("\n"));
    let out = account.run(&["scenario", "many.jsonl"]).with_code(0).out;
    let ids: Vec<String> = out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|outcome| outcome["id"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = (0..20)
        .map(|number| if number % 5 == 4 { format!("t{number}") } else { format!("crash{number}") })
        .collect();
    assert_eq!(ids, expected);
}

#[test]
fn a_story_says_who_died_of_what_and_by_which_rule() {
    let account = Account::new();
    account.write("crash.json", CRASH);
    let story = account.run(&["scenario", "--narrate", "crash.json"]).with_code(0).out;
    for words in [
        "crash: A crash travels",
        "4  a crashes with the error boom.",
        "* a is dead: error:boom. [E10: reasons of one's own end]",
        "a --- EXIT error:boom --> watcher",
        "it traps exits: a message {'EXIT', a, error:boom}. [E7: the reason is passed on unchanged]",
        "a message {'DOWN', m1, ra@n1, error:boom}. [M10: a monitor by name stays with who had the name]",
        "watcher lives on n0, traps exits",
    ] {
        assert!(story.contains(words), "no {words:?} in\n{story}");
    }
    let picture = account.run(&["scenario", "--diagram", "crash.json"]).with_code(0).out;
    for line in
        ["sequenceDiagram", "    box n1", "    participant a", "    a-xwatcher: EXIT error:boom"]
    {
        assert!(picture.lines().any(|drawn| drawn == line), "no {line:?} in\n{picture}");
    }
}

#[test]
fn a_file_that_is_not_understood_is_named_with_the_line_and_the_step() {
    let account = Account::new();
    account.run(&["scenario", "none.json"]).with_code(1).says("none.json: cannot be read");
    account.write("typo.json", &CRASH.replace("\"register\"", "\"regster\""));
    let ended = account.run(&["scenario", "typo.json"]).with_code(1);
    ended.says("typo.json:1, crash, step 2").says("regster").says("register");
    account.write("not.json", "{\"id\": ");
    account.run(&["scenario", "not.json"]).with_code(1).says("not.json:1");
    account.run(&["scenario"]).with_code(2).says("Usage");
}

#[test]
fn the_story_of_a_supervisor_says_what_it_does_about_its_children() {
    let account = Account::new();
    account.write("trace.json", TRACE);
    let story = account.run(&["scenario", "--narrate", "trace.json"]).with_code(0).out;
    for words in ["one_for_one", "  1  a ends with boom.", "       a starts", "     = a up"] {
        assert!(story.contains(words), "no {words:?} in\n{story}");
    }
}
