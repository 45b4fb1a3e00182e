//! The node's code path: what can be started here by name.
//!
//! `remote_actor!` and `remote_fn!` put an entry into a slice that the linker gathers, so every binary
//! that links an actor can start it, and a master and its slaves, which are one executable, agree.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Deref;
use std::sync::{Mutex, OnceLock};

use sha2::{Digest, Sha256};

use super::cell::lock;
use super::seat::Seat;
use crate::term::{Kind, Pid};
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

/// The pid if the seat is taken; the seat, and what is wrong with the arguments, if it is not.
#[doc(hidden)]
pub type Started = Result<Pid, Box<(Seat, String)>>;

/// All entries of this executable.
#[doc(hidden)]
#[linkme::distributed_slice]
pub static ENTRIES: [Entry];

/// An entry, and its name as all actors of it share it.
pub(crate) struct Known {
    pub(crate) entry: &'static Entry,
    pub(crate) kind: Kind,
}

/// The entry of this name.
pub(crate) fn known(kind: &Kind) -> Option<&'static Known> {
    find(kind.module(), kind.function())
}

/// The name of what is to be started, without a copy of the text if this executable knows it.
pub(crate) enum Name {
    Known(&'static Known),
    Unknown(Box<Kind>),
}

impl Deref for Name {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        match self {
            Name::Known(known) => &known.kind,
            Name::Unknown(kind) => kind,
        }
    }
}

pub(crate) fn name_of(module: &str, function: &str) -> Name {
    match find(module, function) {
        Some(known) => Name::Known(known),
        None => Name::Unknown(Box::new(Kind::new(module.to_owned(), function.to_owned()))),
    }
}

/// The name of a type that is started without being registered, as all actors of it share it.
pub(crate) fn unregistered(kind: &Kind) -> &'static Kind {
    static KINDS: Mutex<Vec<&'static Kind>> = Mutex::new(Vec::new());
    let mut kinds = lock(&KINDS);
    if let Some(known) = kinds.iter().copied().find(|known| *known == kind) {
        return known;
    }
    let known = &*Box::leak(Box::new(kind.clone())); // one for each such type of the program
    kinds.push(known);
    known
}

/// Who starts one starts many, and each is looked for twice.
fn find(module: &str, function: &str) -> Option<&'static Known> {
    thread_local! {
        static LAST: Cell<Option<&'static Known>> = const { Cell::new(None) };
    }
    let is_it = |known: &&Known| known.entry.function == function && known.entry.module == module;
    if let Some(last) = LAST.get().filter(is_it) {
        return Some(last);
    }
    let found = registry().by_hash.get(&(module, function)).copied()?;
    LAST.set(Some(found));
    Some(found)
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

/// Module and function.
type Pair = (&'static str, &'static str);

struct Registry {
    by_name: BTreeMap<Pair, &'static Entry>,
    /// The same, to be found fast.
    by_hash: HashMap<Pair, &'static Known, BuildHasherDefault<Text>>,
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
        let known = by_name.iter().map(|(name, entry)| {
            let kind = Kind::new(entry.module, entry.function);
            (*name, &*Box::leak(Box::new(Known { entry, kind }))) // there is one registry
        });
        Registry { by_hash: known.collect(), by_name, digest }
    })
}

/// FNV-1a, eight bytes at a time: the names are those of the program itself, and few.
struct Text(u64);

impl Default for Text {
    fn default() -> Text {
        Text(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for Text {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}

fn info(entry: &Entry) -> KindInfo {
    KindInfo {
        kind: Kind::new(entry.module, entry.function),
        params: (entry.params)(),
        messages: (entry.messages)(),
        guarded: entry.guarded,
    }
}
