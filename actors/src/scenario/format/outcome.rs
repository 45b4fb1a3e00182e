//! What came of a scenario: what every process saw, and what became of it.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::Node;

/// What came of a scenario.
// Fields stand in the order of their names here and below: that is the canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The scenario's id.
    pub id: String,
    /// The processes that were created, by name.
    pub procs: BTreeMap<String, Process>,
    /// One word a step.
    pub results: Vec<String>,
}

/// What a process saw, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Where it lives or lived.
    pub node: Node,
    /// What reached it, in canonical order.
    pub inbox: Vec<Event>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives at the end.
    Alive {
        /// Whether it traps exits.
        trap: bool,
        /// The registered name it has.
        name: Option<String>,
        /// The names of the processes it is linked with, sorted.
        links: Vec<String>,
        /// What its active monitors watch, sorted, with repeats.
        monitors: Vec<String>,
    },
    /// It has ended.
    Dead {
        /// In which step.
        died: usize,
        /// Why.
        reason: String,
    },
}

/// Something that reached a process; `step` is when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Msg {
        /// When.
        step: usize,
        /// The sender.
        from: String,
        /// What it says.
        text: String,
    },
    /// A trapped exit signal.
    Exit {
        /// When.
        step: usize,
        /// The other end of the link, or who called exit/2.
        from: String,
        /// The signal's reason.
        reason: String,
    },
    /// A monitor has fired.
    Down {
        /// When.
        step: usize,
        /// The monitor.
        reference: String,
        /// Whom it watched: a process's name, or `name@node`.
        object: String,
        /// Why that one ended.
        reason: String,
    },
    /// A node was lost.
    NodeDown {
        /// When.
        step: usize,
        /// Which one.
        node: Node,
    },
}

impl Outcome {
    /// The one line that equal outcomes share, byte for byte.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers can be written")
    }
}

/// The events of one inbox in canonical order, from those that were recorded in the order of arrival.
///
/// Between different sources there is no order to compare; within one, messages and exit signals keep
/// theirs. Those of the step in which the process `died` are left out, as nobody knows whether they
/// came before its end.
pub fn in_order(mut events: Vec<Event>, died: Option<usize>) -> Vec<Event> {
    events.retain(|event| Some(event.step()) != died);
    events.sort_by(|one, other| one.key().cmp(&other.key()));
    events
}

impl Event {
    /// The step in which it arrived.
    pub fn step(&self) -> usize {
        match self {
            Event::Msg { step, .. }
            | Event::Exit { step, .. }
            | Event::Down { step, .. }
            | Event::NodeDown { step, .. } => *step,
        }
    }

    /// Its place: step, source, then signals before DOWNs by name before nodedowns. Sorting by it is
    /// stable, and signals of one source share a key.
    fn key(&self) -> (usize, String, u8, &str) {
        match self {
            Event::Msg { step, from, .. } | Event::Exit { step, from, .. } => {
                (*step, from.clone(), 0, "")
            }
            Event::Down { step, reference, object, .. } => (*step, object.clone(), 1, reference),
            Event::NodeDown { step, node } => (*step, node.to_string(), 2, ""),
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Event::Msg { step, from, text } => (step, "msg", from, text).serialize(to),
            Event::Exit { step, from, reason } => (step, "EXIT", from, reason).serialize(to),
            Event::Down { step, reference, object, reason } => {
                (step, "DOWN", reference, object, reason).serialize(to)
            }
            Event::NodeDown { step, node } => (step, "nodedown", node).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Event, D::Error> {
        let value = Value::deserialize(from)?;
        let parts = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let what = parts.get(1).and_then(Value::as_str).unwrap_or_default();
        let text = |part: &Value| part.as_str().map(str::to_owned);
        let step = parts.first().and_then(Value::as_u64).and_then(|step| step.try_into().ok());
        let event = step.and_then(|step| match (what, &parts[1..]) {
            ("msg", [_, from, said]) => {
                Some(Event::Msg { step, from: text(from)?, text: text(said)? })
            }
            ("EXIT", [_, from, reason]) => {
                Some(Event::Exit { step, from: text(from)?, reason: text(reason)? })
            }
            ("DOWN", [_, reference, object, reason]) => Some(Event::Down {
                step,
                reference: text(reference)?,
                object: text(object)?,
                reason: text(reason)?,
            }),
            ("nodedown", [_, node]) => {
                Some(Event::NodeDown { step, node: Node::deserialize(node).ok()? })
            }
            _ => None,
        });
        event.ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is no event: expected [step, \"msg\", from, text], \
                 [step, \"EXIT\", from, reason], [step, \"DOWN\", ref, object, reason] \
                 or [step, \"nodedown\", node]"
            ))
        })
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Process { node, inbox, fate } = self.clone();
        match fate {
            Fate::Alive { trap, name, links, monitors } => {
                Living { alive: true, inbox, links, monitors, name, node, trap }.serialize(to)
            }
            Fate::Dead { died, reason } => {
                Dead { alive: false, died, inbox, node, reason }.serialize(to)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Process, D::Error> {
        let value = Value::deserialize(from)?;
        match value.get("alive") {
            Some(Value::Bool(true)) => {
                let Living { inbox, links, monitors, name, node, trap, .. } =
                    serde_json::from_value(value).map_err(D::Error::custom)?;
                Ok(Process { node, inbox, fate: Fate::Alive { trap, name, links, monitors } })
            }
            Some(Value::Bool(false)) => {
                let Dead { died, inbox, node, reason, .. } =
                    serde_json::from_value(value).map_err(D::Error::custom)?;
                Ok(Process { node, inbox, fate: Fate::Dead { died, reason } })
            }
            Some(_) | None => {
                Err(D::Error::custom(format!("{}: expected `alive`, true or false", json!(value))))
            }
        }
    }
}

/// A living process as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Living {
    alive: bool,
    inbox: Vec<Event>,
    links: Vec<String>,
    monitors: Vec<String>,
    name: Option<String>,
    node: Node,
    trap: bool,
}

/// A dead process as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dead {
    alive: bool,
    died: usize,
    inbox: Vec<Event>,
    node: Node,
    reason: String,
}
