//! What a master and a guard say to each other after the letter: frames over the guard's standard input and output.
//!
//! | from | type | payload |
//! |---|---|---|
//! | master | `q` | none: end at once |
//! | master | `t` | bytes of the tunnel |
//! | master | `m` | none: there is room for [`OUTPUT_QUANTUM`] more bytes of output |
//! | guard | `o`, `e` | what the worker, or a child of it, wrote to standard output, to standard error |
//! | guard | `t` | bytes of the tunnel; none: the worker has closed it |
//!
//! A frame is its type's byte, the payload's length as a big-endian `u32`, the payload. The *tunnel* is one stream
//! between master and worker, for a worker that reaches its master in no other way: whatever carries the launch
//! (an ssh session, `docker exec`) carries it as well. Output waits for room at the master, for at first there is
//! some for [`OUTPUT_QUANTUMS`] quantums: so a terminal that stands still does not hold up the tunnel behind it.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{self, Errno};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::stdio::{stdin, stdout};

use super::timer::Timer;

/// A frame's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Quit,
    Tunnel,
    More,
    Output,
    Errors,
}

impl Type {
    fn byte(self) -> u8 {
        match self {
            Type::Quit => b'q',
            Type::Tunnel => b't',
            Type::More => b'm',
            Type::Output => b'o',
            Type::Errors => b'e',
        }
    }

    fn of(byte: u8) -> Option<Type> {
        let all = [Type::Quit, Type::Tunnel, Type::More, Type::Output, Type::Errors];
        all.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The head of a frame with a payload of this length.
pub(crate) fn head(kind: Type, bytes: usize) -> [u8; HEAD_BYTES] {
    let length =
        u32::try_from(bytes).expect("payloads are cut to the size of a read").to_be_bytes();
    [kind.byte(), length[0], length[1], length[2], length[3]]
}

/// Takes frames out of a stream, piece by piece; a payload may come in several pieces.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    head: [u8; HEAD_BYTES],
    have: usize,
    left: usize,
}

/// What a stream carried that is not these frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a guard's frame: type {kind:#04x}")]
pub(crate) struct NotOurs {
    kind: u8,
}

impl Parser {
    /// Takes `read`; `on` gets each piece of each payload, and once an empty one for a frame without.
    pub(crate) fn take(
        &mut self,
        mut read: &[u8],
        mut on: impl FnMut(Type, &[u8]),
    ) -> Result<(), NotOurs> {
        loop {
            while self.have < HEAD_BYTES {
                let Some((&byte, rest)) = read.split_first() else { return Ok(()) };
                (self.head[self.have], read) = (byte, rest);
                self.have += 1;
                if self.have == HEAD_BYTES {
                    let [_, length @ ..] = self.head;
                    self.left = u32::from_be_bytes(length) as usize;
                    if self.left == 0 {
                        on(self.kind()?, &[]);
                        self.have = 0;
                    }
                }
            }
            let kind = self.kind()?;
            if read.is_empty() {
                return Ok(());
            }
            let (piece, rest) = read.split_at(read.len().min(self.left));
            on(kind, piece);
            (self.left, read) = (self.left - piece.len(), rest);
            if self.left == 0 {
                self.have = 0;
            }
        }
    }

    fn kind(&self) -> Result<Type, NotOurs> {
        Type::of(self.head[0]).ok_or(NotOurs { kind: self.head[0] })
    }
}

/// The guard's end. GD-8: whatever does not take what is for it holds up its own source and nothing else: no call
/// here blocks, and what waits is bounded.
pub(super) struct Channel {
    from_master: Parser,
    to_master: Vec<u8>,
    to_worker: Vec<u8>,
    /// Its standard output and its standard error: none once it, and whoever has them from it, has closed them.
    outputs: [(Type, Option<OwnedFd>); 2],
    tunnel: Option<OwnedFd>,
    /// As much output as the master has room for.
    room: usize,
    scratch: Vec<u8>,
}

/// What the master has said, or that it is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Master {
    Stays,
    Ends,
}

impl Channel {
    /// `output` and `errors` are the reading ends of what the worker writes, `tunnel` is a socket to it.
    pub(super) fn new(output: OwnedFd, errors: OwnedFd, tunnel: OwnedFd) -> Channel {
        Channel {
            from_master: Parser::default(),
            to_master: Vec::new(),
            to_worker: Vec::new(),
            outputs: [(Type::Output, Some(output)), (Type::Errors, Some(errors))],
            tunnel: Some(tunnel),
            room: OUTPUT_QUANTUM * OUTPUT_QUANTUMS,
            scratch: vec![0; READ_BYTES],
        }
    }

