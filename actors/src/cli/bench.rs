//! `pspawn bench`: how fast it is on this machine, next to what is possible at all, and next to Erlang.

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::time::Duration;

use futures::future::{Either, select};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pspawn::Error;

use super::out::{print, tell};
use super::signals::{Signals, interrupted};
use crate::bench::{
    Effort, Erlang, Flat, Part, Rounds, Row, Side, Watcher, Workload, flat, flat_table, play,
    table, workloads,
};

/// Measure how fast it is on this machine, next to what is possible at all, and next to Erlang
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub(crate) struct Bench {
    /// Only this workload; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Take a moment for each, once: to see that it works, not how fast
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// Instead: whether messages and spawns cost the same with more slaves, and beside more actors
    #[arg(long, conflicts_with = "only")]
    flat: bool,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

/// An end of the limit.
#[derive(Debug, clap::Args)]
pub(crate) struct Peer {
    workload: String,
    part: String,
}

/// Measures, and prints what came of it. Who asks it to end leaves nothing running.
///
/// # Errors
/// If a pool does not start, or a measurement goes wrong.
pub(crate) async fn bench(args: Bench) -> Result<(), Error> {
    let mut signals = Signals::catch()?;
    let asked = std::pin::pin!(signals.next());
    match select(Box::pin(measure(args)), asked).await {
        Either::Left((measured, _)) => measured,
        Either::Right(((), measuring)) => {
            drop(measuring); // and with it OS processes that are no slaves, and their files
            interrupted()
        }
    }
}

async fn measure(args: Bench) -> Result<(), Error> {
    let (rounds, effort) = match args.quick {
        true => (1, Effort::QUICK),
        false => (usize::from(args.rounds), Effort::FULL),
    };
    if args.flat {
        let progress = Progress::spinner();
        let rows = flat(rounds, effort, |size| progress.0.set_message(size.to_owned())).await;
        progress.0.finish_and_clear();
        return show(&rows?, args.json, Flat::json, flat_table);
    }
    let workloads = chosen(&args.only);
    let erlang = Erlang::find().await?;
    if erlang.is_none() {
        tell("there is no Erlang on the PATH: its column stays empty");
    }
    let rounds = Rounds { workloads, rounds, effort, erlang };
    let mut progress = Progress::of(rounds.measurements());
    let rows = rounds.run(&mut progress).await;
    progress.0.finish_and_clear();
    show(&rows?, args.json, Row::json, table)
}

/// As a JSON object a line, or as a table.
fn show<R>(
    rows: &[R],
    as_json: bool,
    json: impl Fn(&R) -> serde_json::Value,
    table: impl Fn(&[R]) -> String,
) -> Result<(), Error> {
    if as_json {
        rows.iter().try_for_each(|row| print(&format!("{}\n", json(row))))
    } else {
        print(&table(rows))
    }
}

/// Is an end of the limit.
pub(crate) fn peer(Peer { workload, part }: &Peer) -> ExitCode {
    match serde_json::from_str::<Part>(part) {
        Ok(part) => play(workload, &part),
        Err(why) => super::usage("bench-peer", &why.to_string()),
    }
}

/// The workloads of these names, all if there are none; the end if one is unknown.
fn chosen(only: &[String]) -> Vec<Workload> {
    let all = workloads();
    let names: Vec<&str> = all.iter().map(|workload| workload.name).collect();
    if let Some(wrong) = only.iter().find(|only| !names.contains(&only.as_str())) {
        let why = format!("there is no workload {wrong}; there are: {}", names.join(", "));
        super::usage("bench", &why);
    }
    let wanted = |workload: &Workload| only.is_empty() || only.iter().any(|o| o == workload.name);
    all.into_iter().filter(wanted).collect()
}

/// How far it is: a bar on a terminal, else nothing.
struct Progress(ProgressBar);

impl Progress {
    /// How far it is nobody knows.
    fn spinner() -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    fn of(measurements: u64) -> Progress {
        let style = ProgressStyle::with_template("{bar:32.blue} {pos}/{len} {msg} {elapsed}")
            .expect("the template is well formed");
        let bar = ProgressBar::with_draw_target(Some(measurements), ProgressDrawTarget::stderr());
        bar.set_style(style);
        if stderr().is_terminal() {
            bar.enable_steady_tick(Duration::from_secs(1));
        }
        Progress(bar)
    }
}

impl Watcher for Progress {
    fn begins(&mut self, workload: &str, side: Side) {
        self.0.set_message(format!("{workload}, {side}"));
    }

    fn failed(&mut self, why: &str) {
        self.0.suspend(|| eprintln!("{why}; this round has no figure of it"));
    }

    fn ended(&mut self) {
        self.0.inc(1);
    }
}

/// The names there are, and examples.
fn after_help() -> String {
    let wide = workloads().iter().map(|workload| workload.name.len()).max().unwrap_or(0);
    let lines = workloads()
        .into_iter()
        .map(|Workload { name, what, .. }| format!("  {name:wide$}  {what}\n"));
    format!("Workloads:\n{}\n{EXAMPLES}", lines.collect::<String>())
}

const EXAMPLES: &str = "\
Examples:
  pspawn bench                                 all, in a few minutes
  pspawn bench --only ask_1 --only oneway_64   two of them
  pspawn bench --only ask_1 --rounds 9         one more exactly
  pspawn bench --flat                          with 2 to 16 slaves, beside 100 to 1,000,000 actors
  pspawn bench --json | jq .vs_limit           an object a line";
