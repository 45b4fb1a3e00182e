//! Being asked to end: Ctrl-C and SIGTERM.

use actix_rt::signal::unix::{Signal, SignalKind, signal};
use futures::future::select;
use pspawn::Error;

/// Ctrl-C and SIGTERM end this OS process no more; they are events from now on.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn catch() -> Result<Signals, Error> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        let interrupt = std::pin::pin!(self.interrupt.recv());
        let terminate = std::pin::pin!(self.terminate.recv());
        select(interrupt, terminate).await;
    }
}

/// What a shell says of a program that Ctrl-C ended.
pub(super) const EXIT_INTERRUPTED: i32 = 128 + 2;
