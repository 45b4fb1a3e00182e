//! The story in plain words: what a teacher shows.

use std::fmt::Write;

use super::{Chapter, Line, tell};
use crate::scenario::format::Scenario;
use crate::scenario::run::Played;

/// Tells a scenario that was run in plain words, step by step.
pub fn narrate(scenario: &Scenario, played: &Played) -> String {
    let mut out = String::new();
    let title = scenario.title.as_deref().unwrap_or("a scenario");
    put(&mut out, format_args!("{}: {title}", scenario.id));
    let slaves: Vec<String> = (1..scenario.nodes).map(|node| format!("n{node}")).collect();
    match slaves.len() {
        0 => put(&mut out, format_args!("One node: n0.")),
        _ => put(&mut out, format_args!("Nodes: n0, the master, and {}.", slaves.join(", "))),
    }
    for Chapter { step, by, deed, lines } in tell(scenario, played) {
        let who = by.map(|by| format!("{by} ")).unwrap_or_default();
        put(&mut out, format_args!("\n{step:>3}  {}.", capital(&format!("{who}{deed}"))));
        for line in lines {
            match line {
                Line::Signal { from, to, what, effect, rule, .. } => {
                    let (number, name) = rule.cited();
                    put(&mut out, format_args!("       {from} --- {what} --> {to}"));
                    put(&mut out, format_args!("           {effect}. [{number}: {name}]"));
                }
                Line::End { who, reason, rule } => {
                    let (number, name) = rule.cited();
                    put(
                        &mut out,
                        format_args!("     * {who} is dead: {reason}. [{number}: {name}]"),
                    );
                }
                Line::Note { about, text, rule } => {
                    let about = about.map(|who| format!("{who}: ")).unwrap_or_default();
                    let cited = rule.map(|rule| {
                        let (number, name) = rule.cited();
                        format!(" [{number}: {name}]")
                    });
                    let cited = cited.unwrap_or_default();
                    put(&mut out, format_args!("       {about}{text}.{cited}"));
                }
            }
        }
    }
    put(&mut out, format_args!("\nIn the end:"));
    for (name, process) in &played.outcome.procs {
        use crate::scenario::format::Fate;
        match &process.fate {
            Fate::Alive { links, monitors, name: registered, trap } => {
                let list = |what: &str, items: &[String]| match items {
                    [] => String::new(),
                    items => format!(", {what} {}", items.join(", ")),
                };
                let links = list("linked with", links);
                let monitors = list("watches", monitors);
                let called = registered.as_ref().map(|name| format!(", called {name}"));
                let called = called.unwrap_or_default();
                let traps = if *trap { ", traps exits" } else { "" };
                let line = format_args!(
                    "  {name} lives on {}{traps}{called}{links}{monitors}",
                    process.node
                );
                put(&mut out, line);
            }
            Fate::Dead { died, reason } => {
                put(&mut out, format_args!("  {name} died in step {died} of {reason}"));
            }
        }
    }
    out
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a String takes all text");
}

fn capital(text: &str) -> String {
    // A process's name stays as it is.
    match text.strip_prefix("the ") {
        Some(rest) => format!("The {rest}"),
        None => text.to_owned(),
    }
}
