//! The node's code path: what can be started here by name.
//!
//! `remote_actor!` and `remote_fn!` put an entry into a slice that the linker gathers, so every binary
//! that links an actor can start it, and a master and its slaves, which are one executable, agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::seat::Seat;
use crate::term::Kind;
use crate::wire::KindInfo;

/// One actor type or function that can be started by name.
#[doc(hidden)]
pub struct Entry {
    pub module: &'static str,
    pub function: &'static str,
    /// The parameters, as written or by type.
    pub params: fn() -> String,
    /// Starts only where the master allows it by name.
    pub guarded: bool,
    pub messages: fn() -> Vec<String>,
    /// Decodes the arguments and takes the seat, or hands it back with what is wrong with them.
    pub start: fn(&[u8], Seat) -> Started,
}

/// Nothing if the seat is taken; the seat, and what is wrong with the arguments, if it is not.
#[doc(hidden)]
pub type Started = Result<(), Box<(Seat, String)>>;

/// All entries of this executable.
#[doc(hidden)]
#[linkme::distributed_slice]
pub static ENTRIES: [Entry];

/// The entry of this name.
pub(crate) fn entry(kind: &Kind) -> Option<&'static Entry> {
    registry().by_name.get(&(kind.module(), kind.function())).copied()
}

/// The kind as all actors of it share it.
pub(crate) fn shared(kind: &Kind) -> Arc<Kind> {
    registry().kinds.get(kind).cloned().unwrap_or_else(|| Arc::new(kind.clone()))
}

/// What this executable can start, by name; needs no pool.
#[must_use]
pub fn kinds() -> Vec<KindInfo> {
    registry().by_name.values().map(|entry| info(entry)).collect()
}

/// A digest of all names with their parameters and messages: equal on nodes that can start the same.
pub(crate) fn digest() -> &'static str {
    &registry().digest
}

struct Registry {
    by_name: BTreeMap<(&'static str, &'static str), &'static Entry>,
    /// One of each for all actors of that kind.
    kinds: BTreeSet<Arc<Kind>>,
    digest: String,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut by_name = BTreeMap::new();
        for entry in ENTRIES {
            let twice = by_name.insert((entry.module, entry.function), entry);
            assert!(
                twice.is_none(),
                "{}:{} is registered twice: give one of the two another name",
                entry.module,
                entry.function
            );
        }
        let mut hash = Sha256::new();
        for entry in by_name.values() {
            let said = rmp_serde::to_vec(&info(entry)).expect("an entry is plain data");
            hash.update(said);
        }
        let digest = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let kinds =
            by_name.keys().map(|(module, function)| Arc::new(Kind::new(*module, *function)));
        Registry { kinds: kinds.collect(), by_name, digest }
    })
}

fn info(entry: &Entry) -> KindInfo {
    KindInfo {
        kind: Kind::new(entry.module, entry.function),
        params: (entry.params)(),
        messages: (entry.messages)(),
        guarded: entry.guarded,
    }
}
