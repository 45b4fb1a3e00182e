//! What carries a connection between two nodes of one host once they have greeted: two rings of bytes, one in each direction, in
//! memory that both see. What one writes the other reads without a system call, and several times as
//! fast as a socket takes it.
//!
//! The socket that they greeted over stays: its end is the end of the connection, and a byte on it is a bell that wakes a
//! node whose threads all sleep. Who dialed makes the memory and sends its descriptor over that socket; each sends the other
//! what its [witness](super::witness) ends with, so that its end is heard of before the kernel comes to close that socket.
//!
//! SM-1: nobody sleeps beside bytes that have come, or beside room that they wait for. Who goes to sleep says so first
//! and looks afterwards; who writes or reads looks afterwards whether somebody has said so. So one of the two sees the other.

#![expect(unsafe_code, reason = "memory that is shared with another OS process")]

use std::ffi::c_void;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat,
    ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};
use rustix::process::{Resource, getrlimit};

use super::witness::sight;
use crate::core::ring::{Nonsense, Ring, Wanted};

/// The memory of one connection, as one of its two nodes sees it.
pub(crate) struct Memory {
    map: NonNull<u8>,
    side: Side,
    /// How much this side has read, and written. What the other one says of that is not asked.
    read: Line<AtomicU64>,
    written: Line<AtomicU64>,
    /// What this side waits for, as a number.
    wanted: AtomicU64,
    /// Hangs up when the other side's OS process ends.
    sight: Option<OwnedFd>,
}

/// What the other side has made.
pub(crate) struct Offer {
    memory: OwnedFd,
    sight: Option<OwnedFd>,
}

/// Which of the two it is.
#[derive(Clone, Copy)]
enum Side {
    /// It has dialed, and has made the memory.
    Maker,
    Taker,
}

/// What lies at the beginning of the memory. Whatever the other side writes there is a number.
#[repr(C)]
struct Head {
    /// What the maker writes, and what the taker does.
    ways: [Way; 2],
    /// The threads of the maker sleep, and those of the taker: not 0, and the bell is to be rung.
    asleep: [Line<AtomicU64>; 2],
}

/// One direction.
#[repr(C)]
struct Way {
    written: Line<AtomicU64>,
    read: Line<AtomicU64>,
    /// What who writes waits for.
    wanted: Line<AtomicU64>,
}

/// What has a cache line for itself, and the one that is fetched with it.
#[repr(C, align(128))]
#[derive(Default)]
struct Line<T>(T);

/// The reading end.
pub(super) struct Reader(Arc<Memory>);

/// The writing end.
pub(super) struct Writer(Arc<Memory>);

// SAFETY: the map belongs to this value until it is dropped, and is as good for any thread as for another: of it
// only atomics are referred to, and the bytes of a ring are touched by its one reader and its one writer.
unsafe impl Send for Memory {}
// SAFETY: as above; what is not atomic is reached through `Reader` and `Writer` alone, by `&mut`.
unsafe impl Sync for Memory {}

impl Memory {
    /// Makes memory and offers it to the node at the other end of this socket. None: it cannot be had, and the other one is
    /// told so. Otherwise that is to be asked whether it [takes](Memory::is_taken) it.
    ///
    /// # Errors
    /// The socket takes no byte: that of a system call, [`WouldBlock`](io::ErrorKind::WouldBlock) among them.
    pub(crate) fn offer(socket: impl AsFd) -> io::Result<Option<Box<Memory>>> {
        let made = if is_wanted() { Memory::make().ok() } else { None };
        let fd = made.as_ref().map(|(_, fd)| fd.as_fd());
        say(socket, fd.is_some(), [fd, sight()])?;
        Ok(made.map(|(memory, _)| memory))
    }

    /// Whether the node at the other end of this socket takes what was offered.
    ///
    /// # Errors
    /// It has said something else; or that of a system call, [`WouldBlock`](io::ErrorKind::WouldBlock) among them.
    pub(crate) fn is_taken(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let (is_taken, [sight, _]) = hear(socket)?;
        self.sight = sight;
        Ok(is_taken)
    }

    /// What the node at the other end of this socket offers, if it offers any. It is to be [answered](Memory::answer).
    ///
    /// # Errors
    /// It has said something else; or that of a system call, [`WouldBlock`](io::ErrorKind::WouldBlock) among them.
    pub(crate) fn hear_offer(socket: impl AsFd) -> io::Result<Option<Offer>> {
        match hear(socket)? {
            (false, _) => Ok(None),
            (true, [Some(memory), sight]) => Ok(Some(Offer { memory, sight })),
            (true, [None, _]) => Err(no_word()),
        }
    }

