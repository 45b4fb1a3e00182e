//! The sockets of a node, and who looks after them.
//!
//! That is any thread of the node that has nothing else to do: what comes is read, decoded and handled by one
//! thread then, without a wake-up in between. A thread of its own, the watcher, waits for whatever comes while
//! none of them looks: it sleeps in the kernel while all sleep, and while one of them is at it only makes sure,
//! every millisecond, that it still is: an actor that computes keeps no message of the others waiting
//! for longer than that, nor one of its own that is not sent yet, nor a child that is about to begin.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{JoinHandle, Thread, park_timeout, yield_now};
use std::time::Duration;

use futures::channel::oneshot;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::Timespec;

use super::Node;
use super::cell::lock;
use super::clock::Moment;
use super::link::Link;
use super::memory::Memory;
use super::socket::Socket;
use super::stages::Stages;

/// All connected sockets of a node.
pub(crate) struct Sockets {
    epoll: OwnedFd,
    /// Wakes the watcher out of the kernel.
    alarm: OwnedFd,
    all: Mutex<HashMap<u64, Arc<Socket>>>,
    /// Those of them whose bytes go through memory: of these the kernel says nothing unless they are told to ring.
    near: Mutex<Arc<[Arc<Socket>]>>,
    /// There are others, too.
    any_far: AtomicBool,
    next: AtomicU64,
    /// How often somebody has looked.
    looks: AtomicU64,
    /// How often the watcher has gone on with something long.
    turns: AtomicU64,
    /// How often the watcher was asked to stay awake.
    asked: AtomicU64,
    /// A thread looks for as long as it has patience: one is enough.
    looking: AtomicBool,
    /// Whoever looked sleeps now: the watcher's turn.
    left: AtomicBool,
    /// Somebody who will not do it has put something there to be sent.
    unsent: AtomicBool,
    /// What the watcher does: [`WAITS`] or [`TICKS`].
    state: AtomicU8,
    stopped: AtomicBool,
    watcher: OnceLock<Thread>,
}

/// A socket that is looked after until this is dropped.
pub(crate) struct Watched {
    sockets: Arc<Sockets>,
    socket: Arc<Socket>,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Nothing,
    /// Some of what waited was sent.
    Went,
    /// Something has come.
    Came,
}

/// The right to look for as long as one has patience; one thread of a node has it.
pub(crate) struct Looking<'a>(&'a Sockets);

