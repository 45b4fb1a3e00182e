//! A pool for one test: its own cookie and name, slaves that are this test executable, and a mailbox
//! whose waits have a deadline and fail loudly.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

mod puppet;

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};

use pspawn::prelude::*;
use pspawn::{Cookie, PoolBuilder, Spawnable};
use rustix::process::{Signal, kill_process};
use serde::de::DeserializeOwned;

#[allow(unused_imports, reason = "each test file uses its part of it")]
pub use self::puppet::{DOORS, Done, Door, Echo, Order, Wish};

/// A pool, and a mailbox on its master that traps exits.
pub struct TestPool {
    pool: Pool,
    pub inbox: Ctx,
}

impl TestPool {
    /// A pool of a master and this many slaves.
    pub async fn start(slaves: usize) -> TestPool {
        TestPool::start_with(slaves, |builder| builder).await
    }

    /// The same with other settings.
    pub async fn start_with(
        slaves: usize,
        set: impl FnOnce(PoolBuilder) -> PoolBuilder,
    ) -> TestPool {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Long waits, so that a machine with other work fails no test; heartbeats as they are.
        let mut builder = Pool::builder(&name)
            .local(slaves)
            .min_nodes(slaves)
            .cookie(Cookie::random().expect("random bytes"))
            .heartbeat(Duration::from_millis(500), DEADLINE)
            .call_timeout(DEADLINE)
            .spawn_timeout(DEADLINE);
        if std::env::var_os("PSPAWN_LOG").is_none() {
            builder = builder.logger(slog::Logger::root(slog::Discard, slog::o!()));
        }
        let pool = set(builder).start().await.expect("the pool starts");
        let inbox = pool.mailbox();
        TestPool { pool, inbox }
    }

    /// The slaves, in the order of their names.
    pub async fn slaves(&self) -> Vec<NodeName> {
        let mut slaves = self.nodes().await.expect("the master answers");
        slaves.retain(|node| *node != self.here());
        slaves.sort_unstable_by_key(|node| node.as_str());
        slaves
    }

    /// Kills the OS process in which the actors of a slave run, as `kill -9` does.
    pub async fn kill(&mut self, slave: NodeName) {
        assert_ne!(slave, self.here(), "that would end the test");
        let OsPid(pid) = self.tell_of(slave).await;
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        kill_process(pid.expect("an OS pid"), Signal::KILL).expect("it can be killed");
    }

    /// What a node's OS process says of itself.
    pub async fn tell_of(&mut self, node: NodeName) -> OsPid {
        let to = (self.inbox.pid(),);
        self.spawn_mfa_on(node, "support", "tell_os_pid", to).await.expect("it starts");
        self.next::<OsPid>().await
    }

    pub async fn next_exit(&mut self) -> Exited {
        self.next().await
    }

    pub async fn next_down(&mut self) -> Down {
        self.next().await
    }

    /// The next message of this type.
    pub async fn next<T: DeserializeOwned + Send + 'static>(&mut self) -> T {
        let next = self.inbox.receive_within(DEADLINE).await;
        next.unwrap_or_else(|| panic!("no {} within {DEADLINE:?}", std::any::type_name::<T>()))
    }

    /// Of all that has reached the mailbox, nothing of this type is left.
    pub async fn assert_no<T: DeserializeOwned + Send + std::fmt::Debug + 'static>(&mut self) {
        if let Some(more) = self.inbox.receive_within::<T>(Duration::ZERO).await {
            panic!("one too many: {more:?}");
        }
    }

    /// Starts an `A` that is linked with the mailbox.
    pub async fn pspawn_link<A: Spawnable>(&self, args: A::Args) -> RemoteAddr<A> {
        self.inbox.pspawn_link(args).await.expect("it starts")
    }

    /// Ends the pool; then no OS process of it is left.
    pub async fn stop(self) {
        let TestPool { pool, inbox } = self;
        drop(inbox);
        pool.stop().await.expect("the pool stops");
    }
}

