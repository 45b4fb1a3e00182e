//! Node names: `name@host`, interned like Erlang's atoms so that a pid stays two words.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{OnceLock, PoisonError, RwLock};

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// The name of a node, `name@host`.
///
/// Copying one costs nothing: the text is kept once for each OS process, as Erlang keeps its atoms,
/// and never given back. Only names that a peer with the right cookie has said get that far.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeName(u32);

impl NodeName {
    /// The name `name@host`.
    ///
    /// # Errors
    /// [`NodeNameError`] if either part is empty, too long, or has a character that is not a
    /// letter, a digit or one of `-_.`.
    pub fn new(name: &str, host: &str) -> Result<NodeName, NodeNameError> {
        format!("{name}@{host}").parse()
    }

    #[cfg(test)]
    pub(crate) fn is_kept(text: &str) -> bool {
        atoms().read().unwrap_or_else(PoisonError::into_inner).index.contains_key(text)
    }

    /// What stands for the name in this OS process.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// The name that this number stands for in this OS process.
    pub(crate) fn of_number(number: u32) -> NodeName {
        NodeName(number)
    }

    /// The whole name, `name@host`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        atoms().read().unwrap_or_else(PoisonError::into_inner).text[self.0 as usize]
    }

    /// The part before the `@`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.as_str().split_once('@').map_or("", |(name, _)| name)
    }

    /// The part after the `@`.
    #[must_use]
    pub fn host(self) -> &'static str {
        self.as_str().split_once('@').map_or("", |(_, host)| host)
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<NodeName, NodeNameError> {
        let refused = || NodeNameError { text: text.chars().take(NAME_CHARS_MAX).collect() };
        let (name, host) = text.split_once('@').ok_or_else(refused)?;
        let fits = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        if text.len() > NAME_CHARS_MAX || !fits(name) || !fits(host) {
            return Err(refused());
        }
        Ok(intern(text))
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialOrd for NodeName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NodeName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NodeName, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = NodeName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a node name, name@host")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<NodeName, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A text that is no node name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no node name: expected name@host of letters, digits, '-', '_' and '.'")]
pub struct NodeNameError {
    /// The text, cut to the longest length a name may have.
    pub text: String,
}

#[derive(Default)]
struct Atoms {
    index: HashMap<&'static str, u32>,
    text: Vec<&'static str>,
}

fn atoms() -> &'static RwLock<Atoms> {
    static ATOMS: OnceLock<RwLock<Atoms>> = OnceLock::new();
    ATOMS.get_or_init(RwLock::default)
}

fn intern(text: &str) -> NodeName {
    if let Some(&at) = atoms().read().unwrap_or_else(PoisonError::into_inner).index.get(text) {
        return NodeName(at);
    }
    let mut atoms = atoms().write().unwrap_or_else(PoisonError::into_inner);
    if let Some(&at) = atoms.index.get(text) {
        return NodeName(at);
    }
    let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
    let at = u32::try_from(atoms.text.len()).expect("fewer than 2^32 node names");
    atoms.text.push(kept);
    atoms.index.insert(kept, at);
    NodeName(at)
}

/// The longest node name, in bytes: a host name has at most 255.
const NAME_CHARS_MAX: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_equal_names_and_the_parts_come_back() {
        let a: NodeName = "demo@a.example".parse().unwrap();
        assert_eq!(a, NodeName::new("demo", "a.example").unwrap());
        assert_eq!((a.name(), a.host()), ("demo", "a.example"));
        assert_ne!(a, "demo@b".parse().unwrap());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "a", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\n", &"x".repeat(400)] {
            assert!(text.parse::<NodeName>().is_err(), "{text:?}");
        }
    }
}
