//! One socket: it is read, and written to, by whichever thread of the node is at it first.
//!
//! Reading is under one lock from the bytes to the inboxes, so that what has come in order is passed on in order;
//! writing is under another. Nobody waits for either: who has it also does what came meanwhile.
//!
//! Within a host it has shared memory beside it, and the bytes go through that.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::channel::oneshot;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown,
};

use super::Node;
use super::cell::lock;
use super::incoming::Incoming;
use super::lane::GOOD_WRITE_BYTES;
use super::link::{Link, Taken};
use super::memory::{Memory, Reader, Writer, hush};
use super::outgoing::Outgoing;
use super::sockets::{Seen, Sockets};

/// The socket of a connection that is up.
pub(crate) struct Socket {
    /// What the kernel calls it to whoever looks.
    pub(super) key: u64,
    fd: File,
    /// What the bytes go through instead, within a host.
    memory: Option<Arc<Memory>>,
    node: Arc<Node>,
    link: Arc<Link>,
    reading: Mutex<Reading>,
    writing: Mutex<Writing>,
    /// The other end is gone. What it has left in the memory is still read.
    hung_up: AtomicBool,
    /// It was said why there is no more to read.
    is_over: AtomicBool,
    /// A long frame has come in part.
    is_amid: AtomicBool,
    /// Since when it takes nothing, in milliseconds of the node's clock; 0 if it does.
    stalled: AtomicU64,
    /// How much the other end had read then, of what goes through memory.
    read_then: AtomicU64,
}

struct Reading {
    incoming: Incoming,
    /// Where from; none: the socket.
    from: Option<Reader>,
    /// Who hears why there is no more; none if that was said.
    ended: Option<oneshot::Sender<String>>,
}

#[derive(Default)]
struct Writing {
    outgoing: Outgoing,
    /// Where to; none: the socket.
    to: Option<Writer>,
    /// What of it is written.
    done: usize,
    /// It took no more; the kernel says when it does, and the memory shows it.
    full: bool,
    /// It takes short frames only for now; the memory shows when that is over.
    no_long: bool,
    /// So much of short frames was written since the last long one had its turn.
    short: usize,
}

/// Why a read brought no more than it did.
enum Stop {
    /// Nothing else is there yet.
    Empty,
    /// Nothing else will come.
    Over(String),
}

