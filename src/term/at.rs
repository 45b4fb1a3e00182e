//! Where a node is: which addresses it has, and for whom each is good.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where a node is.
///
/// Nodes of one host meet on loopback, in plain; all others by TLS, at one of the remote addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct At {
    /// Whose loopback `local` is an address of.
    pub(crate) host: HostId,
    pub(crate) local: SocketAddr,
    /// Where nodes of other hosts reach it; none if it does not listen for them. Of an address that
    /// is unspecified only the port is known.
    pub(crate) remote: Vec<SocketAddr>,
}

impl At {
    /// A node that is known by one address only, as somebody on `host` sees it: one of the loopback
    /// belongs to that host, any other to a host that nobody has named yet.
    pub(crate) fn known_by(address: SocketAddr, host: HostId) -> At {
        match address.ip().is_loopback() {
            true => At { host, local: address, remote: Vec::new() },
            false => At { host: HostId::UNKNOWN, local: address, remote: vec![address] },
        }
    }

    /// An address at which both are, if there is one: they are the same node, whatever they are called.
    pub(crate) fn shared_with(&self, other: &At) -> Option<SocketAddr> {
        if self.host == other.host && self.host != HostId::UNKNOWN && self.local == other.local {
            return Some(self.local);
        }
        let plain = |at: &SocketAddr| (at.ip().to_canonical(), at.port());
        let is_theirs =
            |ours: &&SocketAddr| other.remote.iter().any(|theirs| plain(theirs) == plain(ours));
        self.remote.iter().find(is_theirs).copied()
    }

    /// The same with the unspecified addresses filled in by those that the node's host is known to
    /// have; without any, they are left out.
    pub(crate) fn filled_in(&self, ips: &[IpAddr]) -> At {
        let fill = |address: &SocketAddr| -> Vec<SocketAddr> {
            if !address.ip().is_unspecified() {
                return vec![*address];
            }
            // What listens on [::] takes both families.
            let fits = |ip: &&IpAddr| address.is_ipv6() || ip.is_ipv4();
            ips.iter().filter(fits).map(|ip| SocketAddr::new(*ip, address.port())).collect()
        };
        let mut remote = Vec::new();
        for address in self.remote.iter().flat_map(fill) {
            if !remote.contains(&address) {
                remote.push(address);
            }
        }
        At { host: self.host, local: self.local, remote }
    }
}

/// Which nodes share a loopback: those with the same kernel and the same network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct HostId([u8; 16]);

impl HostId {
    /// The host of nobody who has said so.
    pub(crate) const UNKNOWN: HostId = HostId([0; 16]);

    /// The host that these texts together tell from all others.
    pub(crate) fn of(facts: &[&str]) -> HostId {
        let mut hash = Sha256::new();
        for fact in facts {
            hash.update((fact.len() as u64).to_be_bytes());
            hash.update(fact);
        }
        let digest: [u8; 32] = hash.finalize().into();
        HostId(std::array::from_fn(|at| digest[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_becomes_those_of_its_host() {
        let at = |remote: &[&str]| At {
            host: HostId::UNKNOWN,
            local: "127.0.0.1:1".parse().unwrap(),
            remote: remote.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let ips: Vec<IpAddr> = ["10.0.0.7", "fd00::7"].map(|ip| ip.parse().unwrap()).into();
        let filled = |remote: &[&str]| at(remote).filled_in(&ips);
        assert_eq!(filled(&["0.0.0.0:5"]), at(&["10.0.0.7:5"]));
        assert_eq!(filled(&["[::]:5"]), at(&["10.0.0.7:5", "[fd00::7]:5"]));
        assert_eq!(filled(&["192.0.2.1:6", "0.0.0.0:5"]), at(&["192.0.2.1:6", "10.0.0.7:5"]));
        assert_eq!(at(&["0.0.0.0:5"]).filled_in(&[]), at(&[]));
    }

    #[test]
    fn one_address_says_whether_its_node_is_here() {
        let here = HostId::of(&["here"]);
        let near = At::known_by("127.0.0.1:4711".parse().unwrap(), here);
        assert!(near.host == here && near.remote.is_empty());
        let far = At::known_by("10.0.0.7:4711".parse().unwrap(), here);
        assert!(far.host != here && far.remote == ["10.0.0.7:4711".parse().unwrap()]);
    }

    #[test]
    fn two_are_the_same_node_that_share_an_address() {
        let [here, there] = ["here", "there"].map(|host| HostId::of(&[host]));
        let at = |host, local: u16, remote: &[&str]| At {
            host,
            local: SocketAddr::from(([127, 0, 0, 1], local)),
            remote: remote.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let one = at(here, 1, &["10.0.0.7:5", "[fd00::7]:5"]);
        let shared = |other: At| one.shared_with(&other).map(|address| address.to_string());
        assert_eq!(shared(at(here, 1, &[])), Some("127.0.0.1:1".to_owned()));
        assert_eq!(shared(at(there, 1, &[])), None, "each host has a loopback of its own");
        let far = at(HostId::UNKNOWN, 2, &["[::ffff:10.0.0.7]:5"]);
        assert_eq!(shared(far), Some("10.0.0.7:5".to_owned()));
        assert_eq!(shared(at(here, 2, &["10.0.0.7:6", "10.0.0.8:5"])), None);
        let nowhere = at(HostId::UNKNOWN, 1, &[]);
        assert_eq!(nowhere.shared_with(&nowhere), None);
    }

    #[test]
    fn hosts_differ_by_any_of_their_facts() {
        assert_eq!(HostId::of(&["a", "b"]), HostId::of(&["a", "b"]));
        assert_ne!(HostId::of(&["a", "b"]), HostId::of(&["ab", ""]));
        assert_ne!(HostId::of(&["a", "b"]), HostId::of(&["a", "c"]));
    }
}
