//! What two nodes say before the first frame: who they are, and proof that both know the cookie.
//!
//! ```text
//! dialer                                   listener
//!   Hello { …, nonce }          ->
//!                               <-           Hello { …, nonce }     or Refused
//!   Proof(HMAC over both)       ->
//!                               <-           Proof(HMAC over both)  or Refused
//! ```
//! The cookie itself is never sent. Each proof covers both nonces, both names, who dialed and the
//! channel that it goes over, so it fits this connection and this direction alone, and nobody can pass
//! it on; the listener shows its own only after the dialer's was right. Greeting frames are small, and the whole greeting has one deadline.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{PROTOCOL_VERSION, from_bytes};
use crate::cookie::Cookie;
use crate::term::{At, Incarnation, NodeName, NodeNameError};

/// What tells a channel from all others: keying material that both ends of a TLS connection export, and
/// nobody between them; zeros where there is no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channel(pub(crate) [u8; 32]);

impl Channel {
    /// A stream that is not encrypted, or by somebody else.
    pub(crate) const PLAIN: Channel = Channel([0; 32]);
}

/// One step of a greeting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Greeting {
    Hello(Said),
    Proof([u8; 32]),
    Refused(Refusal),
}

/// Who a stranger says it is.
///
/// GR-1: what has not been proved leaves nothing behind. A [`NodeName`] is kept for ever, so a name
/// becomes one only once its owner has shown that it knows the cookie.
pub(crate) type Said = Hello<String>;

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello<Name = NodeName> {
    pub(crate) node: Name,
    pub(crate) incarnation: Incarnation,
    pub(crate) part: Part,
    /// Which executable it runs.
    pub(crate) build: String,
    /// The digest of the names registered in it.
    pub(crate) digest: String,
    /// Where others can reach it; none if it does not listen.
    pub(crate) at: Option<At>,
    pub(crate) cores: u32,
    pub(crate) nonce: [u8; 16],
}

impl Hello {
    /// As it goes over the wire.
    fn said(self) -> Said {
        let node = self.node.as_str().to_owned();
        let Hello { incarnation, part, build, digest, at, cores, nonce, .. } = self;
        Hello { node, incarnation, part, build, digest, at, cores, nonce }
    }
}

impl Said {
    fn proven(&self) -> Result<Hello, Refusal> {
        let why = |why: NodeNameError| Refusal::Garbage(why.to_string());
        let node = self.node.parse().map_err(why)?;
        let Hello { incarnation, part, build, digest, at, cores, nonce, .. } = self.clone();
        Ok(Hello { node, incarnation, part, build, digest, at, cores, nonce })
    }
}

/// What a node is to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    Master,
    Slave,
    /// Started on its own; a pool may attach it.
    Free,
    /// A command that talks to the pool and is no member: Erlang's hidden node.
    Hidden,
}

/// Why a greeting came to nothing, in words that the other side may know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("protocol version: here {here}, there {there}")]
    Protocol { here: u32, there: u32 },
    #[error("wrong cookie")]
    Cookie,
    #[error("the node here is {here:?}, not {wanted:?}")]
    OtherNode { here: String, wanted: String },
    #[error("a node of the name {0:?} is connected already")]
    NameTaken(String),
    /// To the life of a node that is connected: its dial was slower than ours, which was used.
    #[error("connected already")]
    Connected,
    #[error("both sides dialed at once; the other connection is the one to use")]
    Crossed,
    #[error("the certificate is not that of {0:?}")]
    OtherCertificate(String),
    /// Over a connection that no certificate was shown on.
    #[error("only a master that attaches this node comes without a certificate of its pool")]
    NoCertificate,
    /// Through the channel of a launch, to one that is not its slave.
    #[error("only the slave {0:?} comes this way")]
    NotLaunched(String),
    // Perhaps a stranger's text: escaped, so that it cannot forge a line of the log.
    #[error("not a greeting: {0:?}")]
    Garbage(String),
}

/// The dialing side, after it has sent its `Hello`.
#[derive(Debug)]
pub(crate) struct Dialer {
    channel: Channel,
    me: Said,
    wanted: Option<NodeName>,
    them: Option<Said>,
}

impl Dialer {
    /// `wanted` is the node that must answer, if one in particular is meant.
    pub(crate) fn new(me: Hello, wanted: Option<NodeName>, channel: Channel) -> Dialer {
        Dialer { channel, me: me.said(), wanted, them: None }
    }

