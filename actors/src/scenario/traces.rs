//! Running a supervisor's trace: the supervisor that everybody uses, with children that are real processes,
//! in turn on the master and on two slaves.

use std::collections::HashMap;

use pspawn::prelude::*;
use pspawn::{
    ChildError, ChildSpec, ChildState, RestartType, Supervisor, SupervisorError, SupervisorRef,
    SupervisorStartError,
};

use super::Mode;
use super::format::{
    Child, Log, Restart, Shutdown, Strategy, Trace, TraceOp, TraceOutcome, TraceStep,
};
use super::nodes::Nodes;
use super::run::{RunError, word};

/// Runs a trace on these nodes.
pub(super) async fn run_trace(
    trace: &Trace,
    nodes: &Nodes,
    mode: Mode,
    within: Duration,
) -> Result<TraceOutcome, RunError> {
    let fails = |step, why: String| RunError { id: trace.id.clone(), step, why };
    let cast = nodes.take(3, false).await.map_err(|why| fails(0, why.to_string()))?;
    let (pool, fails_of) = (&nodes.pool, trace.children.iter().map(|c| (c.id.clone(), c.fail)));
    let clerk = pool.spawn_on::<Clerk>(pool.here(), fails_of.collect()).await;
    let clerk = clerk.map_err(|why| fails(0, why.to_string()))?;
    let (ctx, parent) = (pool.mailbox(), pool.mailbox());
    let mut play = Play { ctx, parent, clerk, cast, mode, within, children: 0, sup: None };
    let mut steps = Vec::new();
    for at in 0..=trace.ops.len() {
        let step = match at.checked_sub(1) {
            None => play.start(trace).await,
            Some(op) => play.op(&trace.ops[op]).await,
        };
        steps.push(step.map_err(|why| fails(at, why))?);
    }
    if let Some((sup, _)) = &play.sup {
        let _ = sup.stop(ExitReason::Shutdown).await; // whatever it ends with, it is gone
    }
    play.parent.exit(play.clerk.pid(), ExitReason::Kill);
    Ok(TraceOutcome { id: trace.id.clone(), steps })
}

struct Play {
    ctx: Ctx,
    /// The supervisor's parent.
    parent: Ctx,
    clerk: RemoteAddr<Clerk>,
    cast: Vec<NodeName>,
    mode: Mode,
    /// No wait for a child is longer.
    within: Duration,
    /// How many specs were made: they are spread over the nodes in turn.
    children: usize,
    /// None before its start and after its end.
    sup: Option<(SupervisorRef, Pid)>,
}

impl Play {
    async fn start(&mut self, trace: &Trace) -> Result<TraceStep, String> {
        let strategy = match trace.strategy {
            Strategy::OneForOne => pspawn::Strategy::OneForOne,
            Strategy::OneForAll => pspawn::Strategy::OneForAll,
            Strategy::RestForOne => pspawn::Strategy::RestForOne,
        };
        let mut plan = Supervisor::new(strategy).intensity(trace.intensity, NEVER);
        for child in &trace.children {
            plan = plan.child(child.id.clone(), self.spec(child));
        }
        match plan.start_link(&self.parent).await {
            Ok(sup) => {
                let pid = sup.pid().await.map_err(|why| why.to_string())?;
                self.sup = Some((sup, pid));
                self.seen("ok".to_owned()).await
            }
            Err(SupervisorStartError::NotStarted(_)) => {
                let log = self.log().await?;
                let failed = log.iter().rev().find_map(|log| match log {
                    Log::Fail(id) => Some(id.clone()),
                    Log::Start(_) | Log::Stop(..) => None,
                });
                let result = format!("failed:{}", failed.unwrap_or_default());
                Ok(TraceStep { children: Vec::new(), log, result, sup: "none".to_owned() })
            }
            Err(why) => Err(why.to_string()),
        }
    }

    async fn op(&mut self, op: &TraceOp) -> Result<TraceStep, String> {
        let Some((sup, pid)) = self.sup.clone() else {
            let (children, log) = (Vec::new(), Vec::new());
            let (result, sup) = ("skipped".to_owned(), "none".to_owned());
            return Ok(TraceStep { children, log, result, sup });
        };
        let result = match op {
            TraceOp::Die { id, reason } => match self.running(&sup, id).await? {
                Some(child) => {
                    self.die(child, reason).await?;
                    "ok".to_owned()
                }
                None => "skipped".to_owned(),
            },
            TraceOp::Fail { id, starts } => {
                let fail = LetFail { id: id.clone(), starts: *starts };
                self.clerk.send(fail).await.map_err(|why| why.to_string())?;
                "ok".to_owned()
            }
            TraceOp::Terminate(id) => in_a_word(sup.terminate_child(id).await)?,
            TraceOp::Restart(id) => in_a_word(sup.restart_child(id).await)?,
            TraceOp::Delete(id) => in_a_word(sup.delete_child(id).await)?,
            TraceOp::Start(child) => {
                if child.fail > 0 {
                    let fail = LetFail { id: child.id.clone(), starts: child.fail };
                    self.clerk.send(fail).await.map_err(|why| why.to_string())?;
                }
                let spec = self.spec(child);
                in_a_word(sup.start_child(child.id.clone(), spec).await)?
            }
            TraceOp::Stop(reason) => {
                self.parent.exit(pid, reason_of(reason));
                "ok".to_owned()
            }
        };
        self.seen(result).await
    }

