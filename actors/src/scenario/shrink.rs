//! The smallest scenario that still shows a difference, from a big one that shows it.
//!
//! Each way of making it smaller is tried again and again until none of them leaves a difference. What is
//! tried depends on the scenario alone, so the same one always shrinks to the same; and as each success
//! makes it smaller, it comes to an end.

use std::collections::HashSet;

use serde::Serialize;

use super::format::{
    Action, Death, How, Node, Op, Restart, Scenario, Shutdown, Spawn, Step, Strategy, Target,
    Trace, TraceOp, pruned,
};
use super::generate::has_one_outcome;

/// The smallest form of a scenario for which `still_differs` holds; it is not asked about the scenario
/// itself.
///
/// Where the scenario's batches have one outcome only, those of the smaller ones have, too: what differs
/// by luck is not what was looked for.
pub fn scenario(scenario: &Scenario, mut still_differs: impl FnMut(&Scenario) -> bool) -> Scenario {
    let has_one = has_one_outcome(scenario);
    let ways: &[fn(&Scenario) -> Vec<Scenario>] =
        &[fewer_steps, shorter_batches, fewer_nodes, simpler_steps];
    smallest(scenario, ways, pruned, size, |candidate| {
        (!has_one || has_one_outcome(candidate)) && still_differs(candidate)
    })
}

/// The smallest form of a trace for which `still_differs` holds; it is not asked about the trace itself.
pub fn trace(trace: &Trace, still_differs: impl FnMut(&Trace) -> bool) -> Trace {
    let ways: &[fn(&Trace) -> Vec<Trace>] = &[fewer_ops, fewer_children, simpler_trace];
    smallest(trace, ways, Trace::clone, trace_size, still_differs)
}

/// Tries all ways on what is the smallest so far until none of them leads on.
fn smallest<T: Clone + Serialize>(
    from: &T,
    ways: &[fn(&T) -> Vec<T>],
    pruned: fn(&T) -> T,
    size: fn(&T) -> Size,
    mut still_differs: impl FnMut(&T) -> bool,
) -> T {
    let mut smallest = from.clone();
    let mut asked = HashSet::new();
    loop {
        let before = size(&smallest);
        for way in ways {
            let mut at = 0;
            // After a success the rest of the list is that of the smaller one.
            while let Some(candidate) = way(&smallest).get(at) {
                let candidate = pruned(candidate);
                let text = serde_json::to_string(&candidate).expect("scenarios can be written");
                let is_worth_it = size(&candidate) < size(&smallest) && asked.insert(text);
                if is_worth_it && still_differs(&candidate) {
                    smallest = candidate;
                } else {
                    at += 1;
                }
            }
        }
        if size(&smallest) == before {
            return smallest;
        }
    }
}

/// How big something is: how much happens, where, and how strange it is.
type Size = (usize, usize, usize);

fn size(scenario: &Scenario) -> Size {
    let happens = |step: &Step| match step {
        Step::By { op: Op::Batch(actions), .. } => actions.len(),
        Step::By { op: Op::Act(_) | Op::Spawn(..), .. }
        | Step::Spawn(_)
        | Step::KillNode { .. }
        | Step::Disconnect { .. } => 1,
    };
    (
        scenario.steps.iter().map(happens).sum(),
        scenario.nodes,
        scenario.steps.iter().map(strangeness).sum(),
    )
}

/// More for what a reader has to think about.
fn strangeness(step: &Step) -> usize {
    let of_spawn = |spawn: &Spawn| {
        let of_death = spawn.dies.as_ref().map_or(0, |death| 4 + of_death(death));
        usize::from(spawn.trap) + spawn.node.0 + of_death
    };
    let of_action = |action: &Action| match action {
        Action::Exit { reason, .. } => of_reason(reason),
        Action::Die(death) => of_death(death),
        Action::Send { msg, to } => usize::from(msg != MESSAGE) + of_target(to),
        Action::Monitor { to, .. } => of_target(to),
        Action::Link { .. }
        | Action::Unlink { .. }
        | Action::Demonitor { .. }
        | Action::Trap { .. }
        | Action::Register { .. }
        | Action::Unregister { .. }
        | Action::Whereis { .. } => 0,
        Action::MonitorNode { node, .. } => node.0,
    };
    match step {
        Step::Spawn(spawn) => of_spawn(spawn),
        Step::KillNode { node } => node.0,
        Step::Disconnect { a, b } => a.0 + b.0,
        Step::By { op: Op::Spawn(spawn, how), .. } => {
            let tie = match how {
                How::Plain => 0,
                How::Link => 1,
                How::Monitor(_) => 2,
            };
            2 + tie + of_spawn(spawn)
        }
        Step::By { op: Op::Act(action), .. } => of_action(action),
        Step::By { op: Op::Batch(actions), .. } => 2 + actions.iter().map(of_action).sum::<usize>(),
    }
}