    /// What `poll` is to wait for, the master first.
    pub(super) fn watched(&self) -> Vec<PollFd<'_>> {
        let when = |condition, flag| if condition { flag } else { PollFlags::empty() };
        let room_up = when(self.to_master.len() < HELD_BYTES_MAX, PollFlags::IN);
        let room_down = when(self.to_worker.len() < HELD_BYTES_MAX, PollFlags::IN);
        let mut fds = vec![PollFd::from_borrowed_fd(stdin(), room_down | PollFlags::RDHUP)];
        if !self.to_master.is_empty() {
            fds.push(PollFd::from_borrowed_fd(stdout(), PollFlags::OUT));
        }
        // Without room a closed one would wake us again and again.
        if !room_up.is_empty() && self.room > 0 {
            let outputs = self.outputs.iter().filter_map(|(_, output)| output.as_ref());
            fds.extend(outputs.map(|output| PollFd::new(output, room_up)));
        }
        let fed = when(!self.to_worker.is_empty(), PollFlags::OUT);
        if !(room_up | fed).is_empty() {
            fds.extend(self.tunnel.iter().map(|tunnel| PollFd::new(tunnel, room_up | fed)));
        }
        fds
    }

    /// Carries on whatever can be; `master` is what `poll` said of the master.
    pub(super) fn carry(&mut self, master: PollFlags) -> Master {
        if !master.is_empty() && self.hear_master() == Master::Ends {
            return Master::Ends;
        }
        self.feed_worker();
        self.gather();
        self.tell_master();
        Master::Stays
    }

    /// Hands on what has been written before the end: as far as the master takes it without waiting, or, if it is `patient`,
    /// until that timer fires.
    pub(super) fn finish(&mut self, patient: Option<&Timer>) {
        loop {
            self.gather();
            let took = self.tell_master();
            let gathered = self.outputs.iter().all(|(_, output)| output.is_none());
            if gathered && self.to_master.is_empty() {
                return;
            }
            let Some(timer) = patient else {
                if took {
                    continue;
                }
                return;
            };
            let mut fds = self.watched();
            fds.push(PollFd::new(timer, PollFlags::IN));
            let waited = super::wait_for(&mut fds, None);
            let master = fds[0].revents();
            let gone = !master.is_empty() && self.hear_master() == Master::Ends;
            if waited.is_err() || gone || timer.fired() {
                return;
            }
        }
    }

    fn hear_master(&mut self) -> Master {
        if self.to_worker.len() >= HELD_BYTES_MAX {
            return Master::Ends; // it was woken by the end alone
        }
        let bytes = match io::read(stdin(), &mut self.scratch[..]) {
            Ok(0) => return Master::Ends,
            Ok(bytes) => bytes,
            Err(Errno::INTR | Errno::AGAIN) => return Master::Stays,
            Err(_) => return Master::Ends,
        };
        let (mut asked, open) = (false, self.tunnel.is_some());
        let (to_worker, room) = (&mut self.to_worker, &mut self.room);
        let parsed = self.from_master.take(&self.scratch[..bytes], |kind, piece| match kind {
            Type::Quit => asked = true,
            Type::Tunnel if open => to_worker.extend_from_slice(piece),
            Type::More => *room = room.saturating_add(OUTPUT_QUANTUM),
            Type::Tunnel | Type::Output | Type::Errors => {}
        });
        if asked || parsed.is_err() { Master::Ends } else { Master::Stays }
    }

    fn feed_worker(&mut self) {
        while let Some(tunnel) = &self.tunnel
            && !self.to_worker.is_empty()
        {
            match send(tunnel, &self.to_worker, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(bytes) => drop(self.to_worker.drain(..bytes)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.to_worker.clear(), // its end is noticed below
            }
        }
    }

    /// Takes what the worker has written.
    fn gather(&mut self) {
        for (kind, output) in &mut self.outputs {
            while self.to_master.len() < HELD_BYTES_MAX
                && self.room > 0
                && let Some(from) = output
            {
                // A pipe has no flag for one call; to look first is as good, for nobody else reads it.
                let mut fds = [PollFd::new(from, PollFlags::IN)];
                let _ = super::wait_for(&mut fds, Some(&super::AT_ONCE));
                if fds[0].revents().is_empty() {
                    break;
                }
                let into = READ_BYTES.min(self.room);
                match io::read(&*from, &mut self.scratch[..into]) {
                    Ok(bytes @ 1..) => {
                        put(&mut self.to_master, *kind, &self.scratch[..bytes]);
                        self.room -= bytes;
                    }
                    Err(Errno::INTR) => {}
                    Ok(0) | Err(_) => *output = None,
                }
            }
        }
        while self.to_master.len() < HELD_BYTES_MAX
            && let Some(tunnel) = &self.tunnel
        {
            match recv(tunnel, &mut self.scratch[..], RecvFlags::DONTWAIT) {
                Ok((bytes @ 1.., _)) => {
                    put(&mut self.to_master, Type::Tunnel, &self.scratch[..bytes]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Ok((0, _)) | Err(_) => {
                    put(&mut self.to_master, Type::Tunnel, &[]);
                    self.tunnel = None;
                    self.to_worker = Vec::new();
                }
            }
        }
    }

    /// Writes what the master takes without waiting; whether it took anything.
    fn tell_master(&mut self) -> bool {
        let mut took = false;
        while !self.to_master.is_empty() {
            match write_some(&self.to_master) {
                Ok(bytes) => drop(self.to_master.drain(..bytes)),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                // Nobody reads it any more; that the master is gone shows elsewhere.
                Err(_) => self.to_master.clear(),
            }
            took = true;
        }
        took
    }
}

fn put(to: &mut Vec<u8>, kind: Type, payload: &[u8]) {
    to.extend_from_slice(&head(kind, payload.len()));
    to.extend_from_slice(payload);
}

/// Writes to standard output what goes without waiting, be it a socket or a pipe. The flag of the open file
/// would be another's too, who does not expect it: `2>&1` is enough for that.
fn write_some(bytes: &[u8]) -> Result<usize, Errno> {
    let to = stdout();
    match send(to, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Err(Errno::NOTSOCK) => {}
        sent => return sent,
    }
    let mut fds = [PollFd::new(&to, PollFlags::OUT)];
    let _ = super::wait_for(&mut fds, Some(&super::AT_ONCE));
    match fds[0].revents() {
        // At most a page goes into a pipe that has room without blocking, and in one piece.
        ready if ready.contains(PollFlags::OUT) => {
            io::write(to, &bytes[..bytes.len().min(super::PAGE_BYTES)])
        }
        ready if ready.is_empty() => Err(Errno::AGAIN),
        _ => Err(Errno::PIPE),
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

const HEAD_BYTES: usize = 5;

/// Room for output is given in these steps.
pub(crate) const OUTPUT_QUANTUM: usize = 16 << 10;

/// As many of them there is room for at first.
pub(crate) const OUTPUT_QUANTUMS: usize = 4;

/// One read, and so the longest payload of a frame.
const READ_BYTES: usize = 64 << 10;

/// As much may wait in either direction before its source is held up.
const HELD_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = Vec::new();
        put(&mut stream, Type::Output, b"hello");
        put(&mut stream, Type::Tunnel, b"");
        put(&mut stream, Type::Tunnel, &[7; 300]);
        put(&mut stream, Type::Quit, b"");
        for cut in 1..stream.len() {
            let (mut parser, mut seen) = (Parser::default(), Vec::<(Type, Vec<u8>)>::new());
            for piece in stream.chunks(cut) {
                parser
                    .take(piece, |kind, bytes| match seen.last_mut() {
                        Some((last, held))
                            if *last == kind && !bytes.is_empty() && !held.is_empty() =>
                        {
                            held.extend_from_slice(bytes);
                        }
                        _ => seen.push((kind, bytes.to_vec())),
                    })
                    .unwrap();
            }
            let (output, tunnel) =
                ((Type::Output, b"hello".to_vec()), (Type::Tunnel, vec![7; 300]));
            let wanted = [output, (Type::Tunnel, vec![]), tunnel, (Type::Quit, vec![])];
            assert_eq!(seen, wanted, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let refused = Parser::default().take(b"hello", |_, _| {});
        assert_eq!(refused, Err(NotOurs { kind: b'h' }));
    }
}
