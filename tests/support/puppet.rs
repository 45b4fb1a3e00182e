//! Puppets: processes that do what the test orders, and say when they have; on any node, behind both
//! doors: a function with its `Ctx`, and an actix actor with its context.

use std::collections::VecDeque;

use pspawn::prelude::*;
use pspawn::{SpawnError, Value};

/// The two doors to what a process can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Door {
    Function,
    Actor,
}

pub const DOORS: [Door; 2] = [Door::Function, Door::Actor];

impl Door {
    /// What its puppet is started by.
    pub fn puppet(self) -> (&'static str, &'static str) {
        match self {
            Door::Function => ("support", "puppet"),
            Door::Actor => ("support_puppet", "new"),
        }
    }
}

/// What a puppet can do.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub enum Order {
    Trap(bool),
    Link(Pid),
    Unlink(Pid),
    Monitor(To),
    Demonitor(Ref),
    /// `demonitor(Ref, [flush])`.
    Flush(Ref),
    Exit(Pid, ExitReason),
    Register(String, Pid),
    Unregister(String),
    Whereis(String),
    Name,
    WatchNode(NodeName, bool),
    WatchNodes(bool),
    /// Cut the connection of its node with that one.
    Cut(NodeName),
    Connected,
    Links,
    Monitors,
    Parent,
    Leader,
    Lead(Pid, NodeName),
    Say(String),
    /// Send this many notes, in turn to the pid and the name, each fifth as an exit signal to the pid.
    Alternate(Pid, To, u32),
    Note(To, u32),
    SpawnLinked(NodeName),
    Spawn(Wish),
    /// Returns once all signals that were sent to that puppet have arrived.
    Settle(Pid),
    Echo(Pid),
    NextExit,
    NextDown,
    NextNodeDown,
    NextNodeUp,
    /// What has come of notes and exits, in order; they are taken out.
    Heard,
    /// How many notices of any kind are in its mailbox; they are taken out.
    CountNotices,
    /// These are not answered.
    End(ExitReason),
    Panic,
    Throw(Value),
}

/// What a puppet says when it has done it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Done {
    Yes,
    /// Not, and the error's text.
    No(String),
    Trapped(bool),
    Monitors(Ref),
    Demonitored(bool),
    Spawned(Pid),
    Born(Pid, Option<Ref>),
    NotUp(Pid, ExitReason),
    Exited(Exited),
    Down(Down),
    NodeDown(NodeName),
    NodeUp(NodeName),
    Counted(u32),
    Heard(Vec<u32>),
    Who(Option<Pid>),
    Named(Option<String>),
    Cut(bool),
    Nodes(Vec<NodeName>),
    Pids(Vec<Pid>),
    Objects(Vec<To>),
}

/// Something to be started, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wish {
    pub module: String,
    pub function: String,
    /// Where; on its own node if neither is given.
    pub on: Option<NodeName>,
    pub placed: bool,
    pub link: bool,
    pub monitor: bool,
    pub acknowledged: bool,
}

