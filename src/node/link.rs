//! The sending side of a connection to another node: one buffer that all senders encode into, and that
//! the writer swaps out whole.
//!
//! There is no flush timer and no write a message: what piles up while one write is under way is the
//! next write. Heartbeats and load reports go ahead of data; exits do not, because they must not
//! overtake what their actor sent before (rule O6).

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::cell::{Rest, current, lock};
use super::idle;
use super::outlet::Outlet;
use super::socket::Socket;
use super::sockets::Sockets;
use crate::core::credit::Tally;
use crate::term::{Incarnation, NodeName, Via};
use crate::wire::{Control, Head, PREFIX_BYTES, TooLong, frame, frame_control, frame_type};

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
    /// The socket that it goes over; none while it is being made, and if it goes over something else.
    socket: OnceLock<(Weak<Sockets>, Weak<Socket>)>,
    /// When something was last heard, in milliseconds of the node's clock.
    heard: AtomicU64,
    /// The peer is up, and not hidden: its coming and going is news.
    visible: AtomicBool,
    /// While it is being made: our dial goes through the master.
    relaying: AtomicBool,
    /// What carries it, once it is up.
    via: OnceLock<Via>,
    /// What actors of this node print there.
    outlet: Arc<Outlet>,
    /// What of its actors' output was shown here.
    shown: Mutex<Tally>,
}

struct Out {
    phase: Phase,
    /// Heartbeats and load: first in the next write.
    urgent: Vec<u8>,
    data: Vec<u8>,
    /// While the connection is being made: where in `data` a frame lies, and which life of the peer it
    /// is meant for.
    meant: Vec<(Range<usize>, Incarnation)>,
    kinds: Kinds,
    /// The writer has taken something that is not in the socket yet.
    writing: bool,
    /// The tasks that rest until the writer has taken the data.
    resting: Vec<Waker>,
}

/// The types of messages that were sent over a connection, each with its number there.
#[derive(Default)]
struct Kinds {
    numbers: HashMap<u32, u32>,
    /// Tag and number of the last one.
    last: Option<(u32, u32)>,
}

