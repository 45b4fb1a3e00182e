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

/// The same as an [`Asker`] while a handler runs: most answer at once, and nothing need be counted for that.
pub(crate) struct Due<'a> {
    cell: &'a Arc<Cell>,
    link: Option<&'a Arc<Link>>,
    question: u64,
    open: bool,
}

impl Asker {
    pub(crate) fn new(cell: Arc<Cell>, to: Return) -> Asker {
        Asker { cell, to: Some(to) }
    }

    /// Lets `act` answer, or not.
    pub(crate) fn lend<R>(mut self, act: impl FnOnce(Option<Due<'_>>) -> R) -> R {
        let to = self.to.take();
        let due = to.as_ref().map(|to| Due::new(&self.cell, to.link.as_ref(), to.question));
        act(due)
    }

    /// Answers with the handler's result.
    pub(crate) fn give<R: Serialize>(self, result: &R) {
        self.lend(|due| {
            if let Some(due) = due {
                due.give(result);
            }
        });
    }

    /// Answers with the result of a function. Who asked may know its fields by their names only, so
    /// structs are maps here; serde reads either.
    pub(crate) fn give_named<R: Serialize>(self, result: &R) {
        self.lend(|due| {
            if let Some(due) = due {
                due.give_encoded(|out| {
                    result.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())
                });
            }
        });
    }

    /// Answers with what went wrong.
    pub(crate) fn fail(self, fault: Fault) {
        self.lend(|due| {
            if let Some(due) = due {
                due.fail(fault);
            }
        });
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let cell = self.cell.clone();
            self.cell.orphan(move |fault| {
                Due::new(&cell, to.link.as_ref(), to.question).fail(fault);
            });
        }
    }
}

impl<'a> Due<'a> {
    /// `link` as in [`Return`].
    pub(crate) fn new(cell: &'a Arc<Cell>, link: Option<&'a Arc<Link>>, question: u64) -> Due<'a> {
        Due { cell, link, question, open: true }
    }

    /// For a handler that answers later.
    pub(crate) fn keep(mut self) -> Asker {
        self.open = false;
        let to = Return { link: self.link.cloned(), question: self.question };
        Asker::new(self.cell.clone(), to)
    }

    /// Answers with the handler's result.
    pub(crate) fn give<R: Serialize>(self, result: &R) {
        self.give_encoded(|out| encode(result, out));
    }

    fn give_encoded(
        mut self,
        write: impl FnOnce(&mut Draft) -> Result<(), rmp_serde::encode::Error>,
    ) {
        let Due { cell, question, .. } = self;
        // It stays open while `write` runs, which is a user's code and may panic.
        let Some(link) = self.link else {
            let mut draft = Draft::default();
            return match write(&mut draft) {
                Ok(()) => {
                    self.open = false;
                    cell.node.close_question(question, Outcome::Reply(draft.into_bytes()));
                }
                Err(why) => self.fail(Fault::Undecodable(why.to_string())),
            };
        };
        match link.push(None, cell.pid.number(), Head::Reply { question }, write) {
            Ok(()) => self.open = false,
            Err(why) => self.fail(Fault::Undecodable(format!("the answer cannot be sent: {why}"))),
        }
    }

    /// Answers with what went wrong.
    pub(crate) fn fail(mut self, fault: Fault) {
        self.open = false;
        let Due { cell, question, .. } = self;
        match self.link {
            Some(link) => link.tell_from(cell.pid.number(), &Control::Failed { question, fault }),
            None => cell.node.close_question(question, Outcome::Failed(fault.into())),
        }
    }
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        if self.open {
            self.open = false;
            drop(Due::new(self.cell, self.link, self.question).keep());
        }
    }
}
