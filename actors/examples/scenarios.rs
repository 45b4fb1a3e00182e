//! Writes random scenarios and supervisor traces, and records what Erlang/OTP makes of them.
//!
//! ```text
//! cargo run -p pspawn-actors --example scenarios -- scenarios SEED COUNT
//! cargo run -p pspawn-actors --example scenarios -- traces SEED COUNT
//! cargo run -p pspawn-actors --example scenarios -- record FILE...
//! ```
//!
//! The first two print one a line. The last one puts into each file, as `expect`, what OTP gives for what
//! is in the file: a file `.jsonl` keeps its lines, any other one is laid out for readers.

use std::error::Error;
use std::{env, fs};

use pspawn_actors::scenario::format::{Document, read_documents};
use pspawn_actors::scenario::generate;
use pspawn_actors::scenario::otp::{Answer, Otp};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["scenarios", seed, count] => {
            let seed = seed.parse()?;
            for index in 0..count.parse()? {
                let scenario = generate::scenario(seed, index);
                println!("{}", Document::Scenario { scenario, expect: None }.line());
            }
            Ok(())
        }
        ["traces", seed, count] => {
            let seed = seed.parse()?;
            for index in 0..count.parse()? {
                let trace = generate::trace(seed, index);
                println!("{}", Document::Trace { trace, expect: None }.line());
            }
            Ok(())
        }
        ["record", ref files @ ..] => record(files),
        _ => Err("expected scenarios SEED COUNT, traces SEED COUNT, or record FILE...".into()),
    }
}

fn record(files: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut otp = Otp::find().ok_or("there is no erl and erlc on the PATH")?.start()?;
    for file in files {
        let mut documents =
            read_documents(&fs::read_to_string(file)?).map_err(|why| why.in_file(file))?;
        for document in &documents {
            match document {
                Document::Scenario { scenario, .. } => otp.ask(scenario)?,
                Document::Trace { trace, .. } => otp.ask_trace(trace)?,
            }
        }
        for document in &mut documents {
            match (document, otp.answer()?) {
                (Document::Scenario { expect, .. }, Some(Answer::Scenario(outcome))) => {
                    *expect = Some(outcome);
                }
                (Document::Trace { expect, .. }, Some(Answer::Trace(outcome))) => {
                    *expect = Some(outcome);
                }
                (document, answer) => unreachable!("{answer:?} for {}", document.id()),
            }
        }
        let text: String = match file.ends_with(".jsonl") {
            true => documents.iter().map(|document| document.line() + "\n").collect(),
            false => documents.iter().map(Document::pretty).collect(),
        };
        fs::write(file, text)?;
    }
    Ok(())
}
