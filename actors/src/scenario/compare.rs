//! Comparing: the same scenario or trace on pspawn and on real Erlang/OTP, and the first difference in its
//! smallest form.

use std::fmt;

use futures::StreamExt;
use futures::channel::mpsc;

use super::format::{Document, Scenario, Trace};
use super::otp::{Answer, Otp, OtpError};
use super::{Mode, Runner, shrink};

/// A scenario or trace of which two outcomes were not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The scenario or trace.
    pub document: Document,
    /// What its processes were.
    pub mode: Mode,
    /// The outcome on pspawn, or why there is none.
    pub pspawn: String,
    /// The outcome on Erlang/OTP.
    pub erlang: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = match &self.document {
            Document::Scenario { scenario, .. } => serde_json::to_string(scenario),
            Document::Trace { trace, .. } => serde_json::to_string(trace),
        };
        writeln!(f, "{}", document.expect("scenarios can be written"))?;
        writeln!(f, "  pspawn ({:?}): {}", self.mode, self.pspawn)?;
        write!(f, "  Erlang/OTP: {}", self.erlang)
    }
}

/// Runs these on both, many at the same time, and returns those that differ.
///
/// # Errors
/// [`OtpError`] if Erlang does not answer.
pub async fn compare(
    runner: &Runner,
    otp: &mut Otp,
    documents: Vec<(Document, Mode)>,
) -> Result<Vec<Difference>, OtpError> {
    for (document, _) in &documents {
        match document {
            Document::Scenario { scenario, .. } => otp.ask(scenario)?,
            Document::Trace { trace, .. } => otp.ask_trace(trace)?,
        }
    }
    let ours = outcomes(runner, &documents).await;
    let mut differences = Vec::new();
    for ((document, mode), pspawn) in documents.into_iter().zip(ours) {
        let erlang = otp.answer()?.map(|answer| answer.canonical()).unwrap_or_default();
        if pspawn != erlang {
            differences.push(Difference { document, mode, pspawn, erlang });
        }
    }
    Ok(differences)
}

/// What each gives on pspawn, in a line: its outcome, or why there is none. Many run at the same time.
pub async fn outcomes(runner: &Runner, documents: &[(Document, Mode)]) -> Vec<String> {
    let runs = documents.iter().map(|(document, mode)| run(runner, document, *mode));
    futures::stream::iter(runs).buffered(AT_ONCE).collect().await
}

async fn run(runner: &Runner, document: &Document, mode: Mode) -> String {
    let runner = runner.with_mode(mode);
    let outcome = match document {
        Document::Scenario { scenario, .. } => {
            runner.run(scenario).await.map(|played| played.outcome.canonical())
        }
        Document::Trace { trace, .. } => {
            runner.run_trace(trace).await.map(|outcome| outcome.canonical())
        }
    };
    outcome.unwrap_or_else(|why| format!("no outcome: {why}"))
}

/// The smallest form of a difference.
///
/// # Errors
/// [`OtpError`] if Erlang does not answer any more.
pub async fn smallest(
    runner: &Runner,
    otp: &mut Otp,
    difference: Difference,
) -> Result<Difference, OtpError> {
    // The shrinker asks and waits; the answers come from here.
    let (ask, mut asked) = mpsc::unbounded::<(Document, std::sync::mpsc::Sender<bool>)>();
    let (document, mode) = (difference.document.clone(), difference.mode);
    let shrinking = std::thread::spawn(move || {
        let differs = |document: Document| {
            let (tell, told) = std::sync::mpsc::channel();
            ask.unbounded_send((document, tell)).is_ok() && told.recv().unwrap_or(false)
        };
        match document {
            Document::Scenario { scenario, .. } => {
                let scenario = shrink::scenario(&scenario, |smaller| differs(of(smaller)));
                of(&scenario)
            }
            Document::Trace { trace, .. } => {
                let trace = shrink::trace(&trace, |smaller| differs(of_trace(smaller)));
                of_trace(&trace)
            }
        }
    });
    let mut smallest = difference;
    while let Some((document, tell)) = asked.next().await {
        let both = both(runner, otp, document, mode).await?;
        let differs = both.pspawn != both.erlang;
        if differs {
            smallest = both;
        }
        let _ = tell.send(differs); // a shrinker that has gone does not mind
    }
    drop(shrinking.join());
    Ok(smallest)
}

async fn both(
    runner: &Runner,
    otp: &mut Otp,
    document: Document,
    mode: Mode,
) -> Result<Difference, OtpError> {
    let erlang = match &document {
        Document::Scenario { scenario, .. } => otp.outcome(scenario).map(Answer::Scenario),
        Document::Trace { trace, .. } => otp.trace_outcome(trace).map(Answer::Trace),
    };
    let erlang = match erlang {
        Ok(answer) => answer.canonical(),
        // What Erlang cannot carry out is no smaller form of what it could.
        Err(OtpError::Failed { .. }) => {
            let (pspawn, erlang) = (String::new(), String::new());
            return Ok(Difference { document, mode, pspawn, erlang });
        }
        Err(why) => return Err(why),
    };
    let pspawn = run(runner, &document, mode).await;
    Ok(Difference { document, mode, pspawn, erlang })
}

fn of(scenario: &Scenario) -> Document {
    Document::Scenario { scenario: scenario.clone(), expect: None }
}

fn of_trace(trace: &Trace) -> Document {
    Document::Trace { trace: trace.clone(), expect: None }
}

/// How many run at the same time.
const AT_ONCE: usize = 8;
