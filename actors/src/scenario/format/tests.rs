//! The format as a whole: what is read is written again, and what is wrong is said with its place.

use serde_json::Value;

use super::*;

#[test]
fn what_was_read_is_written_the_same() {
    let text = r#"{"id": "x", "nodes": 3, "steps": [
        {"op": "spawn", "as": "a", "node": "n0", "trap": true},
        {"op": "spawn", "as": "b", "node": "n1", "trap": false, "dies": {"how": "return"}},
        {"op": "spawn", "by": "a", "as": "c", "node": "n2", "trap": false, "how": "plain"},
        {"op": "spawn", "by": "a", "as": "d", "node": "n2", "trap": false, "how": "monitor", "ref": "m0",
         "dies": {"how": "throw", "reason": "boom"}},
        {"op": "link", "by": "a", "to": "c"},
        {"op": "monitor", "by": "a", "to": {"name": "n", "node": "n2"}, "ref": "m1"},
        {"op": "monitor", "by": "a", "to": "c", "ref": "m2"},
        {"op": "demonitor", "by": "a", "ref": "m2"},
        {"op": "batch", "by": "a", "ops": [
            {"op": "unlink", "to": "c"}, {"op": "exit", "to": "c", "reason": "kill"},
            {"op": "send", "to": {"name": "n", "node": "n0"}, "msg": "hi"}, {"op": "trap", "on": false}]},
        {"op": "register", "by": "a", "name": "n", "proc": "a"},
        {"op": "whereis", "by": "a", "name": "n"},
        {"op": "unregister", "by": "a", "name": "n"},
        {"op": "monitor_node", "by": "a", "node": "n1", "on": true},
        {"op": "disconnect", "a": "n1", "b": "n2"},
        {"op": "kill_node", "node": "n1"},
        {"op": "die", "by": "a", "how": "error", "reason": "boom"}]}"#;
    let read = scenario(text).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn a_fault_names_its_step_and_what_was_expected() {
    let a = r#"{"op": "spawn", "as": "a", "node": "n0"}"#;
    for (step, expected) in [
        (r#"{"op": "spwan", "as": "b"}"#, "expected one of spawn"),
        (r#"{"op": "link", "by": "a"}"#, "missing field `to`"),
        (r#"{"op": "link", "by": "a", "to": "a", "two": 1}"#, "unknown field `two`"),
        (r#"{"op": "link", "to": "a"}"#, "`by` is missing"),
        (r#"{"op": "link", "by": "b", "to": "a"}"#, "no earlier step has spawned \"b\""),
        (r#"{"op": "link", "by": "a", "to": "b"}"#, "no earlier step has spawned \"b\""),
        (r#"{"op": "send", "by": "a", "to": 1, "msg": "x"}"#, "expected a process's name"),
        (r#"{"op": "spawn", "as": "a", "node": "n0"}"#, "an earlier step has spawned \"a\""),
        (r#"{"op": "spawn", "as": "b", "node": "n2"}"#, "a node up to n1"),
        (r#"{"op": "spawn", "as": "b", "node": "one"}"#, "expected \"n0\""),
        (r#"{"op": "spawn", "as": "b@c", "node": "n0"}"#, "text without @"),
        (r#"{"op": "spawn", "as": "b", "node": "n0", "how": "link"}"#, "need a `by`"),
        (r#"{"op": "spawn", "by": "a", "as": "b", "node": "n0", "how": "monitor"}"#, "`ref`"),
        (r#"{"op": "kill_node", "node": "n0"}"#, "expected a slave"),
        (r#"{"op": "kill_node", "node": "n1", "by": "a"}"#, "has no `by`"),
        (r#"{"op": "disconnect", "a": "n1", "b": "n1"}"#, "no connection with itself"),
        (r#"{"op": "monitor_node", "by": "a", "node": "n0", "on": true}"#, "its own node"),
        (r#"{"op": "die", "by": "a", "how": "return", "reason": "x"}"#, "unknown field `reason`"),
        (r#"{"op": "batch", "by": "a", "ops": [{"op": "spawn"}]}"#, "op 0: `op` is \"spawn\""),
        (r#"{"op": "batch", "by": "a", "ops": [{"op": "link", "to": "z"}]}"#, "op 0: no earlier"),
    ] {
        let text = format!(r#"{{"id": "x", "nodes": 2, "steps": [{a}, {step}]}}"#);
        let fault = scenario(&text).unwrap_err();
        assert_eq!(fault.step, Some(1), "{step}: {fault}");
        assert!(fault.why.contains(expected), "{step}: {fault}");
    }
}

#[test]
fn a_fault_names_its_file_and_line() {
    let good = r#"{"id": "x", "nodes": 1, "steps": []}"#;
    let text = format!("{good}\n\n{{\"id\": \"y\", \"nodes\": 1}}\n");
    let fault = read_documents(&text).unwrap_err().in_file("some.jsonl");
    assert_eq!(fault.to_string(), "some.jsonl:3, y: `steps` is missing: expected an array");
    let fault = read_documents(&format!("{good}\n{good}")).unwrap_err();
    assert_eq!(fault.to_string(), "line 2, x: another document of this file has this id");
    let fault = read_documents("{\n\"id\": }").unwrap_err();
    assert_eq!(fault.line, 2, "{fault}");
    for text in ["[]", "{}", r#"{"id": 1}"#, r#"{"id": "x", "steps": [], "nodes": 0}"#] {
        assert!(read_documents(text).is_err(), "{text}");
    }
}

#[test]
fn a_trace_is_known_by_its_strategy() {
    let text = r#"{"id":"t","strategy":"rest_for_one","intensity":3,
        "children":[{"id":"a","restart":"permanent","shutdown":2000},
                    {"id":"b","restart":"transient","shutdown":"brutal_kill","fail":1},
                    {"id":"c","restart":"temporary","shutdown":"infinity"}],
        "ops":[["die","a","boom"],["fail","b",2],["terminate","a"],["restart","a"],["delete","x"],
               ["start",{"id":"d","restart":"permanent","shutdown":1}],["stop","normal"]]}"#;
    let documents = read_documents(text).unwrap();
    let [Document::Trace { trace, expect: None }] = &documents[..] else { panic!("{documents:?}") };
    assert_eq!(serde_json::to_value(trace).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    let wrong = text.replace(r#"["stop","normal"]"#, r#"["halt"]"#);
    assert_eq!(read_documents(&wrong).unwrap_err().step, Some(6));
}

#[test]
fn an_outcome_has_one_form() {
    let text = concat!(
        r#"{"id":"x","procs":{"a":{"alive":true,"inbox":[[1,"msg","b","hi"],[2,"DOWN","m","b","boom"],"#,
        r#"[3,"EXIT","b","boom"],[4,"nodedown","n1"]],"links":["c"],"monitors":[],"name":null,"node":"n0","#,
        r#""trap":true},"b":{"alive":false,"died":2,"inbox":[],"node":"n1","reason":"boom"}},"#,
        r#""results":["ok","skipped"]}"#
    );
    let outcome: Outcome = serde_json::from_str(text).unwrap();
    assert_eq!(outcome.canonical(), text);
    let text = concat!(
        r#"{"id":"t","steps":[{"children":[["a","up"]],"log":[["start","a"],["fail","b"],"#,
        r#"["stop","a","shutdown"]],"result":"ok","sup":"alive"}]}"#
    );
    let outcome: TraceOutcome = serde_json::from_str(text).unwrap();
    assert_eq!(outcome.canonical(), text);
}

#[test]
fn events_are_ordered_by_step_and_source_and_then_by_arrival() {
    let read = |text: &str| serde_json::from_str::<Vec<Event>>(text).unwrap();
    let arrived = read(
        r#"[[1,"nodedown","n1"],[1,"DOWN","m2","b","x"],[1,"EXIT","b","x"],[1,"DOWN","m1","b","x"],
            [1,"msg","a","z"],[1,"msg","b","late"],[0,"msg","z","first"],[2,"msg","a","last"]]"#,
    );
    let ordered = read(
        r#"[[0,"msg","z","first"],[1,"msg","a","z"],[1,"EXIT","b","x"],[1,"msg","b","late"],
            [1,"DOWN","m1","b","x"],[1,"DOWN","m2","b","x"],[1,"nodedown","n1"],[2,"msg","a","last"]]"#,
    );
    assert_eq!(in_order(arrived.clone(), None), ordered);
    assert_eq!(in_order(arrived, Some(1)), [ordered[0].clone(), ordered[7].clone()]);
}

#[test]
fn a_document_is_read_as_it_was_written() {
    for text in [
        r#"{"id":"x","title":"t","style":"s","nodes":1,"steps":[{"op":"spawn","as":"a","node":"n0"},
            {"by":"a","op":"whereis","name":"r"}],"expect":{"results":["ok","undefined"],"procs":{"a":
            {"alive":false,"died":1,"inbox":[],"node":"n0","reason":"boom"}}}}"#,
        r#"{"id":"x","nodes":1,"steps":[]}"#,
        r#"{"id":"x","title":"t","strategy":"one_for_all","intensity":1,"children":[],"ops":[["stop","x"]],
            "expect":{"steps":[{"children":[],"log":[],"result":"ok","sup":"alive"}]}}"#,
    ] {
        let read = read_documents(text).unwrap();
        assert_eq!(read_documents(&read[0].line()).unwrap(), read);
        assert_eq!(read_documents(&read[0].pretty()).unwrap(), read, "{}", read[0].pretty());
    }
}

/// The one scenario that a text holds.
fn scenario(text: &str) -> Result<Scenario, FormatError> {
    match read_documents(text)?.remove(0) {
        Document::Scenario { scenario, .. } => Ok(scenario),
        Document::Trace { trace, .. } => panic!("{} is a trace", trace.id),
    }
}
