//! Launchers: how a slave's first OS process is started on a host.
//!
//! A launcher knows one thing: the command that, run on the master's machine, gives a shell on a host with its
//! standard input, output and error connected to ours. Everything else is the same for all of them: the shell is
//! handed a small script, the script makes sure that the executable is there and runs it, and the slave gets its
//! settings and keys over the same standard input, which stays open as its life line.

use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::hosts::HostEntry;
use crate::term::NodeName;

mod image;
mod local;
mod ship;
mod slurm;
mod ssh;
mod template;

pub(crate) use image::Image;
pub use local::Local;
pub(crate) use ship::{GUARD_FLAG, Told, first_line};
pub use slurm::{Slurm, SlurmError};
pub use ssh::Ssh;
pub use template::{Template, TemplateError};

/// Starts an OS process on a host.
///
/// In the box: [`Local`], [`Ssh`], [`Slurm`], and [`Template`] for any command that runs another one elsewhere.
/// One of your own, say for hosts that are reached through a tool called `farm`:
///
/// ```
/// use pspawn::launcher::{StartFault, StartStep, Launcher, Order, Silence};
/// use std::process::Command;
///
/// struct Farm;
///
/// impl Launcher for Farm {
///     fn name(&self) -> &str {
///         "farm"
///     }
///
///     fn command(&self, order: &Order<'_>) -> Result<Command, StartFault> {
///         let mut farm = Command::new("farm");
///         farm.arg("run").arg(order.host().host()).arg(order.shell());
///         Ok(farm)
///     }
///
///     fn explain(&self, order: &Order<'_>, silence: &Silence<'_>) -> Option<StartFault> {
///         let unknown = silence.stderr.contains("no such machine");
///         unknown.then(|| {
///             let why = format!("farm does not know {}", order.host());
///             StartFault::new(StartStep::Resolve, why).remedy("see `farm list`")
///         })
///     }
/// }
///
/// let pool = pspawn::Pool::builder("w").hosts(["m1", "m2"]).launcher(Farm);
/// ```
pub trait Launcher: Send + Sync {
    /// What it is called in messages.
    fn name(&self) -> &str;

    /// The command to run on this machine. It runs [`Order::shell`] on the host and
    /// passes standard input, output and error on as they are: no terminal, no conversion, no buffering by line.
    ///
    /// # Errors
    /// A [`StartFault`] if there is no such command for this host.
    fn command(&self, order: &Order<'_>) -> Result<Command, StartFault>;

    /// Whether the command gives a shell, through which the executable is sent to the host if it is not there. One that
    /// says no runs [`Order::program_words`] instead, an executable that is on the host already.
    fn ships(&self) -> bool {
        true
    }

    /// Why the command has ended, or said nothing, before a shell on the host answered; none if this launcher cannot
    /// tell.
    fn explain(&self, order: &Order<'_>, silence: &Silence<'_>) -> Option<StartFault> {
        let _ = (order, silence);
        None
    }

    /// Asked when its last slave is gone: has that ended in which all of them ran, a batch job say, and why? Then the pool
    /// ends, too. May take its time.
    fn is_over(&self) -> Option<String> {
        None
    }

    /// Whether slaves started by it run on the machine, and in the network, of their master.
    fn is_local(&self) -> bool {
        false
    }
}

/// What is to be started where.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub(crate) host: &'a HostEntry,
    pub(crate) node: NodeName,
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [String],
}

impl<'a> Order<'a> {
    /// The host, with its user and port where they are given.
    #[must_use]
    pub fn host(&self) -> &'a HostEntry {
        self.host
    }

    /// What the slave will be called.
    #[must_use]
    pub fn node(&self) -> NodeName {
        self.node
    }

    /// The word to run on the host: a shell that reads what it is to do from its standard input. One word without a
    /// quote or a blank, so any number of shells and other commands may hand it on.
    #[must_use]
    pub fn shell(&self) -> &'static str {
        "sh"
    }

    /// The words that start the slave's executable itself; only for a launcher that does not
    /// [ship](Launcher::ships).
    #[must_use]
    pub fn program_words(&self) -> Vec<std::ffi::OsString> {
        let mut words = vec![self.program.into()];
        words.extend(ship::guard_words(self.node, self.args).into_iter().map(Into::into));
        words
    }
}

/// A launch command that has ended, or was given up, before a shell answered.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Silence<'a> {
    /// Its exit code, if it has one.
    pub code: Option<i32>,
    /// The end of what it wrote to its standard error.
    pub stderr: &'a str,
}

/// Why a slave could not be started, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartFault {
    /// What failed.
    pub step: StartStep,
    /// Why.
    pub why: String,
    /// What would mend it, where that is known: a command or a setting.
    pub remedy: Option<String>,
}

impl StartFault {
    /// This step failed, for this reason.
    #[must_use]
    pub fn new(step: StartStep, why: impl Into<String>) -> StartFault {
        StartFault { step, why: why.into(), remedy: None }
    }

    /// The same, and what would mend it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> StartFault {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn at(self, host: impl fmt::Display) -> HostFailure {
        let StartFault { step, why, remedy } = self;
        HostFailure { host: host.to_string(), step, why, remedy }
    }
}

/// A host on which no slave could be started; the others run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostFailure {
    /// The host as the hosts file has it.
    pub host: String,
    /// What failed.
    pub step: StartStep,
    /// Why, with what the slave wrote if it wrote anything.
    pub why: String,
    /// What would mend it, where that is known.
    pub remedy: Option<String>,
}

impl fmt::Display for HostFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.host, self.step, self.why)?;
        self.remedy.iter().try_for_each(|remedy| write!(f, "; {remedy}"))
    }
}

impl std::error::Error for HostFailure {}

/// The steps of starting a slave, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StartStep {
    /// Making a node name of the pool's name and the host.
    Name,
    /// From the host's name to an address.
    Resolve,
    /// Reaching its port.
    Connect,
    /// The host is the one that is known by its name.
    HostKey,
    /// Getting in.
    Login,
    /// A shell there that does what it is told.
    Shell,
    /// The executable is one for its operating system and processor.
    Platform,
    /// A place for the executable: a folder, with room, from which programs may be run.
    Cache,
    /// The executable itself: there already, or sent.
    Ship,
    /// Starting an OS process there.
    Launch,
    /// The slave's own start, up to its call to the master.
    CallBack,
}

impl StartStep {
    /// All of them, in their order.
    pub const ALL: [StartStep; 11] = [
        StartStep::Name,
        StartStep::Resolve,
        StartStep::Connect,
        StartStep::HostKey,
        StartStep::Login,
        StartStep::Shell,
        StartStep::Platform,
        StartStep::Cache,
        StartStep::Ship,
        StartStep::Launch,
        StartStep::CallBack,
    ];
}

impl fmt::Display for StartStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            StartStep::Name => "name",
            StartStep::Resolve => "resolve",
            StartStep::Connect => "connect",
            StartStep::HostKey => "host key",
            StartStep::Login => "login",
            StartStep::Shell => "shell",
            StartStep::Platform => "platform",
            StartStep::Cache => "cache",
            StartStep::Ship => "ship",
            StartStep::Launch => "launch",
            StartStep::CallBack => "call back",
        })
    }
}
