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
    let mut idle = Vec::new();
    pool.ping(echo, PINGS, &mut idle).await;
    tell("idle", &mut idle);

    let me = pool.inbox.pid();
    let paced = pool.beside(echo, "reads", (me, "long", PAUSE)).await;
    let read = pool.beside(echo, "reads", (me, "long", Duration::ZERO)).await;
    let written = pool.beside(echo, "writes", (me, "back", len)).await;
    for (what, told) in [("read, with pauses", paced), ("read", read), ("written", written)] {
        let Beside { done, took, mut pings, grown } = told;
        let mib = len as f64 / f64::from(1 << 20);
        println!("{mib} MiB {what} by a slave in {took:?}: {:.0} MiB/s", mib / took.as_secs_f64());
        println!("  memory grew by {} KiB here, {} KiB there", grown[0] >> 10, grown[1] >> 10);
        tell("  beside it", &mut pings);
        assert_eq!(done, Done { bytes: len, hash }, "{what}");
        assert!(grown.iter().all(|bytes| *bytes < GROWTH_BYTES_MAX), "{what}: {grown:?} bytes");
    }
    let back = fs::read(dir.path().join("back")).expect("it was written");
    assert_eq!((back.len(), Sha256::digest(&back).into()), (len, hash));
    pool.stop().await;
}

/// What came of it, and how it went beside it.
struct Beside {
    done: Done,
    took: Duration,
    pings: Vec<Duration>,
    /// By how much the most that either OS process ever had in memory has grown.
    grown: [u64; 2],
}

fn tell(what: &str, pings: &mut [Duration]) {
    pings.sort_unstable();
    let at = |of: usize| pings[(pings.len() - 1) * of / 100];
    println!(
        "{what}: {} pings, p50 {:?}, p99 {:?}, max {:?}",
        pings.len(),
        at(50),
        at(99),
        at(100)
    );
}

impl TestPool {
    /// Lets the slave do it, and sends pings to `echo` and back meanwhile.
    async fn beside(&mut self, echo: Pid, function: &str, args: impl Serialize) -> Beside {
        let slave = echo.node();
        let before = self.memory_with(slave).await;
        let begin = Instant::now();
        let starts = self.inbox.spawn_fn("file_memory", function, args).on(slave);
        starts.await.expect("it starts");
        let mut pings = Vec::new();
        let done = loop {
            self.ping(echo, 10, &mut pings).await;
            if let Some(done) = self.inbox.receive_within::<Done>(Duration::ZERO).await {
                break done;
            }
        };
        let took = begin.elapsed();
        let after = self.memory_with(slave).await;
        let grown = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];
        Beside { done, took, pings, grown }
    }

    /// Sends so many messages to `echo` and back, one after the other.
    async fn ping(&mut self, echo: Pid, times: usize, pings: &mut Vec<Duration>) {
        for _ in 0..times {
            let begin = Instant::now();
            self.inbox.send(echo, Ping(self.inbox.pid()));
            self.next::<Ping>().await;
            pings.push(begin.elapsed());
        }
    }

    /// The most that this OS process and the slave's have ever had in memory, in bytes.
    async fn memory_with(&mut self, slave: NodeName) -> [u64; 2] {
        [memory(std::process::id()), memory(self.tell_of(slave).await.0)]
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

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Done {
    bytes: usize,
    hash: [u8; 32],
}

async fn echoes(mut ctx: Ctx) {
    loop {
        let Ping(from) = ctx.receive().await;
        ctx.send(from, Ping(from));
    }
}

/// Pauses after each mebibyte.
async fn reads(mut ctx: Ctx, tester: Pid, path: String, pause: Duration) {
    let mut file = ctx.files().open(path).await.expect("it is there");
    let (mut bytes, mut hash) = (0, Sha256::new());
    while let Some(chunk) = file.read_chunk().await.expect("it is read") {
        bytes += chunk.len();
        hash.update(chunk);
        if bytes % (1 << 20) == 0 && !pause.is_zero() {
            ctx.receive_within::<()>(pause).await;
        }
    }
    ctx.send(tester, Done { bytes, hash: hash.finalize().into() });
}

async fn writes(ctx: Ctx, tester: Pid, path: String, len: usize) {
    let mut file = ctx.files().create(path).await.expect("it may");
    let mut hash = Sha256::new();
    for piece in pieces(len) {
        file.write_all(&piece).await.expect("it is written");
        hash.update(&piece);
    }
    file.close().await.expect("it is on the disk");
    ctx.send(tester, Done { bytes: len, hash: hash.finalize().into() });
}
remote_fn!("file_memory": echoes, reads, writes);

/// Either side may need this much more than before.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const PINGS: usize = 2000;
/// After each mebibyte: about what a line of a gigabit a second carries, and both cores have time to spare.
const PAUSE: Duration = Duration::from_millis(8);
