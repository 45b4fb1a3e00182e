//! One connection: the greeting, then frames in and frames out, until one side is gone or silent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, select};
use slog::{debug, info};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{timeout, timeout_at};

use super::incoming::Incoming;
use super::link::{Link, Phase};
use super::outgoing::Outgoing;
use super::peers::Admission;
use super::role::RoleEvent;
use super::sockets::Watched;
use super::stream::{Bare, ByteStream, From, MakeStream, To};
use super::tls::{self, Entry, Secured};
use super::ways::{Ends, Made, NoWay, Place, Tried, Ways, connect, ways};
use super::{Node, Outcome};
use crate::term::NodeName;
use crate::wire::greeting::{
    Channel, DialStep, Dialer, GREETING_BYTES_MAX, Greeting, Hello, ListenStep, Listener, Part,
    Refusal, decode, encode,
};
use crate::wire::{Answer, Control, Cut, NotAFrame, PREFIX_BYTES, Query, cut};

/// Dials the peer of `link`, greets it, and serves the connection to its end.
///
/// RY-4: a way of its own comes first. If none leads to a peer of another host, and it neither came nor
/// refused us, it is the master that passes on what the two say.
pub(crate) async fn dial(node: Arc<Node>, link: Arc<Link>, place: Place) {
    let tried = Tried::default();
    let after = node.config.times.greeting;
    let near = matches!(ways(&place.at, node.config.host), Ways::Plain(_));
    let carrier = if near { None } else { node.relay_to(link.peer) };
    let mut reached = in_time(after, reach(&node, &link, &place, &tried, carrier.is_some())).await;
    if let Some(carrier) = carrier
        && matches!(reached, Err(Some(Unmet::NoWay)))
        && link.phase() == Phase::Connecting
    {
        let by = format!("through {}", carrier.peer);
        tried.note(&by, None);
        reached = in_time(after, greet_relayed(&node, &link, &carrier)).await;
        if let Err(Some(unmet)) = &reached {
            tried.note(&by, Some(unmet.to_string()));
        }
    }
    go_on(node, link, reached, &tried).await;
}

/// None of an error: the time was up.
async fn in_time(
    after: Duration,
    reaching: impl Future<Output = Result<Met, Unmet>>,
) -> Result<Met, Option<Unmet>> {
    match timeout(after, reaching).await {
        Ok(reached) => reached.map_err(Some),
        Err(_) => Err(None),
    }
}

/// A slave's call to its master: dials the peer of `link` as [`dial`] does, and again if it hangs up
/// before the greeting is over, as one does that too many others wait for; then over `fallback`.
pub(crate) async fn call_back(
    node: Arc<Node>,
    link: Arc<Link>,
    place: Place,
    fallback: Option<MakeStream>,
) {
    let tried = Tried::default();
    let after = node.config.times.greeting;
    let reached = match call_directly(&node, &link, &place, &tried, fallback.is_some()).await {
        Err(unmet) if !unmet.as_ref().is_some_and(Unmet::is_final) => match fallback {
            None => Err(unmet),
            Some(make) => {
                tried.note(TUNNEL, None);
                let reached = in_time(after, greet_through(&node, &link, make)).await;
                if let Err(Some(unmet)) = &reached {
                    tried.note(TUNNEL, Some(unmet.to_string()));
                }
                reached
            }
        },
        reached => reached,
    };
    go_on(node, link, reached, &tried).await;
}

/// Serves the connection that came about, or says why none did.
async fn go_on(
    node: Arc<Node>,
    link: Arc<Link>,
    reached: Result<Met, Option<Unmet>>,
    tried: &Tried,
) {
    let after = node.config.times.greeting;
    let why = match reached {
        Ok(met) => {
            node.losses_told().await; // PE-6
            if node.bring_up(&link, met.them.incarnation) {
                serve(Upheld { node, link }, met).await;
            }
            return;
        }
        // PE-1: the peer's own dial is on its way, and this link will be given to it.
        Err(Some(Unmet::Refused(Refusal::Crossed))) => {
            tokio::time::sleep(after).await;
            "it said that it was dialing us, and did not come".to_owned()
        }
        Err(_) => tried.in_words(after),
    };
    // PE-4: the peer's own dial may have brought the link up in the meantime; then nothing is lost.
    if link.phase() == Phase::Connecting {
        node.lose(&link, &why);
    }
}

