//! Supervisors as OTP has them, with children on real slaves: order, strategies, restarts, ends, calls.

mod support;

use std::collections::HashMap;

use pspawn::prelude::*;
use pspawn::{
    ChildCount, ChildError, ChildState, Error, SendError, SpawnError, SpecError, Strategy,
    SupervisorError, SupervisorStartError,
};
use serde_json::{Value, json};
use support::{DEADLINE, TestPool};

// ---- starts and stops ---------------------------------------------------------------------------

/// V1, V2, V27.
#[actix::test]
async fn children_start_in_order_wherever_they_are_and_end_in_reverse() {
    let mut family = Family::start(2).await;
    let slaves = family.pool.slaves().await;
    let plan = Supervisor::one_for_one()
        .child("a", family.child("a").on(slaves[0]))
        .child("b", family.child("b").on(slaves[1]))
        .child("c", family.child("c").here());
    let sup = plan.start(&family.pool).await.expect("it starts");
    let late = sup.start_child("d", family.child("d")).await.expect("it starts").expect("a pid");
    assert_eq!(sup.find("d").await, Ok(Some(late)));
    let children = sup.which_children().await.expect("it lives");
    let ids: Vec<_> = children.iter().map(|child| child.id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["d", "c", "b", "a"]);
    let nodes: Vec<_> =
        children[1..].iter().map(|child| child.state.pid().unwrap().node()).collect();
    assert_eq!(nodes, [family.pool.here(), slaves[1], slaves[0]]);
    sup.stop(ExitReason::Shutdown).await.expect("it ends so");
    let log = "start a, start b, start c, start d, stop d, stop c, stop b, stop a";
    assert_eq!(family.log().await, log);
    family.stop().await;
}

/// V3: also that the linked parent gets the exit signal.
#[actix::test]
async fn a_child_that_does_not_start_ends_those_before_it_and_the_supervisor() {
    let mut family = Family::start(2).await;
    family.fails("c", 1).await;
    let children = |plan: Supervisor| {
        ["a", "b", "c", "d"].iter().fold(plan, |plan, id| plan.child(*id, family.child(id)))
    };
    let started = children(Supervisor::one_for_one()).start_link(&family.pool.inbox).await;
    let failed = vec!["failed_to_start_child".into(), "c".into(), "no".into()];
    let failed = ExitReason::ShutdownWith(pspawn::Value::Array(failed));
    let Err(SupervisorStartError::NotStarted(SpawnError::NotUp { pid, reason, .. })) = started
    else {
        panic!("{started:?}");
    };
    assert_eq!(reason, failed);
    assert_eq!(family.log().await, "start a, start b, fail c, stop b, stop a");
    let exited = family.pool.next_exit().await;
    assert_eq!((exited.pid, exited.reason), (pid, failed));
    family.stop().await;
}

/// V5.
#[actix::test]
async fn a_child_may_have_nothing_to_do() {
    let family = Family::start(1).await;
    family.ignores("a").await;
    family.ignores("t").await;
    let plan = Supervisor::one_for_one()
        .child("a", family.child("a"))
        .child("t", family.child("t").temporary());
    let sup = plan.start(&family.pool).await.expect("it starts");
    let children = sup.which_children().await.expect("it lives");
    assert_eq!(children.len(), 1);
    assert_eq!(children[0].state, ChildState::NotRunning);
    assert_eq!(sup.find("a").await, Ok(None));
    sup.stop(ExitReason::Normal).await.expect("it ends so");
    family.stop().await;
}

/// V19, V20, V21.
#[actix::test]
async fn children_are_told_to_end_as_their_spec_says() {
    let mut family = Family::start(1).await;
    let plan = Supervisor::one_for_one()
        .child("soft", ChildSpec::function("supervisor", "idle", ()))
        .child("hard", family.child("hard").shutdown(Shutdown::BrutalKill))
        .child("deaf", ChildSpec::function("supervisor", "deaf", ()).shutdown(AT_ONCE))
        .child("slow", family.child("slow").shutdown(Shutdown::Infinity));
    let sup = plan.start(&family.pool).await.expect("it starts");
    for (id, reason) in [
        ("slow", ExitReason::Shutdown),
        ("deaf", ExitReason::Killed),
        ("hard", ExitReason::Killed),
        ("soft", ExitReason::Shutdown),
    ] {
        let pid = sup.find(id).await.expect("it lives").expect("it runs");
        let monitor = family.pool.inbox.monitor(pid);
        sup.terminate_child(id).await.expect("it is a child");
        let down = family.pool.next_down().await;
        assert_eq!((down.monitor, down.reason), (monitor, reason), "{id}");
    }
    assert_eq!(family.log().await, "start hard, start slow, stop slow");
    family.stop().await;
}

