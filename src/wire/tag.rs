//! Message tags: which type a message is of, as four bytes on the wire.

use std::any::{TypeId, type_name};
use std::cell::Cell;
use std::hash::{Hash, Hasher};

/// The tag of the message type `T`: a hash of its name without module paths, so that moving a type
/// to another module changes nothing.
pub(crate) fn tag_of<T: 'static>() -> u32 {
    /// A type's own hash picks the place; another type may have taken it.
    type Known = [Cell<Option<(TypeId, u32)>>; KNOWN_MAX];
    thread_local! {
        static KNOWN: Known = const { [const { Cell::new(None) }; KNOWN_MAX] };
    }
    let id = TypeId::of::<T>();
    let mut hash = Same(0);
    id.hash(&mut hash);
    KNOWN.with(|known| {
        let place = &known[hash.0 as usize % KNOWN_MAX];
        match place.get() {
            Some((of, tag)) if of == id => tag,
            Some(_) | None => {
                let tag = tag_named(&short_name(type_name::<T>()));
                place.set(Some((id, tag)));
                tag
            }
        }
    })
}

/// The hash of what is one already: a tag, or a type's id.
#[derive(Default)]
pub(crate) struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(byte));
        }
    }

    fn write_u32(&mut self, tag: u32) {
        // A table looks at the upper bits, too.
        self.0 = u64::from(tag) << 32 | u64::from(tag);
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

/// Types whose tags a thread remembers.
const KNOWN_MAX: usize = 128;

/// FNV-1a of a type's short name.
pub(crate) fn tag_named(name: &str) -> u32 {
    name.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// `Vec<Job>` for `alloc::vec::Vec<my_crate::jobs::Job>`.
pub(crate) fn short_name(full: &str) -> String {
    let mut short = String::with_capacity(full.len());
    let mut path_starts = 0;
    for (at, c) in full.char_indices() {
        if c.is_alphanumeric() || c == '_' {
            continue;
        }
        if full[at..].starts_with("::") {
            path_starts = at + 2;
        } else if !(c == ':' && full[..at].ends_with(':')) {
            short.push_str(&full[path_starts..=at]);
            path_starts = at + c.len_utf8();
        }
    }
    short.push_str(&full[path_starts..]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_module_paths_and_nothing_else() {
        let names = [
            ("i64", "i64"),
            ("alloc::vec::Vec<a::b::Job>", "Vec<Job>"),
            ("(pspawn::term::pid::Pid, i64)", "(Pid, i64)"),
            ("core::option::Option<(a::B, [u8; 4])>", "Option<(B, [u8; 4])>"),
            ("&str", "&str"),
        ];
        for (full, short) in names {
            assert_eq!(short_name(full), short);
        }
        assert_ne!(tag_of::<i64>(), tag_of::<u64>());
    }
}
