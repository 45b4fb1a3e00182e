//! `NODE@HOST:PORT`: a node, and where it listens.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use pspawn::{NodeName, NodeNameError, is_this_host, own_host_name};

/// A node's name with its port, or without.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) node: NodeName,
    port: Option<u16>,
}

impl Place {
    /// Reads one that has a port.
    pub(super) fn with_port(text: &str) -> Result<Place, String> {
        let place: Place = text.parse()?;
        match place.port {
            Some(_) => Ok(place),
            None => Err(format!("expected a port too, as in {text}:4711")),
        }
    }

    /// Whether the text alone says where.
    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Where the node listens: `at` if that is said, else its port on its host.
    ///
    /// A node on this machine is taken to listen on the loopback address, as nodes do unless told
    /// otherwise.
    pub(super) fn address(&self, at: Option<SocketAddr>) -> Result<SocketAddr, String> {
        if let Some(at) = at {
            return Ok(at);
        }
        let (node, host) = (self.node, self.node.host());
        let port = self.port.ok_or_else(|| {
            format!(
                "where does {node} listen? say {node}:PORT, as `pspawn node` prints it, or --at"
            )
        })?;
        if is_this_host(host) {
            return Ok((Ipv4Addr::LOCALHOST, port).into());
        }
        let found = (host, port).to_socket_addrs().map_err(|why| format!("{host}: {why}"))?.next();
        found.ok_or_else(|| format!("{host} has no address: use --at"))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => {
                let number = port.parse().ok().filter(|port| *port != 0);
                let port =
                    number.ok_or_else(|| format!("{port:?} is no port: expected 1 to 65535"))?;
                (name, Some(port))
            }
            None => (text, None),
        };
        let mut node: NodeName = name.parse().map_err(|why: NodeNameError| why.to_string())?;
        if node.host() == "localhost" {
            // Masters and free nodes are called by this machine's own name.
            node = NodeName::new(node.name(), &own_host_name()).map_err(|why| why.to_string())?;
        }
        Ok(Place { node, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_name_and_a_port() {
        let place: Place = "x@localhost:4711".parse().unwrap();
        assert_eq!(place.node.to_string(), format!("x@{}", own_host_name()));
        assert_eq!(place.address(None), Ok(([127, 0, 0, 1], 4711).into()));
        let at = ([10, 0, 0, 1], 1).into();
        assert_eq!(place.address(Some(at)), Ok(at));
        let place: Place = "x@localhost".parse().unwrap();
        let asked = format!("x@{}:PORT", own_host_name());
        assert!(place.address(None).unwrap_err().contains(&asked));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "x", "x@", "x@h:", "x@h:0", "x@h:70000", "x@h:y"] {
            assert!(text.parse::<Place>().is_err(), "{text:?}");
        }
    }
}
