//! Nodes of two hosts, in one OS process: they take each other for foreign, and so speak TLS. And those
//! who come to the TLS listener without a certificate of the pool.

mod enemy;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use futures::executor::block_on;
use pspawn::prelude::*;
use pspawn::{
    Cookie, Fingerprint, FreeNode, Payload, PoolBuilder, PoolError, RunningPool, SpawnError,
};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsFault, ProtocolVersion,
    SignatureScheme, Stream as TlsStream,
};

use enemy::Log;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u32")]
struct Work;

struct Job;

impl Actor for Job {
    type Context = Context<Self>;
}

impl Handler<Work> for Job {
    type Result = u32;

    fn handle(&mut self, _: Work, _: &mut Context<Self>) -> u32 {
        1
    }
}

remote_actor!(Job as "job", new() = Job, handles[Work]);

async fn work_on(ctx: Ctx, node: NodeName) -> u32 {
    let job = ctx.pool().spawn_on::<Job>(node, ()).await.expect("it starts there");
    job.send(Work).await.expect("it answers")
}

/// Long messages, which go in pieces, with short ones of another process between them.
async fn sends_long(ctx: Ctx, to: Pid, lengths: Vec<usize>) {
    ctx.spawn_fn("elsewhere", "sends_short", (to, 100_u32)).await.expect("it starts here");
    for length in lengths {
        ctx.send(to, Payload::from(long(length)));
        yield_now().await;
    }
}

async fn sends_short(ctx: Ctx, to: Pid, count: u32) {
    for number in 0..count {
        ctx.send(to, number);
        yield_now().await;
    }
}
remote_fn!("elsewhere": work_on, sends_long, sends_short);

fn long(length: usize) -> Vec<u8> {
    let pattern: Vec<u8> = (0..251).collect();
    let mut bytes = pattern.repeat(length / pattern.len() + 1);
    bytes.truncate(length);
    bytes
}

#[test]
fn a_node_of_another_host_is_attached_by_its_fingerprint() {
    block_on(async {
        let (pool, log) = master("attaches").await;
        let free = foreign("far").await;
        let (node, at) = (free.pool().here(), free.pool().tls_address().unwrap());
        let found = free.fingerprint().unwrap();

        let other: Fingerprint = format!("sha256:{}", "00".repeat(32)).parse().unwrap();
        let refused = pool.attach_pinned(node, at, other).await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("has the fingerprint {found}, not {other}")),
            "{refused}"
        );

        let attached = pool.attach_pinned(node, at, found).await.unwrap();
        assert!(attached.newly && attached.differences.is_empty(), "{attached:?}");
        let job = pool.spawn_on::<Job>(node, ()).await.unwrap();
        assert_eq!(job.send(Work).await, Ok(1));
        log.wait_for(&["node up", &format!("peer={node}")]);

        // It knows of the others, and meets them with credentials of the pool.
        let back = free.pool().nodes().await.unwrap();
        assert_eq!(back, [pool.here(), node]);
        end(pool, [free]).await;
    });
}

#[test]
fn long_messages_come_whole_over_tls() {
    block_on(async {
        let (pool, _log) = master("long").await;
        let free = foreign("far").await;
        let node = attach(&pool, &free).await;
        let mut me = pool.mailbox();
        let lengths = [100_000, 1 << 20, (3 << 20) + 7, 1, 200_000];
        let args = (me.pid(), lengths.to_vec());
        pool.spawn_mfa_on(node, "elsewhere", "sends_long", args).await.unwrap();
        let patience = Duration::from_secs(60);
        for length in lengths {
            let came = me.receive_within::<Payload>(patience).await.expect("it comes");
            assert!(came[..] == long(length), "of {length} bytes {} came", came.len());
        }
        for number in 0..100 {
            assert_eq!(me.receive_within::<u32>(patience).await, Some(number));
        }
        end(pool, [free]).await;
    });
}

#[test]
fn nodes_that_were_attached_meet_each_other_and_so_do_commands() {
    block_on(async {
        let (pool, _log) = master("meets").await;
        let (one, two) = (foreign_on("one", "there").await, foreign_on("two", "elsewhere").await);
        for free in [&one, &two] {
            attach(&pool, free).await;
        }
        let (first, second) = (one.pool().here(), two.pool().here());
        let called = pool.call_on::<u32>(first, "elsewhere", "work_on", (second,)).await.unwrap();
        assert_eq!(called.result().await, Ok(1), "from one attached node to the other");
        assert!(one.pool().connected().contains(&second));

        // A command talks to the master on loopback, and gets credentials for the others.
        let hidden = Pool::connect(enemy::running(&pool, COOKIE)).await.unwrap();
        let job = hidden.spawn_on::<Job>(second, ()).await.unwrap();
        assert_eq!(job.send(Work).await, Ok(1));
        end(pool, [one, two]).await;
    });
}