impl Deref for TestPool {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

/// Which OS process a node's actors run in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OsPid(pub u32);

async fn tell_os_pid(ctx: Ctx, to: Pid) {
    ctx.send(to, OsPid(std::process::id()));
}
remote_fn!("support": tell_os_pid);

impl TestPool {
    /// Starts a puppet there: a function process.
    pub async fn puppet(&self, on: NodeName) -> Pid {
        self.puppet_behind(Door::Function, on).await
    }

    /// Starts a puppet there, behind this door.
    pub async fn puppet_behind(&self, door: Door, on: NodeName) -> Pid {
        let (module, function) = door.puppet();
        let me = (self.inbox.pid(),);
        self.spawn_mfa_on(on, module, function, me).await.expect("it starts")
    }

    /// Lets a puppet do something, and waits until it has.
    pub async fn order(&mut self, puppet: Pid, order: Order) -> Done {
        self.inbox.send(puppet, order);
        self.next().await
    }

    /// Lets `a` link itself with `b`, and waits until both know.
    pub async fn link(&mut self, a: Pid, b: Pid) {
        self.order(a, Order::Link(b)).await;
        self.order(a, Order::Settle(b)).await;
    }

    /// Lets `a` watch `b`, and waits until both know.
    pub async fn monitor(&mut self, a: Pid, b: Pid) -> Ref {
        self.monitor_as(a, b.into(), b).await
    }

    /// Lets `a` watch `b` as `object`, and waits until both know.
    pub async fn monitor_as(&mut self, a: Pid, object: To, b: Pid) -> Ref {
        let monitor = self.monitors(a, object).await;
        self.order(a, Order::Settle(b)).await;
        monitor
    }

    /// Lets `a` watch `object`.
    pub async fn monitors(&mut self, a: Pid, object: impl Into<To>) -> Ref {
        let Done::Monitors(monitor) = self.order(a, Order::Monitor(object.into())).await else {
            panic!("that was no answer to it");
        };
        monitor
    }

    /// Lets the mailbox watch a puppet, and waits until that is known there.
    pub async fn watch(&mut self, puppet: Pid) -> Ref {
        let monitor = self.inbox.monitor(puppet);
        self.inbox.send(puppet, Order::Echo(self.inbox.pid()));
        self.next::<Echo>().await;
        monitor
    }

    /// Waits until all signals that actors on `here` have sent to that puppet have arrived: there is
    /// one ordered stream between two nodes.
    pub async fn settle(&mut self, here: NodeName, puppet: Pid) {
        let other = self.puppet(here).await;
        self.order(other, Order::Settle(puppet)).await;
        self.exit(other, ExitReason::Kill);
    }

    /// Lets the mailbox watch `pid` and waits for its end.
    pub async fn end_of(&mut self, pid: Pid) -> ExitReason {
        let monitor = self.inbox.monitor(pid);
        let down = self.next_down().await;
        assert_eq!((down.monitor, down.object), (monitor, pid.into()));
        down.reason
    }

    /// Every pair of a local and a remote node, and two that are both not the test's own.
    pub async fn pairs(&self) -> [(NodeName, NodeName); 4] {
        let (master, slaves) = (self.here(), self.slaves().await);
        [(master, master), (master, slaves[0]), (slaves[0], master), (slaves[0], slaves[1])]
    }
}

/// Holds up the thread of an actor until the test lets it go.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub const fn new() -> Gate {
        Gate { open: Mutex::new(false), opened: Condvar::new() }
    }

    pub fn open(&self) {
        *self.open.lock().expect("nobody panics here") = true;
        self.opened.notify_all();
    }

    pub fn pass(&self) {
        let open = self.open.lock().expect("nobody panics here");
        let (open, _) = self
            .opened
            .wait_timeout_while(open, DEADLINE, |open| !*open)
            .expect("nobody panics here");
        assert!(*open, "the gate was not opened within {DEADLINE:?}");
    }
}

/// No wait of a test is longer.
pub const DEADLINE: Duration = Duration::from_secs(30);
