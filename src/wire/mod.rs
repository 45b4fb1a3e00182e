//! What nodes say to each other: frames of MessagePack, one ordered stream a pair of nodes.
//!
//! A frame is a MessagePack `bin32`: the byte 0xC6, the body's length as a big-endian `u32`, the body.
//! So the whole stream is valid MessagePack. A body starts with an operation number; those that carry
//! an actor's messages are laid out by hand, all else is one [`Control`] value.

mod codec;
mod credentials;
#[cfg(test)]
mod golden;
pub(crate) mod greeting;
mod shared;
mod signal;
mod tag;

pub(crate) use codec::{
    Body, Cut, Head, NotAFrame, PREFIX_BYTES, TooLong, cut, frame, frame_control, frame_prefix,
    frame_type, from_bytes, is_piece, piece_head, read_body,
};
pub(crate) use credentials::Credentials;
pub(crate) use shared::{Draft, encode, offering, share, sharing};
pub(crate) use signal::Signal;
pub(crate) use tag::{Same, short_name, tag_named, tag_of};

use serde::{Deserialize, Serialize};

use crate::term::{
    At, ExitReason, Fingerprint, Incarnation, Kind, LoadReport, NodeName, Pid, Ref, Table,
};

/// Which version of this protocol a node speaks; two nodes must agree.
pub(crate) const PROTOCOL_VERSION: u32 = 6;

/// Everything nodes say that is not an actor's message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// I live.
    Tick,
    /// A node's load, to its master.
    Load(LoadReport),
    /// From the master: what it expects of all loads, for one who chooses nodes often.
    Table(Table),
    /// To the master: nodes that I have chosen by such a table, and how often; my batches are numbered.
    Chosen { number: u64, counts: Vec<(NodeName, u32)> },
    /// A signal to the actor of this number.
    Signal { to: u64, signal: Signal },
    /// A signal to whoever has this name.
    SignalNamed { name: String, signal: Signal },
    /// Start an actor.
    Spawn(SpawnOrder),
    /// It has the pid; the frames of its life follow.
    Spawned { question: u64, pid: Pid },
    /// It was not started.
    SpawnRefused { question: u64, fault: SpawnFault },
    /// A request, or a function whose result was asked for, ended without an answer.
    Failed { question: u64, fault: Fault },
    /// A question about the pool.
    Ask { question: u64, query: Query },
    /// Its answer.
    Told { question: u64, answer: Answer },
    /// From the master: who is in the pool, and where; sent whenever that changes.
    Members(Vec<MemberInfo>),
    /// From the master: connect with this node, which has no way to you.
    Call(NodeName),
    /// From the master: end, with all that you run.
    Halt,
    /// I end the connection on purpose.
    Bye,
    /// A line that an actor printed, for the terminal of the node that started it.
    Output { pid: Pid, stream: Stream, line: String },
    /// So many of the lines that you printed were shown, with so many bytes in them: you may print as much more.
    Shown { lines: u64, bytes: u64 },
    /// The actor of this number has enough: who sends to it is to pause.
    Pause { to: u64 },
    /// It takes more, or nothing ever again.
    Resume { to: u64 },
    /// Of a stream that goes through the master: from a node to its master it is for `peer`, from the master it
    /// is from `peer`. Whoever opens a stream names it.
    Relay { peer: NodeName, stream: Ref, what: Relayed },
}

impl Control {
    /// Whether a reason in it is nested deeper than a peer takes.
    pub(crate) fn is_deep(&self) -> bool {
        match self {
            Control::Signal { signal, .. } => signal.reason().is_some_and(ExitReason::is_deep),
            Control::Failed { fault: Fault::Exit(reason), .. } => reason.is_deep(),
            _ => false, // the nodes' own words are flat
        }
    }

