//! The short way between two nodes of one host: a Unix socket beside the one of TCP, which costs half as much.
//!
//! It is found by the name of the TCP address, in the abstract namespace, which ends with its node and belongs to the
//! network namespace, as loopback does. Anybody on the host may take a name there first; so who dials makes sure
//! that it is the same user's who answers, and goes by TCP otherwise.

use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use rustix::process::geteuid;
use tokio::net::UnixStream;

/// Listens beside this address.
///
/// # Errors
/// Somebody else does: then there is no short way to this node.
pub(crate) fn listen_near(address: SocketAddr) -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&UnixAddr::from_abstract_name(name(address))?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects with who listens beside this address.
///
/// TL-4: only if that is the same user: another could pass on what is said, and listen.
///
/// # Errors
/// There is no such way, or it is not to be trusted.
pub(crate) async fn connect_near(address: SocketAddr) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(format!("\0{}", name(address))).await?;
    match stream.peer_cred()?.uid() == geteuid().as_raw() {
        true => Ok(stream),
        false => Err(io::Error::other("another user listens there")),
    }
}

fn name(address: SocketAddr) -> String {
    format!("pspawn/{address}")
}
