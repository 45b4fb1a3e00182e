//! Being asked to end: Ctrl-C and SIGTERM.

use std::io::{self, IsTerminal};

use actix_rt::signal::unix::{Signal, SignalKind, signal};
use futures::future::{Either, select};
use pspawn::Error;

use super::out::tell;

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

/// Carries on until it is done, or somebody asks this OS process to end: then it does, and leaves nothing.
pub(super) async fn unless_asked_to_end<T>(
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut signals = Signals::catch()?;
    let (work, asked) = (std::pin::pin!(work), std::pin::pin!(signals.next()));
    match select(work, asked).await {
        Either::Left((done, _)) => done,
        Either::Right(_) => interrupted(),
    }
}

/// Ends this OS process, and with it what it has started.
pub(super) fn interrupted() -> ! {
    pspawn::abandon_launches();
    if io::stderr().is_terminal() {
        // What shows how far it is has no end of line.
        tell("");
    }
    std::process::exit(EXIT_INTERRUPTED)
}

/// What a shell says of a program that Ctrl-C ended.
pub(super) const EXIT_INTERRUPTED: i32 = 128 + 2;
