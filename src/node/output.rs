//! Output: a line that an actor prints appears on the node that started it, with the name of the node
//! it came from. Erlang's group leader.
//!
//! The node that prints counts what is under way ([`Outlet`](super::outlet::Outlet)), so that who prints
//! faster than is shown is held back; the one that shows has a thread for it ([`Screen`](super::screen::Screen)).

use std::io::Write;
use std::sync::Arc;

use super::Node;
use super::cell::{Cell, current};
use super::link::Link;
use super::screen::Source;
use super::terminal::{OutputFormat, Terminal};
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
#[derive(Clone)]
pub(crate) enum Sink {
    Closure(Arc<dyn Fn(&OutputLine) + Send + Sync>),
    Terminal(Arc<Terminal>),
}

impl Sink {
    pub(crate) fn closure(show: impl Fn(&OutputLine) + Send + Sync + 'static) -> Sink {
        Sink::Closure(Arc::new(show))
    }

    /// This OS process's own standard output and standard error.
    pub(crate) fn terminal(format: OutputFormat) -> Sink {
        Sink::Terminal(Arc::new(Terminal::new(format)))
    }

    pub(super) fn show(&self, line: &OutputLine) {
        match self {
            Sink::Closure(show) => show(line),
            Sink::Terminal(terminal) => terminal.show(line),
        }
    }

    pub(super) fn waits(&self) -> bool {
        match self {
            Sink::Closure(_) => false,
            Sink::Terminal(terminal) => terminal.waits(),
        }
    }

    pub(super) fn tick(&self) {
        match self {
            Sink::Closure(_) => {}
            Sink::Terminal(terminal) => terminal.tick(),
        }
    }

    pub(super) fn settle(&self) {
        match self {
            Sink::Closure(_) => {}
            Sink::Terminal(terminal) => terminal.settle(),
        }
    }
}

/// Prints a text, line by line, on the node that started the running actor; outside of an actor, on
/// this OS process's standard output. Use [`say!`](crate::say).
pub fn say(text: &str) {
    let Some(cell) = current() else {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
        return;
    };
    if text.is_empty() {
        return cell.node.print(&cell, "");
    }
    for line in text.lines() {
        let mut rest = line;
        while rest.len() > LINE_BYTES_MAX {
            let (piece, more) = rest.split_at(rest.floor_char_boundary(LINE_BYTES_MAX));
            cell.node.print(&cell, piece);
            rest = more;
        }
        cell.node.print(&cell, rest);
    }
}

/// In the place of lines that are missing.
pub(super) fn lost_lines(of: NodeName, lines: u64) -> String {
    match lines {
        1 => format!("… 1 line of {of} was lost: printed faster than shown"),
        lines => format!("… {lines} lines of {of} were lost: printed faster than shown"),
    }
}

impl Node {
    fn print(self: &Arc<Self>, cell: &Arc<Cell>, line: &str) {
        // The dead print nothing, though their code may not have noticed yet.
        if cell.is_doomed() {
            return;
        }
        let (pid, stream, leader) = (cell.pid, Stream::Out, cell.leader());
        if leader == self.name {
            if self.screen.own.admits(cell, line.len()) {
                let line = line.to_owned();
                let line = OutputLine { node: self.name, pid: Some(pid), stream, line };
                self.screen.push(self.name, line, Source::Own);
            }
        } else if let Ok(link) = self.link_to(leader)
            && link.outlet().admits(cell, line.len())
        {
            link.tell(&Control::Output { pid, stream, line: line.to_owned() });
        }
    }

    /// Shows a line of another node's actor here.
    pub(super) fn show(&self, link: &Arc<Link>, pid: Pid, stream: Stream, line: String) {
        let line = OutputLine { node: pid.node(), pid: Some(pid), stream, line };
        self.screen.push(link.peer, line, Source::Peer(link.clone()));
    }

    /// The node at the other end of `link` has shown this much.
    pub(super) fn on_shown(self: &Arc<Self>, link: &Arc<Link>, lines: u64, bytes: u64) {
        let known = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let of_lost = |lost| lost_lines(self.name, lost);
        if let Some(line) = link.outlet().shown(known(lines), known(bytes), of_lost) {
            link.tell(&Control::Output { pid: self.own_pid(), stream: Stream::Err, line });
        }
    }
}

/// A longer line goes in pieces.
const LINE_BYTES_MAX: usize = 256 << 10;