impl Wish {
    pub fn of(module: &str, function: &str) -> Wish {
        let (module, function) = (module.to_owned(), function.to_owned());
        let (link, monitor, acknowledged) = (false, false, false);
        Wish { module, function, on: None, placed: false, link, monitor, acknowledged }
    }
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub struct Echo;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub struct Note(u32);

/// What is done at once is done alike behind both doors.
macro_rules! obey {
    ($ctx:ident, $order:expr) => {{
        use Done::*;
        let said = |result: Result<(), pspawn::NameError>| match result {
            Ok(()) => Yes,
            Err(why) => No(why.to_string()),
        };
        match $order {
            Order::Trap(on) => Ok(Trapped($ctx.trap_exits(on))),
            Order::Link(to) => Ok(yes($ctx.link(to))),
            Order::Unlink(to) => Ok(yes($ctx.unlink(to))),
            Order::Monitor(to) => Ok(Monitors($ctx.monitor(to))),
            Order::Demonitor(monitor) => Ok(Demonitored($ctx.demonitor(monitor))),
            Order::Flush(monitor) => Ok(Demonitored($ctx.demonitor_flush(monitor))),
            Order::Exit(to, reason) => Ok(yes($ctx.exit(to, reason))),
            Order::Register(name, pid) => Ok(said($ctx.register(&name, pid))),
            Order::Unregister(name) => Ok(said($ctx.unregister(&name))),
            Order::Whereis(name) => Ok(Who($ctx.whereis(&name))),
            Order::Name => Ok(Named($ctx.name())),
            Order::WatchNode(node, on) => Ok(yes($ctx.monitor_node(node, on))),
            Order::WatchNodes(on) => Ok(yes($ctx.monitor_nodes(on))),
            Order::Cut(node) => Ok(Cut($ctx.pool().disconnect(node))),
            Order::Connected => Ok(Nodes($ctx.pool().connected())),
            Order::Links => Ok(Pids($ctx.links())),
            Order::Monitors => Ok(Objects($ctx.monitors())),
            Order::Parent => Ok(Who($ctx.parent())),
            Order::Leader => Ok(Nodes(vec![$ctx.group_leader()])),
            Order::Lead(of, leader) => Ok(yes($ctx.set_group_leader(of, leader))),
            Order::Say(line) => {
                say!("{line}");
                Ok(Yes)
            }
            Order::Note(to, number) => Ok(yes($ctx.send(to, Note(number)))),
            Order::Alternate(pid, named, times) => {
                for number in 0..times {
                    match number % 5 {
                        4 => $ctx.exit(pid, ExitReason::exit(number)),
                        1 | 3 => $ctx.send(&named, Note(number)),
                        _ => $ctx.send(pid, Note(number)),
                    }
                }
                Ok(Yes)
            }
            Order::End(reason) => exit(reason),
            Order::Throw(value) => throw(value),
            Order::Panic => panic!("as ordered"),
            order => Err(order),
        }
    }};
}

/// Starts what is wished for.
macro_rules! fulfil {
    ($ctx:ident, $wish:ident, $tester:expr) => {{
        let mut spawn = $ctx.spawn_fn(&$wish.module, &$wish.function, ($tester,));
        if let Some(on) = $wish.on {
            spawn = spawn.on(on);
        }
        if $wish.placed {
            spawn = spawn.placed();
        }
        if $wish.link {
            spawn = spawn.link();
        }
        if $wish.acknowledged {
            spawn = spawn.acknowledged();
        }
        let monitored = if $wish.monitor { Ok(spawn.monitor()) } else { Err(spawn) };
        async move {
            let spawned = match monitored {
                Ok(spawn) => spawn.await.map(|(pid, monitor)| (pid, Some(monitor))),
                Err(spawn) => spawn.await.map(|pid| (pid, None)),
            };
            match spawned {
                Ok((pid, monitor)) => Done::Born(pid, monitor),
                Err(SpawnError::NotUp { pid, reason, .. }) => Done::NotUp(pid, reason),
                Err(why) => Done::No(why.to_string()),
            }
        }
    }};
}

fn yes((): ()) -> Done {
    Done::Yes
}

// ---- the function -------------------------------------------------------------------------------

async fn puppet(mut ctx: Ctx, tester: Pid) {
    ctx.init_ack();
    loop {
        let order = ctx.receive::<Order>().await;
        let done = match obey!(ctx, order) {
            Ok(done) => done,
            Err(Order::Echo(to)) => {
                ctx.send(to, Echo);
                continue;
            }
            Err(order) => take_time(&mut ctx, tester, order).await,
        };
        ctx.send(tester, done);
    }
}

async fn take_time(ctx: &mut Ctx, tester: Pid, order: Order) -> Done {
    match order {
        Order::Spawn(wish) => fulfil!(ctx, wish, tester).await,
        Order::SpawnLinked(on) => {
            let child = ctx.spawn_fn("support", "puppet", (tester,)).on(on).await;
            let child = child.expect("it starts");
            ctx.link(child);
            Done::Spawned(child)
        }
        Order::Settle(with) => {
            ctx.send(with, Order::Echo(ctx.pid()));
            ctx.receive::<Echo>().await;
            Done::Yes
        }
        Order::NextExit => Done::Exited(ctx.receive().await),
        Order::NextDown => Done::Down(ctx.receive().await),
        Order::NextNodeDown => Done::NodeDown(ctx.receive::<NodeDown>().await.node),
        Order::NextNodeUp => Done::NodeUp(ctx.receive::<NodeUp>().await.node),
        Order::Heard => {
            let mut heard = Vec::new();
            let wanted = |letter: &mut Letter| letter.is::<Note>() || letter.is::<Exited>();
            while let Some(letter) = ctx.receive_matching_within(Duration::ZERO, wanted).await {
                heard.push(match letter.open::<Note>() {
                    Ok(Note(number)) => number,
                    Err(letter) => {
                        number_of(&letter.open::<Exited>().expect("one of the two").reason)
                    }
                });
            }
            Done::Heard(heard)
        }
        Order::CountNotices => {
            let mut notices = 0;
            let wanted = |letter: &mut Letter| {
                let of_lives = letter.is::<Exited>() || letter.is::<Down>();
                of_lives || letter.is::<NodeDown>() || letter.is::<NodeUp>()
            };
            while ctx.receive_matching_within(Duration::ZERO, wanted).await.is_some() {
                notices += 1;
            }
            Done::Counted(notices)
        }
        order => unreachable!("{order:?} is obeyed at once"),
    }
}
remote_fn!("support": puppet);

/// A note that has come as an exit signal.
fn number_of(reason: &ExitReason) -> u32 {
    match reason {
        ExitReason::Exit(value) => {
            value.as_u64().and_then(|n| n.try_into().ok()).expect("a number")
        }
        other => panic!("no note: {other}"),
    }
}

// ---- the actor ----------------------------------------------------------------------------------

/// The same as an actix actor.
struct Puppet {
    tester: Pid,
    exits: Heard<Exited>,
    downs: Heard<Down>,
    nodes_down: Heard<NodeDown>,
    nodes_up: Heard<NodeUp>,
    notes: Vec<u32>,
}

/// Notices that have come, and how many the test waits for.
struct Heard<T> {
    came: VecDeque<T>,
    wanted: u32,
}

impl<T> Heard<T> {
    fn new() -> Heard<T> {
        Heard { came: VecDeque::new(), wanted: 0 }
    }