/// V23, V24: the parent's exit signal, whatever its reason, and nobody else's.
#[actix::test]
async fn the_parents_end_ends_the_supervisor_and_a_strangers_does_not() {
    let mut family = Family::start(2).await;
    for reason in [ExitReason::Normal, ExitReason::exit("boom")] {
        let parent = family.pool.mailbox();
        let plan = Supervisor::one_for_one().child("a", family.child("a"));
        let sup = plan.start_link(&parent).await.expect("it starts");
        let pid = sup.pid().await.expect("it lives");
        family.pool.inbox.exit(pid, ExitReason::Shutdown);
        family.pool.inbox.send(pid, "what is this?".to_owned()); // V33
        assert!(sup.which_children().await.is_ok());
        let monitor = family.pool.inbox.monitor(pid);
        parent.exit(pid, reason.clone());
        let down = family.pool.next_down().await;
        assert_eq!((down.monitor, down.reason), (monitor, reason));
        assert_eq!(family.log().await, "start a, stop a");
        let ended = SupervisorError::Ended { pid, reason: ExitReason::NoProc };
        assert_eq!(sup.count_children().await, Err(ended));
    }
    family.stop().await;
}

/// V24: a killed supervisor does nothing more; its children hear `killed` over their links.
#[actix::test]
async fn children_of_a_killed_supervisor_hear_it_over_their_links() {
    let mut family = Family::start(2).await;
    let plan =
        Supervisor::one_for_one().child("a", family.child("a")).child("b", family.child("b"));
    let sup = plan.start(&family.pool).await.expect("it starts");
    let (a, b) = (sup.find("a").await.unwrap().unwrap(), sup.find("b").await.unwrap().unwrap());
    let monitors = [family.pool.inbox.monitor(a), family.pool.inbox.monitor(b)];
    family.pool.exit(sup.pid().await.unwrap(), ExitReason::Kill);
    for _ in 0..2 {
        let down = family.pool.next_down().await;
        assert!(monitors.contains(&down.monitor));
        assert_eq!(down.reason, ExitReason::Killed);
    }
    family.stop().await;
}

/// The same while it waits for a child to be up: nothing of it is left behind.
#[actix::test]
async fn a_killed_supervisor_leaves_no_child_that_was_not_up_yet() {
    let mut family = Family::start(1).await;
    let slave = family.pool.slaves().await[0];
    for on in [family.pool.here(), slave] {
        let sup = Supervisor::one_for_one().start(&family.pool).await.expect("it starts");
        let pid = sup.pid().await.expect("a root");
        let stuck = ChildSpec::function("supervisor", "stuck", (family.pool.inbox.pid(),));
        let call = sup.start_child("stuck", stuck.on(on).acknowledged());
        let killed = async {
            let Stuck(child) = family.pool.next().await;
            let monitor = family.pool.inbox.monitor(child);
            family.pool.exit(pid, ExitReason::Kill);
            let down = family.pool.next_down().await;
            assert_eq!((down.monitor, down.reason), (monitor, ExitReason::Killed));
        };
        let (called, ()) = futures::join!(call, killed);
        assert_eq!(called, Err(SupervisorError::Ended { pid, reason: ExitReason::Killed }));
    }
    family.stop().await;
}

/// An actix actor can be the parent, too.
#[actix::test]
async fn the_end_of_an_actor_ends_the_supervisor_that_it_has_started() {
    let mut family = Family::start(2).await;
    let slave = family.pool.slaves().await[0];
    let plan = Supervisor::one_for_one().child("a", family.child("a").on(slave));
    let args = (family.pool.inbox.pid(), plan);
    let boss = family.pool.spawn_on::<Boss>(slave, args).await.expect("it starts");
    let sup = family.pool.next::<SupervisorRef>().await;
    let a = sup.find("a").await.expect("it lives").expect("it runs");
    let (sup, a) = (sup.pid().await.expect("a root"), family.pool.inbox.monitor(a));
    assert_eq!(sup.node(), slave);
    let sup = family.pool.inbox.monitor(sup);
    family.pool.exit(boss.pid(), ExitReason::exit("boom"));
    // All over one connection: whoever is watched is so before the end comes.
    for (monitor, reason) in [(a, ExitReason::Shutdown), (sup, ExitReason::exit("boom"))] {
        let down = family.pool.next_down().await;
        assert_eq!((down.monitor, down.reason), (monitor, reason));
    }
    let plan = Supervisor::one_for_one();
    let no_caller = SupervisorStartError::NotStarted(SpawnError::NoCaller);
    assert_eq!(plan.start_link_current().await.expect_err("this is no actor"), no_caller);
    family.stop().await;
}

