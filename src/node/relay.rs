//! Connections between nodes that cannot reach each other: a stream that goes through the master, over the
//! connections that both have with it. The master's part, and that of the two ends.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use slog::{debug, warn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Node;
use super::cell::lock;
use super::connection::accept_relayed;
use super::link::{Link, Phase};
use super::stream::ByteStream;
use crate::core::relay::{Exchange, Intake, PIECE_BYTES_MAX, Verdict, Window};
use crate::term::{NodeName, Ref, Via};
use crate::wire::{Control, Relayed};

/// The relayed streams of a node: those that end here, and on a master those that pass.
#[derive(Default)]
pub(crate) struct Relays {
    exchange: Mutex<Exchange>,
    ends: Mutex<HashMap<Ref, Arc<End>>>,
}

impl Node {
    /// A frame of a relayed stream has come over `link`.
    pub(crate) fn on_relay(
        self: &Arc<Self>,
        link: &Arc<Link>,
        peer: NodeName,
        stream: Ref,
        what: Relayed,
    ) {
        if link.phase() == Phase::Lost {
            return; // left of its last read
        }
        match self.peers.master() {
            Some(master) if master == self.name => self.pass_on(link, peer, stream, what),
            Some(master) if master == link.peer => self.on_relayed(link, peer, stream, what),
            _ => debug!(self.log, "not my master's relay"; "from" => %link.peer),
        }
    }

    /// As the master: passes a frame on, in its sender's name.
    fn pass_on(self: &Arc<Self>, link: &Arc<Link>, to: NodeName, stream: Ref, what: Relayed) {
        let from = link.peer;
        let opens = what == Relayed::Open;
        let verdict = match opens && !self.may_open(link, to) {
            true => Verdict::Close,
            false => lock(&self.relays.exchange).look_at(from, to, stream, &what),
        };
        let closed = |peer| Control::Relay { peer, stream, what: Relayed::Closed };
        match verdict {
            Verdict::Pass => {
                let on = self.peers.get(to).filter(|on| matches!(on.phase(), Phase::Up(_)));
                let passed = Control::Relay { peer: from, stream, what };
                let arrives = on.as_ref().is_some_and(|on| on.push_control(&passed).is_ok());
                // It may have been lost, by another thread, before its stream was noted.
                let stays = !opens || link.phase() != Phase::Lost;
                if !(arrives && stays) {
                    lock(&self.relays.exchange).close(stream);
                    link.tell(&closed(to));
                    on.into_iter().for_each(|on| on.tell(&closed(from)));
                }
            }
            Verdict::Drop => {}
            Verdict::Close => link.tell(&closed(to)),
            Verdict::Offence(why) => self.lose_offender(link, why),
        }
    }

    /// Streams go from members, and from nodes that talk to the pool, to members.
    fn may_open(&self, link: &Link, to: NodeName) -> bool {
        let is_hidden = !link.is_visible();
        (is_hidden || self.peers.knows(link.peer)) && self.peers.knows(to)
    }

    /// As an end: a frame of which the master says who sent it.
    fn on_relayed(
        self: &Arc<Self>,
        carrier: &Arc<Link>,
        peer: NodeName,
        stream: Ref,
        what: Relayed,
    ) {
        let known = lock(&self.relays.ends).get(&stream).cloned();
        let Some(end) = known.filter(|end| end.peer == peer) else {
            match what {
                Relayed::Open if stream.node() == peer => {
                    let origin = format!("{peer}, through {}", carrier.peer);
                    let relayed = self.relayed_stream(End::new(peer, stream, carrier.clone()));
                    self.on_io(accept_relayed(self.clone(), relayed, peer, origin));
                }
                // Late: it is closed here, which the other end will hear or has heard.
                Relayed::Open | Relayed::Piece(_) | Relayed::Taken(_) | Relayed::Closed => {}
            }
            return;
        };
        let right = match what {
            Relayed::Open => false,
            Relayed::Piece(piece) => end.take_in(piece),
            Relayed::Taken(taken) => end.taken(taken),
            Relayed::Closed => {
                end.end();
                true
            }
        };
        if !right {
            warn!(self.log, "a relayed stream makes no sense"; "from" => %peer, "through" => %carrier.peer);
            end.close();
        }
    }

    /// The master that can relay to `peer`, if there is one and we are connected with it.
    pub(crate) fn relay_to(&self, peer: NodeName) -> Option<Arc<Link>> {
        let master = self.peers.master().filter(|it| *it != peer && *it != self.name)?;
        self.peers.get(master).filter(|link| matches!(link.phase(), Phase::Up(_)))
    }

    /// Opens a stream to `peer` through this connection with the master.
    pub(crate) fn open_relay(self: &Arc<Self>, peer: NodeName, carrier: Arc<Link>) -> ByteStream {
        let stream = self.new_ref();
        let end = End::new(peer, stream, carrier);
        let _ = end.say(Relayed::Open); // a carrier that is lost ends it below
        self.relayed_stream(end)
    }