    /// One has come: for the test, if it waits.
    fn take(&mut self, notice: T) -> Option<T> {
        if self.wanted == 0 {
            self.came.push_back(notice);
            return None;
        }
        self.wanted -= 1;
        Some(notice)
    }

    /// The test wants one.
    fn want(&mut self) -> Option<T> {
        let next = self.came.pop_front();
        self.wanted += u32::from(next.is_none());
        next
    }

    fn clear(&mut self) -> u32 {
        let count = self.came.len();
        self.came.clear();
        u32::try_from(count).expect("not so many")
    }
}

impl Actor for Puppet {
    type Context = Context<Self>;
}

impl Handler<Order> for Puppet {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Context<Self>) {
        let tester = self.tester;
        let done = match obey!(ctx, order) {
            Ok(done) => Some(done),
            Err(Order::Echo(to)) => {
                ctx.send(to, Echo);
                None
            }
            Err(Order::Spawn(wish)) => {
                let spawning = fulfil!(ctx, wish, tester).into_actor(self);
                ctx.spawn(spawning.map(move |done, _, ctx| ctx.send(tester, done)));
                None
            }
            Err(Order::Settle(with)) => {
                ctx.send(with, Order::Echo(ctx.pid()));
                None
            }
            Err(Order::NextExit) => self.exits.want().map(Done::Exited),
            Err(Order::NextDown) => self.downs.want().map(Done::Down),
            Err(Order::NextNodeDown) => {
                self.nodes_down.want().map(|down| Done::NodeDown(down.node))
            }
            Err(Order::NextNodeUp) => self.nodes_up.want().map(|up| Done::NodeUp(up.node)),
            Err(Order::Heard) => Some(Done::Heard(std::mem::take(&mut self.notes))),
            Err(Order::CountNotices) => Some(Done::Counted(
                self.exits.clear()
                    + self.downs.clear()
                    + self.nodes_down.clear()
                    + self.nodes_up.clear(),
            )),
            Err(order) => unreachable!("{order:?} is obeyed at once, or never ordered"),
        };
        if let Some(done) = done {
            ctx.send(tester, done);
        }
    }
}

impl Handler<Echo> for Puppet {
    type Result = ();

    fn handle(&mut self, _: Echo, ctx: &mut Context<Self>) {
        ctx.send(self.tester, Done::Yes);
    }
}

impl Handler<Note> for Puppet {
    type Result = ();

    fn handle(&mut self, Note(number): Note, _: &mut Context<Self>) {
        self.notes.push(number);
    }
}

impl Handler<Exited> for Puppet {
    type Result = ();

    fn handle(&mut self, exited: Exited, ctx: &mut Context<Self>) {
        if matches!(exited.reason, ExitReason::Exit(Value::Integer(_))) {
            self.notes.push(number_of(&exited.reason));
        } else if let Some(exited) = self.exits.take(exited) {
            ctx.send(self.tester, Done::Exited(exited));
        }
    }
}

impl Handler<Down> for Puppet {
    type Result = ();

    fn handle(&mut self, down: Down, ctx: &mut Context<Self>) {
        if let Some(down) = self.downs.take(down) {
            ctx.send(self.tester, Done::Down(down));
        }
    }
}

impl Handler<NodeDown> for Puppet {
    type Result = ();

    fn handle(&mut self, down: NodeDown, ctx: &mut Context<Self>) {
        if let Some(NodeDown { node }) = self.nodes_down.take(down) {
            ctx.send(self.tester, Done::NodeDown(node));
        }
    }
}

impl Handler<NodeUp> for Puppet {
    type Result = ();

    fn handle(&mut self, up: NodeUp, ctx: &mut Context<Self>) {
        if let Some(NodeUp { node }) = self.nodes_up.take(up) {
            ctx.send(self.tester, Done::NodeUp(node));
        }
    }
}

remote_actor!(Puppet as "support_puppet", new(tester: Pid) = Puppet {
    tester,
    exits: Heard::new(),
    downs: Heard::new(),
    nodes_down: Heard::new(),
    nodes_up: Heard::new(),
    notes: Vec::new(),
}, handles[Order, Echo, Note]);
