//! `pspawn node`: a node that waits to be attached.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;

use clap::Args;
use futures::future::select;
use pspawn::{Error, Pool};

use super::out::{print, tell};
use super::running::cookie;
use super::signals::Signals;

/// Run a node of its own, which `pspawn attach` takes into a pool
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Node {
    /// The first part of its name: NAME@HOST
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where it listens for others: on loopback for nodes of this host; anywhere else by TLS, for those of
    /// other hosts too
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    listen: SocketAddr,
    /// The secret that the nodes share; the default is in ~/.pspawn.cookie
    #[arg(long, value_name = "FILE")]
    cookie_file: Option<PathBuf>,
    /// Let this guarded module be started; may be said again
    #[arg(long, value_name = "MODULE")]
    allow: Vec<String>,
    /// Let only this module be started by other nodes; may be said again [default: all]
    #[arg(long, value_name = "MODULE")]
    only: Vec<String>,
}

pub(super) async fn node(args: Node) -> Result<(), Error> {
    let cookie = cookie(args.cookie_file.as_deref())?;
    let mut signals = Signals::catch()?;
    let mut builder = Pool::builder(&args.name).cookie(cookie);
    for module in args.allow {
        builder = builder.allow(module);
    }
    for module in args.only {
        builder = builder.only(module);
    }
    let node = builder.start_free(args.listen).await?;
    let (name, address) = (node.pool().here(), node.pool().address());
    print(&format!("{name} {address}\n"))?;
    tell(&format!("in another terminal: pspawn attach {name}:{}; here: Ctrl-C", address.port()));
    if let (Some(tls), Some(fingerprint)) = (node.pool().tls_address(), node.fingerprint()) {
        print(&format!("{name} {tls} {fingerprint}\n"))?;
        let port = tls.port();
        tell(&format!("on another host: pspawn attach {name}:{port} --fingerprint {fingerprint}"));
    }
    // With its OS process the node ends: to stop it first would tell nobody more.
    select(pin!(node.pool().stopped()), pin!(signals.next())).await;
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  pspawn node --name extra                           prints extra@HOST 127.0.0.1:PORT
  pspawn attach extra@HOST:PORT                      in another terminal: takes it into the pool
  pspawn node --name extra --listen 127.0.0.1:4711
  pspawn node --name extra --listen 0.0.0.0:4711     for other hosts too; prints its fingerprint
  pspawn node --name extra --only math               others start nothing else there

It stays until Ctrl-C, SIGTERM, or the end of the pool that it is in by `pspawn stop`. If the pool's
master is lost it lives on and can be attached again.";
