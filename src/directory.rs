//! Names that are unique in the whole pool, and groups of processes: Erlang's `global` and `pg`.
//!
//! A process on the master keeps the directory; it is started when the first question comes. Its decisions
//! are in `core::directory`.

use serde::{Deserialize, Serialize};

use crate::actor::Spawnable;
use crate::addr::RemoteAddr;
use crate::core::directory::{Directory, Effect};
use crate::message::Down;
use crate::pool::{Error, Pool, PoolError, SpawnError};
use crate::process::Ctx;
use crate::term::{NodeName, Pid, Ref};

/// Why the directory did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another process has the name: Erlang's `no`.
    #[error("the name {name:?} is taken in this pool, by {by}")]
    Taken {
        /// The name.
        name: String,
        /// Who has it.
        by: Pid,
    },
    /// The process has ended, or its node cannot be reached.
    #[error("{pid} does not live")]
    NotAlive {
        /// The process.
        pid: Pid,
    },
    /// It is not in the group: Erlang's `not_joined`.
    #[error("{pid} is not in the group {group:?}")]
    NotJoined {
        /// The process.
        pid: Pid,
        /// The group.
        group: String,
    },
    /// There is no pool, or its master does not answer.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The directory could not be started on the master.
    #[error("the directory cannot be started on the master: {0}")]
    Spawn(#[from] SpawnError),
}

impl From<DirectoryError> for Error {
    fn from(why: DirectoryError) -> Error {
        Error::Other(Box::new(why))
    }
}

/// A group has changed: Erlang's `{Ref, join | leave, Group, Pids}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupChange {
    /// What [`Ctx::monitor_group`] returned.
    pub watch: Ref,
    /// The group.
    pub group: String,
    /// Whether these have joined, or left.
    pub joined: bool,
    /// Who; one that had joined twice and ends has left twice.
    pub pids: Vec<Pid>,
}

impl actix::Message for GroupChange {
    type Result = ();
}

impl Pool {
    /// Gives a process a name that nobody else in the pool has: `global:register_name`.
    ///
    /// The name is free when its holder's end is seen by whoever claims it, in whatever way.
    ///
    /// # Errors
    /// [`DirectoryError::Taken`] if a living process has it, also the same one;
    /// [`DirectoryError::NotAlive`]; [`DirectoryError::Pool`].
    pub async fn register_name(&self, name: &str, pid: Pid) -> Result<(), DirectoryError> {
        if !self.is_process_alive(pid).await? {
            return Err(DirectoryError::NotAlive { pid });
        }
        let mut instead_of = None;
        loop {
            let request = Request::Register { name: name.to_owned(), pid, instead_of };
            match self.consult(request).await? {
                Told::Taken(by) if self.is_process_alive(by).await? => {
                    return Err(DirectoryError::Taken { name: name.to_owned(), by });
                }
                // Dead, and the directory has not heard of it yet.
                Told::Taken(by) => instead_of = Some(by),
                _ => return Ok(()),
            }
        }
    }

    /// Takes such a name back, whoever has it; whether anybody had: `global:unregister_name`.
    ///
    /// # Errors
    /// [`DirectoryError::Pool`].
    pub async fn unregister_name(&self, name: &str) -> Result<bool, DirectoryError> {
        let told = self.consult(Request::Unregister { name: name.to_owned() }).await?;
        Ok(told == Told::Done(true))
    }

    /// Who has this name in the pool: `global:whereis_name`.
    ///
    /// # Errors
    /// [`DirectoryError::Pool`].
    pub async fn whereis_name(&self, name: &str) -> Result<Option<Pid>, DirectoryError> {
        let holder = match self.consult(Request::Whereis { name: name.to_owned() }).await? {
            Told::Who(holder) => holder,
            _ => None,
        };
        match holder {
            Some(pid) if self.is_process_alive(pid).await? => Ok(Some(pid)),
            Some(_) | None => Ok(None),
        }
    }

