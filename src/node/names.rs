//! Registered names: who has which name on this node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use super::Node;
use super::cell::{Cell, lock};
use crate::core::mutant::{self, Mutant};
use crate::term::{NodeName, Pid};

/// The names of a node. Most actors have none.
#[derive(Default)]
pub(crate) struct Names(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_name: HashMap<String, u64>,
    by_number: HashMap<u64, String>,
}

/// Why a name was not given, or not taken back: what Erlang calls `badarg` (rule R2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Somebody has the name.
    #[error("the name {name:?} is taken, by {by}")]
    Taken {
        /// The name.
        name: String,
        /// Who has it.
        by: Pid,
    },
    /// The process has a name, and may have one only.
    #[error("{pid} has a name already: {name:?}")]
    HasName {
        /// The process.
        pid: Pid,
        /// The name that it has.
        name: String,
    },
    /// The process has ended.
    #[error("{pid} does not live")]
    NotAlive {
        /// The process.
        pid: Pid,
    },
    /// The process lives on another node: names belong to a node (rule R5).
    #[error("{pid} is not of {node}, where the name would be")]
    NotHere {
        /// The process.
        pid: Pid,
        /// The node on which it was to be named.
        node: NodeName,
    },
    /// Nobody has the name.
    #[error("nobody has the name {name:?}")]
    Free {
        /// The name.
        name: String,
    },
    /// It cannot be a name.
    #[error(
        "{name:?} cannot be a name: expected 1 to {NAME_BYTES_MAX} bytes, and not \"undefined\""
    )]
    NotAName {
        /// What was given, cut to that length.
        name: String,
    },
}

impl Node {
    /// Gives a name to a process of this node (R1, R2, R6).
    pub(crate) fn register(&self, name: &str, pid: Pid) -> Result<(), NameError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name == "undefined" {
            let name = name.chars().take(NAME_BYTES_MAX).collect();
            return Err(NameError::NotAName { name });
        }
        if pid.node() != self.name {
            return Err(NameError::NotHere { pid, node: self.name });
        }
        let alive = self.cell_of(pid).filter(|cell| !cell.is_doomed());
        let cell = alive.ok_or(NameError::NotAlive { pid })?;
        let mut known = lock(&self.names.0);
        if let Some(name) = known.by_number.get(&pid.number()) {
            return Err(NameError::HasName { pid, name: name.clone() });
        }
        match known.by_name.entry(name.to_owned()) {
            Entry::Occupied(mut taken) if mutant::is(Mutant::NameTakenOver) => {
                taken.insert(pid.number());
            }
            Entry::Occupied(taken) => {
                let by = Pid::new(self.name, self.incarnation, *taken.get());
                return Err(NameError::Taken { name: name.to_owned(), by });
            }
            Entry::Vacant(free) => {
                free.insert(pid.number());
            }
        }
        known.by_number.insert(pid.number(), name.to_owned());
        cell.note_noted();
        drop(known);
        // NM-1: the name of one that ends meanwhile is freed by its end, or here: its life's lock decides.
        if cell.reason().is_some() {
            self.forget_name(pid.number());
            return Err(NameError::NotAlive { pid });
        }
        Ok(())
    }

    /// Takes a name back, whoever has it.
    pub(crate) fn unregister(&self, name: &str) -> Result<(), NameError> {
        let mut known = lock(&self.names.0);
        match known.by_name.remove(name) {
            Some(number) => {
                known.by_number.remove(&number);
                Ok(())
            }
            None => Err(NameError::Free { name: name.to_owned() }),
        }
    }

    /// Who has the name here.
    pub(crate) fn whereis(&self, name: &str) -> Option<Arc<Cell>> {
        let number = *lock(&self.names.0).by_name.get(name)?;
        self.cell(number).filter(|cell| !cell.is_doomed())
    }

    /// The name of a process of this node.
    pub(crate) fn name_of(&self, pid: Pid) -> Option<String> {
        lock(&self.names.0).by_number.get(&pid.number()).cloned()
    }

    /// NM-1: a name is free before anybody hears of its holder's end (R3).
    pub(super) fn forget_name(&self, number: u64) {
        if mutant::is(Mutant::NameStays) {
            return;
        }
        let mut known = lock(&self.names.0);
        if let Some(name) = known.by_number.remove(&number) {
            known.by_name.remove(&name);
        }
    }
}

/// The longest name: as Erlang's atoms.
const NAME_BYTES_MAX: usize = 255;
