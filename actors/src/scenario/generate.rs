//! Random scenarios and traces: the same ones for the same seed, and only such as have one outcome.
//!
//! A scenario is written step by step beside a small world that follows what comes of it, so that most
//! steps are about processes that live, and so that what several signals could decide in one way or in
//! another is left out. The outcome itself is never taken from that world: Erlang/OTP gives it.

use super::format::{Action, Death, How, Node, Op, Scenario, Spawn, Step, Strategy, Target, Trace};

mod batch;
mod dice;
mod traces;
mod world;

use dice::Dice;
use world::World;

/// The scenario of this seed and number.
pub fn scenario(seed: u64, index: u64) -> Scenario {
    let mut dice = Dice::new(seed, index);
    let style = dice.weighted(STYLES);
    let mut writer = Writer::new(dice, style);
    let steps = writer.steps();
    Scenario {
        id: format!("r{seed}-{index:05}"),
        title: None,
        style: Some(style.word().to_owned()),
        nodes: writer.world.nodes,
        steps,
    }
}

/// The supervisor trace of this seed and number.
pub fn trace(seed: u64, index: u64) -> Trace {
    traces::trace(seed, index)
}

/// Whether each of its batches can end in one way only, as far as can be told.
///
/// What is generated always does. It is on the safe side: not every batch of which this says no has more
/// than one outcome.
pub fn has_one_outcome(scenario: &Scenario) -> bool {
    let mut world = World::new(scenario.nodes);
    scenario.steps.iter().all(|step| {
        let has_one = match step {
            Step::By { by, op: Op::Batch(actions) } => {
                let is_skipped = !world.is_alive(by)
                    || actions.iter().filter_map(Action::about).any(|name| world.never_was(name));
                let mut batch = batch::Batch::new(world.clone(), by);
                is_skipped || actions.iter().all(|action| batch.try_push(action.clone()))
            }
            _ => true,
        };
        world.step(step);
        has_one
    })
}

/// What a scenario is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// A bit of everything.
    Mixed,
    /// Links one by one, and ends that spread.
    Links,
    /// Everybody linked in a circle.
    Ring,
    /// Everybody linked with everybody.
    Clique,
    /// Monitors by process and by name.
    Monitors,
    /// Registered names.
    Names,
    /// Several actions in one go.
    Batches,
    /// Processes that spawn others, which die at once.
    Births,
    /// Nodes that are killed.
    Losses,
    /// Connections that are cut, and made again by the next signal.
    Cuts,
}

/// How often each style is chosen.
const STYLES: &[(u32, Style)] = &[
    (16, Style::Mixed),
    (10, Style::Links),
    (6, Style::Ring),
    (6, Style::Clique),
    (10, Style::Monitors),
    (9, Style::Names),
    (12, Style::Batches),
    (8, Style::Births),
    (13, Style::Losses),
    (10, Style::Cuts),
];

impl Style {
    fn word(self) -> &'static str {
        match self {
            Style::Mixed => "mixed",
            Style::Links => "links",
            Style::Ring => "ring",
            Style::Clique => "clique",
            Style::Monitors => "monitors",
            Style::Names => "names",
            Style::Batches => "batches",
            Style::Births => "births",
            Style::Losses => "losses",
            Style::Cuts => "cuts",
        }
    }

    /// How often each deed is chosen.
    fn deeds(self) -> Vec<(u32, Deed)> {
        use Deed::*;
        let usual = [
            (10, Link),
            (3, Unlink),
            (8, Monitor),
            (3, Demonitor),
            (8, Exit),
            (6, Die),
            (5, Send),
            (4, Trap),
            (3, Register),
            (1, Unregister),
            (2, Whereis),
            (2, MonitorNode),
            (6, Batch),
            (5, SpawnBy),
            (2, SpawnByDriver),
            (0, KillNode),
            (0, Disconnect),
        ];
        let more: &[(u32, Deed)] = match self {
            Style::Mixed => &[(1, KillNode)],
            Style::Links => &[(25, Link), (8, Unlink), (8, Exit)],
            Style::Ring | Style::Clique => &[(10, Exit), (6, Die), (6, Trap)],
            Style::Monitors => &[(25, Monitor), (10, Demonitor), (6, Die), (5, Register)],
            Style::Names => {
                &[(20, Register), (9, Unregister), (9, Whereis), (12, Send), (10, Monitor)]
            }
            Style::Batches => &[(45, Batch)],
            Style::Births => &[(35, SpawnBy)],
            Style::Losses => &[(12, KillNode), (18, MonitorNode), (9, SpawnBy), (8, Link)],
            Style::Cuts => &[(24, Disconnect), (14, MonitorNode), (14, Link), (6, Monitor)],
        };
        usual.iter().chain(more).copied().collect()
    }
}

