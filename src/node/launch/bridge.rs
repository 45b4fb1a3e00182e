//! The tunnel's two ends: a connection between a slave and its master through the channel that the slave's
//! keys came over. It is as secret as those, so nothing is encrypted twice.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::io::DuplexStream;

use crate::node::Node;
use crate::node::connection::accept_tunnel;
use crate::node::stream::{ByteStream, MakeStream};
use crate::term::NodeName;

/// The master's end: answers the slave.
pub(super) fn accept(node: Arc<Node>, theirs: DuplexStream, slave: NodeName) {
    let origin = format!("the launcher of {slave}");
    actix_rt::spawn(accept_tunnel(node, ByteStream::whole(theirs), origin));
}

/// The worker's end, which is made a stream when it is needed.
pub(super) fn through(tunnel: OwnedFd) -> MakeStream {
    Box::new(move || {
        let tunnel = UnixStream::from(tunnel);
        tunnel.set_nonblocking(true)?;
        let (from, to) = tokio::net::UnixStream::from_std(tunnel)?.into_split();
        Ok(ByteStream::new(from, to))
    })
}