fn of_death(death: &Death) -> usize {
    match death {
        Death::Exit { reason } => of_reason(reason),
        Death::Error { reason } | Death::Throw { reason } => 4 + of_reason(reason),
        Death::Return {} => 4,
    }
}

fn of_reason(reason: &str) -> usize {
    match reason {
        REASON => 0,
        "normal" | "kill" => 1,
        _ => 2,
    }
}

fn of_target(target: &Target) -> usize {
    match target {
        Target::Process(_) => 0,
        Target::Name { node, .. } => 1 + node.0,
    }
}

/// Without some steps: first without a half, a quarter and so on, from the end, then without single ones.
/// What is about a process that is gone goes with it.
fn fewer_steps(scenario: &Scenario) -> Vec<Scenario> {
    without_some(&scenario.steps).map(|steps| Scenario { steps, ..scenario.clone() }).collect()
}

/// Without single actions of batches; a batch of one is that one.
fn shorter_batches(scenario: &Scenario) -> Vec<Scenario> {
    let mut shorter = Vec::new();
    for (at, step) in scenario.steps.iter().enumerate() {
        let Step::By { by, op: Op::Batch(actions) } = step else { continue };
        if let [action] = &actions[..] {
            let op = Op::Act(action.clone());
            shorter.push(with_step(scenario, at, Step::By { by: by.clone(), op }));
            continue;
        }
        for actions in without_some(actions) {
            let op = Op::Batch(actions);
            shorter.push(with_step(scenario, at, Step::By { by: by.clone(), op }));
        }
    }
    shorter
}

/// With what is on one node on another one, which makes it a node that nobody needs.
fn fewer_nodes(scenario: &Scenario) -> Vec<Scenario> {
    let mut fewer = Vec::new();
    for gone in (1..scenario.nodes).rev() {
        for instead in 0..gone {
            let moved = |node: &mut Node| {
                node.0 = match node.0 {
                    number if number == gone => instead,
                    number if number > gone => number - 1,
                    number => number,
                };
            };
            let mut candidate = Scenario { nodes: scenario.nodes - 1, ..scenario.clone() };
            candidate.steps.iter_mut().for_each(|step| each_node(step, moved));
            fewer.push(candidate);
        }
    }
    fewer
}

/// With one thing in one step made simpler.
fn simpler_steps(scenario: &Scenario) -> Vec<Scenario> {
    let mut simpler = Vec::new();
    for (at, step) in scenario.steps.iter().enumerate() {
        let mut push = |step: Step| simpler.push(with_step(scenario, at, step));
        match step {
            Step::Spawn(spawn) => {
                simpler_spawns(spawn).for_each(|spawn| push(Step::Spawn(spawn)));
            }
            Step::By { by, op: Op::Spawn(spawn, how) } => {
                push(Step::Spawn(spawn.clone()));
                let by_it = |spawn, how| Step::By { by: by.clone(), op: Op::Spawn(spawn, how) };
                push(by_it(spawn.clone(), How::Plain));
                push(by_it(spawn.clone(), How::Link));
                simpler_spawns(spawn).for_each(|spawn| push(by_it(spawn, how.clone())));
            }
            Step::By { by, op: Op::Act(action) } => {
                for action in simpler_actions(action) {
                    push(Step::By { by: by.clone(), op: Op::Act(action) });
                }
            }
            Step::By { by, op: Op::Batch(actions) } => {
                for (inner, action) in actions.iter().enumerate() {
                    for action in simpler_actions(action) {
                        let mut actions = actions.clone();
                        actions[inner] = action;
                        push(Step::By { by: by.clone(), op: Op::Batch(actions) });
                    }
                }
            }
            Step::KillNode { .. } | Step::Disconnect { .. } => {}
        }
    }
    simpler
}

fn simpler_spawns(spawn: &Spawn) -> impl Iterator<Item = Spawn> {
    let plain = Spawn { dies: None, ..spawn.clone() };
    let untrapping = Spawn { trap: false, ..spawn.clone() };
    let deaths = spawn.dies.iter().flat_map(simpler_deaths);
    let dying = deaths.map(|death| Spawn { dies: Some(death), ..spawn.clone() });
    let nearer = (0..spawn.node.0).map(|node| Spawn { node: Node(node), ..spawn.clone() });
    [plain, untrapping].into_iter().chain(dying).chain(nearer)
}