/// Who has come in, and has proved nothing yet.
pub(crate) enum Comer {
    /// Over loopback.
    Plain(TcpStream),
    /// Within this host.
    Near(UnixStream),
    /// From another host.
    Tls(TcpStream),
    /// Through the channel that this slave's keys went over.
    Tunnel(ByteStream, NodeName),
    /// Through the master, which has said who it is.
    Relayed(ByteStream, NodeName),
}

/// Answers a stranger's greeting and serves the connection to its end. `met` is called when the
/// stranger has proved itself, is refused, or `pushed_out` has come true. `origin` is where it comes
/// from, in words of the log.
pub(crate) async fn accept(
    node: Arc<Node>,
    comer: Comer,
    origin: String,
    pushed_out: oneshot::Receiver<()>,
    met: impl FnOnce(),
) {
    let answering = std::pin::pin!(timeout(node.config.times.greeting, answer(&node, comer)));
    let answered = select(answering, pushed_out).await;
    met();
    let why = match answered {
        Either::Left((Ok(Ok((upheld, met))), _)) => return serve(upheld, met).await,
        // PE-1: in the best of families.
        Either::Left((
            Ok(Err(Unmet::Refused(why @ (Refusal::Crossed | Refusal::Connected)))),
            _,
        )) => {
            return debug!(node.log, "not needed"; "from" => origin, "reason" => %why);
        }
        Either::Left((Ok(Err(unmet)), _)) => unmet.to_string(),
        Either::Left((Err(_), _)) => format!("no greeting within {:?}", node.config.times.greeting),
        Either::Right(_) => "no greeting yet, and too many others wait".to_owned(),
    };
    node.log_refusal(&origin, &why);
}

/// Answers the greeting of `slave`, which comes through the channel over which it got its keys, and serves
/// the connection to its end. `origin` names that channel in the log.
///
/// TL-2: it comes in as nobody else, and as a slave.
pub(crate) async fn accept_tunnel(
    node: Arc<Node>,
    stream: ByteStream,
    slave: NodeName,
    origin: String,
) {
    let (_stay, pushed_out) = oneshot::channel();
    accept(node, Comer::Tunnel(stream, slave), origin, pushed_out, || {}).await;
}

/// Answers the greeting of `peer`, which our master passes on to us, and serves the connection to its end.
/// `origin` names both in the log.
///
/// RY-1: it comes in as nobody else.
pub(crate) async fn accept_relayed(
    node: Arc<Node>,
    stream: ByteStream,
    peer: NodeName,
    origin: String,
) {
    let (_stay, pushed_out) = oneshot::channel();
    accept(node, Comer::Relayed(stream, peer), origin, pushed_out, || {}).await;
}

/// A connection whose greeting is over.
struct Met {
    stream: ByteStream,
    /// What has been read beyond the greeting.
    read: Vec<u8>,
    them: Hello,
    ends: Option<Ends>,
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
    /// No connection came about; what was tried is noted elsewhere.
    #[error("not reached")]
    NoWay,
    #[error("the node is not connected with it, or hung up")]
    NotPassedOn,
}

impl Unmet {
    /// Whether asking again has the same answer.
    fn is_final(&self) -> bool {
        match self {
            Unmet::Refused(_) | Unmet::Random(_) => true,
            Unmet::Io(_) | Unmet::Closed | Unmet::Garbage(_) => false,
            Unmet::NoWay | Unmet::NotPassedOn => false,
        }
    }
}

/// Connects and greets a peer that may not have noticed yet that our former connection is lost.
///
/// PE-5: it says then that we are connected; it is asked again until it has noticed, or the time is up.
///
/// If there is another way it takes less time.
async fn reach(
    node: &Arc<Node>,
    link: &Link,
    place: &Place,
    tried: &Tried,
    other_way: bool,
) -> Result<Met, Unmet> {
    node.get_credentials(link.peer, place).await;
    let tls = node.tls();
    if ways(&place.at, node.config.host) == Ways::None {
        return await_call(node, link, tried, other_way).await;
    }
    let greeting = node.config.times.greeting;
    let limit = if other_way { DIRECT_MAX.min(greeting / 2) } else { greeting };
    loop {
        let made = connect(link.peer, place, node.config.host, tls.as_deref(), tried);
        let made =
            timeout(limit, made).await.unwrap_or(Err(NoWay)).map_err(|NoWay| Unmet::NoWay)?;
        match greet_noting(node, link, made, tried).await {
            Err(Unmet::Refused(Refusal::Connected)) if link.phase() == Phase::Connecting => {
                tokio::time::sleep(REDIAL_AFTER).await;
            }
            greeted => return greeted,
        }
    }
}

