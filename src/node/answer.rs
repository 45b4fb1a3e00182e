//! Answers: the duty to answer one numbered question, which ends exactly once: by the handler, or, if it is
//! dropped, by the actor's exit reason or by saying that there is none.

use std::sync::Arc;

use serde::Serialize;

use super::Outcome;
use super::cell::Cell;
use super::link::Link;
use crate::wire::{Control, Draft, Fault, Head, encode};

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
            to.give(&self.cell, |out| encode(result, out));
        }
    }

    /// Answers with the result of a function. Who asked may know its fields by their names only, so
    /// structs are maps here; serde reads either.
    pub(crate) fn give_named<R: Serialize>(mut self, result: &R) {
        if let Some(to) = self.to.take() {
            to.give(&self.cell, |out| {
                result.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())
            });
        }
    }

    /// Answers with what went wrong.
    pub(crate) fn fail(mut self, fault: Fault) {
        if let Some(to) = self.to.take() {
            to.fail_from(&self.cell, fault);
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let cell = self.cell.clone();
            self.cell.orphan(move |fault| to.fail_from(&cell, fault));
        }
    }
}

impl Return {
    /// What `cell` answers.
    fn give(
        self,
        cell: &Cell,
        write: impl FnOnce(&mut Draft) -> Result<(), rmp_serde::encode::Error>,
    ) {
        let Some(link) = &self.link else {
            let mut draft = Draft::default();
            let outcome = match write(&mut draft) {
                Ok(()) => Outcome::Reply(draft.into_bytes()),
                Err(why) => Outcome::Failed(Fault::Undecodable(why.to_string())),
            };
            return cell.node.close_question(self.question, outcome);
        };
        let head = Head::Reply { question: self.question };
        let put = link.push(None, cell.pid.number(), head, write);
        if let Err(why) = put {
            let why = format!("the answer cannot be sent: {why}");
            self.fail_from(cell, Fault::Undecodable(why));
        }
    }

    /// Why `cell` does not.
    fn fail_from(self, cell: &Cell, fault: Fault) {
        match self.link {
            Some(link) => {
                let failed = Control::Failed { question: self.question, fault };
                link.tell_from(cell.pid.number(), &failed);
            }
            None => cell.node.close_question(self.question, Outcome::Failed(fault)),
        }
    }
}
