//! What a node's own actor, master or slave, is told by the node.

use std::sync::Arc;

use actix::Message;

use super::answer::Return;
use super::ways::Ends;
use super::{Node, Outcome};
use crate::term::NodeName;
use crate::wire::greeting::Hello;
use crate::wire::{Answer, Control, Query};

/// Something that concerns the pool as a whole.
pub(crate) enum RoleEvent {
    /// This node is given work after a time without any.
    Given,
    /// A connection to this node is up.
    PeerUp {
        them: Hello,
        /// The addresses of its two ends, if it goes to another host directly.
        ends: Option<Ends>,
    },
    /// It is lost; or it never came about.
    PeerDown {
        node: NodeName,
        why: String,
    },
    Asked {
        query: Query,
        to: Return,
    },
    Halt {
        from: NodeName,
    },
}

impl Message for RoleEvent {
    type Result = ();
}

impl Return {
    /// Answers a question about the pool.
    pub(crate) fn tell(self, node: &Arc<Node>, answer: Answer) {
        match self.link {
            Some(link) => {
                link.tell(&Control::Told { question: self.question, answer });
            }
            None => node.close_question(self.question, Outcome::Told(answer)),
        }
    }
}
