//! One node: its actors, its connections, and the threads they run on.
//!
//! An IO thread carries the sockets, heartbeats and the node's own actors (master or slave, and the
//! keeper of ties); each worker arbiter carries actors of the user's. Decisions are made in `core`; here
//! they are carried out. A node is a value: a test holds several in one OS process.

pub(crate) mod actors;
pub(crate) mod ambient;
pub(crate) mod answer;
pub(crate) mod args;
pub(crate) mod batch;
mod bifs;
pub(crate) mod blocking;
pub(crate) mod cell;
mod choices;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod connection;
mod descriptors;
mod frames;
mod gate;
pub(crate) mod guard;
pub(crate) mod idle;
pub(crate) mod inbox;
mod incoming;
mod keeper;
mod lane;
pub(crate) mod launch;
pub(crate) mod letter;
pub(crate) mod link;
mod listener;
pub(crate) mod load;
mod master;
mod memory;
pub(crate) mod names;
mod near;
mod nursery;
mod outgoing;
mod outlet;
pub(crate) mod output;
pub(crate) mod parcel;
mod pause;
mod peers;
mod places;
mod questions;
pub(crate) mod queue;
pub(crate) mod registry;
mod relay;
mod reporter;
pub(crate) mod role;
mod routes;
mod screen;
pub(crate) mod seat;
pub(crate) mod shares;
mod signals;
mod slave;
pub(crate) mod slice;
mod socket;
mod sockets;
pub(crate) mod stage;
pub(crate) mod stages;
pub(crate) mod stream;
mod table;
pub(crate) mod terminal;
pub(crate) mod tls;
pub(crate) mod ways;
mod witness;

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;
use std::time::Duration;

use actix::{Actor, Addr, Recipient};
use actix_rt::{Arbiter, ArbiterHandle, System};
use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use slog::{Logger, error, o};
use tokio::sync::Notify;

use self::cell::{install_panic_hook, lock};
use self::choices::Choices;
use self::clock::Clock;
use self::config::Config;
use self::idle::Idle;
use self::keeper::Keeper;
use self::launch::Plan;
use self::load::{Blocking, Sampler};
use self::master::{Arrange, Master, StartSlave};
use self::names::Names;
use self::near::listen_near;
use self::peers::Peers;
use self::questions::Questions;
use self::relay::Relays;
use self::reporter::Reporter;
use self::role::RoleEvent;
use self::screen::Screen;
use self::signals::NearSignals;
use self::slave::Slave;
use self::sockets::Sockets;
use self::stage::Opening;
use self::stages::Stages;
use self::table::Table;
use self::tls::{OwnCertificate, Tls, TlsError, Turns};
use crate::core::life::Life;
use crate::core::pause::Pauses;
use crate::core::refusals::Refusals;
use crate::launcher::{HostFailure, StartFault, StartStep};
use crate::term::{At, Incarnation, NodeName, Pid};
use crate::wire::greeting::{Hello, Part};
use crate::wire::{Answer, Credentials, Fault, MemberInfo, SpawnFault};

/// One node of a pool.
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) incarnation: Incarnation,
    pub(crate) config: Config,
    pub(crate) log: Logger,
    clock: Clock,
    /// Where it listens for nodes of this host, and for those of others.
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    /// What it proves itself with to nodes of other hosts.
    tls: Mutex<Option<Arc<Tls>>>,
    /// What it is attached by.
    own_certificate: Option<OwnCertificate>,
    tls_turns: Turns,
    /// Pids, refs: never used again.
    numbers: AtomicU64,
    table: Table,
    names: Names,
    near_signals: NearSignals,
    /// Who wants to hear of every node that comes or goes.
    watchers: Mutex<HashSet<u64>>,
    peers: Peers,
    choices: Choices,
    sockets: Arc<Sockets>,
    stages: Arc<Stages>,
    blocking: Arc<Blocking>,
    reporter: Box<Reporter>,
    relays: Relays,
    questions: Questions,
    pauses: Mutex<Pauses>,
    refusals: Mutex<Refusals>,
    screen: Arc<Screen>,
    accepted: AtomicU64,
    /// The load is looked at rarely, as no work comes.
    unwatched: AtomicBool,
    hands: OnceLock<Hands>,
    next_worker: AtomicUsize,
    /// When the guard was last told that the master was heard, in milliseconds.
    beat_at: AtomicU64,
    stopping: AtomicBool,
    stop: Notify,
    /// Comes true when all of it has ended.
    ended: Mutex<Shared<oneshot::Receiver<()>>>,
}

