//! The limit: what a plain loop on a socket does with the same codec, and nothing around it.
//!
//! One thread, a frame is its length in four bytes and a MessagePack value, encoded straight into the
//! buffer that is written and decoded where it was read. Of all that a read brings every frame is looked at
//! before the answers to them are written, at once; who only sends writes 512 KiB at a time. No delay
//! (`TCP_NODELAY`), no spinning. The two ends are OS processes on a core of their own each: where the kernel
//! would put two single threads is a matter of luck, and decides how long a round trip takes.
//!
//! This executable is both ends, by its hidden subcommand `bench-peer`; they end with its standard input.

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::process::{ExitCode, Stdio};
use std::str::FromStr;

use pspawn::Error;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::{Effort, Limit, kill, workloads};

/// Measures the limit of a workload with OS processes of its own.
pub(super) async fn measure(name: &str, limit: Limit, effort: Effort) -> Result<f64, Error> {
    let server = async || -> Result<(Peer, u16), Error> {
        let mut server = start(name, &Part::Server)?;
        let port = said(&mut server).await?;
        Ok((server, port))
    };
    match limit {
        Limit::Wire { .. } => {
            let (_server, port) = server().await?;
            said(&mut start(name, &Part::Client { port, effort })?).await
        }
        Limit::Killed { .. } => kill::limit(server, effort).await,
        Limit::Computed(compute) => Ok(compute(effort)),
        Limit::Tasks(_) => said(&mut start(name, &Part::Alone { effort })?).await,
    }
}

/// An OS process of the limit. It is killed when this is dropped.
pub(super) type Peer = tokio::process::Child;

fn start(name: &str, part: &Part) -> Result<Peer, Error> {
    let part = serde_json::to_string(part).expect("a plain value");
    let mut peer = Command::new(std::env::current_exe()?);
    peer.args(["bench-peer", name, &part]);
    peer.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(peer.spawn()?)
}

/// The line that a peer says.
async fn said<T: FromStr>(peer: &mut Peer) -> Result<T, Error> {
    let out = peer.stdout.take().ok_or("it has said its word")?;
    let line = BufReader::new(out).lines().next_line().await?.unwrap_or_default();
    line.parse().map_err(|_| format!("an OS process says: {line}").into())
}

/// Which part an OS process plays.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Says its port, and answers.
    Server,
    /// Talks to it, and says what it has measured.
    Client { port: u16, effort: Effort },
    /// Measures without a socket, and says it.
    Alone { effort: Effort },
}

/// Plays a part in the limit of the workload of this name.
pub(crate) fn play(name: &str, part: &Part) -> ExitCode {
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]); // nothing is ever said there
        std::process::exit(1); // whoever wanted the figure is gone
    });
    let all = workloads();
    let workload = all.iter().find(|workload| workload.name == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let played = workload
        .and_then(|workload| workload.limit)
        .ok_or_else(|| io::Error::other("there is none"))
        .and_then(|limit| runtime?.block_on(run(limit, part)));
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("the limit of {name}: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(limit: Limit, part: &Part) -> io::Result<()> {
    match (limit, part) {
        (Limit::Wire { server, .. } | Limit::Killed { server }, Part::Server) => {
            stay_on_core(1)?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            println!("{}", listener.local_addr()?.port());
            let (stream, _) = listener.accept().await?;
            server().serve(Wire::new(stream)?).await
        }
        (Limit::Wire { client, .. }, &Part::Client { port, effort }) => {
            stay_on_core(0)?;
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            println!("{}", client(Wire::new(stream)?, effort).await?);
            Ok(())
        }
        (Limit::Tasks(measure), &Part::Alone { effort }) => {
            println!("{}", measure(effort).await?);
            Ok(())
        }
        (
            Limit::Wire { .. } | Limit::Killed { .. } | Limit::Computed(_) | Limit::Tasks(_),
            Part::Server | Part::Client { .. } | Part::Alone { .. },
        ) => Err(io::Error::other("not a part of it")),
    }
}

/// Stays on one of the cores that it may use, if there are several.
fn stay_on_core(number: usize) -> io::Result<()> {
    let may = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| may.is_set(core));
    if let Some(core) = cores.nth(number) {
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only)?;
    }
    Ok(())
}

/// The end that is talked to.
pub(super) struct Server(Box<Handler>);

type Handler = dyn FnMut(&[u8], &mut Frames) -> io::Result<()>;

impl Server {
    /// What it does with a frame; answers go into the buffer.
    pub(super) fn new(
        handle: impl FnMut(&[u8], &mut Frames) -> io::Result<()> + 'static,
    ) -> Server {
        Server(Box::new(handle))
    }

    async fn serve(mut self, mut wire: Wire) -> io::Result<()> {
        loop {
            match wire.read(&mut self.0).await {
                Ok(()) => wire.flush().await?,
                Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(why) => return Err(why),
            }
        }
    }
}

/// The end that talks.
pub(super) type Client = Wire;

/// A connection with its two buffers.
pub(super) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    /// What was read, and not looked at yet.
    unread: std::ops::Range<usize>,
    out: Frames,
}

impl Wire {
    fn new(stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        Ok(Wire { stream, read: vec![0; READ_BYTES], unread: 0..0, out: Frames::default() })
    }

    /// Appends a frame to what will be written.
    pub(super) fn put(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.out.put(value)
    }

    /// How many bytes wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.out.0.len()
    }

    /// Writes them.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if !self.out.0.is_empty() {
            self.stream.write_all(&self.out.0).await?;
            self.out.0.clear();
        }
        Ok(())
    }

    /// Reads once, or until there is a whole frame, and handles all that there are.
    pub(super) async fn read(
        &mut self,
        mut handle: impl FnMut(&[u8], &mut Frames) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut any = false;
        while !any {
            self.make_room();
            let read = self.stream.read(&mut self.read[self.unread.end..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.end += read;
            while let Some((head, rest)) = self.read[self.unread.clone()].split_first_chunk()
                && let Some(frame) = rest.get(..u32::from_be_bytes(*head) as usize)
            {
                any = true;
                self.unread.start += head.len() + frame.len();
                handle(frame, &mut self.out)?;
            }
        }
        Ok(())
    }

    /// Room for a good read, and for the frame whose beginning is there.
    fn make_room(&mut self) {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.read.len() - self.unread.end < READ_BYTES / 2 {
            self.read.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
            if self.read.len() - self.unread.end < READ_BYTES / 2 {
                self.read.resize(self.read.len() * 2, 0);
            }
        }
    }
}

/// Frames that wait to be written.
#[derive(Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    pub(super) fn put(&mut self, value: &impl Serialize) -> io::Result<()> {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        rmp_serde::encode::write(&mut self.0, value).map_err(io::Error::other)?;
        let length = (self.0.len() - start - 4) as u32;
        self.0[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

/// The value of a frame, borrowed from it.
pub(super) fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> io::Result<T> {
    rmp_serde::from_slice(frame).map_err(io::Error::other)
}

const READ_BYTES: usize = 512 << 10;
