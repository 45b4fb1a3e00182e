//! Supervision: strategy, restart type, intensity; what to stop and start when a child ends.
//!
//! A supervisor works through one thing at a time, as OTP's does. Letters are given to it only while it
//! rests; what it wants done it says as [`Effect`]s, of which at most one, a start or a stop, takes time:
//! then its result is what it has to hear next. So whoever carries it out keeps the mailbox, and the
//! time comes in with the letters.

mod brood;
mod calls;
mod intensity;
mod siblings;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::brood::Brood;
pub(crate) use self::calls::{Answer, Call};
use self::intensity::Restarts;
use self::siblings::{Scope, Siblings};
use super::mutant::{self, Mutant};
use crate::term::{
    Args, AutoShutdown, ChildError, ChildSpec, ExitReason, Pid, Shutdown, Strategy, Supervisor,
};

/// What reaches a supervisor through its mailbox. `C` is who waits for an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Letter<C> {
    /// A trapped exit signal.
    Exit {
        from: Pid,
        reason: ExitReason,
    },
    Call {
        caller: C,
        call: Call,
    },
    /// Its own [`Effect::TryAgain`].
    TryAgain(Whom),
    /// Somebody wants it to end with this reason: `gen_server:stop`.
    Stop(ExitReason),
}

/// What a supervisor wants done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect<C> {
    /// Start this child, linked, then say [`Supervision::started`].
    Start {
        spec: Arc<ChildSpec>,
        extra: Option<Args>,
    },
    /// End these at the same time, with one common limit, then say [`Supervision::stopped`].
    Stop {
        pids: Vec<Pid>,
        shutdown: Shutdown,
    },
    Answer {
        caller: C,
        answer: Answer,
    },
    /// Put this into the supervisor's own mailbox, behind what is there.
    TryAgain(Whom),
    /// The children have started: say so to whoever started the supervisor.
    Up,
    /// End with this reason.
    End(ExitReason),
    /// For the log.
    Report(Report),
}

/// Which child is meant: by id, or, where children have none, by the last pid it had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Whom {
    Id(String),
    Pid(Pid),
}

/// What OTP's supervisor reports about a child.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Report {
    /// It ended, and that is no matter of course.
    Ended { child: String, reason: ExitReason },
    /// It did not start.
    NotStarted { child: String, reason: ExitReason },
    /// It ended otherwise than it was told to.
    StoppedOtherwise { child: String, reason: ExitReason },
    /// One restart too many.
    TooManyRestarts { child: String },
}

/// How a start went: a pid, none if the child did not want to be started (V5), or why it failed.
pub(crate) type Started = Result<Option<Pid>, ExitReason>;

/// One supervisor: its children, and what it is doing.
#[derive(Debug)]
pub(crate) struct Supervision<C> {
    parent: Option<Pid>,
    auto_shutdown: AutoShutdown,
    restarts: Restarts,
    family: Family,
    work: Work<C>,
    /// Who wants to know where a child is that is being restarted.
    waiting: Vec<Waiting<C>>,
}

/// Who wants to know where a child is, other than the pid that is gone.
#[derive(Debug)]
struct Waiting<C> {
    id: String,
    gone: Option<Pid>,
    caller: C,
}

#[derive(Debug)]
enum Family {
    /// Each has its id and its place in the order of starts.
    Siblings(Siblings),
    /// simple_one_for_one: all alike.
    Brood(Brood),
}

/// SV-1: what a supervisor is doing. While it starts or stops somebody it looks at nothing else.
#[derive(Debug)]
enum Work<C> {
    Rests,
    /// Starts the siblings from `at` on, oldest first.
    Starts {
        at: usize,
        why: Why,
    },
    /// Stops the siblings below `at` and down to `to`, youngest first; the one at `at` is being stopped.
    Stops {
        at: usize,
        to: usize,
        then: Then,
    },
    /// Starts one sibling again.
    StartsAgain {
        at: usize,
        asked: Option<C>,
    },
    StartsNew {
        id: String,
        spec: Arc<ChildSpec>,
        caller: C,
    },
    Terminates {
        at: usize,
        caller: C,
    },
    /// One of the brood: a new one for a caller, or one in the place of another.
    Breeds {
        extra: Args,
        caller: C,
    },
    BreedsAgain {
        instead: Pid,
    },
    TerminatesAlike {
        pid: Pid,
        caller: C,
    },
    StopsBrood {
        reason: ExitReason,
    },
    Ended,
}

