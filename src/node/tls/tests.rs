//! Two hosts in one OS process: nodes that take each other for foreign speak TLS over 127.0.0.1.

use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use slog::{Discard, Logger, o};
use tokio::io::{AsyncReadExt, duplex};
use tokio::net::TcpListener;

use super::*;
use crate::cookie::Cookie;
use crate::node::config::{Config, FRAME_BYTES_MAX, Times};
use crate::node::link::Phase;
use crate::node::output::Sink;
use crate::node::stream::MakeStream;
use crate::node::terminal::OutputFormat;
use crate::node::{Node, Outcome, connection};
use crate::term::{At, HostId, Via};
use crate::wire::{Answer, Query};

#[test]
fn credentials_are_for_one_name_of_one_pool() {
    run(async {
        let (pool, other) = (Authority::new().unwrap(), Authority::new().unwrap());
        let (a, b) = (name("a@h"), name("b@h"));
        let tls = |authority: &Authority, node| Tls::new(&authority.issue(node).unwrap()).unwrap();

        let (dialed, accepted) = meet(&tls(&pool, a), b, Some(tls(&pool, b)), None).await;
        let (dialed, accepted) = (dialed.unwrap(), accepted.unwrap());
        assert_eq!(dialed.channel, accepted.channel, "both ends export the same");
        assert_ne!(dialed.channel, Channel::PLAIN);
        accepted.entry.admits(&hello(a, Part::Slave)).unwrap();
        let other_name = accepted.entry.admits(&hello(b, Part::Slave));
        assert!(matches!(other_name, Err(Refusal::OtherCertificate(_))), "TL-2: {other_name:?}");

        let (again, _) = meet(&tls(&pool, a), b, Some(tls(&pool, b)), None).await;
        assert_ne!(dialed.channel, again.unwrap().channel, "each connection is another channel");

        let (not_the_one, _) = meet(&tls(&pool, a), b, Some(tls(&pool, a)), None).await;
        let why = said(not_the_one);
        assert!(why.contains("not valid for name"), "TL-2: {why}");
        let (dialed, accepted) = meet(&tls(&pool, a), b, Some(tls(&other, b)), None).await;
        assert!(said(dialed).contains("UnknownIssuer"), "TL-1");
        accepted.map(drop).unwrap_err();
        // The dialer of another pool that believes everybody is found out, too.
        let credulous = Tls { dials: credulous(&other, a), serves: tls(&other, a).serves };
        let (_, accepted) = meet(&credulous, b, Some(tls(&pool, b)), None).await;
        assert!(said(accepted).contains("UnknownIssuer"), "TL-1");
    });
}

#[test]
fn a_node_that_is_to_be_attached_is_known_by_its_fingerprint() {
    run(async {
        let own = OwnCertificate::new().unwrap();
        let turns = Turns::default();
        let pinned = async |pin| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let to = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            futures::join!(dial_pinned(pin, to), accept(None, Some(&own), &turns, stream))
        };
        let (dialed, accepted) = pinned(Pin::Exactly(own.fingerprint)).await;
        let (dialed, accepted) = (dialed.unwrap(), accepted.unwrap());
        assert_eq!(dialed.channel, accepted.channel);
        accepted.entry.admits(&hello(name("m@h"), Part::Master)).unwrap();
        let slave = accepted.entry.admits(&hello(name("s@h"), Part::Slave));
        assert_eq!(slave, Err(Refusal::NoCertificate));

        let found = own.fingerprint.to_string();
        let other = Fingerprint::of(b"another");
        let why = said(pinned(Pin::Exactly(other)).await.0);
        assert!(why.contains(&found) && why.contains(&other.to_string()), "{why}");
        let why = said(pinned(Pin::Unknown).await.0);
        assert!(why.contains(&format!("--fingerprint {found}")), "{why}");
    });
}