fn simpler_actions(action: &Action) -> Vec<Action> {
    match action {
        Action::Exit { to, .. } => {
            let exit = |reason: &str| Action::Exit { to: to.clone(), reason: reason.to_owned() };
            vec![exit(REASON), exit("kill"), exit("normal")]
        }
        Action::Die(death) => simpler_deaths(death).into_iter().map(Action::Die).collect(),
        Action::Send { to, .. } => vec![Action::Send { to: to.clone(), msg: MESSAGE.to_owned() }],
        Action::Link { .. }
        | Action::Unlink { .. }
        | Action::Monitor { .. }
        | Action::Demonitor { .. }
        | Action::Trap { .. }
        | Action::Register { .. }
        | Action::Unregister { .. }
        | Action::Whereis { .. }
        | Action::MonitorNode { .. } => Vec::new(),
    }
}

fn simpler_deaths(death: &Death) -> Vec<Death> {
    let boom = Death::Exit { reason: REASON.to_owned() };
    match death {
        Death::Exit { .. } | Death::Return {} => vec![boom],
        Death::Error { reason } => {
            let (exit, error) = (reason.clone(), REASON.to_owned());
            vec![boom, Death::Exit { reason: exit }, Death::Error { reason: error }]
        }
        Death::Throw { reason } => {
            let (exit, thrown) = (reason.clone(), REASON.to_owned());
            vec![boom, Death::Exit { reason: exit }, Death::Throw { reason: thrown }]
        }
    }
}

fn each_node(step: &mut Step, change: impl Fn(&mut Node)) {
    match step {
        Step::Spawn(spawn) | Step::By { op: Op::Spawn(spawn, _), .. } => change(&mut spawn.node),
        Step::KillNode { node } => change(node),
        Step::Disconnect { a, b } => {
            change(a);
            change(b);
        }
        Step::By { op: Op::Act(action), .. } => action_node(action, change),
        Step::By { op: Op::Batch(actions), .. } => {
            actions.iter_mut().for_each(|action| action_node(action, &change));
        }
    }
}

fn action_node(action: &mut Action, change: impl Fn(&mut Node)) {
    match action {
        Action::MonitorNode { node, .. }
        | Action::Monitor { to: Target::Name { node, .. }, .. }
        | Action::Send { to: Target::Name { node, .. }, .. } => change(node),
        Action::Monitor { to: Target::Process(_), .. }
        | Action::Send { to: Target::Process(_), .. }
        | Action::Link { .. }
        | Action::Unlink { .. }
        | Action::Demonitor { .. }
        | Action::Exit { .. }
        | Action::Die(_)
        | Action::Trap { .. }
        | Action::Register { .. }
        | Action::Unregister { .. }
        | Action::Whereis { .. } => {}
    }
}

fn with_step(scenario: &Scenario, at: usize, step: Step) -> Scenario {
    let mut changed = scenario.clone();
    changed.steps[at] = step;
    changed
}

fn trace_size(trace: &Trace) -> Size {
    let of_op = |op: &TraceOp| match op {
        TraceOp::Die { reason, .. } | TraceOp::Stop(reason) => of_reason(reason),
        TraceOp::Fail { starts, .. } => *starts as usize,
        TraceOp::Start(child) => child.fail as usize,
        TraceOp::Terminate(_) | TraceOp::Restart(_) | TraceOp::Delete(_) => 0,
    };
    let of_child = |child: &super::format::Child| {
        usize::from(child.restart != Restart::Permanent)
            + usize::from(child.shutdown != Shutdown::Millis(2000))
            + child.fail as usize
    };
    (
        trace.ops.len() + trace.children.len(),
        trace.intensity as usize,
        trace.ops.iter().map(of_op).sum::<usize>()
            + trace.children.iter().map(of_child).sum::<usize>()
            + usize::from(trace.strategy != Strategy::OneForOne),
    )
}

fn fewer_ops(trace: &Trace) -> Vec<Trace> {
    without_some(&trace.ops).map(|ops| Trace { ops, ..trace.clone() }).collect()
}

/// Without a child and all that is about it.
fn fewer_children(trace: &Trace) -> Vec<Trace> {
    let without = |at: usize| {
        let mut fewer = trace.clone();
        let gone = fewer.children.remove(at);
        fewer.ops.retain(|op| op.about() != Some(&gone.id));
        fewer
    };
    (0..trace.children.len()).rev().map(without).collect()
}

