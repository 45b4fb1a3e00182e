//! The processes of a scenario: each does what it is told, and keeps a record of what reaches it.
//!
//! There are two, a function process and an actix actor, which do the same.

use std::collections::HashMap;
use std::ops::ControlFlow;

use pspawn::prelude::*;
use pspawn::{Spawn, Watches};

use super::format::Death;

/// What a process of a scenario is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    /// Whom it answers.
    pub(super) driver: Pid,
    pub(super) trap: bool,
    /// How it ends at once, if it does.
    pub(super) dies: Option<Death>,
}

/// What the driver wants of a process.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub(super) enum Order {
    /// To do these things in one go.
    Do(Vec<Act>),
    /// To start another process.
    Spawn(SpawnAct),
    /// To say what has reached it since it was last asked, and in the end also what it has become.
    Report { whole: bool },
}

/// One thing to do. Names are those of the node, not of the scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Act {
    Link(Pid),
    Unlink(Pid),
    Monitor(To, String),
    Demonitor(String),
    Exit(Pid, String),
    Die(Death),
    Send(To, String),
    Trap(bool),
    Register(String, Pid),
    Unregister(String),
    Whereis(String),
    MonitorNode(NodeName, bool),
}

/// A process to be started by another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SpawnAct {
    pub(super) part: Part,
    pub(super) on: NodeName,
    pub(super) actix: bool,
    pub(super) link: bool,
    /// The name of the monitor, if it is to be watched.
    pub(super) monitor: Option<String>,
}

/// A process's answer to the driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) by: Pid,
    pub(super) what: Saying,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Saying {
    /// It has done what it was told, the last of which gave this.
    Done(Given),
    /// What has reached it since it was last asked.
    Seen(Vec<Seen>, Option<State>),
    /// It is about to end, in the way it was started to.
    LastWords(Death),
    /// A sweeper runs, in this OS process.
    Up { os_pid: u32 },
    /// All tokens of this round have come back.
    Swept(u32),
    /// This node is lost.
    Lost(NodeName),
}

/// What an act gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Given {
    Ok,
    BadArg,
    Was(bool),
    Is(Option<Pid>),
    Spawned(Pid),
    /// It could not be started, and that is no outcome that a scenario can have.
    NotSpawned(String),
}

/// Something that has reached a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Seen {
    Text { from: Pid, text: String },
    Exited { pid: Pid, reason: ExitReason },
    Down { reference: String, object: To, reason: ExitReason },
    NodeDown(NodeName),
}

/// What a process has become.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) trap: bool,
    pub(super) name: Option<String>,
    pub(super) links: Vec<Pid>,
    pub(super) monitors: Vec<To>,
}

/// What one process of a scenario sends to another.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub(super) struct Text {
    from: Pid,
    text: String,
}

/// The record that a process keeps.
struct Record {
    part: Part,
    seen: Vec<Seen>,
    monitors: HashMap<String, Ref>,
}

impl Record {
    fn new(part: Part) -> Record {
        Record { part, seen: Vec::new(), monitors: HashMap::new() }
    }