#[test]
fn of_handshakes_that_come_at_once_one_is_computed_at_a_time() {
    let others = tokio::task::LocalSet::new();
    run(others.run_until(async {
        let (own, turns) = (Rc::new(OwnCertificate::new().unwrap()), Rc::<Turns>::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hello = client_hello();
        let mut waiting = Vec::new();
        for _ in 0..STRANGERS {
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.write_all(&hello).unwrap();
            client.set_nonblocking(true).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let (own, turns) = (own.clone(), turns.clone());
            tokio::task::spawn_local(async move {
                let _ = accept(None, Some(&own), &turns, stream).await;
            });
            waiting.push(client);
        }
        while !waiting.is_empty() {
            tokio::task::yield_now().await;
            let before = waiting.len();
            waiting.retain(|client| client.peek(&mut [0]).is_err());
            assert!(waiting.len() + 2 >= before, "LS-2: {} at once", before - waiting.len());
        }
    }));
}

/// What a client says first.
fn client_hello() -> Vec<u8> {
    let pinned = Pinned { pin: Pin::Unknown, provider: provider(), seen: Arc::default() };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    let name = ServerName::try_from(ATTACH_NAME).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

const STRANGERS: usize = 32;

#[test]
fn nodes_of_two_hosts_meet_by_tls_and_on_one_of_several_addresses() {
    run(async {
        let hosts = Hosts::new().await;
        let mut at = hosts.b.at();
        let closed = closed_port().await;
        at.remote.insert(0, closed);
        hosts.a.peers().place(hosts.b.name, at);
        assert_eq!(hosts.kinds_of_b().await, Ok(()));
        let link = hosts.a.peers().get(hosts.b.name).unwrap();
        assert!(matches!(link.phase(), Phase::Up(_)));
        hosts.stop();
    });
}

#[test]
fn a_node_of_another_pool_or_without_a_certificate_gets_nowhere() {
    run(async {
        let hosts = Hosts::new().await;
        let stranger = Authority::new().unwrap();
        let stranger_of = |credentials| Config { credentials, ..config("x@h", "here") };
        for credentials in [None, Some(stranger.issue(name("x@h")).unwrap())] {
            let x = Node::start(stranger_of(credentials)).await.unwrap();
            x.peers().place(hosts.b.name, hosts.b.at());
            let asked = x.query(hosts.b.name, Query::Kinds, PATIENCE).await;
            assert!(matches!(asked, Outcome::Lost), "{asked:?}");
            let why = x.peers().why_lost(hosts.b.name).unwrap();
            assert!(why.contains("no certificate") || why.contains("UnknownIssuer"), "{why}");
            x.stop();
        }
        // The right cookie and the right pool, but another node's name.
        let mut config = config("x@h", "here");
        config.credentials = Some(hosts.authority.issue(name("y@h")).unwrap());
        let x = Node::start(config).await.unwrap();
        x.peers().place(hosts.b.name, hosts.b.at());
        let asked = x.query(hosts.b.name, Query::Kinds, PATIENCE).await;
        assert!(matches!(asked, Outcome::Lost), "{asked:?}");
        let why = x.peers().why_lost(hosts.b.name).unwrap();
        assert!(why.contains("the certificate is not that of \"x@h\""), "TL-2: {why}");
        x.stop();
        hosts.stop();
    });
}

#[test]
fn nobody_but_its_slave_comes_through_a_launchers_channel() {
    let entry = Entry::Slave(name("a@h"));
    assert_eq!(entry.admits(&hello(name("a@h"), Part::Slave)), Ok(()));
    let refused = Err(Refusal::NotLaunched("a@h".to_owned()));
    assert_eq!(entry.admits(&hello(name("b@h"), Part::Slave)), refused, "TL-2");
    for part in [Part::Master, Part::Free, Part::Hidden] {
        assert_eq!(entry.admits(&hello(name("a@h"), part)), refused, "TL-2");
    }
    run(async {
        let hosts = Hosts::new().await;
        let closed = closed_port().await;
        let at = At { remote: vec![closed], ..hosts.b.at() };
        let (ours, theirs) = duplex(64 << 10);
        let accepting = hosts.b.clone();
        hosts.b.on_io(async move {
            let tunnel = ByteStream::whole(Via::Launcher, theirs);
            let origin = "launcher of x@h".to_owned();
            connection::accept_tunnel(accepting, tunnel, name("x@h"), origin).await;
        });
        let fallback: MakeStream = Box::new(move || Ok(ByteStream::whole(Via::Launcher, ours)));
        hosts.a.call_back(hosts.b.name, at, Some(fallback));
        assert!(hosts.kinds_of_b().await.is_err());
        let why = hosts.a.peers().why_lost(hosts.b.name).unwrap();
        assert!(why.contains("only the slave \"x@h\" comes this way"), "TL-2: {why}");
        hosts.stop();
    });
}

#[test]
fn a_call_back_that_no_address_takes_goes_through_the_launcher() {
    run(async {
        let hosts = Hosts::new().await;
        let closed = closed_port().await;
        let at = At { remote: vec![closed], ..hosts.b.at() };
        let (ours, theirs) = duplex(64 << 10);
        let (accepting, slave) = (hosts.b.clone(), hosts.a.name);
        // The master takes it in on its own IO thread, as a launcher does.
        hosts.b.on_io(async move {
            let tunnel = ByteStream::whole(Via::Launcher, theirs);
            let origin = "launcher of a@h".to_owned();
            connection::accept_tunnel(accepting, tunnel, slave, origin).await;
        });
        let fallback: MakeStream = Box::new(move || Ok(ByteStream::whole(Via::Launcher, ours)));
        hosts.a.call_back(hosts.b.name, at, Some(fallback));
        assert_eq!(hosts.kinds_of_b().await, Ok(()));
        hosts.stop();
    });
}

#[test]
fn a_call_back_is_tried_again_when_it_is_hung_up_on() {
    run(async {
        let hosts = Hosts::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = At { remote: vec![listener.local_addr().unwrap()], ..hosts.b.at() };
        hosts.a.call_back(hosts.b.name, at, None);
        let (pushed_out, _) = listener.accept().await.unwrap();
        drop(pushed_out);
        let (mut theirs, _) = listener.accept().await.unwrap();
        let mut ours = TcpStream::connect(hosts.b.tls_address().unwrap()).await.unwrap();
        let between = tokio::io::copy_bidirectional(&mut theirs, &mut ours);
        let asking = std::pin::pin!(hosts.kinds_of_b());
        match futures::future::select(asking, std::pin::pin!(between)).await {
            futures::future::Either::Left((answer, _)) => assert_eq!(answer, Ok(())),
            futures::future::Either::Right((ended, _)) => panic!("cut: {ended:?}"),
        }
        hosts.stop();
    });
}

#[test]
fn a_call_back_that_fails_names_each_address_and_why() {
    run(async {
        let hosts = Hosts::new().await;
        let (one, two) = (closed_port().await, closed_port().await);
        let at = At { remote: vec![one, two], ..hosts.b.at() };
        let (go_on, told) = std::sync::mpsc::channel();
        let fallback: MakeStream = Box::new(move || {
            let _ = told.recv();
            Err(io::Error::other("no channel"))
        });
        hosts.a.call_back(hosts.b.name, at, Some(fallback));
        let mut asking = std::pin::pin!(hosts.kinds_of_b());
        assert!(futures::poll!(&mut asking).is_pending(), "it waits for the call");
        go_on.send(()).unwrap();
        assert!(asking.await.is_err());
        let why = hosts.a.peers().why_lost(hosts.b.name).unwrap();
        for part in [format!("{one}: "), format!("{two}: "), "no channel".to_owned()] {
            assert!(why.contains(&part), "{part:?} is not in {why:?}");
        }
        hosts.stop();
    });
}

#[test]
fn nothing_in_plain_leaves_the_host() {
    run(async {
        let exposed = Config { listen: "0.0.0.0:0".parse().unwrap(), ..config("a@h", "here") };
        let refused = Node::start(exposed).await;
        assert!(refused.is_err_and(|why| why.to_string().contains("0.0.0.0:0 is no loopback")));
        // Neither does a node that says that it is on this host lead us anywhere.
        let a = Node::start(config("a@h", "here")).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = HostId::of(&["there"]);
        let local = listener.local_addr().unwrap();
        a.peers().place(name("b@h"), At { host, local, remote: Vec::new() });
        let asked = a.query(name("b@h"), Query::Kinds, PATIENCE).await;
        assert!(matches!(asked, Outcome::Lost), "TL-3: {asked:?}");
        let why = a.peers().why_lost(name("b@h")).unwrap();
        assert!(why.contains("does not listen for nodes of other hosts"), "{why}");
        a.stop();
    });
}

#[test]
fn what_is_said_between_hosts_is_not_to_be_read() {
    run(async {
        let hosts = Hosts::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = At { remote: vec![listener.local_addr().unwrap()], ..hosts.b.at() };
        hosts.a.peers().place(hosts.b.name, at);
        let asking = hosts.kinds_of_b();
        let listening = async {
            let (theirs, _) = listener.accept().await.unwrap();
            let ours = TcpStream::connect(hosts.b.tls_address().unwrap()).await.unwrap();
            let ((mut from_a, mut to_a), (mut from_b, mut to_b)) =
                (tokio::io::split(theirs), tokio::io::split(ours));
            let (mut heard_a, mut heard_b) = (Vec::new(), Vec::new());
            let tap = async |from: &mut tokio::io::ReadHalf<TcpStream>,
                             to: &mut _,
                             heard: &mut Vec<u8>| {
                let mut read = vec![0; 4096];
                while let Ok(bytes @ 1..) = from.read(&mut read).await {
                    heard.extend_from_slice(&read[..bytes]);
                    tokio::io::AsyncWriteExt::write_all(to, &read[..bytes]).await.unwrap();
                }
            };
            let _ = futures::future::select(
                std::pin::pin!(tap(&mut from_a, &mut to_b, &mut heard_a)),
                std::pin::pin!(tap(&mut from_b, &mut to_a, &mut heard_b)),
            )
            .await;
            (heard_a, heard_b)
        };
        let asked = async {
            let answer = asking.await;
            hosts.a.disconnect(hosts.b.name);
            answer
        };
        let (answer, (heard_a, heard_b)) = futures::join!(asked, listening);
        assert_eq!(answer, Ok(()));
        for heard in [heard_a, heard_b] {
            assert!(heard.len() > 500 && heard[0] == 0x16, "TLS from the first byte on");
            for word in ["a@h", "b@h", "Hello", "Kinds", COOKIE] {
                let found = heard.windows(word.len()).any(|part| part == word.as_bytes());
                assert!(!found, "{word} is in it");
            }
        }
        hosts.stop();
    });
}

/// Two nodes of one pool that take themselves to be on two hosts.
struct Hosts {
    authority: Authority,
    a: Arc<Node>,
    b: Arc<Node>,
}

impl Hosts {
    async fn new() -> Hosts {
        let authority = Authority::new().unwrap();
        let certified = |text: &str, host| {
            let credentials = Some(authority.issue(name(text)).unwrap());
            Config { credentials, ..config(text, host) }
        };
        let a = Config { part: Part::Slave, ..certified("a@h", "here") };
        let a = Node::start(a).await.unwrap();
        let listen_tls = Some("127.0.0.1:0".parse().unwrap());
        let b = Config { listen_tls, ..certified("b@h", "there") };
        let b = Node::start(b).await.unwrap();
        Hosts { authority, a, b }
    }

    async fn kinds_of_b(&self) -> Result<(), String> {
        match self.a.query(self.b.name, Query::Kinds, PATIENCE).await {
            Outcome::Told(Answer::Kinds(_)) => Ok(()),
            other => Err(format!("{other:?}, {:?}", self.a.peers().why_lost(self.b.name))),
        }
    }

    fn stop(&self) {
        self.a.stop();
        self.b.stop();
    }
}

fn config(text: &str, host: &str) -> Config {
    Config {
        name: name(text),
        part: Part::Free,
        cookie: Cookie::new(COOKIE),
        listen: "127.0.0.1:0".parse().unwrap(),
        listen_tls: None,
        likely_ip: None,
        host: HostId::of(&[host]),
        credentials: None,
        authority: None,
        workers: 1,
        allow: Vec::new(),
        only: None,
        times: Times::default(),
        frame_bytes_max: FRAME_BYTES_MAX,
        log: Logger::root(Discard, o!()),
        output: Sink::terminal(OutputFormat::Raw),
        life_line: None,
        program: None,
        args: Vec::new(),
        launching: crate::node::launch::Launching::default(),
        shares: Arc::default(),
    }
}

/// Both ends of one connection, each with what it comes to.
async fn meet(
    dials: &Tls,
    to: NodeName,
    serves: Option<Tls>,
    own: Option<&OwnCertificate>,
) -> (io::Result<Secured>, io::Result<Secured>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let turns = Turns::default();
    futures::join!(dials.dial(to, stream), accept(serves.map(Arc::new), own, &turns, accepted))
}

/// A dialer that shows the certificate of its authority, and asks nothing of the other side.
fn credulous(authority: &Authority, node: NodeName) -> Arc<ClientConfig> {
    #[derive(Debug)]
    struct Anything(Pinned);
    impl ServerCertVerifier for Anything {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    }
    let credentials = authority.issue(node).unwrap();
    let pinned = Pinned { pin: Pin::Unknown, provider: provider(), seen: Arc::default() };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(pinned)))
        .with_client_auth_cert(vec![credentials.cert.into()], key(&credentials.key))
        .unwrap();
    Arc::new(config)
}

fn hello(node: NodeName, part: Part) -> Hello {
    Hello {
        node,
        incarnation: crate::term::Incarnation(1),
        part,
        build: String::new(),
        digest: String::new(),
        at: None,
        cores: 1,
        nonce: [0; 16],
    }
}

/// A port on which nobody listens: it was free a moment ago.
async fn closed_port() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn said(failed: io::Result<Secured>) -> String {
    failed.map(drop).unwrap_err().to_string()
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 2, test).await.expect("in time") });
}

const COOKIE: &str = "correct horse battery staple";

/// Longer than anything takes that happens at all.
const PATIENCE: Duration = Duration::from_secs(30);
