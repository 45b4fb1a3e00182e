//! The supervisor process: feeds the decisions of `core::restart` with its mailbox, and carries them out.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;

use super::letters::{AskSupervisor, Caller, StopSupervisor, SupervisorSays, SupervisorTriesAgain};
use crate::core::restart::{Call, Effect, Letter, Report, Started, Supervision};
use crate::message::{Down, Exited};
use crate::node::cell::exit;
use crate::node::letter::Letter as Mail;
use crate::pool::{Pool, SpawnError};
use crate::process::Ctx;
use crate::term::{Args, ChildSpec, ExitReason, NodeName, Pid, Place, Ref, Shutdown, Supervisor};

#[expect(unsafe_code, reason = "linkme puts what is registered into a link section")]
mod registration {
    use super::supervisor;

    crate::remote_fn!("pspawn": supervisor);
}

/// A supervisor's whole life.
async fn supervisor(mut ctx: Ctx, plan: Supervisor) {
    ctx.trap_exits(true);
    if let Err(why) = plan.check() {
        exit(ExitReason::exit(format!("start_spec: {why}"))); // V30
    }
    let mut sup = Supervision::new(plan, ctx.parent());
    let mut wanted = Vec::new();
    sup.begin(&mut wanted);
    loop {
        match carry_out(&mut ctx, &mut wanted) {
            Work::Start { spec, extra } => {
                let started = start(&ctx, &spec, extra.as_ref()).await;
                sup.started(started, &mut wanted);
            }
            Work::Stop { pids, shutdown } => {
                let ends = stop(&mut ctx, &pids, shutdown).await;
                sup.stopped(ends, &mut wanted);
            }
            Work::Read => {
                let letter = next(&mut ctx).await;
                let now = ctx.cell().node.now();
                sup.hear(letter, now, &mut wanted);
            }
        }
    }
}

/// What takes time.
enum Work {
    Start { spec: Arc<ChildSpec>, extra: Option<Args> },
    Stop { pids: Vec<Pid>, shutdown: Shutdown },
    Read,
}

/// Carries out all that takes no time; returns what does.
fn carry_out(ctx: &mut Ctx, wanted: &mut Vec<Effect<Caller>>) -> Work {
    let mut work = Work::Read;
    for effect in wanted.drain(..) {
        match effect {
            Effect::Start { spec, extra } => work = Work::Start { spec, extra },
            Effect::Stop { pids, shutdown } => work = Work::Stop { pids, shutdown },
            Effect::Answer { caller, answer } => {
                ctx.send(caller.pid, SupervisorSays { question: caller.question, answer });
            }
            Effect::TryAgain(whom) => ctx.send(ctx.pid(), SupervisorTriesAgain(whom)),
            Effect::Up => ctx.init_ack(),
            Effect::Report(report) => log(ctx, &report),
            Effect::End(reason) => exit(reason),
        }
    }
    work
}

/// The next letter that concerns a supervisor; others are ignored (V33).
async fn next(ctx: &mut Ctx) -> Letter<Caller> {
    loop {
        let letter = ctx.receive_any().await;
        let letter = match letter.open::<Exited>() {
            Ok(Exited { pid, reason }) => return Letter::Exit { from: pid, reason },
            Err(letter) => letter,
        };
        let letter = match letter.open::<AskSupervisor>() {
            Ok(AskSupervisor { caller, call }) => {
                return Letter::Call { caller, call: looked_up(ctx, call) };
            }
            Err(letter) => letter,
        };
        let letter = match letter.open::<SupervisorTriesAgain>() {
            Ok(SupervisorTriesAgain(whom)) => return Letter::TryAgain(whom),
            Err(letter) => letter,
        };
        match letter.open::<StopSupervisor>() {
            Ok(StopSupervisor(reason)) => return Letter::Stop(reason),
            Err(letter) => {
                let log = &ctx.cell().node.log;
                slog::warn!(log, "a supervisor ignores a message"; "pid" => %ctx.pid(), "tag" => letter.tag());
            }
        }
    }
}

/// Whether a pid is alive is known of this node's; of others it is assumed.
fn looked_up(ctx: &Ctx, call: Call) -> Call {
    match call {
        Call::TerminateAlike { pid, alive: _ } => {
            let node = &ctx.cell().node;
            let alive = !node.is_home_of(pid) || node.cell_of(pid).is_some();
            Call::TerminateAlike { pid, alive }
        }
        Call::Start { .. }
        | Call::StartAlike { .. }
        | Call::Terminate(_)
        | Call::Restart(_)
        | Call::Delete(_)
        | Call::Spec(_)
        | Call::Which
        | Call::Count
        | Call::Find { .. } => call,
    }
}

