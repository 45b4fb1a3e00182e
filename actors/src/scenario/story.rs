//! The story of a scenario: for each step who did what, which signal travelled where, and who ended of
//! what, each with the rule of OTP that says so.
//!
//! What happened is taken from the run; the story only finds out why, from who was linked with whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::format::{Action, Death, Event, How, Node, Op, Scenario, Spawn, Step, Target};
use super::run::{Happened, Played};

mod diagram;
mod family;
mod rule;
mod words;

pub use diagram::diagram;
pub use family::narrate_trace;
pub use words::narrate;

use rule::Rule;

/// One step, told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chapter {
    step: usize,
    /// Who acts; none if it is the driver or the operating system.
    by: Option<String>,
    /// What is done, as the rest of a sentence.
    deed: String,
    lines: Vec<Line>,
}

/// One thing that a step set off.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    /// Something went from one process to another.
    Signal { kind: Kind, from: String, to: String, what: String, effect: String, rule: Rule },
    /// A process has ended.
    End { who: String, reason: String, rule: Rule },
    /// Something to know.
    Note { about: Option<String>, text: String, rule: Option<Rule> },
}

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Message,
    Link,
    Exit,
    Monitor,
    Down,
}

/// What is known before a step.
#[derive(Default)]
struct World {
    procs: BTreeMap<String, Known>,
    links: BTreeSet<(String, String)>,
    names: BTreeMap<(String, Node), String>,
    down: BTreeSet<Node>,
}

struct Known {
    node: Node,
    trap: bool,
    alive: bool,
}

/// Tells a scenario that was run.
fn tell(scenario: &Scenario, played: &Played) -> Vec<Chapter> {
    let mut world = World::default();
    let mut chapters = Vec::new();
    for (at, step) in scenario.steps.iter().enumerate() {
        let nothing = Happened::default();
        let happened = played.steps.get(at).unwrap_or(&nothing);
        let result = played.outcome.results.get(at).map_or("ok", String::as_str);
        let mut telling = Telling::new(&mut world, happened);
        let (by, deed) = if result == "skipped" {
            telling.note(
                None,
                "That step is skipped: who acts, or is acted upon, is not there",
                None,
            );
            (acting(step), deed(step))
        } else {
            telling.step(step, result);
            (acting(step), deed(step))
        };
        telling.cascade();
        telling.rest();
        let lines = telling.lines;
        chapters.push(Chapter { step: at, by, deed, lines });
    }
    chapters
}

fn acting(step: &Step) -> Option<String> {
    match step {
        Step::By { by, .. } => Some(by.clone()),
        Step::Spawn(_) | Step::KillNode { .. } | Step::Disconnect { .. } => None,
    }
}

/// The lines of one step, as they come.
struct Telling<'a> {
    world: &'a mut World,
    happened: &'a Happened,
    lines: Vec<Line>,
    /// Who has ended, of what, and is still to be told; in the order of cause and effect.
    ended: VecDeque<(String, Rule)>,
    told: BTreeSet<String>,
    /// Events that a line has told already.
    used: BTreeSet<usize>,
}

