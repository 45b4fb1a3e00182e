//! OTP's supervisors, replayed: recorded traces, the rules one by one, and thousands of orders.

mod orders;
mod traces;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde_json::{Value, json};

use super::*;
use crate::term::{ChildInfo, ChildState, Incarnation, Kind, SpecError};

/// A supervisor, its mailbox, and the processes that it has started. A child is a pid and a name.
struct World {
    sup: Supervision<u32>,
    mail: VecDeque<Letter<u32>>,
    live: BTreeMap<Pid, String>,
    gone: HashMap<Pid, ExitReason>,
    /// The next starts of these children fail, or the children do not want to be started.
    fails: HashMap<String, u32>,
    ignores: HashSet<String>,
    /// A start or stop that is not over.
    doing: Option<Effect<u32>>,
    /// The place of who was stopped last since the supervisor rested.
    stopped_at: Option<usize>,
    log: Vec<Value>,
    calls: u32,
    answers: BTreeMap<u32, Answer>,
    up: bool,
    ended: Option<ExitReason>,
    pids: u64,
    now: Duration,
}

impl World {
    fn new(plan: Supervisor) -> World {
        plan.check().expect("a plan that can be carried out");
        World {
            sup: Supervision::new(plan, Some(pid(0))),
            mail: VecDeque::new(),
            live: BTreeMap::new(),
            gone: HashMap::new(),
            fails: HashMap::new(),
            ignores: HashSet::new(),
            doing: None,
            stopped_at: None,
            log: Vec::new(),
            calls: 0,
            answers: BTreeMap::new(),
            up: false,
            ended: None,
            pids: 0,
            now: Duration::from_secs(100),
        }
    }

    /// One that has started its children.
    fn started(plan: Supervisor) -> World {
        let mut world = World::new(plan);
        world.begin();
        world.settle();
        assert!(world.up);
        world.log.clear();
        world
    }

    fn begin(&mut self) {
        self.act(Supervision::begin);
    }

    /// Lets everything come to rest.
    fn settle(&mut self) {
        while self.step() {}
    }

    /// Ends what is being done, or takes in the next letter; false when there is neither.
    fn step(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        match self.doing.take() {
            Some(Effect::Start { spec, extra: _ }) => {
                let started = self.start(spec.start.kind.function());
                self.act(|sup, out| sup.started(started, out));
            }
            Some(Effect::Stop { pids, shutdown }) => {
                let ends = pids.into_iter().map(|pid| (pid, self.stop(pid, shutdown))).collect();
                self.act(|sup, out| sup.stopped(ends, out));
            }
            Some(other) => panic!("{other:?} takes no time"),
            None => match self.mail.pop_front() {
                Some(letter) => {
                    let now = self.now;
                    self.act(|sup, out| sup.hear(letter, now, out));
                }
                None => return false,
            },
        }
        true
    }

    fn act(&mut self, act: impl FnOnce(&mut Supervision<u32>, &mut Vec<Effect<u32>>)) {
        let mut out = Vec::new();
        act(&mut self.sup, &mut out);
        for effect in out {
            assert_eq!(self.ended, None, "nothing comes after the end");
            match effect {
                Effect::Start { .. } | Effect::Stop { .. } => {
                    assert_eq!(self.doing, None, "SV-1");
                    self.doing = Some(effect);
                }
                Effect::Answer { caller, answer } => {
                    assert_eq!(self.answers.insert(caller, answer), None, "SV-5");
                }
                Effect::TryAgain(whom) => self.mail.push_back(Letter::TryAgain(whom)),
                Effect::Up => self.up = true,
                Effect::End(reason) => self.ended = Some(reason),
                Effect::Report(_) => {}
            }
        }
        if self.sup.rests() {
            assert_eq!(self.doing, None, "SV-1");
            self.stopped_at = None;
        }
    }

    fn start(&mut self, id: &str) -> Started {
        if let Some(left) = self.fails.get_mut(id).filter(|left| **left > 0) {
            *left -= 1;
            self.log.push(json!(["fail", id]));
            return Err(boom());
        }
        if self.ignores.contains(id) {
            return Ok(None);
        }
        self.log.push(json!(["start", id]));
        self.pids += 1;
        let new = pid(self.pids);
        if let Family::Siblings(_) = self.sup.family {
            assert!(!self.live.values().any(|other| other == id), "SV-6: two live children {id}");
        }
        self.live.insert(new, id.to_owned());
        Ok(Some(new))
    }