    /// Ends a child, and returns when the supervisor has heard of it.
    async fn die(&mut self, child: Pid, reason: &str) -> Result<(), String> {
        let watch = self.ctx.monitor(child);
        match reason {
            "killed" => self.ctx.exit(child, ExitReason::Kill),
            reason => self.ctx.send(child, Die { reason: reason.to_owned() }),
        }
        let fired = |down: &Down| down.monitor == watch;
        let ended = self
            .ctx
            .receive_matching_within(self.within, |letter| letter.get::<Down>().is_some_and(fired));
        ended.await.map(drop).ok_or_else(|| format!("waited {:?} for a child to end", self.within))
    }

    /// What is to be seen when the supervisor has nothing more to do.
    async fn seen(&mut self, result: String) -> Result<TraceStep, String> {
        let Some((sup, pid)) = self.sup.clone() else { return Err("no supervisor".to_owned()) };
        let (children, sup) = loop {
            match sup.which_children().await {
                Ok(children) if children.iter().any(|c| c.state == ChildState::Restarting) => {}
                Ok(children) => {
                    let shown = children.iter().rev().map(|child| {
                        let up = if child.state.pid().is_some() { "up" } else { "down" };
                        (child.id.clone().unwrap_or_default(), up.to_owned())
                    });
                    break (shown.collect(), "alive".to_owned());
                }
                Err(SupervisorError::Ended { .. }) => {
                    self.sup = None;
                    break (Vec::new(), self.ended(pid).await?);
                }
                Err(why) => return Err(why.to_string()),
            }
        };
        Ok(TraceStep { children, log: self.log().await?, result, sup })
    }

    /// The reason that the supervisor's parent hears.
    async fn ended(&mut self, sup: Pid) -> Result<String, String> {
        let ended = self.parent.receive_matching_within(self.within, |letter| {
            letter.get::<Exited>().is_some_and(|exited| exited.pid == sup)
        });
        let letter = ended.await.ok_or("the supervisor ended, and its parent did not hear")?;
        letter.open::<Exited>().map(|exited| word(&exited.reason)).map_err(|_| String::new())
    }

    async fn log(&self) -> Result<Vec<Log>, String> {
        let told = self.clerk.send(TakeLog).await.map_err(|why| why.to_string())?;
        Ok(told.into_iter().map(Report::into_log).collect())
    }

    async fn running(&self, sup: &SupervisorRef, id: &str) -> Result<Option<Pid>, String> {
        let children = sup.which_children().await.map_err(|why| why.to_string())?;
        Ok(children
            .iter()
            .find(|c| c.id.as_deref() == Some(id))
            .and_then(|child| child.state.pid()))
    }

    fn spec(&mut self, child: &Child) -> ChildSpec {
        let number = self.children;
        self.children += 1;
        let part = ChildPart { clerk: self.clerk.clone(), id: child.id.clone() };
        let spec = match self.mode.is_actix(number) {
            true => Worker::spec(part),
            false => ChildSpec::function("scenario", "worker", (part,)).acknowledged(),
        };
        let restart = match child.restart {
            Restart::Permanent => RestartType::Permanent,
            Restart::Transient => RestartType::Transient,
            Restart::Temporary => RestartType::Temporary,
        };
        let shutdown = match child.shutdown {
            Shutdown::BrutalKill => pspawn::Shutdown::BrutalKill,
            Shutdown::Infinity => pspawn::Shutdown::Infinity,
            Shutdown::Millis(millis) => pspawn::Shutdown::After(Duration::from_millis(millis)),
        };
        spec.restart(restart).shutdown(shutdown).on(self.cast[number % self.cast.len()])
    }
}

fn in_a_word<T>(done: Result<T, SupervisorError>) -> Result<String, String> {
    let word = match done {
        Ok(_) => "ok",
        Err(SupervisorError::Child(why)) => match why {
            ChildError::NotFound => "not_found",
            ChildError::Running => "running",
            ChildError::Restarting => "restarting",
            ChildError::AlreadyStarted(_) => "already_started",
            ChildError::AlreadyPresent => "already_present",
            ChildError::NotStarted(_) => "not_yet",
            other => return Err(other.to_string()),
        },
        Err(why) => return Err(why.to_string()),
    };
    Ok(word.to_owned())
}

