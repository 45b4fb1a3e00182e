//! Output: a line that an actor prints appears on the node that started it, with the name of the node
//! it came from. Erlang's group leader.

use std::io::Write;
use std::sync::Arc;

use super::Node;
use super::cell::current;
use crate::term::{NodeName, Pid};
use crate::wire::{Control, Stream};

/// A line that was printed somewhere in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputLine {
    /// The node where it was printed.
    pub node: NodeName,
    /// The actor that printed it; none for what a slave's OS process wrote by itself.
    pub pid: Option<Pid>,
    /// Standard output or standard error.
    pub stream: Stream,
    /// The line, without its end.
    pub line: String,
}

/// Where the lines of a pool appear.
pub(crate) type Sink = Arc<dyn Fn(&OutputLine) + Send + Sync>;

/// Prints to this OS process's own standard output or standard error.
pub(crate) fn to_terminal() -> Sink {
    Arc::new(|line: &OutputLine| {
        // A closed pipe is no reason to end a pool.
        let _ = match line.stream {
            Stream::Out => writeln!(std::io::stdout().lock(), "{}| {}", line.node, line.line),
            Stream::Err => writeln!(std::io::stderr().lock(), "{}| {}", line.node, line.line),
        };
    })
}

/// Prints a text, line by line, on the node that started the running actor; outside of an actor, on
/// this OS process's standard output. Use [`say!`](crate::say).
pub fn say(text: &str) {
    let Some(cell) = current() else {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
        return;
    };
    for line in text.lines() {
        cell.node.print(cell.leader(), cell.pid, line);
    }
}

impl Node {
    fn print(self: &Arc<Self>, leader: NodeName, pid: Pid, line: &str) {
        let stream = Stream::Out;
        if leader == self.name {
            self.show(pid, stream, line.to_owned());
        } else if let Ok(link) = self.link_to(leader) {
            link.tell(&Control::Output { pid, stream, line: line.to_owned() });
        }
    }

    /// Shows a line of an actor here.
    pub(crate) fn show(&self, pid: Pid, stream: Stream, line: String) {
        (self.config.output)(&OutputLine { node: pid.node(), pid: Some(pid), stream, line });
    }
}
