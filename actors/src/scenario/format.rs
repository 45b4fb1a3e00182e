//! The format of scenarios: what is done, step by step, by processes on several nodes.
//!
//! A scenario names its steps; an [`Outcome`] is what every process had seen and become when the last of
//! them had come to rest. [`read_documents`] reads files of them, and says where one is not understood.
//! A [`Trace`] is the smaller format for one supervisor.

use std::fmt;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

mod check;
mod outcome;
mod read;
mod trace;
mod write;

pub(in crate::scenario) use check::pruned;
pub use outcome::{Event, Fate, Outcome, Process, in_order};
pub use read::{Document, FormatError, read_documents};
pub use trace::{Child, Log, Restart, Shutdown, Strategy, Trace, TraceOp, TraceOutcome, TraceStep};

/// Steps that are carried out one after another, each only when the one before has come to rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// What it is called by, unique in its file.
    pub id: String,
    /// What it is about, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The kind of scenario it was generated as, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// How many nodes there are: `n0`, the master, and its slaves.
    pub nodes: usize,
    /// What is done.
    pub steps: Vec<Step>,
}

/// One step of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The driver, who is none of the processes, creates one.
    Spawn(Spawn),
    /// The operating system kills a slave.
    KillNode {
        /// The slave.
        node: Node,
    },
    /// The connection between two slaves is cut.
    Disconnect {
        /// One of them.
        a: Node,
        /// The other.
        b: Node,
    },
    /// A process acts.
    By {
        /// Its name.
        by: String,
        /// What it does.
        op: Op,
    },
}

/// What a process does in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// It creates another one.
    Spawn(Spawn, How),
    /// It does one thing.
    Act(Action),
    /// It does several things in one go.
    Batch(Vec<Action>),
}

/// A process to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawn {
    /// The name by which other steps know it (`as`).
    pub name: String,
    /// Where it is to live.
    pub node: Node,
    /// Whether it traps exits from its first moment on.
    pub trap: bool,
    /// How it ends at once, if it does.
    pub dies: Option<Death>,
}

/// What ties a new process to the one that spawns it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// Nothing.
    #[default]
    Plain,
    /// A link.
    Link,
    /// A monitor of this name.
    Monitor(String),
}

/// One thing that a process does, also as part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// It links itself with another process, or with itself.
    Link {
        /// The other end.
        to: String,
    },
    /// It takes the link back.
    Unlink {
        /// The other end.
        to: String,
    },
    /// It watches a process.
    Monitor {
        /// Whom.
        to: Target,
        /// What the monitor is called.
        #[serde(rename = "ref")]
        reference: String,
    },
    /// It takes a monitor back, without flush.
    Demonitor {
        /// The monitor's name.
        #[serde(rename = "ref")]
        reference: String,
    },
    /// It sends an exit signal.
    Exit {
        /// To whom.
        to: String,
        /// The signal's reason.
        reason: String,
    },
    /// It ends itself.
    Die(Death),
    /// It sends a message.
    Send {
        /// To whom.
        to: Target,
        /// The text.
        msg: String,
    },
    /// It traps exits from now on, or no longer.
    Trap {
        /// Whether it does.
        on: bool,
    },
    /// It gives a process a name on its own node.
    Register {
        /// The name.
        name: String,
        /// The process.
        proc: String,
    },
    /// It takes a name of its own node away.
    Unregister {
        /// The name.
        name: String,
    },
    /// It asks who has a name on its own node.
    Whereis {
        /// The name.
        name: String,
    },
    /// It asks for one nodedown message, or takes one such request back.
    MonitorNode {
        /// The node, another one than its own.
        node: Node,
        /// Whether it asks.
        on: bool,
    },
}

/// How a process ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case", deny_unknown_fields)]
pub enum Death {
    /// By exit/1.
    Exit {
        /// Its reason.
        reason: String,
    },
    /// By a run-time error.
    Error {
        /// The error.
        reason: String,
    },
    /// By a throw that nobody catches.
    Throw {
        /// What is thrown.
        reason: String,
    },
    /// Its function returns.
    Return {},
}

/// Whom a message or a monitor is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process of the scenario.
    Process(String),
    /// Whoever has this registered name.
    Name {
        /// The name.
        name: String,
        /// Where it is registered.
        node: Node,
    },
}

/// A node: 0 is the master, the others are its slaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub usize);

impl Scenario {
    /// The processes that its steps create, but for those that are skipped.
    pub fn spawns(&self) -> impl Iterator<Item = &Spawn> {
        self.steps.iter().filter_map(Step::spawn)
    }
}

impl Step {
    /// The process that this step creates.
    pub fn spawn(&self) -> Option<&Spawn> {
        match self {
            Step::Spawn(spawn) | Step::By { op: Op::Spawn(spawn, _), .. } => Some(spawn),
            Step::By { op: Op::Act(_) | Op::Batch(_), .. }
            | Step::KillNode { .. }
            | Step::Disconnect { .. } => None,
        }
    }