#[derive(Debug)]
enum Why {
    ItBegins,
    ToRestart,
}

#[derive(Debug)]
enum Then {
    StartAgain,
    End(ExitReason),
}

impl<C> Supervision<C> {
    /// A supervisor whose plan has been checked.
    pub(crate) fn new(plan: Supervisor, parent: Option<Pid>) -> Supervision<C> {
        let Supervisor { strategy, intensity, period, auto_shutdown, children } = plan;
        let siblings = |scope, children| Family::Siblings(Siblings::new(scope, children));
        let family = match strategy {
            Strategy::OneForOne => siblings(Scope::One, children),
            Strategy::OneForAll => siblings(Scope::All, children),
            Strategy::RestForOne => siblings(Scope::Rest, children),
            Strategy::SimpleOneForOne => {
                let (id, spec) = children.into_iter().next().expect("the plan has been checked");
                Family::Brood(Brood::new(id, spec))
            }
        };
        let restarts = Restarts::new(intensity, period);
        Supervision {
            parent,
            auto_shutdown,
            restarts,
            family,
            work: Work::Rests,
            waiting: Vec::new(),
        }
    }

    /// Starts the children, oldest first (V1).
    pub(crate) fn begin(&mut self, out: &mut Vec<Effect<C>>) {
        match self.family {
            Family::Siblings(_) => self.start_from(0, Why::ItBegins, out),
            Family::Brood(_) => out.push(Effect::Up),
        }
    }

    /// Takes in the next letter.
    ///
    /// # Panics
    /// If it does not rest: SV-1.
    pub(crate) fn hear(&mut self, letter: Letter<C>, now: Duration, out: &mut Vec<Effect<C>>) {
        assert!(self.rests(), "a supervisor that is at work looks at no letter");
        match letter {
            // V23, V24: whatever the reason
            Letter::Exit { from, reason: ExitReason::Normal }
                if self.parent == Some(from) && mutant::is(Mutant::ParentsNormalIgnored) => {}
            Letter::Exit { from, reason } if self.parent == Some(from) => self.end(reason, out),
            Letter::Exit { from, reason } => self.child_ended(from, reason, now, out),
            Letter::Stop(reason) => self.end(reason, out),
            Letter::TryAgain(whom) => self.try_again(whom, now, out),
            Letter::Call { caller, call } => self.call(caller, call, out),
        }
    }

    /// The start that was asked for is over.
    ///
    /// # Panics
    /// If none was asked for.
    pub(crate) fn started(&mut self, started: Started, out: &mut Vec<Effect<C>>) {
        match std::mem::replace(&mut self.work, Work::Rests) {
            Work::Starts { at, why } => self.started_one_of_many(at, why, started, out),
            Work::StartsAgain { at, asked } => self.started_again(at, asked, started, out),
            Work::StartsNew { id, spec, caller } => {
                let answer = self.siblings().born(id, spec, started);
                self.answer(caller, Answer::Started(answer), out);
                self.rest(out);
            }
            Work::Breeds { extra, caller } => {
                let answer = started.map_err(ChildError::NotStarted);
                if let Ok(Some(pid)) = answer {
                    self.brood().put(pid, extra);
                }
                self.answer(caller, Answer::Started(answer), out);
                self.rest(out);
            }
            Work::BreedsAgain { instead } => {
                let brood = self.brood();
                match started {
                    Ok(Some(pid)) => brood.replace(instead, pid),
                    // OTP 25 keeps an entry without a pid here, and fails over it later.
                    Ok(None) => brood.remove(instead),
                    Err(reason) => {
                        brood.try_again(instead);
                        let child = brood.id.clone();
                        out.push(Effect::Report(Report::NotStarted { child, reason }));
                        out.push(Effect::TryAgain(Whom::Pid(instead)));
                    }
                }
                self.rest(out);
            }
            Work::Rests
            | Work::Stops { .. }
            | Work::Terminates { .. }
            | Work::TerminatesAlike { .. }
            | Work::StopsBrood { .. }
            | Work::Ended => panic!("no start was asked for"),
        }
    }