    /// What to say instead of a frame that is too long; none if only the whole of it makes sense.
    pub(crate) fn shortened(&self) -> Option<Control> {
        match self {
            Control::Signal { to, signal } => {
                Some(Control::Signal { to: *to, signal: signal.shortened()? })
            }
            Control::Failed { question, fault } => {
                let fault = match fault {
                    Fault::Exit(reason) => Fault::Exit(reason.shortened()),
                    Fault::Undecodable(why) => Fault::Undecodable(shorten(why)),
                    Fault::NotAccepted { .. } | Fault::NoAnswer => return None,
                };
                Some(Control::Failed { question: *question, fault })
            }
            Control::SpawnRefused { question, fault: SpawnFault::BadArguments(why) } => {
                let fault = SpawnFault::BadArguments(shorten(why));
                Some(Control::SpawnRefused { question: *question, fault })
            }
            Control::Told { question, .. } => {
                let answer = Answer::Refused("the answer is too long for a frame".to_owned());
                Some(Control::Told { question: *question, answer })
            }
            Control::Output { pid, stream, line } => {
                Some(Control::Output { pid: *pid, stream: *stream, line: shorten(line) })
            }
            Control::Tick
            | Control::Load(_)
            | Control::Table(_)
            | Control::Chosen { .. }
            | Control::SignalNamed { .. }
            | Control::Spawn(_)
            | Control::Spawned { .. }
            | Control::SpawnRefused { .. }
            | Control::Ask { .. }
            | Control::Members(_)
            | Control::Call(_)
            | Control::Halt
            | Control::Bye
            | Control::Shown { .. }
            | Control::Pause { .. }
            | Control::Resume { .. }
            | Control::Relay { .. } => None,
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// What is left of a text that is too long.
const TEXT_CHARS_MAX: usize = 400;

/// What [`Control::Spawn`] asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpawnOrder {
    pub(crate) question: u64,
    pub(crate) kind: Kind,
    /// A MessagePack array.
    #[serde(with = "crate::term::bytes_field")]
    pub(crate) args: Vec<u8>,
    pub(crate) options: SpawnOptions,
}

/// How an actor comes into the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpawnOptions {
    /// The actor that is linked with it from birth.
    pub(crate) link: Option<Pid>,
    /// The actor that watches it from birth, and under which name.
    pub(crate) monitor: Option<(Pid, Ref)>,
    /// Group leader: the node where its output appears.
    pub(crate) leader: NodeName,
    /// The question that its function's result answers.
    pub(crate) result: Option<u64>,
    /// The actor that started it, if it was one.
    pub(crate) parent: Option<Pid>,
    /// The question that is answered when it says that it is up, or ends before.
    pub(crate) up: Option<u64>,
    /// The pool's placement chose this node: counted in its load report.
    pub(crate) placed: bool,
}

/// Why a node did not start an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum SpawnFault {
    UnknownKind,
    BadArguments(String),
    /// It is guarded, and not among what may be started all the same.
    NotAllowed,
    /// The node starts certain modules only, and this is none of them.
    NotAmong,
    Stopping,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// The actor ended, or had ended, with this reason.
    Exit(ExitReason),
    /// The actor does not take messages of this type.
    NotAccepted { tag: u32 },
    /// The message or the answer could not be decoded.
    Undecodable(String),
    /// The handler let go of the question without an answer; the actor lives.
    NoAnswer,
}

/// What an actor says of itself when its start is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Up {
    /// It runs.
    Running,
    /// It has nothing to do, and will end as if it had never been started (V5).
    Ignored,
}

/// A question about the pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Query {
    /// Which node is next? Counts as one use.
    Place,
    /// A choice of `Place` came to nothing.
    Unplace(NodeName),
    /// Who is in the pool, with what load?
    Loads,
    /// Why is which node next?
    Explain,
    /// What can this node start?
    Kinds,
    /// Take this node into the pool. One on another host is the one with this fingerprint.
    Attach { node: NodeName, at: At, fingerprint: Option<Fingerprint> },
    /// Stop the whole pool; answered when the last slave is gone.
    StopPool,
    /// You are in my pool from now on; I am its master. With these you prove yourself to the others.
    Enlist(Option<Credentials>),
    /// I have no way to this node: have it call me.
    HaveCall(NodeName),
    /// I talk to the pool and am no member: what do I prove myself with to nodes of other hosts?
    Credentials,
    /// Does this actor live?
    IsAlive(Pid),
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Placed(Option<NodeName>),
    Loads(Vec<(NodeName, f64)>),
    Explained(Vec<String>),
    Kinds(Vec<KindInfo>),
    /// It is in the pool, and can start other things than the master.
    Attached {
        already: bool,
        differences: Vec<String>,
    },
    Credentials(Box<Credentials>),
    Alive(bool),
    Done,
    Refused(String),
}

/// One thing that a node can start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KindInfo {
    /// Module and function.
    pub kind: Kind,
    /// Its parameters as written at the registration, `total: i64`.
    pub params: String,
    /// The messages it takes, if it is an actor type.
    pub messages: Vec<String>,
    /// It runs only where the master allows it by name.
    pub guarded: bool,
}

/// One node of the pool, as the master tells the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemberInfo {
    pub(crate) node: NodeName,
    pub(crate) incarnation: Incarnation,
    pub(crate) at: At,
}

/// What happens in a relayed stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Relayed {
    /// It begins: the greeting comes next.
    Open,
    /// So many bytes of it; never none.
    Piece(#[serde(with = "crate::term::bytes_field")] Vec<u8>),
    /// So much of what you sent was taken, each piece counted with 64 bytes more.
    Taken(u64),
    /// It is over, in both directions.
    Closed,
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}
