//! A tree of a thousand children on slaves that are killed, one after another, while clients call them:
//! every call ends with an answer or a reason, and in the end each child is there once.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Instant;

use pspawn::prelude::*;
use pspawn::{ChildCount, Cookie, FreeNode, SendError};
use support::{DEADLINE, TestPool};

/// A few seconds of it: three slaves are killed.
#[actix::test]
async fn a_tree_outlives_its_slaves() {
    let mut kills = 0;
    live("short", |calls, _| match calls >= CALLS_A_KILL {
        false => Next::Wait,
        true if kills == 3 => Next::Stop,
        true => {
            kills += 1;
            Next::Kill
        }
    })
    .await;
}

/// A minute of it, a slave killed every two seconds. For whoever changes supervisors:
/// `cargo test --release --test tree -- --ignored`.
#[actix::test]
#[ignore = "takes a minute"]
async fn a_tree_outlives_its_slaves_for_a_minute() {
    let begin = Instant::now();
    let mut last = begin;
    live("long", |_, now| {
        if now - begin > Duration::from_secs(60) {
            Next::Stop
        } else if now - last > Duration::from_secs(2) {
            last = now;
            Next::Kill
        } else {
            Next::Wait
        }
    })
    .await;
}

/// What is next, after so many calls since the last kill.
enum Next {
    Wait,
    Kill,
    Stop,
}

async fn live(tree: &str, mut next: impl FnMut(u32, Instant) -> Next) {
    let secret = format!("the cookie of {tree} {}", std::process::id());
    let cookie = Cookie::new(secret.as_bytes());
    let mut pool = TestPool::start_with(3, |builder| builder.cookie(cookie)).await;
    let plan = (0..SUPERVISORS).fold(patient(Supervisor::one_for_one()), |plan, at| {
        plan.child(format!("s{at}"), branch(tree, at).spec())
    });
    let begin = Instant::now();
    let root = plan.start(&pool).await.expect("it starts");
    println!("{} children are up after {:?}", SUPERVISORS * LEAVES, begin.elapsed());

    let tally = Rc::new(Tally::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| actix::spawn(client(root.clone(), number, tally.clone())))
        .collect();
    let (mut fresh, mut kills) = (Vec::new(), 0);
    loop {
        // The clients run on this thread, too.
        pool.inbox.receive_within::<Nothing>(Duration::from_millis(1)).await;
        tally.check();
        match next(tally.since_kill.get(), Instant::now()) {
            Next::Wait => continue,
            Next::Stop => break,
            Next::Kill => {}
        }
        let slaves = pool.slaves().await;
        pool.kill(slaves[kills % slaves.len()]).await;
        kills += 1;
        fresh.push(FreshNode::start(&pool, &format!("{tree}{kills}"), &secret).await);
        tally.since_kill.set(0);
    }
    tally.over.set(true);
    for client in clients {
        client.await.expect("no client has panicked");
    }
    tally.check();
    let begin = Instant::now();
    settle(&mut pool, tree, &root).await;
    println!("{kills} slaves were killed; it was whole after {:?}", begin.elapsed());
    let (answered, ends) = (tally.answered.get(), tally.ends.take());
    println!("{answered} calls were answered, others ended with {ends:?}");
    assert!(answered > 0);
    root.stop(ExitReason::Shutdown).await.expect("it ends so");
    while !census(&mut pool, tree).await.is_empty() {} // the last are still being dropped
    pool.stop().await;
}

/// A supervisor of many leaves.
fn branch(tree: &str, at: usize) -> Supervisor {
    (0..LEAVES).fold(patient(Supervisor::one_for_one()), |plan, leaf| {
        plan.child(format!("l{leaf}"), Leaf::spec(key(tree, at, leaf)))
    })
}

/// Restarts are never too many: a node takes hundreds of children with it.
fn patient(plan: Supervisor) -> Supervisor {
    plan.intensity(1_000_000, Duration::from_secs(1))
}

fn key(tree: &str, at: usize, leaf: usize) -> String {
    format!("{tree}/s{at}/l{leaf}")
}

/// How the calls have ended.
#[derive(Default)]
struct Tally {
    over: Cell<bool>,
    since_kill: Cell<u32>,
    answered: Cell<u64>,
    ends: RefCell<BTreeMap<String, u64>>,
}

impl Tally {
    /// Whether all that were not answered have ended with a reason of a child's. Anything else is a call
    /// that was lost, or put to the wrong one.
    fn check(&self) {
        let reasons = ["break", "killed", "noconnection", "noproc", "shutdown"];
        for (reason, count) in &*self.ends.borrow() {
            assert!(reasons.contains(&reason.as_str()), "{count} calls ended with {reason}");
        }
    }
}

/// Calls one leaf after another; now and then it breaks one.
async fn client(root: SupervisorRef, number: u64, tally: Rc<Tally>) {
    let mut seed = number + 1;
    while !tally.over.get() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (at, leaf) = ((seed >> 33) as usize % SUPERVISORS, (seed >> 43) as usize % LEAVES);
        let child = root.supervisor(format!("s{at}")).child::<Leaf>(format!("l{leaf}"));
        let ended = match seed >> 60 {
            0 => child.send(Break).await.map(|()| String::new()),
            _ => child.send(Whoami).await,
        };
        tally.since_kill.set(tally.since_kill.get() + 1);
        match ended {
            Ok(who) => {
                assert!(who.ends_with(&format!("/s{at}/l{leaf}")), "{who} is not s{at}/l{leaf}");
                tally.answered.set(tally.answered.get() + 1);
            }
            Err(SendError::Exit { reason, .. }) => {
                *tally.ends.borrow_mut().entry(reason.to_string()).or_default() += 1;
            }
            Err(why) => *tally.ends.borrow_mut().entry(why.to_string()).or_default() += 1,
        }
    }
}

