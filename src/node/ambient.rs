//! Which node a value belongs to that does not say so: an address that has come in a message.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::Node;
use super::cell::{current, lock, runs_at};
use super::inbox::decode;
use crate::wire::sharing;

/// The node that a value without one belongs to: that of the running actor, else the one that was
/// started last in this OS process.
pub(crate) fn ambient_node() -> Option<Arc<Node>> {
    decoding_node().or_else(|| lock(&DEFAULT_NODE).upgrade())
}

/// The node that what is being decoded has come to; else that of the running actor.
pub(crate) fn decoding_node() -> Option<Arc<Node>> {
    DECODING.with_borrow(Clone::clone).or_else(|| current().map(|cell| cell.node.clone()))
}

/// Decodes what has come to this node, to plain async code perhaps: addresses in it belong there, whichever
/// other nodes this OS process has.
pub(crate) fn decode_at<T: DeserializeOwned>(node: &Arc<Node>, bytes: &Bytes) -> Result<T, String> {
    sharing(|| bytes.clone(), bytes.len(), || decode_in(node, bytes))
}

/// The same of bytes that nothing can share.
pub(crate) fn decode_in<T: DeserializeOwned>(node: &Arc<Node>, bytes: &[u8]) -> Result<T, String> {
    decoding_at(node, || decode(bytes))
}

/// Runs what decodes something that has come to this node.
pub(crate) fn decoding_at<R>(node: &Arc<Node>, decode: impl FnOnce() -> R) -> R {
    if is_decoding_at(node) {
        return decode();
    }
    let before = DECODING.replace(Some(node.clone()));
    let _restore = Restore(before); // also if a value's own code panics
    decode()
}

fn is_decoding_at(node: &Arc<Node>) -> bool {
    let is_it = |at: &Arc<Node>| Arc::ptr_eq(at, node);
    DECODING.with_borrow(|at| at.as_ref().map(is_it)).unwrap_or_else(|| runs_at(node))
}

struct Restore(Option<Arc<Node>>);

impl Drop for Restore {
    fn drop(&mut self) {
        DECODING.set(self.0.take());
    }
}

pub(crate) fn set_default_node(node: &Arc<Node>) {
    *lock(&DEFAULT_NODE) = Arc::downgrade(node);
}

static DEFAULT_NODE: Mutex<Weak<Node>> = Mutex::new(Weak::new());

thread_local! {
    static DECODING: RefCell<Option<Arc<Node>>> = const { RefCell::new(None) };
}