/// The threads and actors of a running node.
struct Hands {
    io: ArbiterHandle,
    keeper: Addr<Keeper>,
    role: Recipient<RoleEvent>,
    /// Only on a master.
    master: Option<Addr<Master>>,
}

/// A screen of which the thread ends with the node's, however that ends.
struct CloseOnDrop(Arc<Screen>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Who waits for the answer to a question.
pub(crate) enum Waiter {
    /// Whoever holds the other end.
    Tell(oneshot::Sender<Outcome>),
    /// Whoever looks whether the question is over.
    Wake(Waker),
    /// Whoever asks how it has ended, once they have.
    Asks(Option<Waker>),
    /// The same, when it has.
    Told(Outcome),
    /// Something to be done.
    Act(Box<dyn FnOnce(Outcome) + Send>),
}

impl Waiter {
    /// Somebody who waits, as a future.
    pub(crate) fn pair() -> (Waiter, oneshot::Receiver<Outcome>) {
        let (tell, told) = oneshot::channel();
        (Waiter::Tell(tell), told)
    }

    pub(crate) fn act(act: impl FnOnce(Outcome) + Send + 'static) -> Waiter {
        Waiter::Act(Box::new(act))
    }

    pub(crate) fn hear(self, outcome: Outcome) {
        match self {
            Waiter::Tell(tell) => drop(tell.send(outcome)), // whoever asked may have gone
            Waiter::Act(act) => act(outcome),
            Waiter::Wake(_) | Waiter::Asks(_) | Waiter::Told(_) => self.wake(),
        }
    }

    /// What has become of the question is to be looked for.
    fn wake(self) {
        if let Waiter::Wake(waker) | Waiter::Asks(Some(waker)) = self {
            waker.wake();
        }
    }
}

/// How a question ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Bytes),
    Spawned(Pid),
    Refused(SpawnFault),
    Failed(Box<Fault>),
    Told(Answer),
    /// The node that was asked is lost.
    Lost,
    TimedOut,
}

/// A node could not come up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Its listener could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Nothing that is not encrypted leaves this host.
    #[error("{address} is no loopback address: nodes of other hosts are listened for by TLS only")]
    Exposed {
        /// The address asked for.
        address: SocketAddr,
    },
    /// It has no certificate, or none that can be used.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The operating system refused a thread or random bytes.
    #[error("cannot start a node: {0}")]
    Os(String),
}

impl Node {
    /// Brings a node up; returns when it listens and its own actors run.
    pub(crate) async fn start(config: Config) -> Result<Arc<Node>, NodeError> {
        install_panic_hook();
        if !config.listen.ip().is_loopback() {
            return Err(NodeError::Exposed { address: config.listen });
        }
        let (listener, address) = bind(config.listen)?;
        let near = listen_near(address).ok();
        let (tls_listener, tls_address) = match config.listen_tls {
            Some(address) => bind(address).map(|(listener, at)| (Some(listener), Some(at)))?,
            None => (None, None),
        };
        undumpable();
        let no_tls = |why: TlsError| NodeError::Tls(why.to_string());
        let tls = config.credentials.as_ref().map(Tls::new).transpose().map_err(no_tls)?;
        let own_certificate = match (config.part, tls_address) {
            (Part::Free, Some(_)) => Some(OwnCertificate::new().map_err(no_tls)?),
            (Part::Free, None) | (Part::Master | Part::Slave | Part::Hidden, _) => None,
        };
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).map_err(|why| NodeError::Os(why.to_string()))?;

        let log = config.log.new(o!("node" => config.name.as_str()));
        if config.part == Part::Master {
            descriptors::raise_limit(&log);
        }
        let screen = Screen::start(config.name, config.output.clone(), log.clone())
            .map_err(|why| NodeError::Os(why.to_string()))?;
        let shown = CloseOnDrop(screen.clone());