    /// The first moment of a process's life.
    fn begin(&self, me: &mut impl Hands) -> ControlFlow<()> {
        me.set_trap(self.part.trap);
        match &self.part.dies {
            Some(death) => {
                self.say(me, Saying::LastWords(death.clone()));
                die(death)
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn act(&mut self, me: &mut impl Hands, acts: Vec<Act>) -> ControlFlow<()> {
        let mut given = Given::Ok;
        for act in acts {
            given = self.do_one(me, act)?;
        }
        self.say(me, Saying::Done(given));
        ControlFlow::Continue(())
    }

    fn do_one(&mut self, me: &mut impl Hands, act: Act) -> ControlFlow<(), Given> {
        let ok_or_badarg = |done| if done { Given::Ok } else { Given::BadArg };
        ControlFlow::Continue(match act {
            Act::Link(to) => {
                me.link_with(to);
                Given::Ok
            }
            Act::Unlink(to) => {
                me.unlink_from(to);
                Given::Ok
            }
            Act::Monitor(to, reference) => {
                let monitor = me.watch(to);
                self.monitors.insert(reference, monitor);
                Given::Ok
            }
            Act::Demonitor(reference) => {
                if let Some(monitor) = self.monitors.get(&reference) {
                    me.unwatch(*monitor);
                }
                Given::Ok
            }
            Act::Exit(to, reason) => {
                me.signal(to, ExitReason::exit(reason));
                Given::Ok
            }
            Act::Die(death) => {
                die(&death)?;
                Given::Ok
            }
            Act::Send(to, text) => {
                let from = me.me();
                me.tell(to, Text { from, text });
                Given::Ok
            }
            Act::Trap(on) => Given::Was(me.set_trap(on)),
            Act::Register(name, pid) => ok_or_badarg(me.give_name(&name, pid)),
            Act::Unregister(name) => ok_or_badarg(me.take_name(&name)),
            Act::Whereis(name) => Given::Is(me.who_is(&name)),
            Act::MonitorNode(node, on) => {
                me.watch_node(node, on);
                Given::Ok
            }
        })
    }

    fn spawned(
        &mut self,
        me: &mut impl Hands,
        reference: Option<String>,
        spawned: Result<(Pid, Option<Ref>), pspawn::SpawnError>,
    ) {
        let given = match spawned {
            Ok((pid, monitor)) => {
                self.monitors.extend(reference.zip(monitor));
                Given::Spawned(pid)
            }
            Err(why) => Given::NotSpawned(why.to_string()),
        };
        self.say(me, Saying::Done(given));
    }

    fn report(&mut self, me: &mut impl Hands, whole: bool) {
        let state = whole.then(|| me.state());
        let seen = std::mem::take(&mut self.seen);
        self.say(me, Saying::Seen(seen, state));
    }

    fn down(&mut self, Down { monitor, object, reason }: Down) {
        let known = self.monitors.iter().find(|(_, known)| **known == monitor);
        let reference = known.map_or_else(|| format!("{monitor:?}"), |(name, _)| name.clone());
        self.seen.push(Seen::Down { reference, object, reason });
    }

    fn say(&self, me: &mut impl Hands, what: Saying) {
        let by = me.me();
        me.tell(self.part.driver.into(), Said { by, what });
    }
}

fn die(death: &Death) -> ControlFlow<()> {
    match death {
        Death::Exit { reason } => exit(ExitReason::exit(reason.clone())),
        Death::Error { reason } => std::panic::panic_any(reason.clone()),
        Death::Throw { reason } => throw(reason.clone()),
        Death::Return {} => ControlFlow::Break(()),
    }
}

/// Starts another process as it was ordered.
fn starting<T: 'static, P: Watches + 'static>(
    spawn: Spawn<T, P>,
    act: &SpawnAct,
    pid: fn(&T) -> Pid,
) -> Starting {
    let spawn = spawn.on(act.on);
    let spawn = if act.link { spawn.link() } else { spawn };
    match act.monitor {
        Some(_) => Box::pin(async move {
            let (it, monitor) = spawn.monitor().await?;
            Ok((pid(&it), Some(monitor)))
        }),
        None => Box::pin(async move { Ok((pid(&spawn.await?), None)) }),
    }
}

type Starting =
    std::pin::Pin<Box<dyn Future<Output = Result<(Pid, Option<Ref>), pspawn::SpawnError>>>>;

/// A process of a scenario, as a function.
async fn player(mut ctx: Ctx, part: Part) {
    let mut record = Record::new(part);
    if record.begin(&mut ctx).is_break() {
        return;
    }
    loop {
        let letter = ctx.receive_any().await;
        let letter = match letter.open::<Order>() {
            Ok(Order::Do(acts)) => match record.act(&mut ctx, acts) {
                ControlFlow::Continue(()) => continue,
                ControlFlow::Break(()) => return,
            },
            Ok(Order::Spawn(act)) => {
                let reference = act.monitor.clone();
                let spawned = ctx.start(&act).await;
                record.spawned(&mut ctx, reference, spawned);
                continue;
            }
            Ok(Order::Report { whole }) => {
                record.report(&mut ctx, whole);
                continue;
            }
            Err(letter) => letter,
        };
        let letter = match letter.open::<Text>() {
            Ok(Text { from, text }) => {
                record.seen.push(Seen::Text { from, text });
                continue;
            }
            Err(letter) => letter,
        };
        let letter = match letter.open::<Exited>() {
            Ok(Exited { pid, reason }) => {
                record.seen.push(Seen::Exited { pid, reason });
                continue;
            }
            Err(letter) => letter,
        };
        let letter = match letter.open::<Down>() {
            Ok(down) => {
                record.down(down);
                continue;
            }
            Err(letter) => letter,
        };
        if let Ok(NodeDown { node }) = letter.open::<NodeDown>() {
            record.seen.push(Seen::NodeDown(node));
        }
    }
}
remote_fn!("scenario": player);

/// A process of a scenario, as an actix actor.
pub(super) struct Player(Record);

impl Actor for Player {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.0.begin(ctx).is_break() {
            ctx.stop();
        }
    }
}

impl Handler<Order> for Player {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Context<Self>) {
        match order {
            Order::Do(acts) => {
                if self.0.act(ctx, acts).is_break() {
                    ctx.stop();
                }
            }
            Order::Spawn(act) => {
                let reference = act.monitor.clone();
                let starting = ctx.start(&act).into_actor(self);
                ctx.wait(starting.map(|spawned, player, ctx| {
                    player.0.spawned(ctx, reference, spawned);
                }));
            }
            Order::Report { whole } => self.0.report(ctx, whole),
        }
    }
}

impl Handler<Text> for Player {
    type Result = ();

