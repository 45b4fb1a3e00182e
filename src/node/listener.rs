//! Accepts peers: those of this host in plain, those of others by TLS.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join3;
use slog::{error, warn};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::Node;
use super::cell::lock;
use super::connection::{self, Comer};
use crate::core::refusals::PERIOD;

/// Accepts peers until the node stops.
pub(crate) async fn listen(
    node: Arc<Node>,
    plain: std::net::TcpListener,
    near: Option<std::os::unix::net::UnixListener>,
    tls: Option<std::net::TcpListener>,
) {
    let strangers = Rc::<RefCell<Strangers>>::default();
    let plain = async {
        match TcpListener::from_std(plain) {
            Ok(listener) => take_in_tcp(&node, listener, &strangers, Comer::Plain).await,
            Err(why) => error!(node.log, "cannot listen"; "reason" => %why),
        }
    };
    let near = async {
        match near.map(UnixListener::from_std) {
            Some(Ok(listener)) => {
                let accept = async || {
                    let (stream, _) = listener.accept().await?;
                    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
                    Ok((Comer::Near(stream), loopback, "this host".to_owned()))
                };
                take_in_all(&node, &strangers, accept).await;
            }
            Some(Err(why)) => warn!(node.log, "cannot listen nearby"; "reason" => %why),
            None => {}
        }
    };
    let far = async {
        match tls.map(TcpListener::from_std) {
            Some(Ok(listener)) => take_in_tcp(&node, listener, &strangers, Comer::Tls).await,
            Some(Err(why)) => error!(node.log, "cannot listen"; "reason" => %why),
            None => {}
        }
    };
    join3(plain, near, far).await;
}

async fn take_in_tcp(
    node: &Arc<Node>,
    listener: TcpListener,
    strangers: &Rc<RefCell<Strangers>>,
    comer: fn(TcpStream) -> Comer,
) {
    let accept = async || {
        let (stream, from) = listener.accept().await?;
        Ok((comer(stream), from.ip(), from.to_string()))
    };
    take_in_all(node, strangers, accept).await;
}

async fn take_in_all(
    node: &Arc<Node>,
    strangers: &Rc<RefCell<Strangers>>,
    accept: impl AsyncFn() -> io::Result<(Comer, IpAddr, String)>,
) {
    loop {
        match accept().await {
            Ok((comer, from, origin)) => {
                let (number, pushed_out) = strangers.borrow_mut().take_in(from);
                let (node, strangers) = (node.clone(), strangers.clone());
                actix_rt::spawn(async move {
                    connection::accept(node, comer, origin, pushed_out, move || {
                        strangers.borrow_mut().let_go(number);
                    })
                    .await;
                });
            }
            Err(why) => {
                // Out of file descriptors, most likely: some of them come back.
                warn!(node.log, "cannot accept"; "reason" => %why);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Node {
    /// A stranger was refused.
    pub(crate) fn log_refusal(&self, from: &str, why: &str) {
        if lock(&self.refusals).note(self.now()) {
            warn!(self.log, "refused"; "from" => from, "reason" => why);
        }
    }

    /// To be called now and then: those that were only counted.
    pub(super) fn log_refusals(&self) {
        if let Some(count) = lock(&self.refusals).over(self.now()) {
            let seconds = PERIOD.as_secs();
            warn!(self.log, "refused more"; "count" => count, "within_seconds" => seconds);
        }
    }
}

/// Connections that have not proved anything yet, oldest first.
///
/// LS-1: each costs small buffers until its greeting's deadline, and there are at most
/// [`STRANGERS_MAX`]. One more pushes out the oldest of the source that has most of them: a greeting
/// takes a moment, so the oldest is most likely one that says nothing, and whoever comes in numbers
/// crowds out itself and nobody else.
#[derive(Default)]
struct Strangers {
    next: u64,
    waiting: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
}

impl Strangers {
    /// Takes one more; what is returned comes true when it is pushed out.
    fn take_in(&mut self, from: IpAddr) -> (u64, oneshot::Receiver<()>) {
        if self.waiting.len() >= STRANGERS_MAX
            && let Some(number) = self.next_out()
        {
            self.waiting.remove(&number);
        }
        let (stay, pushed_out) = oneshot::channel();
        self.next += 1;
        self.waiting.insert(self.next, (source(from), stay));
        (self.next, pushed_out)
    }

    fn let_go(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    /// The oldest of the source with most of them; among equals the source with the oldest.
    fn next_out(&self) -> Option<u64> {
        let mut of_source = HashMap::<IpAddr, (usize, u64)>::new();
        for (number, (from, _)) in &self.waiting {
            of_source.entry(*from).or_insert((0, *number)).0 += 1;
        }
        let most =
            of_source.into_values().max_by_key(|(count, oldest)| (*count, u64::MAX - oldest));
        most.map(|(_, oldest)| oldest)
    }
}

/// Whom an address counts for: one host may have all addresses of an IPv6 network of 64 bits.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// Connections at a time that have not yet proved anything.
const STRANGERS_MAX: usize = 256;
/// Before the next try when the operating system refuses to accept.
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_in_numbers_crowds_out_itself_and_nobody_else() {
        let mut strangers = Strangers::default();
        let come = |strangers: &mut Strangers, ip: &str| {
            let ip: IpAddr = ip.parse().unwrap();
            strangers.take_in(ip).1
        };
        let mut quiet = come(&mut strangers, "192.0.2.1");
        let mut flood: Vec<_> = (0..STRANGERS_MAX - 1)
            .map(|at| come(&mut strangers, &format!("2001:db8::{at:x}")))
            .collect();
        for at in 0..3 * STRANGERS_MAX {
            flood.push(come(&mut strangers, &format!("2001:db8::1:{at:x}")));
            let out = flood[at].try_recv();
            assert!(out.is_err(), "LS-1: the oldest of the flood is pushed out: {out:?}");
            assert_eq!(flood[at + 1].try_recv(), Ok(None), "LS-1: and no other");
        }
        assert_eq!(quiet.try_recv(), Ok(None), "LS-1");
        assert_eq!(strangers.waiting.len(), STRANGERS_MAX);
    }

    #[test]
    fn among_equals_the_oldest_makes_room() {
        let mut strangers = Strangers::default();
        let mut all: Vec<_> = (0..STRANGERS_MAX)
            .map(|at| strangers.take_in(Ipv6Addr::new(1, at as u16, 0, 0, 0, 0, 0, 1).into()))
            .collect();
        let _stays = strangers.take_in("192.0.2.1".parse().unwrap());
        assert!(all[0].1.try_recv().is_err() && all[1].1.try_recv() == Ok(None), "LS-1");
        strangers.let_go(all[1].0);
        assert_eq!(strangers.waiting.len(), STRANGERS_MAX - 1);
    }
}
