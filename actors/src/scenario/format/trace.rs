//! Supervisor traces: what happens to one supervisor's children, and what it does about it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What happens to one supervisor. The period of its intensity never ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// What it is called by, unique in its file.
    pub id: String,
    /// What it is about, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The kind of trace it was generated as, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// Who is restarted with whom.
    pub strategy: Strategy,
    /// How many restarts are borne.
    pub intensity: u32,
    /// The children it starts with, in this order.
    pub children: Vec<Child>,
    /// What happens then.
    pub ops: Vec<TraceOp>,
}

/// Who is restarted when a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// That child.
    OneForOne,
    /// All children.
    OneForAll,
    /// That child and those that were started after it.
    RestForOne,
}

/// A child's specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    /// Its id.
    pub id: String,
    /// When it is restarted.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// How many of its first starts return an error.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fail: u32,
}

/// When a child that has ended is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always.
    Permanent,
    /// When it has not ended well.
    Transient,
    /// Never.
    Temporary,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// By force, at once.
    BrutalKill,
    /// It is told to, and has all the time it wants.
    Infinity,
    /// It is told to, and has this many milliseconds.
    Millis(u64),
}

/// What happens to the supervisor or to one of its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceOp {
    /// The child ends by itself, or is killed when the reason is `killed`.
    Die {
        /// Which.
        id: String,
        /// Why.
        reason: String,
    },
    /// From now on the next starts of the child return an error.
    Fail {
        /// Which.
        id: String,
        /// How many.
        starts: u32,
    },
    /// `supervisor:terminate_child`.
    Terminate(String),
    /// `supervisor:restart_child`.
    Restart(String),
    /// `supervisor:delete_child`.
    Delete(String),
    /// `supervisor:start_child`.
    Start(Child),
    /// The parent's exit signal, with this reason.
    Stop(String),
}

/// What came of a trace.
// Fields stand in the order of their names here and below: that is the canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceOutcome {
    /// The trace's id.
    pub id: String,
    /// The supervisor's start, then one for each op.
    pub steps: Vec<TraceStep>,
}

/// What came of one op.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceStep {
    /// Each child's id and `up` or `down`, in start order.
    pub children: Vec<(String, String)>,
    /// What happened, in order.
    pub log: Vec<Log>,
    /// The answer, in a word.
    pub result: String,
    /// `alive`, the reason it ended with in this step, or `none` later.
    pub sup: String,
}

/// Something that a child reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// It has started.
    Start(String),
    /// Its start returned an error.
    Fail(String),
    /// It was told to stop, with this reason.
    Stop(String, String),
}

impl TraceOutcome {
    /// The one line that equal outcomes share, byte for byte.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers can be written")
    }
}

impl TraceOp {
    /// The child that it is about.
    pub fn about(&self) -> Option<&str> {
        match self {
            TraceOp::Die { id, .. }
            | TraceOp::Fail { id, .. }
            | TraceOp::Terminate(id)
            | TraceOp::Restart(id)
            | TraceOp::Delete(id) => Some(id),
            TraceOp::Start(child) => Some(&child.id),
            TraceOp::Stop(_) => None,
        }
    }
}

impl Serialize for Shutdown {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Shutdown::BrutalKill => "brutal_kill".serialize(to),
            Shutdown::Infinity => "infinity".serialize(to),
            Shutdown::Millis(millis) => millis.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Shutdown {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Shutdown, D::Error> {
        let value = Value::deserialize(from)?;
        match (value.as_u64(), value.as_str()) {
            (Some(millis), _) => Ok(Shutdown::Millis(millis)),
            (None, Some("brutal_kill")) => Ok(Shutdown::BrutalKill),
            (None, Some("infinity")) => Ok(Shutdown::Infinity),
            (None, Some(_) | None) => Err(D::Error::custom(format!(
                "{value} is no shutdown: expected milliseconds, \"brutal_kill\" or \"infinity\""
            ))),
        }
    }
}

impl Serialize for TraceOp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            TraceOp::Die { id, reason } => ("die", id, reason).serialize(to),
            TraceOp::Fail { id, starts } => ("fail", id, starts).serialize(to),
            TraceOp::Terminate(id) => ("terminate", id).serialize(to),
            TraceOp::Restart(id) => ("restart", id).serialize(to),
            TraceOp::Delete(id) => ("delete", id).serialize(to),
            TraceOp::Start(child) => ("start", child).serialize(to),
            TraceOp::Stop(reason) => ("stop", reason).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for TraceOp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<TraceOp, D::Error> {
        let value = Value::deserialize(from)?;
        let parts = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let Some((word, given)) = parts.split_first() else {
            return Err(D::Error::custom(format!(
                "{value}: expected an array, as [\"die\", \"a\", \"boom\"]"
            )));
        };
        let text = |part: &Value| part.as_str().map(str::to_owned);
        let op = match (word.as_str().unwrap_or_default(), given) {
            ("die", [id, reason]) => {
                text(id).zip(text(reason)).map(|(id, reason)| TraceOp::Die { id, reason })
            }
            ("fail", [id, starts]) => {
                let starts = starts.as_u64().and_then(|starts| starts.try_into().ok());
                text(id).zip(starts).map(|(id, starts)| TraceOp::Fail { id, starts })
            }
            ("terminate", [id]) => text(id).map(TraceOp::Terminate),
            ("restart", [id]) => text(id).map(TraceOp::Restart),
            ("delete", [id]) => text(id).map(TraceOp::Delete),
            ("start", [child]) => {
                let child = serde_json::from_value(child.clone())
                    .map_err(|why| D::Error::custom(format!("start: {why}")))?;
                Some(TraceOp::Start(child))
            }
            ("stop", [reason]) => text(reason).map(TraceOp::Stop),
            _ => None,
        };
        op.ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is no op: expected [\"die\", id, reason], [\"fail\", id, n], \
                 [\"terminate\", id], [\"restart\", id], [\"delete\", id], [\"start\", child] \
                 or [\"stop\", reason]"
            ))
        })
    }
}

impl Serialize for Log {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Log::Start(id) => ("start", id).serialize(to),
            Log::Fail(id) => ("fail", id).serialize(to),
            Log::Stop(id, reason) => ("stop", id, reason).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Log {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Log, D::Error> {
        let words = Vec::<String>::deserialize(from)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["start", id] => Ok(Log::Start(id.to_owned())),
            ["fail", id] => Ok(Log::Fail(id.to_owned())),
            ["stop", id, reason] => Ok(Log::Stop(id.to_owned(), reason.to_owned())),
            _ => Err(D::Error::custom(format!(
                "{words:?} is no report: expected start, fail or stop"
            ))),
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