/// Waits until every child is there once, as its supervisor says and as the nodes say.
async fn settle(pool: &mut TestPool, tree: &str, root: &SupervisorRef) {
    let begin = Instant::now();
    loop {
        let mut whole = true;
        for at in 0..SUPERVISORS {
            let count = root.supervisor(format!("s{at}")).count_children().await;
            let all = ChildCount { specs: LEAVES, active: LEAVES, supervisors: 0, workers: LEAVES };
            whole &= count == Ok(all);
        }
        let census = census(pool, tree).await;
        let wrong: Vec<_> = (0..SUPERVISORS)
            .flat_map(|at| (0..LEAVES).map(move |leaf| (at, leaf)))
            .map(|(at, leaf)| key(tree, at, leaf))
            .map(|key| (census.get(&key).copied().unwrap_or_default(), key))
            .filter(|(count, _)| *count != 1)
            .collect();
        if whole && wrong.is_empty() && census.len() == SUPERVISORS * LEAVES {
            return;
        }
        assert!(begin.elapsed() < DEADLINE, "not whole after {DEADLINE:?}: {wrong:?}");
    }
}

/// How many of each leaf live, on all nodes together.
async fn census(pool: &mut TestPool, tree: &str) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for node in pool.nodes().await.expect("the master answers") {
        let counted = pool.call_on::<BTreeMap<String, u64>>(node, "tree", "count", (tree,)).await;
        // A node that was just killed may still be listed.
        let Ok(counted) = counted else { continue };
        for (key, count) in counted.result().await.unwrap_or_default() {
            *all.entry(key).or_default() += count;
        }
    }
    all
}

const SUPERVISORS: usize = 10;
const LEAVES: usize = 100;
const CLIENTS: u64 = 8;
/// So many calls end between two kills of the short form.
const CALLS_A_KILL: u32 = 1_000;

#[derive(Serialize, Deserialize)]
struct Nothing;

// ---- leaves -------------------------------------------------------------------------------------

/// Knows who it is, and is counted for as long as it lives.
struct Leaf(String);

impl Leaf {
    fn new(key: String) -> Leaf {
        *LIVE.lock().expect("nobody panics here").entry(key.clone()).or_default() += 1;
        Leaf(key)
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let mut live = LIVE.lock().expect("nobody panics here");
        let count = live.get_mut(&self.0).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            live.remove(&self.0);
        }
    }
}

impl Actor for Leaf {
    type Context = Context<Self>;
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "String")]
struct Whoami;

impl Handler<Whoami> for Leaf {
    type Result = String;

    fn handle(&mut self, _: Whoami, _: &mut Context<Self>) -> String {
        self.0.clone()
    }
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Break;

impl Handler<Break> for Leaf {
    type Result = ();

    fn handle(&mut self, _: Break, _: &mut Context<Self>) {
        exit(ExitReason::exit("break"));
    }
}

remote_actor!(Leaf as "leaf", new(key: String) = Leaf::new(key), handles[Whoami, Break]);

async fn count(_: Ctx, tree: String) -> BTreeMap<String, u64> {
    let live = LIVE.lock().expect("nobody panics here");
    let prefix = format!("{tree}/");
    live.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(k, n)| (k.clone(), *n)).collect()
}
remote_fn!("tree": count);

/// The leaves that live in this OS process.
static LIVE: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

// ---- fresh nodes --------------------------------------------------------------------------------

/// A node that has come after the pool's start: this test executable, run again.
struct FreshNode(Child);

impl FreshNode {
    async fn start(pool: &Pool, name: &str, cookie: &str) -> FreshNode {
        let mut node = Command::new(std::env::current_exe().expect("it runs"))
            .args(["--exact", "a_fresh_node", "--nocapture"])
            .envs([(NAME, name), (COOKIE, cookie)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let said = BufReader::new(node.stdout.take().expect("a pipe")).lines();
        let mut said = said.map(|line| line.expect("it is read"));
        let is_it = said.find_map(|line| line.strip_prefix("node ").map(str::to_owned));
        let is_it = is_it.expect("it says who it is");
        let (who, at) = is_it.split_once(' ').expect("a name and an address");
        let (who, at) = (who.parse().expect("a name"), at.parse().expect("an address"));
        assert!(pool.attach(who, at).await.unwrap().newly);
        FreshNode(node)
    }
}

impl Drop for FreshNode {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have been killed
        let _ = self.0.wait();
    }
}

/// Not a test, but what a fresh node runs. It ends with the test that has started it.
#[actix::test]
async fn a_fresh_node() {
    let (Ok(name), Ok(cookie)) = (std::env::var(NAME), std::env::var(COOKIE)) else { return };
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let cookie = Some(Cookie::new(cookie));
    let node = FreeNode::start(&name, listen, cookie, Vec::new()).await.expect("it starts");
    println!("\nnode {} {}", node.pool().here(), node.pool().address());
    node.pool().stopped().await;
}

const NAME: &str = "PSPAWN_FRESH_NODE";
const COOKIE: &str = "PSPAWN_FRESH_COOKIE";