    /// All names of the pool, in order: `global:registered_names`.
    ///
    /// # Errors
    /// [`DirectoryError::Pool`].
    pub async fn registered_names(&self) -> Result<Vec<String>, DirectoryError> {
        match self.consult(Request::Names).await? {
            Told::Words(names) => Ok(names),
            _ => Ok(Vec::new()),
        }
    }

    /// Takes a process into a group, on whichever node it lives: `pg:join`. One that joins twice is in it
    /// twice.
    ///
    /// # Errors
    /// [`DirectoryError::NotAlive`]; [`DirectoryError::Pool`].
    pub async fn join(&self, group: &str, pid: Pid) -> Result<(), DirectoryError> {
        if !self.is_process_alive(pid).await? {
            return Err(DirectoryError::NotAlive { pid });
        }
        self.consult(Request::Join { group: group.to_owned(), pid }).await?;
        Ok(())
    }

    /// Lets it leave, once: `pg:leave`. Its end lets it leave as well.
    ///
    /// # Errors
    /// [`DirectoryError::NotJoined`]; [`DirectoryError::Pool`].
    pub async fn leave(&self, group: &str, pid: Pid) -> Result<(), DirectoryError> {
        match self.consult(Request::Leave { group: group.to_owned(), pid }).await? {
            Told::Done(false) => Err(DirectoryError::NotJoined { pid, group: group.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Who is in a group, in order of joining: `pg:get_members`.
    ///
    /// # Errors
    /// [`DirectoryError::Pool`].
    pub async fn members(&self, group: &str) -> Result<Vec<Pid>, DirectoryError> {
        match self.consult(Request::Members { group: group.to_owned() }).await? {
            Told::Pids(pids) => Ok(pids),
            _ => Ok(Vec::new()),
        }
    }

    /// The groups that have members: `pg:which_groups`.
    ///
    /// # Errors
    /// [`DirectoryError::Pool`].
    pub async fn groups(&self) -> Result<Vec<String>, DirectoryError> {
        match self.consult(Request::Groups).await? {
            Told::Words(groups) => Ok(groups),
            _ => Ok(Vec::new()),
        }
    }

    /// The address of the actor `A` with this pid, which somebody else has said to be one.
    #[must_use]
    pub fn addr<A: Spawnable>(&self, pid: Pid) -> RemoteAddr<A> {
        RemoteAddr::new(pid, self.local_node().clone())
    }

    /// Asks the directory, and starts it if it is not there yet.
    async fn consult(&self, request: Request) -> Result<Told, DirectoryError> {
        let master = self.master().ok_or(PoolError::NoPool)?;
        let mut ctx = self.mailbox();
        loop {
            // Watched by name: if nobody has it, that is what comes back.
            let watch = ctx.monitor((NAME, master));
            let question = Question { from: ctx.pid(), watch, request: request.clone() };
            ctx.send((NAME, master), question);
            let within = self.local_node().config.times.spawn;
            let letter = ctx.receive_matching_within(within, |letter| {
                letter.get::<Answer>().is_some_and(|answer| answer.watch == watch)
                    || letter.get::<Down>().is_some_and(|down| down.monitor == watch)
            });
            let letter = letter.await.ok_or(PoolError::TimedOut { master, after: within })?;
            match letter.open::<Answer>() {
                Ok(answer) => return Ok(answer.told),
                Err(_) if self.master() != Some(master) => return Err(PoolError::NoPool.into()),
                Err(letter) => self.start_directory(letter.open::<Down>().ok(), master).await?,
            }
        }
    }

    async fn start_directory(
        &self,
        down: Option<Down>,
        master: NodeName,
    ) -> Result<(), DirectoryError> {
        if down.is_some_and(|down| down.reason == crate::term::ExitReason::NoConnection) {
            return Err(PoolError::MasterLost { master }.into());
        }
        // Of two that are started at once one has the name, and the other ends before it is up.
        let ctx = self.mailbox();
        let up = ctx.spawn_fn("pspawn", "directory", ()).on(master).acknowledged();
        match up.await {
            Ok(_) | Err(SpawnError::Ignored { .. }) => Ok(()),
            Err(why) => Err(why.into()),
        }
    }
}

impl Ctx {
    /// Hears of every change of a group from now on, as a [`GroupChange`]; returns under which reference,
    /// and who is in it now: `pg:monitor`.
    ///
    /// # Errors
    /// [`DirectoryError::Pool`].
    pub async fn monitor_group(&self, group: &str) -> Result<(Ref, Vec<Pid>), DirectoryError> {
        let pool = self.pool();
        let watch = pool.local_node().new_ref();
        let request = Request::Watch { group: group.to_owned(), pid: self.pid(), watch };
        match pool.consult(request).await? {
            Told::Pids(members) => Ok((watch, members)),
            _ => Ok((watch, Vec::new())),
        }
    }

    /// No longer: `pg:demonitor`.
    ///
    /// # Errors
    /// [`DirectoryError::Pool`].
    pub async fn demonitor_group(&self, watch: Ref) -> Result<(), DirectoryError> {
        self.pool().consult(Request::Unwatch { watch }).await?;
        Ok(())
    }
}

/// A request, and under which reference its answer comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Question {
    from: Pid,
    watch: Ref,
    request: Request,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Request {
    Register { name: String, pid: Pid, instead_of: Option<Pid> },
    Unregister { name: String },
    Whereis { name: String },
    Names,
    Join { group: String, pid: Pid },
    Leave { group: String, pid: Pid },
    Members { group: String },
    Groups,
    Watch { group: String, pid: Pid, watch: Ref },
    Unwatch { watch: Ref },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    watch: Ref,
    told: Told,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Told {
    /// Done, and whether there was anything to do.
    Done(bool),
    Taken(Pid),
    Who(Option<Pid>),
    Pids(Vec<Pid>),
    Words(Vec<String>),
}

/// The process on the master that keeps the directory.
async fn directory(mut ctx: Ctx) {
    if ctx.register(NAME, ctx.pid()).is_err() {
        return ctx.init_ignore();
    }
    ctx.init_ack();
    let mut directory = Directory::default();
    loop {
        let letter = ctx.receive_any().await;
        let mut out = Vec::new();
        match letter.open::<Question>() {
            Ok(Question { from, watch, request }) => {
                let told = answer(&mut directory, request, &mut out);
                ctx.send(from, Answer { watch, told });
            }
            Err(letter) => {
                if let Ok(down) = letter.open::<Down>()
                    && let Some(pid) = down.object.pid()
                {
                    directory.ended(pid, &mut out);
                }
            }
        }
        for effect in out {
            match effect {
                Effect::Watch(pid) => drop(ctx.monitor(pid)),
                Effect::Tell { to, watch, group, joined, pids } => {
                    ctx.send(to, GroupChange { watch, group, joined, pids });
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "linkme puts what is registered into a link section")]
mod registration {
    use super::directory;

    crate::remote_fn!("pspawn": directory);
}

fn answer(directory: &mut Directory, request: Request, out: &mut Vec<Effect>) -> Told {
    match request {
        Request::Register { name, pid, instead_of } => {
            match directory.register(name, pid, instead_of, out) {
                Ok(()) => Told::Done(true),
                Err(by) => Told::Taken(by),
            }
        }
        Request::Unregister { name } => Told::Done(directory.unregister(&name)),
        Request::Whereis { name } => Told::Who(directory.whereis(&name)),
        Request::Names => Told::Words(directory.names()),
        Request::Join { group, pid } => {
            directory.join(group, pid, out);
            Told::Done(true)
        }
        Request::Leave { group, pid } => Told::Done(directory.leave(&group, pid, out)),
        Request::Members { group } => Told::Pids(directory.members(&group)),
        Request::Groups => Told::Words(directory.groups()),
        Request::Watch { group, pid, watch } => Told::Pids(directory.watch(group, pid, watch, out)),
        Request::Unwatch { watch } => {
            directory.unwatch(watch);
            Told::Done(true)
        }
    }
}

/// What the directory is called on the master's node.
const NAME: &str = "pspawn_directory";
