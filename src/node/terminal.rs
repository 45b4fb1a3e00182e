//! The terminal: lines as people and programs read them, on standard output and standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use serde::Serialize;

use super::cell::lock;
use super::output::OutputLine;
use crate::core::fold::{Fold, Repeated};
use crate::term::{NodeName, Pid};
use crate::wire::Stream;

/// How lines of a pool look on a terminal, or in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputFormat {
    /// `node| line`, the node in a colour of its own on a terminal. What a node says many times in a row is
    /// shown once and then counted. Nothing in a line can do anything to the terminal but colour it.
    #[default]
    Prefixed,
    /// One object a line: `{"node":…,"pid":…,"stream":"out","line":…}`, all on standard output. `pid` is null for
    /// what a slave's OS process wrote by itself. With `"repeated":N` it stands for N more lines like the one
    /// before of that node.
    Json,
    /// The lines alone, as they came.
    Raw,
}

/// Shows lines on this OS process's standard output and standard error.
///
/// ```no_run
/// use pspawn::prelude::*;
/// use pspawn::{OutputFormat, Terminal};
///
/// # async fn doc() -> Result<(), pspawn::Error> {
/// let terminal = Terminal::new(OutputFormat::Json);
/// let pool = Pool::builder("demo").terminal(terminal).start().await?;
/// # Ok(()) }
/// ```
pub struct Terminal {
    format: OutputFormat,
    state: Mutex<State>,
}

struct State {
    out: Paper,
    /// None: the same as `out`.
    err: Option<Paper>,
    fold: Fold<Said>,
}

struct Paper {
    to: Box<dyn Write + Send>,
    colour: bool,
}

/// What makes two lines the same.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    /// What another actor says is another line where it is told who spoke.
    pid: Option<Pid>,
    stream: Stream,
    line: String,
}

impl Terminal {
    /// What was printed to a slave's standard error appears on standard error, all else, and all JSON, on
    /// standard output.
    #[must_use]
    pub fn new(format: OutputFormat) -> Terminal {
        let out = Paper { to: Box::new(io::stdout()), colour: colour(&io::stdout()) };
        let err = Paper { to: Box::new(io::stderr()), colour: colour(&io::stderr()) };
        Terminal::on(format, out, (format != OutputFormat::Json).then_some(err))
    }

    /// All appears on standard error, for programs whose standard output has their result.
    #[must_use]
    pub fn on_stderr(format: OutputFormat) -> Terminal {
        let err = Paper { to: Box::new(io::stderr()), colour: colour(&io::stderr()) };
        Terminal::on(format, err, None)
    }

    fn on(format: OutputFormat, out: Paper, err: Option<Paper>) -> Terminal {
        Terminal { format, state: Mutex::new(State { out, err, fold: Fold::new() }) }
    }

    /// Shows a line. A closed pipe is no failure.
    pub fn show(&self, line: &OutputLine) {
        let mut state = lock(&self.state);
        // What is very long is not kept to be compared.
        if self.format == OutputFormat::Raw || line.line.len() > FOLD_BYTES_MAX {
            return state.write(self.format, line, None);
        }
        let pid = line.pid.filter(|_| self.format == OutputFormat::Json);
        let said = Said { pid, stream: line.stream, line: line.line.clone() };
        let (before, show) = state.fold.on(line.node, &said);
        if let Some(before) = before {
            state.tell(self.format, before);
        }
        if show {
            state.write(self.format, line, None);
        }
    }

    /// Shows what is left to tell: how often the last lines were repeated. A pool does so when it is quiet,
    /// and at its end.
    pub fn settle(&self) {
        let mut state = lock(&self.state);
        for repeated in state.fold.end() {
            state.tell(self.format, repeated);
        }
    }

    /// Something is left to tell.
    pub(super) fn waits(&self) -> bool {
        lock(&self.state).fold.waits()
    }

    /// Half a second has passed.
    pub(super) fn tick(&self) {
        let mut state = lock(&self.state);
        for repeated in state.fold.tick() {
            state.tell(self.format, repeated);
        }
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.settle();
    }
}

impl State {
    fn tell(&mut self, format: OutputFormat, Repeated { node, said, times }: Repeated<Said>) {
        let Said { pid, stream, line } = said;
        self.write(format, &OutputLine { node, pid, stream, line }, Some(times));
    }