#[test]
fn a_node_that_listens_on_loopback_only_calls_who_is_on_another_host() {
    block_on(async {
        let (pool, _log) = master("calls").await;
        let loopback = LOOPBACK.parse().unwrap();
        // Both orders of names: PE-1 does not come in between.
        for name in ["anna", "zoe"] {
            let far = foreign(&format!("m{name}")).await;
            let near = builder(name).start_free(loopback).await.unwrap();
            attach(&pool, &far).await;
            pool.attach(near.pool().here(), near.pool().address()).await.unwrap();
            let (far_node, to) = (far.pool().here(), (near.pool().here(),));
            let called = pool.call_on::<u32>(far_node, "elsewhere", "work_on", to).await.unwrap();
            assert_eq!(called.result().await, Ok(1), "PE-7: {name}");
            for free in [far, near] {
                free.stop();
                free.pool().stopped().await;
            }
        }
        end(pool, []).await;
    });
}

#[test]
fn a_command_has_no_way_to_a_master_of_another_host() {
    let running = RunningPool {
        name: "far".to_owned(),
        master: "far-master@nowhere".to_owned(),
        address: "192.0.2.1:4711".parse().unwrap(),
        os_pid: 0,
        cookie: Cookie::new(COOKIE),
        heartbeat: None,
    };
    let refused = block_on(Pool::connect(running)).unwrap_err().to_string();
    assert!(refused.contains("192.0.2.1:4711") && refused.contains("own host only"), "{refused}");
}

#[test]
fn who_shows_no_certificate_of_the_pool_gets_nowhere() {
    block_on(async {
        let (pool, log) = master("guarded").await;
        let to = pool.tls_address().unwrap();
        let job = pool.spawn_on::<Job>(pool.here(), ()).await.unwrap();

        let (nobody, why) = knock(to, "attach.pspawn", None);
        log.refused(nobody, "peer sent no certificates");
        assert!(why.contains("CertificateRequired"), "{why}");
        let (stranger, why) = knock(to, "0.node.pspawn", Some(certificate()));
        log.refused(stranger, "UnknownIssuer");
        assert!(why.contains("UnknownCA") || why.contains("DecryptError"), "{why}");

        let mut plain = enemy::Enemy::connect(to);
        plain.say(&enemy::Greeting::Hello(enemy::Hello::of("enemy@nowhere")));
        log.refused(plain.address(), "InvalidContentType");
        plain.is_hung_up_on();

        assert_eq!(job.send(Work).await, Ok(1));
        end(pool, []).await;
    });
}

#[test]
fn without_a_certificate_only_a_master_that_attaches_is_let_in() {
    block_on(async {
        let free = foreign("lonely").await;
        let to = free.pool().tls_address().unwrap();
        // TLS is not refused, and the cookie is not known: nothing is learned.
        let config = client(None);
        let mut connection = connection(config, "attach.pspawn");
        let mut tcp = TcpStream::connect(to).unwrap();
        let mut stream = TlsStream::new(&mut connection, &mut tcp);
        let me = enemy::Hello { part: "Slave".to_owned(), ..enemy::Hello::of("enemy@nowhere") };
        let mut hear = |say: &enemy::Greeting| {
            stream.write_all(&enemy::frame(&enemy::greeting_body(enemy::VERSION, say))).unwrap();
            let mut prefix = [0; 5];
            stream.read_exact(&mut prefix).unwrap();
            let mut body = vec![0; u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize];
            stream.read_exact(&mut body).unwrap();
            rmp_serde::from_slice::<enemy::Greeting>(&body[1..]).unwrap()
        };
        let enemy::Greeting::Hello(them) = hear(&enemy::Greeting::Hello(me.clone())) else {
            panic!("no hello");
        };
        // The right cookie, but proved for a plain channel, as one who relays it would have it.
        let proof = enemy::proof(COOKIE, b"pspawn dialer", &me, &them);
        let said = hear(&enemy::Greeting::Proof(proof));
        assert_eq!(said, enemy::Greeting::Refused("Cookie".into()), "GR-2");
        assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3), "TL-1");
        free.stop();
    });
}

