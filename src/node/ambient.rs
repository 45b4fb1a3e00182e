//! Which node a value belongs to that does not say so: an address that has come in a message.

use std::sync::{Arc, Mutex, Weak};

use super::Node;
use super::cell::{current, lock};

/// The node of the running actor; outside of actors the one that was started last in this OS process.
pub(crate) fn ambient_node() -> Option<Arc<Node>> {
    current().map(|cell| cell.node.clone()).or_else(|| lock(&DEFAULT_NODE).upgrade())
}

pub(crate) fn set_default_node(node: &Arc<Node>) {
    *lock(&DEFAULT_NODE) = Arc::downgrade(node);
}

static DEFAULT_NODE: Mutex<Weak<Node>> = Mutex::new(Weak::new());