    fn relayed_stream(self: &Arc<Self>, end: End) -> ByteStream {
        let end = Arc::new(end);
        lock(&self.relays.ends).insert(end.stream, end.clone());
        // RY-3: lost, by another thread, before the stream was noted.
        if end.carrier.phase() == Phase::Lost {
            end.end();
        }
        let reader = Arc::new(Held { node: self.clone(), end });
        let writer = reader.clone();
        ByteStream::new(Via::Relay, Reader(reader), Writer(writer))
    }

    /// RY-3: a connection that was up is lost, and with it what was relayed over it.
    pub(crate) fn lose_relayed(&self, link: &Link) {
        let over = |end: &&Arc<End>| end.carrier.id == link.id;
        let ends: Vec<Arc<End>> = lock(&self.relays.ends).values().filter(over).cloned().collect();
        for end in ends {
            end.end();
        }
        let passing = lock(&self.relays.exchange).lost(link.peer);
        for (other, stream) in passing {
            if let Some(other) = self.peers.get(other) {
                let (peer, what) = (link.peer, Relayed::Closed);
                other.tell(&Control::Relay { peer, stream, what });
            }
        }
    }
}

/// This end of a relayed stream.
struct End {
    peer: NodeName,
    stream: Ref,
    /// The connection with the master.
    carrier: Arc<Link>,
    flow: Mutex<Flow>,
}

#[derive(Default)]
struct Flow {
    /// Pieces that wait to be read, the first of them perhaps in part, and what they were long.
    came: VecDeque<(Bytes, usize)>,
    /// RY-2: what has come and is not said to be taken.
    coming: Window,
    intake: Intake,
    going: Window,
    over: Option<Over>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// We have said so.
    Ours,
    /// The other end has, or a connection that carries it is lost.
    Theirs,
}

impl End {
    fn new(peer: NodeName, stream: Ref, carrier: Arc<Link>) -> End {
        End { peer, stream, carrier, flow: Mutex::default() }
    }

    fn say(&self, what: Relayed) -> Result<(), ()> {
        let said = Control::Relay { peer: self.peer, stream: self.stream, what };
        self.carrier.push_control(&said).map_err(drop)
    }

    /// It is over, by no will of ours.
    fn end(&self) {
        lock(&self.flow).over.get_or_insert(Over::Theirs);
        self.wake();
    }

    /// It is over, by ours: the other end hears after all that was written.
    fn close(&self) {
        let before = lock(&self.flow).over.replace(Over::Ours);
        if before.is_none() {
            let _ = self.say(Relayed::Closed); // without a carrier it knows
        }
        self.wake();
    }

    /// A piece has come; false if there was no credit for it.
    fn take_in(&self, piece: Vec<u8>) -> bool {
        let mut flow = lock(&self.flow);
        let length = piece.len();
        if !flow.coming.send(length) {
            return false;
        }
        flow.came.push_back((piece.into(), length));
        let reader = flow.reader.take();
        drop(flow);
        reader.into_iter().for_each(Waker::wake);
        true
    }

    /// The other end has taken so much; false if so much was not under way.
    fn taken(&self, taken: u64) -> bool {
        let mut flow = lock(&self.flow);
        let right = flow.going.taken(taken);
        let writer = flow.writer.take();
        drop(flow);
        writer.into_iter().for_each(Waker::wake);
        right
    }

    fn wake(&self) {
        let mut flow = lock(&self.flow);
        let wakers = [flow.reader.take(), flow.writer.take()];
        drop(flow);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Flow {
    /// Moves what has come; returns what is to be said to be taken.
    fn read(&mut self, into: &mut ReadBuf<'_>) -> u64 {
        let mut said = 0;
        while let Some((piece, length)) = self.came.front_mut()
            && into.remaining() > 0
        {
            let bytes = piece.len().min(into.remaining());
            into.put_slice(&piece[..bytes]);
            piece.advance(bytes);
            if piece.is_empty() {
                said += self.intake.take(*length).unwrap_or(0);
                self.came.pop_front();
            }
        }
        self.coming.taken(said);
        said
    }
}

/// A stream that is open here as long as one of its halves is.
struct Held {
    node: Arc<Node>,
    end: Arc<End>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end.close();
        lock(&self.node.relays.ends).remove(&self.end.stream);
    }
}

struct Reader(Arc<Held>);

struct Writer(Arc<Held>);

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = &self.0.end;
        let mut flow = lock(&end.flow);
        if flow.over == Some(Over::Ours) {
            return Poll::Ready(Ok(()));
        }
        // What came before the end is read before it.
        if flow.came.is_empty() && flow.over.is_none() {
            flow.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = flow.read(into);
        drop(flow);
        if taken > 0 {
            let _ = end.say(Relayed::Taken(taken)); // without a carrier nobody waits for it
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let end = &self.0.end;
        let piece = &from[..from.len().min(PIECE_BYTES_MAX)];
        let mut flow = lock(&end.flow);
        match flow.over {
            Some(Over::Ours) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            // As with TCP: the reader notices, after what came before.
            Some(Over::Theirs) => return Poll::Ready(Ok(piece.len())),
            None if piece.is_empty() => return Poll::Ready(Ok(0)),
            None => {}
        }
        if !flow.going.send(piece.len()) {
            flow.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(flow);
        let _ = end.say(Relayed::Piece(piece.to_vec())); // without a carrier it is over soon
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.end.close();
        Poll::Ready(Ok(()))
    }
}
