//! Letters: messages that have arrived and whose type nobody has asked for yet.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use actix::Message;
use bytes::Bytes;
use rmpv::Value;
use serde::de::DeserializeOwned;

use super::Node;
use super::ambient::decode_at;
use super::batch::Batch;
use super::parcel::{Run, RunOf};
use crate::wire::{Signal, short_name, tag_of};

/// A message that has arrived and is not opened yet: of a type that is to be found out.
///
/// Messages of this node are in it as they are, those of other nodes are still encoded.
pub struct Letter {
    pub(crate) content: Content,
    node: Arc<Node>,
}

/// What a mailbox holds.
pub(crate) enum Content {
    Typed {
        tag: u32,
        message: Box<dyn Any + Send>,
    },
    /// Several of one type. Whoever looks at letters sees each of them alone.
    Run {
        tag: u32,
        run: Box<dyn Run>,
    },
    /// Several of another node, still encoded. Likewise.
    Batch(Batch),
    Raw {
        tag: u32,
        payload: Bytes,
    },
    /// A signal that the process has sent itself; decided before anybody sees the letter.
    Own(Signal),
}

impl Letter {
    pub(crate) fn new(content: Content, node: Arc<Node>) -> Letter {
        Letter { content, node }
    }

    /// Whether it is a `T`.
    #[must_use]
    pub fn is<T: 'static>(&self) -> bool {
        match &self.content {
            Content::Typed { message, .. } => (**message).type_id() == TypeId::of::<T>(),
            Content::Run { run, .. } => run.as_any().is::<RunOf<T>>(),
            Content::Raw { tag, .. } => *tag == tag_of::<T>(),
            Content::Batch(_) | Content::Own(_) => false,
        }
    }

    /// A look at it, if it is a `T` and decodes as one.
    pub fn get<T>(&mut self) -> Option<&T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        if let Content::Raw { tag, payload } = &self.content
            && *tag == tag_of::<T>()
        {
            match decode_at::<T>(&self.node, payload) {
                Ok(message) => {
                    self.content = Content::Typed { tag: *tag, message: Box::new(message) };
                }
                Err(why) => {
                    let node = &self.node;
                    slog::debug!(node.log, "a letter that does not decode"; "reason" => why);
                }
            }
        }
        match &self.content {
            Content::Typed { message, .. } => message.downcast_ref(),
            Content::Run { .. } | Content::Batch(_) | Content::Raw { .. } | Content::Own(_) => None,
        }
    }

    /// Takes the message out.
    ///
    /// # Errors
    /// The letter itself, if it is no `T`, or does not decode as one.
    pub fn open<T>(mut self) -> Result<T, Letter>
    where
        T: DeserializeOwned + Send + 'static,
    {
        if self.get::<T>().is_none() {
            return Err(self);
        }
        let Letter { content, node } = self;
        match content {
            Content::Typed { tag, message } => match message.downcast() {
                Ok(message) => Ok(*message),
                Err(message) => Err(Letter { content: Content::Typed { tag, message }, node }),
            },
            content @ (Content::Run { .. }
            | Content::Batch(_)
            | Content::Raw { .. }
            | Content::Own(_)) => Err(Letter { content, node }),
        }
    }

    /// The tag of its type: a hash of the type's name without its path.
    #[must_use]
    pub fn tag(&self) -> u32 {
        match self.content {
            Content::Typed { tag, .. } | Content::Run { tag, .. } | Content::Raw { tag, .. } => tag,
            Content::Batch(_) | Content::Own(_) => 0,
        }
    }

    /// Whether it is of a type with this name: `"Job"`, or `"Vec<Job>"`.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.tag() == crate::wire::tag_named(&short_name(name))
    }

    /// What is in it, whatever it is; none if it was not encoded, or is no MessagePack.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        match &self.content {
            Content::Typed { .. } | Content::Run { .. } | Content::Batch(_) | Content::Own(_) => {
                None
            }
            Content::Raw { payload, .. } => crate::wire::from_bytes(payload).ok(),
        }
    }
}

/// An actor that is a `Handler<Letter>` can catch all that it does not declare.
impl Message for Letter {
    type Result = ();
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letter({:08x})", self.tag())
    }
}