    /// The stop that was asked for is over: who ended, and why.
    ///
    /// # Panics
    /// If none was asked for.
    pub(crate) fn stopped(&mut self, ends: Vec<(Pid, ExitReason)>, out: &mut Vec<Effect<C>>) {
        for (pid, reason) in ends {
            let (child, spec) = self.whose(pid).expect("only children are stopped");
            if !is_as_told(spec, &reason) {
                out.push(Effect::Report(Report::StoppedOtherwise { child, reason }));
            }
        }
        match std::mem::replace(&mut self.work, Work::Rests) {
            Work::Stops { at, to, then } => {
                self.siblings().is_down(at);
                self.stop_below(at, to, then, out);
            }
            Work::Terminates { at, caller } => {
                self.siblings().is_down(at);
                self.answer(caller, Answer::Done(Ok(())), out);
                self.rest(out);
            }
            Work::TerminatesAlike { pid, caller } => {
                self.brood().remove(pid);
                self.answer(caller, Answer::Done(Ok(())), out);
                self.rest(out);
            }
            Work::StopsBrood { reason } => self.is_over(reason, out),
            Work::Rests
            | Work::Starts { .. }
            | Work::StartsAgain { .. }
            | Work::StartsNew { .. }
            | Work::Breeds { .. }
            | Work::BreedsAgain { .. }
            | Work::Ended => panic!("no stop was asked for"),
        }
    }

    /// Whether it looks at its mailbox.
    pub(crate) fn rests(&self) -> bool {
        match self.work {
            Work::Rests => true,
            Work::Starts { .. }
            | Work::Stops { .. }
            | Work::StartsAgain { .. }
            | Work::StartsNew { .. }
            | Work::Terminates { .. }
            | Work::Breeds { .. }
            | Work::BreedsAgain { .. }
            | Work::TerminatesAlike { .. }
            | Work::StopsBrood { .. }
            | Work::Ended => false,
        }
    }

