//! How a worker ended, as the guard tells the master: the last line on its standard error.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::str::FromStr;

use rustix::process::WaitStatus;

/// The end of a worker that nobody had asked for. Its text is one line, without the newline:
/// `pspawn-guard: worker code=101`, `... worker signal=9`, `... worker silent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerEnd {
    /// It left with an exit code other than 0.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
    /// It had heard nothing from the master for too long, or was stuck itself; the guard ended it.
    Silent,
}

impl WorkerEnd {
    /// The end that `status` speaks of; none if all was well.
    pub(super) fn of(status: WaitStatus) -> Option<WorkerEnd> {
        match (status.terminating_signal(), status.exit_status()) {
            (Some(signal), _) => Some(WorkerEnd::Signal(signal)),
            (None, Some(code)) if code != 0 => Some(WorkerEnd::Code(code)),
            (None, _) => None,
        }
    }

    /// What the guard itself exits with.
    pub(super) fn exit_code(self) -> i32 {
        match self {
            WorkerEnd::Code(code) => code,
            WorkerEnd::Signal(signal) => 128 + signal,
            WorkerEnd::Silent => 128 + 9,
        }
    }
}

impl fmt::Display for WorkerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerEnd::Code(code) => write!(f, "{PREFIX}code={code}"),
            WorkerEnd::Signal(signal) => write!(f, "{PREFIX}signal={signal}"),
            WorkerEnd::Silent => write!(f, "{PREFIX}silent"),
        }
    }
}

impl FromStr for WorkerEnd {
    type Err = NoReport;

    fn from_str(line: &str) -> Result<WorkerEnd, NoReport> {
        let end = line.trim_end().strip_prefix(PREFIX).ok_or(NoReport)?;
        match end.split_once('=') {
            Some(("code", code)) => code.parse().map(WorkerEnd::Code).map_err(|_| NoReport),
            Some(("signal", signal)) => signal.parse().map(WorkerEnd::Signal).map_err(|_| NoReport),
            None if end == "silent" => Ok(WorkerEnd::Silent),
            Some(_) | None => Err(NoReport),
        }
    }
}

/// A line that is not a guard's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a guard's report")]
pub(crate) struct NoReport;

/// `was killed by signal 9 (SIGKILL)`, `left with exit status 101`.
pub(super) fn in_words(status: WaitStatus) -> String {
    let text = ExitStatus::from_raw(status.as_raw()).to_string().replacen(": ", " ", 1);
    let verb = if status.signaled() { "was killed by" } else { "left with" };
    format!("{verb} {text}")
}

const PREFIX: &str = "pspawn-guard: worker ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_understood() {
        for end in [WorkerEnd::Code(101), WorkerEnd::Signal(9), WorkerEnd::Silent] {
            assert_eq!(format!("{end}\n").parse(), Ok(end));
        }
        assert_eq!(WorkerEnd::Code(101).to_string(), "pspawn-guard: worker code=101");
        assert_eq!(WorkerEnd::Signal(9).to_string(), "pspawn-guard: worker signal=9");
        assert_eq!(WorkerEnd::Silent.to_string(), "pspawn-guard: worker silent");
    }

    #[test]
    fn other_lines_are_no_reports() {
        let lines = ["", "worker code=1", "pspawn-guard: worker", "pspawn-guard: worker code=x"];
        for line in lines.into_iter().chain(["pspawn-guard: worker silent=1"]) {
            assert_eq!(line.parse::<WorkerEnd>(), Err(NoReport), "{line:?}");
        }
    }
}