impl<'a> Telling<'a> {
    fn new(world: &'a mut World, happened: &'a Happened) -> Telling<'a> {
        let (lines, ended) = (Vec::new(), VecDeque::new());
        Telling { world, happened, lines, ended, told: BTreeSet::new(), used: BTreeSet::new() }
    }

    fn step(&mut self, step: &Step, result: &str) {
        match step {
            Step::Spawn(spawn) => self.spawn(None, spawn, &How::Plain),
            Step::By { by, op: Op::Spawn(spawn, how) } => self.spawn(Some(by), spawn, how),
            Step::By { by, op: Op::Act(action) } => self.act(by, action, result),
            Step::By { by, op: Op::Batch(actions) } => {
                for action in actions {
                    self.act(by, action, "ok");
                }
            }
            Step::KillNode { node } => {
                self.world.down.insert(*node);
                let of_node = self.world.procs.iter().filter(|(_, known)| known.node == *node);
                let lost: Vec<String> =
                    of_node.filter(|(_, known)| known.alive).map(|(who, _)| who.clone()).collect();
                for who in lost {
                    self.ends(&who, Rule::LostNode);
                }
            }
            Step::Disconnect { a, b } => self.cut(*a, *b),
        }
    }

    fn spawn(&mut self, by: Option<&String>, spawn: &Spawn, how: &How) {
        let on_lost = self.world.down.contains(&spawn.node);
        let node = match by.and_then(|by| self.world.procs.get(by)) {
            Some(parent) if on_lost => parent.node,
            Some(_) | None => spawn.node,
        };
        let known = Known { node, trap: spawn.trap, alive: true };
        self.world.procs.insert(spawn.name.clone(), known);
        if let (Some(by), How::Link) = (by, how) {
            self.world.links.insert(pair(by, &spawn.name));
        }
        if on_lost {
            let text = format!(
                "{} is down, so {} is a process of {node} that is dead from the start",
                spawn.node, spawn.name
            );
            self.note(Some(&spawn.name), &text, Some(Rule::SpawnOnLost));
            self.ends(&spawn.name, Rule::SpawnOnLost);
        } else if let Some(death) = &spawn.dies {
            let rule = match how {
                How::Link => Rule::BornLinked,
                How::Monitor(_) => Rule::BornWatched,
                How::Plain => of_death(death),
            };
            self.ends(&spawn.name, rule);
        }
    }

    fn act(&mut self, by: &str, action: &Action, result: &str) {
        match action {
            Action::Link { to } => self.link(by, to),
            Action::Unlink { to } => {
                let linked = self.world.links.remove(&pair(by, to));
                let effect = match linked {
                    true => "the link is gone at both ends",
                    false => "there is no such link, and nothing happens",
                };
                self.signal(Kind::Link, by, to, "unlink", effect, Rule::Unlink);
            }
            Action::Monitor { to, reference } => {
                let name = self.object(to);
                let known = self.find(to);
                let (effect, rule) = match (&known, to) {
                    (Some(who), _) if who == by => ("of itself: it never fires", Rule::OwnMonitor),
                    (Some(_), Target::Process(_)) => ("is watched from now on", Rule::Watched),
                    (Some(_), Target::Name { .. }) => {
                        ("who has the name now is watched from now on", Rule::WatchedByName)
                    }
                    (None, _) => ("nobody is there to be watched", Rule::WatchedNobody),
                };
                let whom = known.unwrap_or(name);
                let what = format!("monitor {reference}");
                self.signal(Kind::Monitor, by, &whom, &what, effect, rule);
            }
            Action::Demonitor { reference } => {
                let text = format!("{reference} is taken back: no DOWN of it comes from now on");
                self.note(Some(by), &text, Some(Rule::Demonitor));
            }
            Action::Exit { to, reason } => self.exit(by, to, reason),
            Action::Die(death) => self.ends(by, of_death(death)),
            Action::Send { to, msg } => {
                let (effect, rule) = match (self.find(to), to) {
                    (Some(_), _) => ("it is in the mailbox", Rule::Order),
                    (None, Target::Process(_)) => ("it vanishes", Rule::SentToDead),
                    (None, Target::Name { .. }) => {
                        ("nobody has the name: it vanishes", Rule::NoName)
                    }
                };
                let whom = self.find(to).unwrap_or_else(|| self.object(to));
                self.signal(Kind::Message, by, &whom, &format!("{msg:?}"), effect, rule);
                self.use_events(&whom, |event| {
                    matches!(event, Event::Msg { from, text, .. } if from == by && text == msg)
                });
            }
            Action::Trap { on } => {
                if let Some(known) = self.world.procs.get_mut(by) {
                    known.trap = *on;
                }
                let text = match on {
                    true => "exit signals are messages for it from now on",
                    false => "exit signals end it from now on",
                };
                self.note(Some(by), text, Some(Rule::Trap));
            }
            Action::Register { name, proc } => {
                let node = self.world.procs[by].node;
                if result == "ok" {
                    self.world.names.insert((name.clone(), node), proc.clone());
                    let text = format!("it is called {name} on {node}");
                    self.note(Some(proc), &text, Some(Rule::Register));
                } else {
                    self.note(Some(by), "badarg: that cannot be", Some(Rule::BadName));
                }
            }
            Action::Unregister { name } => {
                let node = self.world.procs[by].node;
                let text = match self.world.names.remove(&(name.clone(), node)) {
                    Some(_) => format!("nobody is called {name} on {node} any more"),
                    None => "badarg: nobody has the name".to_owned(),
                };
                self.note(Some(by), &text, Some(Rule::Register));
            }
            Action::Whereis { name } => {
                self.note(Some(by), &format!("{name} is {result}"), Some(Rule::Register));
            }
            Action::MonitorNode { node, on } => {
                let (text, rule) = match (on, self.world.down.contains(node)) {
                    (true, true) => ("that node is down: it hears so at once", Rule::NodeGone),
                    (true, false) => ("one notice more when that node is lost", Rule::NodeWatched),
                    (false, _) => ("one notice less", Rule::NodeWatched),
                };
                self.note(Some(by), text, Some(rule));
            }
        }
    }

    fn link(&mut self, by: &str, to: &str) {
        if by == to {
            return self.note(Some(by), "a link with itself means nothing", Some(Rule::OwnLink));
        }
        let Some(other) = self.world.procs.get(to) else { return };
        if other.alive && !self.told.contains(to) {
            let new = self.world.links.insert(pair(by, to));
            let (effect, rule) = match new {
                true => ("each will hear of the other's end", Rule::Link),
                false => ("they are linked already, and nothing changes", Rule::LinkTwice),
            };
            return self.signal(Kind::Link, by, to, "link", effect, rule);
        }
        let lost = self.world.down.contains(&other.node);
        let reason = if lost { "noconnection" } else { "noproc" };
        self.signal(
            Kind::Link,
            by,
            to,
            "link",
            "there is nobody to be linked with",
            Rule::LinkDead,
        );
        let rule = if lost { Rule::LinkLost } else { Rule::LinkDead };
        self.exit_arrives(to, by, reason, rule);
    }

    fn exit(&mut self, by: &str, to: &str, reason: &str) {
        let alive = self.is_there(to);
        let what = format!("exit {reason}");
        if !alive {
            let effect = "nobody is there to be ended";
            return self.signal(Kind::Exit, by, to, &what, effect, Rule::ExitDead);
        }
        match (reason, by == to) {
            ("kill", _) => {
                self.signal(Kind::Exit, by, to, &what, "it ends, and cannot help it", Rule::Kill);
                self.ends(to, Rule::Kill);
            }
            ("normal", true) if !self.world.procs[to].trap => {
                let rule = Rule::OwnNormal;
                self.signal(Kind::Exit, by, to, &what, "sent to itself, even that ends it", rule);
                self.ends(to, rule);
            }
            (_, _) => self.exit_arrives(by, to, reason, Rule::Exit2),
        }
    }

    /// An exit signal that can be trapped arrives.
    fn exit_arrives(&mut self, from: &str, to: &str, reason: &str, rule: Rule) {
        let what = format!("EXIT {reason}");
        let Some(known) = self.world.procs.get(to) else { return };
        if known.trap {
            let effect = format!("it traps exits: a message {{'EXIT', {from}, {reason}}}");
            self.signal(Kind::Exit, from, to, &what, &effect, rule);
            self.use_events(
                to,
                |event| matches!(event, Event::Exit { from: source, .. } if source == from),
            );
        } else if reason == "normal" {
            let rule = if rule == Rule::Exit2 { Rule::NormalIgnored } else { Rule::NormalEnd };
            self.signal(Kind::Exit, from, to, &what, "normal hurts nobody", rule);
        } else {
            self.signal(Kind::Exit, from, to, &what, "it does not trap exits, and ends", rule);
            self.ends(to, rule);
        }
    }

    /// All links between two nodes break, at both ends.
    fn cut(&mut self, a: Node, b: Node) {
        let node_of = |who: &String| self.world.procs.get(who).map(|known| known.node);
        let crosses = |(one, other): &&(String, String)| {
            let ends = (node_of(one), node_of(other));
            ends == (Some(a), Some(b)) || ends == (Some(b), Some(a))
        };
        let cut: Vec<(String, String)> = self.world.links.iter().filter(crosses).cloned().collect();
        for link in &cut {
            self.world.links.remove(link);
        }
        for (one, other) in cut {
            self.exit_arrives(&one, &other, "noconnection", Rule::Cut);
            self.exit_arrives(&other, &one, "noconnection", Rule::Cut);
        }
    }

    /// A process is found to have ended, if the run says so.
    fn ends(&mut self, who: &str, rule: Rule) {
        if self.reason(who).is_some() && self.told.insert(who.to_owned()) {
            self.ended.push_back((who.to_owned(), rule));
        }
    }

    /// Follows each end along its links, to whoever ends of it.
    fn cascade(&mut self) {
        loop {
            while let Some((who, rule)) = self.ended.pop_front() {
                self.end(&who, rule);
            }
            let untold = self.happened.ends.iter().find(|(who, _)| !self.told.contains(who));
            let Some((who, _)) = untold.cloned() else { return };
            self.ends(&who, Rule::Chain);
        }
    }

    fn end(&mut self, who: &str, rule: Rule) {
        let Some(reason) = self.reason(who) else { return };
        if let Some(known) = self.world.procs.get_mut(who) {
            known.alive = false;
        }
        self.world.names.retain(|_, holder| holder != who);
        self.lines.push(Line::End { who: who.to_owned(), reason: reason.clone(), rule });
        let of_who = |link: &&(String, String)| link.0 == who || link.1 == who;
        let links: Vec<(String, String)> =
            self.world.links.iter().filter(of_who).cloned().collect();
        for link in links {
            self.world.links.remove(&link);
            let partner = if link.0 == who { link.1 } else { link.0 };
            let lost_too = self.reason(&partner).is_some_and(|reason| reason == "node_killed");
            if lost_too || !self.world.procs.get(&partner).is_some_and(|known| known.alive) {
                continue;
            }
            let (reason, rule) = match reason.as_str() {
                "node_killed" => ("noconnection", Rule::LostNode),
                "kill" => ("kill", Rule::OwnKill),
                reason => (reason, Rule::Chain),
            };
            self.exit_arrives(who, &partner, reason, rule);
        }
    }

    /// Tells what has reached somebody and was no part of the above.
    fn rest(&mut self) {
        let events = self.happened.events.iter().enumerate();
        let untold: Vec<(String, Event)> = events
            .filter(|(at, _)| !self.used.contains(at))
            .map(|(_, told)| told.clone())
            .collect();
        for (who, event) in untold {
            match event {
                Event::Down { reference, object, reason, .. } => {
                    let rule = match (reason.as_str(), object.contains('@')) {
                        ("noconnection", _) => Rule::DownLost,
                        ("noproc", _) => Rule::WatchedNobody,
                        (_, true) => Rule::WatchedByName,
                        (_, false) => Rule::Down,
                    };
                    let effect = format!("a message {{'DOWN', {reference}, {object}, {reason}}}");
                    let what = format!("DOWN {reason}");
                    self.signal(Kind::Down, &object, &who, &what, &effect, rule);
                }
                Event::NodeDown { node, .. } => {
                    let text = format!("a message {{nodedown, {node}}}");
                    self.note(Some(&who), &text, Some(Rule::NodeWatched));
                }
                Event::Exit { from, reason, .. } => {
                    let effect = format!("a message {{'EXIT', {from}, {reason}}}");
                    let what = format!("EXIT {reason}");
                    self.signal(Kind::Exit, &from, &who, &what, &effect, Rule::Exit2);
                }
                Event::Msg { from, text, .. } => {
                    let what = format!("{text:?}");
                    let effect = "it is in the mailbox";
                    self.signal(Kind::Message, &from, &who, &what, effect, Rule::Order);
                }
            }
        }
    }

    fn reason(&self, who: &str) -> Option<String> {
        let end = self.happened.ends.iter().find(|(ended, _)| ended == who);
        end.map(|(_, reason)| reason.clone())
    }

    /// Marks the first untold event of this kind as told.
    fn use_events(&mut self, who: &str, is_it: impl Fn(&Event) -> bool) {
        let mut events = self.happened.events.iter().enumerate();
        let found = events.find(|(at, (reached, event))| {
            reached == who && !self.used.contains(at) && is_it(event)
        });
        if let Some((at, _)) = found {
            self.used.insert(at);
        }
    }

    /// Who is meant, if somebody is there.
    fn find(&self, target: &Target) -> Option<String> {
        let who = match target {
            Target::Process(who) => Some(who),
            Target::Name { name, node } => self.world.names.get(&(name.clone(), *node)),
        };
        who.filter(|who| self.is_there(who)).cloned()
    }

    /// Whether a signal that is sent now still finds it: one before it may have ended it.
    fn is_there(&self, who: &str) -> bool {
        let known = self.world.procs.get(who);
        known.is_some_and(|known| known.alive) && !self.told.contains(who)
    }

    fn object(&self, target: &Target) -> String {
        match target {
            Target::Process(who) => who.clone(),
            Target::Name { name, node } => format!("{name}@{node}"),
        }
    }

    fn signal(&mut self, kind: Kind, from: &str, to: &str, what: &str, effect: &str, rule: Rule) {
        self.lines.push(Line::Signal {
            kind,
            from: from.to_owned(),
            to: to.to_owned(),
            what: what.to_owned(),
            effect: effect.to_owned(),
            rule,
        });
    }

    fn note(&mut self, about: Option<&str>, text: &str, rule: Option<Rule>) {
        self.lines.push(Line::Note {
            about: about.map(str::to_owned),
            text: text.to_owned(),
            rule,
        });
    }
}