impl Kinds {
    /// The number of the type with this tag, and whether it is to be said first.
    fn number(&mut self, tag: u32) -> (u32, bool) {
        if let Some((last, number)) = self.last
            && last == tag
        {
            return (number, false);
        }
        let next = u32::try_from(self.numbers.len()).expect("fewer types than that");
        let number = *self.numbers.entry(tag).or_insert(next);
        self.last = Some((tag, number));
        (number, number == next)
    }
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
    /// The peer lives another life than the one meant (N6).
    OtherLife,
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
                meant: Vec::new(),
                kinds: Kinds::default(),
                writing: false,
                resting: Vec::new(),
            }),
            written: Notify::new(),
            drained: Notify::new(),
            socket: OnceLock::new(),
            heard: AtomicU64::new(millis(now)),
            visible: AtomicBool::new(false),
            relaying: AtomicBool::new(false),
            via: OnceLock::new(),
            outlet: Arc::default(),
            shown: Mutex::default(),
        }
    }

    /// Puts a message for an actor of this life of the peer on its way; an answer is for whichever life
    /// asked. `kind` in the head is the type's tag. The actor that sends over a full link rests after its turn.
    pub(crate) fn push(
        self: &Arc<Self>,
        life: Option<Incarnation>,
        mut head: Head<'_>,
        payload: impl FnOnce(&mut Vec<u8>) -> Result<(), rmp_serde::encode::Error>,
    ) -> Result<(), PushError> {
        let max = self.frame_bytes_max;
        let full = self.put(life, |out, kinds| {
            if let Head::Message { kind, .. }
            | Head::Request { kind, .. }
            | Head::Named { kind, .. } = &mut head
            {
                let (number, new) = kinds.number(*kind);
                if new {
                    frame_type(out, number, *kind);
                }
                *kind = number;
            }
            let start = out.len();
            frame(out, max, head, payload)
                .map_err(PushError::Encode)?
                .map_err(|long| PushError::TooLong(long, max))?;
            Ok(start)
        })?;
        if full && let Some(cell) = current() {
            cell.rest_on(self.clone());
        }
        Ok(())
    }

    /// Puts a signal to an actor of this life of the peer on its way, in order with messages.
    pub(crate) fn push_signal(
        self: &Arc<Self>,
        life: Incarnation,
        signal: &Control,
    ) -> Result<(), PushError> {
        self.put_control(Some(life), signal)
    }

    /// Puts a control frame on its way, in order with messages.
    pub(crate) fn push_control(self: &Arc<Self>, control: &Control) -> Result<(), PushError> {
        self.put_control(None, control)
    }

    /// The same; to a peer that is lost it vanishes.
    pub(crate) fn tell(self: &Arc<Self>, control: &Control) {
        let _ = self.push_control(control);
    }

    fn put_control(
        self: &Arc<Self>,
        life: Option<Incarnation>,
        control: &Control,
    ) -> Result<(), PushError> {
        let max = self.frame_bytes_max;
        let put = |control: &Control| {
            self.put(life, |out, _| {
                let start = out.len();
                frame_control(out, max, control).map_err(|long| PushError::TooLong(long, max))?;
                Ok(start)
            })
        };
        // LI-1: whoever waits for an end or an answer hears of it, if not in full.
        let short = if control.is_deep() { control.shortened() } else { None };
        match put(short.as_ref().unwrap_or(control)) {
            Err(PushError::TooLong(long, max)) => match control.shortened() {
                Some(short) => put(&short).map(drop),
                None => Err(PushError::TooLong(long, max)),
            },
            put => put.map(drop),
        }
    }

    /// Appends a frame; whether so much waits now that senders should rest. `write` says where the frame begins.
    fn put(
        self: &Arc<Self>,
        life: Option<Incarnation>,
        write: impl FnOnce(&mut Vec<u8>, &mut Kinds) -> Result<usize, PushError>,
    ) -> Result<bool, PushError> {
        let mut out = lock(&self.out);
        match (out.phase, life) {
            (Phase::Lost, _) => return Err(PushError::Lost),
            (Phase::Up(up), Some(life)) if up != life => return Err(PushError::OtherLife),
            (Phase::Up(_) | Phase::Connecting, _) => {}
        }
        let Out { data, kinds, .. } = &mut *out;
        let before = data.len();
        let start = write(data, kinds)?;
        if out.phase == Phase::Connecting
            && let Some(life) = life
        {
            let end = out.data.len();
            out.meant.push((start..end, life));
        }
        let bytes = out.data.len();
        drop(out);
        self.unsent(before, bytes);
        Ok(bytes > FULL_BYTES)
    }

    /// Something was put behind what was there `before`.
    fn unsent(self: &Arc<Self>, before: usize, bytes: usize) {
        match self.socket.get() {
            Some(_) => idle::unsent(self, bytes),
            None if before == 0 => self.written.notify_one(),
            None => {}
        }
    }

    /// Puts a control frame ahead of everything that waits.
    pub(crate) fn push_urgent(self: &Arc<Self>, control: &Control) {
        let mut out = lock(&self.out);
        // A peer that takes nothing gets no heap of heartbeats.
        if out.phase == Phase::Lost || out.urgent.len() > URGENT_BYTES_MAX {
            return;
        }
        let _ = frame_control(&mut out.urgent, self.frame_bytes_max, control);
        drop(out);
        self.unsent(0, 0);
    }

    /// It goes over this socket from now on.
    pub(super) fn set_socket(&self, sockets: &Arc<Sockets>, socket: &Arc<Socket>) {
        let _ = self.socket.set((Arc::downgrade(sockets), Arc::downgrade(socket))); // a link comes up once
    }

    /// Sends what waits, as much as the socket takes.
    pub(super) fn flush(&self) {
        if let Some((sockets, socket)) = self.socket.get()
            && let (Some(sockets), Some(socket)) = (sockets.upgrade(), socket.upgrade())
        {
            socket.flush(&sockets);
        }
    }

    /// Who looks after its socket.
    pub(super) fn sockets(&self) -> Weak<Sockets> {
        self.socket.get().map(|(sockets, _)| sockets.clone()).unwrap_or_default()
    }

    /// Whether there is something to be sent.
    pub(super) fn has_waiting(&self) -> bool {
        let out = lock(&self.out);
        !out.urgent.is_empty() || !out.data.is_empty()
    }

    /// Takes what waits for empty buffers with room; false if nothing does. Who calls it has written what it
    /// took before.
    pub(super) fn take_waiting(&self, urgent: &mut Vec<u8>, data: &mut Vec<u8>) -> bool {
        let mut out = lock(&self.out);
        out.writing = !out.urgent.is_empty() || !out.data.is_empty();
        if !out.writing {
            drop(out);
            self.drained.notify_waiters();
            return false;
        }
        std::mem::swap(&mut out.urgent, urgent);
        std::mem::swap(&mut out.data, data);
        if out.data.capacity() > SPARE_BYTES_MAX {
            out.data = Vec::new();
        }
        let resting = std::mem::take(&mut out.resting);
        drop(out);
        for waker in resting {
            waker.wake();
        }
        true
    }

    /// Waits until the link is lost, for whoever waits for nothing else of it.
    pub(super) async fn lost(&self) {
        while self.phase() != Phase::Lost {
            self.written.notified().await;
        }
    }

    /// Waits until there is something to write, and takes it; none once the link is lost.
    pub(crate) async fn take(&self, urgent: &mut Vec<u8>, data: &mut Vec<u8>) -> Option<()> {
        loop {
            if self.phase() == Phase::Lost {
                return None;
            }
            if self.take_waiting(urgent, data) {
                return Some(());
            }
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

    /// Marks a link that was being made as up; none if it is up or lost already. Returns the bodies of
    /// the frames that wait in it and were meant for another life of the peer, which are not sent.
    pub(crate) fn set_up(
        &self,
        incarnation: Incarnation,
        now: Duration,
    ) -> Option<Vec<(Incarnation, Bytes)>> {
        let mut out = lock(&self.out);
        if out.phase != Phase::Connecting {
            return None;
        }
        out.phase = Phase::Up(incarnation);
        self.heard.store(millis(now), Ordering::Relaxed);
        let mut meant = std::mem::take(&mut out.meant);
        meant.retain(|(_, life)| *life != incarnation);
        // From the back, so that the places of those before stay right.
        let mut former: Vec<_> = meant
            .into_iter()
            .rev()
            .map(|(at, life)| {
                let frame = Bytes::from_iter(out.data.drain(at));
                (life, frame.slice(PREFIX_BYTES..))
            })
            .collect();
        former.reverse();
        Some(former)
    }

    /// Marks it as lost and lets go of what was not sent; false if it was lost already.
    pub(crate) fn set_lost(&self) -> bool {
        let mut out = lock(&self.out);
        let before = std::mem::replace(&mut out.phase, Phase::Lost);
        out.urgent = Vec::new();
        out.data = Vec::new();
        out.meant = Vec::new();
        let resting = std::mem::take(&mut out.resting);
        drop(out);
        for waker in resting {
            waker.wake();
        }
        self.outlet.close();
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

    /// The peer is up and not hidden.
    pub(crate) fn set_visible(&self) {
        self.visible.store(true, Ordering::Release);
    }

    /// Our dial goes through the master from now on.
    pub(crate) fn set_relaying(&self) {
        self.relaying.store(true, Ordering::Release);
    }

    pub(crate) fn is_relaying(&self) -> bool {
        self.relaying.load(Ordering::Acquire)
    }

    pub(crate) fn set_via(&self, via: Via) {
        let _ = self.via.set(via); // a link comes up once
    }

    pub(crate) fn via(&self) -> Option<Via> {
        self.via.get().copied()
    }

    pub(crate) fn is_visible(&self) -> bool {
        self.visible.load(Ordering::Acquire)
    }

    /// The way of lines to the peer.
    pub(crate) fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    /// Counts a line of the peer's that was shown; returns lines and bytes when they are to be acknowledged.
    pub(crate) fn count_shown(&self, bytes: usize) -> Option<(usize, usize)> {
        lock(&self.shown).count(bytes)
    }

    /// When something was last heard.
    pub(crate) fn heard(&self) -> Duration {
        Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }
}

impl Rest for Link {
    fn is_full(&self, waker: &Waker) -> bool {
        let mut out = lock(&self.out);
        let full = out.phase != Phase::Lost && out.data.len() > FULL_BYTES;
        if full && !out.resting.iter().any(|w| w.will_wake(waker)) {
            out.resting.push(waker.clone());
        }
        full
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PushError::Lost => f.write_str("the connection is lost"),
            PushError::OtherLife => f.write_str("the node lives another life"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::{ExitReason, Pid};
    use crate::wire::{Body, Cut, Signal, cut, read_body};

    #[test]
    fn a_frame_whose_value_panics_leaves_nothing_in_the_buffer_li2() {
        let link = connecting(1 << 20);
        let panicking = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            link.push(None, Head::Reply { question: 1 }, |out| {
                out.push(0xC0);
                panic!("this value does not want to be sent");
            })
        }));
        assert!(panicking.is_err());
        link.push_control(&Control::Bye).unwrap();
        let sent = waiting(&link);
        assert!(matches!(sent[..], [Body::Control(Control::Bye)]), "{sent:?}");
    }

    #[test]
    fn frames_for_a_former_life_do_not_reach_the_next() {
        let link = connecting(1 << 20);
        let payload = |text: &'static [u8]| {
            |out: &mut Vec<u8>| {
                out.extend_from_slice(text);
                Ok(())
            }
        };
        link.push(Some(OLD), Head::Request { to: 1, kind: 2, question: 7 }, payload(b"a")).unwrap();
        link.push(Some(NEW), Head::Message { to: 1, kind: 2 }, payload(b"b")).unwrap();
        link.push_signal(OLD, &exit(ExitReason::Kill)).unwrap();
        link.push_control(&Control::Bye).unwrap();

        let former = link.set_up(NEW, Duration::ZERO).unwrap();
        let former: Vec<Body> = former.iter().map(|(_, body)| read_body(body).unwrap()).collect();
        let asked = Head::Request { to: 1, kind: 0, question: 7 };
        assert!(matches!(former[0], Body::Letter { head, .. } if head == asked), "N6: {former:?}");
        assert!(matches!(former[1], Body::Control(Control::Signal { .. })), "N6: {former:?}");
        let sent = waiting(&link);
        let told = Head::Message { to: 1, kind: 0 };
        assert!(matches!(sent[0], Body::Type { number: 0, tag: 2 }), "{sent:?}");
        assert!(matches!(sent[1], Body::Letter { head, .. } if head == told), "{sent:?}");
        assert!(matches!(sent[2], Body::Control(Control::Bye)) && sent.len() == 3, "{sent:?}");
        let late = link.push_signal(OLD, &exit(ExitReason::Kill));
        assert!(matches!(late, Err(PushError::OtherLife)), "N6: {late:?}");
    }

    #[test]
    fn an_exit_whose_reason_is_too_long_or_too_deep_arrives_all_the_same() {
        let link = connecting(1 << 10);
        let long = "x".repeat(1 << 11);
        link.push_signal(NEW, &exit(ExitReason::exit(long.clone()))).unwrap();
        let fault = crate::wire::Fault::Exit(ExitReason::ShutdownWith(long.into()));
        link.push_control(&Control::Failed { question: 1, fault }).unwrap();
        let deep = (0..500).fold(rmpv::Value::Nil, |inner, _| vec![inner].into());
        link.push_signal(NEW, &exit(ExitReason::exit(deep))).unwrap();
        link.set_up(NEW, Duration::ZERO).unwrap();
        let arrived = waiting(&link);
        assert_eq!(arrived.len(), 3, "LI-1: {arrived:?}");
        assert!(matches!(arrived[0], Body::Control(Control::Signal { .. })), "LI-1: {arrived:?}");
        assert!(matches!(arrived[1], Body::Control(Control::Failed { .. })), "LI-1: {arrived:?}");
    }

    #[test]
    fn a_payload_that_panics_leaves_no_half_of_a_frame() {
        let link = connecting(1 << 10);
        let push = std::panic::AssertUnwindSafe(|| {
            let _ = link.push(None, Head::Reply { question: 1 }, |out| {
                out.push(1);
                panic!("a Serialize of the user's");
            });
        });
        std::panic::catch_unwind(push).unwrap_err();
        link.push_control(&Control::Bye).unwrap();
        link.set_up(NEW, Duration::ZERO).unwrap();
        let sent = waiting(&link);
        assert!(matches!(sent[..], [Body::Control(Control::Bye)]), "{sent:?}");
    }

    const OLD: Incarnation = Incarnation(1);
    const NEW: Incarnation = Incarnation(2);

    fn connecting(frame_bytes_max: usize) -> Arc<Link> {
        let peer = "peer@h".parse().unwrap();
        Arc::new(Link::new(peer, Phase::Connecting, frame_bytes_max, Duration::ZERO))
    }

    fn exit(reason: ExitReason) -> Control {
        let from = Pid::new("me@h".parse().unwrap(), NEW, 1);
        Control::Signal { to: 1, signal: Signal::Exit { from, reason } }
    }

    /// What the writer would send.
    fn waiting(link: &Link) -> Vec<Body<'static>> {
        let (mut urgent, mut data) = (Vec::new(), Vec::new());
        futures::executor::block_on(link.take(&mut urgent, &mut data)).unwrap();
        let (mut rest, mut sent) = (&*data.leak(), Vec::new());
        while let Cut::Whole(bytes) = cut(rest, usize::MAX).unwrap() {
            sent.push(read_body(&rest[PREFIX_BYTES..bytes]).unwrap());
            rest = &rest[bytes..];
        }
        sent
    }
}
