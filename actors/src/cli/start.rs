//! `pspawn start`: a pool in the foreground.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::future::{Either, select};
use pspawn::{Error, Pool, RunningPool, RuntimeFileError, StartError, Terminal};

use super::hosts::Hosts;
use super::out::{Shown, tell};
use super::running::cookie;
use super::signals::{Signals, interrupted};
use board::Board;

mod board;

/// Start a pool: a slave on every host; it stays until Ctrl-C or `pspawn stop`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Start {
    /// The pool's name, the first part of its nodes' names
    name: String,
    /// Words for the end of each slave's command line
    #[arg(long, value_name = "STR", allow_hyphen_values = true)]
    args: Option<String>,
    /// Let this guarded module be started; may be said again
    #[arg(long, value_name = "MODULE")]
    allow: Vec<String>,
    /// Let the pool read and write the files below DIR, instead of those below the working directory; may be
    /// said again: relative paths start at the first
    #[arg(long, value_name = "DIR")]
    share: Vec<PathBuf>,
    /// The same for reading only; may be said again
    #[arg(long, value_name = "DIR")]
    share_read_only: Vec<PathBuf>,
    /// Let the pool reach no files of the master's
    #[arg(long, conflicts_with_all = ["share", "share_read_only"])]
    no_share: bool,
    /// Let only this module be started on the pool's nodes by other nodes; may be said again [default: all]
    #[arg(long, value_name = "MODULE")]
    only: Vec<String>,
    /// Fail if fewer slaves come up [default: 1, or 0 if there are no hosts]
    #[arg(long, value_name = "N")]
    min_nodes: Option<usize>,
    /// The secret that the nodes share; the default is in ~/.pspawn.cookie
    #[arg(long, value_name = "FILE")]
    cookie_file: Option<PathBuf>,
    /// A heartbeat every TICK ms, and down after SILENCE ms without [default: 500 3000]
    #[arg(long, num_args = 2, value_names = ["TICK", "SILENCE"],
          value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    heartbeat: Vec<u64>,
    #[command(flatten)]
    shown: Shown,
    /// Run this program as the slaves, with these words for the end of its command line; it must be
    /// built on the same version of pspawn
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<String>,
    #[command(flatten)]
    hosts: Hosts,
}

pub(super) async fn start(args: Start) -> Result<(), Error> {
    let name = args.name.clone();
    check_free(&name)?;
    args.hosts.be_in_allocation("start")?;
    let cookie = cookie(args.cookie_file.as_deref())?;
    let mut signals = Signals::catch()?;
    let board = Arc::new(Board::new());

    let terminal = Terminal::new(args.shown.format());
    let mut builder = Pool::builder(&name).cookie(cookie.clone()).terminal(terminal);
    let heard = board.clone();
    builder = builder.on_progress(move |event| heard.show(event));
    builder = args.hosts.set(builder, "start");
    let heartbeat = match args.heartbeat[..] {
        [tick, silence_max] => {
            Some((Duration::from_millis(tick), Duration::from_millis(silence_max)))
        }
        _ => None,
    };
    if let Some((tick, silence_max)) = heartbeat {
        builder = builder.heartbeat(tick, silence_max);
    }
    for module in args.allow {
        builder = builder.allow(module);
    }
    for dir in args.share {
        builder = builder.share(dir);
    }
    for dir in args.share_read_only {
        builder = builder.share_read_only(dir);
    }
    if args.no_share {
        builder = builder.no_share();
    }
    for module in args.only {
        builder = builder.only(module);
    }
    if let Some(nodes) = args.min_nodes {
        builder = builder.min_nodes(nodes);
    }
    let mut words: Vec<String> =
        args.args.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect();
    let mut program = args.program.into_iter();
    if let Some(path) = program.next() {
        builder = builder.program(path);
        words.extend(program);
    }
    builder = builder.args(words);

    let started = match select(pin!(builder.start()), pin!(signals.next())).await {
        Either::Left((started, _)) => started,
        // What was started ends with us.
        Either::Right(_) => interrupted(),
    };
    let pool = started.map_err(|why| match why {
        // The board has told which, and why.
        StartError::TooFewNodes { up, wanted, .. } => {
            StartError::TooFewNodes { up, wanted, failures: Vec::new() }
        }
        why => why,
    })?;

    let running = RunningPool {
        name: name.clone(),
        master: pool.here().to_string(),
        address: pool.address(),
        os_pid: std::process::id(),
        cookie,
        heartbeat,
    };
    let published = match running.publish() {
        Ok(published) => published,
        Err(why) => {
            pool.stop().await?;
            return Err(StartError::Runtime(why).into());
        }
    };
    let nodes = pool.nodes().await?.len();
    let (master, port) = (pool.here(), pool.address().port());
    let nodes = if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
    tell(&format!("pool {name} is up: {nodes}, master {master}:{port}"));
    tell("in another terminal: pspawn nodes | kinds | spawn MOD FUN ARGS | stop; here: Ctrl-C");

    let asked = match select(pin!(pool.stopped()), pin!(signals.next())).await {
        Either::Left(_) => false,
        Either::Right(_) => true,
    };
    drop(published); // who looks from now on finds none
    if asked {
        tell(&format!("stopping pool {name}; Ctrl-C again ends it at once"));
        match select(pin!(pool.stop()), pin!(signals.next())).await {
            Either::Left((stopped, _)) => stopped?,
            // The guards end what is left, unseen.
            Either::Right(_) => interrupted(),
        }
    }
    tell(&format!("pool {name} is stopped"));
    Ok(())
}

/// Before anything is started: is the name free, and one that a pool may have?
fn check_free(name: &str) -> Result<(), Error> {
    let why = match RunningPool::find(Some(name)) {
        Ok(RunningPool { name, os_pid, .. }) => RuntimeFileError::AlreadyRunning { name, os_pid },
        Err(RuntimeFileError::NotRunning { .. }) => return Ok(()),
        Err(why @ RuntimeFileError::BadName { .. }) => super::usage("start", &why.to_string()),
        Err(why) => why,
    };
    Err(StartError::Runtime(why).into())
}

const EXAMPLES: &str = "\
Examples:
  pspawn start demo --local 2                 two slaves on this machine
  echo 'localhost.' > .hosts.erlang
  pspawn start demo                           a slave on every host in .hosts.erlang
  pspawn start demo --hosts farm.hosts --min-nodes 3
  pspawn start demo --local 4 -- ./my-node    slaves that run a program of your own
  pspawn start demo --ssh 'ssh -F farm_config'   hosts by another ssh configuration
  pspawn start demo --slurm --nodes 3         a slave on each of three nodes of a Slurm cluster
  pspawn start demo --hosts pods --launcher 'kubectl exec -i {host} -- {pspawn}'
  pspawn start demo --local 1 --heartbeat 50 300
  pspawn start demo --local 2 --json | jq .line
  pspawn start demo --local 2 --share data --share-read-only /usr/share/dict

What processes print appears on standard output, what slaves write to standard error on standard error
(with --json all on standard output), each line with its node in front; lines that repeat are counted.
Whoever prints faster than is shown is held back.

A host that cannot be started is reported with the step that failed and what to do, and skipped; `pspawn doctor` tries
them all. More in docs/hosts.md.
Ctrl-C, SIGTERM and `pspawn stop` end the pool with all OS processes of its slaves: exit code 0.";
