//! The proof can fail: each of a set of deliberately wrong semantics is noticed by the random scenarios and
//! traces whose outcomes a real Erlang/OTP gave.
//!
//! `cargo test -p pspawn-actors --features mutants --test mutants`

use std::io::Write;
use std::process::{Command, Stdio};

use pspawn_actors::scenario::format::{Document, read_documents};

#[test]
fn every_wrong_semantics_is_noticed() {
    let lines: Vec<&str> = RECORDED.lines().collect();
    assert_eq!(noticed_by("", &lines), None, "right semantics differ from OTP's");
    let mut unnoticed = Vec::new();
    for mutant in pspawn::__private::mutants() {
        match noticed_by(mutant, &lines) {
            Some(by) => println!("{mutant}: noticed by {by}"),
            None => unnoticed.push(mutant),
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}

/// Which of these comes out otherwise with the wrong semantics; some are run at a time.
fn noticed_by(mutant: &str, lines: &[&str]) -> Option<String> {
    // From both ends in turn: scenarios come first, then traces.
    let (mut front, mut back) = (lines.chunks(AT_A_TIME), lines.rchunks(AT_A_TIME));
    for _ in 0..front.len().div_ceil(2) {
        for some in [front.next(), back.next()].into_iter().flatten() {
            let found = differs(mutant, some);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

fn differs(mutant: &str, lines: &[&str]) -> Option<String> {
    let mut runner = Command::new(env!("CARGO_BIN_EXE_pspawn"))
        .args(["scenario", "--mixed", "--within", "2", "-"])
        .env("PSPAWN_MUTANT", mutant)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the runner starts");
    let text = lines.join("\n");
    let mut input = runner.stdin.take().expect("it is a pipe");
    input.write_all(text.as_bytes()).expect("the runner reads all of it first");
    drop(input);
    let done = runner.wait_with_output().expect("the runner ends");
    let given: Vec<String> =
        String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect();
    let documents = read_documents(&text).expect("what is recorded can be read");
    let other = documents.iter().find(|document| !given.contains(&expected(document)));
    other.map(|document| document.id().to_owned())
}

fn expected(document: &Document) -> String {
    match document {
        Document::Scenario { expect: Some(expect), .. } => expect.canonical(),
        Document::Trace { expect: Some(expect), .. } => expect.canonical(),
        Document::Scenario { .. } | Document::Trace { .. } => panic!("not recorded"),
    }
}

const RECORDED: &str = include_str!("../../tests/otp/recorded/random.jsonl");
const AT_A_TIME: usize = 50;
