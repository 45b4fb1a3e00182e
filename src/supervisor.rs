//! Supervisors: trees of actors on any node that are started again when they end, as OTP's module
//! `supervisor` does it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::actor::Spawnable;
use crate::addr::home;
use crate::core::restart::{Answer, Call};
use crate::node::Node;
use crate::node::ambient::decoding_node;
use crate::node::cell::{Cell, current};
use crate::pool::{Error, Pool, SpawnError, args_of};
use crate::process::Ctx;
use crate::term::{
    Args, ChildCount, ChildError, ChildInfo, ChildSpec, ExitReason, Kind, Pid, SpecError,
    Supervisor,
};
use crate::wire::encode;

mod child;
mod letters;
mod run;

pub use child::ChildRef;

impl Supervisor {
    /// Starts it on this handle's node, and with it its children, in order; returns when all are up.
    /// Nobody is its parent: it runs until it gives up, or is told to [`stop`](SupervisorRef::stop).
    ///
    /// ```no_run
    /// # use pspawn::prelude::*;
    /// # #[derive(Message, Serialize, Deserialize)]
    /// # #[rtype(result = "i64")]
    /// # struct Divide(i64);
    /// # struct Fuse;
    /// # impl Actor for Fuse { type Context = Context<Self>; }
    /// # impl Handler<Divide> for Fuse {
    /// #     type Result = i64;
    /// #     fn handle(&mut self, Divide(by): Divide, _: &mut Context<Self>) -> i64 { 100 / by }
    /// # }
    /// # remote_actor!(Fuse as "fuse", new() = Fuse, handles[Divide]);
    /// # async fn example(pool: &Pool) -> Result<(), pspawn::Error> {
    /// let sup = Supervisor::one_for_one()
    ///     .intensity(2, Duration::from_secs(5))
    ///     .child("fuse", Fuse::spec(()))
    ///     .child("others", Supervisor::rest_for_one().child("fuse", Fuse::spec(())).spec())
    ///     .start(pool)
    ///     .await?;
    /// let fuse = sup.child::<Fuse>("fuse");
    /// assert!(fuse.send(Divide(0)).await.is_err());    // it has panicked,
    /// assert_eq!(fuse.send(Divide(5)).await?, 20);     // and another one has its place
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SupervisorStartError::Plan`] for a plan that cannot be carried out;
    /// [`SupervisorStartError::NotStarted`] if a child does not start: then those before it have been
    /// ended, in reverse order (rule V3).
    /// # Cancel safety
    /// Not cancel safe: it may be running all the same.
    pub async fn start(self, pool: &Pool) -> Result<SupervisorRef, SupervisorStartError> {
        let nobody = pool.mailbox();
        self.start_for(nobody.cell(), false).await
    }

    /// The same; linked with this process from birth, which is its parent: the parent's end, for any
    /// reason, ends it and its children (rules V23, V24), and its own end is the parent's, or an
    /// [`Exited`](crate::Exited) if that traps exits.
    ///
    /// # Errors
    /// Those of [`start`](Supervisor::start). The parent also gets an exit signal then (V3).
    /// # Cancel safety
    /// Not cancel safe: it may be running, and linked, all the same.
    pub async fn start_link(self, parent: &Ctx) -> Result<SupervisorRef, SupervisorStartError> {
        self.start_for(parent.cell(), true).await
    }

    /// The same for an actix actor: the parent is the actor that calls this.
    ///
    /// # Errors
    /// Those of [`start_link`](Supervisor::start_link), and [`SpawnError::NoCaller`] outside of an actor.
    /// # Cancel safety
    /// Not cancel safe: it may be running, and linked, all the same.
    pub async fn start_link_current(self) -> Result<SupervisorRef, SupervisorStartError> {
        let parent = current().ok_or(SpawnError::NoCaller)?;
        self.start_for(&parent, true).await
    }

    async fn start_for(
        self,
        parent: &Arc<Cell>,
        link: bool,
    ) -> Result<SupervisorRef, SupervisorStartError> {
        self.check()?;
        let args = self.as_args().map_err(|why| SpawnError::NotArguments { why })?;
        let (node, here) = (&parent.node, Some(parent.pid.node()));
        let pool = Pool::of(node);
        let started = pool.spawn_child(parent, link, true, here, &kind(), args).await?;
        Ok(SupervisorRef::new(started, node.clone()))
    }

    /// Itself as the child of another supervisor: permanent, with all the time it needs to end (V22).
    #[must_use]
    pub fn spec(self) -> ChildSpec {
        let args = self.check().map_err(|why| why.to_string()).and_then(|()| self.as_args());
        ChildSpec::new(kind(), args).of_supervisor()
    }

    fn as_args(&self) -> Result<Vec<u8>, String> {
        let mut args = Vec::new();
        encode(&(self,), &mut args).map_err(|why| why.to_string())?;
        Ok(args)
    }
}

impl ChildSpec {
    /// A function process, by its registered name, or an actor, by its name and `new`; `args` is a tuple
    /// or a list.
    ///
    /// Its start is over when it has a pid, unless it is [`acknowledged`](ChildSpec::acknowledged).
    pub fn function(module: &str, function: &str, args: impl Serialize) -> ChildSpec {
        let kind = Kind::new(module.to_owned(), function.to_owned());
        ChildSpec::new(kind, args_of(args).map_err(|why| why.to_string()))
    }
}

/// The name that supervisors are started by.
fn kind() -> Kind {
    Kind::new("pspawn", "supervisor")
}

/// A running supervisor, on any node: a plain value, which can be sent.
///
/// One that was reached through others ([`supervisor`](SupervisorRef::supervisor)) is looked for at each
/// call, so the handle survives restarts.
#[derive(Clone)]
pub struct SupervisorRef {
    root: Pid,
    /// The supervisors from the root's child down to this one.
    path: Vec<String>,
    node: Option<Arc<Node>>,
}

impl SupervisorRef {
    fn new(root: Pid, node: Arc<Node>) -> SupervisorRef {
        SupervisorRef { root, path: Vec::new(), node: Some(node) }
    }

    /// The child of this id as an actor `A`. Nothing is asked yet: the handle looks for it at each send.
    #[must_use]
    pub fn child<A: Spawnable>(&self, id: impl Into<String>) -> ChildRef<A> {
        ChildRef { supervisor: self.clone(), id: id.into(), actor: PhantomData }
    }

    /// The child of this id as a supervisor. Nothing is asked yet: the handle looks for it at each call.
    #[must_use]
    pub fn supervisor(&self, id: impl Into<String>) -> SupervisorRef {
        let mut supervisor = self.clone();
        supervisor.path.push(id.into());
        supervisor
    }

    /// Its pid at this moment.
    ///
    /// # Errors
    /// [`SupervisorError`], if it has to be looked for.
    pub async fn pid(&self) -> Result<Pid, SupervisorError> {
        let node = self.home()?;
        let until = node.now() + node.config.times.call;
        self.pid_at(&node, self.path.len(), None, until).await
    }

    /// The pid of a child; none if it does not run. While it is being restarted this waits, up to the
    /// pool's call time-out.
    ///
    /// # Errors
    /// [`SupervisorError`].
    /// # Cancel safety
    /// Cancel safe.
    pub async fn find(&self, id: &str) -> Result<Option<Pid>, SupervisorError> {
        let node = self.home()?;
        let until = node.now() + node.config.times.call;
        self.find_at(&node, self.path.len(), id, None, until).await
    }

    /// Adds a child, the youngest, and starts it (rules V26, V27). Returns its pid; none if it did not
    /// want to be started (V5).
    ///
    /// # Errors
    /// [`ChildError::AlreadyStarted`], [`ChildError::AlreadyPresent`], [`ChildError::NotStarted`],
    /// [`ChildError::Spec`], [`ChildError::SimpleOneForOne`]; or the supervisor's own end. There is no
    /// time-out, as in OTP: it does one thing at a time, and a start may take long.
    /// # Cancel safety
    /// Not cancel safe: the child may be started all the same.
    pub async fn start_child(
        &self,
        id: impl Into<String>,
        spec: ChildSpec,
    ) -> Result<Option<Pid>, SupervisorError> {
        self.start_by(Call::Start { id: id.into(), spec }).await
    }

    /// Starts one more child of a simple_one_for_one supervisor; `args`, a tuple or a list, come after
    /// the arguments of its spec (rule V28).
    ///
    /// # Errors
    /// [`ChildError::NotStarted`], [`ChildError::NotSimple`]; or the supervisor's own end.
    /// # Cancel safety
    /// Not cancel safe: the child may be started all the same.
    pub async fn start_one(&self, args: impl Serialize) -> Result<Option<Pid>, SupervisorError> {
        let extra = args_of(args).map_err(|why| {
            let (id, why) = ("child".to_owned(), why.to_string());
            ChildError::Spec(SpecError::BadArguments { id, why })
        })?;
        self.start_by(Call::StartAlike { extra: Args(extra) }).await
    }

    /// Ends a child, which keeps its entry unless it is temporary; again and again is fine (rule V25).
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::SimpleOneForOne`]; or the supervisor's own end.
    /// # Cancel safety
    /// Not cancel safe: the child may end all the same.
    pub async fn terminate_child(&self, id: &str) -> Result<(), SupervisorError> {
        self.done_by(Call::Terminate(id.to_owned())).await
    }

    /// Ends a child of a simple_one_for_one supervisor (rule V28).
    ///
    /// # Errors
    /// [`ChildError::NotFound`] if the pid is that of somebody else, who lives; or the supervisor's own
    /// end.
    /// # Cancel safety
    /// Not cancel safe: the child may end all the same.
    pub async fn terminate_one(&self, pid: Pid) -> Result<(), SupervisorError> {
        self.done_by(Call::TerminateAlike { pid, alive: true }).await
    }

    /// Starts a child that does not run (rule V26). Returns its pid; none if it did not want to be started.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::Running`], [`ChildError::Restarting`],
    /// [`ChildError::NotStarted`], [`ChildError::SimpleOneForOne`]; or the supervisor's own end.
    /// # Cancel safety
    /// Not cancel safe: the child may be started all the same.
    pub async fn restart_child(&self, id: &str) -> Result<Option<Pid>, SupervisorError> {
        self.start_by(Call::Restart(id.to_owned())).await
    }

    /// Removes the entry of a child that does not run (rule V26).
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::Running`], [`ChildError::Restarting`],
    /// [`ChildError::SimpleOneForOne`]; or the supervisor's own end.
    /// # Cancel safety
    /// Not cancel safe: the entry may be removed all the same.
    pub async fn delete_child(&self, id: &str) -> Result<(), SupervisorError> {
        self.done_by(Call::Delete(id.to_owned())).await
    }

    /// The spec of a child; of a simple_one_for_one supervisor, that of all.
    ///
    /// # Errors
    /// [`ChildError::NotFound`]; or the supervisor's own end.
    pub async fn child_spec(&self, id: &str) -> Result<ChildSpec, SupervisorError> {
        match self.ask(Call::Spec(id.to_owned())).await? {
            Answer::Spec(spec) => Ok(spec?),
            other => Err(self.unexpected(&other)),
        }
    }

    /// All children, the youngest first (rule V2).
    ///
    /// # Errors
    /// The supervisor's own end.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, SupervisorError> {
        match self.ask(Call::Which).await? {
            Answer::Which(children) => Ok(children),
            other => Err(self.unexpected(&other)),
        }
    }

    /// How many children there are.
    ///
    /// # Errors
    /// The supervisor's own end.
    pub async fn count_children(&self) -> Result<ChildCount, SupervisorError> {
        match self.ask(Call::Count).await? {
            Answer::Count(count) => Ok(count),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Ends the supervisor, after its children, with this reason; returns when it has ended:
    /// `gen_server:stop`. There is no time-out: a child may be given all the time it needs.
    ///
    /// # Errors
    /// [`SupervisorError::Ended`] if it has ended, or ends, with another reason.
    /// # Cancel safety
    /// Not cancel safe: it ends all the same.
    pub async fn stop(&self, reason: ExitReason) -> Result<(), SupervisorError> {
        let node = self.home()?;
        let pid = self.pid().await?;
        let ended = letters::stop(&node, pid, reason.clone()).await;
        if ended == reason { Ok(()) } else { Err(SupervisorError::Ended { pid, reason: ended }) }
    }

    async fn start_by(&self, call: Call) -> Result<Option<Pid>, SupervisorError> {
        match self.ask(call).await? {
            Answer::Started(started) => Ok(started?),
            other => Err(self.unexpected(&other)),
        }
    }

    async fn done_by(&self, call: Call) -> Result<(), SupervisorError> {
        match self.ask(call).await? {
            Answer::Done(done) => Ok(done?),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Puts a question that may have consequences. Only one that has certainly not been heard is put
    /// again, to the supervisor that has taken the place of the dead one.
    async fn ask(&self, call: Call) -> Result<Answer, SupervisorError> {
        let node = self.home()?;
        let until = node.now() + node.config.times.call;
        let mut gone = None;
        loop {
            let pid = self.pid_at(&node, self.path.len(), gone, until).await?;
            match letters::ask(&node, pid, call.clone(), letters::NO_DEADLINE).await {
                Err(SupervisorError::Ended { pid, reason: ExitReason::NoProc })
                    if !self.path.is_empty() =>
                {
                    gone = Some(pid);
                }
                answered => return answered,
            }
        }
    }

    /// The pid of the supervisor this far down the path, another than the one that is gone.
    async fn pid_at(
        &self,
        node: &Arc<Node>,
        depth: usize,
        gone: Option<Pid>,
        until: Duration,
    ) -> Result<Pid, SupervisorError> {
        let Some(above) = depth.checked_sub(1) else { return Ok(self.root) };
        let id = &self.path[above];
        let found = self.find_at(node, above, id, gone, until).await?;
        found.ok_or_else(|| SupervisorError::NotRunning { id: id.clone() })
    }

    /// The pid of the child `id` of the supervisor this far down the path. If that ends meanwhile, of the
    /// one that takes its place: looking for somebody has no consequences.
    fn find_at<'a>(
        &'a self,
        node: &'a Arc<Node>,
        depth: usize,
        id: &'a str,
        gone: Option<Pid>,
        until: Duration,
    ) -> BoxFuture<'a, Result<Option<Pid>, SupervisorError>> {
        async move {
            let mut gone_above = None;
            loop {
                let supervisor = self.pid_at(node, depth, gone_above, until).await?;
                let call = Call::Find { id: id.to_owned(), gone };
                let left = until.saturating_sub(node.now());
                match letters::ask(node, supervisor, call, left).await {
                    Ok(Answer::Found(found)) => return Ok(found?),
                    Ok(other) => return Err(self.unexpected(&other)),
                    Err(SupervisorError::Ended { pid, .. }) if depth > 0 => gone_above = Some(pid),
                    Err(why) => return Err(why),
                }
            }
        }
        .boxed()
    }

    fn home(&self) -> Result<Arc<Node>, SupervisorError> {
        home(&self.node).map_err(|_| SupervisorError::NoNode)
    }

    fn unexpected(&self, answer: &Answer) -> SupervisorError {
        let (pid, why) = (self.root, format!("an answer to another question: {answer:?}"));
        SupervisorError::Garbled { pid, why }
    }
}

impl fmt::Debug for SupervisorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SupervisorRef({}", self.root)?;
        self.path.iter().try_for_each(|id| write!(f, "/{id}"))?;
        f.write_str(")")
    }
}

impl Serialize for SupervisorRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.root, &self.path).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SupervisorRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SupervisorRef, D::Error> {
        let (root, path) = Deserialize::deserialize(deserializer)?;
        Ok(SupervisorRef { root, path, node: decoding_node() })
    }
}

/// A supervisor was not started.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorStartError {
    /// Its plan cannot be carried out (rule V30).
    #[error(transparent)]
    Plan(#[from] SpecError),
    /// It ended before its children were up: a child did not start (V3), or it was not started itself.
    #[error(transparent)]
    NotStarted(#[from] SpawnError),
}

/// A supervisor does not do what it was asked to.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// It says why not.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// It had ended, or ended before it answered; `NoConnection` if its node was lost.
    #[error("the supervisor {pid} ended: {reason}")]
    Ended {
        /// Who was asked.
        pid: Pid,
        /// Why it ended.
        reason: ExitReason,
    },
    /// A supervisor on the way to it does not run.
    #[error("the supervisor {id:?} does not run")]
    NotRunning {
        /// Its id.
        id: String,
    },
    /// No answer in time.
    #[error("the supervisor {pid} did not answer within {after:?}")]
    TimedOut {
        /// Who was asked.
        pid: Pid,
        /// How long was waited.
        after: Duration,
    },
    /// Its answer makes no sense.
    #[error("the supervisor {pid} does not speak the same language: {why}")]
    Garbled {
        /// Who was asked.
        pid: Pid,
        /// What is wrong with its answer.
        why: String,
    },
    /// There is no node in this OS process to ask from.
    #[error("there is no node to ask from: start a pool first")]
    NoNode,
}

impl From<SupervisorStartError> for Error {
    fn from(why: SupervisorStartError) -> Error {
        Error::Other(Box::new(why))
    }
}

impl From<SupervisorError> for Error {
    fn from(why: SupervisorError) -> Error {
        Error::Other(Box::new(why))
    }
}
