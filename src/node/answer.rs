//! Answers: the duty to answer one numbered question, which ends exactly once: by the handler, or, if it is
//! dropped, by the actor's exit reason or by saying that there is none.

use std::sync::Arc;

use serde::Serialize;

use super::cell::Cell;
use super::link::Link;
use super::{Node, Outcome};
use crate::wire::{Control, Fault, Head};

/// Who asked with a numbered question: another node, or this one where the answer is wanted encoded.
pub(crate) struct Asker {
    /// Whose actor was asked.
    cell: Arc<Cell>,
    to: Option<Return>,
}

/// The way back to who asked.
pub(crate) struct Return {
    /// None: this node.
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) question: u64,
}

impl Asker {
    pub(crate) fn new(cell: Arc<Cell>, to: Return) -> Asker {
        Asker { cell, to: Some(to) }
    }

    /// Answers with the handler's result.
    pub(crate) fn give<R: Serialize>(mut self, result: &R) {
        if let Some(to) = self.to.take() {
            to.give(&self.cell.node, |out| encode(result, out));
        }
    }

    /// Answers with the result of a function. Who asked may know its fields by their names only, so
    /// structs are maps here; serde reads either.
    pub(crate) fn give_named<R: Serialize>(mut self, result: &R) {
        if let Some(to) = self.to.take() {
            to.give(&self.cell.node, |out| {
                result.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())
            });
        }
    }

    /// Answers with what went wrong.
    pub(crate) fn fail(mut self, fault: Fault) {
        if let Some(to) = self.to.take() {
            to.fail(&self.cell.node, fault);
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let node = self.cell.node.clone();
            self.cell.orphan(move |fault| to.fail(&node, fault));
        }
    }
}

impl Return {
    fn give(
        self,
        node: &Arc<Node>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), rmp_serde::encode::Error>,
    ) {
        let Some(link) = &self.link else {
            let mut bytes = Vec::new();
            let outcome = match write(&mut bytes) {
                Ok(()) => Outcome::Reply(bytes.into()),
                Err(why) => Outcome::Failed(Fault::Undecodable(why.to_string())),
            };
            return node.close_question(self.question, outcome);
        };
        let head = Head::Reply { question: self.question };
        let put = link.push(None, head, write);
        if let Err(why) = put {
            self.fail(node, Fault::Undecodable(format!("the answer cannot be sent: {why}")));
        }
    }

    pub(crate) fn fail(self, node: &Arc<Node>, fault: Fault) {
        match self.link {
            Some(link) => {
                link.tell(&Control::Failed { question: self.question, fault });
            }
            None => node.close_question(self.question, Outcome::Failed(fault)),
        }
    }
}

/// Appends `value` to `out` in the compact form: structs are arrays.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), rmp_serde::encode::Error> {
    value.serialize(&mut rmp_serde::Serializer::new(out))
}
