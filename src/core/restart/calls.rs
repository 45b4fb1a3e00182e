//! Calls: what a supervisor can be asked, and what it says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Effect, Family, Supervision, Waiting, Work};
use crate::term::{Args, ChildCount, ChildError, ChildInfo, ChildSpec, Pid};

/// What a supervisor can be asked: the functions of OTP's module `supervisor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Call {
    Start {
        id: String,
        spec: ChildSpec,
    },
    /// One more child of a simple_one_for_one, with these arguments after those of its spec.
    StartAlike {
        extra: Args,
    },
    Terminate(String),
    /// `alive`: whether that pid is known not to be dead.
    TerminateAlike {
        pid: Pid,
        alive: bool,
    },
    Restart(String),
    Delete(String),
    Spec(String),
    Which,
    Count,
    /// Where a child is. While it is being restarted the answer waits; also while it is said to be
    /// `gone`, the pid that the caller has found dead before the supervisor has.
    Find {
        id: String,
        gone: Option<Pid>,
    },
}

/// The answer to a [`Call`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// To `Start`, `StartAlike` and `Restart`: no pid if the child did not want to be started.
    Started(Result<Option<Pid>, ChildError>),
    /// To `Terminate`, `TerminateAlike` and `Delete`.
    Done(Result<(), ChildError>),
    Spec(Result<ChildSpec, ChildError>),
    Which(Vec<ChildInfo>),
    Count(ChildCount),
    /// To `Find`: no pid if the child does not run.
    Found(Result<Option<Pid>, ChildError>),
}

impl<C> Supervision<C> {
    pub(super) fn call(&mut self, caller: C, call: Call, out: &mut Vec<Effect<C>>) {
        let answer = match &mut self.family {
            Family::Siblings(siblings) => match call {
                Call::Start { id, spec } => {
                    match siblings.may_be_born(&id, &spec, self.auto_shutdown) {
                        Ok(()) => {
                            let spec = Arc::new(spec);
                            out.push(Effect::Start { spec: spec.clone(), extra: None });
                            self.work = Work::StartsNew { id, spec, caller };
                            return;
                        }
                        Err(why) => Answer::Started(Err(why)),
                    }
                }
                Call::Restart(id) => match siblings.down(&id) {
                    Ok(at) => return self.start_again(at, Some(caller), out),
                    Err(why) => Answer::Started(Err(why)),
                },
                Call::Terminate(id) => match siblings.find(&id) {
                    Ok(at) => match siblings.pid(at) {
                        Some(pid) => {
                            let shutdown = siblings.spec(at).shutdown;
                            out.push(Effect::Stop { pids: vec![pid], shutdown });
                            self.work = Work::Terminates { at, caller };
                            return;
                        }
                        None => {
                            siblings.is_down(at);
                            Answer::Done(Ok(()))
                        }
                    },
                    Err(why) => Answer::Done(Err(why)),
                },
                Call::Delete(id) => Answer::Done(siblings.delete(&id)),
                Call::Spec(id) => {
                    Answer::Spec(siblings.find(&id).map(|at| (**siblings.spec(at)).clone()))
                }
                Call::Find { id, gone } => match siblings.find(&id) {
                    Ok(at) if siblings.is_awaited(at, gone) => {
                        self.waiting.push(Waiting { id, gone, caller });
                        return;
                    }
                    Ok(at) => Answer::Found(Ok(siblings.pid(at))),
                    Err(why) => Answer::Found(Err(why)),
                },
                Call::Which => Answer::Which(siblings.which()),
                Call::Count => Answer::Count(siblings.count()),
                Call::StartAlike { .. } => Answer::Started(Err(ChildError::NotSimple)),
                Call::TerminateAlike { .. } => Answer::Done(Err(ChildError::NotFound)),
            },
            Family::Brood(brood) => match call {
                Call::StartAlike { extra } => {
                    out.push(Effect::Start {
                        spec: brood.spec.clone(),
                        extra: Some(extra.clone()),
                    });
                    self.work = Work::Breeds { extra, caller };
                    return;
                }
                Call::TerminateAlike { pid, alive } => match brood.is_up(pid) {
                    Some(true) => {
                        let shutdown = brood.spec.shutdown;
                        out.push(Effect::Stop { pids: vec![pid], shutdown });
                        self.work = Work::TerminatesAlike { pid, caller };
                        return;
                    }
                    Some(false) => {
                        brood.remove(pid);
                        Answer::Done(Ok(()))
                    }
                    // V25: again and again; but somebody else's is not ours to end
                    None if alive => Answer::Done(Err(ChildError::NotFound)),
                    None => Answer::Done(Ok(())),
                },
                Call::Spec(_) => Answer::Spec(Ok((*brood.spec).clone())),
                Call::Which => Answer::Which(brood.which()),
                Call::Count => Answer::Count(brood.count()),
                Call::Start { .. } | Call::Restart(_) => {
                    Answer::Started(Err(ChildError::SimpleOneForOne))
                }
                Call::Terminate(_) | Call::Delete(_) => {
                    Answer::Done(Err(ChildError::SimpleOneForOne))
                }
                Call::Find { .. } => Answer::Found(Err(ChildError::SimpleOneForOne)),
            },
        };
        self.answer(caller, answer, out);
        self.rest(out);
    }
}
