//! The story as a Mermaid sequence diagram.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Chapter, Kind, Line, tell};
use crate::scenario::format::{Node, Scenario};
use crate::scenario::run::Played;

/// Draws a scenario that was run as a Mermaid sequence diagram: a lane a process, a box a node.
pub fn diagram(scenario: &Scenario, played: &Played) -> String {
    let mut out = String::from("sequenceDiagram\n");
    if let Some(title) = &scenario.title {
        put(&mut out, format_args!("    title {}", plain(title)));
    }
    let mut lanes: BTreeMap<Node, Vec<&str>> = BTreeMap::new();
    for spawn in scenario.spawns() {
        if let Some(process) = played.outcome.procs.get(&spawn.name) {
            lanes.entry(process.node).or_default().push(&spawn.name);
        }
    }
    for (node, procs) in &lanes {
        put(&mut out, format_args!("    box {node}"));
        for proc in procs {
            put(&mut out, format_args!("    participant {proc}"));
        }
        put(&mut out, format_args!("    end"));
    }
    let has_lane = |who: &str| lanes.values().flatten().any(|lane| *lane == who);
    let all: Vec<&str> = lanes.values().flatten().copied().collect();
    for Chapter { step, by, deed, lines } in tell(scenario, played) {
        match (&by, all.as_slice()) {
            (Some(by), _) if has_lane(by) => {
                put(&mut out, format_args!("    Note over {by}: {step}. {}", plain(&deed)));
            }
            (_, [only]) => {
                put(&mut out, format_args!("    Note over {only}: {step}. {}", plain(&deed)))
            }
            (_, [first, .., last]) => {
                put(
                    &mut out,
                    format_args!("    Note over {first},{last}: {step}. {}", plain(&deed)),
                );
            }
            (_, []) => {}
        }
        for line in lines {
            match line {
                Line::Signal { kind, from, to, what, .. } if has_lane(&from) && has_lane(&to) => {
                    let arrow = match kind {
                        Kind::Message => "->>",
                        Kind::Link | Kind::Monitor => "-)",
                        Kind::Exit => "-x",
                        Kind::Down => "--)",
                    };
                    put(&mut out, format_args!("    {from}{arrow}{to}: {}", plain(&what)));
                }
                // From a name, or to one: there is no lane to draw it from.
                Line::Signal { from, to, what, .. } => {
                    let over = if has_lane(&to) { &to } else { &from };
                    if has_lane(over) {
                        let (from, to, what) = (plain(&from), plain(&to), plain(&what));
                        put(&mut out, format_args!("    Note over {over}: {from} - {what} - {to}"));
                    }
                }
                Line::End { who, reason, .. } => {
                    put(&mut out, format_args!("    Note over {who}: dead - {}", plain(&reason)));
                }
                Line::Note { about: Some(about), text, .. } if has_lane(&about) => {
                    put(&mut out, format_args!("    Note over {about}: {}", plain(&text)));
                }
                Line::Note { .. } => {}
            }
        }
    }
    out
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a String takes all text");
}

/// Without what Mermaid takes for its own.
fn plain(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ';' | '#' | '\n' | '{' | '}') { ' ' } else { c }).collect()
}