/// V30.
#[actix::test]
async fn plans_that_cannot_be_carried_out_are_refused() {
    let family = Family::start(0).await;
    let twice =
        Supervisor::one_for_one().child("a", family.child("a")).child("a", family.child("a"));
    let duplicate = SpecError::DuplicateChild { id: "a".to_owned() };
    let refused = twice.clone().start(&family.pool).await.expect_err("it is refused");
    assert_eq!(refused, SupervisorStartError::Plan(duplicate));
    let refused = Supervisor::one_for_one().child("sub", twice.spec()).start(&family.pool).await;
    let Err(SupervisorStartError::Plan(SpecError::BadArguments { id, why })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((id.as_str(), why.as_str()), ("sub", "two children are called \"a\""));
    let sup = Supervisor::one_for_one().start(&family.pool).await.expect("it starts");
    let number = ChildSpec::function("supervisor", "idle", 7);
    let Err(SupervisorError::Child(ChildError::Spec(SpecError::BadArguments { .. }))) =
        sup.start_child("a", number).await
    else {
        panic!("7 is no list of arguments");
    };
    let nothing = sup.start_child("a", ChildSpec::function("supervisor", "nothing", ())).await;
    let Err(SupervisorError::Child(ChildError::NotStarted(ExitReason::Undef(kind)))) = nothing
    else {
        panic!("{nothing:?}");
    };
    assert_eq!(kind.to_string(), "supervisor:nothing");
    family.stop().await;
}

// ---- restarts -----------------------------------------------------------------------------------

/// Whole lives, recorded on OTP: V1 to V27 as children on real slaves live them. `PSPAWN_TRACES` names a
/// folder with more.
#[actix::test]
async fn recorded_lives_of_otps_supervisors_are_lived_again_on_slaves() {
    let mut family = Family::start(2).await;
    let mut traces = include_str!("../src/core/restart/tests/traces.jsonl").to_owned();
    let mut outcomes = include_str!("../src/core/restart/tests/outcomes.jsonl").to_owned();
    if let Some(folder) = std::env::var_os("PSPAWN_TRACES") {
        let read =
            |name| std::fs::read_to_string(std::path::Path::new(&folder).join(name)).unwrap();
        traces.push_str(&read("traces.jsonl"));
        outcomes.push_str(&read("outcomes.jsonl"));
    }
    for (trace, outcome) in traces.lines().zip(outcomes.lines()) {
        let trace: Value = serde_json::from_str(trace).unwrap();
        let outcome: Value = serde_json::from_str(outcome).unwrap();
        family.replay(&trace, &outcome).await;
    }
    family.stop().await;
}

/// V35: a child whose node is lost has ended with `noconnection`; it gets another place, and that is one
/// restart, however late the pool hears of the loss.
#[actix::test]
async fn a_child_whose_node_is_lost_is_placed_anew() {
    let mut family = Family::start(3).await;
    let here = family.pool.here();
    for slave in family.pool.slaves().await {
        // One on each node, so that one of them is on this slave.
        let plan = Supervisor::one_for_one().child("a", family.child("a"));
        let (mut sups, mut on_slave) = (Vec::new(), None);
        while on_slave.is_none() {
            let sup = plan.clone().start(&family.pool).await.expect("it starts");
            let pid = sup.find("a").await.expect("it lives").expect("it runs");
            on_slave = (pid.node() == slave).then_some(pid);
            sups.push(sup);
        }
        let (sup, last) = (sups.last().expect("one at least"), on_slave.expect("it was found"));
        family.pool.kill(slave).await;
        let next = family.next_life_of(sup, "a", last).await;
        assert_ne!(next.node(), slave);
        let others = family.pool.nodes().await.expect("the master answers");
        assert!(others.contains(&here) && others.contains(&next.node()));
    }
    family.stop().await;
}

/// V35: where the child may be nowhere else, restarts are soon too many.
#[actix::test]
async fn a_child_that_belongs_to_a_lost_node_is_its_supervisors_end() {
    let mut family = Family::start(1).await;
    let slave = family.pool.slaves().await[0];
    let plan = Supervisor::one_for_one()
        .intensity(3, PERIOD)
        .child("a", family.child("a").here())
        .child("b", family.child("b").on(slave));
    let sup = plan.start_link(&family.pool.inbox).await.expect("it starts");
    family.pool.kill(slave).await;
    let exited = family.pool.next_exit().await;
    assert_eq!((Ok(exited.pid), exited.reason), (sup.pid().await, ExitReason::Shutdown));
    assert_eq!(family.log().await, "start a, start b, stop a");
    family.stop().await;
}

/// V36: also that handles which lead through it survive.
#[actix::test]
async fn a_nested_supervisor_that_gives_up_is_started_again_with_fresh_children() {
    let mut family = Family::start(2).await;
    let nested = Supervisor::one_for_all()
        .intensity(0, PERIOD)
        .child("a", family.child("a"))
        .child("b", Fuse::spec(()));
    let plan = Supervisor::one_for_one().intensity(9, PERIOD).child("sub", nested.spec());
    let sup = plan.start(&family.pool).await.expect("it starts");
    let (sub, fuse) = (sup.supervisor("sub"), sup.supervisor("sub").child::<Fuse>("b"));
    let before = sub.pid().await.expect("it lives");
    assert_eq!(fuse.send(Divide(5)).await, Ok(20));
    let count = ChildCount { specs: 1, active: 1, supervisors: 1, workers: 0 };
    assert_eq!(sup.count_children().await, Ok(count));
    let Err(SendError::Exit { reason: ExitReason::Panicked { text, .. }, .. }) =
        fuse.send(Divide(0)).await
    else {
        panic!("it should have panicked");
    };
    assert_eq!(text, "attempt to divide by zero");
    family.next_life_of(&sup, "sub", before).await;
    assert_eq!(fuse.send(Divide(4)).await, Ok(25));
    assert_ne!(sub.pid().await.expect("it lives"), before);
    assert_eq!(family.log().await, "start a, stop a, start a");
    sup.stop(ExitReason::Shutdown).await.expect("it ends so");
    assert_eq!(family.log().await, "stop a");
    family.stop().await;
}

/// The node of a nested supervisor is lost: what it had elsewhere ends with it, and is there once, not
/// twice, when it has been started again.
#[actix::test]
async fn nothing_is_doubled_when_the_node_of_a_nested_supervisor_is_lost() {
    let mut family = Family::start(2).await;
    let slaves = family.pool.slaves().await;
    let nested = Supervisor::one_for_one().child("a", family.child("a").on(slaves[1]));
    let plan = Supervisor::one_for_one().intensity(9, PERIOD).child("sub", nested.spec());
    let sup = plan.start(&family.pool).await.expect("it starts");
    let sub = sup.supervisor("sub");
    while sub.pid().await.expect("it lives").node() != slaves[0] {
        let last = sub.pid().await.expect("it lives");
        sup.terminate_child("sub").await.expect("it is a child");
        sup.restart_child("sub").await.expect("it starts");
        assert_ne!(sub.pid().await, Ok(last));
    }
    family.log().await;
    let old = sub.find("a").await.expect("it lives").expect("it runs");
    let monitor = family.pool.inbox.monitor(old);
    family.pool.tell_of(slaves[1]).await; // it is watched by now
    family.pool.kill(slaves[0]).await;
    let down = family.pool.next_down().await;
    assert_eq!((down.monitor, down.reason), (monitor, ExitReason::NoConnection));
    let new = sub.find("a").await.expect("it lives").expect("it runs");
    assert_ne!(new, old);
    let log = family.log().await;
    assert!(["stop a, start a", "start a, stop a"].contains(&log.as_str()), "{log}");
    family.stop().await;
}

/// V34.
#[actix::test]
async fn the_end_of_significant_children_ends_their_supervisor() {
    let mut family = Family::start(1).await;
    let plan = Supervisor::one_for_one()
        .auto_shutdown(AutoShutdown::AllSignificant)
        .child("a", family.child("a"))
        .child("s", family.child("s").transient().significant())
        .child("t", family.child("t").temporary().significant());
    let sup = plan.start_link(&family.pool.inbox).await.expect("it starts");
    for (id, reason) in [("t", ExitReason::exit("boom")), ("s", ExitReason::Normal)] {
        let pid = sup.find(id).await.expect("it lives").expect("it runs");
        family.pool.inbox.send(pid, End(reason));
    }
    assert_eq!(family.pool.next_exit().await.reason, ExitReason::Shutdown);
    assert_eq!(family.log().await, "start a, start s, start t, stop a");
    family.stop().await;
}

// ---- simple_one_for_one -------------------------------------------------------------------------

/// V28, V29.
#[actix::test]
async fn simple_one_for_one_starts_children_by_their_last_arguments() {
    let mut family = Family::start(2).await;
    let judge = family.judge;
    let alike = ChildSpec::function("supervisor", "judged", (judge,)).acknowledged().transient();
    let alike = alike.shutdown(Shutdown::After(DEADLINE));
    let sup = Supervisor::simple_one_for_one(alike).start(&family.pool).await.expect("it starts");
    assert_eq!(family.log().await, "");
    let one = sup.start_one(("one",)).await.expect("it starts").expect("a pid");
    let two = sup.start_one(("two",)).await.expect("it starts").expect("a pid");
    family.fails("three", 1).await;
    let failed = ChildError::NotStarted(ExitReason::exit("no"));
    assert_eq!(sup.start_one(("three",)).await, Err(SupervisorError::Child(failed)));
    family.pool.exit(two, ExitReason::Kill);
    let simple = Err(SupervisorError::Child(ChildError::SimpleOneForOne));
    assert_eq!(sup.terminate_child("two").await, simple);
    assert_eq!(sup.delete_child("two").await, simple);
    while family.log.len() < 4 {
        family.read_log().await;
    }
    assert_eq!(family.log().await, "start one, start two, fail three, start two");
    assert_eq!(sup.terminate_one(one).await, Ok(()));
    let stranger = family.pool.inbox.pid();
    let not_found = Err(SupervisorError::Child(ChildError::NotFound));
    assert_eq!(sup.terminate_one(stranger).await, not_found);
    let children = sup.which_children().await.expect("it lives");
    assert_eq!((children.len(), &children[0].id), (1, &None));
    let not_simple = Err(SupervisorError::Child(ChildError::NotSimple));
    let other = Supervisor::one_for_one().start(&family.pool).await.expect("it starts");
    assert_eq!(other.start_one(("x",)).await, not_simple);
    sup.stop(ExitReason::Shutdown).await.expect("it ends so");
    assert_eq!(family.log().await, "stop one, stop two");
    family.stop().await;
}

/// V29: they end all at the same time, with one limit for all.
#[actix::test]
async fn a_brood_ends_at_once() {
    let family = Family::start(2).await;
    let limit = Shutdown::After(Duration::from_millis(300));
    let deaf = ChildSpec::function("supervisor", "deaf", ()).shutdown(limit);
    let sup = Supervisor::simple_one_for_one(deaf).start(&family.pool).await.expect("it starts");
    for _ in 0..100 {
        sup.start_one(()).await.expect("it starts");
    }
    let begin = std::time::Instant::now();
    sup.stop(ExitReason::Shutdown).await.expect("it ends so");
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(290) && took < Duration::from_secs(20), "{took:?}");
    family.stop().await;
}