    fn stop(&mut self, pid: Pid, shutdown: Shutdown) -> ExitReason {
        if let Family::Siblings(siblings) = &self.sup.family {
            let at = siblings.at(&Whom::Pid(pid)).expect("a child");
            assert!(self.stopped_at.is_none_or(|before| at < before), "SV-3");
            self.stopped_at = Some(at);
        }
        let reason = match shutdown {
            Shutdown::BrutalKill => ExitReason::Killed,
            Shutdown::After(_) | Shutdown::Infinity => ExitReason::Shutdown,
        };
        let Some(id) = self.live.get(&pid) else { return self.gone[&pid].clone() };
        if reason == ExitReason::Shutdown {
            self.log.push(json!(["stop", id, "shutdown"]));
        }
        self.die(pid, reason.clone());
        reason
    }

    /// A child ends; the exit signal is in the mailbox, also if the supervisor has just stopped it.
    fn die(&mut self, pid: Pid, reason: ExitReason) {
        self.live.remove(&pid).expect("it lives");
        self.gone.insert(pid, reason.clone());
        self.mail.push_back(Letter::Exit { from: pid, reason });
    }

    fn ask(&mut self, call: Call) -> u32 {
        self.calls += 1;
        self.mail.push_back(Letter::Call { caller: self.calls, call });
        self.calls
    }

    /// Asks, lets everything come to rest, and gives the answer.
    fn answer(&mut self, call: Call) -> Answer {
        let question = self.ask(call);
        self.settle();
        self.answers.remove(&question).expect("SV-5: an answer")
    }

    fn pid_of(&self, id: &str) -> Pid {
        *self.live.iter().find(|(_, of)| *of == id).expect("it lives").0
    }

    fn kill(&mut self, id: &str) {
        self.die(self.pid_of(id), boom());
    }

    /// The ids of those that live, in the order of their starts.
    fn names(&self) -> Vec<&str> {
        self.live.values().map(String::as_str).collect()
    }

    fn log(&mut self) -> String {
        let log: Vec<String> = std::mem::take(&mut self.log)
            .iter()
            .map(|entry| format!("{} {}", entry[0].as_str().unwrap(), entry[1].as_str().unwrap()))
            .collect();
        log.join(", ")
    }
}

fn pid(number: u64) -> Pid {
    Pid::new("n@a".parse().unwrap(), Incarnation(1), number)
}

fn find(id: &str, gone: Option<Pid>) -> Call {
    Call::Find { id: id.to_owned(), gone }
}

fn boom() -> ExitReason {
    ExitReason::exit("boom")
}

fn spec(id: &str) -> ChildSpec {
    ChildSpec::new(Kind::new("test", id.to_owned()), Ok(vec![0x90]))
}

/// Permanent children of these names.
fn plan(strategy: Strategy, ids: &[&str]) -> Supervisor {
    ids.iter().fold(Supervisor::new(strategy), |plan, id| plan.child(*id, spec(id)))
}

/// A plan whose restarts never are too many.
fn patient(strategy: Strategy, ids: &[&str]) -> Supervisor {
    plan(strategy, ids).intensity(1_000_000, PERIOD)
}

const PERIOD: Duration = Duration::from_secs(1000);

/// V3.
#[test]
fn a_start_that_fails_ends_those_before_it_in_reverse_order() {
    let mut world = World::new(plan(Strategy::OneForOne, &["a", "b", "c", "d"]));
    world.fails.insert("c".into(), 1);
    world.begin();
    world.settle();
    assert_eq!(world.log(), "start a, start b, fail c, stop b, stop a");
    let failed: Vec<rmpv::Value> = vec!["failed_to_start_child".into(), "c".into(), "boom".into()];
    assert_eq!(world.ended, Some(ExitReason::ShutdownWith(failed.into())));
    assert!(!world.up && world.live.is_empty());
}

/// V5: a child that does not want to be started keeps its entry, unless it is temporary.
#[test]
fn a_child_may_not_want_to_be_started() {
    let plan = plan(Strategy::OneForOne, &["a"]).child("t", spec("t").temporary());
    let mut world = World::new(plan);
    world.ignores.extend(["a".to_owned(), "t".to_owned()]);
    world.begin();
    world.settle();
    let Answer::Which(children) = world.answer(Call::Which) else { panic!() };
    let (id, kind) = (Some("a".to_owned()), crate::term::ChildKind::Worker);
    assert_eq!(children, [ChildInfo { id, state: ChildState::NotRunning, kind }]);
    let answer = world.answer(Call::Start { id: "u".into(), spec: spec("t").temporary() });
    assert_eq!(answer, Answer::Started(Ok(None)));
    assert_eq!(world.answer(Call::Delete("u".into())), Answer::Done(Err(ChildError::NotFound)));
    world.ignores.clear();
    let answer = world.answer(Call::Restart("a".into()));
    assert_eq!(answer, Answer::Started(Ok(Some(world.pid_of("a")))));
}

