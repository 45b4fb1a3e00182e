//! Scenarios: the same steps carried out by pspawn and by Erlang/OTP, and their outcomes compared.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use pspawn::Error;

pub mod compare;
pub mod format;
pub mod generate;
mod nodes;
pub mod otp;
mod player;
mod run;
pub mod shrink;
mod story;
mod sweeper;
mod traces;

pub use run::{Happened, Played, RunError};
pub use story::{diagram, narrate, narrate_trace};

use format::{Scenario, Trace, TraceOutcome};
use nodes::Nodes;

/// What the processes of a scenario are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Function processes.
    #[default]
    Functions,
    /// Actix actors.
    Actix,
    /// One and the other in turn.
    Mixed,
}

impl Mode {
    /// Whether the process with this number is an actix actor.
    fn is_actix(self, number: usize) -> bool {
        match self {
            Mode::Functions => false,
            Mode::Actix => true,
            Mode::Mixed => number % 2 == 1,
        }
    }
}

/// Runs scenarios on nodes that are real OS processes. Several may run at the same time.
#[derive(Clone)]
pub struct Runner {
    nodes: Rc<Nodes>,
    mode: Mode,
    within: Duration,
    runs: Rc<Cell<u64>>,
}

impl Runner {
    /// Starts a master in this OS process; slaves are started as scenarios need them.
    ///
    /// # Errors
    /// If the node cannot be started.
    pub async fn start(mode: Mode) -> Result<Runner, Error> {
        let nodes = Rc::new(Nodes::start().await?);
        Ok(Runner { nodes, mode, within: WITHIN, runs: Rc::default() })
    }

    /// The same nodes with processes of another kind.
    #[must_use]
    pub fn with_mode(&self, mode: Mode) -> Runner {
        Runner { mode, ..self.clone() }
    }

    /// The same nodes; a step that takes longer than this is given up.
    #[must_use]
    pub fn within(&self, within: Duration) -> Runner {
        Runner { within, ..self.clone() }
    }

    /// Runs a scenario.
    ///
    /// # Errors
    /// [`RunError`] if something does not do what it must, which is no outcome.
    /// # Cancel safety
    /// Not cancel safe: its processes stay.
    pub async fn run(&self, scenario: &Scenario) -> Result<Played, RunError> {
        let number = self.runs.get() + 1;
        self.runs.set(number);
        run::run(scenario, &self.nodes, self.mode, self.within, number).await
    }

    /// Runs a supervisor's trace.
    ///
    /// # Errors
    /// [`RunError`] if something does not do what it must, which is no outcome.
    /// # Cancel safety
    /// Not cancel safe: its processes stay.
    pub async fn run_trace(&self, trace: &Trace) -> Result<TraceOutcome, RunError> {
        traces::run_trace(trace, &self.nodes, self.mode, self.within).await
    }

    /// Ends the nodes.
    ///
    /// # Errors
    /// If the pool does not stop in time.
    pub async fn stop(self) -> Result<(), Error> {
        match Rc::try_unwrap(self.nodes) {
            Ok(nodes) => nodes.stop().await,
            Err(shared) => shared.pool.stop().await,
        }
    }
}

/// No step takes longer, whatever else the machine does.
const WITHIN: Duration = Duration::from_secs(30);
