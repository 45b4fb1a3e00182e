//! Running one scenario: each step is carried out by the processes themselves, and is over when nothing is
//! on its way any more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use pspawn::prelude::*;
use rustix::process::{Signal, kill_process};

use super::Mode;
use super::format::{
    Action, Death, Event, Fate, How, Node, Op, Outcome, Process, Scenario, Spawn, Step, Target,
    in_order,
};
use super::nodes::Nodes;
use super::player::{Act, Given, Order, Part, Player, Said, Saying, Seen, SpawnAct, State};
use super::sweeper::Sweep;

/// What came of a scenario, and of each of its steps.
#[derive(Clone, Debug)]
pub struct Played {
    /// What is compared.
    pub outcome: Outcome,
    /// What each step set off.
    pub steps: Vec<Happened>,
}

/// What one step set off.
#[derive(Clone, Debug, Default)]
pub struct Happened {
    /// What reached whom, in the order in which each was reached.
    pub events: Vec<(String, Event)>,
    /// Who ended, and why, in the order in which that was heard of.
    pub ends: Vec<(String, String)>,
}

/// A scenario could not be run to its end. That is no outcome: something does not do what it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError {
    /// The scenario's id.
    pub id: String,
    /// The step at which it stopped.
    pub step: usize,
    /// Why.
    pub why: String,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, step {}: {}", self.id, self.step, self.why)
    }
}

impl std::error::Error for RunError {}

/// Runs a scenario on these nodes. `run` is a number of its own.
pub(super) async fn run(
    scenario: &Scenario,
    nodes: &Nodes,
    mode: Mode,
    within: Duration,
    run: u64,
) -> Result<Played, RunError> {
    let fails = |why: String| RunError { id: scenario.id.clone(), step: 0, why };
    let loses = scenario.steps.iter().any(|step| match step {
        Step::KillNode { .. } | Step::Disconnect { .. } => true,
        Step::Spawn(_) | Step::By { .. } => false,
    });
    let cast = nodes.take(scenario.nodes, loses).await.map_err(|why| fails(why.to_string()))?;
    let mut play = Play {
        ctx: nodes.pool.mailbox(),
        mode,
        within,
        prefix: format!("{run}."),
        cast: cast
            .into_iter()
            .map(|name| Site { name, sweeper: None, os_pid: 0, down: false })
            .collect(),
        procs: BTreeMap::new(),
        names: HashMap::new(),
        step: 0,
        happened: Vec::new(),
        over: false,
        heard: Heard::default(),
    };
    let outcome = play.all(scenario).await;
    play.over = true;
    let cleared = play.clear().await;
    if loses {
        for site in play.cast.iter().skip(1).filter(|site| !site.down) {
            nodes.give_back(site.name);
        }
    }
    let at = |why| RunError { id: scenario.id.clone(), step: play.step, why };
    let outcome = outcome.map_err(at)?;
    cleared.map_err(at)?;
    Ok(Played { outcome, steps: play.happened })
}

/// A scenario that is being run.
struct Play {
    ctx: Ctx,
    mode: Mode,
    /// No wait for its processes is longer.
    within: Duration,
    /// What makes its registered names its own.
    prefix: String,
    cast: Vec<Site>,
    procs: BTreeMap<String, Proc>,
    names: HashMap<Pid, String>,
    step: usize,
    happened: Vec<Happened>,
    /// The last step has come to rest: what happens now is none of the scenario's.
    over: bool,
    heard: Heard,
}

/// One of its nodes.
struct Site {
    name: NodeName,
    sweeper: Option<Pid>,
    os_pid: u32,
    down: bool,
}

/// One of its processes.
struct Proc {
    pid: Pid,
    node: Node,
    died: Option<(usize, String)>,
    events: Vec<Event>,
    state: Option<State>,
}

/// What the driver has heard, and waits for.
#[derive(Default)]
struct Heard {
    given: Option<Given>,
    /// Who still has to say what it has seen, or to end.
    to_report: HashSet<Pid>,
    swept: usize,
    round: u32,
    lost: HashSet<(Pid, NodeName)>,
    last_words: HashMap<Pid, Death>,
    deaths: usize,
    up: usize,
}