        let (end, ended) = oneshot::channel();
        let (stages, blocking) = (Stages::new(config.workers), Arc::<Blocking>::default());
        let node = Arc::new(Node {
            name: config.name,
            incarnation: Incarnation(u32::from_be_bytes(seed)),
            log,
            clock: Clock::start(),
            address,
            tls_address,
            tls: Mutex::new(tls.map(Arc::new)),
            own_certificate,
            tls_turns: Turns::default(),
            numbers: AtomicU64::new(0),
            table: Table::new(),
            names: Names::default(),
            near_signals: NearSignals::default(),
            watchers: Mutex::default(),
            peers: Peers::default(),
            choices: Choices::new(u64::from(u32::from_be_bytes(seed))),
            sockets: Arc::new(Sockets::new().map_err(|why| NodeError::Os(why.to_string()))?),
            reporter: Box::new(Reporter::new(Sampler::new(stages.loads(), blocking.clone()))),
            stages,
            blocking,
            relays: Relays::default(),
            questions: Questions::new(),
            pauses: Mutex::default(),
            refusals: Mutex::default(),
            screen,
            accepted: AtomicU64::new(0),
            unwatched: AtomicBool::new(false),
            hands: OnceLock::new(),
            next_worker: AtomicUsize::new(0),
            beat_at: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
            ended: Mutex::new(ended.shared()),
            config,
        });
        let (up, is_up) = oneshot::channel();
        let running = node.clone();
        std::thread::Builder::new()
            .name(format!("io {}", node.name.name()))
            .spawn(move || {
                let _shown = shown; // nobody prints after this thread's end
                let system = System::with_tokio_rt(|| Idle::Io.runtime());
                system.block_on(running.run((listener, near), tls_listener, up));
                let _ = end.send(());
            })
            .map_err(|why| NodeError::Os(why.to_string()))?;
        is_up.await.map_err(|_| NodeError::Os("its IO thread ended".to_owned()))?;
        Ok(node)
    }

    /// Everything that the IO thread does.
    async fn run(
        self: Arc<Self>,
        (listener, near): (TcpListener, Option<UnixListener>),
        tls_listener: Option<TcpListener>,
        up: oneshot::Sender<()>,
    ) {
        let arbiters: Vec<ArbiterHandle> =
            self.stages.arbiters().iter().map(|stage| self.arbiter_of(stage.number())).collect();
        let keeper = Keeper::new(self.clone()).start();
        let (role, master) = match self.config.part {
            Part::Master => {
                let master = Master::new(self.clone()).start();
                (master.clone().recipient(), Some(master))
            }
            Part::Slave | Part::Free | Part::Hidden => {
                (Slave::new(self.clone()).start().recipient(), None)
            }
        };
        let watcher = self.sockets.watch(format!("net {}", self.name.name()), self.stages.clone());
        if let Err(why) = &watcher {
            error!(self.log, "no thread for sockets"; "reason" => %why);
            return;
        }
        let io = Arbiter::current();
        let hands = Hands { io, keeper, role, master };
        assert!(self.hands.set(hands).is_ok(), "a node runs once");

        let listening =
            actix_rt::spawn(listener::listen(self.clone(), listener, near, tls_listener));
        let watching = actix_rt::spawn(self.clone().watch_deadlines());
        let _ = up.send(());
        self.stop.notified().await;

        listening.abort();
        watching.abort();
        // What comes from now on has no reader; what has come is shown while the rest ends.
        self.screen.close();
        for link in self.peers.all() {
            link.flush(); // last words
            self.lose(&link, "the node stops");
        }
        for arbiter in arbiters {
            arbiter.stop();
        }
        // Those with an arbiter end with it; a mailbox of plain async code has none.
        for cell in self.table.all() {
            self.act(&cell, Life::shut_down); // whom to tell is told at its end
        }
        self.peers.set_master(None);
        self.questions.close_all();
        self.screen.settled().await;
        self.sockets.stop();
        System::current().stop();
    }

    /// The arbiter that runs this stage.
    fn arbiter_of(&self, number: u16) -> ArbiterHandle {
        let idle = Idle::Arbiter(self.stages.clone(), number, self.sockets.clone());
        let arbiter = Arbiter::with_tokio_rt(move || idle.runtime()).handle();
        let opening = Opening { stages: self.stages.clone(), number };
        arbiter.spawn_fn(|| opening.run());
        arbiter
    }

    /// Ends the node: its actors, its connections, its threads.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_one();
    }

    /// Takes no new actors from now on.
    pub(crate) fn close(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the output that has come is shown; false if whoever shows it has stalled.
    pub(crate) async fn output_shown(&self) -> bool {
        self.screen.settled().await
    }

    /// The same, of code that may block, for a second at most.
    pub(crate) fn show_last_output(&self) {
        self.screen.settle(1);
    }

    /// Where it listens for nodes of other hosts, if it does.
    pub(crate) fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// The port of that.
    pub(crate) fn tls_port(&self) -> Option<u16> {
        self.tls_address.map(|address| address.port())
    }

    /// Where it is, as far as it knows itself.
    pub(crate) fn at(&self) -> At {
        let mut remote: Vec<SocketAddr> = self.tls_address.into_iter().collect();
        if let (Some(any), Some(ip)) = (self.tls_address, self.config.likely_ip)
            && any.ip().is_unspecified()
        {
            remote.push(SocketAddr::new(ip, any.port()));
        }
        At { host: self.config.host, local: self.address, remote }
    }

    /// How it meets nodes of other hosts, if it has the credentials to.
    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        lock(&self.tls).clone()
    }

    /// The certificate that it is attached by, if it is a free node that listens for other hosts.
    pub(crate) fn own_certificate(&self) -> Option<&OwnCertificate> {
        self.own_certificate.as_ref()
    }

    /// Whose handshake is computed next.
    pub(crate) fn tls_turns(&self) -> &Turns {
        &self.tls_turns
    }

    /// Takes over what it proves itself with from now on.
    ///
    /// # Errors
    /// If those are no credentials.
    pub(crate) fn set_credentials(&self, given: Option<&Credentials>) -> Result<(), TlsError> {
        let tls = given.map(Tls::new).transpose()?;
        *lock(&self.tls) = tls.map(Arc::new);
        Ok(())
    }

    pub(crate) fn choices(&self) -> &Choices {
        &self.choices
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// What this node says of itself in a greeting.
    pub(crate) fn hello(&self) -> Result<Hello, getrandom::Error> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)?;
        Ok(Hello {
            node: self.name,
            incarnation: self.incarnation,
            part: self.config.part,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            digest: registry::digest().to_owned(),
            at: Some(self.at()),
            cores: u32::try_from(self.config.workers).unwrap_or(u32::MAX),
            nonce,
        })
    }

    /// Starts a slave and waits until it is in the pool.
    pub(crate) async fn start_slave(&self, plan: Plan) -> Result<NodeName, HostFailure> {
        let host = plan.host.clone();
        let failed = |why: &str| StartFault::new(StartStep::Launch, why).at(host);
        match self.hands.get().and_then(|hands| hands.master.as_ref()) {
            Some(master) => match master.send(StartSlave(plan)).await {
                Ok(started) => started,
                Err(_) => Err(failed("the pool has stopped")),
            },
            None => Err(failed("only a master starts slaves")),
        }
    }

    /// Has the slaves listed in this order.
    pub(crate) async fn arrange(&self, order: Vec<NodeName>) {
        if let Some(master) = self.hands.get().and_then(|hands| hands.master.as_ref()) {
            let _ = master.send(Arrange(order)).await; // one that has ended lists nobody
        }
    }

    /// Waits until the node has been stopped.
    pub(crate) async fn until_stopped(&self) {
        let ended = lock(&self.ended).clone();
        let _ = ended.await;
    }

    /// Whether the guard is to be told again; then it counts as told.
    pub(crate) fn beat_is_due(&self, now: Duration, every: Duration) -> bool {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let before = self.beat_at.load(Ordering::Relaxed);
        let due = before == 0 || millis >= before + every.as_millis() as u64;
        if due {
            self.beat_at.store(millis.max(1), Ordering::Relaxed);
        }
        due
    }

    /// This node as a member of a pool.
    pub(crate) fn member_info(&self) -> MemberInfo {
        MemberInfo { node: self.name, incarnation: self.incarnation, at: self.at() }
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    let failed = |source| NodeError::Listen { address, source };
    // Without IPv6 all of a machine's addresses are those of IPv4.
    let v4_only = |_| match address.ip() == Ipv6Addr::UNSPECIFIED {
        true => TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())),
        false => TcpListener::bind(address),
    };
    let listener = TcpListener::bind(address).or_else(v4_only).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Keeps what this OS process knows out of core files, and away from debuggers of the same user: it
/// holds the cookie, and keys. For an analysis `PSPAWN_DUMPABLE` leaves it as it is.
pub(crate) fn undumpable() {
    if std::env::var_os("PSPAWN_DUMPABLE").is_none() {
        // Refused by no kernel; and a node without it is a node all the same.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
