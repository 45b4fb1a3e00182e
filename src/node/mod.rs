//! One node: its actors, its connections, and the threads they run on.
//!
//! An IO thread carries the sockets, heartbeats and the node's own actors (master or slave, and the
//! keeper of ties); each worker arbiter carries actors of the user's. Decisions are made in `core`; here
//! they are carried out. A node is a value: a test holds several in one OS process.

mod actors;
pub(crate) mod ambient;
pub(crate) mod answer;
mod bifs;
pub(crate) mod blocking;
pub(crate) mod cell;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod connection;
mod frames;
pub(crate) mod guard;
pub(crate) mod inbox;
mod keeper;
pub(crate) mod launch;
pub(crate) mod letter;
pub(crate) mod link;
mod listener;
pub(crate) mod load;
mod master;
pub(crate) mod names;
pub(crate) mod output;
mod peers;
mod questions;
pub(crate) mod registry;
pub(crate) mod role;
mod routes;
pub(crate) mod seat;
mod signals;
mod slave;
mod table;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix::{Actor, Addr, Recipient};
use actix_rt::{Arbiter, ArbiterHandle, System};
use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;
use slog::{Logger, o};
use tokio::sync::Notify;

use self::cell::{install_panic_hook, lock};
use self::clock::Clock;
use self::config::Config;
use self::keeper::Keeper;
use self::launch::Plan;
use self::load::{Blocking, RunQueue, Sampler};
use self::master::{Master, StartSlave};
use self::names::Names;
use self::peers::Peers;
use self::role::RoleEvent;
use self::slave::Slave;
use self::table::Table;
use crate::core::calls::Calls;
use crate::core::life::Life;
use crate::launcher::{HostFailure, StartFault, StartStep};
use crate::term::{Incarnation, NodeName, Pid};
use crate::wire::greeting::{Hello, Part};
use crate::wire::{Answer, Fault, MemberInfo, SpawnFault};

/// One node of a pool.
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) incarnation: Incarnation,
    pub(crate) config: Config,
    pub(crate) log: Logger,
    clock: Clock,
    address: SocketAddr,
    /// Pids, refs: never used again.
    numbers: AtomicU64,
    table: Table,
    names: Names,
    /// Who wants to hear of every node that comes or goes.
    watchers: Mutex<HashSet<u64>>,
    peers: Peers,
    calls: Mutex<Calls<Waiter>>,
    /// The earliest deadline has changed.
    deadlines: Notify,
    accepted: AtomicU64,
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
    workers: Vec<Worker>,
    blocking: Arc<Blocking>,
    keeper: Addr<Keeper>,
    role: Recipient<RoleEvent>,
    /// Only on a master.
    master: Option<Addr<Master>>,
}

struct Worker {
    arbiter: ArbiterHandle,
    queue: Arc<RunQueue>,
}

/// Who waits for the answer to a question.
pub(crate) type Waiter = Box<dyn FnOnce(Outcome) + Send>;

/// How a question ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Bytes),
    Spawned(Pid),
    Refused(SpawnFault),
    Failed(Fault),
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
    /// The operating system refused a thread or random bytes.
    #[error("cannot start a node: {0}")]
    Os(String),
}

impl Node {
    /// Brings a node up; returns when it listens and its own actors run.
    pub(crate) async fn start(config: Config) -> Result<Arc<Node>, NodeError> {
        install_panic_hook();
        let address = config.listen;
        let listener = std::net::TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|source| NodeError::Listen { address, source })?;
        let address =
            listener.local_addr().map_err(|source| NodeError::Listen { address, source })?;
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).map_err(|why| NodeError::Os(why.to_string()))?;

        let (end, ended) = oneshot::channel();
        let node = Arc::new(Node {
            name: config.name,
            incarnation: Incarnation(u32::from_be_bytes(seed)),
            log: config.log.new(o!("node" => config.name.as_str())),
            clock: Clock::start(),
            address,
            numbers: AtomicU64::new(0),
            table: Table::new(),
            names: Names::default(),
            watchers: Mutex::default(),
            peers: Peers::default(),
            calls: Mutex::new(Calls::new()),
            deadlines: Notify::new(),
            accepted: AtomicU64::new(0),
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
                System::new().block_on(running.run(listener, up));
                let _ = end.send(());
            })
            .map_err(|why| NodeError::Os(why.to_string()))?;
        is_up.await.map_err(|_| NodeError::Os("its IO thread ended".to_owned()))?;
        Ok(node)
    }

    /// Everything that the IO thread does.
    async fn run(self: Arc<Self>, listener: std::net::TcpListener, up: oneshot::Sender<()>) {
        let workers: Vec<Worker> = (0..self.config.workers)
            .map(|_| Worker { arbiter: Arbiter::new().handle(), queue: Arc::default() })
            .collect();
        let blocking = Arc::<Blocking>::default();
        let queues = workers.iter().map(|worker| worker.queue.clone()).collect();
        let sampler = Sampler::new(queues, blocking.clone());
        let keeper = Keeper::new(self.clone()).start();
        let (role, master) = match self.config.part {
            Part::Master => {
                let master = Master::new(self.clone(), sampler).start();
                (master.clone().recipient(), Some(master))
            }
            Part::Slave | Part::Free | Part::Hidden => {
                (Slave::new(self.clone(), sampler).start().recipient(), None)
            }
        };
        let io = Arbiter::current();
        let arbiters: Vec<ArbiterHandle> = workers.iter().map(|w| w.arbiter.clone()).collect();
        let hands = Hands { io, workers, blocking, keeper, role, master };
        assert!(self.hands.set(hands).is_ok(), "a node runs once");

        let listening = actix_rt::spawn(listener::listen(self.clone(), listener));
        let watching = actix_rt::spawn(self.clone().watch_deadlines());
        let _ = up.send(());
        self.stop.notified().await;

        listening.abort();
        watching.abort();
        for link in self.peers.all() {
            self.lose(&link, "the node stops");
        }
        for arbiter in arbiters {
            arbiter.stop();
        }
        // Those with an arbiter end with it; a mailbox of plain async code has none.
        for cell in self.table.all() {
            let _ = cell.live(Life::shut_down); // whom to tell is told at its end
        }
        self.peers.set_master(None);
        let waiting = lock(&self.calls).close_all();
        for waiter in waiting {
            waiter(Outcome::Lost);
        }
        System::current().stop();
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
            address: Some(self.address),
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
        MemberInfo { node: self.name, incarnation: self.incarnation, address: self.address }
    }
}
