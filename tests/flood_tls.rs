//! Ten thousand strangers at the TLS listener, with garbage, half a handshake or nothing to say, while a
//! job runs over TLS: it goes on, peers of other sources get in, and the memory of the OS process stays
//! what it was. Alone in its executable, so that it measures nobody else.

mod enemy;
#[path = "support/job.rs"]
mod job;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use pspawn::prelude::*;
use pspawn::{Cookie, FreeNode, PoolBuilder};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use enemy::Log;
use job::{Job, Work};

#[test]
fn strangers_in_thousands_leave_a_job_untouched_and_keep_nobody_out() {
    let (logger, log) = Log::new();
    let patient = Duration::from_secs(600);
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (pool, free, job) = block_on(async {
        let pool = builder("target").local(0).start().await.unwrap();
        let free = builder("far").as_if_on("there").listen(loopback).logger(logger);
        let free = free.greeting_timeout(patient).start_free(loopback).await.unwrap();
        attach(&pool, &free).await;
        let job = pool.spawn_on::<Job>(free.pool().here(), ()).await.unwrap();
        (pool, free, job)
    });
    let to = free.pool().tls_address().unwrap();
    let before = rss_bytes();
    let mut done = 0;

    // A quiet peer of another source comes before them all, and takes its time.
    let quiet = stranger(Ipv4Addr::new(127, 0, 0, 2), to);
    let mut held = Vec::new();
    let hello = client_hello();
    for number in 0..STRANGERS {
        let mut stranger = stranger(Ipv4Addr::LOCALHOST, to);
        // What it has to say may come too late already.
        let _ = match number % 5 {
            0 => stranger.write_all(b"GET / HTTP/1.1\r\n\r\n"),
            1 => stranger.write_all(&HALF_A_HELLO),
            2 => stranger.write_all(&HALF_A_HELLO[..3]),
            3 => stranger.write_all(&hello),
            _ => Ok(()),
        };
        held.push(stranger);
        if number % 100 == 99 {
            // As many as the node keeps, and more: those before were let go of.
            held.drain(..held.len().saturating_sub(400));
            done += 1;
            assert_eq!(block_on(job.send(Work)), Ok(done), "after {number} strangers");
        }
    }
    log.wait_for(&["refused more", "within_seconds=10"]); // LS-3
    let grown = rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more than before");

    // LS-1: whoever comes in numbers has crowded out itself.
    quiet.set_nonblocking(true).unwrap();
    let said = (&quiet).read(&mut [0; 1]).map_err(|why| why.kind());
    assert_eq!(said, Err(std::io::ErrorKind::WouldBlock), "it is still waited for");
    assert!(pool.disconnect(free.pool().here()));
    log.wait_for(&["is in no pool any more"]);
    block_on(async {
        attach(&pool, &free).await;
        let another = pool.spawn_on::<Job>(free.pool().here(), ()).await.unwrap();
        assert_eq!(another.send(Work).await, Ok(1));
        pool.stop().await.unwrap();
        free.pool().stopped().await;
    });
}

async fn attach(pool: &Pool, free: &FreeNode) {
    let (node, at) = (free.pool().here(), free.pool().tls_address().unwrap());
    pool.attach_pinned(node, at, free.fingerprint().unwrap()).await.unwrap();
}

fn builder(name: &str) -> PoolBuilder {
    Pool::builder(name).cookie(Cookie::new("correct horse battery staple")).workers(1)
}

/// A connection from this address of loopback.
fn stranger(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
    connect(&socket, &to).unwrap();
    socket.into()
}

/// What this OS process has in memory.
fn rss_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// What makes a node compute keys and sign.
fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(&[&TLS13]).unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from("attach.pspawn").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

const STRANGERS: usize = 10_000;

/// The beginning of a TLS record that announces a long client hello.
const HALF_A_HELLO: [u8; 11] = [0x16, 3, 1, 0x3F, 0xFF, 1, 0, 0x3F, 0xFB, 3, 3];