    fn handle(&mut self, Text { from, text }: Text, _: &mut Context<Self>) {
        self.0.seen.push(Seen::Text { from, text });
    }
}

impl Handler<Exited> for Player {
    type Result = ();

    fn handle(&mut self, Exited { pid, reason }: Exited, _: &mut Context<Self>) {
        self.0.seen.push(Seen::Exited { pid, reason });
    }
}

impl Handler<Down> for Player {
    type Result = ();

    fn handle(&mut self, down: Down, _: &mut Context<Self>) {
        self.0.down(down);
    }
}

impl Handler<NodeDown> for Player {
    type Result = ();

    fn handle(&mut self, NodeDown { node }: NodeDown, _: &mut Context<Self>) {
        self.0.seen.push(Seen::NodeDown(node));
    }
}

remote_actor!(Player as "scenario_player", new(part: Part) = Player(Record::new(part)), handles[Order, Text]);

/// What a process of a scenario can do, by whichever context it has.
trait Hands {
    fn me(&self) -> Pid;
    fn link_with(&mut self, to: Pid);
    fn unlink_from(&mut self, to: Pid);
    fn watch(&mut self, to: To) -> Ref;
    fn unwatch(&mut self, monitor: Ref);
    fn signal(&mut self, to: Pid, reason: ExitReason);
    fn tell<T: Serialize + Send + 'static>(&mut self, to: To, message: T);
    fn set_trap(&mut self, on: bool) -> bool;
    fn give_name(&mut self, name: &str, pid: Pid) -> bool;
    fn take_name(&mut self, name: &str) -> bool;
    fn who_is(&self, name: &str) -> Option<Pid>;
    fn watch_node(&mut self, node: NodeName, on: bool);
    fn state(&self) -> State;
    fn start(&self, act: &SpawnAct) -> Starting;
}

macro_rules! hands {
    ($context:ty) => {
        impl Hands for $context {
            fn me(&self) -> Pid {
                self.pid()
            }
            fn link_with(&mut self, to: Pid) {
                self.link(to);
            }
            fn unlink_from(&mut self, to: Pid) {
                self.unlink(to);
            }
            fn watch(&mut self, to: To) -> Ref {
                self.monitor(to)
            }
            fn unwatch(&mut self, monitor: Ref) {
                self.demonitor(monitor);
            }
            fn signal(&mut self, to: Pid, reason: ExitReason) {
                self.exit(to, reason);
            }
            fn tell<T: Serialize + Send + 'static>(&mut self, to: To, message: T) {
                self.send(to, message);
            }
            fn set_trap(&mut self, on: bool) -> bool {
                self.trap_exits(on)
            }
            fn give_name(&mut self, name: &str, pid: Pid) -> bool {
                self.register(name, pid).is_ok()
            }
            fn take_name(&mut self, name: &str) -> bool {
                self.unregister(name).is_ok()
            }
            fn who_is(&self, name: &str) -> Option<Pid> {
                self.whereis(name)
            }
            fn watch_node(&mut self, node: NodeName, on: bool) {
                self.monitor_node(node, on);
            }
            fn state(&self) -> State {
                State {
                    trap: self.traps_exits(),
                    name: self.name(),
                    links: self.links(),
                    monitors: self.monitors(),
                }
            }
            fn start(&self, act: &SpawnAct) -> Starting {
                let part = act.part.clone();
                match act.actix {
                    true => starting(self.spawn_actor::<Player>(part), act, RemoteAddr::pid),
                    false => {
                        starting(self.spawn_fn("scenario", "player", (part,)), act, |pid| *pid)
                    }
                }
            }
        }
    };
}

hands!(Ctx);
hands!(Context<Player>);