    fn write(&mut self, format: OutputFormat, line: &OutputLine, repeated: Option<u64>) {
        let paper = match (line.stream, &mut self.err) {
            (Stream::Err, Some(err)) => err,
            (Stream::Err | Stream::Out, _) => &mut self.out,
        };
        let mut text = match format {
            OutputFormat::Prefixed => prefixed(line, repeated, paper.colour),
            OutputFormat::Json => json(line, repeated),
            OutputFormat::Raw => line.line.clone(),
        };
        text.push('\n');
        // A closed pipe is no reason to end a pool.
        let _ = paper.to.write_all(text.as_bytes()).and_then(|()| paper.to.flush());
    }
}

/// Colours only for people, and only for those who have nothing against them (no-color.org).
fn colour(to: &impl IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

fn prefixed(line: &OutputLine, repeated: Option<u64>, colour: bool) -> String {
    let said = match repeated {
        None => harmless(&line.line, colour),
        Some(1) => "last line repeated once".to_owned(),
        Some(times) => format!("last line repeated {times} times"),
    };
    if !colour {
        return format!("{}| {said}", line.node);
    }
    let mark = match (repeated, line.stream) {
        (Some(_), _) => DIM,
        (None, Stream::Err) => RED,
        (None, Stream::Out) => "",
    };
    // What the line switches on ends with it.
    let plain = if mark.is_empty() && !said.contains('\x1b') { "" } else { PLAIN };
    format!("\x1b[{}m{}|{PLAIN} {mark}{said}{plain}", colour_of(line.node), line.node)
}

/// Always the same for a name, on every machine.
fn colour_of(node: NodeName) -> u8 {
    let hash = node
        .as_str()
        .bytes()
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    COLOURS[(hash >> 8) as usize % COLOURS.len()]
}

/// A line without anything that a terminal obeys: control characters are shown as Rust writes them, and so
/// are those that turn the direction of a text around. Colours stay, or leave no trace where none are wanted.
fn harmless(line: &str, colour: bool) -> String {
    let line = line.strip_suffix('\r').unwrap_or(line);
    if !line.chars().any(is_harmful) {
        return line.to_owned();
    }
    let mut shown = String::with_capacity(line.len() + 16);
    let mut rest = line;
    while let Some(at) = rest.find(is_harmful) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(length) = colour_sequence(rest) {
            if colour {
                shown.push_str(&rest[..length]);
            }
            rest = &rest[length..];
            continue;
        }
        let harmful = rest.chars().next().expect("one was found");
        rest = &rest[harmful.len_utf8()..];
        let _ = match harmful {
            '\r' => write!(shown, "\\r"),
            '\u{0}'..='\u{7f}' => write!(shown, "\\x{:02x}", u32::from(harmful)),
            _ => write!(shown, "\\u{{{:x}}}", u32::from(harmful)),
        };
    }
    shown.push_str(rest);
    shown
}

fn is_harmful(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\t') || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The length of the complete colour sequence that a text begins with: `ESC [ numbers m`.
fn colour_sequence(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\x1b[")?;
    let length = numbers.find(|c: char| !matches!(c, '0'..='9' | ';' | ':'))?;
    (numbers[length..].starts_with('m') && length <= SEQUENCE_BYTES_MAX).then_some(length + 3)
}

fn json(line: &OutputLine, repeated: Option<u64>) -> String {
    #[derive(Serialize)]
    struct Object<'a> {
        node: &'a str,
        pid: Option<String>,
        stream: &'a str,
        line: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        repeated: Option<u64>,
    }
    let object = Object {
        node: line.node.as_str(),
        pid: line.pid.map(|pid| pid.to_string()),
        stream: match line.stream {
            Stream::Out => "out",
            Stream::Err => "err",
        },
        line: &line.line,
        repeated,
    };
    serde_json::to_string(&object).expect("texts and numbers")
}

/// All that can be read on black and on white; red is for errors.
const COLOURS: [u8; 10] = [32, 33, 34, 35, 36, 92, 93, 94, 95, 96];
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";
/// A colour sequence that is longer is none.
const SEQUENCE_BYTES_MAX: usize = 48;
/// A longer line is not kept to be compared with the next.
const FOLD_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests;
