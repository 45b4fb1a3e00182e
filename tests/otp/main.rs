//! The proof that lives work as in Erlang: the same scenarios and supervisor traces on pspawn and on a real
//! Erlang/OTP, and equal outcomes.
//!
//! Hand-made ones stand in `scenarios/` and `traces/`, each with the outcome that OTP gave. Random ones are
//! made from a seed (`PSPAWN_SEED`, else always the same). Where there is no `erl`, what it once gave stands in
//! for it: `recorded/`.

use std::path::Path;

use pspawn::prelude::*;
use pspawn_actors::scenario::compare::{compare, outcomes};
use pspawn_actors::scenario::format::{Document, Outcome, TraceOutcome, read_documents};
use pspawn_actors::scenario::otp::Otp;
use pspawn_actors::scenario::{Mode, Runner, generate};

#[test]
fn hand_made_scenarios_and_traces_come_out_as_in_erlang() -> ExitCode {
    pspawn::run(|| async {
        let documents = hand_made();
        assert!(documents.len() >= 40, "{} files are not all", documents.len());
        agree_with_their_files(documents).await
    })
}

#[test]
fn hand_made_outcomes_are_what_this_erlang_gives() -> ExitCode {
    pspawn::run(|| async {
        let Some(erlang) = Otp::find() else { return no_erl("what is recorded is not checked") };
        let mut otp = erlang.start().expect("Erlang starts");
        for document in hand_made() {
            let given = match &document {
                Document::Scenario { scenario, .. } => {
                    otp.outcome(scenario).expect("Erlang answers").canonical()
                }
                Document::Trace { trace, .. } => {
                    otp.trace_outcome(trace).expect("Erlang answers").canonical()
                }
            };
            assert_eq!(given, expected(&document), "{}", document.id());
        }
        Ok(())
    })
}

#[test]
fn random_scenarios_and_traces_come_out_as_in_erlang() -> ExitCode {
    pspawn::run(|| async {
        let Some(erlang) = Otp::find() else {
            no_erl("random scenarios are compared with what Erlang once gave")?;
            return agree_with_their_files(read("tests/otp/recorded/random.jsonl")).await;
        };
        let mut otp = erlang.start().expect("Erlang starts");
        let runner = Runner::start(Mode::Functions).await?;
        let seed = std::env::var("PSPAWN_SEED").map_or(25, |seed| seed.parse().expect("a number"));
        let scenarios = (0..SCENARIOS).map(|number| {
            let scenario = generate::scenario(seed, number);
            (Document::Scenario { scenario, expect: None }, mode(number))
        });
        let traces = (0..TRACES).map(|number| {
            let trace = generate::trace(seed, number);
            (Document::Trace { trace, expect: None }, mode(number))
        });
        let all: Vec<_> = scenarios.chain(traces).collect();
        for some in all.chunks(64) {
            let differences =
                compare(&runner, &mut otp, some.to_vec()).await.expect("Erlang answers");
            if let Some(first) = differences.first() {
                panic!(
                    "seed {seed}: {} differ; the first (`--example conformance` makes it smaller):\n{first}",
                    differences.len()
                );
            }
        }
        runner.stop().await
    })
}

/// Runs each in each mode and compares with the outcome in its file.
async fn agree_with_their_files(documents: Vec<Document>) -> Result<(), pspawn::Error> {
    let runner = Runner::start(Mode::Functions).await?;
    for mode in [Mode::Functions, Mode::Actix, Mode::Mixed] {
        let some: Vec<_> = documents.iter().map(|document| (document.clone(), mode)).collect();
        for (document, outcome) in documents.iter().zip(outcomes(&runner, &some).await) {
            assert_eq!(outcome, expected(document), "{} as {mode:?}", document.id());
        }
    }
    runner.stop().await
}

fn hand_made() -> Vec<Document> {
    ["tests/otp/scenarios", "tests/otp/traces"].iter().flat_map(|folder| read_all(folder)).collect()
}

fn read_all(folder: &str) -> Vec<Document> {
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort_unstable();
    files.into_iter().flat_map(read).collect()
}

fn read(file: impl AsRef<Path>) -> Vec<Document> {
    let file = file.as_ref();
    let text = std::fs::read_to_string(file).expect("the file can be read");
    read_documents(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

/// The outcome in its file.
fn expected(document: &Document) -> String {
    let expect = match document {
        Document::Scenario { expect, .. } => expect.as_ref().map(Outcome::canonical),
        Document::Trace { expect, .. } => expect.as_ref().map(TraceOutcome::canonical),
    };
    expect.unwrap_or_else(|| panic!("{} has no `expect`", document.id()))
}

/// Each kind of process in turn.
fn mode(number: u64) -> Mode {
    [Mode::Functions, Mode::Actix, Mode::Mixed][usize::try_from(number % 3).expect("it is small")]
}

fn no_erl(so: &str) -> Result<(), pspawn::Error> {
    eprintln!("!! there is no erl on the PATH: {so} (install Debian's erlang-nox)");
    Ok(())
}

/// How many of each are compared live.
const SCENARIOS: u64 = 400;
const TRACES: u64 = 200;
