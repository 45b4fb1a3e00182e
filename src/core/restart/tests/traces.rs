//! Whole lives of supervisors, as a real OTP 25 recorded them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::term::RestartType;

/// The lives in the two files here; `PSPAWN_TRACES` names a folder with more:
/// `traces.jsonl` and, line by line, `outcomes.jsonl`.
#[test]
fn recorded_lives_of_otps_supervisors_are_lived_again() {
    let mut files =
        vec![(include_str!("traces.jsonl").to_owned(), include_str!("outcomes.jsonl").to_owned())];
    if let Some(folder) = std::env::var_os("PSPAWN_TRACES") {
        let read =
            |name| std::fs::read_to_string(std::path::Path::new(&folder).join(name)).unwrap();
        files.push((read("traces.jsonl"), read("outcomes.jsonl")));
    }
    for (traces, outcomes) in files {
        assert_eq!(traces.lines().count(), outcomes.lines().count());
        for (trace, outcome) in traces.lines().zip(outcomes.lines()) {
            let trace: Value = serde_json::from_str(trace).unwrap();
            let outcome: Value = serde_json::from_str(outcome).unwrap();
            assert_eq!(replay(&trace), outcome, "{trace}");
        }
    }
}

fn replay(trace: &Value) -> Value {
    let strategy = match trace["strategy"].as_str().unwrap() {
        "one_for_one" => Strategy::OneForOne,
        "one_for_all" => Strategy::OneForAll,
        "rest_for_one" => Strategy::RestForOne,
        other => panic!("{other}"),
    };
    let intensity = u32::try_from(trace["intensity"].as_u64().unwrap()).unwrap();
    let mut plan = Supervisor::new(strategy).intensity(intensity, PERIOD);
    let mut fails = HashMap::new();
    for child in trace["children"].as_array().unwrap() {
        let (id, spec) = read_child(child, &mut fails);
        plan = plan.child(id, spec);
    }
    let mut world = World::new(plan);
    world.fails = fails;
    world.begin();
    world.settle();
    let failed = world.log.iter().find(|entry| entry[0] == "fail");
    let result =
        failed.map_or("ok".into(), |entry| format!("failed:{}", entry[1].as_str().unwrap()));
    let mut steps = vec![seen(&mut world, &result, true)];
    if world.ended.is_some() {
        steps[0]["sup"] = json!("none");
    }
    for op in trace["ops"].as_array().unwrap() {
        let was_alive = world.ended.is_none();
        let result = if was_alive { carry_out(&mut world, op) } else { "skipped".to_owned() };
        steps.push(seen(&mut world, &result, was_alive));
    }
    json!({ "id": trace["id"], "steps": steps })
}

fn carry_out(world: &mut World, op: &Value) -> String {
    let id = op[1].as_str().unwrap_or_default().to_owned();
    match op[0].as_str().unwrap() {
        "die" => {
            if !world.live.values().any(|of| *of == id) {
                return "skipped".to_owned();
            }
            let dies = world.pid_of(&id);
            world.die(dies, read_reason(op[2].as_str().unwrap()));
            world.settle();
        }
        "fail" => {
            world.fails.insert(id, u32::try_from(op[2].as_u64().unwrap()).unwrap());
        }
        "stop" => {
            world.mail.push_back(Letter::Exit { from: pid(0), reason: read_reason(&id) });
            world.settle();
        }
        "terminate" => return result_of(world.answer(Call::Terminate(id))),
        "restart" => return result_of(world.answer(Call::Restart(id))),
        "delete" => return result_of(world.answer(Call::Delete(id))),
        "start" => {
            let mut fails = HashMap::new();
            let (id, spec) = read_child(&op[1], &mut fails);
            world.fails.extend(fails);
            return result_of(world.answer(Call::Start { id, spec }));
        }
        other => panic!("{other}"),
    }
    "ok".to_owned()
}

fn result_of(answer: Answer) -> String {
    let result = match answer {
        Answer::Started(result) => result.map(|_| ()),
        Answer::Done(result) => result,
        Answer::Spec(_) | Answer::Which(_) | Answer::Count(_) | Answer::Found(_) => panic!(),
    };
    let word = match result {
        Ok(()) => "ok",
        Err(ChildError::NotFound) => "not_found",
        Err(ChildError::Running) => "running",
        Err(ChildError::AlreadyStarted(_)) => "already_started",
        Err(ChildError::AlreadyPresent) => "already_present",
        Err(ChildError::NotStarted(_)) => "not_yet",
        Err(other) => panic!("{other}"),
    };
    word.to_owned()
}

/// What an outcome says of one step.
fn seen(world: &mut World, result: &str, was_alive: bool) -> Value {
    let sup = match &world.ended {
        None => "alive".to_owned(),
        Some(reason) if was_alive => reason_word(reason),
        Some(_) => "none".to_owned(),
    };
    let log = std::mem::take(&mut world.log);
    let mut children = Vec::new();
    if world.ended.is_none() {
        let Answer::Which(listed) = world.answer(Call::Which) else { panic!() };
        for child in listed.iter().rev() {
            let state = if child.state.pid().is_some() { "up" } else { "down" };
            children.push(json!([child.id.as_ref().unwrap(), state]));
        }
    }
    json!({ "result": result, "log": log, "children": children, "sup": sup })
}

fn read_child(child: &Value, fails: &mut HashMap<String, u32>) -> (String, ChildSpec) {
    let id = child["id"].as_str().unwrap();
    if let Some(fail) = child["fail"].as_u64() {
        fails.insert(id.to_owned(), u32::try_from(fail).unwrap());
    }
    let restart = match child["restart"].as_str().unwrap() {
        "permanent" => RestartType::Permanent,
        "transient" => RestartType::Transient,
        "temporary" => RestartType::Temporary,
        other => panic!("{other}"),
    };
    let shutdown = match &child["shutdown"] {
        Value::String(word) if word == "brutal_kill" => Shutdown::BrutalKill,
        Value::String(word) if word == "infinity" => Shutdown::Infinity,
        ms => Shutdown::After(Duration::from_millis(ms.as_u64().unwrap())),
    };
    (id.to_owned(), spec(id).restart(restart).shutdown(shutdown))
}

fn read_reason(word: &str) -> ExitReason {
    match word.split_once(':') {
        Some(("shutdown", why)) => ExitReason::ShutdownWith(why.into()),
        Some(other) => panic!("{other:?}"),
        None => match word {
            "normal" => ExitReason::Normal,
            "shutdown" => ExitReason::Shutdown,
            "killed" => ExitReason::Killed,
            word => ExitReason::exit(word),
        },
    }
}

fn reason_word(reason: &ExitReason) -> String {
    match reason {
        ExitReason::ShutdownWith(rmpv::Value::String(why)) => {
            format!("shutdown:{}", why.as_str().unwrap())
        }
        reason => reason.to_string(),
    }
}