impl Play {
    async fn all(&mut self, scenario: &Scenario) -> Result<Outcome, String> {
        self.place_sweepers().await?;
        let mut results = Vec::new();
        for (at, step) in scenario.steps.iter().enumerate() {
            self.step = at;
            self.happened.push(Happened::default());
            results.push(match self.is_skipped(step) {
                true => "skipped".to_owned(),
                false => {
                    let result = self.carry_out(step).await?;
                    self.settle().await?;
                    result
                }
            });
        }
        self.report(true).await?;
        let mut procs = BTreeMap::new();
        for (name, proc) in &self.procs {
            let fate = match &proc.died {
                Some((died, reason)) => Fate::Dead { died: *died, reason: reason.clone() },
                None => self.alive(proc.state.as_ref().ok_or("nobody said what became of it")?),
            };
            let died = proc.died.as_ref().map(|(died, _)| *died);
            let inbox = in_order(proc.events.clone(), died);
            procs.insert(name.clone(), Process { node: proc.node, inbox, fate });
        }
        Ok(Outcome { id: scenario.id.clone(), procs, results })
    }

    /// One sweeper a node, and all nodes connected.
    async fn place_sweepers(&mut self) -> Result<(), String> {
        for at in 0..self.cast.len() {
            let args = (self.ctx.pid(),);
            let spawn = self.ctx.spawn_fn("scenario", "sweeper", args).on(self.cast[at].name);
            let sweeper = spawn.await.map_err(|why| why.to_string())?;
            self.cast[at].sweeper = Some(sweeper);
        }
        self.until("a sweeper to be up", |play| play.heard.up == play.cast.len()).await?;
        self.sweep().await
    }

    fn is_skipped(&self, step: &Step) -> bool {
        let never = |name: &str| !self.procs.contains_key(name);
        let down = |node: &Node| self.cast[node.0].down;
        match step {
            Step::Spawn(_) => false,
            Step::KillNode { node } => down(node),
            Step::Disconnect { a, b } => down(a) || down(b),
            Step::By { by, .. } => {
                self.procs.get(by).is_none_or(|proc| proc.died.is_some())
                    || step.actions().iter().filter_map(Action::about).any(never)
            }
        }
    }

    async fn carry_out(&mut self, step: &Step) -> Result<String, String> {
        match step {
            Step::Spawn(spawn) => self.spawn(spawn).await?,
            Step::KillNode { node } => self.kill_node(*node).await?,
            Step::Disconnect { a, b } => self.disconnect(*a, *b).await?,
            Step::By { by, op: Op::Spawn(spawn, how) } => self.spawn_by(by, spawn, how).await?,
            Step::By { by, op: Op::Act(action) } => {
                let acts = vec![self.act(action)];
                let given = self.order(by, Order::Do(acts)).await?;
                return Ok(self.result(action, given));
            }
            Step::By { by, op: Op::Batch(actions) } => {
                let acts = actions.iter().map(|action| self.act(action)).collect();
                self.order(by, Order::Do(acts)).await?;
            }
        }
        Ok("ok".to_owned())
    }

    async fn spawn(&mut self, spawn: &Spawn) -> Result<(), String> {
        let (part, on) = (self.part(spawn), self.cast[spawn.node.0].name);
        let pid = if self.mode.is_actix(self.procs.len()) {
            let spawn = self.ctx.spawn_actor::<Player>(part).on(on).monitor();
            spawn.await.map(|(player, _)| player.pid())
        } else {
            let spawn = self.ctx.spawn_fn("scenario", "player", (part,)).on(on).monitor();
            spawn.await.map(|(pid, _)| pid)
        };
        self.born(spawn, pid.map_err(|why| why.to_string())?);
        Ok(())
    }