// ---- handles ------------------------------------------------------------------------------------

#[actix::test]
async fn a_handle_survives_the_restarts_of_its_child() -> Result<(), Error> {
    let family = Family::start(2).await;
    let slaves = family.pool.slaves().await;
    for fuse in [Fuse::spec(()).here(), Fuse::spec(()).on(slaves[0]), Fuse::spec(())] {
        let plan = Supervisor::one_for_one().intensity(100, PERIOD);
        let sup = plan.child("fuse", fuse).start(&family.pool).await?;
        let fuse = sup.child::<Fuse>("fuse");
        for round in 1..=50 {
            let before = fuse.addr().await?.pid();
            let Err(SendError::Exit { pid, reason: ExitReason::Panicked { text, place } }) =
                fuse.send(Divide(0)).await
            else {
                panic!("it should have panicked");
            };
            assert_eq!((pid, text.as_str()), (before, "attempt to divide by zero"));
            assert!(place.starts_with("tests/supervisor.rs:"), "{place}");
            assert_eq!(fuse.send(Divide(round)).await, Ok(100 / round), "the dead are not asked");
            assert_ne!(fuse.addr().await?.pid(), before);
        }
        sup.terminate_child("fuse").await?;
        let not_running = SendError::NotRunning { child: "fuse".to_owned() };
        assert_eq!(fuse.send(Divide(1)).await, Err(not_running.clone()));
        sup.delete_child("fuse").await?;
        assert_eq!(fuse.send(Divide(1)).await, Err(not_running));
        let pid = sup.pid().await?;
        sup.stop(ExitReason::Normal).await?;
        let gone = SendError::Exit { pid, reason: ExitReason::NoProc };
        assert_eq!(fuse.send(Divide(1)).await, Err(gone));
    }
    family.stop().await;
    Ok(())
}

