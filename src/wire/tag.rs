//! Message tags: which type a message is of, as four bytes on the wire.

use std::any::{TypeId, type_name};
use std::cell::RefCell;
use std::collections::HashMap;

/// The tag of the message type `T`: a hash of its name without module paths, so that moving a type
/// to another module changes nothing.
pub(crate) fn tag_of<T: 'static>() -> u32 {
    thread_local! {
        static KNOWN: RefCell<HashMap<TypeId, u32>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        *known.entry(TypeId::of::<T>()).or_insert_with(|| tag_named(&short_name(type_name::<T>())))
    })
}

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