/// What a step may do.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Link,
    Unlink,
    Monitor,
    Demonitor,
    Exit,
    Die,
    Send,
    Trap,
    Register,
    Unregister,
    Whereis,
    MonitorNode,
    Batch,
    SpawnBy,
    SpawnByDriver,
    KillNode,
    Disconnect,
}

impl Deed {
    /// Whether somebody is likely to end of it.
    fn is_deadly(self) -> bool {
        match self {
            Deed::Exit | Deed::Die | Deed::KillNode | Deed::Disconnect | Deed::Batch => true,
            Deed::Link
            | Deed::Unlink
            | Deed::Monitor
            | Deed::Demonitor
            | Deed::Send
            | Deed::Trap
            | Deed::Register
            | Deed::Unregister
            | Deed::Whereis
            | Deed::MonitorNode
            | Deed::SpawnBy
            | Deed::SpawnByDriver => false,
        }
    }
}

/// What a process may do in a batch; ends are chosen less often there, as they end the batch.
const IN_BATCH: &[(u32, Deed)] = &[
    (8, Deed::Link),
    (4, Deed::Unlink),
    (8, Deed::Monitor),
    (4, Deed::Demonitor),
    (10, Deed::Exit),
    (2, Deed::Die),
    (9, Deed::Send),
    (2, Deed::Trap),
    (2, Deed::Register),
    (1, Deed::Unregister),
    (1, Deed::Whereis),
    (2, Deed::MonitorNode),
];

/// Reasons; the first ones are ordinary, the others have a meaning to somebody.
const REASONS: &[(u32, &str)] = &[
    (10, "boom"),
    (6, "crash"),
    (4, "shutdown"),
    (6, "normal"),
    (6, "kill"),
    (2, "killed"),
    (2, "noproc"),
    (2, "noconnection"),
];

/// How long a scenario may be.
const STEPS_MAX: usize = 40;

/// Names to register.
const NAMES: &[&str] = &["ra", "rb", "rc"];

/// Writes one scenario.
struct Writer {
    dice: Dice,
    style: Style,
    world: World,
    /// How likely a new process traps exits, in percent.
    traps: u32,
    /// How many processes there may be.
    processes_max: usize,
    references: usize,
    messages: usize,
}

impl Writer {
    fn new(mut dice: Dice, style: Style) -> Writer {
        let nodes = match style {
            // A cut needs two slaves.
            Style::Cuts => dice.between(3, 4),
            _ => dice.between(2, 4),
        };
        let traps = *dice.one_of(&[20, 40, 60, 80]);
        let processes_max = dice.between(3, 9);
        let world = World::new(nodes);
        Writer { dice, style, world, traps, processes_max, references: 0, messages: 0 }
    }

    fn steps(&mut self) -> Vec<Step> {
        let count = self.dice.between(8, STEPS_MAX);
        let mut steps = Vec::new();
        // Some are there from the start; the others come as they come.
        let first = self.dice.between(2, (self.processes_max - 1).min(count / 2));
        for _ in 0..first {
            self.push(&mut steps, Deed::SpawnByDriver);
        }
        self.shape(&mut steps);
        let deeds = self.style.deeds();
        // Something happens after the shape is there.
        let count = count.max(steps.len() + 8).min(STEPS_MAX);
        let mut tries = 0;
        while steps.len() < count && tries < 600 {
            tries += 1;
            let living = self.world.living().len();
            let deed = match living {
                0 => Deed::SpawnByDriver,
                _ => self.dice.weighted(&deeds),
            };
            // A scenario in which nobody is left soon has little to say.
            let is_early = living < 4 && steps.len() * 5 < count * 4;
            if is_early && deed.is_deadly() && self.dice.percent(80) {
                continue;
            }
            self.push(&mut steps, deed);
        }
        steps
    }

