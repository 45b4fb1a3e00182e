//! Thousands of orders that nobody thought of, and what holds in all of them.

use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;

use super::*;
use crate::term::{ChildState, RestartType};

/// One thing that happens around a supervisor.
#[derive(Clone, Debug)]
enum Happens {
    Step(u8),
    Die(usize, usize),
    Fail(usize, u32),
    Ignore(usize, bool),
    Call(usize, usize),
    Stranger(usize),
    Seconds(u64),
    ParentExit(usize),
}

fn happens() -> impl Generator<Value = Happens> {
    prop_oneof![
        12 => (1..12u8).prop_map(Happens::Step),
        8 => (any::<usize>(), any::<usize>()).prop_map(|(who, why)| Happens::Die(who, why)),
        3 => (any::<usize>(), 0..4u32).prop_map(|(who, n)| Happens::Fail(who, n)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(who, on)| Happens::Ignore(who, on)),
        8 => (any::<usize>(), any::<usize>()).prop_map(|(what, who)| Happens::Call(what, who)),
        2 => any::<usize>().prop_map(Happens::Stranger),
        3 => (0..4u64).prop_map(Happens::Seconds),
        1 => any::<usize>().prop_map(Happens::ParentExit),
    ]
}

fn any_plan() -> impl Generator<Value = Supervisor> {
    let child = (0..3usize, 0..3usize, any::<bool>());
    let strategy = prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne),
        Just(Strategy::SimpleOneForOne)
    ];
    let auto = prop_oneof![
        3 => Just(AutoShutdown::Never),
        1 => Just(AutoShutdown::AnySignificant),
        1 => Just(AutoShutdown::AllSignificant)
    ];
    (strategy, 0..20u32, 1..9u64, auto, prop::collection::vec(child, 0..6)).prop_map(
        |(strategy, intensity, period, auto, mut children)| {
            if strategy == Strategy::SimpleOneForOne {
                children.resize(1, (0, 0, false));
            }
            let plan = Supervisor::new(strategy).auto_shutdown(auto);
            let plan = plan.intensity(intensity, Duration::from_secs(period));
            children.into_iter().zip(IDS).fold(plan, |plan, ((restart, shutdown, sig), id)| {
                let spec = spec(id).restart(RESTARTS[restart]).shutdown(SHUTDOWNS[shutdown]);
                let may = auto != AutoShutdown::Never && !spec.is_permanent();
                plan.child(id, if sig && may { spec.significant() } else { spec })
            })
        },
    )
}

impl World {
    fn happen(&mut self, event: Happens) {
        let id = |who: usize| IDS[who % IDS.len()].to_owned();
        match event {
            Happens::Step(times) => (0..times).for_each(|_| {
                self.step();
            }),
            Happens::Die(who, why) => {
                if let Some(pid) = self.live.keys().nth(who % self.live.len().max(1)) {
                    let reasons =
                        [ExitReason::Normal, ExitReason::Shutdown, ExitReason::Killed, boom()];
                    self.die(*pid, reasons[why % 4].clone());
                }
            }
            Happens::Fail(who, times) => {
                self.fails.insert(id(who), times);
            }
            Happens::Ignore(who, true) => {
                self.ignores.insert(id(who));
            }
            Happens::Ignore(who, false) => {
                self.ignores.remove(&id(who));
            }
            Happens::Call(what, who) => {
                let (id, pid, spec) = (id(who), pid((who % 20) as u64), spec(IDS[who % IDS.len()]));
                let alive = self.live.contains_key(&pid);
                self.ask(match what % 12 {
                    0 => Call::Start { id, spec },
                    1 => Call::Start { id, spec: spec.temporary() },
                    2 | 3 => Call::StartAlike { extra: Args(vec![0x90]) },
                    4 => Call::Terminate(id),
                    5 => Call::TerminateAlike { pid, alive },
                    6 => Call::Restart(id),
                    7 => Call::Delete(id),
                    8 => Call::Spec(id),
                    9 => Call::Which,
                    10 => Call::Count,
                    _ => Call::Find { id, gone: None },
                });
            }
            Happens::Stranger(who) => {
                let from = pid(1000 + who as u64 % 1000);
                self.mail.push_back(Letter::Exit { from, reason: boom() });
            }
            Happens::Seconds(seconds) => self.now += Duration::from_secs(seconds),
            Happens::ParentExit(why) if why % 4 == 0 => {
                self.mail.push_back(Letter::Exit { from: pid(0), reason: ExitReason::Normal });
            }
            Happens::ParentExit(why) if why % 4 == 1 => self.mail.push_back(Letter::Stop(boom())),
            Happens::ParentExit(_) => {}
        }
    }
}

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const RESTARTS: [RestartType; 3] =
    [RestartType::Permanent, RestartType::Transient, RestartType::Temporary];
const SHUTDOWNS: [Shutdown; 3] =
    [Shutdown::BrutalKill, Shutdown::After(Duration::from_secs(5)), Shutdown::Infinity];

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4096))]

    /// SV-1, SV-3, SV-6 in the world's own assertions; SV-4, SV-5 and SV-6 at the end.
    #[test]
    fn whatever_happens_children_are_neither_doubled_nor_left_behind(
        plan in any_plan(), events in prop::collection::vec(happens(), 0..80)
    ) {
        let mut world = World::new(plan);
        world.begin();
        for event in events {
            world.happen(event);
        }
        world.fails.clear();
        world.settle();
        if world.ended.is_some() {
            prop_assert!(world.live.is_empty(), "SV-4");
        } else {
            prop_assert!(world.up);
            prop_assert_eq!(world.answers.len(), world.calls as usize, "SV-5");
            let Answer::Which(children) = world.answer(Call::Which) else { panic!() };
            let mut up: Vec<Pid> = children.iter().filter_map(|child| child.state.pid()).collect();
            up.sort_unstable();
            let live: Vec<Pid> = world.live.keys().copied().collect();
            prop_assert_eq!(up, live, "SV-6");
            prop_assert!(children.iter().all(|child| child.state != ChildState::Restarting));
            world.mail.push_back(Letter::Stop(ExitReason::Shutdown));
            world.settle();
            prop_assert_eq!(world.ended, Some(ExitReason::Shutdown));
            prop_assert!(world.live.is_empty(), "SV-4");
        }
    }
}
