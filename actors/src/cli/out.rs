//! Standard output and standard error of a command.

use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::Args;
use pspawn::{Error, OutputFormat, Value};
use serde_json::{Map, Number, Value as Json};

/// Prints data. That nobody reads on, as in `pspawn nodes | head -1`, is no failure.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

/// Tells the person: a line on standard error.
pub(super) fn tell(text: &str) {
    // A closed standard error is no reason to end a pool.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// How output of the pool's processes is shown.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Show output as JSON, one object a line: node, pid, stream, line
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Show output as it came: no node in front, nothing folded, control characters and all
    #[arg(long)]
    raw: bool,
}

impl Shown {
    pub(super) fn format(self) -> OutputFormat {
        match (self.json, self.raw) {
            (true, _) => OutputFormat::Json,
            (false, true) => OutputFormat::Raw,
            (false, false) => OutputFormat::Prefixed,
        }
    }
}

/// Rows of cells under a head, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([head[at].len()]).max().unwrap_or_default()
    };
    let line = |cells: [&str; N]| {
        let cells: Vec<String> =
            cells.iter().enumerate().map(|(at, cell)| format!("{cell:<0$}", width(at))).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let head = match io::stdout().is_terminal() {
        true => format!("{BOLD}{}{PLAIN}\n", line(head).trim_end()),
        false => line(head),
    };
    head + &rows.iter().map(|row| line(row.each_ref().map(String::as_str))).collect::<String>()
}

/// A result as JSON. What JSON has no word for becomes the nearest thing: bytes an array of numbers,
/// a key that is no text its JSON as text, not-a-number null.
pub(super) fn json(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Boolean(truth) => Json::Bool(*truth),
        Value::Integer(number) => {
            let signed = number.as_i64().map(Number::from);
            signed.or(number.as_u64().map(Number::from)).map_or(Json::Null, Json::Number)
        }
        Value::F32(number) => Json::from(*number),
        Value::F64(number) => Json::from(*number),
        Value::String(text) => match text.as_str() {
            Some(text) => Json::from(text),
            None => Json::from(text.as_bytes()),
        },
        Value::Binary(bytes) => Json::from(bytes.as_slice()),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let key = match json(key) {
                    Json::String(key) => key,
                    other => other.to_string(),
                };
                (key, json(value))
            });
            Json::Object(entries.collect::<Map<_, _>>())
        }
        Value::Ext(tag, bytes) => serde_json::json!({ "ext": tag, "bytes": bytes }),
    }
}

pub(super) const BOLD: &str = "\x1b[1m";
pub(super) const GREEN: &str = "\x1b[32m";
pub(super) const RED: &str = "\x1b[31m";
pub(super) const DIM: &str = "\x1b[2m";
pub(super) const PLAIN: &str = "\x1b[0m";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_has_to_be() {
        let rows =
            [["a@b".to_owned(), "0.00".to_owned()], ["long@name".to_owned(), "1".to_owned()]];
        assert_eq!(
            table(["NODE", "LOAD"], &rows),
            "NODE       LOAD\na@b        0.00\nlong@name  1\n"
        );
    }

    #[test]
    fn every_value_has_a_json() {
        let value = Value::Map(vec![
            (
                Value::from("a"),
                Value::from(vec![Value::from(1), Value::Nil, Value::from(u64::MAX)]),
            ),
            (Value::from(7), Value::Binary(vec![1, 2])),
            (Value::from("nan"), Value::from(f64::NAN)),
            (Value::from("ext"), Value::Ext(3, vec![4])),
        ]);
        let expected = r#"{"7":[1,2],"a":[1,null,18446744073709551615],"ext":{"bytes":[4],"ext":3},"nan":null}"#;
        assert_eq!(json(&value).to_string(), expected);
    }
}