fn reason_of(word: &str) -> ExitReason {
    match word.strip_prefix("shutdown:") {
        Some(why) => ExitReason::ShutdownWith(why.into()),
        None => ExitReason::exit(word),
    }
}

/// What a child is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ChildPart {
    clerk: RemoteAddr<Clerk>,
    id: String,
}

/// Tells a child to end by itself.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Die {
    reason: String,
}

/// A child that is a function process: starts if it may, and ends when it is told to.
async fn worker(mut ctx: Ctx, part: ChildPart) {
    ctx.trap_exits(true);
    if part.clerk.send(Starting { id: part.id.clone() }).await != Ok(true) {
        exit(ExitReason::exit(NOT_YET));
    }
    ctx.init_ack();
    loop {
        let letter = ctx.receive_any().await;
        match letter.open::<Die>() {
            Ok(Die { reason }) => exit(reason_of(&reason)),
            Err(letter) => {
                if let Ok(Exited { pid, reason }) = letter.open::<Exited>()
                    && Some(pid) == ctx.parent()
                {
                    part.clerk.do_send(Stopped { id: part.id, reason: word(&reason) });
                    exit(reason);
                }
            }
        }
    }
}
remote_fn!("scenario": worker);

/// The same as an actix actor. Its start is over when what it waits for is.
struct Worker(ChildPart);

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.trap_exits(true);
        let may = self.0.clerk.send(Starting { id: self.0.id.clone() });
        ctx.wait(may.into_actor(self).map(|may, _, _| {
            if may != Ok(true) {
                exit(ExitReason::exit(NOT_YET));
            }
        }));
    }
}

impl Handler<Die> for Worker {
    type Result = ();

    fn handle(&mut self, Die { reason }: Die, _: &mut Context<Self>) {
        exit(reason_of(&reason));
    }
}

impl Handler<Exited> for Worker {
    type Result = ();

    fn handle(&mut self, Exited { pid, reason }: Exited, ctx: &mut Context<Self>) {
        if Some(pid) == ctx.parent() {
            self.0.clerk.do_send(Stopped { id: self.0.id.clone(), reason: word(&reason) });
            exit(reason);
        }
    }
}

remote_actor!(Worker as "scenario_worker", new(part: ChildPart) = Worker(part), handles[Die]);

/// Keeps the log of a trace, and says which starts are to fail.
struct Clerk {
    fails: HashMap<String, u32>,
    log: Vec<Report>,
}

/// An entry of the log, as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Report {
    Start(String),
    Fail(String),
    Stop(String, String),
}

impl Report {
    fn into_log(self) -> Log {
        match self {
            Report::Start(id) => Log::Start(id),
            Report::Fail(id) => Log::Fail(id),
            Report::Stop(id, reason) => Log::Stop(id, reason),
        }
    }
}

/// A child wants to start. Is answered whether it may.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "bool")]
struct Starting {
    id: String,
}

/// A child was told to stop.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Stopped {
    id: String,
    reason: String,
}

/// The next starts of this child are to fail.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct LetFail {
    id: String,
    starts: u32,
}

/// Is answered with what was logged since it was last asked.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[rtype(result = "Vec<Report>")]
struct TakeLog;

impl Actor for Clerk {
    type Context = Context<Self>;
}

impl Handler<Starting> for Clerk {
    type Result = bool;

    fn handle(&mut self, Starting { id }: Starting, _: &mut Context<Self>) -> bool {
        let fails = self.fails.entry(id.clone()).or_default();
        let may = *fails == 0;
        *fails = fails.saturating_sub(1);
        self.log.push(if may { Report::Start(id) } else { Report::Fail(id) });
        may
    }
}

impl Handler<Stopped> for Clerk {
    type Result = ();

    fn handle(&mut self, Stopped { id, reason }: Stopped, _: &mut Context<Self>) {
        self.log.push(Report::Stop(id, reason));
    }
}

impl Handler<LetFail> for Clerk {
    type Result = ();

    fn handle(&mut self, LetFail { id, starts }: LetFail, _: &mut Context<Self>) {
        self.fails.insert(id, starts);
    }
}

impl Handler<TakeLog> for Clerk {
    type Result = actix::MessageResult<TakeLog>;

    fn handle(&mut self, TakeLog: TakeLog, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(std::mem::take(&mut self.log))
    }
}

remote_actor!(Clerk as "scenario_clerk", new(fails: HashMap<String, u32>) = Clerk { fails, log: Vec::new() },
    handles[Starting, Stopped, LetFail, TakeLog]);

/// The period of a trace's intensity.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// With this a child ends that may not start.
const NOT_YET: &str = "not_yet";