    /// A process has ended.
    ///
    /// SV-2: one that is no child, or no more, is nobody's business (V33, V37).
    fn child_ended(
        &mut self,
        pid: Pid,
        reason: ExitReason,
        now: Duration,
        out: &mut Vec<Effect<C>>,
    ) {
        let Some((child, spec)) = self.whose(pid) else { return };
        let (permanent, temporary) = (spec.is_permanent(), spec.is_temporary());
        let significant = spec.significant;
        if permanent || !reason.is_clean() {
            out.push(Effect::Report(Report::Ended { child, reason: reason.clone() }));
        }
        let (clean, never) = (
            reason.is_clean() && !mutant::is(Mutant::TransientAlways),
            temporary && !mutant::is(Mutant::TemporaryRestarts),
        );
        if permanent || (!never && !clean) {
            return self.restart(Whom::Pid(pid), now, out);
        }
        self.family.forget(&Whom::Pid(pid));
        let ends = match self.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => significant,
            AutoShutdown::AllSignificant => significant && !self.family.has_significant(),
        };
        match ends {
            true => self.end(ExitReason::Shutdown, out), // V34
            false => self.rest(out),
        }
    }

    /// A start has failed before; unless a call came in between, it is time for the next.
    fn try_again(&mut self, whom: Whom, now: Duration, out: &mut Vec<Effect<C>>) {
        if self.family.is_restarting(&whom) {
            self.restart(whom, now, out); // V17: each try counts
        }
    }

    /// Restarts a child, and with it whom the strategy says; or gives up (V12).
    fn restart(&mut self, whom: Whom, now: Duration, out: &mut Vec<Effect<C>>) {
        if !self.restarts.one_more(now) {
            let child = self.family.name_of(&whom);
            self.family.forget(&whom);
            out.push(Effect::Report(Report::TooManyRestarts { child }));
            return self.end(ExitReason::Shutdown, out);
        }
        match &mut self.family {
            Family::Siblings(siblings) => {
                let at = siblings.at(&whom).expect("only a child is restarted");
                let count = siblings.len();
                match siblings.scope {
                    Scope::One => self.start_again(at, None, out), // V6
                    Scope::Rest if mutant::is(Mutant::RestForOneIsOneForOne) => {
                        self.start_again(at, None, out);
                    }
                    Scope::All if mutant::is(Mutant::OneForAllIsRestForOne) => {
                        siblings.is_down(at);
                        self.stop_below(count, at, Then::StartAgain, out);
                    }
                    Scope::All => {
                        siblings.is_down(at);
                        self.stop_below(count, 0, Then::StartAgain, out); // V7
                    }
                    Scope::Rest => {
                        siblings.is_down(at);
                        self.stop_below(count, at, Then::StartAgain, out); // V8
                    }
                }
            }
            Family::Brood(brood) => {
                let Whom::Pid(pid) = whom else { unreachable!("a brood has no ids") };
                let extra = brood.extra_of(pid).expect("only a child is restarted").clone();
                out.push(Effect::Start { spec: brood.spec.clone(), extra: Some(extra) });
                self.work = Work::BreedsAgain { instead: pid };
            }
        }
    }

    fn start_from(&mut self, at: usize, why: Why, out: &mut Vec<Effect<C>>) {
        let siblings = self.siblings();
        if at < siblings.len() {
            out.push(Effect::Start { spec: siblings.spec(at).clone(), extra: None });
            self.work = Work::Starts { at, why };
            return;
        }
        match why {
            Why::ItBegins => out.push(Effect::Up),
            Why::ToRestart => {}
        }
        self.rest(out);
    }

    fn started_one_of_many(
        &mut self,
        at: usize,
        why: Why,
        started: Started,
        out: &mut Vec<Effect<C>>,
    ) {
        let siblings = self.siblings();
        let reason = match started {
            Ok(pid) => {
                let next = if siblings.is_started(at, pid) { at + 1 } else { at };
                return self.start_from(next, why, out);
            }
            Err(reason) => reason,
        };
        let child = siblings.id(at).to_owned();
        out.push(Effect::Report(Report::NotStarted {
            child: child.clone(),
            reason: reason.clone(),
        }));
        match why {
            Why::ItBegins => {
                let reason = failed_to_start_child(child, &reason);
                self.stop_below(at, 0, Then::End(reason), out); // V3
            }
            // Those that have started stay up until the next try.
            Why::ToRestart => {
                siblings.is_to_be_tried_again(at);
                out.push(Effect::TryAgain(Whom::Id(child)));
                self.rest(out);
            }
        }
    }

    fn start_again(&mut self, at: usize, asked: Option<C>, out: &mut Vec<Effect<C>>) {
        out.push(Effect::Start { spec: self.siblings().spec(at).clone(), extra: None });
        self.work = Work::StartsAgain { at, asked };
    }

    fn started_again(
        &mut self,
        at: usize,
        asked: Option<C>,
        started: Started,
        out: &mut Vec<Effect<C>>,
    ) {
        let siblings = self.siblings();
        match (&started, asked) {
            (Ok(pid), None) => {
                siblings.is_started(at, *pid);
            }
            (Ok(pid), Some(caller)) => {
                siblings.is_started(at, *pid);
                self.answer(caller, Answer::Started(Ok(*pid)), out);
            }
            (Err(_), None) if mutant::is(Mutant::FailedStartIsNotTriedAgain) => {
                siblings.is_down(at);
            }
            (Err(reason), None) => {
                siblings.is_to_be_tried_again(at);
                let child = siblings.id(at).to_owned();
                let report = Report::NotStarted { child: child.clone(), reason: reason.clone() };
                out.push(Effect::Report(report));
                out.push(Effect::TryAgain(Whom::Id(child)));
            }
            (Err(reason), Some(caller)) => {
                let why = ChildError::NotStarted(reason.clone());
                self.answer(caller, Answer::Started(Err(why)), out);
            }
        }
        self.rest(out);
    }

    /// Stops the siblings below `at` and down to `to`.
    ///
    /// SV-3: youngest first, each when the one before has ended (V1, V7, V8, V11).
    fn stop_below(&mut self, mut at: usize, to: usize, then: Then, out: &mut Vec<Effect<C>>) {
        let siblings = self.siblings();
        while at > to {
            at -= 1;
            if let Some(pid) = siblings.pid(at) {
                let shutdown = match siblings.spec(at).shutdown {
                    Shutdown::BrutalKill if mutant::is(Mutant::BrutalKillIsGentle) => {
                        Shutdown::Infinity
                    }
                    shutdown => shutdown,
                };
                out.push(Effect::Stop { pids: vec![pid], shutdown });
                self.work = Work::Stops { at, to, then };
                return;
            }
            siblings.is_down(at);
        }
        match then {
            Then::StartAgain => self.start_from(to, Why::ToRestart, out),
            Then::End(reason) => self.is_over(reason, out),
        }
    }

    /// Ends the children, then itself.
    ///
    /// SV-4: nothing that it started is left running when it has ended.
    fn end(&mut self, reason: ExitReason, out: &mut Vec<Effect<C>>) {
        match &self.family {
            Family::Siblings(siblings) => {
                self.stop_below(siblings.len(), 0, Then::End(reason), out);
            }
            Family::Brood(brood) => {
                let pids = brood.up();
                if pids.is_empty() {
                    return self.is_over(reason, out);
                }
                out.push(Effect::Stop { pids, shutdown: brood.spec.shutdown }); // V29
                self.work = Work::StopsBrood { reason };
            }
        }
    }

    /// Who still waits learns of the end itself.
    fn is_over(&mut self, reason: ExitReason, out: &mut Vec<Effect<C>>) {
        self.work = Work::Ended;
        self.waiting.clear();
        out.push(Effect::End(reason));
    }

    /// Looks at the mailbox again. Who asked for a child that was being restarted is told where it is.
    fn rest(&mut self, out: &mut Vec<Effect<C>>) {
        self.work = Work::Rests;
        let Family::Siblings(siblings) = &self.family else { return };
        for waiting in std::mem::take(&mut self.waiting) {
            match siblings.find(&waiting.id) {
                Ok(at) if siblings.is_awaited(at, waiting.gone) => self.waiting.push(waiting),
                found => {
                    let answer = Answer::Found(found.map(|at| siblings.pid(at)));
                    out.push(Effect::Answer { caller: waiting.caller, answer });
                }
            }
        }
    }

    /// SV-5: every call is answered once, or the end of the supervisor is its answer.
    fn answer(&mut self, caller: C, answer: Answer, out: &mut Vec<Effect<C>>) {
        out.push(Effect::Answer { caller, answer });
    }

    fn whose(&self, pid: Pid) -> Option<(String, &ChildSpec)> {
        match &self.family {
            Family::Siblings(siblings) => {
                let at = siblings.at(&Whom::Pid(pid))?;
                Some((siblings.id(at).to_owned(), siblings.spec(at)))
            }
            Family::Brood(brood) => {
                brood.is_up(pid).filter(|up| *up).map(|_| (brood.id.clone(), &*brood.spec))
            }
        }
    }

    fn siblings(&mut self) -> &mut Siblings {
        match &mut self.family {
            Family::Siblings(siblings) => siblings,
            Family::Brood(_) => unreachable!("a brood has no order"),
        }
    }

    fn brood(&mut self) -> &mut Brood {
        match &mut self.family {
            Family::Brood(brood) => brood,
            Family::Siblings(_) => unreachable!("siblings are no brood"),
        }
    }
}

