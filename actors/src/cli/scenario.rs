//! `pspawn scenario`: runs files of scenarios and prints what comes of them.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use pspawn::Error;

use super::out::{print, tell};
use crate::scenario::format::{self, Document, read_documents};
use crate::scenario::generate::has_one_outcome;
use crate::scenario::{Mode, Played, RunError, Runner, diagram, narrate, narrate_trace};

/// Run scenarios of links, exits, monitors and names, and print what came of each, one a line.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Scenario {
    /// Files of scenarios, one document or one a line; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Every process is an actix actor; default: function processes.
    #[arg(long, conflicts_with = "mixed")]
    actix: bool,
    /// Function processes and actix actors in turn.
    #[arg(long)]
    mixed: bool,
    /// Tell in plain words, step by step, who did what, which signal travelled where, who died of what,
    /// and by which rule; instead of outcomes.
    #[arg(long)]
    narrate: bool,
    /// Draw a Mermaid sequence diagram of each scenario; instead of outcomes, or after the words.
    #[arg(long)]
    diagram: bool,
    /// How long a step may take until the scenario is given up, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    within: u64,
    /// How many scenarios run at the same time.
    #[arg(long, value_name = "N", default_value_t = AT_ONCE, value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once: u16,
}

pub(super) async fn scenario(args: Scenario) -> Result<(), Error> {
    let mut documents = Vec::new();
    for file in &args.files {
        let name = file.display().to_string();
        let text = if name == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        } else {
            std::fs::read_to_string(file)
                .map_err(|why| Error::from(format!("{name}: cannot be read: {why}")))?
        };
        let read = read_documents(&text).map_err(|why| why.in_file(&name).to_string())?;
        documents.extend(read);
    }
    let mode = match (args.actix, args.mixed) {
        (true, _) => Mode::Actix,
        (_, true) => Mode::Mixed,
        (false, false) => Mode::Functions,
    };
    let runner = Runner::start(mode).await?.within(Duration::from_secs(args.within));
    let runs = documents.iter().map(|document| {
        let (runner, args) = (&runner, &args);
        async move {
            Ok::<_, RunError>(match document {
                Document::Scenario { scenario, .. } => {
                    if !has_one_outcome(scenario) {
                        let id = &scenario.id;
                        tell(&format!("{id}: a batch in it can come out in more than one way"));
                    }
                    let played = runner.run(scenario).await?;
                    shown(args, scenario, &played)
                }
                Document::Trace { trace, .. } => {
                    let outcome = runner.run_trace(trace).await?;
                    match args.narrate {
                        true => narrate_trace(trace, &outcome),
                        false => outcome.canonical(),
                    }
                }
            })
        }
    });
    let mut outcomes = futures::stream::iter(runs).buffered(args.at_once.into());
    let mut failed = None;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(line) => print(&format!("{line}\n"))?,
            Err(why) => {
                tell(&why.to_string());
                failed = Some(why);
            }
        }
    }
    drop(outcomes);
    runner.stop().await?;
    match failed {
        Some(why) => Err(Error::from(why.to_string())),
        None => Ok(()),
    }
}

fn shown(args: &Scenario, scenario: &format::Scenario, played: &Played) -> String {
    let mut parts = Vec::new();
    if args.narrate {
        parts.push(narrate(scenario, played));
    }
    if args.diagram {
        parts.push(diagram(scenario, played));
    }
    match parts.is_empty() {
        true => played.outcome.canonical(),
        false => parts.join("\n"),
    }
}

const EXAMPLES: &str = "\
Examples:
  pspawn scenario ring.json                 one document, or one a line
  pspawn scenario --actix a.json b.json     every process is an actix actor
  pspawn scenario - < many.jsonl            standard input
  pspawn scenario --narrate ring.json       tell what happened, step by step, and why
  pspawn scenario --diagram ring.json       the same as a Mermaid sequence diagram

What a scenario is: docs/semantics.md.";

const AT_ONCE: u16 = 8;
