//! The launcher for a Slurm allocation: a job step on each of its nodes.

use std::process::Command;

use super::{Launcher, Order, Silence, StartFault, StartStep};

/// Starts slaves as job steps of the Slurm allocation that this OS process runs in, one step a node: so the loss of a
/// node ends the slave on that node alone, and the end of the job ends them all.
#[derive(Clone, Debug)]
pub struct Slurm {
    job: String,
    nodes: Vec<String>,
}

/// There is no allocation to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlurmError {
    /// This OS process does not run in one.
    #[error(
        "not inside a Slurm allocation: SLURM_JOB_ID is not set; start it with `salloc -N3 …`, or say --nodes N"
    )]
    NoJob,
    /// Its list of nodes cannot be had.
    #[error("which nodes are {list:?}? {why}")]
    NoNodes {
        /// The list as Slurm has it.
        list: String,
        /// What `scontrol` says.
        why: String,
    },
}

impl Slurm {
    /// The allocation that this OS process runs in, as `SLURM_JOB_ID` and `SLURM_JOB_NODELIST` have it.
    ///
    /// # Errors
    /// [`SlurmError`].
    pub fn from_env() -> Result<Slurm, SlurmError> {
        let job = std::env::var("SLURM_JOB_ID").map_err(|_| SlurmError::NoJob)?;
        let list = std::env::var("SLURM_JOB_NODELIST").map_err(|_| SlurmError::NoJob)?;
        let fails = |why: String| SlurmError::NoNodes { list: list.clone(), why };
        let told = Command::new("scontrol").args(["show", "hostnames", &list]).output();
        let told = told.map_err(|why| fails(format!("cannot run scontrol: {why}")))?;
        if !told.status.success() {
            return Err(fails(String::from_utf8_lossy(&told.stderr).trim().to_owned()));
        }
        let nodes: Vec<String> = String::from_utf8_lossy(&told.stdout)
            .lines()
            .map(|line| line.trim().to_owned())
            .collect();
        match nodes.is_empty() {
            true => Err(fails("scontrol names none".to_owned())),
            false => Ok(Slurm { job, nodes }),
        }
    }

    /// The allocation's nodes.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }
}

impl Launcher for Slurm {
    fn name(&self) -> &str {
        "srun"
    }

    fn command(&self, order: &Order<'_>) -> Result<Command, StartFault> {
        let mut srun = Command::new("srun");
        srun.arg(format!("--jobid={}", self.job));
        srun.arg(format!("--nodelist={}", order.host().host()));
        srun.arg(format!("--job-name={}", order.node()));
        // All of the node: a slave is as many arbiters as it may use cores. Other steps do not make it wait.
        srun.args(["--nodes=1", "--ntasks=1", "--overlap", "--mem=0", "--cpu-bind=none"]);
        srun.args(["--no-kill", "--kill-on-bad-exit=0", "--unbuffered", "--quiet", "--mpi=none"]);
        srun.arg(order.shell());
        Ok(srun)
    }

    fn is_over(&self) -> Option<String> {
        let told =
            Command::new("squeue").args(["-h", "-o", "%T", "-j", &self.job]).output().ok()?;
        let state = String::from_utf8_lossy(&told.stdout).trim().to_owned();
        let unknown = String::from_utf8_lossy(&told.stderr).contains("Invalid job id");
        let runs = matches!(state.as_str(), "RUNNING" | "SUSPENDED" | "RESIZING" | "CONFIGURING");
        match (told.status.success(), runs) {
            (true, true) => None,
            (true, false) => Some(format!("Slurm job {} is over: {}", self.job, ended(&state))),
            // It may be that the controller cannot be reached at the moment.
            (false, _) => unknown.then(|| format!("Slurm job {} is over", self.job)),
        }
    }

    fn explain(&self, order: &Order<'_>, silence: &Silence<'_>) -> Option<StartFault> {
        let line = silence.stderr.lines().find(|line| line.contains("error:"))?;
        let (job, host) = (&self.job, order.host());
        let remedy =
            format!("what Slurm thinks of it: scontrol show node {host}; scontrol show job {job}");
        Some(StartFault::new(StartStep::Login, line.trim()).remedy(remedy))
    }
}

/// A job that is not listed any more has no state.
fn ended(state: &str) -> &str {
    if state.is_empty() { "ENDED" } else { state }
}
