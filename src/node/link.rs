//! The sending side of a connection to another node: one buffer that all senders encode into, and that
//! the writer swaps out whole.
//!
//! There is no flush timer and no write a message: what piles up while one write is under way is the
//! next write. Heartbeats and load reports go ahead of data; exits do not, because they must not
//! overtake what their actor sent before (rule O6).

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::task::waker;
use tokio::sync::Notify;

use super::cell::{Cell, Rest, current, lock};
use super::gate::Gate;
use super::idle;
use super::lane::{GOOD_WRITE_BYTES, LONG_BYTES, Lane};
use super::outgoing::{Kinds, Outgoing};
use super::outlet::Outlet;
use super::socket::Socket;
use super::sockets::Sockets;
use crate::core::credit::Tally;
use crate::term::{Incarnation, NodeName, Via};
use crate::wire::{Control, Draft, Head, PREFIX_BYTES, TooLong, frame, frame_control, frame_type};

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
    /// As its phase says, for who does not want to wait for that.
    is_lost: AtomicBool,
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
    urgent: Draft,
    /// Short frames.
    data: Draft,
    /// Long ones, and those that must not overtake them.
    lane: Lane,
    /// While the connection is being made: where in `data` a frame lies, and which life of the peer it
    /// is meant for.
    meant: Vec<(Range<usize>, Incarnation)>,
    kinds: Kinds,
    /// The writer has taken something that is not in the socket yet.
    writing: bool,
    /// The tasks that rest until the writer has taken the data.
    resting: Vec<Waker>,
    /// How much it has taken since they were woken.
    taken: usize,
    /// The mailboxes of the peer that have enough, by the number of their actor.
    gates: HashMap<u64, Arc<Gate>>,
}

/// What is to be sent, as far as the buffer has to know.
struct Sending {
    /// Which life of the peer it is meant for; none: whichever there is.
    life: Option<Incarnation>,
    /// Whose order it is part of: the number of the actor that sends it, 0 for the node itself.
    from: u64,
    /// Who it is for, where that is one that may have enough.
    to: Option<u64>,
    /// The tag of its type, if it has one.
    tag: Option<u32>,
}

/// Too much was sent.
struct Full {
    bytes: usize,
    /// Of whom; none if it is too much for the connection.
    gate: Option<Arc<Gate>>,
}

