//! The story of a supervisor's trace: what happened to its children, and what it did about it.

use std::fmt::Write;

use crate::scenario::format::{Log, Restart, Strategy, Trace, TraceOp, TraceOutcome};

/// Tells a supervisor's trace that was run in plain words, step by step.
pub fn narrate_trace(trace: &Trace, outcome: &TraceOutcome) -> String {
    let mut out = String::new();
    let title = trace.title.as_deref().unwrap_or("the life of a supervisor");
    let (strategy, rule) = match trace.strategy {
        Strategy::OneForOne => ("one_for_one: who ends is started again alone", "V6"),
        Strategy::OneForAll => ("one_for_all: all are started again together", "V7"),
        Strategy::RestForOne => ("rest_for_one: and those younger than it with it", "V8"),
    };
    put(&mut out, format_args!("{}: {title}", trace.id));
    put(&mut out, format_args!("{strategy}. [{rule}]"));
    put(&mut out, format_args!("Restarts allowed: {}. [V12]", trace.intensity));
    for child in &trace.children {
        let restart = match child.restart {
            Restart::Permanent => "permanent: always started again",
            Restart::Transient => "transient: started again unless it ended well",
            Restart::Temporary => "temporary: never started again",
        };
        put(&mut out, format_args!("  {}, {restart}. [V9]", child.id));
    }
    let deeds = std::iter::once("The supervisor is started".to_owned());
    let deeds = deeds.chain(trace.ops.iter().map(deed));
    for (number, (deed, step)) in deeds.zip(&outcome.steps).enumerate() {
        let result = match step.result.as_str() {
            "ok" => String::new(),
            "skipped" => " (there is nobody to do it to)".to_owned(),
            word => format!(": {word}"),
        };
        put(&mut out, format_args!("\n{number:>3}  {deed}{result}."));
        for log in &step.log {
            match log {
                Log::Start(id) => put(&mut out, format_args!("       {id} starts")),
                Log::Fail(id) => put(&mut out, format_args!("       {id} does not start")),
                Log::Stop(id, reason) => {
                    put(&mut out, format_args!("       {id} is told to end: {reason}"));
                }
            }
        }
        match step.sup.as_str() {
            "alive" => {
                let children: Vec<String> =
                    step.children.iter().map(|(id, state)| format!("{id} {state}")).collect();
                put(&mut out, format_args!("     = {}", children.join(", ")));
            }
            "none" => put(&mut out, format_args!("     = no supervisor")),
            reason => put(&mut out, format_args!("     * the supervisor is dead: {reason}")),
        }
    }
    out
}

fn deed(op: &TraceOp) -> String {
    match op {
        TraceOp::Die { id, reason } if reason == "killed" => format!("{id} is killed"),
        TraceOp::Die { id, reason } => format!("{id} ends with {reason}"),
        TraceOp::Fail { id, starts } => format!("the next {starts} starts of {id} are to fail"),
        TraceOp::Terminate(id) => format!("terminate_child({id})"),
        TraceOp::Restart(id) => format!("restart_child({id})"),
        TraceOp::Delete(id) => format!("delete_child({id})"),
        TraceOp::Start(child) => format!("start_child({})", child.id),
        TraceOp::Stop(reason) => format!("the parent sends the exit signal {reason}"),
    }
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a String takes all text");
}