    /// Links those who are there in the shape that the style asks for.
    fn shape(&mut self, steps: &mut Vec<Step>) {
        let all = self.world.living();
        let mut pairs = Vec::new();
        match self.style {
            Style::Ring => {
                for at in 0..all.len() {
                    pairs.push((all[at].clone(), all[(at + 1) % all.len()].clone()));
                }
            }
            Style::Clique => {
                let all = &all[..all.len().min(6)];
                for (at, one) in all.iter().enumerate() {
                    pairs.extend(all[at + 1..].iter().map(|other| (one.clone(), other.clone())));
                }
            }
            _ => {}
        }
        for (by, to) in pairs {
            let step = Step::By { by, op: Op::Act(Action::Link { to }) };
            self.world.step(&step);
            steps.push(step);
        }
    }

    /// Adds a step that does this, if there is one.
    fn push(&mut self, steps: &mut Vec<Step>, deed: Deed) {
        if let Some(step) = self.step(deed) {
            self.world.step(&step);
            steps.push(step);
        }
    }

    fn step(&mut self, deed: Deed) -> Option<Step> {
        match deed {
            Deed::SpawnByDriver => {
                let node = *self.dice.one_of(&self.world.nodes_up());
                Some(Step::Spawn(self.spawn(node)?))
            }
            Deed::SpawnBy => {
                let by = self.actor()?;
                let node = Node(self.dice.between(0, self.world.nodes - 1));
                let mut spawn = self.spawn(node)?;
                if self.dice.percent(30) {
                    spawn.dies = Some(self.death());
                }
                let how = match self.dice.below(3) {
                    0 => How::Plain,
                    1 => How::Link,
                    _ => How::Monitor(self.reference()),
                };
                Some(Step::By { by, op: Op::Spawn(spawn, how) })
            }
            Deed::KillNode => {
                // The first one is not lost before there is something to lose; and one that somebody
                // has asked about is lost more often, so that there is something to hear.
                let mut watched = self.world.watched_nodes(None);
                watched.retain(|node| *node != Node(0));
                let node = match self.dice.percent(80) && !watched.is_empty() {
                    true => *self.dice.one_of(&watched),
                    false => self.slave()?,
                };
                Some(Step::KillNode { node })
            }
            Deed::Disconnect => {
                let (a, b) = (self.slave()?, self.slave()?);
                (a != b).then_some(Step::Disconnect { a, b })
            }
            Deed::Batch => {
                let by = self.actor()?;
                let actions = self.batch(&by);
                (!actions.is_empty()).then_some(Step::By { by, op: Op::Batch(actions) })
            }
            deed => {
                let by = self.actor()?;
                let action = self.action(&by, deed)?;
                Some(Step::By { by, op: Op::Act(action) })
            }
        }
    }

    /// Some actions that one process does in one go and that can end in one way only.
    fn batch(&mut self, by: &str) -> Vec<Action> {
        let wanted = self.dice.between(2, 6);
        let mut batch = batch::Batch::new(self.world.clone(), by);
        // Most batches are about one other process.
        let fixed = self.dice.percent(60).then(|| self.other(by)).flatten();
        for _ in 0..wanted * 4 {
            if batch.is_over() || batch.len() >= wanted {
                break;
            }
            let deed = self.dice.weighted(IN_BATCH);
            let Some(mut action) = self.action(by, deed) else { continue };
            if let Some(fixed) = &fixed {
                aim(&mut action, fixed);
            }
            batch.try_push(action);
        }
        batch.into_actions()
    }

