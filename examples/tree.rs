//! A supervision tree over three nodes: one of them is killed, and its workers are started again where
//! there is room.
//!
//! ```text
//! $ cargo run --example tree
//! 12 workers are at work
//! a node is killed, with kill -9: 12 workers are at work, 0 of them there
//! those of the other nodes have not noticed: true
//! ```

use std::collections::BTreeMap;
use std::process::Command;

use pspawn::SupervisorRef;
use pspawn::prelude::*;

struct Worker;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Pid")]
struct WhoAreYou;

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<WhoAreYou> for Worker {
    type Result = ResponseActFuture<Self, Pid>;

    fn handle(&mut self, _: WhoAreYou, ctx: &mut Context<Self>) -> Self::Result {
        Box::pin(std::future::ready(ctx.pid()).into_actor(self))
    }
}

remote_actor!(Worker as "worker", new() = Worker, handles[WhoAreYou]);

async fn os_pid(_: Ctx) -> u32 {
    std::process::id()
}

remote_fn!("tree": os_pid);

fn main() -> ExitCode {
    pspawn::run(|| async {
        let pool = Pool::builder("tree").local(2).start().await?;
        let mut root = Supervisor::one_for_one();
        for team in TEAMS {
            let mut workers = Supervisor::one_for_one().intensity(20, Duration::from_secs(5));
            for id in IDS {
                workers = workers.child(id, Worker::spec(()));
            }
            root = root.child(team, workers.spec().here());
        }
        let root = root.start(&pool).await?;
        let before = all(&root).await;
        println!("{} workers are at work", before.len());

        let slaves = pool.connected();
        let busy = |node: &NodeName| before.values().any(|pid| pid.node() == *node);
        let lost = slaves.iter().copied().find(busy).unwrap_or(slaves[0]);
        let os_pid: u32 = pool.call_on(lost, "tree", "os_pid", ()).await?.await?;
        let mut me = pool.mailbox();
        me.monitor_node(lost, true);
        Command::new("kill").args(["-9", &os_pid.to_string()]).status()?;
        me.receive::<NodeDown>().await;

        let after = all(&root).await;
        let (workers, there) = (after.len(), after.values().filter(|it| it.node() == lost).count());
        println!(
            "a node is killed, with kill -9: {workers} workers are at work, {there} of them there"
        );
        let stays = |(place, pid): (_, &Pid)| pid.node() == lost || after[place] == *pid;
        println!("those of the other nodes have not noticed: {}", before.iter().all(stays));
        pool.stop().await
    })
}

type Workers = BTreeMap<(&'static str, &'static str), Pid>;

/// Asks all workers who they are. One that is lost over that is asked again.
async fn all(root: &SupervisorRef) -> Workers {
    let mut workers = Workers::new();
    for team in TEAMS {
        for id in IDS {
            let worker = root.supervisor(team).child::<Worker>(id);
            workers.insert(
                (team, id),
                loop {
                    if let Ok(pid) = worker.send(WhoAreYou).await {
                        break pid;
                    }
                },
            );
        }
    }
    workers
}

const TEAMS: [&str; 3] = ["red", "green", "blue"];
const IDS: [&str; 4] = ["1", "2", "3", "4"];
