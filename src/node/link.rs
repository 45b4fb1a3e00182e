//! The sending side of a connection to another node: one buffer that all senders encode into, and that
//! the writer swaps out whole.
//!
//! There is no flush timer and no write a message: what piles up while one write is under way is the
//! next write. Heartbeats and load reports go ahead of data; exits do not, because they must not
//! overtake what their actor sent before (rule O6).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use super::cell::{current, lock};
use crate::term::{Incarnation, NodeName};
use crate::wire::{Control, Head, TooLong, frame, frame_control};

/// A connection to another node: being made, up, or lost. A lost one never comes back; its successor
/// is another link.
pub(crate) struct Link {
    /// Unique in this OS process.
    pub(crate) id: u64,
    pub(crate) peer: NodeName,
    frame_bytes_max: usize,
    out: Mutex<Out>,
    written: Notify,
    drained: Notify,
    /// When something was last heard, in milliseconds of the node's clock.
    heard: AtomicU64,
}

struct Out {
    phase: Phase,
    /// Heartbeats and load: first in the next write.
    urgent: Vec<u8>,
    data: Vec<u8>,
    /// The writer has taken something that is not in the socket yet.
    writing: bool,
    /// The tasks that rest until the writer has taken the data.
    resting: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Up(Incarnation),
    Lost,
}

/// Why a message was not put on its way.
#[derive(Debug)]
pub(crate) enum PushError {
    Lost,
    TooLong(TooLong, usize),
    Encode(rmp_serde::encode::Error),
}

impl Link {
    pub(crate) fn new(peer: NodeName, phase: Phase, frame_bytes_max: usize, now: Duration) -> Link {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Link {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            peer,
            frame_bytes_max,
            out: Mutex::new(Out {
                phase,
                urgent: Vec::new(),
                data: Vec::new(),
                writing: false,
                resting: Vec::new(),
            }),
            written: Notify::new(),
            drained: Notify::new(),
            heard: AtomicU64::new(millis(now)),
        }
    }

    /// Puts a message on its way. The actor that sends over a full link rests after its turn.
    pub(crate) fn push(
        self: &Arc<Self>,
        head: Head,
        payload: impl FnOnce(&mut Vec<u8>) -> Result<(), rmp_serde::encode::Error>,
    ) -> Result<(), PushError> {
        let mut out = lock(&self.out);
        if out.phase == Phase::Lost {
            return Err(PushError::Lost);
        }
        let was_empty = out.data.is_empty();
        frame(&mut out.data, self.frame_bytes_max, head, payload)
            .map_err(PushError::Encode)?
            .map_err(|long| PushError::TooLong(long, self.frame_bytes_max))?;
        let full = out.data.len() > FULL_BYTES;
        drop(out);
        if was_empty {
            self.written.notify_one();
        }
        if full && let Some(cell) = current() {
            cell.rest_on(self.clone());
        }
        Ok(())
    }

    /// Puts a control frame on its way, in order with messages. False: the link is lost.
    pub(crate) fn push_control(&self, control: &Control) -> bool {
        let mut out = lock(&self.out);
        if out.phase == Phase::Lost {
            return false;
        }
        let was_empty = out.data.is_empty();
        // A control frame is only too long when it carries arguments or a reason that are: the asker's
        // deadline tells it, and senders of arguments check before.
        let _ = frame_control(&mut out.data, self.frame_bytes_max, control);
        drop(out);
        if was_empty {
            self.written.notify_one();
        }
        true
    }

    /// Puts a control frame ahead of everything that waits.
    pub(crate) fn push_urgent(&self, control: &Control) {
        let mut out = lock(&self.out);
        // A peer that takes nothing gets no heap of heartbeats.
        if out.phase == Phase::Lost || out.urgent.len() > URGENT_BYTES_MAX {
            return;
        }
        let _ = frame_control(&mut out.urgent, self.frame_bytes_max, control);
        drop(out);
        self.written.notify_one();
    }

    /// Waits until there is something to write, and takes it; none once the link is lost.
    pub(crate) async fn take(&self, urgent: &mut Vec<u8>, data: &mut Vec<u8>) -> Option<()> {
        loop {
            {
                let mut out = lock(&self.out);
                if out.phase == Phase::Lost {
                    return None;
                }
                out.writing = false;
                if !out.urgent.is_empty() || !out.data.is_empty() {
                    std::mem::swap(&mut out.urgent, urgent);
                    std::mem::swap(&mut out.data, data);
                    if out.data.capacity() > SPARE_BYTES_MAX {
                        out.data = Vec::new();
                    }
                    for waker in out.resting.drain(..) {
                        waker.wake();
                    }
                    out.writing = true;
                    return Some(());
                }
            }
            self.drained.notify_waiters();
            self.written.notified().await;
        }
    }

    /// Waits until all is in the socket, or the link is lost.
    pub(crate) async fn drained(&self) {
        loop {
            let mut drained = std::pin::pin!(self.drained.notified());
            drained.as_mut().enable();
            {
                let out = lock(&self.out);
                let done = out.urgent.is_empty() && out.data.is_empty() && !out.writing;
                if done || out.phase == Phase::Lost {
                    return;
                }
            }
            drained.await;
        }
    }

    /// Whether so much waits that senders have to rest; then `waker` is woken when it is taken.
    pub(crate) fn is_full(&self, waker: &Waker) -> bool {
        let mut out = lock(&self.out);
        let full = out.phase != Phase::Lost && out.data.len() > FULL_BYTES;
        if full && !out.resting.iter().any(|w| w.will_wake(waker)) {
            out.resting.push(waker.clone());
        }
        full
    }

    /// Marks a link that was being made as up; false if it is up or lost already.
    pub(crate) fn set_up(&self, incarnation: Incarnation, now: Duration) -> bool {
        let mut out = lock(&self.out);
        let connecting = out.phase == Phase::Connecting;
        if connecting {
            out.phase = Phase::Up(incarnation);
            self.heard.store(millis(now), Ordering::Relaxed);
        }
        connecting
    }

    /// Marks it as lost and lets go of what was not sent; false if it was lost already.
    pub(crate) fn set_lost(&self) -> bool {
        let mut out = lock(&self.out);
        let before = std::mem::replace(&mut out.phase, Phase::Lost);
        out.urgent = Vec::new();
        out.data = Vec::new();
        let resting = std::mem::take(&mut out.resting);
        drop(out);
        for waker in resting {
            waker.wake();
        }
        self.written.notify_one();
        self.drained.notify_waiters();
        before != Phase::Lost
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.out).phase
    }

    pub(crate) fn hear(&self, now: Duration) {
        self.heard.store(millis(now), Ordering::Relaxed);
    }

    /// When something was last heard.
    pub(crate) fn heard(&self) -> Duration {
        Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PushError::Lost => f.write_str("the connection is lost"),
            PushError::TooLong(long, max) => {
                write!(f, "{} bytes are more than the {max} that a frame may have", long.bytes)
            }
            PushError::Encode(why) => why.fmt(f),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// More than this waiting makes senders rest.
const FULL_BYTES: usize = 1 << 20;
/// A buffer that grew beyond this is given back.
const SPARE_BYTES_MAX: usize = 4 << 20;
const URGENT_BYTES_MAX: usize = 64 << 10;
