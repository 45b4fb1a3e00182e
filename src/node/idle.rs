//! What a thread of a node does before it sleeps: it sends what its actors have left in the buffers of
//! connections, and looks for a while whether something comes.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Weak};
use std::thread::yield_now;

use tokio::runtime::{Builder, Runtime};

use super::actors::keep_none;
use super::cell::lock;
use super::clock::Moment;
use super::link::Link;
use super::sockets::{Seen, Sockets};
use super::stage::Stage;
use super::stages::Stages;
use crate::core::spin::{Looked, STOLEN, Spin};

/// What a thread does before it sleeps.
pub(crate) enum Idle {
    /// An arbiter's: its actors, and the sockets of its node.
    Arbiter(Arc<Stages>, u16, Arc<Sockets>),
    /// The IO thread's: it sends, and leaves the looking to others.
    Io,
    /// That of a program's own code: the sockets over which it sent something last.
    Main,
}

impl Idle {
    /// A runtime of one thread that does so.
    pub(crate) fn runtime(self) -> Runtime {
        let rhythm = Arc::<Mutex<Rhythm>>::default();
        let woken = rhythm.clone();
        Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || self.before_sleep(&mut lock(&rhythm)))
            .on_thread_unpark(move || lock(&woken).wakes())
            .build()
            .expect("an epoll and a timer of its own")
    }

    fn before_sleep(&self, rhythm: &mut Rhythm) {
        HERE.with_borrow_mut(|here| here.sends = true);
        keep_none();
        let last = send_all();
        let (stage, sockets) = match self {
            Idle::Arbiter(stages, at, sockets) => {
                (Some((&**stages, stages.at(*at))), Some(sockets.clone()))
            }
            Idle::Io => return,
            Idle::Main => (None, last.upgrade()),
        };
        let Some(sockets) = sockets else { return };
        if look_around(&mut rhythm.spin, stage, &sockets) != Looked::Found {
            if stage.is_some_and(|(stages, own)| stages.somebody_waits_elsewhere(own)) {
                sockets.stay_awake();
            }
            sockets.leave();
            rhythm.sleeps_since = Some(Moment::now());
        }
    }
}

/// How long a thread looks and sleeps. It is at it alone: the lock around this is for the compiler.
#[derive(Default)]
struct Rhythm {
    spin: Spin,
    sleeps_since: Option<Moment>,
}

impl Rhythm {
    fn wakes(&mut self) {
        if let Some(since) = self.sleeps_since.take() {
            self.spin.slept(Moment::now().since(since));
        }
    }
}

/// Looks for as long as one has patience.
fn look_around(spin: &mut Spin, stage: Option<(&Stages, &Stage)>, sockets: &Sockets) -> Looked {
    let patience = spin.patience();
    if patience.is_zero() {
        return Looked::Nothing;
    }
    let looking = sockets.start_looking();
    if looking.is_none() && stage.is_none() {
        return Looked::Nothing;
    }
    let is_called = || {
        let Some((stages, own)) = stage else { return false };
        if !own.has_ready() && stages.is_overdue_elsewhere(own) {
            own.call_own();
            return true;
        }
        own.has_ready()
    };
    let mut start = Moment::now();
    let mut last = start;
    let looked = loop {
        if is_called() {
            break Looked::Found;
        }
        let seen = looking.as_ref().map_or(Seen::Nothing, |_| sockets.look());
        if seen == Seen::Came && (stage.is_none() || is_called()) {
            break Looked::Found;
        }
        let now = Moment::now();
        if seen != Seen::Nothing {
            start = now; // a part of something long, or another's
        }
        if now.since(last) > STOLEN {
            break Looked::Preempted;
        }
        if now.since(start) > patience {
            break Looked::Nothing;
        }
        last = now;
        yield_now();
    };
    spin.note(looked);
    looked
}

/// What this thread has put into buffers of connections and not sent yet.
#[derive(Default)]
struct Here {
    /// It sends before it sleeps.
    sends: bool,
    unsent: Vec<Arc<Link>>,
    /// How many turns of actors ago the first of that was.
    turns: u32,
    /// The sockets over which something was sent last.
    last: Weak<Sockets>,
}

/// This thread has put something into the buffer of a connection, which held so many bytes before, and now
/// holds so many.
pub(crate) fn unsent(link: &Arc<Link>, before: usize, after: usize) {
    // Locals may be gone when a thread ends.
    let first = HERE.try_with(|here| {
        let here = &mut *here.borrow_mut();
        if !here.sends {
            return None;
        }
        // A buffer that was empty was sent by somebody else while our turn went on.
        let first = here.unsent.is_empty() || before == 0;
        if !here.unsent.iter().any(|unsent| Arc::ptr_eq(unsent, link)) {
            here.unsent.push(link.clone());
        }
        Some(first)
    });
    match first.unwrap_or(None) {
        Some(_) if before / SEND_BYTES != after / SEND_BYTES => link.flush(),
        Some(false) => {}
        Some(true) => link.sockets().upgrade().into_iter().for_each(|sockets| sockets.stay_awake()),
        None => link.sockets().upgrade().into_iter().for_each(|sockets| sockets.send_soon()),
    }
}

/// The runtime of this thread has ended: what its code leaves unsent from now on is another's to send.
pub(crate) fn over() {
    send_all();
    HERE.with_borrow_mut(|here| here.sends = false);
}

/// A turn of an actor is over. Where others follow without end, what was left unsent is sent now and then.
pub(crate) fn turn_over() {
    // Locals may be gone when a thread ends.
    let due = HERE.try_with(|here| {
        let here = &mut *here.borrow_mut();
        if here.unsent.is_empty() {
            return false;
        }
        here.turns += 1;
        here.turns >= TURNS
    });
    if due.unwrap_or(false) {
        send_all();
    }
}

/// Sends what this thread has left unsent, as is due before it waits, be it in the middle of a turn. Returns the sockets over
/// which something was sent last.
pub(crate) fn send_all() -> Weak<Sockets> {
    let (links, mut last) = HERE.with_borrow_mut(|here| {
        here.turns = 0;
        (std::mem::take(&mut here.unsent), here.last.clone())
    });
    if links.is_empty() {
        return last;
    }
    for link in &links {
        link.flush();
        last = link.sockets();
    }
    HERE.with_borrow_mut(|here| {
        here.last = last.clone();
        if here.unsent.is_empty() {
            let mut links = links;
            links.clear();
            here.unsent = links; // its room
        }
    });
    last
}

/// As often as a buffer comes to hold so much more it is sent at once.
const SEND_BYTES: usize = 64 << 10;
/// What an actor left unsent waits for so many turns of others.
const TURNS: u32 = 32;

thread_local! {
    static HERE: RefCell<Here> = RefCell::default();
}