    async fn spawn_by(&mut self, by: &str, spawn: &Spawn, how: &How) -> Result<(), String> {
        let act = SpawnAct {
            part: self.part(spawn),
            on: self.cast[spawn.node.0].name,
            actix: self.mode.is_actix(self.procs.len()),
            link: *how == How::Link,
            monitor: match how {
                How::Plain | How::Link => None,
                How::Monitor(reference) => Some(reference.clone()),
            },
        };
        let pid = match self.order(by, Order::Spawn(act)).await? {
            Some(Given::Spawned(pid)) => pid,
            Some(other) => return Err(format!("{by} was to spawn {}: {other:?}", spawn.name)),
            // It ended of its child's end before it could say who that was. What the child said before
            // is all that is known of it.
            None => {
                let unknown = |play: &Play| {
                    let words = &play.heard.last_words;
                    words.keys().find(|pid| !play.names.contains_key(pid)).copied()
                };
                let what = format!("{} to say that it ends", spawn.name);
                self.until(&what, |play| unknown(play).is_some()).await?;
                unknown(self).expect("that was waited for")
            }
        };
        self.born(spawn, pid);
        if pid.node() == self.cast[spawn.node.0].name {
            self.ctx.monitor(pid);
        } else {
            self.stillborn(by, spawn);
        }
        Ok(())
    }

    fn part(&self, spawn: &Spawn) -> Part {
        Part { driver: self.ctx.pid(), trap: spawn.trap, dies: spawn.dies.clone() }
    }

    fn born(&mut self, spawn: &Spawn, pid: Pid) {
        self.names.insert(pid, spawn.name.clone());
        let (node, events) = (spawn.node, Vec::new());
        let proc = Proc { pid, node, died: None, events, state: None };
        self.procs.insert(spawn.name.clone(), proc);
    }

    /// It belongs to the node of whoever spawned it, and is dead.
    fn stillborn(&mut self, by: &str, spawn: &Spawn) {
        let of = self.procs[by].node;
        let proc = self.procs.get_mut(&spawn.name).expect("it was noted as born");
        proc.node = of;
        proc.died = Some((self.step, "noconnection".to_owned()));
        self.here().ends.push((spawn.name.clone(), "noconnection".to_owned()));
    }

    async fn kill_node(&mut self, node: Node) -> Result<(), String> {
        let site = &mut self.cast[node.0];
        site.down = true;
        let name = site.name;
        let os_pid = i32::try_from(site.os_pid).ok().and_then(rustix::process::Pid::from_raw);
        let os_pid = os_pid.ok_or("a slave without an OS process")?;
        kill_process(os_pid, Signal::KILL).map_err(|why| format!("kill -9 of {name}: {why}"))?;
        let step = self.step;
        let mut ended = Vec::new();
        for (of, proc) in &mut self.procs {
            if proc.pid.node() == name && proc.died.is_none() {
                proc.died = Some((step, "node_killed".to_owned()));
                ended.push((of.clone(), "node_killed".to_owned()));
            }
        }
        self.here().ends.extend(ended);
        let others: Vec<Pid> = self.sweepers();
        let all = |play: &Play| others.iter().all(|by| play.heard.lost.contains(&(*by, name)));
        self.until("every node to notice that a node is lost", all).await
    }

    async fn disconnect(&mut self, a: Node, b: Node) -> Result<(), String> {
        let (a, b) = (&self.cast[a.0], &self.cast[b.0]);
        let ends = [(a.sweeper, b.name), (b.sweeper, a.name)];
        let ends = ends.map(|(by, of)| (by.expect("each node has a sweeper"), of));
        for end in &ends {
            self.heard.lost.remove(end);
        }
        self.ctx.send(ends[0].0, Sweep::Cut(ends[0].1));
        let both = |play: &Play| ends.iter().all(|end| play.heard.lost.contains(end));
        self.until("both nodes to notice that they are disconnected", both).await
    }

    /// Lets a process do something; none if it ended before it could say that it was done.
    async fn order(&mut self, by: &str, order: Order) -> Result<Option<Given>, String> {
        let pid = self.procs[by].pid;
        self.heard.given = None;
        self.ctx.send(pid, order);
        self.until(&format!("{by} to do as it was told"), |play| {
            play.heard.given.is_some() || play.procs[by].died.is_some()
        })
        .await?;
        Ok(self.heard.given.take())
    }