fn pair(a: &str, b: &str) -> (String, String) {
    let (one, other) = if a <= b { (a, b) } else { (b, a) };
    (one.to_owned(), other.to_owned())
}

fn of_death(death: &Death) -> Rule {
    match death {
        Death::Exit { reason } if reason == "kill" => Rule::OwnKill,
        Death::Exit { .. } | Death::Error { .. } | Death::Throw { .. } | Death::Return {} => {
            Rule::OwnEnd
        }
    }
}

/// What a step does, as the rest of a sentence that begins with who acts.
fn deed(step: &Step) -> String {
    let trapping = |spawn: &Spawn| if spawn.trap { ", which traps exits" } else { "" };
    match step {
        Step::Spawn(spawn) => {
            format!("the driver starts {} on {}{}", spawn.name, spawn.node, trapping(spawn))
        }
        Step::KillNode { node } => format!("the operating system kills {node}"),
        Step::Disconnect { a, b } => format!("the connection between {a} and {b} is cut"),
        Step::By { op: Op::Spawn(spawn, how), .. } => {
            let how = match how {
                How::Plain => String::new(),
                How::Link => ", linked with it from birth".to_owned(),
                How::Monitor(reference) => format!(", watched from birth as {reference}"),
            };
            format!("starts {} on {}{how}{}", spawn.name, spawn.node, trapping(spawn))
        }
        Step::By { op: Op::Act(action), .. } => of_action(action),
        Step::By { op: Op::Batch(actions), .. } => {
            let deeds: Vec<String> = actions.iter().map(of_action).collect();
            format!("in one go {}", deeds.join(", "))
        }
    }
}