    /// What to say first.
    pub(crate) fn hello(&self) -> Greeting {
        Greeting::Hello(self.me.clone())
    }

    /// Takes the listener's words; returns what to say next.
    pub(crate) fn on(&mut self, said: Greeting, cookie: &Cookie) -> Result<DialStep, Refusal> {
        match (said, &self.them) {
            (Greeting::Refused(why), _) => Err(why),
            (Greeting::Hello(them), None) => {
                if let Some(wanted) = self.wanted
                    && wanted.as_str() != them.node
                {
                    let wanted = wanted.to_string();
                    return Err(Refusal::OtherNode { here: them.node, wanted });
                }
                let proof = prove(cookie, self.channel, Side::Dialer, &self.me, &them);
                self.them = Some(them);
                Ok(DialStep::Say(Greeting::Proof(proof)))
            }
            (Greeting::Proof(proof), Some(them)) => {
                check(cookie, self.channel, Side::Listener, &self.me, them, &proof)?;
                Ok(DialStep::Up(them.proven()?))
            }
            (Greeting::Hello(_), Some(_)) => Err(Refusal::Garbage("a second hello".into())),
            (Greeting::Proof(_), None) => Err(Refusal::Garbage("a proof before the hello".into())),
        }
    }
}

/// What the dialer does next.
#[derive(Debug, PartialEq)]
pub(crate) enum DialStep {
    Say(Greeting),
    /// Both sides have proved that they know the cookie.
    Up(Hello),
}

/// The listening side.
#[derive(Debug)]
pub(crate) struct Listener {
    channel: Channel,
    me: Said,
    them: Option<Said>,
}

impl Listener {
    pub(crate) fn new(me: Hello, channel: Channel) -> Listener {
        Listener { channel, me: me.said(), them: None }
    }

    /// Takes the dialer's words; returns what to say next.
    pub(crate) fn on(&mut self, said: Greeting, cookie: &Cookie) -> Result<ListenStep, Refusal> {
        match (said, &self.them) {
            (Greeting::Refused(why), _) => Err(why),
            (Greeting::Hello(them), None) => {
                self.them = Some(them);
                Ok(ListenStep::Say(Greeting::Hello(self.me.clone())))
            }
            (Greeting::Proof(proof), Some(them)) => {
                check(cookie, self.channel, Side::Dialer, them, &self.me, &proof)?;
                let mine = prove(cookie, self.channel, Side::Listener, them, &self.me);
                Ok(ListenStep::Proven { say: Greeting::Proof(mine), them: them.proven()? })
            }
            (Greeting::Hello(_), Some(_)) => Err(Refusal::Garbage("a second hello".into())),
            (Greeting::Proof(_), None) => Err(Refusal::Garbage("a proof before the hello".into())),
        }
    }
}

/// What the listener does next.
#[derive(Debug, PartialEq)]
pub(crate) enum ListenStep {
    Say(Greeting),
    /// The dialer knows the cookie: if there is room for it, say this, and the connection is up.
    Proven {
        say: Greeting,
        them: Hello,
    },
}

/// The body of a greeting frame: the protocol's version, so that a node of any other version can still
/// read that much, then the greeting.
pub(crate) fn encode(greeting: &Greeting) -> Vec<u8> {
    let mut body = Vec::new();
    rmp::encode::write_uint(&mut body, PROTOCOL_VERSION.into()).expect("a Vec takes all bytes");
    let mut to = rmp_serde::Serializer::new(&mut body);
    greeting.serialize(&mut to).expect("a greeting is plain data");
    body
}

/// Reads the body of a greeting frame.
pub(crate) fn decode(body: &[u8]) -> Result<Greeting, Refusal> {
    let garbage = |what: &dyn std::fmt::Display| Refusal::Garbage(what.to_string());
    let mut rest = rmp::decode::Bytes::new(body);
    let there: u32 = rmp::decode::read_int(&mut rest).map_err(|e| garbage(&e))?;
    if there != PROTOCOL_VERSION {
        return Err(Refusal::Protocol { here: PROTOCOL_VERSION, there });
    }
    from_bytes(rest.remaining_slice()).map_err(|e| garbage(&e))
}

#[derive(Clone, Copy)]
enum Side {
    Dialer,
    Listener,
}

fn prove(
    cookie: &Cookie,
    channel: Channel,
    side: Side,
    dialer: &Said,
    listener: &Said,
) -> [u8; 32] {
    mac(cookie, channel, side, dialer, listener).finalize().into_bytes().into()
}

