//! Reading files of scenarios and traces, and saying where one is not understood.

use std::collections::BTreeSet;
use std::{error, fmt};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Outcome, Scenario, Trace, TraceOutcome, check};

/// A scenario or a trace, with the outcome that its file says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Processes on several nodes.
    Scenario {
        /// What is done.
        scenario: Scenario,
        /// What should come of it.
        expect: Option<Outcome>,
    },
    /// One supervisor.
    Trace {
        /// What happens to it.
        trace: Trace,
        /// What should come of it.
        expect: Option<TraceOutcome>,
    },
}

/// Why a text is no list of scenarios and traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The file, if it is known.
    pub file: Option<String>,
    /// The line on which the document starts, or on which it ceases to be JSON; the first is 1.
    pub line: usize,
    /// The document's id, as far as it was read.
    pub id: Option<String>,
    /// The step, or the op of a trace.
    pub step: Option<usize>,
    /// What is wrong, and what was expected.
    pub why: String,
}

/// Reads one document, on one line or on many, or any number of them, one after another.
///
/// # Errors
/// The first thing that is not as the format says: no JSON, an unknown `op`, a field that is missing or
/// unknown, a name that no earlier step has made, a node that is not there.
pub fn read_documents(text: &str) -> Result<Vec<Document>, FormatError> {
    let mut documents = Vec::new();
    let mut ids = BTreeSet::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let from = values.byte_offset();
        let from = from + text[from..].len() - text[from..].trim_start().len();
        let Some(value) = values.next() else { return Ok(documents) };
        let at = |fault: Fault| FormatError {
            file: None,
            line: fault.line.unwrap_or(1 + text[..from].matches('\n').count()),
            id: fault.id,
            step: fault.step,
            why: fault.why,
        };
        let value = value.map_err(|why| at(Fault::of_json(&why)))?;
        let document = Document::of(value).map_err(at)?;
        if !ids.insert(document.id().to_owned()) {
            let why = "another document of this file has this id".to_owned();
            return Err(at(Fault::new(why).of(document.id())));
        }
        documents.push(document);
    }
}

impl Document {
    /// The scenario's or trace's id.
    pub fn id(&self) -> &str {
        match self {
            Document::Scenario { scenario, .. } => &scenario.id,
            Document::Trace { trace, .. } => &trace.id,
        }
    }

    /// What the scenario or trace is about, if it says so.
    pub fn title(&self) -> Option<&str> {
        match self {
            Document::Scenario { scenario, .. } => scenario.title.as_deref(),
            Document::Trace { trace, .. } => trace.title.as_deref(),
        }
    }

    fn of(value: Value) -> Result<Document, Fault> {
        let Value::Object(mut fields) = value else {
            return Err(Fault::new(format!("{value}: expected an object with `id` and `steps`")));
        };
        let id = match fields.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(other) => return Err(Fault::new(format!("`id` is {other}: expected a string"))),
            None => return Err(Fault::new("`id` is missing: expected a string".to_owned())),
        };
        let document = if fields.contains_key("strategy") {
            Document::trace(&mut fields, &id)
        } else {
            Document::scenario(&mut fields, &id)
        };
        document.map_err(|fault| fault.of(&id))
    }

    fn scenario(fields: &mut Map<String, Value>, id: &str) -> Result<Document, Fault> {
        let expect = expected(fields, id)?;
        let steps = each(fields, "steps")?;
        let mut scenario: Scenario = whole(fields, "steps")?;
        scenario.steps = steps;
        check::scenario(&scenario).map_err(|(step, why)| Fault { step, ..Fault::new(why) })?;
        Ok(Document::Scenario { scenario, expect })
    }

    fn trace(fields: &mut Map<String, Value>, id: &str) -> Result<Document, Fault> {
        let expect = expected(fields, id)?;
        let ops = each(fields, "ops")?;
        let mut trace: Trace = whole(fields, "ops")?;
        trace.ops = ops;
        check::trace(&trace).map_err(|(step, why)| Fault { step, ..Fault::new(why) })?;
        Ok(Document::Trace { trace, expect })
    }
}

impl FormatError {
    /// The same error, of this file.
    #[must_use]
    pub fn in_file(self, file: &str) -> FormatError {
        FormatError { file: Some(file.to_owned()), ..self }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}:{}", self.line)?,
            None => write!(f, "line {}", self.line)?,
        }
        if let Some(id) = &self.id {
            write!(f, ", {id}")?;
        }
        if let Some(step) = self.step {
            write!(f, ", step {step}")?;
        }
        write!(f, ": {}", self.why)
    }
}

impl error::Error for FormatError {}

/// A [`FormatError`] whose place is not yet known.
struct Fault {
    line: Option<usize>,
    id: Option<String>,
    step: Option<usize>,
    why: String,
}

impl Fault {
    fn new(why: String) -> Fault {
        Fault { line: None, id: None, step: None, why }
    }

    fn of_json(why: &serde_json::Error) -> Fault {
        Fault { line: Some(why.line()), ..Fault::new(format!("no JSON: {why}")) }
    }

    fn of(self, id: &str) -> Fault {
        Fault { id: Some(id.to_owned()), ..self }
    }
}

/// Takes `expect` out; the document's id stands in for its own.
fn expected<T: for<'de> Deserialize<'de>>(
    fields: &mut Map<String, Value>,
    id: &str,
) -> Result<Option<T>, Fault> {
    let Some(mut expect) = fields.remove("expect") else { return Ok(None) };
    if let Value::Object(fields) = &mut expect {
        fields.entry("id").or_insert_with(|| id.into());
    }
    let read = serde_json::from_value(expect);
    read.map(Some).map_err(|why| Fault::new(format!("`expect`: {why}")))
}

/// Takes an array out and reads it element by element, so that a fault can name its place.
fn each<T: for<'de> Deserialize<'de>>(
    fields: &mut Map<String, Value>,
    name: &str,
) -> Result<Vec<T>, Fault> {
    let elements = match fields.remove(name) {
        Some(Value::Array(elements)) => elements,
        Some(other) => {
            return Err(Fault::new(format!("`{name}` is {other}: expected an array")));
        }
        None => return Err(Fault::new(format!("`{name}` is missing: expected an array"))),
    };
    let read = |(at, element): (usize, Value)| {
        serde_json::from_value(element)
            .map_err(|why| Fault { step: Some(at), ..Fault::new(format!("{why}")) })
    };
    elements.into_iter().enumerate().map(read).collect()
}

/// Reads the fields that are left, with an empty array in the place of the one that was taken out.
fn whole<T: for<'de> Deserialize<'de>>(
    fields: &mut Map<String, Value>,
    taken: &str,
) -> Result<T, Fault> {
    fields.insert(taken.to_owned(), Value::Array(Vec::new()));
    serde_json::from_value(Value::Object(std::mem::take(fields)))
        .map_err(|why| Fault::new(why.to_string()))
}