    fn act(&self, action: &Action) -> Act {
        let pid = |name: &String| self.procs[name].pid;
        let own = |name: &String| format!("{}{name}", self.prefix);
        let to = |target: &Target| match target {
            Target::Process(name) => To::Pid(pid(name)),
            Target::Name { name, node } => To::Name(own(name), self.cast[node.0].name),
        };
        match action {
            Action::Link { to } => Act::Link(pid(to)),
            Action::Unlink { to } => Act::Unlink(pid(to)),
            Action::Monitor { to: whom, reference } => Act::Monitor(to(whom), reference.clone()),
            Action::Demonitor { reference } => Act::Demonitor(reference.clone()),
            Action::Exit { to, reason } => Act::Exit(pid(to), reason.clone()),
            Action::Die(death) => Act::Die(death.clone()),
            Action::Send { to: whom, msg } => Act::Send(to(whom), msg.clone()),
            Action::Trap { on } => Act::Trap(*on),
            Action::Register { name, proc } => Act::Register(own(name), pid(proc)),
            Action::Unregister { name } => Act::Unregister(own(name)),
            Action::Whereis { name } => Act::Whereis(own(name)),
            Action::MonitorNode { node, on } => Act::MonitorNode(self.cast[node.0].name, *on),
        }
    }

    fn result(&self, action: &Action, given: Option<Given>) -> String {
        match (action, given) {
            (Action::Trap { .. }, Some(Given::Was(was))) => was.to_string(),
            (Action::Register { .. } | Action::Unregister { .. }, Some(Given::BadArg)) => {
                "badarg".to_owned()
            }
            (Action::Whereis { .. }, Some(Given::Is(who))) => match who {
                Some(pid) => self.name_of(pid),
                None => "undefined".to_owned(),
            },
            (_, _) => "ok".to_owned(),
        }
    }

    /// Waits until nothing is on its way: a round in which nobody has ended.
    async fn settle(&mut self) -> Result<(), String> {
        loop {
            let before = self.heard.deaths;
            self.sweep().await?;
            self.report(false).await?;
            if self.heard.deaths == before {
                return Ok(());
            }
        }
    }

    /// Waits until all that nodes have sent to each other has arrived.
    async fn sweep(&mut self) -> Result<(), String> {
        self.heard.round += 1;
        self.heard.swept = 0;
        let (round, sweepers) = (self.heard.round, self.sweepers());
        let down = self.cast.iter().filter(|site| site.down);
        let lost: Vec<Pid> = down.filter_map(|site| site.sweeper).collect();
        for sweeper in &sweepers {
            let others = sweepers.iter().copied().filter(|other| other != sweeper).collect();
            self.ctx.send(*sweeper, Sweep::Round { round, others, lost: lost.clone() });
        }
        self.until("all that was sent to arrive", |play| play.heard.swept == sweepers.len()).await
    }

    /// Waits until each living process has said what has reached it, or has ended.
    async fn report(&mut self, whole: bool) -> Result<(), String> {
        let living = self.procs.values().filter(|proc| proc.died.is_none());
        self.heard.to_report = living.map(|proc| proc.pid).collect();
        for pid in &self.heard.to_report {
            self.ctx.send(*pid, Order::Report { whole });
        }
        self.until("every process to answer", |play| play.heard.to_report.is_empty()).await
    }