/// A handle is a value, and works from a slave.
#[actix::test]
async fn a_handle_travels() {
    let mut family = Family::start(2).await;
    let plan = Supervisor::one_for_one().child("fuse", Fuse::spec(()));
    let sup = plan.start(&family.pool).await.expect("it starts");
    let slaves = family.pool.slaves().await;
    let args = (family.pool.inbox.pid(), sup.child::<Fuse>("fuse"), sup);
    family.pool.spawn_mfa_on(slaves[1], "supervisor", "user", args).await.expect("it starts");
    assert_eq!(family.pool.next::<(i64, usize)>().await, (50, 1));
    family.stop().await;
}

async fn user(ctx: Ctx, tester: Pid, fuse: ChildRef<Fuse>, sup: SupervisorRef) {
    let half = fuse.send(Divide(2)).await.expect("it lives");
    let count = sup.count_children().await.expect("it lives");
    ctx.send(tester, (half, count.active));
}

// ---- the players --------------------------------------------------------------------------------

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
struct Divide(i64);

struct Fuse;

impl Actor for Fuse {
    type Context = Context<Self>;
}

impl Handler<Divide> for Fuse {
    type Result = i64;

    fn handle(&mut self, Divide(by): Divide, _: &mut Context<Self>) -> i64 {
        100 / by
    }
}