    /// Tells the node at the other end of this socket whether its offer is taken.
    ///
    /// # Errors
    /// As for [`Memory::offer`].
    pub(crate) fn answer(socket: impl AsFd, is_taken: bool) -> io::Result<()> {
        say(socket, is_taken, [sight(), None])
    }

    fn make() -> io::Result<(Box<Memory>, OwnedFd)> {
        // Past that limit there is a signal, not an error.
        if getrlimit(Resource::Fsize).current.is_some_and(|bytes| bytes < MAP_BYTES as u64) {
            return Err(Errno::FBIG.into());
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Older kernels do not know of the seal against being executed, newer ones may insist on it.
        let fd = memfd_create("pspawn", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create("pspawn", flags))?;
        ftruncate(&fd, MAP_BYTES as u64)?;
        // All of it now: memory that is short later would be a signal in the middle of a copy.
        fallocate(&fd, FallocateFlags::empty(), 0, MAP_BYTES as u64)?;
        fcntl_add_seals(&fd, SEALS | SealFlags::SEAL)?;
        Ok((Memory::map(&fd, Side::Maker, None)?, fd))
    }

    fn map(fd: &OwnedFd, side: Side, sight: Option<OwnedFd>) -> io::Result<Box<Memory>> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: where it goes is the kernel's choice, so it lies over nothing else.
        let map = unsafe { mmap(ptr::null_mut(), MAP_BYTES, access, MapFlags::SHARED, fd, 0) }?;
        let map = NonNull::new(map.cast()).expect("the kernel maps nothing at 0");
        let (read, written) = (Line::default(), Line::default());
        let wanted = AtomicU64::new(Wanted::Nothing.number());
        Ok(Box::new(Memory { map, side, read, written, wanted, sight }))
    }

    /// Its two ends. There may be one of each.
    pub(super) fn ends(self: Box<Self>) -> (Reader, Writer, Arc<Memory>) {
        let memory: Arc<Memory> = Arc::from(self);
        (Reader(memory.clone()), Writer(memory.clone()), memory)
    }

    /// What hangs up when the other side's OS process ends, if it has a witness.
    pub(super) fn sight(&self) -> Option<BorrowedFd<'_>> {
        self.sight.as_ref().map(AsFd::as_fd)
    }

    /// Whether there is something to read.
    pub(super) fn has_come(&self) -> bool {
        let written = self.way_in().written.0.load(Ordering::Acquire);
        written != self.read.0.load(Ordering::Relaxed)
    }

    /// Whether so little is on its way that it does no harm to write something long.
    pub(super) fn has_much_room(&self) -> bool {
        self.has(Wanted::MuchRoom)
    }

    fn has(&self, wanted: Wanted) -> bool {
        let written = self.written.0.load(Ordering::Relaxed);
        let read = self.way_out().read.0.load(Ordering::Acquire);
        // Nonsense is found by whoever writes.
        RING.room(written, read).is_ok_and(|room| RING.is_enough(room, wanted))
    }

    /// Notes that this side waits for [much room](Memory::has_much_room). If this is false it need not.
    pub(super) fn waits_for_much_room(&self) -> bool {
        self.waits_for(Wanted::MuchRoom)
    }

    fn waits_for(&self, wanted: Wanted) -> bool {
        self.wanted.store(wanted.number(), Ordering::Relaxed);
        self.way_out().wanted.0.store(wanted.number(), Ordering::Relaxed);
        fence(Ordering::SeqCst); // SM-1
        !self.has(wanted)
    }

    fn wanted(&self) -> Wanted {
        Wanted::of(self.wanted.load(Ordering::Relaxed))
    }

    /// Whether a writer waits for room.
    pub(super) fn is_waiting(&self) -> bool {
        self.wanted() != Wanted::Nothing
    }

    /// Nobody waits any more.
    pub(super) fn waits_no_more(&self) {
        self.wanted.store(Wanted::Nothing.number(), Ordering::Relaxed);
    }

    /// How much the other side says that it has read.
    pub(super) fn read_there(&self) -> u64 {
        self.way_out().read.0.load(Ordering::Relaxed)
    }

    /// Whether it may go on.
    pub(super) fn has_room_again(&self) -> bool {
        self.has(self.wanted())
    }

    /// This node's threads are about to sleep. If this is true there is something to do instead.
    ///
    /// What it waits for is said once more: the reader may have reset that when it saw room which is taken by now.
    pub(super) fn sleep(&self) -> bool {
        self.way_out().wanted.0.store(self.wanted.load(Ordering::Relaxed), Ordering::Relaxed);
        self.asleep(self.side).store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // SM-1
        self.has_come() || self.has_room_again()
    }

    /// They do not sleep any more.
    pub(super) fn awake(&self) {
        self.asleep(self.side).store(0, Ordering::Relaxed);
    }

    /// Rings if the other side's threads sleep. Who calls this has written, or read, before.
    fn ring_if_asleep(&self, socket: BorrowedFd<'_>) {
        let asleep = self.asleep(self.side.other());
        if asleep.load(Ordering::Relaxed) != 0 && asleep.swap(0, Ordering::Relaxed) != 0 {
            // Full of bells it rings already, and one that is gone needs none.
            let rung = send(socket, &[BELL], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            if let Err(Errno::NOMEM | Errno::NOBUFS) = rung {
                asleep.store(1, Ordering::Relaxed); // the next one to write rings it
            }
        }
    }

    fn head(&self) -> &Head {
        // SAFETY: the map is as long as that, and aligned as a page is; any bytes are a `Head`, and it consists of atomics.
        unsafe { self.map.cast().as_ref() }
    }

    fn asleep(&self, side: Side) -> &AtomicU64 {
        &self.head().asleep[side as usize].0
    }

    fn way_out(&self) -> &Way {
        &self.head().ways[self.side as usize]
    }

    fn way_in(&self) -> &Way {
        &self.head().ways[self.side.other() as usize]
    }

    /// Where the bytes lie that this side writes.
    fn bytes_of(&self, side: Side) -> NonNull<u8> {
        // SAFETY: both rings lie in the map, behind its head.
        unsafe { self.map.add(HEAD_BYTES + side as usize * RING_BYTES) }
    }
}