fn of_action(action: &Action) -> String {
    let whom = |target: &Target| match target {
        Target::Process(who) => who.clone(),
        Target::Name { name, node } => format!("whoever is called {name} on {node}"),
    };
    match action {
        Action::Link { to } => format!("links itself with {to}"),
        Action::Unlink { to } => format!("unlinks itself from {to}"),
        Action::Monitor { to, reference } => format!("watches {} as {reference}", whom(to)),
        Action::Demonitor { reference } => format!("takes the monitor {reference} back"),
        Action::Exit { to, reason } => format!("sends {to} the exit signal {reason}"),
        Action::Die(Death::Exit { reason }) => format!("ends itself with exit({reason})"),
        Action::Die(Death::Error { reason }) => format!("crashes with the error {reason}"),
        Action::Die(Death::Throw { reason }) => format!("throws {reason}, and nobody catches it"),
        Action::Die(Death::Return {}) => "returns from its function".to_owned(),
        Action::Send { to, msg } => format!("sends {} the message {msg:?}", whom(to)),
        Action::Trap { on: true } => "traps exits from now on".to_owned(),
        Action::Trap { on: false } => "traps exits no longer".to_owned(),
        Action::Register { name, proc } => format!("registers {proc} as {name}"),
        Action::Unregister { name } => format!("unregisters {name}"),
        Action::Whereis { name } => format!("asks who is called {name}"),
        Action::MonitorNode { node, on: true } => format!("asks to hear if {node} is lost"),
        Action::MonitorNode { node, on: false } => {
            format!("takes one such request for {node} back")
        }
    }
}
