//! `pspawn kinds`: what can be started.

use std::collections::BTreeSet;

use clap::Args;
use pspawn::{Error, KindInfo, NodeName, PoolError};
use serde_json::json;

use super::out::{print, table};
use super::running::Running;

/// List what can be started: actors and functions, with their parameters
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Kinds {
    #[command(flatten)]
    running: Running,
    /// One JSON array of {module, function, params, messages, guarded}
    #[arg(long)]
    json: bool,
    /// What this node can start; the default is what any node of the pool can
    #[arg(long, value_name = "NODE")]
    node: Option<NodeName>,
}

pub(super) async fn kinds(args: Kinds) -> Result<(), Error> {
    let kinds = match (args.running.connect_if_any().await?, args.node) {
        (Some(pool), node) => {
            let nodes = match node {
                Some(node) => vec![node],
                None => pool.nodes().await?,
            };
            let mut kinds = BTreeSet::new(); // nodes may run different programs
            for node in nodes {
                kinds.extend(pool.kinds_of(node).await?);
            }
            kinds.into_iter().collect()
        }
        // Without a pool: what a pool of this executable could start.
        (None, None) => pspawn::kinds(),
        (None, Some(_)) => return Err(PoolError::NoPool.into()),
    };
    if args.json {
        let kinds: Vec<_> = kinds
            .iter()
            .map(|KindInfo { kind, params, messages, guarded, .. }| {
                json!({
                    "module": kind.module(),
                    "function": kind.function(),
                    "params": params,
                    "messages": messages,
                    "guarded": guarded,
                })
            })
            .collect();
        return print(&format!("{}\n", json!(kinds)));
    }
    let rows: Vec<_> = kinds
        .iter()
        .map(|info| {
            let guarded = if info.guarded { "guarded" } else { "" };
            [
                info.kind.module().to_owned(),
                format!("{}{}", info.kind.function(), info.params),
                info.messages.join(", "),
                guarded.to_owned(),
            ]
        })
        .collect();
    print(&table(["MODULE", "FUNCTION", "TAKES", ""], &rows))
}

const EXAMPLES: &str = "\
Examples:
  pspawn kinds                       of the running pool; without one, of this executable
  pspawn kinds --node demo1@HOST
  pspawn kinds --json | jq -r '.[].module'

A function ends with a result; an actor's function is `new`, and TAKES lists its messages. What is
guarded is started only where the pool was started with --allow MODULE.";
