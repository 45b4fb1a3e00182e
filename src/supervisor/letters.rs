//! What supervisors are told, and what they say; a call as Erlang's `gen_server:call` makes it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SupervisorError;
use crate::core::restart::{Answer, Call, Whom};
use crate::message::Down;
use crate::node::Node;
use crate::node::letter::Letter;
use crate::process::Ctx;
use crate::term::{ExitReason, Pid, Ref};

/// A question to a supervisor. Its number is that of the asker's monitor on it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AskSupervisor {
    pub(super) caller: Caller,
    pub(super) call: Call,
}

/// Who asks, and which question.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Caller {
    pub(super) pid: Pid,
    pub(super) question: Ref,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SupervisorSays {
    pub(super) question: Ref,
    pub(super) answer: Answer,
}

/// End, after your children, with this reason.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StopSupervisor(pub(super) ExitReason);

/// What a supervisor says to itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SupervisorTriesAgain(pub(super) Whom);

/// Puts a question, and waits for the answer, or the supervisor's end (G2 to G4).
pub(super) async fn ask(
    node: &Arc<Node>,
    supervisor: Pid,
    call: Call,
    within: Duration,
) -> Result<Answer, SupervisorError> {
    let mut me = Ctx::plain(node);
    let question = me.monitor(supervisor);
    me.send(supervisor, AskSupervisor { caller: Caller { pid: me.pid(), question }, call });
    let letter = me
        .receive_matching_within(within, |letter| {
            letter.get::<SupervisorSays>().is_some_and(|says| says.question == question)
                || letter.get::<Down>().is_some_and(|down| down.monitor == question)
        })
        .await;
    let ended = |reason| SupervisorError::Ended { pid: supervisor, reason };
    let Some(letter) = letter else {
        // Nothing comes any more once the own node has stopped.
        return Err(match me.cell().reason() {
            Some(_) => ended(ExitReason::NoConnection),
            None => SupervisorError::TimedOut { pid: supervisor, after: within },
        });
    };
    match letter.open::<SupervisorSays>() {
        Ok(says) => Ok(says.answer),
        Err(letter) => {
            let down = letter.open::<Down>().expect("only these two were waited for");
            Err(ended(down.reason))
        }
    }
}

/// Tells a supervisor to end with this reason, and waits until it has; returns why it ended.
pub(super) async fn stop(node: &Arc<Node>, supervisor: Pid, reason: ExitReason) -> ExitReason {
    let mut me = Ctx::plain(node);
    let monitor = me.monitor(supervisor);
    me.send(supervisor, StopSupervisor(reason));
    let is_it =
        |letter: &mut Letter| letter.get::<Down>().is_some_and(|down| down.monitor == monitor);
    let letter = me.receive_matching_within(NO_DEADLINE, is_it).await;
    match letter.map(Letter::open::<Down>) {
        Some(Ok(down)) => down.reason,
        Some(Err(_)) | None => ExitReason::NoConnection, // the own node has stopped
    }
}

/// A supervisor takes the time that it needs; its end, or the loss of its node, is the limit.
pub(super) const NO_DEADLINE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