impl Sockets {
    pub(crate) fn new() -> std::io::Result<Sockets> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let alarm = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &alarm, EventData::new_u64(ALARM), EventFlags::IN)?;
        Ok(Sockets {
            epoll,
            alarm,
            all: Mutex::default(),
            near: Mutex::new(Arc::new([])),
            any_far: AtomicBool::new(false),
            next: AtomicU64::new(ALARM + 1),
            looks: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            looking: AtomicBool::new(false),
            left: AtomicBool::new(false),
            unsent: AtomicBool::new(false),
            state: AtomicU8::new(WAITS),
            stopped: AtomicBool::new(false),
            watcher: OnceLock::new(),
        })
    }

    /// Starts the watcher. It ends when it is told to.
    pub(crate) fn watch(
        self: &Arc<Self>,
        name: String,
        stages: Arc<Stages>,
    ) -> std::io::Result<JoinHandle<()>> {
        let sockets = self.clone();
        let watcher =
            std::thread::Builder::new().name(name).spawn(move || sockets.watching(&stages))?;
        let _ = self.watcher.set(watcher.thread().clone());
        Ok(watcher)
    }

    /// Ends the watcher.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.call();
    }

    /// Looks after one more socket. What is returned besides comes true when its connection has ended.
    pub(crate) fn add(
        self: &Arc<Self>,
        carrier: (OwnedFd, Option<Box<Memory>>),
        node: Arc<Node>,
        link: Arc<Link>,
        read: Vec<u8>,
    ) -> std::io::Result<(Watched, oneshot::Receiver<String>)> {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let (socket, ended) = Socket::new(key, carrier, node, link.clone(), read);
        let socket = Arc::new(socket);
        socket.begin(self);
        self.change(|all| drop(all.insert(key, socket.clone())));
        let watched = Watched { sockets: self.clone(), socket: socket.clone() };
        epoll::add(&self.epoll, socket.fd(), EventData::new_u64(key), EventFlags::IN)?;
        if let Some(sight) = socket.sight() {
            // Where it cannot be watched, the socket's own end is heard of, later.
            let _ = epoll::add(
                &self.epoll,
                sight,
                EventData::new_u64(key | SIGHT),
                EventFlags::empty(),
            );
        }
        link.set_socket(self, &socket);
        socket.flush(self);
        self.ring(); // should the watcher sleep, it has not said so to this one
        Ok((watched, ended))
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<u64, Arc<Socket>>)) {
        let mut all = lock(&self.all);
        change(&mut all);
        let near: Arc<[_]> = all.values().filter(|socket| socket.is_bell()).cloned().collect();
        self.any_far.store(near.len() < all.len(), Ordering::Relaxed);
        *lock(&self.near) = near;
    }

    fn near(&self) -> Arc<[Arc<Socket>]> {
        lock(&self.near).clone()
    }

    /// What the kernel is to say of a socket from now on.
    pub(super) fn listen_to(&self, socket: &Socket, events: EventFlags) {
        // One that is gone has nothing to say.
        let _ = epoll::modify(&self.epoll, socket.fd(), EventData::new_u64(socket.key), events);
    }

    /// The kernel says no more of a socket.
    pub(super) fn deaf_to(&self, socket: &Socket) {
        let _ = epoll::delete(&self.epoll, socket.fd());
        if let Some(sight) = socket.sight() {
            let _ = epoll::delete(&self.epoll, sight); // others have it, too: it would not go with its number here
        }
    }

    /// Reads and writes what can be at this moment.
    pub(crate) fn look(&self) -> Seen {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        let seen = self.look_near();
        if self.any_far.load(Ordering::Relaxed) || looks.is_multiple_of(LOOKS_A_KERNEL) {
            let said = self.ask_kernel::<EVENTS_OF_A_LOOK>(Some(&NO_TIME), Socket::is_bell);
            return said.max(seen);
        }
        seen
    }

    fn look_near(&self) -> Seen {
        self.near().iter().map(|socket| socket.look(self)).max().unwrap_or(Seen::Nothing)
    }

    /// The watcher's: sleeps until something comes, or the time is up.
    fn wait(&self, timeout: Option<&Timespec>) -> Seen {
        // What is amid something long goes on at once: a bell for each part of it would take ten times as long.
        let start = Moment::now();
        while self.is_amid() && Moment::now().since(start) < PATIENCE {
            let seen = self.look_near();
            if seen != Seen::Nothing {
                // All others have their turn, too.
                let turns = self.turns.fetch_add(1, Ordering::Relaxed);
                if !self.any_far.load(Ordering::Relaxed) && !turns.is_multiple_of(LOOKS_A_KERNEL) {
                    return seen;
                }
                let said = self.ask_kernel::<EVENTS_OF_A_WAIT>(Some(&NO_TIME), |_| false);
                return said.max(seen);
            }
            yield_now();
        }
        let near = self.near();
        let any_come = near.iter().filter(|socket| socket.sleep()).count() > 0; // each is told
        let timeout = if any_come { Some(&NO_TIME) } else { timeout };
        let said = self.ask_kernel::<EVENTS_OF_A_WAIT>(timeout, |_| false);
        near.iter().for_each(|socket| socket.awake());
        if !any_come {
            return said;
        }
        let seen = self.look_near().max(said);
        if seen == Seen::Nothing {
            yield_now(); // another thread is at it
        }
        seen
    }

    /// Reads and writes what the kernel says can be. `hears_no_bell` of those sockets whose
    /// bells are for others.
    fn ask_kernel<const EVENTS: usize>(
        &self,
        timeout: Option<&Timespec>,
        hears_no_bell: impl Fn(&Socket) -> bool,
    ) -> Seen {
        let mut room = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut room[..], timeout) else {
            return Seen::Nothing; // interrupted
        };
        let mut seen = Seen::Nothing;
        for &mut Event { flags, data } in events {
            if data.u64() == ALARM {
                continue;
            }
            let key = data.u64() & !SIGHT;
            let Some(socket) = lock(&self.all).get(&key).cloned() else { continue };
            if flags.contains(EventFlags::OUT) {
                socket.writable(self);
            }
            let gone = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            seen = seen.max(match (socket.is_bell(), gone, flags.contains(EventFlags::IN)) {
                (true, true, _) => socket.hung_up(self),
                (true, false, true) if !hears_no_bell(&socket) => socket.rung(self),
                (false, true, _) | (false, _, true) => socket.read(self),
                (true, false, true) | (_, false, false) => Seen::Nothing,
            });
        }
        seen
    }

    /// The right to look for a while, unless another thread has it.
    pub(crate) fn start_looking(&self) -> Option<Looking<'_>> {
        (!self.looking.swap(true, Ordering::AcqRel)).then_some(Looking(self))
    }

    /// This thread goes to sleep. If it was the last that looked, it is the watcher's turn.
    pub(crate) fn leave(&self) {
        if !self.looking.load(Ordering::Acquire)
            && !self.left.swap(true, Ordering::AcqRel)
            && let Some(watcher) = self.watcher.get()
        {
            watcher.unpark();
        }
    }

    /// Sees to it that what was put there is sent within a millisecond or two, and that whoever is about to begin does,
    /// even if their thread does not come to it.
    pub(super) fn stay_awake(&self) {
        // In this order, as the watcher looks in the other one.
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.state.compare_exchange(WAITS, TICKS, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.ring();
        }
    }

    /// Has the watcher send what waits.
    pub(super) fn send_soon(&self) {
        if !self.unsent.swap(true, Ordering::AcqRel) {
            self.call();
        }
    }

    fn call(&self) {
        self.ring();
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }

    fn ring(&self) {
        let _ = rustix::io::write(&self.alarm, &1_u64.to_ne_bytes()); // full: it rings already
    }

    fn hush(&self) {
        let _ = rustix::io::read(&self.alarm, &mut [0; 8]);
    }

    fn watching(&self, stages: &Stages) {
        let (mut seen_looks, mut seen_asked) = (0, 0);
        while !self.stopped.load(Ordering::Acquire) {
            if self.unsent.swap(false, Ordering::AcqRel) {
                self.flush_all();
            }
            let left = self.left.swap(false, Ordering::AcqRel);
            let looks = self.looks.load(Ordering::Relaxed);
            let asked = self.asked.load(Ordering::SeqCst);
            let somebody_looks = looks != seen_looks && !left;
            let is_asked = asked != seen_asked;
            (seen_looks, seen_asked) = (looks, asked);
            if somebody_looks {
                self.state.store(TICKS, Ordering::SeqCst);
                park_timeout(TICK);
                stages.call_if_due();
                self.flush_all();
            } else if is_asked {
                self.state.store(TICKS, Ordering::SeqCst);
                let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
                self.wait(Some(&tick));
                self.hush();
                stages.call_if_due();
                self.flush_all();
            } else {
                self.state.store(WAITS, Ordering::SeqCst);
                if self.asked.load(Ordering::SeqCst) == asked {
                    let seen = self.wait(None);
                    self.hush();
                    if seen == Seen::Came && !self.is_amid() {
                        // Whoever it is for wakes up, and looks for more by itself.
                        park_timeout(HANDOVER);
                    }
                }
            }
        }
    }

    /// The rest of something long is on its way.
    fn is_amid(&self) -> bool {
        self.near().iter().any(|socket| socket.is_amid())
    }

    fn flush_all(&self) {
        let all: Vec<Arc<Socket>> = lock(&self.all).values().cloned().collect();
        for socket in all {
            if socket.link().has_waiting(false) {
                socket.flush(self);
            }
        }
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.looking.store(false, Ordering::Release);
    }
}

