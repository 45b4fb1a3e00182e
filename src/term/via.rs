//! What carries a connection between two nodes.

use std::fmt;

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// Plain TCP on the loopback of one host, or a Unix socket.
    Loopback,
    /// Memory that both nodes see, on one host.
    Memory,
    /// TCP between hosts, encrypted.
    Tls,
    /// The channel by which the slave was started, its ssh session say: it could not reach its master otherwise.
    Launcher,
    /// Through the master, over the connections that both nodes have with it: neither could reach the other.
    Relay,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Via::Loopback => "loopback",
            Via::Memory => "memory",
            Via::Tls => "TLS",
            Via::Launcher => "launcher",
            Via::Relay => "relay",
        })
    }
}