remote_actor!(Fuse as "supervised_fuse", new() = Fuse, handles[Divide]);
remote_fn!("supervisor": judge, judged, idle, deaf, stuck, user);

/// Starts a supervisor of its own.
struct Boss {
    tester: Pid,
    plan: Option<Supervisor>,
}

impl Actor for Boss {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let (tester, plan) = (self.tester, self.plan.take().expect("it starts once"));
        let started = plan.start_link_current().into_actor(self);
        ctx.spawn(started.map(move |sup, _, ctx| ctx.send(tester, sup.expect("it starts"))));
    }
}

remote_actor!(
    Boss as "boss",
    new(tester: Pid, plan: Supervisor) = Boss { tester, plan: Some(plan) },
    handles[]
);

/// Ends with the signal that says so.
async fn idle(mut ctx: Ctx) {
    ctx.receive::<End>().await;
}

/// Traps exits, and does not care.
async fn deaf(mut ctx: Ctx) {
    ctx.trap_exits(true);
    ctx.receive::<End>().await;
}

/// Is never up.
async fn stuck(mut ctx: Ctx, tester: Pid) {
    ctx.send(tester, Stuck(ctx.pid()));
    ctx.receive::<End>().await;
}

#[derive(Serialize, Deserialize)]
struct Stuck(Pid);

/// A child that asks the judge whether it may start, and reports what it is told.
async fn judged(mut ctx: Ctx, judge: Pid, id: String) {
    ctx.trap_exits(true);
    ctx.send(judge, Born { id: id.clone(), pid: ctx.pid() });
    match ctx.receive::<Verdict>().await {
        Verdict::Fail => exit(ExitReason::exit("no")),
        Verdict::Ignore => return ctx.init_ignore(),
        Verdict::Live => ctx.init_ack(),
    }
    let letter = ctx.receive_matching(|letter| letter.is::<End>() || letter.is::<Exited>()).await;
    match letter.open::<End>() {
        Ok(End(reason)) => exit(reason),
        Err(letter) => {
            let reason = letter.open::<Exited>().expect("one of the two").reason;
            ctx.send(judge, Told { id, reason: reason.clone() });
            exit(reason);
        }
    }
}

