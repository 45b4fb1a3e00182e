//! `pspawn spawn`: starts an actor or a function on a running pool.

use std::pin::pin;
use std::str::FromStr;

use clap::Args;
use futures::future::{Either, select};
use pspawn::{Error, ExitReason, NodeName, Pool, SpawnError, Value};

use super::out::{Shown, json, print, tell};
use super::running::Running;
use super::signals::{EXIT_INTERRUPTED, Signals};

/// Start a function and print its result, or an actor and print its pid
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Spawn {
    #[command(flatten)]
    running: Running,
    /// The module, or the name of the actor type
    module: String,
    /// The function; `new` starts an actor
    function: String,
    /// The arguments as a JSON array
    #[arg(default_value = "[]")]
    args: Arguments,
    /// Start it on this node; the default is the node with the lowest expected load
    #[arg(long, value_name = "NODE")]
    node: Option<NodeName>,
    /// Print the pid and leave it running
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    shown: Shown,
}

/// A JSON array.
#[derive(Clone, Debug)]
struct Arguments(Vec<serde_json::Value>);

impl FromStr for Arguments {
    type Err = String;

    fn from_str(text: &str) -> Result<Arguments, String> {
        match serde_json::from_str(text) {
            Ok(serde_json::Value::Array(args)) => Ok(Arguments(args)),
            Ok(_) => Err(format!("expected {EXPECTED}")),
            Err(why) => Err(format!("no JSON: {why}; expected {EXPECTED}")),
        }
    }
}

pub(super) async fn spawn(args: Spawn) -> Result<(), Error> {
    let pool = args.running.connect_showing(args.shown.format()).await?;
    // The function of every actor type is called so, and an actor has no result to wait for.
    if args.no_wait || args.function == "new" {
        return leave(&pool, &args).await;
    }
    let mut signals = Signals::catch()?;
    let (module, function, values) = (&args.module, &args.function, &args.args.0);
    // Linked with this command: if it is killed, what it waits for goes, too.
    let me = pool.mailbox();
    let called = match args.node {
        Some(node) => me.call_link_on::<Value>(node, module, function, values).await,
        None => me.call_link::<Value>(module, function, values).await,
    };
    let called = called.map_err(with_hint)?;
    let pid = called.pid();
    tell(&pid.to_string());
    let mut ending = pin!(called.result());
    let first = match select(ending.as_mut(), pin!(signals.next())).await {
        Either::Left((ended, _)) => Some(ended),
        Either::Right(_) => None,
    };
    let ended = match first {
        Some(ended) => ended,
        None => {
            pool.exit(pid, ExitReason::Kill);
            match select(ending, pin!(signals.next())).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => std::process::exit(EXIT_INTERRUPTED),
            }
        }
    };
    pool.output_shown().await;
    print(&format!("{}\n", json(&ended?)))
}

async fn leave(pool: &Pool, args: &Spawn) -> Result<(), Error> {
    let (module, function, values) = (&args.module, &args.function, &args.args.0);
    let pid = match args.node {
        Some(node) => pool.spawn_mfa_on(node, module, function, values).await,
        None => pool.pspawn_mfa(module, function, values).await,
    };
    let pid = pid.map_err(with_hint)?;
    print(&format!("{pid}\n"))
}

/// What to do about a name that nobody knows.
fn with_hint(why: SpawnError) -> Error {
    match why {
        SpawnError::UnknownKind { .. } => format!("{why} `pspawn kinds` lists what is.").into(),
        why => why.into(),
    }
}

const EXPECTED: &str =
    "a JSON array of arguments in single quotes, as in '[7]', '[\"README.md\"]' or '[]'";

const EXAMPLES: &str = "\
Examples:
  pspawn spawn math cube_of '[7]'                   prints 343
  pspawn spawn math cube_of '[7]' --node demo1@HOST
  pspawn spawn counter new '[0]'                    an actor: prints its pid
  pspawn spawn math cube_of '[7]' --no-wait         prints the pid only
  pspawn kill \"$(pspawn spawn counter new '[0]')\"

A function's pid goes to standard error, its result as JSON to standard output. If it
ends otherwise the exit reason goes to standard error and the exit code is 1. It does not
outlive this command: Ctrl-C kills it. What it prints appears on standard error with its
node in front, or as --json or --raw say. Relative paths are those of the node:
on this machine the folder of the master, on others the home of their user.

An actor has no result: it is left running, linked with nobody, until `pspawn kill` or the
end of the pool.";
