//! One open file from the side of whoever has it open: its process on the master, and a mailbox for the
//! answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::FileError;
use super::letters::{FileAnswer, FileRequest, Purpose};
use crate::message::Down;
use crate::pool::{Pool, PoolError, Ties};
use crate::process::Ctx;
use crate::term::{ExitReason, NodeName, Pid, Ref};

/// An open file. When this is dropped its mailbox ends, and with it the process on the master.
#[derive(Debug)]
pub(super) struct Session {
    mailbox: Ctx,
    pid: Pid,
    monitor: Ref,
    path: PathBuf,
    master: NodeName,
    /// How long an answer may take.
    within: Duration,
    /// What ended it: the answer to all that is asked later.
    over: Option<FileError>,
}

impl Session {
    /// Opens a file; gives what was said of it, too.
    pub(super) async fn open(
        pool: &Pool,
        path: &Path,
        purpose: Purpose,
    ) -> Result<(Session, FileAnswer), FileError> {
        let master = pool.master().ok_or(PoolError::NoPool)?;
        let mailbox = pool.mailbox();
        let (ties, monitor) = Ties::monitor(mailbox.cell());
        let args = (mailbox.pid(), path.as_os_str(), purpose);
        let pid = pool.spawn_named(Some(master), "pspawn", "file", args, ties).await?;
        let within = pool.local_node().config.times.spawn;
        let path = path.to_owned();
        let mut session = Session { mailbox, pid, monitor, path, master, within, over: None };
        let opened = session.answer().await?;
        Ok((session, opened))
    }

    pub(super) fn ask(&self, request: FileRequest) {
        self.mailbox.send(self.pid, request);
    }

    /// The next answer.
    ///
    /// # Cancel safety
    /// Cancel safe: an answer is taken only when this returns it.
    pub(super) async fn answer(&mut self) -> Result<FileAnswer, FileError> {
        self.answer_within(self.within).await
    }

    pub(super) async fn answer_within(
        &mut self,
        within: Duration,
    ) -> Result<FileAnswer, FileError> {
        self.check()?;
        loop {
            let Some(letter) = self.mailbox.receive_any_within(within).await else {
                return Err(self.ends(|session| session.silence(within)));
            };
            match letter.open::<FileAnswer>() {
                Ok(FileAnswer::Refused(why)) => {
                    return Err(self.ends(|Session { path, master, mailbox, .. }| {
                        FileError::of(why, path.clone(), *master, mailbox.pid().node())
                    }));
                }
                Ok(answer) => return Ok(answer),
                Err(letter) => {
                    if let Ok(down) = letter.open::<Down>()
                        && down.monitor == self.monitor
                    {
                        return Err(self.ends(|session| session.lost(down.reason)));
                    }
                }
            }
        }
    }

    /// What ended it, if it is over.
    pub(super) fn check(&self) -> Result<(), FileError> {
        match &self.over {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    /// It has answered something else than it was asked.
    pub(super) fn garbled(&self) -> FileError {
        let why = format!("{} gave an answer to another question", self.pid);
        PoolError::Refused(why).into()
    }

    pub(super) fn path(&self) -> (PathBuf, NodeName) {
        (self.path.clone(), self.master)
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    fn ends(&mut self, why: impl FnOnce(&Session) -> FileError) -> FileError {
        let why = why(self);
        self.over = Some(why.clone());
        why
    }

    /// Nothing has come: nothing came in time, or never will because the own node has ended.
    fn silence(&self, after: Duration) -> FileError {
        match self.mailbox.cell().reason() {
            Some(reason) => self.lost(reason),
            None => {
                let Session { path, master, pid, .. } = self;
                FileError::TimedOut { path: path.clone(), master: *master, pid: *pid, after }
            }
        }
    }

    fn lost(&self, reason: ExitReason) -> FileError {
        let Session { path, master, pid, .. } = self;
        FileError::Lost { path: path.clone(), master: *master, pid: *pid, reason }
    }
}
