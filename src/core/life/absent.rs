//! What a signal is answered with that nobody takes in: its receiver lives no more, or cannot be reached.
//! The answer goes to the sender.

use crate::core::mutant::{self, Mutant};
use crate::term::{ExitReason, Pid};
use crate::wire::Signal;

/// What a signal to a pid that lives no more is answered with (L5, M2).
pub(crate) fn answer_of_nobody(nobody: Pid, signal: Signal) -> Option<Signal> {
    let reason = match mutant::is(Mutant::NoProcIsNormal) {
        true => ExitReason::Normal,
        false => ExitReason::NoProc,
    };
    if mutant::is(Mutant::LinkToTheDeadIsSilent) && matches!(signal, Signal::Link { .. }) {
        return None;
    }
    answer_of_absent(nobody, signal, reason)
}

/// The same for a pid whose node cannot be reached (L8, M3, N10).
pub(crate) fn answer_of_lost_node(lost: Pid, signal: Signal) -> Option<Signal> {
    answer_of_absent(lost, signal, ExitReason::NoConnection)
}

fn answer_of_absent(absent: Pid, signal: Signal, reason: ExitReason) -> Option<Signal> {
    match signal {
        Signal::Link { .. } => Some(Signal::LinkExit { from: absent, reason }),
        Signal::Monitor { monitor, .. } => Some(Signal::Down { from: absent, monitor, reason }),
        Signal::Unlink { id, .. } => Some(Signal::UnlinkAck { from: absent, id }),
        // It was found by a name, and its watcher has ended since.
        Signal::Found { monitor, .. } => Some(Signal::Demonitor { from: absent, monitor }),
        Signal::UnlinkAck { .. }
        | Signal::LinkExit { .. }
        | Signal::Exit { .. }
        | Signal::Demonitor { .. }
        | Signal::Down { .. }
        | Signal::Lead { .. } => None,
    }
}
