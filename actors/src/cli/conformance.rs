//! The long comparison: random scenarios and traces on pspawn and on a real Erlang/OTP.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use pspawn::Error;

use super::out::{print, tell};
use crate::scenario::compare::{compare, smallest};
use crate::scenario::format::Document;
use crate::scenario::otp::{Otp, OtpError};
use crate::scenario::{Mode, Runner, generate};

/// Run random scenarios and supervisor traces on pspawn and on a real Erlang/OTP, and compare.
///
/// Prints the first difference in its smallest form, and ends with 1 then.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Conformance {
    /// Where the random numbers start: the same seed gives the same scenarios.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many scenarios.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    count: u64,
    /// How many supervisor traces; default: a quarter as many.
    #[arg(long, value_name = "N")]
    traces: Option<u64>,
    /// Start with the scenario, and the trace, of this number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// What the processes are; default: each kind in turn.
    #[arg(long, value_enum)]
    mode: Option<Kind>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Functions,
    Actix,
    Mixed,
}

pub(super) async fn conformance(args: Conformance) -> Result<(), Error> {
    let Some(erlang) = Otp::find() else {
        let why = "there is no erl to compare with: install Erlang/OTP (Debian: apt-get install erlang-nox)";
        return Err(why.into());
    };
    let fails = |why: OtpError| Error::from(format!("Erlang/OTP: {why}"));
    let mut otp = erlang.start().map_err(fails)?;
    let runner = Runner::start(Mode::Functions).await?;
    let traces = args.traces.unwrap_or(args.count / 4);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {msg}");
    let bar = ProgressBar::new(args.count + traces).with_style(style.expect("it is a template"));

    let scenarios = (args.from..args.from + args.count).map(|number| {
        let scenario = generate::scenario(args.seed, number);
        (Document::Scenario { scenario, expect: None }, number)
    });
    let of_traces = (args.from..args.from + traces).map(|number| {
        let trace = generate::trace(args.seed, number);
        (Document::Trace { trace, expect: None }, number)
    });
    let mut all = scenarios.chain(of_traces).map(|(document, number)| {
        let mode = match (args.mode, number % 3) {
            (Some(Kind::Functions), _) | (None, 0) => Mode::Functions,
            (Some(Kind::Actix), _) | (None, 1) => Mode::Actix,
            (Some(Kind::Mixed), _) | (None, _) => Mode::Mixed,
        };
        (document, mode)
    });
    loop {
        let batch: Vec<_> = all.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        bar.inc(batch.len() as u64);
        let differences = compare(&runner, &mut otp, batch).await.map_err(fails)?;
        if let Some(first) = differences.into_iter().next() {
            bar.finish_and_clear();
            tell(&format!("{} differs; looking for its smallest form", first.document.id()));
            let first = smallest(&runner, &mut otp, first).await.map_err(fails)?;
            print(&format!("{first}\n"))?;
            runner.stop().await?;
            return Err("pspawn and Erlang/OTP differ".into());
        }
    }
    bar.finish_and_clear();
    let (seed, count) = (args.seed, args.count);
    print(&format!("seed {seed}: {count} scenarios and {traces} traces, no difference\n"))?;
    drop(otp);
    runner.stop().await
}

const EXAMPLES: &str = "\
Examples:
  cargo run --release --example conformance -- --seed 7 --count 10000
  cargo run --release --example conformance -- --seed 7 --from 123 --count 1   that one again
  cargo run --release --example conformance -- --count 0 --traces 600          traces alone";

/// So many are given to both at a time.
const BATCH: usize = 64;