#[test]
fn others_start_only_the_modules_that_were_named() {
    block_on(async {
        let (pool, _log) = master("picks").await;
        let loopback = LOOPBACK.parse().unwrap();
        let free = builder("picky").only("job").start_free(loopback).await.unwrap();
        let node = free.pool().here();
        pool.attach(node, free.pool().address()).await.unwrap();
        let job = pool.spawn_on::<Job>(node, ()).await.unwrap();
        assert_eq!(job.send(Work).await, Ok(1));
        let refused = pool.spawn_mfa_on(node, "elsewhere", "work_on", (node,)).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, SpawnError::NotAmong { .. }), "{refused:?}");
        let words = refused.to_string();
        assert!(words.contains(node.as_str()) && words.contains("--only elsewhere"), "{words}");
        end(pool, [free]).await;
    });
}

#[test]
fn a_fingerprint_is_asked_for_where_none_was_said() {
    block_on(async {
        let (pool, _log) = master("asks").await;
        let any = "0.0.0.0:0".parse().unwrap();
        let free = builder("asked").as_if_on("there").start_free(any).await.unwrap();
        // An address of this machine that is none of loopback, if it has one.
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let own = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
        if let Ok(own) = own.map(|own| own.ip()) {
            let at = SocketAddr::new(own, free.pool().tls_address().unwrap().port());
            let found = free.fingerprint().unwrap();
            let node = free.pool().here();
            let Err(PoolError::Refused(why)) = pool.attach(node, at).await else {
                panic!("attached")
            };
            assert!(why.contains(&format!("--fingerprint {found}")), "{why}");
            pool.attach_pinned(node, at, found).await.unwrap();
            // What it could not know of itself its master has filled in.
            let hidden = Pool::connect(enemy::running(&pool, COOKIE)).await.unwrap();
            let job = hidden.spawn_on::<Job>(node, ()).await.unwrap();
            assert_eq!(job.send(Work).await, Ok(1));
        }
        pool.stop().await.unwrap();
        free.stop();
    });
}

/// A master that listens for other hosts, and what it logs.
async fn master(name: &str) -> (Pool, Log) {
    let (logger, log) = Log::new();
    let listen = LOOPBACK.parse().unwrap();
    let pool = builder(name).local(0).listen(listen).logger(logger).start().await.unwrap();
    (pool, log)
}

async fn foreign(name: &str) -> FreeNode {
    foreign_on(name, "there").await
}

/// A free node that takes everybody else to be on other hosts.
async fn foreign_on(name: &str, host: &str) -> FreeNode {
    let loopback = LOOPBACK.parse().unwrap();
    builder(name).as_if_on(host).listen(loopback).start_free(loopback).await.unwrap()
}

/// Takes it into the pool, by its fingerprint.
async fn attach(pool: &Pool, free: &FreeNode) -> NodeName {
    let (node, at) = (free.pool().here(), free.pool().tls_address().unwrap());
    pool.attach_pinned(node, at, free.fingerprint().unwrap()).await.unwrap();
    node
}

fn builder(name: &str) -> PoolBuilder {
    Pool::builder(name).cookie(Cookie::new(COOKIE)).workers(1)
}

async fn end<const N: usize>(pool: Pool, nodes: [FreeNode; N]) {
    pool.stop().await.unwrap();
    for free in nodes {
        free.pool().stopped().await;
    }
}

/// Shakes hands by TLS; from which address, and what the node has to say to that.
fn knock(
    to: SocketAddr,
    name: &'static str,
    certificate: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> (SocketAddr, String) {
    let mut connection = connection(client(certificate), name);
    let mut tcp = TcpStream::connect(to).unwrap();
    let from = tcp.local_addr().unwrap();
    let mut stream = TlsStream::new(&mut connection, &mut tcp);
    let _ = stream.write_all(b"let me in");
    let why = stream.read(&mut [0; 100]).unwrap_err();
    (from, why.to_string())
}

fn connection(config: ClientConfig, name: &'static str) -> ClientConnection {
    ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap()
}

/// A certificate of nobody's authority.
fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["0.node.pspawn".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    (cert.der().clone(), key.into())
}

/// A client that believes whatever it is shown.
fn client(certificate: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything));
    match certificate {
        Some((cert, key)) => config.with_client_auth_cert(vec![cert], key).unwrap(),
        None => config.with_no_client_auth(),
    }
}

#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsFault> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFault> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFault> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

const COOKIE: &str = "correct horse battery staple";
const LOOPBACK: &str = "127.0.0.1:0";