impl Family {
    /// It has ended, and is not to be started by itself.
    fn forget(&mut self, whom: &Whom) {
        match (self, whom) {
            (Family::Siblings(siblings), whom) => {
                if let Some(at) = siblings.at(whom) {
                    siblings.is_down(at);
                }
            }
            (Family::Brood(brood), Whom::Pid(pid)) => brood.remove(*pid),
            (Family::Brood(_), Whom::Id(_)) => {}
        }
    }

    fn is_restarting(&self, whom: &Whom) -> bool {
        match (self, whom) {
            (Family::Siblings(siblings), whom) => {
                siblings.at(whom).is_some_and(|at| siblings.is_restarting(at))
            }
            (Family::Brood(brood), Whom::Pid(pid)) => brood.is_up(*pid) == Some(false),
            (Family::Brood(_), Whom::Id(_)) => false,
        }
    }

    fn has_significant(&self) -> bool {
        match self {
            Family::Siblings(siblings) => siblings.has_significant(),
            Family::Brood(brood) => !brood.is_empty(),
        }
    }

    fn name_of(&self, whom: &Whom) -> String {
        match self {
            Family::Siblings(siblings) => {
                siblings.at(whom).map_or_else(String::new, |at| siblings.id(at).to_owned())
            }
            Family::Brood(brood) => brood.id.clone(),
        }
    }
}

/// Why a supervisor ends that cannot start a child at its own start (V3).
fn failed_to_start_child(id: String, reason: &ExitReason) -> ExitReason {
    let why = vec!["failed_to_start_child".into(), id.into(), reason.to_string().into()];
    ExitReason::ShutdownWith(rmpv::Value::Array(why))
}

/// Whether a child that was told to end has ended as it was told, so that there is nothing to report.
fn is_as_told(spec: &ChildSpec, reason: &ExitReason) -> bool {
    let told = match spec.shutdown {
        Shutdown::BrutalKill => ExitReason::Killed,
        Shutdown::After(_) | Shutdown::Infinity => ExitReason::Shutdown,
    };
    *reason == told || (reason.is_clean() && !spec.is_permanent())
}

#[cfg(test)]
mod tests;