/// Has a peer called that does not listen for us: the master is connected with both.
///
/// PE-7: whoever has no way to a node lets that one in that calls. Ends only if nobody will call, or not soon
/// and there is another way.
async fn await_call(
    node: &Arc<Node>,
    link: &Link,
    tried: &Tried,
    other_way: bool,
) -> Result<Met, Unmet> {
    let nowhere = "it is on another host, and does not listen for nodes of other hosts";
    let note = |what: &str| tried.note("", Some(format!("{nowhere}; {what}")));
    let Some(master) = node.peers().master().filter(|master| *master != link.peer) else {
        note("there is no master to have it call");
        return Err(Unmet::NoWay);
    };
    if other_way && !node.peers().is_reached_from_afar(node.name) {
        note("nor does this one for it");
        return Err(Unmet::NoWay);
    }
    let asked = node.query(master, Query::HaveCall(link.peer), node.config.times.greeting).await;
    match asked {
        Outcome::Told(Answer::Done) => {
            note("it was asked to call, and did not come");
            // What it brings up is this link.
            match other_way {
                true => tokio::time::sleep(CALL_MAX.min(node.config.times.greeting / 2)).await,
                false => std::future::pending().await, // until the time is up
            }
        }
        Outcome::Told(Answer::Refused(why)) => {
            note(&format!("{master} cannot have it call: {why}"))
        }
        _ => note(&format!("{master} was not reached to have it call")),
    }
    Err(Unmet::NoWay)
}

/// All that a slave does to reach its master at an address of its own. None: no time is left.
async fn call_directly(
    node: &Arc<Node>,
    link: &Link,
    place: &Place,
    tried: &Tried,
    other_way: bool,
) -> Result<Met, Option<Unmet>> {
    let times = node.config.times;
    let limit = if other_way { DIRECT_MAX.min(times.greeting) } else { times.greeting };
    let limit = node.clock().instant(node.now() + limit);
    let tls = node.tls();
    loop {
        let made = connect(link.peer, place, node.config.host, tls.as_deref(), tried);
        let unmet = match timeout_at(limit, made).await {
            Err(_) => return Err(None),
            Ok(Err(NoWay)) if other_way => return Err(Some(Unmet::NoWay)),
            Ok(Err(NoWay)) => Unmet::NoWay,
            // Once it is reached it has all the time of a greeting: nothing else may come in between.
            Ok(Ok(made)) => {
                match timeout(times.greeting, greet_noting(node, link, made, tried)).await {
                    Ok(Ok(met)) => return Ok(met),
                    Ok(Err(unmet)) => unmet,
                    Err(_) => return Err(None),
                }
            }
        };
        let connected = matches!(unmet, Unmet::Refused(Refusal::Connected)); // PE-5
        if unmet.is_final() && !connected {
            return Err(Some(unmet));
        }
        if timeout_at(limit, tokio::time::sleep(CALL_AGAIN_AFTER)).await.is_err() {
            return Err(Some(unmet));
        }
    }
}

/// Greets over a channel that is there already.
async fn greet_through(node: &Node, link: &Link, make: MakeStream) -> Result<Met, Unmet> {
    let secured = Secured { stream: make()?, channel: Channel::PLAIN, entry: Entry::Anyone };
    greet(node, link, Made { secured, place: TUNNEL.to_owned(), ends: None }).await
}

/// Greets over a stream through the master, and again while the peer takes us for connected (PE-5).
async fn greet_relayed(node: &Arc<Node>, link: &Link, carrier: &Arc<Link>) -> Result<Met, Unmet> {
    link.set_relaying();
    loop {
        let stream = node.open_relay(link.peer, carrier.clone());
        let secured = Secured { stream, channel: Channel::PLAIN, entry: Entry::Anyone };
        let made = Made { secured, place: String::new(), ends: None };
        match greet(node, link, made).await {
            Err(Unmet::Refused(Refusal::Connected)) if link.phase() == Phase::Connecting => {
                tokio::time::sleep(REDIAL_AFTER).await;
            }
            Err(Unmet::Closed) => return Err(Unmet::NotPassedOn),
            greeted => return greeted,
        }
    }
}

async fn greet_noting(node: &Node, link: &Link, made: Made, tried: &Tried) -> Result<Met, Unmet> {
    let place = made.place.clone();
    tried.note(&place, None);
    let greeted = greet(node, link, made).await;
    if let Err(why) = &greeted {
        tried.note(&place, Some(why.to_string()));
    }
    greeted
}

