//! What a slave is told when it is started: settings and keys, which go no other way, and where its master is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::Plan;
use crate::cookie::Cookie;
use crate::launcher::{StartFault, StartStep};
use crate::node::config::{Config, Times};
use crate::node::{Node, guard};
use crate::term::{At, NodeName};
use crate::wire::Credentials;

/// What the master writes to a slave's guard; secrets go no other way.
#[derive(Serialize, Deserialize)]
pub(super) struct Letter {
    pub(super) name: NodeName,
    pub(super) master: NodeName,
    /// Where the master is, as it can be reached from there.
    pub(super) master_at: At,
    /// Whether it listens for nodes of other hosts.
    pub(super) listens: bool,
    /// What it proves itself to them with.
    pub(super) credentials: Option<Credentials>,
    pub(super) cookie: Cookie,
    pub(super) times: Times,
    pub(super) frame_bytes_max: usize,
    pub(super) allow: Vec<String>,
    pub(super) only: Option<Vec<String>>,
    pub(super) args: Vec<String>,
}

/// The bytes that a slave's guard takes.
pub(super) async fn letter(node: &Node, plan: &Plan) -> Result<Vec<u8>, StartFault> {
    let fault = |why: String| StartFault::new(StartStep::Launch, why);
    let Config { cookie, times, frame_bytes_max, allow, only, authority, .. } = node.config.clone();
    let credentials = authority.map(|authority| authority.issue(plan.name)).transpose();
    let letter = Letter {
        name: plan.name,
        master: node.name,
        master_at: master_at(node, plan).await,
        listens: node.tls_port().is_some(),
        credentials: credentials.map_err(|why| fault(why.to_string()))?,
        cookie,
        times,
        frame_bytes_max,
        allow,
        only,
        args: plan.args.clone(),
    };
    let body = rmp_serde::to_vec(&letter).expect("a letter is plain data");
    guard::letter(times.silence_max, &body).map_err(|why| fault(why.to_string()))
}

/// Where the master can be called from the host of a slave, as far as can be told from here: at the address that the
/// way to it begins at.
async fn master_at(node: &Node, plan: &Plan) -> At {
    let mut at = node.at();
    at.remote = match (node.tls_port(), node.config.launching.address) {
        (None, _) => Vec::new(),
        (Some(port), Some(ip)) => vec![SocketAddr::new(ip, port)],
        (Some(port), None) => {
            let host = (plan.host.host().to_owned(), plan.host.port().unwrap_or(SSH_PORT));
            let found = timeout(RESOLVE_MAX, lookup_host(host)).await;
            let theirs = found.ok().and_then(Result::ok).into_iter().flatten();
            let mut ours = Vec::from_iter(theirs.filter_map(|theirs| own_address(theirs, port)));
            ours.dedup();
            // One that it has logged in from is as good as any (`with_login_address`); the port has to be there.
            if ours.is_empty() { vec![SocketAddr::new(NOWHERE, port)] } else { ours }
        }
    };
    at
}

/// The address of ours that packets to `theirs` leave from; none is sent to find out.
fn own_address(theirs: SocketAddr, port: u16) -> Option<SocketAddr> {
    let any =
        if theirs.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(theirs).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then(|| SocketAddr::new(ip, port))
}

/// The two ends of the ssh session that this OS process was started in: the other one, and ours.
pub(super) fn login_ends() -> Option<(IpAddr, IpAddr)> {
    let words = std::env::var("SSH_CONNECTION").ok()?;
    let mut words = words.split(' ');
    let theirs = words.next()?.parse().ok()?;
    Some((theirs, words.nth(1)?.parse().ok()?))
}

/// A master that has logged in here by ssh can most likely be called where it came from.
pub(super) fn with_login_address(mut at: At) -> At {
    let came_from = login_ends().map(|(theirs, _)| theirs);
    let port = at.remote.first().map(SocketAddr::port);
    at.remote.retain(|address| address.ip() != NOWHERE);
    if let (Some(ip), Some(port)) = (came_from, port) {
        let address = SocketAddr::new(ip, port);
        if !at.remote.contains(&address) {
            at.remote.push(address);
        }
    }
    at
}

/// No address of the master is known, but its port.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// A name that is only known to ssh is not waited for.
const RESOLVE_MAX: Duration = Duration::from_secs(2);
/// Any port does: nothing is sent there.
const SSH_PORT: u16 = 22;
