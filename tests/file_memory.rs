//! A long file through the master: it arrives whole, in little memory on either side, and in front of other
//! messages there is never more than a window of it.
//!
//! Alone in its executable: what is measured is the memory of this OS process and of the slave's.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::time::Instant;

use pspawn::prelude::*;
use sha2::{Digest, Sha256};
use support::TestPool;
use tempfile::TempDir;

#[actix::test]
async fn a_long_file_takes_little_memory_on_either_side() {
    read_by_a_slave(64 << 20).await;
}

/// The same with 1 GiB, to be run with `--release -- --ignored --nocapture`.
#[actix::test]
#[ignore = "takes long in a debug build"]
async fn a_gibibyte_takes_little_memory_on_either_side_and_others_keep_their_latency() {
    read_by_a_slave(1 << 30).await;
}

async fn read_by_a_slave(len: usize) {
    let dir = TempDir::new().expect("a directory");
    let hash = make(&dir.path().join("long"), len);
    let mut pool = TestPool::start_with(1, |builder| builder.share(dir.path())).await;
    let slave = pool.slaves().await[0];
    let echo = pool.spawn_mfa_on(slave, "file_memory", "echoes", ()).await.expect("it starts");
    // Once before, so that what is made once is not counted: threads, buffers.
    let mut idle = pool.pings(echo, |pings| pings.len() == PINGS).await;
    let before = [memory(std::process::id()), pool.memory_of(slave).await];

    let begin = Instant::now();
    let args = (pool.inbox.pid(), "long");
    pool.inbox.spawn_fn("file_memory", "reads", args).on(slave).await.expect("it starts");
    let mut read = None;
    let mut busy = Vec::new();
    while read.is_none() {
        busy.extend(pool.pings(echo, |pings| pings.len() == 10).await);
        read = pool.inbox.receive_within::<Read>(Duration::ZERO).await;
    }
    let took = begin.elapsed();
    let after = [memory(std::process::id()), pool.memory_of(slave).await];
    let grown = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];

    // And back: the slave writes a file of the same length.
    let begin = Instant::now();
    pool.inbox
        .spawn_fn("file_memory", "writes", (pool.inbox.pid(), "back", len))
        .on(slave)
        .await
        .expect("it starts");
    let mut written = None;
    let mut writing = Vec::new();
    while written.is_none() {
        writing.extend(pool.pings(echo, |pings| pings.len() == 10).await);
        written = pool.inbox.receive_within::<Written>(Duration::ZERO).await;
    }
    let took_back = begin.elapsed();
    let after = [memory(std::process::id()), pool.memory_of(slave).await];
    let grown_back = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];

    let mib = len >> 20;
    println!("{mib} MiB read by a slave in {took:?}: {:.0} MiB/s", mib as f64 / took.as_secs_f64());
    println!("memory grew by {} KiB here, {} KiB there", grown[0] >> 10, grown[1] >> 10);
    println!("{mib} MiB written by a slave in {took_back:?}, to the disk");
    println!("memory grew by {} KiB here, {} KiB there", grown_back[0] >> 10, grown_back[1] >> 10);
    for (what, pings) in [("idle", &mut idle), ("reading", &mut busy), ("writing", &mut writing)] {
        pings.sort_unstable();
        let at = |of: usize| pings[(pings.len() - 1) * of / 100];
        let max = at(100);
        println!("{what}: {} pings, p50 {:?}, p99 {:?}, max {max:?}", pings.len(), at(50), at(99));
    }

    let Some(Read { bytes, hash: read_hash }) = read else { panic!("nothing was read") };
    assert_eq!((bytes, read_hash), (len, hash));
    let back = fs::read(dir.path().join("back")).expect("it was written");
    assert_eq!((written, back.len()), (Some(Written(Sha256::digest(back).into())), len));
    for bytes in [grown, grown_back].concat() {
        assert!(bytes < GROWTH_BYTES_MAX, "{grown:?} and {grown_back:?} bytes");
    }
    pool.stop().await;
}

impl TestPool {
    /// How long a message to `echo` and back takes, one after the other.
    async fn pings(&mut self, echo: Pid, enough: impl Fn(&[Duration]) -> bool) -> Vec<Duration> {
        let mut pings = Vec::new();
        while !enough(&pings) {
            let begin = Instant::now();
            self.inbox.send(echo, Ping(self.inbox.pid()));
            self.next::<Ping>().await;
            pings.push(begin.elapsed());
        }
        pings
    }

    /// The most that the slave's OS process has ever had in memory, in bytes.
    async fn memory_of(&mut self, slave: NodeName) -> u64 {
        memory(self.tell_of(slave).await.0)
    }
}

/// Makes a file of this length; returns its hash.
fn make(path: &std::path::Path, len: usize) -> [u8; 32] {
    let (mut file, mut hash) = (File::create(path).expect("it is made"), Sha256::new());
    for piece in pieces(len) {
        file.write_all(&piece).expect("it is written");
        hash.update(&piece);
    }
    hash.finalize().into()
}

/// Pieces of a mebibyte that are all different.
fn pieces(len: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..len >> 20).map(|number| {
        let mut piece = vec![0x5A; 1 << 20];
        for at in (0..piece.len()).step_by(4096) {
            piece[at..at + 8].copy_from_slice(&((number << 20 | at) as u64).to_le_bytes());
        }
        piece
    })
}

/// The most that an OS process has ever had in memory, in bytes.
fn memory(os_pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{os_pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is said");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

#[derive(Serialize, Deserialize)]
struct Ping(Pid);

#[derive(Serialize, Deserialize)]
struct Read {
    bytes: usize,
    hash: [u8; 32],
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Written([u8; 32]);

async fn echoes(mut ctx: Ctx) {
    loop {
        let Ping(from) = ctx.receive().await;
        ctx.send(from, Ping(from));
    }
}

async fn reads(ctx: Ctx, tester: Pid, path: String) {
    let mut file = ctx.files().open(path).await.expect("it is there");
    let (mut bytes, mut hash) = (0, Sha256::new());
    while let Some(chunk) = file.read_chunk().await.expect("it is read") {
        bytes += chunk.len();
        hash.update(chunk);
    }
    ctx.send(tester, Read { bytes, hash: hash.finalize().into() });
}

async fn writes(ctx: Ctx, tester: Pid, path: String, len: usize) {
    let mut file = ctx.files().create(path).await.expect("it may");
    let mut hash = Sha256::new();
    for piece in pieces(len) {
        file.write_all(&piece).await.expect("it is written");
        hash.update(&piece);
    }
    file.close().await.expect("it is on the disk");
    ctx.send(tester, Written(hash.finalize().into()));
}
remote_fn!("file_memory": echoes, reads, writes);

/// Either side may need this much more than before.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const PINGS: usize = 2000;
