//! `pspawn nodes`: who is in the pool.

use clap::Args;
use pspawn::Error;
use serde_json::json;

use super::out::{print, table};
use super::running::Running;

/// Show who is in the pool: node, load and role
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Nodes {
    #[command(flatten)]
    running: Running,
    /// One JSON array of {node, load, role}
    #[arg(long, conflicts_with = "explain")]
    json: bool,
    /// Why the next actor would go where it would: the figures of every node, the preferred one first
    #[arg(long)]
    explain: bool,
}

pub(super) async fn nodes(args: Nodes) -> Result<(), Error> {
    let pool = args.running.connect().await?;
    if args.explain {
        let lines = pool.explain().await?;
        return print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    }
    let master = pool.master();
    let nodes = pool.nodes_and_load().await?.into_iter().map(|(node, load)| {
        let role = if Some(node) == master { "master" } else { "slave" };
        (node, load, role)
    });
    if args.json {
        let nodes: Vec<_> = nodes
            .map(|(node, load, role)| json!({ "node": node, "load": load, "role": role }))
            .collect();
        return print(&format!("{}\n", json!(nodes)));
    }
    let rows: Vec<_> = nodes
        .map(|(node, load, role)| [node.to_string(), format!("{load:.2}"), role.to_owned()])
        .collect();
    print(&table(["NODE", "LOAD", "ROLE"], &rows))
}

const EXAMPLES: &str = "\
Examples:
  pspawn nodes
  pspawn nodes --json | jq -r '.[].node'
  pspawn nodes --explain
  pspawn nodes --pool demo                               where several pools run
  pspawn nodes --master demo-master@HOST:PORT --cookie-file demo.cookie

The load is the number of jobs a core that are expected there.";