impl Watched {
    pub(crate) fn stalled(&self) -> Option<Duration> {
        self.socket.stalled()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.sockets.deaf_to(&self.socket);
        self.sockets.change(|all| drop(all.remove(&self.socket.key)));
        self.sockets.ring(); // should the watcher sleep, it holds it
        // What was written is on its way.
        let _ = rustix::net::shutdown(self.socket.fd(), rustix::net::Shutdown::Both);
    }
}

/// What the watcher's own events are called.
const ALARM: u64 = 0;
/// The events of what the other end's witness ends with: this, and those of its socket.
const SIGHT: u64 = 1 << 63;

/// The watcher waits in the kernel.
const WAITS: u8 = 0;
/// Somebody else looks; the watcher makes sure that it does.
const TICKS: u8 = 1;

/// Between two looks of the watcher at whether somebody looks.
const TICK: Duration = Duration::from_millis(1);
/// So long the watcher looks for the next part of something long before it sleeps.
const PATIENCE: Duration = Duration::from_micros(50);
/// Longer than a thread takes to wake up, handle a message and look for the next.
const HANDOVER: Duration = Duration::from_micros(50);

/// Who looks asks the kernel every so often while all bytes go through memory.
const LOOKS_A_KERNEL: u64 = 16;
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const EVENTS_OF_A_LOOK: usize = 16;
const EVENTS_OF_A_WAIT: usize = 256;