impl Offer {
    /// Takes it; none if there is no room for it here.
    ///
    /// # Errors
    /// SM-2: it is not to be used, as it could shrink under a reader.
    pub(crate) fn take(self) -> io::Result<Option<Box<Memory>>> {
        let fits = fstat(&self.memory)?.st_size == MAP_BYTES as i64;
        if !fits || !fcntl_get_seals(&self.memory)?.contains(SEALS) {
            let why = "shared memory of another length, or one that could shrink";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Memory::map(&self.memory, Side::Taker, self.sight).ok())
    }
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Maker => Side::Taker,
            Side::Taker => Side::Maker,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing refers to it any more. That it fails cannot be.
        let _ = unsafe { munmap(self.map.as_ptr().cast::<c_void>(), MAP_BYTES) };
    }
}

impl Reader {
    /// Reads what is there, at most so much, behind what `into` holds; how much that was. The bell is rung on this socket.
    ///
    /// # Errors
    /// The other side counts wrong.
    pub(super) fn read(
        &mut self,
        into: &mut Vec<u8>,
        most: usize,
        socket: BorrowedFd<'_>,
    ) -> Result<usize, Nonsense> {
        let memory = &*self.0;
        let way = memory.way_in();
        let mut read = memory.read.0.load(Ordering::Relaxed);
        let mut left = most;
        loop {
            let written = way.written.0.load(Ordering::Acquire);
            let unread = RING.unread(written, read)?;
            let piece = RING.piece(read, unread.min(left).min(STEP_BYTES));
            if piece.is_empty() {
                break;
            }
            into.reserve(piece.len());
            // SAFETY: the piece lies in the ring, and nobody writes there before it counts as read; should
            // the other side do so all the same, they are other bytes, which nobody has looked at yet.
            // `into` has room for it.
            unsafe {
                let from = memory.bytes_of(memory.side.other()).add(piece.start);
                let to = into.as_mut_ptr().add(into.len());
                ptr::copy_nonoverlapping(from.as_ptr(), to, piece.len());
                into.set_len(into.len() + piece.len());
            }
            left -= piece.len();
            read = read.wrapping_add(piece.len() as u64);
            memory.read.0.store(read, Ordering::Relaxed);
            way.read.0.store(read, Ordering::Release);
        }
        if left < most {
            fence(Ordering::SeqCst); // SM-1
            let wanted = Wanted::of(way.wanted.0.load(Ordering::Relaxed));
            if wanted != Wanted::Nothing {
                let room = RING.room(way.written.0.load(Ordering::Relaxed), read)?;
                if RING.is_enough(room, wanted) && way.wanted.0.swap(0, Ordering::Relaxed) != 0 {
                    memory.ring_if_asleep(socket);
                }
            }
        }
        Ok(most - left)
    }
}