fn check(
    cookie: &Cookie,
    channel: Channel,
    side: Side,
    dialer: &Said,
    listener: &Said,
    proof: &[u8; 32],
) -> Result<(), Refusal> {
    // verify_slice compares in constant time
    let mac = mac(cookie, channel, side, dialer, listener);
    mac.verify_slice(proof).map_err(|_| Refusal::Cookie)
}

/// GR-2: a proof covers the channel, so that who stands between two nodes cannot pass it on.
fn mac(
    cookie: &Cookie,
    channel: Channel,
    side: Side,
    dialer: &Said,
    listener: &Said,
) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(cookie.bytes()).expect("HMAC takes keys of any length");
    mac.update(match side {
        Side::Dialer => b"pspawn dialer",
        Side::Listener => b"pspawn listen",
    });
    mac.update(&channel.0);
    for hello in [dialer, listener] {
        let said = rmp_serde::to_vec(hello).expect("a hello is plain data");
        mac.update(&(said.len() as u64).to_be_bytes());
        mac.update(&said);
    }
    mac
}

/// A proof by the cookie `a secret of the docs`.
#[cfg(test)]
pub(super) fn proof_for_docs(
    channel: Channel,
    dials: bool,
    dialer: &Said,
    listener: &Said,
) -> Greeting {
    let side = if dials { Side::Dialer } else { Side::Listener };
    Greeting::Proof(prove(&Cookie::new("a secret of the docs"), channel, side, dialer, listener))
}

