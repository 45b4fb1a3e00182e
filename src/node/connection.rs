//! One TCP stream: the greeting, then frames in and frames out, until one side is gone or silent.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use futures::FutureExt;
use slog::{info, warn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::Node;
use super::link::{Link, Phase};
use super::peers::Admission;
use super::role::RoleEvent;
use crate::wire::greeting::{
    DialStep, Dialer, GREETING_BYTES_MAX, Greeting, Hello, ListenStep, Listener, Refusal, decode,
    encode,
};
use crate::wire::{Body, Control, NotAFrame, Splitter, read_body};

/// Dials the peer of `link`, greets it, and serves the connection to its end.
pub(crate) async fn dial(node: Arc<Node>, link: Arc<Link>, address: SocketAddr) {
    let greeted = timeout(node.config.times.greeting, greet(&node, &link, address)).await;
    let (stream, read, them) = match greeted {
        Ok(Ok(met)) => met,
        // PE-1: the peer's own dial is on its way, and this link will be given to it.
        Ok(Err(Unmet::Refused(Refusal::Crossed))) => return expect_crossed(&node, &link).await,
        Ok(Err(unmet)) => return node.lose(&link, &format!("{address}: {unmet}")),
        Err(_) => {
            let after = node.config.times.greeting;
            return node.lose(&link, &format!("{address}: no greeting within {after:?}"));
        }
    };
    if node.bring_up(&link, them.incarnation) {
        serve(node, link, stream, read, them).await;
    }
}

/// Answers a stranger's greeting and serves the connection to its end. `met` is called when the
/// stranger has proved itself, or is refused.
pub(crate) async fn accept(
    node: Arc<Node>,
    stream: TcpStream,
    from: SocketAddr,
    met: impl FnOnce(),
) {
    let answered = timeout(node.config.times.greeting, answer(&node, stream)).await;
    met();
    match answered {
        Ok(Ok((link, stream, read, them))) => serve(node, link, stream, read, them).await,
        Ok(Err(unmet)) => warn!(node.log, "refused"; "from" => %from, "reason" => %unmet),
        Err(_) => {
            let why = format!("no greeting within {:?}", node.config.times.greeting);
            warn!(node.log, "refused"; "from" => %from, "reason" => why);
        }
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

async fn greet(
    node: &Node,
    link: &Link,
    address: SocketAddr,
) -> Result<(TcpStream, BytesMut, Hello), Unmet> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let me = node.hello()?;
    let mut dialer = Dialer::new(me.clone(), Some(link.peer));
    let mut read = BytesMut::new();
    say(&mut stream, &Greeting::Hello(me)).await?;
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
) -> Result<(Arc<Link>, TcpStream, BytesMut, Hello), Unmet> {
    stream.set_nodelay(true)?;
    let mut listener = Listener::new(node.hello()?);
    let mut read = BytesMut::new();
    loop {
        let said = hear(&mut stream, &mut read).await;
        let step = said.and_then(|said| Ok(listener.on(said, &node.config.cookie)?));
        match step {
            Ok(ListenStep::Say(next)) => say(&mut stream, &next).await?,
            Ok(ListenStep::Proven { say: proof, them }) => match admit(node, &them) {
                Ok(link) => {
                    if let Err(gone) = say(&mut stream, &proof).await {
                        node.lose(&link, "gone during the greeting");
                        return Err(gone.into());
                    }
                    return Ok((link, stream, read, them));
                }
                Err(refusal) => return Err(refuse(&mut stream, refusal).await),
            },
            Err(Unmet::Refused(refusal)) => return Err(refuse(&mut stream, refusal).await),
            Err(unmet) => return Err(unmet),
        }
    }
}

/// A link for a peer that has proved itself, marked as up.
fn admit(node: &Arc<Node>, them: &Hello) -> Result<Arc<Link>, Refusal> {
    let new = || {
        let max = node.config.frame_bytes_max;
        Arc::new(Link::new(them.node, Phase::Connecting, max, node.now()))
    };
    if them.node == node.name {
        return Err(Refusal::NameTaken(them.node));
    }
    loop {
        match node.peers().admit(node.name, them, new) {
            Ok(link) if node.bring_up(&link, them.incarnation) => return Ok(link),
            Ok(_) => return Err(Refusal::NameTaken(them.node)),
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

/// Our dial was refused because the peer dialed us: its connection has to come soon.
async fn expect_crossed(node: &Arc<Node>, link: &Arc<Link>) {
    tokio::time::sleep(node.config.times.greeting).await;
    if link.phase() == Phase::Connecting {
        node.lose(link, "it said that it was dialing us, and did not come");
    }
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
async fn serve(node: Arc<Node>, link: Arc<Link>, stream: TcpStream, read: BytesMut, them: Hello) {
    info!(node.log, "node up"; "peer" => %them.node, "part" => ?them.part);
    let (from, to) = stream.into_split();
    node.role(RoleEvent::PeerUp(them));
    let why = futures::select! {
        why = read_frames(&node, &link, from, read).fuse() => why,
        why = write_frames(&link, to).fuse() => why,
        why = keep_alive(&node, &link).fuse() => why,
    };
    node.lose(&link, &why);
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
                Ok(Body::Reply { question, payload }) => {
                    node.close_question(question, super::Outcome::Reply(payload));
                }
                Ok(Body::Control(control)) => node.on_control(link, control),
                Err(garbage) => return garbage.to_string(),
            }
        }
        read.reserve(READ_BYTES);
        match from.read_buf(&mut read).await {
            Ok(0) => return "the connection was closed".to_owned(),
            Ok(_) => {}
            Err(why) => return why.to_string(),
        }
        let now = node.now();
        link.hear(now);
        if of_master && node.peers().master() == Some(link.peer) {
            node.beat(now);
        }
    }
}

async fn write_frames(link: &Arc<Link>, mut to: OwnedWriteHalf) -> String {
    let (mut urgent, mut data) = (Vec::new(), Vec::new());
    while link.take(&mut urgent, &mut data).await.is_some() {
        for part in [&mut urgent, &mut data] {
            if let Err(why) = to.write_all(part).await {
                return why.to_string();
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
        let now = node.now();
        if now >= link.heard() + times.silence_max {
            return format!("silent for {:?}", times.silence_max);
        }
        if now >= tick {
            link.push_urgent(&Control::Tick);
            tick = now + times.tick;
        }
    }
}

/// Room for one read.
const READ_BYTES: usize = 64 << 10;
