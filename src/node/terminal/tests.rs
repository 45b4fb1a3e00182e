//! What is written, byte for byte.

use std::sync::Arc;

use super::*;
use crate::term::Incarnation;

#[test]
fn a_line_has_its_node_in_front_and_repetitions_are_counted() {
    let (terminal, out, err) = terminal(OutputFormat::Prefixed, false);
    for _ in 0..1_000 {
        terminal.show(&line("w1@h", "same"));
    }
    terminal.show(&line("w2@h", "same"));
    terminal.show(&line("w1@h", "other"));
    terminal.show(&line("w1@h", "other"));
    terminal.show(&OutputLine { stream: Stream::Err, ..line("w1@h", "other") });
    drop(terminal);
    assert_eq!(
        out.text(),
        "w1@h| same\nw2@h| same\nw1@h| last line repeated 999 times\nw1@h| other\n\
         w1@h| last line repeated once\n"
    );
    assert_eq!(err.text(), "w1@h| other\n", "another stream");
}

#[test]
fn repetitions_are_told_in_a_moment_of_quiet() {
    let (terminal, out, _) = terminal(OutputFormat::Prefixed, false);
    for _ in 0..3 {
        terminal.show(&line("w1@h", "same"));
    }
    assert!(terminal.waits());
    terminal.tick();
    assert_eq!(out.text(), "w1@h| same\n");
    terminal.tick();
    assert_eq!(out.text(), "w1@h| same\nw1@h| last line repeated 2 times\n");
    assert!(!terminal.waits());
}

#[test]
fn a_very_long_line_is_shown_each_time() {
    let (terminal, out, _) = terminal(OutputFormat::Prefixed, false);
    let long = "x".repeat(FOLD_BYTES_MAX + 1);
    terminal.show(&line("w1@h", &long));
    terminal.show(&line("w1@h", &long));
    assert_eq!(out.text().lines().count(), 2);
}

#[test]
fn on_a_terminal_the_node_has_a_colour_of_its_own() {
    let (terminal, out, err) = terminal(OutputFormat::Prefixed, true);
    terminal.show(&line("w1@h", "plain"));
    terminal.show(&line("w2@h", "\x1b[1;38:5:4mbold"));
    terminal.show(&OutputLine { stream: Stream::Err, ..line("w1@h", "bad") });
    let (one, two) = (colour_of(node("w1@h")), colour_of(node("w2@h")));
    assert_ne!(one, two);
    assert_eq!(
        out.text(),
        format!(
            "\x1b[{one}mw1@h|\x1b[0m plain\n\x1b[{two}mw2@h|\x1b[0m \x1b[1;38:5:4mbold\x1b[0m\n"
        )
    );
    assert_eq!(err.text(), format!("\x1b[{one}mw1@h|\x1b[0m \x1b[31mbad\x1b[0m\n"));
}

#[test]
fn nothing_in_a_line_can_do_anything_to_the_terminal() {
    let shown = [
        ("plain\ttab ü", "plain\ttab ü"),
        ("title \x1b]0;evil\x07", "title \\x1b]0;evil\\x07"),
        ("clear \x1b[2J\x1b[H", "clear \\x1b[2J\\x1b[H"),
        ("cut \x1b[31", "cut \\x1b[31"),
        ("alone \x1b", "alone \\x1b"),
        ("private \x1b[?31m", "private \\x1b[?31m"),
        ("10 %\r20 %\r", "10 %\\r20 %"),
        ("eight bits \u{9b}2J", "eight bits \\u{9b}2J"),
        ("back \u{202e}wards", "back \\u{202e}wards"),
        ("del \x7f nul \0", "del \\x7f nul \\x00"),
    ];
    for (line, expected) in shown {
        assert_eq!(harmless(line, true), expected);
        assert_eq!(harmless(line, false), expected);
    }
    assert_eq!(harmless("a \x1b[31mred\x1b[m b", true), "a \x1b[31mred\x1b[m b");
    assert_eq!(harmless("a \x1b[31mred\x1b[m b", false), "a red b");
    let long = format!("\x1b[{}m", "1;".repeat(100));
    assert!(harmless(&long, true).starts_with("\\x1b["), "no end of numbers");
}

#[test]
fn json_is_one_object_a_line() {
    let (terminal, out, err) = terminal(OutputFormat::Json, true);
    let pid = |number| Some(Pid::new(node("w1@h"), Incarnation(7), number));
    terminal.show(&OutputLine { pid: pid(3), ..line("w1@h", "\"\x1b[2J\u{1}ü") });
    for number in [4, 4, 4, 5] {
        terminal.show(&OutputLine { pid: pid(number), ..line("w1@h", "same") });
    }
    terminal.show(&OutputLine { stream: Stream::Err, ..line("w1@h", "raw") });
    let of = |number| format!("\"{}\"", pid(number).unwrap());
    let expected = [
        format!(r#"{{"node":"w1@h","pid":{},"stream":"out","line":"\"\u001b[2J\u0001ü"}}"#, of(3)),
        format!(r#"{{"node":"w1@h","pid":{},"stream":"out","line":"same"}}"#, of(4)),
        format!(r#"{{"node":"w1@h","pid":{},"stream":"out","line":"same","repeated":2}}"#, of(4)),
        format!(r#"{{"node":"w1@h","pid":{},"stream":"out","line":"same"}}"#, of(5)),
        r#"{"node":"w1@h","pid":null,"stream":"err","line":"raw"}"#.to_owned(),
    ];
    let text = out.text() + &err.text();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn raw_lines_are_as_they_came_and_each_is_shown() {
    let (terminal, out, err) = terminal(OutputFormat::Raw, true);
    for _ in 0..2 {
        terminal.show(&line("w1@h", "\x1b[2J\r"));
    }
    terminal.show(&OutputLine { stream: Stream::Err, ..line("w1@h", "bad") });
    assert_eq!(out.text(), "\x1b[2J\r\n\x1b[2J\r\n");
    assert_eq!(err.text(), "bad\n");
}

fn line(of: &str, text: &str) -> OutputLine {
    OutputLine { node: node(of), pid: None, stream: Stream::Out, line: text.to_owned() }
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn terminal(format: OutputFormat, colour: bool) -> (Terminal, Written, Written) {
    let (out, err) = (Written::default(), Written::default());
    let paper = |to: &Written| Paper { to: Box::new(to.clone()), colour };
    (Terminal::on(format, paper(&out), Some(paper(&err))), out, err)
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