/// The longest greeting frame.
pub(crate) const GREETING_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Channel = Channel::PLAIN;

    fn hello(name: &str, nonce: u8) -> Hello {
        Hello {
            node: name.parse().unwrap(),
            incarnation: Incarnation(1),
            part: Part::Free,
            build: "b".into(),
            digest: "d".into(),
            at: None,
            cores: 2,
            nonce: [nonce; 16],
        }
    }

    /// Plays a whole greeting; what each side came to.
    fn meet(
        (a, a_cookie): (Hello, &str),
        (b, b_cookie): (Hello, &str),
    ) -> (Result<Hello, Refusal>, Result<Hello, Refusal>) {
        let (a_cookie, b_cookie) = (Cookie::new(a_cookie), Cookie::new(b_cookie));
        let (mut dialer, mut listener) =
            (Dialer::new(a.clone(), None, PLAIN), Listener::new(b, PLAIN));
        let mut to_listener = Greeting::Hello(a.said());
        loop {
            let (answer, proven) = match listener.on(to_listener, &b_cookie) {
                Ok(ListenStep::Say(answer)) => (answer, None),
                Ok(ListenStep::Proven { say, them }) => (say, Some(them)),
                Err(why) => {
                    let seen = dialer.on(Greeting::Refused(why.clone()), &a_cookie);
                    return (Err(seen.unwrap_err()), Err(why));
                }
            };
            match dialer.on(answer, &a_cookie) {
                Ok(DialStep::Say(next)) => to_listener = next,
                Ok(DialStep::Up(them)) => return (Ok(them), Ok(proven.unwrap())),
                Err(why) => return (Err(why.clone()), Err(why)),
            }
        }
    }

    #[test]
    fn two_nodes_with_one_cookie_learn_each_other() {
        let (a, b) = (hello("a@h", 1), hello("b@h", 2));
        assert_eq!(meet((a.clone(), "secret!!"), (b.clone(), "secret!!")), (Ok(b), Ok(a)));
    }

    #[test]
    fn another_cookie_is_refused_by_the_listener_before_it_proves_anything() {
        let (a, b) = (hello("a@h", 1), hello("b@h", 2));
        let (seen, said) = meet((a, "secret!!"), (b, "other!!!"));
        assert_eq!((seen, said), (Err(Refusal::Cookie), Err(Refusal::Cookie)));
    }

    #[test]
    fn a_listener_without_the_cookie_is_found_out() {
        let cookie = Cookie::new("secret!!");
        let mut dialer = Dialer::new(hello("a@h", 1), None, PLAIN);
        dialer.on(Greeting::Hello(hello("b@h", 2).said()), &cookie).unwrap();
        let forged = dialer.on(Greeting::Proof([0; 32]), &cookie);
        assert_eq!(forged, Err(Refusal::Cookie));
    }

    #[test]
    fn a_name_that_is_none_is_refused_even_with_a_proof() {
        let cookie = Cookie::new("secret!!");
        let me = Hello { node: "no name".to_owned(), ..hello("a@h", 1).said() };
        let mut listener = Listener::new(hello("b@h", 2), PLAIN);
        listener.on(Greeting::Hello(me.clone()), &cookie).unwrap();
        let proof = prove(&cookie, PLAIN, Side::Dialer, &me, &hello("b@h", 2).said());
        let refused = listener.on(Greeting::Proof(proof), &cookie);
        assert!(matches!(refused, Err(Refusal::Garbage(_))), "{refused:?}");
    }

    #[test]
    fn the_names_of_strangers_are_not_kept() {
        let name = "never-proved@nowhere";
        let body = encode(&Greeting::Hello(Hello { node: name.into(), ..hello("a@h", 1).said() }));
        let heard = decode(&body).unwrap();
        let mut listener = Listener::new(hello("b@h", 2), PLAIN);
        listener.on(heard, &Cookie::new("secret!!")).unwrap();
        listener.on(Greeting::Proof([0; 32]), &Cookie::new("secret!!")).unwrap_err();
        let taken = encode(&Greeting::Refused(Refusal::NameTaken(name.into())));
        decode(&taken).unwrap();
        assert!(!NodeName::is_kept(name), "GR-1");
    }

    #[test]
    fn a_proof_fits_one_connection_and_one_direction() {
        let cookie = Cookie::new("secret!!");
        let (a, b) = (hello("a@h", 1).said(), hello("b@h", 2).said());
        let mine = prove(&cookie, PLAIN, Side::Dialer, &a, &b);
        assert!(check(&cookie, PLAIN, Side::Dialer, &a, &b, &mine).is_ok());
        assert!(check(&cookie, PLAIN, Side::Listener, &a, &b, &mine).is_err());
        assert!(check(&cookie, PLAIN, Side::Dialer, &a, &hello("b@h", 3).said(), &mine).is_err());
        assert!(check(&cookie, PLAIN, Side::Dialer, &b, &a, &mine).is_err());
        let other = Channel([1; 32]);
        assert!(check(&cookie, other, Side::Dialer, &a, &b, &mine).is_err(), "GR-2");
    }

    #[test]
    fn another_protocol_version_is_named_whatever_follows_it() {
        let body = [0x63, 0xFF, 0xC1];
        let refused = Refusal::Protocol { here: PROTOCOL_VERSION, there: 0x63 };
        assert_eq!(decode(&body), Err(refused));
        assert!(matches!(decode(b"GET / HTTP/1.1"), Err(Refusal::Protocol { .. })));
        assert!(matches!(decode(&[]), Err(Refusal::Garbage(_))));
    }

    #[test]
    fn the_longest_greeting_fits_the_limit() {
        let long = format!("{}@{}", "n".repeat(59), "h".repeat(255));
        let remote = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".parse().unwrap();
        let at = At {
            host: crate::term::HostId::of(&["h"]),
            local: "[::1]:65535".parse().unwrap(),
            remote: vec![remote; 8],
        };
        let hello = Hello { at: Some(at), ..hello(&long, 255) };
        let hello = Hello { build: "b".repeat(64), digest: "d".repeat(64), ..hello }.said();
        let body = encode(&Greeting::Hello(hello.clone()));
        assert!(body.len() < GREETING_BYTES_MAX);
        assert_eq!(decode(&body), Ok(Greeting::Hello(hello)));
    }

    #[test]
    fn the_node_that_answers_must_be_the_one_wanted() {
        let mut dialer = Dialer::new(hello("a@h", 1), Some("c@h".parse().unwrap()), PLAIN);
        let seen = dialer.on(Greeting::Hello(hello("b@h", 2).said()), &Cookie::new("secret!!"));
        assert!(matches!(seen, Err(Refusal::OtherNode { .. })));
    }

    #[test]
    fn words_out_of_turn_are_refused() {
        let cookie = Cookie::new("secret!!");
        let mut listener = Listener::new(hello("b@h", 2), PLAIN);
        assert!(matches!(listener.on(Greeting::Proof([0; 32]), &cookie), Err(Refusal::Garbage(_))));
        listener.on(Greeting::Hello(hello("a@h", 1).said()), &cookie).unwrap();
        let again = listener.on(Greeting::Hello(hello("a@h", 1).said()), &cookie);
        assert!(matches!(again, Err(Refusal::Garbage(_))));
    }
}
