//! Bytes that are not copied: on their way into a frame, and out of one.
//!
//! serde knows of no such thing, so a [`Payload`](crate::Payload) offers its memory to whatever encodes it on this
//! thread, and asks whatever decodes it for a share of the memory that it is read from.

use std::cell::RefCell;
use std::io;

use bytes::Bytes;
use serde::Serialize;

thread_local! {
    /// What is being encoded at this moment.
    static OFFERED: RefCell<Option<Bytes>> = const { RefCell::new(None) };
    /// What is being decoded at this moment.
    static SOURCE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// What is being written, but for bytes that are taken as they are.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) own: Vec<u8>,
    /// What was taken instead of copied, and before which byte of `own` it goes.
    pub(crate) taken: Vec<(usize, Bytes)>,
}

impl Draft {
    /// How much it is, with what was taken.
    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.taken.iter().map(|(_, part)| part.len()).sum::<usize>()
    }

    /// Takes off what was written from here on, nothing before which was taken.
    pub(crate) fn split_off(&mut self, start: usize) -> Draft {
        let taken = self.taken.drain(..).map(|(at, part)| (at - start, part)).collect();
        Draft { own: self.own.split_off(start), taken }
    }

    /// All of it in one piece.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.taken.is_empty() {
            return self.own.into();
        }
        let mut whole = Vec::with_capacity(self.len());
        let mut from = 0;
        for (at, part) in &self.taken {
            whole.extend_from_slice(&self.own[from..*at]);
            whole.extend_from_slice(part);
            from = *at;
        }
        whole.extend_from_slice(&self.own[from..]);
        whole.into()
    }
}

impl io::Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() >= SHARED_BYTES_MIN {
            let is_it = |offered: &Bytes| std::ptr::eq(&**offered, bytes);
            if let Some(offered) = OFFERED.take().filter(is_it) {
                self.taken.push((self.own.len(), offered));
                return Ok(());
            }
        }
        self.own.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets whatever encodes now take these bytes without a copy, if it can.
#[inline]
pub(crate) fn offering<R>(bytes: &Bytes, encode: impl FnOnce() -> R) -> R {
    if bytes.len() < SHARED_BYTES_MIN {
        return encode();
    }
    OFFERED.set(Some(bytes.clone()));
    let encoded = encode();
    OFFERED.set(None);
    encoded
}

/// Appends `value` to `out` in the compact form: structs are arrays.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    out: &mut impl io::Write,
) -> Result<(), rmp_serde::encode::Error> {
    value.serialize(&mut rmp_serde::Serializer::new(out))
}

/// Decodes with this as the memory that shares may be had of.
pub(crate) fn sharing<R>(
    source: impl FnOnce() -> Bytes,
    bytes: usize,
    decode: impl FnOnce() -> R,
) -> R {
    if bytes < SHARED_BYTES_MIN {
        return decode();
    }
    let _restore = RestoreSource(SOURCE.replace(Some(source()))); // also if a value's own code panics
    decode()
}

struct RestoreSource(Option<Bytes>);

impl Drop for RestoreSource {
    fn drop(&mut self) {
        SOURCE.set(self.0.take());
    }
}

/// These bytes as a share of what is being decoded, or else as a copy.
pub(crate) fn share(bytes: &[u8]) -> Bytes {
    let shared = SOURCE.with_borrow(|source| {
        let source = source.as_ref()?;
        let (within, wanted) = (source.as_ptr_range(), bytes.as_ptr_range());
        let is_part = within.start <= wanted.start && wanted.end <= within.end;
        is_part.then(|| source.slice_ref(bytes))
    });
    shared.unwrap_or_else(|| Bytes::copy_from_slice(bytes))
}

/// Less than this is copied: that costs less.
const SHARED_BYTES_MIN: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;

    #[test]
    fn what_is_offered_is_taken_where_that_can_be_and_copied_elsewhere() {
        let payload = Payload::from(vec![7; 10_000]);
        let mut draft = Draft { own: vec![1, 2], taken: Vec::new() };
        encode(&(1u8, &payload, 2u8), &mut draft).unwrap();
        // The array's head, 1, the head of the binary; and 2.
        assert_eq!(draft.own, [1, 2, 0x93, 1, 0xC5, 0x27, 0x10, 2]);
        assert_eq!(draft.taken.len(), 1);
        assert_eq!((draft.taken[0].0, draft.taken[0].1.as_ptr()), (7, payload.as_ptr()));
        let mut copied = Vec::new();
        encode(&payload, &mut copied).unwrap();
        assert_eq!(copied.len(), 10_003);
    }

    #[test]
    fn what_is_decoded_shares_the_memory_it_is_read_from() {
        let mut encoded = Vec::new();
        encode(&Payload::from(vec![7; 10_000]), &mut encoded).unwrap();
        let source = Bytes::from(encoded);
        let decode = || crate::wire::from_bytes::<Payload>(&source).unwrap();
        let shared = sharing(|| source.clone(), source.len(), decode);
        assert_eq!(shared.as_ptr(), source[3..].as_ptr());
        let copied = decode();
        assert_ne!(copied.as_ptr(), source[3..].as_ptr());
        assert_eq!(shared, copied);
    }
}