    fn action(&mut self, by: &str, deed: Deed) -> Option<Action> {
        Some(match deed {
            Deed::Link => Action::Link { to: self.other(by)? },
            Deed::Unlink => {
                let partners = self.world.partners(by);
                let to = match self.dice.percent(80) && !partners.is_empty() {
                    true => self.dice.one_of(&partners).clone(),
                    false => self.other(by)?,
                };
                Action::Unlink { to }
            }
            Deed::Monitor => {
                let to = self.target(by)?;
                Action::Monitor { to, reference: self.reference() }
            }
            Deed::Demonitor => {
                let own = self.world.references_of(by);
                let all = self.world.references();
                let from = if own.is_empty() || self.dice.percent(8) { all } else { own };
                Action::Demonitor { reference: self.dice.maybe_one_of(&from)?.clone() }
            }
            Deed::Exit => {
                let to = if self.dice.percent(8) { by.to_owned() } else { self.other(by)? };
                Action::Exit { to, reason: self.reason() }
            }
            Deed::Die => Action::Die(self.death()),
            Deed::Send => {
                self.messages += 1;
                let msg = format!("t{}", self.messages);
                Action::Send { to: self.target(by)?, msg }
            }
            Deed::Trap => Action::Trap { on: self.dice.percent(60) },
            Deed::Register => {
                let name = (*self.dice.one_of(NAMES)).to_owned();
                let node = self.world.node_of(by)?;
                let neighbours = self.world.living_on(node);
                // Its own node's processes can have a name, but for those that have one.
                let proc = match self.dice.percent(85) && !neighbours.is_empty() {
                    true => self.dice.one_of(&neighbours).clone(),
                    false => self.other(by)?,
                };
                Action::Register { name, proc }
            }
            Deed::Unregister => Action::Unregister { name: self.name(by) },
            Deed::Whereis => Action::Whereis { name: self.name(by) },
            Deed::MonitorNode => {
                // What was asked is asked again, or taken back.
                let watched = self.world.watched_nodes(Some(by));
                let (node, on) = match self.dice.percent(75) && !watched.is_empty() {
                    true => (*self.dice.one_of(&watched), self.dice.percent(55)),
                    false => {
                        let node = Node(self.dice.between(0, self.world.nodes - 1));
                        (node, self.dice.percent(85))
                    }
                };
                if self.world.node_of(by)? == node {
                    return None;
                }
                Action::MonitorNode { node, on }
            }
            Deed::Batch
            | Deed::SpawnBy
            | Deed::SpawnByDriver
            | Deed::KillNode
            | Deed::Disconnect => return None,
        })
    }

    fn spawn(&mut self, node: Node) -> Option<Spawn> {
        let count = self.world.known().len();
        if count >= self.processes_max {
            return None;
        }
        let name = char::from(b'a' + u8::try_from(count).ok()?).to_string();
        Some(Spawn { name, node, trap: self.dice.percent(self.traps), dies: None })
    }

    fn death(&mut self) -> Death {
        let reason = self.reason();
        match self.dice.below(6) {
            0..=2 => Death::Exit { reason },
            3 => Death::Error { reason },
            4 => Death::Throw { reason },
            _ => Death::Return {},
        }
    }

    fn reason(&mut self) -> String {
        self.dice.weighted(REASONS).to_owned()
    }

    fn reference(&mut self) -> String {
        self.references += 1;
        format!("m{}", self.references)
    }

    /// A name that somebody on this process's node has, or any other one.
    fn name(&mut self, by: &str) -> String {
        let taken = self.world.names_near(by);
        match self.dice.percent(70) && !taken.is_empty() {
            true => self.dice.one_of(&taken).clone(),
            false => (*self.dice.one_of(NAMES)).to_owned(),
        }
    }

    fn slave(&mut self) -> Option<Node> {
        let lost = self.dice.percent(6);
        let up: Vec<Node> = self.world.nodes_up().into_iter().skip(1).collect();
        if lost || up.is_empty() {
            return Some(Node(self.dice.between(1, self.world.nodes - 1)));
        }
        Some(*self.dice.one_of(&up))
    }

    /// Who acts: somebody who lives, now and then somebody who does not.
    fn actor(&mut self) -> Option<String> {
        let living = self.world.living();
        let from = if self.dice.percent(3) { self.world.known() } else { living };
        self.dice.maybe_one_of(&from).cloned()
    }

    /// Whom it is about: mostly somebody else who lives, also the dead, oneself, those who never were.
    fn other(&mut self, by: &str) -> Option<String> {
        let living = self.world.living().into_iter().filter(|name| name != by).collect::<Vec<_>>();
        let from = match self.dice.below(100) {
            0..=2 => self.world.known(),
            3..=14 => self.world.dead(),
            15..=16 => vec![by.to_owned()],
            _ => living.clone(),
        };
        let from = if from.is_empty() { living } else { from };
        self.dice.maybe_one_of(&from).cloned()
    }