impl Socket {
    /// `read` has come with the greeting. What is returned besides comes true when the connection has ended.
    pub(super) fn new(
        key: u64,
        (fd, memory): (OwnedFd, Option<Box<Memory>>),
        node: Arc<Node>,
        link: Arc<Link>,
        read: Vec<u8>,
    ) -> (Socket, oneshot::Receiver<String>) {
        let (end, ended) = oneshot::channel();
        let (from, to, memory) = match memory.map(Memory::ends) {
            Some((from, to, memory)) => (Some(from), Some(to), Some(memory)),
            None => (None, None, None),
        };
        let incoming = Incoming::new(node.clone(), link.clone(), read);
        let socket = Socket {
            key,
            fd: File::from(fd), // it is read like one
            memory,
            node,
            link,
            reading: Mutex::new(Reading { incoming, from, ended: Some(end) }),
            writing: Mutex::new(Writing { to, ..Writing::default() }),
            hung_up: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            is_amid: AtomicBool::new(false),
            stalled: AtomicU64::new(0),
            read_then: AtomicU64::new(0),
        };
        (socket, ended)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What hangs up when the other end's OS process ends, if that has a witness.
    pub(super) fn sight(&self) -> Option<BorrowedFd<'_>> {
        self.memory.as_ref().and_then(|memory| memory.sight())
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Whether its bytes go through memory, and it is only the bell.
    pub(super) fn is_bell(&self) -> bool {
        self.memory.is_some()
    }

    /// Passes on what came with the greeting.
    pub(super) fn begin(&self, sockets: &Sockets) {
        let mut reading = lock(&self.reading);
        if let Err(why) = reading.incoming.take_in() {
            self.end(&mut reading, sockets, &why);
        }
    }

    /// Reads and writes what can be through memory.
    pub(super) fn look(&self, sockets: &Sockets) -> Seen {
        let memory = self.memory.as_ref().filter(|_| !self.is_over.load(Ordering::Relaxed));
        let Some(memory) = memory else { return Seen::Nothing };
        let mut seen = Seen::Nothing;
        if memory.has_room_again() {
            self.flush(sockets);
            seen = Seen::Went;
        }
        if memory.has_come() {
            seen = self.read(sockets).max(seen);
        }
        seen
    }

    /// The rest of something long is on its way, in or out.
    pub(super) fn is_amid(&self) -> bool {
        let waits = || self.memory.as_ref().is_some_and(|memory| memory.is_waiting());
        !self.is_over.load(Ordering::Relaxed) && (self.is_amid.load(Ordering::Relaxed) || waits())
    }

    /// All threads of the node are about to sleep. If this is true there is something to do instead.
    pub(super) fn sleep(&self) -> bool {
        let asleep = self.memory.as_ref().is_some_and(|memory| memory.sleep());
        asleep && !self.is_over.load(Ordering::Relaxed)
    }

    /// One of them does not sleep any more.
    pub(super) fn awake(&self) {
        self.memory.iter().for_each(|memory| memory.awake());
    }

    /// The bell has rung, for one of those that sleep.
    pub(super) fn rung(&self, sockets: &Sockets) -> Seen {
        match hush(self.fd()) {
            true => self.hung_up(sockets),
            false => self.look(sockets),
        }
    }

    /// The other end is gone.
    pub(super) fn hung_up(&self, sockets: &Sockets) -> Seen {
        self.hung_up.store(true, Ordering::Release);
        self.read(sockets)
    }

    /// Reads what is there and passes it on. Nothing if another thread is at it.
    pub(super) fn read(&self, sockets: &Sockets) -> Seen {
        let Ok(mut reading) = self.reading.try_lock() else { return Seen::Nothing };
        if reading.ended.is_none() {
            return Seen::Nothing;
        }
        let seen = self.read_on(&mut reading, sockets);
        self.is_amid.store(reading.incoming.is_amid(), Ordering::Relaxed);
        seen
    }

    fn read_on(&self, reading: &mut Reading, sockets: &Sockets) -> Seen {
        let mut left = BYTES_AT_ONCE;
        loop {
            let Reading { incoming, from, .. } = reading;
            let (is_piece, into, wanted) = match incoming.rest_of_piece() {
                Some((frame, wanted)) => (true, frame, wanted),
                None => {
                    let room = incoming.room();
                    let wanted = room.capacity() - room.len();
                    (false, room, wanted)
                }
            };
            let (read, stop) = match from {
                Some(from) => self.receive_through(from, into, wanted),
                None if is_piece => self.receive_all(into, wanted),
                None => self.receive(into, wanted),
            };
            if !is_piece && read == wanted {
                incoming.filled();
            }
            let passed_on = if read == 0 {
                Ok(())
            } else if self.link.is_lost() {
                // Nothing is heard of a node after its loss: another life of it may be connected by now.
                Err("lost already".to_owned())
            } else {
                self.node.hear(&self.link);
                if is_piece { incoming.piece_came(read) } else { incoming.take_in() }
            };
            left = left.saturating_sub(read);
            match (passed_on, stop) {
                (Err(why), _) | (Ok(()), Some(Stop::Over(why))) => {
                    self.end(reading, sockets, &why);
                    return Seen::Came;
                }
                (Ok(()), Some(Stop::Empty)) if left == BYTES_AT_ONCE => return Seen::Nothing,
                (Ok(()), Some(Stop::Empty)) => return Seen::Came,
                (Ok(()), None) if left == 0 => return Seen::Came,
                (Ok(()), None) => {}
            }
        }
    }

    /// Reads so much behind what `into` holds, or what there is of it; how much that was, and why it was not all.
    fn receive_all(&self, into: &mut Vec<u8>, wanted: usize) -> (usize, Option<Stop>) {
        let before = into.len();
        let end = (&self.fd).take(wanted as u64).read_to_end(into);
        let read = into.len() - before;
        let stop = match end {
            Ok(_) if read < wanted => Some(Stop::Over(CLOSED.to_owned())),
            Ok(_) => None,
            Err(why) if why.kind() == ErrorKind::WouldBlock => Some(Stop::Empty),
            Err(why) => Some(Stop::Over(why.to_string())),
        };
        (read, stop)
    }

    /// The same at one go, into the room for it that `into` has.
    fn receive(&self, into: &mut Vec<u8>, room: usize) -> (usize, Option<Stop>) {
        loop {
            return match recv(&self.fd, spare_capacity(into), RecvFlags::DONTWAIT) {
                Ok((0, _)) => (0, Some(Stop::Over(CLOSED.to_owned()))),
                Ok((read, _)) => (read, (read < room).then_some(Stop::Empty)),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => (0, Some(Stop::Empty)),
                Err(why) => (0, Some(Stop::Over(why.to_string()))),
            };
        }
    }

    /// The same through memory.
    fn receive_through(
        &self,
        from: &mut Reader,
        into: &mut Vec<u8>,
        most: usize,
    ) -> (usize, Option<Stop>) {
        // In this order: who hangs up writes nothing afterwards. Whose witness has, may while it dies; nobody relies on that.
        let is_last = self.hung_up.load(Ordering::Acquire);
        match from.read(into, most, self.fd()) {
            Ok(read) if read == most => (read, None),
            Ok(read) if is_last => (read, Some(Stop::Over(CLOSED.to_owned()))),
            Ok(read) => (read, Some(Stop::Empty)),
            Err(nonsense) => (0, Some(Stop::Over(nonsense.to_string()))),
        }
    }

    fn end(&self, reading: &mut Reading, sockets: &Sockets, why: &str) {
        sockets.deaf_to(self);
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(ended) = reading.ended.take() {
            let _ = ended.send(why.to_owned());
        }
    }

    /// Writes what waits, as much as the socket takes.
    pub(super) fn flush(&self, sockets: &Sockets) {
        loop {
            // Who has it writes what we have put there, or looks once more when it has let go of it.
            let Ok(mut writing) = self.writing.try_lock() else { return };
            if writing.full && !self.memory.as_ref().is_some_and(|memory| memory.has_room_again()) {
                return;
            }
            self.write(&mut writing, sockets);
            let Writing { full, no_long, .. } = *writing;
            drop(writing);
            if full || !self.link.has_waiting(no_long) {
                return;
            }
        }
    }

    /// The kernel says that the socket takes more.
    pub(super) fn writable(&self, sockets: &Sockets) {
        {
            let Ok(mut writing) = self.writing.try_lock() else { return };
            if !writing.full {
                return;
            }
            writing.full = false;
            sockets.listen_to(self, EventFlags::IN);
        }
        self.flush(sockets);
    }

    fn write(&self, writing: &mut Writing, sockets: &Sockets) {
        loop {
            let Writing { outgoing, to, done, full, no_long, short } = writing;
            let (mut parts, mut count) = ([IoSlice::new(&[]); PARTS_MAX], 0);
            let mut skip = *done;
            for part in outgoing.parts() {
                match part.len().checked_sub(skip) {
                    None | Some(0) => skip -= part.len(),
                    Some(_) if count == PARTS_MAX => break,
                    Some(_) => {
                        parts[count] = IoSlice::new(&part[skip..]);
                        (count, skip) = (count + 1, 0);
                    }
                }
            }
            if count == 0 {
                *done = 0;
                let of_long = match &self.memory {
                    None => GOOD_WRITE_BYTES,
                    Some(memory) if memory.has_much_room() || *short > SHORT_BYTES_MAX => {
                        PIECE_BYTES
                    }
                    Some(_) => 0,
                };
                *no_long = false;
                match self.link.take_waiting(outgoing, of_long) {
                    Taken::Some if of_long == 0 => {
                        *short += outgoing.parts().map(<[u8]>::len).sum::<usize>();
                    }
                    Taken::Some => *short = 0,
                    Taken::Nothing => {
                        self.memory.iter().for_each(|memory| memory.waits_no_more());
                        return;
                    }
                    Taken::OnlyLong => {
                        if self.memory.as_ref().is_some_and(|memory| memory.waits_for_much_room()) {
                            *no_long = true;
                            self.stalls();
                            return;
                        }
                    }
                }
                continue;
            }
            match self.send(to, &parts[..count]) {
                Ok(written) => {
                    *done += written;
                    *full = false;
                    self.goes_on();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    *full = true;
                    self.stalls();
                    if self.memory.is_none() {
                        sockets.listen_to(self, EventFlags::IN | EventFlags::OUT);
                    }
                    return;
                }
                // Who reads hears why.
                Err(_) => *done = outgoing.parts().map(<[u8]>::len).sum(),
            }
        }
    }

    /// It takes nothing now; if it did before, it has stalled since.
    fn stalls(&self) {
        self.goes_on_if_read();
        let now = u64::try_from(self.node.now().as_millis()).unwrap_or(u64::MAX);
        let (from, relaxed) = (0, Ordering::Relaxed);
        let _ = self.stalled.compare_exchange(from, now.max(1), relaxed, relaxed);
    }

    /// It has taken something: memory takes what is short also if nobody reads there.
    fn goes_on(&self) {
        match self.memory {
            None => self.stalled.store(0, Ordering::Relaxed),
            Some(_) => self.goes_on_if_read(),
        }
    }

    fn goes_on_if_read(&self) {
        if let Some(memory) = &self.memory {
            let read = memory.read_there();
            if self.read_then.swap(read, Ordering::Relaxed) != read {
                self.stalled.store(0, Ordering::Relaxed);
            }
        }
    }

    fn send(&self, to: &mut Option<Writer>, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match (to, parts) {
            (Some(to), parts) => match to.write(parts, self.fd()) {
                Ok(0) => Err(Errno::AGAIN),
                Ok(written) => Ok(written),
                Err(_) => {
                    let _ = shutdown(&self.fd, Shutdown::Both); // who reads hears of that
                    Err(Errno::PIPE)
                }
            },
            (None, [part]) => send(&self.fd, part, flags),
            (None, parts) => sendmsg(&self.fd, parts, &mut SendAncillaryBuffer::default(), flags),
        }
    }

    /// Since when it takes nothing of what waits.
    pub(super) fn stalled(&self) -> Option<std::time::Duration> {
        match self.stalled.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(std::time::Duration::from_millis(millis)),
        }
    }
}

/// Why a connection ends whose other end is gone.
const CLOSED: &str = "the connection was closed";
/// Of long frames, so much goes into memory at once: a question that comes meanwhile waits for no more.
const PIECE_BYTES: usize = 8 << 10;
/// One of them has its turn after so much of short ones, however much is on its way.
const SHORT_BYTES_MAX: usize = 64 << 10;
/// So many parts are written at once.
const PARTS_MAX: usize = 16;
/// So much is read of one socket before the others have a turn.
const BYTES_AT_ONCE: usize = 1 << 20;
