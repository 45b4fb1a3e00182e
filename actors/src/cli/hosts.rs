//! Where a pool's slaves run, and how they are started there: options of every command that starts some.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use pspawn::launcher::{Ssh, Template};
use pspawn::{Error, PoolBuilder};

use super::usage;

#[derive(Args, Debug)]
#[command(next_help_heading = "Hosts")]
pub(super) struct Hosts {
    /// Take the hosts from this file; otherwise .hosts.erlang is searched here, in $HOME, and beside
    /// the executable
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    hosts: Option<PathBuf>,
    /// Start N slaves on this machine; no hosts file is read
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024))]
    local: Option<u16>,
    /// Start a slave on each node of the Slurm allocation that this runs in; outside of one, in a new one
    #[arg(long, conflicts_with_all = ["local", "hosts"])]
    slurm: bool,
    /// How many nodes the new allocation is to have
    #[arg(long, value_name = "N", requires = "slurm")]
    nodes: Option<usize>,
    /// The ssh command for hosts that are not this machine [default: $PSPAWN_SSH, or ssh]
    #[arg(long, value_name = "COMMAND")]
    ssh: Option<String>,
    /// Start slaves with this command instead; {host} and {pspawn} are filled in
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["ssh", "slurm"])]
    launcher: Option<String>,
    /// The address of this machine at which slaves on others call back [default: found out]
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Where to listen for nodes of other hosts, by TLS [default: any port of all addresses]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// The folder on other hosts that keeps the executable [default: ~/.cache/pspawn there]
    #[arg(long, value_name = "DIR")]
    cache: Option<String>,
    /// Start on N hosts at once
    #[arg(long, value_name = "N", default_value_t = 32)]
    at_once: usize,
    /// Give up a host after this many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = 32,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    start_timeout: u64,
}

impl Hosts {
    /// Whether they say where; if not, the hosts file does that is found first.
    pub(super) fn are_given(&self) -> bool {
        self.hosts.is_some() || self.local.is_some() || self.slurm
    }

    /// Makes a pool of these hosts. Ends the program with an error of usage if they make no sense.
    pub(super) fn set(&self, mut builder: PoolBuilder, command: &str) -> PoolBuilder {
        builder = builder.at_once(self.at_once);
        builder = builder.start_timeout(Duration::from_secs(self.start_timeout));
        if let Some(file) = &self.hosts {
            builder = builder.hosts_file(file);
        }
        if let Some(slaves) = self.local {
            builder = builder.local(slaves.into());
        }
        if self.slurm {
            builder = builder.slurm();
        }
        if let Some(words) = &self.ssh {
            let ssh = Ssh::with(words).unwrap_or_else(|why| usage(command, &why.why));
            builder = builder.ssh(ssh);
        }
        if let Some(template) = &self.launcher {
            let read = Template::new(template);
            let template = read.unwrap_or_else(|why| usage(command, &why.to_string()));
            builder = builder.launcher(template);
        }
        if let Some(address) = self.address {
            builder = builder.address(address);
        }
        if let Some(listen) = self.listen {
            builder = builder.listen(listen);
        }
        if let Some(folder) = &self.cache {
            builder = builder.remote_cache(folder);
        }
        builder
    }

    /// With `--slurm` outside of an allocation: becomes `salloc`, which runs this command line again in a new one. That
    /// ends with the command, however the command ends, and the command with it.
    ///
    /// # Errors
    /// There is no `salloc`.
    pub(super) fn be_in_allocation(&self, command: &str) -> Result<(), Error> {
        if !self.slurm || std::env::var_os("SLURM_JOB_ID").is_some() {
            return Ok(());
        }
        let Some(nodes) = self.nodes else {
            let why = "not inside a Slurm allocation: say how many nodes a new one is to have, --nodes N, or run \
                       this with salloc";
            usage(command, why);
        };
        let why = Command::new("salloc")
            .arg(format!("--nodes={nodes}"))
            .args(["--quiet", "--job-name=pspawn", "--no-kill", "--kill-command=TERM", "--"])
            .arg(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .exec();
        Err(format!("cannot run salloc: {why}; this machine needs Slurm's client commands").into())
    }
}