fn simpler_trace(trace: &Trace) -> Vec<Trace> {
    let mut simpler = vec![Trace { strategy: Strategy::OneForOne, ..trace.clone() }];
    simpler.extend((0..trace.intensity).map(|intensity| Trace { intensity, ..trace.clone() }));
    for at in 0..trace.children.len() {
        let with = |change: fn(&mut super::format::Child)| {
            let mut changed = trace.clone();
            change(&mut changed.children[at]);
            changed
        };
        simpler.push(with(|child| child.fail = 0));
        simpler.push(with(|child| child.restart = Restart::Permanent));
        simpler.push(with(|child| child.shutdown = Shutdown::Millis(2000)));
    }
    for (at, op) in trace.ops.iter().enumerate() {
        let mut push = |op: TraceOp| {
            let mut changed = trace.clone();
            changed.ops[at] = op;
            simpler.push(changed);
        };
        match op {
            TraceOp::Die { id, .. } => {
                push(TraceOp::Die { id: id.clone(), reason: REASON.to_owned() });
            }
            TraceOp::Stop(_) => push(TraceOp::Stop(REASON.to_owned())),
            TraceOp::Fail { id, starts } => {
                for starts in 1..*starts {
                    push(TraceOp::Fail { id: id.clone(), starts });
                }
            }
            TraceOp::Start(_)
            | TraceOp::Terminate(_)
            | TraceOp::Restart(_)
            | TraceOp::Delete(_) => {}
        }
    }
    simpler
}

/// The list without a half of it, a quarter and so on down to single elements, from the end.
fn without_some<T: Clone>(all: &[T]) -> impl Iterator<Item = Vec<T>> {
    let mut chunk = all.len();
    let chunks = std::iter::from_fn(move || {
        chunk /= 2;
        (chunk > 0).then_some(chunk)
    });
    // A list of one has no half.
    let chunks = chunks.chain((all.len() == 1).then_some(1));
    chunks.flat_map(move |chunk| {
        (0..all.len().div_ceil(chunk)).rev().map(move |part| {
            let (from, to) = (part * chunk, ((part + 1) * chunk).min(all.len()));
            [&all[..from], &all[to..]].concat()
        })
    })
}

/// The plainest reason and message.
const REASON: &str = "boom";
const MESSAGE: &str = "hi";

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::*;

    fn text(scenario: &Scenario) -> String {
        serde_json::to_string(&scenario.steps).unwrap()
    }

    #[test]
    fn what_does_not_matter_goes() {
        let is_exit = |step: &Step| {
            step.actions()
                .iter()
                .any(|action| matches!(action, Action::Exit { reason, .. } if reason == "kill"))
        };
        let (mut found, mut asked) = (0, 0);
        for index in 0..200 {
            let big = generate::scenario(3, index);
            let differs = |scenario: &Scenario| scenario.steps.iter().any(is_exit);
            if !differs(&big) {
                continue;
            }
            let count = |scenario: &Scenario| {
                asked += 1;
                differs(scenario)
            };
            let small = scenario(&big, count);
            found += 1;
            assert!(differs(&small));
            // Who kills and who is killed.
            assert!(small.steps.len() <= 3, "{}", text(&small));
            assert_eq!(small.nodes, 1, "{}", text(&small));
            assert_eq!(small, scenario(&big, differs), "it is the same each time");
            assert!(has_one_outcome(&small));
        }
        assert!(found > 20, "{found}");
        // Each of them is two runs, so they should be few.
        assert!(asked / found < 100, "{asked} for {found}");
    }

    #[test]
    fn what_matters_stays() {
        // Two steps that need each other, far apart, and a process on another node.
        let differs = |scenario: &Scenario| {
            let spawned = scenario.spawns().any(|spawn| spawn.trap && spawn.node != Node(0));
            let killed = scenario.steps.iter().any(|step| matches!(step, Step::KillNode { .. }));
            spawned && killed
        };
        let big = (0..).map(|index| generate::scenario(5, index)).find(|big| differs(big));
        let small = scenario(&big.unwrap(), differs);
        // A node that is lost before the spawn cannot be the one that it is on.
        assert_eq!(small.steps.len(), 2, "{}", text(&small));
        assert!(small.nodes <= 3, "{}", text(&small));
    }

    #[test]
    fn nothing_is_changed_when_everything_matters() {
        let big = generate::scenario(5, 1);
        assert_eq!(scenario(&big, |_| false), big);
        let big = generate::trace(5, 1);
        assert_eq!(trace(&big, |_| false), big);
    }

    #[test]
    fn a_trace_shrinks_to_what_matters() {
        for index in 0..100 {
            let big = generate::trace(3, index);
            let differs = |trace: &Trace| {
                trace.ops.iter().any(|op| matches!(op, TraceOp::Fail { .. }))
                    && !trace.children.is_empty()
            };
            if !differs(&big) {
                continue;
            }
            let small = trace(&big, differs);
            // The child that it is about may have been added later.
            assert!(small.ops.len() <= 2 && small.children.len() == 1, "{small:?}");
            assert_eq!((small.strategy, small.intensity), (Strategy::OneForOne, 0));
        }
    }
}
