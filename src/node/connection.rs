//! One TCP stream: the greeting, then frames in and frames out, until one side is gone or silent.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, select};
use slog::{debug, info, warn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::Node;
use super::link::{Link, Phase};
use super::peers::Admission;
use super::role::RoleEvent;
use crate::wire::greeting::{
    DialStep, Dialer, GREETING_BYTES_MAX, Greeting, Hello, ListenStep, Listener, Part, Refusal,
    decode, encode,
};
use crate::wire::{Body, Control, NotAFrame, Splitter, read_body};

/// Dials the peer of `link`, greets it, and serves the connection to its end.
pub(crate) async fn dial(node: Arc<Node>, link: Arc<Link>, address: SocketAddr) {
    let greeted = timeout(node.config.times.greeting, greet_again(&node, &link, address)).await;
    let why = match greeted {
        Ok(Ok((stream, read, them))) => {
            node.losses_told().await; // PE-6
            if node.bring_up(&link, them.incarnation) {
                serve(Upheld { node, link }, stream, read, them).await;
            }
            return;
        }
        // PE-1: the peer's own dial is on its way, and this link will be given to it.
        Ok(Err(Unmet::Refused(Refusal::Crossed))) => {
            tokio::time::sleep(node.config.times.greeting).await;
            "it said that it was dialing us, and did not come".to_owned()
        }
        Ok(Err(unmet)) => format!("{address}: {unmet}"),
        Err(_) => {
            let after = node.config.times.greeting;
            format!("{address}: no greeting within {after:?}")
        }
    };
    // PE-4: the peer's own dial may have brought the link up in the meantime; then nothing is lost.
    if link.phase() == Phase::Connecting {
        node.lose(&link, &why);
    }
}

/// Answers a stranger's greeting and serves the connection to its end. `met` is called when the
/// stranger has proved itself, is refused, or `pushed_out` has come true.
pub(crate) async fn accept(
    node: Arc<Node>,
    stream: TcpStream,
    from: SocketAddr,
    pushed_out: oneshot::Receiver<()>,
    met: impl FnOnce(),
) {
    let answering = std::pin::pin!(timeout(node.config.times.greeting, answer(&node, stream)));
    let answered = select(answering, pushed_out).await;
    met();
    let why = match answered {
        Either::Left((Ok(Ok((upheld, stream, read, them))), _)) => {
            return serve(upheld, stream, read, them).await;
        }
        // PE-1: in the best of families.
        Either::Left((
            Ok(Err(Unmet::Refused(why @ (Refusal::Crossed | Refusal::Connected)))),
            _,
        )) => {
            return debug!(node.log, "not needed"; "from" => %from, "reason" => %why);
        }
        Either::Left((Ok(Err(unmet)), _)) => unmet.to_string(),
        Either::Left((Err(_), _)) => format!("no greeting within {:?}", node.config.times.greeting),
        Either::Right(_) => "no greeting yet, and too many others wait".to_owned(),
    };
    warn!(node.log, "refused"; "from" => %from, "reason" => why);
}

/// A link that is up. However its connection's task ends, it is lost then: nobody else would notice.
struct Upheld {
    node: Arc<Node>,
    link: Arc<Link>,
}

impl Drop for Upheld {
    fn drop(&mut self) {
        self.node.lose(&self.link, "its connection was dropped");
    }
}

/// Why a greeting came to nothing.
#[derive(Debug, thiserror::Error)]
enum Unmet {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("closed during the greeting")]
    Closed,
    #[error("{0}")]
    Garbage(#[from] NotAFrame),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// Greets a peer that may not have noticed yet that our former connection is lost.
///
/// PE-5: it says then that we are connected; it is asked again until it has noticed, or the time is up.
async fn greet_again(
    node: &Node,
    link: &Link,
    address: SocketAddr,
) -> Result<(TcpStream, BytesMut, Hello), Unmet> {
    loop {
        match greet(node, link, address).await {
            Err(Unmet::Refused(Refusal::Connected)) if link.phase() == Phase::Connecting => {
                tokio::time::sleep(REDIAL_AFTER).await;
            }
            greeted => return greeted,
        }
    }
}

async fn greet(
    node: &Node,
    link: &Link,
    address: SocketAddr,
) -> Result<(TcpStream, BytesMut, Hello), Unmet> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let me = node.hello()?;
    let mut dialer = Dialer::new(me, Some(link.peer));
    let mut read = BytesMut::new();
    say(&mut stream, &dialer.hello()).await?;
    loop {
        let said = hear(&mut stream, &mut read).await?;
        match dialer.on(said, &node.config.cookie)? {
            DialStep::Say(next) => say(&mut stream, &next).await?,
            DialStep::Up(them) => return Ok((stream, read, them)),
        }
    }
}

async fn answer(
    node: &Arc<Node>,
    mut stream: TcpStream,
) -> Result<(Upheld, TcpStream, BytesMut, Hello), Unmet> {
    stream.set_nodelay(true)?;
    let mut listener = Listener::new(node.hello()?);
    let mut read = BytesMut::new();
    loop {
        let said = hear(&mut stream, &mut read).await;
        let step = said.and_then(|said| Ok(listener.on(said, &node.config.cookie)?));
        match step {
            Ok(ListenStep::Say(next)) => say(&mut stream, &next).await?,
            Ok(ListenStep::Proven { say: proof, them }) => match admit(node, &them).await {
                Ok(upheld) => {
                    say(&mut stream, &proof).await?;
                    return Ok((upheld, stream, read, them));
                }
                Err(refusal) => return Err(refuse(&mut stream, refusal).await),
            },
            Err(Unmet::Refused(refusal)) => return Err(refuse(&mut stream, refusal).await),
            Err(unmet) => return Err(unmet),
        }
    }
}

/// A link for a peer that has proved itself, marked as up.
///
/// PE-6: before a node is up again, everybody has heard of its former loss.
async fn admit(node: &Arc<Node>, them: &Hello) -> Result<Upheld, Refusal> {
    let new = || {
        let max = node.config.frame_bytes_max;
        Arc::new(Link::new(them.node, Phase::Connecting, max, node.now()))
    };
    let taken = || Refusal::NameTaken(them.node.to_string());
    if them.node == node.name {
        return Err(taken());
    }
    loop {
        node.losses_told().await;
        let fresh = node.now().saturating_sub(node.config.times.tick * 2);
        match node.peers().admit(node.name, them, fresh, new) {
            Ok(link) if node.bring_up(&link, them.incarnation) => {
                return Ok(Upheld { node: node.clone(), link });
            }
            Ok(_) => return Err(taken()),
            Err(Admission::Refuse(refusal)) => return Err(refusal),
            Err(Admission::Outlived(link)) => node.lose(&link, "it has come back as another life"),
        }
    }
}

async fn refuse(stream: &mut TcpStream, refusal: Refusal) -> Unmet {
    // The refusal matters more than whether it can still be said.
    let _ = say(stream, &Greeting::Refused(refusal.clone())).await;
    Unmet::Refused(refusal)
}

async fn say(stream: &mut TcpStream, greeting: &Greeting) -> io::Result<()> {
    let body = encode(greeting);
    let length = u32::try_from(body.len()).expect("a greeting is short");
    let mut frame = vec![0xC6];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    stream.write_all(&frame).await
}

async fn hear(stream: &mut TcpStream, read: &mut BytesMut) -> Result<Greeting, Unmet> {
    let splitter = Splitter::new(GREETING_BYTES_MAX);
    loop {
        if let Some(body) = splitter.next(read)? {
            return Ok(decode(&body)?);
        }
        if stream.read_buf(read).await? == 0 {
            return Err(Unmet::Closed);
        }
    }
}

/// Serves a connection that is up until it is lost.
async fn serve(upheld: Upheld, stream: TcpStream, read: BytesMut, them: Hello) {
    let Upheld { node, link } = &upheld;
    info!(node.log, "node up"; "peer" => %them.node, "part" => ?them.part);
    if them.part != Part::Hidden {
        node.node_up(link);
    }
    let (from, to) = stream.into_split();
    node.role(RoleEvent::PeerUp(them));
    let why = futures::select! {
        why = read_frames(node, link, from, read).fuse() => why,
        why = write_frames(node, link, to).fuse() => why,
        why = keep_alive(node, link).fuse() => why,
    };
    node.lose(link, &why);
}

async fn read_frames(
    node: &Arc<Node>,
    link: &Arc<Link>,
    mut from: OwnedReadHalf,
    mut read: BytesMut,
) -> String {
    let splitter = Splitter::new(node.config.frame_bytes_max);
    let of_master = node.config.life_line.is_some();
    loop {
        loop {
            let body = match splitter.next(&mut read) {
                Ok(Some(body)) => body,
                Ok(None) => break,
                Err(garbage) => return garbage.to_string(),
            };
            match read_body(body) {
                Ok(Body::Message { to, tag, payload }) => node.on_message(to, tag, payload),
                Ok(Body::Request { to, tag, question, payload }) => {
                    node.on_request(link, to, tag, question, payload);
                }
                Ok(Body::Named { name, tag, payload }) => node.on_named(&name, tag, payload),
                Ok(Body::Reply { question, payload }) => {
                    node.close_question(question, super::Outcome::Reply(payload));
                }
                Ok(Body::Control(Control::Bye)) => return "it left".to_owned(),
                Ok(Body::Control(control)) => node.on_control(link, control),
                Err(garbage) => return garbage.to_string(),
            }
        }
        make_room(&mut read);
        match from.read_buf(&mut read).await {
            Ok(0) => return "the connection was closed".to_owned(),
            Ok(_) => {}
            Err(why) => return why.to_string(),
        }
        // Nothing is heard of a node after its loss: another life of it may be connected by now.
        if link.phase() == Phase::Lost {
            return "lost already".to_owned();
        }
        let now = node.now();
        link.hear(now);
        if of_master && node.peers().master() == Some(link.peer) {
            node.beat(now);
        }
    }
}

/// Makes room for one read. A message that waits in an inbox keeps all of the buffer it was read into:
/// so each buffer is used up before there is another one.
fn make_room(read: &mut BytesMut) {
    if read.capacity() - read.len() < ROOM_BYTES_MIN {
        read.reserve(READ_BYTES);
    }
}

async fn write_frames(node: &Arc<Node>, link: &Arc<Link>, mut to: OwnedWriteHalf) -> String {
    let stalled_max = node.config.times.silence_max;
    let (mut urgent, mut data) = (Vec::new(), Vec::new());
    while link.take(&mut urgent, &mut data).await.is_some() {
        for part in [&mut urgent, &mut data] {
            let mut rest = &part[..];
            // A peer that takes nothing is as good as a silent one, and what waits for it only grows.
            while !rest.is_empty() {
                match timeout(stalled_max, to.write(rest)).await {
                    Ok(Ok(0)) => return "the connection takes no more".to_owned(),
                    Ok(Ok(written)) => rest = &rest[written..],
                    Ok(Err(why)) => return why.to_string(),
                    Err(_) => return format!("took nothing for {stalled_max:?}"),
                }
            }
            part.clear();
        }
    }
    // Lost on purpose: what was written before is on its way, the rest was let go of.
    let _ = to.shutdown().await;
    "the connection was ended".to_owned()
}

/// Sends heartbeats; returns when the peer has been silent for too long.
async fn keep_alive(node: &Arc<Node>, link: &Arc<Link>) -> String {
    let times = node.config.times;
    let mut tick = node.now() + times.tick;
    loop {
        let silent = link.heard() + times.silence_max;
        tokio::time::sleep_until(node.clock().instant(silent.min(tick))).await;
        node.look_at_clock();
        let now = node.now();
        if now >= link.heard() + times.silence_max {
            return format!("silent for {:?}{}", times.silence_max, node.own_pause());
        }
        if now >= tick {
            link.push_urgent(&Control::Tick);
            tick = now + times.tick;
        }
    }
}

/// Between two attempts to reach a peer that takes us for connected.
const REDIAL_AFTER: Duration = Duration::from_millis(5);
/// Room for one read.
const READ_BYTES: usize = 64 << 10;
/// Less room than this is not worth a read.
const ROOM_BYTES_MIN: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_wait_share_the_buffers_they_came_in() {
        let (mut read, mut waiting, mut buffers) = (BytesMut::new(), Vec::new(), 0);
        let splitter = Splitter::new(100);
        for _ in 0..10_000 {
            let room = read.capacity();
            make_room(&mut read);
            buffers += usize::from(read.capacity() > room);
            read.extend_from_slice(&[0xC6, 0, 0, 0, 3, 1, 7, 7]);
            waiting.push(splitter.next(&mut read).unwrap());
        }
        // 80,000 bytes have come.
        assert!(buffers <= 2, "{buffers} buffers of {READ_BYTES} bytes");
    }
}
