//! Pids and refs: who, and which question.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::NodeName;

/// Which life of a node's name: a node that comes back under its old name has another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u32);

/// Names one actor of one life of one node, for ever: a pid is not used again.
///
/// It is a plain value: copy it, send it in a message, keep it after its actor has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pid {
    node: NodeName,
    incarnation: Incarnation,
    number: u64,
}

impl Pid {
    pub(crate) fn new(node: NodeName, incarnation: Incarnation, number: u64) -> Pid {
        Pid { node, incarnation, number }
    }

    /// A pid that no actor ever has.
    pub(crate) fn nobody() -> Pid {
        let node = "nobody@nowhere".parse().expect("a node name");
        Pid { node, incarnation: Incarnation(0), number: 0 }
    }

    /// The node where the actor lives or lived.
    #[must_use]
    pub fn node(self) -> NodeName {
        self.node
    }

    pub(crate) fn incarnation(self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn number(self) -> u64 {
        self.number
    }
}

/// `<number.incarnation name@host>`, in the manner of Erlang's `<0.84.0>`.
impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("<{}.{} {}>", self.number, self.incarnation.0, self.node))
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Pid {
    type Err = PidError;

    fn from_str(text: &str) -> Result<Pid, PidError> {
        let refused = || PidError { text: text.chars().take(80).collect() };
        let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).ok_or_else(refused)?;
        let (numbers, node) = inner.split_once(' ').ok_or_else(refused)?;
        let (number, incarnation) = numbers.split_once('.').ok_or_else(refused)?;
        Ok(Pid {
            node: node.parse().map_err(|_| refused())?,
            incarnation: Incarnation(incarnation.parse().map_err(|_| refused())?),
            number: number.parse().map_err(|_| refused())?,
        })
    }
}

/// A text that is no pid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no pid: expected <number.incarnation name@host>, as `pspawn spawn` prints it")]
pub struct PidError {
    /// The text, cut to 80 characters.
    pub text: String,
}

/// Names one monitor, or one question, of one actor's making.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Ref {
    node: NodeName,
    incarnation: Incarnation,
    number: u64,
}

impl Ref {
    pub(crate) fn new(node: NodeName, incarnation: Incarnation, number: u64) -> Ref {
        Ref { node, incarnation, number }
    }

    /// The node that made it.
    pub(crate) fn node(self) -> NodeName {
        self.node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_reads_back_what_it_shows() {
        let pid = Pid::new("w@h1".parse().unwrap(), Incarnation(7), 42);
        assert_eq!(pid.to_string(), "<42.7 w@h1>");
        assert_eq!(pid.to_string().parse::<Pid>().unwrap(), pid);
        for text in ["", "<>", "42", "<42 w@h1>", "<42.7 w>", "<-1.7 w@h1>", "<42.7 w@h1"] {
            assert!(text.parse::<Pid>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_pid_is_two_words() {
        assert_eq!(size_of::<Pid>(), 16);
    }
}