    fn sweepers(&self) -> Vec<Pid> {
        self.cast.iter().filter(|site| !site.down).filter_map(|site| site.sweeper).collect()
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Play) -> bool) -> Result<(), String> {
        while !done(self) {
            let Some(letter) = self.ctx.receive_any_within(self.within).await else {
                return Err(format!("waited {:?} for {what}", self.within));
            };
            let letter = match letter.open::<Said>() {
                Ok(said) => {
                    self.hear(said);
                    continue;
                }
                Err(letter) => letter,
            };
            if let Ok(down) = letter.open::<Down>() {
                self.hear_down(&down);
            }
        }
        Ok(())
    }

    fn hear(&mut self, Said { by, what }: Said) {
        match what {
            Saying::Done(given) => self.heard.given = Some(given),
            Saying::LastWords(death) => {
                self.heard.last_words.insert(by, death);
            }
            Saying::Up { os_pid } => {
                if let Some(site) = self.cast.iter_mut().find(|site| site.name == by.node()) {
                    site.os_pid = os_pid;
                    self.heard.up += 1;
                }
            }
            Saying::Swept(round) => self.heard.swept += usize::from(round == self.heard.round),
            Saying::Lost(node) => {
                self.heard.lost.insert((by, node));
            }
            Saying::Seen(seen, state) => {
                let Some(name) = self.names.get(&by).cloned() else { return };
                self.heard.to_report.remove(&by);
                let events: Vec<Event> = seen.into_iter().map(|seen| self.event(seen)).collect();
                let told = events.iter().map(|event| (name.clone(), event.clone()));
                let told: Vec<(String, Event)> = told.collect();
                self.here().events.extend(told);
                if let Some(proc) = self.procs.get_mut(&name) {
                    proc.events.extend(events);
                    proc.state = state.or(proc.state.take());
                }
            }
        }
    }

    fn hear_down(&mut self, down: &Down) {
        let Some(pid) = down.object.pid() else { return };
        self.heard.to_report.remove(&pid);
        self.heard.deaths += 1;
        let Some(name) = self.names.get(&pid).cloned() else { return };
        let step = self.step;
        let Some(proc) = self.procs.get_mut(&name).filter(|proc| proc.died.is_none()) else {
            return;
        };
        let reason = match self.heard.last_words.get(&pid) {
            // It was started to end at once, and did before it was watched.
            Some(death) if down.reason == ExitReason::NoProc => death.seen_as(),
            Some(_) | None => word(&down.reason),
        };
        proc.died = Some((step, reason.clone()));
        if !self.over {
            self.here().ends.push((name, reason));
        }
    }

    fn here(&mut self) -> &mut Happened {
        if self.happened.is_empty() {
            self.happened.push(Happened::default());
        }
        self.happened.last_mut().expect("one was pushed")
    }

    fn event(&self, seen: Seen) -> Event {
        let step = self.step;
        match seen {
            Seen::Text { from, text } => Event::Msg { step, from: self.name_of(from), text },
            Seen::Exited { pid, reason } => {
                Event::Exit { step, from: self.name_of(pid), reason: word(&reason) }
            }
            Seen::Down { reference, object, reason } => {
                let object = self.object(&object);
                Event::Down { step, reference, object, reason: word(&reason) }
            }
            Seen::NodeDown(node) => Event::NodeDown { step, node: self.node_of(node) },
        }
    }

    fn alive(&self, state: &State) -> Fate {
        let State { trap, name, links, monitors } = state;
        let mut links: Vec<String> = links.iter().map(|pid| self.name_of(*pid)).collect();
        let mut monitors: Vec<String> = monitors.iter().map(|to| self.object(to)).collect();
        links.sort_unstable();
        monitors.sort_unstable();
        let name = name.as_ref().map(|name| self.unprefixed(name));
        Fate::Alive { trap: *trap, name, links, monitors }
    }

    fn name_of(&self, pid: Pid) -> String {
        self.names.get(&pid).cloned().unwrap_or_else(|| pid.to_string())
    }

    fn object(&self, to: &To) -> String {
        match to {
            To::Pid(pid) => self.name_of(*pid),
            To::Name(name, node) => format!("{}@{}", self.unprefixed(name), self.node_of(*node)),
        }
    }

    fn unprefixed(&self, name: &str) -> String {
        name.strip_prefix(&self.prefix).unwrap_or(name).to_owned()
    }

    fn node_of(&self, name: NodeName) -> Node {
        let at = self.cast.iter().position(|site| site.name == name);
        Node(at.unwrap_or(usize::MAX))
    }

    /// Ends whatever lives, so that nothing of it is met by the next scenario on these nodes.
    async fn clear(&mut self) -> Result<(), String> {
        let living = self.procs.values().filter(|proc| proc.died.is_none());
        self.heard.to_report = living.map(|proc| proc.pid).collect();
        for sweeper in self.sweepers() {
            self.ctx.monitor(sweeper);
            self.heard.to_report.insert(sweeper);
        }
        for pid in &self.heard.to_report {
            self.ctx.exit(*pid, ExitReason::Kill);
        }
        self.until("every process to be gone", |play| play.heard.to_report.is_empty()).await
    }
}

/// A reason as scenarios write it.
pub(super) fn word(reason: &ExitReason) -> String {
    match reason {
        ExitReason::Panicked { text, .. } => format!("error:{text}"),
        ExitReason::Thrown(value) => format!("nocatch:{}", text_of(value)),
        ExitReason::Exit(value) => text_of(value),
        ExitReason::ShutdownWith(value) => format!("shutdown:{}", text_of(value)),
        reason => reason.to_string(),
    }
}

fn text_of(value: &pspawn::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