/// Starts a child, linked from birth.
async fn start(ctx: &Ctx, spec: &ChildSpec, extra: Option<&Args>) -> Started {
    let args = arguments(spec, extra).map_err(ExitReason::exit)?;
    let (pool, kind) = (ctx.pool(), &spec.start.kind);
    let spawn = async |on| {
        let args = args.clone();
        pool.spawn_child(ctx.cell(), true, spec.acknowledged, on, kind, args).await
    };
    let spawned = match spec.place {
        Place::Here => spawn(Some(ctx.node())).await,
        Place::On(node) => spawn(Some(node)).await,
        Place::Pool => {
            // The pool may not have noticed yet that a node is lost, perhaps the one that the child was
            // on. That is no failure of the child's as long as there is another place for it.
            let (mut spawned, mut tried) = (spawn(None).await, Vec::new());
            while let Err(SpawnError::NodeDown { node } | SpawnError::Stopping { node }) = spawned {
                tried.push(node);
                let Some(next) = another(&pool, &tried).await else { break };
                spawned = spawn(Some(next)).await;
            }
            spawned
        }
    };
    match spawned {
        Ok(pid) => Ok(Some(pid)),
        Err(SpawnError::Ignored { .. }) => Ok(None),
        Err(SpawnError::NotUp { reason, .. }) => Err(reason),
        Err(SpawnError::NodeDown { .. }) => Err(ExitReason::NoConnection),
        Err(SpawnError::UnknownKind { kind, .. }) => Err(ExitReason::Undef(kind)),
        Err(
            why @ (SpawnError::NoNode(_)
            | SpawnError::BadArguments { .. }
            | SpawnError::NotArguments { .. }
            | SpawnError::NotAllowed { .. }
            | SpawnError::NotAmong { .. }
            | SpawnError::Stopping { .. }
            | SpawnError::TimedOut { .. }
            | SpawnError::NoCaller),
        ) => Err(ExitReason::exit(why.to_string())),
    }
}

/// The node with the least load of those that have not been tried.
async fn another(pool: &Pool, tried: &[NodeName]) -> Option<NodeName> {
    let nodes = pool.nodes_and_load().await.ok()?.into_iter();
    let others = nodes.filter(|(node, _)| !tried.contains(node));
    others.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(node, _)| node)
}

/// The arguments of the spec, and behind them those of one child alone (V28).
fn arguments(spec: &ChildSpec, extra: Option<&Args>) -> Result<Vec<u8>, String> {
    let Args(args) = spec.start.args.as_ref().map_err(Clone::clone)?;
    let Some(Args(extra)) = extra else { return Ok(args.clone()) };
    let ((len, args), (extra_len, extra)) = (items(args)?, items(extra)?);
    let mut all = Vec::with_capacity(args.len() + extra.len() + 5);
    rmp::encode::write_array_len(&mut all, len.saturating_add(extra_len))
        .map_err(|why| why.to_string())?;
    all.extend_from_slice(args);
    all.extend_from_slice(extra);
    Ok(all)
}

/// How many items an encoded array has, and the items.
fn items(mut array: &[u8]) -> Result<(u32, &[u8]), String> {
    if array == [rmp::Marker::Null.to_u8()] {
        return Ok((0, &[])); // the arguments of an actor that has none
    }
    let len = rmp::decode::read_array_len(&mut array).map_err(|why| why.to_string())?;
    Ok((len, array))
}

/// Ends children, all at the same time: V19 to V21, V29. Whoever does not end in time is killed.
async fn stop(ctx: &mut Ctx, pids: &[Pid], shutdown: Shutdown) -> Vec<(Pid, ExitReason)> {
    let node = ctx.cell().node.clone();
    let (signal, mut until) = match shutdown {
        Shutdown::BrutalKill => (ExitReason::Kill, None),
        Shutdown::After(limit) => (ExitReason::Shutdown, Some(node.now().saturating_add(limit))),
        Shutdown::Infinity => (ExitReason::Shutdown, None),
    };
    // The monitor says when it has ended, even if it has let go of its link.
    let mut left: HashMap<Ref, Pid> = HashMap::new();
    for pid in pids {
        left.insert(ctx.monitor(*pid), *pid);
        ctx.exit(*pid, signal.clone());
    }
    let mut ends = Vec::new();
    while !left.is_empty() {
        let is_one = |letter: &mut Mail| {
            letter.get::<Down>().is_some_and(|down| left.contains_key(&down.monitor))
        };
        let letter = match until {
            None => Some(ctx.receive_matching(is_one).await),
            Some(until) => {
                let within = until.saturating_sub(node.now());
                ctx.receive_matching_within(within, is_one).await
            }
        };
        let Some(letter) = letter else {
            until = None;
            left.values().for_each(|pid| ctx.exit(*pid, ExitReason::Kill));
            continue;
        };
        let Ok(Down { monitor, reason, .. }) = letter.open::<Down>() else { continue };
        let Some(pid) = left.remove(&monitor) else { continue };
        ctx.unlink(pid);
        ends.push((
            pid,
            of_exit(ctx, pid).filter(|_| reason == ExitReason::NoProc).unwrap_or(reason),
        ));
    }
    ends
}

/// Takes a child's exit out of the mailbox, if it is there. It says more than the monitor on a child that
/// had ended before.
fn of_exit(ctx: &mut Ctx, child: Pid) -> Option<ExitReason> {
    let is_it =
        |letter: &mut Mail| letter.get::<Exited>().is_some_and(|exited| exited.pid == child);
    let letter = ctx.take_if_there(is_it).now_or_never()??;
    letter.open::<Exited>().ok().map(|exited| exited.reason)
}

/// What OTP's supervisor reports.
fn log(ctx: &Ctx, report: &Report) {
    let (node, pid) = (&ctx.cell().node, ctx.pid());
    if node.is_stopping() {
        return; // that the children of a pool that stops are gone is no news
    }
    let log = &node.log;
    match report {
        Report::Ended { child, reason } => {
            slog::warn!(log, "child ended"; "pid" => %pid, "child" => child, "reason" => %reason);
        }
        Report::NotStarted { child, reason } => {
            slog::warn!(log, "child did not start"; "pid" => %pid, "child" => child, "reason" => %reason);
        }
        Report::StoppedOtherwise { child, reason } => {
            slog::warn!(log, "child ended otherwise than it was told to";
                "pid" => %pid, "child" => child, "reason" => %reason);
        }
        Report::TooManyRestarts { child } => {
            slog::error!(log, "too many restarts"; "pid" => %pid, "child" => child);
        }
    }
}