async fn greet(node: &Node, link: &Link, made: Made) -> Result<Met, Unmet> {
    let Made { secured: Secured { mut stream, channel, .. }, ends, .. } = made;
    let mut dialer = Dialer::new(node.hello()?, Some(link.peer), channel);
    let mut read = Vec::new();
    say(&mut stream, &dialer.hello()).await?;
    loop {
        let said = hear(&mut stream, &mut read).await?;
        match dialer.on(said, &node.config.cookie)? {
            DialStep::Say(next) => say(&mut stream, &next).await?,
            DialStep::Up(them) => {
                stream.offer_memory().await?;
                return Ok(Met { stream, read, them, ends });
            }
        }
    }
}

async fn answer(node: &Arc<Node>, comer: Comer) -> Result<(Upheld, Met), Unmet> {
    let (channel, entry) = (Channel::PLAIN, Entry::Anyone);
    let (secured, ends) = match comer {
        Comer::Plain(stream) => {
            (Secured { stream: ByteStream::tcp(stream)?, channel, entry }, None)
        }
        Comer::Near(stream) => (Secured { stream: ByteStream::unix(stream), channel, entry }, None),
        Comer::Tunnel(stream, slave) => {
            (Secured { stream, channel, entry: Entry::Slave(slave) }, None)
        }
        Comer::Relayed(stream, peer) => {
            (Secured { stream, channel, entry: Entry::Named(peer) }, None)
        }
        Comer::Tls(stream) => {
            let ends = Ends::of(&stream);
            (tls::accept(node.tls(), node.own_certificate(), node.tls_turns(), stream).await?, ends)
        }
    };
    let Secured { mut stream, channel, entry } = secured;
    let mut listener = Listener::new(node.hello()?, channel);
    let mut read = Vec::new();
    loop {
        let said = hear(&mut stream, &mut read).await;
        let step = said.and_then(|said| Ok(listener.on(said, &node.config.cookie)?));
        match step {
            Ok(ListenStep::Say(next)) => say(&mut stream, &next).await?,
            Ok(ListenStep::Proven { say: proof, them }) => {
                // TL-2: what is proved inside is what the certificate is for.
                if let Err(refusal) = entry.admits(&them) {
                    return Err(refuse(&mut stream, refusal).await);
                }
                match admit(node, &them).await {
                    Ok(upheld) => {
                        say(&mut stream, &proof).await?;
                        stream.accept_memory().await?;
                        return Ok((upheld, Met { stream, read, them, ends }));
                    }
                    Err(refusal) => return Err(refuse(&mut stream, refusal).await),
                }
            }
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
        match node.peers().admit((node.name, node.config.host), them, fresh, new) {
            Ok(link) if node.bring_up(&link, them.incarnation) => {
                return Ok(Upheld { node: node.clone(), link });
            }
            Ok(_) => return Err(taken()),
            Err(Admission::Refuse(refusal)) => return Err(refusal),
            Err(Admission::Outlived(link)) => node.lose(&link, "it has come back as another life"),
        }
    }
}

async fn refuse(stream: &mut ByteStream, refusal: Refusal) -> Unmet {
    // The refusal matters more than whether it can still be said.
    let _ = say(stream, &Greeting::Refused(refusal.clone())).await;
    Unmet::Refused(refusal)
}

async fn say(stream: &mut ByteStream, greeting: &Greeting) -> io::Result<()> {
    let body = encode(greeting);
    let length = u32::try_from(body.len()).expect("a greeting is short");
    let mut frame = vec![0xC6];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    stream.say(&frame).await
}

async fn hear(stream: &mut ByteStream, read: &mut Vec<u8>) -> Result<Greeting, Unmet> {
    loop {
        if let Cut::Whole(bytes) = cut(read, GREETING_BYTES_MAX)? {
            let greeting = decode(&read[PREFIX_BYTES..bytes])?;
            read.drain(..bytes);
            return Ok(greeting);
        }
        if stream.hear(read).await? == 0 {
            return Err(Unmet::Closed);
        }
    }
}

/// Serves a connection that is up until it is lost.
async fn serve(upheld: Upheld, met: Met) {
    let Upheld { node, link } = &upheld;
    let Met { stream, read, them, ends } = met;
    let via = stream.via();
    link.set_via(via);
    info!(node.log, "node up"; "peer" => %them.node, "part" => ?them.part, "via" => %via);
    if them.part != Part::Hidden {
        node.node_up(link);
    }
    node.role(RoleEvent::PeerUp { them, ends });
    let why = match stream.bare() {
        Ok(Bare::Socket(socket, memory)) => {
            match node.sockets.add((socket, memory), node.clone(), link.clone(), read) {
                Ok((watched, ended)) => {
                    let why = futures::select! {
                        why = ended.fuse() => why.unwrap_or_else(|_| "its socket was dropped".to_owned()),
                        () = link.lost().fuse() => "the connection was ended".to_owned(),
                        why = keep_alive(node, link, Some(&watched)).fuse() => why,
                    };
                    // Before the peer hears of it, which may come back at once.
                    node.lose(link, &why);
                    why
                }
                Err(why) => why.to_string(),
            }
        }
        Ok(Bare::Halves(from, to)) => futures::select! {
            why = read_frames(node, link, from, read).fuse() => why,
            why = write_frames(node, link, to).fuse() => why,
            why = keep_alive(node, link, None).fuse() => why,
        },
        Err(why) => why.to_string(),
    };
    node.lose(link, &why);
}

async fn read_frames(node: &Arc<Node>, link: &Arc<Link>, mut from: From, read: Vec<u8>) -> String {
    let mut incoming = Incoming::new(node.clone(), link.clone(), read);
    loop {
        if let Err(why) = incoming.take_in() {
            return why;
        }
        match from.read_buf(incoming.room()).await {
            Ok(0) => return "the connection was closed".to_owned(),
            Ok(_) => {}
            // A peer that ends has no time for the last words of TLS.
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => {
                return "the connection was closed".to_owned();
            }
            Err(why) => return why.to_string(),
        }
        // Nothing is heard of a node after its loss: another life of it may be connected by now.
        if link.phase() == Phase::Lost {
            return "lost already".to_owned();
        }
        node.hear(link);
    }
}

impl Node {
    /// Something was heard over this connection.
    pub(super) fn hear(&self, link: &Link) {
        let now = self.now();
        link.hear(now);
        if self.config.life_line.is_some() && self.peers().master() == Some(link.peer) {
            self.beat(now);
        }
    }
}

async fn write_frames(node: &Arc<Node>, link: &Arc<Link>, mut to: To) -> String {
    let stalled_max = node.config.times.silence_max;
    let mut outgoing = Outgoing::default();
    while link.take(&mut outgoing).await.is_some() {
        for part in outgoing.parts() {
            let mut rest = part;
            // A peer that takes nothing is as good as a silent one, and what waits for it only grows.
            while !rest.is_empty() {
                match timeout(stalled_max, to.write(rest)).await {
                    Ok(Ok(0)) => return "the connection takes no more".to_owned(),
                    Ok(Ok(written)) => rest = &rest[written..],
                    Ok(Err(why)) => return why.to_string(),
                    Err(_) => return format!("took nothing for {stalled_max:?}"),
                }
            }
        }
        // What encrypts keeps up to a record back.
        match timeout(stalled_max, to.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return why.to_string(),
            Err(_) => return format!("took nothing for {stalled_max:?}"),
        }
    }
    // Lost on purpose: what was written before is on its way, the rest was let go of.
    let _ = to.shutdown().await;
    "the connection was ended".to_owned()
}

/// Sends heartbeats; returns when the peer has been silent for too long.
async fn keep_alive(node: &Arc<Node>, link: &Arc<Link>, socket: Option<&Watched>) -> String {
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
        // A peer that takes nothing is as good as a silent one, and what waits for it only grows.
        let stalled = socket.and_then(Watched::stalled);
        if stalled.is_some_and(|since| now >= since + times.silence_max) {
            return format!("took nothing for {:?}", times.silence_max);
        }
        if now >= tick {
            link.push_urgent(&Control::Tick);
            tick = now + times.tick;
        }
    }
}

/// Between two attempts to reach a peer that takes us for connected.
const REDIAL_AFTER: Duration = Duration::from_millis(5);
/// Between two calls to a master that hangs up, or is not there yet.
const CALL_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// So long a node is tried to be reached directly if there is another way.
const DIRECT_MAX: Duration = Duration::from_secs(2);
/// So long a node is waited for that was asked to call, if there is another way.
const CALL_MAX: Duration = Duration::from_secs(1);
/// The other way to a master, in words of the log.
const TUNNEL: &str = "through the launcher";