impl Writer {
    /// Writes as much as there is room for; how much that was. Nothing: it is full, and whoever looks after the node's sockets
    /// hears when half of it is free. The bell is rung on this socket.
    ///
    /// # Errors
    /// The other side counts wrong.
    pub(super) fn write(
        &mut self,
        parts: &[IoSlice<'_>],
        socket: BorrowedFd<'_>,
    ) -> Result<usize, Nonsense> {
        let memory = &*self.0;
        let way = memory.way_out();
        let start = memory.written.0.load(Ordering::Relaxed);
        let mut written = start;
        let mut parts = parts.iter().map(|part| &part[..]);
        let mut rest = parts.next().unwrap_or_default();
        memory.waits_no_more();
        loop {
            if rest.is_empty() {
                match parts.next() {
                    Some(part) => rest = part,
                    None => break,
                }
                continue;
            }
            let room = RING.room(written, way.read.0.load(Ordering::Acquire))?;
            let piece = RING.piece(written, room.min(rest.len()).min(STEP_BYTES));
            if piece.is_empty() {
                if written != start {
                    break;
                }
                if memory.waits_for(Wanted::Room) {
                    return Ok(0);
                }
                memory.waits_no_more();
                continue;
            }
            // SAFETY: the piece lies in the ring, where there is room: nobody reads there before it counts as written.
            unsafe {
                let to = memory.bytes_of(memory.side).add(piece.start);
                ptr::copy_nonoverlapping(rest.as_ptr(), to.as_ptr(), piece.len());
            }
            rest = &rest[piece.len()..];
            written = written.wrapping_add(piece.len() as u64);
            memory.written.0.store(written, Ordering::Relaxed);
            way.written.0.store(written, Ordering::Release);
        }
        fence(Ordering::SeqCst); // SM-1
        memory.ring_if_asleep(socket);
        Ok(usize::try_from(written.wrapping_sub(start)).expect("it was in these parts"))
    }
}

/// `PSPAWN_SHARED_MEMORY=0`, where it is who dials that has it, leaves everything to the sockets: for who wants to see what is
/// said, or has no memory to spare.
fn is_wanted() -> bool {
    static IS_WANTED: OnceLock<bool> = OnceLock::new();
    *IS_WANTED.get_or_init(|| std::env::var_os("PSPAWN_SHARED_MEMORY").is_none_or(|set| set != "0"))
}

/// Says over this socket what the frames go through from now on, and sends these descriptors with that, if it is memory.
fn say(socket: impl AsFd, memory: bool, fds: [Option<BorrowedFd<'_>>; FDS_MAX]) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = fds.into_iter().flatten().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if memory && !fds.is_empty() {
        with.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let word = if memory { THROUGH_MEMORY } else { THROUGH_SOCKET };
    sendmsg(socket, &[IoSlice::new(&[word])], &mut with, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What the other end of this socket says about that, and the descriptors that come with it, in order.
fn hear(socket: impl AsFd) -> io::Result<(bool, [Option<OwnedFd>; FDS_MAX])> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0];
    let said =
        recvmsg(socket, &mut [IoSliceMut::new(&mut word)], &mut with, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = with
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten();
    let fds = [fds.next(), fds.next()];
    match (said.bytes, word[0]) {
        (1, THROUGH_MEMORY) => Ok((true, fds)),
        (1, THROUGH_SOCKET) => Ok((false, fds)),
        _ => Err(no_word()),
    }
}

fn no_word() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no word about shared memory")
}

/// Takes bells off this socket; whether the other end is gone.
pub(super) fn hush(socket: impl AsFd) -> bool {
    let mut bells = [0; 64];
    match recv(&socket, &mut bells[..], RecvFlags::DONTWAIT) {
        Ok((read, _)) => read == 0,
        Err(Errno::INTR | Errno::AGAIN) => false,
        Err(_) => true,
    }
}

/// The frames go through memory, and through the socket itself.
const THROUGH_MEMORY: u8 = b'm';
const THROUGH_SOCKET: u8 = b's';
const BELL: u8 = b'!';
/// The memory, and what the witness ends with.
const FDS_MAX: usize = 2;

/// No wrong count, however it came about, leads out of the memory then.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// What is in flight of each direction, at most: with what it is copied from and to it fits a core's own cache. Of long frames
/// it is less, so that they are not in the way of others.
const RING_BYTES: usize = 256 << 10;
const RING: Ring = Ring::new(RING_BYTES);
/// So much is copied before the other side is told.
const STEP_BYTES: usize = 32 << 10;
const HEAD_BYTES: usize = 4 << 10;
const MAP_BYTES: usize = HEAD_BYTES + 2 * RING_BYTES;

const _: () = assert!(size_of::<Head>() <= HEAD_BYTES);

#[cfg(test)]
mod tests;
