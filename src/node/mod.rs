//! One node: its actors, its connections, and the threads they run on.
//!
//! An IO thread carries the sockets, heartbeats and the node's own actors (master or slave, and the
//! keeper of ties); each worker arbiter carries actors of the user's. Decisions are made in `core`; here
//! they are carried out. A node is a value: a test holds several in one OS process.

pub(crate) mod ambient;
pub(crate) mod answer;
pub(crate) mod blocking;
pub(crate) mod cell;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod guard;
pub(crate) mod inbox;
mod keeper;
pub(crate) mod launch;
pub(crate) mod link;
mod listener;
pub(crate) mod load;
mod master;
pub(crate) mod output;
mod peers;
pub(crate) mod registry;
pub(crate) mod role;
pub(crate) mod seat;
mod slave;
mod table;

use std::collections::VecDeque;
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
use slog::{Logger, debug, o, warn};
use tokio::sync::Notify;

use self::answer::Return;
use self::cell::{Cell, install_panic_hook, lock};
use self::clock::Clock;
use self::config::Config;
use self::keeper::{Ended, Keeper, LinkLost, Tied};
use self::launch::{HostFailure, Plan, StartStep};
use self::link::{Link, Phase, PushError};
use self::load::{Blocking, RunQueue, Sampler};
use self::master::{Master, StartSlave};
use self::peers::Peers;
use self::role::RoleEvent;
use self::seat::{Born, Seat};
use self::slave::Slave;
use self::table::Table;
use crate::core::calls::Calls;
use crate::core::life::{Effect, Life, answer_of_lost_node, answer_of_nobody};
use crate::term::{ExitReason, Incarnation, Kind, NodeName, Pid, Ref};
use crate::wire::greeting::{Hello, Part};
use crate::wire::{
    Answer, Body, Control, Fault, MemberInfo, Query, Signal, SpawnFault, SpawnOptions, SpawnOrder,
    read_body,
};

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

    // ---- actors -------------------------------------------------------------------------------

    pub(crate) fn new_pid(&self) -> Pid {
        Pid::new(self.name, self.incarnation, self.new_number())
    }

    /// In whose name the node itself sends signals.
    pub(crate) fn own_pid(&self) -> Pid {
        Pid::new(self.name, self.incarnation, 0)
    }

    pub(crate) fn new_ref(&self) -> Ref {
        Ref::new(self.name, self.incarnation, self.new_number())
    }

    fn new_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn live_here(&self, cell: Arc<Cell>) {
        self.table.insert(cell);
    }

    /// How many actors live here.
    pub(crate) fn actors(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn cell(&self, number: u64) -> Option<Arc<Cell>> {
        self.table.get(number)
    }

    /// The actor of this pid, if it lives on this node in this life of it.
    pub(crate) fn cell_of(&self, pid: Pid) -> Option<Arc<Cell>> {
        let mine = pid.node() == self.name && pid.incarnation() == self.incarnation;
        if mine { self.table.get(pid.number()) } else { None }
    }

    /// An actor has ended; `effects` are for whoever is tied to it.
    pub(crate) fn ended(self: &Arc<Self>, cell: &Cell, effects: Vec<Effect>) {
        self.table.remove(cell.pid.number());
        if !effects.is_empty() || cell.was_tied() {
            match self.hands.get() {
                Some(hands) => hands.keeper.do_send(Ended { pid: cell.pid, effects }),
                None => self.carry_out(cell.pid, effects),
            }
        }
    }

    /// The arbiter with the least to do, in turn among equals.
    fn worker(&self) -> Option<&Worker> {
        let workers = &self.hands.get()?.workers;
        let turn = self.next_worker.fetch_add(1, Ordering::Relaxed);
        (0..workers.len())
            .map(|at| &workers[(turn + at) % workers.len()])
            .min_by_key(|worker| worker.queue.len() + worker.queue.running())
    }

    /// Gives a seat on some arbiter to `start`.
    pub(crate) fn seat(
        self: &Arc<Self>,
        kind: Kind,
        options: SpawnOptions,
        born: Born,
        result: Option<Return>,
        start: impl FnOnce(Seat) + Send + 'static,
    ) {
        if self.is_stopping() {
            return born(Err(SpawnFault::Stopping));
        }
        let worker = self.worker().expect("a node that others can reach has arbiters");
        let seat = Seat::new(self.clone(), kind, options, worker.queue.clone(), born, result);
        // A dead arbiter drops the seat unused, and the asker hears of it.
        worker.arbiter.spawn_fn(move || start(seat));
    }

    /// Starts what `kind` names.
    pub(crate) fn start_kind(
        self: &Arc<Self>,
        kind: Kind,
        args: Vec<u8>,
        options: SpawnOptions,
        born: Born,
        result: Option<Return>,
    ) {
        let Some(entry) = registry::entry(&kind) else { return born(Err(SpawnFault::UnknownKind)) };
        if entry.guarded && !self.config.allow.iter().any(|allowed| allowed == entry.module) {
            return born(Err(SpawnFault::NotAllowed));
        }
        self.seat(kind, options, born, result, move |seat| {
            if let Err(refused) = (entry.start)(&args, seat) {
                let (seat, why) = *refused;
                seat.refuse(SpawnFault::BadArguments(why));
            }
        });
    }

    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Actors of this node that are ready to run and do not: `statistics(run_queue)`.
    pub(crate) fn run_queue(&self) -> usize {
        let workers = self.hands.get().map_or(&[][..], |hands| &hands.workers);
        workers.iter().map(|worker| worker.queue.len() as usize).sum()
    }

    pub(crate) fn blocking(&self) -> Option<Arc<Blocking>> {
        self.hands.get().map(|hands| hands.blocking.clone())
    }

    // ---- signals ------------------------------------------------------------------------------

    /// Lets `act` change the life of `cell` and carries out what follows.
    pub(crate) fn act<R>(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        act: impl FnOnce(&mut Life, &mut Vec<Effect>) -> R,
    ) -> R {
        let (result, effects) = cell.live(act);
        self.carry_out(cell.pid, effects);
        result
    }

    /// Sends a signal to an actor on any node.
    pub(crate) fn signal(self: &Arc<Self>, from: Pid, to: Pid, signal: Signal) {
        self.carry_out(from, vec![Effect::Tell { to, signal }]);
    }

    /// Carries out the effects of `owner`'s life, and those that follow from them on this node.
    pub(crate) fn carry_out(self: &Arc<Self>, owner: Pid, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let mut work: VecDeque<(Pid, Effect)> = effects.into_iter().map(|e| (owner, e)).collect();
        while let Some((owner, effect)) = work.pop_front() {
            match effect {
                Effect::Tell { to, signal } if to.node() == self.name => match self.cell_of(to) {
                    Some(cell) => {
                        let (_, effects) = cell.live(|life, out| life.signal(signal, out));
                        work.extend(effects.into_iter().map(|effect| (to, effect)));
                    }
                    None => work.extend(answer_of_nobody(to, signal).map(|effect| (to, effect))),
                },
                Effect::Tell { to, signal } => {
                    let answer = self.tell_far(to, signal);
                    work.extend(answer.map(|effect| (to, effect)));
                }
                Effect::Tied { node } => {
                    // Without a way there the signal that made the tie is answered for the other side.
                    if let (Ok(link), Some(hands)) = (self.link_to(node), self.hands.get()) {
                        hands.keeper.do_send(Tied { link, number: owner.number() });
                    }
                }
                Effect::Notice(_) | Effect::Doom => {
                    unreachable!("a cell carries out itself what concerns its own actor")
                }
            }
        }
    }

    fn tell_far(self: &Arc<Self>, to: Pid, signal: Signal) -> Option<Effect> {
        let Ok(link) = self.link_to(to.node()) else { return answer_of_lost_node(to, signal) };
        let control = Control::Signal { to: to.number(), signal };
        let Err(why) = link.push_signal(to.incarnation(), &control) else { return None };
        let Control::Signal { signal, .. } = control else { return None };
        match why {
            PushError::OtherLife => answer_of_nobody(to, signal), // N6: of the node's former life
            PushError::Lost | PushError::TooLong(..) | PushError::Encode(_) => {
                answer_of_lost_node(to, signal)
            }
        }
    }

    /// The connection is up, to this life of the peer; false if it was up or lost already.
    pub(crate) fn bring_up(self: &Arc<Self>, link: &Arc<Link>, life: Incarnation) -> bool {
        let Some(former) = link.set_up(life, self.now()) else { return false };
        for (life, body) in former {
            self.answer_for_former_life(link.peer, life, body);
        }
        true
    }

    /// N6: what was sent to a pid of a node's former life is answered as by nobody.
    fn answer_for_former_life(self: &Arc<Self>, peer: NodeName, life: Incarnation, body: Bytes) {
        match read_body(body) {
            Ok(Body::Request { question, .. }) => {
                let fault = Fault::Exit(ExitReason::NoProc);
                self.close_question(question, Outcome::Failed(fault));
            }
            Ok(Body::Control(Control::Signal { to, signal })) => {
                let nobody = Pid::new(peer, life, to);
                self.carry_out(nobody, Vec::from_iter(answer_of_nobody(nobody, signal)));
            }
            Ok(Body::Message { .. } | Body::Reply { .. } | Body::Control(_)) => {}
            Err(why) => unreachable!("a frame of our own making: {why}"),
        }
    }

    // ---- questions ----------------------------------------------------------------------------

    /// Notes a question that goes over `link` (none: to this node itself), and who waits.
    pub(crate) fn open_question(
        &self,
        link: Option<&Link>,
        within: Duration,
        waiter: Waiter,
    ) -> u64 {
        let mut calls = lock(&self.calls);
        let before = calls.next_deadline();
        let deadline = self.now().saturating_add(within);
        let (question, refused) = calls.open(link.map(|link| link.id), deadline, waiter);
        drop(calls);
        if let Some(waiter) = refused {
            waiter(Outcome::Lost);
        } else if before.is_none_or(|before| deadline < before) {
            self.deadlines.notify_one();
        }
        question
    }

    pub(crate) fn close_question(self: &Arc<Self>, question: u64, outcome: Outcome) {
        let waiter = lock(&self.calls).close(question);
        match waiter {
            Some(waiter) => waiter(outcome),
            None => self.orphaned(outcome),
        }
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn give_up_question(&self, question: u64) {
        let waiter = lock(&self.calls).close(question);
        drop(waiter); // out of the lock: it may hold the last of an actor
    }

    /// Waits this long, from now, for the answer.
    pub(crate) fn set_deadline(&self, question: u64, within: Duration) {
        let deadline = self.now().saturating_add(within);
        let sooner = lock(&self.calls).set_deadline(question, deadline);
        if sooner {
            self.deadlines.notify_one();
        }
    }

    /// An answer that nobody waits for any more (G6).
    fn orphaned(self: &Arc<Self>, outcome: Outcome) {
        debug!(self.log, "late answer dropped"; "answer" => ?outcome);
        if let Outcome::Spawned(pid) = outcome {
            // Its spawner was told that the spawn timed out: nothing is left running unseen.
            let from = self.own_pid();
            self.signal(from, pid, Signal::Exit { from, reason: ExitReason::Kill });
        }
    }

    async fn watch_deadlines(self: Arc<Self>) {
        loop {
            let next = lock(&self.calls).next_deadline();
            match next {
                Some(at) => {
                    let at = self.clock.instant(at);
                    let _ = tokio::time::timeout_at(at, self.deadlines.notified()).await;
                }
                None => self.deadlines.notified().await,
            }
            let expired = lock(&self.calls).expire(self.now());
            for waiter in expired {
                waiter(Outcome::TimedOut);
            }
        }
    }

    /// Puts a question about the pool to the master, or to another node.
    pub(crate) async fn query(
        self: &Arc<Self>,
        node: NodeName,
        query: Query,
        within: Duration,
    ) -> Outcome {
        let (tell, told) = oneshot::channel();
        let waiter: Waiter = Box::new(move |outcome| drop(tell.send(outcome)));
        if node == self.name {
            let question = self.open_question(None, within, waiter);
            self.role(RoleEvent::Asked { query, to: Return { link: None, question } });
        } else {
            let Ok(link) = self.link_to(node) else { return Outcome::Lost };
            let question = self.open_question(Some(&link), within, waiter);
            if link.push_control(&Control::Ask { question, query }).is_err() {
                self.close_question(question, Outcome::Lost);
            }
        }
        told.await.unwrap_or(Outcome::Lost)
    }

    /// Does something on the IO thread after this long, unless the timer is given up as a question is.
    pub(crate) fn in_time(&self, within: Duration, act: impl FnOnce() + Send + 'static) -> u64 {
        let waiter: Waiter = Box::new(move |outcome| {
            if let Outcome::TimedOut = outcome {
                act();
            }
        });
        self.open_question(None, within, waiter)
    }

    /// Waits, on whatever runtime the caller is.
    pub(crate) async fn sleep(&self, within: Duration) {
        let (tell, told) = oneshot::channel::<()>();
        let question = self.open_question(None, within, Box::new(move |_| drop(tell)));
        let _open = OpenQuestion { node: self, question };
        let _ = told.await;
    }

    /// Starts a slave and waits until it is in the pool.
    pub(crate) async fn start_slave(&self, plan: Plan) -> Result<NodeName, HostFailure> {
        let host = plan.host.clone();
        let failed = |why: &str| HostFailure { host, step: StartStep::Launch, why: why.to_owned() };
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

    // ---- connections --------------------------------------------------------------------------

    /// The connection to `peer`, which is made if there is none.
    ///
    /// # Errors
    /// Nobody has said where that node is.
    pub(crate) fn link_to(self: &Arc<Self>, peer: NodeName) -> Result<Arc<Link>, NoWay> {
        let (link, dial) = self.peers.link_or_dial(peer, |peer| {
            Arc::new(Link::new(peer, Phase::Connecting, self.config.frame_bytes_max, self.now()))
        })?;
        if let Some(address) = dial {
            let node = self.clone();
            let dialed = link.clone();
            self.on_io(async move { connection::dial(node, dialed, address).await });
        }
        Ok(link)
    }

    /// A connection is lost: whoever waited for its peer or was tied to it hears, once.
    pub(crate) fn lose(self: &Arc<Self>, link: &Arc<Link>, why: &str) {
        let incarnation = match link.phase() {
            Phase::Up(incarnation) => Some(incarnation),
            Phase::Connecting | Phase::Lost => None,
        };
        if !link.set_lost() {
            return;
        }
        self.peers.forget(link, why);
        match incarnation {
            Some(_) if self.is_stopping() => debug!(self.log, "disconnected"; "peer" => %link.peer),
            Some(_) => {
                slog::info!(self.log, "node down"; "peer" => %link.peer, "reason" => why.to_owned());
            }
            // Who connects to do one thing is told by that thing's failure.
            None if self.config.part == Part::Hidden => {}
            None => {
                warn!(self.log, "not connected"; "peer" => %link.peer, "reason" => why.to_owned())
            }
        }
        let lost = lock(&self.calls).lost(link.id);
        for waiter in lost {
            waiter(Outcome::Lost);
        }
        if let Some(hands) = self.hands.get() {
            hands.keeper.do_send(LinkLost { id: link.id, peer: link.peer, incarnation });
        }
        self.role(RoleEvent::PeerDown { node: link.peer, why: why.to_owned() });
    }

    /// Tells the node's master or slave actor.
    pub(crate) fn role(&self, event: RoleEvent) {
        if let Some(hands) = self.hands.get() {
            hands.role.do_send(event);
        }
    }

    /// Runs a future on the IO thread.
    pub(crate) fn on_io(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(hands) = self.hands.get() {
            hands.io.spawn(future);
        }
    }

    /// A frame that is no actor's message has come over `link`.
    pub(crate) fn on_control(self: &Arc<Self>, link: &Arc<Link>, control: Control) {
        match control {
            Control::Tick => {}
            Control::Load(report) => self.role(RoleEvent::Load { node: link.peer, report }),
            Control::Signal { to, signal } => {
                let to = Pid::new(self.name, self.incarnation, to);
                self.carry_out(to, vec![Effect::Tell { to, signal }]);
            }
            Control::Spawn(order) => self.on_spawn_order(link, order),
            Control::Spawned { question, pid } => {
                self.close_question(question, Outcome::Spawned(pid));
            }
            Control::SpawnRefused { question, fault } => {
                self.close_question(question, Outcome::Refused(fault));
            }
            Control::Failed { question, fault } => {
                self.close_question(question, Outcome::Failed(fault));
            }
            Control::Ask { question, query } => {
                let to = Return { link: Some(link.clone()), question };
                self.role(RoleEvent::Asked { query, to });
            }
            Control::Told { question, answer } => {
                self.close_question(question, Outcome::Told(answer))
            }
            Control::Members(members) => {
                // A node that this one only talks to tells every connected node of its own pool.
                if !self.peers.learn(link.peer, &members) {
                    debug!(self.log, "not my master's members"; "from" => %link.peer);
                }
            }
            Control::Halt => self.role(RoleEvent::Halt { from: link.peer }),
            Control::Bye => {} // its connection's reader ends with it
            Control::Output { pid, stream, line } => self.show(pid, stream, line),
        }
    }

    fn on_spawn_order(self: &Arc<Self>, link: &Arc<Link>, order: SpawnOrder) {
        let SpawnOrder { question, kind, args, options } = order;
        let asker = link.clone();
        let born: Born = Box::new(move |born| {
            asker.tell(&match born {
                Ok(pid) => Control::Spawned { question, pid },
                Err(fault) => Control::SpawnRefused { question, fault },
            });
        });
        let result = options.result.map(|question| Return { link: Some(link.clone()), question });
        self.start_kind(kind, args, options, born, result);
    }

    /// A message for the actor of this number has come over `link`.
    pub(crate) fn on_message(self: &Arc<Self>, to: u64, tag: u32, payload: Bytes) {
        // A message to the dead vanishes (O2).
        if let Some(cell) = self.table.get(to) {
            cell.push_raw(tag, payload, None);
        }
    }

    /// The same, and an answer is wanted.
    pub(crate) fn on_request(
        self: &Arc<Self>,
        link: &Arc<Link>,
        to: u64,
        tag: u32,
        question: u64,
        payload: Bytes,
    ) {
        let asker = Return { link: Some(link.clone()), question };
        match self.table.get(to) {
            Some(cell) => {
                let asker = answer::Asker::new(cell.clone(), asker);
                cell.push_raw(tag, payload, Some(asker));
            }
            None => asker.fail(self, Fault::Exit(ExitReason::NoProc)),
        }
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

/// Given up when it is dropped.
struct OpenQuestion<'a> {
    node: &'a Node,
    question: u64,
}

impl Drop for OpenQuestion<'_> {
    fn drop(&mut self) {
        self.node.give_up_question(self.question);
    }
}

/// Nobody has said where a node is.
#[derive(Debug)]
pub(crate) struct NoWay;
