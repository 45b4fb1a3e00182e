//! How another node is reached: at which addresses, over what, and which of them is first.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::net::TcpStream;

use super::cell::lock;
use super::near::connect_near;
use super::stream::ByteStream;
use super::tls::{self, Entry, Pin, Secured, Tls};
use crate::term::{At, HostId, NodeName};
use crate::wire::greeting::Channel;

/// Where a node is, and what it has to show there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: At,
    /// A node that is to be attached is known by this, not by a certificate of the pool.
    pub(crate) pin: Option<Pin>,
}

impl From<At> for Place {
    fn from(at: At) -> Place {
        Place { at, pin: None }
    }
}

/// The ways to a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ways<'a> {
    /// On this host.
    Plain(SocketAddr),
    /// On another one.
    Tls(&'a [SocketAddr]),
    /// It is on another one, and does not listen for us.
    None,
}

/// The ways from a node of host `here`.
pub(crate) fn ways(at: &At, here: HostId) -> Ways<'_> {
    match at.host == here {
        // TL-3: what is not encrypted stays on loopback, whatever a peer says of itself.
        true if at.local.ip().is_loopback() => Ways::Plain(at.local),
        true | false if !at.remote.is_empty() => Ways::Tls(&at.remote),
        true | false => Ways::None,
    }
}

/// What a connection that has been made knows of itself.
pub(crate) struct Made {
    pub(crate) secured: Secured,
    /// Where the peer was reached, in words of an error.
    pub(crate) place: String,
    /// The two ends, if there is nothing between them.
    pub(crate) ends: Option<Ends>,
}

/// The addresses of both ends of a connection between hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) ours: SocketAddr,
    pub(crate) theirs: SocketAddr,
}

impl Ends {
    pub(crate) fn of(stream: &TcpStream) -> Option<Ends> {
        Some(Ends { ours: stream.local_addr().ok()?, theirs: stream.peer_addr().ok()? })
    }
}

/// Makes a connection to that node over one of its ways: all its addresses are tried, each a moment
/// after the one before, and the first on which the node has shown itself is used. `tried` has what
/// came of the others.
///
/// # Errors
/// If no way leads there: `tried` has each with its reason.
pub(crate) async fn connect(
    node: NodeName,
    place: &Place,
    here: HostId,
    tls: Option<&Tls>,
    tried: &Tried,
) -> Result<Made, NoWay> {
    let remote = match ways(&place.at, here) {
        Ways::Plain(address) => {
            let made = tried.attempt(address, plain(address)).await.ok_or(NoWay)?;
            return Ok(made);
        }
        Ways::Tls(remote) => remote,
        Ways::None => {
            let why = "it is on another host, and does not listen for nodes of other hosts";
            tried.note("", Some(why.to_owned()));
            return Err(NoWay);
        }
    };
    if tls.is_none() && place.pin.is_none() {
        let addresses: Vec<String> = remote.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        let why = "it is on another host, and this node has no certificate of its pool";
        tried.note(&addresses, Some(why.to_owned()));
        return Err(NoWay);
    }
    let mut attempts = FuturesUnordered::new();
    for address in remote {
        attempts.push(tried.attempt(*address, encrypted(node, place.pin, tls, *address)));
        let pause = tokio::time::sleep(STAGGER);
        let mut pause = std::pin::pin!(pause);
        // Until the pause is over, or there is nobody left to give time to.
        loop {
            match select(attempts.next(), pause.as_mut()).await {
                Either::Left((Some(Some(made)), _)) => return Ok(made),
                Either::Left((Some(None), _)) => {}
                Either::Left((None, _)) | Either::Right(_) => break,
            }
        }
    }
    while let Some(made) = attempts.next().await {
        if let Some(made) = made {
            return Ok(made);
        }
    }
    Err(NoWay)
}

/// No way leads to the node.
#[derive(Debug)]
pub(crate) struct NoWay;

async fn plain(address: SocketAddr) -> io::Result<Made> {
    let stream = match connect_near(address).await {
        Ok(stream) => ByteStream::unix(stream),
        Err(_) => ByteStream::tcp(TcpStream::connect(address).await?)?,
    };
    let secured = Secured { stream, channel: Channel::PLAIN, entry: Entry::Anyone };
    Ok(Made { secured, place: address.to_string(), ends: None })
}