/// What came of taking what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Some,
    Nothing,
    /// Nothing waits but long frames, and none of those was wanted.
    OnlyLong,
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
                urgent: Draft::default(),
                data: Draft::default(),
                lane: Lane::default(),
                meant: Vec::new(),
                kinds: Kinds::default(),
                writing: false,
                resting: Vec::new(),
                taken: 0,
                gates: HashMap::new(),
            }),
            written: Notify::new(),
            drained: Notify::new(),
            is_lost: AtomicBool::new(false),
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
    /// asked. `kind` in the head is the type's tag. `from` is the number of who sends it. The actor that sends over
    /// a full link, or to one that has enough, rests after its turn; far too much of it holds its thread.
    ///
    /// What may go wrong is boxed: nearly always nothing does, and that is in a register then.
    pub(crate) fn push(
        self: &Arc<Self>,
        life: Option<Incarnation>,
        from: u64,
        head: Head<'_>,
        payload: impl FnOnce(&mut Draft) -> Result<(), rmp_serde::encode::Error>,
    ) -> Result<(), Box<PushError>> {
        let max = self.frame_bytes_max;
        let (to, tag) = match head {
            Head::Message { to, kind } | Head::Request { to, kind, .. } => (Some(to), Some(kind)),
            Head::Named { kind, .. } => (None, Some(kind)),
            Head::Reply { .. } => (None, None),
        };
        let put = self.put(Sending { life, from, to, tag }, |out, number| {
            frame(out, max, head.of_kind(number), payload)
                .map_err(PushError::Encode)?
                .map_err(|long| PushError::TooLong(long, max))
        });
        let Some(Full { bytes, gate }) = put.map_err(Box::new)? else { return Ok(()) };
        let cell = current();
        if let Some(cell) = &cell {
            cell.rest_on(gate.clone().map_or(self.clone() as Arc<dyn Rest>, |gate| gate));
        }
        match gate {
            Some(gate) if gate.count(bytes) => {
                self.flush();
                gate.hold(cell.as_deref());
            }
            None if bytes > OVERFULL_BYTES => self.hold(cell.as_deref()),
            _ => {}
        }
        Ok(())
    }

    /// Keeps this thread until the writer has taken what waits, its actor is doomed, or nothing goes for too long.
    fn hold(self: &Arc<Self>, cell: Option<&Cell>) {
        loop {
            let taken = Arc::<Gate>::default();
            self.flush();
            if !self.is_full(&waker(taken.clone())) || !taken.hold(cell) {
                return;
            }
        }
    }

    /// Waits until a message, to the actor of this number, can go on its way: neither it nor the connection has enough.
    pub(crate) async fn ready(&self, to: Option<u64>) {
        loop {
            let gate = to.and_then(|to| lock(&self.out).gates.get(&to).cloned());
            match gate {
                Some(gate) => gate.opened().await,
                None => break,
            }
        }
        poll_fn(|cx| match self.is_full(cx.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
    }

    /// Whether a message to that actor would have to wait.
    pub(crate) fn has_enough(&self, to: u64) -> bool {
        let out = lock(&self.out);
        out.phase != Phase::Lost && (out.is_full() || out.gates.contains_key(&to))
    }

    /// The mailbox of this actor has enough. Returns its gate, if that is new.
    pub(crate) fn pause(&self, to: u64) -> Option<Arc<Gate>> {
        let mut out = lock(&self.out);
        if out.phase == Phase::Lost || out.gates.contains_key(&to) {
            return None;
        }
        let gate = Arc::<Gate>::default();
        out.gates.insert(to, gate.clone());
        Some(gate)
    }

    /// It takes more.
    pub(crate) fn resume(&self, to: u64) {
        let gate = lock(&self.out).gates.remove(&to);
        if let Some(gate) = gate {
            gate.open();
        }
    }

    /// It has taken nothing for too long: nobody waits at this gate any longer. False if it was opened before.
    pub(crate) fn give_up(&self, to: u64, gate: &Arc<Gate>) -> bool {
        let mut out = lock(&self.out);
        let closed = out.gates.get(&to).is_some_and(|kept| Arc::ptr_eq(kept, gate));
        if closed {
            out.gates.remove(&to);
        }
        drop(out);
        gate.open();
        closed
    }

    /// Puts a signal to an actor of this life of the peer on its way, in order with messages.
    pub(crate) fn push_signal(
        self: &Arc<Self>,
        life: Incarnation,
        signal: &Control,
    ) -> Result<(), PushError> {
        self.put_control(Some(life), 0, signal)
    }

    /// Puts a control frame on its way, in order with messages.
    pub(crate) fn push_control(self: &Arc<Self>, control: &Control) -> Result<(), PushError> {
        self.put_control(None, 0, control)
    }

    /// The same in the name of the actor of this number: in order with what that has sent.
    pub(crate) fn tell_from(self: &Arc<Self>, from: u64, control: &Control) {
        let _ = self.put_control(None, from, control); // to a peer that is lost it vanishes
    }

    /// The same; to a peer that is lost it vanishes.
    pub(crate) fn tell(self: &Arc<Self>, control: &Control) {
        let _ = self.push_control(control);
    }

    fn put_control(
        self: &Arc<Self>,
        life: Option<Incarnation>,
        from: u64,
        control: &Control,
    ) -> Result<(), PushError> {
        let max = self.frame_bytes_max;
        let from = match control {
            Control::Signal { signal, .. } | Control::SignalNamed { signal, .. } => {
                signal.from().number()
            }
            _ => from,
        };
        let put = |control: &Control| {
            let sending = Sending { life, from, to: None, tag: None };
            self.put(sending, |out, _| {
                frame_control(out, max, control).map_err(|long| PushError::TooLong(long, max))
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

    /// Appends a frame; how much waits now, if it is so much that senders should rest, or how much of it for an
    /// actor that has enough. `write` gets the number of the frame's type.
    fn put(
        self: &Arc<Self>,
        sending: Sending,
        write: impl FnOnce(&mut Draft, u32) -> Result<(), PushError>,
    ) -> Result<Option<Full>, PushError> {
        let Sending { life, from, to, tag } = sending;
        let mut locked = lock(&self.out);
        let out = &mut *locked;
        match (out.phase, life) {
            (Phase::Lost, _) => return Err(PushError::Lost),
            (Phase::Up(up), Some(life)) if up != life => return Err(PushError::OtherLife),
            (Phase::Up(_) | Phase::Connecting, _) => {}
        }
        let before = out.bytes();
        let known = tag.map(|tag| {
            let (known, new) = out.kinds.look_up(tag);
            if new {
                frame_type(&mut out.data, known.number, tag);
            }
            known
        });
        let number = known.map_or(0, |known| known.number);
        let start = out.data.own.len();
        let waits = out.lane.has_of(from);
        // What is likely to be long is written apart; what has become long is taken out again.
        let apart = if waits || known.is_some_and(|known| known.long) {
            let mut draft = Draft::default();
            write(&mut draft, number)?;
            Some(draft)
        } else {
            write(&mut out.data, number)?;
            let is_long = out.data.own.len() - start > LONG_BYTES || !out.data.taken.is_empty();
            is_long.then(|| out.data.split_off(start))
        };
        let (bytes, in_lane) = match apart {
            None => (out.data.own.len() - start, false),
            Some(draft) => {
                let bytes = draft.len();
                let is_long = bytes > LONG_BYTES;
                if let Some(tag) = tag {
                    out.kinds.note(tag, is_long);
                }
                if waits || is_long {
                    out.lane.push(from, life, draft);
                } else {
                    out.data.own.extend_from_slice(&draft.into_bytes());
                }
                (bytes, waits || is_long)
            }
        };
        if out.phase == Phase::Connecting
            && !in_lane
            && let Some(life) = life
        {
            let end = out.data.own.len();
            out.meant.push((start..end, life));
        }
        let after = out.bytes();
        // Whoever sends little does not rest for those that send much.
        let waiting = if in_lane { out.lane.bytes() } else { out.data.own.len() };
        let gate = match to {
            Some(to) if !out.gates.is_empty() => out.gates.get(&to).cloned(),
            _ => None,
        };
        drop(locked);
        self.unsent(before, after);
        Ok(match gate {
            Some(gate) => Some(Full { bytes, gate: Some(gate) }),
            None => (waiting > FULL_BYTES).then_some(Full { bytes: waiting, gate: None }),
        })
    }

    /// So many bytes were in the buffer before something was put there, and so many are now.
    #[inline]
    fn unsent(self: &Arc<Self>, before: usize, after: usize) {
        match self.socket.get() {
            Some(_) => idle::unsent(self, before, after),
            None if before == 0 => self.written.notify_one(),
            None => {}
        }
    }

    /// Puts a control frame ahead of everything that waits. To a peer that takes nothing it vanishes: that gets no
    /// heap of heartbeats.
    pub(crate) fn push_urgent(self: &Arc<Self>, control: &Control) {
        self.put_urgent(control, URGENT_BYTES_MAX);
    }

    /// The same, and it does not vanish.
    pub(crate) fn push_first(self: &Arc<Self>, control: &Control) {
        self.put_urgent(control, usize::MAX);
    }

    fn put_urgent(self: &Arc<Self>, control: &Control, waiting_max: usize) {
        let mut out = lock(&self.out);
        if out.phase == Phase::Lost || out.urgent.own.len() > waiting_max {
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

    /// Whether there is something to be sent; or something short.
    pub(super) fn has_waiting(&self, short: bool) -> bool {
        let out = lock(&self.out);
        if short { out.has_short() } else { out.has_waiting() }
    }

    /// Takes what waits, in parts that are to be written one after the other; of long frames about so many bytes. Who
    /// calls it has written what it took before.
    pub(super) fn take_waiting(&self, outgoing: &mut Outgoing, of_long: usize) -> Taken {
        let mut out = lock(&self.out);
        outgoing.clear();
        if !out.has_waiting() {
            out.writing = false;
            drop(out);
            self.drained.notify_waiters();
            return Taken::Nothing;
        }
        if of_long == 0 && !out.has_short() {
            return Taken::OnlyLong;
        }
        out.writing = true;
        std::mem::swap(&mut out.urgent.own, &mut outgoing.urgent);
        std::mem::swap(&mut out.data.own, &mut outgoing.data);
        if out.data.own.capacity() > SPARE_BYTES_MAX {
            out.data.own = Vec::new();
        }
        if of_long > 0 {
            out.lane.take(&mut outgoing.long, of_long);
        }
        out.taken += outgoing.parts().map(<[u8]>::len).sum::<usize>();
        // Also while it is still full: who holds their thread goes on for as long as it is taken at all.
        let resting = if out.is_full() && out.taken < GOOD_WRITE_BYTES {
            Vec::new()
        } else {
            out.taken = 0;
            std::mem::take(&mut out.resting)
        };
        drop(out);
        for waker in resting {
            waker.wake();
        }
        Taken::Some
    }

    /// Waits until the link is lost, for whoever waits for nothing else of it.
    pub(super) async fn lost(&self) {
        while self.phase() != Phase::Lost {
            self.written.notified().await;
        }
    }

    /// Waits until there is something to write, and takes it; none once the link is lost.
    pub(crate) async fn take(&self, outgoing: &mut Outgoing) -> Option<()> {
        loop {
            if self.phase() == Phase::Lost {
                return None;
            }
            if self.take_waiting(outgoing, GOOD_WRITE_BYTES) == Taken::Some {
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
                let done = !out.has_waiting() && !out.writing;
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
                let frame = Bytes::from_iter(out.data.own.drain(at));
                (life, frame.slice(PREFIX_BYTES..))
            })
            .collect();
        former.reverse();
        let long = out.lane.of_other_lives(incarnation);
        former.extend(long.into_iter().map(|(life, frame)| (life, frame.slice(PREFIX_BYTES..))));
        Some(former)
    }

    /// Marks it as lost and lets go of what was not sent; false if it was lost already.
    pub(crate) fn set_lost(&self) -> bool {
        let mut out = lock(&self.out);
        let before = std::mem::replace(&mut out.phase, Phase::Lost);
        self.is_lost.store(true, Ordering::Release);
        out.urgent = Draft::default();
        out.data = Draft::default();
        out.lane.clear();
        out.meant = Vec::new();
        let resting = std::mem::take(&mut out.resting);
        let gates = std::mem::take(&mut out.gates);
        drop(out);
        for waker in resting {
            waker.wake();
        }
        for gate in gates.into_values() {
            gate.open();
        }
        self.outlet.close();
        self.written.notify_one();
        self.drained.notify_waiters();
        before != Phase::Lost
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.out).phase
    }

    /// Whether it is lost.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
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

impl Out {
    fn has_short(&self) -> bool {
        !self.urgent.own.is_empty() || !self.data.own.is_empty()
    }

    fn has_waiting(&self) -> bool {
        self.has_short() || !self.lane.is_empty()
    }

    fn bytes(&self) -> usize {
        self.data.own.len() + self.lane.bytes()
    }

    fn is_full(&self) -> bool {
        self.data.own.len() > FULL_BYTES || self.lane.bytes() > FULL_BYTES
    }
}

impl Rest for Link {
    fn is_full(&self, waker: &Waker) -> bool {
        let mut out = lock(&self.out);
        let full = out.phase != Phase::Lost && out.is_full();
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
/// More than this holds their threads.
const OVERFULL_BYTES: usize = 4 << 20;
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
            link.push(None, 0, Head::Reply { question: 1 }, |out| {
                out.own.push(0xC0);
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
            |out: &mut Draft| {
                out.own.extend_from_slice(text);
                Ok(())
            }
        };
        link.push(Some(OLD), 5, Head::Request { to: 1, kind: 2, question: 7 }, payload(b"a"))
            .unwrap();
        link.push(Some(NEW), 5, Head::Message { to: 1, kind: 2 }, payload(b"b")).unwrap();
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
            let _ = link.push(None, 0, Head::Reply { question: 1 }, |out| {
                out.own.push(1);
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
        let mut outgoing = Outgoing::default();
        futures::executor::block_on(link.take(&mut outgoing)).unwrap();
        let bytes: Vec<u8> = outgoing.parts().collect::<Vec<_>>().concat();
        let (mut rest, mut sent) = (&*bytes.leak(), Vec::new());
        while let Cut::Whole(bytes) = cut(rest, usize::MAX).unwrap() {
            sent.push(read_body(&rest[PREFIX_BYTES..bytes]).unwrap());
            rest = &rest[bytes..];
        }
        sent
    }
}
