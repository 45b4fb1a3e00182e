//! `pspawn attach`: takes a node into the pool.

use std::net::SocketAddr;

use clap::Args;
use pspawn::{Attached, Error, Fingerprint, PoolError};

use super::out::tell;
use super::place::Place;
use super::running::Running;

/// Take a node into the pool that was started with `pspawn node`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Attach {
    #[command(flatten)]
    running: Running,
    /// The node with its port, as `pspawn node` prints it
    #[arg(value_name = "NODE@HOST[:PORT]")]
    node: Place,
    /// Where it listens, if that is not its port on its host
    #[arg(long, value_name = "IP:PORT")]
    at: Option<SocketAddr>,
    /// Which certificate a node of another host must show, as `pspawn node` printed it there
    #[arg(long, value_name = "sha256:HEX")]
    fingerprint: Option<Fingerprint>,
}

pub(super) async fn attach(args: Attach) -> Result<(), Error> {
    let node = args.node.node;
    if args.at.is_none() && !args.node.has_port() {
        super::usage(
            "attach",
            &format!("where does {node} listen? Say {node}:PORT, or --at IP:PORT"),
        );
    }
    let address = args.node.address(args.at)?;
    let pool = args.running.connect().await?;
    let attached = match args.fingerprint {
        Some(fingerprint) => pool.attach_pinned(node, address, fingerprint).await,
        None => pool.attach(node, address).await,
    };
    let Attached { newly, differences, .. } = attached.map_err(|why| match why {
        PoolError::Refused(why) if why.contains("wrong cookie") => PoolError::Refused(format!(
            "{why}: both must have the same ~/.pspawn.cookie: copy it there, or say --cookie-file"
        )),
        why => why,
    })?;
    match newly {
        true => tell(&format!("{node} is attached")),
        false => tell(&format!("{node} was in the pool already")),
    }
    for difference in differences {
        tell(&format!("{node} differs from the master: {difference}"));
    }
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  pspawn node --name extra --listen 127.0.0.1:4711     in one terminal
  pspawn attach extra@localhost:4711                   in another
  pspawn attach extra@HOST:4711 --fingerprint sha256:HEX
  pspawn attach extra@HOST --at 10.0.0.7:4711 --fingerprint sha256:HEX

Both must share a cookie. A node of another host is reached by TLS: its fingerprint is what `pspawn node`
printed there; without one, the error says which it shows. A node that is in the pool already is no
error.";