async fn encrypted(
    node: NodeName,
    pin: Option<Pin>,
    tls: Option<&Tls>,
    address: SocketAddr,
) -> io::Result<Made> {
    let stream = TcpStream::connect(address).await?;
    let ends = Ends::of(&stream);
    let secured = match (pin, tls) {
        (Some(pin), _) => tls::dial_pinned(pin, stream).await?,
        (None, Some(tls)) => tls.dial(node, stream).await?,
        (None, None) => unreachable!("seen to before"),
    };
    Ok(Made { secured, place: address.to_string(), ends })
}

/// What has been tried to reach a node, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Tried(Mutex<Vec<(String, Option<String>)>>);

impl Tried {
    /// Notes what came of one address; the last attempt at it is what counts.
    async fn attempt(
        &self,
        address: SocketAddr,
        connecting: impl Future<Output = io::Result<Made>>,
    ) -> Option<Made> {
        let address = address.to_string();
        self.note(&address, None);
        match connecting.await {
            Ok(made) => Some(made),
            Err(why) => {
                self.note(&address, Some(why.to_string()));
                None
            }
        }
    }

    /// Notes what came of a place, none if nothing has yet; of no place at all, why that is so.
    pub(crate) fn note(&self, place: &str, why: Option<String>) {
        let mut tried = lock(&self.0);
        match tried.iter_mut().find(|(known, _)| known == place) {
            Some(known) => known.1 = why,
            None => tried.push((place.to_owned(), why)),
        }
    }

    /// Each place with why it was none; where nothing was heard, for how long.
    pub(crate) fn in_words(&self, after: Duration) -> String {
        let tried = lock(&self.0);
        let words = tried.iter().map(|(place, why)| match (place.as_str(), why) {
            ("", Some(why)) => why.clone(),
            (place, Some(why)) => format!("{place}: {why}"),
            (place, None) => format!("{place}: no greeting within {after:?}"),
        });
        words.collect::<Vec<_>>().join("; ")
    }
}

/// The host that this OS process is on.
pub(crate) fn own_host() -> HostId {
    static OWN: OnceLock<HostId> = OnceLock::new();
    *OWN.get_or_init(|| {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let net = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
        // Without a boot id the host's name has to do.
        let name = if boot.is_empty() { crate::hosts::own_host_name() } else { String::new() };
        HostId::of(&[boot.trim(), &net.to_string_lossy(), &name])
    })
}

/// The next address is tried so long after the one before.
const STAGGER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_one_host_meet_in_plain_on_loopback_and_all_others_by_tls() {
        let (here, there) = (HostId::of(&["here"]), HostId::of(&["there"]));
        let remote: Vec<SocketAddr> = vec!["192.0.2.5:4711".parse().unwrap()];
        let at = |host, local: &str, remote: &[SocketAddr]| At {
            host,
            local: local.parse().unwrap(),
            remote: remote.to_vec(),
        };
        let near = at(here, "127.0.0.1:1", &remote);
        assert_eq!(ways(&near, here), Ways::Plain(near.local));
        let far = at(there, "127.0.0.1:1", &remote);
        assert_eq!(ways(&far, here), Ways::Tls(&remote));
        assert_eq!(ways(&at(there, "127.0.0.1:1", &[]), here), Ways::None);
        let liar = at(here, "192.0.2.5:1", &[]);
        assert_eq!(ways(&liar, here), Ways::None, "TL-3");
    }

    #[test]
    fn what_was_tried_is_named_with_what_came_of_it() {
        let tried = Tried::default();
        tried.note("192.0.2.5:1", None);
        tried.note("192.0.2.6:1", None);
        tried.note("192.0.2.5:1", Some("refused".to_owned()));
        let words = tried.in_words(Duration::from_secs(5));
        assert_eq!(words, "192.0.2.5:1: refused; 192.0.2.6:1: no greeting within 5s");
    }

    #[test]
    fn this_host_is_always_the_same_one() {
        assert_eq!(own_host(), own_host());
        assert_ne!(own_host(), HostId::UNKNOWN);
    }
}