/// Decides which starts succeed, and keeps the log of all that happens.
async fn judge(mut ctx: Ctx) {
    let (mut fails, mut ignores) = (HashMap::<String, u64>::new(), Vec::new());
    let mut log: Vec<(String, String, String)> = Vec::new();
    loop {
        let letter = ctx.receive_any().await;
        let letter = match letter.open::<Born>() {
            Ok(Born { id, pid }) => {
                let left = fails.entry(id.clone()).or_default();
                let verdict = match *left {
                    _ if ignores.contains(&id) => Verdict::Ignore,
                    0 => Verdict::Live,
                    _ => Verdict::Fail,
                };
                *left = left.saturating_sub(1);
                match verdict {
                    Verdict::Live => log.push(("start".into(), id, String::new())),
                    Verdict::Fail => log.push(("fail".into(), id, String::new())),
                    Verdict::Ignore => {}
                }
                ctx.send(pid, verdict);
                continue;
            }
            Err(letter) => letter,
        };
        let letter = match letter.open::<Told>() {
            Ok(Told { id, reason }) => {
                log.push(("stop".into(), id, reason.to_string()));
                continue;
            }
            Err(letter) => letter,
        };
        match letter.open::<Rule>().expect("nothing else is sent") {
            Rule::Fail(id, times) => drop(fails.insert(id, times)),
            Rule::Ignore(id) => ignores.push(id),
            Rule::Tell(to) => ctx.send(to, Log(std::mem::take(&mut log))),
            Rule::Forget => fails.clear(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Born {
    id: String,
    pid: Pid,
}

#[derive(Serialize, Deserialize)]
enum Verdict {
    Live,
    Fail,
    Ignore,
}

#[derive(Serialize, Deserialize)]
struct Told {
    id: String,
    reason: ExitReason,
}

#[derive(Serialize, Deserialize)]
enum Rule {
    Fail(String, u64),
    Ignore(String),
    Tell(Pid),
    Forget,
}

#[derive(Serialize, Deserialize)]
struct Log(Vec<(String, String, String)>);

#[derive(Serialize, Deserialize)]
struct End(ExitReason);

/// A pool with a judge on its master.
struct Family {
    pool: TestPool,
    judge: Pid,
    log: Vec<(String, String, String)>,
}

impl Family {
    async fn start(slaves: usize) -> Family {
        let pool = TestPool::start(slaves).await;
        let here = pool.here();
        let judge = pool.spawn_mfa_on(here, "supervisor", "judge", ()).await.expect("it starts");
        Family { pool, judge, log: Vec::new() }
    }

    /// A permanent child that is judged, with enough time to end on a machine with other work.
    fn child(&self, id: &str) -> ChildSpec {
        let child = ChildSpec::function("supervisor", "judged", (self.judge, id)).acknowledged();
        child.shutdown(Shutdown::After(DEADLINE))
    }

    async fn fails(&self, id: &str, times: u64) {
        self.pool.inbox.send(self.judge, Rule::Fail(id.to_owned(), times));
    }

    async fn ignores(&self, id: &str) {
        self.pool.inbox.send(self.judge, Rule::Ignore(id.to_owned()));
    }

    async fn read_log(&mut self) {
        self.pool.inbox.send(self.judge, Rule::Tell(self.pool.inbox.pid()));
        self.log.extend(self.pool.next::<Log>().await.0);
    }

    /// What has happened since the last look.
    async fn log(&mut self) -> String {
        self.read_log().await;
        let log = std::mem::take(&mut self.log).into_iter();
        log.map(|(what, id, _)| format!("{what} {id}")).collect::<Vec<_>>().join(", ")
    }

    /// Waits until the child has another pid.
    async fn next_life_of(&mut self, sup: &SupervisorRef, id: &str, last: Pid) -> Pid {
        let begin = std::time::Instant::now();
        loop {
            match sup.find(id).await.expect("it lives") {
                Some(pid) if pid != last => return pid,
                _ => assert!(begin.elapsed() < DEADLINE, "{id} was not started again"),
            }
        }
    }

    async fn stop(self) {
        self.pool.stop().await;
    }
}

const PERIOD: Duration = Duration::from_secs(1000);
const AT_ONCE: Shutdown = Shutdown::After(Duration::from_millis(1));

// ---- recorded lives -----------------------------------------------------------------------------

impl Family {
    /// Lives a recorded life on the slaves, and waits in each step until all is as it was recorded.
    async fn replay(&mut self, trace: &Value, outcome: &Value) {
        self.pool.inbox.send(self.judge, Rule::Forget);
        let strategy = match trace["strategy"].as_str().unwrap() {
            "one_for_one" => Strategy::OneForOne,
            "one_for_all" => Strategy::OneForAll,
            "rest_for_one" => Strategy::RestForOne,
            other => panic!("{other}"),
        };
        let intensity = u32::try_from(trace["intensity"].as_u64().unwrap()).unwrap();
        let mut plan = Supervisor::new(strategy).intensity(intensity, PERIOD);
        for child in trace["children"].as_array().unwrap() {
            plan = plan.child(child["id"].as_str().unwrap(), self.read_child(child).await);
        }
        let parent = self.pool.mailbox();
        let started = plan.start_link(&parent).await;
        let mut steps = outcome["steps"].as_array().unwrap().iter();
        let first = steps.next().unwrap();
        let sup = match started {
            Ok(sup) => sup,
            Err(why) => {
                assert_eq!(first["sup"], "none", "{trace}: {why}");
                self.until_logged(&first["log"], trace).await;
                return;
            }
        };
        self.until_seen(&sup, first, trace).await;
        for (op, step) in trace["ops"].as_array().unwrap().iter().zip(steps) {
            if step["result"] == "skipped" && step["sup"] == "none" {
                break;
            }
            let result = self.carry_out(&sup, &parent, op).await;
            assert_eq!(step["result"], result, "{op} in {trace}");
            self.until_seen(&sup, step, trace).await;
        }
        drop(parent);
        if let Ok(pid) = sup.pid().await {
            self.pool.end_of(pid).await;
        }
        self.read_log().await;
        self.log.clear();
    }

    async fn carry_out(&mut self, sup: &SupervisorRef, parent: &Ctx, op: &Value) -> String {
        let id = op[1].as_str().unwrap_or_default();
        let result = match op[0].as_str().unwrap() {
            "die" => match sup.find(id).await {
                Ok(Some(pid)) => {
                    match read_reason(op[2].as_str().unwrap()) {
                        ExitReason::Killed => self.pool.exit(pid, ExitReason::Kill),
                        reason => self.pool.inbox.send(pid, End(reason)),
                    }
                    self.pool.end_of(pid).await;
                    Ok(())
                }
                Ok(None) | Err(SupervisorError::Child(ChildError::NotFound)) => {
                    return "skipped".to_owned();
                }
                Err(why) => panic!("{why}"),
            },
            "fail" => {
                self.fails(id, op[2].as_u64().unwrap()).await;
                Ok(())
            }
            "stop" => {
                parent.exit(sup.pid().await.expect("it lives"), read_reason(id));
                Ok(())
            }
            "terminate" => sup.terminate_child(id).await,
            "restart" => sup.restart_child(id).await.map(|_| ()),
            "delete" => sup.delete_child(id).await,
            "start" => {
                let child = self.read_child(&op[1]).await;
                sup.start_child(op[1]["id"].as_str().unwrap(), child).await.map(|_| ())
            }
            other => panic!("{other}"),
        };
        let word = match result {
            Ok(()) => "ok",
            Err(SupervisorError::Child(ChildError::NotFound)) => "not_found",
            Err(SupervisorError::Child(ChildError::Running)) => "running",
            Err(SupervisorError::Child(ChildError::AlreadyStarted(_))) => "already_started",
            Err(SupervisorError::Child(ChildError::AlreadyPresent)) => "already_present",
            Err(SupervisorError::Child(ChildError::NotStarted(_))) => "not_yet",
            Err(other) => panic!("{other}"),
        };
        word.to_owned()
    }

    async fn until_seen(&mut self, sup: &SupervisorRef, step: &Value, trace: &Value) {
        if step["sup"] != "alive" {
            let reason = self.pool.end_of(sup.pid().await.expect("a root")).await;
            // it had ended before it could be watched, or with the recorded reason
            if reason != ExitReason::NoProc {
                assert_eq!(reason, read_reason(step["sup"].as_str().unwrap()), "{trace}");
            }
        }
        self.until_logged(&step["log"], trace).await;
        if step["sup"] != "alive" {
            return;
        }
        let begin = std::time::Instant::now();
        loop {
            let children = sup.which_children().await.expect("it lives");
            let seen: Vec<Value> = children
                .iter()
                .rev()
                .map(|child| {
                    let state = if child.state.pid().is_some() { "up" } else { "down" };
                    json!([child.id, state])
                })
                .collect();
            if step["children"] == json!(seen) {
                break;
            }
            assert!(begin.elapsed() < DEADLINE, "{trace}: {} but {seen:?}", step["children"]);
        }
    }

    async fn until_logged(&mut self, wanted: &Value, trace: &Value) {
        let wanted = wanted.as_array().unwrap();
        let begin = std::time::Instant::now();
        loop {
            self.read_log().await;
            if self.log.len() >= wanted.len() {
                break;
            }
            assert!(begin.elapsed() < DEADLINE, "{trace}: {wanted:?} but {:?}", self.log);
        }
        let log: Vec<Value> = std::mem::take(&mut self.log)
            .into_iter()
            .map(|(what, id, reason)| match what.as_str() {
                "stop" => json!([what, id, reason]),
                _ => json!([what, id]),
            })
            .collect();
        assert_eq!(&log, wanted, "{trace}");
    }

    async fn read_child(&self, child: &Value) -> ChildSpec {
        let id = child["id"].as_str().unwrap();
        if let Some(times) = child["fail"].as_u64() {
            self.fails(id, times).await;
        }
        let restart = match child["restart"].as_str().unwrap() {
            "permanent" => RestartType::Permanent,
            "transient" => RestartType::Transient,
            "temporary" => RestartType::Temporary,
            other => panic!("{other}"),
        };
        let shutdown = match &child["shutdown"] {
            Value::String(word) if word == "brutal_kill" => Shutdown::BrutalKill,
            Value::String(word) if word == "infinity" => Shutdown::Infinity,
            ms => Shutdown::After(Duration::from_millis(ms.as_u64().unwrap()) * 10),
        };
        self.child(id).restart(restart).shutdown(shutdown)
    }
}

fn read_reason(word: &str) -> ExitReason {
    match word {
        "normal" => ExitReason::Normal,
        "shutdown" => ExitReason::Shutdown,
        "shutdown:x" => ExitReason::ShutdownWith("x".into()),
        "killed" => ExitReason::Killed,
        word => ExitReason::exit(word),
    }
}