    /// The actions of this step, in order: none, one, or those of a batch.
    pub fn actions(&self) -> &[Action] {
        match self {
            Step::By { op: Op::Act(action), .. } => std::slice::from_ref(action),
            Step::By { op: Op::Batch(actions), .. } => actions,
            Step::By { op: Op::Spawn(..), .. }
            | Step::Spawn(_)
            | Step::KillNode { .. }
            | Step::Disconnect { .. } => &[],
        }
    }
}

impl Action {
    /// The process of the scenario that it is about: `to` or `proc`.
    pub fn about(&self) -> Option<&str> {
        match self {
            Action::Link { to } | Action::Unlink { to } | Action::Exit { to, .. } => Some(to),
            Action::Register { proc, .. } => Some(proc),
            Action::Monitor { to, .. } | Action::Send { to, .. } => match to {
                Target::Process(name) => Some(name),
                Target::Name { .. } => None,
            },
            Action::Demonitor { .. }
            | Action::Die(_)
            | Action::Trap { .. }
            | Action::Unregister { .. }
            | Action::Whereis { .. }
            | Action::MonitorNode { .. } => None,
        }
    }
}

impl Death {
    /// The reason that the others hear.
    pub fn seen_as(&self) -> String {
        match self {
            Death::Exit { reason } => reason.clone(),
            Death::Error { reason } => format!("error:{reason}"),
            Death::Throw { reason } => format!("nocatch:{reason}"),
            Death::Return {} => "normal".to_owned(),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Node, D::Error> {
        let word = String::deserialize(from)?;
        let number = word.strip_prefix('n').and_then(|digits| digits.parse().ok()).map(Node);
        // One spelling a node: not n01, not n+1.
        number.filter(|node| node.to_string() == word).ok_or_else(|| {
            D::Error::custom(format!("{word:?} is no node: expected \"n0\", \"n1\" and so on"))
        })
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Target::Process(name) => name.serialize(to),
            Target::Name { name, node } => Named { name: name.clone(), node: *node }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Target, D::Error> {
        match Value::deserialize(from)? {
            Value::String(name) => Ok(Target::Process(name)),
            named @ Value::Object(_) => {
                let Named { name, node } =
                    serde_json::from_value(named).map_err(D::Error::custom)?;
                Ok(Target::Name { name, node })
            }
            other => Err(D::Error::custom(format!(
                "{other} is no target: expected a process's name or {{\"name\": N, \"node\": M}}"
            ))),
        }
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (by, fields) = match self {
            Step::Spawn(spawn) => (None, spawn.fields(None)),
            Step::KillNode { node } => {
                (None, fields([("op", "kill_node".into()), ("node", node.to_string().into())]))
            }
            Step::Disconnect { a, b } => {
                let (a, b) = (a.to_string().into(), b.to_string().into());
                (None, fields([("op", "disconnect".into()), ("a", a), ("b", b)]))
            }
            Step::By { by, op } => {
                let fields = match op {
                    Op::Spawn(spawn, how) => spawn.fields(Some(how)),
                    Op::Act(action) => object(action),
                    Op::Batch(actions) => {
                        let ops = serde_json::to_value(actions).map_err(S::Error::custom)?;
                        fields([("op", "batch".into()), ("ops", ops)])
                    }
                };
                (Some(by), fields)
            }
        };
        // Who does what comes first, for readers.
        let mut fields = fields;
        let by = by.map(|by| ("by".to_owned(), by.clone().into()));
        let op = fields.remove_entry("op");
        to.collect_map(by.into_iter().chain(op).chain(fields))
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Step, D::Error> {
        let Value::Object(mut fields) = Value::deserialize(from)? else {
            return Err(D::Error::custom("expected an object with `op`"));
        };
        step(&mut fields).map_err(D::Error::custom)
    }
}

/// One field of the object that [`Target::Name`] is written as.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    node: Node,
}

/// A `spawn` as it is written, but for `op` and `by`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpawnFields {
    r#as: String,
    node: Node,
    #[serde(default)]
    trap: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dies: Option<Death>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    how: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r#ref: Option<String>,
}

impl Spawn {
    /// As it is written: by a process if there is a `how`, else by the driver.
    fn fields(&self, how: Option<&How>) -> Map<String, Value> {
        let (how, r#ref) = match how {
            None => (None, None),
            Some(How::Plain) => (Some("plain"), None),
            Some(How::Link) => (Some("link"), None),
            Some(How::Monitor(reference)) => (Some("monitor"), Some(reference.clone())),
        };
        let fields = SpawnFields {
            r#as: self.name.clone(),
            node: self.node,
            trap: self.trap,
            dies: self.dies.clone(),
            how: how.map(str::to_owned),
            r#ref,
        };
        let mut fields = object(&fields);
        fields.insert("op".to_owned(), "spawn".into());
        fields
    }
}

impl SpawnFields {
    fn spawn(self) -> Spawn {
        Spawn { name: self.r#as, node: self.node, trap: self.trap, dies: self.dies }
    }
}

/// Reads a step.
fn step(fields: &mut Map<String, Value>) -> Result<Step, String> {
    let op = match fields.get("op") {
        Some(Value::String(op)) => op.clone(),
        Some(other) => return Err(format!("`op` is {other}: expected a word")),
        None => return Err("`op` is missing".to_owned()),
    };
    if !ops().any(|known| known == op) {
        let known: Vec<&str> = ops().collect();
        return Err(format!("`op` is {op:?}: expected one of {}", known.join(", ")));
    }
    let inside = |why: String| format!("{op}: {why}");
    let by = match fields.remove("by") {
        None => None,
        Some(Value::String(by)) => Some(by),
        Some(other) => return Err(inside(format!("`by` is {other}: expected a process's name"))),
    };
    match (op.as_str(), by) {
        ("kill_node" | "disconnect", Some(_)) => {
            Err(inside("has no `by`: it is done from outside".to_owned()))
        }
        ("kill_node", None) => {
            let KillNode { node } = rest(fields).map_err(inside)?;
            Ok(Step::KillNode { node })
        }
        ("disconnect", None) => {
            let Disconnect { a, b } = rest(fields).map_err(inside)?;
            Ok(Step::Disconnect { a, b })
        }
        ("spawn", None) => {
            let spawn: SpawnFields = rest(fields).map_err(inside)?;
            if spawn.how.is_some() || spawn.r#ref.is_some() {
                let why = "`how` and `ref` need a `by`: the driver is tied to nobody";
                return Err(inside(why.to_owned()));
            }
            Ok(Step::Spawn(spawn.spawn()))
        }
        ("spawn", Some(by)) => {
            let spawn: SpawnFields = rest(fields).map_err(inside)?;
            let how = how(&spawn).map_err(inside)?;
            Ok(Step::By { by, op: Op::Spawn(spawn.spawn(), how) })
        }
        (_, None) => Err(inside("`by` is missing: expected the process that acts".to_owned())),
        ("batch", Some(by)) => {
            let Batch { ops } = rest(fields).map_err(inside)?;
            let action = |(at, op)| action(op).map_err(|why| inside(format!("op {at}: {why}")));
            let actions: Result<_, String> = ops.into_iter().enumerate().map(action).collect();
            Ok(Step::By { by, op: Op::Batch(actions?) })
        }
        (_, Some(by)) => {
            let action = action(Value::Object(std::mem::take(fields))).map_err(inside)?;
            Ok(Step::By { by, op: Op::Act(action) })
        }
    }
}

fn how(spawn: &SpawnFields) -> Result<How, String> {
    match (spawn.how.as_deref(), &spawn.r#ref) {
        (None | Some("plain"), None) => Ok(How::Plain),
        (Some("link"), None) => Ok(How::Link),
        (Some("monitor"), Some(reference)) => Ok(How::Monitor(reference.clone())),
        (Some("monitor"), None) => Err("`ref` is missing: expected the monitor's name".to_owned()),
        (None | Some("plain" | "link"), Some(_)) => {
            Err("`ref` is for `how` = \"monitor\" only".to_owned())
        }
        (Some(how), _) => Err(format!("`how` is {how:?}: expected plain, link or monitor")),
    }
}

fn action(value: Value) -> Result<Action, String> {
    if let Some(word) = value.get("op").and_then(Value::as_str)
        && !ACTIONS.contains(&word)
    {
        return Err(format!("`op` is {word:?}: expected one of {}", ACTIONS.join(", ")));
    }
    serde_json::from_value(value).map_err(|why| why.to_string())
}

/// Reads the fields that are left when `op` and `by` are known.
fn rest<T: for<'de> Deserialize<'de>>(fields: &mut Map<String, Value>) -> Result<T, String> {
    fields.remove("op");
    serde_json::from_value(Value::Object(std::mem::take(fields))).map_err(|why| why.to_string())
}

/// What a `kill_node` has besides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KillNode {
    node: Node,
}

/// What a `disconnect` has besides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    a: Node,
    b: Node,
}

/// What a `batch` has besides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    ops: Vec<Value>,
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The fields of a value that is written as an object.
fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        Ok(other) => unreachable!("{other} is no object"),
        Err(why) => unreachable!("strings and booleans can be written: {why}"),
    }
}

/// What a process can do, also in a batch.
const ACTIONS: &[&str] = &[
    "link",
    "unlink",
    "monitor",
    "demonitor",
    "exit",
    "die",
    "send",
    "trap",
    "register",
    "unregister",
    "whereis",
    "monitor_node",
];

/// What a step can be.
fn ops() -> impl Iterator<Item = &'static str> {
    let (first, last) = (["spawn"], ["batch", "kill_node", "disconnect"]);
    first.into_iter().chain(ACTIONS.iter().copied()).chain(last)
}

#[cfg(test)]
mod tests;
