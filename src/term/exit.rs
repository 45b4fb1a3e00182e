//! Exit reasons: why an actor ended.

use std::fmt;

use rmpv::Value;
use serde::{Deserialize, Serialize};

use super::Kind;

/// Why an actor ended: data, which travels over links and in `DOWN` notices unchanged.
///
/// [`Display`](fmt::Display) prints the Erlang term that each one stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExitReason {
    /// Its work was done. Links ignore it (rule E1).
    Normal,
    /// A supervisor, or the end of the pool, asked it to end. Not special for links (E21).
    Shutdown,
    /// The same, with a word why: `{shutdown, Term}`.
    ShutdownWith(Value),
    /// It called `exit(kill)` for itself. Over a link this can be trapped (E5).
    Kill,
    /// `exit(Pid, kill)` hit it; nothing can trap that (E4).
    Killed,
    /// There is no such actor: it was dead when the link, the monitor or the message arrived.
    NoProc,
    /// Its node was lost, or could not be reached.
    NoConnection,
    /// Its code panicked: Erlang's `{Error, Stack}`.
    Panicked {
        /// The panic's message.
        text: String,
        /// `file:line` of the panic.
        place: String,
    },
    /// Nothing is registered under this name on its node: Erlang's `undef`.
    Undef(Kind),
    /// It ended itself with a value: `exit(Term)`.
    Exit(Value),
    /// It threw a value that nobody caught: Erlang's `{{nocatch, Term}, Stack}`.
    Thrown(Value),
}

impl ExitReason {
    /// `exit(Value)`: a reason of the program's own. A word that is one of OTP's reasons is that reason,
    /// as it is the same atom there: `exit("kill")` is [`Kill`](ExitReason::Kill).
    pub fn exit(value: impl Into<Value>) -> ExitReason {
        let value = value.into();
        match value.as_str() {
            Some("normal") => ExitReason::Normal,
            Some("shutdown") => ExitReason::Shutdown,
            Some("kill") => ExitReason::Kill,
            Some("killed") => ExitReason::Killed,
            Some("noproc") => ExitReason::NoProc,
            Some("noconnection") => ExitReason::NoConnection,
            Some(_) | None => ExitReason::Exit(value),
        }
    }

    /// The same kind of reason in few bytes: for a frame that would be too long, or too deep.
    pub(crate) fn shortened(&self) -> ExitReason {
        match self {
            ExitReason::ShutdownWith(_) => ExitReason::ShutdownWith(TOO_LONG.into()),
            ExitReason::Exit(_) => ExitReason::Exit(TOO_LONG.into()),
            ExitReason::Thrown(_) => ExitReason::Thrown(TOO_LONG.into()),
            ExitReason::Panicked { text, place } => {
                let cut = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect();
                ExitReason::Panicked { text: cut(text), place: cut(place) }
            }
            ExitReason::Undef(_) => ExitReason::Undef(Kind::new("?", "?")),
            ExitReason::Normal
            | ExitReason::Shutdown
            | ExitReason::Kill
            | ExitReason::Killed
            | ExitReason::NoProc
            | ExitReason::NoConnection => self.clone(),
        }
    }

    /// Whether its value is nested deeper than a peer takes.
    pub(crate) fn is_deep(&self) -> bool {
        match self {
            ExitReason::ShutdownWith(value)
            | ExitReason::Exit(value)
            | ExitReason::Thrown(value) => deeper_than(VALUE_DEPTH_MAX, value),
            ExitReason::Normal
            | ExitReason::Shutdown
            | ExitReason::Kill
            | ExitReason::Killed
            | ExitReason::NoProc
            | ExitReason::NoConnection
            | ExitReason::Panicked { .. }
            | ExitReason::Undef(_) => false,
        }
    }

    /// `Normal`, or one of the shutdowns: what a transient child may end with unharmed (V9).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        match self {
            ExitReason::Normal | ExitReason::Shutdown | ExitReason::ShutdownWith(_) => true,
            ExitReason::Kill
            | ExitReason::Killed
            | ExitReason::NoProc
            | ExitReason::NoConnection
            | ExitReason::Panicked { .. }
            | ExitReason::Undef(_)
            | ExitReason::Exit(_)
            | ExitReason::Thrown(_) => false,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Normal => f.write_str("normal"),
            ExitReason::Shutdown => f.write_str("shutdown"),
            ExitReason::ShutdownWith(why) => write!(f, "{{shutdown,{}}}", Term(why)),
            ExitReason::Kill => f.write_str("kill"),
            ExitReason::Killed => f.write_str("killed"),
            ExitReason::NoProc => f.write_str("noproc"),
            ExitReason::NoConnection => f.write_str("noconnection"),
            ExitReason::Panicked { text, place } => write!(f, "{{{text:?},[{place}]}}"),
            ExitReason::Undef(kind) => write!(f, "{{undef,[{kind}]}}"),
            ExitReason::Exit(value) => Term(value).fmt(f),
            ExitReason::Thrown(value) => write!(f, "{{{{nocatch,{}}},[]}}", Term(value)),
        }
    }
}

/// A value as Erlang would print it: a plain word is an atom, other text a binary.
struct Term<'a>(&'a Value);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => match text.as_str() {
                Some(word) if is_atom(word) => f.write_str(word),
                Some(words) => write!(f, "<<{words:?}>>"),
                None => f.write_str("<<invalid UTF-8>>"),
            },
            Value::Nil => f.write_str("nil"),
            Value::Array(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        f.write_str(",")?;
                    }
                    Term(item).fmt(f)?;
                }
                f.write_str("]")
            }
            Value::Boolean(_)
            | Value::Integer(_)
            | Value::F32(_)
            | Value::F64(_)
            | Value::Binary(_)
            | Value::Map(_)
            | Value::Ext(..) => write!(f, "{}", self.0),
        }
    }
}

fn deeper_than(levels: usize, value: &Value) -> bool {
    let within = |value: &Value| levels == 0 || deeper_than(levels - 1, value);
    match value {
        Value::Array(items) => items.iter().any(within),
        Value::Map(pairs) => pairs.iter().any(|(key, value)| within(key) || within(value)),
        Value::Nil
        | Value::Boolean(_)
        | Value::Integer(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::String(_)
        | Value::Binary(_)
        | Value::Ext(..) => false,
    }
}

/// Well below what a decoder takes of a whole frame.
const VALUE_DEPTH_MAX: usize = 100;
/// Stands for a value that does not fit into a frame.
const TOO_LONG: &str = "a reason that does not fit into a frame";
const TEXT_CHARS_MAX: usize = 400;

fn is_atom(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_print_as_erlang_terms() {
        let panicked = ExitReason::Panicked { text: "divided".into(), place: "fuse.rs:13".into() };
        let shown = [
            (ExitReason::Normal, "normal"),
            (ExitReason::exit("boom"), "boom"),
            (ExitReason::exit("two words"), "<<\"two words\">>"),
            (ExitReason::exit(7), "7"),
            (ExitReason::ShutdownWith("done".into()), "{shutdown,done}"),
            (panicked, "{\"divided\",[fuse.rs:13]}"),
            (ExitReason::Undef(Kind::new("math", "cube")), "{undef,[math:cube]}"),
        ];
        for (reason, text) in shown {
            assert_eq!(reason.to_string(), text);
        }
    }
}