/// V37, SV-2: the exits of those that were stopped on the way are not looked at again. V38.
#[test]
fn children_that_die_together_are_one_round_in_one_for_all_and_several_in_one_for_one() {
    let plan = |strategy| plan(strategy, &["a", "b", "c"]).intensity(1, PERIOD);
    let mut world = World::started(plan(Strategy::OneForAll));
    for id in ["a", "c", "b"] {
        world.kill(id);
    }
    world.settle();
    assert_eq!((world.log().as_str(), &world.ended), ("start a, start b, start c", &None));

    let mut world = World::started(plan(Strategy::OneForOne));
    for id in ["a", "c"] {
        world.kill(id);
    }
    world.settle();
    assert_eq!(world.log(), "start a, stop b, stop a");
    assert_eq!(world.ended, Some(ExitReason::Shutdown));
}

/// V11: temporary siblings are ended in a round, and forgotten.
#[test]
fn a_round_forgets_temporary_siblings() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let plan =
            patient(strategy, &["a"]).child("t", spec("t").temporary()).child("b", spec("b"));
        let mut world = World::started(plan);
        world.kill("a");
        world.settle();
        assert_eq!(world.log(), "stop b, stop t, start a, start b");
        assert_eq!(world.answer(Call::Delete("t".into())), Answer::Done(Err(ChildError::NotFound)));
    }
}

/// V17, and that the mailbox is looked at between two tries.
#[test]
fn a_call_comes_in_between_two_tries_of_a_restart() {
    let mut world = World::started(patient(Strategy::OneForOne, &["a", "b"]));
    world.fails.insert("b".into(), u32::MAX);
    world.kill("b");
    for _ in 0..20 {
        world.step();
    }
    let found = world.ask(find("b", None));
    let restart = world.ask(Call::Restart("b".into()));
    let delete = world.ask(Call::Delete("b".into()));
    let terminate = world.ask(Call::Terminate("b".into()));
    world.settle();
    assert_eq!(world.answers[&restart], Answer::Started(Err(ChildError::Restarting)));
    assert_eq!(world.answers[&delete], Answer::Done(Err(ChildError::Restarting)));
    assert_eq!(world.answers[&terminate], Answer::Done(Ok(())));
    assert_eq!(world.answers[&found], Answer::Found(Ok(None)), "it waited for that");
    assert_eq!(world.names(), ["a"]);

    world.fails.insert("a".into(), u32::MAX);
    world.kill("a");
    for _ in 0..20 {
        world.step();
    }
    world.mail.push_back(Letter::Exit { from: pid(0), reason: ExitReason::Normal });
    world.settle();
    assert_eq!(world.ended, Some(ExitReason::Normal), "V24");
}

/// V17, V18: who asks for a child that is being restarted learns its new pid.
#[test]
fn who_asks_for_a_child_that_is_being_restarted_waits() {
    let mut world = World::started(patient(Strategy::OneForOne, &["a"]));
    world.fails.insert("a".into(), 5);
    let old = world.pid_of("a");
    world.kill("a");
    while !world.sup.family.is_restarting(&Whom::Id("a".into())) {
        world.step();
    }
    let answer = world.answer(find("a", None));
    let new = world.pid_of("a");
    assert_ne!(old, new);
    assert_eq!(answer, Answer::Found(Ok(Some(new))));

    let question = world.ask(find("a", Some(new)));
    world.settle();
    assert_eq!(world.answers.get(&question), None, "that is the one that is gone");
    world.kill("a");
    world.settle();
    assert_eq!(world.answers[&question], Answer::Found(Ok(Some(world.pid_of("a")))));
}

/// A round whose start fails leaves those before it up until the next try, which ends them.
#[test]
fn the_next_try_of_a_round_is_a_round() {
    let mut world = World::started(patient(Strategy::OneForAll, &["a", "b", "c"]));
    world.fails.insert("b".into(), 2);
    world.kill("c");
    world.settle();
    let tries = "stop b, stop a, start a, fail b, stop a, start a, fail b, stop a";
    assert_eq!(world.log(), format!("{tries}, start a, start b, start c"));

    let mut world = World::started(patient(Strategy::RestForOne, &["a", "b", "c"]));
    world.fails.insert("c".into(), 2);
    world.kill("b");
    world.settle();
    assert_eq!(world.log(), "stop c, start b, fail c, fail c, start c");
}

