//! The tunnel's two ends.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::io::{DuplexStream, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::node::Node;
use crate::term::NodeName;

pub(super) fn accept(node: Arc<Node>, mut theirs: DuplexStream, _slave: NodeName) {
    actix_rt::spawn(async move {
        if let Ok(mut ours) = TcpStream::connect(node.address()).await {
            let _ = copy_bidirectional(&mut ours, &mut theirs).await;
        }
    });
}

pub(super) fn address(node: &Arc<Node>, tunnel: OwnedFd) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    node.on_io(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let (mut ours, _) = listener.accept().await.unwrap();
        let tunnel = UnixStream::from(tunnel);
        tunnel.set_nonblocking(true).unwrap();
        let mut tunnel = tokio::net::UnixStream::from_std(tunnel).unwrap();
        let _ = copy_bidirectional(&mut ours, &mut tunnel).await;
    });
    address
}
