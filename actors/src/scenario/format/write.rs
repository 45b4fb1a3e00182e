//! Writing documents: on one line, or for readers, a step a line.

use std::collections::BTreeMap;
use std::io;

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::{Document, Outcome, Process, Scenario, Trace, TraceOutcome, TraceStep};

impl Document {
    /// The document on one line, with what is expected of it.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers can be written")
    }

    /// The document for readers: a line for each step, each result and each process.
    pub fn pretty(&self) -> String {
        match self {
            Document::Scenario { scenario, expect } => {
                let Scenario { id, title, style, nodes, steps } = scenario;
                let mut fields = vec![field("id", id)];
                fields.extend(title.iter().map(|title| field("title", title)));
                fields.extend(style.iter().map(|style| field("style", style)));
                fields.push(field("nodes", nodes));
                fields.push(list(" ", "steps", steps));
                fields.extend(expect.iter().map(|Outcome { results, procs, .. }| {
                    let procs: Vec<String> = procs
                        .iter()
                        .map(|(name, process)| format!("   {}", field_within(name, process)))
                        .collect();
                    let results = spaced(results);
                    let procs = procs.join(",\n");
                    format!(
                        " \"expect\": {{\n  \"results\": {results},\n  \"procs\": {{\n{procs}\n  }}\n }}"
                    )
                }));
                format!("{{\n{}\n}}\n", fields.join(",\n"))
            }
            Document::Trace { trace, expect } => {
                let Trace { id, title, style, strategy, intensity, children, ops } = trace;
                let mut fields = vec![field("id", id)];
                fields.extend(title.iter().map(|title| field("title", title)));
                fields.extend(style.iter().map(|style| field("style", style)));
                fields.push(field("strategy", strategy));
                fields.push(field("intensity", intensity));
                fields.push(list(" ", "children", children));
                fields.push(list(" ", "ops", ops));
                fields.extend(expect.iter().map(|TraceOutcome { steps, .. }| {
                    format!(" \"expect\": {{\n{}\n }}", list("  ", "steps", steps))
                }));
                format!("{{\n{}\n}}\n", fields.join(",\n"))
            }
        }
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Document::Scenario { scenario, expect } => {
                let expect = expect.as_ref();
                let expect = expect.map(|Outcome { results, procs, .. }| Became { procs, results });
                With { document: scenario, expect }.serialize(to)
            }
            Document::Trace { trace, expect } => {
                let expect = expect.as_ref().map(|TraceOutcome { steps, .. }| Happened { steps });
                With { document: trace, expect }.serialize(to)
            }
        }
    }
}

/// A scenario or a trace, with the outcome that is expected of it.
#[derive(Serialize)]
struct With<'a, D, E> {
    #[serde(flatten)]
    document: &'a D,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<E>,
}

/// An [`Outcome`] beside its scenario, which has the id.
#[derive(Serialize)]
struct Became<'a> {
    procs: &'a BTreeMap<String, Process>,
    results: &'a [String],
}

/// A [`TraceOutcome`] beside its trace.
#[derive(Serialize)]
struct Happened<'a> {
    steps: &'a [TraceStep],
}

fn field(name: &str, value: &impl Serialize) -> String {
    format!(" {}", field_within(name, value))
}

fn field_within(name: &str, value: &impl Serialize) -> String {
    format!("{}: {}", spaced(&name), spaced(value))
}

fn list(indent: &str, name: &str, elements: &[impl Serialize]) -> String {
    let name = spaced(&name);
    if elements.is_empty() {
        return format!("{indent}{name}: []");
    }
    let lines: Vec<String> =
        elements.iter().map(|element| format!("{indent} {}", spaced(element))).collect();
    format!("{indent}{name}: [\n{}\n{indent}]", lines.join(",\n"))
}

/// A value on one line, with a blank after each comma and colon.
fn spaced(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Spaced);
    value.serialize(&mut serializer).expect("strings and numbers can be written");
    String::from_utf8(text).expect("JSON is UTF-8")
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}