/// V28, V29.
#[test]
fn simple_one_for_one_children_are_pids_and_end_together() {
    let plan = Supervisor::simple_one_for_one(spec("x").transient()).intensity(9, PERIOD);
    let mut world = World::started(plan);
    let args = |n| Args(vec![0x91, n]);
    for n in 0..3 {
        world.answer(Call::StartAlike { extra: args(n) });
    }
    for dies in [pid(1), pid(4)] {
        world.die(dies, boom());
        world.step();
        assert!(
            matches!(&world.doing, Some(Effect::Start { extra: Some(extra), .. }) if *extra == args(0)),
            "the same arguments, each time"
        );
        world.settle();
    }
    world.die(pid(2), ExitReason::Normal);
    world.settle();
    assert_eq!(world.live.len(), 2);
    let not_simple = Answer::Done(Err(ChildError::SimpleOneForOne));
    assert_eq!(world.answer(Call::Terminate("x".into())), not_simple);
    assert_eq!(world.answer(Call::Delete("x".into())), not_simple);
    let not_simple = Answer::Started(Err(ChildError::SimpleOneForOne));
    assert_eq!(world.answer(Call::Restart("x".into())), not_simple);
    let terminate = |pid, alive| Call::TerminateAlike { pid, alive };
    assert_eq!(world.answer(terminate(pid(3), true)), Answer::Done(Ok(())));
    assert_eq!(world.answer(terminate(pid(3), false)), Answer::Done(Ok(())));
    assert_eq!(world.answer(terminate(pid(99), true)), Answer::Done(Err(ChildError::NotFound)));
    world.answer(Call::StartAlike { extra: args(7) });
    world.mail.push_back(Letter::Stop(ExitReason::Shutdown));
    world.step();
    let both = vec![pid(5), pid(6)];
    let shutdown = Shutdown::After(Duration::from_secs(5));
    assert_eq!(world.doing, Some(Effect::Stop { pids: both, shutdown }));
    world.settle();
    assert_eq!((world.live.len(), &world.ended), (0, &Some(ExitReason::Shutdown)));
}

/// V34, as OTP 25 does it for children with ids and for those without.
#[test]
fn significant_children_end_their_supervisor() {
    use AutoShutdown::{AllSignificant, AnySignificant};
    let plan = |auto| {
        let plan = patient(Strategy::OneForOne, &["p"]).auto_shutdown(auto);
        let plan = plan.child("s", spec("s").transient().significant());
        plan.child("t", spec("t").temporary().significant())
    };
    let mut world = World::started(plan(AnySignificant));
    world.kill("s"); // is restarted
    world.kill("p");
    world.settle();
    assert_eq!(world.ended, None);
    assert_eq!(world.answer(Call::Terminate("s".into())), Answer::Done(Ok(())));
    assert_eq!(world.ended, None, "it did not end by itself");
    world.kill("t");
    world.settle();
    assert_eq!(world.ended, Some(ExitReason::Shutdown));

    let mut world = World::started(plan(AllSignificant));
    world.kill("t");
    world.settle();
    assert_eq!(world.ended, None);
    world.die(world.pid_of("s"), ExitReason::Normal);
    world.settle();
    assert_eq!(world.ended, Some(ExitReason::Shutdown));

    for (auto, lasts) in [(AnySignificant, 1), (AllSignificant, 2)] {
        let alike = spec("x").transient().significant();
        let mut world = World::started(Supervisor::simple_one_for_one(alike).auto_shutdown(auto));
        for _ in 0..2 {
            world.answer(Call::StartAlike { extra: Args(vec![0x90]) });
        }
        for ends in 1..=lasts {
            assert_eq!(world.ended, None);
            world.die(pid(ends), ExitReason::Normal);
            world.settle();
        }
        assert_eq!(world.ended, Some(ExitReason::Shutdown));
    }
}

/// V30.
#[test]
fn plans_that_cannot_be_carried_out_are_refused() {
    let sig = |spec: ChildSpec| spec.significant();
    let any_significant = |plan: Supervisor| plan.auto_shutdown(AutoShutdown::AnySignificant);
    let one = Supervisor::one_for_one;
    let bad = ChildSpec::new(Kind::new("test", "a"), Err("a number".into()));
    let (id, why, ms) = (|| "a".to_owned(), "a number".into(), Duration::from_millis);
    let cases = [
        (one().child("a", spec("a")).child("a", spec("b")), SpecError::DuplicateChild { id: id() }),
        (
            one().child("a", sig(spec("a").transient())),
            SpecError::SignificantForNobody { id: id() },
        ),
        (
            any_significant(one().child("a", sig(spec("a")))),
            SpecError::SignificantPermanent { id: id() },
        ),
        (one().intensity(1, ms(0)), SpecError::BadPeriod { period: ms(0) }),
        (one().intensity(1, ms(1500)), SpecError::BadPeriod { period: ms(1500) }),
        (Supervisor::new(Strategy::SimpleOneForOne), SpecError::NotOneChild { children: 0 }),
        (one().child("a", bad), SpecError::BadArguments { id: id(), why }),
    ];
    for (plan, error) in cases {
        assert_eq!(plan.check(), Err(error));
    }
    let mut world = World::started(one());
    let answer = world.answer(Call::Start { id: id(), spec: sig(spec("a").transient()) });
    let error = ChildError::Spec(SpecError::SignificantForNobody { id: id() });
    assert_eq!(answer, Answer::Started(Err(error)));
}