    fn target(&mut self, by: &str) -> Option<Target> {
        let by_name = match self.style {
            Style::Names => 60,
            _ => 25,
        };
        if !self.dice.percent(by_name) {
            return Some(Target::Process(self.other(by)?));
        }
        let taken = self.world.names();
        if !taken.is_empty() && self.dice.percent(80) {
            let (node, name) = self.dice.one_of(&taken).clone();
            return Some(Target::Name { name, node });
        }
        let node = Node(self.dice.between(0, self.world.nodes - 1));
        Some(Target::Name { name: (*self.dice.one_of(NAMES)).to_owned(), node })
    }
}

/// Makes an action be about this process, unless it is about a name.
fn aim(action: &mut Action, at: &str) {
    match action {
        Action::Link { to } | Action::Unlink { to } | Action::Exit { to, .. } => {
            at.clone_into(to);
        }
        Action::Monitor { to: Target::Process(to), .. }
        | Action::Send { to: Target::Process(to), .. } => at.clone_into(to),
        Action::Monitor { to: Target::Name { .. }, .. }
        | Action::Send { to: Target::Name { .. }, .. }
        | Action::Demonitor { .. }
        | Action::Die(_)
        | Action::Trap { .. }
        | Action::Register { .. }
        | Action::Unregister { .. }
        | Action::Whereis { .. }
        | Action::MonitorNode { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::format::{Document, read_documents};
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_and_it_is_well_formed() {
        let mut texts = Vec::new();
        for index in 0..500 {
            let made = scenario(7, index);
            assert_eq!(made, scenario(7, index));
            assert!(has_one_outcome(&made), "{made:?}");
            assert!((1..=40).contains(&made.steps.len()), "{made:?}");
            texts.push(serde_json::to_string(&made).unwrap());
            let made = trace(7, index);
            assert_eq!(made, trace(7, index));
            texts.push(serde_json::to_string(&made).unwrap());
        }
        let read = read_documents(&texts.join("\n")).unwrap_or_else(|why| panic!("{why}"));
        let again: Vec<String> = read.iter().map(written).collect();
        assert_eq!(again, texts);
    }

    #[test]
    fn a_thousand_hold_everything_that_the_format_knows() {
        let all: Vec<Scenario> = (0..1000).map(|index| scenario(1, index)).collect();
        let text: String = all.iter().map(|one| serde_json::to_string(one).unwrap()).collect();
        for word in [
            "\"link\"",
            "unlink",
            "\"monitor\"",
            "demonitor",
            "\"exit\"",
            "\"die\"",
            "\"error\"",
            "\"throw\"",
            "\"return\"",
            "\"send\"",
            "\"trap\"",
            "\"register\"",
            "unregister",
            "whereis",
            "monitor_node",
            "batch",
            "kill_node",
            "disconnect",
            "\"dies\"",
            "\"kill\"",
            "\"killed\"",
            "\"noproc\"",
            "\"noconnection\"",
            "\"normal\"",
        ] {
            assert!(text.matches(word).count() > 50, "{word}");
        }
        let having = |is: fn(&Step) -> bool| {
            all.iter().filter(|scenario| scenario.steps.iter().any(is)).count()
        };
        let killing = having(|step| matches!(step, Step::KillNode { .. }));
        let cutting = having(|step| matches!(step, Step::Disconnect { .. }));
        assert!((100..220).contains(&killing), "{killing}");
        assert!((60..140).contains(&cutting), "{cutting}");
    }

    #[test]
    fn what_is_recorded_has_one_outcome() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/otp");
        let mut count = 0;
        for folder in ["scenarios", "traces", "recorded"] {
            for entry in fs::read_dir(tests.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let text = fs::read_to_string(&path).unwrap();
                let read = read_documents(&text).unwrap_or_else(|why| {
                    panic!("{}", why.in_file(&path.display().to_string()));
                });
                for document in read {
                    count += 1;
                    match document {
                        Document::Scenario { scenario, expect } => {
                            assert!(expect.is_some(), "{} is not recorded", scenario.id);
                            assert!(has_one_outcome(&scenario), "{}", scenario.id);
                        }
                        Document::Trace { trace, expect } => {
                            assert!(expect.is_some(), "{} is not recorded", trace.id);
                        }
                    }
                }
            }
        }
        assert!(count > 500, "{count}");
    }

    fn written(document: &Document) -> String {
        match document {
            Document::Scenario { scenario, .. } => serde_json::to_string(scenario).unwrap(),
            Document::Trace { trace, .. } => serde_json::to_string(trace).unwrap(),
        }
    }
}
