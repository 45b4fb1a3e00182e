//! One socket: it is read, and written to, by whichever thread of the node is at it first.
//!
//! Reading is under one lock from the bytes to the inboxes, so that what has come in order is passed on in order;
//! writing is under another. Nobody waits for either: who has it also does what came meanwhile.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::channel::oneshot;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};

use super::Node;
use super::cell::lock;
use super::incoming::Incoming;
use super::link::Link;
use super::outgoing::Outgoing;
use super::sockets::Sockets;

/// The socket of a connection that is up.
pub(crate) struct Socket {
    /// What the kernel calls it to whoever looks.
    pub(super) key: u64,
    fd: File,
    node: Arc<Node>,
    link: Arc<Link>,
    reading: Mutex<Reading>,
    writing: Mutex<Writing>,
    /// Since when it takes nothing, in milliseconds of the node's clock; 0 if it does.
    stalled: AtomicU64,
}

struct Reading {
    incoming: Incoming,
    /// Who hears why there is no more; none if that was said.
    ended: Option<oneshot::Sender<String>>,
}

#[derive(Default)]
struct Writing {
    outgoing: Outgoing,
    /// What of it is written.
    done: usize,
    /// It took no more; the kernel says when it does.
    full: bool,
}

impl Socket {
    /// `read` has come with the greeting. What is returned besides comes true when the connection has ended.
    pub(super) fn new(
        key: u64,
        fd: OwnedFd,
        node: Arc<Node>,
        link: Arc<Link>,
        read: Vec<u8>,
    ) -> (Socket, oneshot::Receiver<String>) {
        let (end, ended) = oneshot::channel();
        let incoming = Incoming::new(node.clone(), link.clone(), read);
        let reading = Mutex::new(Reading { incoming, ended: Some(end) });
        let (writing, stalled) = (Mutex::default(), AtomicU64::new(0));
        let fd = File::from(fd); // it is read like one
        (Socket { key, fd, node, link, reading, writing, stalled }, ended)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Passes on what came with the greeting.
    pub(super) fn begin(&self, sockets: &Sockets) {
        let mut reading = lock(&self.reading);
        if let Err(why) = reading.incoming.take_in() {
            self.end(&mut reading, sockets, &why);
        }
    }

    /// Reads what is there and passes it on; whether there was anything. Nothing if another thread is at it.
    pub(super) fn read(&self, sockets: &Sockets) -> bool {
        let Ok(mut reading) = self.reading.try_lock() else { return false };
        if reading.ended.is_none() {
            return false;
        }
        let mut left = BYTES_AT_ONCE;
        loop {
            if let Some((frame, wanted)) = reading.incoming.rest_of_piece() {
                let before = frame.len();
                let end = (&self.fd).take(wanted as u64).read_to_end(frame);
                let read = frame.len() - before;
                left = left.saturating_sub(read);
                let passed_on = match self.link.is_lost() {
                    true => Err("lost already".to_owned()),
                    false => {
                        if read > 0 {
                            self.node.hear(&self.link);
                        }
                        reading.incoming.piece_came(read)
                    }
                };
                let why = match (passed_on, end) {
                    (Err(why), _) => why,
                    (Ok(()), Ok(_)) if read < wanted => "the connection was closed".to_owned(),
                    (Ok(()), Ok(_)) if left > 0 => continue,
                    (Ok(()), Ok(_)) => return true,
                    (Ok(()), Err(why)) if why.kind() == ErrorKind::WouldBlock => {
                        return left < BYTES_AT_ONCE;
                    }
                    (Ok(()), Err(why)) => why.to_string(),
                };
                self.end(&mut reading, sockets, &why);
                return true;
            }
            let room = reading.incoming.room();
            let wanted = room.capacity() - room.len();
            let read = match recv(&self.fd, spare_capacity(room), RecvFlags::DONTWAIT) {
                Ok((0, _)) => {
                    self.end(&mut reading, sockets, "the connection was closed");
                    return true;
                }
                Ok((read, _)) => read,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return left < BYTES_AT_ONCE,
                Err(why) => {
                    self.end(&mut reading, sockets, &why.to_string());
                    return true;
                }
            };
            // Nothing is heard of a node after its loss: another life of it may be connected by now.
            if self.link.is_lost() {
                self.end(&mut reading, sockets, "lost already");
                return true;
            }
            self.node.hear(&self.link);
            if read == wanted {
                reading.incoming.filled();
            }
            if let Err(why) = reading.incoming.take_in() {
                self.end(&mut reading, sockets, &why);
                return true;
            }
            left = left.saturating_sub(read);
            if read < wanted || left == 0 {
                return true;
            }
        }
    }

    fn end(&self, reading: &mut Reading, sockets: &Sockets, why: &str) {
        sockets.deaf_to(self);
        if let Some(ended) = reading.ended.take() {
            let _ = ended.send(why.to_owned());
        }
    }

    /// Writes what waits, as much as the socket takes.
    pub(super) fn flush(&self, sockets: &Sockets) {
        loop {
            // Who has it writes what we have put there, or looks once more when it has let go of it.
            let Ok(mut writing) = self.writing.try_lock() else { return };
            if writing.full {
                return;
            }
            self.write(&mut writing, sockets);
            let full = writing.full;
            drop(writing);
            if full || !self.link.has_waiting() {
                return;
            }
        }
    }

    /// The kernel says that it takes more.
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
            let Writing { outgoing, done, .. } = writing;
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
                if !self.link.take_waiting(outgoing) {
                    return;
                }
                continue;
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let sent = match &parts[..count] {
                [part] => send(&self.fd, part, flags),
                parts => sendmsg(&self.fd, parts, &mut SendAncillaryBuffer::default(), flags),
            };
            match sent {
                Ok(written) => {
                    *done += written;
                    self.stalled.store(0, Ordering::Relaxed);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    writing.full = true;
                    let now = u64::try_from(self.node.now().as_millis()).unwrap_or(u64::MAX);
                    let (from, relaxed) = (0, Ordering::Relaxed);
                    let _ = self.stalled.compare_exchange(from, now.max(1), relaxed, relaxed);
                    sockets.listen_to(self, EventFlags::IN | EventFlags::OUT);
                    return;
                }
                // Who reads hears why.
                Err(_) => *done = outgoing.parts().map(<[u8]>::len).sum(),
            }
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

/// So many parts are written at once.
const PARTS_MAX: usize = 16;
/// So much is read of one socket before the others have a turn.
const BYTES_AT_ONCE: usize = 1 << 20;
